"""Is the latent alive, and does the prior fit it? A verdict in plain words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

ACTIVE_VARIANCE = 0.01  # a unit is active when its posterior mean varies more than this over the data
DEAD_KL = 0.1  # nats
DEAD_GAP, LIVE_GAP = 0.1, 1.0  # nats the decoder loses when given the z of another row: z is ignored; z is used
MISSED_NATS, MISSED_SHARE = 1.0, 0.25  # the verdict reports a prior that misses more nats and a larger share of the KL
DEAD_COMPONENT = 0.01  # of an equal share of the rows: a mixture's component with less is unused
REVIVE = (
    "Train for longer, set or raise a floor under the KL (--objective kl_floor --objective.nats 16), or use a smaller "
    "decoder."
)
NEAR_LIMIT = 1.0  # nats below log N: mutual information this near it is cut off by the number of rows


def verdict(results: Mapping[str, Any], flat: bool = True) -> str:
    """Say in words what the numbers of `evaluate` mean for posterior collapse and for the prior, and what to do.

    Args:
        results: what `evaluate` returned.
        flat: whether the user chooses the number of units.

    Example:
        >>> from vaekit.evaluation import verdict
        >>> verdict({"active_units": 0, "latent_units": 2, "kl": 0.0}).split(":")[0]
        'The posterior has collapsed'
    """
    return " ".join([latent_verdict(results, flat), *prior_verdict(results)])


def prior_verdict(results: Mapping[str, Any]) -> list[str]:
    components, used = results.get("prior_components"), results.get("prior_components_used")
    if components is None or used == components:
        return []
    return [
        f"{used} of the prior's {components} components are used. The others have lost their weight: samples do not "
        "come from them, and fewer components would do as well."
    ]


def latent_verdict(results: Mapping[str, Any], flat: bool) -> str:
    active, units, kl = results["active_units"], results["latent_units"], results["kl"]
    gap = results.get("shuffle_gap")
    if not units:
        return "The model has no latent."
    if active == 0 and kl >= DEAD_KL and gap is not None and gap > LIVE_GAP:  # such as codes that are all short
        return (
            f"The latent is alive: the decoder loses {gap:.1f} nats when it gets the z of another row, although each of "
            f"the {units} units varies too little to count as active."
        )
    if active == 0 or kl < DEAD_KL:
        used = "no unit is active" if active == 0 else f"that is very little for {active} active units"
        return f"The posterior has collapsed: z carries {kl:.2f} nats and {used}, so the decoder ignores z. {REVIVE}"
    if gap is not None and gap < DEAD_GAP:
        return (
            f"The decoder ignores z: it explains a row equally well with the z of another row (the gap is {gap:.2f} nats), although z "
            f"carries {kl:.1f} nats. {REVIVE}"
        )
    missed = missed_by_prior(results)
    if missed > MISSED_NATS and missed > MISSED_SHARE * kl:
        return (
            f"The latent is alive, but the prior does not fit it: {missed:.1f} of the {kl:.1f} nats are the distance of all "
            "codes together from the prior, so draws from the prior are poorer than reconstructions."
            + (
                " The sampler that is learned on the codes (gmm, the default) does not have this fault, and --sampler prior has."
                if flat
                else ""
            )
            + " To get a prior that fits, train for longer"
            + (" or with --prior flow." if flat else ".")
        )
    if active < units:
        return (
            f"The latent is alive: {active} of {units} units are active and z carries {kl:.1f} nats. The others are "
            "switched off, which costs nothing" + (f"; --latent-dim {active} would be enough." if flat else ".")
        )
    return f"The latent is alive: all {units} units are active and z carries {kl:.1f} nats." + (
        f" All units are in use, so more may help: try --latent-dim {2 * units}." if flat else ""
    )


def missed_by_prior(results: Mapping[str, Any]) -> float:
    """KL(q(z) || p(z)) as far as the rows can tell: near the limit of mutual information only the moments count."""
    information, marginal = results.get("mutual_information"), results.get("marginal_kl")
    if marginal is not None and information < results["mutual_information_limit"] - NEAR_LIMIT:
        return marginal
    return results.get("marginal_kl_at_least") or 0.0
