"""Clips of sound, which the model sees as log-magnitude spectrograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from vaekit.errors import UserError, note
from vaekit.forms.base import Form, Packed, number

ITERATIONS, MOMENTUM = 60, 0.99  # of Perraudin et al. 2013 (doi 10.1109/WASPAA.2013.6701851)


@dataclass
class Clips(Form):
    """Clips (N, T), float32 between -1 and 1.

    Attributes:
        rate: samples per second. samples: of a clip. frame: of the spectrogram, in samples; frames are a quarter of it apart.
        mean, scale: of the logarithm of magnitudes. floor: of full scale, what counts as silence.
    """

    rate: int
    samples: int
    frame: int
    mean: float
    scale: float
    floor: float

    media: ClassVar[tuple[str, ...]] = ("npy", "wav")

    def schema(self, gaps: bool) -> dict[str, Any]:
        return {"type": "array", "items": number(False, -1, 1), "minItems": 1}

    @property
    def window(self) -> np.ndarray:
        return 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.frame) / self.frame)

    def pack(self, X: Any) -> Packed:
        if isinstance(X, str | bytes | Mapping) or not hasattr(X, "__len__") or getattr(X, "ndim", 1) == 0:
            raise UserError(f"X is {str(X)[:40]}: give the clips, an array (N, T) or a list of arrays (T,)")
        clips = clips_of([as_float(x) for x in X], self.rate, self.samples / self.rate, self.samples)
        seen = np.log(np.abs(self.spectrum(clips)[:, :-1]) + self.floor)
        return ((seen - self.mean) / self.scale)[:, None].astype(np.float32), None

    def spectrum(self, x: np.ndarray) -> np.ndarray:
        """(N, T) -> (N, 1 + frame / 2, times), complex; the magnitude of a sine of full scale is 1."""
        padded = np.pad(x.astype(np.float64), ((0, 0), (self.frame // 2, self.frame // 2)), mode="reflect")
        frames = np.lib.stride_tricks.sliding_window_view(padded, self.frame, axis=1)[:, :: self.frame // 4]
        return np.fft.rfft(frames * self.window).swapaxes(1, 2) * (2 / self.window.sum())

    def sound(self, spectrum: np.ndarray) -> np.ndarray:
        """The waveforms (N, T) whose spectrum is nearest, by overlapping frames."""
        frames = np.fft.irfft(spectrum.swapaxes(1, 2) * (self.window.sum() / 2), self.frame) * self.window
        hop, times = self.frame // 4, frames.shape[1]
        total, weight = (
            np.zeros((len(frames), self.frame + hop * (times - 1))),
            np.zeros(self.frame + hop * (times - 1)),
        )
        for i in range(times):
            total[:, i * hop : i * hop + self.frame] += frames[:, i]
            weight[i * hop : i * hop + self.frame] += self.window**2
        start = self.frame // 2
        inside = slice(start, start + self.samples)
        found = total[:, inside] / np.maximum(weight[inside], 1e-12)
        return np.pad(found, ((0, 0), (0, self.samples - found.shape[1])))

    def unpack(self, x: np.ndarray) -> np.ndarray:
        """(N, 1, frequencies, times) -> waveforms (N, T), with the phases that fit best."""
        magnitude = np.maximum(np.exp(x[:, 0].astype(np.float64) * self.scale + self.mean) - self.floor, 0)
        magnitude = np.concatenate([magnitude, np.zeros_like(magnitude[:, :1])], axis=1)
        angles = np.random.default_rng(0).random(magnitude.shape[1:])
        phases = np.broadcast_to(np.exp(2j * np.pi * angles), magnitude.shape)
        before = np.zeros_like(phases)
        for _ in range(ITERATIONS):
            found = self.spectrum(self.sound(magnitude * phases))
            ahead = found + MOMENTUM * (found - before)
            phases, before = ahead / np.maximum(np.abs(ahead), 1e-300), found
        return np.clip(self.sound(magnitude * phases), -1, 1).astype(np.float32)


def as_float(x: Any) -> np.ndarray:
    """Samples (T,) or (T, channels) -> (T,) float32 between -1 and 1: whole numbers by the range of their type, channels mixed."""
    x = np.asarray(x)
    if x.dtype.kind not in "iuf" or x.ndim not in (1, 2):
        raise UserError(
            f"a clip is an array of numbers (T,), and this is {x.dtype} {x.shape}: give samples between -1 and 1"
        )
    if x.dtype.kind in "iu":
        most = 2.0 ** (8 * x.itemsize - 1)
        x = x / most - (x.dtype.kind == "u")
    return (x if x.ndim == 1 else x.mean(1)).astype(np.float32)


def clips_of(clips: Sequence[Any], rate: int, seconds: float | None = None, least: int = 0) -> np.ndarray:
    """Clips (T,) as one array (N, T), as long as the longest: shorter ones end in silence, and those above `seconds` are cut."""
    lengths = np.array([len(clip) for clip in clips], dtype=int)
    samples = max(least, min(lengths.max(initial=0), round(seconds * rate) if seconds else 2**31))
    whole = np.zeros((len(clips), samples), dtype=np.float32)
    for i, clip in enumerate(clips):
        if not np.isfinite(clip).all():
            raise UserError(f"clip {i} holds a value that is not a number: mend it, or leave it out")
        whole[i, : len(clip)] = clip[:samples]
    for what, n in (("cut", (lengths > samples).sum()), ("filled up with silence", (lengths < samples).sum())):
        if n:
            note(f"clips that were {what}: {n} of {len(clips)}; a clip lasts {samples / rate:.3g} s")
    return whole
