"""Command lines made of the verbs' own options, with values that are plausible, at an edge and absurd: whatever is asked for,
the answer is a result, or one line that says what to change."""

import random
import shutil
import signal
import sys
import warnings
from typing import get_args, get_type_hints

import numpy as np
import pytest

from vaekit.cli import app, main

SECONDS, WAITING = 20, 120  # of computing, and in all, that a command line may take; a hang is a fault
LEFT_OUT = {"demonstrate", "rollout", "export", "explore", "serve"}  # which need a simulator, or do not end
INTEGERS = [-1, 0, 1, 2, 3, 7, 50, 2**31, 10**12, 2**64, 10**30, "3.5", "many", ""]
FLOATS = [-1, 0, 1e-9, 0.1, 0.5, 1, 2, 50, 1e9, 1e300, "nan", "inf", "1e400", "10%", ""]
ABSURD = ["", " ", "evil", "-", "../..", "x" * 300, "\x00", "é\n", "{a: [", "None", "1e-3"]
WORDS = {
    "condition": ["label", "city", "age", "age:number", "city:label", "label:number", "3", "city=Rome", "label=3", "age=nan"],
    "label_column": ["label", "city", "age:number", "member", "label:"],
    "column": ["city", "text"], "encoding": ["utf-8", "latin-1", "utf-16", "evil"], "resize": ["8x8", "4x4", "3x9", "1x1", "0x0", "16", "x"],
    "kind": ["series", "actions"], "size": ["small", "base", "published"], "network": ["auto", "conv", "mlp"],
    "likelihood": ["normal", "laplace", "bernoulli", "continuous_bernoulli", "logistic", "categorical", "mixed", "autoregressive", "causal"],
    "binarize": ["dynamic", "threshold"], "tokenizer": ["bpe", "word", "char"], "prior": ["standard", "mixture", "vamp", "flow", "conditional"],
    "posterior": ["normal", "full", "iaf", "maf", "log_variance"], "structure": ["flat", "ladder", "vq"],
    "sampler": ["auto", "prior", "gmm", "flow"],
    "objective": ["elbo", "free_bits", "capacity", "kl_floor", "kl_target", "geco", "beta_tc", "factor_vae", "info_vae", "iwae", "dreg", "vae_gan", "act"],
    "preset": ["act", "m2"], "z": ["episode", "chunk", "mean"], "execute": ["ensemble", "3"], "backbone": ["nowhere.pth"],
    "precision": ["auto", "32-true", "bf16-mixed", "16-mixed", "16-true", "64-true"], "device": ["auto", "cpu", "cuda", "mps", "gpu", "tpu"],
    "strategy": ["auto", "fsdp", "deepspeed"],
    "where": ["city=Rome", "age>=30", "age<0", "city!=Oslo", "age=x", "nope=1", "age", ">=3"],
    "path_": ["linear", "spherical", "geodesic"], "name": ["auto", "loglik", "path", "reconstruction", "kl", "regret"],
    "factors": ["label", "city", "age"], "label": ["label", "city"], "calibrate": ["SOURCE", "nowhere.csv"],
    "set_": [
        "objective.beta=4", "objective.warmup=0.3", "objective.beta=-1", "objective.warmup=x", "prior.components=5",
        "prior.components=1000000000", "prior.hidden=[8]", "prior.hidden=8", "likelihood.scale=1", "likelihood.scale=0", "objective.nats=2",
        "tokenizer.vocabulary=50", "tokenizer.longest=4", "structure.codes=8", "structure.width=4", "prior.transforms=1", "objective.k=3",
        "sampler.components=2", "likelihood.components=2", "nope.x=1", "objective", "objective.beta=[1", "likelihood.least_scale=-1",
    ],
    "schema": ["schema.yaml", "nowhere.yaml", "rows.npy"], "config": ["settings.yaml", "nowhere.yaml", "rows.npy"], "features": ["rows.npy", "nowhere"],
}  # fmt: skip
FEW = {"epochs": [-1, 0, 1, 2], "minutes": [-1, 0, 0.001, "5m", "nan"], "n": [-1, 0, 1, 9, 2**64, 10**30], "k": [-1, 0, 1, 7, 10**30],
       "steps": [-1, 0, 1, 2, 5, 10**9], "draws": [-1, 0, 1, 2, 10**30], "devices": [-1, 0, 1, "two"], "nodes": [-1, 0, 1]}  # fmt: skip
SOURCES = {
    "rows": "rows.npy",
    "pictures": "digits[0:60]",
    "table": "table.csv",
    "texts": "texts.txt",
    "series": "series.csv",
}
FIT = ["--size", "small", "--epochs", "1", "--sampler", "prior", "--no-report", "--latent-dim", "2"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a small source of each kind, and a run of each."""
    folder = tmp_path_factory.mktemp("fuzz")
    random_ = np.random.default_rng(0)
    np.save(folder / "rows.npy", random_.normal(size=(40, 3)))
    lines = [f"{20 + i},{['Rome', 'Oslo', 'Bern'][i % 3]},{'' if i % 7 == 0 else i % 2}" for i in range(40)]
    (folder / "table.csv").write_text("\n".join(["age,city,member", *lines]) + "\n")
    (folder / "texts.txt").write_text(
        "".join(f"a {['red', 'blue'][i % 2]} bird sings {i % 5} songs\n" for i in range(40))
    )
    steps = [f"2024-01-01 00:{i:02}:00,{np.sin(i / 3):.3f},{np.cos(i / 3):.3f}" for i in range(60)]
    (folder / "series.csv").write_text("\n".join(["time,a,b", *steps]) + "\n")
    (folder / "schema.yaml").write_text("age: integer\n")
    (folder / "settings.yaml").write_text("epochs: 1\nlearning_rate: 1e-3\nsize: small\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for kind, source in SOURCES.items():
            short = ["--tokenizer", "bpe", "--tokenizer.longest", "12"] if kind == "texts" else []
            code, said = run(["fit", source, "--out", f"run-{kind}", *FIT, *extra(kind), *short])
            assert code == 0, said
        assert run(["fit", "table.csv", "-c", "city", "-c", "age:number", "--out", "run-conditions", *FIT])[0] == 0
    return folder


def extra(kind):
    return ["--kind", "series", "--window", "8"] if kind == "series" else []


class TooLong(BaseException):
    pass


def run(arguments):
    """Exit code, and what was said, of a command line in this process. A traceback is an exception."""

    def stop(*_):
        raise TooLong

    said = []
    clocks = {signal.ITIMER_PROF: (signal.SIGPROF, SECONDS), signal.ITIMER_REAL: (signal.SIGALRM, WAITING)}
    before = {number: signal.signal(number, stop) for number, _ in clocks.values()}
    for clock, (_, seconds) in clocks.items():
        signal.setitimer(clock, seconds)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setattr(sys, "argv", ["vaekit", *arguments, "--traceback"])
        patch.setattr(sys, "stderr", sys.stderr)  # which main wraps
        patch.setattr("vaekit.cli.say", said.append)
        try:
            main()
        except SystemExit as e:
            return e.code or 0, said
        finally:
            for clock, (number, _) in clocks.items():
                signal.setitimer(clock, 0)
                signal.signal(number, before[number])
    raise AssertionError("main returned")


def options_of(verb):
    """Of each option of a verb: its name, how it is written, and the type of its value."""
    for name, hint in get_type_hints(verb, include_extras=True).items():
        if name == "return":
            continue
        kind, info = get_args(hint)[:2] if get_args(hint) and hasattr(hint, "__metadata__") else (hint, None)
        if type(info).__name__ == "OptionInfo":
            yield name, (info.param_decls or [f"--{name.strip('_').replace('_', '-')}"])[0].split("/")[0], str(kind)


def command_line(dice):
    """One at random."""
    verbs = {c.name or c.callback.__name__: c.callback for c in app.registered_commands}
    verb = dice.choice([v for v in verbs if v not in LEFT_OUT] + ["fit"] * 6)
    kind = dice.choice(list(SOURCES))
    model = "run-conditions" if kind == "table" and dice.random() < 0.5 else f"run-{kind}"
    if dice.random() < 0.05:
        kind, model = dice.choice(list(SOURCES)), dice.choice(["run-rows", "run-texts", "nowhere", ""])
    source = SOURCES[kind] if dice.random() < 0.95 else dice.choice(["nowhere.csv", "rows.npy[900]", *ABSURD])
    ends = (
        [f"{SOURCES[kind].partition('[')[0]}[{i}]" for i in (3, 4)]
        if kind != "texts"
        else ["a red bird", "a blue bird"]
    )
    arguments = {
        "fit": [source], "schema": [source], "features": [source], "sample": [model], "report": [model], "info": [model],
        "interpolate": [model, *ends], "evaluate": [model, *dice.choice([[], [source]])],
    }.get(verb, [model, source])  # fmt: skip
    line = [verb, *arguments, *(["--label", "label"] if verb == "features" else [])]
    known = [o for o in options_of(verbs[verb]) if o[0] not in ("out", "output", "print_config", "resume", "track")]
    chosen = dice.sample(known, min(len(known), dice.choice([0, 1, 1, 2, 2, 3])))
    for name, written, type_ in chosen:
        line.append(written)
        if "bool" in type_:
            continue
        values = FEW.get(name) or (INTEGERS if "int" in type_ else FLOATS if "float" in type_ else WORDS.get(name, []))
        line.append(
            str(dice.choice(ABSURD if not values or dice.random() < 0.05 else values)).replace("SOURCE", source)
        )
    if verb == "fit":
        given = {written for _, written, _ in chosen}
        fixed = [FIT[i : i + 2] for i in (0, 2, 4)] + [
            ["--out", dice.choice(["out"] * 9 + ["", "x" * 300, "rows.npy/run"])]
        ]
        line += [word for pair in fixed if pair[0] not in given for word in pair] + ["--no-report"]
        line += extra(kind) if "--kind" not in given and "--window" not in given else []
    if verb == "features" and "--epochs" not in line:
        line += ["--epochs", "1"]
    if any(name == "output" for name, *_ in options_of(verbs[verb])):
        line += [
            "-o",
            dice.choice(["o.csv"] * 9 + ["o.npy", "o.png", "o.txt", "o.parquet", "o.safetensors", "o", "no/o.csv"]),
        ]
    return line


MISTAKES = {
    "fit digits[0:60] --seed -1": "--seed",
    f"fit digits[0:60] --seed {2**64}": "--seed",
    "fit digits[0:60] --precision 16-true": "precision='16-true' is not one of the choices",
    "fit digits[0:60] --device mps": "device='mps' is not on this machine",
    "fit digits[0:60] --strategy evil": "strategy 'evil'",
    "fit digits[0:60] --devices 0": "--devices",
    "fit digits[0:60] --nodes -1": "--nodes",
    "fit digits[0:60] --validation 0.9999": "validation=0.9999 holds out all 60 rows",
    f"fit digits[0:60] --latent-dim {10**12}": "--latent-dim=1000000000000 has to be",
    f"fit digits[0:60] --out {'x' * 300}": "File name too long",
    "fit digits[0:60] --resize 0x8": "--resize takes WIDTHxHEIGHT",
    "fit series.csv --kind series --window 8 --likelihood mixed": "likelihood 'mixed' is for tables of named columns",
    "fit texts.txt --objective vae_gan": "'vae_gan' needs decoded values that have gradients",
    "fit rows.npy --config nowhere.yaml": "nowhere.yaml",
    "fit tabel.csv": "did you mean 'table.csv'? (known: digits, ",
    "interpolate run-series series.csv[3] series.csv[4]": "cannot walk between series",
    "interpolate run-pictures digits[0] digits[1] --steps 1000000000": "--steps",
    f"sample run-rows -n {10**30}": "'-n'",
    "sample run-rows -c sport": "trained without conditions",
    "sample run-conditions -c city=Rome -c city=Oslo": "condition 'city' is given twice",
    "sample run-conditions -c age=1e300": "condition 'age' is 1e+300: too large",
    "impute run-table table.csv --draws 0": "--draws",
    "evaluate run-rows --k 0": "--k",
    "score run-rows large.npy": "row 1 holds a value that is too large",
    "impute run-rows large.npy": "row 1 holds a value that is too large",
    "encode run-rows large.npy": "row 1 holds a value that is too large",
}


@pytest.mark.parametrize("line", MISTAKES)
def test_what_cannot_be_done_is_told_in_one_line(place, line, monkeypatch):
    monkeypatch.chdir(place)
    np.save("large.npy", [[0.0, 1, 2], [0, 1e300, np.nan], [0, 0, 1]])
    words = line.split()
    code, said = run([*words, *(["--out", "never"] if words[0] == "fit" and "--out" not in words else [])])
    assert code == 2
    assert MISTAKES[line] in said[-1]
    assert len([s for s in said if s.startswith("vaekit: error: ")]) == 1


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")])
def test_too_little_memory_is_told_in_one_line(error, monkeypatch):
    monkeypatch.setattr("vaekit.runs.describe.describe_run", lambda run: (_ for _ in ()).throw(error))
    code, said = run(["info", "."])
    assert code == 2
    assert "there is not enough memory" in said[-1]


def test_more_than_any_memory_holds_is_told_in_one_line(place, monkeypatch):
    monkeypatch.chdir(place)
    with_flow = ["--set", "prior.name=flow", "--set", "prior.hidden=[1000000,1000000]"]
    code, said = run(["fit", "rows.npy", "--out", "never", *with_flow])
    assert (code, "there is not enough memory" in said[-1]) == (2, True)


def test_a_fault_of_vaekit_is_one_line_and_a_traceback_where_asked_for(monkeypatch, capsys):
    monkeypatch.setattr("vaekit.runs.describe.describe_run", lambda run: 1 / 0)
    monkeypatch.setattr(sys, "argv", ["vaekit", "info", "."])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert capsys.readouterr().err == (
        "vaekit: error: this is a fault in vaekit (ZeroDivisionError: division by zero): please report it; "
        "--traceback shows where it is\n"
    )
    with pytest.raises(ZeroDivisionError):
        run(["info", "."])


def fuzz(place, seed, lines, monkeypatch):
    monkeypatch.chdir(place)
    dice = random.Random(seed)
    for _ in range(lines):
        line = command_line(dice)
        shutil.rmtree("out", ignore_errors=True)
        try:
            code, said = run(line)
        except BaseException as e:
            raise AssertionError(f"vaekit {line}: {type(e).__name__}: {e}") from e
        assert code in (0, 2, 130), (line, code, said)
        assert code != 2 or [s for s in said if s.startswith("vaekit: error: ")] == said[-1:], (line, said)


@pytest.mark.parametrize("seed", range(8))
def test_every_command_line_ends_in_a_result_or_in_one_line(place, seed, monkeypatch):
    fuzz(place, seed, 50, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(100, 160))
def test_thousands_of_command_lines(place, seed, monkeypatch):
    fuzz(place, seed, 100, monkeypatch)
