"""Draws report.png, the upper part of the report of digits: python docs/images/report.py"""

import tempfile
from pathlib import Path

from shots import HERE, opened, vaekit

with tempfile.TemporaryDirectory() as folder:
    run = Path(folder) / "digits"
    vaekit("fit", "digits", "--condition", "label", "--size", "small", "--out", run, cwd=Path(folder))
    with opened(run / "report.html", 1200, 1400) as page:
        page.screenshot(path=HERE / "report.png")
