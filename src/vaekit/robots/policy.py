"""A conditional VAE as a policy: p(actions | observation), learned from demonstrations."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from vaekit import evaluation
from vaekit.conditions import Condition, Conditions, Number, Picture
from vaekit.distributions import LIKELIHOODS, POSTERIORS, PRIORS, Prior, StandardNormalPrior
from vaekit.errors import UserError, near_matches, note
from vaekit.estimators.base import Learner
from vaekit.estimators.checks import check_settings
from vaekit.model import LatentModel
from vaekit.nets.act import ActionDecoder, ActionEncoder, Observation
from vaekit.nets.resnet import RESNETS, backbones
from vaekit.objectives import OBJECTIVES
from vaekit.robots.actions import Actions
from vaekit.robots.actor import Actor, Input, check_observations, execution_of
from vaekit.robots.chunks import Filmed, chunks_of
from vaekit.robots.demonstrations import (
    CAMERA,
    TASK,
    Demonstrations,
    note_idle,
    note_short_episodes,
    note_tasks,
    split_episodes,
)
from vaekit.robots.draws import ObservationPrior, draw
from vaekit.robots.health import Setup, action_spread, policy_verdict
from vaekit.settings.limits import Share
from vaekit.settings.options import POLICIES, setting
from vaekit.settings.parse import size_text
from vaekit.settings.parts import Part, choose
from vaekit.show.notebook import Results
from vaekit.sources.pictures import resized
from vaekit.training import Data, Rows
from vaekit.training.data import View, generator, split

CHUNK_SECONDS = 2.0
COMPONENTS = 8  # of a mixture prior, by default
SIZES: dict[str, dict[str, Any]] = {
    "small": dict(width=64, heads=4, hidden=256, layers=2, decoder_layers=1, posterior_layers=1),
    "base": dict(width=128, heads=8, hidden=512, layers=2, decoder_layers=1, posterior_layers=2, dropout=0.1),
    "large": dict(width=256, heads=8, hidden=1024, layers=4, decoder_layers=2, posterior_layers=2, dropout=0.1),
    "published": dict(
        width=512, heads=8, hidden=3200, layers=4, decoder_layers=1, posterior_layers=4, dropout=0.1,
        activation="relu", norm_first=False, posterior_sees=["state"],
    ),
}  # fmt: skip


@dataclass(eq=False, repr=False, kw_only=True)
class Policy(Learner, Actor):
    """A conditional VAE of action chunks given what the robot sees: ACT, with a latent that is alive.

    In training the encoder reads the actions that followed. In use z comes from p(z|y), where y is the observation.

    Args:
        latent_dim: number of latent units; with 0 it is the same network without a latent.
        chunk_size: number of actions in a chunk. None: two seconds of actions, but no more than the longest episode has. Steps after
            the end of an episode are masked.
        size: "small", "base", "large", or "published", the paper's; or a dict of the numbers that differ from "base":
            width, heads, hidden, layers, decoder_layers, posterior_layers, dropout, activation ("relu" or "gelu"), norm_first
            (pre-norm), and posterior_sees, names of the vectors that q(z|x,y) sees (None: all).
        observations: names of the observations that the policy sees, such as ["state", "images.top"]. None: all but "task", the
            task in words. The policy sees it, as a label, if you name it.
        likelihood: "auto" is a Laplace with one learned scale; {"name": "laplace", "scale": 1} is the plain absolute error.
        prior: "mixture", "conditional" (Normal) and "flow" are learned from the observation; "standard" is N(0, I).
        posterior, objective, epochs, minutes, batch_size, learning_rate, random_state, trainer: as for `vaekit.CVAE`.
        validation: share of the episodes that are held out to watch the training. The last weights are kept in any case.
        z: the rule for z in use: "episode" (drawn once and held for an episode; a mixture also keeps its component), "chunk" (drawn
            for every chunk) or "mean" of p(z|y).
        temperature: a factor on the spread of p(z|y). At 0 a mixture still draws a component, that is, one of several ways.
        execute: how chunks become actions: "ensemble" (temporal ensembling), or K, to play K actions of each chunk.
        backbone: the cameras' network: "resnet18", "resnet34", "resnet50" or "resnet101", with the options weights (a
            .safetensors or .pth file with torchvision's names; without it the weights are fresh), norm ("frozen" batch norms,
            or "live" ones, which learn; "auto" freezes those of a file) and shared (one network for all cameras).

    Attributes:
        model_: the trained `LatentModel`.
        kind_: the schema of the actions, an `Actions`.
        conditions_: the schema of the observations.

    history_, notes_ and interrupted_ are those of `vaekit.VAE`.

    Source: ACT, Zhao et al. 2023, arXiv 2304.13705.

    Example:
        >>> from vaekit.robots.environments import demonstrate
        >>> shown = demonstrate("two-routes", episodes=3)
        >>> policy = vaekit.Policy(2, size="small", chunk_size=8, epochs=1).fit(shown)
        >>> policy.reset(seed=0)
        >>> policy.act({"state": [-0.9, 0.0]}).shape
        (2,)
    """

    kind: Part = "actions"
    size: str | Mapping[str, Any] = "base"  # type: ignore[assignment]
    chunk_size: int | None = setting(None, "Number of actions in a chunk. Default: two seconds of actions.", POLICIES)
    observations: Sequence[str] | None = None
    prior: Part = "mixture"
    objective: Part = "elbo"
    batch_size: int = 64
    patience: Share = 1.0
    z: Literal["episode", "chunk", "mean"] = setting(
        "episode", "How z is chosen at use: drawn per episode or chunk, or the mean.", POLICIES
    )
    temperature: float = setting(1.0, "Factor for the spread of the prior, which z is drawn from.", POLICIES)
    execute: str | int = setting("ensemble", "How many actions of each chunk to play, or ensemble.", POLICIES)
    backbone: Part = setting(
        "resnet18",
        "The network for cameras. --backbone.weights FILE starts from ImageNet weights with torchvision's names.",
        POLICIES,
    )

    sees: ClassVar[str] = "observations"
    parts: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "prior": {
            "mixture": partial(PRIORS["mixture"], components=COMPONENTS),
            **{name: PRIORS[name] for name in ("conditional", "flow", "standard")},
        },
        "posterior": POSTERIORS,
        "objective": OBJECTIVES,
        "backbone": {name: partial(backbones, name) for name in RESNETS},
    }
    sizes: ClassVar[Mapping[str, Any]] = SIZES

    # -- learning ------------------------------------------------------------------------------------------------------

    def fit(self, demonstrations: Demonstrations, y: None = None) -> Policy:
        """Learn from demonstrations. y is ignored: the demonstrations hold the observations.

        Raises:
            UserError: the demonstrations have a fault, or lack an observation, or a setting cannot be right.
        """
        return self.fit_data(demonstrations)

    def fit_data(
        self,
        demonstrations: Demonstrations,
        *,
        condition_kinds: Mapping[str, str] | None = None,
        folder: Path | None = None,
        resume: bool = False,
        origin: Mapping[str, Any] | None = None,
        watchers: Sequence[Any] = (),
    ) -> Policy:
        """Learn from demonstrations. folder, resume, origin, watchers: as for `VAE.fit_rows`; condition_kinds is not used."""
        check_settings(self)
        if not isinstance(demonstrations, Demonstrations):
            kind = type(demonstrations).__name__
            raise UserError(f"got a {kind}: give Demonstrations, as vaekit.read_demonstrations(SOURCE) reads them")
        demonstrations.check()
        chunk_size = self._chunk_size(demonstrations)
        execution_of(self.execute, chunk_size)  # raises before any time is spent
        with self._seeded() as (seed, notes):
            note_short_episodes(demonstrations, chunk_size)
            note_idle(demonstrations)
            seen = self._observations(demonstrations)
            network, options = choose("backbone", self.backbone, RESNETS)
            weights = options.get("weights")
            cameras = any(name.startswith(CAMERA) for name in seen)
            if weights and not cameras:
                raise UserError(f"backbone.weights={weights!r} is for cameras, and the policy sees none: leave it out")
            if warm := self._warm:
                kind, conditions = self.kind_, self.conditions_
            else:
                kind = Actions.infer(
                    demonstrations.actions, chunk_size, demonstrations.fps, demonstrations.action_names
                )
                kinds = {name: "picture" if name.startswith(CAMERA) else "number" for name in seen} | {TASK: "label"}
                shown = {name: v[:1] if kinds[name] == "picture" else v for name, v in seen.items()}
                conditions = Conditions.infer(shown, kinds)
            self.episode_ends_ = demonstrations.episode_ends
            data = chunks_of(kind, conditions, demonstrations, self.memory_bytes)
            name, options = choose("likelihood", self.likelihood, ["auto", *LIKELIHOODS])
            if name == "auto":
                name, options = "laplace", {"shared": True, **options}
            about: dict[str, Any] = {"rows": len(demonstrations), "episodes": demonstrations.episodes}
            if isinstance(data, Filmed):
                about["memory"] = self.memory_bytes  # the order of an epoch depends on it
                note(
                    f"the pictures of {len(data):,} frames stay in their videos: those of {min(data.window, len(data)):,} frames at a "
                    f"time are decoded and shuffled, within --memory {size_text(self.memory_bytes)}"
                )
            self._assemble(
                kind, conditions, (name, options), data, seed=seed, notes=notes, origin={**(origin or {}), **about}
            )
            if weights and not warm:
                for each in self.model_.condition.backbones:
                    each.load_weights(weights)
            elif cameras and not warm:
                note(
                    f"the cameras' {network} starts from random weights: with ImageNet's (--backbone.weights FILE) far fewer "
                    "demonstrations are enough"
                )
            self._train(data, folder, resume, list(watchers))
        self.reset()
        return self

    def divide(self, data: Demonstrations) -> tuple[np.ndarray, np.ndarray]:
        """See `Learner.divide`: by episode."""
        return split_episodes(data, self.validation, self.seed_)

    def division(self, data: Demonstrations) -> tuple[np.ndarray, np.ndarray]:
        """See `Learner.division`: chunks, by the frames that they begin at."""
        _, held_out = self.divide(data)
        held = np.isin(np.searchsorted(data.episode_ends, np.arange(len(data)), side="right"), held_out)
        return np.flatnonzero(~held), np.flatnonzero(held)

    def rows_of(self, data: Demonstrations, index: np.ndarray) -> tuple[View, dict[str, Any]]:
        """See `VAE.rows_of`. For a chunk its place in the episode is known, and the task."""
        episode = np.searchsorted(data.episode_ends, index, side="right")
        known: dict[str, Any] = {"step of the episode": (index - data.episode_starts[episode]).astype(float)}
        if data.tasks is not None and TASK not in self.conditions_.named:
            known["task"] = data.tasks[index]
        return View(self.data_of(data), torch.from_numpy(index)), known

    def _chunk_size(self, demonstrations: Demonstrations) -> int:
        seconds = min(round(CHUNK_SECONDS * demonstrations.fps), int(demonstrations.lengths.max()))
        return max(1, seconds) if self.chunk_size is None else self.chunk_size

    def _observations(self, demonstrations: Demonstrations) -> dict[str, Any]:
        there = demonstrations.offered
        if self.observations is not None and not self.observations:
            raise UserError(f"observations is empty: name some of {', '.join(there)}")
        for name in self.observations or ():
            if name not in there:
                raise UserError(f"{demonstrations.name} has no observation {name!r}{near_matches(name, there)}")
        names = self.observations or demonstrations.observations
        if TASK not in names:
            note_tasks(demonstrations, names)
        return {name: there[name] for name in names}

    def data_of(self, demonstrations: Demonstrations) -> Data | Filmed:
        """See `chunks_of`."""
        return chunks_of(self.kind_, self.conditions_, demonstrations, self.memory_bytes)

    def _split(self, data: Rows) -> tuple[Tensor, Tensor]:
        """By episode: frames of one episode are near-copies of each other."""
        _, valid = split(len(self.episode_ends_), self.validation, self.seed_)
        episode = torch.from_numpy(np.searchsorted(self.episode_ends_, np.arange(len(data)), side="right"))
        held_out = torch.isin(episode, valid)
        return (~held_out).nonzero().squeeze(1), held_out.nonzero().squeeze(1)

    def _training_extras(self) -> dict[str, Any]:
        # 32 bits: bfloat16 may be faster, but whether policies then succeed as often was not measured.
        return {"condition_dropout": 0.0, "keep": "last", "precision": "32-true"}

    def build(self, kind: Any, conditions: Conditions, likelihood: Any) -> LatentModel:
        network = dict(SIZES[self.size]) if isinstance(self.size, str) else SIZES["base"] | dict(self.size)
        width, sees = network.pop("width"), network.pop("posterior_sees", None)
        encoder = {**network, "layers": network.pop("posterior_layers")}
        del encoder["posterior_layers"], encoder["decoder_layers"]
        actions, chunk_size = kind.event_shape
        vectors = {name: c.size for name, c in conditions.named.items() if not isinstance(c, Picture)}
        cameras = {name: (c.height, c.width) for name, c in conditions.named.items() if isinstance(c, Picture)}
        seen = {name: size for name, size in vectors.items() if sees is None or name in sees}
        posterior: Any = self._part("posterior")(self.latent_dim)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Initializing zero-element")  # a latent of no units has no weights
            return LatentModel(
                ActionEncoder(actions, chunk_size, posterior.features, seen, width, **encoder),
                ActionDecoder(self.latent_dim, actions, chunk_size, vectors, cameras, width, **network),
                likelihood,
                latent_dim=self.latent_dim,
                prior=self._prior(sum(vectors.values()) + (width if cameras else 0)),
                posterior=posterior,
                condition=Observation(vectors, cameras, width, self._part("backbone")(len(cameras))),
            )

    @property
    def prior_name(self) -> str:
        """The kind of p(z|y); without a latent it is "standard"."""
        return choose("prior", self.prior, self.parts["prior"])[0] if self.latent_dim else "standard"

    def _prior(self, features: int) -> Prior:
        """p(z|y) for observations of `features` numbers. N(0, I), and a latent without units, do not depend on them."""
        if self.prior_name == "standard":
            return StandardNormalPrior(self.latent_dim)
        return ObservationPrior(self._part("prior"), self.latent_dim, features)

    # -- using ---------------------------------------------------------------------------------------------------------

    @property
    def chunk_size_(self) -> int:
        check_is_fitted(self)
        return self.kind_.chunk_size

    @property
    def inputs(self) -> dict[str, Input]:
        """The observations that it sees, by name. If the demonstrations' pictures were resized, a picture may have any size."""
        return {name: as_input(c) for name, c in self.conditions_.named.items()}

    @torch.inference_mode()  # 7 % faster than no_grad
    def plan(
        self, observations: Mapping[str, Any], z: Any, seed: Sequence[int], held: Tensor | None = None
    ) -> tuple[np.ndarray, Tensor | None]:
        y, component = self.pack_observations(observations), None
        rows = len(next(iter(y.values())))
        c = self.model_.condition(y, rows)
        if z is not None:
            z = torch.as_tensor(np.asarray(z), dtype=torch.float32, device=self.fitted_.device).expand(rows, -1)
        elif self.z == "mean":
            z = self.model_.prior_head(c, rows).mean
        else:
            noise = partial(torch.randn, generator=generator(*seed))
            z, component = draw(self.model_.prior_head(c, rows), noise, self.temperature, held)
        return self.kind_.unpack(self.model_.decoder(z, c)), component

    def pack_observations(self, observations: Mapping[str, Any]) -> dict[str, Tensor]:
        """Observations of N steps, (N, ...) by name, as tensors for `model_`, on its device. UserError for a wrong one."""
        check_is_fitted(self)
        found = dict(observations)
        for name, c in self.conditions_.named.items():
            if isinstance(c, Picture) and self.data_.get("resize") and np.ndim(found.get(name, ())) == 4:
                found[name] = np.stack([resized(np.asarray(frame), (c.width, c.height)) for frame in found[name]])
        seen = check_observations(found, self.inputs)
        packed = self.conditions_.pack(seen, len(next(iter(seen.values()))))
        return {name: values.to(self.fitted_.device) for name, values in packed.items()}

    def evaluate(self, demonstrations: Demonstrations, y: Any = None, *, k: int = 20, track: Any = list) -> Results:
        """Measure ELBO, KL, active units and how far z moves actions (`vaekit.robots.health`), and give a verdict: a dict.

        Args:
            demonstrations: best those that the policy was not trained on. y is ignored: they hold the observations.
            k: importance samples.
        """
        check_is_fitted(self)
        data = self.data_of(demonstrations).to(self.fitted_.device)
        found = evaluation.evaluate(self.model_, data, k=k, to_batch=self.kind_.batch, track=track)
        setup = self.setup
        found |= {"effective_beta": setup.effective_beta, **action_spread(self.model_, data)}
        return Results({**found, "verdict": policy_verdict(found, setup)})

    @property
    def setup(self) -> Setup:
        """The settings that a verdict on it depends on."""
        likelihood, elements = self.model_.likelihood, math.prod(self.kind_.event_shape)
        return Setup(self._objective(), likelihood, elements, self.prior_name, self.z, str(self.execute))


def as_input(condition: Condition) -> Input:
    """The form that an observation has to have, to be seen as this condition."""
    if isinstance(condition, Picture):
        return Input("uint8", (condition.height, condition.width, 3))
    if isinstance(condition, Number):
        return Input("float32", (condition.size,))
    return Input("int64", (), condition.classes)
