"""Testing a policy: episodes in an environment, on seeds that no demonstration came from."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from vaekit.errors import UserError, extra_needed
from vaekit.files import write_atomically
from vaekit.robots.environments import Environment, Observation

Z_95 = 1.959964  # of a Normal, two-sided


class Acting(Protocol):
    """Anything that `rollout` can test: a `Policy`, its exported form, or anything else with these methods."""

    @property
    def deciding(self) -> bool:
        """Whether the next `act` decides on a new chunk."""

    def reset(self, seed: int | None = None) -> None: ...

    def act(self, observation: Observation) -> np.ndarray: ...


def load_policy(run: Path, *, execute: str | None = None, z: str | None = None, device: str = "auto") -> Any:
    """Load the policy of a run directory or of an exported .onnx file. execute and z replace what was saved.

    UserError if the run is not a policy, or if z is given for an .onnx file, whose rule for z is fixed.
    """
    if Path(run).suffix.lower() == ".onnx":
        from vaekit.robots.onnx_policy import OnnxPolicy

        if z is not None:
            raise UserError(f"the rule for z is fixed in {run}: export it again with --z {z}")
        return OnnxPolicy(run, execute=execute)
    from vaekit.estimators.checks import check_settings
    from vaekit.robots.policy import Policy
    from vaekit.runs.load import load

    policy = load(run, device=device)
    if not isinstance(policy, Policy):
        raise UserError(f"{run} is not a policy but a {type(policy).__name__}: train one with --kind actions")
    policy.set_params(**{name: value for name, value in {"execute": execute, "z": z}.items() if value is not None})
    check_settings(policy)
    policy.reset()
    return policy


def hold_elite(policy: Any, folder: Path, at: str) -> str:
    """Make a policy act with the z of one elite in every episode: the elite of an archive whose measures are nearest to these.

    Args:
        folder: that `vaekit evolve` wrote for this policy.
        at: the measures, as numbers with commas.

    Returns:
        Which elite it is, in words.

    Raises:
        UserError: a wrong number of measures, or something that is not a number; an archive of another model.
    """
    from vaekit.evolution.archive import Archive

    archive = Archive.read(folder, getattr(policy, "fitted_", None))
    try:
        point = [float(number) for number in at.split(",")]
    except ValueError:
        point = [math.nan]
    if not np.isfinite(point).all():
        raise UserError(f"--at {at}: give a number for each measure ({', '.join(archive.names)}), with commas between")
    elite = archive.near(point)
    policy.fixed_z = np.asarray(elite.z[0], dtype=np.float32)
    policy.reset()
    where = ", ".join(f"{name} {value:.3g}" for name, value in zip(archive.names, elite.measures[0], strict=True))
    return f"elite at {where}: {archive.title} {elite.objective[0]:.3g}"


def rollout(
    policy: Acting,
    environment: Environment,
    episodes: int = 50,
    seed: int = 1000,
    *,
    video: Path | None = None,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> dict[str, Any]:
    """Run a policy in an environment on the seeds `seed`, `seed` + 1, ...

    Args:
        policy: a `Policy`, an `OnnxPolicy`, or anything else with `reset` and `act`.
        environment: such as `vaekit.robots.environments.make` gives.
        episodes: number of episodes, 1 or more.
        video: a folder to write an .mp4 of each episode to.
        track: wraps the range of episodes, to show progress.

    Returns:
        A dict with episodes, seed; strict_success, and success as the environment itself counts it: shares of the episodes, each with
        its Wilson interval at 95 %; return_mean and return_std; steps_mean; decision_ms: median milliseconds from an observation to an
        action at which a chunk was decided on, and decision_ms_p95; episodes_strict: whether each succeeded; routes: in environments
        that have several.

    Raises:
        UserError: episodes is below 1.

    Example:
        >>> from vaekit.robots.environments import demonstrate, make
        >>> from vaekit.robots.rollout import rollout
        >>> policy = vaekit.Policy(2, size="small", chunk_size=8, epochs=1).fit(demonstrate("two-routes", episodes=3))
        >>> len(rollout(policy, make("two-routes"), episodes=2)["episodes_strict"])
        2
    """
    if episodes < 1:
        raise UserError(f"episodes={episodes} has to be 1 or more")
    strict, lenient, returns, steps, seconds, routes = [], [], [], [], [], []
    for i in track(range(episodes)):
        observation, total, over = environment.reset(seed + i), 0.0, False
        policy.reset(seed + i)
        frames = [environment.frame()] if video else []
        while not over:
            deciding, started = policy.deciding, time.perf_counter()
            action = policy.act(observation)
            if deciding:
                seconds.append(time.perf_counter() - started)
            observation, reward, over = environment.step(action)
            total += reward
            if video:
                frames.append(environment.frame())
        strict.append(environment.strict_success)
        lenient.append(environment.success)
        returns.append(total)
        steps.append(environment.steps)
        routes.append(getattr(environment, "route", None))
        if video:
            write_video(Path(video) / f"{environment.name}-{seed + i}.mp4", frames, environment.fps)
    decided = np.array(seconds) * 1e3
    found: dict[str, Any] = {
        "environment": environment.name,
        "episodes": episodes,
        "seed": seed,
        "strict_success": float(np.mean(strict)),
        "strict_interval": wilson(sum(strict), episodes),
        "success": float(np.mean(lenient)),
        "interval": wilson(sum(lenient), episodes),
        "return_mean": float(np.mean(returns)),
        "return_std": float(np.std(returns)),
        "steps_mean": float(np.mean(steps)),
        "decision_ms": float(np.median(decided)),
        "decision_ms_p95": float(np.quantile(decided, 0.95)),
        "episodes_strict": [bool(s) for s in strict],
    }
    if routes[0] is not None:
        found["routes"] = routes
    return found


def wilson(successes: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927), also for 0 and for n successes.

    Example:
        >>> from vaekit.robots.rollout import wilson
        >>> [round(each, 3) for each in wilson(8, 10)]
        [0.49, 0.943]
    """
    p, z = successes / n, Z_95
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, middle - half), min(1.0, middle + half)


def write_video(path: Path, frames: list[np.ndarray], fps: float) -> None:
    """Write frames (height, width, 3) uint8 as H.264; odd sides lose a pixel."""
    try:
        import av
    except ImportError as e:
        raise extra_needed("robots", "av") from e
    height, width = (n - n % 2 for n in frames[0].shape[:2])

    def write(to: Path) -> None:
        with av.open(str(to), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=round(fps))
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame[:height, :width]))))
            container.mux(stream.encode())

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, write)


def rollout_lines(found: dict[str, Any]) -> list[str]:
    """Lines of `vaekit rollout`."""

    def share(value: float, interval: tuple[float, float]) -> str:
        return f"{value:.0%} [{interval[0]:.0%}, {interval[1]:.0%}]"

    lines = [
        f"{found['environment']}: {found['episodes']} episodes from seed {found['seed']}",
        f"success (strict)  {share(found['strict_success'], found['strict_interval'])}",
        f"success (loose)   {share(found['success'], found['interval'])}",
        f"return            {found['return_mean']:.2f} ± {found['return_std']:.2f}, {found['steps_mean']:.0f} steps",
        f"a decision        {found['decision_ms']:.2f} ms (95 %: {found['decision_ms_p95']:.2f})",
    ]
    if "routes" in found:
        routes = np.asarray(found["routes"])
        lines.append(f"routes            {np.mean(routes > 0):.0%} above, {np.mean(routes < 0):.0%} below")
    return lines
