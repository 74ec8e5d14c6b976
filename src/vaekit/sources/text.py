"""Texts as sources: the lines of a .txt file, or the column of a table that `column` names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from vaekit.errors import UserError, near_matches
from vaekit.frame import in_words
from vaekit.sources.base import Ask, Dataset, content_of, decoded, take


def read_text(ask: Ask) -> Dataset:
    """Read each line as a text, with its spaces; blank lines are left out. Only \\n, \\r\\n and \\r end a line."""
    if ask.conditions and not ask.optional_conditions:
        raise UserError(
            f"{ask.text} holds only texts, without a label {ask.conditions[0]!r}: give a .csv with a column for each, and "
            "name the column of texts with --column"
        )
    content = content_of(ask.path)
    if not content:
        raise UserError(f"{ask.text} is empty: give a file with a text on each line")
    text = decoded(content, ask).replace("\r\n", "\n").replace("\r", "\n")
    if (place := text.find("\0")) >= 0:
        raise nul_byte(ask, 1 + text.count("\n", 0, place))
    lines = text.removesuffix("\n").split("\n")
    kept = [line for line in lines if line.strip()]
    notes = []
    if blank := [i for i, line in enumerate(lines, 1) if not line.strip()]:
        notes.append(blank_note(ask, len(blank), blank[0]))
    if not kept:
        raise UserError(f"{ask.text} has only blank lines ({len(lines)}): give a file with a text on each line")
    return Dataset(np.array(kept, dtype=object), "text", name_of(ask), None, take({}, ask), notes)


def name_of(ask: Ask) -> str:
    return re.sub(r"(\.txt)?(\.gz)?$", "", ask.path.name, flags=re.IGNORECASE)


def column_of(data: Dataset, ask: Ask) -> Dataset:
    """Make a Dataset of the texts in the column `ask.column` of a table; rows without a text are left out."""
    name = ask.column
    if name in data.conditions:
        raise UserError(f"{name!r} is the column of texts, so it cannot be a condition too: leave out one of the two")
    frame = data.x.whole()
    check_texts(ask, {each: frame.type_of(each) for each in frame.columns})
    texts = np.array(frame.select([name]).table()[name].to_pylist(), dtype=object)
    full = np.array([bool(text and text.strip()) for text in texts], dtype=bool)
    notes = list(data.notes)
    if not full.any():
        raise no_texts(ask)
    if not full.all():
        notes.append(empty_note(ask, int((~full).sum()), int(np.argmin(full))))
    conditions = {key: values[full] for key, values in data.conditions.items()}
    return Dataset(texts[full], "text", data.name, None, conditions, notes)


def check_texts(ask: Ask, types: Mapping[str, Any]) -> None:
    """UserError if a table, with columns of these Arrow types, has no column of texts of the name that was asked for."""
    name = str(ask.column)
    if name not in types:
        raise UserError(f"{ask.text} has no column {name!r}{near_matches(name, types)}")
    if not is_text(types[name]):
        others = ", ".join(other for other, kind in types.items() if is_text(kind))
        raise UserError(
            f"{ask.text}: column {name!r} holds {in_words(types[name])}, not texts; columns of text: {others or 'none'}"
        )


def no_texts(ask: Ask) -> UserError:
    return UserError(f"{ask.text}: column {ask.column!r} has no text in any row: name another")


def empty_note(ask: Ask, count: int, first: Any) -> str:
    return (
        f"{ask.text}: rows without a text in {ask.column!r} that were skipped: {count}, the first is row {first} "
        "(counted from 0)"
    )


def blank_note(ask: Ask, count: int, first: Any) -> str:
    return f"{ask.text}: blank lines that were skipped: {count}, the first is line {first}"


def nul_byte(ask: Ask, line: int) -> UserError:
    return UserError(
        f"{ask.text}, line {line} (the first is 1), has a NUL byte: it is not a text file, or it has another "
        "encoding, such as --encoding utf-16"
    )


def is_text(kind: Any) -> bool:
    """Whether an Arrow type holds strings, or categories that are strings."""
    from pyarrow import types

    kind = kind.value_type if types.is_dictionary(kind) else kind
    return types.is_string(kind) or types.is_large_string(kind)
