"""Episodes in HDF5: one per file, as ACT and ALOHA record them, or many in a file, as robomimic and LIBERO have them.

episode_0.hdf5: /action, /observations/qpos, /observations/images/NAME
demos.hdf5:     /data/demo_0/actions, /data/demo_0/obs/NAME, or such groups with other names
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vaekit.errors import UserError, extra_needed
from vaekit.robots.demonstrations import TASK, Demonstrations
from vaekit.robots.names import OTHER, PICTURES, VECTOR, choose_fields
from vaekit.robots.reading import LAST, Asked, ends_by_frames, gather, opened, side_by_side, stacked
from vaekit.show.track import track
from vaekit.sources.base import decoding, visible_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    import h5py

SUFFIXES = (".hdf5", ".h5")
USUAL = ("action", "observations/qpos")  # of ALOHA
ACTIONS = {"action", "actions"}
BOOKKEEPING = re.compile(
    r"compress_len|next_obs/.*|next_observations|rewards|dones|states|" + "|".join(LAST)
)  # they need no note


@dataclass
class Episode:
    """A file, a group of a file, or some rows of a file."""

    path: Path
    group: str = "/"
    rows: slice = field(default_factory=lambda: slice(None))

    @contextmanager
    def open(self) -> Iterator[Any]:
        import h5py

        with decoding(str(self.path), "an HDF5 file"), h5py.File(self.path, "r") as file:
            yield file[self.group]


@dataclass
class Field:
    """A dataset: its kind, and its number of rows."""

    kind: str
    rows: int


def read_hdf5(asked: Asked) -> Demonstrations:
    """One file, or all files of a folder in the order of their numbers."""
    try:
        import h5py  # noqa: F401
    except ImportError as error:
        raise extra_needed("robots", "h5py") from error
    files = [asked.path]
    if asked.path.is_dir():
        files = [asked.path / name for name in sorted(filter(is_hdf5, visible_names(asked.path)), key=by_number)]
    every = [episode for path in files for episode in _episodes(path)]
    held = _held(asked, every)
    grouped = any(episode.group != "/" for episode in every)
    kinds = _usual_kinds(held.values())
    names = choose_fields(asked, kinds, () if grouped else USUAL)
    needed = [key for keys in names.values() for key in keys]

    def read(number: int) -> dict[str, np.ndarray]:
        episode = every[number]
        if lost := [key for key in needed if key not in held[number]]:
            raise UserError(f"{episode.path} has no {lost[0]!r}, which other episodes have")
        with episode.open() as group:
            part = {
                name: side_by_side([_values(group[key], episode.rows, asked, kinds[key] == PICTURES) for key in keys])
                for name, keys in names.items()
            }
        acted = len(part["actions"])  # some have one observation more, after the last action
        part = {name: values[:acted] if len(values) == acted + 1 else values for name, values in part.items()}
        if grouped:
            part[TASK] = np.full(acted, _about(episode.path).get("task", episode.path.stem), object)
        return part

    fps = asked.rate(_about(every[next(iter(held))].path).get("fps"))
    frames = sum(field.rows for fields in held.values() for key, field in fields.items() if key == names["actions"][0])
    return gather(asked, list(held), frames, read, fps=fps)


def _held(asked: Asked, every: Sequence[Episode]) -> dict[int, dict[str, Field]]:
    """The fields of each episode to read, by its number."""
    held = {}
    for number in track(asked.episodes(len(every)), "look"):
        try:
            held[number] = _fields(every[number])
        except UserError as error:
            asked.leave_out(number, error)
    if not held:
        raise asked.unusable()
    return held


def _usual_kinds(held: Iterable[dict[str, Field]]) -> dict[str, str]:
    """The fields that most episodes have, and their kinds."""
    counts = Counter((key, field.kind) for fields in held for key, field in fields.items())
    return {key: kind for (key, kind), count in counts.items() if 2 * count >= max(counts.values())}


def is_hdf5(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def by_number(name: str) -> list[tuple[int, str]]:
    """A key that puts episode_9 before episode_10."""
    return [(int(part or 0), part) if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]


def _episodes(path: Path) -> list[Episode]:
    """The episodes of a file: its groups that hold actions, or the file itself. An unreadable file counts as one, so that the
    others keep their numbers."""
    try:
        with Episode(path).open() as file:
            top = _own(file)
            if ACTIONS & {*top}:
                marks = {name: top[name] for name in LAST if hasattr(top.get(name), "shape")}
                ends = ends_by_frames(
                    {n: flags[()] for n, flags in marks.items() if not (flags.external or flags.is_virtual)}
                )
                spans = [] if ends is None else zip([0, *ends[:-1]], ends, strict=True)
                return [Episode(path, rows=slice(*span)) for span in spans] or [Episode(path)]
            parent = top["data"] if hasattr(top.get("data"), "keys") else file
            names = [name for name, item in _own(parent).items() if hasattr(item, "keys") and ACTIONS & {*item}]
            return [Episode(path, f"{parent.name}/{name}") for name in sorted(names, key=by_number)] or [Episode(path)]
    except UserError:
        return [Episode(path)]


def _own(group: h5py.Group) -> dict[str, Any]:
    """The members of a group, without links to other files."""
    import h5py

    own = [name for name in group if group.get(name, getclass=True, getlink=True) is h5py.HardLink]
    return {name: group[name] for name in own}


def _fields(episode: Episode) -> dict[str, Field]:
    """The fields of an episode, by name."""
    held: dict[str, Field] = {}

    def visit(name: str, item: Any) -> None:
        if hasattr(item, "shape") and not BOOKKEEPING.fullmatch(name):
            held[name] = Field(_kind(name, item), len(range(*episode.rows.indices(item.shape[0]))) if item.shape else 0)

    with episode.open() as group:
        group.visititems(visit)
    return held


def _kind(name: str, dataset: h5py.Dataset) -> str:
    files = dataset.ndim in (1, 2) and ("images/" in name or _begins_as_picture(dataset))
    if files or (dataset.ndim == 4 and dataset.dtype == np.uint8 and 3 in (dataset.shape[1], dataset.shape[3])):
        return PICTURES
    return VECTOR if dataset.ndim in (1, 2) and dataset.dtype.kind in "biuf" else OTHER


def _begins_as_picture(dataset: h5py.Dataset) -> bool:
    """Whether the first row of a dataset is a JPEG or PNG file."""
    if dataset.dtype.kind not in "uSO" or not len(dataset) or dataset.external or dataset.is_virtual:
        return False
    first = dataset[0]
    return hasattr(first, "tobytes") and first.tobytes().startswith((b"\xff\xd8\xff", b"\x89PNG"))


def _about(path: Path) -> dict[str, Any]:
    """The "fps" and "task" of a file, which robomimic, LIBERO or an attribute "fps" give."""
    found: dict[str, Any] = {}
    with Episode(path).open() as file:
        data = _own(file).get("data")
        attributes = {} if data is None else data.attrs
        about = {name: json.loads(attributes.get(name, "{}")) for name in ("env_args", "problem_info")}
        if rate := about["env_args"].get("env_kwargs", {}).get("control_freq") or file.attrs.get("fps"):
            found["fps"] = float(rate)
        if task := about["problem_info"].get("language_instruction"):
            found["task"] = "".join(task)
    return found


def _values(dataset: h5py.Dataset, rows: slice, asked: Asked, pictures: bool) -> np.ndarray:
    if dataset.external or dataset.is_virtual:
        raise UserError(
            f"{dataset.file.filename}: the numbers of {dataset.name} are in another file: save them in this one"
        )
    values = dataset[rows]
    if not pictures:
        return values
    if values.ndim in (1, 2):
        # Pictures as files, perhaps padded with zeros to one length, which decoders ignore. Their colours are in the file's
        # order, as LeRobot reads them; ACT itself reads them in OpenCV's order, blue first.
        values = stacked(opened, [file.tobytes() for file in values])
    return asked.pictures(values)
