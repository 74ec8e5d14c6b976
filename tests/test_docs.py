"""The documentation: its commands have the options that they give, and the checker runs a page as its comments say."""

import re
import shlex
from pathlib import Path

import check
import pytest
import typer.main

from vaekit.cli import app, dotted

ROOT = Path(__file__).resolve().parents[1]

PAGES = [p for pattern in check.PAGES for p in ROOT.glob(pattern) if not {"generated", "_build"} & set(p.parts)]
VERBS = typer.main.get_command(app).commands


def commands(page: Path) -> list[list[str]]:
    """The words of each `vaekit ...` in the blocks of a page that are commands."""
    found = []
    for part in check.parts(page.read_text()):
        if isinstance(part, check.Block) and part.language == "sh":
            for line in part.code.replace("\\\n", " ").splitlines():
                words = shlex.split(line, comments=True)
                ends = [i for i, word in enumerate(words) if word in ("&&", "|", "||", ";", "&", ">")] + [len(words)]
                starts = [0, *(i + 1 for i in ends[:-1])]
                found += [words[a:b] for a, b in zip(starts, ends, strict=True)]
    return [words for words in found if len(words) > 1 and words[0].endswith("vaekit") and words[1][0] != "-"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_has_the_options_that_a_page_gives_it(page):
    for _, verb, *words in commands(page):
        assert verb in VERBS, f"{page}: vaekit {verb}"
        known = {
            option
            for p in VERBS[verb].get_params(typer.Context(VERBS[verb]))
            for option in [*p.opts, *p.secondary_opts]
        } | {"--help"}
        for word in dotted(words):
            option = word.partition("=")[0]
            if re.fullmatch(r"--?[a-zA-Z][\w-]*", option):
                assert option in known, f"{page}: vaekit {verb} {option}"


def test_every_block_has_a_language(tmp_path):
    """A block without one is not checked, and a reader cannot tell a command from its output."""
    for page in PAGES:
        languages = {part.language for part in check.parts(page.read_text()) if isinstance(part, check.Block)}
        assert "" not in languages, page


PAGE = """
# A page

<!-- check: setup
echo hidden > made.txt
-->
<!-- check: echo += small -->
<!-- check: 100 -> 1 -->
```sh
cat made.txt > seen.txt
echo 100 >> seen.txt  # a comment
```

```python
# own.py
value = 3
```

```python
from own import value
```

```text
this is not run
```

<!-- check: skip: it takes a year -->
```sh
exit 1
```

```python
open("seen.txt", "a").write(f"{value} {100}")
```
"""


def run(text: str, folder: Path) -> check.Page:
    path = ROOT / "docs" / "page.md"
    page = check.Page(path, folder)
    for part in check.parts(text):
        page.order(part) if isinstance(part, str) else page.block(part)
    page.end()
    return page


def test_a_page_is_run_as_its_comments_say(tmp_path):
    page = run(PAGE, tmp_path)
    assert (tmp_path / "seen.txt").read_text() == "hidden\n1 small\n3 1"
    assert page.blocks == 4
    assert [line.partition(": ")[2] for line in page.skipped] == ["it takes a year"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```sh\ntrue\nfalse\n```\n", "page.md:1: exit code 1"),
        ("\n```python\n1 / 0\n```\n", "(?s)page.md:2: .*ZeroDivisionError"),
        ("```python\nimport os\nos._exit(1)\n```\n", "the interpreter ended"),
        ("<!-- check: skip -->\n", "is not an order"),
    ],
)
def test_a_page_that_does_not_run_is_a_fault_with_its_line(text, told, tmp_path):
    with pytest.raises(check.PageError, match=told):
        run(text, tmp_path)
