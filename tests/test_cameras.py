"""Pictures of cameras that stay in their videos until they are needed."""

import time
from dataclasses import replace

import av
import numpy as np
import pytest
import torch

from conftest import assert_same, fails, kill, mistake, start, vaekit, weights, write_settings
from recordings import SIZE, by_hand, by_hand_v2, mp4, pictures, some
from vaekit.deploy.explorer.rows import chosen_rows, codes_of
from vaekit.errors import Note
from vaekit.robots.chunks import Filmed, chunks_of
from vaekit.robots.datasets import read_demonstrations, write_demonstrations
from vaekit.robots.demonstrations import Demonstrations
from vaekit.robots.monitor import Monitor, features, observations_of
from vaekit.robots.policy import Policy
from vaekit.robots.reading import Asked
from vaekit.robots.reels import Video
from vaekit.robots.videos import Shot, find_pictures
from vaekit.runs.load import load
from vaekit.training.data import Data

LITTLE = 1000  # bytes of memory, in which no picture fits


def camera(source, memory, name="images.top", **options):
    return read_demonstrations(source, memory=memory, **options).observations[name]


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(0).integers(0, 255, (60, *SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("read", [by_hand, by_hand_v2])
@pytest.mark.parametrize("resize", [None, (20, 16)])
def test_a_frame_is_the_same_in_memory_and_from_its_video(tmp_path, read, resize):
    read(tmp_path)
    whole, video = camera(tmp_path, "2GiB", resize=resize), camera(tmp_path, LITTLE, resize=resize)
    assert isinstance(whole, np.ndarray)
    assert isinstance(video, Video)
    assert (video.shape, video.dtype, video.nbytes, len(video)) == (whole.shape, whole.dtype, whole.nbytes, len(whole))
    np.testing.assert_array_equal(video[:], whole)
    for frames in (3, -1, slice(4, 9), slice(None, None, -3), [5, 2, 5, 0], whole[:, 0, 0, 0] > 100):
        np.testing.assert_array_equal(video[frames], whole[frames])
    np.testing.assert_array_equal(np.stack([*video]), whole)
    np.testing.assert_array_equal(np.asarray(video), whole)


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"g": "2"}),
        ("libx264", {"g": "250", "bf": "3", "sc_threshold": "0"}),
        ("libx264", {"g": "12", "bf": "2", "sc_threshold": "0", "x264-params": "open-gop=1"}),
        ("libsvtav1", {"g": "2", "preset": "12"}),
        ("mpeg4", {"g": "7", "bf": "2"}),
    ],
)
def test_any_frames_of_any_codec(tmp_path, noise, codec, options):
    """Key frames may be far apart, and frames stored in another order than they are shown."""
    size = (64, 64) if codec == "libsvtav1" else SIZE  # its least
    frames = np.resize(noise, (60, *size, 3))
    mp4(tmp_path / "a.mp4", frames, codec=codec, **options)
    video = video_of(tmp_path / "a.mp4")
    whole = video[:]
    rng = np.random.default_rng(1)
    for _ in range(20):
        index = rng.choice(60, rng.integers(1, 6))
        np.testing.assert_array_equal(video[index], whole[index])
    assert video.apart <= int(options["g"])


def video_of(path, frames=60):
    return find_pictures(Asked("a", path.parent), "images.top", [Shot(0, path, 0.0, frames, 0)], 10.0)


def decoded(demonstrations):
    """The same with all pictures in memory."""
    return replace(demonstrations, observations={n: np.asarray(v) for n, v in demonstrations.observations.items()})


def same(lazy, whole):
    assert isinstance(lazy.observations["images.top"], Video)
    lazy = decoded(lazy)
    assert (lazy.numbers, lazy.fps, lazy.episode_ends.tolist()) == (
        whole.numbers,
        whole.fps,
        whole.episode_ends.tolist(),
    )
    np.testing.assert_array_equal(lazy.actions, whole.actions)
    for name, values in whole.observations.items():
        np.testing.assert_array_equal(lazy.observations[name], values)


CUT = np.array([1, 0, 2, 0])  # frames at the beginning of episodes


def test_demonstrations_are_chosen_and_joined_without_decoding(tmp_path):
    by_hand(tmp_path / "a")
    by_hand(tmp_path / "b")
    films = tmp_path / "a/films"
    whole, lazy, other = (read_demonstrations(tmp_path / "a", memory=memory) for memory in ("2GiB", LITTLE, LITTLE))
    films.rename(tmp_path / "away")  # whoever decodes now fails
    made = [lazy[[2, 0]], lazy[1:][0], Demonstrations.join([lazy, whole, lazy[2]])]
    made += [lazy.closed_up([1]), other.closed_up(cut=CUT)]  # which moves frames of vectors up in place
    other.check()
    assert other.describe() == whole.describe()
    assert "file-000.mp4 is damaged, truncated or not a video" in mistake(
        other.observations["images.top"].__getitem__, 0
    )
    (tmp_path / "away").rename(films)
    wanted = [whole[[2, 0]], whole[1:][0], Demonstrations.join([whole, whole, whole[2]])]
    wanted += [read_demonstrations(tmp_path / "a").closed_up(**how) for how in ({"left_out": [1]}, {"cut": CUT})]
    for one, other in zip(made, wanted, strict=True):
        same(one, other)
    sources = [str(tmp_path / "a"), f"{tmp_path / 'b'}[1:]"]
    same(read_demonstrations(sources, memory=LITTLE, trim=True), read_demonstrations(sources, trim=True))


def test_lazy_demonstrations_are_written(tmp_path):
    by_hand(tmp_path / "a")
    for memory, name in (("2GiB", "whole"), (LITTLE, "lazy")):
        write_demonstrations(read_demonstrations(tmp_path / "a", memory=memory), tmp_path / name)
    files = [path.relative_to(tmp_path / "whole") for path in (tmp_path / "whole").rglob("*") if path.is_file()]
    assert len(files) == 7
    for file in files:
        assert (tmp_path / "lazy" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


# --- videos that are missing or damaged


def cut(path):
    """A video whose index comes first, without its second half."""
    with av.open(str(path)) as old, av.open(str(path) + ".mp4", "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    content = path.with_name(path.name + ".mp4").read_bytes()
    path.write_bytes(content[: len(content) * 3 // 4])


FAULTS = {
    "missing": lambda path: path.unlink(),
    "no video": lambda path: path.write_bytes(b"no video"),
    "fewer frames": lambda path: mp4(path, pictures(5)),
    "empty": lambda path: path.write_bytes(b""),
    "cut": cut,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_is_wrong_with_a_video_is_known_before_training(tmp_path, fault):
    by_hand_v2(tmp_path, lengths=(5, 7, 4))
    film = tmp_path / "videos/chunk-000/observation.images.top/episode_000001.mp4"
    mp4(film, np.random.default_rng(0).integers(0, 255, (7, *SIZE, 3), dtype=np.uint8))
    FAULTS[fault](film)
    with pytest.warns(Note, match="left out 1 of 3 episodes: 1 "):
        whole = read_demonstrations(tmp_path)
    with pytest.warns(Note, match="left out 1 of 3 episodes: 1 "):
        lazy = read_demonstrations(tmp_path, memory=LITTLE)
    same(lazy, whole)
    if fault != "cut":  # which one library calls damaged and another one too short
        assert lazy.notes == whole.notes
    assert "episode_000001.mp4" in mistake(read_demonstrations, tmp_path, memory=LITTLE, strict=True)


def test_a_frame_that_is_damaged_is_named_where_it_is_decoded(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (7, *SIZE, 3), dtype=np.uint8)
    by_hand_v2(tmp_path / "data", lengths=(5, 7, 4, 9))
    film = tmp_path / "data/videos/chunk-000/observation.images.top/episode_000001.mp4"
    mp4(film, noise)
    content = bytearray(film.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 200] = bytes(200)
    film.write_bytes(content)
    with pytest.warns(Note, match="left out 1 of 4 episodes: 1 .*is damaged at 0."):
        read_demonstrations(tmp_path / "data")
    said = fails(*FIT, "--memory", "40KiB", "--out", tmp_path / "run", cwd=tmp_path)
    assert "episode_000001.mp4 is damaged at 0." in said


# --- learning

FIT = ["fit", "data", "--kind", "actions", "--size", "small", "--latent-dim", 2, "--chunk-size", 4, "--epochs", 2]
FIT += ["--batch-size", 8, "--backbone.shared", "true"]
MEMORY = 200 << 10


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """10 episodes of 3 or 4 frames of two cameras."""
    root = tmp_path_factory.mktemp("cameras")
    write_demonstrations(some([3, 4] * 5, cameras=["top", "side"]), root / "data")
    return root


def test_rows_are_those_of_memory(data):
    whole, lazy = (read_demonstrations(data / "data", memory=memory) for memory in ("2GiB", MEMORY))
    policy = Policy(2, size="small", chunk_size=4, epochs=1).fit(whole[:2])
    a = chunks_of(policy.kind_, policy.conditions_, whole, MEMORY)
    b = chunks_of(policy.kind_, policy.conditions_, lazy, MEMORY)
    assert isinstance(b, Filmed)
    assert isinstance(chunks_of(policy.kind_, policy.conditions_, lazy[:2], 2**31), Data)  # where it fits
    assert (len(a), a.event) == (len(b), b.event)
    index = torch.tensor([30, 3, 17, 18, 3])
    pairs = [(a[index], b[index]), (a[10:21], b[10:21])]
    pairs += [(a[:], Data(*(torch.cat([getattr(c, n) for c in b.chunks(7)]) for n in ("x", "mask")), {n: torch.cat([c.y[n] for c in b.chunks(7)]) for n in a.y}))]  # fmt: skip
    for one, other in pairs:
        assert torch.equal(one.x, other.x)
        assert torch.equal(one.mask, other.mask)
        assert one.y.keys() == other.y.keys()
        assert all(torch.equal(one.y[name], other.y[name]) for name in one.y)
    assert max(b.sizes) == 2
    assert set(b.ends.tolist()) >= set(whole.episode_ends)  # no group is of two episodes
    assert b.fingerprint == chunks_of(policy.kind_, policy.conditions_, lazy, MEMORY).fingerprint
    assert b.fingerprint != chunks_of(policy.kind_, policy.conditions_, lazy[::-1], MEMORY).fingerprint


def test_killed_and_resumed_it_ends_with_the_same_weights(data, tmp_path):
    fit = [*FIT, "--epochs", 4, "--memory", "200KiB", "--no-report"]
    fit[1] = data / "data"
    said = vaekit(*fit, "--out", tmp_path / "whole", check=0).stderr
    assert "the pictures of 35 frames stay in their videos: those of 12 frames at a time are decoded and shuffled, within --memory 200KiB" in said  # fmt: skip
    config = write_settings(tmp_path / "fast.yaml")
    process = start(*fit, "--out", tmp_path / "cut", "--config", config)
    while not (tmp_path / "cut" / "checkpoint.safetensors").exists():
        assert process.poll() is None
        time.sleep(0.02)
    time.sleep(0.1)
    assert process.poll() is None
    kill(process)
    vaekit("fit", "--resume", "--out", tmp_path / "cut", "--no-report", check=0)
    assert_same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def test_everything_that_looks_at_pictures_goes_in_pieces(data, tmp_path):
    """The same numbers as in memory, of a run that was trained within little memory."""
    fit = [*FIT, "--memory", "200KiB"]
    fit[1] = data / "data"
    vaekit(*fit, "--out", tmp_path / "run", check=0)
    assert (tmp_path / "run" / "report.html").exists()
    policy = load(tmp_path / "run")
    whole, lazy = (read_demonstrations(data / "data", memory=memory) for memory in ("2GiB", MEMORY))
    a, b = policy.evaluate(whole, k=2), policy.evaluate(lazy, k=2)
    assert a["iw_nll"] == pytest.approx(b["iw_nll"], rel=1e-4)
    assert a["elbo"] == pytest.approx(b["elbo"], rel=0.1)
    assert a["action_spread"] == pytest.approx(b["action_spread"], rel=1e-4)
    one, other = (Monitor.fit(policy, each, "disagreement", alpha=0.2) for each in (whole, lazy))
    np.testing.assert_allclose(one.calibration, other.calibration, rtol=1e-4)
    np.testing.assert_allclose(
        *(np.concatenate([features(policy, e) for e in observations_of(each)]) for each in (whole, lazy)), atol=1e-4
    )
    one, other = (chosen_rows(policy, each) for each in (whole, lazy))
    np.testing.assert_array_equal(one.numbers, other.numbers)
    np.testing.assert_allclose(codes_of(policy.fitted_, one), codes_of(policy.fitted_, other), atol=1e-4)
