"""Columns that only tell rows apart: customer numbers, names, e-mail addresses, row numbers.

As categories each row would be one: the model would learn the list by heart, to the harm of the other columns, and samples would
hand out what belongs to real people. So such columns are left out where the user does not say what they are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Set

from vaekit.errors import UserError, tell
from vaekit.frame.cells import listed

LEAST = 20  # rows: of fewer nothing is said
SHARE = 0.8  # of the rows of a column of text have a value of their own
NAME = r"(?i:(^|[\W_])(id|ids|uid|uuid|guid|key|index|idx|phone|telephone|mobile|ssn|iban|isbn)\d*|unnamed: 0)$|[a-z](Id|ID)$"
YEARS = (1800, 2100)
UNIX = (5e8, 4.2e9)  # seconds since 1970 that are likely to be a time
WORDS = 4  # a cell, from which on text is prose


def numbers_rows(name: str, low: float, high: float, rows: int) -> bool:
    """Whether distinct whole numbers only number the rows: they follow one another, or the column is called an identifier, or all
    have the same number of digits, nine or more. Years and seconds since 1970 do not count."""
    low, high = float(low), float(high)
    consecutive = high - low == rows - 1 and not (YEARS[0] <= low and high <= YEARS[1])
    time = any(UNIX[0] * unit <= low and high <= UNIX[1] * unit for unit in (1, 1e3, 1e6))
    long = low >= 1e8 and len(str(int(low))) == len(str(int(high))) and not time
    return consecutive or long or bool(re.search(NAME, name))


def leave_out(found: Mapping[str, str], texts: Set[str], *, alone: bool) -> None:
    """Tell the user which columns are left out. UserError if no column is left.

    Args:
        found: why a column looks like an identifier, by name. texts: columns that hold texts of several words.
        alone: whether these are all columns.
    """
    names = [name for name in found if name not in texts]
    prose = [name for name in found if name in texts]
    why = []
    if names:
        why.append(
            f"columns that look like identifiers were left out: {listed(f'{name} ({found[name]})' for name in names)}; "
            f"to keep one, say so in the schema: {names[0]}: categorical"
        )
    if prose:
        why.append(
            f"columns that hold texts were left out: {listed(f'{name} ({found[name]})' for name in prose)}; "
            f"--column {prose[0]}, or in Python a list of texts, learns to write such texts; to keep one as categories, say so in "
            f"the schema: {prose[0]}: categorical"
        )
    if alone:
        raise UserError("; ".join(["no column is left to learn from", *why]))
    tell(why)
