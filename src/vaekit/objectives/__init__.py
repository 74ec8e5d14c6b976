"""Objectives: small functions of a `Draw`, by name. To add one, write a class and name it in `OBJECTIVES`."""

from typing import Any

from vaekit.objectives.adversarial import VAEGAN
from vaekit.objectives.balance import GECO, Capacity, FreeBits, KLFloor, KLTarget
from vaekit.objectives.base import Function, Objective
from vaekit.objectives.bounds import ACT, ELBO, IWAE, DReG
from vaekit.objectives.structure import BetaTC, FactorVAE, InfoVAE

OBJECTIVES: dict[str, type[Any]] = {
    "elbo": ELBO,
    "free_bits": FreeBits,
    "capacity": Capacity,
    "kl_floor": KLFloor,
    "kl_target": KLTarget,
    "geco": GECO,
    "beta_tc": BetaTC,
    "factor_vae": FactorVAE,
    "info_vae": InfoVAE,
    "iwae": IWAE,
    "dreg": DReG,
    "vae_gan": VAEGAN,
    "act": ACT,
}

__all__ = ["ELBO", "OBJECTIVES", "Function", "Objective"]
