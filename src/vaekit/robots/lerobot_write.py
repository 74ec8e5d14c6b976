"""Writing a LeRobotDataset v3 folder without the package `lerobot`; its layout is in `vaekit.robots.lerobot_meta`."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vaekit.errors import UserError
from vaekit.robots.demonstrations import CAMERA, Demonstrations
from vaekit.robots.lerobot_meta import BOOKKEEPING, DATA_PATH, EPISODES_PATH, KEYS, PREFIX, VIDEO_PATH
from vaekit.robots.reels import av_package, part

QUANTILES = (0.01, 0.10, 0.50, 0.90, 0.99)
SAMPLED = 100  # pictures, evenly spaced, for the statistics of a camera


def check_free(folder: Path) -> None:
    """UserError if the folder exists and is not empty."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists already: choose another name, or remove it")


def write_lerobot(demonstrations: Demonstrations, folder: Path) -> None:
    """Write the folder beside its place, then move it there, so that it is never there in part."""
    with np.errstate(over="ignore"):  # a number too large for float32 becomes inf, which `check` finds
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
        raise UserError(f"cannot write {folder}: {e.strerror or e}; free space, or choose another place") from e
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(demonstrations: Demonstrations, root: Path) -> None:
    fps = int(demonstrations.fps) if float(demonstrations.fps).is_integer() else demonstrations.fps
    vectors = {
        KEYS.get(name, PREFIX + name): values
        for name, values in _arrays(demonstrations).items()
        if not name.startswith(CAMERA)
    }
    cameras = {PREFIX + name: values for name, values in _arrays(demonstrations).items() if name.startswith(CAMERA)}
    tasks, codes = tasks_of(demonstrations)
    columns = {**vectors, **_bookkeeping(demonstrations, codes)}
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
        row = {"episode_index": i, "length": end - start}
        row["tasks"] = [tasks[code] for code in dict.fromkeys(codes[start:end].tolist())]
        row |= {"dataset_from_index": start, "dataset_to_index": end}
        places = ["data", "meta/episodes", *(f"videos/{key}" for key in cameras)]
        row |= {f"{place}/{name}": value for place in places for name, value in here.items()}
        for key in cameras:
            row |= {f"videos/{key}/from_timestamp": start / fps, f"videos/{key}/to_timestamp": end / fps}
        for key, values in {**columns, **cameras}.items():
            row |= {
                f"stats/{key}/{name}": value for name, value in _statistics(part(values, slice(start, end))).items()
            }
        episodes.append(row)
    episodes_path = root / EPISODES_PATH.format(chunk_index=0, file_index=0)
    episodes_path.parent.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(episodes), episodes_path)

    data_path = root / DATA_PATH.format(chunk_index=0, file_index=0)
    data_path.parent.mkdir(parents=True)
    table = pa.table({key: _column(values) for key, values in columns.items()})
    with pq.ParquetWriter(data_path, table.schema) as writer:
        for start, end in spans:  # one row group per episode, as LeRobot does
            writer.write_table(table.slice(start, end - start), row_group_size=end - start)

    pq.write_table(_tasks(tasks), root / "meta" / "tasks.parquet")
    info = {
        "codebase_version": "v3.0",
        "fps": fps,
        "features": features,
        "total_episodes": len(spans),
        "total_frames": len(demonstrations),
        "total_tasks": len(tasks),
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


def tasks_of(demonstrations: Demonstrations) -> tuple[list[str], np.ndarray]:
    """The tasks in words, and the number of each frame's task (T,)."""
    words = demonstrations.tasks
    words = np.full(len(demonstrations), demonstrations.name, object) if words is None else words
    tasks = list(dict.fromkeys(words.tolist()))
    return tasks, np.array([tasks.index(word) for word in words])


def _bookkeeping(demonstrations: Demonstrations, tasks: np.ndarray) -> dict[str, np.ndarray]:
    """The columns that LeRobot adds to every frame, (T, 1) each."""
    index = np.arange(len(demonstrations))
    episode = np.repeat(np.arange(demonstrations.episodes), demonstrations.lengths)
    frame = index - demonstrations.episode_starts[episode]
    columns = {"timestamp": frame / demonstrations.fps, "frame_index": frame, "episode_index": episode}
    columns |= {"index": index, "task_index": tasks}
    return {name: columns[name].astype(dtype)[:, None] for name, dtype in BOOKKEEPING.items()}


def _column(values: np.ndarray) -> pa.Array:
    """(T, n) as lists of fixed length; single numbers if n is 1, as LeRobot has it."""
    flat = pa.array(values.ravel())
    return flat if values.shape[1] == 1 else pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def _statistics(values: np.ndarray) -> dict[str, list[Any]]:
    """Statistics of each of the n numbers (T, n), or of each colour (T, height, width, 3), in [0, 1] and shaped (3, 1, 1)."""
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
    """The table of tasks. Its metadata make the words the index in pandas, by which LeRobot looks them up."""
    table = pa.table({"task_index": pa.array(range(len(tasks)), pa.int64()), "task": tasks})
    columns = [
        {"name": name, "field_name": name, "pandas_type": pandas, "numpy_type": numpy, "metadata": None}
        for name, pandas, numpy in [("task_index", "int64", "int64"), ("task", "unicode", "object")]
    ]
    labels = {"name": None, "field_name": None, "pandas_type": "unicode", "numpy_type": "object", "metadata": None}
    about = {"index_columns": ["task"], "column_indexes": [labels], "columns": columns, "pandas_version": "2.0.0"}
    return table.replace_schema_metadata({"pandas": json.dumps(about)})


def _write_video(path: Path, pictures: np.ndarray, fps: float) -> dict[str, Any]:
    """Write (T, height, width, 3) bytes as mp4; returns the entry for info.json."""
    rate = Fraction(fps).limit_denominator(1001)
    path.parent.mkdir(parents=True)
    with av_package().open(str(path), "w") as container:
        # Colours at full resolution, and every second frame a key frame, as LeRobot does: it reads frames out of order.
        stream = container.add_stream("libx264", rate=rate, options={"crf": "10", "g": "2"})
        stream.height, stream.width, stream.pix_fmt = *pictures.shape[1:3], "yuv444p"
        for picture in pictures:
            container.mux(
                stream.encode(av_package().VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"))
            )
        container.mux(stream.encode())
    height, width = pictures.shape[1:3]
    about = {"height": height, "width": width, "codec": "h264", "pix_fmt": "yuv444p", "fps": round(fps), "channels": 3}
    return {**{f"video.{name}": value for name, value in about.items()}, "has_audio": False, "is_depth_map": False}
