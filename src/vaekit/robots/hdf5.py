"""Episodes in HDF5: as ACT and ALOHA record them, a file each, or many in a file, as robomimic and LIBERO have them.

episode_0.hdf5: /action, /observations/qpos, /observations/images/NAME
demos.hdf5:     /data/demo_0/actions, /data/demo_0/obs/NAME
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vaekit.errors import UserError, extra_needed
from vaekit.robots.demonstrations import TASK, Demonstrations
from vaekit.robots.reading import OTHER, PICTURES, VECTOR, Asked, gather, side_by_side
from vaekit.sources.base import decoding, shown
from vaekit.sources.pictures import open_picture

if TYPE_CHECKING:
    from collections.abc import Iterator

    import h5py

SUFFIXES = (".hdf5", ".h5")
FPS = 50.0  # of ALOHA, whose files do not say
USUAL = ("action", "observations/qpos")  # of ALOHA
BOOKKEEPING = re.compile(r"compress_len|next_obs/.*|rewards|dones|states")


@dataclass
class Episode:
    """A file, or a group of one."""

    path: Path
    group: str = "/"

    @contextmanager
    def open(self) -> Iterator[Any]:
        import h5py

        with decoding(str(self.path), "an HDF5 file"), h5py.File(self.path, "r") as file:
            yield file[self.group]


def read_hdf5(asked: Asked) -> Demonstrations:
    """One file, or all files of a folder in the order of their numbers."""
    try:
        import h5py  # noqa: F401
    except ImportError as error:
        raise extra_needed("robots", "h5py") from error
    files = [asked.path]
    if asked.path.is_dir():
        files = [asked.path / name for name in sorted(filter(is_hdf5, shown(asked.path)), key=by_number)]
    every = [episode for path in files for episode in _episodes(path)]
    chosen = asked.episodes(len(every))
    held = {}
    for i in chosen:
        try:
            held[i] = _fields(every[i])
        except UserError as error:
            asked.leave_out(i, error)
    if not held:
        raise asked.unusable()
    frames = sum(length for _, length in held.values())
    counts = Counter(field for fields, _ in held.values() for field in fields.items())
    fields = {key: kind for (key, kind), count in counts.items() if 2 * count >= max(counts.values(), default=0)}
    several = any(episode.group != "/" for episode in every)
    names = asked.names(fields, () if several else USUAL)
    told = _told(files[0]) if several else {}

    def read(number: int) -> dict[str, np.ndarray]:
        episode = every[number]
        with episode.open() as group:
            for key in (key for keys in names.values() for key in keys):
                if key not in group:
                    raise UserError(f"{episode.path} has no {key!r}, which other episodes have")
            part = {name: _joined(asked, group, keys, fields) for name, keys in names.items()}
        if several:
            part[TASK] = np.full(len(part["actions"]), _told(episode.path).get("task", episode.path.stem), object)
        return part

    fps = asked.rate(told.get("fps"))
    if not fps:
        fps = FPS
        asked.notes.append(
            f"{asked.text} does not tell its frames a second; they were taken to be {FPS:g}: --fps says otherwise"
        )
    return gather(asked, list(held), frames, read, fps=fps)


def is_hdf5(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def by_number(name: str) -> list[tuple[int, str]]:
    """A key that puts episode_9 before episode_10."""
    return [(int(part or 0), part) if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _episodes(path: Path) -> list[Episode]:
    """Those of a file; one that cannot be read is taken to be an episode, so that others keep their numbers."""
    try:
        with Episode(path).open() as file:
            demos = file.get("data")
            groups = [] if demos is None or not hasattr(demos, "keys") else list(demos)
            return [Episode(path, f"/data/{name}") for name in sorted(groups, key=by_number)] or [Episode(path)]
    except UserError:
        return [Episode(path)]


def _fields(episode: Episode) -> tuple[dict[str, str], int]:
    """What an episode holds, by name, and its frames."""
    datasets: dict[str, Any] = {}
    with episode.open() as group:
        group.visititems(lambda name, item: datasets.update({name: item}) if hasattr(item, "shape") else None)
        kinds = {name: _kind(name, d) for name, d in datasets.items() if not BOOKKEEPING.fullmatch(name)}
        lengths = Counter(d.shape[0] for d in datasets.values() if d.shape)
    return kinds, lengths.most_common(1)[0][0] if lengths else 0


def _kind(name: str, dataset: h5py.Dataset) -> str:
    stored = "images/" in name and dataset.ndim in (1, 2)  # as files
    if stored or (dataset.ndim == 4 and dataset.dtype == np.uint8 and dataset.shape[3] == 3):
        return PICTURES
    return VECTOR if dataset.ndim in (1, 2) and dataset.dtype.kind in "biuf" else OTHER


def _told(path: Path) -> dict[str, Any]:
    """What a file of robomimic or LIBERO tells of its episodes: "fps" and "task"."""
    told: dict[str, Any] = {}
    with Episode(path).open() as file:
        about = {name: json.loads(file["data"].attrs.get(name, "{}")) for name in ("env_args", "problem_info")}
    if rate := about["env_args"].get("env_kwargs", {}).get("control_freq"):
        told["fps"] = float(rate)
    if task := about["problem_info"].get("language_instruction"):
        told["task"] = "".join(task)
    return told


def _joined(asked: Asked, group: h5py.Group, keys: Iterable[str], fields: dict[str, str]) -> np.ndarray:
    return side_by_side([_values(group[key], asked, fields[key] == PICTURES) for key in keys])


def _values(dataset: h5py.Dataset, asked: Asked, pictures: bool) -> np.ndarray:
    if dataset.external or dataset.is_virtual:
        raise UserError(
            f"{dataset.file.filename}: {dataset.name} takes its numbers from another file: save them in this one"
        )
    values = dataset[()]
    if not pictures:
        return values
    if values.ndim in (1, 2):
        # Pictures as files, padded with zeros to one length (or of a length each), which decoders do not mind. Their
        # colours are what the file says, as LeRobot reads them; ACT itself takes them in OpenCV's order, blue first.
        values = np.stack([np.asarray(open_picture(file.tobytes()).convert("RGB")) for file in values])
    return asked.pictures(values)
