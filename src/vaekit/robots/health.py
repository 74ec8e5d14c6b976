"""Is a policy's latent alive, and do its actions listen to it? In numbers, and in words that name a policy's options."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from vaekit.distributions.likelihoods import ScaledLikelihood
from vaekit.evaluation.health import (
    DEAD_GAP,
    DEAD_KL,
    LIVE_GAP,
    MISSED_NATS,
    MISSED_SHARE,
    missed_by_prior,
    prior_verdict,
)
from vaekit.objectives.bounds import ACT, ELBO
from vaekit.robots.demonstrations import Demonstrations
from vaekit.settings.parts import choose
from vaekit.training.data import VALIDATION, BatchNoise, generator

if TYPE_CHECKING:
    from vaekit.robots.policy import Policy

FRAMES = 512  # observations that z is varied at
FRAMES_AT_ONCE = 16  # times the samples of z: rows that pass the decoder together
STILL = 0.05  # actions that move less with z than this, in their own standard deviations, do not listen to it


@torch.no_grad()
def policy_health(
    policy: Policy, demonstrations: Demonstrations, *, samples: int = 16, seed: int = 0
) -> dict[str, float | None]:
    """What only a policy's latent has.

    Args:
        demonstrations: episodes that training had better not have seen; 512 of their frames, at random, are looked at.
        samples: of z, at each frame; 2 or more.
        seed: of the frames and of z.

    Returns:
        effective_beta: see `effective_beta`.
        action_spread: how far actions move with z: the RMS, over frames, z ~ p(z|y), steps and numbers of an action, of
            their deviation from the mean over z, in units of each number's own standard deviation in the
            demonstrations that were trained on. Steps behind the end of an episode do not count.
        action_spread_first: the same of the first action of each chunk.
    """
    data = policy._data(demonstrations)
    order = torch.randperm(len(data), generator=generator(seed, VALIDATION, 0, 2))[:FRAMES]
    total, count = torch.zeros(policy.kind_.chunk_size), torch.zeros(policy.kind_.chunk_size)
    for i, chunk in enumerate(data[order].chunks(FRAMES_AT_ONCE)):
        assert chunk.mask is not None  # as `Actions.pack` makes it
        noise = BatchNoise(generator(seed, VALIDATION, i, 2), len(chunk), slice(None))
        c = policy.model_.condition(chunk.y, len(chunk))
        z = policy.model_.prior_head(c, len(chunk)).sample(samples, noise.normal)  # (samples, B, d)
        actions = policy.model_.likelihood(policy.model_._decode(z, c)).mean  # (samples, B, A, S)
        variance = actions.var(0) * chunk.mask  # (B, A, S)
        total += variance.sum((0, 1))
        count += chunk.mask.sum((0, 1))
    return {
        "effective_beta": effective_beta(policy),
        "action_spread": (total.sum() / count.sum()).sqrt().item(),
        "action_spread_first": (total[0] / count[0]).sqrt().item(),
    }


def effective_beta(policy: Policy) -> float | None:
    """The weight of the KL beside the log-likelihood of a chunk, summed over its elements; 1 is the ELBO itself.

    "elbo": its beta, after the warm-up; the log-likelihood is with the scale that the likelihood has, learned or fixed.
    "act": kl_weight times the elements of a full chunk, since its error is a mean over them; the log-likelihood is that of
    a Laplace with a scale of 1 (one standard deviation of an action), whatever the likelihood's. A scale b that was learned
    would make it 1 / b of that. None: of other objectives it is no one number.
    """
    objective = policy._objective()
    if isinstance(objective, ACT):
        return objective.kl_weight * math.prod(policy.kind_.event_shape)
    return objective.beta if isinstance(objective, ELBO) else None


def policy_verdict(policy: Policy, results: Mapping[str, Any]) -> str:
    """What the numbers of `Policy.evaluate` say, and the remedy."""
    return " ".join([*_latent(policy, results), *_rule(policy, results), *prior_verdict(results)])


def is_dead(results: Mapping[str, Any]) -> bool:
    """By what the decoder makes of z, where the units themselves hardly vary."""
    gap = results.get("shuffle_gap")
    used = gap is not None and gap > LIVE_GAP
    return results["kl"] < DEAD_KL or (results["active_units"] == 0 and not used)


def _latent(policy: Policy, results: Mapping[str, Any]) -> list[str]:
    active, units, kl, gap = (results[name] for name in ("active_units", "latent_units", "kl", "shuffle_gap"))
    spread = results["action_spread"]
    if not units:
        return ["There is no latent (latent_dim is 0): one observation, one chunk."]
    if is_dead(results):
        return [
            f"The latent is dead: z carries {kl:.3f} nats, "
            + (f"{active} of {units} units are active, " if active == 0 else "too little for any unit to matter, ")
            + f"actions move {spread:.2f} standard deviations with z. "
            + (
                "z = 0, z sampled and no VAE at all act alike."
                if spread < STILL
                else "A z that is drawn only adds noise."
            ),
            *_cause(policy, results["effective_beta"]),
        ]
    if gap is not None and gap < DEAD_GAP:
        return [
            f"The decoder ignores z: it explains a chunk as well with the z of another (a gap of {gap:.2f} nats), though z "
            f"carries {kl:.1f} nats.",
            *_cause(policy, results["effective_beta"]),
        ]
    said = [
        f"The latent is alive: z carries {kl:.1f} nats, {active} of {units} units are active, and actions move {spread:.2f} "
        "standard deviations with z."
    ]
    missed = missed_by_prior(results)
    if missed > MISSED_NATS and missed > MISSED_SHARE * kl:
        remedy = {"standard": "--prior mixture, which learns it", "conditional": "--prior mixture or --prior flow"}
        said.append(
            f"But p(z|y) misses it: {missed:.1f} of the {kl:.1f} nats are the distance of all codes together from the prior, "
            f"so z in use is not what z was in training. Train with {remedy.get(_prior_name(policy), '--prior flow')}, or "
            "for longer."
        )
    return said


def _cause(policy: Policy, beta: float | None) -> list[str]:
    """Of a dead latent, and the remedy."""
    objective, likelihood = policy._objective(), policy.model_.likelihood
    elements = math.prod(policy.kind_.event_shape)
    if isinstance(objective, ACT) and beta is not None and beta > 1:
        return [
            f"The loss averages over {elements:,} elements, so kl_weight {objective.kl_weight:g} is a beta of {beta:,.6g}: "
            "train with --objective elbo and --likelihood auto, whose scale is learned, or with --objective.kl_weight "
            f"{1 / elements:.1g}."
        ]
    if beta is not None and beta > 1:
        return [f"The KL weighs {beta:,.6g} times what it does in the ELBO: train with --objective.beta 1."]
    fixed = isinstance(likelihood, ScaledLikelihood) and likelihood.options["scale"] is not None
    scale = " Or let the likelihood's scale be learned: --likelihood auto." if fixed else ""
    return [
        "If the demonstrations do it in one way only, nothing is lost, and --latent-dim 0 is the same policy. If they do it "
        "in several, train with a KL warm-up (--objective elbo --objective.warmup 0.3), with --objective free_bits, or for "
        "longer." + scale
    ]


def _prior_name(policy: Policy) -> str:
    return choose("prior", policy.prior, policy.parts["prior"])[0]


def _rule(policy: Policy, results: Mapping[str, Any]) -> list[str]:
    """A mean lies between the modes, where z of no demonstration lies."""
    if policy.z == "chunk" and str(policy.execute).startswith("ensemble") and results["action_spread"] >= STILL:
        return [
            "But z='chunk' with execute='ensemble' averages chunks that each go about it in another way: use z='episode', or "
            "play some actions of each chunk, such as execute=10."
        ]
    learned = _prior_name(policy) in ("mixture", "flow")
    if policy.z != "mean" or not learned or is_dead(results) or results["action_spread"] < STILL:
        return []
    return [
        "But z='mean' plays the mean of a prior that may have several modes, and between them may lie what no demonstration "
        "did: use z='episode'."
    ]


def policy_lines(results: Mapping[str, Any]) -> list[str]:
    """For people."""
    if "action_spread" not in results:
        return []
    beta = results["effective_beta"]
    spread, first = results["action_spread"], results["action_spread_first"]
    weight = [f"effective beta  {beta:,.6g}, the weight of the KL; 1 is the ELBO itself"] if beta is not None else []
    return [*weight, f"action spread   {spread:.2f} standard deviations with z ~ p(z|y); {first:.2f} at the first step"]
