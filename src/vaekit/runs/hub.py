"""Runs on the Hugging Face Hub. A repository there is a run directory: the same files under the same names, and a model card.

Only files that this module names go up or come down. None of them can hold code, so a repository of a stranger is as safe as a run
of a stranger; pickles that lie beside a run are never fetched.
"""

from __future__ import annotations

import logging
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vaekit.errors import UserError, extra_needed, note
from vaekit.files import FULL
from vaekit.runs.directory import (
    CONFIG,
    EVALUATION,
    LABELS_ALONE,
    LANGUAGE_MODEL,
    NOTES,
    PRIVACY,
    SAMPLER,
    TEMPERATURE,
    config_text,
    read_config,
)
from vaekit.training.checkpoint import METRICS, MODEL
from vaekit.uses.calibration import DETECTOR, FILE, MEMBER

CARD = "README.md"
FILES = (
    CONFIG, MODEL, METRICS, NOTES, EVALUATION, PRIVACY, TEMPERATURE, LABELS_ALONE, DETECTOR, SAMPLER.format("*"), FILE.format("*"),
    "tokenizer.json", CARD,
)  # fmt: skip
SHARED = [*FILES, *(f"{folder}/{name}" for folder in (LANGUAGE_MODEL, MEMBER.format("*")) for name in FILES)]
"""All that is sent and fetched, as patterns. Not the checkpoint, which only training needs; not the report, which shows rows."""
PICKLES = (".bin", ".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib")
SECONDS = 10.0  # that the Hub has to answer
FORM = "a run on the Hub is hf://user/name, or hf://user/name@revision with a branch, tag or commit"
link = os.symlink if os.name == "posix" else shutil.copy2

_borrowed: list[tempfile.TemporaryDirectory[str]] = []


# -- addresses ---------------------------------------------------------------------------------------------------------


def is_address(run: str | Path) -> bool:
    """Whether a run is named by its place on the Hub. A `Path` of hf://user/name has lost one of the slashes."""
    return Path(run).as_posix().startswith("hf:/")


def parsed(address: str | Path) -> tuple[str, str | None]:
    """The repository and the revision of hf://user/name@revision. UserError if it does not have this form."""
    name, at, revision = Path(address).as_posix().removeprefix("hf:/").lstrip("/").partition("@")
    if at and not is_revision(revision):
        raise UserError(f"{revision!r} is not the name of a revision: {FORM}")
    return repository(name), revision or None


def repository(name: str) -> str:
    """The name of a repository. UserError if it is not user/name."""
    from_hub = needed()
    try:
        from_hub.utils.validate_repo_id(name)
    except from_hub.errors.HFValidationError as e:
        raise UserError(f"{name!r} cannot be the name of a repository: {FORM}") from e
    if name.count("/") != 1:
        raise UserError(f"{name!r} lacks the user or the name: {FORM}")
    return name


def is_revision(text: str) -> bool:
    """Whether git may have such a name, and a cache such a file."""
    return bool(re.fullmatch(r"\w[\w./+#-]*", text)) and ".." not in text and not text.endswith(("/", ".lock"))


# -- fetching ----------------------------------------------------------------------------------------------------------


def folder_of(run: str | Path) -> Path:
    """The folder of a run: the run itself, or the files of a run on the Hub, which are fetched into the cache of huggingface_hub.

    Its name is then the commit, and it is not to be written to.

    Raises:
        UserError: there is no such repository or revision, it holds no run, or it cannot be fetched.
    """
    return fetched(*parsed(run)) if is_address(run) else Path(run)


def pinned(run: str | Path, folder: Path) -> str:
    """The address of the commit of a run on the Hub that was fetched into `folder`."""
    return f"hf://{parsed(run)[0]}@{folder.name}"


def borrowed(run: Path) -> Path:
    """Like `folder_of`, but a folder that may be written to: of a run on the Hub one that disappears at the end of the process."""
    if not is_address(run):
        return run
    name, _ = parsed(run)
    folder = folder_of(run)
    _borrowed.append(tempfile.TemporaryDirectory(prefix="vaekit-"))
    mine = Path(_borrowed[-1].name) / Path(name).name
    for file in shared_files(folder):
        (mine / file).parent.mkdir(parents=True, exist_ok=True)
        link((folder / file).resolve(), mine / file)
    logging.getLogger("vaekit").info("%s at commit %s", name, folder.name)
    return mine


def is_borrowed(run: Path) -> bool:
    return any(run.is_relative_to(folder.name) for folder in _borrowed)


def shared_files(folder: Path) -> list[str]:
    """Names of the files in a run's folder that are shared."""
    return sorted({p.relative_to(folder).as_posix() for name in SHARED for p in folder.glob(name) if p.is_file()})


def fetched(name: str, revision: str | None) -> Path:
    """The files of a run on the Hub, in the cache. Without a network, what was fetched before."""
    hub = needed()
    with explained(name, revision):
        try:
            info = hub.HfApi().model_info(name, revision=revision, timeout=SECONDS)
        except Exception as e:
            if isinstance(e, hub.errors.HfHubHTTPError) and e.response.status_code < 500:
                raise
            return in_cache(name, revision, e)
        check_run(name, revision, info)
        return Path(hub.snapshot_download(name, revision=revision, allow_patterns=SHARED))


def in_cache(name: str, revision: str | None, why: Exception) -> Path:
    """The folder that an earlier call fetched. Raises `why` if that is not the whole run."""
    hub = needed()
    try:
        folder = Path(hub.snapshot_download(name, revision=revision, allow_patterns=SHARED, local_files_only=True))
    except hub.errors.LocalEntryNotFoundError:
        raise why from None
    if not isinstance(why, hub.errors.OfflineModeIsEnabled):
        note(f"the Hub cannot be reached: this is {name} as it was fetched before, at commit {folder.name[:8]}")
    return folder


def check_run(name: str, revision: str | None, info: Any) -> None:
    """UserError, before anything large is fetched, if the repository does not hold a run. info: what the Hub says of it."""
    files = [each.rfilename for each in info.siblings]
    try:
        if CONFIG not in files:
            raise UserError(f"it lacks {CONFIG}")
        read_config(Path(needed().hf_hub_download(name, CONFIG, revision=info.sha)).parent)
    except UserError as e:
        raise UserError(
            f"{said(name, revision)} does not hold a run of vaekit, but {listed(files)}: name a repository that `vaekit push` made"
        ) from e


def listed(files: Sequence[str]) -> str:
    """The content of a repository, in words."""
    pickles = [file for file in files if file.lower().endswith(PICKLES)]
    others = [file for file in files if file not in pickles and not file.startswith(".git")]
    parts = [f"{'pickles' if len(pickles) > 1 else 'a pickle'} ({first(pickles)})"] * bool(pickles)
    return " and ".join([*parts, *[first(others)] * bool(others)]) or "nothing"


def first(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


# -- sending -----------------------------------------------------------------------------------------------------------


def check_push(name: str, revision: str | None = None) -> None:
    """UserError, before time is spent, if nothing can be sent there: the name, the package, the token, the network."""
    hub = needed()
    repository(name)
    if revision is not None and not is_revision(revision):
        raise UserError(f"{revision!r} is not the name of a branch: give one such as v2")
    if hub.get_token() is None:
        raise UserError(
            f"there is no token of the Hub, neither in HF_TOKEN nor in {hub.constants.HF_TOKEN_PATH}: make one that may write at "
            f"{hub.constants.ENDPOINT}/settings/tokens, and log in with `hf auth login`"
        )
    with explained(name, None):
        hub.HfApi().whoami()


def push(
    run: Path, name: str, *, revision: str | None = None, private: bool = False, message: str | None = None
) -> str:
    """Send the shared files of a run to a repository, which is made if it does not exist, in one commit. Files of a run that was
    there before are removed. Returns the address of the commit.

    Args:
        revision: a branch, which is made if it does not exist. None: the main one.
        private: only the user sees the repository. UserError if it exists and is public.
        message: of the commit.
    """
    files: dict[str, Any] = {file: str(run / file) for file in shared_files(run)}
    paths = machine_paths(read_config(run)["data"])
    for file in files:
        if Path(file).name == CONFIG:
            files[file] = config_text(without_paths(read_config((run / file).parent))).encode()
    if told := [file for file, content in files.items() if any(path in head(content) for path in paths)]:
        note(f"{', '.join(told)}: names a path of this machine, which readers will see")
    return commit(
        name, files, SHARED, kind="model", revision=revision, private=private, message=message or "Run of vaekit"
    )


def commit(
    name: str,
    files: dict[str, Any],
    owned: Sequence[str],
    *,
    kind: str,
    message: str,
    private: bool = False,
    revision: str | None = None,
) -> str:
    """Send files to a repository in one commit. Returns its address.

    Args:
        files: their paths here, or their bytes, by their names there.
        owned: patterns of files to remove there, where they are not among these.
        kind: "model", or "space" for a static page.
    """
    hub = needed()
    api, sdk = hub.HfApi(), {"space_sdk": "static"} if kind == "space" else {}
    with explained(name, revision):
        api.create_repo(name, repo_type=kind, private=private or None, exist_ok=True, **sdk)
        if private and not api.repo_info(name, repo_type=kind).private:
            raise UserError(f"the {kind} {name} exists and is public: make it private there, or choose another name")
        if revision:
            api.create_branch(name, repo_type=kind, branch=revision, exist_ok=True)
        there = api.list_repo_files(name, repo_type=kind, revision=revision)
        old = set(hub.utils.filter_repo_objects(there, allow_patterns=list(owned))) - files.keys()
        steps = [hub.CommitOperationAdd(file, content) for file, content in files.items()]
        steps += [hub.CommitOperationDelete(file) for file in sorted(old)]
        return api.create_commit(name, steps, repo_type=kind, revision=revision, commit_message=message).commit_url


def without_paths(values: dict[str, Any]) -> dict[str, Any]:
    """A config without the folder that training ran in, and with the last part alone of where its source is. The identity of the run
    does not depend on them."""
    data = {key: value for key, value in values["data"].items() if key != "folder"}
    source = data.get("source")
    return {**values, "data": {**data, "source": [*map(last, source)] if isinstance(source, list) else last(source)}}


def machine_paths(data: dict[str, Any]) -> set[str]:
    """Names of this machine that readers of a run do not need: the home of the user, the folder that training ran in, where the source
    lies."""
    source = data.get("source")
    named = [str(Path.home()), data.get("folder"), *(source if isinstance(source, list) else [source])]
    return {each for each in named if isinstance(each, str) and Path(each).is_absolute() and each != "/"}


def last(source: Any) -> Any:
    return Path(source).name if isinstance(source, str) and Path(source).is_absolute() else source


def head(content: str | bytes) -> str:
    """The beginning of a file that is to be sent, where a safetensors file has its description."""
    if isinstance(content, str):
        with open(content, "rb") as file:
            content = file.read(1 << 20)
    return content.decode("utf-8", "replace")


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def needed() -> Any:
    """The package huggingface_hub. UserError if it is not installed."""
    try:
        import huggingface_hub
        import huggingface_hub.errors
        import huggingface_hub.utils
    except ImportError as e:
        raise extra_needed("hub", "huggingface_hub") from e
    return huggingface_hub


@contextmanager
def explained(name: str, revision: str | None) -> Iterator[None]:
    """Turn what huggingface_hub, and the packages below it, raise into one line each. Meanwhile they are silent, but for progress in a terminal."""
    logger, bars = logging.getLogger("huggingface_hub"), needed().utils
    level, hidden = logger.level, bars.are_progress_bars_disabled() or sys.stderr.isatty()
    logger.setLevel(logging.ERROR)
    if not hidden:
        bars.disable_progress_bars()
    try:
        yield
    except UserError:
        raise
    except Exception as e:  # of whichever package does the work below: each has its own errors
        raise UserError(reason(e, name, revision)) from e
    finally:
        logger.setLevel(level)
        if not hidden:
            bars.enable_progress_bars()


def said(name: str, revision: str | None) -> str:
    return f"hf://{name}@{revision}" if revision else f"hf://{name}"


def reason(error: BaseException, name: str, revision: str | None) -> str:
    """The reason of a failure, and what to do."""
    hub = needed()
    errors, constants, run = hub.errors, hub.constants, said(name, revision)
    chain = [*causes(error)]
    for e in chain:
        if isinstance(e, OSError) and (e.errno in FULL or "os error 28" in str(e)):
            return f"the disk is full: free space in {constants.HF_HUB_CACHE}, or name another folder in HF_HOME"
        if isinstance(e, OSError) and e.filename:
            return f"{e.filename}: {e.strerror}; the cache is {constants.HF_HUB_CACHE}, and HF_HOME names another one"
        if isinstance(e, errors.OfflineModeIsEnabled):
            return f"{run} is not in the cache ({constants.HF_HUB_CACHE}), and HF_HUB_OFFLINE forbids the network: unset it"
        if isinstance(e, errors.GatedRepoError):
            return f"{run} is open to chosen users only: ask for access at {constants.ENDPOINT}/{name}"
        if isinstance(e, errors.RevisionNotFoundError):
            return f"{run}: the repository has no revision {revision!r}: name a branch, a tag or a commit of it"
        if isinstance(e, errors.RepositoryNotFoundError):
            seen = f"{token(hub)} does not open it" if hub.get_token() else "you are not logged in (`hf auth login`)"
            return f"there is no repository {name}, or it is private and {seen}: check the name"
        if isinstance(e, errors.HfHubHTTPError):
            return answered(hub, e, name)
    words = " ".join(str(error).split())[:200]
    if any(isinstance(e, errors.LocalEntryNotFoundError) or "Connect" in type(e).__name__ for e in chain):
        return f"{constants.ENDPOINT} cannot be reached, and {run} is not in the cache: check the network ({words})"
    return f"{run}: the transfer broke off ({type(error).__name__}: {words}): try again; what has arrived is kept"


def causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def answered(hub: Any, error: Any, name: str) -> str:
    """The meaning of the status code of the Hub's answer."""
    status, own = error.response.status_code, " ".join((error.server_message or "").split())[:200]
    if status == 401:
        return f"the Hub refuses {token(hub)}: make a new one at {hub.constants.ENDPOINT}/settings/tokens, and log in with `hf auth login`"
    if status == 403:
        return f"{token(hub)} may not do that with {name} ({own or 'forbidden'}): use one that may write there, or another name"
    if status == 429 or status >= 500:
        return f"the Hub answers {status} ({own or 'no reason given'}): try again later; what has arrived is kept"
    return f"the Hub does not accept that: {own or error}"


def token(hub: Any) -> str:
    """The place that the token comes from, without the token."""
    return f"the token in {'HF_TOKEN' if os.environ.get('HF_TOKEN') else hub.constants.HF_TOKEN_PATH}"
