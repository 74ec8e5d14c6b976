"""`vaekit fit`."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from functools import cached_property, wraps
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from vaekit.cli.common import PLACE, SOURCE_HELP, app, given, option, say
from vaekit.errors import UserError, note
from vaekit.settings.options import DATA, LABELS, MODEL

OPTIONS = Path(__file__).with_name("options.json")
CONFIG_HELP = "Read settings from a YAML file, such as a run's config.yaml; options on the command line win."
PRESET_HELP = (
    "A named set of settings: act (ACT as published, for --kind actions) or m2 (M2 as published, for --label-column)."
)
SET_HELP = "An option of a part; --PART.KEY VALUE is the same: --objective.beta 4, --objective.warmup 0.3, --prior.components 100, --likelihood.scale 1."
TYPES: dict[str, tuple[Any, str | None]] = {  # and what stands for such a value in the help
    "int": (int, "INT"), "float": (float, "FLOAT"), "bool": (bool, None),
    "str": (str, "TEXT"), "list": (list[str], "TEXT"), "Path": (Path, "TEXT"),
}  # fmt: skip


def fit(
    source: Annotated[list[str] | None, typer.Argument(metavar="SOURCE", help=SOURCE_HELP + " Several datasets of demonstrations are joined.", show_default=False)] = None,
    out: Annotated[Path | None, option("The run directory to write. Default: runs/NAME.", panel=DATA, **PLACE)] = None,
    config: Annotated[Path | None, option(CONFIG_HELP, panel=DATA)] = None,
    print_config: Annotated[bool, option("Print the settings as YAML and stop.", "--print-config", panel=DATA)] = False,
    comparison: Annotated[bool, option("Compare with a classifier that is trained on the labelled rows alone, for as many steps.", "--comparison/--no-comparison", panel=LABELS)] = True,
    report: Annotated[bool, option("Write report.html at the end.", "--report/--no-report", panel=DATA)] = True,
    preset: Annotated[str | None, option(PRESET_HELP, panel=MODEL, metavar="TEXT")] = None,
    set_: Annotated[list[str] | None, option(SET_HELP, "--set", panel=MODEL, metavar="TEXT")] = None,
    resume: Annotated[bool, option("Continue the run in --out; the result is the same to the bit.", "--resume")] = False,
    **settings: Any,
) -> None:  # fmt: skip
    """Train a VAE on SOURCE and write a run directory with a report. With --condition it is a conditional VAE; with --label-column it also learns to predict that label."""
    recipe, _ = filled(first_recipe(source, out, resume, config, settings["init"]), source, preset, set_, settings)
    if print_config:
        recipe.check()
        print(recipe.to_yaml(), end="")
        return
    folder, estimator = recipe.train(out, resume=resume, say=say)
    if not estimator.first_process_:
        return
    if estimator.interrupted_:
        say(f"stopped; continue with: vaekit fit --resume --out {folder}")
        raise typer.Exit(130)
    try:
        judge(folder, estimator, comparison, report)
    except KeyboardInterrupt:
        say(f"stopped; {folder} is trained; `vaekit evaluate {folder}` and `vaekit report {folder}` do the rest")
        raise typer.Exit(130) from None


def first_recipe(source: Any, out: Path | None, resume: bool, config: Path | None, init: str | None) -> Any:
    """The recipe before the options of the command line: that of a file, of a run to continue, or an empty one."""
    from vaekit.recipes.recipe import Recipe
    from vaekit.runs.directory import CONFIG

    if resume and out is None:
        raise UserError("--resume needs --out RUN, the run to continue")
    if resume and out and config is None:
        if (out / CONFIG).exists():
            config = out / CONFIG
        elif not source:
            raise UserError(
                f"{out} holds no run yet, so there is nothing to resume: start it with vaekit fit SOURCE --out {out}"
            )
    if config:
        return Recipe.read(config)
    return Recipe.going_on(init) if init else Recipe()


def filled(
    recipe: Any, source: Any, preset: str | None, set_: list[str] | None, settings: dict[str, Any]
) -> tuple[Any, set[str]]:
    """The recipe with what the command line says, and the names of the settings, parts and options of parts that it fixes."""
    from vaekit.recipes.options import offered
    from vaekit.recipes.recipe import preset as settings_of

    if source:
        recipe.source = source if len(source) > 1 else source[0]
    recipe.settings |= settings_of(preset) if preset else {}
    for name, value in given(settings).items():
        offered()[name].put(recipe, value)
    recipe.set_options(set_ or [])
    names = {text.partition("=")[0].replace("-", "_") for text in set_ or []}
    return recipe, {*given(settings), *names, *(name.partition(".")[0] for name in names)}


def judge(folder: Path, estimator: Any, comparison: bool, report: bool) -> None:
    """Evaluate a trained run, and write its report."""
    from vaekit.deploy.report import report_run
    from vaekit.recipes.comparison import labels_alone
    from vaekit.recipes.evaluate import REPORT_ROWS, REPORT_SAMPLES, evaluate
    from vaekit.recipes.source import held_out
    from vaekit.runs.directory import EVALUATION, REPORT, shared
    from vaekit.training.tracking import add
    from vaekit.uses.labels import label_lines

    rows = held_out(estimator, REPORT_ROWS)
    beside = labels_alone(folder, estimator, say) if comparison else None
    results = evaluate(folder, estimator, rows, min(REPORT_SAMPLES, estimator.iw_samples), beside=beside)
    say(f"ELBO {results['elbo']:.2f} nats, IW-NLL {results['iw_nll']:.2f} (k={results['k']}). {results['verdict']}")
    for line in label_lines(results):
        say(line)
    if estimator.comparison == "language_model":
        note(f"`vaekit evaluate {folder}` compares it with a language model of the same size: the same model without z")
    if report:
        try:
            say(f"look at {report_run(folder, estimator)}")
        except UserError as error:  # such as too few rows to compare; the run itself is whole
            note(f"the run is complete, but has no report: {error}")
    numbers = {name: results[name] for name in ("elbo", "reconstruction", "kl", "iw_nll", "active_units")}
    files = [path for path in shared(folder) if path.name in (EVALUATION, REPORT)]
    add(folder, estimator.tracks, numbers, results["verdict"], files)


def options() -> list[dict[str, Any]]:
    """The options that the settings declare. What declares them takes seconds to import, so `make options` writes them to a file.
    Only an installed package with kinds of data may add to them."""
    from importlib.metadata import entry_points

    if entry_points(group="vaekit.kinds"):
        from vaekit.recipes.options import shown

        return shown()
    return json.loads(OPTIONS.read_text(encoding="utf-8"))


def with_settings(function: Callable[..., None]) -> Callable[..., None]:
    """The function, which takes any settings, with those in its signature that `vaekit fit` offers."""
    own = [p for p in inspect.signature(function, eval_str=True).parameters.values() if p.kind is not p.VAR_KEYWORD]
    more = []
    for each in options():
        kind, metavar = TYPES[each["type"]]
        says = option(each["help"], *each["flags"], panel=each["panel"], metavar=metavar)
        more.append(
            inspect.Parameter(
                each["name"], inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, says]
            )
        )

    @wraps(function)
    def command(**values: Any) -> None:
        function(**values)

    command.__signature__ = signature = inspect.Signature([*own, *more])  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in signature.parameters.values()}
    return command


class WithSettings(TyperCommand):
    """A verb whose many options are put together when they are needed."""

    function: Callable[..., None]

    @cached_property
    def whole(self) -> Any:
        own = typer.Typer(rich_markup_mode="rich", add_completion=False)
        own.command(self.name)(with_settings(type(self).function))
        return typer.main.get_command(own)

    def get_params(self, ctx: Any) -> Any:
        return self.whole.get_params(ctx)

    def invoke(self, ctx: Any) -> Any:
        return self.whole.invoke(ctx)


def register(function: Callable[..., None]) -> None:
    """Make a function that takes any settings a verb that offers them all."""
    cls = type(function.__name__, (WithSettings,), {"function": staticmethod(function)})
    app.command(function.__name__, cls=cls, help=function.__doc__)(lambda: None)


register(fit)
