"""Run every command and every block of code of the documentation, each page in an empty directory: `make docs-check`.

    python docs/check.py                          # README.md and all pages of docs/
    python docs/check.py docs/tutorials/gaps.md   # these pages
    FRESH/bin/python docs/check.py --installed docs/tutorials/ten-minutes.md   # with the package of another environment

Blocks of ```sh run in bash, blocks of ```python share one interpreter for each page. A block of python or yaml whose first line is
`# NAME.py` or `# NAME.yaml` is written to that file. Other blocks are not run. Comments in the page, which readers do not see, say more:

    <!-- check: vaekit fit += --epochs 1 -->    later commands that begin so get these words
    <!-- check: epochs=100 -> epochs=1 -->      replaced in later blocks
    <!-- check: skip: needs a cluster -->       the next block is not run, for this reason
    <!-- check: background: URL -->             the next block runs until the page ends; URL answers before the page goes on
    <!-- check: setup ... -->                   commands that readers do not need, on lines of their own
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BLOCK = re.compile(
    r"^[ ]{0,3}<!-- check: (?P<order>.*?) ?-->[ ]*$|^(?P<fence>```+)(?P<language>[^\s`]*)[^\n]*\n(?P<code>.*?)^(?P=fence)[ ]*$",
    re.MULTILINE | re.DOTALL,
)
FILE = re.compile(r"# ([\w./-]+\.(?:py|ya?ml|toml|txt|csv))\s*\n")
PAGES = ("README.md", "docs/**/*.md")


class PageError(Exception):
    """What a block did wrong."""


@dataclass
class Block:
    """A block of a page: its language, its text, and the line of the page where it begins."""

    language: str
    code: str
    line: int


@dataclass
class Page:
    """A page that is being run in `folder`."""

    path: Path
    folder: Path
    append: list[tuple[str, str]] = field(default_factory=list)
    replace: list[tuple[str, str]] = field(default_factory=list)
    skip: str = ""
    background: str = ""
    skipped: list[str] = field(default_factory=list)
    python: subprocess.Popen[str] | None = None
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)
    blocks: int = 0

    def run(self) -> None:
        try:
            for found in parts(self.path.read_text()):
                if isinstance(found, str):
                    self.order(found)
                else:
                    self.block(found)
        finally:
            self.end()

    def order(self, text: str) -> None:
        """Obey a comment."""
        word, _, rest = text.partition(":")
        if text.startswith("setup"):
            self.shell(text.removeprefix("setup"))
        elif word == "skip" and rest.strip():
            self.skip = rest.strip()
        elif word == "background":
            self.background = rest.strip()
        elif " += " in text:
            self.append.append(tuple(text.split(" += ", 1)))  # type: ignore[arg-type]
        elif " -> " in text:
            self.replace.append(tuple(text.split(" -> ", 1)))  # type: ignore[arg-type]
        else:
            raise PageError(f"<!-- check: {text} --> is not an order: see docs/check.py")

    def block(self, block: Block) -> None:
        if block.language not in ("sh", "python", "yaml"):
            return
        if self.skip:
            self.skipped.append(f"{self.path.relative_to(ROOT)}:{block.line}: {self.skip}")
            self.skip = ""
            return
        self.blocks += 1
        code = block.code
        for old, new in self.replace:
            code = code.replace(old, new)
        try:
            if named := FILE.match(code):
                path = self.folder / named[1]
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(code)
            elif block.language == "sh":
                self.shell(self.extended(code))
            elif block.language == "python":
                self.interpret(code)
        except PageError as e:
            raise PageError(f"{self.path.relative_to(ROOT)}:{block.line}: {e}") from None

    def extended(self, code: str) -> str:
        """The commands with the words that the page adds to some of them, before a comment and before what follows on the line."""
        lines = code.replace("\\\n", " ").splitlines()
        for start, words in self.append:
            for i, line in enumerate(lines):
                if re.match(rf"\s*{re.escape(start)}(\s|$)", line):
                    command, *rest = re.split(r"(\s+(?:#|\||&&|>|;)\s?.*)", line, maxsplit=1)
                    lines[i] = f"{command} {words}{''.join(rest)}"
        return "\n".join(lines) + "\n"

    def shell(self, code: str) -> None:
        command = ["bash", "-euo", "pipefail", "-c", code]
        if self.background:
            self.running.append(subprocess.Popen(command, cwd=self.folder, env=environment(), start_new_session=True))
            wait(self.background)
            self.background = ""
            return
        done = subprocess.run(command, cwd=self.folder, env=environment(), capture_output=True, text=True)
        if done.returncode:
            raise PageError(f"exit code {done.returncode}\n{code}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")

    def interpret(self, code: str) -> None:
        """Run code in the interpreter of the page."""
        if self.python is None:
            self.python = subprocess.Popen(
                [sys.executable, "-c", INTERPRETER], cwd=self.folder, env=environment(), text=True,
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
        assert self.python.stdin
        assert self.python.stdout
        self.python.stdin.write(repr(code) + "\n")
        self.python.stdin.flush()
        lines = []
        for line in self.python.stdout:
            if line.startswith(END):
                if line.strip() != END + "0":
                    raise PageError(f"{code}\n{''.join(lines)[-4000:]}")
                return
            lines.append(line)
        raise PageError(f"the interpreter ended\n{code}\n{''.join(lines)[-4000:]}")

    def end(self) -> None:
        if self.python:
            self.python.kill()
            self.python.wait()
        for process in self.running:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


END = "--- end of block "
INTERPRETER = f"""
import ast, sys, traceback
sys.path.insert(0, "")
import __main__
for line in sys.stdin:
    try:
        exec(compile(ast.literal_eval(line), "<block>", "exec"), __main__.__dict__)
        print("{END}0", flush=True)
    except BaseException:
        traceback.print_exc(file=sys.stdout)
        print("{END}1", flush=True)
"""


def parts(text: str) -> Iterator[str | Block]:
    """The comments to the checker and the blocks of a page, in their order."""
    for match in BLOCK.finditer(text):
        if match["order"] is not None:
            yield match["order"]
        else:
            yield Block(match["language"], match["code"], text.count("\n", 0, match.start()) + 1)


def environment() -> dict[str, str]:
    """Programs of this interpreter first, small pictures of progress, and the package of this tree."""
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    tree = [] if "--installed" in sys.argv else [str(ROOT / "src")]
    package = os.pathsep.join(filter(None, [*tree, os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PATH": path, "PYTHONPATH": package, "MPLBACKEND": "agg", "BROWSER": "true", "COLUMNS": "100"}


def wait(address: str, seconds: float = 180) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(address, timeout=2):
                return
        except OSError:
            time.sleep(0.2)
    raise PageError(f"{address} did not answer within {seconds:.0f} seconds")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--installed", action="store_true", help="of the package that is installed, not of this tree")
    parser.add_argument("--keep", type=Path, help="run in folders of this one, and keep them")
    options = parser.parse_args()
    pages = [p.resolve() for p in options.pages] or [
        p for pattern in PAGES for p in sorted(ROOT.glob(pattern)) if not {"generated", "_build"} & set(p.parts)
    ]
    faults, skipped, blocks, start = 0, list[str](), 0, time.monotonic()
    for path in pages:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="vaekit-docs-") as temporary:
            folder = options.keep / path.stem if options.keep else Path(temporary)
            folder.mkdir(parents=True, exist_ok=True)
            page = Page(path, folder)
            try:
                page.run()
            except PageError as e:
                faults += 1
                print(f"FAULT {e}", flush=True)
        blocks += page.blocks
        skipped += page.skipped
        print(f"{path.relative_to(ROOT)}: {page.blocks} blocks, {time.monotonic() - began:.0f} s", flush=True)
    for line in skipped:
        print("not run:", line)
    print(
        f"{len(pages)} pages, {blocks} blocks, {len(skipped)} not run, {faults} faults, {time.monotonic() - start:.0f} s"
    )
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
