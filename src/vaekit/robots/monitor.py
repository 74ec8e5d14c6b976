"""Has the robot seen anything like this? An alarm while the robot acts, with a rate of false alarms that you choose.

A detector scores every step of an episode, and the episode's score is the highest one so far. Split conformal prediction (Vovk
et al. 2005) compares it with the scores of n episodes that went well: the p-value is the share of such episodes that score as
high. The alarm is raised where p <= alpha. At most a share alpha of the episodes that are like those n raise it at any step. A
policy's own rollouts differ from the expert's demonstrations, so calibrate on rollouts if you have some. The guarantee is the
mean over draws of the n episodes: with few of them, the share of one monitor may lie well above alpha.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch

from vaekit.errors import UserError, near_matches
from vaekit.estimators.vae import VAE
from vaekit.evaluation import shared_noise
from vaekit.robots.demonstrations import Demonstrations, split_episodes
from vaekit.robots.draws import FRAMES_AT_ONCE, draw_chunks
from vaekit.robots.environments import Environment
from vaekit.robots.policy import Policy
from vaekit.robots.reels import part
from vaekit.robots.rollout import Acting, wilson
from vaekit.runs.directory import make_folder
from vaekit.runs.load import load
from vaekit.uses.calibration import keep, kept
from vaekit.uses.conformal import p_values

Observations = Mapping[str, np.ndarray]
"""T steps of an episode: (T, ...) by name."""

MONITOR, MODEL = "monitor.safetensors", "model"  # in the folder of a monitor
LEAST_SCALE = 1e-3  # for a number that does not change, in standard deviations
ROWS_AT_ONCE = 256


class Detector(Protocol):
    """A score of the steps of an episode.

    Attributes:
        window: number of steps, the last ones, whose mean is the score of the episode so far; None: the sum of all steps.
        models, arrays: what it learned.
    """

    window: int | None
    models: list[VAE]
    arrays: dict[str, np.ndarray]

    def scores(self, observations: Observations) -> np.ndarray:
        """(T,), higher is odder. A step's score depends on that step and the one before it only."""


class ObservationModel:
    """-log p of an observation and of its change since the step before, by a VAE (64 importance samples), in nats.

    An observation is the policy's vectors, standardised, and the mean of its cameras' tokens. The change shows a sensor that
    stands still, and an object that jumps from one usual place to another. A touch makes single numbers of a usual step jump,
    too. For that reason large values are on a logarithmic scale, the likelihood has wide tails, and scores are means over steps.

    In benchmarks/surprise.py it finds most faults among 28 numbers of an arm and a block, and earlier than `Disagreement`. With
    2 numbers the distance to the nearest demonstrations finds more. Pictures were not measured.
    """

    held_out: ClassVar[float] = 0.5  # share of the episodes to calibrate on
    window: int | None = 5
    settings: ClassVar[Mapping[str, Any]] = {"size": "small", "likelihood": "laplace", "sampler": "prior"}

    def __init__(self, policy: Policy, vae: VAE, scale: np.ndarray):
        self.policy, self.vae, self.scale = policy, vae, scale
        self.models, self.arrays = [vae], {"scale": scale}

    @classmethod
    def fit(cls, policy: Policy, demonstrations: Demonstrations, seed: int) -> ObservationModel:
        rows = np.concatenate([features(policy, episode) for episode in observations_of(demonstrations)])
        scale = np.maximum(rows.std(0), LEAST_SCALE)
        vae = VAE(min(8, rows.shape[1]), random_state=seed, **cls.settings)
        return cls(policy, vae.fit(np.arcsinh(rows / scale)), scale)

    def rows(self, observations: Observations) -> np.ndarray:
        """(T, 2 n), the input of the VAE."""
        return np.arcsinh(features(self.policy, observations) / self.scale)

    def scores(self, observations: Observations) -> np.ndarray:
        return -self.vae.score_samples(self.rows(observations), k=64)


class Disagreement:
    """The difference of a chunk from the chunk of the step before where they overlap, summed over the episode, in standard deviations of
    the actions. It needs nothing but the policy.

    The distance is the root mean square between chunks for the same 16 draws of the noise of z ~ p(z|y). It bounds the
    Wasserstein distance between the two distributions of chunks. After statistical temporal action consistency (Agia
    et al. 2024, arXiv 2410.04640), whose distances ignore which chunk belongs to which; see benchmarks/surprise.py.
    """

    held_out: ClassVar[float] = 0.0  # it learns nothing
    window: int | None = None
    samples = 16

    def __init__(self, policy: Policy):
        self.policy = policy
        self.models: list[VAE] = []
        self.arrays: dict[str, np.ndarray] = {}

    @classmethod
    def fit(cls, policy: Policy, demonstrations: Demonstrations, seed: int) -> Disagreement:
        return cls(policy)

    @torch.no_grad()
    def scores(self, observations: Observations) -> np.ndarray:
        policy, k = self.policy, self.samples if self.policy.latent_dim else 1
        packed = map(policy.pack_observations, pieces(observations, FRAMES_AT_ONCE))
        parts = [draw_chunks(policy.model_, y, k, shared_noise()) for y in packed]
        chunks = torch.cat(parts, dim=1).transpose(0, 1)  # (T, samples, A, chunk_size)
        moved = (chunks[1:, ..., :-1] - chunks[:-1, ..., 1:]).square().flatten(1).double()
        return np.append(0.0, moved.sum(1).div(max(1, moved.shape[1])).sqrt().cpu().numpy())


DETECTORS: dict[str, Any] = {"observation": ObservationModel, "disagreement": Disagreement}


class Monitor:
    """An alarm while the robot acts: a detector, and the p-values of its scores. `fit` one, or `load` one.

    At most a share alpha of the episodes that are like the calibration episodes raise the alarm at any step (split conformal prediction,
    Vovk et al. 2005). Before an episode call `reset`, and at each step `step`.

    Args:
        policy: the policy whose observations are watched.
        detector: gives the scores.
        alpha: share of the episodes that may raise an alarm although nothing is wrong.

    Attributes:
        calibration: (n,) rising, the highest score of each calibration episode.

    Example:
        >>> from vaekit.robots.environments import demonstrate
        >>> from vaekit.robots.monitor import Monitor
        >>> shown = demonstrate("two-routes", episodes=6)
        >>> policy = vaekit.Policy(2, size="small", chunk_size=8, epochs=1).fit(shown[:3])
        >>> monitor = Monitor.fit(policy, shown[3:], "disagreement", alpha=0.25)
        >>> sorted(monitor.step({"state": [-0.9, 0.0]}))
        ['alarm', 'p_value', 'score']
    """

    def __init__(self, policy: Policy, detector: Detector, alpha: float = 0.05):
        if not 0 < alpha < 1:
            raise UserError(f"alpha={alpha} has to be a share of the episodes, above 0 and below 1")
        self.policy, self.detector, self.alpha = policy, detector, alpha
        self.calibration = np.empty(0)
        self.reset()

    @classmethod
    def fit(
        cls,
        policy: Policy,
        demonstrations: Demonstrations,
        kind: str = "observation",
        *,
        alpha: float = 0.05,
        seed: int = 0,
    ) -> Monitor:
        """Learn from one half of the episodes and calibrate on the other ("observation"), or calibrate on all ("disagreement").

        Args:
            demonstrations: for "disagreement", episodes that the policy was not trained on: it is surer on those it knows.
            kind: "observation" (`ObservationModel`) or "disagreement" (`Disagreement`).
            alpha: share of the episodes that may raise an alarm although nothing is wrong.
            seed: of the halves, and of the VAE.

        Raises:
            UserError: an unknown kind; too few episodes for `alpha`.
        """
        if kind not in DETECTORS:
            raise UserError(f"kind={kind!r} is not a kind of monitor{near_matches(kind, DETECTORS)}")
        detector = DETECTORS[kind]
        learned, calibrated = split_episodes(demonstrations, detector.held_out, seed)
        if not detector.held_out:
            calibrated = learned
        cls(policy, detector, alpha)._check_count(len(calibrated))  # before any time is spent
        self = cls(policy, detector.fit(policy, demonstrations[learned], seed), alpha)
        return self.calibrate(observations_of(demonstrations[calibrated]))

    def calibrate(self, episodes: Iterable[Observations]) -> Monitor:
        """Take these episodes as the usual ones, in place of any before, such as those that `record` returns.

        The detector must not have learned from them.

        Raises:
            UserError: they are too few for alpha.
        """
        highest = [self.scores(episode).max() for episode in episodes]
        self._check_count(len(highest))
        self.calibration = np.sort(highest)
        return self

    def _check_count(self, n: int) -> None:
        least = math.ceil(1 / self.alpha - 1e-9) - 1
        if n < least:
            raise UserError(
                f"a monitor with false alarms in {self.alpha:.3g} of the episodes is calibrated on {least} episodes or more that it "
                f"has not learned from, and there are {n}: give more, or an alpha of {math.ceil(1000 / (n + 1)) / 1000:g} or above"
            )

    def scores(self, observations: Observations) -> np.ndarray:
        """(T,), the scores that `step` would give for an episode."""
        raw = self.detector.scores(observations)
        return np.array([self._so_far(raw[: t + 1]) for t in range(len(raw))])

    def _so_far(self, raw: np.ndarray) -> float:
        window = self.detector.window
        score = float(raw.sum() if window is None else raw[-window:].mean())
        return math.inf if math.isnan(score) else score  # NaN is odd, too

    @property
    def threshold(self) -> float:
        """The calibration score of rank ceil((n + 1) (1 - alpha)): scores above it raise the alarm."""
        return float(self.calibration[-math.floor(self.alpha * (len(self.calibration) + 1) + 1e-9)])

    def p_values(self, scores: np.ndarray) -> np.ndarray:
        """For each score, the share of the usual episodes, with this one among them, whose highest score is as high."""
        return p_values(-np.asarray(scores), -self.calibration)

    def reset(self) -> None:
        """Begin an episode."""
        self._before: dict[str, np.ndarray] = {}
        self._raw = np.empty(0)

    def step(self, observation: Mapping[str, Any]) -> dict[str, Any]:
        """Score the observation of this step, by name and without a row axis.

        Returns:
            score; p_value: of an episode with this score; alarm: whether the score is above the threshold.

        Raises:
            UserError: the monitor has not been calibrated, or an observation is missing or not finite.
        """
        if not len(self.calibration):
            raise UserError("the monitor has not been calibrated: call calibrate(episodes) first")
        now = {
            name: np.asarray(observation[name])[None] for name in self.policy.conditions_.named if name in observation
        }
        self.policy.pack_observations(now)  # raises for what is missing or not finite
        steps = {name: np.concatenate([self._before[name], now[name]]) for name in now} if self._before else now
        self._before = now
        self._raw = np.append(self._raw, self.detector.scores(steps)[-1])
        score = self._so_far(self._raw)
        return {
            "score": score,
            "p_value": float(self.p_values(np.array([score]))[0]),
            "alarm": score > self.threshold,
        }

    # -- keeping -------------------------------------------------------------------------------------------------------

    def save(self, folder: str | Path) -> Path:
        """Write the calibration, and the run directory of the VAE if there is one. `Monitor.load` reads them back."""
        folder, detector = Path(folder), self.detector
        make_folder(folder)
        for model in detector.models:
            model.save(folder / MODEL)
        fitteds = [model.fitted_ for model in (self.policy, *detector.models)]
        kind = next(name for name, each in DETECTORS.items() if isinstance(detector, each))
        arrays = {"highest": self.calibration, **detector.arrays}
        keep(folder / MONITOR, fitteds, arrays, detector=kind, alpha=self.alpha)
        return folder

    @classmethod
    def load(cls, folder: str | Path, policy: Policy) -> Monitor:
        """Read a monitor. UserError if there is none, or if it belongs to another policy, because its scores would mean nothing."""
        folder = Path(folder)
        models = [load(folder / MODEL)] if (folder / MODEL).exists() else []

        def rebuilt(fitteds: Any, arrays: Any, about: Any) -> Monitor:
            highest = arrays.pop("highest")
            detector = DETECTORS[about["detector"]](policy, *models[: len(fitteds) - 1], **arrays)
            self = cls(policy, detector, about["alpha"])
            self.calibration = highest
            return self

        return kept(folder / MONITOR, [model.fitted_ for model in (policy, *models)], rebuilt)


class Monitored:
    """A policy under a monitor, to use in place of the policy. In `rollout` the latency then includes the monitor's.

    Attributes:
        episodes: for each episode: steps; alarm: the step of the first alarm, or None; p_value: the lowest.
    """

    def __init__(self, policy: Acting, monitor: Monitor):
        self.policy, self.monitor = policy, monitor
        self.episodes: list[dict[str, Any]] = []
        self._new = True

    @property
    def deciding(self) -> bool:
        return self.policy.deciding

    def reset(self, seed: int | None = None) -> None:
        self.policy.reset(seed)
        self.monitor.reset()
        self._new = True

    def act(self, observation: Mapping[str, Any]) -> np.ndarray:
        if self._new:
            self.episodes.append({"steps": 0, "alarm": None, "p_value": 1.0})
            self._new = False
        found, episode = self.monitor.step(observation), self.episodes[-1]
        if found["alarm"] and episode["alarm"] is None:
            episode["alarm"] = episode["steps"]
        episode["p_value"] = min(episode["p_value"], found["p_value"])
        episode["steps"] += 1
        return self.policy.act(dict(observation))


def watched(policy: Acting, environment: Environment, kind: str, seed: int, episodes: int = 50) -> Monitored:
    """Put a policy under a monitor that is fitted to its run's demonstrations and calibrated on rollouts from `seed` on."""
    source = policy.data_.get("source") if isinstance(policy, Policy) else None
    if not isinstance(policy, Policy) or not source:
        raise UserError("a monitor needs the demonstrations of the run: give a run that `vaekit fit` wrote")
    monitor = Monitor.fit(policy, policy.read(source), kind)
    good = record(policy, environment, episodes, seed)
    if not good:
        raise UserError(
            f"a monitor is calibrated on episodes that succeed, and none of {episodes} did: train the policy further"
        )
    return Monitored(policy, monitor.calibrate(good))


def alarms(episodes: list[dict[str, Any]]) -> dict[str, Any]:
    """A summary of `Monitored.episodes`: their number; the share of them with an alarm, and its Wilson interval at 95 %;
    alarm_step: the median step of the first alarm, and steps_left: the median number of steps after it. None without alarms."""
    raised = [e for e in episodes if e["alarm"] is not None]
    return {
        "episodes": len(episodes),
        "alarms": len(raised) / len(episodes),
        "alarms_interval": wilson(len(raised), len(episodes)),
        "alarm_step": float(np.median([e["alarm"] for e in raised])) if raised else None,
        "steps_left": float(np.median([e["steps"] - e["alarm"] for e in raised])) if raised else None,
    }


def alarm_lines(found: Mapping[str, Any]) -> list[str]:
    """Lines of `vaekit rollout` about alarms."""
    low, high = found["alarms_interval"]
    when = "" if found["alarm_step"] is None else f", at step {found['alarm_step']:.0f} (median)"
    return [f"alarms            {found['alarms']:.0%} [{low:.0%}, {high:.0%}] of the episodes{when}"]


def record(
    policy: Acting, environment: Environment, episodes: int, seed: int, *, successes: bool = True
) -> list[Observations]:
    """Record the policy's observations in rollouts on the seeds `seed`, `seed` + 1, ..., to calibrate a monitor on.

    Args:
        successes: keep only episodes that end in strict success, so that failures are unusual; these may be fewer than `episodes`.

    Returns:
        A list of observations by name, each (T, ...).

    Example:
        >>> from vaekit.robots.environments import demonstrate, make
        >>> from vaekit.robots.monitor import record
        >>> policy = vaekit.Policy(2, size="small", chunk_size=8, epochs=1).fit(demonstrate("two-routes", episodes=3))
        >>> len(record(policy, make("two-routes"), episodes=2, seed=0, successes=False))
        2
    """
    kept: list[Observations] = []
    for i in range(seed, seed + episodes):
        observation, over, seen = environment.reset(i), False, []
        policy.reset(i)
        while not over:
            seen.append(observation)
            observation, _, over = environment.step(policy.act(observation))
        if environment.strict_success or not successes:
            kept.append({name: np.stack([each[name] for each in seen]) for name in seen[0]})
    return kept


def observations_of(demonstrations: Demonstrations) -> list[Observations]:
    """The observations of each episode."""
    spans = [slice(*span) for span in zip(demonstrations.episode_starts, demonstrations.episode_ends, strict=True)]
    return [{name: part(values, span) for name, values in demonstrations.offered.items()} for span in spans]


@torch.no_grad()
def features(policy: Policy, observations: Observations) -> np.ndarray:
    """The observation of each step, and its change since the step before (0 at the first): (T, 2 n) float64."""
    parts = []
    for some in pieces(observations, FRAMES_AT_ONCE if policy.sees_cameras else ROWS_AT_ONCE):
        y = policy.pack_observations(some)
        c = policy.model_.condition(y, len(next(iter(y.values()))))
        parts.append(torch.cat([v.mean(1) if name == "pictures" else v for name, v in c.items()], dim=1))
    seen = torch.cat(parts).double().cpu().numpy()
    return np.concatenate([seen, np.diff(seen, axis=0, prepend=seen[:1])], axis=1)


def pieces(observations: Observations, size: int) -> Iterable[Observations]:
    """Steps in turn, at most `size` at a time."""
    for start in range(0, len(next(iter(observations.values()))), size):
        yield {name: values[start : start + size] for name, values in observations.items()}
