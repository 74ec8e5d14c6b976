"""Trackers: TensorBoard, MLflow and Weights & Biases, each of which keeps what it learns of a training."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

from vaekit.errors import UserError, extra_needed, near_matches, note

log = logging.getLogger(__name__)

TENSORBOARD = "tensorboard"  # in a run's folder
FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"
METRICS_AT_ONCE = 1000  # which MLflow allows
OFFLINE = ("offline", "disabled")

Row = tuple[float, Mapping[str, float]]  # when an epoch ended (seconds), and its metrics


@dataclass
class About:
    """The facts that a tracker gets before training: the name of the run, its settings, vaekit's version, and the run's folder."""

    name: str
    settings: Mapping[str, Any]
    version: str
    folder: Path | None = None


@dataclass
class End:
    """The facts that a tracker gets at the end: `status`, notes about training, tags to find the run by, and the run's files."""

    status: str = FAILED
    notes: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[Path] = ()


class Tracker:
    """A service or file in which runs are tracked. All but `check` and `adopt` run in the thread of the tracker."""

    label: ClassVar[str]
    package: ClassVar[str]

    def check(self) -> None:
        """UserError if the tracker cannot be used here."""

    def adopt(self) -> None:
        """Find the run that the user has open already, which is then tracked in and left open."""

    def open(self, about: About, kept: str | None) -> str:
        """Open a run, or go on in the one with the identity that was kept. Returns its identity; "" if it needs none."""
        raise NotImplementedError

    def log(self, rows: Sequence[Row]) -> None:
        raise NotImplementedError

    def add(self, kept: str, numbers: Mapping[str, float], verdict: str, files: Sequence[Path]) -> None:
        """Add what was found after training to a run that is closed, if the tracker can."""

    def close(self, end: End) -> None:
        raise NotImplementedError


class TensorBoard(Tracker):
    """Scalars in `tensorboard/` of the run's folder; without a folder in `runs/`, as PyTorch does."""

    label, package = "TensorBoard", "tensorboard"

    def open(self, about: About, kept: str | None) -> str:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(str(about.folder / TENSORBOARD) if about.folder else None)
        return ""

    def log(self, rows: Sequence[Row]) -> None:
        for at, row in rows:
            for name, value in row.items():
                if name not in ("epoch", "step"):
                    self.writer.add_scalar(name, value, int(row["step"]), at)
        self.writer.flush()

    def close(self, end: End) -> None:
        self.writer.close()


class MLflow(Tracker):
    """A run of MLflow, at the user's tracking URI or else where MLflow puts it."""

    label, package = "MLflow", "mlflow"
    adopted: Any = None

    def adopt(self) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # MLflow reads it as it is imported
        if "mlflow" in sys.modules:
            self.adopted = sys.modules["mlflow"].active_run()  # of this thread

    def open(self, about: About, kept: str | None) -> str:
        log.info("opening MLflow's database")
        import mlflow

        self.client = mlflow.MlflowClient()
        with few_retries():
            known = self.adopted or (self._found(kept) if kept else None)
            run = mlflow.start_run(
                run_id=known.info.run_id if known else None,
                run_name=None if self.adopted else about.name,
                tags={"vaekit.version": about.version},
            )
        self.run, self.seen = run.info.run_id, run.data.metrics.get("epoch", 0) if kept else 0
        params = {name: value for name, value in flat(about.settings).items() if name not in run.data.params}
        mlflow.log_params(params)  # MLflow refuses to change one
        log.info("tracked by MLflow as run %s at %s", run.info.run_name, mlflow.get_tracking_uri())
        return self.run

    def _found(self, kept: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            run = self.client.get_run(kept)
            if run.info.lifecycle_stage == "active":
                return run
        except MlflowException as e:
            if e.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
        note(f"MLflow has no run {kept} at {self.client.tracking_uri} any more: a new one is begun")
        return None

    def log(self, rows: Sequence[Row]) -> None:
        from mlflow.entities import Metric

        metrics = [
            Metric(name, float(value), int(1000 * at), int(row["step"]))
            for at, row in rows
            if row["epoch"] > self.seen  # a resumed run repeats what came after its last checkpoint
            for name, value in row.items()
            if name != "step"
        ]
        for start in range(0, len(metrics), METRICS_AT_ONCE):
            self.client.log_batch(self.run, metrics=metrics[start : start + METRICS_AT_ONCE])

    def add(self, kept: str, numbers: Mapping[str, float], verdict: str, files: Sequence[Path]) -> None:
        import mlflow
        from mlflow.entities import Metric, RunTag

        client, now = mlflow.MlflowClient(), int(1000 * time.time())
        metrics = [Metric(f"evaluation.{name}", float(value), now, 0) for name, value in numbers.items()]
        client.log_batch(kept, metrics=metrics, tags=[RunTag("vaekit.verdict", verdict)])
        for path in files:
            client.log_artifact(kept, str(path))

    def close(self, end: End) -> None:
        import mlflow

        if not mlflow.active_run():  # of this thread: it was not opened
            return
        try:
            said = {"mlflow.note.content": "\n\n".join(end.notes)} if end.notes else {}
            mlflow.set_tags({**end.tags, **said})
            for path in end.files:
                mlflow.log_artifact(str(path))
        finally:
            if not self.adopted:
                mlflow.end_run(end.status)


class WandB(Tracker):
    """A run of Weights & Biases, of the project that WANDB_PROJECT names, or else `vaekit`."""

    label, package = "Weights & Biases", "wandb"
    adopted: Any = None

    def check(self) -> None:
        import wandb

        # The environment comes first: Weights & Biases has read it once, perhaps before a user who saw the error below set it.
        self.mode = os.environ.get("WANDB_MODE") or wandb.setup().settings.mode
        if wandb.run or self.mode in OFFLINE:
            return
        try:
            if wandb.login(prompt=False, verify=False):
                return
            reason = "there is no login"
        except wandb.errors.Error as e:
            reason = str(e)
        raise UserError(
            f"cannot track by Weights & Biases, {reason}: run `wandb login`, set WANDB_API_KEY, or set WANDB_MODE=offline to keep runs on this machine"
        )

    def adopt(self) -> None:
        import wandb

        self.adopted = wandb.run

    def open(self, about: About, kept: str | None) -> str:
        import wandb

        log.info("opening a run of Weights & Biases")
        self.run = self.adopted or wandb.init(
            project=os.environ.get("WANDB_PROJECT", "vaekit"),
            mode=self.mode,  # type: ignore[arg-type]
            name=about.name,
            id=kept,
            resume="allow" if kept else None,
            reinit="create_new",  # beside runs of others in this process
            settings=wandb.Settings(console="off", silent=True),
        )
        self.run.config.update({**about.settings, "vaekit": about.version}, allow_val_change=True)
        where = self.run.settings.sync_dir if self.run.offline else self.run.url
        log.info("tracked by Weights & Biases in %s", where)
        return str(self.run.id)

    def log(self, rows: Sequence[Row]) -> None:
        for _, row in rows:
            self.run.log({name: value for name, value in row.items() if name != "step"}, step=int(row["step"]))

    def close(self, end: End) -> None:
        self.run.summary.update({"status": end.status, "notes": list(end.notes), **end.tags})
        if not self.adopted:
            self.run.finish(exit_code=0 if end.status == FINISHED else 1)


TRACKERS: Mapping[str, type[Tracker]] = {"tensorboard": TensorBoard, "mlflow": MLflow, "wandb": WandB}


def check_names(names: Sequence[str]) -> None:
    """UserError for a tracker that there is not."""
    for name in names:
        if name not in TRACKERS:
            raise UserError(f"track: there is no tracker {name!r}{near_matches(name, TRACKERS)}")


def ready(names: Sequence[str]) -> list[Tracker]:
    """The trackers of these names. UserError if one of them cannot be used here, before time is spent."""
    check_names(names)
    for name in names:
        if find_spec(TRACKERS[name].package) is None:
            raise extra_needed(name, TRACKERS[name].package)
    found = [TRACKERS[name]() for name in dict.fromkeys(names)]
    for tracker in found:
        tracker.check()
    return found


def flat(settings: Mapping[str, Any]) -> dict[str, str]:
    """Settings as words, those of a part by its name: "prior.components"; what is None is left out."""
    found = {}
    for name, value in settings.items():
        within = {f"{name}.{key}": each for key, each in value.items()} if isinstance(value, Mapping) else {name: value}
        for key, each in within.items():
            if each is not None:
                found[key] = each if isinstance(each, str) else json.dumps(each, default=str)
    return found


@contextmanager
def few_retries() -> Iterator[None]:
    """A context in which MLflow reports soon that a server is not there. Outside it, a server may be gone for a while."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    if name in os.environ:
        yield
        return
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name, None)
