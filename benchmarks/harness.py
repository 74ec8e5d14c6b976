"""What every benchmark shares: its arguments, cells that are measured once, and a table that names what made it.

A script is its methods and its tables. A table is a function of the options that yields rows as dicts, and notes as strings.
Its docstring is the title and, in further paragraphs, the notes; both may name options in braces.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

import vaekit

HERE = Path(__file__).resolve().parent
Rows = Iterator[dict[str, Any] | str]
Table = Callable[[argparse.Namespace], Rows]


# -- arguments ---------------------------------------------------------------------------------------------------------


def arguments(
    doc: str,
    *,
    seeds: list[int] | None = None,
    data: Iterable[str] = (),
    methods: Iterable[str] = (),
    threads: int | list[int] | None = None,
    settings: bool = False,
    runs: bool = False,
) -> argparse.ArgumentParser:
    """The options that benchmarks share. A script gets those that it gives a default or choices for, and adds its own."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("--toy", action="store_true", help="a run of seconds, to see that it runs: its numbers mean nothing")
    add("--folder", type=Path, default=HERE.parents[1] / "shared" / "data", help="where the data lie")
    add("--results", type=Path, default=HERE / "results", help="the folder to write the table and its cells to")
    add("--suffix", default="", help="end of the table's file name, such as --suffix=-trial")
    add("--again", action="store_true", help="measure every cell again, also those that are in the file of cells")
    if seeds is not None:
        add("--seeds", nargs="+", type=int, default=seeds)
    for name, choices in {"--data": list(data), "--methods": list(methods)}.items():
        if choices:
            add(name, nargs="+", choices=choices, default=choices)
    add("--threads", type=int, nargs="+" if isinstance(threads, list) else None, default=threads)
    if settings:
        add("--settings", type=json.loads, default={}, help="more settings of vaekit, as JSON")
    if runs:
        add("--runs", type=Path, help="keep models in this folder, and go on with a training that was cut short")
    return parser


def is_toy() -> bool:
    return "--toy" in sys.argv


def run(parser: argparse.ArgumentParser, tables: Mapping[str, Table], **toy: Any) -> None:
    """Make the table that the command names, by default the first. With --toy the options default to `toy`, and the table goes to a
    temporary folder."""
    parser.add_argument("table", nargs="?", choices=list(tables), default=next(iter(tables)))
    if is_toy():
        parser.set_defaults(results=Path(tempfile.mkdtemp(prefix="vaekit-toy-")), **toy)
    options = parser.parse_args()
    if isinstance(options.threads, int):
        torch.set_num_threads(options.threads)
    options.cell = Cells(options.results / f"{script()}-cells.jsonl", options.again)
    table = tables[options.table]
    title, *notes = (" ".join(part.split()) for part in (table.__doc__ or "").format_map(vars(options)).split("\n\n"))
    rows: list[dict[str, Any]] = []
    for found in table(options):
        if isinstance(found, str):
            notes.append(found)
        else:
            rows.append(found)
            print(found, flush=True)
        if rows:
            write(options, title, notes, rows)


# -- cells -------------------------------------------------------------------------------------------------------------


class Cells:
    """What was measured. Each cell is a line of JSON: its key, which names all that it depends on, what was found, and the commit.
    A cell is written at once and is not measured again; the table names the commits of older cells."""

    def __init__(self, path: Path, again: bool = False):
        self.path, self.commits = path, set[str]()
        lines = [] if again or not path.exists() else path.read_text().splitlines()
        self.known = {json.dumps(cell["key"]): cell for cell in map(json.loads, lines)}

    def __call__(self, key: dict[str, Any], measure: Callable[..., Mapping[str, Any]], *args: Any) -> dict[str, Any]:
        name = json.dumps(key)
        if name not in self.known:
            cell = {"key": key, "found": measure(*args), "commit": commit()}
            line = json.dumps(cell, default=lambda number: number.item())
            with self.path.open("a") as file:
                file.write(line + "\n")
            self.known[name] = json.loads(line)
            print(*key.values(), self.known[name]["found"], flush=True)
        self.commits.add(self.known[name]["commit"])
        return self.known[name]["found"]


def given(options: argparse.Namespace, *names: str) -> dict[str, Any]:
    """These options by name, for the key of a cell that depends on them."""
    return {name: getattr(options, name) for name in names}


def trained(options: argparse.Namespace, name: str, model: Any, rows: Any, conditions: Any = None) -> Any:
    """Fit the model and print a line per epoch. With --runs it is kept there, and a training that was cut short goes on."""
    name = f"{script()}-{options.table}{options.suffix}-{name}-{model.random_state}"
    folder = options.runs and options.runs / name.lower().replace(" ", "-")
    return model.fit_rows(rows, conditions or {}, watchers=[Lines()], folder=folder, resume=True)


class Lines:
    """A line per epoch, so that a long run can be followed."""

    def step(self, *args: Any) -> None: ...

    def epoch(self, state: Any, progress: float, row: dict[str, float]) -> None:
        print({k: round(v, 2) for k, v in row.items()}, file=sys.stderr, flush=True)


def take_turns(candidates: Mapping[Any, Callable[[], Any]], rounds: int) -> dict[Any, list[Any]]:
    """What each candidate measures in each round. They take turns, so that other work on the machine slows all of them alike."""
    measured: dict[Any, list[Any]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, measure in candidates.items():
            measured[name].append(measure())
            print(name, measured[name][-1], flush=True)
    return measured


# -- tables ------------------------------------------------------------------------------------------------------------


def spread(values: Sequence[float] | np.ndarray, digits: int, ddof: int = 0) -> str:
    """Mean ± standard deviation; the mean alone of one value, and nothing where there is no value."""
    if not len(values):
        return ""
    return f"{np.mean(values):.{digits}f}" + (f" ± {np.std(values, ddof=ddof):.{digits}f}" if len(values) > 1 else "")


def averages(runs: Sequence[Mapping[str, Any]], columns: Mapping[str, tuple[str, int]]) -> dict[str, str]:
    """The columns of a row: mean and spread over runs. columns: for each title a key of the runs, and digits."""
    return {t: spread([run[key] for run in runs if key in run], digits) for t, (key, digits) in columns.items()}


def write(options: argparse.Namespace, title: str, notes: Sequence[str], rows: Sequence[dict[str, Any]]) -> None:
    """Write the table so far, as Markdown and JSON. The first row names the columns; what a later row lacks stays empty."""
    by = made_by(options)
    lines = ["| " + " | ".join(rows[0]) + " |", "|" + "---|" * len(rows[0])]
    lines += ["| " + " | ".join(str(row.get(column, "")) for column in rows[0]) + " |" for row in rows]
    parts = [f"# {title}", f"`{by['command']}`", by["machine"], *notes, "\n".join(lines)]
    out = f"{options.results / script()}-{options.table}{options.suffix}"
    Path(f"{out}.md").write_text("\n\n".join(parts) + "\n")
    Path(f"{out}.json").write_text(json.dumps({**by, "notes": "\n\n".join(notes), "rows": rows}, indent=1) + "\n")


def made_by(options: argparse.Namespace) -> dict[str, str]:
    """What made a table: command, threads, hardware, versions, commit, seeds, date."""
    # Where the data and the results lie concerns this machine alone.
    places = {i + j for i, a in enumerate(sys.argv) if a in ("--folder", "--runs", "--results") for j in (0, 1)}
    words = shlex.join(a for i, a in enumerate(sys.argv) if i and i not in places)
    threads = options.threads or torch.get_num_threads()
    seeds, older = getattr(options, "seeds", []), options.cell.commits - {commit()}
    about = [
        f"{' and '.join(map(str, threads)) if isinstance(threads, list) else threads} threads",
        processor(),
        f"Python {platform.python_version()}, torch {torch.__version__}, vaekit {vaekit.__version__}",
        f"commit {commit()}",
        "cells of commit " + ", ".join(sorted(older)) if older else "",
        "seeds " + " ".join(map(str, seeds)) if seeds else "",
        f"date {date.today().isoformat()}",
    ]
    return {"command": f"python benchmarks/{script()}.py {words}", "machine": "; ".join(filter(None, about))}


def script() -> str:
    return Path(sys.argv[0]).stem


@cache
def commit() -> str:
    """The commit that is checked out, and whether files, results aside, differ from it."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True).stdout.strip()

    changed = git("status", "--porcelain", "--", ":/", ":(exclude,top)benchmarks/results")
    return (git("rev-parse", "--short", "HEAD") or "unknown") + (" + uncommitted changes" if changed else "")


def processor() -> str:
    """The name of the processor, its cores, and its instructions for products of matrices."""
    file = Path("/proc/cpuinfo")
    lines = file.read_text().splitlines() if file.exists() else []
    about = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}
    flags = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if f in about.get("flags", "").split()]
    return f"{about.get('model name', platform.machine())}, {os.cpu_count()} cores {' '.join(flags)}".strip()
