"""Audio: clips of sound of one length, as log-magnitude spectrograms.

A model of waveforms spends what it has on phases, which nobody hears. So it sees how much of each frequency there is at each
time, and the phases of what it makes are those that fit best (Griffin & Lim 1984, doi 10.1109/TASSP.1984.1164317).
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vaekit.errors import UserError, extra_needed, note, tell
from vaekit.kinds.base import Kind, one_source
from vaekit.settings.limits import Many, Positive
from vaekit.sources.base import Dataset, as_slice, bounded, decoding, split_rows
from vaekit.training.data import generator

ENDINGS = (".wav", ".flac")
WINDOW = 0.032  # seconds that a frame of the spectrogram looks at: a few periods of a voice
FLOOR = 1e-4  # of full scale: what is quieter, by 80 dB, counts as silence
ITERATIONS = 60  # of Griffin and Lim's
MOMENTUM = 0.99  # of Perraudin et al. 2013 (doi 10.1109/WASPAA.2013.6701851)


class Clips(np.ndarray):
    """Clips (N, T) of float32 between -1 and 1, and `rate`, their samples a second."""

    rate: int

    def __array_finalize__(self, of: Any) -> None:
        self.rate = getattr(of, "rate", 0)


@dataclass
class Audio(Kind):
    """Schema of clips.

    Attributes:
        rate: samples a second. samples: of a clip.
        frame: samples of a frame of the spectrogram; a quarter of it lies between frames.
        mean, scale: of the logarithm of magnitudes, which the model sees as (value - mean) / scale.
    """

    rate: int
    samples: int
    frame: int
    mean: float
    scale: float

    name: ClassVar[str] = "audio"
    noun: ClassVar[str] = "clips of sound"
    mean_samples: ClassVar[bool] = True

    @classmethod
    def check(cls, X: Any, **options: Any) -> Clips:
        """X (N, T), whole numbers or floats of -1 to 1; or a list of N clips, of which the shorter ones end in silence."""
        rate = getattr(X, "rate", 0) or options.get("rate")
        if not rate:
            raise UserError(
                "an array does not say how many samples a second it has: give kind={'name': 'audio', 'rate': 16000}"
            )
        longest = options["seconds"] * rate if options.get("seconds") else np.inf
        return clips_of([as_float(x) for x in X] if not hasattr(X, "ndim") else list(as_float(X)), int(rate), longest)

    def take(self, X: Any) -> Clips:
        return self.conform(self.check(X, rate=self.rate))

    @classmethod
    def read(  # type: ignore[override]
        cls,
        source: str | Sequence[str],
        options: Mapping[str, Any],
        *,
        conditions: Sequence[str] = (),
        strict: bool = False,
    ) -> Dataset:
        """Read a folder of .wav and .flac files (the name of a subfolder is the condition "label"), or one file.

        strict: a file that cannot be read is an error; otherwise it is left out, and a note says so.
        """
        text, some = split_rows(one_source(source))
        path = Path(text).expanduser()
        paths = sorted(p for p in path.rglob("*") if p.suffix.lower() in ENDINGS) if path.is_dir() else [path]
        if not paths:
            raise UserError(f"{text} holds no file that ends in {' or '.join(ENDINGS)}: give a folder of sounds")
        found, lost = {}, []
        for each in paths:
            try:
                found[each] = read_sound(each)
            except UserError as e:
                lost.append(str(e))
                if strict or not path.is_dir():
                    raise
        if not found:
            raise UserError(f"none of the {len(lost)} files in {text} can be read: {lost[0]}")
        rate = Counter(rate for rate, _ in found.values()).most_common(1)[0][0]
        notes = [f"files that were not read: {len(lost)}: {lost[0]}"] if lost else []
        if other := sum(own != rate for own, _ in found.values()):
            notes.append(f"files that were resampled to {rate} samples a second: {other} of {len(found)}")
        clips = [as_float(x) if own == rate else resampled(as_float(x), own, rate) for own, x in found.values()]
        labels = np.array([str(p.parent.relative_to(path)) if path.is_dir() else "." for p in found], dtype=object)
        if wrong := [name for name in conditions if name != "label" or set(labels) == {"."}]:
            raise UserError(f"{text} has no condition {wrong[0]!r}: a folder of subfolders has 'label', their names")
        longest = options["seconds"] * rate if options.get("seconds") else np.inf
        x, files = clips_of(clips, rate, longest), np.array([str(p) for p in found], dtype=object)
        data = Dataset(x, cls.name, path.stem, None, dict.fromkeys(conditions, labels), notes, {"file": files})
        tell(notes)
        return data if some is None else data[as_slice(bounded(some, len(data), text))]

    def read_again(
        self, source: str | Sequence[str], fitted: Any, conditions: Sequence[str], also: Sequence[str] = ()
    ) -> Dataset:
        """Read sounds as the model wants them: of its rate and its length."""
        known = Path(split_rows(one_source(source))[0]).expanduser()
        there = [name for name in conditions if known.is_dir() and any(p.is_dir() for p in known.iterdir())]
        data = self.read(source, {}, conditions=[*there, *also])
        data.x = self.take(data.x)
        return data

    @classmethod
    def infer(
        cls, rows: Clips, standardize: bool = True, columns: Any = None, *, rate: Many | None = None,
        seconds: Positive | None = None,
    ) -> Audio:  # fmt: skip
        """See `Kind.infer`. rate: samples a second of an array; files say it. seconds: what is longer is cut; None: nothing is."""
        samples = rows.shape[1]
        if samples < 64:
            raise UserError(f"a clip of {samples} samples is too short: give at least 64")
        frame = 2 ** int(np.log2(min(WINDOW * rows.rate, samples / 2)))
        self = cls(rows.rate, samples, max(frame, 16), 0.0, 1.0)
        if standardize:
            seen = torch.cat(
                [self.batch(torch.from_numpy(np.asarray(rows[i : i + 64]))) for i in range(0, len(rows), 64)]
            )
            self.mean, self.scale = seen.mean().item(), max(seen.std().item(), 1e-6)
        return self

    @classmethod
    def default_likelihood(cls, rows: Any, **options: Any) -> str:
        return "normal"

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (1, self.frame // 2, 1 + self.samples // self.hop)

    @property
    def hop(self) -> int:
        return self.frame // 4

    @property
    def unit(self) -> Tensor:
        return torch.tensor([self.scale])

    def conform(self, rows: Clips) -> Clips:
        clips = list(np.asarray(rows))
        if rows.rate != self.rate:
            note(f"clips of {rows.rate} samples a second were resampled to {self.rate}")
            clips = [resampled(clip, rows.rate, self.rate) for clip in clips]
        return clips_of(clips, self.rate, self.samples, self.samples)

    def pack(self, rows: Clips, dtype: torch.dtype = torch.float32, jitter: Any = None) -> tuple[Tensor, None]:
        """Clips stay waveforms (N, T) until a batch of them is used: an eighth of the memory."""
        return torch.from_numpy(np.array(self.conform(rows))), None

    def batch(self, x: Tensor, uniform: Any = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """Waveforms (B, T) -> standardised log-magnitudes (B, 1, frequencies, times)."""
        found = self.transform(x.to(dtype)).abs()[:, :-1] + FLOOR
        return ((found.log() - self.mean) / self.scale)[:, None]

    def transform(self, x: Tensor) -> Tensor:
        """(B, T) -> (B, 1 + frame / 2, times), complex; a sine of full scale has a magnitude of 1."""
        window = torch.hann_window(self.frame, dtype=x.dtype, device=x.device)
        return torch.stft(x, self.frame, self.hop, window=window, return_complex=True) * (2 / window.sum())

    def inverse(self, spectrum: Tensor) -> Tensor:
        window = torch.hann_window(self.frame, dtype=spectrum.real.dtype, device=spectrum.device)
        return torch.istft(spectrum * (window.sum() / 2), self.frame, self.hop, window=window, length=self.samples)

    def unpack(self, x: Tensor) -> np.ndarray:
        """Standardised log-magnitudes (N, 1, frequencies, times) -> waveforms (N, T), float32 between -1 and 1."""
        magnitude = ((x[:, 0].double() * self.scale + self.mean).exp() - FLOOR).clamp_min(0)
        magnitude = torch.cat([magnitude, torch.zeros_like(magnitude[:, :1])], dim=1)
        phase = (
            torch.rand(magnitude.shape[1:], generator=generator(0), dtype=torch.float64).to(magnitude) * 2 * torch.pi
        )
        angles = torch.polar(torch.ones_like(magnitude), phase.expand_as(magnitude))
        before = torch.zeros_like(angles)
        for _ in range(ITERATIONS):
            found = self.transform(self.inverse(magnitude * angles))
            angles = torch.sgn(found + MOMENTUM / (1 + MOMENTUM) * (found - before))
            before = found
        return self.inverse(magnitude * angles).clamp(-1, 1).float().cpu().numpy()

    def networks(self, size: str, network: str) -> tuple[Any, Any]:
        from vaekit.nets import MLP, ConvDecoder, ConvEncoder, conv, mlp

        if network == "mlp":
            net = partial(MLP, hidden=mlp.SIZES[size])
            return net, net
        options: Any = conv.SIZES[size]
        return partial(ConvEncoder, **options), partial(ConvDecoder, **options)

    @property
    def extent(self) -> str:
        return f"{self.samples / self.rate:.3g} s at {self.rate} samples a second"


def read_sound(path: Path) -> tuple[int, np.ndarray]:
    """Samples a second, and samples (T,) or (T, channels). UserError where the file is not there, damaged or not a sound."""
    if not path.is_file():
        raise UserError(f"{path} is not a file: give a folder of sounds, or a file that ends in {' or '.join(ENDINGS)}")
    with decoding(str(path), "a sound"):
        if path.suffix.lower() == ".wav":
            from scipy.io import wavfile

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", wavfile.WavFileWarning)  # of chunks that it does not know
                return wavfile.read(path)
        try:
            import soundfile
        except ModuleNotFoundError as e:
            raise extra_needed("audio", "soundfile") from e
        samples, rate = soundfile.read(path, dtype="float32")
        return rate, samples


def resampled(clip: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    from scipy.signal import resample_poly

    divisor = np.gcd(rate, wanted)
    return resample_poly(clip, wanted // divisor, rate // divisor, axis=0).astype(np.float32)


def as_float(x: Any) -> np.ndarray:
    """Samples between -1 and 1: whole numbers by the range of their type. UserError for what is not sound."""
    x = np.asarray(x)
    if x.dtype.kind not in "iuf":
        raise UserError(
            f"a clip is an array of numbers, got {x.dtype}: give samples between -1 and 1, or whole numbers"
        )
    if x.dtype.kind == "u":
        return (
            ((x.astype(np.float32) - 128) / 128)
            if x.dtype == np.uint8
            else x.astype(np.float32) / np.iinfo(x.dtype).max
        )
    return x.astype(np.float32) if x.dtype.kind == "f" else x.astype(np.float32) / -float(np.iinfo(x.dtype).min)


def clips_of(clips: Sequence[np.ndarray], rate: int, longest: float = np.inf, least: int = 0) -> Clips:
    """Clips (T,) or (T, channels) as one array, of the length of the longest: channels are mixed, shorter ones end in silence."""
    mono = [c if c.ndim == 1 else c.mean(1) for c in clips]
    lengths = np.array([len(c) for c in mono])
    samples = int(max(least, min(lengths.max(initial=0), longest)))
    found = np.zeros((len(mono), samples), dtype=np.float32)
    for i, clip in enumerate(mono):
        if not np.isfinite(clip).all():
            raise UserError(f"clip {i} holds a value that is not a number: mend it, or leave it out")
        found[i, : len(clip)] = clip[:samples]
    if cut := int((lengths > samples).sum()):
        note(f"clips that were cut: {cut} of {len(mono)}; the model hears the first {samples / rate:.3g} s")
    if short := int((lengths < samples).sum()):
        note(f"clips that end in silence, since they are shorter than {samples / rate:.3g} s: {short} of {len(mono)}")
    clips = found.view(Clips)
    clips.rate = rate
    return clips
