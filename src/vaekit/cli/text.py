"""What verbs do with texts that they do with nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vaekit.cli.common import told
from vaekit.errors import UserError

SAMPLES = 20  # importance samples of a text: each is a run of a language model


def reconstructed(texts: Any, rows: Any, path: Path) -> None:
    """Texts (N,) beside what they come back as: columns of a table, or lines below each other; of a .txt the latter alone."""
    from vaekit.uses.write import STDOUT, write_lines, write_table

    if path == STDOUT:
        write_lines(path, (line for text, row in zip(texts, rows, strict=True) for line in (text, f"-> {row}")))
    elif path.suffix.lower() == ".txt":
        write_lines(path, rows)
    else:
        write_table(path, {"text": texts, "reconstruction": rows})
    told(f"{len(rows)} reconstructions", path)


def ends(*texts: str) -> tuple[str, ...]:
    """The ends of a way between texts, which are what was typed."""
    for text in texts:
        if not text.strip():
            raise UserError("an end of the way is an empty text: give two, each in quotes")
    return texts


def with_rates(judged: Iterable[dict[str, Any]], domain: Any, texts: Any) -> Iterator[dict[str, Any]]:
    """Scores of texts, piece by piece, with what they are a word and a character."""
    import numpy as np

    from vaekit.evaluation.texts import sizes

    for each in judged:
        words, characters = sizes(domain, texts[each["row"]])
        score = each["score"]
        rates = {"nats_per_word": -score / words, "bits_per_character": -score / characters / np.log(2)}
        yield {"row": each["row"], "score": score, "words": words, **rates, **each}
