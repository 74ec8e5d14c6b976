"""How sure predictions should be: a temperature that divides the classifier's outputs.

A classifier that has learned all of few labels is far too sure of other rows, or, after a short run, not sure enough. So a second
classifier of the same kind learns from one half of the labels, in as many steps, and is judged on the other half; where that are few
labels, a third does so the other way round. The temperature that makes their probabilities the most likely is that of the first (Guo et
al. 2017, arXiv 1706.04599). It changes how sure predictions are, and not which label is the likeliest.
"""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import Tensor

from vaekit.errors import note
from vaekit.training.data import BatchNoise, Rows, fixed_uniform, generator
from vaekit.training.products import inference
from vaekit.uses.labels import learn_labels, untrained

LEAST, ENOUGH = 20, 50  # labels to judge by, and as many as make a third classifier superfluous
HALVES, BATCH = 12, 13  # addresses of random numbers

log = logging.getLogger(__name__)


def temperature(estimator: Any, data: Rows) -> float:
    """Find the temperature of a fitted estimator; for numbers, the factor of their standard deviations. It is 1, with a note, if
    there are too few labels.

    Args:
        data: the packed rows that it was trained on.
    """
    learned = estimator.model_
    y = learned.labelled_y.cpu()
    half = every_other(y, estimator.seed_)
    splits = [(half, ~half & seen(y, half)), (~half, half & seen(y, ~half))]
    splits = splits[:1] if splits[0][1].sum() >= ENOUGH else splits
    if (known := int(sum(judged.sum() for _, judged in splits))) < LEAST:
        note(
            f"probabilities are not calibrated and may be far too sure: calibration takes {LEAST} known labels, but there are {known}"
        )
        return 1.0
    log.info("calibrating how sure predictions are, by classifiers of half of the labels")
    found = [judged_by_others(estimator, data, half, judged) for half, judged in splits]
    h, y = (torch.cat(parts) for parts in zip(*found, strict=True))
    return learned.fit_temperature(h, y)


def judged_by_others(estimator: Any, data: Rows, half: Tensor, judged: Tensor) -> tuple[Tensor, Tensor]:
    """Train a classifier on one half of the labels, and return its outputs (n, outputs) for the judged rows, and their y. half,
    judged: which of the labelled rows, (N,)."""
    learned, model = estimator.model_, untrained(estimator).model_
    x, y = learned.labelled_x.cpu(), learned.labelled_y.cpu()
    mask = None if learned.labelled_mask is None else learned.labelled_mask.cpu()
    model.learn_from(x[half], None if mask is None else mask[half], y[half])
    data = data.in_memory(estimator.seed_)
    batch = min(len(data), estimator.training().batch_size)

    def loss(step: int) -> Tensor:
        random = generator(estimator.seed_, BATCH, step)
        rows = data[torch.randint(len(data), (batch,), generator=random)].to(model.labelled_y.device)
        noise = BatchNoise(random, batch, slice(None)).normal
        return model.own_loss(estimator.kind_.batch(rows.x, fixed_uniform()), rows.mask, noise)

    learn_labels(estimator, model, loss)
    with inference():
        return model.judge(x[judged], None if mask is None else mask[judged]).double(), y[judged]


def every_other(y: Tensor, seed: int) -> Tensor:
    """Choose half of the rows, (N,): every other row of each label, or every other number by size."""
    shuffled = torch.randperm(len(y), generator=generator(seed, HALVES))
    order = shuffled[y.flatten(1)[shuffled, 0].argsort(stable=True) if y.ndim > 1 else y[shuffled].argsort(stable=True)]
    half = torch.zeros(len(y), dtype=torch.bool)
    half[order[::2]] = True
    return half


def seen(y: Tensor, half: Tensor) -> Tensor:
    """Whether rows have a label that the chosen half has too, (N,)."""
    return torch.ones_like(half) if y.is_floating_point() else torch.isin(y, y[half])
