"""What can be asked of a model. Each operation says in JSON Schema what goes in and what comes out, and is a task of the model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, ClassVar

import jsonschema_rs
import numpy as np

from vaekit.errors import UserError
from vaekit.forms.base import nested, number
from vaekit.forms.conditions import Picture
from vaekit.runtime.tasks import Task, Tasks
from vaekit.uses.paths import PATHS

Schema = dict[str, Any]
Given = Mapping[str, Any]
VALUES = 10_000_000  # of all rows of a request, in or out
SEED: Schema = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1, "default": 0}
FARTHEST = 1e4  # number in a latent code
CODE = number(False, -FARTHEST, FARTHEST)


class Operation:
    """Base of the operations of one model.

    Attributes:
        name: in `OPERATIONS`. says: what it does. graphs: that it needs. main: the field of a body that is a file, if it can be one.
        shown: the field of the result that can be a file.
        rows: how many rows may come in, or go out, together.
    """

    name: ClassVar[str]
    says: ClassVar[str]
    graphs: ClassVar[tuple[str, ...]]
    main: ClassVar[str | None] = "rows"
    shown: ClassVar[str] = "rows"
    needs_y: ClassVar[bool] = False

    def __init__(self, tasks: Tasks, rows: int):
        self.tasks, self.gaps = tasks, tasks.gaps
        self.size = math.prod(tasks.about["form"]["event"])  # of a row
        self.rows = max(2, min(rows, VALUES // self.size))

    @classmethod
    def suits(cls, tasks: Tasks) -> bool:
        return all(map(tasks.can, cls.graphs))

    @cached_property
    def _check(self) -> Any:
        return jsonschema_rs.validator_for(self.body())

    @cached_property
    def _check_rest(self) -> Any:
        """Checks all fields but the one that is a file."""
        body = self.body()
        body["properties"] = {name: schema for name, schema in body["properties"].items() if name != self.main}
        return jsonschema_rs.validator_for(
            body | {"required": [name for name in body["required"] if name != self.main]}
        )

    def check(self, given: Any, main: Any = None) -> dict[str, Any]:
        """Check what was given, and return it. UserError if it does not fit.

        main: the rows or codes, where they came as a file and not in what is given.
        """
        try:  # not `iter_errors`, which makes all errors, each with the value that it is about
            (self._check if main is None else self._check_rest).validate(given)
        except jsonschema_rs.ValidationError as e:
            raise UserError(told(e)) from None
        if main is None:
            return given
        if self.count(main) > self.rows:
            raise UserError(f"{self.count(main)} rows are too many at once: at most {self.rows}")
        return {**given, str(self.main): main}

    @staticmethod
    def count(rows: Any) -> int:
        """The number of these rows."""
        if isinstance(rows, Mapping):
            return max(map(len, rows.values()), default=0)
        return len(rows) if isinstance(rows, list) or np.ndim(rows) else 0

    def asked(self, given: Given) -> int:
        """The number of rows that a body is about."""
        return self.count(given[self.main]) if self.main else int(given.get("n", 1))

    # -- what goes in and comes out ------------------------------------------------------------------------------------

    def takes(self) -> Schema:
        """The properties of the body."""
        return {"rows": self.rows_in()}

    def gives(self) -> Schema:
        """The properties of the result."""
        return {"rows": self.rows_out()}

    def sure(self) -> list[str]:
        """Properties that every result has."""
        return list(self.gives())

    def optional(self) -> tuple[str, ...]:
        """Properties that a body may leave out."""
        return ()

    def run(self, given: Given) -> Task:
        """The task, which returns the result's properties."""
        raise NotImplementedError

    def body(self) -> Schema:
        """The JSON Schema of the body."""
        properties, optional = self.takes(), {*self.optional()}
        y = self.condition()
        if y["properties"]:
            properties["y"] = y
            if not y.get("required"):
                optional.add("y")
        required = [name for name in properties if name not in optional]
        return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}

    def result(self) -> Schema:
        """The JSON Schema of the result."""
        properties = {**self.gives(), "notes": {"type": "array", "items": {"type": "string"}}}
        return {"type": "object", "properties": properties, "required": self.sure()}

    def condition(self) -> Schema:
        """The JSON Schema of y: each condition is one value for all rows, or an array with one per row."""
        unknown = self.tasks.about.get("unknown", True) and not self.needs_y
        named = self.tasks.conditions.named
        one = {name: c.schema(unknown and not isinstance(c, Picture)) for name, c in named.items()}
        properties = {
            name: schema if isinstance(named[name], Picture) else {"anyOf": [schema, self.many(schema)]}
            for name, schema in one.items()
        }
        needed = [name for name, c in named.items() if not unknown or isinstance(c, Picture)]
        schema = {"type": "object", "properties": properties, "additionalProperties": False}
        return schema | ({"required": needed} if needed else {})

    def rows_in(self) -> Schema:
        return self.bounded(self.tasks.form.rows_schema(self.gaps))

    def rows_out(self) -> Schema:
        return loosened(self.tasks.form.rows_schema(True))

    def codes(self) -> Schema:
        return self.many(nested([self.tasks.latent_dim], CODE))

    def many(self, items: Schema) -> Schema:
        return {"type": "array", "items": items, "minItems": 1, "maxItems": self.rows}

    def bounded(self, schema: Schema) -> Schema:
        if "anyOf" in schema:
            return {"anyOf": [self.bounded(each) for each in schema["anyOf"]]}
        return {**schema, "maxItems": self.rows}


def told(error: Any) -> str:
    """An error of a JSON Schema in a line."""
    place = "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in error.instance_path).lstrip(".")
    return f"{place or 'the body'}: {' '.join(error.message.split())[:300]}"


def loosened(schema: Any) -> Any:
    """A schema without bounds of its numbers: what a model gives may lie beyond what it takes."""
    if isinstance(schema, list):
        return [loosened(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {name: loosened(each) for name, each in schema.items() if name not in ("minimum", "maximum")}


class Sample(Operation):
    name, says, graphs, main = "sample", "New rows, drawn from the model.", ("prior",), None

    def takes(self) -> Schema:
        n = {"type": "integer", "minimum": 1, "maximum": self.rows, "default": 1}
        temperature = {"type": "number", "minimum": 0, "maximum": 100, "default": 1}
        return {"n": n, "temperature": temperature, "seed": SEED}

    def optional(self) -> tuple[str, ...]:
        return "n", "temperature", "seed"

    def run(self, given: Given) -> Task:
        how = {"temperature": given.get("temperature", 1.0), "seed": int(given.get("seed", 0))}
        return {"rows": (yield from self.tasks.sample(int(given.get("n", 1)), given.get("y"), **how))}


class Encode(Operation):
    name, says, graphs, shown = "encode", "The latent codes of rows: the posterior's means.", ("encoder",), "z"

    def gives(self) -> Schema:
        return {"z": {"type": "array", "items": nested([self.tasks.latent_dim], {"type": "number"})}}

    def run(self, given: Given) -> Task:
        return {"z": (yield from self.tasks.encode(given["rows"], given.get("y")))}


class Decode(Operation):
    name, says, graphs, main = "decode", "The rows that latent codes stand for.", ("decoder",), "z"

    def takes(self) -> Schema:
        return {"z": self.codes()}

    def run(self, given: Given) -> Task:
        z = np.asarray(given["z"])
        if z.dtype.kind in "iuf" and np.abs(z).max(initial=0) > FARTHEST:  # in a file, which no schema bounds
            raise UserError(f"a latent code holds {np.abs(z).max():g}: they lie between -{FARTHEST:g} and {FARTHEST:g}")
        return {"rows": (yield from self.tasks.decode(given["z"], given.get("y")))}


class Reconstruct(Operation):
    name, says, graphs = "reconstruct", "Rows by way of their latent codes.", ("encoder", "decoder")

    def run(self, given: Given) -> Task:
        return {"rows": (yield from self.tasks.reconstruct(given["rows"], given.get("y")))}


class Interpolate(Operation):
    name, says, graphs = "interpolate", "A walk from the first of two rows to the second.", ("encoder", "decoder")

    @property
    def steps(self) -> int:
        return min(9, self.rows)

    def takes(self) -> Schema:
        ends = nested([2], self.tasks.form.schema(self.gaps))
        steps = {"type": "integer", "minimum": 2, "maximum": self.rows, "default": self.steps}
        return {"rows": ends, "steps": steps, "path": {"enum": list(PATHS)}}

    def optional(self) -> tuple[str, ...]:
        return "steps", "path"

    def run(self, given: Given) -> Task:
        how: dict[str, Any] = {"steps": int(given.get("steps", self.steps)), "path": given.get("path")}
        return {"rows": (yield from self.tasks.interpolate(given["rows"], given.get("y"), **how))}


class Score(Operation):
    name, says, graphs, shown = "score", "How normal rows are (high is normal), with p-values.", ("score",), "scores"

    @property
    def needs_y(self) -> bool:  # type: ignore[override]
        return not self.tasks.predicts

    def gives(self) -> Schema:
        numbers = {"type": "array", "items": {"type": "number"}}
        return {"scores": numbers} | ({} if self.tasks.calibration is None else {"p_values": numbers})

    def run(self, given: Given) -> Task:
        X, y = given["rows"], given.get("y")
        if self.tasks.calibration is None:
            return {"scores": (yield from self.tasks.score(X, y))}
        scores, p = yield from self.tasks.rate(X, y)
        return {"scores": scores, "p_values": p}


class Impute(Operation):
    name, says, graphs = "impute", "Rows with their gaps (null) filled: best guesses, or several draws.", ("complete",)

    def takes(self) -> Schema:
        return {**super().takes(), "draws": {"type": "integer", "minimum": 1, "maximum": 100}, "seed": SEED}

    def optional(self) -> tuple[str, ...]:
        return "draws", "seed"

    def gives(self) -> Schema:
        return {"rows": self.rows_out(), "draws": {"type": "array", "items": self.rows_out()}}

    def sure(self) -> list[str]:
        return []

    def run(self, given: Given) -> Task:
        draws = given.get("draws")
        if (draws or 1) * self.count(given["rows"]) * self.size > VALUES:
            raise UserError(f"{draws} draws of {self.count(given['rows'])} rows are too many at once: ask for fewer")
        how: dict[str, Any] = {"draws": draws and int(draws), "seed": int(given.get("seed", 0))}
        found = yield from self.tasks.impute(given["rows"], given.get("y"), **how)
        return {"draws": [self.tasks.form.listed(each) for each in found]} if draws else {"rows": found}


class Predict(Operation):
    name, says, graphs, shown = (
        "predict",
        "The label of each row, with probabilities, or its number.",
        ("predict",),
        "labels",
    )

    def condition(self) -> Schema:
        return {"properties": {}}

    def gives(self) -> Schema:
        if self.classes is None:
            return {"labels": {"type": "array"}}
        many = {"type": "array", "items": nested([len(self.classes)], {"type": "number"})}
        return {"labels": {"type": "array", "items": {"enum": self.classes}}, "probabilities": many}

    @property
    def classes(self) -> list[Any] | None:
        return getattr(self.tasks.target, "classes", None)

    def run(self, given: Given) -> Task:
        if self.classes is None:
            return {"labels": (yield from self.tasks.predict(given["rows"]))}
        p = yield from self.tasks.predict_proba(given["rows"])
        return {"labels": [self.classes[i] for i in p.argmax(1)], "probabilities": p}


OPERATIONS: dict[str, type[Operation]] = {
    o.name: o for o in (Sample, Encode, Decode, Reconstruct, Interpolate, Score, Impute, Predict)
}


def plain(result: Mapping[str, Any], tasks: Tasks) -> dict[str, Any]:
    """A result as JSON holds it."""
    return {name: tasks.form.listed(values) if name == "rows" else values for name, values in result.items()}


def numbers_of(values: Any) -> np.ndarray:
    """An array that a .npy file can hold. UserError if these are no numbers."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise UserError("this result is not numbers, and so no .npy file: ask for application/json")
    return array
