"""Every engine says of a row what the plain runtime says, to the last bit. One process after the other, with generous time-outs."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from conftest import fails, mistake
from serving import exported_models
from vaekit.distributed.work import Work
from vaekit.errors import MissingExtra

EXAMPLES = Path(__file__).resolve().parents[1] / "examples" / "many-machines"
ROWS = 6000
PATIENCE = 600  # seconds

pytestmark = pytest.mark.slow
models = pytest.fixture(scope="session")(exported_models)

RAY = """
import sys, ray
from vaekit.distributed.ray import use
ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
rows = ray.data.read_parquet(sys.argv[2])
for verb in sys.argv[4:]:
    use(rows, sys.argv[1], verb).write_parquet(f"{sys.argv[3]}/{verb}")
"""
SPARK = """
import sys
from pyspark.sql import SparkSession
from vaekit.distributed.spark import use
spark = SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false").getOrCreate()
rows = spark.read.parquet(sys.argv[2])
for verb in sys.argv[4:]:
    before = rows.schema.json()
    use(rows, sys.argv[1], verb).write.parquet(f"{sys.argv[3]}/{verb}")
    assert rows.schema.json() == before
"""


@pytest.fixture(scope="module")
def rows(models, tmp_path_factory):
    """A folder with two files of rows for the table among the models."""
    place = tmp_path_factory.mktemp("engines") / "rows"
    place.mkdir()
    rng = np.random.default_rng(1)
    words = pa.array(rng.choice(["a", "b"], ROWS), mask=rng.random(ROWS) < 0.2)
    sizes = pa.array(rng.gamma(2.0, size=ROWS), mask=rng.random(ROWS) < 0.2)
    table = pa.table({"id": np.arange(ROWS), "size": sizes, "word": words})
    pq.write_table(table.slice(0, 2500), place / "a.parquet", row_group_size=999)
    pq.write_table(table.slice(2500), place / "b.parquet")
    return place


def run(*command):
    done = subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=PATIENCE,
        env={**os.environ, "PYSPARK_PYTHON": sys.executable, "RAY_DISABLE_IMPORT_WARNING": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]


def assert_equal(found, models, rows, verb="score"):
    """What was found is what one process finds, to the last bit."""
    wanted = Work(models / "table", verb)(pq.read_table(rows)).sort_by("id")
    found = pq.read_table(found).sort_by("id")
    assert found.column_names == wanted.column_names
    for name in wanted.column_names:
        assert found[name].to_pylist() == wanted[name].to_pylist(), name


@pytest.mark.parametrize(("package", "code"), [("ray", RAY), ("pyspark", SPARK)])
def test_an_engine(package, code, models, rows, tmp_path):
    pytest.importorskip(package)
    run("-c", code, models / "table", rows, tmp_path, "score", "encode", "impute")
    for verb in ("score", "encode", "impute"):
        assert_equal(tmp_path / verb, models, rows, verb)


@pytest.mark.parametrize(
    ("package", "script", "out"),
    [("dask", "dask_scores.py", "scores"), ("duckdb", "duckdb_scores.py", "scores.parquet")],
)
def test_a_recipe(package, script, out, models, rows, tmp_path):
    pytest.importorskip(package)
    source = rows / "b.parquet"
    run(EXAMPLES / script, models / "table", source, tmp_path / out)
    assert_equal(tmp_path / out, models, source)


@pytest.mark.parametrize(("package", "engine"), [("ray", "ray"), ("pyspark", "spark")])
def test_the_command_line(package, engine, models, rows, tmp_path):
    pytest.importorskip(package)
    run("-m", "vaekit", "score", models / "table", rows, "-o", tmp_path / "out", "--engine", engine)
    assert_equal(tmp_path / "out", models, rows)


def test_an_engine_that_is_missing_or_strange(models, rows, tmp_path, monkeypatch):
    from vaekit.distributed import ray, spark

    for name in ("ray", "ray.data", "pyspark", "pyspark.sql", "pyspark.sql.pandas.types"):
        monkeypatch.setitem(sys.modules, name, None)
    for module, extra in ((ray, "ray"), (spark, "spark")):
        with pytest.raises(MissingExtra, match=rf"pip install 'vaekit\[{extra}\]'"):
            module.use(None, models / "table")
        assert f"vaekit[{extra}]" in fails("score", models / "table", rows, "-o", tmp_path / "out", "--engine", extra)


def test_an_engine_that_is_too_old(models):
    pytest.importorskip("pyspark")
    from vaekit.distributed.spark import use

    assert "install pyspark 3.5 or later" in mistake(use, object(), models / "table")
