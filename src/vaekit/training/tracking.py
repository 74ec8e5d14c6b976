"""Trackers: TensorBoard, MLflow and Weights & Biases follow a training, by `track=["mlflow"]`.

A tracker works in a thread of its own, so training does not wait for it. A tracker that fails becomes one note, and training goes on.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from queue import SimpleQueue
from threading import Event, Thread
from typing import Any, ClassVar

from vaekit.errors import UserError, extra_needed, near_matches, note
from vaekit.files import read_text, write_text

log = logging.getLogger(__name__)

TRACKING, TENSORBOARD = "tracking.json", "tensorboard"  # in a run's folder
OPENING, CLOSING, LOST = (
    90.0,
    600.0,
    20.0,
)  # seconds: MLflow's first database takes 10, a large model takes long to send
FINISHED, FAILED, KILLED = "FINISHED", "FAILED", "KILLED"
METRICS_AT_ONCE = 1000  # which MLflow allows
OFFLINE = ("offline", "disabled")

Row = tuple[float, Mapping[str, float]]  # when an epoch ended (seconds), and its metrics


@dataclass
class About:
    """What a tracker learns before training: the name of the run, its settings, vaekit's version, and the run's folder."""

    name: str
    settings: Mapping[str, Any]
    version: str
    folder: Path | None = None


@dataclass
class End:
    """What a tracker learns at the end: `status`, what to know about training, what the run is to be found by, and the run's files."""

    status: str = FAILED
    notes: Sequence[str] = ()
    tags: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[Path] = ()


class Tracker:
    """Where runs are tracked. All but `check` and `adopt` run in the thread of the tracker."""

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


class Line(Thread):
    """A tracker in a thread of its own. It goes on behind a fault, so that the run is closed if that is possible at all."""

    def __init__(self, tracker: Tracker, begin: Callable[[], str]):
        super().__init__(name=tracker.label, daemon=True)  # a server that does not answer must not hold the program
        self.tracker, self.begin = tracker, begin
        self.rows: deque[Row] = deque()
        self.work: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self.opened, self.identity = Event(), ""
        self.fault: Exception | None = None
        self.told = False

    def run(self) -> None:
        self._try(self._begin)
        self.opened.set()
        for work in iter(self.work.get, None):
            self._try(work)

    def _try(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as e:  # whatever a tracker raises
            self.fault = self.fault or e

    def _begin(self) -> None:
        self.identity = self.begin()

    def wait_until_open(self) -> None:
        if not self.opened.wait(OPENING):
            raise TimeoutError(f"it did not answer for {OPENING:.0f} seconds")
        if self.fault:
            raise self.fault

    def put(self, row: Row) -> None:
        """Log the metrics of an epoch, with all others that wait."""
        self.rows.append(row)
        self.work.put(self._log)

    def _log(self) -> None:
        if rows := [self.rows.popleft() for _ in range(len(self.rows))]:
            self.tracker.log(rows)

    def leave(self, last: Callable[[], object]) -> None:
        """Do what waits and then `last`."""
        self.work.put(last)
        self.work.put(None)

    def close(self, last: Callable[[], object]) -> None:
        """The same, and wait for it."""
        self.leave(last)
        try:
            self.join(1.0)
            if self.is_alive():
                log.info("waiting for %s; Ctrl-C goes on without it", self.tracker.label)
                self.join(LOST if self.fault else CLOSING)
            if self.is_alive():
                self.fault = self.fault or TimeoutError("it does not answer")
        except KeyboardInterrupt:
            self.fault = InterruptedError("stopped by Ctrl-C before it had everything")
        self.tell()

    def tell(self) -> None:
        """Say once that the tracker was lost."""
        if self.fault and not self.told:
            self.told = True
            note(f"{self.tracker.label} lost track of this run, and training goes on without it: {reason(self.fault)}")


class Tracking:
    """The trackers of one training: a watcher (see `vaekit.training`), and a context that closes them however training ends.

    names: of `TRACKERS`. UserError if one of them cannot be used.
    """

    def __init__(self, names: Sequence[str]):
        self.trackers = dict(zip(dict.fromkeys(names), ready(names), strict=True))
        self.lines: list[Line] = []
        self.end = End()
        self.folder: Path | None = None

    def open(self, about: About, resume: bool) -> None:
        """Begin to track, or go on in the tracked runs that the folder knows. UserError if a tracker does not answer."""
        self.folder = about.folder
        path = self.folder and self.folder / TRACKING
        kept = read_ids(path) if path and resume else {}
        for name, tracker in self.trackers.items():
            tracker.adopt()
            line = Line(tracker, partial(tracker.open, about, kept.get(name)))
            line.start()
            try:
                line.wait_until_open()
            except BaseException as e:
                line.leave(partial(tracker.close, End()))  # should it open later
                if not isinstance(e, Exception):
                    raise
                raise UserError(
                    f"cannot track by {tracker.label}: {reason(e)}. Mend that, or leave {name} out of track"
                ) from e
            self.lines.append(line)
            kept[name] = line.identity
        if path and any(kept.values()):
            write_text(path, json.dumps({name: each for name, each in kept.items() if each}) + "\n")

    def step(self, state: Any, progress: float, terms: dict[str, float]) -> None: ...

    def epoch(self, state: Any, progress: float, row: dict[str, float]) -> None:
        for line in self.lines:
            if line.fault:
                line.tell()
            else:
                line.put((time.time(), row))

    def __enter__(self) -> Tracking:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if kind:
            stopped = issubclass(kind, (KeyboardInterrupt, SystemExit))
            self.end = End(KILLED if stopped else FAILED, [str(error)] if str(error) else [kind.__name__])
        for line in self.lines:
            line.close(partial(line.tracker.close, self.end))


def add(folder: Path, names: Sequence[str], numbers: Mapping[str, float], verdict: str, files: Sequence[Path]) -> None:
    """Add what was found after training, such as a report, to the tracked runs of a run's folder."""
    kept = read_ids(folder / TRACKING)
    for name in names:
        if name in kept:
            tracker = TRACKERS[name]()
            line = Line(tracker, str)
            line.start()
            line.close(partial(tracker.add, kept[name], numbers, verdict, files))


def read_ids(path: Path) -> dict[str, str]:
    """The identities of tracked runs by tracker; none if the file is not there or is not such a file."""
    try:
        return {name: each for name, each in json.loads(read_text(path)).items() if isinstance(each, str)}
    except (OSError, ValueError, AttributeError, RecursionError):
        return {}


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
    """Within it MLflow soon says that a server is not there. Later it may be gone for a while."""
    name = "MLFLOW_HTTP_REQUEST_MAX_RETRIES"
    if name in os.environ:
        yield
        return
    os.environ[name] = "1"
    try:
        yield
    finally:
        os.environ.pop(name, None)


def reason(error: Exception) -> str:
    """An error of a tracker in a line."""
    return " ".join(str(error).split())[:300].rstrip(".") or type(error).__name__
