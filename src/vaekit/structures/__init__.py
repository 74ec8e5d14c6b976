"""Models of other structures than one Normal z: a `vaekit.model.Model` each."""

from vaekit.structures.ladder import LadderVAE, build_ladder
from vaekit.structures.quantised import QuantisedVAE, build_quantised

__all__ = ["LadderVAE", "QuantisedVAE", "build_ladder", "build_quantised"]
