"""The folder meta/ of a LeRobot dataset: its features, its tasks, and where each episode is.

meta/info.json                             version, frames per second, features, the templates of the paths below

v3:
meta/stats.json                            mean, std, ... of each feature
meta/tasks.parquet                         task_index and, as the index pandas sees, the task in words
meta/episodes/chunk-000/file-000.parquet   one row per episode: where its frames and its pictures are
data/chunk-000/file-000.parquet            one row per frame
videos/KEY/chunk-000/file-000.mp4          the pictures of many episodes, one after another

v2.0 and v2.1, one file per episode:
meta/episodes.jsonl, meta/tasks.jsonl      one line per episode, one line per task
data/chunk-000/episode_000000.parquet
videos/chunk-000/KEY/episode_000000.mp4
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from vaekit.errors import UserError
from vaekit.robots.demonstrations import VECTORS
from vaekit.robots.reading import Asked, DatasetError
from vaekit.robots.reels import AGAIN
from vaekit.sources.base import decoding

PREFIX = "observation."
KEYS = {"actions": "action", **{name: PREFIX + name for name in VECTORS}}  # our names -> theirs
FILE = "chunk-{chunk_index:03d}/file-{file_index:03d}"
DATA_PATH, VIDEO_PATH = f"data/{FILE}.parquet", f"videos/{{video_key}}/{FILE}.mp4"
EPISODES_PATH = f"meta/episodes/{FILE}.parquet"
BOOKKEEPING = {
    "timestamp": "float32",
    **dict.fromkeys(["frame_index", "episode_index", "index", "task_index"], "int64"),
}


@dataclass
class Episode:
    """The place of an episode in the files."""

    number: int
    length: int
    data: Path
    span: tuple[int, int] | None  # its frames in that file, by index; None: all of them
    films: dict[str, tuple[Path, float]]  # for each video: the file, and the second at which the episode begins in it


class Layout:
    """The layout of files in a version of the format.

    Args:
        asked: the folder.
        info: the content of meta/info.json.
        videos: the features whose videos to read.
    """

    columns: Sequence[str]  # of a file of frames, that say which episode a frame belongs to
    has_stats = False  # whether there is a meta/stats.json

    def __init__(self, asked: Asked, info: Mapping[str, Any], videos: Sequence[str]):
        self.asked, self.info, self.videos = asked, info, videos

    def episodes(self) -> list[dict[str, Any]]:
        """The rows about the episodes, in order: episode_index, length and more."""
        rows, where = self._rows()
        said = self.info.get("total_episodes", len(rows))
        if said != len(rows) or not rows:
            text = f"{self.asked.text}: meta/info.json counts {said} episodes, {where} lists {len(rows)}"
            if self.asked.strict or not rows:
                raise UserError(f"{text}: {AGAIN}")
            self.asked.notes.append(text)
        return sorted(rows, key=lambda row: row["episode_index"])

    def _rows(self) -> tuple[list[dict[str, Any]], str]:
        """The rows about the episodes, and the name of the file that has them."""
        raise NotImplementedError

    def place(self, row: Mapping[str, Any]) -> Episode:
        """The place of an episode, from its row. UserError if the row cannot be right."""
        raise NotImplementedError

    def path(self, template: str, **names: Any) -> Path:
        return within(self.asked.path, template.format(**names))


class Version3(Layout):
    columns = ("episode_index", "index")
    has_stats = True

    def _rows(self) -> tuple[list[dict[str, Any]], str]:
        columns = ["episode_index", "length", "dataset_from_index", "dataset_to_index"]
        columns += ["data/chunk_index", "data/file_index"]
        for key in self.videos:
            columns += [f"videos/{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
        paths = sorted(self.asked.path.glob("meta/episodes/*/*.parquet"))
        if not paths:
            raise UserError(f"{self.asked.path / 'meta' / 'episodes'} has no parquet file: {AGAIN}")
        return [row for path in paths for row in read_table(path, columns).to_pylist()], "meta/episodes"

    def place(self, row: Mapping[str, Any]) -> Episode:
        number, where = row["episode_index"], self.asked.path / "meta" / "episodes"
        for column, value in row.items():
            if value is None:
                raise UserError(f"{where}: {column} of episode {number} is empty: {AGAIN}")
        start, end = row["dataset_from_index"], row["dataset_to_index"]
        if not row["length"] == end - start > 0:
            raise UserError(
                f"{where}: episode {number} has {row['length']} frames and goes from {start} to {end}: {AGAIN}"
            )

        def file(template: str, kind: str, **names: str) -> Path:
            """The file of an episode's frames ("data") or pictures ("videos/KEY")."""
            which = {name: row[f"{kind}/{name}"] for name in ("chunk_index", "file_index")}
            return self.path(template, **which, **names)

        template = self.info.get("video_path") or VIDEO_PATH
        films = {
            key: (file(template, f"videos/{key}", video_key=key), row[f"videos/{key}/from_timestamp"])
            for key in self.videos
        }
        data = file(self.info.get("data_path", DATA_PATH), "data")
        return Episode(number, row["length"], data, (start, end), films)


class Version2(Layout):
    columns = ("episode_index",)

    def _rows(self) -> tuple[list[dict[str, Any]], str]:
        return read_lines(self.asked.path / "meta" / "episodes.jsonl"), "meta/episodes.jsonl"

    def place(self, row: Mapping[str, Any]) -> Episode:
        number = row["episode_index"]
        which = {"episode_index": number, "episode_chunk": number // self.info.get("chunks_size", 1000)}
        films = {key: (self.path(self.info["video_path"], video_key=key, **which), 0.0) for key in self.videos}
        return Episode(number, row["length"], self.path(self.info["data_path"], **which), None, films)


def layout(info: Mapping[str, Any]) -> type[Layout]:
    return Version3 if str(info["codebase_version"]).startswith("v3.") else Version2


def read_info(asked: Asked) -> dict[str, Any]:
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
        raise UserError(f"{path}: fps is {info['fps']!r}: give frames per second, above 0")
    return info


def _check_version(asked: Asked, version: str) -> None:
    if not version.startswith(("v2.", "v3.")):
        remedy = "save it in one of these"
        if version.startswith("v1."):
            script = "lerobot/common/datasets/v2/convert_dataset_v1_to_v2.py"
            remedy = f"convert it with {script}, which LeRobot's repository had until 2025"
        raise UserError(f"{asked.text} is in LeRobot's format {version}, but vaekit reads v2 and v3: {remedy}")


def read_tasks(asked: Asked) -> dict[int, str]:
    """The tasks in words, by their index; empty if there are none."""
    parquet, lines = (asked.path / "meta" / name for name in ("tasks.parquet", "tasks.jsonl"))
    if parquet.is_file():
        table = read_table(parquet, ["task_index"], more=["task", "__index_level_0__"])
        words = [name for name in table.column_names if name != "task_index"]
        return dict(zip(table["task_index"].to_pylist(), table[words[0]].to_pylist(), strict=True)) if words else {}
    return {row["task_index"]: row["task"] for row in read_lines(lines)} if lines.is_file() else {}


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The content of a file of JSON lines."""
    if not path.is_file():
        raise UserError(f"{path} is missing: {AGAIN}")
    with decoding(str(path), "JSON lines"):
        return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def read_table(path: Path, columns: Sequence[str], more: Sequence[str] = ()) -> pa.Table:
    """These columns of a parquet file, and those of `more` that are there."""
    if not path.is_file():
        raise UserError(f"{path} is missing: {AGAIN}")
    with decoding(str(path), "a parquet file"):
        table = pq.ParquetFile(path).read(columns=[*columns, *more])  # read_table would see columns in names of folders
    for column in columns:
        if column not in table.column_names:
            raise UserError(f"{path} has no column {column!r}: {AGAIN}")
    return table


def within(root: Path, name: str) -> Path:
    """A file of the dataset, by its name in the dataset. UserError if that leads out of the folder."""
    path = PurePath(name)
    if path.is_absolute() or ".." in path.parts:
        raise DatasetError(
            f"{root} names a file outside its folder, {name!r}: do not trust this dataset, or move the file into the folder"
        )
    return root / path
