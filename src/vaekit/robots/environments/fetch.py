"""Fetch: one arm with a gripper that reaches, pushes, or picks and places (gymnasium-robotics, in MuJoCo)."""

from __future__ import annotations

import contextlib
import copy
import io
from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from vaekit.robots.environments.base import Environment, Expert, Observation, check_simulator, rendered_safely

OBJECT = slice(3, 6)  # its position, in the simulator's observation
ROBOT = [0, 1, 2, 9, 10, 20, 21, 22, 23, 24]  # of its 25 numbers; the others are the object's
HOLD = 5  # strict success: the goal is held for this many steps
OPEN, CLOSE = 1.0, -1.0
CAMERA = {"distance": 1.5, "azimuth": 132.0, "elevation": -20.0, "lookat": np.array([1.3, 0.75, 0.5])}
UP = np.array([0, 0, 1.0])


class Fetch(Environment):
    """Base of the three tasks.

    "state" (10,): gripper position (3, metres), the two fingers' positions (2), gripper velocity (3), the fingers'
    velocities (2). "environment_state": the goal (3,) after, where there is an object, its position (3), its position
    from the gripper (3), its rotation as Euler angles (3), its velocity from the gripper's (3) and its rotational
    velocity (3). Velocities are metres or radians a step. With cameras "images.front", 96 x 96.

    An action (4,) moves the gripper by up to 5 cm in x, y and z and opens (1) or closes (-1) its fingers; each number
    is cut to [-1, 1]. `success` is whether the goal is reached now (within 5 cm), `strict_success` whether it has been
    for the last 5 steps. An episode always lasts `max_steps`.
    """

    fps = 25.0
    max_steps = 50
    action_names: ClassVar[list[str]] = ["x", "y", "z", "fingers"]

    def __init__(self, *, cameras: bool = False) -> None:
        check_simulator(self.name, "gymnasium-robotics", (3, 13))
        super().__init__(cameras=cameras)
        import gymnasium

        with contextlib.redirect_stderr(io.StringIO()):  # it prints a notice about other robots
            import gymnasium_robotics

        gymnasium.register_envs(gymnasium_robotics)
        self.env: Any = gymnasium.make(
            self.gym_id, render_mode="rgb_array", width=288, height=288, default_camera_config=CAMERA
        ).unwrapped
        self.seen: dict[str, np.ndarray] = {}
        self.held = 0

    @property
    def success(self) -> bool:
        """Whether it is at the goal now."""
        return self.held > 0

    @property
    def strict_success(self) -> bool:
        """Whether it was at the goal for the last 5 steps."""
        return self.held >= HOLD

    def expert(self, seed: int) -> Expert:
        return self._script(np.random.default_rng([seed, 1])).__next__

    def frame(self) -> np.ndarray:
        """(288, 288, 3) uint8."""
        import mujoco

        before = copy.copy(self.env.data)  # drawing changes it, and with it what would happen next
        image = rendered_safely(self.env.render)
        mujoco.mj_copyData(self.env.data, self.env.model, before)
        return image

    def close(self) -> None:
        self.env.close()

    def _reset(self, seed: int) -> None:
        self.seen, _ = self.env.reset(seed=seed)
        self.held = 0

    def _step(self, action: np.ndarray) -> tuple[float, bool]:
        self.seen, reward, _, _, info = self.env.step(action)
        self.held = self.held + 1 if info["is_success"] else 0
        return float(reward), False

    def _observe(self) -> Observation:
        numbers, goal = self.seen["observation"], self.seen["desired_goal"]
        robot = ROBOT if len(numbers) == 25 else list(range(10))
        observation = {
            "state": numbers[robot].astype(np.float32),
            "environment_state": np.concatenate([np.delete(numbers, robot), goal]).astype(np.float32),
        }
        if self.cameras:  # the mean of 3 x 3 pixels smooths what 96 x 96 would leave jagged
            observation["images.front"] = self.frame().reshape(96, 3, 96, 3, 3).mean((1, 3)).astype(np.uint8)
        return observation

    @property
    def gripper(self) -> np.ndarray:
        return self.seen["observation"][:3]

    @property
    def object(self) -> np.ndarray:
        return self.seen["observation"][OBJECT]

    @property
    def goal(self) -> np.ndarray:
        return self.seen["desired_goal"]

    def _towards(self, target: np.ndarray, gain: float, fingers: float = CLOSE) -> np.ndarray:
        return np.append(np.clip(gain * (target - self.gripper), -1, 1), fingers)

    def _script(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        raise NotImplementedError


class FetchReach(Fetch):
    """Bring the gripper to the goal."""

    name = "fetch-reach"
    gym_id = "FetchReach-v4"

    def _script(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        gain = rng.uniform(6, 12)
        while True:
            yield self._towards(self.goal, gain)


class FetchPush(Fetch):
    """Push the block to the goal on the table."""

    name = "fetch-push"
    gym_id = "FetchPush-v4"

    def _script(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        gain, above = rng.uniform(8, 12), rng.uniform(0.08, 0.11)
        while True:
            way = (self.goal - self.object) * [1, 1, 0]
            distance = float(np.linalg.norm(way))
            way /= max(distance, 1e-6)
            behind = self.object - 0.07 * way
            offset = (self.gripper - self.object) * [1, 1, 0]
            lateral = float(np.linalg.norm(offset - (offset @ way) * way))
            if distance < 0.015:
                yield np.array([0, 0, 0, CLOSE])
            elif self.gripper[2] > self.object[2] + 0.04:  # in the air: over the spot behind the block, then down
                there = np.linalg.norm((behind - self.gripper)[:2]) < 0.015
                yield self._towards(behind if there else behind + above * UP, gain)
            elif offset @ way > -0.02 or lateral > 0.02:  # beside the block or past it: up, and again
                yield self._towards(self.gripper + above * UP, gain)
            else:
                yield self._towards(self.object + min(distance, 0.06) * way - 0.045 * way, gain)


class FetchPickAndPlace(Fetch):
    """Pick the block up and hold it at the goal, which may be in the air."""

    name = "fetch-pick-and-place"
    gym_id = "FetchPickAndPlace-v4"

    def _script(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        gain, above = rng.uniform(8, 12), rng.uniform(0.08, 0.11)
        while np.linalg.norm((self.object - self.gripper)[:2]) > 0.01:
            yield self._towards(self.object + above * UP, gain, OPEN)
        while self.gripper[2] > self.object[2] + 0.01:
            yield self._towards(self.object, gain, OPEN)
        for _ in range(4):
            yield self._towards(self.object, gain, CLOSE)
        while True:
            yield self._towards(self.gripper + self.goal - self.object, gain, CLOSE)
