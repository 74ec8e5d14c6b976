"""Models of other structures than one Normal z: they keep the members of `vaekit.model.LatentModel`, not its class."""
