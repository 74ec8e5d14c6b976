"""The explorer's page as one file, whose graphs run in the browser: `vaekit export RUN --html`.

Small networks without convolutions run in the page's own engine; all others take onnxruntime, compiled to WebAssembly, along.
"""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save

from vaekit.deploy.explorer.page import BUILT, WASM, page
from vaekit.deploy.explorer.pieces import Pieces
from vaekit.deploy.explorer.plan import Plan, fits
from vaekit.deploy.explorer.scene import Scene, scene
from vaekit.deploy.explorer.scene import check as scene_check
from vaekit.deploy.export import exported
from vaekit.deploy.trace import needed
from vaekit.errors import UserError
from vaekit.files import write_text
from vaekit.fitted import Fitted
from vaekit.show.track import track

PLAIN = 4 << 20  # bytes of weights: beyond, the page's own engine is slower than onnxruntime
LARGE, LARGEST = 8 << 20, 32 << 20  # bytes of the page: slow to open and to send, and too many for some browsers


def check(estimator: Any, run: Path) -> None:
    """UserError, before any time is spent, for a model that gets no such page, or a missing package."""
    scene_check(estimator, run)
    needed()


def write_html(run: Path, estimator: Any, path: Path, data: Any = None) -> Scene:
    """Write the page of a trained model, and return what it shows; its notes say what is left out.

    Raises:
        UserError: a package is missing, ONNX cannot express the decoder, or the page would be too large.
    """
    shown = scene(run, estimator, data)
    write_scene(shown, estimator.fitted_, path, f"vaekit explore {run}")
    return shown


def write_scene(shown: Scene, fitted: Fitted, path: Path, served: str) -> None:
    """Write the page of any scene. served: the command that serves the page, for where it cannot be one file."""
    onnx = needed()
    protos, notes = {}, shown.model["notes"]
    for name, graph in track(list(shown.graphs.items()), what="export"):
        try:
            content, _ = exported(graph, fitted, shown.some)
            protos[name] = onnx.load_from_string(content)
        except UserError as e:
            if name == "decoder":
                raise UserError(f"{e}: use `{served}`, which serves the page") from e
            notes.append(f"{name} is left out of this page: {e}")
    leave_out(shown, set(shown.graphs) - set(protos))
    text = filled(shown, protos, half=False)
    if len(text) > LARGE and shown.model["engine"] == "onnx":
        notes.append("the weights have 16 bits on this page, so that it opens sooner: numbers are off by a thousandth")
        text = filled(shown, protos, half=True)
    if len(text) > LARGEST:
        raise UserError(
            f"the page would have {len(text) / 1e6:.0f} MB, more than {LARGEST >> 20}: use `{served}`, which serves it"
        )
    write_text(path, text)


def filled(shown: Scene, protos: Mapping[str, Any], *, half: bool) -> str:
    """The page with its graphs, in the simplest form that they have. half: with weights of 16 bits."""
    plan = Plan(protos) if fits(protos) else None
    if plan and sum(values.nbytes for values in plan.weights.values()) <= PLAIN:
        own, graphs = {"engine": "plain", "plan": plan.graphs}, plan.weights
    else:
        pieces = Pieces(protos, half=half)
        own, graphs = {"engine": "onnx", "pieces": pieces.of}, pieces.tensors
    shown.model |= own
    return html(shown.json, shown.tensors | graphs, shown.model["name"], onnx=own["engine"] == "onnx")


def leave_out(shown: Scene, names: set[str]) -> None:
    """Remove these graphs from a scene, and what the page cannot show without them."""
    for name in names:
        del shown.model["graphs"][name]
    if "score" in names:
        shown.model["score"] = None
        shown.model["graphs"].pop("surprise", None)


def html(model: str, tensors: Mapping[str, np.ndarray], title: str, *, onnx: bool) -> str:
    """The page. model: `model.json`."""
    packed = gzip.compress(
        save({name: np.require(values, requirements="C") for name, values in tensors.items()}), 9, mtime=0
    )
    parts = {"tensors": packed} | ({"wasm": (BUILT / WASM).read_bytes()} if onnx else {})
    # Within a script nothing but "<" can end it, or begin a comment.
    data = [f'<script type="application/json" id="model">{model.replace("<", chr(92) + "u003c")}</script>']
    for name, content in parts.items():
        data.append(
            f'<script type="application/octet-stream" id="{name}">{base64.b64encode(content).decode()}</script>'
        )
    return page(title, "\n".join(data), ort=onnx)
