"""The examples in docstrings of the reference run, and each class and function that the reference lists has one."""

import doctest
import inspect
import re
import warnings
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

import docstrings
import pytest

PAGES = Path(__file__).parents[1] / "docs" / "reference" / "api"
SETUP = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)


def listed() -> dict[str, list[str]]:
    """The classes and functions of the pages, and the methods that a page names."""
    names = {}
    for page in sorted(PAGES.glob("*.md")):
        for kind, name, members in docstrings.LISTED.findall(page.read_text(encoding="utf-8")):
            if kind != "method":
                names[name] = members.split(", ") if members else []
    return names


LISTED = listed()


def found(name: str) -> Any:
    """The class or function of this name, also where a module has the same one."""
    return resolve_name(":".join(name.rsplit(".", 1)))


def documented(name: str) -> list[tuple[str, str]]:
    """The docstrings of an object, and of the methods that its page shows, by name."""
    of = found(name)
    texts = [(name, inspect.getdoc(of) or "")]
    if inspect.isclass(of):
        own = LISTED[name] or [member for member in vars(of) if not member.startswith("_")]
        docs = {member: inspect.getdoc(inspect.getattr_static(of, member)) or "" for member in own}
        texts += [(f"{name}.{member}", text) for member, text in docs.items() if text]
    return texts


@pytest.fixture(scope="module")
def known():
    """The names that examples may use: what the code of the index page makes."""
    code = SETUP.search((PAGES / "index.md").read_text(encoding="utf-8"))[1]
    names = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        exec(code, names)
    return names


def test_the_pages_list_what_the_package_offers():
    import vaekit

    offered = {f"vaekit.{name}" for name in vaekit.__all__ if name != "__version__"}
    assert offered <= LISTED.keys()


@pytest.mark.parametrize("name", LISTED)
def test_it_says_what_it_is_and_has_an_example(name):
    text = inspect.getdoc(found(name)) or ""
    first = text.splitlines()[0]
    assert first.endswith((".", ":")), first
    assert ">>> " in text, f"{name} has no example"


@pytest.mark.parametrize("name", [f"{of}.{each}" for of in ("vaekit.VAE", "vaekit.CVAE") for each in LISTED[of]])
def test_a_method_of_a_vae_has_an_example(name):
    of, member = name.rsplit(".", 1)
    method = inspect.getattr_static(found(of), member)
    assert ">>> " in (inspect.getdoc(method) or ""), f"{name} has no example"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", LISTED)
def test_its_examples_are_true(name, known, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    said = []
    for where, text in documented(name):
        examples = doctest.DocTestParser().get_doctest(text, dict(known), where, None, 0)
        runner.run(examples, out=said.append)
    assert not runner.failures, "".join(said)
