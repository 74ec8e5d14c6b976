"""Errors that a user can mend, and notes. The command line prints an error's one line and exits with 2."""

from __future__ import annotations

import difflib
import inspect
import re
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

# How PyTorch says so: of main memory, of a GPU's, and of a tensor that is larger than any memory.
OUT_OF_MEMORY = "can't allocate memory|out of memory|Storage size calculation overflowed"


class UserError(ValueError):
    """A mistake that the user can mend: one line that says what was wrong, where, and what to do.

    Example:
        >>> vaekit.VAE(latent_dim=2.5).fit(X)
        Traceback (most recent call last):
        vaekit.errors.UserError: ...
    """

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(str(message).splitlines()))


class MissingExtra(UserError, ImportError):  # noqa: N818
    """A package that an optional part needs is not installed."""


def extra_needed(extra: str, package: str) -> MissingExtra:
    """Make the error to raise if `package`, which comes with the extra `extra`, is not installed."""
    return MissingExtra(f"this needs the package {package}, which is not installed: pip install 'vaekit[{extra}]'")


def out_of_memory(error: BaseException) -> bool:
    """Whether an error says that there is not enough memory."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and bool(re.search(OUT_OF_MEMORY, str(error)))
    )


def near_matches(word: str, known: Iterable[str]) -> str:
    """The end of an error about an unknown `word`: "; did you mean 'label'? (known: a, b, label)".

    Names at most 20 of the known words; empty if none is known.
    """
    known = list(known)
    if not known:
        return ""
    listed = ", ".join(known[:20]) + (f" and {len(known) - 20} more" if len(known) > 20 else "")
    folded = {each.casefold(): each for each in reversed(known)}
    near = difflib.get_close_matches(word, known, n=1) or [
        folded[each] for each in difflib.get_close_matches(word.casefold(), folded, n=1)
    ]
    return f"; did you mean {near[0]!r}? (known: {listed})" if near else f" (known: {listed})"


def printable(text: str) -> str:
    """Write out all characters that cannot be seen: the name of a file must not control a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t" else ascii(c)[1:-1] for c in text)


class Note(UserWarning):
    """Something was left out, changed or guessed. The command line prints it as "note: ..."; in Python it is a warning."""


_listeners: ContextVar[tuple[list[str], ...]] = ContextVar("listeners", default=())


def note(text: str) -> None:
    """Tell the user what was left out, changed or guessed: one sentence with a count and a name."""
    tell([text])


def tell(notes: Iterable[str]) -> None:
    """Tell the user several notes."""
    for text in notes:
        for kept in _listeners.get():
            kept.append(text)
        warnings.warn(text, Note, stacklevel=outside())


def outside() -> int:
    """The stack level, as `tell` counts it, of the first line that is not vaekit's own: a warning shows the user's line."""
    frame = inspect.currentframe()
    level = 0
    while frame and frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] == "vaekit":
        level, frame = level + 1, frame.f_back
    return level


@contextmanager
def kept_notes() -> Iterator[list[str]]:
    """A list of the notes that are made within this context."""
    kept: list[str] = []
    token = _listeners.set((*_listeners.get(), kept))
    try:
        yield kept
    finally:
        _listeners.reset(token)
