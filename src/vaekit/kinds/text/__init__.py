"""Texts, such as sentences: rows of tokens."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vaekit.errors import UserError, note
from vaekit.files import read_text, text_digest
from vaekit.forms.tokens import END, UNKNOWN, check_texts, dressed, is_texts, tokenizers
from vaekit.kinds.base import Kind
from vaekit.nets.text import ENCODER_LAYERS, SIZES
from vaekit.settings.options import MODEL, Option, Search
from vaekit.settings.parts import Part, check_options, choose
from vaekit.show.words import have_words
from vaekit.show.write import STDOUT, Names, write_lines, write_table
from vaekit.structures.semi_supervised import thinned

TOKENIZER = "tokenizer.json"  # of a run directory
LONGEST = 128
LONGEST_PIECE = 24  # bytes: what is longer is learned by heart, and of no use to other texts
SEEN = 1000  # texts that say whether texts have words

TOKENS = Option(
    "Texts: bpe (pieces of words; default), word, char, or the file of your own tokenizer, such as tokenizer.json. See also "
    "--tokenizer.vocabulary 10000 and --tokenizer.longest 64.", MODEL,
)  # fmt: skip


@dataclass
class Text(Kind):
    """Schema of texts.

    The model sees codes, one for each token: 0 ends a text, and token i of the tokenizer is i + 1. So no text can spell what
    only the model is to say. A text of more than `longest` tokens is cut, and has no end.

    Attributes:
        level: what a token is: "bpe" (byte pairs: pieces of words, which any text is made of), "word" (what stands between
            spaces), "char", or "own": what the user's own tokenizer has.
        vocabulary: number of codes.
        longest: tokens of a text at most, its end included, whatever the data's texts are.
        cut: texts of the data that were longer.
        tokens: a hash of the tokenizer's file.
    """

    level: str
    vocabulary: int
    longest: int
    cut: int = 0
    tokens: str = ""

    name: ClassVar[str] = "text"
    noun: ClassVar[str] = "texts"
    row: ClassVar[str] = "text"
    task: ClassVar[str] = "text-generation"
    report: ClassVar[str] = "vaekit.kinds.text.report:TextReport"
    only_likelihood: ClassVar[str] = "causal"
    source_kinds: ClassVar[tuple[str, ...]] = ("text",)
    comparison: ClassVar[str] = "language_model"
    give: ClassVar[str] = "give a .txt, or a column of a table as FILE.csv:COLUMN"
    calibration_rows: ClassVar[int] = 1000  # they take their time
    perturb_radius: ClassVar[float] = 0.0
    perturb = staticmethod(thinned)
    least_latent_dim: ClassVar[int] = 0  # which leaves a language model
    only_flat: ClassVar[bool] = True
    path: ClassVar[str] = "spherical"
    numeric: ClassVar[bool] = False
    varies: ClassVar[bool] = False
    endings: ClassVar[Sequence[str]] = (".txt", ".csv", ".parquet")
    printed: ClassVar[bool] = True
    iw_samples: ClassVar[int] = 20  # a transformer's pass for each
    score_samples: ClassVar[int] = 20
    objective: ClassVar[Part] = {"name": "kl_floor", "nats": 8.0}  # a decoder of texts ignores z without
    training: ClassVar[dict[str, Any]] = {
        "batch_size": 64, "learning_rate": 2e-3, "like_lengths": True, "least_epochs": 20,
    }  # fmt: skip
    ranges: ClassVar[dict[str, Search]] = {"batch_size": Search(choices=(16, 32, 64, 128))}

    def __post_init__(self) -> None:
        # Of Hugging Face's tokenizers: no plain value, so a run keeps it in a file of its own.
        self.tokenizer: Any = None

    @classmethod
    def recognises(cls, X: Any, likelihood: str) -> bool:
        return isinstance(X, str) or is_texts(X)

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        super().check_options(options)
        name, own = choose("tokenizer", tokenizer_part(options.get("tokenizer")), TOKENIZERS)
        check_options("tokenizer", name, own, TOKENIZERS[name])

    @classmethod
    def check(cls, X: Any, **options: Any) -> np.ndarray:
        return check_texts(X)

    @classmethod
    def plain(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        own = {"tokenizer": tokenizer_setting(options["tokenizer"])} if options.get("tokenizer") else {}
        return {**options, **own}

    @classmethod
    def infer(
        cls, texts: Sequence[str], standardize: bool = True, columns: Any = None, *,
        tokenizer: Annotated[Any, TOKENS] = None,
    ) -> Text:  # fmt: skip
        """Learn the tokens from texts (N,).

        Args:
            tokenizer: "bpe", "word", "char", a tokenizer of Hugging Face's library or its file (.json); or a dict with that as "name", and:
                vocabulary: the largest number of tokens; for words and characters, the most frequent ones.
                longest: the most tokens of a text, its end included.
        """
        name, options = choose("tokenizer", tokenizer_part(tokenizer), TOKENIZERS)
        given = check_texts(texts)
        options = {"longest": LONGEST, **options}
        self = cls(name, 0, options["longest"])
        self.tokenizer = TOKENIZERS[name](given, **options)
        self.vocabulary, self.tokens = codes_of(self.tokenizer), text_digest(self.tokenizer.to_str())
        codes = self.encode(given)
        if len(set().union(*map(set, codes))) < 2:
            raise UserError(f"all texts consist of the one token {given[0].strip()[:20]!r}: there is nothing to learn")
        self.cut = sum(len(c) >= self.longest for c in codes)
        return self

    @classmethod
    def default_likelihood(cls, rows: Any, **options: Any) -> str:
        return "causal"

    @property
    def event_shape(self) -> tuple[int, ...]:
        return (self.longest,)

    @property
    def unit(self) -> Tensor:
        return torch.ones(self.longest)

    def likelihood_options(self, size: str, latent_dim: int) -> dict[str, Any]:
        # Words are hidden so that z is needed: without one it would make a language model worse than it is.
        return {
            "vocabulary": self.vocabulary,
            "unwritten": sorted(self.unwritten),
            **SIZES[size],
            **({} if latent_dim else {"word_dropout": 0.0}),
        }

    @property
    def extent(self) -> str:
        return f"{self.longest} tokens a text"

    def conform(self, texts: Any) -> np.ndarray:
        return check_texts(texts)

    @cached_property
    def unwritten(self) -> set[int]:
        """Codes that no text has: those of unknown words, and of the tokenizer's markers."""
        special = {i for i, token in self.tokenizer.get_added_tokens_decoder().items() if token.special}
        unknown = self.tokenizer.token_to_id(getattr(self.tokenizer.model, "unk_token", None) or UNKNOWN)
        return {i + 1 for i in special | ({unknown} - {None})}

    def encode(self, texts: Iterable[str]) -> list[list[int]]:
        """Encode texts with the tokenizer, without the end, uncut."""
        return [e.ids for e in self.tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    def unknown(self, texts: Iterable[str]) -> np.ndarray:
        """The number of tokens of each text that the model does not know, (N,)."""
        return np.array([sum(i + 1 in self.unwritten for i in codes) for codes in self.encode(texts)])

    def pack(self, texts: Any, dtype: Any = None, jitter: Any = None) -> tuple[Tensor, Tensor]:
        """Turn texts (N,) into codes (N, T) int32, 0 after the end, and a mask of the codes. T is the length of the longest text."""
        texts = self.conform(texts)
        codes = [[i + 1 for i in c] for c in self.encode(texts)]
        self.note_what_is_lost(texts, codes)
        codes = [c[: self.longest] if len(c) >= self.longest else [*c, END] for c in codes]
        lengths = torch.tensor([len(c) for c in codes])
        mask = torch.arange(int(lengths.max()) if len(codes) else 1) < lengths[:, None]
        x = torch.full(mask.shape, END, dtype=torch.int32)
        x[mask] = torch.tensor([i for c in codes for i in c], dtype=torch.int32)
        return x, mask

    def batch(self, x: Tensor, uniform: Any = None, dtype: Any = None) -> Tensor:
        return x.long()

    def note_what_is_lost(self, texts: np.ndarray, codes: list[list[int]]) -> None:
        """Note how many of the texts (N,) are cut, and which tokens the model does not know."""
        if cut := sum(len(c) >= self.longest for c in codes):
            note(
                f"texts that were cut: {cut} of {len(codes)}; the model reads at most {self.longest} tokens of a text, its end "
                "included (fit with --tokenizer.longest for more)"
            )
        strange = [i for i, c in enumerate(codes) if not self.unwritten.isdisjoint(c)]
        if strange:
            lost, all_ = sum(i in self.unwritten for c in codes for i in c), sum(map(len, codes))
            encoding = self.tokenizer.encode(texts[strange[0]], add_special_tokens=False)
            first = next(encoding.offsets[i] for i, c in enumerate(encoding.ids) if c + 1 in self.unwritten)
            note(
                f"tokens that the model does not know: {lost} of {all_} ({lost / all_:.1%}), such as "
                f"{texts[strange[0]][slice(*first)]!r}; each is read as {UNKNOWN} (--tokenizer bpe reads any text)"
            )

    def written(  # type: ignore[override]
        self, p: Any, *, temperature: float = 1.0, top_p: float = 1.0, repetition_penalty: float = 1.0,
        max_length: int | None = None,
    ) -> Any:  # fmt: skip
        """p(x|z) as texts are to be written from it; see `vaekit.distributions.causal.Sentences`."""
        if not 0 <= temperature < math.inf:
            raise UserError(f"temperature is {temperature}: it has to be a number, 0 or more")
        if not 0 < top_p <= 1:
            raise UserError(f"top_p is {top_p}: it has to be above 0 and at most 1")
        if not 1 <= repetition_penalty < math.inf:
            raise UserError(f"repetition_penalty is {repetition_penalty}: it has to be a number, 1 or more")
        if max_length is not None and not 1 <= max_length <= self.longest:
            raise UserError(
                f"max_length is {max_length}: it has to be from 1 to {self.longest}, the longest that the model can write"
            )
        return replace(
            p, temperature=temperature, top_p=top_p, repetition_penalty=repetition_penalty, max_length=max_length
        )

    def spread(self, temperature: float) -> tuple[float, dict[str, Any]]:
        """The temperature is that of each token."""
        return 1.0, {"temperature": temperature}

    def why_not(self, use: str) -> str:
        filled = "gaps of texts are filled by a search, which no graph holds: `vaekit impute` fills them"
        return filled if use == "complete" else ""

    def impute(
        self, fitted: Any, X: Any, y: Any = None, *, draws: int | None, seed: int | None = None, track: Any = list
    ) -> list[np.ndarray]:
        from vaekit.kinds.text.fill_in import GAP, fill_in

        texts, seed = self.take(X), fitted.seed if seed is None else seed
        if not any(re.search(GAP, text) for text in texts):
            note("no text has a gap: write ___ (three underscores) in place of a word that is missing")
        return fill_in(fitted.model, self, texts, fitted.pack_conditions(y, len(texts)), draws, seed)

    def score_columns(self, rows: Any, some: slice, score: np.ndarray) -> dict[str, np.ndarray]:
        """A character, and a word if texts have words; and how many tokens the model does not know, if there can be any."""
        from vaekit.kinds.text.rates import sizes

        texts = rows[some]
        words, characters = sizes(self, texts)
        bits = {"characters": characters, "bits_per_character": -score / characters / np.log(2)}
        of_words = {"words": words, "nats_per_word": -score / words} if have_words(rows[:SEEN]) else {}
        return {**of_words, **bits, **({"unknown": self.unknown(texts)} if self.unwritten else {})}

    def ends(self, a: str, b: str) -> list[str]:
        return [a, b]

    def typed(self, text: str) -> str | None:
        """The text itself, unless it names a row of a source, such as captions.txt[12] or reviews.csv:text[3]."""
        if re.search(r"\.(txt|csv|tsv|parquet|jsonl)(\.gz)?(:[^:]+)?\[\d+\]$", text):
            return None
        if not text.strip():
            raise UserError("one of the two ends is an empty text: give two texts, each in quotes")
        return text

    def write(self, path: Path, rows: Any, names: Names = None) -> None:
        """Write or print texts (N,), a text a line, or as a column of a table."""
        if path.suffix.lower() in (".csv", ".parquet"):
            write_table(path, {**(names or {}), "text": rows})
        else:
            write_lines(path, rows)

    def write_reconstructions(self, path: Path, rows: Any, rebuilt: Any, names: Names = None) -> str:
        """Below each other where they are printed, and beside each other in a table; a .txt gets the reconstructions only."""
        if path == STDOUT:
            write_lines(path, (line for text, new in zip(rows, rebuilt, strict=True) for line in (text, f"-> {new}")))
        elif path.suffix.lower() == ".txt":
            write_lines(path, rebuilt)
        else:
            write_table(path, {**(names or {}), "text": rows, "reconstruction": rebuilt})
        return f"{len(rebuilt)} reconstructions"

    def write_path(self, path: Path, ends: Sequence[Any], rows: Any) -> None:
        """See `Kind.write_path`. If it is printed, each end stands beside its own reconstruction."""
        first, last = ends
        self.write(path, [first, *(f"-> {row}" for row in rows), last] if path == STDOUT else rows)

    def evaluate(self, fitted: Any, X: Any, y: Any, results: Mapping[str, Any]) -> dict[str, Any]:
        from vaekit.kinds.text.rates import rates

        return rates(self, self.take(X), -results["iw_nll"])

    def compared(self, results: Mapping[str, Any], log_p: np.ndarray) -> dict[str, Any]:
        from vaekit.kinds.text.rates import compare_with_language_model

        return compare_with_language_model(results, log_p)

    def decoded(self, p: Any, noise: Any, *, temperature: float = 0.0, **writing: Any) -> Tensor:
        """Decode to codes (N, T): the likeliest token each time, or a draw if the temperature is above 0."""
        return self.written(p, temperature=temperature, **writing).sample(1, noise)[0]

    def told(self, p: Any) -> dict[str, Tensor]:
        from vaekit.kinds.text.graph import write

        return {"x": write(p)}

    def drawn(self, p: Any, noise: Any, *, temperature: Any = 1.0) -> Tensor:  # type: ignore[override]
        from vaekit.kinds.text.graph import write

        uniform = torch.special.ndtr(noise(1, p.memory.shape[0], self.longest)[0])
        return write(p, uniform, torch.as_tensor(temperature))

    def unpack(self, x: Tensor) -> np.ndarray:
        """Turn codes (N, T) into texts (N,), each up to its end."""
        if cut := int((x != END).all(1).sum()):
            note(f"texts without an end: {cut} of {len(x)}; they reached the limit of {x.shape[1]} tokens")
        return np.array(self.lines(x), dtype=object)

    def lines(self, x: Tensor) -> list[str]:
        rows = [row[: row.index(END)] if END in row else row for row in x.long().tolist()]
        return [self.tokenizer.decode([i - 1 for i in row]) for row in rows]

    def networks(self, size: str, network: str) -> tuple[Any, Any]:
        from vaekit.nets import MLP
        from vaekit.nets.text import TextEncoder

        if network != "auto":
            raise UserError(f"network {network!r} is for pictures and numbers: leave it out for texts")
        options = {**SIZES[size], "layers": ENCODER_LAYERS[size]}
        return partial(TextEncoder, vocabulary=self.vocabulary, **options), partial(MLP, hidden=(2 * options["width"],))

    def files(self) -> dict[str, str]:
        return {TOKENIZER: self.tokenizer.to_str()}

    def read_files(self, folder: Path) -> None:
        path = folder / TOKENIZER
        try:
            text = read_text(path)
            self.tokenizer = tokenizers().Tokenizer.from_str(text)
        except Exception as e:  # which of its own the library does not say
            raise UserError(f"{path} cannot be read: {e}") from e
        if text_digest(text) != self.tokens:
            raise UserError(f"{path} is damaged, or this run was trained with another one: restore it from a copy")

    def reveals(self) -> list[str]:
        return [
            "tokenizer.json holds the tokens: words, or pieces of words, of the training texts. Names may be among them."
        ]

    def privacy(self, found: Mapping[str, Any] | None) -> list[str]:
        if not found:
            return ["Not checked: run `vaekit report RUN` before pushing."]
        return [
            f"{found['share']} of {found['written']} samples are training texts word for word. The same is true for "
            f"{found['reference']} of {found['held_out']} held-out texts: more copies than that are memorised texts."
        ]

    def form(self) -> dict[str, Any]:
        """See `Kind.form`. A user's own tokenizer comes whole, as `own`."""
        found = json.loads(self.tokenizer.to_str())
        tokens = {i: token for token, i in self.tokenizer.get_vocab(with_added_tokens=True).items()}
        unknown = self.tokenizer.token_to_id(getattr(self.tokenizer.model, "unk_token", None) or UNKNOWN)
        return {
            "type": "tokens",
            "event": list(self.event_shape),
            "level": self.level,
            "longest": self.longest,
            "vocabulary": self.vocabulary,
            "tokens": [tokens.get(i, "") for i in range(self.vocabulary - 1)],
            "merges": found["model"].get("merges", []) if self.level == "bpe" else [],
            "unknown": None if unknown is None else unknown + 1,
            **({"own": found} if self.level == "own" else {}),
        }

    def describe(self) -> list[str]:
        what = {"bpe": "byte pairs", "word": "words", "char": "characters", "own": "of your own tokenizer"}[self.level]
        return [f"{self.vocabulary} tokens, {what}", f"at most {self.longest} of them a text"]


def byte_pairs(texts: Sequence[str], *, vocabulary: int = 8000, longest: int = LONGEST) -> Any:
    """Make tokens of pieces of words, learned from the texts, down to single bytes (Sennrich et al. 2016, arXiv 1508.07909)."""
    lib = tokenizers()
    tokenizer = dressed(lib.models.BPE(), "bpe")
    trainer = lib.trainers.BpeTrainer(
        vocab_size=max(vocabulary, 256), min_frequency=2, show_progress=False,
        initial_alphabet=lib.pre_tokenizers.ByteLevel.alphabet(), max_token_length=LONGEST_PIECE,
    )  # fmt: skip
    # Learn from no more of a text than is ever read: the time grows with the square of a word's length.
    tokenizer.train_from_iterator((text[: LONGEST_PIECE * longest] for text in texts), trainer)
    return tokenizer


def words(texts: Sequence[str], *, vocabulary: int = 10_000, longest: int = LONGEST) -> Any:
    """Make tokens of the words between spaces."""
    return most_frequent(Counter(w for text in texts for w in text.split()), vocabulary, "word")


def characters(texts: Sequence[str], *, vocabulary: int = 1000, longest: int = LONGEST) -> Any:
    """Make tokens of Unicode characters."""
    return most_frequent(Counter(c for text in texts for c in text), vocabulary, "char")


def own(texts: Sequence[str], *, tokenizer: Any = None, longest: int = LONGEST) -> Any:
    """Copy a tokenizer of Hugging Face's library, or read one from its file. It then neither cuts nor pads texts."""
    lib = tokenizers()
    try:
        text = tokenizer.to_str() if hasattr(tokenizer, "to_str") else Path(tokenizer).read_text(encoding="utf-8")
        copy = lib.Tokenizer.from_str(text)
    except OSError as e:
        raise UserError(f"cannot read the tokenizer {tokenizer}: {e.strerror}") from e
    except Exception as e:  # which of its own the library does not say
        raise UserError(f"{tokenizer} is not a file that Tokenizer.save of Hugging Face's library wrote: {e}") from e
    copy.no_truncation()
    copy.no_padding()
    return copy


TOKENIZERS: dict[str, Any] = {"bpe": byte_pairs, "word": words, "char": characters, "own": own}


def tokenizer_part(given: Any) -> Part:
    """Turn a tokenizer given by name, as an object or as its file, with or without options, into one of `TOKENIZERS` and options."""
    options = {"name": "bpe", **given} if isinstance(given, Mapping) else {"name": given or "bpe"}
    name = options["name"]
    if hasattr(name, "to_str") or str(name).endswith(".json"):
        return {**options, "name": "own", "tokenizer": name}
    return options


def tokenizer_setting(given: Any) -> Any:
    """Describe a tokenizer for a config: its name or file. The run keeps an object in a file of its own."""
    if isinstance(given, Mapping):
        return {**given, "name": tokenizer_setting(given.get("name", "bpe"))}
    return TOKENIZER if hasattr(given, "to_str") else str(given)


def codes_of(tokenizer: Any) -> int:
    """Count the codes: one for each token, and one for the end of a text."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values(), default=-1) + 2


def most_frequent(counts: Counter[str], vocabulary: int, level: str) -> Any:
    """Make a tokenizer that knows the most frequent tokens."""
    lib = tokenizers()
    counts.pop(UNKNOWN, None)
    kept = sorted(counts, key=lambda w: (-counts[w], w))[: vocabulary - 1]
    model = lib.models.WordLevel({w: i for i, w in enumerate([UNKNOWN, *kept])}, unk_token=UNKNOWN)
    return dressed(model, level)
