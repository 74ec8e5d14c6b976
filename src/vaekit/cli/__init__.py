"""The command line: one verb, one short function. Imports that take time are inside the verbs."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer

from vaekit.cli import fit, generate, judge, odd, predict, robots  # noqa: F401  they register their verbs
from vaekit.cli.common import app, say
from vaekit.errors import UserError

# Every mistake on the command line itself; typer names it only as an ancestor of the errors it does name.
CommandLineError: Any = next(c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException")


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
    warnings.showwarning = note  # type: ignore[assignment]
    sys.argv[1:] = dotted(sys.argv[1:]) or ["--help"]
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except UserError as e:
        fail(str(e))
    except CommandLineError as e:
        fail(f"{e.format_message()} (see vaekit --help)")
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)


def note(message: Any, category: type[Warning], filename: str, lineno: int, *rest: Any) -> None:
    """A warning as a person wants to read it."""
    if issubclass(category, UserWarning):
        say(f"note: {message}")


def fail(message: str) -> None:
    print(f"vaekit: error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(2)


if __name__ == "__main__":
    main()
