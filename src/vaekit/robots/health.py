"""Is a policy's latent alive, and do its actions depend on it? As numbers, and as a verdict that names options to change."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from vaekit.distributions.likelihoods import Likelihood, ScaledLikelihood
from vaekit.evaluation.health import (
    DEAD_GAP,
    DEAD_KL,
    LIVE_GAP,
    MISSED_NATS,
    MISSED_SHARE,
    missed_by_prior,
    prior_verdict,
)
from vaekit.model import LatentModel
from vaekit.objectives import Objective
from vaekit.objectives.bounds import ACT, ELBO
from vaekit.robots.draws import FRAMES_AT_ONCE, draw_chunks
from vaekit.training.data import VALIDATION, BatchNoise, Rows, generator

FRAMES = 512  # observations that z is varied at
STILL = 0.05  # actions that move less with z than this, in their own standard deviations, do not depend on it


@dataclass(frozen=True)
class Setup:
    """The settings of a policy that its verdict depends on.

    Args:
        objective, likelihood: that it is trained with.
        elements: numbers in a chunk.
        prior: the kind of p(z|y), "mixture" and so on.
        z, execute: the rule for z, and how chunks become actions.
    """

    objective: Objective
    likelihood: Likelihood
    elements: int
    prior: str
    z: str
    execute: str

    @property
    def effective_beta(self) -> float | None:
        """The weight of the KL beside the log-likelihood of a chunk, summed over its elements; 1 is the ELBO itself.

        For "elbo" it is beta after the warm-up, and the log-likelihood has the scale that the likelihood has, learned or fixed.
        For "act" it is kl_weight times the elements of a full chunk, since its error is a mean over them; the log-likelihood is
        that of a Laplace with a scale of 1 (one standard deviation of an action), whatever the likelihood's. With a learned
        scale b it would be 1 / b of that. None: other objectives have no single such number.
        """
        if isinstance(self.objective, ACT):
            return self.objective.kl_weight * self.elements
        return self.objective.beta if isinstance(self.objective, ELBO) else None


@torch.no_grad()
def action_spread(model: LatentModel, data: Rows, *, samples: int = 16, seed: int = 0) -> dict[str, float]:
    """Measure how far actions move with z.

    Args:
        data: of episodes, best those that the policy was not trained on; 512 of their frames are drawn at random.
        samples: of z, at each frame; 2 or more.
        seed: of the frames and of z.

    Returns:
        action_spread: the RMS, over frames, z ~ p(z|y), steps and numbers of an action, of their deviation from the mean
            over z, in units of each number's own standard deviation in the demonstrations that were trained on. Steps
            after the end of an episode do not count.
        action_spread_first: the same of the first action of each chunk.
    """
    device = next(model.parameters()).device
    order = torch.randperm(len(data), generator=generator(seed, VALIDATION, 0, 2))[:FRAMES]
    total, count = torch.zeros(2, data.event[-1], device=device)  # (chunk_size,) both
    for i, index in enumerate(order.split(FRAMES_AT_ONCE)):
        some = data[index].to(device)
        assert some.mask is not None  # as `Actions.pack` makes it
        noise = BatchNoise(generator(seed, VALIDATION, i, 2), len(some), slice(None))
        actions = draw_chunks(model, some.y, samples, noise.normal)  # (samples, B, A, chunk_size)
        total += (actions.var(0) * some.mask).sum((0, 1))
        count += some.mask.sum((0, 1))
    return {
        "action_spread": (total.sum() / count.sum()).sqrt().item(),
        "action_spread_first": (total[0] / count[0]).sqrt().item(),
    }


def policy_verdict(results: Mapping[str, Any], setup: Setup) -> str:
    """Say what the numbers of `Policy.evaluate` mean, and name a remedy."""
    return " ".join([*_latent(results, setup), *_rule(results, setup), *prior_verdict(results)])


def is_dead(results: Mapping[str, Any]) -> bool:
    """Whether z carries nothing. Units that hardly vary are alive if the decoder uses them."""
    gap = results.get("shuffle_gap")
    used = gap is not None and gap > LIVE_GAP
    return results["kl"] < DEAD_KL or (results["active_units"] == 0 and not used)


def _latent(results: Mapping[str, Any], setup: Setup) -> list[str]:
    active, units, kl, gap = (results[name] for name in ("active_units", "latent_units", "kl", "shuffle_gap"))
    spread = results["action_spread"]
    if not units:
        return ["There is no latent (latent_dim is 0): each observation has one chunk."]
    if is_dead(results):
        return [
            f"The latent is dead: z carries {kl:.3f} nats, "
            + (f"{active} of {units} units are active, " if active == 0 else "too little for any unit to matter, ")
            + f"actions move {spread:.2f} standard deviations with z. "
            + (
                "The policy acts the same with z = 0, with a sampled z, and without a latent."
                if spread < STILL
                else "Sampling z only adds noise."
            ),
            *_cause(setup),
        ]
    if gap is not None and gap < DEAD_GAP:
        return [
            f"The decoder ignores z: it explains a chunk as well with the z of another chunk (a gap of {gap:.2f} nats), although "
            f"z carries {kl:.1f} nats.",
            *_cause(setup),
        ]
    said = [
        f"The latent is alive: z carries {kl:.1f} nats, {active} of {units} units are active, and actions move {spread:.2f} "
        "standard deviations with z."
    ]
    missed = missed_by_prior(results)
    if missed > MISSED_NATS and missed > MISSED_SHARE * kl:
        remedy = {"standard": "--prior mixture, which learns it", "conditional": "--prior mixture or --prior flow"}
        said.append(
            f"But p(z|y) misses the codes: {missed:.1f} of the {kl:.1f} nats are the distance of all codes together from the prior, "
            f"so z in use differs from z in training. Train with {remedy.get(setup.prior, '--prior flow')}, or "
            "for longer."
        )
    return said


def _cause(setup: Setup) -> list[str]:
    """Why a latent is dead, and the remedy."""
    objective, likelihood, beta = setup.objective, setup.likelihood, setup.effective_beta
    if isinstance(objective, ACT) and beta is not None and beta > 1:
        return [
            f"The loss averages over {setup.elements:,} elements, so kl_weight {objective.kl_weight:g} is a beta of {beta:,.6g}: "
            "train with --objective elbo and --likelihood auto, whose scale is learned, or with --objective.kl_weight "
            f"{1 / setup.elements:.1g}."
        ]
    if beta is not None and beta > 1:
        return [f"The KL weighs {beta:,.6g} times as much as in the ELBO: train with --objective.beta 1."]
    fixed = isinstance(likelihood, ScaledLikelihood) and likelihood.options["scale"] is not None
    scale = " Or learn the likelihood's scale: --likelihood auto." if fixed else ""
    return [
        "If the demonstrations do the task in one way only, nothing is lost, and --latent-dim 0 is the same policy. If they "
        "do it in several ways, train with a KL warm-up (--objective elbo --objective.warmup 0.3), with --objective free_bits, or for "
        "longer." + scale
    ]


def _rule(results: Mapping[str, Any], setup: Setup) -> list[str]:
    """Rules for z that do not fit the policy."""
    if setup.z == "chunk" and setup.execute.startswith("ensemble") and results["action_spread"] >= STILL:
        return [
            "But z='chunk' with execute='ensemble' averages chunks that do the task in different ways: use z='episode', or play "
            "some actions of each chunk, such as execute=10."
        ]
    several = setup.prior in ("mixture", "flow")
    if setup.z != "mean" or not several or is_dead(results) or results["action_spread"] < STILL:
        return []
    return [
        "But z='mean' plays the mean of a prior that may have several modes, and no demonstration may lie between them: use "
        "z='episode'."
    ]


def policy_lines(results: Mapping[str, Any]) -> list[str]:
    """Lines of `vaekit evaluate` that only policies have."""
    if "action_spread" not in results:
        return []
    beta = results["effective_beta"]
    spread, first = results["action_spread"], results["action_spread_first"]
    weight = [f"effective beta  {beta:,.6g}, the weight of the KL; 1 is the ELBO itself"] if beta is not None else []
    return [*weight, f"action spread   {spread:.2f} standard deviations with z ~ p(z|y); {first:.2f} at the first step"]
