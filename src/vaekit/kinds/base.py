"""What a kind of data is."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from inspect import getattr_static
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from vaekit import sources
from vaekit.errors import UserError
from vaekit.settings.options import Search
from vaekit.settings.parts import Part, check_options
from vaekit.show.write import Names, write_array
from vaekit.sources.arrays import as_array
from vaekit.sources.base import from_here
from vaekit.sources.pieces import Pieces, open_pieces
from vaekit.sources.stored import Stored
from vaekit.structures.resample import GUESSES, complete
from vaekit.training.data import Data, fixed_uniform, generator

if TYPE_CHECKING:  # drawing takes long to import
    from markupsafe import Markup

log = logging.getLogger(__name__)

ROWS_AT_ONCE = 1024

NEEDED = ("infer", "event_shape", "unit", "default_likelihood", "conform", "pack", "unpack", "networks")


class Kind:
    """Everything particular to one kind of data: rows to tensors and back, what suits them, reading, writing, showing.

    A dataclass of plain values, its schema, which a run's config holds. A new kind has to give: `name`, `infer`, `event_shape`,
    `unit`, `conform`, `pack`, `unpack`, `networks`, `default_likelihood`.

    Example:
        >>> vae.kind_.name, vae.kind_.event_shape
        ('rows', (3,))
    """

    name: ClassVar[str]
    noun: ClassVar[str] = "rows"
    """The word for its rows, in the plural."""
    row: ClassVar[str] = "row"
    """The word for one row."""
    report: ClassVar[str] = "vaekit.deploy.report.plain:PlainReport"
    """The class of its report, a `vaekit.show.report.Report`, by name, since drawing takes long to import."""
    estimator: ClassVar[str] = ""
    """The estimator for this kind, by its name in `vaekit`; "" is VAE, or CVAE where there are conditions."""
    mean_samples: ClassVar[bool] = False
    """Whether a generated row is shown as the decoder's mean (pictures) or drawn from its likelihood (numbers)."""
    least_latent_dim: ClassVar[int] = 1
    only_flat: ClassVar[bool] = False
    """Whether no structure but "flat" has networks for such rows."""
    only_likelihood: ClassVar[str | None] = None
    """The one likelihood for such rows, which is for no other kind; None: any that belongs to no kind."""
    task: ClassVar[str] = ""
    """What the Hugging Face Hub calls the use of such a model (its pipeline_tag); "" where it has no word for it."""
    exports: ClassVar[Mapping[str, str]] = {}
    """Files that `vaekit export` writes beside the graphs: name -> "module:function", which makes the bytes of an estimator."""
    foreign: ClassVar[str] = ""
    """ "module:function" that takes a folder and loads a checkpoint that another library wrote there; it gives None for others."""
    counts_columns: ClassVar[bool] = False
    """Whether scikit-learn checks the number of columns."""
    path: ClassVar[str] = "linear"
    """The path from row to row: a name of `vaekit.uses.interpolate.PATHS`."""
    iw_samples: ClassVar[int] = 500
    """The default number of importance samples for the NLL."""
    score_samples: ClassVar[int] = 100
    """The default number of importance samples for the score of a row."""
    objective: ClassVar[Part] = "elbo"
    """The objective that "auto" is."""
    training: ClassVar[Mapping[str, Any]] = {}
    """Fields of `Training` that are better for such data."""
    ranges: ClassVar[Mapping[str, Search]] = {}
    """Values that `vaekit tune` tries for such data, by setting, if they differ from those of the setting."""
    fills: ClassVar[bool] = False
    """Whether the gaps of a row are filled by `vaekit.structures.resample.complete`, row for row."""
    exchangeable: ClassVar[bool] = True
    """Whether rows come in any order. P-values need that."""
    numeric: ClassVar[bool] = True
    """Whether rows are arrays of numbers, whose differences say how far they are from each other."""
    endings: ClassVar[Sequence[str]] = (".csv", ".npy", ".npz", ".parquet")
    """Endings of the files that rows are written to; the first is taken if the user names no file."""
    printed: ClassVar[bool] = False
    """Whether rows are printed where the user names no file."""

    # -- what the user gives -------------------------------------------------------------------------------------------

    @classmethod
    def recognises(cls, X: Any, likelihood: str) -> bool:
        """Whether X is of this kind, if the user does not say. likelihood: the name of the one that was asked for."""
        return False

    @classmethod
    def check_options(cls, options: Mapping[str, Any]) -> None:
        """UserError for an option that this kind does not have; its options are the keyword-only arguments of `infer`."""
        check_options("kind", getattr(cls, "name", "auto"), options, cls.infer)

    @classmethod
    def check(cls, X: Any, **options: Any) -> Any:
        """Turn what a user gives into rows to learn from. UserError if they are not of this kind."""
        return X

    def take(self, X: Any) -> Any:
        """Turn what a user gives into rows that fit the training rows, or raise UserError. `Stored` rows come here as they are read."""
        return X if isinstance(X, Stored) else self.conform(self.check(X))

    @classmethod
    def infer(cls, *args: Any, **options: Any) -> Any:
        """infer(rows, standardize=True, columns=None, *, ...): learn the schema from rows (N, ...).

        Args:
            standardize: the likelihood lets the kind choose scale and origin. columns: their names.
            others, keyword-only: what the user may say of data of this kind, such as `binarize` of pictures.
        """
        raise NotImplementedError

    @classmethod
    def default_likelihood(cls, rows: Any, **options: Any) -> str:
        """The name of the likelihood that suits these rows. options: what the user says about the data."""
        raise NotImplementedError

    @classmethod
    def without(cls, options: Mapping[str, Any], conditions: Collection[str]) -> dict[str, Any]:
        """Options for rows whose columns of these names were taken out as conditions."""
        return dict(options)

    @classmethod
    def plain(cls, options: Mapping[str, Any]) -> dict[str, Any]:
        """Options as a config writes them."""
        return dict(options)

    # -- sources -------------------------------------------------------------------------------------------------------

    source_kinds: ClassVar[tuple[str, ...]] = ("images", "rows", "table")
    """Kinds that `vaekit.read` may take a source of such rows for."""
    give: ClassVar[str] = "give data like that it was trained on"
    """The advice if a source holds another kind of data."""

    @property
    def reading(self) -> dict[str, Any]:
        """Arguments of `vaekit.read` with which a source of such rows is read again."""
        return {}

    @classmethod
    def read(
        cls,
        source: str | Sequence[str],
        options: Mapping[str, Any],
        *,
        conditions: Sequence[str] = (),
        resize: tuple[int, int] | None = None,
        metadata: str | None = None,
        column: str | None = None,
        encoding: str | None = None,
        decimal: str | None = None,
        strict: bool = False,
    ) -> Any:
        """Read a source to learn from, for `fit_data` of an estimator.

        Args:
            options: what the user says of data of this kind.
            others, keyword-only: what a user may ask of a source of this kind, see `vaekit.recipes.recipe.Recipe`.
        """
        return sources.read(
            one_source(source), conditions=conditions, resize=resize, metadata=metadata, column=column, encoding=encoding,
            decimal=decimal, strict=strict, schema=options.get("schema"),
        )  # fmt: skip

    packer: ClassVar[str] = ""
    """ "module:function" that writes a source as a folder that can be read piece by piece; "" for shards, see `open_source`."""

    open_source: ClassVar[Callable[..., Pieces]] = staticmethod(open_pieces)
    """Opens a source of such rows to read it piece by piece; its keyword-only arguments are what a user may ask of one."""

    def read_again(
        self, source: str | Sequence[str], fitted: Any, conditions: Sequence[str], also: Sequence[str] = ()
    ) -> Any:
        """Read a source as a fitted model wants it: as the source that it was trained on.

        Args:
            conditions: names, each read where the source has it. also: names that it has to have.
        """
        said, source = fitted.data, one_source(source)
        resize, metadata = said.get("resize"), said.get("metadata")
        data = sources.read(
            source,
            conditions=list(dict.fromkeys([*conditions, *also])),
            resize=(resize[0], resize[1]) if resize else None,
            metadata=from_here(metadata, said.get("folder")) if metadata else None,
            optional_conditions=True,
            **{name: said.get(name) for name in ("column", "encoding", "decimal")},
            **self.reading,
        )
        if data.kind not in self.source_kinds:
            raise UserError(f"this is a model of {self.noun}, but {source} holds other data: {self.give}")
        if missing := [name for name in also if name not in data.conditions]:
            sources.read(source, conditions=missing)  # its error says what there is
        data.x, data.kind = self.take(data.x), self.name
        return data

    # -- rows and tensors ----------------------------------------------------------------------------------------------

    @classmethod
    def missing(cls) -> list[str]:
        """The pieces without a default that this kind does not give. An estimator of its own builds its model without the latter pieces."""
        needed = NEEDED[:3] if cls.estimator else NEEDED
        return [piece for piece in needed if getattr_static(cls, piece) is getattr_static(Kind, piece)]

    def likelihood_options(self, size: str, latent_dim: int) -> dict[str, Any]:
        """Options of the likelihood that follow from the data and from the size of the model."""
        return {}

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one x as the model sees it."""
        raise NotImplementedError

    @property
    def unit(self) -> Tensor:
        """The size of one model unit in the data's own units, for each column or channel: (event_shape[0],)."""
        raise NotImplementedError

    def networks(self, size: str, network: str) -> tuple[Any, Any]:
        """(encoder, decoder) classes with their options bound: call as net(in_shape, out_shape, condition_features)."""
        raise NotImplementedError

    def classifier_network(self, size: str, network: str) -> str:
        """The network that a semi-supervised model takes for "auto"."""
        return network

    perturb: ClassVar[Callable[..., Any] | None] = None
    """Changes that a label does not depend on: rows (B, *event), mask, noise -> rows and mask; None: noise alone."""
    perturb_radius: ClassVar[float] = 1.0
    """The part of a semi-supervised model's radius that such rows take; 0 for rows that cannot be moved a little."""

    def conform(self, rows: Any) -> Any:
        """Bring rows into the form of the training rows (such as grey pictures for a model of colour), or raise UserError."""
        raise NotImplementedError

    def pack(self, *args: Any, **options: Any) -> tuple[Tensor, Tensor | None]:
        """Rows -> compact tensors to keep in memory: x (N, *event) and a mask, True where observed (None: all is).

        `dtype`: of x. `jitter`: a NumPy generator, for training, where values that are rounded are better spread.
        """
        raise NotImplementedError

    def batch(self, x: Tensor, uniform: Any = None, dtype: torch.dtype = torch.float32) -> Tensor:
        """Packed rows (B, *event) -> what the model sees. `uniform(*shape)` gives random numbers in 0..1."""
        return x.to(dtype)

    def unpack(self, x: Tensor) -> Any:
        """Turn what the model gives, (N, *event), into rows in the user's own form, range and type."""
        raise NotImplementedError

    def form(self) -> dict[str, Any]:
        """Describe how rows become what the model sees, and back, as plain JSON: what `vaekit.forms.open_form` opens without PyTorch.

        A kind that does not say has rows in model units; its `note` says so, and an export passes that on.
        """
        why = f"{self.noun} go in and come out in model units: this kind does not describe their form"
        return {"type": "none", "event": list(self.event_shape), "note": why}

    @property
    def column_names(self) -> tuple[int, list[str] | None] | None:
        """The number of columns of a row, and their names if they are known; None for rows without columns."""
        return None

    def with_conditions(self, rows: Any, conditions: Mapping[str, Any]) -> Any:
        """Add to generated rows the conditions that they were generated for, if rows can hold them."""
        return rows

    def as_given(self, rows: Any, form: str, own: Mapping[str, Any] | None = None) -> Any:
        """Return rows in the user's library. form: its name. own: types of columns, if they are the library's own."""
        return rows

    # -- generating ----------------------------------------------------------------------------------------------------

    def written(self, p: Any, **writing: Any) -> Any:
        """p(x|z), ready for drawing rows from it. writing: how to write what is written piece by piece."""
        if writing:
            raise UserError(f"{', '.join(writing)} is for texts: leave it out")
        return p

    def spread(self, temperature: float) -> tuple[float, dict[str, Any]]:
        """Split the temperature of `sample` into the spread of z and the way in which rows are written."""
        return temperature, {}

    def decoded(self, p: Any, noise: Any, **writing: Any) -> Tensor:
        """The rows that are shown for p(x|z), (N, *event): its mean."""
        return self.written(p, **writing).mean

    def search(self, n: int, where: Any, conditions: Mapping[str, Any], draw: Any, track: Any = list) -> Any:
        """Find n rows that fulfil `where` among those that `draw(rows, i)` gives at the i-th call. UserError if rows of this kind have no
        columns."""
        raise UserError("where is for tables of named columns: leave it out")

    def sample_notes(self) -> list[str]:
        """Notes for the user about generated rows."""
        return []

    def told(self, p: Any) -> dict[str, Tensor]:
        """Results of p(x|z) as tensors alone, for a graph: "x" (N, *event), and what else there is to tell, by name."""
        return {"x": p.mean}

    def drawn(self, p: Any, noise: Any, **writing: Any) -> Tensor:
        """A draw from p(x|z) by tensors alone, for a graph: (N, *event). writing: what `spread` says of how rows are written."""
        return p.sample(1, noise)[0]

    # -- filling and scoring -------------------------------------------------------------------------------------------

    def impute(
        self, fitted: Any, X: Any, y: Any = None, *, draws: int | None, seed: int | None = None, track: Any = list
    ) -> list[Any]:
        """Fill the gaps of rows: `draws` sets of rows, each a draw from what the gaps may hold given the rest; None: one set of best
        guesses. See `vaekit.VAE.impute`."""
        rows = self.take(X)
        packed = fitted.pack(rows, y)
        gappy = torch.arange(0) if packed.mask is None else (~packed.mask.flatten(1)).any(1).nonzero()[:, 0]
        if len(gappy):
            log.info("filling the gaps of %s rows", f"{len(gappy):,}")
        model, random = fitted.model, generator(fitted.seed if seed is None else seed)
        x = self.batch(packed.x, fixed_uniform(), dtype=fitted.dtype)
        seen = Data(x, self.open_to(packed.mask), packed.y)
        found = x.expand(draws or 1, *x.shape).clone()  # only rows with gaps cost time
        for start in track(range(0, len(gappy), ROWS_AT_ONCE)):
            index = gappy[start : start + ROWS_AT_ONCE]
            drawn = complete(model, seen[index].to(fitted.device), draws or GUESSES, random).cpu()
            found[:, index] = drawn if draws else self.center(drawn).unsqueeze(0)
        return [self.fill(rows, x) for x in found]

    def reconstruct(self, fitted: Any, X: Any, y: Any = None, *, to: Any = None, **writing: Any) -> Any:
        """Rows by way of their latent codes, in the user's own form. See `vaekit.VAE.reconstruct`."""
        return fitted.decode(fitted.encode(X, y), y if to is None else to, **writing)

    def in_form_of(self, rows: Any, filled: Any, own: Mapping[str, Any] | None) -> Any:
        """Return filled rows in the library of `rows`."""
        return filled

    def ends(self, a: Any, b: Any) -> Any:
        """Two rows as one set of them."""
        return np.stack([np.asarray(as_array(end)) for end in (a, b)])

    def evaluate(self, fitted: Any, X: Any, y: Any, results: Mapping[str, Any]) -> dict[str, Any]:
        """Measure rows of this kind beyond `vaekit.evaluation.evaluate`. results: what that found."""
        return {}

    comparison: ClassVar[str | None] = None
    """Of `vaekit.recipes.comparison.COMPARISONS`: the model that a model of such rows is compared with."""

    def compared(self, results: Mapping[str, Any], log_p: np.ndarray) -> dict[str, Any]:
        """Results to add to those of `evaluate`, by log p(x) (N,) of the same rows under that model."""
        raise NotImplementedError

    def open_to(self, mask: Tensor | None) -> Tensor | None:
        """The mask of values of packed rows that a model takes as given when it fills their gaps."""
        return mask

    def center(self, draws: Tensor) -> Tensor:
        """Turn several draws of each row (k, N, *event) into its best guess (N, *event)."""
        return draws.mean(0)

    def fill(self, rows: Any, x: Tensor) -> Any:
        """Fill what rows in the user's own form lack from x (N, *event). UserError where rows of this kind have no gaps."""
        raise UserError(f"a model of {self.noun} does not fill gaps: use reconstruct, which rebuilds whole rows")

    varies: ClassVar[bool] = True
    """Whether what lies between two rows is a row, too, so that `vaekit evolve` may vary them."""

    def crossed(self, a: np.ndarray, b: np.ndarray, between: np.ndarray, random: np.random.Generator) -> np.ndarray:
        """Children of rows a and b (N, *event), in model units. between: what lies between them, where values are numbers."""
        return between

    score: ClassVar[str] = "loglik"
    """The score that "auto" is: a name of `vaekit.uses.scores.SCORES`, see `vaekit.uses.scores.auto`."""
    calibration_rows: ClassVar[int] = 10_000
    """Normal rows that scores are calibrated on, at most: p-values of 0.0001 are small enough."""

    @property
    def value_names(self) -> list[str]:
        """Names of the values in a row, if each has a meaning of its own; none for pictures and texts."""
        return []

    def pieces(self, rows: Any, size: int) -> Iterator[Any]:
        """Yield rows in turn, at most `size` at a time."""
        return (rows[start : start + size] for start in range(0, len(rows), size))

    def score_columns(self, rows: Any, some: slice, score: np.ndarray) -> dict[str, np.ndarray]:
        """log p(x) (n,) of rows[some] in other units, by name. The names are the same for every part of the rows."""
        return {}

    def contributions(self, found: Any) -> Any:
        """A number for each value that the model sees, (N, *event) -> in the form of the rows."""
        return found

    # -- files and people ----------------------------------------------------------------------------------------------

    def why_not(self, use: str) -> str:
        """Why a model of this kind gives no "samples", "interpolation" or whatever a verb writes, and what to do instead; "" if it
        does. The sentence goes on after the name of the run."""
        return ""

    def typed(self, text: str) -> Any:
        """The row that a text on the command line is itself; None where it names a source."""
        return None

    def in_pieces(self, data: Any, do: Callable[[Any, Any, int], Any]) -> Any:
        """do(rows, conditions, i) of a source, as `write` takes it: at once, or of the i-th piece that fits into memory."""
        return do(data.x, data.conditions, 0)

    def write(self, path: Path, rows: Any, names: Names = None) -> None:
        """Write rows (N, ...) in the user's own form to a file with one of `endings`, or print them."""
        write_array(path, rows, self.value_names, names)

    def write_reconstructions(self, path: Path, rows: Any, rebuilt: Any, names: Names = None) -> str:
        """Write what rows (N, ...) were rebuilt as, beside the rows where the form can show both. Returns what was written."""
        self.write(path, rebuilt, names)
        return f"{len(rebuilt)} reconstructions"

    def write_path(self, path: Path, ends: Sequence[Any], rows: Any) -> None:
        """Write the rows (steps, ...) on the way from one of two rows to the other."""
        self.write(path, rows)

    def files(self) -> dict[str, str]:
        """The text of further files in a run's folder, by their names, for which a config has no room."""
        return {}

    def read_files(self, folder: Path) -> None:
        """Take back what `files` put into a run's folder."""

    def first_steps(self, run: str) -> tuple[str, str]:
        """A command that tries a model of such rows, and what does the same in Python with a loaded `model`."""
        return f"vaekit sample {run} -n 16 -o samples{self.endings[0]}", "rows = model.sample(16)"

    def reveals(self) -> list[str]:
        """Sentences about what the files of a run tell about the training rows, beside the weights."""
        return ["config.yaml holds the names of columns, where they have names, and the range and scaling of values."]

    def privacy(self, found: Mapping[str, Any] | None) -> list[str]:
        """Sentences about what `Report.privacy` found; None: there is no report of these weights."""
        return [f"vaekit has no check of whether a model of {self.noun} repeats what it learned from."]

    @property
    def in_words(self) -> str:
        """A name for its rows, in the plural, such as "pictures of 8×8 pixels, grey"."""
        return self.noun

    @property
    def preview_rows(self) -> int:
        """The number of rows that a preview shows side by side."""
        return 5

    def preview(self, rows: Any, label: str) -> Markup:
        """Rows as a person sees them on a page, as HTML: a picture, players of sound, lines of text. label: what they are, in words."""
        from markupsafe import Markup

        lines = (
            row if isinstance(row, str) else np.array2string(np.asarray(row), precision=3, threshold=12) for row in rows
        )
        line = Markup("<li>{}</li>")
        return Markup('<ul class="texts" aria-label="{}">{}</ul>').format(
            label, Markup("").join(map(line.format, lines))
        )

    def thumbnails(self, x: Tensor, side: int = 32) -> np.ndarray | None:
        """Small pictures of rows as the model sees them (N, *event): bytes (N, height, width, channels), at most `side` high and
        wide; None for rows that do not look like anything."""
        return None

    def lines(self, x: Tensor) -> list[str] | None:
        """Rows as the model sees them (N, *event) as a line of text each; None for rows that are no texts."""
        return None

    def known(self, rows: Any) -> Mapping[str, np.ndarray]:
        """The named values of rows in the user's own form, such as the columns of a table: (N,) each."""
        return {}

    @property
    def extent(self) -> str:
        """The size of a row, in words."""
        return f"{'x'.join(map(str, self.event_shape))} columns"

    def describe(self) -> list[str]:
        """Describe it for people, in lines."""
        return []


def one_source(source: str | Sequence[str]) -> str:
    """The source. UserError where there are several."""
    if isinstance(source, list | tuple):
        raise UserError("only --kind actions takes several SOURCEs: put tables into one file, pictures in one folder")
    return str(source)
