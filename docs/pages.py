"""A Sphinx extension: pages that are made from the program and from benchmarks/results, and links that leave docs/."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import typer.main
from rich.text import Text

DOCS = Path(__file__).resolve().parent
ROOT = DOCS.parent
GENERATED = DOCS / "generated"
GITHUB = "https://github.com/vaekit/vaekit/blob/main/"
COPIED = {
    "CHANGELOG.md": "changelog",
    "CONTRIBUTING.md": "contributing",
    "SECURITY.md": "security",
    "benchmarks/README.md": "benchmarks/index",
}
CHECK = re.compile(r"^<!-- check: .*?-->[ ]*\n", re.MULTILINE | re.DOTALL)  # see check.py
LINK = re.compile(r"(\]\(|<img src=\")([^)#\s:\"]+)(#[^)\s\"]*)?")


def setup(app: Any) -> dict[str, bool]:
    app.connect("builder-inited", lambda app: make())
    app.connect("source-read", read)
    return {"parallel_read_safe": True}


def make() -> None:
    """Write the pages of docs/generated/ that differ from what is there, and remove those that have no source any more."""
    pages = {f"{page}.md": linked((ROOT / file).read_text(), file) for file, page in COPIED.items()}
    pages["benchmarks/index.md"] += "\n" + toctree("*", "All tables")
    pages["cli.md"] = cli()
    for table in sorted((ROOT / "benchmarks" / "results").glob("*.json")):
        pages[f"benchmarks/{table.stem}.md"] = linked(result(table), f"benchmarks/results/{table.name}")
    for name, text in pages.items():
        path = GENERATED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for path in [*GENERATED.glob("*.md"), *GENERATED.glob("benchmarks/*.md")]:
        if str(path.relative_to(GENERATED)) not in pages:
            path.unlink()


def toctree(pages: str, caption: str) -> str:
    return f"```{{toctree}}\n:glob:\n:maxdepth: 1\n:caption: {caption}\n\n{pages}\n```\n"


# -- links -------------------------------------------------------------------------------------------------------------


def read(app: Any, name: str, source: list[str]) -> None:
    """Mend the links of a page that leave docs/: on GitHub they lead to files, on the site to the pages made of them."""
    if not name.startswith("generated/"):
        source[0] = linked(CHECK.sub("", source[0]), f"docs/{name}.md")


def linked(text: str, file: str) -> str:
    """The Markdown of a file of the repository with links as the site has them."""

    def mend(match: re.Match[str]) -> str:
        before, target, anchor = match.groups()
        path = os.path.normpath(os.path.join(os.path.dirname(file), target))
        if path in COPIED:
            return f"{before}/generated/{COPIED[path]}.md{anchor or ''}"
        if path.startswith("benchmarks/results/") and (ROOT / path).with_suffix(".json").exists():
            return f"{before}/generated/benchmarks/{Path(path).name}"
        if path.startswith("docs/"):
            return (
                match.group(0) if file.startswith("docs/") else f"{before}/{path.removeprefix('docs/')}{anchor or ''}"
            )
        if (ROOT / path).exists():
            return f"{before}{GITHUB}{path}"
        return match.group(0)

    return LINK.sub(mend, text)


# -- tables ------------------------------------------------------------------------------------------------------------


def result(file: Path) -> str:
    """A table of benchmarks/results: its title from the Markdown beside it, all else from the JSON."""
    table, title = json.loads(file.read_text()), file.with_suffix(".md").read_text().splitlines()[0]
    return (
        "\n\n".join([title, table.get("notes", ""), markdown(table["rows"]), f"`{table['command']}`", table["machine"]])
        + "\n"
    )


def markdown(rows: list[dict[str, Any]]) -> str:
    """Rows as a Markdown table. The first row names the columns."""
    head = list(rows[0])
    lines = [head, ["---"] * len(head), *([str(row.get(column, "")) for column in head] for row in rows)]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


# -- the command line --------------------------------------------------------------------------------------------------


def cli() -> str:
    """Every verb of `vaekit` with its arguments and options, from the program itself."""
    from vaekit.cli import app

    program: Any = typer.main.get_command(app)
    parts = [
        "# Command line",
        "The same text as `vaekit VERB --help`. `--traceback` before a verb shows the traceback of a fault.",
    ]
    for name, command in sorted(program.commands.items()):
        context = typer.Context(command)
        usage = " ".join(["vaekit", name, *command.collect_usage_pieces(context)])
        parts += [f"## vaekit {name}", command.help, f"```text\n{usage}\n```"]
        panels: dict[str, list[dict[str, str]]] = {}
        for p in command.get_params(context):
            if p.name != "help":
                panels.setdefault(getattr(p, "rich_help_panel", None) or "Options", []).append(row(p))
        for panel, rows in panels.items():
            parts += [f"**{panel}**" if len(panels) > 1 else "", markdown(rows)]
    return "\n\n".join(filter(None, parts)) + "\n"


def row(parameter: Any) -> dict[str, str]:
    if parameter.param_type_name == "argument":
        name = f"`{parameter.metavar or parameter.name.upper()}`"
    else:
        name = ", ".join(f"`{o}`" for o in [*parameter.opts, *parameter.secondary_opts])
    text = " ".join(Text.from_markup(parameter.help or "").plain.split())
    shown = parameter.default if getattr(parameter, "show_default", False) else None
    if isinstance(shown, (str, int, float)) and not isinstance(shown, bool) and shown != "":
        text += f" Default: {shown}."
    return {"": name, " ": text}


if __name__ == "__main__":
    shutil.rmtree(GENERATED, ignore_errors=True)
    make()
