"""LeRobot folders, v3 and v2, read without the package `lerobot`. `lerobot_write` writes v3.

meta/info.json                             version, frames a second, features, the templates of the paths below

v3:
meta/stats.json                            mean, std, ... of each feature
meta/tasks.parquet                         task_index and, as the index pandas sees, the task in words
meta/episodes/chunk-000/file-000.parquet   one row an episode: where its frames and its pictures are
data/chunk-000/file-000.parquet            one row a frame
videos/KEY/chunk-000/file-000.mp4          the pictures of many episodes, one after another

v2.0 and v2.1, a file an episode:
meta/episodes.jsonl, meta/tasks.jsonl      one line an episode, one line a task
data/chunk-000/episode_000000.parquet
videos/chunk-000/KEY/episode_000000.mp4
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vaekit.errors import UserError
from vaekit.robots.demonstrations import TASK, VECTORS, Demonstrations
from vaekit.robots.names import OTHER, PICTURES, VECTOR, choose_fields
from vaekit.robots.reading import Asked, UntrustedError, gather, side_by_side
from vaekit.robots.videos import AGAIN, Shot, read_videos
from vaekit.sources.base import decoding
from vaekit.sources.pictures import open_picture

PREFIX = "observation."
KEYS = {"actions": "action", **{name: PREFIX + name for name in VECTORS}}  # our names -> theirs
FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH, VIDEO_PATH = f"data/{FILE}.parquet", f"videos/{{video_key}}/{FILE}.mp4"
EPISODES_PATH = f"meta/episodes/{FILE}.parquet"
BOOKKEEPING = {
    "timestamp": "float32",
    **dict.fromkeys(["frame_index", "episode_index", "index", "task_index"], "int64"),
}


def read_lerobot(asked: Asked) -> Demonstrations:
    with decoding(asked.text, "a LeRobot folder"):  # whatever its files may hold in place of what they should
        return _read(asked)


@dataclass
class Episode:
    """Where an episode is."""

    number: int
    length: int
    data: Path
    span: tuple[int, int] | None  # its frames in that file, by index; None: all of them
    films: dict[
        str, tuple[Path, float]
    ]  # the key of a camera -> the file, and the second at which the episode begins there


def _read(asked: Asked) -> Demonstrations:
    info = _info(asked)
    features, fps = info["features"], asked.rate(float(info["fps"]))
    fields = {key: _kind(feature) for key, feature in features.items() if key not in BOOKKEEPING}
    names = choose_fields(asked, fields, [*KEYS.values()])
    videos = {name: keys[0] for name, keys in names.items() if features[keys[0]]["dtype"] == "video"}
    columns = {name: keys for name, keys in names.items() if name not in videos}
    rows = (_rows_v3 if _is_v3(info) else _rows_v2)(asked, info, list(videos.values()))
    chosen = asked.episodes(len(rows))
    by_number = {rows[i]["episode_index"]: rows[i] for i in chosen}
    needed = [key for keys in columns.values() for key in keys]
    tasks = _tasks(asked)
    if "task_index" in features and tasks:
        needed.append("task_index")
    found: dict[int, Episode] = {}

    @lru_cache(1)  # episodes are in order, so that one file at a time is enough
    def table(path: Path) -> pa.Table:
        return _table(path, ["episode_index", *(["index"] if _is_v3(info) else []), *needed])

    def read(number: int) -> dict[str, np.ndarray]:
        episode = (_episode_v3 if _is_v3(info) else _episode_v2)(asked, info, by_number[number], list(videos.values()))
        frames = _frames(episode, table(episode.data))
        part = {
            name: asked.pictures(_pictures(asked.path, frames[keys[0]]))
            if fields[keys[0]] == PICTURES
            else side_by_side([_vectors(episode.data, key, frames[key]) for key in keys])
            for name, keys in columns.items()
        }
        if "task_index" in needed:
            part[TASK] = np.array([tasks.get(i, str(i)) for i in frames["task_index"].to_pylist()], object)
        found[number] = episode
        return part

    most = sum(max(0, row["length"] or 0) for row in by_number.values())
    film_bytes = sum(asked.picture_bytes(features[key]["shape"]) for key in videos.values())
    demonstrations = gather(asked, list(by_number), most, read, fps=fps, more=film_bytes)
    assert demonstrations.numbers is not None  # `gather` tells them
    for name, key in videos.items():
        firsts = demonstrations.episode_starts.tolist()
        places = zip((found[i] for i in demonstrations.numbers), firsts, strict=True)
        shots = [Shot(e.number, *e.films[key], e.length, first) for e, first in places]
        demonstrations.observations[name] = read_videos(asked, name, shots, fps)
    if len(names["actions"]) == 1:
        demonstrations.action_names = _names(features[names["actions"][0]], demonstrations.actions.shape[1])
    if _is_v3(info) and not (asked.path / "meta" / "stats.json").exists():
        asked.notes.append(f"{asked.text} has no meta/stats.json; nothing here needs it, but LeRobot does")
    return demonstrations


def _is_v3(info: Mapping[str, Any]) -> bool:
    return str(info["codebase_version"]).startswith("v3.")


def _info(asked: Asked) -> dict[str, Any]:
    path = asked.path / "meta" / "info.json"
    path = path if path.is_file() else asked.path / "meta_data" / "info.json"  # of v1
    with decoding(str(path), "JSON"):
        info = json.loads(path.read_text(encoding="utf-8"))
    for name in ("codebase_version", "fps", "features"):
        if name not in info:
            raise UserError(f"{path} has no {name!r}: {AGAIN}")
        if name == "codebase_version":
            _check_version(asked, str(info[name]))
    if not isinstance(info["fps"], int | float) or not info["fps"] > 0:
        raise UserError(f"{path}: fps is {info['fps']!r}: give frames a second, above 0")
    return info


def _check_version(asked: Asked, version: str) -> None:
    if not version.startswith(("v2.", "v3.")):
        remedy = "save it in one of these"
        if version.startswith("v1."):
            script = "lerobot/common/datasets/v2/convert_dataset_v1_to_v2.py"
            remedy = f"convert it with {script}, which LeRobot's repository had until 2025"
        raise UserError(f"{asked.text} is in LeRobot's format {version}, and v2 and v3 are read: {remedy}")


def _kind(feature: Mapping[str, Any]) -> str:
    """What a feature is: depth is no picture."""
    about = {**(feature.get("info") or {}), **(feature.get("video_info") or {})}
    if feature["dtype"] in ("image", "video"):
        return OTHER if about.get("is_depth_map") or about.get("video.is_depth_map") else PICTURES
    return VECTOR if len(feature.get("shape") or [1]) == 1 and feature["dtype"] != "string" else OTHER


def _names(feature: dict[str, Any], count: int) -> list[str] | None:
    """The names of a feature's numbers: given as a list, or as a dict or a list of one list ({"motors": [...]})."""
    names = feature.get("names")
    if isinstance(names, dict | list) and len(names) == 1:
        (one,) = names.values() if isinstance(names, dict) else names
        names = one if isinstance(one, list) else names
    return [str(name) for name in names] if isinstance(names, list) and len(names) == count else None


def _table(path: Path, columns: Sequence[str], more: Sequence[str] = ()) -> pa.Table:
    """These columns of a parquet file, and those of `more` that are there."""
    if not path.is_file():
        raise UserError(f"{path} is missing: {AGAIN}")
    with decoding(str(path), "a parquet file"):
        table = pq.ParquetFile(path).read(columns=[*columns, *more])  # read_table would see columns in names of folders
    for column in columns:
        if column not in table.column_names:
            raise UserError(f"{path} has no column {column!r}: {AGAIN}")
    return table


def _rows_v3(asked: Asked, info: Mapping[str, Any], video_keys: Iterable[str]) -> list[dict[str, Any]]:
    """One dict an episode, in order, of what meta/episodes says of it."""
    columns = ["episode_index", "length", "dataset_from_index", "dataset_to_index"]
    columns += ["data/chunk_index", "data/file_index"]
    for key in video_keys:
        columns += [f"videos/{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
    paths = sorted(asked.path.glob("meta/episodes/*/*.parquet"))
    if not paths:
        raise UserError(f"{asked.path / 'meta' / 'episodes'} holds no parquet file: {AGAIN}")
    rows = [row for path in paths for row in _table(path, columns).to_pylist()]
    return _in_order(asked, info, rows, "meta/episodes")


def _rows_v2(asked: Asked, info: Mapping[str, Any], video_keys: Iterable[str]) -> list[dict[str, Any]]:
    """One dict an episode, in order: its number and its length."""
    return _in_order(asked, info, _lines(asked.path / "meta" / "episodes.jsonl"), "meta/episodes.jsonl")


def _in_order(asked: Asked, info: Mapping[str, Any], rows: list[dict[str, Any]], where: str) -> list[dict[str, Any]]:
    said = info.get("total_episodes", len(rows))
    if said != len(rows) or not rows:
        text = f"{asked.text}: meta/info.json tells of {said} episodes, {where} lists {len(rows)}"
        if asked.strict or not rows:
            raise UserError(f"{text}: {AGAIN}")
        asked.notes.append(text)
    return sorted(rows, key=lambda row: row["episode_index"])


def _episode_v3(asked: Asked, info: Mapping[str, Any], row: Mapping[str, Any], video_keys: Iterable[str]) -> Episode:
    number = row["episode_index"]
    for column, value in row.items():
        if value is None:
            raise UserError(f"{asked.path / 'meta' / 'episodes'}: {column} of episode {number} is empty: {AGAIN}")
    start, end = row["dataset_from_index"], row["dataset_to_index"]
    if not row["length"] == end - start > 0:
        raise UserError(
            f"{asked.text}: episode {number} has a length of {row['length']} frames and goes from {start} to {end}: {AGAIN}"
        )

    def place(template: str, kind: str, **more: str) -> Path:
        """The file of an episode's frames ("data") or pictures ("videos/KEY")."""
        which = {name: row[f"{kind}/{name}"] for name in ("chunk_index", "file_index")}
        return within(asked.path, template.format(**which, **more))

    video_path = info.get("video_path") or VIDEO_PATH
    films = {
        key: (place(video_path, f"videos/{key}", video_key=key), row[f"videos/{key}/from_timestamp"])
        for key in video_keys
    }
    data = place(info.get("data_path", DATA_PATH), "data")
    return Episode(number, row["length"], data, (start, end), films)


def _episode_v2(asked: Asked, info: Mapping[str, Any], row: Mapping[str, Any], video_keys: Iterable[str]) -> Episode:
    number = row["episode_index"]
    which = {"episode_index": number, "episode_chunk": number // info.get("chunks_size", 1000)}
    films = {key: (within(asked.path, info["video_path"].format(video_key=key, **which)), 0.0) for key in video_keys}
    return Episode(number, row["length"], within(asked.path, info["data_path"].format(**which)), None, films)


def _tasks(asked: Asked) -> dict[int, str]:
    """The tasks in words, by their index; empty where they are not told."""
    parquet, lines = (asked.path / "meta" / name for name in ("tasks.parquet", "tasks.jsonl"))
    if parquet.is_file():
        table = _table(parquet, ["task_index"], more=["task", "__index_level_0__"])
        words = [name for name in table.column_names if name != "task_index"]
        return dict(zip(table["task_index"].to_pylist(), table[words[0]].to_pylist(), strict=True)) if words else {}
    return {row["task_index"]: row["task"] for row in _lines(lines)} if lines.is_file() else {}


def _lines(path: Path) -> list[dict[str, Any]]:
    """A file of JSON, a line each."""
    if not path.is_file():
        raise UserError(f"{path} is missing: {AGAIN}")
    with decoding(str(path), "JSON lines"):
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


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
            f"{path}: meta/episodes gives a frame of episode {other[other != number][0]} to episode {number}: {AGAIN}"
        )
    return table


def _vectors(path: Path, key: str, column: pa.ChunkedArray) -> np.ndarray:
    """(T, n), from lists of n numbers, or from bare numbers, as LeRobot stores n = 1."""
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
    """(T, height, width, 3) bytes, of pictures stored in the table, or in files it names."""
    files = (within(root, cell["path"]) if cell["bytes"] is None else cell["bytes"] for cell in column.to_pylist())
    return np.stack([np.asarray(open_picture(file).convert("RGB")) for file in files])


def within(root: Path, name: str) -> Path:
    """A file of the dataset, by the name that the dataset gives it. UserError where that leads out of its folder."""
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts:
        raise UntrustedError(
            f"{root} names a file outside of its folder, {name!r}: do not trust it, or move the file into it"
        )
    return root / path
