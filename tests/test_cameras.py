"""Pictures of cameras that stay in their videos until they are needed."""

import numpy as np
import pytest
import torch

from conftest import fails, mistake, vaekit
from recordings import SIZE, assert_same, by_hand, by_hand_v2, mp4, pictures, robomimic, some
from vaekit.deploy.report import report_run
from vaekit.errors import Note, UserError
from vaekit.recipes.recipe import Recipe
from vaekit.robots.chunks import Filmed, chunks_of
from vaekit.robots.datasets import read_demonstrations, write_demonstrations
from vaekit.robots.demonstrations import Demonstrations
from vaekit.robots.policy import Policy
from vaekit.robots.reels import Film, Video
from vaekit.runs.load import load

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
    from vaekit.robots.reading import Asked
    from vaekit.robots.videos import Shot, find_pictures

    return find_pictures(Asked("a", path.parent), "images.top", [Shot(0, path, 0.0, frames, 0)], 10.0)
