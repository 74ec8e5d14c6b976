"""Pictures of another world: how well each score tells them from pictures like those a VAE was trained on.

One VAE with the default settings, at size "small", a training set and seed. AUROC of its test pictures against pictures of
other sets; 0.5 is guessing, and below it the others look more normal than its own. "path" has learned from the rows that training held
out. "sizes" is the path statistic as published: three sizes, and nothing by octave. "octaves of x" is the same distance on the
octaves of the pictures themselves, with no model at all. "mirrored" is a set that is near: its own test pictures, left
and right exchanged (upside down, those in colour).

The octaves of "path" were chosen on seed 0 and on these sets, but for silhouettes and emoji, which came after.
"""

from __future__ import annotations

import argparse
import io
import itertools
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.io import loadmat
from sklearn.metrics import roc_auc_score

import vaekit
from tables import SHARED, Lines, arguments, cifar10, few, idx, sprites, write
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


def sign_digits(folder: Path, part: str) -> np.ndarray:
    """A fifth, chosen at random, is the test set: (N, 32, 32, 3) by area averaging."""
    from PIL import Image

    file = np.load(folder / "sign_digits" / "sign_digits_64_jpeg.npz")
    stream, at = file["jpeg"], file["offset"]
    pictures = [Image.open(io.BytesIO(stream[a:b].tobytes())).convert("RGB") for a, b in itertools.pairwise(at)]
    x = np.stack([np.asarray(picture.reduce(2)) for picture in pictures])
    x = x[np.random.default_rng(0).permutation(len(x))]
    return x[len(x) // 5 :] if part == "train" else x[: len(x) // 5]


def pictures(folder: Path, name: str, part: str) -> np.ndarray:
    if name in ("MNIST", "Fashion-MNIST"):
        x = idx(folder, name.lower().replace("-", "_"), "train" if part == "train" else "t10k")[0]
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


def trained(options: argparse.Namespace, name: str, seed: int, x: np.ndarray) -> vaekit.VAE:
    """The VAE of this training set and seed; kept in the folder of runs."""
    folder = options.runs / f"{name.lower().replace(' ', '-')}-{seed}"
    if not (folder / "model.safetensors").exists():
        vae = vaekit.VAE(size="small", epochs=options.epochs, sampler="prior", random_state=seed)
        vae.fit_rows(x, {}, watchers=[Lines()])
        vae.save(folder)
    return vaekit.load(folder)


class Octaves:
    """The distance of the octaves of the pictures themselves: no model."""

    def fit(self, vae: Any, X: np.ndarray) -> Octaves:
        self.learned = gaussian(self.statistics(X))
        return self

    def __call__(self, vae: Any, X: np.ndarray) -> np.ndarray:
        return -0.5 * distance(self.statistics(X), self.learned)

    def statistics(self, X: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(np.ascontiguousarray(X)).double() / 255
        return log_octaves(x[:, None] if x.ndim == 3 else x.movedim(-1, 1)).numpy()


def scores_of(options: argparse.Namespace, name: str, seed: int) -> dict[str, dict[str, np.ndarray]]:
    """Scores by score and by set of pictures; kept in the folder of runs, a file for each score."""

    def kept(score: str) -> Path:
        return options.runs / f"{name}-{seed}-{score}.npz".lower().replace(" ", "-")

    scores: dict[str, Any] = {
        "loglik": SCORES["loglik"](k=options.k),
        **{other: SCORES[other]() for other in ("reconstruction", "kl", "path")},
        "sizes": SCORES["path"](octaves=False),
        "octaves of x": Octaves(),
    }
    if seed in options.regret_seeds and name in options.regret_train:
        scores["regret"] = SCORES["regret"]()
    if missing := [score for score in scores if not kept(score).exists()]:
        x = pictures(options.folder, name, "train")
        x = x[np.random.default_rng(0).permutation(len(x))[: options.rows]]
        vae = trained(options, name, seed, x)
        reference = x[split(len(x), vae.validation, seed)[1].numpy()][: options.reference]
        test = pictures(options.folder, name, "test")
        sets = {"own": test[np.random.default_rng(seed).permutation(len(test))[: options.pictures]]}
        sets |= {other: far(options.folder, other, sets["own"], seed) for other in others_of(name)}
        for score in missing:
            some = sets
            if score == "regret":
                some = {
                    which: rows[: options.regret_pictures]
                    for which, rows in sets.items()
                    if which in ("own", *ASKED[name])
                }
            how = scores[score].fit(vae, reference)
            found = {which: how(vae, rows) for which, rows in some.items()}
            print(name, seed, score, {which: round(auroc(found, which), 3) for which in found}, flush=True)
            np.savez(kept(score), **found)
    return {score: dict(np.load(kept(score))) for score in scores}


def others_of(name: str) -> list[str]:
    return list(dict.fromkeys(ASKED[name] + ALSO[name]))


def auroc(scores: dict[str, np.ndarray], which: str) -> float:
    own, others = scores["own"], scores[which]
    return float(roc_auc_score(np.r_[np.ones(len(own)), np.zeros(len(others))], np.r_[own, others]))


NAMES = ["loglik", "reconstruction", "kl", "regret", "sizes", "path", "octaves of x"]


def run(options: argparse.Namespace) -> None:
    options.runs.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    for name in options.train:
        by_seed = [scores_of(options, name, seed) for seed in options.seeds]
        for which in others_of(name):
            row: dict[str, Any] = {"trained on": name, "against": which}
            for score in NAMES:
                found = [auroc(each[score], which) for each in by_seed if which in each.get(score, ())]
                spread = f" [{min(found):.3f}, {max(found):.3f}]" if len(found) > 1 else ""
                row[score] = f"{np.mean(found):.3f}{spread}" if found else ""
            rows.append(row)
        write(options, __doc__.splitlines()[0], rows, notes(options))


def notes(options: argparse.Namespace) -> str:
    return (
        f"AUROC, mean over seeds {' '.join(map(str, options.seeds))} and [lowest, highest]; {options.pictures} pictures a side, for regret "
        f"{options.regret_pictures} and seeds {' '.join(map(str, options.regret_seeds))} (whose standard errors, at 0.99, are about 0.004 and 0.007). Each model: "
        f"size small, 16 latent units, {options.epochs} epochs of at most {options.rows} pictures. loglik: {options.k} importance samples. "
        + " ".join(__doc__.split("\n\n", 1)[1].split())
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--train", nargs="+", default=list(ASKED), choices=list(ASKED))
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--reference", type=int, default=1000)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--regret-seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--regret-train", nargs="*", default=list(ASKED), choices=list(ASKED))
    parser.add_argument("--regret-pictures", type=int, default=100)
    parser.add_argument("--folder", type=Path, default=SHARED)
    parser.add_argument("--runs", type=Path, default=Path("runs/far_away"))
    parser.add_argument("--suffix", default="")
    toy = {"rows": 200, "epochs": 1, "pictures": 20, "reference": 20, "k": 2, "seeds": [0], "regret_pictures": 2}
    options = arguments(parser, train=["MNIST"], runs=Path(tempfile.mkdtemp()), **toy)
    options.table = "auroc"
    torch.set_num_threads(1)
    run(options)


if __name__ == "__main__":
    main()
