"""The whole story of training: in one process, or in several on Lightning Fabric."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from torch import Tensor, nn

from vaekit.errors import UserError, note
from vaekit.model import Draw
from vaekit.nets.condition import forget
from vaekit.objectives import Function, Objective
from vaekit.settings.limits import Many, Positive, Seed, Share
from vaekit.settings.options import DATA, DEVICES, setting
from vaekit.training.alone import Adam, Alone
from vaekit.training.capture import Capture, impure
from vaekit.training.checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from vaekit.training.data import (
    VALIDATION,
    BatchNoise,
    Rows,
    ToBatch,
    as_is,
    batch_lengths,
    batch_seeds,
    generator,
    like_lengths,
    own_rows,
    row_lengths,
    rows_at_once,
)
from vaekit.training.devices import most_bits
from vaekit.training.guards import Interrupt, explain_nan
from vaekit.training.launch import settle
from vaekit.training.meter import Meter, Pace

VALIDATION_ROWS = 1024  # rows at a time, at most: bounds memory


@dataclass
class Training:
    """How to train.

    Attributes:
        epochs: passes over the data; None: as many as give 4000 steps, at least `least_epochs`.
        minutes: train for this many minutes instead.
        batch_size: rows per step, over all devices together.
        learning_rate: highest step size of Adam; it warms up over 2 % of the run and falls to 0 along a cosine.
        patience: stop when validation has not improved for this share of the run.
        keep: weights at the end: "best", of the best epoch on the validation rows, or "last".
        condition_dropout: probability with which training hides a condition.
        cell_dropout: share of rows in which training hides cells. In each such row another share of the cells, uniform from 0 to 1,
            counts as missing, so that the encoder learns to work with any part of a row.
        like_lengths: make batches of rows of about the same length, which saves padding for texts.
        seed: seed for everything random.
        precision: Fabric's; "auto": bfloat16 autocast if the hardware computes in it, else 32 bits.
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1" or "mps".
        devices, nodes, strategy: Fabric's.
        checkpoint_seconds: seconds between checkpoints.
        capture: record a step once and replay it, as one CUDA graph on a GPU. "auto": if all parts are vaekit's own; "always": also
            your own modules and functions, which then have to do the same at every call; "never".
        memory: bytes of rows in files that are held at a time, such as "2GiB". What takes less than half of it is held whole.
        track: names of trackers that follow training: "tensorboard", "mlflow", "wandb".

    Example:
        >>> from vaekit.training import Training
        >>> Training(epochs=3).batch_size
        128
    """

    epochs: Many | None = None
    minutes: Positive | None = None
    batch_size: Many = 128
    learning_rate: Positive = 1e-3
    patience: Share = 0.2
    keep: Literal["best", "last"] = "best"
    condition_dropout: Share = 0.1
    cell_dropout: Share = 0.0
    like_lengths: bool = False
    seed: Seed = 0
    precision: Literal["auto", "32-true", "bf16-mixed", "16-mixed"] = setting(
        "auto", "Numerical precision. auto: bf16-mixed, if the hardware has it.", DEVICES
    )
    device: str = "auto"
    devices: int = setting(1, "Number of devices on each node.", DEVICES)
    nodes: int = setting(1, "Number of nodes, under torchrun.", DEVICES)
    strategy: str = setting("auto", "How several devices share the work: auto, ddp, fsdp, ...", DEVICES)
    checkpoint_seconds: float = setting(30.0, "Seconds between checkpoints, which --resume needs.")
    capture: Literal["auto", "always", "never"] = setting(
        "auto",
        "Record training steps and replay them, which is faster. always: also steps with networks of your own.",
        DEVICES,
    )
    memory: str = setting("2GiB", "Memory for rows in files. Larger files are read in pieces.", DATA)
    track: Sequence[str] = setting(list, "Also log to this tracker; repeat it for several.")
    least_epochs: Many = 50


@dataclass
class State:
    """The state of a run: with the weights and Adam's moments, all that it needs to continue.

    Attributes:
        epoch: epochs done.
        batch: batches of this epoch done.
        step: steps done.
        seconds: time that training took.
        history: a row of metrics per epoch.
        best_score: the objective's own score of the best epoch, on the validation rows.
        best_epoch: its number.
        best: its weights.
        stopped_early: whether `patience` ended it.
        interrupted: whether Ctrl-C ended it.

    Example:
        >>> from vaekit.training import State
        >>> State().step
        0
    """

    epoch: int = 0
    batch: int = 0  # of this epoch, done
    step: int = 0
    seconds: float = 0.0
    totals: dict[str, float] = field(
        default_factory=dict
    )  # terms summed over this process's shares of this epoch's batches so far
    history: list[dict[str, float]] = field(default_factory=list)  # a row of metrics per epoch
    best_score: float = -math.inf  # the objective's own, on the validation rows
    best_epoch: int = 0
    best_progress: float = 0.0
    best: dict[str, Tensor] = field(default_factory=dict)  # the model's weights at the best epoch
    stopped_early: bool = False
    interrupted: bool = False


class Watcher(Protocol):
    """Follows a run: `step` is called each time that the terms are read, `epoch` after each epoch.

    The terms are read at every step on a CPU, and about ten times a second on a GPU.
    """

    def step(self, state: State, progress: float, terms: dict[str, float]) -> None: ...
    def epoch(self, state: State, progress: float, row: dict[str, float]) -> None: ...


class Step(nn.Module):
    """Model and objective as one module, so that the strategies that wrap a module's forward see all of the step.

    Data goes in inside a function: Fabric rounds the tensors it is handed to the precision that networks run in, and
    log p(x|z) has to be of x as it is. The loss alone comes out, because it walks through what comes out as well.
    """

    terms: dict[str, Tensor]  # of the last step

    def __init__(self, model: nn.Module, objective: Objective):
        super().__init__()
        self.model, self.objective = model, objective

    def forward(self, batch: Callable[[], tuple[Draw, Tensor]] | None) -> Tensor:
        """The loss of a batch. None: a number that all parameters are in."""
        if batch is None:
            return sum(p.sum() for p in self.parameters() if p.requires_grad)  # type: ignore[return-value]
        drawn, progress = batch()
        loss, self.terms = self.objective(drawn, progress)
        return loss + drawn.penalty


def fit(
    fabric: Any,
    model: nn.Module,
    objective: Objective | Callable[[Draw, Tensor], Any],
    train: Rows,
    valid: Rows,
    options: Training,
    *,
    to_batch: ToBatch = as_is,
    folder: Path | None = None,
    run: str = "",
    resume: bool = False,
    watchers: Sequence[Watcher] = (),
) -> State:
    """Train `model` in place. At the end it has the weights of its best epoch, by the objective's score of the validation rows.

    It has those of the last epoch if the objective gives no score, or if there are no validation rows.

    Args:
        fabric: what `launch` gave for the same options.
        model: anything with `draw`, such as a `LatentModel`.
        objective: an `Objective`, or a function `(draw, progress) -> (loss, terms)`.
        train, valid: packed rows, such as `Data`.
        to_batch: packed rows -> what the model sees.
        folder: where checkpoints and `metrics.csv` go; None: nowhere.
        run: the run that they belong to; a checkpoint of another one is refused.
        resume: continue from the checkpoint in `folder`, if there is one.
        watchers: objects with `step(state, progress, terms)` and `epoch(state, progress, row)`.

    Returns:
        The `State` at the end.

    Raises:
        UserError: the loss is not a finite number any more; the message names the step and the tensor.

    Example:
        >>> from vaekit.distributions.likelihoods import NormalLikelihood
        >>> from vaekit.nets import MLP
        >>> from vaekit.training import Data, Training, fit, launch
        >>> model = vaekit.LatentModel(MLP((3,), (4,)), MLP((2,), (3,)), NormalLikelihood((3,)), latent_dim=2)
        >>> options, rows = Training(epochs=2, batch_size=4), Data(torch.randn(8, 3))
        >>> fit(launch(options), model, vaekit.ELBO(), rows, rows[:0], options).step
        4
    """
    device = fabric.device
    train, valid = train.to(device), valid.to(device)
    if not isinstance(objective, Objective):
        objective = Function(objective)
    objective.attach(model)
    bare = Step(model, objective).to(device)
    parameters = [p for p in bare.parameters() if p.requires_grad]
    meter = Meter(device)
    rate = torch.zeros((), dtype=torch.float64 if device.type == "cpu" else torch.float32, device=device)
    step, optimizer = fabric.setup(bare, adam(fabric, parameters, rate, meter.stopped))
    settle(fabric, step)
    state = load_checkpoint(fabric, folder, run, bare, optimizer, State) if folder and resume else State()

    rows = min(options.batch_size, len(train))
    if rows % fabric.world_size:
        raise UserError(
            f"batch_size {rows} cannot be divided among {fabric.world_size} processes: give a multiple of {fabric.world_size}"
        )
    share = rows // fabric.world_size
    mine = slice(fabric.global_rank * share, (fabric.global_rank + 1) * share)
    per_epoch = len(train) // rows
    lengths = row_lengths(train) if options.like_lengths else None
    any_length = getattr(getattr(model, "likelihood", None), "any_length", False)
    epochs = math.inf if options.minutes else options.epochs or max(options.least_epochs, math.ceil(4000 / per_epoch))
    saved = time.monotonic()
    started = saved - state.seconds

    # What differs from step to step is in these, so that a captured step finds it where it was.
    index, done = torch.zeros(share, dtype=torch.long, device=device), torch.zeros((), device=device)
    feed = train.feed()
    noise = BatchNoise(torch.Generator(device), rows, mine)
    cut: int | None = None  # the length of its rows, where they have one

    def progress() -> float:
        if options.minutes:
            return min(1.0, state.seconds / (60 * options.minutes))
        return min(1.0, state.step / (epochs * per_epoch))

    def begin(batch: int) -> None:
        """Say which batch of the epoch is next."""
        nonlocal cut
        cut = cuts[batch] if cuts else None
        index.copy_(feed.at(batch * share, share))
        noise.generator.manual_seed(seeds[batch])
        rate.fill_(options.learning_rate * schedule(progress()))
        done.fill_(progress())

    def batch() -> tuple[Tensor, Mapping[str, Tensor], Tensor | None]:
        """Its x, y and mask."""
        found = feed.held[index] if cut is None else feed.held[index].cut(cut)
        x, y, mask = to_batch(found.x, noise.uniform), found.y, found.mask
        if y and options.condition_dropout:
            y = forget(y, noise.uniform(share, 1 + len(y)), options.condition_dropout)
        if options.cell_dropout:
            seen = see_some(noise.uniform(share, 2 + math.prod(x.shape[1:])), options.cell_dropout).view(x.shape)
            mask = seen if mask is None else mask & seen
        return x, y, mask

    def learn() -> None:
        x, y, mask = batch()
        draw = partial(model.draw, x, y, k=objective.k, mask=mask, noise=noise.normal)  # type: ignore[arg-type, misc, operator]
        loss = step(lambda: (draw(), done))
        meter.add(loss.detach(), bare.terms.values())
        fabric.backward(loss)
        optimizer.step()
        for p in parameters:
            p.grad = None

    def read() -> tuple[bool, bool]:
        """Wait for the device. Keep what its steps came to, and the time. Returns whether to stop, and whether to save."""
        good, sums, terms = meter.read()
        state.seconds = time.monotonic() - started
        stop, due = interrupt.now, time.monotonic() - saved > options.checkpoint_seconds
        if fabric.world_size > 1:  # what one process knows, all of them have to act on
            known = torch.tensor([state.seconds, stop, due, -good], dtype=torch.float64)
            state.seconds, stop, due, bad = fabric.all_reduce(known, reduce_op="max").tolist()
            good = round(-bad)
        if good < state.batch:
            begin(good)
            x, y, mask = batch()
            kept = folder if folder and (folder / CHECKPOINT).exists() else None
            at = state.step - state.batch + good + 1
            raise UserError(explain_nan(model, x, y, mask, noise.normal, at, state.epoch + 1, kept))
        state.totals = dict(zip(bare.terms, sums, strict=True))
        for watcher in watchers:
            watcher.step(state, progress(), dict(zip(bare.terms, terms, strict=True)))
        pace.waited(state.seconds)
        return bool(stop), bool(due)

    def save() -> None:
        if folder:
            save_checkpoint(fabric, folder, run, state, bare, optimizer)

    pace = Pace(device, fabric.world_size, state.seconds)
    captured = Capture(
        learn, noise.generator, why_not(options, fabric, model, getattr(objective, "function", objective), to_batch)
    )
    with Interrupt(saves=folder is not None) as interrupt, closing(feed):
        # An epoch that was begun is ended, also where its last step was the last thing that was saved.
        while state.epoch < epochs and (progress() < 1 or state.batch) and not state.stopped_early:
            step.train()
            windows = train.windows(options.seed, state.epoch)
            if lengths is not None:
                windows = [like_lengths(w, lengths, rows, options.seed, state.epoch, i) for i, w in enumerate(windows)]
            order = torch.cat(windows)
            cuts = batch_lengths(lengths, order, rows, train.event[0]) if lengths is not None and any_length else []
            feed.begin(*own_rows(order, windows, rows, mine))
            seeds = batch_seeds(per_epoch, options.seed, state.epoch)
            meter.start(state.batch, state.totals)
            while state.batch < per_epoch and not (options.minutes and progress() >= 1):
                begin(state.batch)
                captured(cut)
                state.step += 1
                state.batch += 1
                if not pace.is_due() and state.batch < per_epoch:
                    continue
                stop, due = read()
                if stop:
                    state.interrupted = True
                    save()
                    return finish(model, state)
                if due:
                    save()
                    saved = time.monotonic()

            row = {k: fabric.all_reduce(torch.tensor(v / state.batch)).item() for k, v in state.totals.items()}
            row = {"epoch": state.epoch + 1, "step": state.step, "seconds": round(state.seconds, 3), **row}
            if len(valid):
                found, score = validate(fabric, model, objective, valid, to_batch, options.seed)
                row |= found
                score = None if options.keep == "last" else score
                if score is None or score > state.best_score:
                    state.best_score = -math.inf if score is None else score
                    state.best_epoch, state.best_progress = state.epoch + 1, progress()
                    state.best = {k: v.detach().clone() for k, v in model.state_dict().items()}
            state.history.append(row)
            state.epoch, state.batch, state.totals = state.epoch + 1, 0, {}
            state.stopped_early = len(valid) > 0 and progress() - state.best_progress > options.patience
            for watcher in watchers:
                watcher.epoch(state, progress(), row)

        save()
    if captured.problem and (device.type == "cuda" or options.capture == "always"):
        note(f"steps were not captured, which makes small networks slow on a GPU: {captured.problem}")
    return finish(model, state)


def adam(fabric: Any, parameters: Sequence[Tensor], rate: Tensor, stopped: Tensor) -> Any:
    """Adam with a learning rate that is a tensor, which changes nothing where `stopped` is 1."""
    if isinstance(fabric, Alone):
        return Adam(parameters, rate, stopped)
    optimizer = torch.optim.Adam(parameters, rate, fused=True)
    optimizer.found_inf = stopped  # type: ignore[attr-defined]
    # Loading makes a copy of the rate, which nobody would set.
    optimizer.register_load_state_dict_post_hook(lambda loaded: loaded.param_groups[0].update(lr=rate))
    return optimizer


def why_not(options: Training, fabric: Any, *parts: Any) -> str | None:
    """Why steps may not be captured; None where they may."""
    if options.capture == "never":
        return "capture is 'never'"
    if not isinstance(fabric, Alone):
        return "Lightning Fabric, which trains on several devices, runs each step itself"
    if options.capture == "auto" and (own := impure(*parts)):
        return f"{own} is your own, and may not do the same at every call (capture 'always' says that it does)"
    return None


def see_some(uniform: Tensor, share: float) -> Tensor:
    """Choose the cells that are seen, (B, cells) booleans, by uniform numbers (B, 2 + cells). In `share` of the rows some are hidden."""
    whole, rate, cell = uniform[:, :1] >= share, uniform[:, 1:2], uniform[:, 2:]
    return whole | (cell >= rate)


def schedule(progress: float) -> float:
    """The factor for the learning rate: it rises over the first 2 % of the run, then falls to 0 along a cosine."""
    return min(1.0, 0.02 + progress / 0.02) * 0.5 * (1 + math.cos(math.pi * progress))


@torch.no_grad()
def validate(
    fabric: Any, model: nn.Module, objective: Objective, valid: Rows, to_batch: ToBatch, seed: int
) -> tuple[dict[str, float], float | None]:
    """ELBO, reconstruction and KL at full weight, in nats, and the objective's own score: the same noise at every call,
    whatever the processes."""
    model.eval()
    sums = torch.zeros(4, dtype=most_bits(fabric.device), device=fabric.device)
    for i, data in enumerate(valid.chunks(rows_at_once(model, valid, most=VALIDATION_ROWS))):
        if i % fabric.world_size == fabric.global_rank:
            noise = BatchNoise(generator(seed, VALIDATION, i), len(data), slice(None))
            x = to_batch(data.x, noise.uniform)
            draw = model.draw(x, data.y, k=objective.k, mask=data.mask, noise=noise.normal)  # type: ignore[operator]
            score = objective.validation(draw)
            scored = torch.zeros_like(draw.kl) if score is None else torch.ones_like(draw.kl)
            rows = -draw.log_px.mean(0), draw.kl, draw.kl if score is None else score, scored
            sums += torch.stack([r.to(sums).sum() for r in rows])
    reconstruction, kl, score, scored = (fabric.all_reduce(sums, reduce_op="sum") / len(valid)).tolist()
    found = {"valid_elbo": -reconstruction - kl, "valid_reconstruction": reconstruction, "valid_kl": kl}
    return found, score if scored else None


def finish(model: nn.Module, state: State) -> State:
    if state.best:
        model.load_state_dict(state.best)
    model.eval().cpu()
    return state
