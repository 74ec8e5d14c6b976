"""The service against its own description, by schemathesis: what fits is answered as it says, and what does not is refused."""

import subprocess
import sys
from pathlib import Path

import pytest

from serving import Service, exported_models


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    place = exported_models(tmp_path_factory)
    with Service(*(place / name for name in ("pictures", "table"))) as service:
        yield service


# That a list of conditions is as long as the rows cannot be said in JSON Schema, nor the size of a PNG: only a table without
# conditions takes all that fits its schema.
@pytest.mark.parametrize(
    "which", [["--include-tag", "table"], ["--include-tag", "pictures", "--exclude-checks", "positive_data_acceptance"]]
)
def test_it_does_what_it_says(service, which, tmp_path):
    program = Path(sys.executable).parent / "schemathesis"
    ran = subprocess.run(
        [program, "run", f"http://127.0.0.1:{service.port}/openapi.json", "-n", "5", "--seed", "0", "--no-color", *which],
        capture_output=True, text=True, cwd=tmp_path,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout
    assert service.process.poll() is None
    assert not [line for line in service.said if "fault" in line]
