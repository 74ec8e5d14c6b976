"""`vaekit predict`."""

from __future__ import annotations

from typing import Any

from vaekit.cli.common import Device, Run, Source, app, say
from vaekit.cli.many import Address, Engine, PartsOut, Workers, on_many
from vaekit.errors import UserError


@app.command()
def predict(
    run: Run,
    source: Source,
    device: Device = "auto",
    workers: Workers = None,
    engine: Engine = None,
    address: Address = None,
    output: PartsOut = None,
) -> None:
    """Predict the label of each row of SOURCE with its probability, or a number with its standard deviation: .csv or .parquet. RUN comes from `vaekit fit --label-column`."""
    if on_many(run, "predict", source, output, device, workers, engine=engine, address=address):
        return
    from vaekit.cli.generate import opened
    from vaekit.estimators.semi_supervised import SemiSupervised
    from vaekit.show.write import write_table

    estimator, path = opened(run, output, device, "labels", ".csv", ".parquet", sources=[source])
    if not isinstance(estimator, SemiSupervised):
        raise UserError(
            f"{run} does not predict a label: train a run that does with `vaekit fit SOURCE --label-column NAME`"
        )
    data = estimator.read(source)
    columns = estimator.predicted(data.x)
    write_table(path, {**{key: values for key, values in data.names.items() if key not in columns}, **columns})
    say(f"{len(data)} predictions in {path}{right(estimator, data)}")


def right(estimator: Any, data: Any) -> str:
    """Say how many of the known labels in a source are predicted right; an empty text if it holds no labels."""
    from vaekit.uses.labels import are_known, score_predictions

    truth = data.conditions.get(estimator.target_)
    if truth is None or estimator.target_kind != "label" or not (some := are_known(truth, True)).any():
        return ""
    rows = some.nonzero()[0]
    return f"; {score_predictions(estimator, data.x[rows], truth[rows]):.2%} of the {len(rows)} labels in SOURCE are predicted right"
