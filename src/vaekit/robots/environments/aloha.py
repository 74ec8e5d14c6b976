"""Aloha: two arms that hand over a cube, or put a peg into a socket (gym-aloha, in MuJoCo)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import numpy as np

from vaekit.errors import UserError
from vaekit.robots.environments.base import Environment, Expert, Observation, check_simulator, rendered_safely

ARMS = ("left", "right")
JOINTS = ["waist", "shoulder", "elbow", "forearm_roll", "wrist_angle", "wrist_rotate", "gripper"]
LEFT_FINGERS, RIGHT_FINGERS = (f"vx300s_{arm}/10_" for arm in ARMS)  # of gym-aloha's names
DEGREES = np.pi / 180
GRASP = np.array([0.14, 0.0, 0.0])  # from the gripper's frame to between its finger tips
CLOSED, OPEN = 0.0, 1.0
DOWN = 60 * DEGREES  # pitch at which the grippers pick things up
UP = np.array([0, 0, 1.0])
X = np.array([1.0, 0, 0])


class Aloha(Environment):
    """Base of the two tasks.

    "state" (14,): for the left arm and then the right one six joint angles in radians and the gripper, 0 closed and 1
    open. "environment_state": position (3, metres) and quaternion (4, w first) of the cube (7,), or of the peg and of
    the socket (14,). With cameras "images.top", (*camera_size, 3).

    An action (14,) is the state to go to. Reward is gym-aloha's, 0 to 4. An episode always lasts `max_steps`, 8
    seconds, where gym-aloha ends it at the first moment of success.

    Args:
        cameras: observe "images.top" too; without a graphics card it takes about 0.1 s a step.
        camera_size: height and width of that picture.
    """

    fps = 50.0
    max_steps = 400
    action_names: ClassVar[list[str]] = [f"{arm}_{joint}" for arm in ARMS for joint in JOINTS]
    assets: ClassVar[str]
    task: ClassVar[str]

    def __init__(self, *, cameras: bool = False, camera_size: tuple[int, int] = (480, 640)) -> None:
        check_simulator(self.name, "gym-aloha", (3, 9))
        super().__init__(cameras=cameras)
        if not (0 < camera_size[0] <= 480 and 0 < camera_size[1] <= 640):
            raise UserError(f"{self.name}: camera_size is {camera_size}: give height and width, 480 x 640 at most")
        from dm_control import mujoco
        from dm_control.rl import control
        from gym_aloha.constants import ASSETS_DIR, DT
        from gym_aloha.tasks import sim

        self.camera_size = camera_size
        self.physics: Any = mujoco.Physics.from_xml_path(str(ASSETS_DIR / self.assets))
        task = getattr(sim, self.task)()
        task.get_observation = lambda physics: {}  # its own draws three pictures, needed or not
        self.env: Any = control.Environment(self.physics, task, control_timestep=DT)
        self.best, self.broken = 0.0, False

    @property
    def success(self) -> bool:
        """Whether gym-aloha's reward reached 4, its highest, at some moment of the episode."""
        return self.best == 4 and not self.broken

    def expert(self, seed: int) -> Expert:
        return self._script(np.random.default_rng([seed, 1])).__next__

    def frame(self) -> np.ndarray:
        """(480, 640, 3) uint8, from the front."""
        return self._draw((480, 640), "angle")

    def close(self) -> None:
        self.env.close()

    def _reset(self, seed: int) -> None:
        from gym_aloha.tasks import sim

        sim.BOX_POSE[0] = self._sample(seed)  # where its tasks look for the start
        self.env.reset()
        self.best, self.broken = 0.0, False

    def _step(self, action: np.ndarray) -> tuple[float, bool]:
        from dm_control.rl.control import PhysicsError

        try:
            reward = float(self.env.step(action).reward)
        except (
            PhysicsError
        ):  # wild targets make the simulation diverge: the robot would be broken, and the task not done
            self.broken = True
            return 0.0, True
        self.best = max(self.best, reward)
        return reward, False

    def _observe(self) -> Observation:
        observation = {
            "state": self.env.task.get_qpos(self.physics).astype(np.float32),
            "environment_state": self.physics.data.qpos[16:].astype(np.float32),
        }
        if self.cameras:
            observation["images.top"] = self._draw(self.camera_size, "top")
        return observation

    def _draw(self, size: tuple[int, int], camera: str) -> np.ndarray:
        return rendered_safely(lambda: self.physics.render(*size, camera_id=camera))

    def _touch(self, first: str, second: str) -> bool:
        """Whether geometries whose names begin with these touch each other; never in a simulation that diverged."""
        if self.broken:
            return False
        model, data = self.physics.model, self.physics.data
        pairs = [{model.id2name(geom, "geom") for geom in pair} for pair in data.contact.geom[: data.ncon]]
        return any(a.startswith(first) and b.startswith(second) for pair in pairs for a in pair for b in pair - {a})

    def _sample(self, seed: int) -> np.ndarray:
        raise NotImplementedError

    def _script(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        raise NotImplementedError


class Hands:
    """The two grippers in space: where they go, and the joint angles that bring them there.

    A pose (6,) is the position between the finger tips (3, metres), the pitch below the horizon and the roll (radians),
    and the gripper (0 closed to 1 open). The left one points to +x, the right one to -x.
    """

    def __init__(self, physics: Any) -> None:
        import mujoco

        self.mujoco = mujoco
        self.model = physics.model.ptr
        self.data = mujoco.MjData(self.model)
        self.data.qpos[:] = physics.data.qpos
        self.bodies = [self.model.body(f"vx300s_{arm}/gripper_link").id for arm in ARMS]
        mujoco.mj_forward(self.model, self.data)
        pitch = self.data.qpos[[1, 2, 4]].sum()  # of both arms, which start alike: shoulder, elbow and wrist
        self.poses = [at(self._tip(body), CLOSED, pitch) for body in self.bodies]

    def move(self, steps: int, left: np.ndarray | None = None, right: np.ndarray | None = None) -> Iterator[np.ndarray]:
        """Actions (14,) that move the hands to these poses in `steps` steps, gently and along a line; a hand with None stays."""
        starts = self.poses
        ends = [start if end is None else end for start, end in zip(starts, (left, right), strict=True)]
        for part in _gently(steps):
            self.poses = [start + part * (end - start) for start, end in zip(starts, ends, strict=True)]
            yield np.concatenate([[*self._angles(arm, pose), pose[5]] for arm, pose in enumerate(self.poses)])

    def swing(self, steps: int, left: np.ndarray, right: np.ndarray) -> Iterator[np.ndarray]:
        """Move along a line in joint angles, for the way from the start, where a wrist passes its straight pose.

        There a line in space would turn the forearm round.
        """
        starts, ends = [], []
        for arm, (now, goal) in enumerate(zip(self.poses, (left, right), strict=True)):
            angles = self.data.qpos[8 * arm : 8 * arm + 6]
            starts += [*angles, now[5]]
            angles[4:] += (goal - now)[3:5]  # the wrist on the side where the goal has it
            ends += [*self._angles(arm, goal), goal[5]]
        self.poses = [left, right]
        for part in _gently(steps):
            yield np.array(starts) + part * (np.array(ends) - starts)

    def _tip(self, body: int) -> np.ndarray:
        return self.data.xpos[body] + self.data.xmat[body].reshape(3, 3) @ GRASP

    def _angles(self, arm: int, pose: np.ndarray) -> np.ndarray:
        """Joint angles (6,) for the pose: inverse kinematics by damped least squares from where the arm was last."""
        joints, body = slice(8 * arm, 8 * arm + 6), self.bodies[arm]
        (cp, sp), (cr, sr) = ((np.cos(angle), np.sin(angle)) for angle in pose[3:5])
        turn = np.diag([1.0, 1.0, 1.0] if arm == 0 else [-1.0, -1.0, 1.0])
        pitched = np.array([[cp, 0, sp], [0, 1, 0], [-sp, 0, cp]])
        rolled = np.array([[1, 0, 0], [0, cr, -sr], [0, sr, cr]])
        wanted = turn @ pitched @ rolled
        position, rotation = np.zeros((3, self.model.nv)), np.zeros((3, self.model.nv))
        for _ in range(100):
            self.mujoco.mj_kinematics(self.model, self.data)
            self.mujoco.mj_comPos(self.model, self.data)
            tip, is_now = self._tip(body), self.data.xmat[body].reshape(3, 3)
            error = np.concatenate([pose[:3] - tip, np.cross(is_now.T, wanted.T).sum(0) / 2])
            if np.abs(error).max() < 1e-4:
                break
            self.mujoco.mj_jac(self.model, self.data, position, rotation, tip, body)
            jacobian = np.concatenate([position, rotation])[:, joints]
            change = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-4 * np.eye(6), error)
            # no more than 0.1 radians at once: a longer step may turn a wrist over
            self.data.qpos[joints] += change * min(1, 0.1 / np.abs(change).max())
        return self.data.qpos[joints].copy()


def _gently(steps: int) -> np.ndarray:
    """(steps,), from above 0 to 1 with the least jerk."""
    t = np.arange(1, steps + 1) / steps
    return t**3 * (10 - 15 * t + 6 * t**2)


def at(position: np.ndarray, gripper: float, pitch: float = DOWN, roll: float = 0.0) -> np.ndarray:
    """(6,), as `Hands` takes it."""
    return np.array([*position, pitch, roll, gripper])


class AlohaTransfer(Aloha):
    """The right arm picks the cube up and hands it to the left one.

    Strict success: the left gripper touches the cube, and neither the right one nor the table does. gym-aloha's own
    success allows the right one to hold it still.
    """

    name = "aloha-transfer"
    gym_id = "gym_aloha/AlohaTransferCube-v0"
    assets = "bimanual_viperx_transfer_cube.xml"
    task = "TransferCubeTask"

    @property
    def strict_success(self) -> bool:
        """Whether only the left gripper holds the cube now."""
        return self._touch("red_box", LEFT_FINGERS) and not (
            self._touch("red_box", "vx300s_right") or self._touch("red_box", "table")
        )

    def _sample(self, seed: int) -> np.ndarray:
        from gym_aloha.utils import sample_box_pose

        return sample_box_pose(seed)

    def _script(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        hands = Hands(self.physics)
        cube = self.physics.data.qpos[16:18]
        pick = np.array([*cube, 0.02]) + rng.uniform(-0.003, 0.003, 3)
        meet = np.array([0, 0.5, 0.27]) + rng.uniform(-0.01, 0.01, 3)
        back = 0.12 * (np.cos(DOWN) * X + np.sin(DOWN) * UP)
        wait = at(meet - 0.12 * X, OPEN, 0, 90 * DEGREES)
        yield from hands.swing(int(rng.integers(75, 90)), wait, at(pick + 0.1 * UP, OPEN))
        yield from hands.move(int(rng.integers(35, 45)), None, at(pick, OPEN))
        yield from hands.move(25, None, at(pick, CLOSED))
        yield from hands.move(int(rng.integers(60, 75)), None, at(meet, CLOSED))
        held = self.physics.data.qpos[16:19] - 0.004 * X
        yield from hands.move(int(rng.integers(50, 60)), at(held, OPEN, 0, 90 * DEGREES))
        yield from hands.move(30, at(held, CLOSED, 0, 90 * DEGREES))
        yield from hands.move(20, None, at(meet, OPEN))
        yield from hands.move(40, None, at(meet + back, OPEN))
        while True:
            yield from hands.move(1)


class AlohaInsertion(Aloha):
    """The left arm picks the socket up, the right one the peg, and they push the peg in.

    Strict success: the peg touches the pin inside the socket, each is in its gripper, and neither touches the table.
    """

    name = "aloha-insertion"
    gym_id = "gym_aloha/AlohaInsertion-v0"
    assets = "bimanual_viperx_insertion.xml"
    task = "InsertionTask"

    @property
    def strict_success(self) -> bool:
        """Whether the peg is in the socket and both are held in the air now."""
        return (
            self._touch("red_peg", "pin")
            and self._touch("red_peg", RIGHT_FINGERS)
            and self._touch("socket", LEFT_FINGERS)
            and not any(self._touch(part, "table") for part in ("red_peg", "socket", "pin"))
        )

    def _sample(self, seed: int) -> np.ndarray:
        from gym_aloha.utils import sample_insertion_pose

        return np.concatenate(sample_insertion_pose(seed))

    def _script(self, rng: np.random.Generator) -> Iterator[np.ndarray]:
        hands = Hands(self.physics)
        peg, socket = self.physics.data.qpos[16:18], self.physics.data.qpos[23:25]
        right = np.array([*peg + rng.uniform(-0.003, 0.003, 2), 0.012])
        left = np.array([*socket + rng.uniform(-0.003, 0.003, 2), 0.02])
        meet = np.array([0, 0.5, 0.2]) + rng.uniform(-0.01, 0.01, 3)
        yield from hands.swing(int(rng.integers(80, 95)), at(left + 0.1 * UP, OPEN), at(right + 0.1 * UP, OPEN))
        yield from hands.move(int(rng.integers(40, 50)), at(left, OPEN), at(right, OPEN))
        yield from hands.move(30, at(left, CLOSED), at(right, CLOSED))
        left, right = meet - 0.1 * X, meet + 0.1 * X
        yield from hands.move(int(rng.integers(70, 80)), at(left, CLOSED), at(right, CLOSED))
        yield from hands.move(10)
        off = self.physics.data.qpos[23:26] - self.physics.data.qpos[16:19] + 0.2 * X  # what the grasps left
        right = right + off
        yield from hands.move(20, None, at(right, CLOSED))
        left, right = left + 0.05 * X, right - 0.058 * X  # 8 mm further than the peg goes: it keeps pressing the pin
        yield from hands.move(int(rng.integers(60, 70)), at(left, CLOSED), at(right, CLOSED))
        while True:
            yield from hands.move(1)
