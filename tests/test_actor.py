"""Actors: when they plan, with which random numbers, and what they refuse to see. The planner here needs no network."""

import ast
from pathlib import Path

import numpy as np
import pytest

from vaekit.errors import UserError
from vaekit.robots import actor as module
from vaekit.robots.actor import Actor, Input, check_observations

STATE, PICTURE, TASK = Input("float32", (2,)), Input("uint8", (4, 5, 3)), Input("int64", (), ["lift", "push"])
SEEN = {"state": np.zeros((3, 2)), "images.top": np.zeros((3, 4, 5, 3), np.uint8), "task": ["lift", "push", "push"]}


class Counting(Actor):
    """A chunk is the state, plus 10 times the number of the component; the component goes up by one if it is held."""

    latent_dim, seed_, chunk_size_, inputs = 1, 7, 4, {"state": STATE}

    def __init__(self, z, execute):
        self.z, self.execute, self.seeds = z, execute, []

    def plan(self, observations, z, seed, held=None):
        state = check_observations(observations, self.inputs)["state"]
        self.seeds.append(tuple(seed))
        component = np.zeros(len(state)) if held is None else held + 1
        shift = 10 * component[:, None] if z is None else 1000 * np.asarray(z)
        return np.repeat((state + shift)[:, None], self.chunk_size_, axis=1), component


def played(actor, steps):
    return [actor.act({"state": [step, 0.5]})[0] for step in range(steps)]


def test_z_and_its_component_are_held_for_an_episode():
    actor = Counting("episode", 1)
    assert played(actor, 3) == [0, 11, 22]
    assert actor.seeds == [(7, 0, 0)] * 3
    actor.reset()
    assert played(actor, 2) == [0, 11]
    assert actor.seeds[3:] == [(7, 1, 0)] * 2  # each episode has numbers of its own
    actor.reset(seed=5)
    played(actor, 1)
    assert actor.seeds[-1] == (5, 0)


def test_z_is_drawn_for_every_chunk():
    actor = Counting("chunk", 2)
    assert played(actor, 6) == [0, 0, 2, 2, 4, 4]
    assert actor.seeds == [(7, 0, 0), (7, 0, 1), (7, 0, 2)]


def test_a_given_z_lasts_for_its_episode():
    actor = Counting("episode", 1)
    actor.reset(z=[2.0])
    assert played(actor, 2) == [2000, 2001]
    actor.reset()
    assert played(actor, 1) == [0]
    with pytest.raises(UserError, match=r"z has the shape \(2,\): this policy's is \(1,\)"):
        actor.reset(z=[1, 2])


def test_it_decides_when_a_chunk_is_played():
    actor = Counting("mean", 3)
    assert [(actor.deciding, actor.act({"state": [0, 0]}))[0] for _ in range(6)] == [True, False, False] * 2
    with pytest.raises(UserError, match="execute=5: cannot play 5 actions of a chunk of 4"):
        Counting("mean", 5).reset()


def test_what_fits_is_seen_in_its_own_order_and_the_rest_is_not():
    found = check_observations({"other": None, **SEEN}, {"task": TASK, "state": STATE, "images.top": PICTURE})
    assert list(found) == ["task", "state", "images.top"]
    once = check_observations({**SEEN, "task": "push"}, {"state": STATE, "task": TASK})
    assert once["task"].tolist() == ["push"] * 3  # one task for all steps
    assert check_observations({"task": np.asarray("lift")}, {"task": TASK})["task"].tolist() == ["lift"]
    assert Counting("mean", 1).sees_cameras is False


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"state": np.zeros(2)}, r"'state' is float64 of shape \(\): give numbers of shape \(2,\)"),
        ({"state": np.zeros((3, 2), complex)}, "'state' is complex128 of shape .*: give numbers"),
        ({"state": [[0, 0], [0, np.inf], [0, 0]]}, r"'state' is not finite: \[0.0, inf\]"),
        ({"images.top": np.zeros((3, 4, 5, 3))}, "'images.top' is float64 of shape .*: give uint8 of shape"),
        ({"images.top": np.zeros((3, 5, 4, 3), np.uint8)}, r"give uint8 of shape \(4, 5, 3\)"),
        ({"task": ["lift", "pusch", "push"]}, r"'task' has no class 'pusch'; did you mean 'push'\?"),
        ({"task": [["lift"], ["push"], ["push"]]}, r"of shape \(1,\): give labels of shape \(\)"),
        ({"task": ["lift", None, "push"]}, "'task' has no class None"),
        ({"state": np.zeros((2, 2))}, "differ in their number of steps: 'state' has 2, 'images.top' has 3"),
    ],
)
def test_what_does_not_fit_is_refused(change, said):
    with pytest.raises(UserError, match=said):
        check_observations({**SEEN, **change}, {"state": STATE, "images.top": PICTURE, "task": TASK})


def test_it_needs_only_numpy():
    """And modules of vaekit that need no more."""
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom)}
    imported |= {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    own = {name for name in imported if name.startswith("vaekit.")}
    assert own == {"vaekit.errors", "vaekit.robots.execution"}
    assert imported - own == {"__future__", "abc", "collections.abc", "dataclasses", "math", "typing", "numpy"}
