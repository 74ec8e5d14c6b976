"""Demonstrations from a source as the user names it, and back to a dataset.

`read_demonstrations` tells the kind of a source and hands it to its reader (`lerobot`, `hdf5`, or .npz, here);
`write_demonstrations` writes the folder that LeRobot reads.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from vaekit.errors import UserError, near_matches, tell
from vaekit.robots.demonstrations import CAMERA, VECTORS, Asked, Demonstrations, floats
from vaekit.sources.arrays import load_array
from vaekit.sources.base import check_size, decoding, reading, shown, split_rows


def read_demonstrations(
    source: str | os.PathLike[str],
    *,
    cameras: bool | Sequence[str] = True,
    resize: tuple[int, int] | None = None,
) -> Demonstrations:
    """Read demonstrations into memory.

    source: a folder of LeRobot v3 (it has meta/info.json), a folder of ACT's episode_N.hdf5, one such file, or an .npz
        file with `actions` (T, A), `episode_ends` (E,), and `observations` (T, n), which become the state, or arrays
        named as in `Demonstrations.observations`; `fps` may be there too. A trailing [3] or [0:10] picks episodes.
    cameras: True for all of them, False for none, or their names, with or without "images." in front.
    resize: bring every picture to this (width, height).

    Raises UserError, in one line, for whatever is wrong with the source or with what was asked of it.
    """
    text = os.fspath(source)
    check_size(resize)
    cameras = (cameras,) if isinstance(cameras, str) else cameras
    with reading(text, "give fewer cameras or episodes, or a smaller size"):
        text, episodes = split_rows(text)
        asked = Asked(text, Path(text).expanduser(), cameras, resize, episodes)
        demonstrations = _reader(asked)(asked)
    demonstrations.actions = floats(demonstrations.actions)
    observations = demonstrations.observations
    demonstrations.observations = {
        name: values if name.startswith(CAMERA) else floats(values) for name, values in observations.items()
    }
    demonstrations.check()
    tell(demonstrations.notes)
    if resize and not any(name.startswith(CAMERA) for name in observations):
        raise UserError(f"no camera of {text} was read, and only pictures can be resized: leave out the size")
    return demonstrations


def write_demonstrations(demonstrations: Demonstrations, folder: str | os.PathLike[str]) -> None:
    """Write a folder of LeRobot v3: numbers as float32, cameras as nearly lossless mp4 videos.

    UserError if the folder is there already and holds something, or cannot be written; then nothing is left of it.
    """
    from vaekit.robots.lerobot import write_lerobot

    write_lerobot(demonstrations, Path(folder).expanduser())


def _reader(asked: Asked) -> Callable[[Asked], Demonstrations]:
    from vaekit.robots.hdf5 import FILES, read_hdf5  # these two need what is defined here
    from vaekit.robots.lerobot import read_lerobot

    path = asked.path
    if not asked.text or not path.exists():
        known = shown(path.parent) if path.parent.is_dir() else []
        raise UserError(f"{asked.text or 'the source'} does not exist{near_matches(path.name, known)}")
    if path.is_dir():
        if (path / "meta" / "info.json").exists():
            return read_lerobot
        if any(FILES.fullmatch(name) for name in shown(path)):
            return read_hdf5
        raise UserError(
            f"{asked.text} is no folder of demonstrations: give one that has meta/info.json (LeRobot) or episode_0.hdf5 (ACT)"
        )
    if path.suffix.lower() in (".hdf5", ".h5"):
        return read_hdf5
    if path.suffix.lower() == ".npz":
        return _read_npz
    raise UserError(f"{asked.text} is of no supported kind: give a folder, or a file ending in .hdf5, .h5 or .npz")


def _read_npz(asked: Asked) -> Demonstrations:
    with decoding(asked.text, "a NumPy .npz file"), zipfile.ZipFile(asked.path) as archive:
        held = [member.removesuffix(".npy") for member in archive.namelist()]
        cameras = asked.wanted(name for name in held if name.startswith(CAMERA))
        observations = [name for name in held if name in ("observations", *VECTORS)] + cameras
        for name in ("actions", "episode_ends"):
            if name not in held:
                raise UserError(
                    f"{asked.text} has no array {name!r}{near_matches(name, held)}: save it under that name"
                )
        if not observations:
            names = f"observations, {', '.join(VECTORS)} or {CAMERA}NAME"
            raise UserError(f"{asked.text} has no observations (known: {', '.join(held)}): save them as {names}")
        if "observations" in held and "state" in held:
            raise UserError(f"{asked.text} has both observations and state, which are the same here: save one of them")

        def load(name: str) -> np.ndarray:
            with archive.open(f"{name}.npy") as file:
                values = load_array(file)
            if values is None:
                raise UserError(f"{asked.text}: {name!r} holds pickled Python objects, never opened: save numbers")
            return asked.pictures(values) if name.startswith(CAMERA) else values

        demonstrations = Demonstrations(
            load("actions"),
            {"state" if name == "observations" else name: load(name) for name in observations},
            load("episode_ends"),
            name=asked.name,
        )
        if "fps" in held:
            demonstrations.fps = float(load("fps"))
    left_out = [name for name in held if name not in ("actions", "episode_ends", "fps", *observations)]
    left_out = [name for name in left_out if not name.startswith(CAMERA)]
    if left_out:
        demonstrations.notes.append(f"{asked.text}: left out {', '.join(left_out)}")
    if asked.rows is None:
        return demonstrations
    demonstrations.check()  # the ends must be sound before episodes can be told by them
    return demonstrations[np.asarray(asked.episodes(demonstrations.episodes))]
