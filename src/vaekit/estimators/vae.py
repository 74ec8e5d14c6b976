"""VAE and CVAE as scikit-learn estimators: the face of vaekit in Python, and what the command line calls."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from vaekit.conditions import Conditions
from vaekit.distributions import LIKELIHOODS
from vaekit.errors import UserError, note
from vaekit.estimators.checks import PARTS, check_lengths, check_settings
from vaekit.estimators.columned import Columned
from vaekit.estimators.large import held, opened, streamed
from vaekit.fitted import Chunks, Learned
from vaekit.kinds import Kind, kinds
from vaekit.runs import directory
from vaekit.settings.limits import Many, Seed, Share, Within, check_call
from vaekit.settings.options import MODEL, Search, setting
from vaekit.settings.parts import Part, check_options, choose
from vaekit.show.notebook import Results
from vaekit.sources.base import Dataset
from vaekit.structures.build import STRUCTURES, NetFactory
from vaekit.training import Data, Rows
from vaekit.training.data import View
from vaekit.uses import generate, interpolate, likelihood
from vaekit.uses.samplers import SAMPLERS, learn_sampler

log = logging.getLogger(__name__)


@dataclass(eq=False, repr=False, kw_only=True)
class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Columned):
    """A variational autoencoder of numbers, pictures, tables, texts or sound.

    X is an array (N, columns), NaN where a value is missing; pictures (N, H, W), (N, H, W, channels) or (N, channels, H, W), also
    as tensors and in lists; a table of named columns of any kind (a DataFrame of pandas or polars, or an Arrow table); or a list of N
    texts. Each column of a table has its own distribution. Rows come back in the form, range, types and rounding of X. For texts the
    networks are transformers.

    A part such as the prior is a name, or a dict of its name and options: `prior={"name": "mixture", "components": 100}`,
    `likelihood={"name": "normal", "scale": 1}` (squared error), `objective={"name": "elbo", "beta": 4, "warmup": 0.3}`.

    Args:
        latent_dim: number of latent units. 0 (texts only) makes a language model of the same size.
        kind: "auto" recognises the kind of data; or a name of `vaekit.kinds` ("audio" has to be named). A dict adds what you know about
            such data, with or without the name: `{"binarize": "dynamic"}` (pictures; or "threshold"), `{"tokenizer": "word"}` (texts),
            `{"schema": {...}, "constraints": ["start <= end"]}` (tables, see `vaekit.kinds.table.Table.infer`).
        size: "small", "base" or "large" networks.
        network: "auto" (convolutions for pictures, an MLP for numbers), "conv" or "mlp".
        likelihood: "auto", or a name of `vaekit.distributions.LIKELIHOODS`. "auto" is "bernoulli" if all values are 0 or 1, "mixed" for
            tables, "causal" for texts, else "normal". A table of numbers only may have another one, for all columns.
        cell_dropout: share of rows in which training hides some cells, so that the model can infer a row from any part of it. None: 0.1
            for tables, else 0.
        prior: "standard", "mixture", "vamp", "flow", or, in a CVAE, "conditional": a Normal p(z|y) that is learned from y.
        posterior: "normal" (diagonal), "full" (covariance), "iaf" or "maf" (flows).
        structure: "flat" (one latent), "ladder" (a hierarchy) or "vq" (quantised). The last two have their own networks, priors and
            posteriors: leave those arguments at their defaults.
        sampler: where `sample` draws z from: "prior", or "gmm" or "flow", which are learned on the codes after training. "auto": "gmm"
            for a flat model if held-out rows show that it is better than the prior, else "prior".
        objective: a name of `vaekit.objectives.OBJECTIVES`. "auto" is "elbo", and "kl_floor" for texts: without it a decoder that sees
            the words before a word ignores z.
        encoder, decoder: your own networks: functions `(in_shape, out_shape, condition_features) -> nn.Module`.
        epochs, minutes, batch_size, learning_rate, patience: see `vaekit.training.Training`. None: what suits the data. Tables have batches
            of 512 rows, texts of 64, and both a learning rate of 0.002.
        validation: share of the rows to hold out for choosing the best epoch.
        random_state: seed of everything random. None: a new one at each fit.
        device: where the model trains and is used: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1" or "mps". Results are NumPy
            arrays or tables on every device.
        trainer: a dict of further fields of `vaekit.training.Training`, such as precision or devices.
        warm_start: `fit` continues from the fitted or loaded model, with its weights, scaling and classes.

    Attributes:
        fitted_: everything that training made, a `vaekit.fitted.Fitted`. The other attributes are parts of it.
        model_: the trained `LatentModel`, `LadderVAE` or `QuantisedVAE`.
        samplers_: samplers that were learned on the codes after training, by name.
        kind_: what a row looks like.
        conditions_: what conditions look like.
        history_: metrics per epoch, a list of dicts.
        notes_: what you should know about how training went, one sentence each.
        interrupted_: whether Ctrl-C stopped a training run with a run directory.
        n_features_in_: number of columns of X (numbers only).

    Source: Kingma & Welling 2014, arXiv 1312.6114.

    Example:
        >>> vae = vaekit.VAE(latent_dim=2, size="small", epochs=1).fit(X)  # X (40, 3)
        >>> vae.transform(X).shape, vae.sample(5).shape
        ((40, 2), (5, 3))
    """

    network: Literal["auto", "conv", "mlp"] = setting("auto", "Type of the networks: convolutions or fully connected.", MODEL, search=Search(choices=("conv", "mlp"), usual=False))  # fmt: skip
    cell_dropout: Share | None = setting(None, "Share of rows in which training hides some cells.", MODEL, search=Search(0.0, 0.5, usual=False))  # fmt: skip
    structure: Part = setting("flat", "Structure of the latent. ladder: a hierarchy of latents; vq: quantised latents.", MODEL, search=Search(usual=False))  # fmt: skip
    sampler: Part = setting(
        "auto", "Where the z of samples comes from: gmm and flow are learned on the codes after training. auto: gmm, if it is "
        "better than the prior.", MODEL,
    )  # fmt: skip
    encoder: NetFactory | None = None
    decoder: NetFactory | None = None

    # -- learning ------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> VAE:
        """Train on X (N, ...). y is ignored.

        Raises:
            UserError: X, or a setting, cannot be right, or X has fewer than 2 rows. The message says what to do.

        Example:
            >>> vaekit.VAE(2, size="small", epochs=1).fit(X).n_features_in_
            3
        """
        return self.fit_rows(X, {})

    def fit_data(self, data: Dataset, **options: Any) -> VAE:
        """Train on a Dataset that `vaekit.read` returned. The options are those of `fit_rows`."""
        return self.fit_rows(data.x, data.conditions, read_as=data.kind, columns=data.columns, **options)

    def fit_rows(
        self,
        X: Any,
        y: Mapping[str, np.ndarray],
        *,
        read_as: str = "auto",
        condition_kinds: Mapping[str, str] | None = None,
        columns: list[str] | None = None,
        folder: Path | None = None,
        resume: bool = False,
        origin: Mapping[str, Any] | None = None,
        watchers: Sequence[Any] = (),
    ) -> VAE:
        """Learn the schema, build the model and train it. `fit` and the command line share this.

        Args:
            X: rows (N, ...). read_as: the kind of data that a source was read as.
            y: conditions by name, one per row. condition_kinds: "label" or "number" by condition, where it is not to be guessed.
            columns: names of the columns.
            folder: the run directory to write to while training. resume: continue from what is there.
            origin: where the rows came from (source, resize), for the record.
            watchers: see `vaekit.training`.
        """
        check_settings(self)
        with self._seeded() as (seed, notes):
            extra = getattr(X, "extra", {})
            X, stored = opened(X, self.memory_bytes, seed)
            kind, options, rows = self._new_rows(X, read_as, extra)
            if (n := len(rows if stored is None else stored)) < 2:
                raise UserError(f"got {n} sample: a model needs at least 2 rows to learn from")
            check_lengths(y, n)
            options = kind.without(options, y)
            name, likelihood = self._likelihood(kind, options, rows)
            if warm := self._warm:
                learned, conditions = self.kind_, self.conditions_
                rows = learned.take(rows)
            else:
                learned = kind.infer(rows, LIKELIHOODS[name].real_valued, columns, **options)
                conditions = Conditions.infer(y, condition_kinds)
            if self.latent_dim < learned.least_latent_dim:
                raise UserError(f"latent_dim={self.latent_dim} is too small: give at least {learned.least_latent_dim}")
            if (known := conditions.pack(y, n)) and not warm:
                conditions.learn(y, known)
            about = {**(origin or {}), "rows": n}
            if stored is None:
                data: Rows = held(learned, rows, known, seed)
            else:
                data = streamed(learned, stored, known, self.memory_bytes, seed)
                about["memory"] = self.memory_bytes  # the order of an epoch depends on it
            about |= {"own": own} if (own := getattr(rows, "own", None)) else {}
            self._assemble(learned, conditions, (name, likelihood), data, seed=seed, notes=notes, origin=about)
            self.fitted_.form = getattr(rows, "like", "pandas")
            self.count_columns()
            if not warm:
                self._start(data)
            return self._learn(data, folder, resume, list(watchers))

    def _likelihood(self, kind: type[Kind], options: Mapping[str, Any], rows: Any) -> tuple[str, dict[str, Any]]:
        """Name and options of the likelihood; decides "auto". UserError if it is for another kind of data."""
        name, said = choose("likelihood", self.likelihood, ["auto", *LIKELIHOODS])
        name = kind.default_likelihood(rows, **options) if name == "auto" else name
        owner = next((k for k in kinds().values() if k.only_likelihood == name), None)
        if name != (kind.only_likelihood or name) or owner not in (None, kind):
            of = f"{owner.noun}, but these are {kind.noun}" if owner else f"other data than {kind.noun}"
            raise UserError(f"likelihood {name!r} is for {of}: leave likelihood out")
        return name, said

    def _start(self, data: Rows) -> None:
        """Let the parts of a new model learn from the data before training."""
        train, _ = self._split(data)
        if not len(train):
            return  # `_train` says so
        x, _ = next(iter(Chunks(View(data, train).few(1024, self.seed_), self.kind_)))
        self.model_.learn(x)

    def _learn(self, data: Rows, folder: Path | None, resume: bool, watchers: list[Any]) -> VAE:
        """Train the model, then the sampler of its codes."""
        trained = self._train(data, folder, resume, watchers)
        sampler, options = self._sampler(self.sampler)
        if sampler != "prior" and trained:
            self._fit_sampler(sampler, options, *trained, compare=self.sampler == "auto")
            if folder:
                directory.save_samplers(folder, self.fitted_)
        elif sampler != "prior" and not self.interrupted_:
            note(f"several processes do not learn sampler {sampler}: `vaekit sample --sampler {sampler}` learns it")
        self._save_notes(folder)
        return self

    def _training_extras(self) -> dict[str, Any]:
        return {"cell_dropout": self.cell_dropout}

    def build(self, kind: Any, conditions: Conditions, likelihood: Any) -> Any:
        """Make the model for this kind, with fresh weights."""
        return self._built(kind, conditions, likelihood, self.network)

    def _built(self, kind: Any, conditions: Conditions, likelihood: Any, network: str) -> Any:
        condition, features = conditions.embedding()
        build: Any = self._part("structure")
        if build.func is not STRUCTURES["flat"]:
            if kind.only_flat:
                raise UserError(f"models of {kind.noun} have only structure 'flat': leave structure out")
            return build(likelihood, condition, features)
        encoder, decoder = kind.networks(self.size, network)
        return build(
            likelihood, condition, features, latent_dim=self.latent_dim, prior=self._part("prior"),
            posterior=self._part("posterior"), encoder=self.encoder or encoder, decoder=self.decoder or decoder,
        )  # fmt: skip

    def fit_sampler(self, sampler: Part, X: Any, y: Any = None) -> VAE:
        """Learn where the codes of X lie, for `sample(sampler=...)`.

        Args:
            sampler: "gmm" (a mixture of Normals) or "flow", both given y; or a dict: `{"name": "gmm", "components": 100}`.
            X, y: the rows that the model was trained on, and their conditions.

        Example:
            >>> vae.fit_sampler({"name": "gmm", "components": 2}, X).sample(5, sampler="gmm").shape
            (5, 3)
        """
        name, options = choose("sampler", sampler, SAMPLERS)
        check_options("sampler", name, options, SAMPLERS[name])
        data = self.packed(X, y)
        train, valid = self._split(data)
        return self._fit_sampler(name, options, data[train], data[valid])

    def _sampler(self, sampler: Part) -> tuple[str, dict[str, Any]]:
        """Name and options of a sampler; decides "auto"."""
        name, options = choose("sampler", sampler, PARTS["sampler"])
        if name == "auto":
            flat = choose("structure", self.structure, PARTS["structure"])[0] == "flat"
            name = "gmm" if flat and self.latent_dim else "prior"
        return name, options

    @property
    def sampler_(self) -> str:
        name, _ = self._sampler(self.sampler)
        # It may have been no better than the prior, or training was stopped before it was learned.
        return name if name in self.samplers_ else "prior"

    def _fit_sampler(self, name: str, options: dict[str, Any], train: Any, valid: Any, *, compare: bool = False) -> VAE:
        """compare: keep it only where the codes of held-out rows are clearly likelier under it than under the prior."""
        log.info("learning where the codes lie (sampler %s)", name)
        found = learn_sampler(self.fitted_, name, options, train, valid, compare=compare)
        if found is not None:
            self.fitted_.samplers[name] = Learned(found, options)
        return self

    # -- using ---------------------------------------------------------------------------------------------------------

    def transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Encode rows: (N, ...) -> latent codes (N, latent_dim) float64, the posterior means.

        y is the condition, if the model has one. Where it is unknown, the encoder sees that.

        Example:
            >>> vae.transform(X).shape
            (40, 2)
        """
        return self._fitted().encode(self._rows(X), self._given(y)).double().numpy()

    def inverse_transform(
        self, Z: Any, y: Any = None, *, random_state: int | None = None, **writing: Any
    ) -> np.ndarray:
        """Decode latent codes (N, latent_dim) to rows in the form of X: the decoder's means, for texts the likeliest tokens.

        Args:
            y: condition, if the model has one. Where it is unknown, the decoder sees that, and rows may lie between the classes.
            random_state: seed of the draws of tokens. None: the estimator's.
            writing: texts only: temperature (0 is the default; above it tokens are drawn), top_p, repetition_penalty, max_length.

        Example:
            >>> vae.inverse_transform(np.zeros((4, 2))).shape
            (4, 3)
        """
        return self._as_given(self._fitted().decode(Z, y, seed=random_state, **writing))

    def reconstruct(
        self, X: Any, y: Any = None, *, to: Any = None, random_state: int | None = None, **writing: Any
    ) -> np.ndarray:
        """Encode and decode X: (N, ...) -> (N, ...) in the form of X.

        Args:
            y: the condition of X. to: the condition to decode with; None: y. It turns a row into one with another label and the same code.
            random_state, writing: as for `inverse_transform`.

        Example:
            >>> vae.reconstruct(X).shape
            (40, 3)
            >>> cvae.reconstruct(X, y, to="low").shape
            (40, 3)
        """
        fitted, rows = self._fitted(), self._rows(X)
        found = fitted.kind.reconstruct(fitted, rows, self._given(y), to=to, seed=random_state, **writing)
        return self._as_given(found)

    def sample(
        self,
        n_samples: Many = 1,
        y: Any = None,
        *,
        where: Any = None,
        sampler: str | None = None,
        temperature: float = 1.0,
        guidance: float = 0.0,
        mean: bool | None = None,
        random_state: Seed | None = None,
        track: Any = list,
        **writing: Any,
    ) -> Any:
        """Draw new rows in the form of X: (n_samples, ...).

        Args:
            y: conditions, one for all rows, one per row, or a dict of them by name. A condition that is left out or unknown is drawn as the
                training rows had it, given what is known. In a table, conditions are columns of the result.
            where: tables only: what all rows fulfil, such as "sex=Female" or ["age>=40", "sex!=Male"].
            sampler: "prior", "gmm" or "flow"; None: the estimator's. The others have to be learned first: see `fit_sampler`.
            temperature: factor for the spread of z; for texts for that of each token.
            guidance: strengthens y: rows show it more clearly and vary less. 0: not at all; 1 doubles the effect of y (see
                `vaekit.model.Model.decode`).
            mean: whether rows are the decoder's mean, not a draw from p(x|z,y). None: True for pictures, False for numbers.
            random_state: seed. None: each call gives other rows, and the n-th call after training or loading always the same ones.
            track: wraps the pieces of work of a search for `where`, to show progress.
            writing: texts only. top_p: draw each token from the likeliest ones, whose probabilities add up to this. repetition_penalty:
                factor, 1 or more, for the log-probability of tokens that the text already has. max_length: the most tokens of a text.

        Raises:
            UserError: no row, or hardly any, can fulfil `where`; or guidance for a model that never saw hidden conditions.

        Example:
            >>> vae.sample(5).shape, cvae.sample(5, "high").shape
            ((5, 3), (5, 3))
        """
        fitted = self._fitted()
        check_call(
            VAE.sample, n_samples=n_samples, temperature=temperature, guidance=guidance, random_state=random_state
        )
        if guidance and not getattr(self, "condition_dropout", 0.0):
            raise UserError(
                "guidance needs a CVAE that was trained with hidden conditions (condition_dropout above 0): leave it out"
            )
        name = self.sampler_ if sampler is None else self._sampler(sampler)[0]
        rows = generate.sample(
            fitted, n_samples, y, where=where, sampler=name, temperature=temperature, guidance=guidance, mean=mean,
            seed=self._call_seed(random_state), track=track, **writing,
        )  # fmt: skip
        return self._as_given(rows)

    def impute(
        self, X: Any, y: Any = None, *, draws: int | None = None, random_state: Seed | None = None, track: Any = list
    ) -> Any:
        """Fill the gaps of X, in the form of X. Cells with a value keep it.

        Gaps are cells that are NaN, None or empty, and `___` in place of a word of a text. A column that is empty throughout comes back in
        the type that it had in training.

        Args:
            y: condition. If it is unknown, the networks see that, and do not average over it.
            draws: None: the best guess of each cell: the mean of a number, the likeliest category or text. A number: a list of that many
                filled tables, each a draw given the known cells (multiple imputation). What you compute from each then varies as much as
                the gaps leave open.
            random_state: seed. None: the estimator's.
            track: wraps the list of pieces of work, to show progress.

        Raises:
            UserError: draws is below 1, or rows of this kind have no gaps.

        Example:
            >>> vae.impute([[0.5, np.nan, 1.0]]).shape, len(vae.impute([[0.5, np.nan, 1.0]], draws=3))
            ((1, 3), 3)
        """
        check_call(VAE.impute, draws=draws, random_state=random_state)
        fitted = self._fitted()
        rows = fitted.kind.take(self._rows(X))
        found = fitted.kind.impute(fitted, rows, y, draws=draws, seed=random_state, track=track)
        filled = [fitted.kind.in_form_of(rows, each, fitted.data.get("own")) for each in found]
        if hasattr(X, "index") and hasattr(filled[0], "set_index"):
            filled = [each.set_index(X.index) for each in filled]
        return filled[0] if draws is None else filled

    def interpolate(
        self,
        a: Any,
        b: Any,
        steps: Annotated[int, Within(2, 10_000)] = 9,
        y: Any = None,
        *,
        path: str | None = None,
        **writing: Any,
    ) -> np.ndarray:
        """Walk from row a to row b through the latent space: (steps, ...), both ends included.

        Args:
            steps: number of rows on the way, 2 or more. y: condition, the same along the way; left out, it is unknown.
            path: "linear" (default), "spherical" (default for texts) or "geodesic" (along which the decoded rows change least). See
                `vaekit.uses.interpolate`, whose `smoothness` measures the result.
            writing: as for `inverse_transform`.

        Example:
            >>> vae.interpolate(X[0], X[1], steps=5).shape
            (5, 3)
        """
        check_call(VAE.interpolate, steps=steps)
        fitted = self._fitted()
        ends = self._rows(fitted.kind.ends(a, b))
        return self._as_given(interpolate.between(fitted, ends, steps, y, path, **writing))

    def score_samples(self, X: Any, y: Any = None, *, k: int | None = None, track: Any = list) -> np.ndarray:
        """Estimate log p(x|y) of each row in nats by k importance samples: (N,) float64, on average a little too low.

        What is unknown about y is summed out with p(y) of the training rows, so without y it is log p(x). k: 100 by default, 20 for texts.

        Example:
            >>> vae.score_samples(X, k=5).shape
            (40,)
        """
        return likelihood.log_likelihood(self._fitted(), self._rows(X), self._given(y), k=k, track=track)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`: nats per row, higher is better.

        Example:
            >>> bool(vae.score(X) == vae.score_samples(X).mean())
            True
        """
        return float(self.score_samples(X, y).mean())

    def evaluate(self, X: Any, y: Any = None, *, k: int | None = None, track: Any = list) -> Results:
        """Measure ELBO, IW-NLL, KL per unit, active units and a verdict: a dict, see `vaekit.evaluation.evaluate`.

        Texts and tables add measures of their own. k: importance samples; by default 500, and 20 for texts.

        Example:
            >>> vae.evaluate(X, k=5)["latent_units"]
            2
        """
        return Results(likelihood.evaluate(self._fitted(), self._rows(X), self._given(y), k=k, track=track))

    # -- between the user's form and tensors ---------------------------------------------------------------------------

    def _fitted(self) -> Any:
        check_is_fitted(self)
        return self.fitted_

    def _given(self, y: Any) -> Any:
        """Conditions in the form that `Conditions` takes."""
        return y

    def _as_given(self, rows: Any) -> Any:
        """Rows in the library that was used in `fit`, with its labels and types of columns."""
        return self.kind_.as_given(rows, self.fitted_.form, self.data_.get("own"))

    def packed(self, X: Any, y: Any) -> Data:
        return self._fitted().pack(self._rows(X), self._given(y))

    def rows_of(self, data: Any, index: np.ndarray) -> tuple[Data, dict[str, Any]]:
        """Rows of a source by their numbers (N,), as `division` has them: packed, and what is known of each, by name."""
        some = data[index]
        given = {name: values for name, values in some.conditions.items() if name in self.conditions_.named}
        return self.packed(some.x, given), {**some.conditions, **self.kind_.known(some.x)}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags
