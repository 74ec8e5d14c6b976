"""What a kind is."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from vaekit.errors import UserError
from vaekit.settings.parts import Part


class Kind:
    """The one place that knows what a row of data looks like: it turns rows in the user's own form into tensors and back, and says
    which likelihood, which networks and which training suit them.

    A dataclass of plain values, so that it is written to a run's config and read back. What has a default here is what one kind of
    data has and others have not.
    """

    name: ClassVar[str]
    mean_samples: ClassVar[bool] = False
    """Whether a generated row is shown as the decoder's mean (pictures) or drawn from its likelihood (numbers)."""
    least_latent_dim: ClassVar[int] = 1
    only_flat: ClassVar[bool] = False
    """Whether no structure but "flat" has networks for such rows."""
    path: ClassVar[str] = "linear"
    """Of `vaekit.uses.interpolate.PATHS`: how to go from row to row."""
    iw_samples: ClassVar[int] = 500
    """Importance samples for the NLL, where nothing else is asked for."""
    score_samples: ClassVar[int] = 100
    """Importance samples for the score of a row, where nothing else is asked for."""
    objective: ClassVar[Part] = "elbo"
    """What "auto" is."""
    training: ClassVar[Mapping[str, Any]] = {}
    """What is better than `Training` has it."""

    @classmethod
    def infer(cls, *args: Any, **options: Any) -> Any:
        """Learn the schema from rows (N, ...).

        `standardize`: the likelihood lets the kind choose scale and origin. `columns`: their names. Others: what the user
        says of data of this kind, such as `binarize` of pictures.
        """
        raise NotImplementedError

    @staticmethod
    def default_likelihood(rows: Any, binarize: str | None = None) -> str:
        """The name of the likelihood that suits these rows."""
        raise NotImplementedError

    def likelihood_options(self, size: str, latent_dim: int) -> dict[str, Any]:
        """What the likelihood has to know of the data and of a model of this size."""
        return {}

    @property
    def event_shape(self) -> tuple[int, ...]:
        """Shape of one x as the model sees it."""
        raise NotImplementedError

    @property
    def unit(self) -> Tensor:
        """How many of the data's own units one model unit is, for each column or channel: (event_shape[0],)."""
        raise NotImplementedError

    def networks(self, size: str, network: str) -> tuple[Any, Any]:
        """(encoder, decoder) classes with their options bound: call as net(in_shape, out_shape, condition_features)."""
        raise NotImplementedError

    def conform(self, rows: Any) -> Any:
        """Rows in the form the model was trained on (such as grey pictures for a model of colour); UserError where they
        do not fit the schema."""
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
        """What the model gives, (N, *event) -> rows in the user's own form, range and type."""
        raise NotImplementedError

    def written(self, p: Any, **writing: Any) -> Any:
        """p(x|z) as rows are to be drawn from it. `writing`: how, of what is written piece by piece."""
        if writing:
            raise UserError(f"{', '.join(writing)} is for texts: leave it out")
        return p

    def decoded(self, p: Any, noise: Any, **writing: Any) -> Tensor:
        """What is shown of p(x|z), (N, *event): its mean."""
        return self.written(p, **writing).mean

    def open_to(self, mask: Tensor | None) -> Tensor | None:
        """What of packed rows a model that fills their gaps takes as given, by their mask."""
        return mask

    def center(self, draws: Tensor) -> Tensor:
        """Several draws of each row (k, N, *event) -> the best guess of it (N, *event)."""
        return draws.mean(0)

    def fill(self, rows: Any, x: Tensor) -> Any:
        """Rows in the user's own form, what they lack as in x (N, *event)."""
        raise NotImplementedError

    def files(self) -> dict[str, str]:
        """What a config has no room for: the text of files in a run's folder, by their names."""
        return {}

    def read(self, folder: Path) -> None:
        """Take it back from there."""

    def describe(self) -> list[str]:
        """What it is, for people, in lines."""
        return []
