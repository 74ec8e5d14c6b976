"""Features for generative metrics: the inside of a small classifier that is trained on labelled pictures.

The usual choice, Inception's features, needs weights to be downloaded and knows photographs. A classifier of the user's
own pictures knows what tells them apart, and is trained in about a minute. Distances in its features compare models only
under the same network: its `hash` says which one it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vaekit.conditions import Label
from vaekit.errors import UserError
from vaekit.files import digest, read_tensors, write_tensors
from vaekit.kinds.pictures import Images
from vaekit.nets import ConvEncoder
from vaekit.training.checkpoint import put_weights
from vaekit.training.data import epoch_order, split
from vaekit.training.guards import seeded
from vaekit.training.products import inference

KIND = "feature network"
FEATURES, WIDTH = 64, 16
BATCH, STEPS, PEAK_RATE = 128, 1000, 3e-3
ROWS_AT_ONCE = UNIT_ROWS = 1024


class FeatureNetwork(nn.Module):
    """A small classifier of pictures whose inner activations are features, with one linear head per column of labels.

    Attributes:
        images: what the pictures look like, and the values that become 0 and 1: one map for real and generated ones.
        labels: the classes of each column of labels.
        accuracy: share of the held-out rows whose label is recognised, by column; None if no row was held out.

    Example:
        >>> from vaekit.evaluation import FeatureNetwork, train_features
        >>> data = vaekit.read("digits[0:40]", conditions=["label"])
        >>> path = train_features(data.x, data.conditions, epochs=1).save("digits.safetensors")
        >>> FeatureNetwork.load(path).features(data.x).shape
        (40, 64)
    """

    def __init__(self, images: Images, labels: Mapping[str, Label], features: int = FEATURES, width: int = WIDTH):
        super().__init__()
        self.images, self.labels, self.width, self.size = images, dict(labels), width, features
        self.unit: Tensor
        self.accuracy: dict[str, float | None] = dict.fromkeys(labels)
        self.encoder = ConvEncoder(images.event_shape, (features,), width=width, blocks=1)
        self.register_buffer("unit", torch.ones(()))  # the features' spread over the rows learned from
        self.heads = nn.ModuleList(nn.Linear(features, label.size) for label in labels.values())

    def forward(self, x: Tensor) -> Tensor:
        """Compute the penultimate activations: (B, channels, H, W) with values in 0..1 -> (B, features)."""
        return F.silu(self.encoder(x))

    def logits(self, x: Tensor) -> list[Tensor]:
        """Compute the classifier's outputs: (B, channels, H, W) -> (B, classes) for each column of labels."""
        h = self(x)
        return [head(h) for head in self.heads]

    def pack(self, pictures: np.ndarray) -> Tensor:
        """Turn a user's pictures into (N, channels, H, W). UserError if they are not like those that the network learned from."""
        pictures = np.asarray(pictures)
        pictures = pictures.astype(np.uint8) if pictures.dtype.kind == "b" else pictures
        if pictures.ndim not in (3, 4):
            raise UserError(f"pictures need an array (N, H, W) or (N, H, W, channels), got shape {pictures.shape}")
        learned = np.dtype(self.images.dtype)
        if (pictures.dtype.kind == "f") != (learned.kind == "f"):  # 0..1 would pass for almost black bytes
            raise UserError(
                f"the feature network learned from pictures of {learned}, but these are {pictures.dtype}: "
                "bring them to the same form, or train features on pictures of this one"
            )
        x, mask = self.images.pack(pictures)
        if mask is not None:
            raise UserError("the pictures have missing pixels (NaN), and features need all pixels: fill them in")
        return x

    @inference()
    def features(self, pictures: np.ndarray) -> np.ndarray:
        """Compute features: pictures (N, H, W) or (N, H, W, channels), in the form that was learned from -> (N, features) float32.

        Their unit: the variance of a feature over the rows learned from is 1, on average over the features.
        """
        chunks = self.pack(pictures).split(ROWS_AT_ONCE)
        return np.concatenate([(self(self.images.batch(x)) / self.unit).numpy() for x in chunks])

    @property
    def hash(self) -> str:
        """A hash of all weights (BLAKE2b, 16 hex digits): the same hash means the same features."""
        return digest(self.state_dict())

    def save(self, path: str | Path) -> Path:
        """Write a safetensors file with everything that `load` needs, whole or not at all."""
        described = {
            "images": asdict(self.images),
            "labels": {name: label.classes for name, label in self.labels.items()},
            "accuracy": self.accuracy,
            "features": self.size,
            "width": self.width,
        }
        write_tensors(Path(path), self.state_dict(), KIND, described)
        return Path(path)

    @classmethod
    def load(cls, path: str | Path) -> FeatureNetwork:
        """Read what `save` wrote. UserError if the file is missing, cut short, changed or something else."""
        if not Path(path).is_file():
            raise UserError(f"{path} does not exist: write a feature network with `vaekit features SOURCE -o {path}`")
        tensors, described = read_tensors(Path(path), KIND)
        try:
            labels = {name: Label(classes) for name, classes in described["labels"].items()}
            network = cls(Images(**described["images"]), labels, described["features"], described["width"])
            put_weights(network, tensors)
            network.accuracy = described["accuracy"]
        except (KeyError, TypeError, ValueError, RuntimeError) as e:
            raise UserError(f"the parts of {path} do not fit together ({e}): train the features again") from e
        return network


def train_features(
    pictures: np.ndarray,
    labels: Mapping[str, Sequence[Any] | np.ndarray],
    *,
    seed: int = 0,
    epochs: int | None = None,
    validation: float = 0.1,
    track: Callable[[list[Any]], Iterable[Any]] = list,
) -> FeatureNetwork:
    """Train a feature network, on the CPU. The same arguments give the same weights.

    Args:
        pictures: (N, H, W) or (N, H, W, channels), numbers of any type.
        labels: columns of labels by name, each (N,); None or NaN is unknown and not learned from.
        seed: of the weights, the order of the rows and the split.
        epochs: passes over the data. None: as many as 1000 steps take, half a minute for pictures of 28x28 on one core.
        validation: share of the rows held out for `accuracy`.
        track: wraps the list of steps, to show progress.

    Returns:
        A `FeatureNetwork`.

    Raises:
        UserError: pictures have a wrong shape, or labels do not fit them or have fewer than 2 classes.

    Example:
        >>> from vaekit.evaluation import train_features
        >>> data = vaekit.read("digits[0:40]", conditions=["label"])
        >>> train_features(data.x, data.conditions, epochs=1).features(data.x[:5]).shape
        (5, 64)
    """
    pictures = np.asarray(pictures)
    pictures = pictures.astype(np.uint8) if pictures.dtype.kind == "b" else pictures
    if pictures.ndim not in (3, 4) or len(pictures) < 2:
        raise UserError(f"features need pictures (N, H, W) or (N, H, W, channels), N at least 2, not {pictures.shape}")
    kinds, codes = label_codes(labels, len(pictures))
    with seeded(seed):
        network = FeatureNetwork(Images.infer(pictures), kinds)
    x = network.pack(pictures)
    train, held_out = split(len(x), validation, seed)
    if epochs is not None and epochs < 1:
        raise UserError(f"epochs is {epochs}: give at least 1")
    steps = math.ceil(len(train) / BATCH)
    epochs = max(1, round(STEPS / steps)) if epochs is None else epochs
    optimizer = torch.optim.AdamW(network.parameters(), PEAK_RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, max(2, epochs * steps), pct_start=0.2)
    orders = [train[epoch_order(len(train), seed, epoch)] for epoch in range(epochs)]
    for rows in track([batch for order in orders for batch in order.split(BATCH)]):
        logits = network.logits(network.images.batch(x[rows]))
        losses = [
            F.cross_entropy(h, c[rows], ignore_index=-1, reduction="sum") for h, c in zip(logits, codes, strict=True)
        ]
        optimizer.zero_grad()
        (torch.stack(losses).sum() / len(rows)).backward()
        optimizer.step()
        schedule.step()
    some = x[train[epoch_order(len(train), seed, epochs)[:UNIT_ROWS]]]
    with inference():
        network.unit.copy_(network(network.images.batch(some)).var(0, correction=0).mean().sqrt().clamp(min=1e-6))
    if len(held_out):
        shares = accuracies(network, x[held_out], [c[held_out] for c in codes])
        network.accuracy = dict(zip(kinds, shares, strict=True))
    return network.requires_grad_(False)


def label_codes(labels: Mapping[str, Any], rows: int) -> tuple[dict[str, Label], list[Tensor]]:
    """The classes of each column, and its codes (N,), -1 where unknown."""
    if not labels:
        raise UserError("features are learned from labels: give at least one column of them")
    kinds, codes = {}, []
    for name, column in labels.items():
        values = np.asarray(column)
        if values.shape != (rows,):
            raise UserError(
                f"label {name!r} has the shape {values.shape} for {rows} pictures: give one label per picture"
            )
        kinds[name] = Label.infer(name, values)
        if kinds[name].size < 2:
            raise UserError(f"label {name!r} has {kinds[name].size} classes: features need at least 2 to tell apart")
        codes.append(torch.from_numpy(kinds[name].pack(name, values)))
    return kinds, codes


@inference()
def accuracies(network: FeatureNetwork, x: Tensor, codes: list[Tensor]) -> list[float | None]:
    """Share of the rows with a known label whose label is recognised, for each column."""
    chunks = [network.logits(network.images.batch(part)) for part in x.split(ROWS_AT_ONCE)]
    shares: list[float | None] = []
    for logits, truth in zip(zip(*chunks, strict=True), codes, strict=True):
        known = truth >= 0
        right = torch.cat(logits).argmax(1)[known] == truth[known]
        shares.append(right.double().mean().item() if len(right) else None)
    return shares
