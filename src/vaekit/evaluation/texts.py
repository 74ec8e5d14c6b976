"""How well texts are known, in the units of the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np


def sizes(domain: Any, texts: Any) -> tuple[np.ndarray, np.ndarray]:
    """Words and characters of texts (N,), as far as the model reads them: (N,) and (N,) whole numbers.

    The end of a text counts as one of each, since it is told as well: so the perplexity of sentences is counted. A text that
    the model cuts has none.
    """
    words, characters = [], []
    for text, codes in zip(texts, domain.encode(texts), strict=True):
        whole = len(codes) < domain.longest
        read = text if len(codes) <= domain.longest else domain.tokenizer.decode(codes[: domain.longest])
        words.append(len(read.split()) + whole)
        characters.append(len(read) + whole)
    return np.array(words), np.array(characters)


def rates(domain: Any, texts: Any, log_p: float) -> dict[str, float]:
    """Of texts (N,) whose mean log p(x) is `log_p` nats: nats_per_word, perplexity (its exponential) and bits_per_character."""
    words, characters = (size.mean() for size in sizes(domain, texts))
    nats = -log_p / words
    return {
        "nats_per_word": nats,
        "perplexity": math.exp(min(nats, 700.0)),
        "bits_per_character": -log_p / characters / math.log(2),
    }


def text_lines(results: Mapping[str, Any]) -> list[str]:
    """What `rates` found, for people; none where it was not asked."""
    if "perplexity" not in results:
        return []
    return [
        f"a word          {results['nats_per_word']:.3f} nats, perplexity {results['perplexity']:.2f} (the end counts as a word)",
        f"a character     {results['bits_per_character']:.3f} bits",
    ]
