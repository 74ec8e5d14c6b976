"""Models as a service."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vaekit.cli.common import PLACE, app, fetched, say


@app.command()
def serve(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Run directories, hf://user/name, or folders of `vaekit export`, which are served without PyTorch.", show_default=False)],
    host: Annotated[str, typer.Option(help="The address to listen on. 0.0.0.0: all addresses of this machine.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on. 0: any free one.", min=0, max=65535)] = 8000,
    token_file: Annotated[Path | None, typer.Option(help="A file with one token per line. Each request has to bring one. Needed if others can reach the address.", show_default=False, **PLACE)] = None,
    waiting: Annotated[int, typer.Option(help="Requests of one model that may be under way at once. Further ones get the answer 429.", min=1)] = 256,
    deadline: Annotated[float, typer.Option(help="The most seconds that a request may take.", min=0.01, max=86400)] = 30.0,
    body: Annotated[int, typer.Option(help="Largest body of a request, in MiB.", min=1)] = 16,
    rows: Annotated[int, typer.Option(help="The most rows of a request, in or out.", min=2)] = 10_000,
    device: Annotated[str, typer.Option(help="Where runs compute: cpu (by onnxruntime), or cuda, cuda:1, mps, auto (by PyTorch).")] = "cpu",
    threads: Annotated[int, typer.Option(help="Threads of each model.", min=1, max=1024)] = 1,
    drain: Annotated[float, typer.Option(help="Seconds after SIGTERM in which open requests are still answered.", min=0, max=86400)] = 3.0,
) -> None:  # fmt: skip
    """Serve runs over HTTP: sample, encode, decode, reconstruct, interpolate, score, impute, predict, act. http://HOST:PORT/openapi.json describes it; it also speaks the Open Inference Protocol."""
    from vaekit.errors import extra_needed

    try:
        from vaekit.serve.models import Limits, names_of
        from vaekit.serve.server import serve as start
    except ModuleNotFoundError as e:
        raise extra_needed("serve", str(e.name)) from e
    names = names_of(runs)
    places = [fetched(Path(run)) if run.startswith("hf:") else Path(run) for run in runs]
    limits = Limits(waiting=waiting, body=body << 20, rows=rows, deadline=deadline, threads=threads, device=device)
    start(dict(zip(names, places, strict=True)), host, port, token_file, limits, drain, say)
