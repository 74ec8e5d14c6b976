"""The base of all environments: reset, step, two measures of success, a picture and an expert."""

from __future__ import annotations

import os
import re
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from ctypes.util import find_library
from importlib import metadata
from typing import ClassVar

import numpy as np

from vaekit.errors import UserError, extra_needed

Observation = dict[str, np.ndarray]
Expert = Callable[[], np.ndarray]


class Environment(ABC):
    """A task for one robot; call `reset` first.

    Observations are named as in `vaekit.robots.demonstrations.Demonstrations`: "state" and "environment_state", float32
    vectors, and with cameras "images.NAME", (height, width, 3) uint8.

    Attributes:
        name: as `make` takes it.
        gym_id: the id of the same task in gymnasium's registry; empty for our own.
        fps: control steps per second.
        max_steps: the most steps of an episode.
        action_size: numbers in an action.
        action_names: a name for each of them.
        cameras: whether observations hold pictures.
        extra: entries to add to every observation, such as {"task": ...} for a policy that sees its task.

    Example:
        >>> from vaekit.robots.environments import make
        >>> env = make("two-routes")
        >>> observation, expert = env.reset(seed=0), env.expert(seed=0)
        >>> observation, reward, over = env.step(expert())
        >>> env.steps, over
        (1, False)
    """

    name: ClassVar[str]
    gym_id: ClassVar[str] = ""
    fps: ClassVar[float]
    max_steps: ClassVar[int]
    action_names: ClassVar[list[str]]

    def __init__(self, *, cameras: bool = False) -> None:
        self.cameras = cameras
        self.steps = 0
        self.extra: Observation = {}

    @property
    def action_size(self) -> int:
        return len(self.action_names)

    def reset(self, seed: int) -> Observation:
        """Start the episode that belongs to `seed`; the same seed gives the same episode.

        Raises:
            UserError: seed is not from 0 to 2^32 - 1.
        """
        if not 0 <= seed < 2**32:
            raise UserError(f"{self.name}: the seed is {seed}: give a whole number from 0 to 2^32 - 1")
        self.steps = 0
        self._reset(seed)
        return {**self._observe(), **self.extra}

    def step(self, action: np.ndarray) -> tuple[Observation, float, bool]:
        """Carry out an action (action_size,) and return the next observation, the reward, and whether the episode is over.

        Raises:
            UserError: the action has another size or is not finite.
        """
        action = np.asarray(action, dtype=np.float64)
        if action.shape != (self.action_size,):
            raise UserError(
                f"{self.name}: an action has the shape {action.shape}: give {self.action_size} numbers "
                f"({', '.join(self.action_names)})"
            )
        if not np.isfinite(action).all():
            bad = int(np.flatnonzero(~np.isfinite(action))[0])
            raise UserError(
                f"{self.name}: the action of step {self.steps} is {action[bad]} at {self.action_names[bad]}: give "
                "finite numbers"
            )
        self.steps += 1
        reward, over = self._step(action)
        return {**self._observe(), **self.extra}, reward, over or self.steps >= self.max_steps

    @property
    @abstractmethod
    def success(self) -> bool:
        """The environment's own measure, as published results count it."""

    @property
    @abstractmethod
    def strict_success(self) -> bool:
        """Whether the task is done at this moment. Read it at the end of the episode."""

    @abstractmethod
    def frame(self) -> np.ndarray:
        """(height, width, 3) uint8, a picture for videos."""

    @abstractmethod
    def expert(self, seed: int) -> Expert:
        """A script that does the task: each call gives the next action from the environment's own state.

        Get it after `reset` and call it once before each step; `seed` varies how it does the task.
        """

    def close(self) -> None:  # noqa: B027
        """Free the simulator."""

    @abstractmethod
    def _reset(self, seed: int) -> None: ...

    @abstractmethod
    def _step(self, action: np.ndarray) -> tuple[float, bool]: ...

    @abstractmethod
    def _observe(self) -> Observation: ...


def check_simulator(task: str, package: str, before: tuple[int, int]) -> None:
    """UserError unless `package` and a MuJoCo older than version `before` are installed. Neither is loaded.

    On a Linux machine without a display it also chooses the library that MuJoCo draws with, unless MUJOCO_GL is set.
    """
    for needed in (package, "mujoco"):
        try:
            version = metadata.version(needed)
        except metadata.PackageNotFoundError as error:
            raise extra_needed("robots", needed) from error
    if tuple(int(part) for part in re.findall(r"\d+", version)[:2]) >= before:
        raise UserError(
            f"{task} needs a MuJoCo before {before[0]}.{before[1]}, but {version} is installed: "
            "pip install 'mujoco==3.8.1'"
        )
    if sys.platform == "linux" and not os.environ.get("DISPLAY"):
        for backend, library in (("egl", "EGL"), ("osmesa", "OSMesa")):
            if find_library(library):
                os.environ.setdefault("MUJOCO_GL", backend)


def rendered_safely(render: Callable[[], np.ndarray]) -> np.ndarray:
    """The picture that `render` returns; UserError if MuJoCo cannot draw."""
    try:
        return render()
    except Exception as error:  # from any library that could not open a context
        raise UserError(
            f"MuJoCo could not draw a picture ({error}): install libegl1 or libosmesa6 and set MUJOCO_GL to egl or "
            "osmesa before Python starts, or use no cameras"
        ) from error
