"""Experiments out of git, where DVC keeps each as a commit below refs/exps/: no DVC is loaded to read them."""

import json
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from actrec import paths
from actrec.compare.experiment import Experiment, flat
from actrec.errors import UserError, did_you_mean

WORKSPACE = "workspace"
_FILES = (paths.PARAMS, paths.METRICS, paths.LOCK)
# refs/exps/<baseline commit, its first two digits a folder>/<name>; what is below refs/exps/exec is DVC's own.
_EXPERIMENT = re.compile(r"refs/exps/([0-9a-f]{2})/([0-9a-f]{38,62})/(.+)")
_GIT_TIMEOUT_S = 60


@dataclass(frozen=True, slots=True)
class Ref:
    """An experiment that DVC keeps: its name, the commit that it started from, and its own ref."""

    name: str
    baseline: str
    ref: str


def experiments_named(names: Sequence[str], *, all_commits: bool = False) -> list[Experiment]:
    """Return experiments, branches and commits by their names, as read out of git.

    Args:
        names: Of experiments (also with * and ?), branches, tags, commits, or `workspace`. None: every experiment of
            the current commit, newest first, and that commit; before them the workspace, if it is none of these.
            Settings that were not run have no scores: those that lie beside them are of others.
        all_commits: Without names: the experiments of every commit.

    Raises:
        UserError: if a name is unknown, or without names there is no experiment.
    """
    head = _head()
    if head is None:
        raise UserError("compare reads experiments out of git, and there is no commit here: git init, git commit")
    refs = _experiments()
    if names:
        return [found for name in dict.fromkeys(names) for found in _named(name, refs, head)]
    own = [ref for ref in refs if all_commits or ref.baseline == head]
    here, started_from = _of_workspace(), _of_revision(head, "HEAD")
    if not own and not (here.metrics and started_from.metrics and here.metrics != started_from.metrics):
        elsewhere = " Other commits have some: --all-commits." if refs else ""
        raise UserError(
            f"commit {head[:7]} has no experiments yet.{elsewhere} Make one: dvc exp run -S train.lr=0.001 · several: "
            "actrec sweep · or name branches and commits: actrec compare workspace HEAD"
        )
    kept = [*(_of_experiment(ref) for ref in own), started_from]
    is_kept = any((here.params, here.metrics) == (other.params, other.metrics) for other in kept)
    return kept if is_kept else [here, *kept]


def experiments_of_head() -> list[Ref]:
    """Return the experiments that started from the current commit, newest first."""
    head = _head()
    return [ref for ref in _experiments() if ref.baseline == head]


def _head() -> str | None:
    return _git("rev-parse", "--verify", "--quiet", "HEAD")


def _experiments() -> list[Ref]:
    """Return all experiments of all commits, newest first."""
    listed = _git("for-each-ref", "--sort=-committerdate", "--format=%(refname)", "refs/exps/") or ""
    found = [match for line in listed.splitlines() if (match := _EXPERIMENT.fullmatch(line))]
    return [Ref(match[3], match[1] + match[2], match[0]) for match in found]


def _named(name: str, refs: Sequence[Ref], head: str) -> list[Experiment]:
    if name == WORKSPACE:
        return [_of_workspace()]
    # An experiment of this commit before one of the same name that started from another.
    near = [ref for ref in refs if ref.baseline == head] + [ref for ref in refs if ref.baseline != head]
    if any(sign in name for sign in "*?"):
        first = {ref.name: ref for ref in reversed(near) if fnmatchcase(ref.name, name)}
        if first:
            return [_of_experiment(first[known]) for known in sorted(first)]
        raise UserError(_unknown(name, refs))
    for ref in near:
        if ref.name == name:
            return [_of_experiment(ref)]
    commit = None if name.startswith("-") else _git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
    if commit is None:
        raise UserError(_unknown(name, refs))
    return [_of_revision(commit, name)]


def _unknown(name: str, refs: Sequence[Ref]) -> str:
    branches = (_git("for-each-ref", "--format=%(refname:short)", "refs/heads", "refs/tags") or "").split()
    known = list(dict.fromkeys([*(ref.name for ref in refs), *branches, WORKSPACE]))
    return f"no experiment, branch or commit '{name}'. {did_you_mean(name, known)}"


def _of_workspace() -> Experiment:
    return _experiment(WORKSPACE, *(file.read_text(encoding="utf-8") if file.is_file() else None for file in _FILES))


def _of_experiment(ref: Ref) -> Experiment:
    # DVC has run it with its settings; to read the dvc.lock of each would take longer than all the rest.
    return _experiment(ref.name, *(_git("show", f"{ref.ref}:./{file}") for file in _FILES[:2]), lock=None)


def _of_revision(revision: str, name: str) -> Experiment:
    return _experiment(name, *(_git("show", f"{revision}:./{file}") for file in _FILES))


def _experiment(name: str, params: str | None, metrics: str | None, lock: str | None) -> Experiment:
    settings = _yaml(params, paths.PARAMS, name)
    if not metrics:
        return Experiment(name, flat(settings), note=f"no {paths.METRICS}")
    if not _was_run(settings, _yaml(lock, paths.LOCK, name)):
        return Experiment(name, flat(settings), note=f"{paths.PARAMS} not run: dvc repro")
    return Experiment(name, flat(settings), _json(metrics, name))


def _was_run(settings: Mapping[str, Any], lock: Mapping[str, Any]) -> bool:
    """Tell whether every stage in dvc.lock was run with these settings; true if DVC has recorded none."""
    recorded = [stage.get("params", {}).get(paths.PARAMS.name, {}) for stage in lock.get("stages", {}).values()]
    return all(_at(settings, name) == value for own in recorded for name, value in own.items())


def _at(settings: Any, name: str) -> Any:
    for part in name.split("."):
        settings = settings.get(part) if isinstance(settings, Mapping) else None
    return settings


def _yaml(text: str | None, file: Path, name: str) -> dict[str, Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    try:
        found = YAML(typ="safe", pure=True).load(text) if text else {}
    except YAMLError as error:
        raise UserError(f"{name}: its {file} is not valid YAML: {' '.join(str(error).split())}") from None
    return found if isinstance(found, dict) else {}


def _json(text: str | None, name: str) -> dict[str, Any]:
    try:
        found = json.loads(text) if text else {}
    except ValueError as error:
        raise UserError(f"{name}: its {paths.METRICS} is not valid JSON: {error}") from None
    return found if isinstance(found, dict) else {}


def _git(*arguments: str) -> str | None:
    """Return what git prints, None if it fails."""
    # Looking must not take the lock that another git command may want.
    env = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", *arguments], capture_output=True, encoding="utf-8", timeout=_GIT_TIMEOUT_S, check=True, env=env
        )
    except FileNotFoundError:
        raise UserError("git is not installed, or not on PATH") from None
    except subprocess.SubprocessError:
        return None
    return done.stdout.rstrip("\n")
