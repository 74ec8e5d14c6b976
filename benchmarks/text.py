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
import json
import math
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vaekit as vk
from tables import SHARED, Lines, arguments, few, write
from vaekit.distributions import normal_noise
from vaekit.training.data import generator
from vaekit.uses.interpolate import spherical

WORDS = {"name": "word", "vocabulary": 10_000}
LM = "language model"


def lines(path: Path, encoding: str = "utf-8") -> list[str]:
    with gzip.open(path, "rt", encoding=encoding) as file:
        return few([line.strip() for line in file if line.strip()])


def labelled(folder: Path, name: str, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Sentences and labels, of files whose lines start with the label."""
    file = {"SST-2": f"stsa.binary.{part}.gz", "TREC": f"TREC.{part}.all.gz"}[name]
    rows = lines(folder / "text" / "sentences" / file, "latin-1" if name == "TREC" else "utf-8")
    return np.array([row[2:] for row in rows], dtype=object), np.array([int(row[0]) for row in rows])


def trained(o: argparse.Namespace, name: str, model: Any, texts: Sequence[str], y: Any = None) -> tuple[Any, float]:
    """The model and the minutes that its training took; with --runs it is kept, and gone on with."""
    folder = o.runs / name if o.runs else None
    rows, conditions = np.array(list(texts), dtype=object), {} if y is None else {"y": y}
    model.fit_rows(rows, conditions, folder=folder, resume=True, watchers=[Lines()])
    return model, model.history_[-1]["seconds"] / 60


def options(o: argparse.Namespace, seed: int, **others: Any) -> dict[str, Any]:
    return {"tokenizer": WORDS, "epochs": o.epochs, "random_state": seed, **others, **o.settings}


def parameters(model: Any) -> str:
    """In millions: of all, and of the decoder and the likelihood's network alone."""
    net = model.model_
    count = [sum(p.numel() for p in part.parameters()) / 1e6 for part in (net, net.decoder, net.likelihood)]
    return f"{count[0]:.1f} ({count[1] + count[2]:.1f})"


def spread(values: Sequence[float], digits: int) -> str:
    mean = f"{np.mean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ± {np.std(values):.{digits}f}"


def perplexity(nats: float, texts: Sequence[str]) -> float:
    """nats: all texts' together. The end of a text counts as a word."""
    return math.exp(nats / sum(len(text.split()) + 1 for text in texts))


# -- held-out sentences ------------------------------------------------------------------------------------------------


def ptb(o: argparse.Namespace) -> None:
    """Penn Treebank, sentence by sentence, word level: test NLL"""
    train, test = (lines(o.folder / "text" / "ptb" / f"ptb.{part}.txt.gz") for part in ("train", "test"))
    test = test[: o.rows]
    rows, examples, limit = [], "", ""
    for name, latent_dim in (("VAE", o.latent_dim), (LM, 0)):
        if name not in o.models:
            continue
        runs = []
        for seed in o.seeds:
            model = vk.VAE(**options(o, seed, latent_dim=latent_dim))
            model, minutes = trained(o, f"ptb-{latent_dim}-{seed}", model, train)
            found = model.evaluate(test, k=o.k if latent_dim else 1)
            runs.append({**found, "perplexity": perplexity(found["iw_nll"] * len(test), test), "minutes": minutes})
            print(name, seed, {k: v for k, v in runs[-1].items() if k != "kl_per_unit"}, flush=True)
            if latent_dim and seed == o.seeds[0]:
                examples = shown(model, test)
        own = latent_dim > 0
        rows.append(
            {
                "model": name,
                "NLL": spread([r["iw_nll"] for r in runs], 2),
                "perplexity": spread([r["perplexity"] for r in runs], 1),
                "-ELBO": spread([-r["elbo"] for r in runs], 2),
                "KL": spread([r["kl"] for r in runs], 2) if own else "",
                "mutual information": spread([r["mutual_information"] for r in runs], 2) if own else "",
                "active units": f"{spread([r['active_units'] for r in runs], 1)} of {latent_dim}" if own else "",
                "another row's z costs": spread([r["shuffle_gap"] for r in runs], 2) if own else "",
                "parameters, M (decoder)": parameters(model),
                "epochs": o.epochs,
                "minutes": spread([r["minutes"] for r in runs], 0),
            }
        )
        if own:
            limit = f", so never above {runs[0]['mutual_information_limit']:.1f}"
        notes = f"""{len(test)} test sentences, {sum(len(t.split()) + 1 for t in test)} words with the ends of sentences, which count; a sentence knows nothing of those
        before it. NLL: nats a sentence, of the VAE by {o.k} importance samples (an upper bound), of the language model exact. Another
        row's z: by how many nats log p(x|z) falls when a sentence is given the z of another. Mutual information is estimated from at
        most 2000 rows{limit}. Seeds: {" ".join(map(str, o.seeds))}; {f"settings {json.dumps(o.settings)};" if o.settings else ""} {100 * model.validation:g} % of the training sentences are held out to choose the epoch; the
        file ptb.valid was not looked at. Published, from texar-pytorch's README: transformer VAE 101.6 nats, perplexity 103.1; LSTM VAE 102.5
        and 107.6."""
        write(o, ptb.__doc__, rows, "\n\n".join(part for part in (" ".join(notes.split()), examples) if part))


def shown(model: Any, texts: Sequence[str], count: int = 5) -> str:
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


def balance(o: argparse.Namespace) -> None:
    """Captions (Multi30k): what z says, by objective"""
    train, test = captions(o)
    rows = []
    for name, objective in OBJECTIVES.items():
        runs = []
        for seed in o.seeds:
            model = vk.VAE(**{**options(o, seed, latent_dim=o.latent_dim, sampler="prior"), "objective": objective})
            model, minutes = trained(o, f"balance-{name}-{seed}", model, train)
            runs.append({**model.evaluate(test, k=o.k), "minutes": minutes})
            print(name, seed, {k: v for k, v in runs[-1].items() if k != "kl_per_unit"}, flush=True)
        columns = {"-ELBO": "elbo", "NLL": "iw_nll", "KL": "kl", "mutual information": "mutual_information", "another row's z costs": "shuffle_gap", "minutes": "minutes"}  # fmt: skip
        row = {
            shown: spread([abs(r[key]) for r in runs], 2 if key != "minutes" else 0) for shown, key in columns.items()
        }
        rows.append({"objective": name, **row, "active units": spread([r["active_units"] for r in runs], 1)})
        limit = runs[0]["mutual_information_limit"]
        notes = f"""{len(train)} training and {len(test)} test captions, nats a caption. NLL: by {o.k} importance samples. Mutual information is never
            above {limit:.1f} as it is estimated, and smaller than it is where it is near to that. Another row's z: by how many nats log p(x|z) falls when
            a caption is given the z of another. {o.latent_dim} latent units; seeds {" ".join(map(str, o.seeds))}, mean ± standard deviation where there are
            several; {o.epochs} epochs{f"; settings {json.dumps(o.settings)}" if o.settings else ""}."""
        write(o, balance.__doc__, rows, " ".join(notes.split()))


# -- between two captions ----------------------------------------------------------------------------------------------


def interpolation(o: argparse.Namespace) -> None:
    """Captions (Multi30k): what lies between two of them"""
    train, test = captions(o)
    judge, judged_minutes = trained(
        o, "captions-judge", vk.VAE(**options(o, 1000, latent_dim=0)), other_captions(o, set(train))
    )
    kinds: dict[str, list[dict[str, float]]] = {}
    minutes, recalled, exact, examples = [], [], [], ""
    for seed in o.seeds:
        model, spent = trained(
            o, f"captions-{o.latent_dim}-{seed}", vk.VAE(**options(o, seed, latent_dim=o.latent_dim)), train
        )
        minutes.append(spent)
        pairs = np.random.default_rng(seed).permutation(len(test))[: 2 * o.pairs].reshape(-1, 2)
        ways = [model.interpolate(test[a], test[b], steps=o.steps) for a, b in pairs]
        ends = [test[i] for pair in pairs for i in pair]
        rebuilt = [text for way in ways for text in (way[0], way[-1])]
        recalled.append(np.mean([overlap(a, b) for a, b in zip(ends, rebuilt, strict=True)]))
        exact.append(np.mean([a == b for a, b in zip(ends, rebuilt, strict=True)]))
        groups = {
            "real test captions": test,
            "reconstructed ends": rebuilt,
            "midpoints": [way[len(way) // 2] for way in ways],
            "midpoints, drawn": drawn_midpoints(model, [(test[a], test[b]) for a, b in pairs], seed),
            "all points between": [text for way in ways for text in way[1:-1]],
            "samples of the VAE": list(model.sample(len(test), random_state=seed)),
            "samples of the VAE, greedy": list(model.sample(len(test), random_state=seed, mean=True)),
        }
        for kind, texts in groups.items():
            kinds.setdefault(kind, []).append(described(texts, judge))
            print(seed, kind, kinds[kind][-1], flush=True)
        if not examples:
            examples = "\n\n".join("\n".join(f"- {text}" for text in way) for way in ways[:3])
    real = [run["perplexity"] for run in kinds["real test captions"]]
    rows = [
        {
            "captions": kind,
            "perplexity": spread([r["perplexity"] for r in runs], 1),
            "of real": spread([r["perplexity"] / p for r, p in zip(runs, real, strict=True)], 2),
            "words": spread([r["words"] for r in runs], 1),
            "distinct, %": spread([100 * r["distinct"] for r in runs], 1),
            "distinct-2": spread([r["distinct_2"] for r in runs], 3),
        }
        for kind, runs in kinds.items()
    ]
    notes = f"""{o.pairs} pairs of test captions, spherical, {o.steps} points with the ends, each written greedily unless it says drawn. Of the words of the ends, {spread([100 * r for r in recalled], 1)} %
    are in their reconstructions (each as often as it is there), and {spread([100 * e for e in exact], 1)} % of the ends come back exactly. Perplexity: by a language model of the same
    size (seed 1000, {judged_minutes:.0f} minutes) that learned from other people's captions of the same pictures, none of which the VAE has
    seen; the end counts as a word, and a word it does not know as <unk>. Greedy texts are likelier than real ones whatever the model:
    compare the rows. Distinct-2: different pairs of words, by the number of pairs. Seeds {" ".join(map(str, o.seeds))}; {o.epochs} epochs, {spread(minutes, 0)} minutes. Three ways:"""
    write(o, interpolation.__doc__, rows, " ".join(notes.split()) + "\n\n" + examples)


def drawn_midpoints(model: Any, ends: Sequence[tuple[str, str]], seed: int) -> list[str]:
    """Half-way between each two ends one text drawn from p(x|z): as likely as real texts, if z lies where texts do."""
    a, b = (torch.from_numpy(model.transform(list(texts))) for texts in zip(*ends, strict=True))
    z = torch.stack([spherical(*pair, 3)[1] for pair in zip(a, b, strict=True)])
    with torch.no_grad():
        return list(model.kind_.unpack(model._model().decode(z).sample(1, normal_noise(generator(seed)))[0]))


def other_captions(o: argparse.Namespace, known: set[str]) -> list[str]:
    """Of each training picture one of its five other descriptions, at random, none of which is among those known."""
    five = [lines(o.folder / "text" / "multi30k" / f"task2.train.{i}.en.gz") for i in range(1, 6)]
    random = np.random.default_rng(0)
    return [text for texts in zip(*five, strict=True) if (text := texts[random.integers(5)]) not in known]


def overlap(text: str, other: str) -> float:
    """Share of the words of a text that are in the other, each as often as it is there."""
    words = Counter(text.split())
    return (words & Counter(other.split())).total() / words.total()


def pairs_of(texts: Sequence[str]) -> list[tuple[str, str]]:
    return [pair for text in texts for pair in zip(text.split(), text.split()[1:], strict=False)]


def distinct_2(texts: Sequence[str]) -> float:
    pairs = pairs_of(texts)
    return len(set(pairs)) / max(1, len(pairs))


def described(texts: Sequence[str], judge: Any) -> dict[str, float]:
    return {
        "perplexity": perplexity(-judge.score_samples(list(texts), k=1).sum(), texts),
        "words": float(np.mean([len(t.split()) for t in texts])),
        "distinct": len(set(texts)) / len(texts),
        "distinct_2": distinct_2(texts),
    }


# -- sentences with the label asked for --------------------------------------------------------------------------------


def conditional(o: argparse.Namespace) -> None:
    """Samples that were asked for by label: an independent classifier's agreement"""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    rows = []
    for name in o.data:
        (x, y), (test, truth) = labelled(o.folder, name, "train"), labelled(o.folder, name, "test")
        classifier = make_pipeline(TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+"), LogisticRegression(C=10.0, max_iter=1000))  # fmt: skip
        right = classifier.fit(x, y).score(test, truth)
        asked = np.resize(np.unique(y), o.samples)
        some = np.random.default_rng(0).permutation(len(test))[: o.samples]
        rows.append({"data": name, "sentences": "real, test", "agreement, %": f"{100 * right:.1f}", "distinct-2": f"{distinct_2(test[some]):.3f}", "copies, %": f"{100 * np.mean(np.isin(test, x)):.1f}", "words": f"{np.mean([len(t.split()) for t in test]):.1f}", "minutes": ""})  # fmt: skip
        for who, latent_dim in (("CVAE", o.latent_dim), (f"conditional {LM}", 0)):
            runs: dict[float, list[dict[str, float]]] = {guidance: [] for guidance in o.guidance}
            for seed in o.seeds:
                model = vk.CVAE(**options(o, seed, latent_dim=latent_dim))
                model, minutes = trained(o, f"{name}-{latent_dim}-{seed}", model, x, y)
                for guidance, found in runs.items():
                    texts = model.sample(len(asked), y=asked, guidance=guidance, random_state=seed)
                    found.append({**judged(classifier, texts, asked, x), "minutes": minutes})
                    print(name, who, guidance, seed, found[-1], [*texts[:3]], flush=True)
            for guidance, found in runs.items():
                rows.append(
                    {
                        "data": name,
                        "sentences": who + (f", guidance {guidance:g}" if guidance else ""),
                        "agreement, %": spread([100 * r["agreement"] for r in found], 1),
                        "distinct-2": spread([r["distinct_2"] for r in found], 3),
                        "copies, %": spread([100 * r["copies"] for r in found], 1),
                        "words": spread([r["words"] for r in found], 1),
                        "minutes": spread([r["minutes"] for r in found], 1),
                    }
                )
            notes = f"""{o.samples} samples a model, as many of each label, drawn as `sample` does by default, and with guidance: that is for both, whose
            outputs it takes further from those of the same model without the label. The classifier is logistic regression on TF-IDF of words
            and pairs of words, learned from the real training sentences; the row "real" says how often it reads real test sentences right.
            Distinct-2: different pairs of words by the number of pairs, of as many sentences; copies: samples that are training
            sentences word for word. Seeds {" ".join(map(str, o.seeds))}, mean ± standard deviation where there are several; {o.epochs} epochs{f"; settings {json.dumps(o.settings)}" if o.settings else ""}, both models alike but for
            {o.latent_dim} latent units, the encoder, the objective's KL, and word dropout, which the language model has none of."""
            write(o, conditional.__doc__, rows, " ".join(notes.split()))


def judged(classifier: Any, texts: Sequence[str], asked: np.ndarray, train: np.ndarray) -> Mapping[str, float]:
    return {
        "agreement": float(np.mean(classifier.predict(texts) == asked)),
        "distinct_2": distinct_2(texts),
        "copies": float(np.mean(np.isin(texts, train))),
        "words": float(np.mean([len(t.split()) for t in texts])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=["ptb", "balance", "interpolation", "conditional"])
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--latent-dim", type=int, default=32)
    parser.add_argument("--models", nargs="+", default=["VAE", LM], choices=["VAE", LM], help="of ptb")
    parser.add_argument(
        "--data", nargs="+", default=["SST-2", "TREC"], choices=["SST-2", "TREC"], help="of conditional"
    )
    parser.add_argument("--settings", type=json.loads, default={}, help="of vaekit, further ones")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--k", type=int, default=100, help="importance samples")
    parser.add_argument("--rows", type=int, help="only so many test sentences")
    parser.add_argument("--pairs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=7)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--guidance", nargs="+", type=float, default=[0.0, 1.0], help="of conditional")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--suffix", default="", help="end of the result's name")
    parser.add_argument("--runs", type=Path, help="keep what was trained here, and go on with what is there")
    parser.add_argument("--folder", type=Path, default=SHARED)
    o = arguments(
        parser, epochs=1, latent_dim=2, models=["VAE"], settings={"size": "small"}, k=2, rows=20, pairs=2, samples=20
    )
    torch.set_num_threads(o.threads)
    started = time.perf_counter()
    {"ptb": ptb, "balance": balance, "interpolation": interpolation, "conditional": conditional}[o.table](o)
    print(f"{(time.perf_counter() - started) / 60:.1f} minutes in all")


if __name__ == "__main__":
    main()
