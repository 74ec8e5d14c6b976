"""LeRobot folders, v3 and v2, read without the package `lerobot`; `lerobot_meta` knows their layout, `lerobot_write` writes v3."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from vaekit.errors import UserError
from vaekit.robots.demonstrations import TASK, Demonstrations
from vaekit.robots.lerobot_meta import BOOKKEEPING, KEYS, Episode, layout, read_info, read_table, read_tasks, within
from vaekit.robots.names import OTHER, PICTURES, VECTOR, choose_fields
from vaekit.robots.reading import Asked, gather, opened, side_by_side, stacked
from vaekit.robots.reels import AGAIN
from vaekit.robots.videos import Shot, decode, find_pictures
from vaekit.sources.base import decoding


def read_lerobot(asked: Asked) -> Demonstrations:
    with decoding(asked.text, "a LeRobot folder"):  # whatever wrong content its files may have
        return _read(asked)


def _read(asked: Asked) -> Demonstrations:
    info = read_info(asked)
    features, fps = info["features"], asked.rate(float(info["fps"]))
    fields = {key: _kind(feature) for key, feature in features.items() if key not in BOOKKEEPING}
    names = choose_fields(asked, fields, [*KEYS.values()])
    videos = {name: keys[0] for name, keys in names.items() if features[keys[0]]["dtype"] == "video"}
    columns = {name: keys for name, keys in names.items() if name not in videos}
    files = layout(info)(asked, info, [*videos.values()])
    rows = files.episodes()
    chosen = {rows[i]["episode_index"]: rows[i] for i in asked.episodes(len(rows))}
    tasks = read_tasks(asked) if "task_index" in features else {}
    needed = [*files.columns, *(key for keys in columns.values() for key in keys), *(["task_index"] if tasks else [])]
    episodes: dict[int, Episode] = {}

    @lru_cache(1)  # episodes are in order, so that one file at a time is enough
    def table(path: Path) -> pa.Table:
        return read_table(path, needed)

    def read(number: int) -> dict[str, np.ndarray]:
        episode = episodes[number] = files.place(chosen[number])
        frames = _frames(episode, table(episode.data))
        part = {
            name: asked.pictures(_pictures(asked.path, frames[keys[0]]))
            if fields[keys[0]] == PICTURES
            else side_by_side([_vectors(episode.data, key, frames[key]) for key in keys])
            for name, keys in columns.items()
        }
        if tasks:
            part[TASK] = np.array([tasks.get(i, str(i)) for i in frames["task_index"].to_pylist()], object)
        return part

    most = sum(max(0, row["length"] or 0) for row in chosen.values())
    film_bytes = sum(asked.picture_bytes(features[key]["shape"]) for key in videos.values())
    stay = most * film_bytes > asked.memory / 2
    found = gather(asked, list(chosen), most, read, fps=fps, more=0 if stay else film_bytes)
    kept = [episodes[found.number(i)] for i in range(found.episodes)]
    for name, key in videos.items():
        firsts = zip(kept, found.episode_starts.tolist(), strict=True)
        shots = [Shot(e.number, *e.films[key], e.length, first) for e, first in firsts]
        video = find_pictures(asked, name, shots, fps)
        found.observations[name] = video if stay else decode(asked, video, shots)
    if len(names["actions"]) == 1:
        found.action_names = _names(features[names["actions"][0]], found.actions.shape[1])
    if files.has_stats and not (asked.path / "meta" / "stats.json").exists():
        asked.notes.append(f"{asked.text} has no meta/stats.json; vaekit does not need it, but LeRobot does")
    return found


def _kind(feature: Mapping[str, Any]) -> str:
    """The kind of a feature; a depth map is not a picture."""
    about = {**(feature.get("info") or {}), **(feature.get("video_info") or {})}
    if feature["dtype"] in ("image", "video"):
        return OTHER if about.get("is_depth_map") or about.get("video.is_depth_map") else PICTURES
    return VECTOR if len(feature.get("shape") or [1]) == 1 and feature["dtype"] != "string" else OTHER


def _names(feature: dict[str, Any], count: int) -> list[str] | None:
    """The names of a feature's numbers: a list, or a dict or a list with one list in it ({"motors": [...]})."""
    names = feature.get("names")
    if isinstance(names, dict | list) and len(names) == 1:
        (one,) = names.values() if isinstance(names, dict) else names
        names = one if isinstance(one, list) else names
    return [str(name) for name in names] if isinstance(names, list) and len(names) == count else None


def _frames(episode: Episode, table: pa.Table) -> pa.Table:
    """The rows of an episode, in order."""
    path, number = episode.data, episode.number
    if episode.span is not None:
        index = table["index"].to_numpy()
        frames = np.flatnonzero((index >= episode.span[0]) & (index < episode.span[1]))
        table = table.take(frames[np.argsort(index[frames])])
    if len(table) != episode.length:
        raise UserError(f"{path} has {len(table)} of the {episode.length} frames of episode {number}: {AGAIN}")
    other = table["episode_index"].to_numpy()
    if (other != number).any():
        raise UserError(
            f"{path}: meta/episodes counts a frame of episode {other[other != number][0]} to episode {number}: {AGAIN}"
        )
    return table


def _vectors(path: Path, key: str, column: pa.ChunkedArray) -> np.ndarray:
    """(T, n), from lists of n numbers, or from single numbers, as LeRobot stores n = 1."""
    array = column.combine_chunks()
    if array.null_count:
        raise UserError(f"{path}: {key!r} is empty in some frames: {AGAIN}")
    if pa.types.is_primitive(array.type):
        return array.to_numpy(zero_copy_only=False)[:, None]
    sizes = pc.unique(pc.list_value_length(array)).to_pylist()
    if len(sizes) > 1:
        raise UserError(f"{path}: {key!r} has {sizes[0]} numbers in one frame and {sizes[1]} in another: {AGAIN}")
    return array.flatten().to_numpy(zero_copy_only=False).reshape(len(array), -1)


def _pictures(root: Path, column: pa.ChunkedArray) -> np.ndarray:
    """(T, height, width, 3) bytes, from pictures stored in the table or in files that it names."""
    return stacked(
        opened, [within(root, cell["path"]) if cell["bytes"] is None else cell["bytes"] for cell in column.to_pylist()]
    )
