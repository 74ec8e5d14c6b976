"""Numbers and names as people read them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

SPACED = 0.05  # gaps between words, a character: below that texts are not made of words


def number(value: Any) -> str:
    """Write a number for people: four significant digits, a true minus."""
    value = float(value)
    if not np.isfinite(value):
        return "–"
    text = f"{value:,.0f}" if 1e4 <= abs(value) < 1e9 else f"{value:.4g}"
    return text.replace("-", "−")


def nats(value: float) -> str:
    digits = 2 if abs(value) < 1000 else 1
    return f"{value:,.{digits}f}".replace("-", "−") if np.isfinite(value) else "–"


def cell(value: Any) -> str:
    """A condition in a table or a caption."""
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return "unknown"
    if np.ndim(value):
        return ", ".join(number(v) for v in np.ravel(value)[:4]) + (", …" if np.size(value) > 4 else "")
    return number(value) if isinstance(value, (float, np.floating)) else str(value)


def short(name: str, most: int = 14) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def have_words(texts: Iterable[str]) -> bool:
    """Whether spaces divide these texts into words. They do not in Chinese, in names or in formulas."""
    texts = list(texts)
    return sum(len(text.split()) - 1 for text in texts) > SPACED * sum(map(len, texts))


def pieces(text: str, words: bool) -> list[str]:
    """Split a text into its words, or into its characters if it has no words."""
    return text.split() if words else [c for c in text if not c.isspace()]
