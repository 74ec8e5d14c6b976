"""Trackers, each read back as its users read it: MLflow's client on a real SQLite store, the files of Weights & Biases, TensorBoard's."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import vaekit as vk
from conftest import TINY, assert_same, fails, mistake, start, vaekit
from vaekit.errors import Note
from vaekit.files import read_yaml, to_yaml
from vaekit.runs.load import moved_settings
from vaekit.training.trackers import flat

QUICK = ("--size", "small", "--latent-dim", 2, "--sampler", "prior", "--no-report")
X = np.random.default_rng(0).normal(size=(60, 3))


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's database, new, which takes seconds to make."""
    mlflow = pytest.importorskip("mlflow")
    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    with contextlib.chdir(path.parent):
        mlflow.MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def mlflow(database: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client of a store of its own, which is where runs are tracked."""
    import mlflow

    shutil.copy(database, tmp_path / "mlflow.db")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    return mlflow.MlflowClient()


@pytest.fixture
def wandb() -> Iterator[Any]:
    """The package, which reads its environment once."""
    package = pytest.importorskip("wandb")
    yield package
    package.teardown()


@pytest.fixture
def offline(wandb: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("WANDB_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("WANDB_MODE", "offline")
    return tmp_path / "wandb"


def runs(client: Any) -> list[Any]:
    return client.search_runs(["0"], order_by=["attributes.start_time"])


def records(folder: Path) -> list[Any]:
    """What a run of Weights & Biases wrote on this machine: a log as LevelDB writes it, behind a head of 7 bytes."""
    import wandb
    from wandb.proto.wandb_internal_pb2 import Record

    wandb.teardown()  # the process that writes the file ends it
    (path,) = folder.glob("*.wandb")
    data, at, piece, found = path.read_bytes(), 7, b"", []
    while at < len(data):
        if 32768 - at % 32768 < 7:  # a record does not begin in the last bytes of a block
            at += 32768 - at % 32768
            continue
        length, kind = int.from_bytes(data[at + 4 : at + 6], "little"), data[at + 6]
        piece, at = piece + data[at + 7 : at + 7 + length], at + 7 + length
        if kind in (1, 4):  # whole, or the last part
            found.append(Record.FromString(piece))
            piece = b""
    return found


def test_a_run_in_mlflow_has_settings_metrics_files_and_an_end(mlflow: Any, tmp_path: Path) -> None:
    line = (
        "fit",
        "digits",
        *QUICK[:-1],
        "--epochs",
        3,
        "--track",
        "mlflow",
        "--prior",
        "mixture",
        "--prior.components",
        3,
    )
    said = vaekit(*line, "--out", "out", check=0).stderr
    assert "opening MLflow's database" in said
    (run,) = runs(mlflow)
    assert (run.info.run_name, run.info.status) == ("out", "FINISHED")
    expected = {"latent_dim": "2", "prior.name": "mixture", "prior.components": "3", "data.source": "digits"}
    assert run.data.params.items() >= {**expected, "data.rows": "1797", "estimator": "VAE"}.items()
    rows = vk.load("out").history_
    for name in ("valid_elbo", "kl", "seconds"):
        kept = mlflow.get_metric_history(run.info.run_id, name)
        assert [(m.step, m.value) for m in kept] == [(row["step"], row[name]) for row in rows]
    evaluation = json.loads(Path("out/evaluation.json").read_text())
    assert run.data.metrics["evaluation.iw_nll"] == evaluation["iw_nll"]
    assert run.data.tags["vaekit.verdict"] == evaluation["verdict"]
    assert run.data.tags["vaekit.version"] == vk.__version__
    there = {f.path for f in mlflow.list_artifacts(run.info.run_id)}
    assert there >= {"config.yaml", "model.safetensors", "metrics.csv", "notes.json", "report.html"}
    assert not there & {"checkpoint.safetensors", "tracking.json"}
    back = mlflow.download_artifacts(run.info.run_id, "", str(tmp_path / "back"))  # whole enough to be used
    np.testing.assert_array_equal(*(vk.load(f).sample(2, random_state=0) for f in ("out", back)))
    assert list(tmp_path.rglob("*.pkl")) == []


def test_a_resumed_fit_goes_on_in_the_same_tracked_run(mlflow: Any) -> None:
    line = ("fit", "digits", *QUICK, "--out", "out")
    vaekit(*line, "--epochs", 2, "--track", "mlflow", check=0)
    vaekit(*line, "--epochs", 4, "--resume", check=0)
    (run,) = runs(mlflow)
    assert run.info.status == "FINISHED"
    steps = [m.step for m in mlflow.get_metric_history(run.info.run_id, "kl")]
    assert steps == [row["step"] for row in vk.load("out").history_]
    mlflow.delete_run(run.info.run_id)
    for epochs in (5, 6):
        assert "MLflow has no run" in vaekit(*line, "--epochs", epochs, "--resume", check=0).stderr
        assert json.loads(Path("out/tracking.json").read_text()) == {"mlflow": runs(mlflow)[-1].info.run_id}
        Path("out/tracking.json").write_text(json.dumps({"mlflow": "0" * 32}))  # such as of another server


def test_ctrl_c_closes_the_tracked_run_and_resuming_opens_it_again(mlflow: Any) -> None:
    line = ("fit", "digits", *QUICK, "--epochs", 2000, "--out", "out")
    process = start(*line, "--track", "mlflow")
    deadline = time.monotonic() + 90
    while not any("kl" in run.data.metrics for run in runs(mlflow)):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    (run,) = runs(mlflow)
    assert run.info.status == "KILLED"
    reached = len(vk.load("out").history_)
    vaekit(*line[:-4], "--epochs", reached + 1, "--out", "out", "--resume", check=0)
    (run,) = runs(mlflow)
    assert (run.info.status, run.data.metrics["epoch"]) == ("FINISHED", reached + 1)


class Stops:
    """A watcher that does something as an epoch ends."""

    def __init__(self, do: Any, at: int = 1):
        self.do, self.at = do, at

    def step(self, state: Any, progress: float, terms: Any) -> None: ...

    def epoch(self, state: Any, progress: float, row: Any) -> None:
        if state.epoch == self.at:
            self.do()


def interrupt() -> None:
    signal.raise_signal(signal.SIGINT)


def break_down() -> None:
    raise ZeroDivisionError("a network of the user's own")


@pytest.mark.parametrize(("do", "error", "status"), [(interrupt, KeyboardInterrupt, "KILLED"), (break_down, ZeroDivisionError, "FAILED")])  # fmt: skip
def test_a_fit_from_python_that_ends_early_is_closed_as_such(mlflow: Any, do: Any, error: Any, status: str) -> None:
    model = vk.VAE(**TINY, trainer={"track": ["mlflow"]})
    with pytest.raises(error):
        model.fit_rows(X, {}, watchers=[Stops(do)])
    (run,) = runs(mlflow)
    assert (run.info.run_name, run.info.status) == ("VAE", status)
    assert not hasattr(model, "fitted_")
    assert "_tracking" not in vars(model)
    model.fit(X)
    assert [run.info.status for run in runs(mlflow)] == [status, "FINISHED"]


def test_a_run_that_the_user_has_open_is_used_and_left_open(mlflow: Any) -> None:
    import mlflow as package

    with package.start_run(run_name="mine") as mine:
        vk.VAE(**TINY, trainer={"track": ["mlflow"]}).fit(X)
        assert mlflow.get_run(mine.info.run_id).info.status == "RUNNING"
        package.log_metric("own", 1.0)
    (run,) = runs(mlflow)
    assert (run.info.run_name, run.info.status) == ("mine", "FINISHED")
    assert run.data.metrics.keys() >= {"own", "kl"}


def test_a_tracker_that_fails_does_not_stop_training(mlflow: Any, tmp_path: Path) -> None:
    def breaks() -> None:
        time.sleep(0.3)  # the first epoch is there
        with sqlite3.connect(tmp_path / "mlflow.db") as database:
            database.execute("ALTER TABLE metrics RENAME TO elsewhere")

    alone = vk.VAE(**{**TINY, "epochs": 5}).fit(X)
    model = vk.VAE(**{**TINY, "epochs": 5}, trainer={"track": ["mlflow"]})
    with pytest.warns(Note, match="MLflow lost track of this run, and training goes on without it") as said:
        model.fit_rows(X, {}, watchers=[Stops(breaks)])
    assert len([w for w in said if "lost track" in str(w.message)]) == 1
    assert_same(model.model_.state_dict(), alone.model_.state_dict())
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        database.execute("ALTER TABLE elsewhere RENAME TO metrics")
    assert [run.info.status for run in runs(mlflow)] == ["FINISHED"]


def test_a_server_that_is_not_there_is_an_error_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    since = time.monotonic()
    said = mistake(vk.VAE(**TINY, trainer={"track": ["mlflow"]}).fit, X)
    assert "cannot track by MLflow" in said
    assert "127.0.0.1" in said
    assert "leave mlflow out" in said
    assert time.monotonic() - since < 20


def test_a_run_of_weights_and_biases_is_whole_without_a_network(offline: Path, tmp_path: Path) -> None:
    line = ("fit", "digits", *QUICK, "--out", tmp_path / "out")
    vaekit(*line, "--epochs", 2, "--track", "wandb", "--track", "tensorboard", check=0)
    vaekit(*line, "--epochs", 3, "--resume", check=0)
    kept = json.loads((tmp_path / "out/tracking.json").read_text())["wandb"]
    first, second = (records(path) for path in sorted(offline.glob(f"offline-run-*-{kept}")))
    history = vk.load(tmp_path / "out").history_
    logged = [{i.key or i.nested_key[0]: json.loads(i.value_json) for i in r.history.item} for r in (*first, *second) if r.HasField("history")]  # fmt: skip
    assert [(row["_step"], row["valid_elbo"]) for row in logged] == [(r["step"], r["valid_elbo"]) for r in history]
    settings = {i.key: json.loads(i.value_json) for r in first if r.HasField("run") for i in r.run.config.update}
    settings |= {i.key: json.loads(i.value_json) for r in first if r.HasField("config") for i in r.config.update}
    assert (settings["latent_dim"], settings["data"]["source"]) == (2, "digits")
    said = {i.key: json.loads(i.value_json) for r in first if r.HasField("summary") for i in r.summary.update}
    assert said["status"] == "FINISHED"
    assert "notes" in said
    assert [r.exit.exit_code for r in first if r.HasField("exit")] == [0]
    # TensorBoard, of both times
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "out/tensorboard")).Reload()
    assert [event.step for event in events.Scalars("valid_elbo")] == [row["step"] for row in history]


def test_weights_and_biases_learns_of_a_failure(offline: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        vk.VAE(**TINY, trainer={"track": ["wandb"]}).fit_rows(X, {}, watchers=[Stops(break_down)])
    (folder,) = offline.glob("offline-run-*")
    assert [r.exit.exit_code for r in records(folder) if r.HasField("exit")] == [1]


def test_tensorboard_without_a_run_directory_logs_where_pytorch_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    vk.VAE(**TINY, trainer={"track": ["tensorboard"]}).fit(X)
    assert len(list(tmp_path.glob("runs/*/events.out.tfevents.*"))) == 1


def test_mistakes_come_before_time_is_spent(wandb: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "there is no tracker 'mlfow'; did you mean 'mlflow'?" in fails("fit", "digits", "--track", "mlfow")
    assert "trainer.track='mlflow' has to be a list" in mistake(vk.VAE(trainer={"track": "mlflow"}).fit, X)
    monkeypatch.setattr("vaekit.training.trackers.find_spec", lambda name: None)
    assert "pip install 'vaekit[mlflow]'" in fails("fit", tmp_path / "nowhere.csv", "--track", "mlflow")
    monkeypatch.undo()
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_IDENTITY_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    said = fails("fit", tmp_path / "nowhere.csv", "--track", "wandb")
    assert "WANDB_API_KEY" in said
    assert "WANDB_MODE=offline" in said
    monkeypatch.setenv("WANDB_API_KEY", "short")
    assert "API key" in fails("fit", tmp_path / "nowhere.csv", "--track", "wandb")


def test_a_run_that_was_tracked_is_used_where_its_tracker_is_not(mlflow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    vaekit("fit", "digits", *QUICK, "--epochs", 1, "--track", "mlflow", "--out", "out", check=0)
    monkeypatch.setattr("vaekit.training.trackers.find_spec", lambda name: None)
    vaekit("evaluate", "out", "--k", 2, check=0)
    assert vk.load("out").sample(1).shape == (1, 8, 8)


def test_an_older_run_that_logged_to_tensorboard_is_read(tmp_path: Path) -> None:
    folder = vk.VAE(**TINY).fit(X).save(tmp_path / "run")
    config = read_yaml(folder / "config.yaml")
    config["settings"]["trainer"] = {"tensorboard": True, "checkpoint_seconds": 5.0}
    (folder / "config.yaml").write_text(to_yaml(config))
    assert vk.load(folder).trainer == {"checkpoint_seconds": 5.0, "track": ["tensorboard"]}
    assert moved_settings({"trainer": {"tensorboard": False}}) == {"trainer": {}}


def test_saving_another_model_forgets_the_tracked_run(mlflow: Any, tmp_path: Path) -> None:
    vaekit("fit", "digits", *QUICK, "--epochs", 1, "--track", "mlflow", "--out", "out", check=0)
    vk.VAE(**TINY).fit(X).save("out")
    assert not Path("out/tracking.json").exists()


def test_settings_as_words() -> None:
    given = {"a": None, "b": True, "prior": {"name": "mixture", "components": 3}, "kind": {"schema": {"x y": "real"}}}
    assert flat(given) == {
        "b": "true",
        "prior.name": "mixture",
        "prior.components": "3",
        "kind.schema": '{"x y": "real"}',
    }


def test_weights_do_not_depend_on_trackers(mlflow: Any) -> None:
    for name, track in (("a", []), ("b", ["--track", "mlflow", "--track", "tensorboard"])):
        vaekit("fit", "digits", *QUICK, "--epochs", 2, *track, "--out", name, check=0)
    assert_same(*(load_file(f"{name}/model.safetensors") for name in "ab"))
