"""Texts: rows of tokens. It needs Hugging Face's package tokenizers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from vaekit.errors import MissingExtra, UserError, note
from vaekit.forms.base import Form, Packed

END = 0  # the code that ends a text; token i has the code i + 1
UNKNOWN = "<unk>"  # what a word or character that has no token is read as


@dataclass
class Tokens(Form):
    """Texts (N,). The model sees codes (N, longest), int32.

    Attributes:
        level: what a token is: "bpe", "word", "char" or "own". longest: tokens of a text at most, its end included.
        tokens: token i has the code i + 1. merges: of "bpe", the pairs that are joined, in order.
        unknown: the code of a word or character that has no token. own: the content of the file of a user's tokenizer.
    """

    level: str
    longest: int
    tokens: list[str]
    merges: list[Sequence[str]] = field(default_factory=list)
    unknown: int | None = None
    own: Any = None
    pads: ClassVar[bool] = True

    media: ClassVar[tuple[str, ...]] = ()

    def schema(self, gaps: bool) -> dict[str, Any]:
        return {"type": "string"}

    def listed(self, rows: np.ndarray) -> list[str]:
        return rows.tolist()

    @cached_property
    def tokenizer(self) -> Any:
        lib = tokenizers()
        if self.own is not None:
            return lib.Tokenizer.from_str(json.dumps(self.own))
        codes = {token: i for i, token in enumerate(self.tokens)}
        if self.level == "bpe":
            return dressed(lib.models.BPE(codes, [(a, b) for a, b in self.merges]), self.level)
        return dressed(lib.models.WordLevel(codes, unk_token=UNKNOWN), self.level)

    def pack(self, X: Any) -> Packed:
        texts = check_texts(X)
        encoded = self.tokenizer.encode_batch_fast(texts.tolist(), add_special_tokens=False)
        x = np.full((len(texts), self.longest), END, dtype=np.int32)
        mask = np.zeros(x.shape, dtype=bool)
        for row, (codes, there) in enumerate(zip(x, mask, strict=True)):
            kept = np.asarray(encoded[row].ids[: self.longest], dtype=np.int32) + 1
            codes[: len(kept)], there[: len(kept) + 1] = kept, True
        if cut := sum(len(each.ids) >= self.longest for each in encoded):
            note(f"texts that were cut: {cut} of {len(texts)}; the model reads at most {self.longest} tokens of a text")
        if self.unknown is not None and (lost := int((x == self.unknown).sum())):
            note(f"tokens that the model does not know: {lost} of {int(mask.sum())}; each is read as {UNKNOWN}")
        return x, mask

    def unpack(self, x: np.ndarray) -> np.ndarray:
        """Codes (N, T) -> texts (N,), each up to its end."""
        rows = [row[: row.index(END)] if END in row else row for row in x.astype(int).tolist()]
        return np.array([self.tokenizer.decode([i - 1 for i in row]) for row in rows], dtype=object)


def tokenizers() -> Any:
    """Import the library, which takes a moment. UserError if it is not installed."""
    try:
        import tokenizers as lib
        import tokenizers.decoders
        import tokenizers.models
        import tokenizers.pre_tokenizers
        import tokenizers.trainers
    except ImportError as e:
        raise MissingExtra("texts need the package tokenizers, which is not installed: pip install tokenizers") from e
    return lib


def dressed(model: Any, level: str) -> Any:
    """A tokenizer with this model of tokens: how it splits texts before, and joins tokens after."""
    lib = tokenizers()
    tokenizer = lib.Tokenizer(model)
    if level == "bpe":
        tokenizer.pre_tokenizer = lib.pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = lib.decoders.ByteLevel()
    elif level == "word":
        tokenizer.pre_tokenizer = lib.pre_tokenizers.WhitespaceSplit()
    else:
        tokenizer.pre_tokenizer = lib.pre_tokenizers.Split(lib.Regex("(?m)."), "isolated")
        tokenizer.decoder = lib.decoders.Fuse()
    return tokenizer


def is_texts(x: Any) -> bool:
    """Whether these are texts: a list, an array or a column of them."""
    if isinstance(x, str | bytes | Mapping | Iterator) or getattr(x, "ndim", 1) != 1 or hasattr(x, "columns"):
        return False
    first = next(iter(x), None) if isinstance(x, Iterable) else None
    return isinstance(first, str) or is_tokens(first)


def is_tokens(x: Any) -> bool:
    """Whether this is a list of words, which is not yet a text."""
    return isinstance(x, list | tuple) and len(x) > 0 and all(isinstance(word, str) for word in x)


def check_texts(texts: Any) -> np.ndarray:
    """Make an object array of texts (N,). UserError if something in it is not a text."""
    if isinstance(texts, str):
        raise UserError(
            f"got one text, {texts[:20]!r}: give a list of texts, or, if it is the name of a file, vaekit.read of it"
        )
    if isinstance(texts, Iterator):
        raise UserError(f"X is a {type(texts).__name__}, which can be read only once: give list(X)")
    if isinstance(texts, Mapping) or not hasattr(texts, "__len__") or getattr(texts, "ndim", 1) == 0:
        raise UserError(f"X is {str(texts)[:40]}: give the rows, a list of texts")
    array = np.empty(len(texts), dtype=object)
    array[:] = list(texts)
    for i, text in enumerate(array.tolist()):
        if is_tokens(text):
            raise UserError(f"text {i} is a list of words: give each text as one string, such as ' '.join(words)")
        if not isinstance(text, str):
            raise UserError(f"text {i} is {text!r}: leave it out, or give a string")
    return array
