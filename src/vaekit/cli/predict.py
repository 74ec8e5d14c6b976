"""`vaekit predict`."""

from __future__ import annotations

from vaekit.cli.common import Out, Run, Source, app, say
from vaekit.errors import UserError


@app.command()
def predict(run: Run, source: Source, output: Out = None) -> None:
    """Predict the label of each row of SOURCE with its probability, or a number with its standard deviation: .csv or .parquet. RUN comes from `vaekit fit --label-column`."""
    from sklearn.base import is_classifier

    from vaekit.cli.generate import opened
    from vaekit.estimators.semi_supervised import SemiSupervised
    from vaekit.show.write import write_table

    estimator, path = opened(run, output, "labels", ".csv", ".parquet", sources=[source])
    if not isinstance(estimator, SemiSupervised):
        raise UserError(
            f"{run} does not predict a label: train a run that does with `vaekit fit SOURCE --label-column NAME`"
        )
    data = estimator.read(source)
    name = estimator.target_
    if is_classifier(estimator):
        probability = estimator.predict_proba(data.x)
        columns = {name: estimator.classes_[probability.argmax(1)]}
        columns |= {f"p({c})": probability[:, i] for i, c in enumerate(estimator.classes_)}
    else:
        found = [v.reshape(len(data), -1) for v in estimator.predict(data.x, return_std=True)]
        width = found[0].shape[1]
        names = [name if width == 1 else f"{name}{i}" for i in range(width)]
        columns = {f"{n}{end}": v[:, i] for v, end in zip(found, ("", " sd"), strict=True) for i, n in enumerate(names)}
    write_table(path, {**{key: values for key, values in data.names.items() if key not in columns}, **columns})
    said = ""
    if name in data.conditions and is_classifier(estimator):
        from vaekit.uses.labels import known, share

        there = known(data.conditions[name], True).nonzero()[0]
        if len(there):
            said = f"; {share(estimator, data.x[there], data.conditions[name][there]):.2%} of the {len(there)} labels in SOURCE are predicted right"
    say(f"{len(data)} predictions in {path}{said}")
