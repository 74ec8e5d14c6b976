"""Verbs that measure and describe a run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli.common import COUNT, PLACE, SEED, Device, Run, Source, app, results_folder, say
from vaekit.errors import note, printable


@app.command()
def evaluate(
    run: Run,
    source: Annotated[str | None, typer.Argument(metavar="[SOURCE]", help="Default: the rows that the run held out.", show_default=False)] = None,
    k: Annotated[int | None, typer.Option(help="Importance samples for the NLL. Default: 500, or 20 for a policy.", show_default=False, **COUNT)] = None,
    features: Annotated[Path | None, typer.Option(help="A file that `vaekit features` wrote. Adds Frechet and kernel distance, precision and recall of samples, each with its floor.", show_default=False)] = None,
    factors: Annotated[list[str] | None, typer.Option(help="A label, column or array of known factors; repeat it for several. Adds disentanglement scores (MIG, DCI, FactorVAE, SAP).", show_default=False)] = None,
    comparison: Annotated[bool, typer.Option("--comparison/--no-comparison", help="Compare a model of texts with a language model of the same size, and a run with --label-column with a classifier trained on the labels alone. The first time, this trains the other model.")] = True,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:  # fmt: skip
    """Measure a run: ELBO, KL and its parts, importance-weighted NLL, active units, and a verdict in words; on request, distances of samples."""
    import json

    from vaekit.recipes.comparison import comparison as compared
    from vaekit.recipes.evaluate import evaluate
    from vaekit.recipes.source import held_out
    from vaekit.runs.load import load

    estimator = load(run, device=device)
    also = factors or []
    if source is None:
        name_source(estimator)
    data = estimator.read(source, also=also) if source else held_out(estimator, also=also)
    beside = compared(run, estimator, say) if comparison else None
    results = evaluate(run, estimator, data, k or estimator.iw_samples, features=features, factors=also, beside=beside)
    print(json.dumps(results, indent=2) if as_json else summary(results))


@app.command()
def features(
    source: Source,
    label: Annotated[list[str], typer.Option("--label", "-l", help="A label or column to learn to recognise; repeat it for several.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write: .safetensors.", show_default=False, **PLACE)],
    resize: Annotated[str | None, typer.Option(help="Resize all pictures to WIDTHxHEIGHT.", show_default=False)] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data. Default: as many as 1000 steps take.", show_default=False, **COUNT)] = None,
    seed: Annotated[int, typer.Option(help="Seed for everything random.", **SEED)] = 0,
) -> None:  # fmt: skip
    """Train a feature network on labelled pictures, for `vaekit evaluate --features`."""
    from vaekit.recipes.measures import features_of_source
    from vaekit.settings.parse import parse_size

    size = parse_size(resize) if resize else None
    network = features_of_source(source, label, output, resize=size, seed=seed, epochs=epochs)
    known = ", ".join(f"{name} {share:.1%}" for name, share in network.accuracy.items() if share is not None)
    say(f"right on held-out pictures: {known or 'no pictures were held out'}; features {network.hash} in {output}")


@app.command()
def report(run: Run, device: Device = "auto") -> None:
    """Write report.html again, from the run and its source."""
    import shutil

    from vaekit.deploy.report import report_run
    from vaekit.runs.load import load

    estimator = load(run, device=device)
    name_source(estimator)
    page = report_run(run, estimator)
    if (there := results_folder(run)) != run:
        page = Path(shutil.copy(page, there))
    say(f"look at {page}")


def name_source(estimator: Any) -> None:
    """Say which source is read if the user names none: that of the run, and the run may come from a stranger."""
    from vaekit.runs.directory import source_of

    if source := source_of(estimator.data_):
        note(f"this reads {source}, the source that the run names")


@app.command()
def info(run: Run) -> None:
    """Describe a run: data, model, training, files."""
    from vaekit.runs.describe import describe_run

    print(printable(describe_run(run)))


def summary(results: dict[str, Any]) -> str:
    from vaekit.kinds.table.gaps import gap_lines
    from vaekit.kinds.text.rates import text_lines
    from vaekit.recipes.measures import distance_lines, factor_lines, latent_lines
    from vaekit.robots.health import policy_lines
    from vaekit.uses.labels import label_lines

    lines = [
        f"rows            {results['rows']}",
        f"ELBO            {results['elbo']:.2f} nats",
        f"reconstruction  {results['reconstruction']:.2f} nats",
        f"KL              {results['kl']:.2f} nats",
        f"IW-NLL (k={results['k']})  {results['iw_nll']:.2f} ± {results['iw_nll_standard_error']:.2f} nats",
        *text_lines(results),
        f"active units    {results['active_units']} of {results['latent_units']}",
        *(
            ["KL per unit     " + " ".join(f"{v:.2f}" for v in largest)]
            if (largest := sorted(results["kl_per_unit"], reverse=True)[:64])
            else []
        ),
        *latent_lines(results),
        *gap_lines(results),
        *label_lines(results),
        *policy_lines(results),
        *(distance_lines(results["distances"]) if "distances" in results else []),
        *(factor_lines(results["disentanglement"]) if "disentanglement" in results else []),
        "",
        results["verdict"],
    ]
    return "\n".join(lines)
