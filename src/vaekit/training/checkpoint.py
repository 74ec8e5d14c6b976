"""What is written while a run goes on: `checkpoint.safetensors`, everything needed to resume to the bit, in one file;
`model.safetensors`, the best weights so far; `metrics.csv`."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import nn

from vaekit.errors import UserError
from vaekit.files import read_tensors, tensor_writer, text_writer, write_together
from vaekit.training.guards import first_bad, reject_nan

CHECKPOINT, MODEL, METRICS = "checkpoint.safetensors", "model.safetensors", "metrics.csv"
S = TypeVar("S")


def save_checkpoint(fabric: Any, folder: Path, run: str, state: Any, step: nn.Module, optimizer: Any) -> None:
    """Write state, weights, best weights, optimiser and random state to `folder`, each file atomically. Every process calls it, and
    the first one writes."""
    totals = {k: fabric.all_gather(torch.tensor(v, dtype=torch.float64)) for k, v in state.totals.items()}
    if not fabric.is_global_zero:
        return
    reject_nan(step)
    plain = {k: v for k, v in asdict_shallow(state).items() if k != "best"}
    plain["totals"] = {k: v.flatten().tolist() for k, v in totals.items()}  # of each process
    tensors = {f"step.{k}": v for k, v in step.state_dict().items()}
    tensors |= {f"best.{k}": v for k, v in state.best.items()}
    for index, moments in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{k}": torch.as_tensor(v) for k, v in moments.items()}
    tensors |= {f"random.{k}": v for k, v in random_state().items()}
    best = state.best or step.model.state_dict()  # type: ignore[union-attr]
    files = {
        CHECKPOINT: tensor_writer(tensors, "checkpoint", {"run": run, "state": plain}),
        MODEL: tensor_writer(best, "model", {"run": run}),  # type: ignore[arg-type]
        METRICS: text_writer(to_csv(state.history)),
    }
    write_together({folder / name: write for name, write in files.items()})


def load_checkpoint(fabric: Any, folder: Path, run: str, step: nn.Module, optimizer: Any, state_class: type[S]) -> S:
    """Put everything back and return the state; a new state if there is no checkpoint yet.

    The first process reads it for all: another machine may have no such folder, or still see the checkpoint before this one.
    """
    path = folder / CHECKPOINT
    tensors, about = fabric.broadcast(
        read_tensors(path, "checkpoint") if fabric.is_global_zero and path.exists() else ({}, {})
    )
    if not about:
        return state_class()
    if about.get("run") != run:
        raise UserError(f"{path} belongs to another run than the one in {folder}: choose another --out to start again")
    groups: dict[str, dict[str, Any]] = {"step": {}, "best": {}, "optimizer": {}, "random": {}}
    try:
        state = state_class(**about["state"])
        totals = {k: [float(each) for each in v] for k, v in state.totals.items()}  # type: ignore[attr-defined]
        for key, tensor in tensors.items():
            group, _, name = key.partition(".")
            groups[group][name] = tensor
        put_weights(step, groups["step"])
        if groups["best"]:
            check_weights(step.model, groups["best"])  # type: ignore[arg-type]
        moments: dict[int, dict[str, Any]] = {}
        for key, tensor in groups["optimizer"].items():
            index, name = key.split(".")
            moments.setdefault(int(index), {})[name] = tensor
        optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})
        set_random_state(groups["random"])
    except (KeyError, TypeError, ValueError, RuntimeError) as e:
        reason = (str(e).splitlines() or [type(e).__name__])[0]
        raise UserError(
            f"{path} does not fit this model ({reason}): resume with the settings it was trained with"
        ) from e
    same = len(next(iter(totals.values()), [])) == fabric.world_size  # as many processes as before
    state.totals = {k: v[fabric.global_rank] if same else sum(v) / len(v) for k, v in totals.items()}  # type: ignore[attr-defined]
    state.best = groups["best"]  # type: ignore[attr-defined]
    state.interrupted = False  # type: ignore[attr-defined]
    return state


def put_weights(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """Load a state dict. ValueError or RuntimeError if it is not this module's, or has numbers that are not finite."""
    check_weights(module, tensors)
    module.load_state_dict(tensors)


def check_weights(module: nn.Module, tensors: Mapping[str, torch.Tensor]) -> None:
    """PyTorch itself checks the names and shapes alone, and turns tensors of other types into its own."""
    own = module.state_dict()
    if missing := own.keys() ^ tensors.keys():
        raise ValueError(f"{min(missing)} is in only one of them")
    for name, tensor in tensors.items():
        if (tensor.dtype, tensor.shape) != (own[name].dtype, own[name].shape):
            held, wanted = ((str(t.dtype), tuple(t.shape)) for t in (tensor, own[name]))
            raise ValueError(f"{name} is {held} and has to be {wanted}")
    if bad := first_bad(dict(tensors)):
        raise ValueError(f"{bad} is not finite")


def asdict_shallow(state: Any) -> dict[str, Any]:
    return {name: getattr(state, name) for name in state.__dataclass_fields__}


def random_state() -> dict[str, torch.Tensor]:
    """torch's own generators, which dropout and other random layers of a user's networks draw from."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states |= {f"cuda{i}": s for i, s in enumerate(torch.cuda.get_rng_state_all())}
    return states


def set_random_state(states: dict[str, torch.Tensor]) -> None:
    torch.set_rng_state(states["cpu"])
    for i in range(torch.cuda.device_count()):
        if f"cuda{i}" in states:
            torch.cuda.set_rng_state(states[f"cuda{i}"], i)


def to_csv(history: list[dict[str, float]]) -> str:
    out = io.StringIO()
    if history:
        writer = csv.DictWriter(out, list(history[0]))
        writer.writeheader()
        writer.writerows(history)
    return out.getvalue()
