"""Pictures of another world: how well each score tells them from pictures like those a VAE was trained on.

python benchmarks/far_away.py auroc --seeds 0 1 2
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.io import loadmat
from sklearn.metrics import roc_auc_score

import vaekit
from harness import Rows, arguments, given, run, trained
from readers import cifar10, few, idx, sign_digits, sprites
from vaekit.training.data import split
from vaekit.uses.scores import SCORES, distance, gaussian, log_octaves

ASKED = {
    "Fashion-MNIST": ["MNIST"],
    "MNIST": ["Fashion-MNIST"],
    "CIFAR-10": ["noise", "sprites", "sign digits"],
    "sprites": ["CIFAR-10"],
    "sign digits": ["CIFAR-10"],
}
ALSO = {name: ["Omniglot", "silhouettes", "noise", "one grey", "mirrored"] for name in ("Fashion-MNIST", "MNIST")} | {
    name: ["noise", "emoji", "one colour", "mirrored"] for name in ("CIFAR-10", "sprites", "sign digits")
}


def pictures(folder: Path, name: str, part: str) -> np.ndarray:
    if name in ("MNIST", "Fashion-MNIST"):
        x = idx(folder, name.lower().replace("-", "_"), part)[0]
    elif name == "CIFAR-10":
        x = cifar10(folder, part)[0]
    elif name == "Omniglot":
        x = np.load(folder / "omniglot" / "omniglot_28.npz")["images"]
    elif name == "silhouettes":  # of Caltech-101, white on black
        file = loadmat(folder / "caltech101_silhouettes" / "caltech101_silhouettes_28.mat")
        x = (255 * (1 - file["X"])).astype(np.uint8).reshape(-1, 28, 28).swapaxes(1, 2)
    elif name == "emoji":  # of Noto, on white
        rgba = np.load(folder / "noto_emoji" / "noto_emoji_64.npz")["images"].astype(float)
        rgb = 255 + (rgba[..., :3] - 255) * rgba[..., 3:] / 255
        x = rgb.reshape(-1, 32, 2, 32, 2, 3).mean((2, 4)).round().astype(np.uint8)
    else:
        x = sprites(folder, part, 32)[0] if name == "sprites" else sign_digits(folder, part)
    return few(x)


def far(folder: Path, name: str, like: np.ndarray, seed: int) -> np.ndarray:
    """As many pictures of the set `name` as there are of `like`, test pictures of the training set."""
    rng = np.random.default_rng([seed, 1])
    if name == "mirrored":
        return like[:, ::-1] if like.ndim == 4 else like[:, :, ::-1]
    if name == "noise":
        return rng.integers(0, 256, like.shape).astype(np.uint8)
    if name.startswith("one "):
        colours = rng.integers(0, 256, (len(like), 1, 1, *like.shape[3:]))
        return np.broadcast_to(colours, like.shape).astype(np.uint8)
    x = pictures(folder, name, "test")
    return x[rng.permutation(len(x))[: len(like)]]


class Octaves:
    """The distance of the octaves of the pictures themselves: no model."""

    def fit(self, vae: Any, X: np.ndarray) -> Octaves:
        self.learned = gaussian(self.statistics(X))
        return self

    def __call__(self, vae: Any, X: np.ndarray) -> np.ndarray:
        return -0.5 * distance(torch.from_numpy(self.statistics(X)), self.learned).numpy()

    def statistics(self, X: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(np.ascontiguousarray(X)).double() / 255
        return log_octaves(x[:, None] if x.ndim == 3 else x.movedim(-1, 1)).numpy()


SCORES_OF: dict[str, Callable[[argparse.Namespace], Any]] = {
    "loglik": lambda o: SCORES["loglik"](k=o.k),
    "reconstruction": lambda o: SCORES["reconstruction"](),
    "kl": lambda o: SCORES["kl"](),
    "regret": lambda o: SCORES["regret"](),
    "sizes": lambda o: SCORES["path"](octaves=False),
    "path": lambda o: SCORES["path"](),
    "octaves of x": lambda o: Octaves(),
}


def others_of(name: str) -> list[str]:
    return list(dict.fromkeys(ASKED[name] + ALSO[name]))


def aurocs(options: argparse.Namespace, name: str, seed: int, regret: bool) -> dict[str, dict[str, float]]:
    """By score and by set of pictures; of regret, which is slow, on few pictures of the sets that were asked for."""
    x = pictures(options.folder, name, "train")
    x = x[np.random.default_rng(0).permutation(len(x))[: options.rows]]
    vae = vaekit.VAE(size="small", epochs=options.epochs, sampler="prior", random_state=seed)
    vae, held_out = trained(options, name, vae, x).fitted_, vae.validation
    reference = x[split(len(x), held_out, seed)[1].numpy()][: options.reference]
    test = pictures(options.folder, name, "test")
    own = test[np.random.default_rng(seed).permutation(len(test))[: options.pictures]]
    sets = {other: far(options.folder, other, own, seed) for other in others_of(name)}
    found = {}
    for score, make in SCORES_OF.items():
        if score == "regret" and not regret:
            continue
        count, others = (options.regret_pictures, ASKED[name]) if score == "regret" else (None, list(sets))
        how = make(options).fit(vae, reference)
        usual = how(vae, own[:count])
        found[score] = {other: auroc(usual, how(vae, sets[other][:count])) for other in others}
    return found


def auroc(own: np.ndarray, others: np.ndarray) -> float:
    return float(roc_auc_score(np.r_[np.ones(len(own)), np.zeros(len(others))], np.r_[own, others]))


def table(options: argparse.Namespace) -> Rows:
    """Pictures of another world: how well each score tells them from pictures like those a VAE was trained on

    AUROC, mean over seeds and [lowest, highest]; {pictures} pictures a side, for regret {regret_pictures} and fewer seeds (whose
    standard errors, at 0.99, are about 0.004 and 0.007 with 300 and 100). loglik: {k} importance samples.

    One VAE a training set and seed: the default settings at size small, 16 latent units, {epochs} epochs of at most {rows} pictures.
    AUROC of its test pictures against pictures of other sets; 0.5 is guessing, and below it the others look more normal than its
    own. "path" has learned from the rows that training held out. "sizes" is the path statistic as published: three sizes, and nothing
    by octave. "octaves of x" is the same distance on the octaves of the pictures themselves, with no model at all. "mirrored" is a set
    that is near: its own test pictures, left and right exchanged (upside down, those in colour).

    The octaves of "path" were chosen on seed 0 and on these sets, but for silhouettes and emoji, which came after."""
    sizes = given(options, "rows", "epochs", "pictures", "reference", "k", "regret_pictures")
    for name in options.data:
        found = []
        for seed in options.seeds:
            regret = seed in options.regret_seeds and name in options.regret_data
            key = {"data": name, "seed": seed, "regret": regret, **sizes}
            found.append(options.cell(key, aurocs, options, name, seed, regret))
        for which in others_of(name):
            values = {s: [each[s][which] for each in found if which in each.get(s, ())] for s in SCORES_OF}
            yield {"trained on": name, "against": which, **{score: between(v) for score, v in values.items()}}


def between(values: list[float]) -> str:
    """Mean, and [lowest, highest] of several."""
    ends = f" [{min(values):.3f}, {max(values):.3f}]" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{ends}" if values else ""


if __name__ == "__main__":
    parser = arguments(__doc__, seeds=[0, 1, 2], data=ASKED, threads=1, runs=True)
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--reference", type=int, default=1000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--regret-seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--regret-data", nargs="*", default=list(ASKED), choices=list(ASKED))
    parser.add_argument("--regret-pictures", type=int, default=100)
    toy = {"rows": 200, "epochs": 1, "pictures": 20, "reference": 20, "k": 2, "seeds": [0], "regret_pictures": 2}
    run(parser, {"auroc": table}, data=["MNIST"], **toy)
