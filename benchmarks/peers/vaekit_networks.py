"""Larger networks of vaekit's own, by its public API: convolutions with a flow prior, a transformer over texts, a policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from common import Clock, job, pictures

import vaekit
from vaekit.robots.demonstrations import Demonstrations
from vaekit.robots.policy import Policy

WORDS = ["the", "robot", "takes", "a", "red", "cup", "from", "its", "table", "and", "puts", "it", "on", "that", "shelf"]


def convolutions(settings: dict[str, Any], clock: Clock) -> None:
    options = {"latent_dim": 40, "prior": "flow", "batch_size": 256, "kind": {"binarize": "dynamic"}}
    vaekit.VAE(**options, sampler="prior", **settings).fit_rows(pictures(2560), {}, watchers=[clock])


def texts(settings: dict[str, Any], clock: Clock) -> None:
    random = np.random.default_rng(0)
    sentences = [" ".join(random.choice(WORDS, random.integers(5, 30))) for _ in range(1280)]
    vaekit.VAE(batch_size=64, sampler="prior", **settings).fit_rows(np.array(sentences), {}, watchers=[clock])


def policy(settings: dict[str, Any], clock: Clock) -> None:
    random = np.random.default_rng(0)
    seen = {
        "state": random.normal(size=(160, 14)),
        "images.top": random.integers(0, 256, (160, 96, 128, 3), dtype=np.uint8),
    }
    shown = Demonstrations(random.normal(size=(160, 14)), seen, np.array([80, 160]))
    Policy(chunk_size=100, size="base", batch_size=8, **settings).fit_data(shown, watchers=[clock])


NETWORKS: dict[str, Callable[[dict[str, Any], Clock], None]] = {f.__name__: f for f in (convolutions, texts, policy)}


def main() -> None:
    given = job()
    how = {"capture": given["capture"], "precision": given["precision"]}
    settings = {
        "minutes": given["minutes"],
        "validation": 0.0,
        "device": given["device"],
        "trainer": how,
        "random_state": 0,
    }
    clock = Clock()
    NETWORKS[given["network"]](settings, clock)
    clock.report(1)


main()
