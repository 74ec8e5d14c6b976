"""The page of the explorer, put together from what is built from the folder `explorer`."""

from __future__ import annotations

import re
from html import escape
from importlib.resources import files

BUILT = files("vaekit") / "deploy" / "explorer"
WASM = "ort-wasm-simd-threaded.wasm.gz"


def built(name: str) -> str:
    return (BUILT / name).read_text(encoding="utf-8")


def policy() -> str:
    """The content security policy of the page, which also stands in its head."""
    found = re.search(r'"Content-Security-Policy" content="([^"]+)"', built("page.html"))
    assert found
    return found[1]


def page(title: str, data: str = "", *, ort: bool = False) -> str:
    """The page as HTML.

    Args:
        data: elements that hold what it shows; without them it asks the server that gave it.
        ort: whether it needs onnxruntime's part.
    """
    script = built("ort.js") if ort else ""
    parts = {"title": escape(title), "data": data, "css": built("page.css"), "ort": script, "js": built("page.js")}
    return re.sub(r"\{\{(\w+)\}\}", lambda m: parts[m[1]], built("page.html"))
