"""What a notebook shows of a trained model and of results: HTML without scripts, in the colours of the notebook, light or dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from vaekit.show.words import duration, nats, number

# (what it is called, its unit) by key of the results; a share is shown in percent.
NATS = {
    "elbo": "ELBO", "reconstruction": "reconstruction", "kl": "KL", "iw_nll": "IW-NLL", "mutual_information": "mutual information",
    "marginal_kl": "distance of all codes from the prior", "shuffle_gap": "loss with the z of another row",
}  # fmt: skip
UNITS = {
    "nats_per_word": ("NLL of a word", "nats"), "perplexity": ("perplexity of a word", ""), "bits_per_character": ("NLL of a character", "bits"),
    "accuracy": ("predicted right", "%"), "r2": ("R2", ""), "effective_beta": ("effective beta", ""),
    "action_spread": ("action spread", "standard deviations"),
}  # fmt: skip

STYLE = """<style>
.vaekit { --ink: currentColor; --muted: #80848c; --rule: rgb(128 128 128 / .35); --accent: #2f8fae; --second: #d08a3c;
  max-width: 46rem; font: 14px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; overflow-wrap: anywhere; }
.vaekit p { margin: 0 0 .5rem; }
.vaekit .said { border-left: 3px solid var(--accent); padding-left: .7rem; }
.vaekit .note { border-left: 3px solid var(--second); padding-left: .7rem; }
.vaekit .parts { display: flex; flex-wrap: wrap; gap: .5rem 2rem; align-items: flex-start; }
.vaekit table { border-collapse: collapse; margin: 0 0 .5rem; font: inherit; font-variant-numeric: tabular-nums; }
.vaekit th, .vaekit td { padding: .15rem 1rem .15rem 0; border: 0; border-bottom: 1px solid var(--rule); background: none; color: inherit;
  text-align: left; vertical-align: top; font-weight: 400; white-space: normal; }
.vaekit th { opacity: .75; overflow-wrap: normal; }
.vaekit td.value { text-align: right; white-space: nowrap; padding-right: .4rem; }
.vaekit figure { margin: 0; flex: 1 1 15rem; max-width: 20rem; }
.vaekit figcaption { opacity: .75; }
.vaekit svg { display: block; width: 100%; height: auto; overflow: visible; }
</style>"""


class Results(dict[str, Any]):
    """The results of `evaluate`: a dict that is shown as a table with units. It has no names of its own beside a dict's: Jinja would find
    them in place of the keys."""

    def __repr__(self) -> str:
        rows = measured(self)
        if not rows:
            return super().__repr__()
        width, right = (max(len(row[i]) for row in rows) for i in (0, 1))
        lines = [f"{title:{width}}  {value:>{right}} {unit}".rstrip() for title, value, unit in rows]
        more = [f"more in {', '.join(map(repr, left_out(self)))}"] if left_out(self) else []
        return "\n".join([*lines, *more, *([self["verdict"]] if "verdict" in self else [])])

    def _repr_html_(self) -> str:
        from markupsafe import Markup

        more = f"More in {', '.join(map(repr, left_out(self)))}." if left_out(self) else ""
        muted = Markup('<p style="opacity: .75">{}</p>').format(more) if more else Markup("")
        return whole([table(measured(self)), muted, said(self.get("verdict"))])


def measured(results: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Rows of a name, a value and its unit."""
    found = []
    for name, value in results.items():
        if name in NATS:
            found.append((NATS[name], nats(value) if value is not None else "–", "nats"))
        elif name in UNITS:
            title, unit = UNITS[name]
            shown = f"{100 * value:.2f}" if unit == "%" else number(math.nan if value is None else value)
            found.append((title, shown, unit))
    if results.keys() >= {"iw_nll", "iw_nll_standard_error", "k"}:
        at = next(i for i, row in enumerate(found) if row[0] == NATS["iw_nll"])
        error = nats(results["iw_nll_standard_error"])
        found[at] = (f"IW-NLL (k={results['k']})", found[at][1], f"± {error} nats")
    if results.keys() >= {"active_units", "latent_units"}:
        found.append(("active units", str(results["active_units"]), f"of {results['latent_units']}"))
    if "rows" in results:
        found.append(("measured on", f"{results['rows']:,}", "rows"))
    return found


def left_out(results: Mapping[str, Any]) -> list[str]:
    """Names of what the table leaves out."""
    shown = {*NATS, *UNITS, "rows", "k", "iw_nll_standard_error", "active_units", "latent_units", "verdict"}
    return [name for name in results if name not in shown]


def whole(parts: Iterable[Any]) -> str:
    from markupsafe import Markup

    return str(Markup('<div class="vaekit">') + Markup(STYLE) + Markup("").join(parts) + Markup("</div>"))


def table(rows: Sequence[tuple[str, str, str]]) -> Any:
    """Rows of a name, a value and a unit."""
    from markupsafe import Markup

    row = Markup('<tr><th scope="row">{}</th><td class="value">{}</td><td>{}</td></tr>')
    return Markup("<table><tbody>{}</tbody></table>").format(Markup("").join(row.format(*each) for each in rows))


def facts(rows: Iterable[tuple[str, Any]]) -> Any:
    """Rows of a name and words; what is empty is left out."""
    from markupsafe import Markup

    row = Markup('<tr><th scope="row">{}</th><td>{}</td></tr>')
    cells = Markup("").join(row.format(name, value) for name, value in rows if value not in (None, ""))
    return Markup("<table><tbody>{}</tbody></table>").format(cells)


def said(text: str | None, kind: str = "said") -> Any:
    from markupsafe import Markup

    return Markup('<p class="{}">{}</p>').format(kind, text) if text else Markup("")


def card(estimator: Any) -> str:
    """A summary of a fitted estimator: its kind, data, size, how well it learned, and notes about that."""
    from markupsafe import Markup

    from vaekit.show.curves import Curves
    from vaekit.show.drawing import svg
    from vaekit.show.report import in_words

    fitted = estimator.fitted_
    curves = Curves.of(fitted.history, estimator.training().keep)
    source = fitted.data.get("source")
    size = sum(p.numel() for p in fitted.model.parameters())
    trained = best = ""
    if curves:
        trained = f"{curves.epochs[-1]} epochs in {duration(fitted.history[-1]['seconds'])}"
        which = "last epoch" if curves.best is None else f"best epoch, {curves.epochs[curves.best]}"
        best = f"{nats(curves.end('elbo'))} nats, {'validation' if curves.valid else 'training'}, {which}"
    about = facts(
        [
            ("data", f"{fitted.data['rows']:,} {fitted.kind.in_words}"),
            ("from", " and ".join(source) if isinstance(source, list) else source),
            ("given", ", ".join(in_words(name, c) for name, c in fitted.conditions.named.items())),
            ("latent", f"{fitted.model.latent_dim} units"),
            ("size", f"{size:,} parameters, on {fitted.device}"),
            ("likelihood", fitted.likelihood["name"]),
            ("trained", trained + (", interrupted" if fitted.interrupted else "")),
            ("ELBO", best),
        ]
    )
    figure: Any = ""
    if curves:
        drawn = svg(lambda axes: curves.draw(axes, "elbo"), curves.label("elbo"), 2.9, 1.7)
        key = "validation in blue, training in orange" if curves.valid else "training"
        figure = Markup("<figure><figcaption>ELBO in nats: {}</figcaption>{}</figure>").format(key, drawn)
    title = Markup("<p><b>{}</b>, fitted</p>").format(fitted.estimator)
    parts = Markup('<div class="parts"><div>{}</div>{}</div>').format(about, figure)
    return whole([title, parts, said(fitted.verdict), *(said(text, "note") for text in fitted.notes)])


class Shown:
    """A scikit-learn estimator that a notebook shows as a card once it is fitted, and as scikit-learn's diagram before."""

    def _card(self) -> str | None:
        """The card as HTML; None of an estimator that is not fitted."""
        raise NotImplementedError

    @property
    def _repr_html_(self) -> Any:
        diagram = super()._repr_html_  # type: ignore[misc]  # AttributeError if scikit-learn is set to show text
        return lambda: self._card() or diagram()

    def _repr_mimebundle_(self, **options: Any) -> dict[str, Any]:
        found = super()._repr_mimebundle_(**options)  # type: ignore[misc]
        if "text/html" in found and (shown := self._card()):
            found["text/html"] = shown
        return found


def detector_card(detector: Any) -> str:
    """A fitted `AnomalyDetector`: its models, its calibration, and the normal scores."""
    from markupsafe import Markup

    from vaekit.show.drawing import draw_shares, svg

    scores, normal = detector.training_scores_, detector.calibration_scores_
    fitted = detector.model_.fitted_
    about = facts(
        [
            ("data", f"{len(scores):,} {fitted.kind.in_words}"),
            ("models", f"{len(detector.models_)} of {fitted.model.latent_dim} latent units"),
            ("score", f"{detector.calibration_.score.name}; higher is more normal"),
            ("calibrated on", f"{len(normal):,} rows that were held out" if len(normal) else "no rows"),
            ("smallest p-value", number(1 / (len(normal) + 1)) if len(normal) else ""),
            ("predict", f"an anomaly is a score below {number(detector.offset_)}"),
        ]
    )
    values = scores[np.isfinite(scores)]
    drawn = svg(
        lambda axes: draw_shares(axes, values[:0], values), "Scores of the rows that it was fitted to", 2.9, 1.5
    )
    figure = Markup("<figure><figcaption>Scores of the rows that it was fitted to</figcaption>{}</figure>").format(
        drawn
    )
    parts = Markup('<div class="parts"><div>{}</div>{}</div>').format(about, figure)
    return whole([Markup("<p><b>AnomalyDetector</b>, fitted</p>"), parts, *(said(t, "note") for t in fitted.notes)])
