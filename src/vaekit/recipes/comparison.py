"""What the model of a run is compared with: another model, which is trained the first time and kept in the run directory."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import clone

from vaekit.errors import UserError
from vaekit.files import read_tensors, write_tensors
from vaekit.fitted import model_hash
from vaekit.recipes.evaluate import evaluate
from vaekit.recipes.recipe import READ_BY, Recipe
from vaekit.recipes.source import held_out, own_source
from vaekit.runs import directory as runs
from vaekit.runs.load import load
from vaekit.show.track import track
from vaekit.training.checkpoint import put_weights
from vaekit.training.progress import ProgressBar
from vaekit.uses import labels


def comparison(folder: Path, estimator: Any, say: Any = print) -> Any:
    """The model that this one is compared with. None where there is no such model."""
    return COMPARISONS[estimator.comparison](folder, estimator, say) if estimator.comparison else None


def labels_alone(folder: Path, estimator: Any, say: Any = print) -> Any:
    """The estimator with a classifier that learned from the run's labels alone, in as many steps. None if the run does not know its
    source."""
    if not estimator.data_.get("label_column"):
        return None
    path, about = folder / runs.LABELS_ALONE, {"of": model_hash(estimator.fitted_)}
    if path.exists():
        tensors, found = read_tensors(path, "classifier")
        if found.get("of") == about["of"]:  # and the run has not been continued
            other = labels.untrained(estimator)
            put_weights(other.model_.classifier, tensors)
            return other
    recipe = Recipe.read(folder / runs.CONFIG)
    data = recipe.read_source()
    recipe.hide_labels(data, estimator)
    (values,) = data.conditions.values()
    some = data[np.flatnonzero(labels.are_known(values, estimator.target_kind == "label"))]
    say("comparing with a classifier trained on the labels alone")
    other = labels.alone(estimator, estimator.packed(some.x, some.conditions), partial(track, what="compare"))
    write_tensors(path, other.model_.classifier.state_dict(), "classifier", about)
    return other


def language_model(folder: Path, estimator: Any, say: Any = print) -> Any:
    """A model of texts like this one but without z, trained on the same data, in its own run directory within `folder`: beside it, a latent
    that does not help shows. Its training is continued if it was interrupted. None if the run does not know its source."""
    if not estimator.data_.get("source"):
        return None
    path = folder / runs.LANGUAGE_MODEL
    if (path / runs.EVALUATION).exists():  # which is written last
        known = load(path, device=estimator.device)
        if known.data_["fingerprint"] != estimator.data_["fingerprint"]:
            raise UserError(f"{path} was trained on other data than {folder}: delete it, and vaekit trains a new one")
        return known
    say(f"training a language model of the same size, for comparison -> {path}")
    trainer = estimator.trainer
    if estimator.tracks:  # it is a part of the run that is tracked
        trainer = {**trainer, "track": []}
    model = clone(estimator).set_params(latent_dim=0, random_state=estimator.seed_, trainer=trainer)
    with ProgressBar() as bar:
        model.fit_data(
            estimator.read(own_source(estimator)), folder=path, resume=(path / runs.CONFIG).exists(),
            condition_kinds={name: c["kind"] for name, c in estimator.conditions_.to_config().items()},
            origin={name: estimator.data_.get(name) for name in ("source", "folder", *READ_BY)}, watchers=[bar],
        )  # fmt: skip
    if model.interrupted_:
        raise UserError(f"stopped; `vaekit evaluate {folder}` continues it, and --no-comparison leaves it out")
    evaluate(path, model, held_out(model), 1)
    return model


COMPARISONS = {"labels_alone": labels_alone, "language_model": language_model}
"""By name, as `Learner.comparison` says it."""
