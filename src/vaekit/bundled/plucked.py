"""Notes of four plucked instruments, by the algorithm of Karplus and Strong (1983)."""

from __future__ import annotations

import io
import wave
from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

RATE = 8000
SECONDS = 0.5
FADE = 0.05  # of the end, in seconds, so that nothing clicks
LOWEST = 55.0  # Hz, the note A1


@dataclass(frozen=True)
class Instrument:
    low: int  # its range, in semitones above the lowest note
    high: int
    keeps: float  # the share of a vibration that is left after a period
    dark: float  # 0: every frequency is plucked alike; near 1: low ones alone


INSTRUMENTS = {
    "banjo": Instrument(26, 41, keeps=0.96, dark=0.0),
    "bass": Instrument(0, 14, keeps=0.995, dark=0.9),
    "guitar": Instrument(12, 30, keeps=0.99, dark=0.4),
    "harp": Instrument(24, 45, keeps=0.999, dark=0.7),
}


def notes(each: int = 50) -> dict[str, bytes]:
    """Return `each` notes of every instrument as .wav files, by their names. They are the same every time."""
    draw = np.random.RandomState(0)  # whose numbers no version of NumPy changes
    found = {}
    for label, instrument in INSTRUMENTS.items():
        for i in range(each):
            pitch = LOWEST * 2 ** (draw.randint(instrument.low, instrument.high + 1) / 12)
            noise = draw.uniform(-1, 1, round(RATE / pitch - 0.5))
            found[f"{label}/{i:02d}.wav"] = wave_file(pluck(noise, instrument))
    return found


def pluck(noise: np.ndarray, instrument: Instrument) -> np.ndarray:
    """Return a sound (T,) from -1 to 1. A burst of noise, one period long, comes back again and again as the mean of neighbours."""
    period, length = len(noise), int(RATE * SECONDS)
    burst = np.zeros(length)
    burst[:period] = lfilter([1 - instrument.dark], [1, -instrument.dark], noise)
    burst[:period] -= burst[:period].mean()  # a push that lasts would fade late, or never
    half = instrument.keeps / 2
    sound = lfilter([1.0], [1.0, *[0.0] * (period - 1), -half, -half], burst)
    sound *= np.minimum(1, np.arange(length)[::-1] / (FADE * RATE))
    return 0.9 * sound / np.abs(sound).max()


def wave_file(sound: np.ndarray) -> bytes:
    """Return a sound (T,) from -1 to 1 as a .wav file of 16 bits."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes((sound * 32767).round().astype("<i2").tobytes())
    return file.getvalue()
