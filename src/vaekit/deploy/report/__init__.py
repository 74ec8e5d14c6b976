"""The report of a run: one HTML file that opens anywhere, without a network and without scripts.

The kind of data says what is on it, in a `vaekit.show.report.Report`. Here that is put on a page, with what every report has: how
training went, the commands to go on with, and the settings.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import jinja2

from vaekit import __version__
from vaekit.deploy.report.training import curves, units
from vaekit.errors import UserError
from vaekit.files import write_text
from vaekit.fitted import Fitted, config
from vaekit.recipes.evaluate import REPORT_ROWS, REPORT_SAMPLES, evaluate
from vaekit.recipes.source import own_source
from vaekit.runs import directory as runs
from vaekit.show.report import Report
from vaekit.show.words import duration, nats, number

log = logging.getLogger(__name__)


def report_run(folder: Path, estimator: Any) -> Path:
    """Write report.html of a run, from rows of its own source."""
    log.info("writing the report")
    data, wanted = estimator.read(own_source(estimator)), report_of(estimator)
    results = runs.read_evaluation(folder, estimator.fitted_)
    if results is None:
        rows = estimator.held_out(data, REPORT_ROWS)
        results = evaluate(folder, estimator, rows, min(REPORT_SAMPLES, estimator.iw_samples))
    train = estimator.learned_from(data, wanted.learned) if wanted.learned else None
    return write_report(folder, estimator, estimator.held_out(data, wanted.most), results, train)


def write_report(
    folder: Path, estimator: Any, held_out: Any, results: Mapping[str, Any], train: Any = None, **options: Any
) -> Path:
    """Write `folder`/report.html.

    Args:
        folder: the run directory.
        estimator: trained.
        held_out: rows to show, best those that training did not see, as the kind's sources are read: a `Dataset`, a
            `TimeSeries` or `Demonstrations`. Conditions that the model does not know still colour its latent map.
        results: of `estimator.evaluate`.
        train: rows that it learned from, for the kinds that ask for them: a table's report compares new rows with them, a report of
            texts looks for copies of them, and a report of series shows them.
        options: of the kind's report, such as `target` of a table's.

    Raises UserError if the report needs `train` and has none.
    """
    folder = Path(folder)
    if train is None and report_of(estimator).learned:
        raise UserError(f"a report of {estimator.kind_.noun} also shows what was learned from: give train")
    shown = report_of(estimator)(estimator, held_out, results, from_here(folder), train, **options)
    own = Path(inspect.getfile(type(shown))).parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([own, Path(__file__).parent]), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"nats": nats, "number": number}
    contents = shown.contents()
    page = environment.get_template(shown.template).render(
        name=folder.resolve().name,
        date=datetime.now().strftime("%d %B %Y").lstrip("0"),
        version=__version__,
        source=runs.source_of(estimator.data_),
        about={**shown.about(), **effort(estimator.fitted_)},
        curves=curves(estimator.history_, keep=estimator.training().keep),
        units=units(shown),
        commands=[*explored(shown), *shown.commands()],
        settings=settings(estimator.fitted_),
        **{"results": results, **contents},
    )
    write_text(folder / runs.REPORT, page)
    if found := shown.privacy(contents):
        runs.save_evaluation(folder, found, estimator.fitted_, runs.PRIVACY)
    return folder / runs.REPORT


def explored(report: Report) -> list[tuple[str, str]]:
    """The command that opens the explorer, which has the map as this page has it and decodes it, too."""
    latent = report.estimator.model_.latent_dim
    return [("Move through the latent codes in a browser", f"vaekit explore {report.run}")] if latent else []


def report_of(estimator: Any) -> type[Report]:
    """The class of the report of this kind of data."""
    return resolve_name(estimator.kind_.report)


def from_here(folder: Path) -> str:
    """The run as a command names it."""
    here = Path.cwd()
    path = folder.resolve().relative_to(here) if folder.resolve().is_relative_to(here) else Path(folder.name)
    return path.as_posix()


def effort(fitted: Fitted) -> dict[str, Any]:
    """The size of the model, and the time that it was trained."""
    last = fitted.history[-1] if fitted.history else None
    return {
        "epochs": int(last["epoch"]) if last else None,
        "seconds": duration(last["seconds"]) if last else None,
        "parameters": f"{sum(p.numel() for p in fitted.model.parameters()):,}",
    }


def settings(fitted: Fitted) -> list[tuple[str, str]]:
    """Every setting that has a value, and the likelihood that "auto" chose."""
    values = config(fitted)
    likelihood = {f"likelihood ({name})": value for name, value in values["likelihood"].items()}
    return [(name, str(value)) for name, value in {**values["settings"], **likelihood}.items() if value is not None]
