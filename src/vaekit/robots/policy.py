"""A conditional VAE as a policy: p(actions | observation), learned from demonstrations."""

from __future__ import annotations

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
from vaekit.conditions import Conditions, Label, Number, Picture
from vaekit.distributions import LIKELIHOODS, POSTERIORS, PRIORS, Prior, StandardNormalPrior
from vaekit.errors import UserError, near_matches, note
from vaekit.estimators.base import Learner
from vaekit.estimators.checks import check_settings
from vaekit.kinds import Actions
from vaekit.model import LatentModel
from vaekit.nets.act import ActionDecoder, ActionEncoder, Observation, ObservationPrior
from vaekit.nets.resnet import RESNETS, backbones
from vaekit.objectives import OBJECTIVES
from vaekit.robots.datasets import needed, read_demonstrations
from vaekit.robots.demonstrations import CAMERA, TASK, Demonstrations, note_idle, note_short_episodes, note_tasks
from vaekit.robots.draws import draw
from vaekit.robots.execution import Execution, execution
from vaekit.settings.limits import Share
from vaekit.settings.parts import Part, choose
from vaekit.sources.pictures import resized
from vaekit.training import Data
from vaekit.training.data import generator, split

CHUNK_SECONDS = 2.0
COMPONENTS = 8  # of a mixture prior, where nothing else is asked for
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
class Policy(Learner):
    """A conditional VAE of action chunks given what the robot sees: ACT, with a latent that is alive.

    In the training stage the encoder reads the actions that followed; in use z comes from p(z|y), y being the observation.

    Args:
        latent_dim: number of latent units; 0 is the same network without a latent.
        chunk_size: actions decided on at a time. None: two seconds of them, and no more than the longest episode has.
            What lies behind the end of an episode is masked.
        size: "small", "base", "large", or "published", that of the paper; or a dict of numbers that differ from "base":
            width, heads, hidden, layers, decoder_layers, posterior_layers, dropout, activation ("relu" or "gelu"), norm_first
            (pre-norm), and posterior_sees, names of the vectors that q(z|x,y) sees (None: all).
        observations: names of what the policy is to see, such as ["state", "images.top"]. None: all there is, but not "task", what
            is to be done in words, which it sees as a label where it is named.
        likelihood: "auto" is a Laplace with one learned scale; {"name": "laplace", "scale": 1} is the plain absolute error.
        prior: "mixture", "conditional" (Normal) and "flow" are learned from the observation; "standard" is N(0, I).
        posterior, objective, epochs, minutes, batch_size, learning_rate, random_state, trainer: as for `vaekit.CVAE`.
        validation: share of the episodes held out to watch the training by; the last weights are kept, whatever it says.
        z: at use: "episode" (drawn once and held for an episode: the random numbers, and of a mixture the component), "chunk" (drawn for every chunk) or "mean" of p(z|y).
        temperature: the spread of what z is drawn from is multiplied by it; at 0 what is left is which component of a
            mixture is drawn, that is, which of several ways.
        execute: how chunks become actions: "ensemble" (temporal ensembling), or K, to play K actions of each chunk.
        backbone: the cameras' network: "resnet18", "resnet34", "resnet50" or "resnet101", with the options weights (a
            .safetensors or .pth file with torchvision's names; without it the weights are fresh), norm ("frozen" batch norms,
            or "live" ones, which learn; "auto" freezes those of a file) and shared (one network for all cameras).

    Attributes:
        model_: the trained `LatentModel`. kind_: `Actions`. conditions_: of the observation.
        history_, notes_, interrupted_: as for `vaekit.VAE`.
    """

    size: str | Mapping[str, Any] = "base"  # type: ignore[assignment]
    chunk_size: int | None = None
    observations: Sequence[str] | None = None
    prior: Part = "mixture"
    objective: Part = "elbo"
    batch_size: int = 64
    patience: Share = 1.0
    z: Literal["episode", "chunk", "mean"] = "episode"
    temperature: float = 1.0
    execute: str | int = "ensemble"
    backbone: Part = "resnet18"

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
        """Learn from demonstrations. y is ignored: what the robot saw is in them."""
        return self.fit_data(demonstrations)

    def fit_data(
        self,
        demonstrations: Demonstrations,
        *,
        kinds: Mapping[str, str] | None = None,
        folder: Path | None = None,
        resume: bool = False,
        origin: Mapping[str, Any] | None = None,
        watchers: Sequence[Any] = (),
    ) -> Policy:
        """Learn from demonstrations. folder, resume, origin, watchers: as for `VAE.fit_rows`; kinds is not used."""
        check_settings(self)
        if not isinstance(demonstrations, Demonstrations):
            kind = type(demonstrations).__name__
            raise UserError(f"got a {kind}: give Demonstrations, as vaekit.read_demonstrations(SOURCE) reads them")
        demonstrations.check()
        chunk_size = self._chunk_size(demonstrations)
        self._new_execution(chunk_size)
        with self._seeded():
            note_short_episodes(demonstrations, chunk_size)
            note_idle(demonstrations)
            seen = self._observations(demonstrations)
            network, options = choose("backbone", self.backbone, RESNETS)
            weights = options.get("weights")
            cameras = any(name.startswith(CAMERA) for name in seen)
            if weights and not cameras:
                raise UserError(f"backbone.weights={weights!r} is for cameras, and the policy sees none: leave it out")
            if not self._warm:
                self.kind_ = Actions.infer(
                    demonstrations.actions, chunk_size, demonstrations.fps, demonstrations.action_names
                )
                kinds = {name: "picture" if name.startswith(CAMERA) else "number" for name in seen} | {TASK: "label"}
                self.conditions_ = Conditions.infer(seen, kinds)
            self.episode_ends_ = demonstrations.episode_ends
            data = self._data(demonstrations)
            name, options = choose("likelihood", self.likelihood, ["auto", *LIKELIHOODS])
            if name == "auto":
                name, options = "laplace", {"shared": True, **options}
            about = {"rows": len(demonstrations), "episodes": demonstrations.episodes}
            self._assemble(name, options, data, {**(origin or {}), **about})
            if weights and not self._warm:
                for each in self.model_.condition.backbones:
                    each.load_weights(weights)
            elif cameras and not self._warm:
                note(
                    f"the cameras' {network} starts from fresh weights: --backbone.weights FILE takes those of ImageNet, "
                    "with which far fewer demonstrations do"
                )
            self._train(data, folder, resume, list(watchers))
        self.reset()
        return self

    def read(self, source: str | Sequence[str]) -> Demonstrations:
        """Demonstrations as this policy wants them: its observations, its names, its size of pictures."""
        resize = self.data_.get("resize")
        by: dict[str, Any] = {name: self.data_[name] for name in ("map", "fps", "trim") if name in self.data_}
        return read_demonstrations(
            source, **needed(self.conditions_.named), resize=(resize[0], resize[1]) if resize else None, **by
        )

    def _chunk_size(self, demonstrations: Demonstrations) -> int:
        seconds = min(round(CHUNK_SECONDS * demonstrations.fps), int(demonstrations.lengths.max()))
        return max(1, seconds) if self.chunk_size is None else self.chunk_size

    def _observations(self, demonstrations: Demonstrations) -> dict[str, np.ndarray]:
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

    def _data(self, demonstrations: Demonstrations) -> Data:
        there, size = demonstrations.offered, len(self.kind_.mean)
        for name in self.conditions_.named:
            if name not in there:
                near = near_matches(name, there)
                raise UserError(f"{demonstrations.name} has no {name!r}, which the policy was trained to see{near}")
        if demonstrations.actions.shape[1] != size:
            raise UserError(
                f"an action of {demonstrations.name} is {demonstrations.actions.shape[1]} numbers, and the policy's is {size}: "
                "give demonstrations of the same robot"
            )
        x, mask = self.kind_.pack(demonstrations.actions, demonstrations.episode_ends)
        seen = {name: there[name] for name in self.conditions_.named}
        return Data(x, mask, self.conditions_.pack(seen, len(demonstrations)))

    def _split(self, data: Data) -> tuple[Tensor, Tensor]:
        """By episode: frames of one episode are near-copies of each other."""
        _, valid = split(len(self.episode_ends_), self.validation, self.seed_)
        episode = torch.from_numpy(np.searchsorted(self.episode_ends_, np.arange(len(data)), side="right"))
        held_out = torch.isin(episode, valid)
        return (~held_out).nonzero().squeeze(1), held_out.nonzero().squeeze(1)

    def _training_extras(self) -> dict[str, Any]:
        # 32 bits: bfloat16 may be quicker, but that it leaves success alone has not been shown.
        return {"condition_dropout": 0.0, "keep": "last", "precision": "32-true"}

    def _build(self, likelihood: Any) -> LatentModel:
        network = dict(SIZES[self.size]) if isinstance(self.size, str) else SIZES["base"] | dict(self.size)
        width, sees = network.pop("width"), network.pop("posterior_sees", None)
        encoder = {**network, "layers": network.pop("posterior_layers")}
        del encoder["posterior_layers"], encoder["decoder_layers"]
        actions, chunk_size = self.kind_.event_shape
        vectors = {name: c.size for name, c in self.conditions_.named.items() if not isinstance(c, Picture)}
        cameras = {name: (c.height, c.width) for name, c in self.conditions_.named.items() if isinstance(c, Picture)}
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

    def _prior_name(self) -> str:
        return choose("prior", self.prior, self.parts["prior"])[0] if self.latent_dim else "standard"

    def _prior(self, features: int) -> Prior:
        """p(z|y), y having so many numbers. What is drawn from N(0, I), or has no units, needs no observation."""
        if self._prior_name() == "standard":
            return StandardNormalPrior(self.latent_dim)
        return ObservationPrior(self._part("prior"), self.latent_dim, features)

    # -- using ---------------------------------------------------------------------------------------------------------

    def reset(self, seed: int | None = None, *, z: Any = None) -> None:
        """Begin an episode.

        Args:
            seed: of z; None: the next one of a row of them that begins at the policy's own.
            z: (latent_dim,) to use throughout, in place of one that is drawn.
        """
        check_is_fitted(self)
        self._episode = getattr(self, "_episode", -1) + 1
        self._seed = (self.seed_, self._episode) if seed is None else (seed,)
        self._decisions = 0
        self._component: Tensor | None = None
        self._z = None if z is None else self._given_z(z)
        self._execution = self._new_execution(self.kind_.chunk_size)

    def _new_execution(self, chunk_size: int) -> Execution:
        try:
            return execution(str(self.execute), chunk_size)
        except ValueError as e:
            raise UserError(f"execute={self.execute!r}: {e}") from e

    @property
    def deciding(self) -> bool:
        """Whether the next `act` decides on a new chunk."""
        return not hasattr(self, "_execution") or self._execution.wants_chunk()

    def act(self, observation: Mapping[str, Any]) -> np.ndarray:
        """The action for now: observation by name, without a row axis -> (A,), in the robot's own units.

        Raises:
            UserError: something that the policy was trained to see is missing, or has another shape, or is not finite. Where the
            demonstrations' pictures were resized, a picture of any size is.
        """
        if not hasattr(self, "_execution"):
            self.reset()
        if self._execution.wants_chunk():
            self._execution.add(self._decide(observation))
        return self._execution.next()

    def _decide(self, observation: Mapping[str, Any]) -> np.ndarray:
        """The chunk that begins now, (chunk_size, A)."""
        y = self._packed({name: np.asarray(value)[None] for name, value in observation.items()})
        keep = self.z == "episode"
        seed = (*self._seed, 0 if keep else self._decisions)
        chunks, self._component = self._plan(y, self._z, seed, self._component if keep else None)
        self._decisions += 1
        return chunks[0]

    def predict(
        self, observations: Mapping[str, Any], *, z: Any = None, noise_seed: Sequence[int] | None = None
    ) -> np.ndarray:
        """Chunks for N observations, each (N, ...) by name -> (N, chunk_size, A). Nothing is held between them.

        Args:
            z: (latent_dim,) or (N, latent_dim) to use; None: by the policy's rule.
            noise_seed: of the z that are drawn; None: the policy's own.
        """
        return self._plan(self._packed(observations), z, noise_seed or (self.seed_,))[0]

    @torch.inference_mode()
    def _plan(
        self, y: Mapping[str, Tensor], z: Any, seed: Sequence[int], held: Tensor | None = None
    ) -> tuple[np.ndarray, Tensor | None]:
        """Chunks (N, chunk_size, A) for packed observations, and the components that z came from, as of `draw`."""
        rows, component = len(next(iter(y.values()))), None
        c = self.model_.condition(y, rows)
        if z is not None:
            z = torch.as_tensor(np.asarray(z), dtype=torch.float32).expand(rows, -1)
        elif self.z == "mean":
            z = self.model_.prior_head(c, rows).mean
        else:
            noise = partial(torch.randn, generator=generator(*seed))
            z, component = draw(self.model_.prior_head(c, rows), noise, self.temperature, held)
        return self.kind_.unpack(self.model_.decoder(z, c)), component

    def _packed(self, observations: Mapping[str, Any]) -> dict[str, Tensor]:
        check_is_fitted(self)
        for name in self.conditions_.named:
            if name not in observations:
                raise UserError(
                    f"the observation has no {name!r}, which the policy was trained to see{near_matches(name, observations)}"
                )
        arrays = {name: np.asarray(observations[name]) for name in self.conditions_.named}
        for name, c in self.conditions_.named.items():
            if isinstance(c, Picture) and self.data_.get("resize") and arrays[name].ndim == 4:
                frames = (resized(frame, (c.width, c.height)) for frame in arrays[name])  # as its demonstrations were
                arrays[name] = np.stack(list(frames))
            wanted = (c.size,) if isinstance(c, Number) else (c.height, c.width, 3) if isinstance(c, Picture) else ()
            if arrays[name].shape[1:] != wanted:
                raise UserError(
                    f"observation {name!r} has the shape {arrays[name].shape[1:]}, and the policy was trained to see {wanted}"
                )
        rows = next((len(values) for values in arrays.values() if values.ndim), 1)  # a task may be told once for all
        y = self.conditions_.pack(arrays, rows)
        for name, values in y.items():
            c = self.conditions_.named[name]
            if isinstance(c, Label) and (values < 0).any():
                raise UserError(f"observation {name!r} is unknown: give {' or '.join(map(repr, c.classes))}")
            if values.is_floating_point() and not values.isfinite().all():
                raise UserError(f"observation {name!r} is not finite: {arrays[name].tolist()}")
        return y

    @property
    def sees_cameras(self) -> bool:
        return any(name.startswith(CAMERA) for name in self.conditions_.named)

    def _given_z(self, z: Any) -> np.ndarray:
        z = np.asarray(z, dtype=np.float64)
        if z.shape != (self.latent_dim,):
            raise UserError(f"z has the shape {z.shape}: this policy's is ({self.latent_dim},)")
        return z

    def evaluate(self, demonstrations: Demonstrations, *, k: int = 20, track: Any = list) -> dict[str, Any]:
        """ELBO, KL, active units, what z does to actions (`vaekit.robots.health`), and a verdict, on demonstrations that
        training had better not have seen."""
        from vaekit.robots.health import policy_health, policy_verdict

        check_is_fitted(self)
        found = evaluation.evaluate(
            self.model_, self._data(demonstrations), k=k, to_batch=self.kind_.batch, track=track
        )
        found |= policy_health(self, demonstrations)
        return {**found, "verdict": policy_verdict(self, found)}
