"""Forms: how rows in people's form become what a model sees, and back. Plain descriptions (JSON) and NumPy, no PyTorch.

A kind of data describes its form (`vaekit.kinds.base.Kind.form`), and an exported model brings it along. Each type of form is one
file here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pkgutil import resolve_name
from typing import Any

from vaekit.errors import UserError, near_matches
from vaekit.forms.base import Form

FORMS = {
    "picture": "vaekit.forms.pictures:Pictures",
    "curves": "vaekit.forms.curves:Curves",
    "numbers": "vaekit.forms.rows:Rows",
    "fan": "vaekit.forms.curves:Fan",
    "columns": "vaekit.forms.columns:Columns",
    "tokens": "vaekit.forms.tokens:Tokens",
    "clips": "vaekit.forms.clips:Clips",
    "none": "vaekit.forms.base:Form",
}
"""By the view of a description, or else by its type."""


def open_form(description: Mapping[str, Any]) -> Form:
    """The form that a description of `Kind.form` describes. UserError if there is no such form, or if a part of it is missing."""
    name = str(description.get("view", description.get("type")))
    if name not in FORMS:
        raise UserError(f"the form of rows {name!r} is unknown{near_matches(name, FORMS)}: upgrade vaekit")
    kind: type[Form] = resolve_name(FORMS[name])
    try:
        return kind.of(description)
    except (TypeError, KeyError, ValueError) as e:
        raise UserError(f"the description of rows of the form {name!r} is damaged ({e}): export the model again") from e


__all__ = ["FORMS", "Form", "open_form"]
