"""What every estimator has for the Hugging Face Hub."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vaekit.errors import UserError
from vaekit.fitted import Fitted
from vaekit.runs import hub
from vaekit.runs.card import write_card
from vaekit.runs.load import load

if TYPE_CHECKING:
    from typing import Self


class OnHub:
    """An estimator that has `save`, and shares what that writes."""

    if TYPE_CHECKING:

        @property
        def fitted_(self) -> Fitted: ...

        def save(self, run: str | Path) -> Path: ...

    def save_pretrained(self, folder: str | Path, *, licence: str | None = None) -> Path:
        """Write the run directory as `save` does, with a model card (README.md). A card of your own that is there is kept.

        Args:
            licence: its identifier on the Hub, such as "apache-2.0".
        """
        folder = self.save(folder)
        write_card(folder, self.fitted_, licence=licence)
        return folder

    @classmethod
    def from_pretrained(cls, name: str | Path, *, revision: str | None = None, **options: Any) -> Self:
        """Load a run of this estimator.

        Args:
            name: a run directory, or a repository of the Hub, user/name.
            revision: a branch, a tag or a commit of the repository.
            options: of `vaekit.load`, such as device.

        Raises:
            UserError: there is no such run, or it is of another estimator.
        """
        if not Path(name).exists():
            name = f"hf://{str(name).removeprefix('hf://')}" + (f"@{revision}" if revision else "")
        elif revision:
            raise UserError(f"{name} is a folder, and has no revision {revision!r}: leave the revision out")
        return cls._loaded(name, **options)

    @classmethod
    def _loaded(cls, run: str | Path, **options: Any) -> Self:
        found = load(run, **options)
        if not isinstance(found, cls):
            raise UserError(f"{run} is a run of {type(found).__name__}, not of {cls.__name__}: use vaekit.load")
        return found

    def push_to_hub(
        self,
        name: str,
        *,
        revision: str | None = None,
        private: bool = False,
        message: str | None = None,
        licence: str | None = None,
    ) -> str:
        """Send the run to a repository of the Hub, user/name, with a model card. Returns the address of the commit.

        The card has the numbers of `vaekit evaluate` only if a run directory keeps them: then use `vaekit push`.

        Args:
            revision: a branch, which is made if it does not exist.
            private: make a repository that only you can see.
            message: of the commit.
            licence: its identifier on the Hub, such as "apache-2.0".

        Raises:
            UserError: the package, the token or the permission is missing, or the Hub cannot be reached.
        """
        hub.check_push(name, revision)
        with tempfile.TemporaryDirectory() as folder:
            run = self.save(folder)
            write_card(run, self.fitted_, address=hub.said(name, revision), licence=licence)
            return hub.push(run, name, revision=revision, private=private, message=message)
