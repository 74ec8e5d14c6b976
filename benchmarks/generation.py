"""How good samples are, whether reconstruction and KL balance without tuning, and whether latent units mean something.
Writes tables to benchmarks/results/.

    python benchmarks/generation.py frechet --data fashion_mnist sprites --minutes 30 --seeds 0 1 2
    python benchmarks/generation.py balance --data sprites cifar10 --minutes 30 --seeds 0 1 2
    python benchmarks/generation.py disentanglement --data sprites --minutes 30 --seeds 0 1 2 3 4

Every model of a table is trained for the same `--minutes` on the same cores, one after the other. Distances are in the
features of a classifier that is trained here (its seed, hash and accuracy are printed), between as many samples as
there are real rows in half of the test set; the floor is that between the two halves.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import tempfile
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vaekit
from tables import SHARED, Lines, arguments, cifar10, idx, sprites, write
from vaekit.evaluation import compare, disentanglement, train_features
from vaekit.nets import ConvDecoder, ConvEncoder

SAMPLES = 5000


def data(options: argparse.Namespace, name: str, part: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    if name == "sprites":
        return sprites(options.folder, part, options.side)
    if name == "cifar10":
        return cifar10(options.folder, part)
    return idx(options.folder, name, "t10k" if part == "test" else part)


def features(options: argparse.Namespace, name: str) -> tuple[Any, np.ndarray, str]:
    """The judge, the real test rows, and a sentence about both."""
    net = train_features(*data(options, name, "train"), seed=0)
    test, _ = data(options, name, "test")
    floor = compare(test, test[: len(test) // 2], net.features)["floor"]
    said = ", ".join(f"{k} {v:.1%}" for k, v in net.accuracy.items())
    return (
        net.features,
        test,
        f"{name}: features {net.hash} (seed 0; held-out accuracy: {said}); floor, real against real: {shown(floor)}",
    )


def shown(found: Any) -> dict[str, float]:
    return {k: round(found[k], 3) for k in ("frechet", "kernel", "precision", "recall")}


VAEKIT: dict[str, dict[str, Any]] = {
    "vaekit, default": {},
    "vaekit, flow prior": {"prior": "flow"},
    "vaekit, fixed variance": {"likelihood": {"name": "normal", "scale": 1.0}},
}
PYTHAE = {"VAE": "VAEConfig", "BetaVAE": "BetaVAEConfig", "WAE_MMD": "WAE_MMD_Config"}


def frechet(options: argparse.Namespace) -> None:
    """Distance of samples from real pictures"""
    rows: list[dict[str, Any]] = []
    notes = []
    for name in options.data:
        judge, test, note = features(options, name)
        notes.append(note)
        train, _ = data(options, name, "train")
        for seed in options.seeds:
            for model, epochs, sampler, samples in chain(ours(train, seed, options), theirs(train, seed, options)):
                found = shown(compare(test, samples, judge))
                row = {"data": name, "model": model, "z from": sampler, "seed": seed, "epochs": epochs, **found}
                rows.append(row)
                write(options, frechet.__doc__, rows, "; ".join(notes))


def ours(train: np.ndarray, seed: int, options: argparse.Namespace) -> Iterator[tuple[str, int, str, np.ndarray]]:
    for title, settings in VAEKIT.items():
        vae = fitted(train, seed, options, {**settings, **options.settings})
        for sampler in ("prior", "gmm", "flow"):
            if sampler != "prior":
                vae.fit_sampler(sampler, train)
            yield title, len(vae.history_), sampler, vae.sample(SAMPLES, sampler=sampler)


def theirs(train: np.ndarray, seed: int, options: argparse.Namespace) -> Iterator[tuple[str, int, str, np.ndarray]]:
    """pythae's models, trainer and samplers, with the networks that vaekit has by default: the methods differ, not the
    networks. (pythae's own are several times larger, and would hardly start to learn in the same time.)"""
    from pythae import models, samplers
    from pythae.data.datasets import BaseDataset
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig
    from pythae.trainers.training_callbacks import TrainingCallback

    class TimeIsUp(Exception):  # noqa: N818
        pass

    class Encoder(BaseEncoder):
        def __init__(self, config: Any, outputs: int):
            super().__init__()
            self.latent_dim = config.latent_dim
            self.net = ConvEncoder(config.input_dim, (outputs,))

        def forward(self, x: torch.Tensor) -> ModelOutput:
            h = self.net(x)
            return ModelOutput(embedding=h[:, : self.latent_dim], log_covariance=h[:, self.latent_dim :])

    class Decoder(BaseDecoder):
        def __init__(self, config: Any):
            super().__init__()
            self.net = ConvDecoder((config.latent_dim,), config.input_dim)

        def forward(self, z: torch.Tensor) -> ModelOutput:
            return ModelOutput(reconstruction=self.net(z).sigmoid())

    class Clock(TrainingCallback):
        steps, start = 0, 0.0

        def on_train_begin(self, training_config: Any, **_: Any) -> None:
            self.start = time.monotonic()

        def on_train_step_end(self, training_config: Any, **_: Any) -> None:
            self.steps += 1
            if time.monotonic() - self.start > 60 * options.minutes:
                raise TimeIsUp

    logging.disable(logging.INFO)
    x = torch.from_numpy(train).float() / 255
    x = x.unsqueeze(1) if x.ndim == 3 else x.movedim(3, 1).contiguous()
    for kind, config_name in PYTHAE.items():
        torch.manual_seed(seed)
        config = getattr(models, config_name)(input_dim=tuple(x.shape[1:]), latent_dim=16)
        outputs = 16 if kind.startswith("WAE") else 32
        model = getattr(models, kind)(config, Encoder(config, outputs), Decoder(config))
        with tempfile.TemporaryDirectory() as folder:
            training = BaseTrainerConfig(
                output_dir=folder, num_epochs=10**6, learning_rate=1e-3, per_device_train_batch_size=128, seed=seed
            )
            clock = Clock()
            trainer = BaseTrainer(model, BaseDataset(x, torch.zeros(len(x))), None, training, callbacks=[clock])
            with contextlib.suppress(TimeIsUp):
                trainer.train()
            model.eval()
            flow = BaseTrainerConfig(
                output_dir=folder, num_epochs=30, learning_rate=1e-3, per_device_train_batch_size=512, seed=seed
            )
            mixture = samplers.GaussianMixtureSamplerConfig(n_components=10)
            for title, sampler, fitting in (
                ("prior", samplers.NormalSampler(model), None),
                ("gmm", samplers.GaussianMixtureSampler(model, mixture), {}),
                ("maf", samplers.MAFSampler(model), {"training_config": flow}),
            ):
                if fitting is not None:
                    sampler.fit(x, **fitting)
                made = sampler.sample(num_samples=SAMPLES, batch_size=500, return_gen=True)
                made = (made.clamp(0, 1) * 255).round().byte().cpu().numpy()
                made = made[:, 0] if made.shape[1] == 1 else np.moveaxis(made, 1, 3)
                yield f"pythae {kind}", round(128 * clock.steps / len(x)), title, made


def fitted(train: np.ndarray, seed: int, options: argparse.Namespace, settings: dict[str, Any]) -> vaekit.VAE:
    vae = vaekit.VAE(random_state=seed, minutes=options.minutes, **settings)
    return vae.fit_rows(train, {}, watchers=[Lines()])


BETAS = (1.0, 0.1, 0.03, 0.01, 0.003, 0.001)


def balance(options: argparse.Namespace) -> None:
    """The learned shared scale against fixed ones. With squared error, a weight beta on the KL is a Normal likelihood of
    variance beta (pixels in 0..1), and is measured as that"""
    rows: list[dict[str, Any]] = []
    notes = []
    for name in options.data:
        judge, test, note = features(options, name)
        notes.append(note)
        train, _ = data(options, name, "train")
        for seed in options.seeds:
            for beta in (None, *BETAS):
                likelihood = {"name": "normal", "scale": beta and beta**0.5}
                vae = fitted(train, seed, options, {"likelihood": likelihood, **options.settings})
                found = vae.evaluate(test[: options.rows], k=100)
                vae.fit_sampler("flow", train)
                distances = {
                    f"frechet, {s}": shown(compare(test, vae.sample(SAMPLES, sampler=s), judge))["frechet"]
                    for s in ("prior", "flow")
                }
                rows.append({
                    "data": name, "scale": "learned" if beta is None else f"beta {beta:g}", "seed": seed,
                    "epochs": len(vae.history_), "IW-NLL, k=100": round(found["iw_nll"], 1),
                    "standard error": round(found["iw_nll_standard_error"], 1), "KL": round(found["kl"], 1), **distances,
                })  # fmt: skip
                write(options, balance.__doc__, rows, "; ".join(notes))


OBJECTIVES: dict[str, Any] = {
    "ELBO": {"name": "elbo"},
    "beta-VAE, 4": {"name": "elbo", "beta": 4.0},
    "beta-TCVAE, 6": {"name": "beta_tc", "beta": 6.0},
    "FactorVAE, 20": {"name": "factor_vae", "gamma": 20.0},
}


def scores(options: argparse.Namespace) -> None:
    """Disentanglement of the known factors: medians over seeds stand above the rows"""
    rows: list[dict[str, Any]] = []
    for name in options.data:
        train, factors = data(options, name, "train")
        codes_of = np.column_stack(list(factors.values()))
        for seed in options.seeds:
            for title, objective in OBJECTIVES.items():
                settings = {"latent_dim": 10, "likelihood": "bernoulli", "objective": objective, **options.settings}
                vae = fitted(train, seed, options, settings)
                found = disentanglement(vae.transform(train[:5000]), codes_of[:5000], list(factors), seed)
                last = vae.history_[-1]
                rows.append({
                    "data": name, "objective": title, "seed": seed, "epochs": len(vae.history_),
                    **{k: round(v, 3) for k, v in found.items() if isinstance(v, float)},
                    "reconstruction": round(last["valid_reconstruction"], 1), "KL": round(last["valid_kl"], 1),
                })  # fmt: skip
                medians = {t: round(float(np.median([r["mig"] for r in rows if r["objective"] == t])), 3) for t in OBJECTIVES if any(r["objective"] == t for r in rows)}  # fmt: skip
                write(options, scores.__doc__, rows, f"median MIG: {json.dumps(medians)}")


TABLES = {"frechet": frechet, "balance": balance, "disentanglement": scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", choices=list(TABLES))
    parser.add_argument(
        "--data", nargs="+", default=["sprites"], choices=["mnist", "fashion_mnist", "sprites", "cifar10"]
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--minutes", type=float, default=30.0, help="of training, for each model")
    parser.add_argument("--side", type=int, default=32, choices=[16, 32, 64], help="of the sprites")
    parser.add_argument("--rows", type=int, default=500, help="test rows for likelihoods")
    parser.add_argument("--settings", type=json.loads, default={}, help="further settings of vaekit's models, as JSON")
    parser.add_argument("--suffix", default="", help="end of the result's name")
    parser.add_argument("--folder", type=Path, default=SHARED)
    options = arguments(parser, minutes=0.005, side=16, rows=20, settings={"size": "small", "sampler": "prior"})
    TABLES[options.table](options)


if __name__ == "__main__":
    main()
