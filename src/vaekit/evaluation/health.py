"""Is the latent alive? A verdict in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ACTIVE_VARIANCE = 0.01  # a unit is active when its posterior mean varies more than this over the data
DEAD_KL = 0.1  # nats


def verdict(results: Mapping[str, Any]) -> str:
    """What the numbers of `evaluate` say of posterior collapse, and the remedy."""
    active, units, kl = results["active_units"], results["latent_units"], results["kl"]
    if active == 0 or kl < DEAD_KL:
        return (
            f"The posterior has collapsed: {active} of {units} units are active and z carries {kl:.2f} nats, so the "
            "decoder ignores z. Train with a KL warm-up (--warmup 0.3) or --beta below 1, with a smaller decoder, or for longer."
        )
    if active < units:
        return (
            f"The latent is alive: {active} of {units} units are active and z carries {kl:.1f} nats. The others are "
            f"switched off, which costs nothing; --latent-dim {active} would do as well."
        )
    return (
        f"The latent is alive: all {units} units are active and z carries {kl:.1f} nats. When every unit is in use, "
        f"more of them may help: try --latent-dim {2 * units}."
    )
