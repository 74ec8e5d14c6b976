"""How well texts are known, in the units of the field."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from vaekit.show.words import have_words


def sizes(kind: Any, texts: Any) -> tuple[np.ndarray, np.ndarray]:
    """Words and characters of texts (N,), as far as the model reads them: (N,) and (N,) whole numbers.

    The end of a text counts as one of each, since it is predicted too: the field computes the perplexity of sentences in this way. A text that
    the model cuts has none.
    """
    words, characters = [], []
    for text, codes in zip(texts, kind.encode(texts), strict=True):
        whole = len(codes) < kind.longest
        read = text if len(codes) <= kind.longest else kind.tokenizer.decode(codes[: kind.longest])
        words.append(len(read.split()) + whole)
        characters.append(len(read) + whole)
    return np.array(words), np.array(characters)


def rates(kind: Any, texts: Any, log_p: float) -> dict[str, float]:
    """Rates of texts (N,) whose mean log p(x) is `log_p` nats: the numbers of words, tokens and characters, ends included; nats_per_word,
    perplexity (its exponential) and bits_per_character. Numbers per word are left out if texts have no spaces, as in Chinese."""
    words, characters = sizes(kind, texts)
    nats = -log_p / words.mean()
    of_words = {"words": int(words.sum()), "nats_per_word": nats, "perplexity": math.exp(min(nats, 700.0))}
    return {
        **(of_words if have_words(texts) else {}),
        "tokens": sum(min(len(codes) + 1, kind.longest) for codes in kind.encode(texts)),
        "characters": int(characters.sum()),
        "bits_per_character": -log_p / characters.mean() / math.log(2),
    }


def compare_with_language_model(results: Mapping[str, Any], log_p: np.ndarray) -> dict[str, Any]:
    """Compare the `results` of a model with log p(x) (N,) of the same texts by a language model of the same size.

    Returns:
        language_model_nll, language_model_bits_per_character and language_model_perplexity; gain: by how many nats per text the IW-NLL is lower, which is
        the least that z is worth; verdict, with a sentence on it.
    """
    nll = -float(log_p.mean())
    gain = nll - results["iw_nll"]
    how = "better" if gain >= 0 else "worse, so z does not help to predict the text"
    said = f"A language model of the same size needs {nll:.2f} nats per text: the IW-NLL is {abs(gain):.2f} nats {how}."
    ratio, of_words = nll / results["iw_nll"], {}
    if "nats_per_word" in results:
        of_words = {"language_model_perplexity": math.exp(min(ratio * results["nats_per_word"], 700.0))}
    return {
        "language_model_nll": nll,
        "language_model_bits_per_character": ratio * results["bits_per_character"],
        **of_words,
        "gain": gain,
        "verdict": f"{results['verdict']} {said}",
    }


def text_lines(results: Mapping[str, Any]) -> list[str]:
    """Write what `rates` and `compare_with_language_model` found as lines; none if the model is not of texts."""
    if "bits_per_character" not in results:
        return []
    lines = [
        f"tokens          {results['tokens']:,} of {results['characters']:,} characters (the end of a text is one of each)",
        f"per character   {results['bits_per_character']:.3f} bits",
    ]
    if "perplexity" in results:
        lines.append(
            f"per word        {results['nats_per_word']:.3f} nats, perplexity {results['perplexity']:.2f} of {results['words']:,} words"
        )
    if "gain" in results:
        bits = f"{results['language_model_bits_per_character']:.3f} bits per character"
        lines.append(
            f"without z       {results['language_model_nll']:.2f} nats, {bits}: a language model of the same size"
        )
    return lines
