"""Texts: how likely held-out sentences are, what z says of captions and lies between two of them, and whether samples have the label
asked for.

    python benchmarks/text.py ptb --epochs 60 --threads 2 --settings '{"validation": 0.02, "likelihood": {"name": "causal", "dropout": 0.4,
        "word_dropout": 0}, "objective": {"name": "kl_floor", "nats": 5.5}}'                       # Penn Treebank, hours
    python benchmarks/text.py balance --epochs 30                # captions of Multi30k: objectives
    python benchmarks/text.py interpolation --epochs 30          # captions of Multi30k
    python benchmarks/text.py conditional --seeds 0 1 2          # SST-2 and TREC

Beside each model stands a language model of the same size: the same network with `latent_dim=0`, trained as long. A latent that
does nothing cannot hide then.
"""

from __future__ import annotations

import argparse
import gzip
import itertools
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vaekit as vk
from harness import Rows, arguments, averages, run, trained
from readers import few
from vaekit.distributions import normal_noise
from vaekit.training.data import generator
from vaekit.uses.interpolate import spherical

WORDS = {"name": "word", "vocabulary": 10_000}
VAE, LM = "VAE", "language model"


def lines(path: Path, encoding: str = "utf-8") -> list[str]:
    with gzip.open(path, "rt", encoding=encoding) as file:
        return few([line.strip() for line in file if line.strip()])


def labelled(folder: Path, name: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Sentences and labels, of files whose lines start with the label."""
    file = {"SST-2": f"stsa.binary.{part}.gz", "TREC": f"TREC.{part}.all.gz"}[name]
    rows = lines(folder / "text" / "sentences" / file, "latin-1" if name == "TREC" else "utf-8")
    return np.array([row[2:] for row in rows], dtype=object), np.array([int(row[0]) for row in rows])


def fitted(o: argparse.Namespace, name: str, build: Any, texts: Sequence[str], y: Any = None, **settings: Any) -> Any:
    model = build(
        **{"kind": {"tokenizer": WORDS}, "epochs": o.epochs, "latent_dim": o.latent_dim, **o.settings, **settings}
    )
    rows, conditions = np.array(list(texts), dtype=object), {} if y is None else {"y": y}
    return trained(o, f"{name}-{model.latent_dim}", model, rows, conditions)


def minutes(model: Any) -> float:
    return model.history_[-1]["seconds"] / 60


def parameters(model: Any) -> str:
    """In millions: of all, and of the decoder and the likelihood's network alone."""
    net = model.model_
    count = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (net, net.decoder, net.likelihood)]
    return f"{count[0]:.1f} ({count[1] + count[2]:.1f})"


def perplexity(nats: float, texts: Sequence[str]) -> float:
    """nats: all texts' together. The end of a text counts as a word."""
    return math.exp(nats / sum(len(text.split()) + 1 for text in texts))


# -- held-out sentences ------------------------------------------------------------------------------------------------


def judged(model: Any, texts: Sequence[str], k: int) -> dict[str, float]:
    found = model.evaluate(texts, k=k)
    found = {**found, "bound": -found["elbo"], "perplexity": perplexity(found["iw_nll"] * len(texts), texts)}
    print({key: value for key, value in found.items() if key != "kl_per_unit"}, flush=True)
    return {**found, "minutes": minutes(model)}


COLUMNS = {
    "NLL": ("iw_nll", 2), "perplexity": ("perplexity", 1), "-ELBO": ("bound", 2), "KL": ("kl", 2),
    "mutual information": ("mutual_information", 2), "active units": ("active_units", 1),
    "another row's z costs": ("shuffle_gap", 2), "minutes": ("minutes", 0),
}  # fmt: skip
ITS_OWN = ("iw_nll", "perplexity", "bound", "minutes")  # what a language model has, too


def ptb(o: argparse.Namespace) -> Rows:
    """Penn Treebank, sentence by sentence, word level: test NLL

    A sentence knows nothing of those before it. NLL: nats a sentence, of the VAE by {k} importance samples (an upper bound), of the
    language model exact. Another row's z: by how many nats log p(x|z) falls when a sentence is given the z of another. {latent_dim}
    latent units, {epochs} epochs. The file ptb.valid was not looked at. Published, from texar-pytorch's README: transformer VAE 101.6 nats, perplexity 103.1; LSTM VAE 102.5
    and 107.6."""
    train, test = (lines(o.folder / "text" / "ptb" / f"ptb.{part}.txt.gz") for part in ("train", "test"))
    test = test[: o.rows]
    words = sum(len(text.split()) + 1 for text in test)
    yield f"{len(test)} test sentences, {words} words with the ends of sentences, which count."
    for name in o.methods:
        latent_dim, runs = o.latent_dim if name == VAE else 0, []
        for seed in o.seeds:
            model = fitted(o, "ptb", vk.VAE, train, latent_dim=latent_dim, random_state=seed)
            runs.append(judged(model, test, k=o.k if latent_dim else 1))
            if latent_dim and seed == o.seeds[0]:
                limit = runs[0]["mutual_information_limit"]
                yield f"Mutual information is estimated from at most 2000 rows, so never above {limit:.1f}."
                yield f"{100 * model.validation:g} % of the training sentences are held out to choose the epoch."
                yield examples(model, test)
        if not latent_dim:
            runs = [{key: run[key] for key in ITS_OWN} for run in runs]
        yield {"model": name, **averages(runs, COLUMNS), "parameters, M (decoder)": parameters(model)}


def examples(model: Any, texts: Sequence[str], count: int = 5) -> str:
    """What a reader can judge: sentences, their reconstructions, and samples."""
    some = [t for t in texts if 6 <= len(t.split()) <= 14][:count]
    pairs = [f"- {a}\n  → {b}" for a, b in zip(some, model.reconstruct(some), strict=True)]
    samples = [f"- {s}" for s in model.sample(count, random_state=1)]
    return "\n".join(["The first test sentences of 6 to 14 words, reconstructed greedily from z:", "", *pairs, "", "Samples:", "", *samples])  # fmt: skip


# -- what makes z speak ------------------------------------------------------------------------------------------------

OBJECTIVES: dict[str, Any] = {
    "ELBO": "elbo",
    "ELBO, KL warm-up": {"name": "elbo", "warmup": 0.2},
    "free bits, 0.25 a unit": {"name": "free_bits", "nats": 0.25, "warmup": 0.2},
    "KL floor, 8": {"name": "kl_floor", "nats": 8.0},
}


def captions(o: argparse.Namespace) -> tuple[list[str], list[str]]:
    """Training and test captions."""
    folder = o.folder / "text" / "multi30k"
    return lines(folder / "task1.train.en.gz"), lines(folder / "task1.test_2016_flickr.en.gz")


def balance(o: argparse.Namespace) -> Rows:
    """Captions (Multi30k): what z says, by objective

    Nats a caption. NLL: by {k} importance samples. Another row's z: by how many nats log p(x|z) falls when a caption is given the z
    of another. {latent_dim} latent units; {epochs} epochs; mean ± standard deviation over seeds, where there are several."""
    train, test = captions(o)
    yield f"{len(train)} training and {len(test)} test captions."
    for name, objective in OBJECTIVES.items():
        runs = []
        for seed in o.seeds:
            model = fitted(o, name, vk.VAE, train, objective=objective, sampler="prior", random_state=seed)
            runs.append(judged(model, test, k=o.k))
        yield {"objective": name, **averages(runs, COLUMNS)}
    limit = runs[0]["mutual_information_limit"]
    yield f"Mutual information is never above {limit:.1f} as it is estimated, and smaller than it is where it is near to that."


# -- between two captions ----------------------------------------------------------------------------------------------


def interpolation(o: argparse.Namespace) -> Rows:
    """Captions (Multi30k): what lies between two of them

    {pairs} pairs of test captions, spherical, {steps} points with the ends, each written greedily unless it says drawn. Perplexity: by
    a language model of the same size (seed 1000) that learned from other people's captions of the same pictures, none of which the
    VAE has seen; the end counts as a word, and a word it does not know as <unk>. Greedy texts are likelier than real ones whatever
    the model: compare the rows. Distinct-2: different pairs of words, by the number of pairs. {epochs} epochs."""
    train, test = captions(o)
    judge = fitted(o, "judge", vk.VAE, other_captions(o, set(train)), latent_dim=0, random_state=1000)
    found: dict[str, list[dict[str, float]]] = {}
    ends: list[dict[str, float]] = []
    for seed in o.seeds:
        model = fitted(o, "captions", vk.VAE, train, random_state=seed)
        pairs = np.random.default_rng(seed).permutation(len(test))[: 2 * o.pairs].reshape(-1, 2)
        ways = [model.interpolate(test[a], test[b], steps=o.steps) for a, b in pairs]
        rebuilt = [text for way in ways for text in (way[0], way[-1])]
        both = [(test[i], text) for i, text in zip(pairs.flat, rebuilt, strict=True)]
        recalled, exact = np.mean([overlap(*texts) for texts in both]), np.mean([a == b for a, b in both])
        ends.append({"recalled": 100 * recalled, "exact": 100 * exact, "minutes": minutes(model)})
        groups = {
            "real test captions": test,
            "reconstructed ends": rebuilt,
            "midpoints": [way[len(way) // 2] for way in ways],
            "midpoints, drawn": drawn_midpoints(model, [(test[a], test[b]) for a, b in pairs], seed),
            "all points between": [text for way in ways for text in way[1:-1]],
            "samples of the VAE": list(model.sample(len(test), random_state=seed)),
            "samples of the VAE, greedy": list(model.sample(len(test), random_state=seed, mean=True)),
        }
        for group, texts in groups.items():
            found.setdefault(group, []).append(described(texts, judge))
            print(seed, group, found[group][-1], flush=True)
    mean = averages(ends, {key: (key, 1) for key in ends[0]})
    yield (
        f"The words of the ends: {mean['recalled']} % are in their reconstructions, each as often as it is there; "
        f"{mean['exact']} % of the ends come back exactly. Training took {mean['minutes']} minutes, and {minutes(judge):.0f} for the "
        "language model. Three ways:"
    )
    yield from ("\n".join(f"- {text}" for text in way) for way in ways[:3])
    columns = {"perplexity": ("perplexity", 1), "of real": ("of_real", 2), "words": ("words", 1), "distinct, %": ("distinct", 1), "distinct-2": ("distinct_2", 3)}  # fmt: skip
    for group, runs in found.items():
        real = [run["perplexity"] for run in found["real test captions"]]
        runs = [{**run, "of_real": run["perplexity"] / p} for run, p in zip(runs, real, strict=True)]
        yield {"captions": group, **averages(runs, columns)}


def drawn_midpoints(model: Any, ends: Sequence[tuple[str, str]], seed: int) -> list[str]:
    """Half-way between each two ends one text drawn from p(x|z): as likely as real texts, if z lies where texts do."""
    a, b = (torch.from_numpy(model.transform(list(texts))) for texts in zip(*ends, strict=True))
    z = torch.stack([spherical(*pair, 3)[1] for pair in zip(a, b, strict=True)])
    with torch.no_grad():
        return list(model.kind_.unpack(model.fitted_.model.decode(z).sample(1, normal_noise(generator(seed)))[0]))


def other_captions(o: argparse.Namespace, known: set[str]) -> list[str]:
    """Of each training picture one of its five other descriptions, at random, none of which is among those known."""
    five = [lines(o.folder / "text" / "multi30k" / f"task2.train.{i}.en.gz") for i in range(1, 6)]
    random = np.random.default_rng(0)
    return [text for texts in zip(*five, strict=True) if (text := texts[random.integers(5)]) not in known]


def overlap(text: str, other: str) -> float:
    """Share of the words of a text that are in the other, each as often as it is there."""
    words = Counter(text.split())
    return (words & Counter(other.split())).total() / words.total()


def distinct_2(texts: Sequence[str]) -> float:
    pairs = [pair for text in texts for pair in itertools.pairwise(text.split())]
    return len(set(pairs)) / max(1, len(pairs))


def described(texts: Sequence[str], judge: Any) -> dict[str, float]:
    return {
        "perplexity": perplexity(-judge.score_samples(list(texts), k=1).sum(), texts),
        "words": float(np.mean([len(t.split()) for t in texts])),
        "distinct": 100 * len(set(texts)) / len(texts),
        "distinct_2": distinct_2(texts),
    }


# -- sentences with the label asked for --------------------------------------------------------------------------------


def conditional(o: argparse.Namespace) -> Rows:
    """Samples that were asked for by label: an independent classifier's agreement

    {samples} samples a model, as many of each label, drawn as `sample` does by default, and with guidance: that is for both, whose
    outputs it takes further from those of the same model without the label. The classifier is logistic regression on TF-IDF of words
    and pairs of words, learned from the real training sentences; the row "real" says how often it reads real test sentences right.
    Distinct-2: different pairs of words by the number of pairs, of as many sentences; copies: samples that are training
    sentences word for word. Mean ± standard deviation over seeds, where there are several; {epochs} epochs, both models alike but for
    {latent_dim} latent units, the encoder, the objective's KL, and word dropout, which the language model has none of."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    columns = {"agreement, %": ("agreement", 1), "distinct-2": ("distinct_2", 3), "copies, %": ("copies", 1), "words": ("words", 1), "minutes": ("minutes", 1)}  # fmt: skip
    for name in o.data:
        (x, y), (test, truth) = labelled(o.folder, name, "train"), labelled(o.folder, name, "test")
        classifier = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+"), LogisticRegression(C=10.0, max_iter=1000))  # fmt: skip
        classifier.fit(x, y)
        asked = np.resize(np.unique(y), o.samples)

        def about(
            texts: Sequence[str], labels: np.ndarray, judge: Any = classifier, known: np.ndarray = x
        ) -> dict[str, float]:
            agreement, copies = judge.predict(texts) == labels, np.isin(texts, known)
            found = {"agreement": 100 * np.mean(agreement), "distinct_2": distinct_2(texts[: o.samples])}
            return {**found, "copies": 100 * np.mean(copies), "words": np.mean([len(t.split()) for t in texts])}

        order = np.random.default_rng(0).permutation(len(test))
        yield {"data": name, "sentences": "real, test", **averages([about(test[order], truth[order])], columns)}
        for who, latent_dim in (("CVAE", o.latent_dim), (f"conditional {LM}", 0)):
            runs: dict[float, list[dict[str, float]]] = {guidance: [] for guidance in o.guidance}
            for seed in o.seeds:
                model = fitted(o, name, vk.CVAE, x, y, latent_dim=latent_dim, random_state=seed)
                for guidance, found in runs.items():
                    texts = model.sample(len(asked), y=asked, guidance=guidance, random_state=seed)
                    found.append({**about(texts, asked), "minutes": minutes(model)})
                    print(name, who, guidance, seed, found[-1], [*texts[:3]], flush=True)
            for guidance, found in runs.items():
                sentences = who + (f", guidance {guidance:g}" if guidance else "")
                yield {"data": name, "sentences": sentences, **averages(found, columns)}


if __name__ == "__main__":
    parser = arguments(
        __doc__, seeds=[0], data=["SST-2", "TREC"], methods=[VAE, LM], settings=True, runs=True, threads=1
    )
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--latent-dim", type=int, default=32)
    parser.add_argument("--k", type=int, default=100, help="importance samples")
    parser.add_argument("--rows", type=int, help="how many test sentences of ptb; default: all")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--guidance", nargs="+", type=float, default=[0.0, 1.0], help="of conditional")
    tables = {"ptb": ptb, "balance": balance, "interpolation": interpolation, "conditional": conditional}
    toy = {"epochs": 1, "latent_dim": 2, "settings": {"size": "small"}, "k": 2, "rows": 20, "pairs": 2, "samples": 20}
    run(parser, tables, methods=[VAE], **toy)
