"""The report of a policy, as a file and in a real browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import vaekit
from conftest import SCRIPT, check_page
from vaekit.deploy.report import report_run, write_report
from vaekit.recipes.recipe import Recipe
from vaekit.robots.datasets import write_demonstrations
from vaekit.robots.demonstrations import Demonstrations
from vaekit.robots.environments import demonstrate

TINY: dict[str, Any] = {"latent_dim": 2, "size": {"width": 16, "heads": 2, "hidden": 32}, "epochs": 1}
SECTIONS = {"training", "episodes", "latent", "units", "next", "settings"}


def demonstrations(numbers: int = 2, cameras: bool = False) -> Demonstrations:
    rng = np.random.default_rng(0)
    observations = {"state": rng.normal(size=(90, 3)), "environment_state": rng.normal(size=(90, 4))}
    if cameras:
        observations["images.top"] = rng.integers(0, 256, (90, 40, 48, 3), dtype=np.uint8)
    names = [f"{SCRIPT} {i}" for i in range(numbers)]
    ends = np.array([20, 50, 90])
    return Demonstrations(rng.normal(size=(90, numbers)), observations, ends, fps=10.0, action_names=names)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """What `vaekit fit two-routes --kind actions` writes, report and all."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("work"))
        write_demonstrations(demonstrate("two-routes", 12), "two-routes")
        folder, policy = Recipe("two-routes", settings={**TINY, "kind": "actions"}).train(None, say=lambda line: None)
        yield report_run(folder, policy).parent.resolve()


def test_a_run_in_a_browser(run: Path, page: Any) -> None:
    # A mixture's KL has no units.
    check_page(page, run / "report.html", SECTIONS - {"units"})
    said = page.inner_text("main")
    for text in (
        "12 episodes",
        "state (2)",
        "vx",
        "vy",
        "Effective beta",
        "Action spread",
        "rollout runs/two-routes --env two-routes",
    ):
        assert text in said


def test_it_is_written_again_from_the_run(run: Path) -> None:
    (run / "evaluation.json").unlink()
    (run / "report.html").unlink()
    report_run(run, vaekit.load(run))
    assert 'id="latent"' in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("settings", "missing"),
    [
        ({"prior": "standard", "objective": "act", "z": "mean"}, set()),
        ({"latent_dim": 0, "chunk_size": 1, "validation": 0}, {"latent", "units"}),
    ],
)
def test_other_policies(settings: dict[str, Any], missing: set[str], tmp_path: Path) -> None:
    """A camera, 14 numbers of hostile names, episodes of which one is as short as a chunk."""
    data = demonstrations(14, cameras=not missing)
    policy = vaekit.Policy(**{**TINY, **settings}).fit(data)
    text = write_report(tmp_path, policy, data, policy.evaluate(data[:1], k=2)).read_text(encoding="utf-8")
    assert set(re.findall(r'<section id="([a-z-]+)"', text)) == SECTIONS - missing
    assert SCRIPT not in text
    assert "The first 12 of 14 numbers of an action." in text
    assert ("<figcaption>images.top" in text) == (not missing)
    assert not re.search(r"(src|href)=\"(?!data:|#)", text)
    assert len(text) < 3e6


def test_an_episode_of_one_frame(tmp_path: Path) -> None:
    data = demonstrations()
    policy = vaekit.Policy(**TINY).fit(data)
    one = Demonstrations(data.actions[:1], {name: v[:1] for name, v in data.observations.items()}, np.array([1]))
    assert 'id="latent"' in write_report(tmp_path, policy, one, policy.evaluate(one, k=2)).read_text(encoding="utf-8")
