"""Draws robots-report.png, what z does in the report of a policy: python docs/images/robots-report.py"""

import tempfile
from pathlib import Path

from shots import HERE, opened, vaekit

with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    vaekit("demonstrate", "two-routes", "--episodes", 200, "-o", "two-routes", cwd=folder)
    settings = ("--kind", "actions", "--size", "small", "--latent-dim", 4, "--epochs", 25)
    vaekit("fit", "two-routes", *settings, "--out", "run", cwd=folder)
    with opened(folder / "run" / "report.html", 1080, 700) as page:
        section = page.locator("section").filter(has=page.locator("h2", has_text="What z does"))
        box = section.bounding_box()
        clip = {"x": box["x"] - 32, "y": box["y"] + 8, "width": box["width"] + 64, "height": box["height"] - 16}
        page.screenshot(path=HERE / "robots-report.png", full_page=True, clip=clip)
