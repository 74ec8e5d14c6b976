"""Two routes: a point goes round an obstacle, above or below it, and both are right.

The smallest task on which a policy that averages its demonstrations fails: the mean of the two routes runs into the
obstacle. It needs NumPy only.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from PIL import Image, ImageDraw

from vaekit.errors import UserError
from vaekit.robots.environments.base import Environment, Expert, Observation

START, GOAL, OBSTACLE = np.array([-0.8, 0.0]), np.array([0.8, 0.0]), np.array([0.0, 0.0])
RADIUS = 0.3  # of the obstacle
REACH = 0.06  # a point this near the goal has arrived
SPREAD = np.array([0.05, 0.1])  # the largest distance of the start from START
SPEED = 1.5  # the highest, in units per second


class TwoRoutes(Environment):
    """A point on the square [-1, 1] x [-1, 1] starts at the left, near the axis, and its goal is at the right.

    "state" (2,) is its position. An action (2,) is a velocity in units per second, at most 1.5; a faster one is cut to that.
    Touching the obstacle ends the episode as a failure; coming within 0.06 of the goal ends it as a success.

    Args:
        cameras: add the observation "images.top", 96 x 96.
        above: probability that the expert goes above the obstacle.
    """

    name = "two-routes"
    fps = 20.0
    max_steps = 80
    action_names: ClassVar[list[str]] = ["vx", "vy"]

    def __init__(self, *, cameras: bool = False, above: float = 0.5) -> None:
        super().__init__(cameras=cameras)
        if not 0 <= above <= 1:
            raise UserError(f"{self.name}: above is {above}: give a probability from 0 to 1")
        self.above = above
        self.path: list[np.ndarray] = []

    @property
    def position(self) -> np.ndarray:
        """(2,), the position of the point."""
        return self.path[-1]

    @property
    def route(self) -> int:
        """1 if the point went above the obstacle, -1 if below, 0 if it has not reached the middle yet."""
        crossed = [y for x, y in self.path if x >= OBSTACLE[0]]
        return int(np.sign(crossed[0] - OBSTACLE[1])) if crossed else 0

    @property
    def success(self) -> bool:
        """Whether the point is at the goal; touching the obstacle would have ended the episode."""
        return bool(np.linalg.norm(self.position - GOAL) <= REACH)

    @property
    def strict_success(self) -> bool:
        """Whether the point is at the goal, as for `success`."""
        return self.success

    def expert(self, seed: int) -> Expert:
        """A half wave over or under the obstacle in 40 to 60 steps; crest, height and rhythm vary."""
        rng = np.random.default_rng([seed, 3])  # not the stream that drew the start: the route must not depend on it
        side = 1 if rng.random() < self.above else -1
        height, skew, pause = rng.uniform(0.42, 0.6), rng.uniform(0.85, 1.2), rng.uniform(0.2, 0.6)
        time = np.linspace(0, 1, rng.integers(40, 61))[1:]
        along = (time - pause * np.sin(2 * np.pi * time) / (2 * np.pi))[:, None]  # slow, fast, slow
        wave = np.concatenate([np.zeros_like(along), np.sin(np.pi * along**skew)], axis=1)
        targets = self.position + along * (GOAL - self.position) + side * height * wave
        return lambda: (targets[min(self.steps, len(targets) - 1)] - self.position) * self.fps

    def frame(self) -> np.ndarray:
        """(256, 256, 3) uint8, with the way the point came."""
        return self._draw(256, trail=True)

    def _reset(self, seed: int) -> None:
        self.path = [START + SPREAD * np.random.default_rng(seed).uniform(-1, 1, 2)]

    def _step(self, action: np.ndarray) -> tuple[float, bool]:
        velocity = action * min(1.0, SPEED / max(float(np.linalg.norm(action)), 1e-9))
        self.path.append(np.clip(self.position + velocity / self.fps, -1, 1))
        touched = np.linalg.norm(self.position - OBSTACLE) <= RADIUS
        return float(self.success), self.success or bool(touched)

    def _observe(self) -> Observation:
        observation = {"state": self.position.astype(np.float32)}
        if self.cameras:
            observation["images.top"] = self._draw(96, trail=False)
        return observation

    def _draw(self, size: int, *, trail: bool) -> np.ndarray:
        scale = 2 * size  # drawn at four times the size and made smaller, for smooth edges
        image = Image.new("RGB", (2 * scale, 2 * scale), "#f7f7f5")
        draw = ImageDraw.Draw(image)

        def disc(centre: np.ndarray, radius: float, colour: str) -> None:
            x, y = (1 + centre[0]) * scale, (1 - centre[1]) * scale
            draw.ellipse([x - radius * scale, y - radius * scale, x + radius * scale, y + radius * scale], fill=colour)

        disc(OBSTACLE, RADIUS, "#8d99ae")
        disc(GOAL, REACH, "#2a9d8f")
        if trail and len(self.path) > 1:
            points = [((1 + x) * scale, (1 - y) * scale) for x, y in self.path]
            draw.line(points, fill="#f4a261", width=scale // 50, joint="curve")
        disc(self.position, 0.04, "#e76f51")
        return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS))
