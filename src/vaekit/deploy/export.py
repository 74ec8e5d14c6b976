"""A trained model as files that run without PyTorch, for `vaekit.runtime` and any other runtime of ONNX:

DIR/model.json         what goes in and what comes out: columns, classes, shapes, units; see `vaekit.deploy.manifest`
DIR/NAME.onnx          its graphs, see `vaekit.deploy.graphs`
DIR/calibration.npy    scores of normal rows, in ascending order
and what its kind of data adds, such as tokenizer.json
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import numpy as np
import torch

from vaekit.deploy.graphs import ROWS, Graph, example, graphs
from vaekit.deploy.manifest import free, manifest, plain, signature
from vaekit.deploy.steady import steady
from vaekit.deploy.trace import TOLERANCE, differences, needed, reason, traced
from vaekit.errors import UserError
from vaekit.files import write_together
from vaekit.robots.onnx_policy import open_session
from vaekit.runtime.folder import digest_of
from vaekit.uses.calibration import Calibration
from vaekit.uses.scores import LogLikelihood, Score

log = logging.getLogger(__name__)

MODEL, CALIBRATION = "model.json", "calibration.npy"
ROUGH = {"bins": 1e-4}  # differences of an error function of 32 bits, for the eye
AT_ONCE = 1024  # samples of rows that a graph computes together
TRIED = (1, 5)  # rows that a graph is checked with; it was traced with 3

Track = Callable[[list[Any]], Iterable[Any]]
Rows = Callable[[int], Mapping[str, torch.Tensor]]


def export(
    estimator: Any, folder: str | Path, *, odd: Calibration | None = None, k: int | None = None, only: Collection[str] = (), track: Track = list,
) -> list[str]:  # fmt: skip
    """Write a trained model as a folder of ONNX graphs. Each is checked: onnxruntime gives what PyTorch gives.

    Args:
        estimator: fitted. folder: new, empty, or of an earlier export.
        odd: the score to export, and scores of normal rows, see `vaekit.recipes.calibrate`. None: log p(x), without p-values.
        only: names of the graphs to write; empty: all.
        k: importance samples of log p(x), if there is no `odd`. None: as many as suit the kind of data.
        track: wraps the graphs, to show progress.

    Returns:
        What could not be exported, and why, a sentence each.

    Raises:
        UserError: a package is missing, the folder holds other files, or nothing could be exported.

    Example:
        >>> from vaekit.deploy.export import export
        >>> notes = export(vae, "exported", only=["encoder"])
        >>> vaekit.runtime.load("exported").encode(X).shape
        (40, 2)
    """
    folder, fitted = Path(folder), estimator.fitted_
    check_folder(folder)
    check(estimator)
    notes = [fitted.kind.form()["note"]] if "note" in fitted.kind.form() else []
    odd, score = exported_score(odd, k, notes)
    content: dict[str, bytes] = {name: text.encode() for name, text in fitted.kind.files().items()}
    signatures = {}
    wanted = [g for g in graphs(fitted, estimator.sampler_, score).values() if not only or g.name in only]
    for graph in track(wanted):
        log.info("exporting the %s", graph.name)
        try:
            content[f"{graph.name}.onnx"], signatures[graph.name] = exported(graph, fitted)
        except UserError as e:
            notes.append(f"{graph.name} is left out: {e}")
    if (why := fitted.kind.why_not("complete")) and not fitted.kind.exports:
        notes.append(f"complete is left out: {why}")
    for name, make in fitted.kind.exports.items():
        content[name] = resolve_name(make)(estimator)
    if not signatures and not fitted.kind.exports:
        raise UserError(f"nothing of this model could be exported: {notes[0]}")
    about = manifest(fitted, folder.resolve().name, odd, notes)
    normal = odd.scores if odd else np.zeros(0)
    about["score"] = {"name": score.name, "rows": len(normal)} if "score" in signatures else None
    if about["score"] and len(normal):
        content[CALIBRATION] = as_npy(np.sort(normal))
    about |= {"graphs": signatures, "files": {name: hashlib.sha256(data).hexdigest() for name, data in content.items()}}
    about = json.loads(json.dumps(about, allow_nan=False, default=plain))
    content[MODEL] = json.dumps(about | {"digest": digest_of(about)}, indent=1).encode()
    folder.mkdir(parents=True, exist_ok=True)
    stale = old_files(folder) - set(content)
    write_together({folder / name: writing(data) for name, data in content.items()})
    for name in stale:
        (folder / name).unlink(missing_ok=True)
    return notes


def exported_score(odd: Calibration | None, k: int | None, notes: list[str]) -> tuple[Calibration | None, Score]:
    """The score that one model alone can give, and what is known of it. notes: gets what is left out."""
    if odd and len(odd.fitteds) > 1:
        notes.append(f"the score is log p(x) of one model: {len(odd.fitteds)} that score together are not exported")
        odd = None
    return odd, odd.score if odd and (odd.score.learned or not odd.score.learns) else LogLikelihood(k=k)


def exported(graph: Graph, fitted: Any, rows: Rows | None = None) -> tuple[bytes, dict[str, Any]]:
    """A graph as the content of an ONNX file, and its signature. UserError if ONNX cannot express it, or computes something else.

    rows: makes a number of rows to trace and to check it with, as inputs of graphs; None: the model draws them itself.
    """
    make = rows or partial(example, fitted)
    given = graph.inputs(make(ROWS))
    with torch.no_grad():
        found = graph(given)
    proto = steady(traced(graph, given, {name: free(name, t) for name, t in given.items()}, list(found)))
    content = proto.SerializeToString()
    try:
        session = open_session(content)
    except Exception as e:  # the errors of onnxruntime share no base
        raise UserError(f"onnxruntime cannot run it: {reason(e)}") from e
    for n in TRIED:
        given = graph.inputs(make(n), seed=n)
        with torch.no_grad():
            expected = {name: t.numpy() for name, t in graph(given).items()}
        found_there = dict(
            zip(expected, session.run(None, {name: t.numpy() for name, t in given.items()}), strict=True)
        )
        for name, off in differences(found_there, expected).items():
            if not off <= ROUGH.get(name, TOLERANCE):
                raise UserError(f"its {name} is off by {off:.1e} of its size, beside what PyTorch computes")
    about = signature(graph, given, found)
    # The intermediate results of more rows leave the processor's caches, which takes twice as long.
    return content, about | {"rows": min(about["rows"], max(1, AT_ONCE // graph.samples))}


def check_folder(folder: Path) -> None:
    """UserError where an export would lie among other files, or a package is missing."""
    needed()
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: choose a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / MODEL).is_file():
        raise UserError(f"{folder} holds other files: choose a new folder, or an earlier export")


def check(estimator: Any) -> None:
    """UserError for a model that is not exported."""
    if not estimator.model_.latent_dim and not estimator.kind_.exports:
        raise UserError(
            "a language model has no latent, and is not exported: train one that has, for example with --latent-dim 16"
        )


def old_files(folder: Path) -> set[str]:
    """The files of an earlier export."""
    try:
        return set(json.loads((folder / MODEL).read_text(encoding="utf-8"))["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def writing(data: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(data)


def as_npy(values: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, values)
    return buffer.getvalue()
