"""Environments to test a policy in, each with a scripted expert: our own in NumPy, Fetch and Aloha in MuJoCo.

A simulator is loaded only when one of its environments is made; pip install 'vaekit[robots]' installs them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from vaekit.errors import UserError, near_matches, note
from vaekit.robots.demonstrations import Demonstrations
from vaekit.robots.environments.aloha import AlohaInsertion, AlohaTransfer
from vaekit.robots.environments.base import Environment, Observation
from vaekit.robots.environments.fetch import FetchPickAndPlace, FetchPush, FetchReach
from vaekit.robots.environments.two_routes import TwoRoutes

ENVIRONMENTS: dict[str, type[Environment]] = {
    kind.name: kind for kind in (TwoRoutes, FetchReach, FetchPush, FetchPickAndPlace, AlohaTransfer, AlohaInsertion)
}


def make(name: str, *, cameras: bool = False) -> Environment:
    """Make the environment with this name or gymnasium id ("FetchPush-v4").

    Args:
        name: "two-routes" needs NumPy alone; the others, of Fetch and Aloha, need the extra `robots`.
        cameras: whether observations hold pictures.

    Raises:
        UserError: there is no such environment, its simulator is not installed, or it does not work with the installed MuJoCo.

    Example:
        >>> from vaekit.robots.environments import make
        >>> env = make("two-routes")
        >>> env.reset(seed=0)["state"].shape, env.action_names
        ((2,), ['vx', 'vy'])
    """
    by_id = {kind.gym_id: kind for kind in ENVIRONMENTS.values() if kind.gym_id}
    if name not in ENVIRONMENTS | by_id:
        raise UserError(f"there is no environment {name!r}{near_matches(name, ENVIRONMENTS)}")
    return (ENVIRONMENTS | by_id)[name](cameras=cameras)


def demonstrate(
    environment: str | Environment,
    episodes: int,
    seed: int = 0,
    *,
    cameras: bool = False,
    track: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Demonstrations:
    """Let the expert do the task on the seeds `seed`, `seed` + 1, ... and keep `episodes` strict successes.

    Each observation is the one before its action.

    Args:
        environment: its name, or an `Environment`.
        cameras: whether observations hold pictures, if `environment` is a name.
        track: wraps the range of episodes to collect, to show progress.

    Returns:
        `Demonstrations`.

    Raises:
        UserError: fewer than one episode, or fewer than a tenth succeed after 30 tries.

    Example:
        >>> from vaekit.robots.environments import demonstrate
        >>> demonstrate("two-routes", episodes=3).episodes
        3
    """
    if episodes < 1:
        raise UserError(f"episodes={episodes} has to be 1 or more")
    env = make(environment, cameras=cameras) if isinstance(environment, str) else environment
    tries, kept = 0, list[tuple[Observation, np.ndarray]]()
    for wanted in track(range(episodes)):
        while len(kept) <= wanted:
            if tries >= 30 and len(kept) < tries / 10:
                raise UserError(
                    f"{env.name}: the expert succeeded in {len(kept)} of {tries} tries from seed {seed}: give another seed, "
                    "and check the simulator's version"
                )
            episode = _attempt(env, seed + tries)
            tries += 1
            if env.strict_success:
                kept.append(episode)
    if env is not environment:
        env.close()
    observations, actions = zip(*kept, strict=True)
    note(f"the scripted expert succeeded in {episodes} of {tries} tries (seeds {seed} to {seed + tries - 1})")
    return Demonstrations(
        actions=np.concatenate(actions),
        observations={name: np.concatenate([each[name] for each in observations]) for name in observations[0]},
        episode_ends=np.cumsum([len(each) for each in actions]),
        fps=env.fps,
        name=env.name,
        action_names=list(env.action_names),
    )


def _attempt(env: Environment, seed: int) -> tuple[Observation, np.ndarray]:
    """One episode of the expert: observations by name, (T, ...) each, and actions (T, A) float32."""
    observation = env.reset(seed)
    expert = env.expert(seed)
    seen, done, over = [], [], False
    while not over:
        action = np.asarray(expert(), dtype=np.float32)  # as it is stored, so that a replay is the same
        seen.append(observation)
        done.append(action)
        observation, _, over = env.step(action)
    return {name: np.stack([each[name] for each in seen]) for name in seen[0]}, np.stack(done)
