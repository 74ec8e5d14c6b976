"""Models whose latent is not one Normal z. Each is a `vaekit.model.Model`."""

from vaekit.structures.ladder import LadderVAE, build_ladder
from vaekit.structures.quantised import QuantisedVAE, build_quantised

__all__ = ["LadderVAE", "QuantisedVAE", "build_ladder", "build_quantised"]
