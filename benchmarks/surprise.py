"""Do monitors raise the alarm when something is wrong, and only then? Failures planted in rollouts of a policy.

    python benchmarks/surprise.py monitors --seeds 0

A small policy is trained on expert demonstrations. Monitors learn from the demonstrations and are calibrated on rollouts that
succeed; then come rollouts where nothing is wrong, and rollouts where, from some step on, something is. All detectors see
the same rollouts. "reconstruction" and "kNN" are baselines on what the VAE of "observation" sees, with the same mean over
steps: the squared error of that VAE's reconstruction, and the distance to the fifth nearest of the demonstrations' steps after
whitening.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.neighbors import NearestNeighbors

from harness import Rows, arguments, is_toy, run
from vaekit.robots.demonstrations import split_episodes
from vaekit.robots.environments import Environment, demonstrate, make
from vaekit.robots.monitor import Disagreement, Monitor, ObservationModel, observations_of
from vaekit.robots.policy import Policy
from vaekit.robots.rollout import wilson

Observation = dict[str, np.ndarray]


@dataclass
class Fault:
    """What is wrong from step `start` on: with the world, with what the policy sees (now; before the fault), or with its actions."""

    start: int = 0
    world: Callable[[Any, np.random.Generator], None] | None = None
    sense: Callable[[Observation, Observation], Observation] = lambda now, last: now
    move: Callable[[np.ndarray], np.ndarray] = lambda action: action


def sensor(name: str, change: Callable[[np.ndarray, np.ndarray], np.ndarray]) -> Callable[..., Observation]:
    """One observation is not what is there."""
    return lambda now, last: {**now, name: np.asarray(change(now[name], last[name]), dtype=np.float32)}


def shift_point(env: Any, rng: np.random.Generator) -> None:
    angle = rng.uniform(0, 2 * np.pi)
    env.path[-1] = np.clip(env.position + 0.15 * np.array([np.cos(angle), np.sin(angle)]), -1, 1)


def shift_block(env: Any, rng: np.random.Generator) -> None:
    """10 cm along the table, or out of the gripper and on to it."""
    simulator = env.env
    place = simulator._utils.get_joint_qpos(simulator.model, simulator.data, "object0:joint").copy()
    angle = rng.uniform(0, 2 * np.pi)
    place[:3] = [*(place[:2] + 0.1 * np.array([np.cos(angle), np.sin(angle)])), simulator.height_offset]
    simulator._utils.set_joint_qpos(simulator.model, simulator.data, "object0:joint", place)
    simulator._mujoco.mj_forward(simulator.model, simulator.data)


def fingers(value: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda action: np.append(action[:3], value)


FAULTS: dict[str, dict[str, Fault]] = {
    "two-routes": {
        "point moved by 0.15": Fault(15, world=shift_point),
        "wind of 0.3 upwards": Fault(10, move=lambda a: a + np.array([0, 0.3])),
        "sensor biased by 0.1": Fault(10, sense=sensor("state", lambda now, last: now + np.array([0, 0.1]))),
        "sensor frozen": Fault(15, sense=sensor("state", lambda now, last: last)),
        "sensor gives 0": Fault(15, sense=sensor("state", lambda now, last: 0 * now)),
    },
    "fetch-pick-and-place": {
        "block moved by 10 cm": Fault(15, world=shift_block),
        "fingers stuck open": Fault(0, move=lambda a: np.append(a[:3], 1.0)),
        "x actions biased by 0.3": Fault(10, move=lambda a: a + np.array([0.3, 0, 0, 0])),
        "gripper position biased by 3 cm": Fault(
            0, sense=sensor("state", lambda now, last: now + np.eye(10)[0] * 0.03)
        ),
        "block's sensor frozen": Fault(5, sense=sensor("environment_state", lambda now, last: last)),
        "block's sensor gives 0": Fault(15, sense=sensor("environment_state", lambda now, last: 0 * now)),
    },
}


def play(policy: Policy, env: Environment, seed: int, fault: Fault) -> tuple[Observation, bool]:
    """What the policy saw, (T, ...) by name, and whether it succeeded."""
    rng, observation, over, seen = np.random.default_rng([seed, 2]), env.reset(seed), False, []
    policy.reset(seed)
    while not over:
        if env.steps == fault.start:
            if fault.world:
                fault.world(env, rng)
                observation = env._observe()
            last = observation
        if env.steps >= fault.start:
            observation = fault.sense(observation, last)
        seen.append(observation)
        action = policy.act(observation)
        observation, _, over = env.step(fault.move(action) if env.steps >= fault.start else action)
    return {name: np.stack([each[name] for each in seen]) for name in seen[0]}, env.strict_success


class Reconstruction(ObservationModel):
    def scores(self, observations: Any) -> np.ndarray:
        rows = self.rows(observations)
        error = (rows - self.vae.reconstruct(rows)) / np.asarray(self.vae.kind_.scale)
        return (error**2).sum(1)


class Neighbours(ObservationModel):
    def learn(self, rows: np.ndarray) -> Neighbours:
        variances, directions = np.linalg.eigh(np.cov(rows.T))
        self.whiten = directions / np.sqrt(variances + 1e-4)
        self.nearest = NearestNeighbors(n_neighbors=5).fit(rows @ self.whiten)
        return self

    def scores(self, observations: Any) -> np.ndarray:
        return self.nearest.kneighbors(self.rows(observations) @ self.whiten)[0][:, -1]


def detectors_of(policy: Policy, demonstrations: Any, seed: int) -> dict[str, Any]:
    half, _ = split_episodes(demonstrations, 0.5, seed)
    learned = ObservationModel.fit(policy, demonstrations[half], seed)
    known = np.concatenate([learned.rows(episode) for episode in observations_of(demonstrations[half])])
    parts = (policy, learned.vae, learned.scale)
    return {
        "observation": learned,
        "disagreement": Disagreement(policy),
        "kNN": Neighbours(*parts).learn(known),
        "reconstruction": Reconstruction(*parts),
    }


def milliseconds(monitor: Monitor, seen: Observation) -> float:
    """Of its fifth step."""
    for step in range(5):
        started = time.perf_counter()
        monitor.step({name: values[step] for name, values in seen.items()})
        took = 1e3 * (time.perf_counter() - started)
    return took


def table(options: argparse.Namespace) -> Rows:
    """Do monitors raise the alarm when something is wrong, and only then? Failures planted in rollouts of a policy

    Share of episodes with an alarm at alpha = {alpha}, its Wilson interval at 95 %, and the median steps from the fault to
    the alarm / from the alarm to the end of the episode (alarms before the fault count in the share alone). An episode of
    two-routes has about 46 steps, 80 at most, or ends at the obstacle; one of Fetch has 50. The likelihood of the VAE, the mean over 5
    steps and the sum of the disagreement were chosen on the same kinds of faults, with other policies and rollouts."""
    for task, seed in itertools.product(options.data, options.seeds):
        demonstrations = demonstrate(task, options.demonstrations, 0)
        policy = Policy(8, size="small", minutes=options.minutes, random_state=seed).fit(demonstrations)
        env = make(task)
        usual = [play(policy, env, 30_000 + i, Fault()) for i in range(options.calibration)]
        good = [seen for seen, success in usual if success or is_toy()]  # none succeeds after seconds of training
        detectors = detectors_of(policy, demonstrations, seed)
        monitors = {
            name: Monitor(policy, detector, options.alpha).calibrate(good) for name, detector in detectors.items()
        }
        steps = ", ".join(f"{name} {milliseconds(monitor, good[0]):.1f}" for name, monitor in monitors.items())
        yield (
            f"{task}, seed {seed}: {len(good)} of {len(usual)} rollouts succeeded and are calibrated on; "
            f"milliseconds of a monitor's step: {steps}."
        )
        for fault, how in {"nothing": Fault(), **FAULTS[task]}.items():
            count = options.nominal if fault == "nothing" else options.planted
            episodes = [play(policy, env, 40_000 + i, how) for i in range(count)]
            groups = {fault: episodes}
            if fault == "nothing":
                ends = {"succeeds": True, "fails": False}
                groups = {f"nothing, and it {end}": [e for e in episodes if e[1] is ok] for end, ok in ends.items()}
            for what, some in groups.items():
                if some:
                    yield {
                        "task": task, "seed": seed, "what is wrong": what, "episodes": len(some),
                        "policy succeeds": f"{np.mean([success for _, success in some]):.0%}",
                        **{name: alarmed(m, [seen for seen, _ in some], how.start) for name, m in monitors.items()},
                    }  # fmt: skip


def alarmed(monitor: Monitor, episodes: list[Observation], start: int) -> str:
    first, left = [], []
    for seen in episodes:
        above = np.flatnonzero(~(monitor.scores(seen) <= monitor.threshold))
        first += above[:1].tolist()
        left += [len(next(iter(seen.values()))) - step for step in above[:1]]
    low, high = wilson(len(first), len(episodes))
    text = f"{len(first) / len(episodes):.0%} [{low:.0%}, {high:.0%}]"
    after = [(step - start, rest) for step, rest in zip(first, left, strict=True) if step >= start]
    return text + (
        f", {np.median([a for a, _ in after]):.0f} / {np.median([b for _, b in after]):.0f}" if after else ""
    )


if __name__ == "__main__":
    parser = arguments(__doc__, seeds=[0], data=FAULTS, threads=1)
    parser.add_argument("--demonstrations", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=1.3, help="of training each policy")
    parser.add_argument("--calibration", type=int, default=100)
    parser.add_argument("--nominal", type=int, default=120)
    parser.add_argument("--planted", type=int, default=25)
    parser.add_argument("--alpha", type=float, default=0.05)
    toy = {"demonstrations": 4, "minutes": 0.01, "calibration": 2, "nominal": 1, "planted": 1, "alpha": 0.5}
    run(parser, {"monitors": table}, data=["two-routes"], **toy)
