"""Search for the settings with the highest bound on held-out rows: what `vaekit tune` does, callable from Python too."""

from __future__ import annotations

import logging
import math
import os
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import Any

from vaekit.errors import Note, UserError, out_of_memory
from vaekit.files import parse_yaml, write_text
from vaekit.kinds import kinds
from vaekit.recipes.recipe import Recipe, settings_of
from vaekit.recipes.space import Space, rounded
from vaekit.recipes.study import (
    DONE,
    PRUNED,
    REFUSED,
    RUNNING,
    STARTUP,
    STEPS,
    STOPPED,
    WAITING,
    EndOfSearch,
    Study,
    Trial,
    best_of,
)
from vaekit.show.track import EVERY
from vaekit.show.words import duration, nats
from vaekit.training.guards import Interrupt

BEST = "best.yaml"
UNJUDGED = {"sampler": "prior", "calibrate": False}  # what is learned behind training, and costs time
# What may differ from machine to machine, and what says which device, how often and who follows.
ELSEWHERE = {"source", "device", "trainer", "devices", "nodes", "strategy", "capture", "track", "checkpoint_seconds"}


class Pruned(Exception):  # noqa: N818
    """A trial is not worth going on with."""


@dataclass
class Tuned:
    """The result of a search for settings.

    Attributes:
        study, space, folder: of the search. about: what it is of, in words.
        wanted: how many trials were asked for. interrupted: whether Ctrl-C stopped it.
    """

    study: Study
    space: Space
    folder: Path
    about: str
    wanted: int
    interrupted: bool = False

    def __post_init__(self) -> None:
        self.trials = self.study.trials
        self.best = best_of(self.trials)

    @property
    def running(self) -> int:
        """The number of trials that other processes work on."""
        return sum(each.state == RUNNING for each in self.trials)

    @property
    def ended(self) -> int:
        """The number of trials that have ended and count."""
        return sum(each.state in (DONE, PRUNED, REFUSED) for each in self.trials)

    @property
    def first(self) -> Trial | None:
        """The trial of the settings that `vaekit fit` would take, if it went to its end."""
        defaults = self.space.defaults()
        return next(
            (each for each in self.trials if each.state == DONE and each.settings.items() <= defaults.items()), None
        )

    def lines(self, best: Path) -> list[str]:
        """The result, and what to do with it, in lines."""
        assert self.best
        first, value = self.first, f"{nats(self.best.value)} nats"
        beside = f"; with the settings of `vaekit fit`: {nats(first.value)}" if first else ""
        found = [f"the best of {self.ended} trials is {self.best.number}: {value} on the held-out rows{beside}"]
        if self.running:
            found.append(f"still at work elsewhere: {self.running}; the same command then shows what came of them")
        return [*found, f"train it: vaekit fit --config {quote(str(best))} --out {quote(str(self.folder / 'best'))}"]

    def save(self) -> Path:
        """Write the best settings, for `vaekit fit --config`. UserError if no trial has a bound."""
        if not self.best:
            raise UserError(why_nothing(self.trials))
        write_text(self.folder / BEST, self.space.with_values(self.best.settings).to_yaml())
        return self.folder / BEST


def tune(
    recipe: Recipe, folder: Path, *, trials: int = 50, minutes: float | None = None, search: Sequence[str] = (),
    fixed: Collection[str] = (), say: Callable[[str], object] = print,
) -> Tuned:  # fmt: skip
    """Search until `trials` trials have ended, those of earlier calls and of other processes with the same folder included.

    Args:
        recipe: what to learn from; the settings in it are fixed.
        minutes: begin no trial after that time.
        search, fixed: see `Space`. say: shows a line to the user.

    Raises:
        UserError: nothing can be searched, no settings work, or the folder holds another search.
    """
    recipe.check()
    check_alone(recipe)
    Space(recipe, recipe.kind_class, search, fixed)  # before the data is read, which may take long
    until = math.inf if minutes is None else time.monotonic() + 60 * minutes
    _, data, folder = recipe.begin(folder, say)
    kind = recipe.kind_class if recipe.kind != "auto" else kinds()[data.kind]
    space = Space(recipe, kind, search, fixed)
    ranges = {name: str(each) for name, each in space.ranges.items()}
    about = f"{data.name}: {data.describe()}"
    said = parse_yaml(recipe.to_yaml())
    same = {name: value for name, value in {**said, **(said["trainer"] or {})}.items() if name not in ELSEWHERE}
    seed = recipe.settings.get("random_state") or 0
    tried = {f"search of {name}": each for name, each in ranges.items()}
    study = Study(folder, {"data": about, **tried, **same}, seed, space.defaults())
    say(f"searching {'; '.join(f'{name} {each}' for name, each in ranges.items())}")
    with study.worker, Interrupt(saves=True) as interrupt, SearchBar(trials) as bar, quiet_log():
        search_on = Searcher(study, space, data, interrupt, bar, say)
        while not interrupt.now and time.monotonic() < until and (trial := study.ask(trials)):
            try:
                search_on.attempt(trial)
            except KeyboardInterrupt:
                study.again(trial)
                interrupt.now = True
            except BaseException:
                with suppress(
                    EndOfSearch
                ):  # of a full disk, perhaps: then another call finds that this process has gone
                    study.again(trial)
                raise
    return Tuned(study, space, folder, about, trials, interrupt.now)


def check_alone(recipe: Recipe) -> None:
    """UserError for settings that continue a run, or share a trial among several processes."""
    if recipe.init:
        raise UserError("--init continues a run, whose settings are chosen: leave it out")
    trainer = recipe.settings.get("trainer") or {}
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 or {trainer.get(name, 1) for name in ("devices", "nodes")} != {1}:
        raise UserError(
            "each trial trains on one device: run the same command once on each device or machine, without torchrun, "
            "--devices and --nodes"
        )
    if recipe.settings.get("validation") == 0:
        raise UserError("trials are compared on held-out rows: give a --validation above 0")


@dataclass
class Searcher:
    """One process of a search."""

    study: Study
    space: Space
    data: Any
    interrupt: Interrupt
    bar: SearchBar
    say: Callable[[str], object]
    begun: bool = False

    def attempt(self, trial: Any) -> None:
        """Train one trial, and keep what came of it."""
        self.bar.begin(trial.number, best_of(self.study.trials))
        recipe, values = self.space.chosen(trial)
        trial.set_user_attr("settings", values)
        kept = self.train(trial, recipe)
        trials = self.study.trials
        ended = trials[trial.number]
        best = best_of(trials)
        self.say(line(ended, best) if kept else f"trial {trial.number} was given to another process meanwhile")
        if not best and ended.state == REFUSED and sum(each.state == REFUSED for each in trials) >= STARTUP:
            raise UserError(why_nothing(trials))

    def train(self, trial: Any, recipe: Recipe) -> bool:
        """Train; return whether the result was kept."""
        unjudged = {name: value for name, value in UNJUDGED.items() if name in settings_of(recipe.estimator)}
        watch = Watch(self, trial)
        try:
            watch.estimator = recipe.estimator(**{**recipe.arguments, **unjudged})
            with warnings.catch_warnings():
                if self.begun:  # the first trial has said what there is to say about the data
                    warnings.simplefilter("ignore", Note)
                watch.estimator.fit_data(self.data, watchers=[watch], **recipe.about_data)
            return self.study.done(trial, watch.value, watch.found)
        except Pruned:
            return self.study.pruned(trial, found=watch.found)
        except self.study.given_up:
            return False
        except (EndOfSearch, OSError):
            raise
        except Exception as e:  # of these settings, whatever it is: the others may work
            return self.study.pruned(trial, reason=reason_of(e))
        finally:
            self.begun = True


@dataclass
class Watch:
    """Watches the training of a trial: reports its bound at the shares of the run at which trials are compared."""

    searcher: Searcher
    trial: Any
    estimator: Any = None
    value: float = math.nan
    found: dict[str, Any] = field(default_factory=dict)
    reached: int = 0

    def step(self, state: Any, progress: float, terms: dict[str, float]) -> None:
        if self.searcher.interrupt.now:
            raise KeyboardInterrupt
        self.searcher.bar.step(state.epoch, progress, self.value)

    def epoch(self, state: Any, progress: float, row: dict[str, float]) -> None:
        if "valid_elbo" not in row:
            raise EndOfSearch(
                "trials are compared on held-out rows, and none can be held out of so few: give more rows"
            )
        if not self.searcher.begun:
            self.searcher.study.check_rows(self.estimator.data_["fingerprint"])
        kept = state.history[state.best_epoch - 1]  # whose weights the model would have if training ended here
        before, self.value = self.value, kept["valid_elbo"]
        self.found = {"kl": round(kept["valid_kl"], 4), "epochs": len(state.history)}
        if not math.isfinite(self.value):
            raise UserError("the bound on the held-out rows is not a finite number")
        reached = min(STEPS, int(STEPS * progress + 1e-9))
        # One long epoch may pass several of the shares: what was known there is the bound of the epoch before.
        for passed in range(self.reached + 1, reached if math.isfinite(before) else 0):
            self.trial.report(before, passed)
        if reached > self.reached:
            self.reached = reached
            self.trial.report(self.value, reached)
            if progress < 1 and self.trial.should_prune():
                raise Pruned


class SearchBar:
    """The progress of a trial for people: a bar on a terminal, a line every few seconds elsewhere. Use it as a context."""

    def __init__(self, trials: int):
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

        self.trials, self.console = trials, Console(stderr=True)
        self.bar = Progress(
            SpinnerColumn(), TextColumn("trial {task.fields[number]}"), BarColumn(bar_width=24), TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(), TextColumn("left"), TextColumn("{task.fields[text]}", style="cyan"), console=self.console,
            transient=True,
        )  # fmt: skip
        self.task = self.bar.add_task("tune", total=1.0, number=0, text="", visible=False)
        self.number, self.best, self.said = 0, "", time.monotonic()

    def __enter__(self) -> SearchBar:
        if self.console.is_terminal:
            self.bar.start()
        return self

    def __exit__(self, *exc: object) -> None:
        if self.console.is_terminal:  # stopping a bar that never started would print an empty line
            self.bar.stop()

    def begin(self, number: int, best: Trial | None) -> None:
        self.number, self.best = number, f", best {nats(best.value)}" if best else ""
        self.bar.reset(self.task, total=1.0, number=number, text=f"of {self.trials}{self.best}", visible=True)

    def step(self, epoch: int, progress: float, value: float) -> None:
        now = time.monotonic()
        if now - self.said < (0.1 if self.console.is_terminal else EVERY):
            return
        self.said = now
        text = f"epoch {epoch + 1}, bound {nats(value)}{self.best} nats"
        self.bar.update(self.task, completed=progress, text=text)
        if not self.console.is_terminal:
            self.console.print(f"trial {self.number}: {progress:.0%}, {text}", highlight=False, soft_wrap=True)


@contextmanager
def quiet_log() -> Iterator[None]:
    """Keep the phases of each training to themselves."""
    log = logging.getLogger("vaekit")
    before = log.level
    log.setLevel(logging.WARNING)
    try:
        yield
    finally:
        log.setLevel(before)


def line(trial: Trial, best: Trial | None) -> str:
    """A trial in a line."""
    said = {
        DONE: f"{nats(trial.value)} nats",
        PRUNED: f"pruned at {trial.share:.0%} with {nats(trial.value)} nats",
        REFUSED: f"refused: {trial.reason}",
    }.get(trial.state, trial.state)
    if best and best.number == trial.number:
        said += ", the best so far"
    elif best:
        said += f" (best {nats(best.value)}, trial {best.number})"
    return f"trial {trial.number}: {said}; {in_words(trial.settings)}; {duration(trial.seconds)}"


def in_words(settings: dict[str, Any]) -> str:
    return ", ".join(f"{name} {rounded(value)}" for name, value in settings.items())


def reason_of(error: Exception) -> str:
    """Why settings do not work, in a line."""
    if isinstance(error, UserError):
        return " ".join(str(error).split())[:300]
    if out_of_memory(error):
        return "there is not enough memory"
    return f"a fault in vaekit ({type(error).__name__}: {' '.join(str(error).split())[:200]}): please report it"


def why_nothing(trials: Sequence[Trial]) -> str:
    """Say why no trial has a bound."""
    reasons = Counter(each.reason for each in trials if each.state == REFUSED)
    if not reasons:
        return "no trial has ended yet, so there are no best settings: give the same command again, with more time"
    (reason, times), *_ = reasons.most_common(1)
    return f"none of {len([t for t in trials if t.state not in (STOPPED, WAITING)])} trials gave a bound; {times} of them: {reason}"
