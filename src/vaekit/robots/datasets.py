"""Reading demonstrations from a source, and writing them as a dataset.

`read_demonstrations` recognises the format of a source and calls its reader (`lerobot`, `hdf5`, or .npz, here);
`write_demonstrations` writes the folder that LeRobot reads.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaekit.errors import UserError, near_matches, tell
from vaekit.robots.demonstrations import CAMERA, DEFAULTS, TASK, VECTORS, Demonstrations, floats
from vaekit.robots.names import PICTURES, VECTOR, choose_fields
from vaekit.robots.reading import LAST, NUMBERS, Asked, check_part, ends_by_frames, side_by_side
from vaekit.settings.parse import parse_bytes
from vaekit.sources.arrays import load_array
from vaekit.sources.base import check_size, decoding, reading, split_rows, visible_names
from vaekit.training import Training

ZARR = (
    "is a zarr store, which vaekit does not read: save its arrays as an .npz, with python -c \"import numpy, zarr; z = zarr.open('{0}'); "
    "numpy.savez('{1}.npz', actions=z['data/action'][:], state=z['data/state'][:], episode_ends=z['meta/episode_ends'][:])\""
)
RLDS = "is a TensorFlow dataset (RLDS), which vaekit does not read: convert it to LeRobot's format, as openpi's examples do"


def read_demonstrations(
    source: str | os.PathLike[str] | Sequence[str],
    *,
    cameras: bool | Sequence[str] = True,
    resize: tuple[int, int] | None = None,
    also: Sequence[str] = (),
    map: Mapping[str, str] | None = None,
    fps: float | None = None,
    trim: bool = False,
    strict: bool = False,
    memory: str | int = Training.memory,
) -> Demonstrations:
    """Read demonstrations from one or several sources.

    Args:
        source: a folder of LeRobot v3 or v2 (it has meta/info.json), a folder of HDF5 files, such as ACT's episode_N.hdf5, one such
            file, also of robomimic or LIBERO, or an .npz file with `actions` (T, A), `episode_ends` (E,), and `observations` (T, n),
            which become the state, or arrays named as in `Demonstrations.observations`; `fps` and `tasks` (T,), in words, are
            optional. A trailing [3], [0:10], [0:12,14:50] or [!4,17] picks episodes. Several sources are joined by
            `Demonstrations.join`.
        cameras: True for all of them, False for none, or their names, with or without the prefix "images.".
        resize: resize every picture to this (width, height), in pixels.
        also: vectors to read beside the state and the environment's state, such as "velocity" or "effort".
        map: names here -> names in the source, as in {"state": "observation.joints", "action": "actions"}; "a+b" concatenates two
            vectors. Everything else is found by its usual names.
        fps: frames per second, for a source that does not give them.
        trim: leave out the frames at the beginning of an episode before its actions change; see `Demonstrations.idle`.
        strict: an episode that cannot be used (frames or a camera missing, a number that is NaN) is an error; otherwise it is left
            out, and `notes` says so.
        memory: such as "2GiB", or a number of bytes. The pictures of videos that take more than half of it stay in their files: a camera
            is then a `vaekit.robots.reels.Video`, which decodes the frames that it is asked for, `video[frames]`.

    Returns:
        `Demonstrations`.

    Raises:
        UserError: something is wrong with the source or with these arguments.

    Example:
        >>> np.savez("shown.npz", actions=np.zeros((30, 2)), episode_ends=[10, 30], observations=np.zeros((30, 4)), fps=20.0)
        >>> vaekit.read_demonstrations("shown.npz").episodes
        2
    """
    memory = parse_bytes(memory) if isinstance(memory, str) else memory
    if not isinstance(source, str | os.PathLike):
        options: dict[str, Any] = dict(cameras=cameras, resize=resize, also=also, map=map, fps=fps, trim=trim)
        options["memory"] = memory // max(1, len(source))
        return Demonstrations.join([read_demonstrations(one, **options, strict=strict) for one in source])
    text = os.fspath(source)
    check_size(resize)
    cameras = (cameras,) if isinstance(cameras, str) else cameras
    with reading(text, "give fewer cameras or episodes, or a smaller size"):
        text, rows = split_rows(text)
        asked = Asked(text, Path(text).expanduser(), rows, cameras, resize, also, map or {}, fps, strict, memory)
        found = _reader(asked)(asked)
    found = asked.without_left_out(found)
    found.notes = asked.notes
    found.actions = floats(found.actions)
    found.observations = {
        name: values if name.startswith(CAMERA) else floats(values) for name, values in found.observations.items()
    }
    found.check()
    if trim:
        found.notes.append(f"{text}: left out {found.idle.sum()} frames before the actions change")
        found = found.closed_up(cut=found.idle)
    tell(found.notes)
    if resize and not any(name.startswith(CAMERA) for name in found.observations):
        raise UserError(f"no camera of {text} was read, and only pictures can be resized: leave out resize")
    return found


def needed(names: Iterable[str]) -> dict[str, Any]:
    """`cameras` and `also` of `read_demonstrations` that read these observations. Without names: the usual ones."""
    names = list(names)
    also = [name for name in names if not name.startswith(CAMERA) and name not in (*VECTORS, TASK)]
    return {"cameras": [name for name in names if name.startswith(CAMERA)] if names else True, "also": also}


def write_demonstrations(demonstrations: Demonstrations, folder: str | os.PathLike[str]) -> None:
    """Write a LeRobot v3 folder: numbers as float32, cameras as nearly lossless mp4 videos.

    UserError if the folder exists and is not empty, or cannot be written; then nothing is left behind.
    """
    from vaekit.robots.lerobot_write import write_lerobot

    write_lerobot(demonstrations, Path(folder).expanduser())


def pack_demonstrations(
    source: str, folder: Path, *, resize: tuple[int, int] | None = None, strict: bool = False
) -> None:
    """Write the demonstrations of a source as a LeRobot v3 folder. UserError if the source is one already."""
    from vaekit.robots.lerobot_write import check_free, write_lerobot

    check_free(folder)
    if (Path(source).expanduser() / "meta" / "info.json").exists():
        raise UserError(f"{source} is a folder of LeRobot already: use it as it is")
    write_lerobot(read_demonstrations(source, resize=resize, strict=strict), folder)


def _reader(asked: Asked) -> Callable[[Asked], Demonstrations]:
    from vaekit.robots.hdf5 import is_hdf5, read_hdf5
    from vaekit.robots.lerobot import read_lerobot

    path = asked.path
    if not asked.text or not path.exists():
        known = visible_names(path.parent) if path.parent.is_dir() else []
        hub = ""
        if re.fullmatch(r"[\w.-]+/[\w.-]+", asked.text) and not known:
            hub = "; if it is on the Hugging Face Hub, download it first: hf download {0} --repo-type dataset --local-dir {1}"
        near = hub.format(asked.text, path.name) or near_matches(path.name, known)
        raise UserError(f"{asked.text or 'the source'} does not exist{near}")
    if path.name.endswith((".zarr", ".zarr.zip")) or any((path / name).exists() for name in (".zgroup", "zarr.json")):
        raise UserError(f"{asked.text} {ZARR.format(path, path.name.split('.zarr')[0])}")
    if path.is_dir():
        if (path / "meta" / "info.json").exists() or (path / "meta_data" / "info.json").exists():  # the latter of v1
            return read_lerobot
        if any(is_hdf5(name) for name in visible_names(path)):
            return read_hdf5
        if any(path.glob("**/*.tfrecord*")):
            raise UserError(f"{asked.text} {RLDS}")
        within = [info.parent.parent.name for info in sorted(path.glob("*/meta/info.json"))]
        hint = f"; it contains some, such as {path / within[0]}, and you can give several sources" if within else ""
        raise UserError(
            f"{asked.text} is not a folder of demonstrations: give one that has meta/info.json (LeRobot) or .hdf5 files{hint}"
        )
    if is_hdf5(path.name):
        return read_hdf5
    if path.suffix.lower() == ".npz":
        return _read_npz
    raise UserError(
        f"{asked.text} has no format that vaekit reads: give a folder, or a file ending in .hdf5, .h5 or .npz"
    )


def _read_npz(asked: Asked) -> Demonstrations:
    with decoding(asked.text, "a NumPy .npz file"), zipfile.ZipFile(asked.path) as archive:

        def load(name: str) -> np.ndarray:
            with archive.open(f"{name}.npy") as file:
                values = load_array(file)
            if values is None:
                raise UserError(
                    f"{asked.text}: {name!r} holds pickled Python objects, which vaekit never opens: save numbers"
                )
            return values

        held = [member.removesuffix(".npy") for member in archive.namelist()]
        telling = [name for name in (*LAST, *NUMBERS) if name in held]
        ends = (
            load("episode_ends") if "episode_ends" in held else ends_by_frames({name: load(name) for name in telling})
        )
        if ends is None:
            near = near_matches("episode_ends", held)
            raise UserError(f"{asked.text} has no array 'episode_ends'{near}: save it under that name")
        if "episode_ends" not in held:
            asked.notes.append(f"{asked.text}: took the ends of {len(ends)} episodes from {' and '.join(telling)}")
        if {"observations", "state"} <= set(held) and "state" not in asked.map:
            raise UserError(
                f"{asked.text} has both 'observations' and 'state', and both mean the state: save one of them"
            )
        kinds = {name: PICTURES if name.startswith(CAMERA) else VECTOR for name in held}
        kinds = {name: kind for name, kind in kinds.items() if name not in ("episode_ends", "fps", "tasks", *telling)}
        names = choose_fields(asked, kinds, (*DEFAULTS, "observations"))
        fps = asked.rate(float(load("fps")) if "fps" in held else None)
        if len(names) == 1:
            raise UserError(
                f"{asked.text} has no observations (known: {', '.join(held)}): name one, with --map state=NAME"
            )
        arrays = {
            name: asked.pictures(load(keys[0]))
            if name.startswith(CAMERA)
            else side_by_side([load(key) for key in keys])
            for name, keys in names.items()
        }
        found = Demonstrations(arrays.pop("actions"), arrays, ends, fps, asked.name)
        found.tasks = load("tasks").astype(object) if "tasks" in held else None
    found.observations = {n: v if n.startswith(CAMERA) else floats(v) for n, v in found.observations.items()}
    found.check(finite=False)  # the ends must be sound before they can be used
    if asked.rows is not None:
        found = found[np.asarray(asked.episodes(found.episodes))]
    for i, (start, end) in enumerate(zip(found.episode_starts, found.episode_ends, strict=True)):
        try:
            check_part(
                {"actions": found.actions[start:end], **{n: v[start:end] for n, v in found.observations.items()}}
            )
        except UserError as error:
            asked.leave_out(found.number(i), error)
    return found
