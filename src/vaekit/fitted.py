"""What training makes: a model, and everything that was learned about its data. A run directory keeps it, and everything else reads it."""

from __future__ import annotations

import copy
import inspect
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaekit.conditions import FAR, Conditions
from vaekit.distributions import LIKELIHOODS, Likelihood, normal_noise
from vaekit.errors import UserError
from vaekit.files import digest, text_digest
from vaekit.sources.stored import Stored
from vaekit.training.data import VALUES_AT_ONCE, Data, Rows, fixed_uniform, generator, rows_at_once
from vaekit.training.devices import chosen_device
from vaekit.training.products import inference

ROWS_AT_ONCE = 1024  # at most
MAY_CHANGE_ON_RESUME = {"epochs", "minutes", "trainer", "device"}


@dataclass
class Learned:
    """A module that was learned beside the model, such as a sampler, with the options that made it."""

    module: nn.Module
    options: dict[str, Any]


@dataclass
class Fitted:
    """A trained model of one kind of data.

    Attributes:
        estimator: name of the estimator's class. settings: its arguments, as plain values.
        kind: what a row looks like, see `vaekit.kinds`. conditions: what y looks like.
        likelihood: its name and options.
        model: with the weights of training, in evaluation mode.
        seed: of everything random.
        data: where the rows came from and how they were read, and how many they were.
        history: metrics per epoch. notes: what to know about training, a sentence each.
        interrupted: whether training was stopped by Ctrl-C. verdict: what the evaluation that its run directory keeps says.
        samplers: what was learned of the codes after training, by name.
        temperature: what a classifier's outputs are divided by; 1 where they are not calibrated.
        form: the library that tables came from, and so go back to.
    """

    estimator: str
    settings: dict[str, Any]
    kind: Any
    conditions: Conditions
    likelihood: dict[str, Any]
    model: Any
    seed: int
    data: dict[str, Any]
    history: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    interrupted: bool = False
    verdict: str = ""
    samplers: dict[str, Learned] = field(default_factory=dict)
    temperature: float = 1.0
    form: str = "pandas"

    # -- where it lives ------------------------------------------------------------------------------------------------

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def to(self, device: str | torch.device) -> Fitted:
        """Move the model and what was learned beside it. UserError if it does not fit; then nothing has changed."""
        device = device if isinstance(device, torch.device) else chosen_device(device)
        before = self.device
        modules = [self.model, *(each.module for each in self.samplers.values())]
        try:
            for module in modules:
                module.to(device)
        except torch.OutOfMemoryError as e:
            for module in modules:
                module.to(before)
            size = sum(p.nbytes for p in self.model.parameters()) / 2**30
            raise UserError(
                f"the model ({size:.1f} GiB) does not fit into the memory of {device}: use device='cpu', or free that memory"
            ) from e
        return self

    def precise(self) -> Fitted:
        """A copy with the model in float64, for work that magnifies the rounding of 32 bits: densities of little noise, and what is sought
        in many small steps. Apple's GPUs have no float64: there it stays as it is."""
        if self.device.type == "mps":
            return self
        return replace(self, model=copy.deepcopy(self.model).double().requires_grad_(False))

    @property
    def dtype(self) -> torch.dtype:
        """The type of the numbers that the model computes with."""
        return next(self.model.parameters()).dtype

    # -- between the user's form and tensors ---------------------------------------------------------------------------

    def pack(self, X: Any, y: Any = None) -> Data:
        """Turn rows X, in any form of this kind of data, and their conditions into tensors, on the CPU."""
        rows = self.kind.take(X[:] if isinstance(X, Stored) else X)
        if not len(rows):
            raise UserError("X has no rows: give at least one")
        x, mask = self.kind.pack(rows, self.dtype)
        check_reach(x, mask)
        return Data(x, mask, self.pack_conditions(y, len(x)))

    def pack_conditions(self, y: Any, rows: int) -> dict[str, Tensor]:
        """Pack conditions in any form, one for all rows or one per row: name -> (rows, ...)."""
        return self.conditions.pack(self.conditions.name(y) if self.conditions.named else {}, rows)

    def chunks(self, data: Data, samples: int = 1, most: int = ROWS_AT_ONCE) -> Iterator[Data]:
        """Packed rows as the model sees them, on its device, in pieces that hold `samples` decoder outputs a row in memory."""
        for rows in data.chunks(rows_at_once(self.model, data, samples, most=most)):
            rows = rows.to(self.device)
            yield Data(self.kind.batch(rows.x, fixed_uniform(), dtype=self.dtype), rows.mask, rows.y)

    def encode(self, X: Any, y: Any = None) -> Tensor:
        """The posterior means of rows X, (N, latent_dim), on the CPU."""
        return self.encode_packed(self.pack(X, y))

    @torch.no_grad()
    def encode_packed(self, data: Data) -> Tensor:
        """Encode packed rows."""
        chunks = self.chunks(data)
        return torch.cat([self.model.posterior(c.x, c.y, c.mask).mean.cpu() for c in chunks])

    def decode(self, Z: Any, y: Any = None, *, seed: int | None = None, **writing: Any) -> Any:
        """Latent codes (N, latent_dim) -> rows in the data's own form: the decoder's means, or what the kind shows in their place.

        Args:
            y: conditions, in any form. seed: of what is drawn. writing: see `Kind.written`.
        """
        return self.kind.unpack(self.decoded(Z, y, seed=seed, **writing))

    @inference()
    def decoded(self, Z: Any, y: Any = None, *, seed: int | None = None, **writing: Any) -> Tensor:
        """Decode codes to rows in model units, (N, *event), on the CPU."""
        z, width = torch.as_tensor(np.asarray(Z, dtype=np.float64)).to(self.dtype), self.model.latent_dim
        if z.ndim != 2 or z.shape[1] != width:
            raise UserError(f"latent codes have shape (N, {width}), got {tuple(z.shape)}")
        codes = Data(z, None, self.pack_conditions(y, len(z)))
        noise = normal_noise(generator(self.seed if seed is None else seed))
        found = []
        for chunk in codes.chunks(ROWS_AT_ONCE):
            chunk = chunk.to(self.device)
            found.append(self.kind.decoded(self.model.decode(chunk.x, chunk.y), noise, **writing).cpu())
        return torch.cat(found)


def config(fitted: Fitted) -> dict[str, Any]:
    """Everything but the weights, as plain values."""
    from vaekit import __version__

    settings = dict(fitted.settings)
    for net in ("encoder", "decoder"):
        if callable(settings.get(net)):
            settings[net] = {"custom": describe(settings[net])}
    if isinstance(settings.get("kind"), Mapping):
        settings["kind"] = fitted.kind.plain(settings["kind"])
    return {
        "vaekit": __version__,
        "estimator": fitted.estimator,
        "settings": {name: plain(v) for name, v in settings.items()},
        "data": {
            **fitted.data,
            "kind": fitted.kind.name,
            "schema": asdict(fitted.kind),
            "conditions": fitted.conditions.to_config(),
            "seen": asdict(fitted.conditions.seen) if fitted.conditions.seen else None,
        },
        "likelihood": fitted.likelihood,
    }


def plain(value: Any) -> Any:
    """A setting as YAML writes it: plain dicts, lists and numbers."""
    if isinstance(value, Mapping):
        return {name: plain(v) for name, v in value.items()}
    return value.tolist() if hasattr(value, "tolist") else value


def describe(factory: Any) -> str:
    factory = getattr(factory, "func", factory)  # what a functools.partial wraps
    return f"{getattr(factory, '__module__', '?')}.{getattr(factory, '__qualname__', type(factory).__name__)}"


def identity(values: Mapping[str, Any]) -> str:
    """Hash everything that a config says about a model, so that files of two runs cannot pass for those of one. The place of the
    source and the length of training may change."""
    settings = {name: value for name, value in values["settings"].items() if name not in MAY_CHANGE_ON_RESUME}
    data = {name: value for name, value in values["data"].items() if name not in ("source", "folder")}
    return text_digest(json.dumps([values["estimator"], settings, data, values["likelihood"]], default=str))


def model_hash(fitted: Fitted) -> str:
    """Hash the config and the weights of a model, for files that belong to this model alone."""
    return text_digest(identity(config(fitted)) + digest(fitted.model.state_dict()))


def check_reach(x: Tensor, mask: Tensor | None) -> None:
    """UserError for a value of packed rows x (N, ...) that is so far from the training data that sums overflow."""
    if not x.is_floating_point():
        return
    far = ~(x.abs() <= FAR)
    if len(rows := (far if mask is None else far & mask).flatten(1).any(1).nonzero()):
        raise UserError(
            f"row {int(rows[0])} holds a value that is too large to compute with: correct it, or leave the row out"
        )


class Chunks:
    """Packed data as the model sees it, in pieces; it can be walked more than once."""

    def __init__(self, data: Rows, kind: Any):
        self.data, self.kind = data, kind

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor | None]]:
        for chunk in self.data.chunks(max(1, min(8192, VALUES_AT_ONCE // math.prod(self.data.event)))):
            yield self.kind.batch(chunk.x, fixed_uniform()), chunk.mask


def learn_likelihood(name: str, chunks: Chunks, unit: Tensor, options: Mapping[str, Any]) -> Likelihood:
    """Make the likelihood of this name for this data. UserError if it does not fit this kind of data, or cannot explain a value."""
    parameters = inspect.signature(LIKELIHOODS[name]).parameters.values()
    if any(p.kind is p.KEYWORD_ONLY and p.default is p.empty and p.name not in options for p in parameters):
        raise UserError(f"likelihood {name!r} does not fit this kind of data: leave likelihood out")
    likelihood = LIKELIHOODS[name].from_data(chunks, unit, **options)
    for x, mask in chunks:
        likelihood.check(x, mask)
    return likelihood


class Check:
    """Raises UserError for packed rows with a value that the likelihood cannot explain."""

    def __init__(self, likelihood: Likelihood, kind: Any):
        self.likelihood, self.kind = likelihood, kind
        self.explained = torch.zeros(256, dtype=torch.bool)  # bytes that it explains wherever they are

    def __call__(self, rows: Data) -> None:
        if rows.x.dtype == torch.uint8:
            low, high = (int(end) for end in rows.x.aminmax())
            between = torch.arange(low, high + 1, dtype=torch.uint8)
            if not self.explained[low : high + 1].all():
                with suppress(UserError):
                    everywhere = between.reshape(-1, *[1] * len(rows.event)).expand(-1, *rows.event)
                    self.likelihood.check(self.kind.batch(everywhere, fixed_uniform()))
                    self.explained[low : high + 1] = True
            if self.explained[low : high + 1].all():
                return
        self.likelihood.check(self.kind.batch(rows.x, fixed_uniform()), rows.mask)
