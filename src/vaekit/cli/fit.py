"""`vaekit fit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vaekit.cli.common import (
    COUNT,
    DATA,
    DEVICE,
    MODEL,
    PLACE,
    SEED,
    SOURCE_HELP,
    app,
    given,
    option,
    parse_map,
    parse_size,
    say,
)
from vaekit.errors import UserError, note


@app.command()
def fit(
    source: Annotated[list[str] | None, typer.Argument(metavar="SOURCE", help=SOURCE_HELP + " Several datasets of demonstrations are joined.", show_default=False)] = None,
    condition: Annotated[list[str] | None, option("Condition on this label or column: NAME, NAME:label or NAME:number; repeat it for several. The model is then a conditional VAE (CVAE). For policies: what they see, such as state or images.top. Default: everything.", "--condition", "-c", panel=DATA)] = None,
    label_column: Annotated[str | None, option("Learn to predict this label or column, NAME or NAME:number. The model also learns from rows without it.", "--label-column", panel=DATA)] = None,
    labels: Annotated[int | None, option("Keep this many labels, chosen by the seed, and hide the others. Each class keeps the same number, or all that it has.", "--labels", panel=DATA, **COUNT)] = None,
    out: Annotated[Path | None, option("The run directory to write. Default: runs/NAME.", panel=DATA, **PLACE)] = None,
    schema: Annotated[Path | None, option("Tables: a YAML file that says the kind of each column; `vaekit schema SOURCE` writes the guessed one.", panel=DATA)] = None,
    constraint: Annotated[list[str] | None, option("Tables: a rule between columns that every drawn or filled row obeys, such as 'start <= end' or 'total == price * quantity'; repeat it for several.", "--constraint", panel=DATA)] = None,
    column: Annotated[str | None, option("Learn from the texts in this column of a .csv or .parquet file. Without it the whole table is the data.", panel=DATA)] = None,
    encoding: Annotated[str | None, option("The encoding of a .txt or .csv file, such as latin-1. Default: UTF-8.", panel=DATA)] = None,
    metadata: Annotated[str | None, option("Pictures: a .csv file with a column file_name and columns for --condition. Default: metadata.csv in the folder.", panel=DATA)] = None,
    decimal: Annotated[str | None, option("The decimal separator of a .csv file, . or , , if its numbers do not show it, as in 1,234.", panel=DATA)] = None,
    resize: Annotated[str | None, option("Resize all pictures to WIDTHxHEIGHT.", panel=DATA)] = None,
    map_: Annotated[list[str] | None, option("Demonstrations: the names that SOURCE uses, NAME=KEY: --map state=observation.joints,action=actions. A KEY a+b joins two vectors.", "--map", panel=DATA)] = None,
    fps: Annotated[float | None, option("Demonstrations: frames per second, if SOURCE does not say. Default: 50.", panel=DATA, min=0.001)] = None,
    trim: Annotated[bool, option("Demonstrations: leave out the beginning of each episode, until the actions change.", "--trim", panel=DATA)] = False,
    kind: Annotated[str | None, option("actions: learn a policy from demonstrations of a robot (a LeRobot folder, HDF5 episodes of ACT, robomimic or LIBERO, or an .npz of observations, actions and episode_ends). series: learn a model of windows of a time series (columns of measurements and a column of time; without one, rows are equal steps).", panel=DATA)] = None,
    strict: Annotated[bool, option("Stop at a picture that cannot be read or an episode that cannot be used.", "--strict", panel=DATA)] = False,
    validation: Annotated[float | None, option("Share of rows to hold out for choosing the best epoch. Default: 0.1.", panel=DATA)] = None,
    latent_dim: Annotated[int | None, option("Number of latent units; 0 makes a policy without a latent, or a plain language model of texts. Default: 16.", panel=MODEL)] = None,
    size: Annotated[str | None, option("Size of the networks: small, base or large; published for policies as in the paper. Default: base.", panel=MODEL)] = None,
    network: Annotated[str | None, option("Kind of the networks: auto, conv or mlp.", panel=MODEL)] = None,
    likelihood: Annotated[str | None, option("auto, normal (learned scale), laplace, bernoulli, continuous_bernoulli, logistic, categorical, mixed (one distribution per column; default for tables), autoregressive (errors depend on earlier ones; default for series) or causal (token by token; texts).", panel=MODEL)] = None,
    binarize: Annotated[str | None, option("Make pictures black and white: dynamic or threshold.", panel=MODEL)] = None,
    tokenizer: Annotated[str | None, option("Texts: bpe (pieces of words; default), word, char, or the file of your own tokenizer, such as tokenizer.json. See also --tokenizer.vocabulary 10000 and --tokenizer.longest 64.", panel=MODEL)] = None,
    prior: Annotated[str | None, option("standard, mixture, vamp, flow, or conditional (a Normal that is learned from the condition). Default: standard; mixture for policies.", panel=MODEL)] = None,
    posterior: Annotated[str | None, option("normal, full (covariance), iaf or maf (flows).", panel=MODEL)] = None,
    cell_dropout: Annotated[float | None, option("Share of rows in which training hides some cells. Default: 0.1 for tables, else 0.", panel=MODEL)] = None,
    condition_dropout: Annotated[float | None, option("How often training hides a condition. Default: 0.1.", panel=MODEL)] = None,
    structure: Annotated[str | None, option("flat (one latent), ladder (a hierarchy) or vq (quantised).", panel=MODEL)] = None,
    sampler: Annotated[str | None, option("Where the z of samples comes from: prior, or gmm (default) or flow, which are learned on the codes after training.", panel=MODEL)] = None,
    objective: Annotated[str | None, option("auto (elbo; kl_floor for texts), elbo, free_bits, capacity, kl_floor, kl_target, geco, beta_tc, factor_vae, info_vae, iwae, dreg, vae_gan or act (as in the paper, for policies).")] = None,
    preset: Annotated[str | None, option("A named set of settings: act (ACT as published, for --kind actions) or m2 (M2 as published, for --label-column).", panel=MODEL)] = None,
    chunk_size: Annotated[int | None, option("Policies: number of actions in a chunk. Default: two seconds of actions.", panel=MODEL)] = None,
    window: Annotated[int | None, option("Series: number of time steps in a window. Default: 128.", panel=MODEL)] = None,
    z: Annotated[str | None, option("Policies: how z is chosen at use: episode (drawn once per episode, default), chunk (once per chunk) or mean.", panel=MODEL)] = None,
    temperature: Annotated[float | None, option("Policies: factor for the spread of the distribution that z is drawn from. Default: 1.", panel=MODEL)] = None,
    execute: Annotated[str | None, option("Policies: ensemble (default), or how many actions of each chunk to play.", panel=MODEL)] = None,
    backbone: Annotated[str | None, option("Policies with cameras: resnet18 (default), resnet34, resnet50 or resnet101; --backbone.weights FILE starts from ImageNet weights with torchvision's names.", panel=MODEL)] = None,
    set_: Annotated[list[str] | None, option("An option of a part; --PART.KEY VALUE is the same: --objective.beta 4, --objective.warmup 0.3, --prior.components 100, --likelihood.scale 1.", "--set", panel=MODEL)] = None,
    epochs: Annotated[int | None, option("Passes over the data. Default: as many as 4000 steps take, at least 50; at least 20 for texts.")] = None,
    minutes: Annotated[float | None, option("Train for this many minutes instead.")] = None,
    batch_size: Annotated[int | None, option("Rows per step, over all devices. Default: 128; 512 for tables, 64 for texts and policies.")] = None,
    learning_rate: Annotated[float | None, option("Highest learning rate. Default: 0.001; 0.002 for tables and texts.")] = None,
    patience: Annotated[float | None, option("Stop after this share of the run without a better epoch. Default: 0.2.")] = None,
    seed: Annotated[int | None, option("Seed for everything random. Default: 0.", **SEED)] = None,
    resume: Annotated[bool, option("Continue the run in --out; the result is the same to the bit.", "--resume")] = False,
    tensorboard: Annotated[bool, option("Also log to RUN/tensorboard.", "--tensorboard")] = False,
    precision: Annotated[str | None, option("Numerical precision: auto, 32-true, bf16-mixed or 16-mixed.", panel=DEVICE)] = None,
    device: Annotated[str | None, option("Where to train and evaluate: auto (a GPU if there is one), cpu, cuda, cuda:1 or mps.", panel=DEVICE)] = None,
    devices: Annotated[int | None, option("Number of devices on each node.", panel=DEVICE, **COUNT)] = None,
    nodes: Annotated[int | None, option("Number of nodes, under torchrun.", panel=DEVICE, **COUNT)] = None,
    strategy: Annotated[str | None, option("How several devices share the work: auto, ddp, fsdp, ...", panel=DEVICE)] = None,
    init: Annotated[str | None, option("Continue training the model of this run, or a checkpoint of ACT (LeRobot's or the original's). It keeps its settings, scaling and classes.", panel=DATA)] = None,
    config: Annotated[Path | None, option("Read settings from a YAML file, such as a run's config.yaml; options on the command line win.", panel=DATA)] = None,
    print_config: Annotated[bool, option("Print the settings as YAML and stop.", "--print-config", panel=DATA)] = False,
    calibrate: Annotated[bool | None, option("With --label-column: train a second classifier to calibrate the probabilities. Default: yes.", "--calibrate/--no-calibrate", panel=MODEL)] = None,
    comparison: Annotated[bool, option("With --label-column: compare with a classifier that is trained on the labelled rows alone, for as many steps.", "--comparison/--no-comparison", panel=DATA)] = True,
    report: Annotated[bool, option("Write report.html at the end.", "--report/--no-report", panel=DATA)] = True,
) -> None:  # fmt: skip
    """Train a VAE on SOURCE and write a run directory with a report. With --condition it is a conditional VAE; with --label-column it also learns to predict that label."""
    from vaekit.recipes import recipe as recipes
    from vaekit.runs import directory as runs

    settings = dict(
        validation=validation, latent_dim=latent_dim, size=size, network=network,
        condition_dropout=condition_dropout, cell_dropout=cell_dropout, epochs=epochs, minutes=minutes, batch_size=batch_size,
        learning_rate=learning_rate, patience=patience, random_state=seed, chunk_size=chunk_size, z=z, calibrate=calibrate, window=window,
        temperature=temperature, execute=execute, device=device,
    )  # fmt: skip
    parts = dict(
        kind=kind,
        likelihood=likelihood,
        tokenizer=tokenizer,
        binarize=binarize,
        prior=prior,
        posterior=posterior,
        structure=structure,
        sampler=sampler,
        objective=objective,
        backbone=backbone,
    )
    trainer = dict(precision=precision, devices=devices, nodes=nodes, strategy=strategy)
    if resume and out is None:
        raise UserError("--resume needs --out RUN, the run to continue")
    if resume and out and config is None:
        if (out / runs.CONFIG).exists():
            config = out / runs.CONFIG
        elif not source:
            raise UserError(
                f"{out} holds no run yet, so there is nothing to resume: start it with vaekit fit SOURCE --out {out}"
            )
    if init and config is None:
        recipe = recipes.Recipe.going_on(init)
    else:
        recipe = recipes.Recipe.read(config) if config else recipes.Recipe()
    recipe.source = (source if len(source) > 1 else source[0]) if source else recipe.source
    recipe.map = parse_map(map_) if map_ else recipe.map
    recipe.fps = fps or recipe.fps
    recipe.trim = trim or recipe.trim
    recipe.settings |= recipes.preset(preset) if preset else {}
    recipe.conditions = condition or recipe.conditions
    recipe.resize = parse_size(resize) if resize else recipe.resize
    recipe.strict = strict or recipe.strict
    recipe.metadata = metadata or recipe.metadata
    recipe.column = column or recipe.column
    recipe.encoding = encoding or recipe.encoding
    recipe.decimal = decimal or recipe.decimal
    recipe.label_column = label_column or recipe.label_column
    recipe.labels = recipe.labels if labels is None else labels
    recipe.settings |= given(settings)
    if schema:
        recipe.set_part("kind", {"schema": recipes.read_schema(schema)})
    if constraint:
        recipe.set_part("kind", {"constraints": constraint})
    recipe.choose_parts(given(parts), set_ or [])
    if chosen := given(trainer) | ({"tensorboard": True} if tensorboard else {}):
        recipe.settings["trainer"] = {**(recipe.settings.get("trainer") or {}), **chosen}
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


def judge(folder: Path, estimator: Any, comparison: bool, report: bool) -> None:
    """Evaluate a trained run, and write its report."""
    from vaekit.recipes.comparison import labels_alone
    from vaekit.recipes.evaluate import REPORT_ROWS, REPORT_SAMPLES, evaluate
    from vaekit.recipes.recipe import report as write_report
    from vaekit.recipes.source import held_out
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
            say(f"look at {write_report(folder, estimator)}")
        except UserError as error:  # such as too few rows to compare; the run itself is whole
            note(f"the run is complete, but has no report: {error}")
