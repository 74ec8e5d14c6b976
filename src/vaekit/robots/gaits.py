"""Gaits as rows of numbers: gymnasium's MuJoCo walkers, driven by a genome. For `vaekit.evolve` and `vaekit.evolution.adapt`.

gaits = Gaits("Ant-v5")
rows = gaits.random(1000, seed=0)
gaits.score(rows), gaits.features(rows)  # metres a second, and how long each foot is on the ground
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np

from vaekit.errors import UserError, extra_needed, near_matches

GAIN, DAMPING = 2.0, 0.1  # of a joint's servo: share of its torque for each radian, and for each radian a second
LOCKED = 0.01  # radians that a locked joint still gives
WEIGHTS = 3.0  # the largest weight of a network, times the root of the inputs of its layer


class Walker(NamedTuple):
    """A model of gymnasium: its feet by name -> geometry; its legs by name -> joints; whether its height is a measure."""

    feet: dict[str, str]
    legs: dict[str, list[str]]
    height: tuple[float, float] | None = None  # metres
    options: dict[str, Any] = {}  # noqa: RUF012


WALKERS = {
    "HalfCheetah-v5": Walker(
        {"back foot": "bfoot", "front foot": "ffoot"},
        {"back leg": ["bthigh", "bshin", "bfoot"], "front leg": ["fthigh", "fshin", "ffoot"]},
    ),
    "Hopper-v5": Walker({"foot": "foot_geom"}, {"leg": ["thigh_joint", "leg_joint", "foot_joint"]}, (0.7, 1.5)),
    "Walker2d-v5": Walker(
        {"right foot": "foot_geom", "left foot": "foot_left_geom"},
        {
            "right leg": ["thigh_joint", "leg_joint", "foot_joint"],
            "left leg": ["thigh_left_joint", "leg_left_joint", "foot_left_joint"],
        },
    ),
    "Ant-v5": Walker(
        {
            f"foot {i + 1}": f"{name}_ankle_geom" for i, name in enumerate(("left", "right", "third", "fourth"))
        },  # as its joints are numbered: 1 and 4 in front, where it walks along x
        {f"leg {i}": [f"hip_{i}", f"ankle_{i}"] for i in range(1, 5)},
        options={"include_cfrc_ext_in_observation": False},
    ),
}


@dataclass(eq=False)
class Gaits:
    """A walker that tries genomes: rows of `size` numbers from 0 to 1. A number outside is cut to that range.

    In an open loop each joint swings as offset + amplitude sin(2 pi (frequency t + phase)), in units of half its range, or of
    its torque. A genome is the amplitudes (0 to 1), then the phases (0 to 1 turns), then the offsets (-1 to 1), in the order
    of the actuators (Cully et al. 2015: their servos follow such waves). A sum beyond -1 or 1 is cut.

    Args:
        name: HalfCheetah-v5, Hopper-v5, Walker2d-v5 or Ant-v5.
        steps: the most control steps of an episode. It ends early where gymnasium's does: the walker fell.
        controller: "angles": an open loop of joint angles, which servos follow; "torques": an open loop of torques; "network":
            a tanh network from the observation to torques, whose weights and biases, layer by layer, are the genome.
        frequency: hertz, of an open loop.
        hidden: units of each hidden layer of a network.
        damage: names of legs or joints whose actuators do nothing, such as "leg 1" or "ankle_2"; "ankle_2 locked" is stuck in
            the middle of its range instead. `parts` has the names.
        seed: of the pose that every episode begins with. The same genome always walks alike.

    Attributes:
        size: numbers in a genome.
        names: the measures: the share of the time that each foot is on the ground, and for Hopper the mean height in metres.
        ranges: (m, 2), the range of each measure.
        parts: legs, by name, and the joints of each.

    Raises:
        UserError: an unknown walker, controller or part; steps or frequency that are not above 0; a simulator that is missing.

    Source: the walkers of gymnasium, in MuJoCo.

    Example:
        >>> from vaekit.robots.gaits import Gaits
        >>> gaits = Gaits("Hopper-v5", steps=5)
        >>> rows = gaits.random(2)
        >>> rows.shape, gaits.score(rows).shape, gaits.features(rows).shape
        ((2, 9), (2,), (2, 2))
    """

    name: str = "Ant-v5"
    steps: int = 300
    controller: Literal["angles", "torques", "network"] = "angles"
    frequency: float = 2.0
    hidden: Sequence[int] = (8,)
    damage: Sequence[str] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        try:
            import gymnasium
            import mujoco  # noqa: F401
        except ImportError as error:
            raise extra_needed("robots", "gymnasium and mujoco") from error
        if self.name not in WALKERS:
            raise UserError(f"there is no walker {self.name!r}{near_matches(self.name, WALKERS)}")
        if self.controller not in (known := ("angles", "torques", "network")):
            raise UserError(f"controller={self.controller!r} is unknown{near_matches(self.controller, known)}")
        if self.steps < 1 or not self.frequency > 0:
            raise UserError(f"steps={self.steps} and frequency={self.frequency} have to be above 0")
        walker = WALKERS[self.name]
        made: Any = gymnasium.make(self.name, **walker.options)
        self.env = made.unwrapped
        model = self.env.model
        joints = model.actuator_trnid[:, 0]
        self.joints = [model.joint(int(i)).name for i in joints]
        self.parts, self.feet = walker.legs, np.array([model.geom(each).id for each in walker.feet.values()])
        self.names = [f"contact of {foot}" for foot in walker.feet] + ["mean height"] * bool(walker.height)
        self.ranges = np.array([(0.0, 1.0)] * len(walker.feet) + [walker.height] * bool(walker.height))
        self._q, self._v = model.jnt_qposadr[joints], model.jnt_dofadr[joints]
        low, high = model.jnt_range[joints].T
        self._middle, self._half = (low + high) / 2, (high - low) / 2
        self._works = np.ones(len(joints))
        for part in self.damage:
            self._break(part)
        inputs, outputs = self.env.observation_space.shape[0], len(joints)
        widths = [inputs, *self.hidden, outputs]
        self._layers = list(pairwise(widths)) if self.controller == "network" else []
        self.size = sum((i + 1) * o for i, o in self._layers) or 3 * outputs
        self._known: dict[bytes, np.ndarray] = {}

    def __reduce__(self) -> tuple[Any, ...]:  # gymnasium would leave the damage out
        return type(self), tuple(getattr(self, field.name) for field in fields(self))

    def _break(self, part: str) -> None:
        name = part.removesuffix(" locked")
        if name not in self.parts and name not in self.joints:
            raise UserError(f"{self.name} has no part {name!r}{near_matches(name, [*self.parts, *self.joints])}")
        for joint in self.parts.get(name, [name]):
            i = self.joints.index(joint)
            self._works[i] = 0
            if part != name:
                self.env.model.joint(joint).range = self._middle[i] + np.array([-LOCKED, LOCKED])

    # -- genomes -------------------------------------------------------------------------------------------------------

    def random(self, n: int, seed: int = 0) -> np.ndarray:
        """Draw n genomes, uniform: (n, size)."""
        return np.random.default_rng(seed).random((n, self.size))

    def __call__(self, genomes: Any) -> dict[str, np.ndarray]:
        """Let each genome of (n, size) walk: "speed", "survived" and the measures of `names`, (n,) each.

        "speed" is the way along x over the time of a full episode, in metres a second: whoever falls has stopped. "survived" is
        the share of the steps until then, and the measures are means over these. All are NaN where the simulation broke down, or
        the genome is not finite.

        Raises:
            UserError: genomes of another shape.
        """
        rows = np.atleast_2d(np.asarray(genomes, dtype=np.float64))
        if rows.ndim != 2 or rows.shape[1] != self.size:
            raise UserError(f"genomes have the shape {np.shape(genomes)}: {self.name} needs (n, {self.size})")
        rows = np.clip(rows, 0, 1)
        self._known = {
            key: self._known[key] if key in self._known else self._walk(row) for row in rows for key in [row.tobytes()]
        }
        found = np.array([self._known[row.tobytes()] for row in rows]).reshape(len(rows), 2 + len(self.names))
        return dict(zip(["speed", "survived", *self.names], found.T, strict=True))

    def score(self, genomes: Any) -> np.ndarray:
        """The speed of each genome, (n,), in metres per second. A batch that `features` has just seen is not tried again, and vice versa."""
        return self(genomes)["speed"]

    def features(self, genomes: Any) -> np.ndarray:
        """The measures of each genome, (n, m)."""
        found = self(genomes)
        return np.stack([found[name] for name in self.names], axis=1)

    def _walk(self, genome: np.ndarray) -> np.ndarray:
        """Speed, survived, and the measures of one episode."""
        env, data, broken = self.env, self.env.data, np.full(2 + len(self.names), np.nan)
        if not np.isfinite(genome).all():
            return broken
        act = self._policy(genome)
        seen, _ = env.reset(seed=self.seed)
        start, on_ground, height, over, t = data.qpos[0], np.zeros(len(self.feet)), 0.0, False, 0
        while t < self.steps and not over:
            seen, _, over, _, _ = env.step(self._works * np.clip(act(t * env.dt, seen), -1, 1))
            on_ground += (data.contact.geom[:, :, None] == self.feet).any((0, 1))
            height += data.qpos[1]
            t += 1
        if any(warning.number for warning in data.warning) or not np.isfinite(data.qpos).all():
            return broken
        means = [*on_ground / t, height / t][: len(self.names)]
        return np.array([(data.qpos[0] - start) / (self.steps * env.dt), (t - over) / self.steps, *means])

    def _policy(self, genome: np.ndarray) -> Any:
        """(seconds, observation) -> an action, in shares of each actuator's torque."""
        if self.controller == "network":
            ends = np.cumsum([(i + 1) * o for i, o in self._layers])[:-1]
            weights = [
                (2 * part.reshape(i + 1, o) - 1) * WEIGHTS / np.sqrt(i)
                for part, (i, o) in zip(np.split(genome, ends), self._layers, strict=True)
            ]

            def network(seconds: float, seen: np.ndarray) -> np.ndarray:
                for w in weights:
                    seen = np.tanh(seen @ w[:-1] + w[-1])
                return seen

            return network
        amplitude, phase, offset = genome.reshape(3, -1)

        def wave(seconds: float, seen: np.ndarray) -> np.ndarray:
            swing = amplitude * np.sin(2 * np.pi * (self.frequency * seconds + phase)) + 2 * offset - 1
            swing = np.clip(swing, -1, 1)
            if self.controller == "torques":
                return swing
            data = self.env.data
            return GAIN * (self._middle + self._half * swing - data.qpos[self._q]) - DAMPING * data.qvel[self._v]

        return wave
