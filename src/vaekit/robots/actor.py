"""Acting in episodes: what the robot sees becomes actions, chunk by chunk. Needs only NumPy: it runs on the robot.

The two actors are `Policy` and `OnnxPolicy`. Each says what it sees and which chunk follows; everything else is here.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vaekit.errors import UserError, near_matches
from vaekit.robots.execution import Execution, execution


class Actor(ABC):
    """Base of everything that acts in episodes. A subclass sets the attributes, and implements `chunk_size_`, `inputs` and `plan`.

    Attributes:
        z: the rule for z: "episode" (drawn once and held for an episode), "chunk" (drawn for every chunk), or "mean" of p(z|y).
        execute: how chunks become actions, see `vaekit.robots.execution.execution`.
        latent_dim: number of latent units.
        seed_: the seed of z if `reset` gets none.
        fixed_z: (latent_dim,) to use in every episode for which `reset` gets none, such as the code of an elite; None: by the rule.

    Example:
        >>> from vaekit.robots.environments import demonstrate
        >>> policy = vaekit.Policy(2, size="small", chunk_size=8, epochs=1).fit(demonstrate("two-routes", episodes=3))
        >>> policy.reset(seed=0, z=[0.5, -1.0])  # an episode with this z
        >>> policy.act({"state": [-0.9, 0.0]}).shape
        (2,)
        >>> policy.predict({"state": np.zeros((5, 2))}).shape  # chunks, outside of an episode
        (5, 8, 2)
    """

    z: str
    execute: str | int
    latent_dim: int
    seed_: int
    fixed_z: Any = None
    _episodes = 0  # begun so far
    _episode: Episode | None = None

    @property
    @abstractmethod
    def chunk_size_(self) -> int:
        """Number of actions in a chunk."""

    @property
    @abstractmethod
    def inputs(self) -> Mapping[str, Input]:
        """The observations that it sees, by name."""

    @abstractmethod
    def plan(
        self, observations: Mapping[str, Any], z: Any, seed: Sequence[int], held: Any = None
    ) -> tuple[np.ndarray, Any]:
        """Chunks (N, chunk_size, A) for N observations, each (N, ...) by name, and the mixture components (N,) that z came from.

        Args:
            z: (latent_dim,) or (N, latent_dim) to use; None: by the rule.
            seed: the seed of the z that are drawn.
            held: the components of the previous decision, which are kept while they are likely; None: nothing is held.
        """

    @property
    def sees_cameras(self) -> bool:
        return any(len(one.shape) == 3 for one in self.inputs.values())

    def reset(self, seed: int | None = None, *, z: Any = None) -> None:
        """Begin an episode.

        Args:
            seed: the seed of z. None: each episode has its own, which follows from `seed_`.
            z: (latent_dim,) to use throughout the episode, instead of `fixed_z` or of one that is drawn.

        Raises:
            UserError: z has another shape.
        """
        player = execution_of(self.execute, self.chunk_size_)
        z = self.fixed_z if z is None else z
        if z is not None:
            z = np.asarray(z, dtype=np.float32)
            if z.shape != (self.latent_dim,):
                raise UserError(f"z has the shape {z.shape}: this policy's is ({self.latent_dim},)")
        self._episode = Episode(player, (self.seed_, self._episodes) if seed is None else (seed,), z)
        self._episodes += 1

    @property
    def episode(self) -> Episode:
        """The episode that is under way; the first begins by itself."""
        if self._episode is None:
            self.reset()
        assert self._episode is not None
        return self._episode

    @property
    def deciding(self) -> bool:
        """Whether the next `act` decides on a new chunk."""
        return self.episode.execution.wants_chunk()

    def act(self, observation: Mapping[str, Any]) -> np.ndarray:
        """The action for this step: observation by name, without a row axis -> (A,), in the robot's own units.

        Raises:
            UserError: an observation that the policy was trained to see is missing, has another shape or type, is not finite, or is
                an unknown label.
        """
        episode = self.episode
        if episode.execution.wants_chunk():
            episode.execution.add(self._decide(episode, observation))
        return episode.execution.next()

    def _decide(self, episode: Episode, observation: Mapping[str, Any]) -> np.ndarray:
        """The chunk that begins now, (chunk_size, A)."""
        if not isinstance(observation, Mapping):
            raise UserError(f"an observation is a dict of values by name, got a {type(observation).__name__}")
        row = {name: np.asarray(value)[None] for name, value in observation.items()}
        hold = self.z == "episode"
        seed = (*episode.seed, 0 if hold else episode.decisions)
        chunks, episode.component = self.plan(row, episode.z, seed, episode.component if hold else None)
        episode.decisions += 1
        return chunks[0]

    def predict(
        self, observations: Mapping[str, Any], *, z: Any = None, noise_seed: Sequence[int] | None = None
    ) -> np.ndarray:
        """Predict chunks for N observations, each (N, ...) by name -> (N, chunk_size, A). Nothing is held between them.

        Args:
            z: (latent_dim,) or (N, latent_dim) to use; None: by the policy's rule.
            noise_seed: the seed of the z that are drawn; None: the policy's own.
        """
        return self.plan(observations, z, noise_seed or (self.seed_,))[0]


@dataclass(eq=False)
class Episode:
    """The state of an actor from one `reset` to the next."""

    execution: Execution
    seed: tuple[int, ...]
    z: np.ndarray | None  # (latent_dim,), where it was given
    decisions: int = 0
    component: Any = None  # (1,), of a mixture: where z of the last decision came from


def execution_of(execute: str | int, chunk_size: int) -> Execution:
    """The execution of chunks that a setting names. UserError where `execute` is unknown, or plays more actions than a chunk has."""
    try:
        return execution(str(execute), chunk_size)
    except ValueError as e:
        raise UserError(f"execute={execute!r}: {e}") from e


# -- what an actor sees ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Input:
    """The form of an observation of one name.

    Args:
        dtype: "uint8" of a picture, "int64" of a label, "float32" of anything else, for which all numbers will do.
        shape: of one step: (n,) numbers, (height, width, 3) pixels, or () of a label.
        classes: of a label: the values it may have.
    """

    dtype: str
    shape: tuple[int, ...]
    classes: Sequence[Any] = ()

    def check(self, name: str, values: np.ndarray) -> None:
        """Check that values (N, *shape) have this form, or raise UserError. A label may be one for all N steps."""
        fits = values.dtype == np.uint8 if self.dtype == "uint8" else self.classes or values.dtype.kind in "biuf"
        if values.shape[1:] != self.shape or not fits:
            wanted = "uint8" if self.dtype == "uint8" else "labels" if self.classes else "numbers"
            raise UserError(
                f"observation {name!r} is {values.dtype} of shape {values.shape[1:]}: give {wanted} of shape {self.shape}"
            )
        for value in values.ravel().tolist() if self.classes else ():
            if value not in self.classes:
                near = near_matches(str(value), map(str, self.classes))
                raise UserError(f"observation {name!r} has no class {value!r}{near}")
        # A sum of squares is finite only if all values are. Where it is not it may have overflowed: then they are looked at.
        if values.dtype.kind == "f" and not math.isfinite(np.vdot(values, values)):
            finite = np.isfinite(values).all(axis=-1)
            if not finite.all():
                raise UserError(f"observation {name!r} is not finite: {values[~finite][0].tolist()}")


def check_observations(observations: Mapping[str, Any], inputs: Mapping[str, Input]) -> dict[str, np.ndarray]:
    """The `inputs` among observations of N steps, (N, ...) by name. UserError for the first that does not have its form."""
    found = {}
    for name, one in inputs.items():
        if name not in observations:
            raise UserError(
                f"the observation has no {name!r}, which the policy was trained to see{near_matches(name, observations)}"
            )
        found[name] = np.asarray(observations[name])
        one.check(name, found[name])
    steps = {len(values) for values in found.values() if values.ndim}
    if len(steps) > 1:
        counts = ", ".join(f"{name!r} has {len(values)}" for name, values in found.items() if values.ndim)
        raise UserError(f"the observations differ in their number of steps: {counts}")
    n = steps.pop() if steps else 1
    return {name: values if values.ndim else values.repeat(n) for name, values in found.items()}
