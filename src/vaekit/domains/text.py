"""Texts, such as sentences: rows of tokens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vaekit.domains.base import Domain
from vaekit.errors import UserError, note
from vaekit.files import write_text
from vaekit.nets.text import ENCODER_LAYERS, END, SIZES
from vaekit.parts import Part, check_options, choose

TOKENIZER = "tokenizer.json"  # of a run directory
LONGEST = 128
LONGEST_PIECE = 24  # bytes: what is longer is learned by heart, and of no use to other texts
UNKNOWN = "<unk>"  # what a word or character that has no token is read as


@dataclass
class Text(Domain):
    """Schema of texts.

    The model sees codes, one for each token: 0 ends a text, and token i of the tokenizer is i + 1. So no text can spell what
    only the model is to say. A text of more than `longest` tokens is cut, and has no end.

    Attributes:
        level: what a token is: "bpe" (byte pairs: pieces of words, which any text is made of), "word" (what stands between
            spaces) or "char".
        vocabulary: number of codes.
        longest: tokens of a text, its end included.
        cut: texts of the data that were longer.
    """

    level: str
    vocabulary: int
    longest: int
    cut: int = 0

    kind: ClassVar[str] = "text"
    least_latent_dim: ClassVar[int] = 0  # which leaves a language model
    path: ClassVar[str] = "spherical"
    iw_samples: ClassVar[int] = 20  # a transformer's pass for each
    objective: ClassVar[Part] = {"name": "kl_floor", "nats": 8.0}  # a decoder of texts ignores z without
    training: ClassVar[dict[str, Any]] = {
        "batch_size": 64, "learning_rate": 2e-3, "like_lengths": True, "least_epochs": 20,
    }  # fmt: skip

    def __post_init__(self) -> None:
        # Of Hugging Face's tokenizers: no plain value, so a run keeps it in a file of its own.
        self.tokenizer: Any = None

    @classmethod
    def infer(cls, texts: Sequence[str], *, tokenizer: Part | None = None, **_: Any) -> Text:
        """Learn the tokens from texts (N,).

        Args:
            tokenizer: "bpe", "word" or "char", or a dict of that name and of
                vocabulary: at most so many tokens; of words and characters the most frequent ones.
                longest: tokens of a text, its end included.
        """
        name, options = choose("tokenizer", tokenizer or "bpe", TOKENIZERS)
        check_options("tokenizer", name, options, TOKENIZERS[name])
        given = check_texts(texts)
        options = {"longest": LONGEST, **options}
        self = cls(name, 0, options["longest"])
        self.tokenizer = TOKENIZERS[name](given, **options)
        self.vocabulary = self.tokenizer.get_vocab_size() + 1
        codes = self.encode(given)
        if len(set().union(*map(set, codes))) < 2:
            raise UserError(f"all texts are made of the one token {given[0].strip()[:20]!r}: there is nothing to learn")
        lengths = np.array([len(c) + 1 for c in codes])
        self.longest, self.cut = min(self.longest, int(lengths.max())), int((lengths > self.longest).sum())
        if self.cut:
            note(
                f"{self.cut} of {len(given)} texts have more than {self.longest} tokens and are cut: --tokenizer.longest takes more"
            )
        return self

    @staticmethod
    def default_likelihood(texts: Any, binarize: str | None = None) -> str:
        return "causal"

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (self.longest,)

    @property
    def unit(self) -> Tensor:
        return torch.ones(self.longest)

    def likelihood_options(self, size: str, latent_dim: int) -> dict[str, Any]:
        # Words are hidden so that z is needed: without one it would make a language model worse than it is.
        return {"vocabulary": self.vocabulary, **SIZES[size], **({} if latent_dim else {"word_dropout": 0.0})}

    def conform(self, texts: Any) -> np.ndarray:
        return check_texts(texts)

    def encode(self, texts: Iterable[str]) -> list[list[int]]:
        """The tokenizer's tokens, without the end, not cut."""
        return [e.ids for e in self.tokenizer.encode_batch_fast(list(texts))]

    def pack(self, texts: Any, dtype: Any = None, jitter: Any = None) -> tuple[Tensor, Tensor]:
        """Texts (N,) -> codes (N, T) int32, 0 behind the end, and where there is a code; T is the longest of these."""
        codes = [[i + 1 for i in c[: self.longest]] for c in self.encode(self.conform(texts))]
        codes = [c if len(c) == self.longest else [*c, END] for c in codes]
        lengths = torch.tensor([len(c) for c in codes])
        mask = torch.arange(int(lengths.max()) if len(codes) else 1) < lengths[:, None]
        x = torch.full(mask.shape, END, dtype=torch.int32)
        x[mask] = torch.tensor([i for c in codes for i in c], dtype=torch.int32)
        return x, mask

    def batch(self, x: Tensor, uniform: Any = None, dtype: Any = None) -> Tensor:
        return x.long()

    def unpack(self, x: Tensor) -> np.ndarray:
        """Codes (N, T) -> texts (N,), each up to its end."""
        rows = [row[: row.index(END)] if END in row else row for row in x.long().tolist()]
        return np.array([self.tokenizer.decode([i - 1 for i in row]) for row in rows], dtype=object)

    def networks(self, size: str, network: str) -> tuple[Any, Any]:
        from vaekit.nets import MLP
        from vaekit.nets.text import TextEncoder

        if network != "auto":
            raise UserError(f"network {network!r} is for pictures and numbers: leave it out for texts")
        options = {**SIZES[size], "layers": ENCODER_LAYERS[size]}
        return partial(TextEncoder, vocabulary=self.vocabulary, **options), partial(MLP, hidden=(2 * options["width"],))

    def write(self, folder: Path) -> None:
        """What a config has no room for."""
        write_text(folder / TOKENIZER, self.tokenizer.to_str())

    def read(self, folder: Path) -> None:
        try:
            self.tokenizer = tokenizers().Tokenizer.from_str((folder / TOKENIZER).read_text(encoding="utf-8"))
        except Exception as e:  # which of its own the library does not say
            raise UserError(f"{folder / TOKENIZER} cannot be read: {e}") from e
        if self.tokenizer.get_vocab_size() + 1 != self.vocabulary:
            raise UserError(f"{folder / TOKENIZER} is not the one that this run was trained with")

    def describe(self) -> list[str]:
        what = {"bpe": "byte pairs", "word": "words", "char": "characters"}[self.level]
        return [f"{self.vocabulary} tokens, {what}", f"at most {self.longest} of them a text"]


def byte_pairs(texts: Sequence[str], *, vocabulary: int = 8000, longest: int = LONGEST) -> Any:
    """Pieces of words, learned from the texts, down to single bytes (Sennrich et al. 2016, arXiv 1508.07909)."""
    lib = tokenizers()
    tokenizer = lib.Tokenizer(lib.models.BPE())
    tokenizer.pre_tokenizer = lib.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = lib.decoders.ByteLevel()
    trainer = lib.trainers.BpeTrainer(
        vocab_size=max(vocabulary, 256), min_frequency=2, show_progress=False,
        initial_alphabet=lib.pre_tokenizers.ByteLevel.alphabet(), max_token_length=LONGEST_PIECE,
    )  # fmt: skip
    # No more of a text than is ever read, since learning from a word takes the square of its length.
    tokenizer.train_from_iterator((text[: LONGEST_PIECE * longest] for text in texts), trainer)
    return tokenizer


def words(texts: Sequence[str], *, vocabulary: int = 10_000, longest: int = LONGEST) -> Any:
    """What stands between spaces."""
    lib = tokenizers()
    tokenizer = known(Counter(w for text in texts for w in text.split()), vocabulary)
    tokenizer.pre_tokenizer = lib.pre_tokenizers.WhitespaceSplit()
    return tokenizer


def characters(texts: Sequence[str], *, vocabulary: int = 1000, longest: int = LONGEST) -> Any:
    """Characters of Unicode."""
    lib = tokenizers()
    tokenizer = known(Counter(c for text in texts for c in text), vocabulary)
    tokenizer.pre_tokenizer = lib.pre_tokenizers.Split(lib.Regex("(?m)."), "isolated")
    tokenizer.decoder = lib.decoders.Fuse()
    return tokenizer


TOKENIZERS: dict[str, Any] = {"bpe": byte_pairs, "word": words, "char": characters}


def known(counts: Counter[str], vocabulary: int) -> Any:
    """A tokenizer that knows the most frequent ones."""
    lib = tokenizers()
    counts.pop(UNKNOWN, None)
    kept = sorted(counts, key=lambda w: (-counts[w], w))[: vocabulary - 1]
    return lib.Tokenizer(lib.models.WordLevel({w: i for i, w in enumerate([UNKNOWN, *kept])}, unk_token=UNKNOWN))


def tokenizers() -> Any:
    """The library, which takes a moment to import."""
    import tokenizers as lib
    import tokenizers.decoders
    import tokenizers.models
    import tokenizers.pre_tokenizers
    import tokenizers.trainers

    return lib


def is_texts(x: Any) -> bool:
    """Whether these are texts: a list, an array or a column of them."""
    if isinstance(x, str | bytes | Mapping) or getattr(x, "ndim", 1) != 1 or hasattr(x, "columns"):
        return False
    return isinstance(next(iter(x), None), str) if isinstance(x, Iterable) else False


def check_texts(texts: Any) -> np.ndarray:
    """Texts (N,) as an object array; UserError for what is none."""
    if isinstance(texts, str):
        raise UserError(f"got one text, {texts[:20]!r}: give a list of texts")
    array = np.array(list(texts), dtype=object)
    for i, text in enumerate(array.tolist()):
        if not isinstance(text, str):
            raise UserError(f"text {i} is {text!r}: leave it out, or give a string")
    return array
