"""The videos of episodes: where each frame is, and what is missing or damaged."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from zlib import crc32

import numpy as np

from vaekit.errors import UserError
from vaekit.robots.demonstrations import CAMERA
from vaekit.robots.reading import Asked, DatasetError
from vaekit.robots.reels import AGAIN, Film, Video, av_package
from vaekit.show.track import track
from vaekit.sources.base import decoding
from vaekit.threads import OnAllCores

RUN = (
    1000  # frames that a core looks at at a time; a run begins at the last key frame before it, and some are far apart
)


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


def find_pictures(asked: Asked, camera: str, shots: Sequence[Shot], fps: float) -> Video:
    """The pictures of all shots, (T, height, width, 3) bytes, not decoded yet. Episodes with missing pictures are left out of `asked`."""
    av_package()  # raise here: a missing package is not an episode's fault
    search = _Search(asked, camera.removeprefix(CAMERA), fps, sum(shot.frames for shot in shots))
    files: dict[Path, list[Shot]] = {}
    for shot in shots:
        files.setdefault(shot.path, []).append(shot)
    for path, members in files.items():
        members.sort(key=lambda shot: shot.begins)
        _check_overlap(asked, path, members, fps)
    runs = [run for members in files.values() for run in _runs(members, fps)]
    for run, film in zip(runs, track(OnAllCores(search.look, runs), "look"), strict=True):
        if film:
            search.add(film, run)
    for members in files.values():
        for shot in members:
            search.check(shot)
    return Video(search.films, search.film, search.place, search.event)


def decode(asked: Asked, video: Video, shots: Sequence[Shot]) -> np.ndarray:
    """The pictures of all shots in memory. Episodes with damaged pictures are left out of `asked`."""
    pictures = np.empty(video.shape, np.uint8)

    def put(shot: Shot) -> UserError | None:
        rows = np.arange(shot.first, shot.first + shot.frames)
        try:
            video.take(rows).put(pictures[rows[0] : rows[-1] + 1])
        except UserError as error:
            return error
        return None

    whole = [shot for shot in shots if shot.episode not in asked.left_out]
    for shot, error in zip(whole, track(OnAllCores(put, whole), "decode"), strict=True):
        if error:
            asked.leave_out(shot.episode, error)
    return pictures


def _check_overlap(asked: Asked, path: Path, shots: Sequence[Shot], fps: float) -> None:
    """Leave out episodes that have pictures in common."""
    for a, b in pairwise(shots):
        if b.begins + 0.5 / fps < a.ends(fps):
            begins = f"episode {b.episode} begins at {b.begins:.3f} seconds"
            why = f"{path}: {begins}, before episode {a.episode} ends at {a.ends(fps):.3f}: {AGAIN}"
            for shot in (a, b):
                asked.leave_out(shot.episode, UserError(why))


class _Search:
    """Where the frames of a camera are, as far as the packets of its files say: nothing is decoded."""

    def __init__(self, asked: Asked, camera: str, fps: float, frames: int):
        self.asked, self.camera, self.fps = asked, camera, fps
        self.films: list[Film] = []
        self.film, self.place = np.zeros(frames, np.int32), np.full(frames, -1, np.int32)
        self.rates: dict[Path, float] = {}  # of the files that were read
        self.damaged: dict[int, str] = {}  # the number of an episode -> where

    @property
    def event(self) -> tuple[int, ...]:
        if not self.films:
            return (0, 0, 3)
        return (*(self.asked.resize[::-1] if self.asked.resize else self.films[0].size), 3)

    def look(self, shots: list[Shot]) -> Film | None:
        """Find the frames of shots that follow each other in a file. None if it cannot be read."""
        path = shots[0].path
        try:
            if not path.is_file():
                raise UserError(
                    f"{path}, a video of the camera {self.camera!r}, is missing: {AGAIN}, or leave out that camera"
                )
            return self._read(path, shots)
        except UserError as error:
            for shot in shots:
                self.damaged.setdefault(shot.episode, str(error))
            return None

    def _read(self, path: Path, shots: list[Shot]) -> Film:
        with decoding(str(path), "a video"), av_package().open(str(path), format="mp4") as container:
            # No other format: some formats name further files to open.
            stream = container.streams.video[0]
            self.rates[path] = float(stream.average_rate or self.fps)
            if shots[0].begins > 1:
                container.seek(
                    int((shots[0].begins - 1) / stream.time_base), stream=stream
                )  # stored up to a second before
            packets = []
            for packet in container.demux(stream):
                if packet.dts is not None and packet.dts * stream.time_base > shots[-1].ends(self.fps):
                    break  # a frame is never shown before its dts
                if packet.pts is None or packet.is_discard:
                    continue
                if packet.is_corrupt:
                    self._note_damage(path, float(packet.pts * stream.time_base), shots)
                else:
                    packets.append((packet.pts, packet.dts, packet.is_keyframe, crc32(packet)))
            size = stream.codec_context.height, stream.codec_context.width
            unit = float(stream.time_base)
        if not any(key for _, _, key, _ in packets):
            raise UserError(f"{path} has no frame from {shots[0].begins:.3f} seconds on: {AGAIN}")
        times, seeks, key, marks = (np.array(each) for each in zip(*sorted(packets), strict=True))
        keys = np.flatnonzero(key)
        return Film(path, size, times, unit, keys, seeks[keys], marks.astype(np.uint32), self.asked.resize)

    def _note_damage(self, path: Path, seconds: float, shots: list[Shot]) -> None:
        shot = [shot for shot in shots if shot.begins <= seconds + 0.5 / self.fps or shot is shots[0]][-1]
        self.damaged.setdefault(shot.episode, f"{path} is damaged at {seconds:.3f} seconds: {AGAIN}")

    def add(self, film: Film, shots: list[Shot]) -> None:
        """Give the frames of shots that follow each other to the rows that they belong to."""
        if not self.asked.resize and self.films and film.size != self.films[0].size:
            shapes = f"{(*film.size, 3)}, other files have {self.event}"
            raise DatasetError(
                f"{film.path} has pictures of the shape {shapes}: --resize WIDTHxHEIGHT gives them one size"
            )
        seconds, begins = film.times * film.unit, np.array([shot.begins for shot in shots])
        shot = np.maximum(0, np.searchsorted(begins, seconds + 0.5 / self.fps, side="right") - 1)
        step = np.rint((seconds - begins[shot]) * self.fps).astype(np.int64)
        inside = (step >= 0) & (step < np.array([shot.frames for shot in shots])[shot])
        rows = np.array([shot.first for shot in shots])[shot[inside]] + step[inside]
        self.film[rows], self.place[rows] = len(self.films), np.flatnonzero(inside)
        self.films.append(film)

    def check(self, shot: Shot) -> None:
        """Leave out an episode that lacks pictures."""
        here = int((self.place[shot.first : shot.first + shot.frames] >= 0).sum())
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
