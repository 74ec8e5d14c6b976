"""Rules between columns as a user writes them, "start <= end" or "total == price * quantity", and whether they hold.

Columns are arrays (N,) of numbers by name, NaN where a cell is missing.
"""

from __future__ import annotations

import ast
import operator
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Any

import numpy as np

from vaekit.errors import UserError, near_matches

OPERATORS: dict[type[Any], Any] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv, ast.USub: operator.neg,
}  # fmt: skip
READABLE = (ast.BinOp, ast.UnaryOp, ast.Constant, ast.Load, *OPERATORS)


@dataclass
class Bounds:
    """`name` is at least each of `others`, or above it if `strict` says so."""

    name: str
    others: list[str]
    strict: list[bool]
    texts: list[str]

    def base(self, v: Mapping[str, np.ndarray]) -> np.ndarray:
        return np.max([v[other] for other in self.others], axis=0)

    def holds(self, v: Mapping[str, np.ndarray], step: float) -> np.ndarray:
        parts = zip(self.others, self.strict, strict=True)
        return np.all(
            [v[other] < v[self.name] if strict else v[other] <= v[self.name] for other, strict in parts], axis=0
        )


@dataclass
class Formula:
    """`name` is computed from `others`, up to rounding."""

    name: str
    others: list[str]
    tree: Any
    texts: list[str]

    def base(self, v: Mapping[str, np.ndarray]) -> np.ndarray:
        with np.errstate(all="ignore"):
            found = np.asarray(evaluate(self.tree, v), dtype=np.float64)
        return np.where(np.isfinite(found), found, np.nan)

    def holds(self, v: Mapping[str, np.ndarray], step: float) -> np.ndarray:
        return np.abs(v[self.name] - self.base(v)) <= 0.500001 * step + 1e-9 * np.abs(v[self.name])


Rule = Bounds | Formula


def order(rules: Iterable[Rule]) -> list[str]:
    """Order all columns that rules name: each comes after those that it depends on."""
    try:
        return list(TopologicalSorter({rule.name: rule.others for rule in rules}).static_order())
    except CycleError as e:
        raise UserError(f"the constraints form a circle, {' -> '.join(e.args[1])}: leave one out") from None


def parsed(text: str, names: Sequence[str]) -> Rule:
    """Parse a rule as the user wrote it. names: the columns; if several fit, the longest counts."""
    found: list[str] = []

    def stand_in(match: re.Match[str]) -> str:
        found.append(match[0])
        return f"_{len(found) - 1}_"

    word = "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))
    plain = re.sub(rf"(?<!\w)(?:{word})(?!\w)", stand_in, text)
    sides = re.split(r"(<=|>=|==|=|<|>)", plain)
    try:
        left, compare, right = sides
        trees: list[Any] = [ast.parse(side.strip(), mode="eval").body for side in (left, right)]
    except (ValueError, SyntaxError):
        raise UserError(
            f"the constraint {text!r} cannot be read: write it as 'start <= end' or 'total == price * quantity'"
        ) from None
    used = []
    nodes: list[Any] = [node for tree in trees for node in ast.walk(tree)]
    for node in nodes:
        if isinstance(node, ast.Name):
            if not re.fullmatch(r"_\d+_", node.id):
                raise UserError(
                    f"the constraint {text!r}: there is no column {node.id!r}{near_matches(node.id, names)}"
                )
            node.id = found[int(node.id[1:-1])]
            used.append(node.id)
        elif not isinstance(node, READABLE) or not isinstance(getattr(node, "value", 0), int | float):
            raise UserError(f"the constraint {text!r} cannot be read: it may contain columns, numbers, +, -, * and /")
    alone = [isinstance(tree, ast.Name) for tree in trees]
    if compare in ("==", "="):
        if not any(alone) or not set(used) - {trees[not alone[0]].id}:
            raise UserError(
                f"the constraint {text!r} needs a single column on one side: write it as 'total == price * quantity'"
            )
        own, tree = trees if alone[0] else trees[::-1]
        others = list(dict.fromkeys(n.id for n in ast.walk(tree) if isinstance(n, ast.Name)))
        return Formula(own.id, others, tree, [text])
    if not all(alone):
        raise UserError(
            f"the constraint {text!r} has to compare two columns; to limit a single column, set its low and high in "
            "the schema (samples keep to the range of the data anyway)"
        )
    low, high = (tree.id for tree in (trees if compare[0] == "<" else trees[::-1]))
    return Bounds(high, [low], [len(compare) == 1], [text])


def merged(rules: Iterable[Rule]) -> list[Rule]:
    """One rule for each column, those after the rules of the columns that they depend on."""
    found: dict[str, Rule] = {}
    for rule in rules:
        old = found.get(rule.name)
        if old is None:
            found[rule.name] = rule
        elif isinstance(old, Bounds) and isinstance(rule, Bounds):
            old.others += rule.others
            old.strict += rule.strict
            old.texts += rule.texts
        else:
            raise UserError(
                f"{old.texts[0]!r} already computes {rule.name!r}, so {rule.texts[0]!r} cannot limit it: leave out one of the two"
            )
    return [found[name] for name in order(found.values()) if name in found]


def evaluate(node: Any, v: Mapping[str, np.ndarray]) -> Any:
    if isinstance(node, ast.Name):
        return v[node.id]
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp):
        return OPERATORS[type(node.op)](evaluate(node.operand, v))
    return OPERATORS[type(node.op)](evaluate(node.left, v), evaluate(node.right, v))
