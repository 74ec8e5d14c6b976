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
    """Of texts (N,) whose mean log p(x) is `log_p` nats: how many words and tokens they have, ends included; nats_per_word,
    perplexity (its exponential) and bits_per_character."""
    words, characters = sizes(domain, texts)
    nats = -log_p / words.mean()
    return {
        "words": int(words.sum()),
        "tokens": sum(min(len(codes) + 1, domain.longest) for codes in domain.encode(texts)),
        "nats_per_word": nats,
        "perplexity": math.exp(min(nats, 700.0)),
        "bits_per_character": -log_p / characters.mean() / math.log(2),
    }


def beside(results: Mapping[str, Any], log_p: np.ndarray) -> dict[str, Any]:
    """What `results` of a model and log p(x) (N,) of the same texts by a language model of the same size say together.

    Returns:
        language_model_nll and language_model_perplexity; gain: by how many nats a text the IW-NLL is lower, which is what z is
        worth at least; verdict, with a sentence on it.
    """
    nll = -float(log_p.mean())
    gain = nll - results["iw_nll"]
    how = "better" if gain >= 0 else "worse: as a density of texts the model would be better without z"
    said = (
        f"Beside a language model of the same size ({nll:.2f} nats a text): z carries {results['kl']:.2f} nats, "
        f"{results['active_units']} of {results['latent_units']} units are active, and the IW-NLL is {abs(gain):.2f} nats {how}."
    )
    return {
        "language_model_nll": nll,
        "language_model_perplexity": math.exp(min(nll * results["nats_per_word"] / results["iw_nll"], 700.0)),
        "gain": gain,
        "verdict": f"{results['verdict']} {said}",
    }


def text_lines(results: Mapping[str, Any]) -> list[str]:
    """What `rates` and `beside` found, for people; none where it was not asked."""
    if "perplexity" not in results:
        return []
    lines = [
        f"words, tokens   {results['words']:,}, {results['tokens']:,} (the end of a text is one of each)",
        f"a word          {results['nats_per_word']:.3f} nats, perplexity {results['perplexity']:.2f}",
        f"a character     {results['bits_per_character']:.3f} bits",
    ]
    if "gain" not in results:
        return lines
    return [
        *lines,
        f"without z       {results['language_model_nll']:.2f} nats, perplexity {results['language_model_perplexity']:.2f}: "
        "a language model of the same size",
    ]
