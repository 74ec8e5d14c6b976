"""Reading the pictures of episodes from video files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Lock
from types import ModuleType
from typing import Any

import numpy as np

from vaekit.errors import UserError, extra_needed
from vaekit.robots.demonstrations import CAMERA
from vaekit.robots.reading import Asked, DatasetError
from vaekit.show.track import track
from vaekit.sources.base import decoding
from vaekit.threads import OnAllCores

RUN = 1000  # frames that a core decodes at a time; a run begins at the last key frame before it, and some are far apart
AGAIN = "get the whole dataset again"


@dataclass
class Shot:
    """The pictures of an episode in a video file, which may hold those of other episodes too."""

    episode: int  # its number
    path: Path
    begins: float  # seconds from the beginning of the video
    frames: int
    first: int  # the row of the array that its first picture goes to

    def ends(self, fps: float) -> float:
        return self.begins + self.frames / fps


def av_package() -> ModuleType:
    try:
        import av
    except ImportError as error:
        raise extra_needed("robots", "av") from error
    return av


def read_videos(asked: Asked, camera: str, shots: Sequence[Shot], fps: float) -> np.ndarray:
    """The pictures of all shots, (T, height, width, 3) bytes. Episodes with missing pictures are left out of `asked`."""
    av_package()  # raise here: a missing package is not an episode's fault
    film = _Film(asked, camera.removeprefix(CAMERA), fps, sum(shot.frames for shot in shots))
    files: dict[Path, list[Shot]] = {}
    for shot in shots:
        files.setdefault(shot.path, []).append(shot)
    for path, members in files.items():
        members.sort(key=lambda shot: shot.begins)
        _check_overlap(asked, path, members, fps)
    runs = [(path, run) for path, members in files.items() for run in _runs(members, fps)]
    for _ in track(OnAllCores(film.read_run, runs), "decode"):
        pass
    for members in files.values():
        for shot in members:
            film.check(shot)
    return film.pictures


def _check_overlap(asked: Asked, path: Path, shots: Sequence[Shot], fps: float) -> None:
    """Leave out episodes that have pictures in common."""
    for a, b in pairwise(shots):
        if b.begins + 0.5 / fps < a.ends(fps):
            begins = f"episode {b.episode} begins at {b.begins:.3f} seconds"
            why = f"{path}: {begins}, before episode {a.episode} ends at {a.ends(fps):.3f}: {AGAIN}"
            for shot in (a, b):
                asked.leave_out(shot.episode, UserError(why))


class _Film:
    """The array of pictures while videos are decoded."""

    def __init__(self, asked: Asked, camera: str, fps: float, frames: int):
        self.asked, self.camera, self.fps = asked, camera, fps
        self.pictures = np.empty((frames, 0, 0, 3), np.uint8)
        self.seen = np.zeros(frames, bool)
        self.rates: dict[Path, float] = {}  # of the files that were read
        self.damaged: dict[int, str] = {}  # the number of an episode -> where
        self.first = Lock()  # held while the array is made

    def read_run(self, run: tuple[Path, list[Shot]]) -> None:
        """Decode the pictures of shots that follow each other in a file, and keep in mind what is damaged."""
        path, shots = run
        try:
            self.read(path, shots)
        except DatasetError:
            raise
        except UserError as error:
            for shot in shots:
                self.damaged.setdefault(shot.episode, str(error))

    def read(self, path: Path, shots: list[Shot]) -> None:
        """Decode shots that follow each other. UserError if that fails."""
        if not path.is_file():
            raise UserError(
                f"{path}, a video of the camera {self.camera!r}, is missing: {AGAIN}, or leave out that camera"
            )
        with decoding(str(path), "a video"), av_package().open(str(path), format="mp4") as container:
            # No other format: some formats name further files to open.
            stream = container.streams.video[0]
            stream.codec_context.thread_count = 1  # each core has a run of its own
            self.rates[path] = float(stream.average_rate or self.fps)
            if shots[0].begins > 1:
                container.seek(int(shots[0].begins / stream.time_base), stream=stream)
            self._keep(path, container.decode(stream), shots)

    def _keep(self, path: Path, frames: Iterator[Any], shots: list[Shot]) -> None:
        """Put the frames of shots that follow each other where they belong."""
        converter = av_package().video.reformatter.VideoReformatter()  # one: to make it takes longer than to use it
        begins, end = np.array([shot.begins for shot in shots]), shots[-1].ends(self.fps)
        for frame in frames:
            seconds = float(frame.pts * frame.time_base)
            if seconds > end:
                break
            shot = shots[max(0, int(np.searchsorted(begins, seconds + 0.5 / self.fps, side="right")) - 1)]
            step = round((seconds - shot.begins) * self.fps)
            if not 0 <= step < shot.frames:
                continue  # a frame of an episode that is not read
            if frame.is_corrupt:
                self.damaged.setdefault(shot.episode, f"{path} is damaged at {seconds:.3f} seconds: {AGAIN}")
                continue
            picture = self.asked.pictures(converter.reformat(frame, format="rgb24").to_ndarray()[None])[0]
            with self.first:
                if not self.pictures.size:
                    self.pictures = np.empty((len(self.seen), *picture.shape), np.uint8)
            if picture.shape != self.pictures.shape[1:]:
                raise DatasetError(
                    f"{path} has pictures of the shape {picture.shape}, other files have {self.pictures.shape[1:]}: "
                    "--resize WIDTHxHEIGHT gives them one size"
                )
            self.pictures[shot.first + step], self.seen[shot.first + step] = picture, True

    def check(self, shot: Shot) -> None:
        """Leave out an episode that lacks pictures."""
        here = int(self.seen[shot.first : shot.first + shot.frames].sum())
        if here == shot.frames:
            return
        rate = self.rates.get(shot.path, self.fps)
        cause = f", and the video runs at {rate:.5g}" if abs(rate - self.fps) > 1e-3 * self.fps else ""
        text = f"{shot.path} has {here} of the {shot.frames} frames of episode {shot.episode} at {self.fps:g} per second{cause}"
        self.asked.leave_out(shot.episode, UserError(self.damaged.get(shot.episode, f"{text}: {AGAIN}")))


def _runs(shots: list[Shot], fps: float) -> Iterator[list[Shot]]:
    """Groups of shots that follow each other within a second, of `RUN` frames or a few more."""
    run: list[Shot] = []
    for shot in shots:
        if run and (shot.begins > run[-1].ends(fps) + 1 or sum(shot.frames for shot in run) >= RUN):
            yield run
            run = []
        run.append(shot)
    yield run
