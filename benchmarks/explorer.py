"""How fast the explorer's page follows the hand, beside a page of Gradio that decodes the same model.

    python benchmarks/explorer.py page
    python benchmarks/explorer.py page --gradio-python /path/to/python      # of an environment that has gradio and vaekit

A real browser (headless Chromium) opens each page, and a real pointer moves for `--seconds`, sixty times a second. `--gradio-python`
names another environment, because Gradio is large; without gradio its row is left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from harness import Rows, arguments, run

import vaekit
from vaekit.deploy.explorer.html import write_html
from vaekit.sources import read

PAGES = {  # name -> source, and how to train on it
    "digits": ("digits", ["--condition", "label"]),
    "digits, MLP": ("digits", ["--condition", "label", "--network", "mlp"]),
    "table": ("table.csv", []),
}
GRADIO = """
import sys, numpy as np, gradio as gr, vaekit
vae = vaekit.load(sys.argv[1])
def show(a, b):
    z = np.zeros((1, vae.model_.latent_dim)); z[0, :2] = float(a), float(b)
    x = vae.fitted_.decode(z, {"label": 3})[0]
    return np.kron(np.uint8(255 * (x / 16).clip(0, 1)), np.ones((16, 16), np.uint8))
with gr.Blocks() as page:
    a, b = gr.Slider(-3, 3, 0, step=0.01, label="a"), gr.Slider(-3, 3, 0, step=0.01, label="b")
    image = gr.Image()
    gr.on([a.input, b.input], show, [a, b], image, show_progress="hidden", trigger_mode="always_last")
page.launch(server_name="127.0.0.1", server_port=int(sys.argv[2]), quiet=True)
"""
# Counts how often the row beside the map, or Gradio's picture, is another one, frame by frame.
WATCH = """(source) => {
  window.updates = 0;
  const now = new Function("return " + source);
  let last = now();
  const look = () => { const next = now(); if (next !== last) { window.updates += 1; last = next; } requestAnimationFrame(look); };
  requestAnimationFrame(look);
}"""
PICTURES = "[...document.images].map((i) => i.src).filter((s) => s.includes('file=')).join()"
DECODES = """async (n) => {
  const z = explorer.codes.slice(0, 64), y = explorer.state.y;
  for (let i = 0; i < 30; i++) await explorer.graphs.decode([z[i % z.length]], y);
  const took = [];
  for (let i = 0; i < n; i++) { const t = performance.now(); await explorer.graphs.decode([z[i % z.length]], y); took.push(performance.now() - t); }
  took.sort((a, b) => a - b);
  return took[n >> 1];
}"""
TABLE = "n,m,k,c\n" + "\n".join(f"{i % 17},{(i * 7) % 23 / 10},{(i * i) % 11},{'abc'[i % 3]}" for i in range(600))


def page(options: argparse.Namespace) -> Rows:
    """The explorer's page, and Gradio's

    ready: milliseconds from opening the page to the first decoded row. updates: how often a second the decoded row changes while the
    pointer moves, of at most 60. decode: milliseconds from a code to its row, the median of {decodes}. requests: for the page, and of
    these to other machines. Medians over {rounds} openings, with the least and the most; other jobs shared the machine."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        runs = trained(Path(folder), options.epochs, options.pages)
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-background-networking"]
        )
        for name, path in ((name, runs[name]) for name in options.pages):
            file = Path(folder) / f"{name}.html"
            shown = write_html(path, vaekit.load(path), file)
            about = {
                "page": f"{name}, one file",
                "engine": shown.model["engine"],
                "MB": f"{file.stat().st_size / 1e6:.2f}",
            }
            yield about | measured(browser, file.as_uri(), options)
        path = runs["digits, MLP"]
        with served([sys.executable, "-m", "vaekit", "explore", str(path), "--no-browser", "--port"]) as address:
            yield {"page": "digits, MLP, served", "engine": "server", "MB": ""} | measured(browser, address, options)
        if options.gradio_python:
            script = Path(folder) / "page.py"
            script.write_text(GRADIO)
            with served([options.gradio_python, str(script), str(path)]) as address:
                yield {"page": "digits, MLP, Gradio", "engine": "server", "MB": ""} | measured(
                    browser, address, options, gradio=True
                )
        browser.close()


def trained(folder: Path, epochs: int, pages: list[str]) -> dict[str, Path]:
    """Runs of the default networks."""
    (folder / "table.csv").write_text(TABLE)
    found = {}
    for name, (source, how) in PAGES.items():
        if name not in ("digits, MLP", *pages):
            continue
        found[name] = folder / name.replace(", ", "-")
        where = folder / source if source.endswith(".csv") else source
        line = [
            sys.executable,
            "-m",
            "vaekit",
            "fit",
            str(where),
            *how,
            "--epochs",
            str(epochs),
            "--out",
            str(found[name]),
        ]
        subprocess.run(line, check=True, capture_output=True)
    return found


class served:
    """A server in a process of its own; within, its address."""

    def __init__(self, line: list[str]):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.line = [*line, str(self.port)]

    def __enter__(self) -> str:
        environment = {**os.environ, "GRADIO_ANALYTICS_ENABLED": "False"}
        self.process = subprocess.Popen(
            self.line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment
        )
        address = f"http://127.0.0.1:{self.port}/"
        for _ in range(600):
            try:
                urlopen(address, timeout=1).read()
                return address
            except OSError:
                time.sleep(0.2)
        raise SystemExit(f"{self.line[0]} does not answer")

    def __exit__(self, *_: Any) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(30)


def measured(browser: Any, address: str, options: argparse.Namespace, *, gradio: bool = False) -> dict[str, str]:
    """One page, opened several times."""
    ready, updates, decodes, asked = [], [], [], []
    for _ in range(options.rounds):
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        requests: list[str] = []
        page.on("request", lambda r, seen=requests: seen.append(r.url))
        began = time.perf_counter()
        page.goto(address)
        if gradio:
            page.wait_for_selector("input[type=range]")
        else:
            page.wait_for_function("() => window.explorer && explorer.state.shown")
        ready.append(1e3 * (time.perf_counter() - began))
        asked.append(list(requests))
        page.evaluate(WATCH, PICTURES if gradio else "explorer.state.shown")
        box = page.locator("input[type=range]" if gradio else "canvas").first.bounding_box()
        updates.append(moved(page, box, options.seconds, pressed=gradio))
        if not gradio:
            decodes.append(page.evaluate(DECODES, options.decodes))
        page.close()
    far = sum(not url.startswith(("data:", "blob:", "file:", "http://127.0.0.1")) for url in asked[0])
    return {
        "ready": spread(ready, 0),
        "updates": spread(updates, 0),
        "decode": spread(decodes, 2) if decodes else "",
        "requests": f"{sum(not url.startswith(('data:', 'blob:')) for url in asked[0])}, {far}",
    }


def moved(page: Any, box: dict[str, float], seconds: float, *, pressed: bool) -> float:
    """Updates a second while the pointer goes to and fro within a box."""
    x, y, width, height = (box[name] for name in ("x", "y", "width", "height"))
    page.mouse.move(x + width / 2, y + height / 2)
    if pressed:
        page.mouse.down()
    page.evaluate("() => { window.updates = 0; }")
    began, i = time.perf_counter(), 0
    while (now := time.perf_counter() - began) < seconds:
        share = 0.5 + 0.4 * ((now * 0.7) % 2 - 1)
        page.mouse.move(x + width * share, y + height * (0.5 + 0.2 * share))
        i += 1
        time.sleep(max(0.0, i / 60 - (time.perf_counter() - began)))
    took = time.perf_counter() - began
    found = page.evaluate("() => window.updates") / took
    if pressed:
        page.mouse.up()
    return found


def spread(values: list[float], digits: int) -> str:
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


if __name__ == "__main__":
    parser = arguments(__doc__, threads=1)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--decodes", type=int, default=300)
    parser.add_argument("--gradio-python")
    parser.add_argument("--pages", nargs="+", choices=list(PAGES), default=list(PAGES))
    run(parser, {"page": page}, epochs=1, rounds=1, seconds=0.3, decodes=3, pages=["digits, MLP"])
