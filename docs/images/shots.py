"""What the scripts beside this file share: runs of vaekit, and pictures of pages. It needs `pip install playwright` and Chromium."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent


def vaekit(*arguments: object, cwd: Path) -> None:
    """Run a command in a folder; relative places in PYTHONPATH stay what they are."""
    path = os.pathsep.join(
        str(Path(part).resolve()) for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part
    )
    command = [sys.executable, "-m", "vaekit", *map(str, arguments)]
    subprocess.run(command, cwd=cwd, env={**os.environ, "PYTHONPATH": path}, check=True)


@contextmanager
def opened(page: Path, width: int, height: int, scale: float = 1) -> Iterator[Any]:
    """A page of a browser, which shows a file."""
    from playwright.sync_api import sync_playwright

    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    with sync_playwright() as p:
        chromium = p.chromium.launch(executable_path=browser, args=["--no-sandbox", "--disable-gpu"])
        shown = chromium.new_page(viewport={"width": width, "height": height}, device_scale_factor=scale)
        shown.goto(page.resolve().as_uri())
        yield shown
        chromium.close()


def shrink(path: Path) -> None:
    """Write a picture again with 32 levels for each colour, which nobody sees, and which takes half of the bytes."""
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        levels = np.rint(np.asarray(image.convert("RGB")) * (31 / 255))
    Image.fromarray(np.rint(levels * (255 / 31)).astype(np.uint8)).save(path, optimize=True)
