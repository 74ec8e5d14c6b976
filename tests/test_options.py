"""Each setting is declared once: it is an option of `vaekit fit`, with help, and stands in the reference."""

import json
import re
import sys
from dataclasses import fields
from pathlib import Path
from typing import Annotated

import pytest
import typer
import yaml

import vaekit as vk
from conftest import fails, vaekit
from vaekit.cli.common import app
from vaekit.cli.fit import OPTIONS
from vaekit.kinds import kinds
from vaekit.recipes.options import estimators, offered, shown
from vaekit.recipes.recipe import READ_BY, Recipe
from vaekit.settings.limits import Many, hints_of
from vaekit.settings.options import Option, options_in
from vaekit.settings.parts import options_of
from vaekit.training import Training

REFERENCE = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"
NOT_OPTIONS = {
    "source": "an argument",
    "settings": "the other options",
    "trainer": "its fields are options",
    "seed": "--seed sets random_state, which is the same",
    "warm_start": "--init",
    "observations": "--condition",
    "encoder": "code of the user's",
    "decoder": "code of the user's",
    "keep": "the estimator knows which weights it needs",
    "like_lengths": "the kind of data decides",
    "least_epochs": "the kind of data decides",
}


@pytest.fixture(scope="module")
def params():
    """The options that the command line has, by their first flag."""
    command = typer.main.get_command(app).commands["fit"]
    return {param.opts[0]: param for param in command.get_params(typer.Context(command))}


@pytest.mark.parametrize("declares", [Recipe, Training, *estimators()], ids=lambda each: each.__name__)
def test_every_setting_is_an_option_or_has_a_reason_not_to_be(declares):
    assert [f.name for f in fields(declares) if f.name not in offered() and f.name not in NOT_OPTIONS] == []


def test_what_a_user_may_say_about_data_of_a_kind_is_an_option():
    assert {name for kind in kinds().values() for name in options_of(kind.infer)} <= offered().keys()


def test_an_option_leaves_the_range_of_its_values():
    def function(n: Annotated[Many, Option("A number.")], word: Annotated[str | None, Option("A word.")] = None): ...

    assert hints_of(function) == {"n": Many, "word": str | None}
    assert [(name, option.help) for name, option, _ in options_in(function)] == [
        ("n", "A number."),
        ("word", "A word."),
    ]


def test_a_kind_asks_of_a_source_what_a_recipe_can_say():
    asked = {name for kind in kinds().values() for name in options_of(kind.read)}
    assert asked <= {f.name for each in (Recipe, Training) for f in fields(each)}
    assert set(READ_BY) <= asked  # and no kind leaves an option without use


def test_no_reason_is_left_over():
    assert NOT_OPTIONS.keys() <= {f.name for each in (Recipe, Training, *estimators()) for f in fields(each)}
    assert not NOT_OPTIONS.keys() & offered().keys()


@pytest.mark.parametrize("name", offered())
def test_an_option_is_shown_with_its_help(params, name):
    option = offered()[name]
    param = params[option.flags[0].split("/")[0]]
    assert param.help == option.help
    assert len(option.option.help) > 10
    assert option.help.endswith(".")


def test_the_command_line_reads_the_options_as_they_are_declared():
    assert json.loads(OPTIONS.read_text(encoding="utf-8")) == shown(), "run `make options`"


def test_a_kind_of_a_package_adds_its_options(tmp_path, monkeypatch):
    (tmp_path / "sky.py").write_text(
        "from typing import Annotated\nfrom vaekit.kinds.rows import Rows\nfrom vaekit.settings.options import DATA, Option\n"
        "class Clouds(Rows):\n    name = 'clouds'\n    @classmethod\n"
        "    def infer(cls, rows, *, height: Annotated[int, Option('Clouds: how high they are.', DATA)] = 1): ...\n"
    )
    about = tmp_path / "sky-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: sky\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text("[vaekit.kinds]\nclouds = sky:Clouds\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    kinds.cache_clear()
    offered.cache_clear()
    try:
        help = vaekit("fit", "--help", check=0).stdout
    finally:
        kinds.cache_clear()
        offered.cache_clear()
    assert re.search(r"--height +INT +Clouds: how high they are\.", help)
    assert "--tokenizer" in help


def tables() -> str:
    """The options as the reference has them, a table for each panel."""
    panels = {}
    for each in offered().values():
        row = f"| {', '.join(f'`{flag}`' for flag in each.flags)} | {each.help} |"
        panels.setdefault(each.option.panel, []).append(row)
    return "\n\n".join(f"| {panel} | |\n|---|---|\n" + "\n".join(rows) for panel, rows in panels.items())


def test_the_reference_lists_every_option():
    assert tables() in REFERENCE.read_text(), f"write these tables into {REFERENCE.name}:\n{tables()}"


def test_help_names_the_choices_and_the_defaults_of_each_kind():
    assert offered()["prior"].help.endswith(
        "One of standard (default), conditional, mixture, vamp, flow. Default: mixture for demonstrations."
    )
    assert vk.Policy().prior == "mixture"
    texts = vk.VAE(1, epochs=1, size="small", kind={"tokenizer": "word"}).fit(["a b", "b c", "c a", "a c"])
    assert texts.training().batch_size == 64
    assert "64 for texts" in offered()["batch_size"].help


def test_options_set_what_declares_them(tmp_path):
    (tmp_path / "s.yaml").write_text("a: real\n")
    given = "--seed 3 --no-calibrate --nodes 2 --track tensorboard --track mlflow --checkpoint-seconds 5 --prior mixture --prior.components 9"
    given += " --tokenizer word --constraint a<=b --constraint b<=c --label-column k --resize 8x6 --schema"
    found = yaml.safe_load(vaekit("fit", "x.csv", *given.split(), tmp_path / "s.yaml", "--print-config").stdout)
    assert (found["random_state"], found["calibrate"], found["label_column"]) == (3, False, "k")
    assert found["trainer"] == {"nodes": 2, "track": ["tensorboard", "mlflow"], "checkpoint_seconds": 5.0}
    assert found["prior"] == {"name": "mixture", "components": 9}
    said = {"tokenizer": "word", "constraints": ["a<=b", "b<=c"], "schema": {"a": "real"}}
    assert found["kind"] == {"name": "auto", **said}
    assert tuple(found["resize"]) == (8, 6)
    given = "--kind actions --trim --fps 20 --map state=x --map actions=y --print-config"
    found = yaml.safe_load(vaekit("fit", "x", *given.split()).stdout)
    assert (found["trim"], found["fps"], found["map"]) == (True, 20.0, {"state": "x", "actions": "y"})


def test_an_option_of_another_estimator_is_refused():
    assert "'window' is a setting of SeriesVAE, not of VAE: leave it out" in fails("fit", "digits", "--window", 8)
    for given in (["--structure", "ladder"], ["--structure.depth", 2]):
        assert "'structure'" in fails("fit", "digits", "--kind", "actions", *given)
    assert "not of VAE: leave it out" in fails("fit", "digits", "--no-calibrate")
