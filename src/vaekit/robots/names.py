"""Which fields of a recording are the actions, the state, the cameras, under whatever names."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

from vaekit.errors import UserError, near_matches
from vaekit.robots.demonstrations import CAMERA, DEFAULTS
from vaekit.robots.reading import Asked, is_camera

# Our names, and the names of others, without the prefix: "a+b" are two vectors, concatenated.
ALIASES = {
    "actions": ("action", "actions"),
    "state": (
        "state",
        "observations",
        "qpos",
        "robot0_eef_pos+robot0_eef_quat+robot0_gripper_qpos",  # robomimic
        "ee_states+gripper_states",  # LIBERO
        "joint_position+gripper_position",  # DROID
    ),
    "environment_state": ("environment_state", "object"),
    "velocity": ("velocity", "qvel"),
}
PREFIX = re.compile(r"^(observations?[./]|obs[./])?(images[./])?")
VECTOR, PICTURES, OTHER = "vector", "pictures", "other"  # what a field may be
NAMED = 10  # the most fields that a note names


def choose_fields(asked: Asked, fields: Mapping[str, str], usual: Collection[str]) -> dict[str, list[str]]:
    """Choose the fields to read: our name -> fields, whose vectors are concatenated.

    Args:
        fields: all fields of the source, and the kind of each.
        usual: those whose names need no guess.

    Raises:
        UserError: there are no actions, or a field that was asked for is missing.
    """
    vectors = {vector_name(key): key for key in reversed([*fields]) if fields[key] == VECTOR}
    mapped = _mapped(asked, fields)
    taken = {key for keys in mapped.values() for key in keys}
    cameras = {CAMERA + short(key): [key] for key, kind in fields.items() if kind == PICTURES and key not in taken}
    cameras |= {name: keys for name, keys in mapped.items() if is_camera(name)}
    order = dict.fromkeys([*DEFAULTS, *asked.also, *(name for name in mapped if not is_camera(name))])
    found = {name: mapped.get(name) or _aliased(name, vectors) for name in order}
    if not found["actions"]:
        near = near_matches("action", fields)
        raise UserError(f"{asked.text} has no actions{near}: name them with --map action=NAME")
    for name in asked.also:
        if not found[name]:
            raise UserError(f"{asked.text} has no observation {name!r}{near_matches(name, [*vectors, *cameras])}")
    found = {name: keys for name, keys in found.items() if keys}
    found |= {name: cameras[name] for name in asked.wanted(cameras)}
    _tell(asked, fields, found, {*usual, *taken})
    return found


def short(key: str) -> str:
    """The name of a field without its prefix: observation.images.top -> top, observations/qpos -> qpos."""
    return PREFIX.sub("", key, count=1).replace("/", ".")


def vector_name(key: str) -> str:
    """A name without dots, which the names of a network's parts must not have."""
    return short(key).replace(".", "_")


def _has_prefix(key: str) -> bool:
    """Whether the name of a field says that it is an observation."""
    return PREFIX.sub("", key, count=1) != key


def _aliased(name: str, vectors: Mapping[str, str]) -> list[str]:
    """The fields with this name or an alias of it; empty if there are none."""
    for alias in ALIASES.get(name, (name,)):
        parts = alias.split("+")
        if vectors.keys() >= set(parts):
            return [vectors[part] for part in parts]
    return []


def _mapped(asked: Asked, fields: Mapping[str, str]) -> dict[str, list[str]]:
    """Our name -> fields, as the user maps them."""
    by_short = {short(key): key for key in reversed([*fields])}
    found: dict[str, list[str]] = {}
    for name, text in asked.map.items():
        parts = text.split("+")
        for part in parts:
            if part not in fields and part not in by_short:
                near = near_matches(part, fields)
                raise UserError(f"{asked.text} has no field {part!r} to map to {name!r}{near}")
        keys = [part if part in fields else by_short[part] for part in parts]
        kinds = {fields[key] for key in keys}
        if kinds == {PICTURES} and len(keys) == 1:
            name = CAMERA + name.removeprefix(CAMERA)
        elif kinds != {VECTOR}:
            raise UserError(
                f"{text} of {asked.text} is neither one vector per frame nor one camera: map another field to {name}"
            )
        found["actions" if name == "action" else name] = keys
    return found


def _tell(asked: Asked, fields: Mapping[str, str], found: Mapping[str, list[str]], sure: Collection[str]) -> None:
    """Notes about guesses and about fields that are left out."""
    guessed = [
        f"{' + '.join(keys)} for {name.removeprefix(CAMERA)!r}"
        for name, keys in found.items()
        if not set(sure) >= set(keys) and not (is_camera(name) and _has_prefix(keys[0]))
    ]
    if guessed:
        asked.notes.append(f"{asked.text}: took {', '.join(guessed)}; --map NAME=KEY changes that")
    read = {key for keys in found.values() for key in keys}
    left = [key for key, kind in fields.items() if key not in read and kind != PICTURES]
    if not left:
        return
    vectors, hint = [key for key in left if fields[key] == VECTOR], ""
    if seen := [key for key in vectors if _has_prefix(key)]:
        hint = f"; a policy sees it with -c {vector_name(seen[0])}"
        if "state" not in found:
            hint = f"; --map state={seen[0]} makes it the state"
    if acts := [key for key in vectors if key.endswith("action")]:
        hint += f"; --map action={'+'.join([*found['actions'], acts[0]])} makes it a part of the actions"
    more = f" and {len(left) - NAMED} more" if len(left) > NAMED else ""
    asked.notes.append(f"{asked.text}: left out {', '.join(left[:NAMED])}{more}{hint}")
