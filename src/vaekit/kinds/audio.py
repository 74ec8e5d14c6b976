"""Audio: clips of sound of one length, seen as log-magnitude spectrograms.

A model of waveforms spends what it has on phases, which nobody hears. This one sees how much of each frequency there is at each
time, and a sound gets the phases that fit best (Griffin & Lim 1984, doi 10.1109/TASSP.1984.1164317).
"""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from markupsafe import Markup, escape
from torch import Tensor

from vaekit import sources
from vaekit.errors import UserError, extra_needed, tell
from vaekit.files import write_atomically
from vaekit.forms.clips import ITERATIONS, MOMENTUM, as_float, clips_of
from vaekit.kinds.base import Kind, one_source
from vaekit.kinds.pictures import Images
from vaekit.settings.limits import Many, Positive
from vaekit.settings.options import DATA, Option
from vaekit.show.track import track
from vaekit.sources.base import Ask, Dataset, Told, as_slice, bounded, decoding, listed, split_rows
from vaekit.sources.manifest import MANIFEST, Manifest
from vaekit.sources.pieces import Piece, Pieces
from vaekit.sources.pieces.base import identity_of, plain, table_of
from vaekit.threads import OnAllCores
from vaekit.training.data import generator

ENDINGS = (".wav", ".flac")
RATE = 16_000  # samples per second, unless the user says another
WINDOW = 0.032  # seconds of a frame of the spectrogram: a few periods of a voice
LARGEST_FACTOR = 1_000_000  # of resampling, which takes memory for 20 times as many numbers
FLOOR = 1e-4  # of full scale: what is 80 dB below counts as silence


@dataclass
class Audio(Kind):
    """Schema of clips.

    Attributes:
        rate: samples per second. samples: of a clip.
        frame: samples of a frame of the spectrogram; frames are a quarter of it apart.
        mean, scale: of the logarithm of magnitudes; the model sees (value - mean) / scale.
    """

    rate: int
    samples: int
    frame: int
    mean: float = 0.0
    scale: float = 1.0

    name: ClassVar[str] = "audio"
    noun: ClassVar[str] = "clips"
    row: ClassVar[str] = "clip"
    mean_samples: ClassVar[bool] = True
    endings: ClassVar[Sequence[str]] = (".wav", ".npy", ".npz")

    @classmethod
    def read(  # type: ignore[override]
        cls, source: str | Sequence[str], options: Mapping[str, Any], *, conditions: Sequence[str] = (), strict: bool = False
    ) -> Dataset:  # fmt: skip
        """Read a folder of .wav and .flac files (the condition "label" is the name of the subfolder), one file, or shards of sounds."""
        text, some = split_rows(one_source(source))
        path, rate, found, notes = Path(text).expanduser(), options.get("rate", RATE), {}, []
        if (path / MANIFEST).is_file():
            check_shards(path, options.get("rate"))
            return sources.read(one_source(source), conditions=conditions)
        for each in sounds_in(path):
            try:
                found[each] = read_sound(each, rate)
            except UserError as e:
                if strict or not path.is_dir():
                    raise
                notes.append(f"a file was left out: {e}")
        if not found:
            raise no_sound(text)
        root = path if path.is_dir() else path.parent
        labels = np.array(labels_of(found, root), dtype=object)
        offers = {} if None in labels else {"label": labels}
        if wrong := [n for n in conditions if n not in offers]:
            raise UserError(
                f"{text} has no condition {wrong[0]!r}: put the files into subfolders, whose names are 'label'"
            )
        names = {"file": np.array([p.relative_to(root).as_posix() for p in found], dtype=object), **offers}
        x = clips_of(list(found.values()), rate, options.get("seconds"))
        data = Dataset(x, cls.name, path.stem, None, {n: offers[n] for n in conditions}, notes, names)
        tell(notes)
        return data if some is None else data[as_slice(bounded(some, len(data), text))]

    @staticmethod
    def open_source(source: str, *, rate: int = RATE, seconds: float | None = None, strict: bool = False) -> Pieces:
        """Open a folder of .wav and .flac files, or one file, to read it piece by piece. The arguments are as in `read`."""
        return Sounds(source, rate, seconds, strict)

    def read_again(
        self, source: str | Sequence[str], fitted: Any, conditions: Sequence[str], also: Sequence[str] = ()
    ) -> Dataset:  # fmt: skip
        folder = Path(split_rows(one_source(source))[0]).expanduser()
        if (folder / MANIFEST).is_file():
            known = check_shards(folder, self.rate).conditions
            data = sources.read(one_source(source), conditions=[*(n for n in conditions if n in known), *also])
            data.x = self.conform(data.x[:])
            return data
        there = conditions if folder.is_dir() and any(p.is_dir() for p in folder.iterdir()) else ()
        data = self.read(source, {"rate": self.rate}, conditions=[*there, *also])
        data.x = self.conform(data.x)
        return data

    @classmethod
    def check(cls, X: Any, **options: Any) -> np.ndarray:
        """X (N, T), whole numbers or floats from -1 to 1; or a list of N clips, of which the shorter ones end in silence."""
        return clips_of([as_float(x) for x in X], options.get("rate", RATE), options.get("seconds"))

    @classmethod
    def infer(
        cls, rows: np.ndarray, standardize: bool = True, columns: Any = None, *,
        rate: Annotated[Many, Option(f"Audio: samples per second; files are converted to it. Default: {RATE}.", DATA)] = RATE,
        seconds: Annotated[Positive | None, Option("Audio: cut clips to this length. Default: that of the longest.", DATA)] = None,
    ) -> Audio:  # fmt: skip
        """See `Kind.infer`.

        Args:
            rate: samples per second. Arrays have it, and files are brought to it.
            seconds: longer clips are cut to this.
        """
        if rows.shape[1] < 64:
            raise UserError(f"the clips have {rows.shape[1]} samples: give clips of at least 64")
        self = cls(rate, rows.shape[1], max(16, 2 ** int(np.log2(min(WINDOW * rate, rows.shape[1] / 2)))))
        if standardize:
            seen = torch.cat([self.batch(x) for x in torch.from_numpy(rows).split(64)])
            self.mean, self.scale = seen.mean().item(), max(seen.std().item(), 1e-6)
        return self

    @classmethod
    def default_likelihood(cls, rows: Any, **options: Any) -> str:
        return "normal"

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (1, self.frame // 2, 1 + self.samples // (self.frame // 4))

    @property
    def unit(self) -> Tensor:
        return torch.tensor([self.scale])

    @property
    def extent(self) -> str:
        return f"{self.samples / self.rate:.3g} s at {self.rate} samples per second"

    def conform(self, rows: np.ndarray) -> np.ndarray:
        """Clips of the length of the training clips: longer ones are cut, shorter ones end in silence."""
        return clips_of(list(rows), self.rate, self.samples / self.rate, self.samples)

    def pack(self, rows: np.ndarray, dtype: torch.dtype = torch.float32, jitter: Any = None) -> tuple[Tensor, None]:
        """Clips stay waveforms (N, T) until they are used: an eighth of the memory."""
        return torch.from_numpy(self.conform(rows)), None

    def batch(self, x: Tensor, uniform: Any = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """Waveforms (B, T) -> (B, 1, frequencies, times)."""
        return (((self.spectrum(x.to(dtype)).abs()[:, :-1] + FLOOR).log() - self.mean) / self.scale)[:, None]

    def spectrum(self, x: Tensor) -> Tensor:
        """(B, T) -> (B, 1 + frame / 2, times), complex; the magnitude of a sine of full scale is 1."""
        window = torch.hann_window(self.frame, dtype=x.dtype, device=x.device)
        return torch.stft(x, self.frame, self.frame // 4, window=window, return_complex=True) * (2 / window.sum())

    def unpack(self, x: Tensor) -> np.ndarray:
        """(N, 1, frequencies, times) -> waveforms (N, T), float32 between -1 and 1."""
        magnitude = ((x[:, 0].double() * self.scale + self.mean).exp() - FLOOR).clamp_min(0)
        magnitude = torch.cat([magnitude, torch.zeros_like(magnitude[:, :1])], dim=1)
        window = torch.hann_window(self.frame, dtype=magnitude.dtype, device=magnitude.device)
        sound = partial(torch.istft, n_fft=self.frame, hop_length=self.frame // 4, window=window, length=self.samples)
        angles = torch.rand(magnitude.shape[1:], generator=generator(0), dtype=magnitude.dtype).to(magnitude)
        phases = torch.exp(2j * torch.pi * angles).expand_as(magnitude)
        before = torch.zeros_like(phases)
        for _ in range(ITERATIONS):
            found = self.spectrum(sound(magnitude * phases * (window.sum() / 2)))
            phases, before = torch.sgn(found + MOMENTUM * (found - before)), found
        return sound(magnitude * phases * (window.sum() / 2)).clamp(-1, 1).float().cpu().numpy()

    def form(self) -> dict[str, Any]:
        own = {"type": "clips", "event": list(self.event_shape), "rate": self.rate, "samples": self.samples}
        return {**own, "frame": self.frame, "mean": self.mean, "scale": self.scale, "floor": FLOOR}

    networks = Images.networks

    def write(self, path: Path, rows: np.ndarray, *more: Any, **options: Any) -> None:
        """See `Kind.write`. A .wav has the clips one after another, with a quarter of a second between them."""
        if path.suffix.lower() != ".wav":
            return super().write(path, rows, *more, **options)
        paused = np.pad(rows, ((0, 0), (0, self.rate // 4 if len(rows) > 1 else 0)))
        return write_atomically(path, lambda to: to.write_bytes(self.wav(paused.ravel())))

    def wav(self, samples: np.ndarray) -> bytes:
        from scipy.io import wavfile

        buffer = io.BytesIO()
        wavfile.write(buffer, self.rate, np.rint(samples * 32767).astype(np.int16))
        return buffer.getvalue()

    def thumbnails(self, x: Tensor, side: int = 32) -> np.ndarray:
        """Spectrograms, low frequencies below."""
        from vaekit.show.drawing import shrink

        seen = x[:, 0].flip(1).cpu().numpy()
        return shrink(seen, side, seen.min(), seen.max())

    def preview(self, rows: np.ndarray, label: str) -> Markup:
        """A spectrogram of each clip, low frequencies below, and a player."""
        from vaekit.show.drawing import grid, picture

        seen = self.batch(torch.from_numpy(np.array(rows, np.float32)))[:, 0].flip(1).numpy()
        drawn = picture(grid(seen, len(seen), low=seen.min(), high=seen.max(), background=None), label)
        sounds = [base64.b64encode(self.wav(clip)).decode() for clip in rows]
        players = [f'<audio controls title="{escape(label)}" src="data:audio/wav;base64,{s}"></audio>' for s in sounds]
        return Markup("<div>") + drawn + Markup("".join(players) + "</div>")


class Sounds(Pieces):
    """The sounds in a folder, read piece by piece. The condition "label" is the name of the subfolder."""

    kind = "audio"

    def __init__(self, source: str, rate: int, seconds: float | None, strict: bool):
        path = Path(source).expanduser()
        if not path.exists():
            raise UserError(f"{source} does not exist: give a folder of files that end in {' or '.join(ENDINGS)}")
        self.paths, self.root = sounds_in(path), path if path.is_dir() else path.parent
        super().__init__(
            Ask(source, path, (), None, None, strict or not path.is_dir(), False), path.stem, len(self.paths)
        )
        self.rate, self.seconds, self.extra = rate, seconds, {"rate": rate}
        self.labels = labels_of(self.paths, self.root)
        labelled = ["label"] if None not in self.labels else []
        self.put_beside_x(labelled, ["file", *labelled])

    def identity(self) -> str:
        return identity_of(self.paths, self.root)

    def look(self) -> None:
        """Find the length of the longest sound, as the beginnings of the files say."""
        look = OnAllCores(partial(attempt, sound_length, wanted=self.rate), self.paths, 16)
        longest = max((n for n in track(look, "look") if isinstance(n, int)), default=0)
        if not longest:
            raise no_sound(self.ask.text)
        self.expect([min(longest, round(self.seconds * self.rate)) if self.seconds else longest], "float32")

    def read(self, start: int, told: Told) -> Iterator[Piece]:
        samples = (self.shape or [0])[0]
        while start < len(self.paths):
            paths, kept, clips = self.paths[start : start + min(self.at_once, 256)], [], []
            for i, found in enumerate(OnAllCores(partial(attempt, read_sound, wanted=self.rate), paths, 4), start):
                if isinstance(found, UserError):
                    if self.ask.strict:
                        raise found
                    told["failed"].add([str(found)])
                    continue
                if not np.isfinite(found).all():
                    raise UserError(f"{self.paths[i]} holds a value that is not a number: mend it, or leave it out")
                told["cut" if len(found) > samples else "filled" if len(found) < samples else "whole"].count += 1
                kept.append(i)
                clips.append(np.pad(found[:samples], (0, max(0, samples - len(found)))))
            start += len(paths)
            names = [self.paths[i].relative_to(self.root).as_posix() for i in kept]
            columns = {"file": names, **{name: [self.labels[i] for i in kept] for name in self.conditions}}
            x = np.stack(clips) if clips else np.empty((0, samples), np.float32)
            yield Piece(table_of(x, columns), start, start, plain(told))

    def notes_of(self, told: Told, rows: int) -> list[str]:
        last = f"of {rows}; a clip lasts {(self.shape or [0])[0] / self.rate:.3g} s"
        said = {"cut": f"clips that were cut: {len(told['cut'])} {last}"}
        said["filled"] = f"clips that were filled up with silence: {len(told['filled'])} {last}"
        said["failed"] = f"files that were left out: {len(told['failed'])}: {listed(told['failed'])}"
        return [text for what, text in said.items() if len(told[what])]

    def nothing(self, told: Told) -> UserError:
        return no_sound(self.ask.text)


def check_shards(folder: Path, rate: int | None) -> Manifest:
    """Read the manifest of shards. UserError if they hold no sounds, or sounds of another rate than is asked for."""
    found = Manifest.read(folder)
    if found.kind != Audio.name:
        raise UserError(f"{folder} holds no sounds: leave out --kind audio")
    if rate not in (None, found.extra["rate"]):
        raise UserError(
            f"{folder} has {found.extra['rate']} samples per second, not {rate}: pack the sounds again with --rate {rate}"
        )
    return found


def attempt(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a function, and return its result or the UserError that it raises."""
    try:
        return function(*args, **options)
    except UserError as error:
        return error


def sounds_in(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS) if path.is_dir() else [path]


def labels_of(paths: Iterable[Path], root: Path) -> list[str | None]:
    return [path.parent.name if path.parent != root else None for path in paths]


def no_sound(text: str) -> UserError:
    return UserError(f"{text} holds no sound: give a folder of files that end in {' or '.join(ENDINGS)}")


def sound_length(path: Path, wanted: int) -> int:
    """The number of samples that `read_sound` gives, from the beginning of the file."""
    from scipy.io import wavfile

    with decoding(str(path), "a sound"):
        if path.suffix.lower() != ".wav":
            try:
                import soundfile
            except ModuleNotFoundError as e:
                raise extra_needed("audio", "soundfile") from e
            about = soundfile.info(path)
            rate, length = about.samplerate, about.frames
        else:
            try:
                rate, samples = wavfile.read(path, mmap=True)
            except ValueError:  # such as of 24 bits, which cannot be mapped
                rate, samples = wavfile.read(path)
            length = len(samples)
    return -(-length * wanted // rate)


def read_sound(path: Path, wanted: int) -> np.ndarray:
    """Read samples (T,), `wanted` of them per second, all channels mixed. UserError for a file that is not there, or not a sound."""
    from scipy.io import wavfile  # here, because all kinds are imported at each fit

    if not path.is_file():
        raise UserError(f"{path} is not a file: give a folder of sounds, or a file that ends in {' or '.join(ENDINGS)}")
    with decoding(str(path), "a sound"):
        if path.suffix.lower() == ".wav":
            rate, samples = wavfile.read(path)
        else:
            try:
                import soundfile
            except ModuleNotFoundError as e:
                raise extra_needed("audio", "soundfile") from e
            samples, rate = soundfile.read(path, dtype="float32")
        clip, shared = as_float(samples), np.gcd(rate, wanted)
    if max(rate, wanted) // shared > LARGEST_FACTOR:
        raise UserError(
            f"{path} has {rate} samples per second, which cannot be converted to {wanted}: give a rate near its own"
        )
    if rate == wanted:
        return clip
    from scipy.signal import resample_poly

    return resample_poly(clip, wanted // shared, rate // shared).astype(np.float32)
