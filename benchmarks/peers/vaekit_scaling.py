"""vaekit on rows of random numbers: how many of them, how wide its networks, on how many processes."""

from __future__ import annotations

from functools import partial

import numpy as np
from common import Clock, job

import vaekit
from vaekit.nets import MLP


def main() -> None:
    given = job()
    rows = np.random.default_rng(0).random((given["rows"], 10), dtype=np.float32)
    mlp, clock = partial(MLP, hidden=(given["width"], given["width"])), Clock()
    estimator = vaekit.VAE(
        8, encoder=mlp, decoder=mlp, batch_size=given["batch"], minutes=given["minutes"], validation=0.0, sampler="prior",
        device=given["device"], trainer={"devices": given["processes"]},
    )  # fmt: skip
    estimator.fit_rows(rows, {}, watchers=[clock])
    if clock.read:  # in the first process alone
        clock.report(given["batch"])


main()
