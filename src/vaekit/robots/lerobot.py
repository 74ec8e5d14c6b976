"""LeRobotDataset v3 folders, read and written without the package `lerobot`.

meta/info.json                        version, frames a second, features, the templates of the paths below
meta/stats.json                       mean, std, ... of each feature
meta/tasks.parquet                    task_index and, as the index pandas sees, the task in words
meta/episodes/chunk-000/file-000.parquet   one row an episode: where its frames and its pictures are
data/chunk-000/file-000.parquet       one row a frame
videos/KEY/chunk-000/file-000.mp4     the pictures of many episodes, one after another
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path, PurePath
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from vaekit.errors import UserError, extra_needed
from vaekit.robots.demonstrations import CAMERA, VECTORS, Asked, Demonstrations, joined
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
QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
SAMPLED = 100  # pictures, spread evenly, that statistics of a camera are taken from
AGAIN = "get the whole dataset again"


def read_lerobot(asked: Asked) -> Demonstrations:
    with decoding(asked.text, "a LeRobot v3 folder"):  # whatever its files may hold in place of what they should
        return _read(asked)


def _read(asked: Asked) -> Demonstrations:
    info = _info(asked)
    features, fps = info["features"], float(info["fps"])
    if "action" not in features:
        raise UserError(
            f"{asked.text} has no feature 'action', it has {', '.join(features)}: there is nothing to imitate"
        )
    vectors = {name: key for name, key in KEYS.items() if key in features}
    held = {_camera(key): key for key, feature in features.items() if _is_camera(key, feature)}
    cameras = {name: held[name] for name in asked.wanted(held)}
    videos = {name: key for name, key in cameras.items() if features[key]["dtype"] == "video"}
    pictures = {name: key for name, key in cameras.items() if name not in videos}

    rows = _episodes(asked, info, videos.values())
    chosen = asked.episodes(len(rows))
    rows = [rows[i] for i in chosen]
    parts, path, table = [], Path(), pa.table({})
    for row in rows:
        needed = within(asked.path, info.get("data_path", DATA_PATH).format(**_place(row, "data")))
        if needed != path:  # episodes are in order, so that one file at a time is enough
            path, table = needed, _table(needed, ["index", "episode_index", *vectors.values(), *pictures.values()])
        frames = _frames(path, table, row)
        part = {name: _vectors(path, key, frames[key]) for name, key in vectors.items()}
        part |= {name: asked.pictures(_pictures(asked.path, frames[key])) for name, key in pictures.items()}
        parts.append(part)

    demonstrations = joined(asked, parts, chosen, fps)
    for name, key in videos.items():
        demonstrations.observations[name] = _video(asked, info, key, rows, demonstrations.episode_starts)
    demonstrations.action_names = _names(features["action"], demonstrations.actions.shape[1])
    left_out = [key for key in features if key not in {*vectors.values(), *held.values(), *BOOKKEEPING}]
    if left_out:
        demonstrations.notes.append(f"{asked.text}: left out {', '.join(left_out)}")
    if not (asked.path / "meta" / "stats.json").exists():
        demonstrations.notes.append(f"{asked.text} has no meta/stats.json; nothing here needs it, but LeRobot does")
    return demonstrations


def _info(asked: Asked) -> dict[str, Any]:
    path = asked.path / "meta" / "info.json"
    with decoding(str(path), "JSON"):
        info = json.loads(path.read_text(encoding="utf-8"))
    for name in ("codebase_version", "fps", "features"):
        if name not in info:
            raise UserError(f"{path} has no {name!r}: {AGAIN}")
    if not isinstance(info["fps"], int | float) or not info["fps"] > 0:
        raise UserError(f"{path}: fps is {info['fps']!r}: give frames a second, above 0")
    version = str(info["codebase_version"])
    if version.startswith(("v1.", "v2.")):
        converter = "convert it with python -m lerobot.scripts.convert_dataset_v21_to_v30"
        raise UserError(f"{asked.text} is in LeRobot's older format {version}, and only v3 is read: {converter}")
    if not version.startswith("v3."):
        raise UserError(f"{asked.text} is in LeRobot's format {version}, and only v3 is read: save it in that")
    return info


def _is_camera(key: str, feature: dict[str, Any]) -> bool:
    about = {**(feature.get("info") or {}), **(feature.get("video_info") or {})}
    depth = about.get("is_depth_map") or about.get("video.is_depth_map")
    return feature["dtype"] in ("image", "video") and key.startswith(PREFIX) and not depth


def _camera(key: str) -> str:
    """observation.images.top -> images.top; the only camera of some datasets, observation.image -> images.image."""
    return CAMERA + key.removeprefix(PREFIX).removeprefix(CAMERA)


def _names(feature: dict[str, Any], count: int) -> list[str] | None:
    """The names of a feature's numbers: given as a list, or as a dict of one list ({"motors": [...]})."""
    names = feature.get("names")
    if isinstance(names, dict) and len(names) == 1:
        names = next(iter(names.values()))
    return [str(name) for name in names] if isinstance(names, list) and len(names) == count else None


def _table(path: Path, columns: Sequence[str]) -> pa.Table:
    """These columns of a parquet file."""
    if not path.is_file():
        raise UserError(f"{path} is missing: {AGAIN}")
    with decoding(str(path), "a parquet file"):
        table = pq.ParquetFile(path).read(columns=list(columns))  # read_table would see columns in names of folders
    for column in columns:
        if column not in table.column_names:
            raise UserError(f"{path} has no column {column!r}: {AGAIN}")
    return table


def _episodes(asked: Asked, info: dict[str, Any], video_keys: Iterable[str]) -> list[dict[str, Any]]:
    """One dict an episode, in order: its number, its length, and where its frames and pictures are."""
    columns = ["episode_index", "length", "dataset_from_index", "dataset_to_index"]
    columns += ["data/chunk_index", "data/file_index"]
    for key in video_keys:
        columns += [f"videos/{key}/{name}" for name in ("chunk_index", "file_index", "from_timestamp")]
    paths = sorted(asked.path.glob("meta/episodes/*/*.parquet"))
    if not paths:
        raise UserError(f"{asked.path / 'meta' / 'episodes'} holds no parquet file: {AGAIN}")
    rows = [row for path in paths for row in _table(path, columns).to_pylist()]
    for row in rows:
        for column, value in row.items():
            if value is None:
                raise UserError(
                    f"{paths[0].parent.parent}: {column} of episode {row['episode_index']} is empty: {AGAIN}"
                )
        if not row["length"] == row["dataset_to_index"] - row["dataset_from_index"] > 0:
            span = f"{row['dataset_from_index']} to {row['dataset_to_index']}"
            raise UserError(
                f"{asked.text}: episode {row['episode_index']} has a length of {row['length']} frames and goes from {span}: {AGAIN}"
            )
    if len(rows) != info.get("total_episodes", len(rows)) or not rows:
        said = info.get("total_episodes", "some")
        raise UserError(
            f"{asked.text}: meta/info.json tells of {said} episodes, meta/episodes lists {len(rows)}: {AGAIN}"
        )
    return sorted(rows, key=lambda row: row["episode_index"])


def _place(row: dict[str, Any], kind: str) -> dict[str, int]:
    """The chunk and the file of an episode's frames ("data") or pictures ("videos/KEY")."""
    return {name: row[f"{kind}/{name}"] for name in ("chunk_index", "file_index")}


def _frames(path: Path, table: pa.Table, row: dict[str, Any]) -> pa.Table:
    """The rows of an episode: those whose index is within its span."""
    index = table["index"].to_numpy()
    frames = np.flatnonzero((index >= row["dataset_from_index"]) & (index < row["dataset_to_index"]))
    frames = frames[np.argsort(index[frames])]
    episode, length = row["episode_index"], row["length"]
    if len(frames) != length:
        raise UserError(f"{path} has {len(frames)} of the {length} frames of episode {episode}: {AGAIN}")
    found = table.take(frames)
    other = found["episode_index"].to_numpy()
    if (other != episode).any():
        raise UserError(
            f"{path}: meta/episodes gives a frame of episode {other[other != episode][0]} to episode {episode}: {AGAIN}"
        )
    return found


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
        raise UserError(
            f"{root} names a file outside of its folder, {name!r}: do not trust it, or move the file into it"
        )
    return root / path


def _av() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise extra_needed("robots", "av") from error
    return av


def _video(asked: Asked, info: dict[str, Any], key: str, rows: list[dict[str, Any]], first: np.ndarray) -> np.ndarray:
    """The pictures of all episodes (`rows`), each beginning at its frame of `first`: (T, height, width, 3) bytes."""
    fps, total = float(info["fps"]), int(first[-1]) + rows[-1]["length"]
    pictures, seen = np.empty((total, 0, 0, 3), np.uint8), np.zeros(total, bool)
    files: dict[Path, list[int]] = {}
    for i, row in enumerate(rows):
        path = (info.get("video_path") or VIDEO_PATH).format(video_key=key, **_place(row, f"videos/{key}"))
        files.setdefault(within(asked.path, path), []).append(i)
    for path, members in files.items():
        if not path.is_file():
            camera = _camera(key).removeprefix(CAMERA)
            raise UserError(f"{path} is missing, a video of the camera {camera!r}: {AGAIN}, or leave out that camera")
        begins = np.array([rows[i][f"videos/{key}/from_timestamp"] for i in members])
        order = np.argsort(begins)
        members, begins = [members[i] for i in order], begins[order]
        end = begins[-1] + rows[members[-1]]["length"] / fps
        with (
            decoding(str(path), "a video"),
            _av().open(str(path), format="mp4") as container,
        ):  # no other, as some name files to be opened
            container.streams.video[0].thread_type = "AUTO"
            for frame in container.decode(video=0):
                seconds = float(frame.pts * frame.time_base)
                if seconds > end:
                    break
                at = int(np.searchsorted(begins, seconds + 0.5 / fps, side="right")) - 1
                step = round((seconds - begins[at]) * fps)
                if at < 0 or step >= rows[members[at]]["length"]:
                    continue  # of an episode that was not asked for
                if frame.is_corrupt:
                    raise UserError(f"{path} is damaged at {seconds:.3f} seconds: {AGAIN}")
                picture = asked.pictures(frame.to_ndarray(format="rgb24")[None])[0]
                if not pictures.size:
                    pictures = np.empty((total, *picture.shape), np.uint8)
                if picture.shape != pictures.shape[1:]:
                    raise UserError(
                        f"{path} has pictures of the shape {picture.shape}, others {pictures.shape[1:]}: {AGAIN}"
                    )
                frame_index = first[members[at]] + step
                pictures[frame_index], seen[frame_index] = picture, True
        for i in members:
            here, length = int(seen[first[i] : first[i] + rows[i]["length"]].sum()), rows[i]["length"]
            if here < length:
                episode = rows[i]["episode_index"]
                raise UserError(
                    f"{path} has {here} of the {length} frames of episode {episode} at {fps:g} a second: {AGAIN}"
                )
    return pictures


def check_free(folder: Path) -> None:
    """UserError where something is already."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is there already: choose another name, or remove it")


def write_lerobot(demonstrations: Demonstrations, folder: Path) -> None:
    """Write the folder beside its place, then move it there: it is whole or not there."""
    with np.errstate(over="ignore"):  # what is too large for a float32 becomes inf, which `check` finds
        single = {
            name: values if name.startswith(CAMERA) else values.astype(np.float32)
            for name, values in demonstrations.observations.items()
        }
        demonstrations = replace(demonstrations, actions=demonstrations.actions.astype(np.float32), observations=single)
    demonstrations.check()
    for name in single:
        if not name.removeprefix(CAMERA) or "/" in name:
            raise UserError(f"{name!r} cannot be the name of a camera in LeRobot: rename it, without '/'")
    folder = folder.absolute()
    temporary = folder.with_name(f".{folder.name}.tmp")
    try:
        check_free(folder)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        _write(demonstrations, temporary)
        for path in filter(Path.is_file, temporary.rglob("*")):
            with path.open("rb") as file:
                os.fsync(file.fileno())
        if folder.exists():
            folder.rmdir()
        temporary.replace(folder)
    except OSError as e:
        raise UserError(f"cannot write {folder}: {e.strerror or e}; free space or choose another place") from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(demonstrations: Demonstrations, root: Path) -> None:
    fps = int(demonstrations.fps) if float(demonstrations.fps).is_integer() else demonstrations.fps
    vectors = {KEYS[name]: values for name, values in _arrays(demonstrations).items() if not name.startswith(CAMERA)}
    cameras = {PREFIX + name: values for name, values in _arrays(demonstrations).items() if name.startswith(CAMERA)}
    columns = {**vectors, **_bookkeeping(demonstrations)}
    features: dict[str, dict[str, Any]] = {
        key: {"dtype": str(values.dtype), "shape": [values.shape[1]], "names": None} for key, values in columns.items()
    }
    features["action"]["names"] = demonstrations.action_names
    for key, pictures in cameras.items():
        path = root / VIDEO_PATH.format(video_key=key, chunk_index=0, file_index=0)
        about = _write_video(path, pictures, demonstrations.fps)
        names = ["height", "width", "channels"]
        features[key] = {"dtype": "video", "shape": list(pictures.shape[1:]), "names": names, "info": about}

    episodes = []
    spans = list(pairwise([0, *demonstrations.episode_ends.tolist()]))
    for i, (start, end) in enumerate(spans):
        here = {"chunk_index": 0, "file_index": 0}
        row = {"episode_index": i, "tasks": [demonstrations.name], "length": end - start}
        row |= {"dataset_from_index": start, "dataset_to_index": end}
        places = ["data", "meta/episodes", *(f"videos/{key}" for key in cameras)]
        row |= {f"{place}/{name}": value for place in places for name, value in here.items()}
        for key in cameras:
            row |= {f"videos/{key}/from_timestamp": start / fps, f"videos/{key}/to_timestamp": end / fps}
        for key, values in {**columns, **cameras}.items():
            row |= {f"stats/{key}/{name}": value for name, value in _statistics(values[start:end]).items()}
        episodes.append(row)
    episodes_path = root / EPISODES_PATH.format(chunk_index=0, file_index=0)
    episodes_path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(episodes), episodes_path)

    data_path = root / DATA_PATH.format(chunk_index=0, file_index=0)
    data_path.parent.mkdir(parents=True)
    table = pa.table({key: _column(values) for key, values in columns.items()})
    with pq.ParquetWriter(data_path, table.schema) as writer:
        for start, end in spans:  # a row group each, as LeRobot does
            writer.write_table(table.slice(start, end - start), row_group_size=end - start)

    pq.write_table(_tasks([demonstrations.name]), root / "meta" / "tasks.parquet")
    info = {
        "codebase_version": "v3.0",
        "fps": fps,
        "features": features,
        "total_episodes": len(spans),
        "total_frames": len(demonstrations),
        "total_tasks": 1,
        "chunks_size": 1000,
        "data_files_size_in_mb": 100,
        "video_files_size_in_mb": 200,
        "data_path": DATA_PATH,
        "video_path": VIDEO_PATH if cameras else None,
        "robot_type": None,
        "splits": {"train": f"0:{len(spans)}"},
    }
    stats = {key: _statistics(values) for key, values in {**columns, **cameras}.items()}
    for name, content in {"info.json": info, "stats.json": stats}.items():
        (root / "meta" / name).write_text(json.dumps(content, indent=4), encoding="utf-8")


def _arrays(demonstrations: Demonstrations) -> dict[str, np.ndarray]:
    return {**demonstrations.observations, "actions": demonstrations.actions}


def _bookkeeping(demonstrations: Demonstrations) -> dict[str, np.ndarray]:
    """The columns LeRobot adds to every frame, each (T, 1)."""
    index = np.arange(len(demonstrations))
    episode = np.repeat(np.arange(demonstrations.episodes), demonstrations.lengths)
    frame = index - demonstrations.episode_starts[episode]
    columns = {"timestamp": frame / demonstrations.fps, "frame_index": frame, "episode_index": episode}
    columns |= {"index": index, "task_index": np.zeros_like(index)}
    return {name: columns[name].astype(dtype)[:, None] for name, dtype in BOOKKEEPING.items()}


def _column(values: np.ndarray) -> pa.Array:
    """(T, n) as lists of fixed length; bare numbers if n is 1, as LeRobot has it."""
    flat = pa.array(values.ravel())
    return flat if values.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _statistics(values: np.ndarray) -> dict[str, list[Any]]:
    """Of each of the n numbers (T, n); of each colour (T, height, width, 3), in [0, 1] and shaped (3, 1, 1)."""
    if values.ndim == 4:
        values = values[np.unique(np.linspace(0, len(values) - 1, SAMPLED).round().astype(int))]
    x = values.reshape(-1, values.shape[-1]).astype(np.float64) / (255 if values.ndim == 4 else 1)
    found = {"min": x.min(0), "max": x.max(0), "mean": x.mean(0), "std": x.std(0)}
    found |= {
        f"q{round(100 * q):02d}": value for q, value in zip(QUANTILES, np.quantile(x, QUANTILES, axis=0), strict=True)
    }
    shape = (-1, 1, 1) if values.ndim == 4 else (-1,)
    return {**{name: value.reshape(shape).tolist() for name, value in found.items()}, "count": [len(values)]}


def _tasks(tasks: list[str]) -> pa.Table:
    """The table of tasks; its metadata tell pandas that the words are the index, by which LeRobot looks them up."""
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": tasks})
    columns = [
        {"name": name, "field_name": name, "pandas_type": pandas, "numpy_type": numpy, "metadata": None}
        for name, pandas, numpy in [("task_index", "int64", "int64"), ("task", "unicode", "object")]
    ]
    labels = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    about = {"index_columns": ["task"], "column_indexes": [labels], "columns": columns, "pandas_version": "2.0.0"}
    return table.replace_schema_metadata({"pandas": json.dumps(about)})


def _write_video(path: Path, pictures: np.ndarray, fps: float) -> dict[str, Any]:
    """Write (T, height, width, 3) bytes as mp4; returns what info.json tells of it."""
    rate = Fraction(fps).limit_denominator(1001)
    path.parent.mkdir(parents=True)
    with _av().open(str(path), "w") as container:
        # All colours at full size, and a key frame every other frame, as LeRobot has it: it reads frames out of order.
        stream = container.add_stream("libx264", rate=rate, options={"crf": "10", "g": "2"})
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], "yuv444p"
        for picture in pictures:
            container.mux(stream.encode(_av().VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")))
        container.mux(stream.encode())
    height, width = pictures.shape[1:3]
    about = {"height": height, "width": width, "codec": "h264", "pix_fmt": "yuv444p", "fps": round(fps), "channels": 3}
    return {**{f"video.{name}": value for name, value in about.items()}, "has_audio": False, "is_depth_map": False}
