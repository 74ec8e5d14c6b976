"""Draws evolution-archive.png, the heat map of the tutorial of evolution: python docs/images/evolution-archive.py"""

import shutil
import tempfile
from pathlib import Path

from shots import HERE, vaekit

FUNCTIONS = """
import numpy as np

def smooth(rows):
    return -np.abs(np.diff(rows.astype(float), axis=2)).mean((1, 2))

def looks(rows):
    ink = rows.astype(float)
    columns = np.arange(8) - 3.5
    upper, lower = ((half @ columns).sum(1) / (half.sum((1, 2)) + 1e-9) for half in (ink[:, :4], ink[:, 4:]))
    return np.column_stack([ink.mean((1, 2)), upper - lower])
"""

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    (folder / "f.py").write_text(FUNCTIONS)
    vaekit("fit", "digits", "--epochs", 100, "--size", "small", "--out", "run", cwd=folder)
    grid = ("--cells", "20x20", "--range", "2..8,-3..3", "--budget", 5000, "--trust", 0.05)
    vaekit("evolve", "run", "--objective", "f.py:smooth", "--measures", "f.py:looks", *grid, "-o", "found", cwd=folder)
    shutil.copy(folder / "found" / "archive.png", HERE / "evolution-archive.png")
