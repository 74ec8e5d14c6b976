"""The command line: one verb, one short function. Imports that take time are inside the verbs."""

from __future__ import annotations

import logging
import os
import sys
import traceback
import warnings
from functools import partial
from typing import Annotated, Any

import typer

from vaekit.cli import data, deploy, evaluate, evolve, fit, generate, hub, pack, predict, robots, score, serve, tune  # noqa: F401  they register their verbs
from vaekit.cli.common import Log, app, say
from vaekit.errors import Note, UserError, out_of_memory

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
    traceback: Annotated[bool, typer.Option("--traceback", help="Show the traceback of a fault in vaekit.")] = False,
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
    """Run the command line. Exit codes: 0; 2 for an error that the user can mend, in one line; 130 for Ctrl-C; 1 for a fault in vaekit."""
    warnings.showwarning = partial(show_note, set())  # type: ignore[assignment]
    warnings.simplefilter("always", Note)
    sys.stderr = Log(sys.stderr)  # type: ignore[assignment]
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # a terminal may not know all characters
    logging.getLogger("vaekit").handlers = [Phases(logging.INFO)]
    logging.getLogger("vaekit").setLevel(logging.INFO)
    traceback = "--traceback" in sys.argv
    sys.argv[1:] = dotted([a for a in sys.argv[1:] if a != "--traceback"]) or ["--help"]
    try:
        code = app(standalone_mode=False) or 0
        sys.stdout.flush()
        sys.exit(code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except Exception as e:
        if isinstance(e, OSError):  # of the output, perhaps, where it would come again at the end
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        if isinstance(e, BrokenPipeError):  # who read the output has gone
            sys.exit(1)
        if line := mendable(e):
            fail(line)
        if traceback:
            raise
        fail(
            f"this is a fault in vaekit ({type(e).__name__}: {e}): please report it; --traceback shows where it is",
            code=1,
        )


class Phases(logging.Handler):
    """Prints which phase of the work begins. Python users see nothing of it."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())
        if record.exc_info and record.exc_info[0]:
            traceback.print_exception(*record.exc_info)


def mendable(error: Exception) -> str:
    """Return what to tell the user about an error that they can mend; "" if they cannot."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, CommandLineError):
        return f"{error.format_message()} (see vaekit --help)"
    if out_of_memory(error):
        return f"there is not enough memory: ask for less, such as fewer rows, units or steps ({error})"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename or 'the system'}: {error.strerror}"
    return ""


def show_note(said: set[str], message: Any, category: type[Warning], filename: str, lineno: int, *rest: Any) -> None:
    """Print a warning once, in one readable line."""
    if issubclass(category, UserWarning) and str(message) not in said:
        said.add(str(message))
        say(f"note: {message}")


def fail(message: str, code: int = 2) -> None:
    say(f"vaekit: error: {' '.join(message.split())}")
    sys.exit(code)


if __name__ == "__main__":
    main()
