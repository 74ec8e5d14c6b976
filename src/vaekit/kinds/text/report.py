"""The report of a model of texts: what it writes, what it reconstructs, what surprises it, and whether it copies."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from difflib import SequenceMatcher
from typing import Any, ClassVar

import numpy as np

from vaekit.conditions import Label
from vaekit.show.report import Report
from vaekit.show.words import have_words, pieces
from vaekit.training.products import inference

EXAMPLES, PAIRS, STEPS, CLASSES = 8, 3, 7, 8  # shown at most
WRITTEN, TRAINING = 200, 20_000  # samples, and training texts, of the check for copies
TEMPERATURES = (0.7, 1.0)
DARKEST = 10.0  # nats of a word that is shaded as much as any


class TextReport(Report):
    of_what: ClassVar[str] = " of texts"
    row: ClassVar[str] = "text"
    learned: ClassVar[int] = sys.maxsize  # all, to tell whether a sample is one of them

    def contents(self) -> dict[str, Any]:
        texts, estimator = self.held_out.x, self.estimator
        words = have_words(texts)
        rows = varied(texts, words)
        some = texts[rows]
        y = {name: self.held_out.conditions[name][rows] for name in self.conditions if name in self.held_out.conditions}
        written = estimator.sample(WRITTEN, random_state=estimator.seed_)
        latent = estimator.model_.latent_dim > 0
        return {
            "tokens": ", ".join(self.kind.describe()),
            "cut": self.kind.cut,
            "words": words,
            "samples": samples(estimator, written),
            "classes": classes(estimator),
            "reconstructions": reconstructions(some, estimator.reconstruct(some, y), words) if latent else [],
            "interpolations": interpolations(estimator, some) if latent else [],
            "surprises": surprises(estimator, some, y, words),
            "darkest": DARKEST,
            "copies": copies(written, texts, self.train.x),
        }

    def privacy(self, contents: Mapping[str, Any]) -> dict[str, Any]:
        return {name: contents["copies"][name] for name in ("share", "written", "reference", "held_out")}

    def commands(self) -> list[tuple[str, str]]:
        run, texts = self.run, self.held_out.x
        some = texts[varied(texts, have_words(texts))][:2].tolist()
        a, b = (shlex.quote(text) for text in [*some, "one text", "another text"][:2])
        words = some[0].split() if some else ["a", "word"]
        gap = " ".join([*words[:1], "___", *words[2:]])
        return [
            ("Write texts", f"vaekit sample {run} -n 20 --temperature 0.8 --top-p 0.95"),
            ("Score texts: nats a word, bits per character", f"vaekit score {run} {self.source} -o scores.csv"),
            ("Walk from one text to another", f"vaekit interpolate {run} {a} {b} --steps 7"),
            ("Compare with a language model of the same size", f"vaekit evaluate {run}"),
            ("Put words where ___ stands, in Python", f"import vaekit; print(vaekit.load({self.path!r}).impute([{gap!r}]))"),
        ]  # fmt: skip


def varied(texts: np.ndarray, words: bool = True) -> np.ndarray:
    """Choose the texts to show: the first that are neither the shortest nor the longest, all different."""
    lengths = np.array([len(pieces(text, words)) for text in texts])
    usual = (lengths >= np.quantile(lengths, 0.1)) & (lengths <= np.quantile(lengths, 0.9))
    _, first = np.unique(texts.astype(str), return_index=True)
    return np.intersect1d(np.flatnonzero(usual), first)[:EXAMPLES]


def samples(estimator: Any, written: np.ndarray) -> list[tuple[float, list[str]]]:
    """(temperature, texts)."""
    return [
        (
            t,
            list(
                written[:EXAMPLES]
                if t == 1
                else estimator.sample(EXAMPLES, temperature=t, random_state=estimator.seed_)
            ),
        )
        for t in TEMPERATURES
    ]


def classes(estimator: Any) -> list[tuple[str, list[str]]]:
    """(class, texts written for it), of the first condition that is a label."""
    for name, condition in estimator.conditions_.named.items():
        if isinstance(condition, Label):
            shown = condition.classes[:CLASSES]
            return [
                (f"{name}={c}", list(estimator.sample(EXAMPLES // 2, {name: c}, random_state=estimator.seed_)))
                for c in shown
            ]
    return []


def reconstructions(
    texts: Sequence[str] | np.ndarray, back: Sequence[str] | np.ndarray, words: bool = True
) -> list[dict[str, Any]]:
    """Each text and its reconstruction, as (word or character, whether the other has it in its place)."""
    found = []
    for text, other in zip(texts, back, strict=True):
        a, b = pieces(text, words), pieces(other, words)
        blocks = SequenceMatcher(None, a, b, autojunk=False).get_matching_blocks()
        in_a = {i for block in blocks for i in range(block.a, block.a + block.size)}
        in_b = {i for block in blocks for i in range(block.b, block.b + block.size)}
        lines = [[(piece, i in same) for i, piece in enumerate(each)] for each, same in ((a, in_a), (b, in_b))]
        found.append({"text": lines[0], "back": lines[1], "share": f"{len(in_a) / max(1, len(a)):.0%}"})
    return found


def interpolations(estimator: Any, texts: Sequence[str]) -> list[dict[str, Any]]:
    """Paths from one text to another; the ends are their reconstructions."""
    pairs = list(zip(texts[::2], texts[1::2], strict=False))[:PAIRS]
    return [{"a": a, "b": b, "steps": list(estimator.interpolate(a, b, STEPS))} for a, b in pairs]


@inference()
def surprises(
    estimator: Any, texts: np.ndarray, y: Mapping[str, Any], words: bool = True
) -> list[list[tuple[str, float]]]:
    """Each text as (word or character, -log p of its tokens given those before and the mean code, nats), the end of the text last."""
    kind, fitted = estimator.kind_, estimator.fitted_
    model, data = fitted.model, fitted.pack(texts, y).to(fitted.device)
    x = kind.batch(data.x)
    z = model.posterior(x, data.y, data.mask).mean
    nats = -model.decode(z, data.y).log_prob_tokens(x, data.mask)
    found = []
    for text, line, encoding in zip(
        texts, nats.tolist(), kind.tokenizer.encode_batch(list(texts), add_special_tokens=False), strict=True
    ):
        spans = [m.span() for m in re.finditer(r"\S+" if words else r"\S", text)]
        sums, word = [0.0] * len(spans), 0
        for (_, end), value in zip(encoding.offsets, line, strict=False):
            while word + 1 < len(spans) and spans[word + 1][0] < end:
                word += 1
            sums[word] += value
        judged = [(text[slice(*span)], value) for span, value in zip(spans, sums, strict=True)]
        if len(encoding.ids) < kind.longest:
            judged.append(("⏎", line[len(encoding.ids)]))
        found.append(judged)
    return found


def copies(written: np.ndarray, held_out: np.ndarray, train: np.ndarray) -> dict[str, Any]:
    """Count samples that are training texts word for word, beside held-out texts, which show how often that happens by chance; and the
    training texts that are most similar to some samples."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    known = {" ".join(text.split()) for text in train}
    words = TfidfVectorizer(token_pattern=r"\S+" if have_words(train) else r"\S", ngram_range=(1, 2))
    train = train[:TRAINING]
    like = words.fit_transform(train.tolist())
    alike = words.transform(written[:EXAMPLES].tolist()) @ like.T
    nearest = [
        {"text": text, "nearest": train[int(row.toarray().argmax())], "alike": float(row.max())}
        for text, row in zip(written, alike, strict=False)
    ]
    shares = [np.mean([" ".join(text.split()) in known for text in texts]) for texts in (written, held_out)]
    return {
        "share": f"{shares[0]:.1%}",
        "reference": f"{shares[1]:.1%}",
        "written": len(written),
        "held_out": len(held_out),
        "train": f"{len(known):,}",
        "searched": f"{len(train):,}",
        "nearest": nearest,
    }
