"""A search that continues over many processes and machines: Optuna's study in a journal, a file that all of them append to."""

from __future__ import annotations

import json
import math
import os
import re
import secrets
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event, Thread
from typing import Any

import numpy as np

from vaekit.errors import UserError, extra_needed, note
from vaekit.files import FULL, locked

NAME, JOURNAL, WORKERS = "vaekit", "study.log", "workers"
BEAT, DEAD = 5.0, 120.0  # seconds: a process says this often that it is alive, and is given up after this long without
PATIENCE = 60.0  # seconds: others hold the folder for milliseconds
STALE = 10  # seconds: after this long a lock on the journal is one of a process that was killed
STEPS = 20  # of a run: the shares at which trials are compared
STARTUP = 5  # finished trials before any is pruned

DONE, PRUNED, REFUSED, RUNNING, WAITING, STOPPED = "done", "pruned", "refused", "running", "waiting", "stopped"


class EndOfSearch(UserError):  # noqa: N818
    """A mistake that no other settings would mend."""


@dataclass
class Trial:
    """A trial, for people.

    Attributes:
        number: from 0 on. state: one of the names above; "stopped" was interrupted or killed, and its settings were tried again.
        value: its bound in nats; for a pruned trial, its last bound; NaN if it has no bound. settings: what it tried.
        reason: why it was refused. share: how far it came, 0..1. seconds: how long it took.
        kl: in nats, on the held-out rows. epochs: how many.
    """

    number: int
    state: str
    value: float = math.nan
    settings: dict[str, Any] = field(default_factory=dict)
    reason: str = ""
    share: float = 1.0
    seconds: float = 0.0
    kl: float = math.nan
    epochs: int | None = None


class Study:
    """The trials in a folder, which many processes may work on at once.

    Args:
        folder: made if it is not there. about: what the search is of; each value plain. The same for all processes.
        seed: of what is tried. defaults: what the first trial tries.

    Raises:
        UserError: Optuna is not installed; the folder holds another search; the journal is damaged.
    """

    def __init__(self, folder: Path, about: Mapping[str, Any], seed: int, defaults: Mapping[str, Any]):
        try:
            import optuna
        except ImportError as e:
            raise extra_needed("tune", "optuna") from e
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.folder, self.optuna, self.worker = folder, optuna, Worker(folder / WORKERS)
        try:
            (folder / WORKERS).mkdir(parents=True, exist_ok=True)
        except OSError as e:
            raise UserError(f"cannot make the folder {folder}: {e.strerror}") from e
        with self.claimed():
            mend(folder / JOURNAL)
            path = str((folder / JOURNAL).absolute())
            lock = optuna.storages.journal.JournalFileOpenLock(path, grace_period=STALE)
            storage = optuna.storages.JournalStorage(journal_backend()(path, lock))
            others = [each.study_name for each in storage.get_all_studies() if each.study_name != NAME]
            if others:
                raise UserError(f"{folder / JOURNAL} holds another study, {others[0]!r}: choose another folder")
            self.study = optuna.create_study(
                storage=storage, study_name=NAME, direction="maximize", load_if_exists=True, sampler=sampler(seed),
                # A bound is compared with those of others at the same share of the run, where the learning rate was the same share
                # of its highest. Hyperband would compare a few of a bracket, and needs more trials than most searches have.
                pruner=optuna.pruners.MedianPruner(n_startup_trials=STARTUP, n_warmup_steps=2),
            )  # fmt: skip
            plain = json.loads(json.dumps(about, default=str))
            if known := self.study.user_attrs.get("about"):
                check_same(folder, known, plain)
            else:
                self.study.set_user_attr("about", plain)
                self.study.enqueue_trial(dict(defaults))

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep other processes from choosing a trial, or from writing to the folder."""
        with locked(self.folder, PATIENCE):
            yield

    def check_rows(self, fingerprint: str) -> None:
        """EndOfSearch if the rows are not those that the search began with."""
        known = self.study.user_attrs.get("fingerprint")
        if known is None:
            self.study.set_user_attr("fingerprint", fingerprint)
        elif known != fingerprint:
            raise EndOfSearch(
                f"{self.folder} searches on other rows: the source has changed since. Choose another -o FOLDER"
            )

    # -- trials --------------------------------------------------------------------------------------------------------

    def ask(self, trials: int) -> Any:
        """An Optuna trial to work on; None if `trials` of them were begun."""
        with self.claimed():
            self.give_up_dead()
            if sum(each.state not in (STOPPED, WAITING) for each in self.trials) >= trials:
                return None
            trial = self.study.ask()
            trial.set_user_attr("worker", self.worker.name)
            return trial

    def give_up_dead(self) -> None:
        """Mark trials of processes that have died, and queue what they tried."""
        for each in self.study.get_trials(deepcopy=False, states=[self.optuna.trial.TrialState.RUNNING]):
            if not self.worker.is_alive(each.user_attrs.get("worker", "")):
                self.again(each)

    def again(self, trial: Any) -> None:
        """Mark a trial as stopped, and queue what it tried. If not all of it was chosen, it is chosen once more, in the same way."""
        known = self.study.get_trials(deepcopy=False)[trial.number]
        tried = known.params if "settings" in known.user_attrs else known.system_attrs.get("fixed_params", {})
        if self.tell(trial.number, state=self.optuna.trial.TrialState.FAIL):
            self.study.enqueue_trial(tried)

    def done(self, trial: Any, value: float, found: Mapping[str, Any]) -> bool:
        """Keep the bound of a trial, and what else was found. False if it was given up meanwhile, as if this process had died."""
        return self.tell(trial, value, attributes={"found": found})

    def pruned(self, trial: Any, **attributes: Any) -> bool:
        """Record a trial that was pruned, or refused for a `reason`."""
        return self.tell(trial, state=self.optuna.trial.TrialState.PRUNED, attributes=attributes)

    def tell(self, trial: Any, *args: Any, attributes: Mapping[str, Any] | None = None, **options: Any) -> bool:
        try:
            for name, value in (attributes or {}).items():
                trial.set_user_attr(name, value)
            self.study.tell(trial, *args, **options)
        except EndOfSearch:
            raise
        except (self.given_up, ValueError):  # two ways in which Optuna says that the trial has ended
            return False
        return True

    @property
    def given_up(self) -> type[Exception]:
        """The error for work on a trial that was given up meanwhile."""
        return self.optuna.exceptions.UpdateFinishedTrialError

    @property
    def trials(self) -> list[Trial]:
        """All trials, by number."""
        return [self.shown(each) for each in self.study.get_trials(deepcopy=False)]

    def shown(self, each: Any) -> Trial:
        """An Optuna trial, for people."""
        names = self.optuna.trial.TrialState
        states = {names.COMPLETE: DONE, names.PRUNED: PRUNED, names.RUNNING: RUNNING, names.WAITING: WAITING}
        known = each.user_attrs
        state = REFUSED if "reason" in known and each.state == names.PRUNED else states.get(each.state, STOPPED)
        came = max(each.intermediate_values, default=0)
        value = each.value if each.value is not None else each.intermediate_values.get(came, math.nan)
        return Trial(
            each.number, state, value, known.get("settings", each.system_attrs.get("fixed_params", {})), known.get("reason", ""),
            1.0 if state == DONE else came / STEPS, each.duration.total_seconds() if each.duration else 0.0,
            **known.get("found", {}),
        )  # fmt: skip

    def importances(self) -> dict[str, float]:
        """The share of each setting in the differences between bounds, the largest first; none if there are too few trials."""
        done = self.study.get_trials(deepcopy=False, states=[self.optuna.trial.TrialState.COMPLETE])
        if len(done) < STARTUP or len({each.value for each in done}) < 2:
            return {}
        return self.optuna.importance.get_param_importances(self.study)


def best_of(trials: list[Trial]) -> Trial | None:
    """The first of those with the highest bound; only trials that went to their end."""
    return max((t for t in trials if t.state == DONE), key=lambda t: t.value, default=None)


def check_same(folder: Path, known: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """UserError that names the first thing in which two searches differ."""
    for name in {**known, **now}:
        if known.get(name) != now.get(name):
            before, after = (f"{values[name]}" if name in values else "absent" for values in (known, now))
            raise UserError(
                f"{folder} holds another search: its {name} is {before}, and here it is {after}. Give the same command as "
                "before, or another -o FOLDER"
            )


def sampler(seed: int) -> Any:
    """Optuna's TPE. What it tries depends on the seed and on the trials before, and not on how often the search was interrupted."""
    from optuna.samplers import BaseSampler, TPESampler
    from optuna.trial import TrialState

    class Seeded(BaseSampler):
        def before_trial(self, study: Any, trial: Any) -> None:
            before = [
                each for each in study.get_trials(deepcopy=False)[: trial.number] if each.state != TrialState.FAIL
            ]
            self.own = TPESampler(seed=int(np.random.SeedSequence([seed, len(before)]).generate_state(1)[0]))

        def infer_relative_search_space(self, *args: Any) -> Any:
            return self.own.infer_relative_search_space(*args)

        def sample_relative(self, *args: Any) -> Any:
            return self.own.sample_relative(*args)

        def sample_independent(self, *args: Any) -> Any:
            return self.own.sample_independent(*args)

    return Seeded()


# -- the journal -------------------------------------------------------------------------------------------------------


def journal_backend() -> Any:
    """Optuna's file of a journal, which stays whole where a disk fills up in the middle of a line."""
    from optuna.storages.journal import JournalFileBackend

    class Journal(JournalFileBackend):
        def __init__(self, path: str, lock: Any):
            super().__init__(path, lock)
            self.path, self.lock = Path(path), lock

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            lines = "".join(json.dumps(each, separators=(",", ":")) + "\n" for each in logs)
            try:
                self.lock.acquire()
                try:
                    self.append(lines.encode())
                finally:
                    self.lock.release()
            except OSError as e:
                remedy = "free space" if e.errno in FULL else "mend that"
                raise EndOfSearch(
                    f"cannot write to {self.path}: {e.strerror or e}; what was found is kept: {remedy}, and give the same "
                    "command again"
                ) from e

        def append(self, lines: bytes) -> None:
            size = self.path.stat().st_size
            try:
                with self.path.open("ab") as file:
                    file.write(lines)
                    file.flush()
                    os.fsync(file.fileno())
            except OSError:
                os.truncate(self.path, size)
                raise

    return Journal


def mend(path: Path) -> None:
    """Leave out a last line that a crash of the machine cut off. UserError for a journal that is damaged otherwise."""
    if not path.exists():
        return
    content = path.read_bytes()
    *lines, rest = content.split(b"\n")
    for i, line in enumerate(lines):
        try:
            whole = isinstance(json.loads(line)["op_code"], int)
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            raise UserError(f"{path} is damaged at line {i + 1}: restore it from a copy, or choose another folder")
    if rest:
        os.truncate(path, len(content) - len(rest))
        note(f"the last line of {path} was cut off, and is left out")


# -- who is alive ------------------------------------------------------------------------------------------------------


class Worker:
    """This process, as others know it: a file that is touched every few seconds. Use it as a context.

    A file and not a lock, because a lock need not reach from machine to machine. Its time is that of the file system, so the
    machines' clocks do not matter.
    """

    def __init__(self, folder: Path):
        host = re.sub(r"[^\w.]", "_", socket.gethostname())
        self.host, self.name = host, f"{host}-{os.getpid()}-{secrets.token_hex(4)}"
        self.folder, self.path, self.stopped = folder, folder / self.name, Event()

    def __enter__(self) -> Worker:
        self.path.touch()
        Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *exc: object) -> None:
        self.stopped.set()
        with suppress(OSError):
            self.path.unlink()

    def _beat(self) -> None:
        while not self.stopped.wait(BEAT):
            with suppress(OSError):  # a file system that is away for a while
                os.utime(self.path)

    def is_alive(self, name: str) -> bool:
        """Whether the process that calls itself so still works."""
        if name in ("", self.name):
            return bool(name)
        host, _, rest = name.rpartition("-")[0].rpartition("-")
        if host == self.host and not runs(int(rest)):
            return False
        try:
            return self.path.stat().st_mtime - (self.folder / name).stat().st_mtime < DEAD
        except OSError:
            return False


def runs(process: int) -> bool:
    """Whether another process of this machine has this number."""
    if os.name != "posix":  # where asking would end it
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return process != os.getpid()
