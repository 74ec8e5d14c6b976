"""Small recordings of robots in the formats that people have, made without the code under test, and what to compare them by."""

import io
import json
import os
from contextlib import contextmanager, suppress
from itertools import pairwise

import av
import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from vaekit.robots.demonstrations import Demonstrations

SIZE = (24, 34)  # height and width of the test pictures
LENGTHS = [7, 5, 6, 4]  # episodes of the LeRobot folder written by hand


def pictures(frames, first=0):
    """Smooth pictures whose left half is as bright as their frame's number says, which survives compression."""
    result = np.full((frames, *SIZE, 3), 90, np.uint8)
    result[:, :, : SIZE[1] // 2] = (20 + 8 * (first + np.arange(frames)))[:, None, None, None]
    return result


def some(lengths=(3, 4), numbers=2, cameras=(), dtype=np.float32, seed=0):
    rng = np.random.default_rng(seed)
    frames = sum(lengths)
    return Demonstrations(
        rng.normal(size=(frames, numbers)).astype(dtype),
        {
            "state": rng.normal(size=(frames, 3)).astype(dtype),
            **{f"images.{name}": pictures(frames) for name in cameras},
        },
        np.cumsum(lengths),
        fps=30.0,
    )


def assert_same(a, b):
    np.testing.assert_array_equal(a.actions, b.actions)
    np.testing.assert_array_equal(a.episode_ends, b.episode_ends)
    assert a.observations.keys() == b.observations.keys()
    for name in a.observations:
        if name.startswith("images."):
            assert_alike(a.observations[name], b.observations[name])
        else:
            np.testing.assert_array_equal(a.observations[name], b.observations[name])


def assert_alike(a, b, within=3):
    """Pictures that went through a video."""
    assert a.shape == b.shape
    assert a.dtype == b.dtype == np.uint8
    difference = np.abs(a.astype(int) - b.astype(int))
    assert difference.mean() < within
    assert difference[:, 4:-4, 4 : SIZE[1] // 2 - 4].max() <= 2 * within  # away from edges: the right frame


def hdf5(path, frames=5, first=0, numbers=14, compress=False, **extra):
    """An episode as ACT's scripts write it."""
    top = pictures(frames, first)
    with h5py.File(path, "w") as file:
        file.attrs["sim"] = True
        file["action"] = (first + np.arange(frames * numbers, dtype=np.float32)).reshape(frames, numbers)
        file["observations/qpos"] = np.full((frames, numbers), first, np.float64)
        file["observations/qvel"] = np.zeros((frames, numbers))
        if compress:
            file.attrs["compress"] = True
            jpegs = []
            for picture in top:
                buffer = io.BytesIO()
                Image.fromarray(picture).save(buffer, "jpeg", quality=95)
                jpegs.append(np.frombuffer(buffer.getvalue(), np.uint8))
            longest = max(map(len, jpegs))
            file["observations/images/top"] = np.stack([np.pad(jpeg, (0, longest - len(jpeg))) for jpeg in jpegs])
            file["compress_len"] = np.array([[len(jpeg) for jpeg in jpegs]])
        else:
            file["observations/images/top"] = top
        for name, values in extra.items():
            file[name] = values
    return path


@contextmanager
def as_other_processes():
    """SVT-AV1 gives the whole process the priority of real time if root runs it, and so all programs that it starts."""
    try:
        yield
    finally:
        if hasattr(os, "sched_setscheduler"):
            for thread in os.listdir("/proc/self/task"):
                with suppress(OSError):
                    os.sched_setscheduler(int(thread), os.SCHED_OTHER, os.sched_param(0))


def mp4(path, frames, fps=10, codec="mpeg4", **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    with as_other_processes(), av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps, options=options)
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        if codec == "mpeg4":  # its quality is set by this alone
            stream.bit_rate = 4_000_000
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())


def by_hand(root):
    """Four episodes as LeRobot stores them, made without the code under test.

    Two files of data in two chunks, two files of episodes, a video file of two episodes and two of one, pictures in the
    table, a path template of its own, and features nobody here knows.
    """
    frames = sum(LENGTHS)
    starts = [0, *np.cumsum(LENGTHS).tolist()]
    rng = np.random.default_rng(1)
    actions = rng.normal(size=(frames, 2)).astype(np.float32)
    state = rng.normal(size=(frames, 3))
    top, wrist = pictures(frames), pictures(frames)[::-1]
    features = {
        "observation.state": {"dtype": "float64", "shape": [3], "names": {"motors": ["a", "b", "c"]}},
        "observation.environment_state": {"dtype": "float32", "shape": [1], "names": None},
        "observation.effort": {"dtype": "float32", "shape": [2], "names": None},
        "action": {"dtype": "float32", "shape": [2], "names": {"motors": ["shoulder", "elbow"]}},
        "observation.images.top": {"dtype": "video", "shape": [*SIZE, 3], "names": ["height", "width", "channel"]},
        "observation.images.deep": {"dtype": "video", "shape": [*SIZE, 1], "info": {"video.is_depth_map": True}},
        "observation.image": {"dtype": "image", "shape": [*SIZE, 3], "names": ["height", "width", "channel"]},
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
        **{name: {"dtype": "int64", "shape": [1]} for name in ("frame_index", "episode_index", "index", "task_index")},
        "timestamp": {"dtype": "float32", "shape": [1], "names": None},
    }
    info = {
        "codebase_version": "v3.0",
        "robot_type": "aloha",
        "total_episodes": 4,
        "total_frames": frames,
        "total_tasks": 1,
        "chunks_size": 1000,
        "fps": 10,
        "splits": {"train": "0:4"},
        "data_path": "frames/chunk-{chunk_index:03d}/part-{file_index:03d}.parquet",
        "video_path": "films/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
        "features": features,
    }
    (root / "meta").mkdir(parents=True)
    (root / "meta" / "info.json").write_text(json.dumps(info))
    (root / "meta" / "stats.json").write_text("{}")

    def png(picture):
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "png")
        return {"bytes": buffer.getvalue(), "path": None}

    for (chunk, file), episodes in {(0, 0): [0, 1], (1, 2): [2, 3]}.items():
        first, last = starts[episodes[0]], starts[episodes[-1] + 1]
        index = np.arange(first, last)
        episode = np.repeat(episodes, [LENGTHS[i] for i in episodes])
        table = pa.table(
            {
                "observation.state": pa.array(state[first:last].tolist(), pa.list_(pa.float64())),
                "observation.environment_state": pa.array(index, pa.float32()),
                "observation.effort": pa.array(actions[first:last].tolist(), pa.list_(pa.float32(), 2)),
                "action": pa.array(actions[first:last].tolist(), pa.list_(pa.float32(), 2)),
                "observation.image": pa.array([png(picture) for picture in wrist[first:last]]),
                "next.reward": pa.array(index, pa.float32()),
                "episode_index": episode,
                "index": index,
                "frame_index": index - np.array(starts)[episode],
            }
        )
        path = root / f"frames/chunk-{chunk:03d}/part-{file:03d}.parquet"
        path.parent.mkdir(parents=True)
        pq.write_table(table, path, row_group_size=4)
        rows = [
            {
                "episode_index": i,
                "tasks": ["put it there"],
                "length": LENGTHS[i],
                "dataset_from_index": starts[i],
                "dataset_to_index": starts[i + 1],
                "data/chunk_index": chunk,
                "data/file_index": file,
                "videos/observation.images.top/chunk_index": 0,
                "videos/observation.images.top/file_index": [0, 1, 2, 1][i],
                "videos/observation.images.top/from_timestamp": [0.0, LENGTHS[3] / 10, 0.0, 0.0][i],
                "videos/observation.images.top/to_timestamp": 99.0,
            }
            for i in episodes
        ]
        path = root / f"meta/episodes/chunk-000/file-{file:03d}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(rows[::-1]), path)
    e = [top[starts[i] : starts[i + 1]] for i in range(4)]
    films = root / "films/observation.images.top/chunk-000"
    mp4(films / "file-000.mp4", e[0])
    mp4(films / "file-001.mp4", np.concatenate([e[3], e[1]]), codec="libx264", bf="2")  # the later episode comes first
    mp4(films / "file-002.mp4", e[2], codec="libx264", g="2")
    return actions, state, top, wrist


def change_info(root, **change):
    path = root / "meta" / "info.json"
    info = json.loads(path.read_text()) | change
    path.write_text(json.dumps({key: value for key, value in info.items() if value is not None}))


def change_table(path, **columns):
    table = pq.read_table(path, partitioning=None)
    for name, values in columns.items():
        i = table.column_names.index(name)
        table = table.remove_column(i) if values is None else table.set_column(i, name, values)
    pq.write_table(table, path)


def by_hand_v2(root, lengths=(5, 7, 4), version="v2.1", tasks=("put it there",)):
    """Episodes as LeRobot v2 stores them: a parquet file and an mp4 each; they take the tasks in turn."""
    frames, starts = sum(lengths), [0, *np.cumsum(lengths).tolist()]
    rng = np.random.default_rng(1)
    actions, state = rng.normal(size=(2, frames, 2)).astype(np.float32)
    top = pictures(frames)
    (root / "meta").mkdir(parents=True)
    (root / "data" / "chunk-000").mkdir(parents=True)
    for i, (start, end) in enumerate(pairwise(starts)):
        columns = {
            "action": pa.array(actions[start:end].tolist(), pa.list_(pa.float32())),
            "observation.state": pa.array(state[start:end].tolist(), pa.list_(pa.float32())),
            "observation.velocity": pa.array((2 * state[start:end]).tolist(), pa.list_(pa.float32())),
            "episode_index": pa.array([i] * (end - start)),
            "index": pa.array(range(start, end)),
            "task_index": pa.array([i % len(tasks)] * (end - start)),
        }
        pq.write_table(pa.table(columns), root / f"data/chunk-000/episode_{i:06d}.parquet")
        mp4(root / f"videos/chunk-000/observation.images.top/episode_{i:06d}.mp4", top[start:end])
    vector = {"dtype": "float32", "shape": [2], "names": [["a", "b"]]}
    features = dict.fromkeys(("action", "observation.state", "observation.velocity"), vector)
    features |= {name: {"dtype": "int64", "shape": [1]} for name in ("episode_index", "index", "task_index")}
    features["observation.images.top"] = {"dtype": "video", "shape": [*SIZE, 3], "video_info": {"video.fps": 10.0}}
    info = {
        "codebase_version": version,
        "total_episodes": len(lengths),
        "chunks_size": 1000,
        "fps": 10,
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4",
        "features": features,
    }
    (root / "meta" / "info.json").write_text(json.dumps(info))
    lines = [{"episode_index": i, "tasks": [tasks[i % len(tasks)]], "length": n} for i, n in enumerate(lengths)]
    (root / "meta" / "episodes.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    lines = [{"task_index": i, "task": task} for i, task in enumerate(tasks)]
    (root / "meta" / "tasks.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return actions, state, top


def robomimic(path, lengths=(5, 4), fps=20):
    """Episodes in one file, as robomimic and LIBERO have them."""
    with h5py.File(path, "w") as file:
        data = file.create_group("data")
        data.attrs["env_args"] = json.dumps({"env_name": "Lift", "env_kwargs": {"control_freq": fps}})
        data.attrs["problem_info"] = json.dumps({"language_instruction": f"do as in {path.stem}"})
        for i, n in enumerate(lengths):
            demo = data.create_group(f"demo_{i}")
            demo["actions"] = np.full((n, 2), i, np.float32)
            demo["rewards"] = np.zeros(n)
            for group in ("obs", "next_obs"):
                demo[f"{group}/robot0_eef_pos"] = np.full((n, 3), 10.0 + i)
                demo[f"{group}/robot0_eef_quat"] = np.full((n, 4), 20.0 + i)
                demo[f"{group}/robot0_gripper_qpos"] = np.full((n, 2), 30.0 + i)
                demo[f"{group}/object"] = np.full((n, 5), 40.0 + i)
                demo[f"{group}/agentview_image"] = pictures(n, i)
    return path
