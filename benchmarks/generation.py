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
import itertools
import json
import logging
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

import vaekit
from harness import Rows, arguments, run, trained
from readers import Pictures, cifar10, idx, sprites
from vaekit.evaluation import compare, disentanglement, train_features
from vaekit.nets import ConvDecoder, ConvEncoder

SAMPLES = 5000


def pictures(options: argparse.Namespace, name: str, part: str) -> Pictures:
    if name == "sprites":
        return sprites(options.folder, part, options.side)
    return cifar10(options.folder, part) if name == "cifar10" else idx(options.folder, name, part)


def features(options: argparse.Namespace, name: str) -> tuple[Any, np.ndarray, str]:
    """The judge, the real test rows, and a sentence about both."""
    net = train_features(*pictures(options, name, "train"), seed=0)
    test, _ = pictures(options, name, "test")
    floor = shown(compare(test, test[: len(test) // 2], net.features)["floor"])
    accuracy = ", ".join(f"{k} {v:.1%}" for k, v in net.accuracy.items())
    about = f"features {net.hash} (seed 0; held-out accuracy: {accuracy}); floor, real against real: {floor}"
    return net.features, test, f"{name}: {about}"


def shown(found: Any) -> dict[str, float]:
    return {k: round(found[k], 3) for k in ("frechet", "kernel", "precision", "recall")}


def vae_of(options: argparse.Namespace, name: str, train: np.ndarray, seed: int, **settings: Any) -> vaekit.VAE:
    vae = vaekit.VAE(**{"random_state": seed, "minutes": options.minutes, **settings, **options.settings})
    return trained(options, name, vae, train)


Made = Iterator[tuple[str, int, str, np.ndarray]]
"""Model, epochs, where z comes from, and samples."""
VAEKIT: dict[str, dict[str, Any]] = {
    "vaekit, default": {},
    "vaekit, flow prior": {"prior": "flow"},
    "vaekit, fixed variance": {"likelihood": {"name": "normal", "scale": 1.0}},
}
PYTHAE = {"VAE": "VAEConfig", "BetaVAE": "BetaVAEConfig", "WAE_MMD": "WAE_MMD_Config"}


def frechet(options: argparse.Namespace) -> Rows:
    """Distance of samples from real pictures"""
    for name in options.data:
        judge, test, about = features(options, name)
        yield about
        train, _ = pictures(options, name, "train")
        for seed, makers in itertools.product(options.seeds, (ours, theirs)):
            for model, epochs, sampler, samples in makers(options, name, train, seed):
                found = shown(compare(test, samples, judge))
                yield {"data": name, "model": model, "z from": sampler, "seed": seed, "epochs": epochs, **found}


def ours(options: argparse.Namespace, name: str, train: np.ndarray, seed: int) -> Made:
    for title, settings in VAEKIT.items():
        vae = vae_of(options, f"{name}-{title}", train, seed, **settings)
        for sampler in ("prior", "gmm", "flow"):
            if sampler != "prior":
                vae.fit_sampler(sampler, train)
            yield title, len(vae.history_), sampler, vae.sample(SAMPLES, sampler=sampler)


def theirs(options: argparse.Namespace, name: str, train: np.ndarray, seed: int) -> Made:
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


BETAS = (1.0, 0.1, 0.03, 0.01, 0.003, 0.001)


def balance(options: argparse.Namespace) -> Rows:
    """The learned shared scale against fixed ones

    With squared error, a weight beta on the KL is a Normal likelihood of variance beta (pixels in 0..1), and is measured as that."""
    for name in options.data:
        judge, test, about = features(options, name)
        yield about
        train, _ = pictures(options, name, "train")
        for seed, beta in itertools.product(options.seeds, (None, *BETAS)):
            scale = "learned" if beta is None else f"beta {beta:g}"
            likelihood = {"name": "normal", "scale": beta and beta**0.5}
            vae = vae_of(options, f"{name}-{scale}", train, seed, likelihood=likelihood)
            found = vae.evaluate(test[: options.rows], k=100)
            vae.fit_sampler("flow", train)
            distances = {
                f"frechet, {s}": shown(compare(test, vae.sample(SAMPLES, sampler=s), judge))["frechet"]
                for s in ("prior", "flow")
            }
            yield {
                "data": name, "scale": scale, "seed": seed, "epochs": len(vae.history_),
                "IW-NLL, k=100": round(found["iw_nll"], 1),
                "standard error": round(found["iw_nll_standard_error"], 1), "KL": round(found["kl"], 1), **distances,
            }  # fmt: skip


OBJECTIVES: dict[str, Any] = {
    "ELBO": {"name": "elbo"},
    "beta-VAE, 4": {"name": "elbo", "beta": 4.0},
    "beta-TCVAE, 6": {"name": "beta_tc", "beta": 6.0},
    "FactorVAE, 20": {"name": "factor_vae", "gamma": 20.0},
}


def factors(options: argparse.Namespace) -> Rows:
    """Disentanglement of the known factors"""
    mig: dict[str, list[float]] = {}
    for name in options.data:
        train, values = pictures(options, name, "train")
        codes = np.column_stack(list(values.values()))[:5000]
        for seed, (title, objective) in itertools.product(options.seeds, OBJECTIVES.items()):
            settings = {"latent_dim": 10, "likelihood": "bernoulli", "objective": objective}
            vae = vae_of(options, f"{name}-{title}", train, seed, **settings)
            found = disentanglement(vae.transform(train[:5000]), codes, list(values), seed)
            mig.setdefault(title, []).append(found["mig"])
            last = vae.history_[-1]
            yield {
                "data": name, "objective": title, "seed": seed, "epochs": len(vae.history_),
                **{k: round(v, 3) for k, v in found.items() if isinstance(v, float)},
                "reconstruction": round(last["valid_reconstruction"], 1), "KL": round(last["valid_kl"], 1),
            }  # fmt: skip
    yield f"Median MIG: {json.dumps({title: round(float(np.median(found)), 3) for title, found in mig.items()})}"


if __name__ == "__main__":
    names = ["mnist", "fashion_mnist", "sprites", "cifar10"]
    parser = arguments(__doc__, seeds=[0], data=names, settings=True, runs=True)
    parser.set_defaults(data=["sprites"])
    parser.add_argument("--minutes", type=float, default=30.0, help="of training, for each model")
    parser.add_argument("--side", type=int, default=32, choices=[16, 32, 64], help="of the sprites")
    parser.add_argument("--rows", type=int, default=500, help="test rows for likelihoods")
    tables = {"frechet": frechet, "balance": balance, "disentanglement": factors}
    run(parser, tables, minutes=0.005, side=16, rows=20, settings={"size": "small", "sampler": "prior"})
