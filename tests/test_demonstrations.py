"""Demonstrations: what they refuse, and the formats they are read from and written to, from real files."""

import builtins
import json
import os
import pickle
import shutil

import av
import datasets
import h5py
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import EpsImagePlugin, Image

from conftest import mistake, real
from recordings import (
    LENGTHS,
    SIZE,
    assert_alike,
    assert_same,
    by_hand,
    change_info,
    change_table,
    hdf5,
    mp4,
    pictures,
    some,
)
from vaekit.errors import MissingExtra
from vaekit.robots.datasets import read_demonstrations, write_demonstrations
from vaekit.robots.demonstrations import split_episodes

# --- the class


def test_episodes_can_be_taken():
    data = some([3, 4, 2])
    assert (len(data), data.episodes, data.lengths.tolist()) == (9, 3, [3, 4, 2])
    np.testing.assert_array_equal(data[1].actions, data.actions[3:7])
    np.testing.assert_array_equal(data[[2, 0]].actions, data.actions[[7, 8, 0, 1, 2]])
    assert data[[2, 0]].episode_ends.tolist() == [2, 5]
    assert data[-1].lengths.tolist() == [2]
    assert len(data[[]]) == 0
    with pytest.raises(IndexError):
        data[3]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict(actions=np.zeros(7)), "actions have the shape (7,)"),
        (dict(observations={}), "has no observations"),
        (dict(fps=0.0), "fps is 0.0"),
        (dict(fps=float("nan")), "fps is nan"),
        (dict(episode_ends=np.array([], int)), "episode_ends is int64 (0,)"),
        (dict(episode_ends=np.array([3.0, 7.0])), "episode_ends is float64 (2,)"),
        (dict(episode_ends=np.array([3, 3, 7])), "episode 1 is empty"),
        (dict(episode_ends=np.array([0, 7])), "episode 0 is empty"),
        (dict(episode_ends=np.array([5, 3, 7])), "falls from 5 to 3 at episode 1"),
        (dict(episode_ends=np.array([3, 6])), "the last episode ends at 6, but there are 7 frames"),
        (dict(observations={"state": np.zeros((6, 3))}), "'state' has 6 frames and the actions have 7"),
        (dict(observations={"state": np.zeros((7, 0))}), "'state' is float64 (7, 0)"),
        (dict(observations={"state": np.array(3.0)}), "'state' has no frames"),
        (dict(observations={"images.top": np.zeros((7, 4, 4, 3))}), "camera 'images.top' is float64 (7, 4, 4, 3)"),
        (dict(observations={"images.top": np.zeros((7, 4, 4), np.uint8)}), "camera 'images.top' is uint8 (7, 4, 4)"),
    ],
)
def test_what_no_policy_can_learn_from_is_told(change, says):
    data = some()
    for name, value in change.items():
        setattr(data, name, value)
    assert says in mistake(data.check)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_none_is_told_with_its_place(bad):
    data = some()
    data.observations["state"][5, 1] = bad
    assert f"'state' is {bad} at frame 5 (episode 1, frame 2), column 1" in mistake(data.check)


@pytest.mark.parametrize("count", [9, 10, 50])
def test_whole_episodes_are_held_out(count):
    training, validation = split_episodes(count, 0.2, seed=1)
    assert sorted([*training, *validation]) == list(range(count))
    assert len(validation) == (0 if count < 10 else count // 5)
    assert all(
        np.array_equal(a, b) for a, b in zip(split_episodes(count, 0.2, seed=1), (training, validation), strict=True)
    )
    data = some([2] * count)
    for mine, same in zip(split_episodes(data, 0.2, seed=1), (training, validation), strict=True):
        np.testing.assert_array_equal(mine, same)
    assert len(data[training]) + len(data[validation]) == len(data)


# --- .npz


def npz(path, **change):
    arrays = dict(observations=np.zeros((7, 3)), actions=np.zeros((7, 2)), episode_ends=np.array([3, 7]))
    arrays |= change
    np.savez(path, **{name: values for name, values in arrays.items() if values is not None})
    return path


def test_real_human_demonstrations():
    path = real("robot/door_human_demos.npz")
    data, raw = read_demonstrations(path), np.load(path)
    assert (len(data), data.episodes, data.name) == (6729, 25, "door_human_demos")
    np.testing.assert_array_equal(data.actions, raw["actions"])
    np.testing.assert_array_equal(data.observations["state"], raw["observations"])
    assert "left out rewards, init_qpos" in data.notes[0]
    two = read_demonstrations(f"{path}[3:5]")
    np.testing.assert_array_equal(two.actions, raw["actions"][raw["episode_ends"][2] : raw["episode_ends"][4]])
    assert read_demonstrations(f"{path}[24]").episodes == 1
    assert read_demonstrations(f"{path}[!0:23]").lengths.tolist() == read_demonstrations(path).lengths[23:].tolist()
    for part in ("[25]", "[5:3]", "[0:26]", "[-26]", "[]"):
        assert f"has 25 episodes, so {part} does not exist" in mistake(read_demonstrations, f"{path}{part}")


def test_npz_with_all_there_can_be(tmp_path):
    top = pictures(7)
    path = npz(
        tmp_path / "a.npz",
        **{"observations": None, "state": np.arange(7)[:, None], "environment_state": np.ones((7, 2), np.float16)},
        **{"images.top": top, "images.side": top, "fps": np.array(20)},
    )
    data = read_demonstrations(path)
    assert (data.fps, list(data.observations)) == (20.0, ["state", "environment_state", "images.top", "images.side"])
    assert data.observations["state"].dtype == np.float64  # whole numbers become floats
    np.testing.assert_array_equal(data.observations["images.top"], top)
    small = read_demonstrations(path, cameras=["side"], resize=(8, 6))
    assert list(small.observations) == ["state", "environment_state", "images.side"]
    assert small.observations["images.side"].shape == (7, 6, 8, 3)
    assert read_demonstrations(path, cameras="images.top").observations.keys() >= {"images.top"}
    assert not any("images" in name for name in read_demonstrations(path, cameras=False).observations)
    assert "no camera 'tpo'; did you mean 'top'" in mistake(read_demonstrations, path, cameras=["tpo"])
    assert "cannot resize" in mistake(read_demonstrations, path, resize=(0, 4))
    assert "only pictures can be resized" in mistake(read_demonstrations, path, cameras=False, resize=(4, 4))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict(actions=None), "has no actions (known: observations): name them with --map action=NAME"),
        (dict(episode_ends=None), "has no array 'episode_ends'"),
        (dict(observations=None), "has no observations"),
        (dict(state=np.zeros((7, 1))), "both 'observations' and 'state'"),
        (dict(actions=np.zeros((6, 2))), "the last episode ends at 7, but there are 6 frames"),
        (dict(observations=np.zeros((6, 2))), "'state' has 6 frames and the actions have 7"),
        (dict(actions=np.full((7, 2), np.nan)), "episode 0: 'actions' is nan at its frame 0, column 0"),
        (dict(actions=np.full((7, 2), "a")), "'actions' is <U1 (7, 2)"),
        (dict(actions=np.full((7, 2), None)), "'actions' holds pickled Python objects"),
        (dict(episode_ends=np.array([3, 3, 7])), "episode 1 is empty: remove its end, 3"),
        (dict(fps=np.array([])), "is damaged, truncated or not a NumPy .npz file"),
    ],
)
def test_npz_mistakes(tmp_path, change, says):
    path = npz(tmp_path / "a.npz", **change)
    assert says in mistake(read_demonstrations, path)
    assert mistake(read_demonstrations, f"{path}[0]")


def test_no_pickle_is_opened(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (exec, ("raise SystemExit('opened')",))

    np.savez(tmp_path / "a.npz", actions=np.array([Bomb()]), observations=np.zeros((1, 1)), episode_ends=np.array([1]))
    assert "vaekit never opens" in mistake(read_demonstrations, tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(pickle.dumps(Bomb()))
    assert "damaged" in mistake(read_demonstrations, tmp_path / "b.npz")


def test_what_is_no_source(tmp_path):
    (tmp_path / "a.csv").write_text("1")
    assert "does not exist; did you mean 'a.csv'" in mistake(read_demonstrations, tmp_path / "b.csv")
    assert "does not exist" in mistake(read_demonstrations, tmp_path / "no" / "b.npz")
    assert "the source does not exist" in mistake(read_demonstrations, "")
    assert "has no format that vaekit reads" in mistake(read_demonstrations, tmp_path / "a.csv")
    assert "is not a folder of demonstrations" in mistake(read_demonstrations, tmp_path)


# --- ACT's HDF5


@pytest.mark.parametrize("compress", [False, True])
def test_act_episodes_in_the_order_of_their_numbers(tmp_path, compress):
    for i in (10, 9, 2):
        hdf5(tmp_path / f"episode_{i}.hdf5", frames=i, first=i, compress=compress)
    (tmp_path / "dataset_stats.pkl").write_bytes(b"")
    data = read_demonstrations(tmp_path)
    assert data.lengths.tolist() == [2, 9, 10]
    assert data.observations["state"][data.episode_starts, 0].tolist() == [2, 9, 10]
    assert (data.fps, data.actions.shape, data.actions.dtype) == (50.0, (21, 14), np.float32)
    assert any("frames per second" in note for note in data.notes)
    assert any(note.endswith("left out observations/qvel; a policy sees it with -c qvel") for note in data.notes)
    assert_alike(data[1].observations["images.top"], pictures(9, 9))
    if not compress:
        np.testing.assert_array_equal(data[1].observations["images.top"], pictures(9, 9))
    one = read_demonstrations(f"{tmp_path}[1:2]", resize=(8, 6))
    assert one.observations["images.top"].shape == (9, 6, 8, 3)
    alone = read_demonstrations(tmp_path / "episode_9.hdf5", cameras=False)
    assert (alone.name, list(alone.observations)) == ("episode_9", ["state"])
    assert "so [3] does not exist" in mistake(read_demonstrations, f"{tmp_path}[3]")


def test_act_pictures_of_varying_length(tmp_path):
    path = hdf5(tmp_path / "episode_0.hdf5", frames=2, compress=True)
    with h5py.File(path, "a") as file:
        jpegs = file["observations/images/top"][()]
        ragged = file.create_dataset("observations/images/side", (2,), h5py.vlen_dtype(np.uint8))
        for i in range(2):
            ragged[i] = jpegs[i]
    data = read_demonstrations(path)
    np.testing.assert_array_equal(data.observations["images.side"], data.observations["images.top"])


def test_act_mistakes(tmp_path):
    first = hdf5(tmp_path / "episode_0.hdf5")
    other = tmp_path / "episode_1.hdf5"
    hdf5(other, numbers=7)
    line = mistake(read_demonstrations, tmp_path, strict=True)
    assert "a frame of 'actions' has the shape (14,) in episode 0 and (7,) in episode 1" in line
    hdf5(other)
    with h5py.File(other, "a") as file:
        del file["observations/qpos"]
    assert "episode_1.hdf5 has no 'observations/qpos'" in mistake(read_demonstrations, tmp_path, strict=True)
    with h5py.File(other, "a") as file:
        file["observations/qpos"] = np.zeros((4, 14))
    assert "episode 1: 'state' has 4 frames and the actions have 5" in mistake(
        read_demonstrations, tmp_path, strict=True
    )
    with h5py.File(other, "a") as file:
        del file["action"]
    assert "has no 'action'" in mistake(read_demonstrations, tmp_path, strict=True)
    with h5py.File(other, "a") as file:
        file["action"] = np.zeros((0, 14))
    assert "'actions' has no frames" in mistake(read_demonstrations, tmp_path, strict=True)
    assert "no camera 'tpo'; did you mean 'top'" in mistake(read_demonstrations, first, cameras=["tpo"])
    content = first.read_bytes()
    for length in (0, 100, len(content) // 2, len(content) - 10):
        other.write_bytes(content[:length])
        assert "damaged, truncated or not an HDF5 file" in mistake(read_demonstrations, tmp_path, strict=True)
    other.unlink()
    hdf5(first, compress=True)
    with h5py.File(first, "a") as file:
        file["observations/images/top"][1] = 0
    assert "damaged" in mistake(read_demonstrations, first)


@pytest.mark.parametrize("package", ["h5py", "av"])
def test_a_missing_package_is_named(tmp_path, monkeypatch, package):
    hdf5(tmp_path / "episode_0.hdf5")
    write_demonstrations(some(cameras=["top"]), tmp_path / "le")

    def without(name, *args, real_import=builtins.__import__, **kwargs):
        if name == package:
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    source = tmp_path / "episode_0.hdf5" if package == "h5py" else tmp_path / "le"
    with pytest.raises(MissingExtra, match=rf"{package}.*pip install 'vaekit\[robots\]'"):
        read_demonstrations(source)
    assert read_demonstrations(tmp_path / "le", cameras=False).episodes == 2  # without pictures, no package is needed


# --- LeRobot, written by hand


def test_a_lerobot_folder_made_by_hand(tmp_path):
    root = tmp_path / "a=b" / "le.robot"  # folders may be named so
    actions, state, top, wrist = by_hand(root)
    data = read_demonstrations(root)
    assert data.name == "le.robot"
    assert (data.lengths.tolist(), data.fps, data.action_names) == (LENGTHS, 10.0, ["shoulder", "elbow"])
    np.testing.assert_array_equal(data.actions, actions)
    np.testing.assert_array_equal(data.observations["state"], state)
    np.testing.assert_array_equal(data.observations["environment_state"], np.arange(sum(LENGTHS))[:, None])
    np.testing.assert_array_equal(data.observations["images.image"], wrist)
    assert_alike(data.observations["images.top"], top)
    assert [note.split(": ")[1] for note in data.notes] == [
        "left out observation.effort, observation.images.deep, next.reward; a policy sees it with -c effort"
    ]
    some_of_it = read_demonstrations(f"{root}[1:3]", cameras=["top"], resize=SIZE[::-1])
    assert some_of_it.lengths.tolist() == LENGTHS[1:3]
    assert_alike(some_of_it.observations["images.top"], top[7:18])
    np.testing.assert_array_equal(some_of_it.actions, actions[7:18])
    (root / "meta" / "stats.json").unlink()
    data = read_demonstrations(root, resize=(8, 6))
    assert {data.observations[name].shape for name in ("images.top", "images.image")} == {(22, 6, 8, 3)}
    assert "no meta/stats.json" in data.notes[-1]


def test_lerobot_mistakes(tmp_path):
    good = tmp_path / "good"
    by_hand(good)
    data, episodes = "frames/chunk-001/part-002.parquet", "meta/episodes/chunk-000/file-002.parquet"
    film = "films/observation.images.top/chunk-000/file-001.mp4"
    parquet = {path: pq.read_table(good / path, partitioning=None) for path in (data, episodes)}
    action = parquet[data]["action"].to_pylist()

    def said(path, spoil, **asked):
        root = tmp_path / "bad"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(good, root)
        spoil(root / path)
        return mistake(read_demonstrations, root, strict=True, **asked)

    def info(**change):
        return said("", lambda root: change_info(root, **change))

    def cells(path, **columns):
        return said(path, lambda file: change_table(file, **columns))

    def remove(file):
        file.unlink()

    assert "has no 'features'" in info(features=None)
    assert "has no 'codebase_version'" in info(codebase_version=None)
    assert "meta/episodes.jsonl is missing" in info(codebase_version="v2.1")
    line = info(codebase_version="v1.6")
    assert "format v1.6, but vaekit reads v2 and v3" in line
    assert "convert_dataset_v1_to_v2.py" in line
    assert "format v4.0, but vaekit reads v2 and v3" in info(codebase_version="v4.0")
    assert "counts 9 episodes, meta/episodes lists 4" in info(total_episodes=9)
    assert "has no actions" in info(features={"timestamp": {"dtype": "float32", "shape": [1]}})
    assert "damaged" in info(features=[1, 2])
    assert "fps is 'fast'" in info(fps="fast")
    assert "damaged" in info(data_path="data/{episode_chunk}.parquet")
    assert "fps is 0" in info(fps=0)
    assert "damaged" in said("meta/info.json", lambda file: file.write_text("{"))
    assert "has no 'codebase_version'" in said("meta/info.json", lambda file: file.write_text("[]"))

    assert f"{data} is missing" in said(data, remove)
    assert "has no parquet file" in said("meta/episodes", shutil.rmtree)
    assert "counts 4 episodes, meta/episodes lists 2" in said(episodes, remove)
    line = said(film, remove)
    assert "file-001.mp4, a video of the camera 'top', is missing" in line
    assert "leave out that camera" in line
    for path, kind in {data: "a parquet file", episodes: "a parquet file", film: "a video"}.items():
        content = (good / path).read_bytes()
        for length in (0, 50, len(content) // 2, len(content) - 500):
            line = said(path, lambda file, cut=content[:length]: file.write_bytes(cut))
            assert f"{file_name(path)} is damaged, truncated or not {kind}" in line
    noise = np.random.default_rng(0).integers(0, 255, (9, *SIZE, 3), dtype=np.uint8)

    def scratch(file):
        mp4(file, noise)
        content = bytearray(file.read_bytes())
        middle = len(content) // 2
        content[middle : middle + 200] = bytes(200)
        file.write_bytes(content)

    assert "file-001.mp4 is damaged at 0." in said(film, scratch)
    frames = pictures(8)
    assert "has 3 of the 5 frames of episode 1 at 10 per second" in said(film, lambda file: mp4(file, frames[:7]))
    assert "pictures of the shape" in said(film, lambda file: mp4(file, frames[:, :20]))
    assert "no camera 'tpo'; did you mean 'top'" in said("", lambda root: None, cameras=["tpo"])
    assert "no camera 'deep'" in said("", lambda root: None, cameras=["deep"])  # depth is not a picture

    assert "has no column 'action'" in cells(data, action=None)
    assert "has no column 'length'" in cells(episodes, length=None)
    assert "has 3 frames and goes from 18 to 22" in cells(episodes, length=pa.array([3, 6]))
    assert "length of episode 3 is empty" in cells(episodes, length=pa.array([None, 6]))
    assert "has 3 of the 4 frames of episode 3" in cells(data, index=pa.array([*range(12, 21), 99]))
    line = cells(data, episode_index=pa.array([2] * 5 + [3] * 5))
    assert "counts a frame of episode 3 to episode 2" in line
    assert "'action' is empty in some frames" in cells(data, action=pa.array([None, *action[1:]]))
    assert "'action' has 2 numbers in one frame and 1 in another" in cells(data, action=pa.array([*action[:-1], [1.0]]))
    line = cells(data, action=pa.array([[*numbers, 0.0] for numbers in action]))
    assert "'actions' has the shape (2,) in episode 0 and (3,) in episode 2" in line
    line = cells(data, action=pa.array([*action[:-1], [1.0, None]]))
    assert "episode 3: 'actions' is nan at its frame 3, column 1" in line
    assert "'actions' is object" in cells(data, action=pa.array([["a", "b"]] * 10))
    pictures_lost = pa.array([{"bytes": b"no picture", "path": None}] * 10)
    assert "damaged" in cells(data, **{"observation.image": pictures_lost})
    assert read_demonstrations(good).episodes == 4  # nothing above touched it


# --- what a stranger may have put in


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n(a program) print\nshowpage\n"


@pytest.fixture
def ghostscript(tmp_path, monkeypatch):
    """A program of its name that says whether it was called."""
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin" / "gs"
    program.write_text(f"#!/bin/sh\necho called > {tmp_path}/called\necho 10.0\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)  # where it was looked for before
    return tmp_path / "called"


def test_no_picture_starts_another_program(tmp_path, ghostscript):
    path = hdf5(tmp_path / "episode_0.hdf5", frames=2, compress=True)
    with h5py.File(path, "a") as file:
        file["observations/images/side"] = np.stack([np.frombuffer(POSTSCRIPT, np.uint8)] * 2)
    assert "cannot identify" in mistake(read_demonstrations, path)
    by_hand(tmp_path / "lerobot")
    data = tmp_path / "lerobot" / "frames/chunk-001/part-002.parquet"
    rows = len(pq.read_table(data, partitioning=None))
    change_table(data, **{"observation.image": pa.array([{"bytes": POSTSCRIPT, "path": None}] * rows)})
    assert "cannot identify" in mistake(read_demonstrations, tmp_path / "lerobot", strict=True)
    assert not ghostscript.exists()


def test_no_episode_reads_files_beside_it(tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(np.arange(20, dtype=np.float32).tobytes())
    path = hdf5(tmp_path / "episode_0.hdf5", frames=5)
    with h5py.File(path, "a") as file:
        del file["action"]
        file.create_dataset("action", (5, 4), "f4", external=[(str(secret), 0, 80)])
    assert "another file" in mistake(read_demonstrations, path)
    hdf5(tmp_path / "other.hdf5", frames=5)
    with h5py.File(path, "a") as file:
        del file["action"]
        layout = h5py.VirtualLayout((5, 14), "f4")
        layout[:] = h5py.VirtualSource(str(tmp_path / "other.hdf5"), "action", (5, 14))
        file.create_virtual_dataset("action", layout)
    assert "another file" in mistake(read_demonstrations, path)


def test_a_video_is_no_list_of_other_files(tmp_path):
    by_hand(tmp_path)
    film = tmp_path / "films/observation.images.top/chunk-000/file-002.mp4"
    film.rename(tmp_path / "other.mp4")
    (film.parent / "other.mp4").write_bytes((tmp_path / "other.mp4").read_bytes())
    film.write_text("ffconcat version 1.0\nfile other.mp4\n")  # which FFmpeg would follow
    data = read_demonstrations(tmp_path)
    assert data.lengths.tolist() == LENGTHS[:2] + LENGTHS[3:], data.notes


@pytest.mark.parametrize("way", ["absolute", "../secret.png"])
def test_no_lerobot_folder_reads_files_beside_it(tmp_path, way):
    good, secret = tmp_path / "good", tmp_path / "secret.png"
    by_hand(good)
    Image.fromarray(pictures(1)[0]).save(secret)
    data = good / "frames/chunk-001/part-002.parquet"
    rows = len(pq.read_table(data, partitioning=None))
    cell = {"bytes": None, "path": str(secret) if way == "absolute" else way}
    change_table(
        data, **{"observation.image": pa.array([cell] * rows, pa.struct({"bytes": pa.binary(), "path": pa.string()}))}
    )
    assert "outside its folder" in mistake(read_demonstrations, good)
    for name in ("data_path", "video_path"):
        root = tmp_path / name
        by_hand(root)
        change_info(root, **{name: f"{good if way == 'absolute' else '../good'}/a"})
        assert "outside its folder" in mistake(read_demonstrations, root)


def file_name(path):
    return path.rsplit("/", 1)[1]


def test_lerobots_own_codec(tmp_path):
    write_demonstrations(some([4, 5], cameras=["top"]), tmp_path / "le")
    film = next((tmp_path / "le").rglob("*.mp4"))
    frames = np.repeat(np.repeat(pictures(9), 4, axis=1), 4, axis=2)  # AV1 encoders want more than a few pixels
    mp4(film, frames, fps=30, codec="libsvtav1", g="2", crf="30", preset="12")
    assert_alike(read_demonstrations(tmp_path / "le").observations["images.top"], frames)


# --- LeRobot, written by us


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=8),
    numbers=st.integers(1, 4),
    dtype=st.sampled_from([np.float32, np.float64]),
    fps=st.sampled_from([1, 29.97, 50.0]),
)
def test_round_trip(tmp_path, lengths, numbers, dtype, fps):
    shutil.rmtree(tmp_path / "out", ignore_errors=True)
    data = some(lengths, numbers, dtype=dtype)
    data.fps = fps
    write_demonstrations(data, tmp_path / "out")
    back = read_demonstrations(tmp_path / "out")
    assert (back.fps, back.actions.dtype, back.notes) == (fps, np.float32, [])
    data.actions, data.observations["state"] = data.actions.astype("f4"), data.observations["state"].astype("f4")
    assert_same(back, data)


@pytest.mark.parametrize("fps", [50.0, 29.97, 7.5])
def test_round_trip_with_cameras(tmp_path, fps):
    data = some([3, 1, 5, 9], cameras=["top", "wrist.left"])
    data.fps, data.action_names = fps, ["a", "b"]
    write_demonstrations(data, tmp_path / "new" / "out")
    back = read_demonstrations(tmp_path / "new" / "out")
    assert_same(back, data)
    assert (back.fps, back.action_names, back.name) == (fps, ["a", "b"], "out")
    assert_same(read_demonstrations(f"{tmp_path}/new/out[1:3]"), data[1:3])
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out"]


def test_pictures_of_odd_size(tmp_path):
    data = some([4])
    data.observations = {"images.top": np.full((4, 5, 7, 3), (200, 30, 60), np.uint8)}
    write_demonstrations(data, tmp_path / "out")
    pixels = read_demonstrations(tmp_path / "out").observations["images.top"]
    assert pixels.shape == (4, 5, 7, 3)
    assert np.abs(pixels.astype(int) - (200, 30, 60)).max() <= 4


def test_a_written_folder_is_what_lerobot_loads(tmp_path):
    """Each step of LeRobotDataset's own loading, with the packages it uses: pandas, datasets, timestamps of frames."""
    data = some([3, 4, 2], numbers=1, cameras=["top"])
    write_demonstrations(data, tmp_path / "out")
    root = tmp_path / "out"
    info = json.loads((root / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0"
    assert (info["fps"], type(info["fps"])) == (30, int)
    assert (info["total_episodes"], info["total_frames"], info["splits"]) == (3, 9, {"train": "0:3"})
    known = {"codebase_version", "fps", "features", "total_episodes", "total_frames", "total_tasks", "chunks_size"}
    known |= {"data_files_size_in_mb", "video_files_size_in_mb", "data_path", "video_path", "robot_type", "splits"}
    assert info.keys() == known

    tasks = pandas.read_parquet(root / "meta/tasks.parquet")
    assert tasks.iloc[0].name == "demonstrations"
    assert int(tasks.loc["demonstrations"].task_index) == 0

    columns = {}
    for key, feature in info["features"].items():
        value = datasets.Value(feature["dtype"]) if feature["dtype"] != "video" else None
        if value is not None:
            count = feature["shape"][0]
            columns[key] = value if feature["shape"] == [1] else datasets.Sequence(length=count, feature=value)
    cache = str(tmp_path / "cache")
    files = [str(path) for path in (root / "data").glob("*/*.parquet")]
    frames = datasets.Dataset.from_parquet(files, features=datasets.Features(columns), cache_dir=cache)
    np.testing.assert_array_equal(np.array(frames["action"], np.float32)[:, None], data.actions)
    np.testing.assert_array_equal(np.array(frames["observation.state"], np.float32), data.observations["state"])
    assert frames["index"][:] == list(range(9))
    assert frames["frame_index"][:] == [0, 1, 2, 0, 1, 2, 3, 0, 1]
    assert pq.ParquetFile(files[0]).num_row_groups == 3

    episodes = datasets.Dataset.from_parquet(
        [str(path) for path in (root / "meta/episodes").glob("*/*.parquet")], cache_dir=cache
    )
    assert episodes["dataset_to_index"][:] == [3, 7, 9]
    assert episodes["tasks"][0] == ["demonstrations"]
    film = root / info["video_path"].format(video_key="observation.images.top", chunk_index=0, file_index=0)
    with av.open(str(film)) as container:
        shown = np.array([float(frame.pts * frame.time_base) for frame in container.decode(video=0)])
    asked = [
        episodes[int(frame["episode_index"])]["videos/observation.images.top/from_timestamp"] + frame["timestamp"]
        for frame in frames
    ]
    assert np.abs(np.array(asked) - shown).max() < 1e-4  # LeRobot's tolerance_s

    stats = json.loads((root / "meta/stats.json").read_text())
    assert stats.keys() == info["features"].keys()
    state = data.observations["state"].astype(float)
    np.testing.assert_allclose(stats["observation.state"]["mean"], state.mean(0))
    np.testing.assert_allclose(stats["observation.state"]["std"], state.std(0))
    np.testing.assert_allclose(stats["observation.state"]["q90"], np.quantile(state, 0.9, axis=0))
    assert stats["action"]["count"] == [9]
    image = stats["observation.images.top"]
    assert np.shape(image["mean"]) == (3, 1, 1)
    np.testing.assert_allclose(np.ravel(image["mean"]), data.observations["images.top"].mean((0, 1, 2)) / 255)
    np.testing.assert_allclose(episodes[1]["stats/action/max"], data.actions[3:7].max(0))
    assert np.shape(episodes[0]["stats/observation.images.top/min"]) == (3, 1, 1)


def test_nothing_is_overwritten_and_nothing_is_left_behind(tmp_path, monkeypatch):
    data = some()
    taken = tmp_path / "taken"
    taken.mkdir()
    write_demonstrations(data, taken)  # an empty folder is no loss
    before = sorted((path, path.stat().st_mtime_ns) for path in taken.rglob("*"))
    assert "exists already" in mistake(write_demonstrations, data, taken)
    assert before == sorted((path, path.stat().st_mtime_ns) for path in taken.rglob("*"))
    (tmp_path / "file").write_text("mine")
    assert "exists already" in mistake(write_demonstrations, data, tmp_path / "file")
    assert "cannot write" in mistake(write_demonstrations, data, tmp_path / "file" / "below")

    data.actions = np.full((7, 2), 1e300)
    assert "'actions' is inf" in mistake(write_demonstrations, data, tmp_path / "out")
    data = some()
    data.observations["images.a/b"] = pictures(7)
    assert "without '/'" in mistake(write_demonstrations, data, tmp_path / "out")

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    (tmp_path / ".out.tmp" / "data").mkdir(parents=True)  # what a kill left of an earlier try
    monkeypatch.setattr(pq, "write_table", full)
    assert "No space left on device" in mistake(write_demonstrations, some(cameras=["top"]), tmp_path / "out")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "taken"]
