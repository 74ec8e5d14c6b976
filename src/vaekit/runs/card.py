"""The model card of a run: what README.md on the Hugging Face Hub says of it.

Names and values of the data stand in blocks of code, where nothing that they hold is read as Markdown or HTML.
"""

from __future__ import annotations

import inspect
import re
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import vaekit
from vaekit.conditions import Label
from vaekit.errors import UserError, note, printable
from vaekit.files import read_tensors, read_text, to_yaml, write_text
from vaekit.fitted import Fitted, model_hash
from vaekit.runs.describe import explain
from vaekit.runs.directory import PRIVACY, read_evaluation, source_of
from vaekit.runs.hub import CARD, last
from vaekit.uses.calibration import DETECTOR, FILE

MARK = "<!-- vaekit wrote this card, and writes it anew with each push. Without this line it is yours, and stays as it is. -->"
HOME = "https://github.com/vaekit/vaekit"
METRICS = {
    "elbo": "ELBO, nats", "iw_nll": "IW-NLL, nats", "reconstruction": "reconstruction, nats", "kl": "KL, nats",
    "active_units": "active units", "bits_per_character": "bits per character", "perplexity": "perplexity of words",
    "accuracy": "share of labels predicted right", "r2": "R2", "action_spread": "action spread, standard deviations",
}  # fmt: skip
NOT_EVALUATED = "Not evaluated: run `vaekit evaluate RUN` before pushing."


def write_card(folder: Path, fitted: Fitted, *, address: str | None = None, licence: str | None = None) -> None:
    """Write README.md into a run's folder. One that somebody else wrote is kept, and a note says so.

    Args:
        address: where the run will be, such as hf://user/name. None: in this folder.
        licence: its identifier on the Hub, such as apache-2.0. None: as the card has it already.
    """
    if licence and not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", licence):
        raise UserError(
            f"licence {licence!r} is not an identifier of the Hub: give one such as apache-2.0 or cc-by-4.0"
        )
    path = folder / CARD
    before = read_text(path) if path.exists() else MARK
    if MARK not in before:
        unused = f"; license: {licence} has to stand in its head" if licence else ""
        return note(f"{path} is yours, so it is kept as it is{unused}")
    if licence is None and (kept := re.search("^license: (.+)$", before.partition(MARK)[0], re.MULTILINE)):
        licence = kept[1]
    write_text(path, card(folder, fitted, address or folder.as_posix(), licence))


def card(folder: Path, fitted: Fitted, address: str, licence: str | None) -> str:
    """The text of README.md."""
    results = read_evaluation(folder, fitted)
    name = Path(address).name.partition("@")[0]
    parts = [
        f"---\n{to_yaml(head(name, fitted, results, licence))}---\n{MARK}\n",
        f"# {name}\n",
        f"A {in_words(fitted)}, trained with [vaekit]({HOME}) {vaekit.__version__}.\n",
        *usage(folder, fitted, address),
        *origin(fitted),
        *data(fitted),
        *numbers(results),
        *calibrations(folder, fitted),
        section("Limits", bullets(limits(fitted, results))),
        section("What the files tell about the training data", bullets(reveals(folder, fitted))),
        section("Privacy", bullets(fitted.kind.privacy(read_evaluation(folder, fitted, PRIVACY)))),
        section("Licence", licence or "None was named: ask the author before you use it."),
    ]
    return "\n".join(parts)


def head(name: str, fitted: Fitted, results: Mapping[str, Any] | None, licence: str | None) -> dict[str, Any]:
    """The head of the card, which the Hub reads."""
    kind, source = fitted.kind, shown_source(fitted)
    tags = ["vaekit", "conditional-variational-autoencoder" if fitted.conditions.named else "variational-autoencoder"]
    found: dict[str, Any] = {"library_name": "vaekit", "tags": [*tags, kind.name]}
    found |= {"license": licence} if licence else {}
    found |= {"pipeline_tag": kind.task} if kind.task else {}
    if source.startswith("hf://"):
        found["datasets"] = [re.split(r"[\[:]", source.removeprefix("hf://"))[0]]
    if results:
        of = {"type": re.sub(r"[^a-z0-9]+", "-", source.lower()).strip("-") or "data", "name": source}
        metrics = [{"type": key, "name": METRICS[key], "value": value} for key, value in measured(results).items()]
        result = {"task": {"type": kind.task or "other"}, "dataset": of, "metrics": metrics}
        found["model-index"] = [{"name": name, "results": [result]}]
    return found


def in_words(fitted: Fitted) -> str:
    what = "variational autoencoder" if fitted.model.latent_dim else "language model"
    rows = f"{fitted.data['rows']:,} {fitted.kind.in_words}"
    return f"{'conditional ' if fitted.conditions.named else ''}{what} of {rows}"


def usage(folder: Path, fitted: Fitted, address: str) -> list[str]:
    """The section about its use: three pieces that run as they are."""
    kind, run = fitted.kind, shlex.quote(address)
    command, line = kind.first_steps(run)
    labels = {name: c for name, c in fitted.conditions.named.items() if isinstance(c, Label)}
    if labels and not kind.why_not("samples"):
        name, value = next((name, c.classes[0]) for name, c in labels.items())
        command += f" -c {shlex.quote(f'{name}={value}')}"
        line = line.replace(")", f", y={ ({name: value})!r})")
    python = ["import vaekit", f"model = vaekit.load({address!r})", line]
    if hasattr(getattr(vaekit, fitted.estimator), "predict"):
        python.append("# model.predict(X): what it predicts of each row")
    if (folder / DETECTOR).exists():
        python += [
            f"detector = vaekit.AnomalyDetector.load({address!r})",
            "# detector.predict(X): 1 normal, -1 odd",
        ]
    shell = ["pip install 'vaekit[hub]'", command]
    parts = [code("sh", shell), code("python", python)]
    if fitted.model.latent_dim:
        parts.append("As ONNX files, which run without PyTorch:\n")
        parts.append(code("sh", ["pip install 'vaekit[onnx]'", f"vaekit export {run} -o exported"]))
    return ["## How to use it\n", *parts]


def origin(fitted: Fitted) -> list[str]:
    """The section about what made it."""
    settings = section("Settings that are not the defaults", block([made_by(fitted)]))
    if not source_of(fitted.data):
        return [section("How it was made", "It was trained from Python."), settings]
    again = code("sh", ["vaekit fit --config config.yaml --out again"])
    return [
        section(
            "How it was made", f"This command trains it again, with the config.yaml of this repository:\n\n{again}"
        ),
        settings,
    ]


def made_by(fitted: Fitted) -> str:
    """The estimator as Python writes it, without the settings that are the defaults."""
    defaults = {n: p.default for n, p in inspect.signature(getattr(vaekit, fitted.estimator)).parameters.items()}
    changed = {n: v for n, v in fitted.settings.items() if n in defaults and v != defaults[n]}
    arguments = [f"{name}={'...' if callable(value) else repr(value)}" for name, value in changed.items()]
    return f"{fitted.estimator}({', '.join(arguments)})"


def data(fitted: Fitted) -> list[str]:
    """The section about its training data."""
    kind, about = fitted.kind, fitted.data
    lines = [
        f"source  {shown_source(fitted) or 'given in Python'}", f"rows    {about['rows']:,}", f"row     {kind.extent}", *kind.describe()
    ]  # fmt: skip
    given = [f"{name}: {explain({'kind': c.kind, **vars(c)})}" for name, c in fitted.conditions.named.items()]
    return [section("Data", block(lines)), *([section("Conditions", block(given))] if given else [])]


def numbers(results: Mapping[str, Any] | None) -> list[str]:
    if results is None:
        return [section("How good it is", NOT_EVALUATED)]
    lines = ["| | |", "|---|---|", f"| rows that it was measured on | {results['rows']:,} |"]
    lines += [f"| {METRICS[key]} | {value:,.6g} |" for key, value in measured(results).items()]
    if "iw_nll" in results:
        lines.append(f"| importance samples of the IW-NLL | {results['k']:,} |")
    return [section("How good it is", "\n".join([*lines, "", printable(results["verdict"])]))]


def measured(results: Mapping[str, Any]) -> dict[str, float]:
    return {key: results[key] for key in METRICS if isinstance(results.get(key), int | float)}


def calibrations(folder: Path, fitted: Fitted) -> list[str]:
    """The section about normal rows that it knows."""
    lines = [
        f"score {each['score']}: p-values from {each['scores']} rows ({' '.join(map(last, each['origin'].split()))})"
        for each in calibrated(folder, fitted)
    ]
    if fitted.temperature != 1:
        lines.append(f"the probabilities of labels are calibrated, with the temperature {fitted.temperature:.3g}")
    return [
        section(
            "Calibration",
            block(lines) if lines else "Not calibrated: `vaekit score` learns p-values from normal rows of yours.",
        )
    ]


def calibrated(folder: Path, fitted: Fitted) -> Iterable[dict[str, Any]]:
    """The calibrations of these weights, with the number of scores and of codes in each."""
    own = model_hash(fitted)
    for path in sorted([*folder.glob(FILE.format("*")), *folder.glob(DETECTOR)]):
        with suppress(UserError, KeyError):
            tensors, about = read_tensors(path, "calibration")
            if about["of"][0] == own:
                codes = max((len(t) for name, t in tensors.items() if name.endswith(".loc")), default=0)
                yield {**about, "scores": len(tensors["scores"]), "codes": codes, "file": path.name}


def limits(fitted: Fitted, results: Mapping[str, Any] | None) -> list[str]:
    lines = [
        "It knows the data above and nothing else: rows of another kind get a number too, which then means little."
    ]
    if results:
        lines.append(
            "The rows that it was measured on also chose the best epoch, if they are those that training held out."
        )
    if fitted.interrupted:
        lines.append("Training was stopped before its end.")
    if any(
        isinstance(fitted.settings.get(net), dict) or callable(fitted.settings.get(net))
        for net in ("encoder", "decoder")
    ):
        lines.append(
            "Its networks are code of the author, which is not here: pass them to `vaekit.load` as encoder= and decoder=."
        )
    return [*lines, *fitted.kind.sample_notes(), *fitted.notes]


def reveals(folder: Path, fitted: Fitted) -> list[str]:
    lines = [
        "model.safetensors holds the weights. A model can learn single rows by heart, most of all rare ones.",
        *fitted.kind.reveals(),
    ]
    for name, c in fitted.conditions.named.items():
        if isinstance(c, Label):
            lines.append(f"config.yaml holds all {len(c.classes)} classes of {name}, and how often each occurs.")
        else:
            lines.append(f"config.yaml holds the size and scaling of {name}.")
    if fitted.conditions.seen:
        n = len(fitted.conditions.seen.counts)
        lines.append(
            f"config.yaml holds {n} combinations of the conditions that occur in the training rows, with their values."
        )
    for each in calibrated(folder, fitted):
        if each["codes"]:
            lines.append(
                f"{each['file']} holds the codes of {each['codes']:,} training rows, which the model decodes to something near them."
            )
    return lines


def shown_source(fitted: Fitted) -> str:
    """The source of the rows, without folders of the machine."""
    source = fitted.data.get("source")
    return " and ".join(map(str, map(last, source if isinstance(source, list) else [source] * bool(source))))


# -- Markdown ----------------------------------------------------------------------------------------------------------


def section(title: str, text: str) -> str:
    return f"## {title}\n\n{text.rstrip()}\n"


def bullets(lines: Iterable[str]) -> str:
    return "\n".join(f"- {plain(line)}" for line in lines)


def plain(text: str) -> str:
    """One line in which no value of the data begins a tag or a link."""
    return printable(" ".join(text.split())).replace("<", "&lt;").replace("[", "\\[")


def block(lines: Iterable[str]) -> str:
    """Lines as they are: an indented block, which only a line without the indentation ends."""
    return "\n".join("    " + printable(" ".join(line.split("\n"))) for line in lines)


def code(language: str, lines: Iterable[str]) -> str:
    return "\n".join([f"```{language}", *(printable(" ".join(line.split("\n"))) for line in lines), "```", ""])
