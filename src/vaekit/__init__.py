"""vaekit: variational autoencoders and conditional variational autoencoders that work.

    import vaekit
    vae = vaekit.VAE(latent_dim=16).fit(X)

Names are imported when they are first used, so that `import vaekit` and `vaekit --help` are fast.
"""

import importlib
import os

# Threads that wait for each other look for some microseconds and then sleep. By default they look on for milliseconds, and take the
# processor from the threads that they wait for, where other programs run. OpenMP reads this as PyTorch is loaded.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")

__version__ = "0.1.0"

_HOME = {
    "VAE": "estimators.vae",
    "CVAE": "estimators.cvae",
    "AnomalyDetector": "estimators.detector",
    "to_pyod": "estimators.detector",
    "SeriesVAE": "estimators.series",
    "SemiSupervisedVAE": "estimators.semi_supervised",
    "SemiSupervisedRegressor": "estimators.semi_supervised",
    "Policy": "robots.policy",
    "Demonstrations": "robots.demonstrations",
    "read_demonstrations": "robots.datasets",
    "load_published": "robots.published",
    "load": "runs.load",
    "preset": "recipes.recipe",
    "read": "sources",
    "pack": "recipes.pack",
    "read_series": "sources.series",
    "LatentModel": "model",
    "Draw": "model",
    "ELBO": "objectives",
    "evolve": "evolution.search",
    "UserError": "errors",
}
_MODULES = (
    "deploy",
    "distributions",
    "kinds",
    "estimators",
    "evolution",
    "evaluation",
    "model",
    "nets",
    "objectives",
    "plot",
    "robots",
    "runtime",
    "sources",
    "training",
)

__all__ = [*_HOME, "__version__"]


def __getattr__(name: str) -> object:
    if name in _HOME:
        return getattr(importlib.import_module(f"vaekit.{_HOME[name]}"), name)
    if name in _MODULES:
        return importlib.import_module(f"vaekit.{name}")
    raise AttributeError(f"module 'vaekit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *_MODULES])
