"""Demonstrations, and policies at work."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli.common import COUNT, PLACE, RUN, SEED, Device, app, say


@app.command()
def demonstrate(
    environment: Annotated[str, typer.Argument(metavar="ENV", help="two-routes, fetch-reach, fetch-push, fetch-pick-and-place, aloha-transfer or aloha-insertion.", show_default=False)],
    output: Annotated[Path, typer.Option("-o", "--output", help="The LeRobot folder to write.", show_default=False, **PLACE)],
    episodes: Annotated[int, typer.Option(help="Number of episodes; each one succeeds by the strict rule.", **COUNT)] = 50,
    seed: Annotated[int, typer.Option(help="Seed of the first episode; the next episode has the next seed.", **SEED)] = 0,
    cameras: Annotated[bool, typer.Option("--cameras", help="Also record the cameras.")] = False,
) -> None:  # fmt: skip
    """Record the scripted expert of an environment, and write a dataset of demonstrations."""
    from functools import partial

    from vaekit.robots.datasets import write_demonstrations
    from vaekit.robots.environments import demonstrate as show
    from vaekit.robots.lerobot_write import check_free
    from vaekit.show.track import track

    check_free(output)
    demonstrations = show(environment, episodes, seed, cameras=cameras, track=partial(track, what="episodes"))
    write_demonstrations(demonstrations, output)
    say(f"{demonstrations.describe()} in {output}")


@app.command()
def rollout(
    run: Annotated[Path, typer.Argument(help="The run directory, hf://user/name, or a .onnx file of `vaekit export`.", **RUN)],
    environment: Annotated[str, typer.Option("--env", help="The environment; see `vaekit demonstrate --help`.", show_default=False)],
    episodes: Annotated[int, typer.Option(help="Number of episodes.", **COUNT)] = 50,
    seed: Annotated[int, typer.Option(help="Seed of the first episode; choose seeds that the demonstrations do not have.", **SEED)] = 1000,
    execute: Annotated[str | None, typer.Option(help="ensemble, or how many actions of each chunk to play. Default: the run's own.", show_default=False)] = None,
    z: Annotated[str | None, typer.Option(help="episode, chunk or mean. Default: the run's own.", show_default=False)] = None,
    archive: Annotated[Path | None, typer.Option(help="Act with the z of an elite of this archive of `vaekit evolve`, in all episodes.", show_default=False, **PLACE)] = None,
    at: Annotated[str | None, typer.Option(help="With --archive: measures, such as 0.3,0.5. The elite nearest to them is taken.", show_default=False)] = None,
    task: Annotated[str | None, typer.Option(help="The task, in the words of the demonstrations, for a policy that sees the task.", show_default=False)] = None,
    monitor: Annotated[str | None, typer.Option(help="Count the alarms of a monitor (observation or disagreement), calibrated on 50 other episodes of the policy.", show_default=False)] = None,
    video: Annotated[Path | None, typer.Option(help="A folder to write a video of each episode to.", show_default=False, **PLACE)] = None,
    device: Device = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:  # fmt: skip
    """Test a policy in an environment: success with its interval, return, latency."""
    import json
    from functools import partial

    import numpy as np

    from vaekit.errors import UserError
    from vaekit.robots.environments import make
    from vaekit.robots.rollout import hold_elite, load_policy, rollout_lines
    from vaekit.robots.rollout import rollout as roll
    from vaekit.show.track import track

    if (archive is None) != (at is None) or (archive and z):
        raise UserError("--archive and --at go together, and without --z: the archive says which z")
    policy = load_policy(run, execute=execute, z=z, device=device)
    if archive and at:
        say(hold_elite(policy, archive, at))
    env = make(environment, cameras=policy.sees_cameras)
    env.extra = {"task": np.asarray(task)} if task else {}
    if monitor:
        from vaekit.robots.monitor import watched

        policy = watched(policy, env, monitor, seed + episodes)
    found = roll(policy, env, episodes, seed, video=video, track=partial(track, what="episodes"))
    lines = rollout_lines(found)
    if monitor:
        from vaekit.robots.monitor import alarm_lines, alarms

        found["monitor"] = alarms(policy.episodes)
        lines += alarm_lines(found["monitor"])
    print(json.dumps(found, indent=2) if as_json else "\n".join(lines))
