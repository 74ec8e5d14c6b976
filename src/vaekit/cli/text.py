"""What verbs do with texts only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vaekit.cli.common import told
from vaekit.errors import UserError, note


def reconstructed(texts: Any, rows: Any, path: Path) -> None:
    """Write texts (N,) beside their reconstructions: as columns of a table, or as lines; a .txt gets the reconstructions only."""
    from vaekit.uses.write import STDOUT, write_lines, write_table

    if path == STDOUT:
        write_lines(path, (line for text, row in zip(texts, rows, strict=True) for line in (text, f"-> {row}")))
    elif path.suffix.lower() == ".txt":
        write_lines(path, rows)
    else:
        write_table(path, {"text": texts, "reconstruction": rows})
    told(f"{len(rows)} reconstructions", path)


def walked(first: str, rows: Any, last: str) -> None:
    """Print an interpolation between two texts. Each end stands beside its own reconstruction."""
    from vaekit.uses.write import STDOUT, write_lines

    write_lines(STDOUT, [first, *(f"-> {row}" for row in rows), last])


def is_row(text: str) -> bool:
    """Whether this names a row of a source, such as captions.txt[12] or reviews.csv:text[3], rather than being a text."""
    return re.search(r"\.(txt|csv|tsv|parquet|jsonl)(\.gz)?(:[^:]+)?\[\d+\]$", text) is not None


def typed(text: str) -> str:
    if not text.strip():
        raise UserError("one of the two texts is empty: give two, each in quotes")
    return text


def look_for_gaps(texts: Any, source: str) -> None:
    """Note a source without gaps: its gaps are probably written in another way."""
    from vaekit.kinds.text.fill_in import GAP

    if not any(re.search(GAP, text) for text in texts):
        note(f"{source} has no gap: write ___ (three underscores) in place of a word that is missing")


def with_rates(judged: Iterable[dict[str, Any]], kind: Any, texts: Any) -> Iterator[dict[str, Any]]:
    """Yield scores of texts, piece by piece, also per character, and per word if texts have words; and how many tokens the
    model does not know, if any."""
    import numpy as np

    from vaekit.kinds.text.rates import sizes
    from vaekit.show.words import have_words

    spaced = have_words(texts)
    for each in judged:
        words, characters = sizes(kind, texts[each["row"]])
        score = each["score"]
        bits = {"characters": characters, "bits_per_character": -score / characters / np.log(2)}
        of_words = {"words": words, "nats_per_word": -score / words} if spaced else {}
        lost = {"unknown": kind.unknown(texts[each["row"]])} if kind.unwritten else {}
        yield {"row": each["row"], "score": score, **of_words, **bits, **lost, **each}
