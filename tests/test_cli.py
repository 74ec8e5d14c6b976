"""The command line as a person uses it: real files, exit codes, one-line errors."""

import json
import os
import re
import subprocess
import sys
import time

import numpy as np
import pyarrow.csv
import pyarrow.parquet
import pytest
import typer
import yaml
from PIL import Image

import vaekit as vk
from conftest import fails, process, real, vaekit
from vaekit.cli.common import app

QUICK = ["--size", "small", "--epochs", 3, "--latent-dim", 3, "--sampler", "prior"]


def test_three_rows_are_a_run_with_a_report(tmp_path):
    (tmp_path / "t.csv").write_text("a,b\n1.5,x\n2,y\n2.5,x\n")
    vaekit("fit", tmp_path / "t.csv", "--epochs", 1, "--out", tmp_path / "run", check=0)
    assert "3 rows are too few to tell two tables apart" in (tmp_path / "run/report.html").read_text()
    assert len(vk.load(tmp_path / "run").sample(4)) == 4


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["fit", "nowhere.csv"], 2),
        (["fit", "digits[:60]", "--size", "small", "--epochs", 2, "--out", "run"], 0),
    ],
)
def test_a_process_does_what_these_tests_do_in_their_own(args, code, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    here, there = vaekit(*args, cwd=tmp_path / "a", check=code), process(*args, cwd=tmp_path / "b", check=code)
    assert (here.stdout, here.stderr) == (there.stdout, there.stderr)
    for path in (tmp_path / "a").rglob("model.safetensors"):
        assert path.read_bytes() == (tmp_path / "b" / path.relative_to(tmp_path / "a")).read_bytes(), path


@pytest.fixture(scope="module")
def pictures_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures") / "run"
    sampler = ["--sampler", "gmm", "--sampler.components", 3]
    done = vaekit("fit", "digits", "--condition", "label", *QUICK, *sampler, "--out", folder, check=0)
    assert "ELBO" in done.stderr
    assert "report.html" in done.stderr
    return folder


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("table") / "people.csv"
    age, height = rng.integers(18, 90, 300), rng.normal(170, 10, 300)
    lines = [
        f"{a},{h:.2f},{'' if i % 9 == 0 else h / 2:.5},{'ab'[i % 2]}"
        for i, (a, h) in enumerate(zip(age, height, strict=True))
    ]
    path.write_text("age,height,half,group\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def table_run(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("rows") / "run"
    vaekit("fit", table, "-c", "group", "-c", "age:number", *QUICK, "--out", folder, check=0)
    return folder


def test_a_run_holds_what_it_should(pictures_run):
    names = {p.name for p in pictures_run.iterdir()}
    assert names >= {
        "config.yaml",
        "model.safetensors",
        "metrics.csv",
        "checkpoint.safetensors",
        "report.html",
        "evaluation.json",
    }
    rows = (pictures_run / "metrics.csv").read_text().splitlines()
    assert len(rows) == 4
    assert {"reconstruction", "kl", "valid_elbo"} <= set(rows[0].split(","))


@pytest.mark.parametrize(
    "verb", ["", "fit", "sample", "reconstruct", "encode", "interpolate", "evaluate", "score", "report", "info"]
)
def test_help_is_a_page(verb):
    done = vaekit(*[verb] if verb else [], "--help", check=0)
    assert "Usage" in done.stdout
    assert 5 < len(done.stdout.splitlines()) < 150


def test_version():
    assert vaekit("--version", check=0).stdout.strip() == f"vaekit {vk.__version__}"


def test_help_starts_without_the_heavy_imports():
    """A quarter of a second is a matter of what is imported; the time itself is measured in benchmarks/."""
    verbs = typer.main.get_command(app).commands
    heavy = {"torch", "numpy", "scipy", "sklearn", "lightning_fabric", "matplotlib", "yaml", "pyarrow", "pydantic_core"}
    code = f"""
import sys
from vaekit.cli import main
for asked in (["--version"], ["--help"], *([verb, "--help"] for verb in {list(verbs)})):
    sys.argv = ["vaekit", *asked]
    try: main()
    except SystemExit: print("HEAVY", asked, sorted({heavy} & set(sys.modules)))
"""
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert [line for line in said.splitlines() if line.startswith("HEAVY") and not line.endswith("[]")] == []
    assert said.count("HEAVY") == 2 + len(verbs)


def test_sample_in_every_form(pictures_run, tmp_path):
    for ending in ("png", "npy", "npz", "csv", "parquet"):
        vaekit("sample", pictures_run, "-n", 12, "--condition", 3, "-o", tmp_path / f"s.{ending}", check=0)
    assert np.load(tmp_path / "s.npy").shape == (12, 8, 8)
    np.testing.assert_array_equal(np.load(tmp_path / "s.npz")["x"], np.load(tmp_path / "s.npy"))
    np.testing.assert_array_equal(np.load(tmp_path / "s.npy"), vk.load(pictures_run).sample(12, {"label": 3}))
    assert pyarrow.parquet.read_table(tmp_path / "s.parquet").shape == (12, 64)
    assert pyarrow.csv.read_csv(tmp_path / "s.csv").shape == (12, 64)
    assert min(Image.open(tmp_path / "s.png").size) > 50


def test_the_other_verbs_on_pictures(pictures_run, tmp_path):
    vaekit("reconstruct", pictures_run, "digits[:10]", "-o", tmp_path / "r.png", check=0)
    vaekit("reconstruct", pictures_run, "digits[:10]", "-o", tmp_path / "r.npy", check=0)
    assert np.load(tmp_path / "r.npy").shape == (10, 8, 8)
    vaekit("encode", pictures_run, "digits[:7]", "-o", tmp_path / "z.parquet", check=0)
    latents = pyarrow.parquet.read_table(tmp_path / "z.parquet")
    assert latents.column_names == ["z0", "z1", "z2"]
    assert latents.num_rows == 7
    for ending in ("png", "gif", "npy"):
        vaekit(
            "interpolate", pictures_run, "digits[0]", "digits[1]", "--steps", 5, "-o", tmp_path / f"i.{ending}", check=0
        )
    assert np.load(tmp_path / "i.npy").shape == (5, 8, 8)
    assert Image.open(tmp_path / "i.gif").n_frames == 8  # there and back
    vaekit("score", pictures_run, "digits[:4]", "--score", "loglik", "--k", 5, "-o", tmp_path / "s.csv", check=0)
    assert pyarrow.csv.read_csv(tmp_path / "s.csv").column_names == ["row", "score", "p_value"]
    assert "Conv" in vaekit("info", pictures_run, check=0).stdout
    (pictures_run / "report.html").unlink()
    vaekit("report", pictures_run, check=0)
    assert (pictures_run / "report.html").stat().st_size > 10_000


def test_default_output_lands_in_the_run(pictures_run):
    vaekit("sample", pictures_run, "-n", 4, check=0)
    assert (pictures_run / "samples.png").exists()


def test_evaluate_prints_and_saves(pictures_run):
    done = vaekit("evaluate", pictures_run, "--k", 10, "--json", check=0)
    results = json.loads(done.stdout)
    assert results["elbo"] == pytest.approx(-results["reconstruction"] - results["kl"])
    assert results["rows"] == 180
    assert results == json.loads((pictures_run / "evaluation.json").read_text())
    text = vaekit("evaluate", pictures_run, "digits[:50]", "--k", 5, check=0).stdout
    assert "IW-NLL (k=5)" in text
    assert "active units" in text


def test_tables(table, table_run, tmp_path):
    vaekit("sample", table_run, "-n", 9, "-c", "group=a", "-c", "age=40", "-o", tmp_path / "s.csv", check=0)
    new = pyarrow.csv.read_csv(tmp_path / "s.csv")
    assert new.column_names == ["height", "half", "group", "age"]
    assert (new["group"].to_pylist(), new["age"].to_pylist()) == (["a"] * 9, [40] * 9)
    assert 100 < np.mean(new["height"].to_numpy()) < 240
    vaekit("encode", table_run, table, "-o", tmp_path / "z.csv", check=0)
    shuffled = tmp_path / "other.csv"  # other order, one more column, no condition
    shuffled.write_text("extra,half,height\n1,80,160\n2,90,180\n")
    vaekit("reconstruct", table_run, shuffled, "-o", tmp_path / "r.parquet", check=0)
    assert pyarrow.parquet.read_table(tmp_path / "r.parquet").shape == (2, 2)
    (tmp_path / "short.csv").write_text("weight\n160\n")
    assert "half" in fails("encode", table_run, tmp_path / "short.csv", "-o", tmp_path / "z.csv")


def test_sampling_where(table_run, tmp_path):
    vaekit(
        "sample",
        table_run,
        "-n",
        50,
        "--where",
        "height>=175",
        "--where",
        "group=b",
        "-o",
        tmp_path / "s.parquet",
        check=0,
    )
    new = pyarrow.parquet.read_table(tmp_path / "s.parquet")
    assert (len(new), set(new["group"].to_pylist())) == (50, {"b"})
    assert min(new["height"].to_pylist()) >= 175
    for where, word in {"heigt=3": "did you mean 'height'", "height=tall": "'tall'", "height": "NAME=VALUE"}.items():
        assert word in fails("sample", table_run, "--where", where, "-o", tmp_path / "s.csv")


def test_imputing(table, table_run, tmp_path):
    broken = pyarrow.csv.read_csv(table)
    vaekit("impute", table_run, table, "--draws", 2, "-o", tmp_path / "f.csv", check=0)
    vaekit("impute", table_run, table, "-o", tmp_path / "f.parquet", check=0)
    fixed = [pyarrow.csv.read_csv(tmp_path / f"f-{i}.csv") for i in (1, 2)]
    for whole in (*fixed, pyarrow.parquet.read_table(tmp_path / "f.parquet")):
        assert whole.column_names == broken.column_names
        assert whole["half"].null_count == 0
        there = broken["half"].is_valid()
        assert whole.filter(there).equals(broken.filter(there))
    assert not fixed[0]["half"].equals(fixed[1]["half"])


def test_one_likelihood_for_all_columns_of_a_table(table, tmp_path):
    run = tmp_path / "run"
    numbers = tmp_path / "numbers.csv"
    numbers.write_text("\n".join(line.rpartition(",")[0] for line in table.read_text().splitlines()) + "\n")
    vaekit("fit", numbers, "--likelihood", "normal", *QUICK, "--no-report", "--out", run, check=0)
    vaekit("score", run, numbers, "-o", tmp_path / "s.csv", check=0)
    assert len(pyarrow.csv.read_csv(tmp_path / "s.csv")) == 300
    vaekit("impute", run, numbers, "-o", tmp_path / "f.csv", check=0)
    broken, whole = pyarrow.csv.read_csv(numbers), pyarrow.csv.read_csv(tmp_path / "f.csv")
    there = broken["half"].is_valid().to_numpy()
    assert whole["half"].null_count == 0
    assert np.allclose(whole["half"].to_numpy()[there], broken["half"].to_numpy()[there])


def test_a_schema_is_written_edited_and_used(table, tmp_path):
    vaekit("schema", table, "-o", tmp_path / "schema.yaml", check=0)
    schema = yaml.safe_load((tmp_path / "schema.yaml").read_text())
    assert {name: c["kind"] for name, c in schema.items()} == {
        "age": "integer", "height": "positive", "half": "positive", "group": "binary",
    }  # fmt: skip
    (tmp_path / "schema.yaml").write_text("age: drop\nheight: {kind: real, high: 250}\n")
    run = tmp_path / "run"
    vaekit(
        "fit", table, "-c", "group", "--schema", tmp_path / "schema.yaml", *QUICK, "--no-report", "--out", run, check=0
    )
    known = yaml.safe_load((run / "config.yaml").read_text())["data"]["schema"]["schema"]
    assert list(known) == ["height", "half"]
    assert known["height"]["high"] == 250
    for text, word in {
        "agee: drop": "did you mean 'age'",
        "age: reel": "did you mean 'real'",
        "[1]": "not a schema",
    }.items():
        (tmp_path / "schema.yaml").write_text(text)
        assert word in fails("fit", table, "--schema", tmp_path / "schema.yaml", "--out", tmp_path / "other")


def test_print_config_round_trip(tmp_path):
    printed = vaekit("fit", "digits", "-c", "label", *QUICK, "--seed", 7, "--print-config", check=0).stdout
    assert yaml.safe_load(printed)["latent_dim"] == 3
    config = tmp_path / "settings.yaml"
    config.write_text(printed)
    vaekit("fit", "--config", config, "--epochs", 1, "--out", tmp_path / "run", "--no-report", check=0)
    settings = yaml.safe_load((tmp_path / "run/config.yaml").read_text())["settings"]
    assert (settings["latent_dim"], settings["random_state"], settings["epochs"]) == (3, 7, 1)
    again = vaekit("fit", "--config", tmp_path / "run/config.yaml", "--print-config", check=0).stdout
    assert yaml.safe_load(again)["random_state"] == 7


def test_runs_are_not_overwritten(tmp_path):
    for _ in range(2):
        vaekit("fit", "digits", *QUICK, "--no-report", cwd=tmp_path, check=0)
    assert {p.name for p in (tmp_path / "runs").iterdir()} == {"digits", "digits-2"}


MISTAKES = {
    "no source": (["fit"], "vaekit fit digits"),
    "source absent": (["fit", "nowhere.csv"], "does not exist"),
    "verb unknown": (["fitt", "digits"], "Did you mean 'fit'"),
    "option unknown": (["fit", "digits", "--epoch", 3], "--epochs"),
    "value no number": (["fit", "digits", "--epochs", "many"], "--epochs"),
    "size unknown": (["fit", "digits", "--size", "huge"], "small, base, large"),
    "condition unknown": (["fit", "digits", "--condition", "lable"], "did you mean 'label'"),
    "condition kind unknown": (["fit", "digits", "--condition", "label:colour"], "label, number"),
    "conditional prior alone": (["fit", "digits", "--prior", "conditional"], "needs a condition"),
    "support": (["fit", "digits", "--network", "mlp", "--likelihood", "categorical", "--epochs", 1], "whole numbers"),
    "config absent": (["fit", "--config", "no.yaml"], "no.yaml"),
    "resume without out": (["fit", "digits", "--resume"], "--out"),
    "no run": (["sample", "nowhere"], "not a run directory"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_line(mistake, tmp_path):
    args, word = MISTAKES[mistake]
    assert word in fails(*args, cwd=tmp_path)


USE_MISTAKES = {
    "label never seen": (["sample", "RUN", "--condition", "12"], "no class '12'"),
    "condition by another name": (["sample", "RUN", "--condition", "lable=1"], "did you mean 'label'"),
    "form unknown": (["sample", "RUN", "-o", "x.bmp"], ".png"),
    "no such folder": (["sample", "RUN", "-o", "no/such/x.png"], "does not exist"),
    "none": (["sample", "RUN", "-n", "0"], "'-n'"),
    "temperature": (["sample", "RUN", "--temperature", "-1"], "0 or more"),
    "row out of range": (["encode", "RUN", "digits[5000]"], "1797 rows"),
    "too many rows": (["interpolate", "RUN", "digits", "digits[1]"], "choose one"),
    "one step": (["interpolate", "RUN", "digits[0]", "digits[1]", "--steps", "1"], "'--steps'"),
    "other shape": (["reconstruct", "RUN", "SMALL"], "do not fit"),
    "k": (["score", "RUN", "digits[:2]", "--k", "0"], "'--k'"),
}


@pytest.mark.parametrize("mistake", USE_MISTAKES)
def test_mistakes_at_use_are_told_in_one_line(mistake, pictures_run, tmp_path):
    args, word = USE_MISTAKES[mistake]
    np.save(tmp_path / "small.npy", np.zeros((2, 5, 5), dtype=np.uint8))
    places = {"RUN": pictures_run, "SMALL": tmp_path / "small.npy"}
    assert word in fails(*[places.get(a, a) for a in args], cwd=tmp_path)


def test_bad_pictures(tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    assert "pictures" in fails("fit", folder, cwd=tmp_path)
    for i in range(30):
        Image.fromarray(np.random.default_rng(i).integers(0, 255, (9, 9, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    (folder / "broken.png").write_bytes((folder / "3.png").read_bytes()[:60])
    done = vaekit("fit", folder, *QUICK, "--no-report", "--out", tmp_path / "run", check=0)
    assert "broken.png" in done.stderr
    assert "1 of 31" in done.stderr
    assert "broken.png" in fails("fit", folder, *QUICK, "--strict", cwd=tmp_path)
    Image.new("RGB", (20, 9)).save(folder / "wide.png")
    assert "--resize" in fails("fit", folder, cwd=tmp_path)
    vaekit("fit", folder, *QUICK, "--resize", "9x9", "--no-report", "--out", tmp_path / "resized", check=0)
    Image.new("L", (40, 40)).save(tmp_path / "one.png")  # another size, grey: brought to the run's form
    vaekit("reconstruct", tmp_path / "resized", tmp_path / "one.png", "-o", tmp_path / "out.png", check=0)


def test_no_permission(tmp_path):
    if os.geteuid() == 0:  # root may write anywhere, but not below a file
        (tmp_path / "file").write_text("")
        assert "cannot make the folder" in fails("fit", "digits", *QUICK, "--out", tmp_path / "file/run")
    else:
        tmp_path.chmod(0o500)
        assert "cannot make the folder" in fails("fit", "digits", *QUICK, "--out", tmp_path / "run")


def test_a_fault_of_ours_is_exit_code_1(monkeypatch, tmp_path):
    """With a broken package underneath, the traceback is shown and the code is 1."""
    (tmp_path / "yaml.py").write_text("raise RuntimeError('broken')")
    done = process("info", "x", env={"PYTHONPATH": str(tmp_path)})
    assert done.returncode == 1
    assert "RuntimeError: broken" in done.stderr


def test_fashion_mnist_idx(tmp_path):
    source = real("fashion_mnist/t10k-images-idx3-ubyte.gz")
    vaekit("fit", f"{source}[:500]", "-c", "label", *QUICK, "--out", tmp_path / "run", check=0)
    assert "28x28" in vaekit("info", tmp_path / "run", check=0).stdout


def test_a_terminal_sees_a_bar(tmp_path):
    """In a pseudo-terminal the bar shows ELBO, reconstruction, KL and the time left."""
    import pty

    master, slave = pty.openpty()
    fit = ["fit", "digits", "--size", "small", "--epochs", "20", "--sampler", "prior", "--no-report", "--out", "run"]
    command = [sys.executable, "-m", "vaekit", *fit]
    environment = {**os.environ, "COLUMNS": "160", "OMP_NUM_THREADS": "1"}
    running = subprocess.Popen(command, cwd=tmp_path, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    seen = b""
    deadline = time.time() + 120
    while time.time() < deadline:
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        seen += part
    assert running.wait() == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen.decode(errors="replace"))
    assert re.search(r"ELBO -?\d.*reconstruction -?\d.*KL \d.*nats", text)
    assert "left" in text


def test_no_source_is_written_over(table_run, table, tmp_path):
    copy = tmp_path / "rows.csv"
    copy.write_bytes(table.read_bytes())
    for verb in ("reconstruct", "impute", "encode", "score"):
        assert "the source itself" in fails(
            verb, table_run, f"{copy}[0:5]", "-o", tmp_path / ".." / tmp_path.name / "rows.csv"
        )
    assert copy.read_bytes() == table.read_bytes()
