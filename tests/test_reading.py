"""Demonstrations as people have them: older formats, other names, episodes that cannot be used, several sets."""

import io
import shutil
from dataclasses import replace
from fractions import Fraction

import av
import h5py
import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from conftest import fails, mistake, vaekit
from recordings import (
    assert_alike,
    assert_same,
    by_hand,
    by_hand_v2,
    change_info,
    change_table,
    hdf5,
    mp4,
    pictures,
    robomimic,
)
from vaekit.deploy.report import report_run
from vaekit.errors import Note, UserError
from vaekit.recipes.evaluate import evaluate
from vaekit.recipes.recipe import Recipe
from vaekit.recipes.source import held_out
from vaekit.robots import reading, videos
from vaekit.robots.datasets import read_demonstrations, write_demonstrations
from vaekit.robots.demonstrations import Demonstrations
from vaekit.robots.policy import Policy
from vaekit.runs.describe import describe_run
from vaekit.runs.load import load

# --- LeRobot v2


@pytest.mark.parametrize("version", ["v2.0", "v2.1"])
def test_a_lerobot_folder_of_version_2(tmp_path, version):
    actions, state, top = by_hand_v2(tmp_path, version=version)
    data = read_demonstrations(tmp_path)
    assert (data.lengths.tolist(), data.fps, data.action_names) == ([5, 7, 4], 10.0, ["a", "b"])
    np.testing.assert_array_equal(data.actions, actions)
    np.testing.assert_array_equal(data.observations["state"], state)
    assert_alike(data.observations["images.top"], top)
    assert_same(read_demonstrations(f"{tmp_path}[1:]"), data[1:])


def test_only_the_videos_of_episodes_that_are_asked_for_are_opened(tmp_path):
    by_hand_v2(tmp_path)
    (tmp_path / "videos/chunk-000/observation.images.top/episode_000001.mp4").unlink()
    assert read_demonstrations(f"{tmp_path}[0,2]", strict=True).lengths.tolist() == [5, 4]
    with pytest.warns(
        Note, match=r"left out 1 of 3 episodes: 1 \(.*episode_000001.mp4, a video of the camera 'top', is missing"
    ):
        assert read_demonstrations(tmp_path).lengths.tolist() == [5, 4]
    assert "episode 1: " in mistake(read_demonstrations, tmp_path, strict=True)


def test_mistakes_of_version_2(tmp_path):
    by_hand_v2(tmp_path)
    data = tmp_path / "data/chunk-000/episode_000001.parquet"
    table = pq.read_table(data)
    pq.write_table(table.slice(0, 6), data)
    assert "has 6 of the 7 frames of episode 1" in mistake(read_demonstrations, tmp_path, strict=True)
    pq.write_table(table.append_column("x", pa.array(range(7))).drop_columns("action"), data)
    assert "has no column 'action'" in mistake(read_demonstrations, tmp_path, strict=True)
    lines = tmp_path / "meta" / "episodes.jsonl"
    lines.write_text(lines.read_text()[:-20])
    assert "is damaged, truncated or not JSON lines" in mistake(read_demonstrations, tmp_path)
    (tmp_path / "v1" / "meta_data").mkdir(parents=True)
    (tmp_path / "v1" / "meta_data" / "info.json").write_text('{"codebase_version": "v1.6", "fps": 30}')
    assert "convert_dataset_v1_to_v2.py" in mistake(read_demonstrations, tmp_path / "v1")


# --- episodes that cannot be used


def test_episodes_that_cannot_be_used_are_left_out_with_a_note(tmp_path):
    by_hand(tmp_path)
    whole = read_demonstrations(tmp_path)
    films = tmp_path / "films/observation.images.top/chunk-000"
    shutil.copy(films / "file-002.mp4", tmp_path / "kept.mp4")
    mp4(films / "file-002.mp4", pictures(5))
    with pytest.warns(Note, match=r"left out 1 of 4 episodes: 2 \(.*file-002.mp4 has 5 of the 6 frames of episode 2"):
        data = read_demonstrations(tmp_path)
    assert data.numbers == [0, 1, 3]
    assert_same(data, whole[[0, 1, 3]])
    assert_same(read_demonstrations(f"{tmp_path}[!2]", strict=True), whole[[0, 1, 3]])

    shutil.copy(tmp_path / "kept.mp4", films / "file-002.mp4")
    data_file = tmp_path / "frames/chunk-000/part-000.parquet"
    state = pq.read_table(data_file, partitioning=None)["observation.state"].to_pylist()
    state[8] = [0.0, float("nan"), 0.0]
    change_table(data_file, **{"observation.state": pa.array(state)})
    with pytest.warns(Note, match=r"1 \('state' is nan at its frame 1, column 1\)"):
        assert_same(read_demonstrations(tmp_path), whole[[0, 2, 3]])
    data_file.unlink()
    with pytest.warns(Note, match=r"left out 2 of 4 episodes: 0, 1 \(.*part-000.parquet is missing"):
        assert_same(read_demonstrations(tmp_path), whole[[2, 3]])


def test_an_episode_whose_metadata_are_wrong_is_left_out(tmp_path):
    by_hand(tmp_path)
    whole, file = read_demonstrations(tmp_path), tmp_path / "meta/episodes/chunk-000/file-000.parquet"
    column = "videos/observation.images.top/from_timestamp"
    begins = pq.read_table(file, partitioning=None)[column].to_pylist()  # of episodes 1 and 0
    change_table(file, **{column: pa.array([None, begins[1]])})
    with pytest.warns(Note, match="from_timestamp of episode 1 is empty"):
        assert_same(read_demonstrations(tmp_path), whole[[0, 2, 3]])
    change_table(file, **{column: pa.array([begins[0] - 0.2, begins[1]])})
    with pytest.warns(Note, match=r"1, 3 \(.*episode 1 begins at 0.200 seconds, before episode 3 ends at 0.400"):
        assert_same(read_demonstrations(tmp_path), whole[[0, 2]])


def test_episodes_that_were_removed_by_hand(tmp_path):
    by_hand_v2(tmp_path)
    whole, lines = read_demonstrations(tmp_path), tmp_path / "meta" / "episodes.jsonl"
    first, _, last = lines.read_text().splitlines()
    lines.write_text(f"{first}\n{last}\n")
    with pytest.warns(Note, match="counts 3 episodes, meta/episodes.jsonl lists 2"):
        assert_same(read_demonstrations(tmp_path), whole[[0, 2]])
    assert "lists 2: get the whole dataset again" in mistake(read_demonstrations, tmp_path, strict=True)


def test_a_video_at_another_rate_is_named(tmp_path):
    by_hand_v2(tmp_path, lengths=[3, 25])
    mp4(tmp_path / "videos/chunk-000/observation.images.top/episode_000001.mp4", pictures(25), fps=Fraction(96, 10))
    with pytest.warns(Note, match="at 10 per second, and the video runs at 9.6"):
        assert read_demonstrations(tmp_path).lengths.tolist() == [3]


def test_hdf5_episodes_that_cannot_be_used(tmp_path):
    for i in range(5):
        hdf5(tmp_path / f"episode_{i}.hdf5", first=i)
    whole = read_demonstrations(tmp_path)
    (tmp_path / "episode_1.hdf5").write_bytes(b"no HDF5")
    with h5py.File(tmp_path / "episode_2.hdf5", "a") as file:
        del file["observations/images/top"]
    with h5py.File(tmp_path / "episode_4.hdf5", "a") as file:
        file["observations/qpos"][3, 2] = np.nan
    with pytest.warns(Note, match=r"left out 3 of 5 episodes: 1 \(.*damaged.*\); 2 \(.*images/top.*\); 4 \(.*nan.*\)"):
        assert_same(read_demonstrations(tmp_path), whole[[0, 3]])
    assert "episode 2: " in mistake(read_demonstrations, f"{tmp_path}[2:]", strict=True)
    assert "no HDF5" not in mistake(read_demonstrations, f"{tmp_path}[1]")


def test_npz_episodes_that_cannot_be_used(tmp_path):
    state = np.arange(9.0)[:, None]
    state[4] = np.inf
    np.savez(tmp_path / "a.npz", actions=np.arange(9.0)[:, None], state=state, episode_ends=[3, 6, 9])
    with pytest.warns(Note, match=r"left out 1 of 3 episodes: 1 \('state' is inf at its frame 1"):
        data = read_demonstrations(tmp_path / "a.npz")
    assert (data.actions.ravel().tolist(), data.lengths.tolist()) == ([0, 1, 2, 6, 7, 8], [3, 3])


def test_long_videos_are_not_decoded_from_their_beginning(tmp_path, monkeypatch):
    """One episode of a file of many: only what is near it is decoded."""
    frames = pictures(200) // 4
    frames[150:155, :, :5] = 250
    mp4(tmp_path / "a.mp4", frames, codec="libx264", g="10", crf="5")
    shots = [videos.Shot(0, tmp_path / "a.mp4", 15.0, 5, 0), videos.Shot(1, tmp_path / "a.mp4", 2.0, 5, 5)]
    decoded = []

    def counted(path, *args, open=av.open, **kwargs):
        container = open(path, *args, **kwargs)
        decode = container.decode

        class Counting:
            def __getattr__(self, name):
                return getattr(container, name)

            def __enter__(self):
                return self

            def __exit__(self, *error):
                container.close()

            def decode(self, stream):
                for frame in decode(stream):
                    decoded.append(frame.pts)
                    yield frame

        return Counting()

    monkeypatch.setattr(av, "open", counted)
    found = videos.find_pictures(reading.Asked("a", tmp_path), "top", shots, 10.0)[:]
    np.testing.assert_allclose(found[:5, 4:-4, :4].mean(), 250, atol=8)
    assert_alike(found[5:], frames[20:25])
    assert len(decoded) < 60


# --- frames in which nothing happens yet


def test_idle_frames_are_counted_noted_and_left_out(tmp_path):
    """Of three episodes the second stands still for 30 frames, the third for all but its last, with the noise of a hand."""
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, 41)[1:, None] * [1.0, -2.0]
    actions = np.concatenate([ramp, np.zeros((30, 2)), ramp, np.zeros((10, 2)), ramp[-1:]])
    actions[40:70] += 0.001 * rng.normal(size=(30, 2))
    at = np.arange(len(actions))[:, None]
    np.savez(tmp_path / "a.npz", actions=actions, state=at, episode_ends=[40, 110, 121])
    data = read_demonstrations(tmp_path / "a.npz")
    assert data.idle.tolist() == [0, 29, 9]
    policy = Policy(0, size="small", epochs=1, chunk_size=3)
    with pytest.warns(
        Note, match=r"2 of 3 episodes .* do not change: 38 frames, 31% of all \(the most, 29, in episode 1\)"
    ):
        policy.fit(data)
    trimmed = read_demonstrations(tmp_path / "a.npz", trim=True)
    kept = np.r_[0:40, 69:110, 119:121]
    np.testing.assert_array_equal(trimmed.observations["state"], at[kept])
    np.testing.assert_array_equal(trimmed.actions, actions[kept])
    assert (trimmed.lengths.tolist(), trimmed.idle.tolist()) == ([40, 41, 2], [0, 0, 0])


# --- names


def test_names_as_others_have_them(tmp_path):
    actions, state, _ = by_hand_v2(tmp_path)
    text = (tmp_path / "meta" / "info.json").read_text()
    for i in range(3):
        file = tmp_path / f"data/chunk-000/episode_{i:06d}.parquet"
        table = pq.read_table(file)
        names = {"action": "actions", "observation.state": "state"}
        pq.write_table(table.rename_columns([names.get(name, name) for name in table.column_names]), file)
    camera = tmp_path / "videos/chunk-000/observation.images.top"
    camera.rename(camera.with_name("wrist_image"))
    text = text.replace('"action"', '"actions"').replace("observation.state", "state")
    (tmp_path / "meta" / "info.json").write_text(text.replace("observation.images.top", "wrist_image"))
    with pytest.warns(Note, match="took actions for 'actions', state for 'state', wrist_image for 'wrist_image'"):
        data = read_demonstrations(tmp_path)
    assert list(data.observations) == ["state", "images.wrist_image"]
    np.testing.assert_array_equal(data.actions, actions)
    named = read_demonstrations(
        tmp_path, map={"state": "velocity", "action": "actions+state", "images.top": "wrist_image"}, strict=True
    )
    np.testing.assert_array_equal(named.observations["state"], 2 * state)
    np.testing.assert_array_equal(named.actions, np.hstack([actions, state]))
    assert list(named.observations) == ["state", "images.top"]


def test_the_base_of_a_mobile_robot(tmp_path):
    path = hdf5(tmp_path / "episode_0.hdf5", base_action=np.full((5, 2), 9.0))
    with pytest.warns(Note, match=r"--map action=action\+base_action makes it a part of the actions"):
        assert read_demonstrations(path).actions.shape == (5, 14)
    data = read_demonstrations(path, map={"action": "action+base_action"})
    assert (data.actions.shape, data.actions[3, 14:].tolist()) == ((5, 16), [9, 9])


def test_names_that_are_not_there(tmp_path):
    by_hand_v2(tmp_path)
    said = mistake(read_demonstrations, tmp_path, map={"state": "observation.velocitie"})
    assert "no field 'observation.velocitie' to map to 'state'; did you mean 'observation.velocity'" in said
    said = mistake(read_demonstrations, tmp_path, map={"state": "observation.state+top"})
    assert "neither one vector per frame nor one camera" in said
    assert "no observation 'effort'" in mistake(read_demonstrations, tmp_path, also=["effort"])
    assert "did you mean 'images.top'" in mistake(read_demonstrations, tmp_path, also=["image.top"])
    change_info(tmp_path, features={"observation.images.top": {"dtype": "video", "shape": [24, 34, 3]}})
    said = mistake(read_demonstrations, tmp_path)
    assert "has no actions (known: observation.images.top): name them with --map action=NAME" in said


def test_other_vectors_are_read_where_they_are_asked_for(tmp_path):
    _, state, _ = by_hand_v2(tmp_path)
    with pytest.warns(Note, match="left out observation.velocity; a policy sees it with -c velocity"):
        assert "velocity" not in read_demonstrations(tmp_path).observations
    data = read_demonstrations(tmp_path, also=["velocity"], cameras=False)
    np.testing.assert_array_equal(data.observations["velocity"], 2 * state)
    hdf5(tmp_path / "episode_0.hdf5")
    assert read_demonstrations(tmp_path / "episode_0.hdf5", also=["velocity"]).observations["velocity"].shape == (5, 14)
    assert read_demonstrations(tmp_path / "episode_0.hdf5", also=["qvel"]).observations["qvel"].shape == (5, 14)


# --- HDF5 of others


def test_robomimic(tmp_path):
    path = robomimic(tmp_path / "lift.hdf5", [5, 4] * 6)
    with pytest.warns(Note, match="took actions for 'actions', obs/robot0_eef_pos"):
        data = read_demonstrations(path)
    assert (data.lengths.tolist(), data.fps, data.actions.shape) == ([5, 4] * 6, 20.0, (54, 2))
    assert data.actions[data.episode_starts, 0].tolist() == list(range(12))  # demo_10 comes after demo_9
    expected = [10.0] * 3 + [20.0] * 4 + [30.0] * 2
    np.testing.assert_array_equal(data.observations["state"][:5], [expected] * 5)
    np.testing.assert_array_equal(data.observations["environment_state"][:5], np.full((5, 5), 40.0))
    np.testing.assert_array_equal(data.observations["images.agentview_image"][:5], pictures(5))
    assert set(data.tasks) == {"do as in lift"}
    one = read_demonstrations(f"{path}[-1]", map={"state": "robot0_eef_pos"})
    np.testing.assert_array_equal(one.observations["state"], np.full((4, 3), 21.0))
    assert "gives its frames per second itself, 20" in mistake(read_demonstrations, path, fps=30)


def test_files_of_other_names_and_the_rate_of_those_that_do_not_tell(tmp_path):
    for i in (10, 9):
        hdf5(tmp_path / f"demo_{i}.h5", frames=i, first=i)
    (tmp_path / "notes.txt").write_text("")
    data = read_demonstrations(tmp_path, fps=30)
    assert (data.lengths.tolist(), data.fps) == ([9, 10], 30)
    assert not any("frames per second" in note for note in data.notes)
    assert any("50; --fps changes that" in note for note in read_demonstrations(tmp_path).notes)


def test_groups_by_another_name_with_an_observation_more_than_actions(tmp_path):
    """As ManiSkill has them, pictures as files elsewhere than under images/."""
    jpegs = [io.BytesIO(), io.BytesIO(), io.BytesIO()]
    for picture, jpeg in zip(pictures(3), jpegs, strict=True):
        Image.fromarray(picture).save(jpeg, "jpeg", quality=95)
    with h5py.File(tmp_path / "trajectory.h5", "w") as file:
        for i in range(11):
            file[f"traj_{i}/actions"] = np.full((2, 4), i)
            file[f"traj_{i}/obs/agent/qpos"] = np.full((3, 5), i)
            file[f"traj_{i}/obs/camera/rgb"] = np.array([jpeg.getvalue() for jpeg in jpegs])
    data = read_demonstrations(tmp_path / "trajectory.h5", map={"state": "obs/agent/qpos"})
    assert data.actions[::2, 0].tolist() == data.observations["state"][1::2, 4].tolist() == list(range(11))
    assert_alike(data.observations["images.camera.rgb"][:2], pictures(2))


def test_pictures_whose_colours_come_first(tmp_path):
    top = np.moveaxis(pictures(5), 3, 1)
    path = hdf5(tmp_path / "episode_0.hdf5", **{"observations/images/side": top})
    np.testing.assert_array_equal(read_demonstrations(path).observations["images.side"], pictures(5))
    at = np.zeros((5, 1))
    np.savez(tmp_path / "a.npz", actions=at, state=at, episode_ends=[5], **{"images.top": top})
    data = read_demonstrations(tmp_path / "a.npz", resize=(34, 24))
    np.testing.assert_array_equal(data.observations["images.top"], pictures(5))


def test_no_group_of_another_file_is_read(tmp_path):
    robomimic(tmp_path / "secret.h5")
    with h5py.File(tmp_path / "a.hdf5", "w") as file:
        file["data"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "/data")
    assert "has no actions" in mistake(read_demonstrations, tmp_path / "a.hdf5")
    for i in range(3):
        hdf5(tmp_path / f"episode_{i}.hdf5")
    (tmp_path / "a.hdf5").unlink()
    (tmp_path / "secret.h5").rename(tmp_path / "secret")
    with h5py.File(tmp_path / "episode_1.hdf5", "a") as file:
        del file["action"]
        file["action"] = h5py.ExternalLink(str(tmp_path / "secret"), "/data/demo_0/actions")
    with pytest.warns(Note, match=r"left out 1 of 3 episodes: 1 \(.*has no 'action'"):
        assert read_demonstrations(tmp_path).episodes == 2


def test_formats_that_are_not_read_are_named(tmp_path):
    (tmp_path / "pusht.zarr").mkdir()
    assert "numpy.savez('pusht.npz'" in mistake(read_demonstrations, tmp_path / "pusht.zarr")
    (tmp_path / "pusht.zarr.zip").write_bytes(b"")
    assert "is a zarr store" in mistake(read_demonstrations, tmp_path / "pusht.zarr.zip")
    (tmp_path / "rlds" / "1.0.0").mkdir(parents=True)
    (tmp_path / "rlds" / "1.0.0" / "a-train.tfrecord-00000-of-00001").write_bytes(b"")
    assert "RLDS" in mistake(read_demonstrations, tmp_path / "rlds")
    said = mistake(read_demonstrations, "lerobot/pusht")
    assert "hf download lerobot/pusht --repo-type dataset --local-dir pusht" in said
    by_hand_v2(tmp_path / "sets" / "monday")
    assert "such as " + str(tmp_path / "sets" / "monday") in mistake(read_demonstrations, tmp_path / "sets")
    assert "no demonstrations to join" in mistake(read_demonstrations, [])


def test_pictures_of_two_sizes_are_refused_whichever_comes_first(tmp_path):
    by_hand_v2(tmp_path)
    for i in (0, 2):
        shutil.rmtree(tmp_path)
        by_hand_v2(tmp_path)
        film = tmp_path / f"videos/chunk-000/observation.images.top/episode_{i:06d}.mp4"
        mp4(film, np.repeat(pictures([5, 7, 4][i]), 2, axis=1))
        assert "--resize WIDTHxHEIGHT gives them one size" in mistake(read_demonstrations, tmp_path)
        assert read_demonstrations(tmp_path, resize=(8, 6)).episodes == 3


# --- tasks


def test_tasks_are_read_and_written(tmp_path):
    by_hand_v2(tmp_path / "two", tasks=("pick it up", "put it down"))
    data = read_demonstrations(tmp_path / "two")
    words = ["pick it up"] * 5 + ["put it down"] * 7 + ["pick it up"] * 4
    assert data.tasks.tolist() == words
    assert data[1].tasks.tolist() == ["put it down"] * 7
    write_demonstrations(data, tmp_path / "copy")
    assert read_demonstrations(tmp_path / "copy").tasks.tolist() == words
    tasks = pandas.read_parquet(tmp_path / "copy" / "meta" / "tasks.parquet")
    assert tasks.loc["put it down"].task_index == 1
    films = tmp_path / "two/videos/chunk-000/observation.images.top"
    (films / "episode_000000.mp4").unlink()  # the words move with their frames
    assert read_demonstrations(tmp_path / "two").tasks.tolist() == words[5:]
    assert "2 episodes of 2 tasks, 11 frames" in read_demonstrations(tmp_path / "two").describe()
    at = np.zeros((3, 1))
    np.savez(tmp_path / "a.npz", actions=at, state=at, episode_ends=[2, 3], tasks=["up", "up", "down"])
    assert read_demonstrations(f"{tmp_path}/a.npz[1]", fps=5).tasks.tolist() == ["down"]
    for name in ("one", "two"):
        robomimic(tmp_path / f"{name}.hdf5", [3])
    (tmp_path / "two").rename(tmp_path / "elsewhere")
    (tmp_path / "libero").mkdir()
    for name in ("one", "two"):
        (tmp_path / f"{name}.hdf5").rename(tmp_path / "libero" / f"{name}.hdf5")
    assert read_demonstrations(tmp_path / "libero").tasks.tolist() == ["do as in one"] * 3 + ["do as in two"] * 3


# --- several sets


def test_several_sets_are_one(tmp_path):
    by_hand_v2(tmp_path / "a", tasks=("pick",))
    by_hand_v2(tmp_path / "b", lengths=[3, 4], tasks=("place",))
    a, b = (read_demonstrations(tmp_path / name, also=["velocity"]) for name in "ab")
    both = read_demonstrations([tmp_path / "a", f"{tmp_path}/b[1]"], also=["velocity"])
    assert_same(both[:3], a)
    assert_same(both[3], b[1])
    assert both.tasks.tolist() == ["pick"] * 16 + ["place"] * 4
    assert both.action_names == ["a", "b"]
    del b.observations["images.top"]
    with pytest.warns(Note, match="left out images.top, which not all of a and b have"):
        assert list(Demonstrations.join([a, b]).observations) == ["state", "velocity"]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (dict(fps=15.0), "a has 10 frames per second and b 15"),
        (dict(actions=np.zeros((7, 3))), r"a frame of 'actions' has the shape \(2,\) in a and \(3,\) in b"),
        (dict(action_names=["a", "c"]), "have different names, such as b and c"),
        (dict(observations={"environment_state": np.zeros((7, 1))}), "a and b have no observation in common"),
        (
            dict(observations={"images.top": np.zeros((7, 9, 9, 3), np.uint8)}),
            "--resize WIDTHxHEIGHT gives them one size",
        ),
    ],
)
def test_sets_that_cannot_be_one(tmp_path, change, says):
    by_hand_v2(tmp_path / "a")
    by_hand_v2(tmp_path / "b", lengths=[3, 4])
    a, b = (read_demonstrations(tmp_path / name) for name in "ab")
    with pytest.raises(UserError, match=says):
        Demonstrations.join([a, replace(b, **change)])


def test_the_command_line_takes_several_sets_and_names(tmp_path):
    for name in "ab":
        by_hand_v2(tmp_path / name)
    line = ["fit", f"{tmp_path}/a", f"{tmp_path}/b[!0]", "--kind", "actions", "--map", "state=velocity,images.up=top"]
    line += ["--map", "action=action+observation.state", "--size", "small", "--print-config"]
    (tmp_path / "recipe.yaml").write_text(vaekit(*line, check=0).stdout)
    recipe = Recipe.read(tmp_path / "recipe.yaml")
    assert recipe.source == [f"{tmp_path}/a", f"{tmp_path}/b[!0]"]
    data = recipe.read_source()
    assert (data.lengths.tolist(), data.actions.shape[1], list(data.observations)) == (
        [5, 7, 4, 7, 4],
        4,
        ["state", "images.up"],
    )
    assert "--map takes NAME=KEY" in fails(*line, "--map", "state")
    del recipe.settings["kind"]
    assert "--map is for --kind actions: add that" in mistake(recipe.read_source)
    recipe.settings["kind"] = "series"
    assert "--map is not for --kind series: leave it out" in mistake(recipe.read_source)
    del recipe.settings["kind"]
    recipe.map = None
    assert "only --kind actions takes several" in mistake(recipe.read_source)


def test_a_run_of_several_sets_is_read_as_it_was_trained(tmp_path):
    for name in "ab":
        by_hand_v2(tmp_path / name, lengths=[6, 7], tasks=(f"do {name}", "do it"))
    recipe = Recipe([f"{tmp_path}/a", f"{tmp_path}/b"], ["state", "effort", "task"])
    recipe.map = {"effort": "velocity"}
    tiny = {"width": 16, "heads": 2, "hidden": 32, "layers": 1, "posterior_layers": 1}
    recipe.settings = {"kind": "actions", "size": tiny, "latent_dim": 2, "epochs": 1, "chunk_size": 3, "execute": 1}
    folder, policy = recipe.train(tmp_path / "run", say=lambda line: None)
    assert policy.conditions_.named["task"].classes == ["do a", "do b", "do it"]
    again = load(folder)
    assert again.data_["source"] == [f"{tmp_path}/a", f"{tmp_path}/b"]
    found = held_out(again)
    assert found.lengths.tolist() == [6, 7, 6, 7]
    assert list(found.observations) == ["state", "effort"]
    assert np.isfinite(evaluate(folder, again, found, 2)["elbo"])
    assert "task (3)" in report_run(folder, again).read_text()
    assert f"from {tmp_path}/a and {tmp_path}/b" in describe_run(folder)


# --- memory


def test_a_set_that_hardly_fits_in_memory_is_told_of_before_it_is_read(tmp_path, monkeypatch):
    hdf5(tmp_path / "episode_0.hdf5")
    assert 1e6 < reading.free_memory() < 1e15
    monkeypatch.setattr(reading, "free_memory", lambda: 20_000.0)
    with pytest.warns(Note, match="needs 0.0 GB of memory, and 0.0 GB are free: smaller pictures"):
        read_demonstrations(tmp_path)
    assert reading.free_memory.__wrapped__() > 1e6 if hasattr(reading.free_memory, "__wrapped__") else True


FLAGS = [0, 0, 1, 0, 1, 0, 0]


@pytest.mark.parametrize(
    "told",
    [
        {"terminals": FLAGS},
        {"terminals": [0, 0, 1, 0, 0, 0, 0], "timeouts": [0, 0, 0, 0, 1, 0, 1]},
        {"terminations": np.array(FLAGS)[:, None] > 0, "truncations": np.zeros((7, 1), bool)},
        {"episode_index": [4, 4, 4, 7, 7, 0, 0]},
        {"episode": [0, 0, 0, 1, 1, 2, 2]},
    ],
    ids=lambda told: "+".join(told),
)
def test_ends_of_episodes_are_told_by_frames(told, tmp_path):
    at = np.arange(7.0)[:, None]
    told = {name: np.asarray(values) for name, values in told.items()}
    np.savez(tmp_path / "a.npz", actions=at, observations=at, **told)
    sources = ["a.npz"]
    if "episode" not in next(iter(told)):
        with h5py.File(tmp_path / "a.hdf5", "w") as file:
            file.attrs["fps"] = 20
            for name, values in {"actions": at, "observations": at, **told}.items():
                file[name] = values
        sources.append("a.hdf5")
    for source in sources:
        read = read_demonstrations(tmp_path / source)
        assert read.episode_ends.tolist() == [3, 5, 7]
        assert read.actions.ravel().tolist() == at.ravel().tolist()
        assert read.observations["state"].ravel().tolist() == at.ravel().tolist()
        assert read.fps == (20 if source == "a.hdf5" else 50)
        one = read_demonstrations(f"{tmp_path / source}[1]")
        assert one.actions.ravel().tolist() == [3, 4]
