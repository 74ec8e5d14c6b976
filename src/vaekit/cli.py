"""The command line: one verb, one short function. Imports that take time are inside the verbs."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.errors import UserError

# Every mistake on the command line itself; typer names it only as an ancestor of the errors it does name.
CommandLineError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")

app = typer.Typer(
    name="vaekit",
    help="Variational autoencoders (VAE) and conditional ones (CVAE), from one command.\n\n"
    "Start with [bold]vaekit fit digits --condition label[/], and open the report it writes.",
    add_completion=False,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SOURCE_HELP = (
    "What to read: [bold]digits[/] (bundled), a folder of pictures (class = subfolder), a picture, a .npy, .npz, .csv or "
    ".parquet file, an idx file (Fashion-MNIST's train-images-idx3-ubyte.gz), or hf://name from Hugging Face. "
    "Rows of it: SOURCE\\[12] or SOURCE\\[10:20]."
)
Run = Annotated[
    Path, typer.Argument(metavar="RUN", help="The run directory that `vaekit fit` wrote.", show_default=False)
]
Source = Annotated[str, typer.Argument(metavar="SOURCE", help=SOURCE_HELP, show_default=False)]
Out = Annotated[
    Path | None, typer.Option("-o", "--output", help="Where to write; the ending decides the form.", show_default=False)
]
Condition = Annotated[
    list[str] | None,
    typer.Option(
        "--condition", "-c", help="VALUE, or NAME=VALUE (several: repeat it). Left out: unknown.", show_default=False
    ),
]


def option(help: str, *names: str, panel: str = "Training") -> Any:
    return typer.Option(*names, help=help, rich_help_panel=panel, show_default=False)


MODEL, DATA, DEVICE = "Model", "Data", "Devices"


def show_version(asked: bool) -> None:
    if asked:
        from vaekit import __version__

        print(f"vaekit {__version__}")
        raise typer.Exit()


@app.callback()
def vaekit(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=show_version, is_eager=True)
    ] = False,
) -> None: ...


@app.command()
def fit(
    source: Annotated[str | None, typer.Argument(metavar="SOURCE", help=SOURCE_HELP, show_default=False)] = None,
    condition: Annotated[list[str] | None, option("Condition on this label or column: a CVAE. NAME, NAME:label or NAME:number; repeat it for several. Policies: what they see, such as state or images.top; default: all there is.", "--condition", "-c", panel=DATA)] = None,
    out: Annotated[Path | None, option("The run directory to write. Default: runs/NAME.", panel=DATA)] = None,
    resize: Annotated[str | None, option("WIDTHxHEIGHT, for pictures of mixed sizes.", panel=DATA)] = None,
    kind: Annotated[str | None, option("actions: SOURCE holds demonstrations of a robot (a LeRobot folder, ACT's HDF5 episodes or an .npz of observations, actions and episode_ends), and a policy is learned.", panel=DATA)] = None,
    strict: Annotated[bool, option("A picture that cannot be read is an error.", "--strict", panel=DATA)] = False,
    validation: Annotated[float | None, option("Share of rows held out to choose the best epoch by. Default: 0.1.", panel=DATA)] = None,
    latent_dim: Annotated[int | None, option("Number of latent units; 0 for a policy without. Default: 16.", panel=MODEL)] = None,
    size: Annotated[str | None, option("small, base or large networks; published: the paper's, for policies. Default: base.", panel=MODEL)] = None,
    network: Annotated[str | None, option("auto, conv or mlp.", panel=MODEL)] = None,
    likelihood: Annotated[str | None, option("auto, normal (learned scale), laplace, bernoulli, continuous_bernoulli, logistic or categorical.", panel=MODEL)] = None,
    binarize: Annotated[str | None, option("Pictures: dynamic or threshold.", panel=MODEL)] = None,
    prior: Annotated[str | None, option("standard, mixture, vamp, flow, or conditional: a Normal learned from the condition. Default: standard; mixture for policies.", panel=MODEL)] = None,
    posterior: Annotated[str | None, option("normal, full (covariance), iaf or maf (flows).", panel=MODEL)] = None,
    condition_dropout: Annotated[float | None, option("How often a condition is hidden in training. Default: 0.1.", panel=MODEL)] = None,
    structure: Annotated[str | None, option("flat (one latent), ladder (a hierarchy) or vq (quantised).", panel=MODEL)] = None,
    sampler: Annotated[str | None, option("Where samples' z comes from: prior, or gmm (default) or flow, learned on the codes after training.", panel=MODEL)] = None,
    objective: Annotated[str | None, option("elbo, free_bits, capacity, kl_target, geco, beta_tc, factor_vae, info_vae, iwae, dreg, vae_gan or act (that of the paper, for policies).")] = None,
    preset: Annotated[str | None, option("Settings by name; act: ACT as published, for --kind actions.", panel=MODEL)] = None,
    chunk_size: Annotated[int | None, option("Policies: actions decided on at a time. Default: two seconds of them.", panel=MODEL)] = None,
    z: Annotated[str | None, option("Policies: z at use: episode (drawn once an episode, default), chunk or mean.", panel=MODEL)] = None,
    temperature: Annotated[float | None, option("Policies: the spread of what z is drawn from is multiplied by it. Default: 1.", panel=MODEL)] = None,
    execute: Annotated[str | None, option("Policies: ensemble (default), or how many actions of each chunk to play.", panel=MODEL)] = None,
    backbone: Annotated[str | None, option("Policies: weights of the cameras' ResNet-18, .safetensors or .pth as torchvision names them.", panel=MODEL)] = None,
    set_: Annotated[list[str] | None, option("An option of a part; --PART.KEY VALUE is the same: --objective.beta 4, --objective.warmup 0.3, --prior.components 100, --likelihood.scale 1.", "--set", panel=MODEL)] = None,
    epochs: Annotated[int | None, option("Passes over the data. Default: 4000 steps' worth, at least 50.")] = None,
    minutes: Annotated[float | None, option("Train for this long instead.")] = None,
    batch_size: Annotated[int | None, option("Rows a step, over all devices. Default: 128; 64 for policies.")] = None,
    learning_rate: Annotated[float | None, option("Peak of the step size. Default: 0.001.")] = None,
    patience: Annotated[float | None, option("Stop after this share of the run without a better epoch. Default: 0.2.")] = None,
    seed: Annotated[int | None, option("Of everything random. Default: 0.")] = None,
    resume: Annotated[bool, option("Go on with the run in --out, to the bit.", "--resume")] = False,
    tensorboard: Annotated[bool, option("Log to RUN/tensorboard too.", "--tensorboard")] = False,
    precision: Annotated[str | None, option("auto, 32-true, bf16-mixed, ... (Lightning Fabric's).", panel=DEVICE)] = None,
    accelerator: Annotated[str | None, option("auto, cpu, cuda, mps, ...", panel=DEVICE)] = None,
    devices: Annotated[int | None, option("How many on each node.", panel=DEVICE)] = None,
    nodes: Annotated[int | None, option("How many nodes, under torchrun.", panel=DEVICE)] = None,
    strategy: Annotated[str | None, option("auto, ddp, fsdp, ...", panel=DEVICE)] = None,
    config: Annotated[Path | None, option("Settings from a YAML file, or a run's config.yaml; options on the line win.", panel=DATA)] = None,
    print_config: Annotated[bool, option("Print the settings as YAML and stop.", "--print-config", panel=DATA)] = False,
    report: Annotated[bool, option("Write report.html at the end.", "--report/--no-report", panel=DATA)] = True,
) -> None:  # fmt: skip
    """Train a VAE on SOURCE, or with --condition a CVAE, and write a run directory with a report."""
    from vaekit import recipe as recipes
    from vaekit import run as runs

    settings = dict(
        validation=validation, latent_dim=latent_dim, size=size, network=network, binarize=binarize,
        condition_dropout=condition_dropout, epochs=epochs, minutes=minutes, batch_size=batch_size,
        learning_rate=learning_rate, patience=patience, random_state=seed, chunk_size=chunk_size, z=z,
        temperature=temperature, execute=execute, backbone=backbone,
    )  # fmt: skip
    parts = dict(
        likelihood=likelihood,
        prior=prior,
        posterior=posterior,
        structure=structure,
        sampler=sampler,
        objective=objective,
    )
    trainer = dict(precision=precision, accelerator=accelerator, devices=devices, nodes=nodes, strategy=strategy)
    if resume and config is None and out and (out / runs.CONFIG).exists():
        config = out / runs.CONFIG
    recipe = recipes.Recipe.read(config) if config else recipes.Recipe()
    recipe.source = source or recipe.source
    recipe.kind = kind or recipe.kind
    recipe.settings |= recipes.preset(preset) if preset else {}
    recipe.conditions = condition or recipe.conditions
    recipe.resize = parse_size(resize) if resize else recipe.resize
    recipe.strict = strict or recipe.strict
    recipe.settings |= given(settings)
    recipe.choose_parts(given(parts), set_ or [])
    if chosen := given(trainer) | ({"tensorboard": True} if tensorboard else {}):
        recipe.settings["trainer"] = {**(recipe.settings.get("trainer") or {}), **chosen}
    if print_config:
        recipe.check()
        print(recipe.to_yaml(), end="")
        return
    if resume and out is None:
        raise UserError("--resume needs --out RUN, the run to go on with")
    folder, estimator = recipe.train(out, resume=resume, say=say)
    if not estimator.first_process_:
        return
    for note in estimator.notes_:
        say(f"note: {note}")
    if estimator.interrupted_:
        say(f"stopped; go on with: vaekit fit --resume --out {folder}")
        raise typer.Exit(130)
    samples = min(recipes.REPORT_SAMPLES, estimator.iw_samples)
    results = recipes.evaluate(folder, estimator, recipes.held_out(estimator, recipes.REPORT_ROWS), samples)
    say(f"ELBO {results['elbo']:.2f} nats, IW-NLL {results['iw_nll']:.2f} (k={results['k']}). {results['verdict']}")
    if report:
        say(f"look at {recipes.report(folder, estimator)}")


@app.command()
def sample(
    run: Run,
    n: Annotated[int, typer.Option("-n", help="How many.")] = 64,
    condition: Condition = None,
    temperature: Annotated[float, typer.Option(help="Spread of z: below 1 more typical, above 1 more varied.")] = 1.0,
    sampler: Annotated[str | None, typer.Option(help="Where z is drawn from: prior, or gmm or flow, which are learned on the codes of the run's source when first asked for.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Another seed, other samples.")] = 0,
    output: Out = None,
) -> None:  # fmt: skip
    """Draw new rows from a trained model: .png, .npy, .npz, .csv or .parquet."""
    from vaekit.recipe import learn_sampler
    from vaekit.uses.write import write_rows

    estimator, path = opened(run, output, "samples", ".npy", ".npz", ".csv", ".parquet")
    y = estimator.schema_.parse(condition or [])
    if sampler and sampler not in ("auto", "prior", *estimator.samplers_):
        say(f"learning where the codes lie: sampler {sampler}")
        learn_sampler(run, estimator, sampler)
    rows = estimator.sample(n, y, sampler=sampler, temperature=temperature, random_state=seed)
    write_rows(path, rows, estimator.domain_)
    say(f"{n} samples in {path}")


@app.command()
def reconstruct(run: Run, source: Source, output: Out = None) -> None:
    """Pass SOURCE through the latent and back: .png shows originals beside reconstructions."""
    import numpy as np

    from vaekit.recipe import read_for
    from vaekit.uses.write import write_rows

    estimator, path = opened(run, output, "reconstructions", ".npy", ".npz", ".csv", ".parquet")
    data = read_for(estimator, source)
    rows = estimator.reconstruct(data.x, data.conditions)
    if path.suffix.lower() == ".png":
        shown = min(len(rows), 64)
        pairs = np.stack([data.x[:shown].astype(rows.dtype), rows[:shown]], axis=1).reshape(-1, *rows.shape[1:])
        write_rows(path, pairs, estimator.domain_, {"columns": 16 if shown > 4 else 2})
        say(f"{shown} of {len(rows)} pictures, each beside its reconstruction, in {path}")
    else:
        write_rows(path, rows, estimator.domain_)
        say(f"{len(rows)} reconstructions in {path}")


@app.command()
def encode(run: Run, source: Source, output: Out = None) -> None:
    """Write the latent codes (posterior means) of SOURCE: .npy, .csv or .parquet."""
    from vaekit.recipe import read_for
    from vaekit.uses.write import write_rows

    estimator, path = opened(run, output, "latents", ".npy", ".csv", ".parquet", pictures=False)
    data = read_for(estimator, source)
    write_rows(path, estimator.transform(data.x, data.conditions), None)
    say(f"{len(data)} rows of {estimator.model_.latent_dim} latent units in {path}")


@app.command()
def interpolate(
    run: Run,
    a: Annotated[
        str, typer.Argument(metavar="A", help="A file, or a row of a source: SOURCE\\[12].", show_default=False)
    ],
    b: Annotated[str, typer.Argument(metavar="B", help="The other end.", show_default=False)],
    steps: Annotated[int, typer.Option(help="Points on the way, both ends included.")] = 9,
    path_: Annotated[str, typer.Option("--path", help="linear, spherical or geodesic (what is decoded changes least).")] = "linear",
    condition: Condition = None,
    output: Out = None,
) -> None:  # fmt: skip
    """Walk through the latent space from A to B: .png (a strip), .gif, .npy or .csv."""
    import torch

    from vaekit.recipe import read_for
    from vaekit.uses.interpolate import smoothness
    from vaekit.uses.write import write_rows

    estimator, path = opened(run, output, "interpolation", ".gif", ".npy", ".csv", ".parquet")
    ends = [read_for(estimator, end, conditions=False) for end in (a, b)]
    for end, text in zip(ends, (a, b), strict=True):
        if len(end) != 1:
            raise UserError(f"{text} has {len(end)} rows: choose one, such as {text}[0]")
    y = estimator.schema_.parse(condition or [])
    rows = estimator.interpolate(ends[0].x[0], ends[1].x[0], steps, y, path=path_)
    write_rows(path, rows, estimator.domain_, {"columns": steps})
    found = smoothness(torch.from_numpy(rows.astype("float64")))
    say(
        f"{steps} steps in {path}: length {found['length']:.4g}, {found['detour']:.2f} times the straight way; "
        f"the largest step is {found['evenness']:.2f} times the mean"
    )


@app.command()
def evaluate(
    run: Run,
    source: Annotated[str | None, typer.Argument(metavar="[SOURCE]", help="Default: the rows the run held out.", show_default=False)] = None,
    k: Annotated[int | None, typer.Option(help="Importance samples for the NLL. Default: 500, or 20 for a policy.", show_default=False)] = None,
    features: Annotated[Path | None, typer.Option(help="A file of `vaekit features`: Frechet and kernel distance, precision and recall of samples, each beside its floor.", show_default=False)] = None,
    factors: Annotated[list[str] | None, typer.Option(help="A label, column or array of known factors: disentanglement scores (MIG, DCI, FactorVAE, SAP); repeat it for several.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:  # fmt: skip
    """ELBO, KL and what it is made of, importance-weighted NLL, active units, and a verdict; distances of samples too."""
    import json

    from vaekit import recipe as recipes
    from vaekit.loading import load

    estimator = load(run)
    also = factors or []
    data = recipes.read_for(estimator, source, also=also) if source else recipes.held_out(estimator, also=also)
    results = recipes.evaluate(run, estimator, data, k or estimator.iw_samples, features=features, factors=also)
    print(json.dumps(results, indent=2) if as_json else summary(results))


@app.command()
def features(
    source: Source,
    label: Annotated[list[str], typer.Option("--label", "-l", help="A label or column to learn to recognise; repeat it for several.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The file to write: .safetensors.", show_default=False)],
    resize: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT, for pictures of mixed sizes.", show_default=False)] = None,
    epochs: Annotated[int | None, typer.Option(help="Passes over the data. Default: 1000 steps' worth.", show_default=False)] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
) -> None:  # fmt: skip
    """Train a feature network on labelled pictures, for `vaekit evaluate --features`."""
    from vaekit.measures import features_of_source

    width, height = parse_size(resize) if resize else (None, None)
    size = (width, height) if width and height else None
    network = features_of_source(source, label, output, resize=size, seed=seed, epochs=epochs)
    known = ", ".join(f"{name} {share:.1%}" for name, share in network.accuracy.items() if share is not None)
    say(f"recognises of held-out pictures: {known or 'nothing was held out'}; features {network.hash} in {output}")


@app.command()
def score(
    run: Run,
    source: Source,
    k: Annotated[int, typer.Option(help="Importance samples a row.")] = 100,
    output: Out = None,
) -> None:
    """Write log p(x) of every row of SOURCE, in nats: .csv, .parquet or .npy. Low scores are odd rows."""
    import numpy as np

    from vaekit.recipe import read_for
    from vaekit.training.progress import track
    from vaekit.uses.write import write_rows, write_table

    estimator, path = opened(run, output, "scores", ".csv", ".parquet", ".npy", pictures=False)
    data = read_for(estimator, source)
    scores = estimator.score_samples(data.x, data.conditions, k=k, track=track)
    if path.suffix.lower() == ".npy":
        write_rows(path, scores, None)
    else:
        write_table(path, {"row": np.arange(len(scores)), "log_px": scores})
    say(f"{len(scores)} scores (mean {scores.mean():.2f} nats) in {path}")


@app.command()
def demonstrate(
    environment: Annotated[str, typer.Argument(metavar="ENV", help="two-routes, fetch-reach, fetch-push, fetch-pick-and-place, aloha-transfer or aloha-insertion.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The LeRobot folder to write.", show_default=False)],
    episodes: Annotated[int, typer.Option(help="How many, of those that succeed by the strict rule.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the first; the next one has the next seed.")] = 0,
    cameras: Annotated[bool, typer.Option("--cameras", help="Record the cameras too.")] = False,
) -> None:  # fmt: skip
    """Let the scripted expert of an environment show how it is done, and write a dataset."""
    from functools import partial

    from vaekit.robots.demonstrations import write_demonstrations
    from vaekit.robots.environments import demonstrate as show
    from vaekit.training.progress import track

    demonstrations = show(environment, episodes, seed, cameras=cameras, track=partial(track, what="episodes"))
    for note in demonstrations.notes:
        say(f"note: {note}")
    write_demonstrations(demonstrations, output)
    say(f"{demonstrations.describe()} in {output}")


@app.command()
def rollout(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The run directory, or a .onnx file of `vaekit export`.", show_default=False)],
    environment: Annotated[str, typer.Option("--env", help="Where to act; see `vaekit demonstrate --help`.", show_default=False)],
    episodes: Annotated[int, typer.Option(help="How many.")] = 50,
    seed: Annotated[int, typer.Option(help="Of the first; choose others than the demonstrations'.")] = 1000,
    execute: Annotated[str | None, typer.Option(help="ensemble, or how many actions of each chunk to play. Default: the run's own.", show_default=False)] = None,
    z: Annotated[str | None, typer.Option(help="episode, chunk or mean. Default: the run's own.", show_default=False)] = None,
    monitor: Annotated[str | None, typer.Option(help="Count alarms of a monitor, observation or disagreement, calibrated on 50 other episodes of the policy.", show_default=False)] = None,
    video: Annotated[Path | None, typer.Option(help="A folder to write a video of each episode to.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:  # fmt: skip
    """Put a policy to the test in an environment: success with its interval, return, latency."""
    import json
    from functools import partial

    from vaekit.robots.environments import make
    from vaekit.robots.rollout import load_policy, rollout_lines
    from vaekit.robots.rollout import rollout as roll
    from vaekit.training.progress import track

    policy = load_policy(run, execute=execute, z=z)
    env = make(environment, cameras=policy.sees_cameras)
    if monitor:
        from vaekit.robots.surprise import watched

        policy = watched(policy, env, monitor, seed + episodes)
    found = roll(policy, env, episodes, seed, video=video, track=partial(track, what="episodes"))
    lines = rollout_lines(found)
    if monitor:
        from vaekit.robots.surprise import alarm_lines, alarms

        found["monitor"] = alarms(policy.episodes)
        lines += alarm_lines(found["monitor"])
    print(json.dumps(found, indent=2) if as_json else "\n".join(lines))


@app.command()
def export(
    run: Run,
    output: Annotated[Path, typer.Option("-o", "--output", help="The .onnx file to write.", show_default=False)],
    execute: Annotated[str | None, typer.Option(help="ensemble, or how many actions of each chunk to play. Default: the run's own.", show_default=False)] = None,
    z: Annotated[str | None, typer.Option(help="episode, chunk or mean. Default: the run's own.", show_default=False)] = None,
) -> None:  # fmt: skip
    """Write a policy as one ONNX file, which runs without PyTorch: raw observations in, raw actions out."""
    from vaekit.robots.export import export_policy
    from vaekit.robots.rollout import load_policy

    say(
        f"{export_policy(load_policy(run, execute=execute, z=z), output)}; try it with: vaekit rollout {output} --env ENV"
    )


@app.command()
def report(run: Run) -> None:
    """Write report.html again, from the run and its source."""
    from vaekit import recipe as recipes
    from vaekit.loading import load

    say(f"look at {recipes.report(run, load(run))}")


@app.command()
def info(run: Run) -> None:
    """What a run is: data, model, training, files."""
    from vaekit.loading import describe_run

    print(describe_run(run))


def opened(run: Path, output: Path | None, name: str, *suffixes: str, pictures: bool = True) -> tuple[Any, Path]:
    """The run's estimator, and a checked path to write to; by default a file in the run directory."""
    from vaekit.loading import load
    from vaekit.uses.write import check_suffix

    estimator = load(run)
    if estimator.domain_.kind == "actions":
        raise UserError(f"{run} is a policy: try `vaekit rollout {run} --env ENV`, or `vaekit evaluate {run}`")
    allowed = (
        [".png", *suffixes] if pictures and estimator.domain_.kind == "images" else [s for s in suffixes if s != ".gif"]
    )
    path = output or run / (name + (".csv" if ".csv" in allowed and allowed[0] != ".png" else allowed[0]))
    check_suffix(path, allowed)
    return estimator, path


def summary(results: dict[str, Any]) -> str:
    from vaekit.measures import distance_lines, factor_lines, latent_lines
    from vaekit.robots.health import policy_lines

    lines = [
        f"rows            {results['rows']}",
        f"ELBO            {results['elbo']:.2f} nats",
        f"reconstruction  {results['reconstruction']:.2f} nats",
        f"KL              {results['kl']:.2f} nats",
        f"IW-NLL (k={results['k']})  {results['iw_nll']:.2f} ± {results['iw_nll_standard_error']:.2f} nats",
        f"active units    {results['active_units']} of {results['latent_units']}",
        *(
            ["KL per unit     " + " ".join(f"{v:.2f}" for v in largest)]
            if (largest := sorted(results["kl_per_unit"], reverse=True)[:64])
            else []
        ),
        *latent_lines(results),
        *policy_lines(results),
        *(distance_lines(results["distances"]) if "distances" in results else []),
        *(factor_lines(results["disentanglement"]) if "disentanglement" in results else []),
        "",
        results["verdict"],
    ]
    return "\n".join(lines)


def given(values: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in values.items() if v is not None}


def parse_size(text: str) -> list[int]:
    try:
        width, _, height = text.lower().partition("x")
        return [int(width), int(height or width)]
    except ValueError:
        raise UserError(f"--resize takes WIDTHxHEIGHT, such as 64x64, not {text!r}") from None


def say(line: str) -> None:
    """Tell the person; of several processes only the first speaks."""
    if os.environ.get("RANK", "0") == os.environ.get("LOCAL_RANK", "0") == "0":
        print(line, file=sys.stderr)


def dotted(arguments: list[str]) -> list[str]:
    """`--objective.beta 4` and `--objective.beta=4` as `--set objective.beta=4`: options of parts are not known here."""
    out, rest = [], iter(arguments)
    for argument in rest:
        key, equals, value = argument.partition("=")
        if key.startswith("--") and "." in key:
            argument = f"{key[2:]}={value if equals else next(rest, '')}"
            out.append("--set")
        out.append(argument)
    return out


def main() -> None:
    """Exit codes: 0; 2 for a user's mistake, told in one line; 130 for Ctrl-C; 1 for a fault of ours."""
    sys.argv[1:] = dotted(sys.argv[1:]) or ["--help"]
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except UserError as e:
        fail(str(e))
    except CommandLineError as e:
        fail(f"{e.format_message()} (see vaekit --help)")
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)


def fail(message: str) -> None:
    print(f"vaekit: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
