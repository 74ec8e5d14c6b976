"""A policy as one ONNX file, from what the robot measures to what it does next, for `vaekit.robots.onnx_policy`.

Inputs, then the output:

    observations, each (N, ...) by name, in the robot's own units; pictures as bytes
    noise        (N, n) standard Normal numbers, from which z is drawn; only where the policy draws
    component    (N,) int64, the component that is held, -1 for none; only where the policy draws from a mixture
    z            (latent_dim,) to use instead of the z of the policy's rule; may be left out (then it is NaN)
    ->  actions  (N, chunk_size, A), in the robot's own units
        kept     (N,) int64, the component that was drawn or kept; only where the policy draws from a mixture
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from vaekit import __version__
from vaekit.conditions import Label, Number
from vaekit.deploy.graphs import InTurn
from vaekit.deploy.trace import TOLERANCE, needed, traced
from vaekit.errors import UserError
from vaekit.files import write_atomically
from vaekit.robots.draws import draw
from vaekit.robots.onnx_policy import COMPONENT, FORMAT, METADATA, NOISE, Z, open_session
from vaekit.robots.policy import Policy

ROWS = 3  # of the example that is traced; the file takes any number of rows


class Deployed(nn.Module):
    """A policy from raw observations to raw actions, without anything random in it."""

    def __init__(self, policy: Policy):
        super().__init__()
        self.model = copy.deepcopy(policy.model_).cpu().eval()
        self.rule, self.temperature, self.named = policy.z, policy.temperature, policy.conditions_.named
        numbers = {name: c for name, c in self.named.items() if isinstance(c, Number)}
        # In float64, as the policy does it: a float32 of a mean that is far from 0 is off by much of a small scale.
        self.means = {name: torch.tensor(c.mean, dtype=torch.float64) for name, c in numbers.items()}
        self.scales = {name: torch.tensor(c.scale, dtype=torch.float64) for name, c in numbers.items()}
        self.mean = torch.tensor(policy.kind_.mean, dtype=torch.float64)
        self.scale = torch.tensor(policy.kind_.scale, dtype=torch.float64)

    def forward(self, given: Mapping[str, Tensor]) -> dict[str, Tensor]:
        observations = {name: given[name] for name in self.named}
        rows = next(iter(observations.values())).shape[0]  # len() would make it a constant
        c = self.features(observations, rows)
        z, component = self.choose(c, given.get(NOISE), given.get(COMPONENT), rows)
        if Z in given:
            z = torch.where(given[Z].isnan(), z, given[Z])
        actions = (self.model.decoder(z, c).transpose(1, 2).double() * self.scale + self.mean).float()
        return {"actions": actions} if component is None else {"actions": actions, "kept": component}

    def features(self, observations: Mapping[str, Tensor], rows: int) -> Any:
        y = {
            name: ((values.double() - self.means[name]) / self.scales[name]).float() if name in self.means else values
            for name, values in observations.items()
        }
        return self.model.condition(y, rows)

    def choose(self, c: Any, noise: Tensor | None, component: Tensor | None, rows: int) -> tuple[Tensor, Tensor | None]:
        """z by the policy's rule, (N, latent_dim), and the component it came from."""
        prior = self.model.prior_head(c, rows)
        return (prior.mean, None) if noise is None else draw(prior, InTurn(noise), self.temperature, component)

    def numbers_drawn(self, c: Any, rows: int) -> int:
        """The number of random numbers that the z of a row needs."""
        turn = InTurn(torch.zeros(rows, 0))
        if self.rule != "mean" and self.model.latent_dim:
            self.model.prior_head(c, rows).sample(1, turn)
        return turn.used


def export_policy(policy: Policy, path: str | Path) -> Path:
    """Write a policy as one .onnx file, for `OnnxPolicy` or any other runtime of ONNX.

    The rule for z, how to execute chunks, names and shapes are JSON in the file's metadata. Before the file takes its place,
    onnxruntime must give the policy's actions.

    Raises:
        UserError: a package is missing, `path` does not end in .onnx, or ONNX cannot express the prior.
    """
    if not isinstance(policy, Policy):
        raise UserError(f"a {type(policy).__name__} cannot be exported: give a trained Policy, or its run")
    check_is_fitted(policy)
    path = Path(path)
    if path.suffix.lower() != ".onnx":
        raise UserError(f"{path} does not end in .onnx: give the name of an .onnx file")
    content = policy_bytes(policy)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda p: p.write_bytes(content))
    return path


def policy_bytes(policy: Policy) -> bytes:
    """The content of that file."""
    onnx = needed()
    module = Deployed(policy)
    observations = example(policy, ROWS)
    with torch.no_grad():
        n = module.numbers_drawn(module.features(observations, ROWS), ROWS)
    noise = torch.randn(ROWS, n, generator=torch.Generator().manual_seed(0)) if n else None
    mixture = noise is not None and policy.prior_name == "mixture"
    component = torch.full((ROWS,), -1) if mixture else None
    z = torch.full((policy.latent_dim,), torch.nan) if policy.latent_dim else None
    drawn = {name: t for name, t in {NOISE: noise, COMPONENT: component}.items() if t is not None}
    given = {**observations, **drawn, **({} if z is None else {Z: z})}
    free = {name: {0: "rows"} for name in (*observations, *drawn)}
    proto = traced(module, given, free, ["actions"] if component is None else ["actions", "kept"])
    if z is not None:  # a value that an input has if it is left out
        proto.graph.initializer.append(onnx.numpy_helper.from_array(z.numpy(), Z))
    about = {
        "format": FORMAT,
        "vaekit": __version__,
        "chunk_size": policy.kind_.chunk_size,
        "execute": str(policy.execute),
        "z": policy.z,
        "latent_dim": policy.latent_dim,
        "noise": n,
        "component": mixture,
        "fps": policy.kind_.fps,
        "observations": {name: {"dtype": one.dtype, "shape": list(one.shape)} for name, one in policy.inputs.items()},
        "classes": {name: one.classes for name, one in policy.inputs.items() if one.classes},
        "actions": len(policy.kind_.mean),
        "action_names": policy.kind_.names,
        "seed": policy.seed_,
    }
    onnx.helper.set_model_props(proto, {METADATA: json.dumps(about)})
    content = proto.SerializeToString()
    session = open_session(content)
    check(policy, module, session, observations, noise, component)
    return content


def example(policy: Policy, rows: int) -> dict[str, Tensor]:
    """Observations like those of the training data, (rows, ...) by name, in raw units."""
    rng = np.random.default_rng(0)
    out = {}
    for name, c in policy.conditions_.named.items():
        values = c.examples(rows, rng)
        if isinstance(c, Number):
            values = (np.asarray(c.mean) + np.asarray(c.scale) * values).astype(np.float32)
        out[name] = torch.from_numpy(values)
    return out


@torch.no_grad()
def check(
    policy: Policy, module: Deployed, session: Any, observations: Any, noise: Tensor | None, component: Tensor | None
) -> None:
    """Check that the file gives the same actions as the policy. RuntimeError if it does not."""
    seen = {name: values.numpy() for name, values in observations.items()}
    labels = {name: c for name, c in policy.conditions_.named.items() if isinstance(c, Label)}
    words = {name: np.asarray(c.classes, object)[seen[name]] for name, c in labels.items()}
    z, _ = module.choose(module.features(observations, ROWS), noise, component, ROWS)
    expected = policy.predict({**seen, **words}, z=z)
    drawn = {name: t.numpy() for name, t in {NOISE: noise, COMPONENT: component}.items() if t is not None}
    found = session.run(None, {**seen, **drawn})[0]
    off = np.abs(found - expected) / (np.asarray(policy.kind_.scale) + np.abs(expected))
    if not off.max() <= TOLERANCE:
        raise RuntimeError(
            f"the exported policy differs from the policy by {off.max():.1e} of an action: nothing was written"
        )
