"""A policy over HTTP: each robot names its episode, and the service keeps what an episode needs from one action to the next."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import numpy as np

from vaekit.forms.base import nested, number
from vaekit.robots.actor import Actor, Input
from vaekit.runtime.tasks import Task, Tasks
from vaekit.serve.operations import SEED, Given, Operation, Schema

EPISODES = 1000  # that are kept; the one that was not heard of for longest goes first


class Act(Operation):
    name, says, graphs, main, shown = "act", "The action for what a robot sees now.", ("policy",), None, "action"

    def __init__(self, tasks: Tasks, rows: int):
        super().__init__(tasks, rows)
        self.policy: Actor = tasks.folder.policy()
        self.episodes: OrderedDict[str, Actor] = OrderedDict()

    def condition(self) -> Schema:
        return {"properties": {}}

    def takes(self) -> Schema:
        seen = {name: schema_of(one) for name, one in self.policy.inputs.items()}
        observation = {"type": "object", "properties": seen, "required": list(seen), "additionalProperties": False}
        episode = {"type": "string", "maxLength": 64, "default": "", "description": "Each robot has a name of its own."}
        begins = {"type": "boolean", "default": False, "description": "Whether a new episode of this name begins."}
        return {"observation": observation, "episode": episode, "begins": begins, "seed": SEED}

    def optional(self) -> tuple[str, ...]:
        return "episode", "begins", "seed"

    def gives(self) -> Schema:
        return {"action": {"type": "array", "items": {"type": "number"}}}

    def run(self, given: Given) -> Task:
        actor = self.actor(given.get("episode", ""), given.get("begins", False), given.get("seed"))
        return {"action": actor.act({name: self.value(name, v) for name, v in given["observation"].items()})}
        yield  # it asks for no graph: an episode goes step by step

    def actor(self, episode: str, begins: bool, seed: int | None) -> Actor:
        if begins or episode not in self.episodes:
            self.episodes[episode] = actor = copy.copy(self.policy)
            actor.reset(None if seed is None else int(seed))
        self.episodes.move_to_end(episode)
        while len(self.episodes) > EPISODES:
            self.episodes.popitem(last=False)
        return self.episodes[episode]

    def value(self, name: str, value: Any) -> np.ndarray:
        """JSON has no bytes: whole numbers of a picture become them."""
        one = self.policy.inputs[name]
        return np.asarray(value) if one.classes else np.asarray(value, dtype=one.dtype)


def schema_of(one: Input) -> Schema:
    """The JSON Schema of an observation."""
    if one.classes:
        return {"enum": list(one.classes)}
    if one.dtype == "uint8":
        return nested(one.shape, {"type": "integer", "minimum": 0, "maximum": 255})
    return nested(one.shape, number(False))
