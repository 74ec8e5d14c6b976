"""VAE and CVAE as scikit-learn estimators: the face of vaekit in Python, and what the command line calls."""

from __future__ import annotations

import copy
import logging
import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import torch
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import _check_feature_names, _check_n_features, check_is_fitted, validate_data
from torch import Tensor

from vaekit import evaluation
from vaekit.conditions import Conditions
from vaekit.distributions import LIKELIHOODS, normal_noise
from vaekit.errors import UserError, near_matches, note
from vaekit.estimators.base import Learner
from vaekit.estimators.checks import PARTS, check_settings
from vaekit.evaluation.gaps import filled_gaps
from vaekit.evaluation.texts import rates
from vaekit.fitted import Chunks, check_reach
from vaekit.frame import Frame, array_frame, both_forms, from_arrow, is_frame, to_frame
from vaekit.frame.cells import as_said, listed
from vaekit.kinds import OPTIONS, infer, kind_for
from vaekit.kinds.pictures import as_pictures
from vaekit.kinds.text import check_texts, is_texts
from vaekit.runs import directory as run_directory
from vaekit.settings.limits import Many, Seed, Share, Within, check_call
from vaekit.settings.parts import Part, check_options, choose
from vaekit.sources.arrays import as_array
from vaekit.sources.base import Dataset
from vaekit.structures.build import STRUCTURES, NetFactory
from vaekit.training import Data
from vaekit.training.data import START, fixed_uniform, generator, rows_at_once
from vaekit.uses import generate
from vaekit.uses.fill_in import fill_in
from vaekit.uses.filters import as_written, check, clauses, draw_until
from vaekit.uses.impute import GUESSES, impute
from vaekit.uses.interpolate import PATHS
from vaekit.uses.samplers import SAMPLERS, fit_sampler, gain

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 1024


@dataclass(eq=False, repr=False, kw_only=True)
class VAE(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Learner):
    """A variational autoencoder.

    Data X is (N, columns) for numbers, NaN where a value is missing, (N, H, W), (N, H, W, channels) or (N, channels, H, W) for
    pictures, also as tensors and in lists, or a table of named columns of any kind: a DataFrame of pandas or polars, or an Arrow
    table. Of a table each column is modelled by a distribution of its own, and rows come back as such a table, in the columns' own
    types, ranges and rounding. Or it is a list of N texts, of which an encoder and a causal decoder, both transformers, make the
    model.

    A likelihood, prior, posterior or objective is a name, or a dict of its name and options, such as
    `prior={"name": "mixture", "components": 100}`, `likelihood={"name": "normal", "scale": 1}` (a fixed scale, squared
    error, in place of one that is learned) or `objective={"name": "elbo", "beta": 4, "warmup": 0.3}`.

    Args:
        latent_dim: number of latent units; 0, of texts only, is a language model of the same size.
        size: "small", "base" or "large" networks.
        network: "auto" (convolutions for pictures, an MLP for numbers), "conv" or "mlp".
        likelihood: "normal", "laplace", "bernoulli", "continuous_bernoulli", "logistic", "categorical", or "auto":
            "bernoulli" where all values are 0 or 1, else "normal"; for tables "mixed", and for texts "causal". Another than
            "mixed" is for tables of numbers alone, and for all of their columns.
        schema: tables only: what is not to be guessed of columns, by name: a kind ("real", "integer", "positive", "bounded",
            "date", "binary", "categorical", "ordinal", or "drop" to leave the column out), or a dict of it and of classes,
            low, high or step.
        constraints: tables only: what has to hold between columns in every row that is drawn or filled, such as "start <= end",
            "low < high" or "total == price * quantity" (with +, -, * and /): see `vaekit.kinds.table.constraints`.
        cell_dropout: share of rows of which some cells are hidden in training, so that the model knows how to go on from any
            of them: see `vaekit.training.Training`. None: a tenth for tables, else 0.
        binarize: pictures only: "dynamic" or "threshold".
        tokenizer: texts only: "bpe" (byte pairs, the default), "word", "char", your own of Hugging Face's tokenizers or its file
            (tokenizer.json), with the options vocabulary, how many tokens
            there are at most, and longest, how many a text has at most: what is longer is cut.
        prior: "standard", "mixture", "vamp", "flow", or (CVAE) "conditional": a Normal p(z|y) learned from y.
        posterior: "normal" (diagonal), "full" (covariance), "iaf" or "maf" (flows).
        structure: "flat" (one latent), "ladder" (a hierarchy of them) or "vq" (quantised), which have networks, priors and
            posteriors of their own: the arguments for those stay at their defaults.
        sampler: where `sample` draws z from: "prior", or "gmm" or "flow", which are learned on the codes after training;
            "auto" is "gmm" for a flat model, where held-out rows say that it is better than the prior, and "prior" for the others,
            which learn theirs while they train.
        objective: "elbo" or another of `vaekit.objectives.OBJECTIVES`; "auto" is "elbo", and for texts "kl_floor", since a
            decoder that sees the words before a word ignores z without.
        encoder, decoder: your own networks, as callables `(in_shape, out_shape, condition_features) -> nn.Module`.
        epochs, minutes, batch_size, learning_rate, patience: see `vaekit.training.Training`. None: as suits the data; tables
            have batches of 512 rows, texts of 64, and both a learning rate of 0.002.
        validation: share of the rows held out to choose the best epoch by.
        random_state: seed of everything random; None: a new one at each fit.
        trainer: further fields of `vaekit.training.Training` (precision, devices, ...), as a dict.
        warm_start: `fit` goes on from the model that is fitted or loaded: its weights, its scaling, its classes.

    Attributes:
        model_: the trained `LatentModel`, or a `LadderVAE` or `QuantisedVAE`.
        samplers_: what was learned of the codes after training, by name.
        kind_, conditions_: what a row and its condition look like.
        history_: metrics per epoch, a list of dicts.
        notes_: what to know of how training went, a sentence each.
        interrupted_: whether Ctrl-C stopped a training that writes a run directory.
        n_features_in_: columns of X (numbers only).
    """

    network: Literal["auto", "conv", "mlp"] = "auto"
    binarize: Literal["dynamic", "threshold"] | None = None
    tokenizer: Any = None
    schema: Mapping[str, Any] | None = None
    constraints: Sequence[str] | None = None
    cell_dropout: Share | None = None
    structure: Part = "flat"
    sampler: Part = "auto"
    encoder: NetFactory | None = None
    decoder: NetFactory | None = None

    # -- learning ------------------------------------------------------------------------------------------------------

    def fit(self, X: Any, y: Any = None) -> VAE:
        """Train on X (N, ...). y is ignored."""
        return self.fit_rows(self._rows(X, reset=True), {})

    def fit_data(self, data: Dataset, **options: Any) -> VAE:
        """Train on what `vaekit.read` gave; options as for `fit_rows`."""
        return self.fit_rows(data.x, data.conditions, columns=data.columns, **options)

    def fit_rows(
        self,
        rows: np.ndarray | Frame,
        y: Mapping[str, np.ndarray],
        *,
        kinds: Mapping[str, str] | None = None,
        columns: list[str] | None = None,
        folder: Path | None = None,
        resume: bool = False,
        origin: Mapping[str, Any] | None = None,
        watchers: Sequence[Any] = (),
    ) -> VAE:
        """What `fit` and the command line share: learn the schema, build the model, train it.

        Args:
            rows: checked data, an array or a table. y: conditions by name. kinds: "label" or "number" by condition, where not to be guessed.
            columns: names of the columns.
            folder: the run directory to write to while training. resume: go on from what is there.
            origin: where the rows came from (source, resize), for the record.
            watchers: see `vaekit.training`.
        """
        check_settings(self)
        if len(rows) < 2:
            raise UserError(f"got {len(rows)} sample: a model needs at least 2 rows to learn from")
        with self._seeded():
            data = self._learn_schema(rows, y, kinds, columns, {**(origin or {}), "rows": len(rows)})
            return self._learn(data, folder, resume, list(watchers))

    def _learn_schema(
        self,
        rows: np.ndarray | Frame,
        y: Mapping[str, Any],
        kinds: Any,
        columns: list[str] | None,
        origin: Mapping[str, Any],
    ) -> Data:
        """What a row and its condition look like, which likelihood explains them, and the model for that."""
        if isinstance(rows, Frame):
            self.frame_, origin = rows.like, {**origin, **({"own": rows.own} if rows.own else {})}
            self.n_features_in_, self.feature_names_in_ = len(rows.columns), np.array(rows.columns, dtype=object)
        name, options = choose("likelihood", self.likelihood, ["auto", *LIKELIHOODS])
        if self._warm:
            rows = self.kind_.conform(rows)
        else:
            name, rows = self._infer(name, rows, columns)
            self.conditions_ = Conditions.infer(y, kinds)
        known = self.conditions_.pack(y, len(rows))
        if known and not self._warm:
            self.conditions_.learn(y, known)
        x, mask = self.kind_.pack(rows, jitter=np.random.default_rng(self.seed_))
        data = Data(x, mask, known)
        self._assemble(name, options, data, origin)
        if not self._warm:
            train, _ = self._split(data)
            some = data[train[torch.randperm(len(train), generator=generator(self.seed_, START))[:1024]]]
            x, _ = next(iter(Chunks(some, self.kind_)))
            self.model_.learn(x)
        return data

    def _infer(self, name: str, rows: np.ndarray | Frame, columns: list[str] | None) -> tuple[str, np.ndarray | Frame]:
        """Learn `kind_`, what a row looks like. Returns the likelihood's name, "auto" decided, and the rows for it."""
        if isinstance(rows, Frame):
            if name not in ("auto", "mixed"):
                columns, rows = rows.columns, rows.numbers()
        elif name == "mixed":
            raise UserError(
                "likelihood 'mixed' is for tables of named columns: give a DataFrame, a .csv or a .parquet file"
            )
        kind = kind_for(rows)
        if name == "auto":
            name = kind.default_likelihood(rows, self.binarize)
        if (name == "causal") != (kind.name == "text"):
            raise UserError(f"likelihood {name!r} is not for data of this kind ({kind.name}): leave likelihood out")
        said = {option: getattr(self, option) for option in OPTIONS if getattr(self, option)}
        self.kind_ = infer(rows, standardize=LIKELIHOODS[name].real_valued, columns=columns, options=said)
        if self.latent_dim < self.kind_.least_latent_dim:
            raise UserError(f"latent_dim={self.latent_dim} is too small: at least 1")
        return name, rows

    def _learn(self, data: Data, folder: Path | None, resume: bool, watchers: list[Any]) -> VAE:
        """Train the model, then the sampler of its codes."""
        trained = self._train(data, folder, resume, watchers)
        sampler, options = self._sampler(self.sampler)
        if sampler != "prior" and trained:
            self._fit_sampler(sampler, options, *trained, compare=self.sampler == "auto")
            if folder:
                run_directory.save_samplers(folder, self)
        elif sampler != "prior" and not self.interrupted_:
            note(f"sampler {sampler} is learned by one process: `vaekit sample --sampler {sampler}` does so")
        return self

    def _training_extras(self) -> dict[str, Any]:
        return {"cell_dropout": self.cell_dropout}

    def _build(self, likelihood: Any) -> Any:
        """The model for this schema, with fresh weights."""
        condition, features = self.conditions_.embedding()
        build: Any = self._part("structure")
        if build.func is not STRUCTURES["flat"]:
            if self.kind_.only_flat:
                raise UserError(f"models of {self.kind_.name}s have structure 'flat' alone: leave structure out")
            return build(likelihood, condition, features)
        encoder, decoder = self.kind_.networks(self.size, self.network)
        return build(
            likelihood, condition, features, latent_dim=self.latent_dim, prior=self._part("prior"),
            posterior=self._part("posterior"), encoder=self.encoder or encoder, decoder=self.decoder or decoder,
        )  # fmt: skip

    def fit_sampler(self, sampler: Part, X: Any, y: Any = None) -> VAE:
        """Learn where the codes of X lie, for `sample(sampler=...)`: "gmm", a mixture, or "flow", both given y.

        Args:
            sampler: name, or dict of name and options: `{"name": "gmm", "components": 100}`.
            X, y: what the model was trained on.
        """
        name, options = choose("sampler", sampler, SAMPLERS)
        check_options("sampler", name, options, SAMPLERS[name])
        data = self._data(X, y)
        train, valid = self._split(data)
        return self._fit_sampler(name, options, data[train], data[valid])

    def _sampler(self, sampler: Part) -> tuple[str, dict[str, Any]]:
        """Name and options of a sampler; "auto" decided."""
        name, options = choose("sampler", sampler, PARTS["sampler"])
        if name == "auto":
            flat = choose("structure", self.structure, PARTS["structure"])[0] == "flat"
            name = "gmm" if flat and self.latent_dim else "prior"
        return name, options

    def _fit_sampler(
        self, name: str, options: dict[str, Any], train: Data, valid: Data, *, compare: bool = False
    ) -> VAE:
        """compare: keep it only where the codes of held-out rows are clearly likelier under it than under the prior."""
        log.info("learning where the codes lie (sampler %s)", name)
        model = self.model_

        def encode(rows: Data) -> Any:
            x = self.kind_.batch(rows.x, fixed_uniform())
            return model.posterior(x.float(), rows.y, rows.mask)

        sampler = fit_sampler(model, partial(SAMPLERS[name], **options), train, valid, encode, self.seed_)
        if compare:
            more, error = gain(model, sampler, valid, encode, self.seed_)
            if not more > 2 * error:
                found = "too few rows were held out to compare the two" if math.isnan(error) else (
                    f"it fits the codes of held-out rows no better ({more:+.2f} +- {error:.2f} nats a row)"
                )  # fmt: skip
                note(
                    f"samples are drawn from the prior, not from sampler {name}: {found}; --sampler {name} takes it all the same"
                )
                return self
        self.samplers_[name] = sampler
        self.sampler_options_[name] = options
        return self

    # -- using ---------------------------------------------------------------------------------------------------------

    def transform(self, X: Any, y: Any = None) -> np.ndarray:
        """Latent codes, the posterior means: (N, ...) -> (N, latent_dim) float64. y: the condition, where there is one; where it is
        unknown the encoder sees that."""
        with torch.no_grad():
            model = self._model()
            data = self._data(X, y)
            chunks = data.chunks(rows_at_once(model, data, most=ROWS_AT_ONCE))
            return np.concatenate([model.posterior(self._batch(c), c.y, c.mask).mean.numpy() for c in chunks])

    def inverse_transform(
        self, Z: Any, y: Any = None, *, random_state: int | None = None, **writing: Any
    ) -> np.ndarray:
        """Latent codes (N, latent_dim) -> rows in the data's own form: the decoder's means, of texts the likeliest token each time.

        Args:
            y: condition, where there is one. Where it is unknown the decoder sees that, and rows may lie between the classes.
            writing: texts only: temperature (0 is the default; above it tokens are drawn), top_p, repetition_penalty and
                max_length, as for `sample`. random_state: seed of the draws; None takes the estimator's.
        """
        check_is_fitted(self)
        z = torch.as_tensor(np.asarray(Z, dtype=np.float64))
        width = self.model_.latent_dim
        if z.ndim != 2 or z.shape[1] != width:
            raise UserError(f"latent codes have shape (N, {width}), got {tuple(z.shape)}")
        conditions = self.conditions_.pack(self.conditions_.name(y), len(z))
        with torch.no_grad():
            model = self._model()
            noise = normal_noise(generator(self.seed_ if random_state is None else random_state))
            chunks = Data(z, None, conditions).chunks(ROWS_AT_ONCE)
            found = [self.kind_.decoded(model.decode(c.x, c.y), noise, **writing) for c in chunks]
            return self._unpack(torch.cat(found))

    def reconstruct(self, X: Any, y: Any = None, *, to: Any = None, **writing: Any) -> np.ndarray:
        """X by way of its latent codes, in its own form: (N, ...) -> (N, ...).

        Args:
            y: the condition of X, as for `transform` and `inverse_transform`. to: the condition to decode the codes with, in the
                forms of y; None: y. So a row can be made one of another label that keeps its code.
            writing: as for `inverse_transform`.
        """
        return self.inverse_transform(self.transform(X, y), y if to is None else to, **writing)

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
        """New rows, in the data's own form: (n_samples, ...).

        Args:
            y: conditions, one for all rows or one a row, or a dict of them by name. What is left out, or unknown, is drawn as the
                training rows had it, given what is known. In a table conditions are columns of what comes back.
            where: tables only: what columns have to fulfil, such as "sex=Female" or ["age>=40", "sex!=Male"].
            sampler: "prior", "gmm" or "flow"; None: the estimator's own. The others have to be learned first, by
                `fit_sampler` or as the estimator's `sampler`.
            temperature: the spread of what z is drawn from is multiplied by it; of texts, that of each token.
            guidance: how much more of y than y asks for: rows are surer to be of it, and less varied. 0: none; 1: twice of what y
                changes (see `vaekit.model.Model.decode`).
            mean: the decoder's mean in place of a draw from p(x|z,y). Default: True for pictures, False for numbers.
            random_state: seed. None: each call gives other rows, and the n-th call after training or loading always the same.
            track: wraps the pieces of work of a search for `where`, to show progress.
            writing: texts only. top_p: a token is one of the likeliest, whose probabilities add up to this. repetition_penalty: the
                log-probability of a token that the text holds already is multiplied by this, 1 or more. max_length: tokens of a
                text at most.

        Raises UserError where no row, or hardly any, can be what `where` asks for.
        """
        check_is_fitted(self)
        check_call(
            VAE.sample, n_samples=n_samples, temperature=temperature, guidance=guidance, random_state=random_state
        )
        text = self.kind_.name == "text"
        if text:
            writing["temperature"] = temperature
        if guidance and not getattr(self, "condition_dropout", 0.0):
            raise UserError(
                "guidance is for a CVAE that was trained with conditions hidden at times (condition_dropout above 0): leave it out"
            )
        name, _ = self._sampler(self.sampler if sampler is None else sampler)
        if name != "prior" and name not in self.samplers_ and sampler is None:
            name = "prior"  # it was no better, or training was stopped before it could be learned
        if name != "prior" and name not in self.samplers_:
            raise UserError(f"sampler {name!r} has not been learned: call fit_sampler({name!r}, X) first")
        seed = self._call_seed(random_state)
        model, table = self._model(), self.kind_.name == "table"
        learned = None if name == "prior" else copy.deepcopy(self.samplers_[name]).double()

        def draw(rows: int, i: int) -> Any:
            given = self.conditions_.fill(self.conditions_.name(y), rows, np.random.default_rng([seed, i]))
            parts = Data(torch.zeros(rows), None, self.conditions_.pack(given, rows)).chunks(generate.ROWS)
            random = generator(seed, i) if i else generator(seed)
            x = [generate.sample(
                model, len(part), part.y, temperature=1.0 if text else temperature, guidance=guidance, sampler=learned,
                mean=self.kind_.mean_samples if mean is None else mean, generator=random,
                likelihood=partial(self.kind_.written, **writing),
            ) for part in parts]  # fmt: skip
            return self.kind_.unpack(torch.cat(x), given) if table else self.kind_.unpack(torch.cat(x))

        if table and self.kind_.left_out:
            note(f"samples lack columns that look like identifiers: {listed(self.kind_.left_out)}")
        if where is None:
            rows = draw(n_samples, 0)
        elif table:
            wanted = as_written(clauses(where, [*self.kind_.columns, *self.conditions_.named]), self.kind_.schema)
            check(wanted, self.kind_.schema, self.conditions_.named)
            rows = draw_until(n_samples, wanted, draw, track)
        else:
            raise UserError("where is for tables of named columns: leave it out")
        return self._as_given(rows) if table else rows

    def impute(
        self, X: Any, y: Any = None, *, draws: int | None = None, random_state: Seed | None = None, track: Any = list
    ) -> Any:
        """X with its gaps filled (cells that are NaN, None or empty; of texts a word in place of each `___`), in its own form. Cells
        that have a value keep it. A column that is empty throughout comes back in the type it was trained in.

        Args:
            y: condition; where it is unknown the networks see that, and it is not averaged over.
            draws: None: the best guess of each cell, the mean of a number and the likeliest category, and of texts the likeliest
                text. A number: a list of so many tables, each a draw from what the gaps may hold given the rest (multiple
                imputation): what is computed from each of them varies as much as the gaps leave open.
            random_state: seed; None takes the estimator's.
            track: wraps the list of pieces of work, to show progress.

        Raises UserError where draws is below 1.
        """
        check_call(VAE.impute, draws=draws, random_state=random_state)
        rows = self._rows(X)
        if self.kind_.name == "text":
            seed = self.seed_ if random_state is None else random_state
            given = self.conditions_.pack(self.conditions_.name(y), len(rows))
            sets = fill_in(self.model_, self.kind_, check_texts(rows), given, draws, seed)
            return sets[0] if draws is None else sets
        packed = self._data(rows, y)
        x = self.kind_.batch(packed.x, fixed_uniform(), dtype=torch.float64)
        seen = Data(x, self.kind_.open_to(packed.mask), packed.y)
        gappy = torch.arange(0) if packed.mask is None else (~packed.mask.flatten(1)).any(1).nonzero()[:, 0]
        model, random = self._model(), generator(self.seed_ if random_state is None else random_state)
        found = x.expand(draws or 1, *x.shape).clone()  # only rows with gaps cost time
        if len(gappy):
            log.info("filling the gaps of %s rows", f"{len(gappy):,}")
        for start in track(range(0, len(gappy), ROWS_AT_ONCE)):
            index = gappy[start : start + ROWS_AT_ONCE]
            drawn = impute(model, seen[index], draws or GUESSES, random)
            found[:, index] = drawn if draws else self.kind_.center(drawn).unsqueeze(0)
        filled = [self.kind_.fill(rows, x) for x in found]
        if isinstance(rows, Frame):
            own = both_forms(self.data_.get("own", {}), rows.own)
            filled = [from_arrow(t, rows.like, own) for t in filled]
            if hasattr(X, "index") and rows.like == "pandas":
                filled = [t.set_index(X.index) for t in filled]
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
        """The way from row a to row b through the latent space, both ends included: (steps, ...).

        Args:
            steps: points, both ends included. y: condition, held on the way; unknown, as for `transform`, where it is left out.
            path: "linear" (default), "spherical" (default for texts) or "geodesic" (along which what is decoded changes
                least); see `vaekit.uses.interpolate`, whose `smoothness` measures the result.
            writing: as for `inverse_transform`.
        """
        chosen = path or self.kind_.path
        ends = self._ends(a, b)
        check_call(VAE.interpolate, steps=steps)
        if chosen not in PATHS:
            raise UserError(f"path={chosen!r} is not one of the choices{near_matches(chosen, PATHS)}")
        z = torch.from_numpy(self.transform(ends, y))
        model = self._model()

        def decode_mean(z: Tensor) -> Tensor:
            return model.decode(z, self.conditions_.pack(self.conditions_.name(y), len(z))).mean

        return self.inverse_transform(PATHS[chosen](z[0], z[1], steps, decode_mean), y, **writing)

    def _ends(self, a: Any, b: Any) -> Any:
        """Two rows as one set of them; of a table each is a table of one row."""
        if isinstance(a, str):
            return [a, b]
        if not is_frame(a):
            return np.stack([np.asarray(as_array(end)) for end in (a, b)])
        import pyarrow as pa

        return Frame.of(pa.concat_tables([to_frame(end).select(self.kind_.columns).table() for end in (a, b)]))

    def score_samples(self, X: Any, y: Any = None, *, k: int | None = None, track: Any = list) -> np.ndarray:
        """log p(x|y) of each row in nats, by k importance samples: (N,) float64, on average a little too low. What is unknown of y
        is summed out, p(y) being the training rows' (see `vaekit.structures.marginal`): without y it is log p(x). k: by default 100, and 20
        for texts."""
        k = self.kind_.score_samples if k is None else k
        model, to_batch = self._model(), partial(self.kind_.batch, dtype=torch.float64)
        data = self._data(X, y)
        return evaluation.importance_weighted(model, data, k, to_batch=to_batch, track=track).numpy()

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`: nats a row, more is better."""
        return float(self.score_samples(X, y).mean())

    def evaluate(self, X: Any, y: Any = None, *, k: int | None = None, track: Any = list) -> dict[str, Any]:
        """ELBO, IW-NLL, KL per unit, active units and a verdict; see `vaekit.evaluation.evaluate`, of texts
        `vaekit.evaluation.texts.rates`, and of tables `vaekit.evaluation.gaps.filled_gaps`. On a GPU if one is there. k: importance samples; by default 500, and 20 for texts."""
        k = self.iw_samples if k is None else k
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        data = self._data(X, y, torch.float32).to(device)
        model = copy.deepcopy(self.model_).to(device)
        results = evaluation.evaluate(model, data, k=k, to_batch=self.kind_.batch, track=track)
        if self.kind_.name == "table" and isinstance(rows := self._rows(X), Frame):
            results["gaps"] = filled_gaps(self, rows.table(), self.conditions_.name(y), seed=self.seed_)
        if self.kind_.name == "text":
            results |= rates(self.kind_, check_texts(X), -results["iw_nll"])
        return results

    # -- between the user's form and tensors ---------------------------------------------------------------------------

    def _unpack(self, x: Tensor) -> Any:
        """What the model gives -> rows in the user's own form; a table as the library has them that was used in `fit`."""
        rows = self.kind_.unpack(x)
        return self._as_given(rows) if self.kind_.name == "table" else rows

    def _as_given(self, table: Any) -> Any:
        """An Arrow table as the library has it that was used in `fit`, with its labels and types of columns."""
        return from_arrow(table, getattr(self, "frame_", "pandas"), self.data_.get("own"))

    def _rows(self, X: Any, *, reset: bool = False) -> np.ndarray | Frame:
        if isinstance(X, Frame):
            return X
        if X is None:
            raise UserError("X is None: give the rows, such as an array, a DataFrame or a list of texts")
        if isinstance(X, str) or (is_texts(X) if reset else self.kind_.name == "text"):
            return check_texts(X)
        X = as_array(X)
        if is_frame(X):
            if not reset and getattr(self.kind_, "columns", None):
                return self.kind_.conform(to_frame(X, getattr(self.kind_, "readings", None)))
            if not reset:
                _check_feature_names(self, X, reset=False)
                _check_n_features(self, X, reset=False)
                return to_frame(X)
            return to_frame(X, as_said(self.schema))
        if not reset and self.kind_.name == "table":
            return array_frame(X, self.kind_.columns)
        if getattr(X, "ndim", 2) <= 2:
            with warnings.catch_warnings():  # an array has no names: its columns are taken in their order
                warnings.filterwarnings("ignore", "X does not have valid feature names")
                return validate_data(self, X, reset=reset, ensure_all_finite="allow-nan", ensure_min_samples=1 + reset)
        return as_pictures(X)

    def _data(self, X: Any, y: Any, dtype: torch.dtype = torch.float64) -> Data:
        check_is_fitted(self)
        rows = self._rows(X)
        if not len(rows):
            raise UserError("X has no rows: give at least one")
        x, mask = self.kind_.pack(rows, dtype)
        check_reach(x, mask)
        return Data(x, mask, self.conditions_.pack(self.conditions_.name(y) if self.conditions_.named else {}, len(x)))

    def _batch(self, data: Data) -> Tensor:
        return self.kind_.batch(data.x, fixed_uniform(), dtype=torch.float64)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


@dataclass(eq=False, repr=False, kw_only=True)
class CVAE(VAE):
    """A conditional variational autoencoder: every part also sees y, and a y that is unknown is one more thing it knows.

    y is (N,) labels or numbers, (N, size) numbers, or a dict or DataFrame of several by name. Unknown is None for a
    label and NaN for a number. Arguments as for `VAE`, and:

    Args:
        condition_dropout: probability with which a condition is hidden in training, so that the model also works, and
            samples, without it.
    """

    condition_dropout: Share = 0.1

    def fit(self, X: Any, y: Any = None) -> CVAE:
        """Train on X (N, ...) with the condition y, one a row."""
        if y is None:
            raise UserError(
                "CVAE requires y to be passed, but the target y is None: give a condition a row, or use VAE"
            )
        rows = self._rows(X, reset=True)
        if not isinstance(y, Mapping) and not hasattr(y, "columns"):
            y = {"y": np.asarray(y)}
        named = {str(k): np.asarray(y[k]) for k in y}
        for name, values in named.items():
            if len(values) != len(rows):
                raise UserError(f"X has {len(rows)} rows and condition {name!r} has {len(values)}: give one a row")
        self.fit_rows(rows, named)
        return self

    def _training_extras(self) -> dict[str, Any]:
        return {**super()._training_extras(), "condition_dropout": self.condition_dropout}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        return tags
