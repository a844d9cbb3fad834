"""Which source files decide what a module computes: the ones that it imports, and those that these import.

From this follow the version of a stage's items in the store, and the check of dvc.yaml's `deps`.
"""

import ast
import hashlib
from collections.abc import Iterable, Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("actrec", "pipeline")
# These check and talk, they compute nothing that ends up in a file: params has no defaults, so what counts is in
# params.yaml, which DVC tracks. Were they counted, a better error text would train everything again.
NO_INFLUENCE = ("actrec.params", "actrec.errors", "actrec.console")


def imports(module: str) -> set[str]:
    """Return the project's modules that decide what `module` computes, itself and packages' `__init__` included."""
    found: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in found or _has_no_influence(name) or not _file(name):
            continue
        found.add(name)
        waiting += _imported(name)
        if "." in name:
            waiting.append(name.rpartition(".")[0])
    return found


def files(module: str) -> list[Path]:
    """Return the source files of `imports(module)`, relative to the project, sorted."""
    paths = [path for name in imports(module) if (path := _file(name)) and not is_only_docstring(path)]
    return sorted(path.relative_to(_ROOT) for path in paths)


@cache
def code_version(module: str, *tools: str) -> str:
    """Return a digest of everything that decides what `module` computes.

    Args:
        module: Its whole import closure counts.
        tools: Names of installed packages whose release counts as well.
    """
    digest = hashlib.sha256()
    for file in files(module):
        digest.update(f"{file.as_posix()}\0".encode() + (_ROOT / file).read_bytes() + b"\0")
    for tool in tools:
        digest.update(f"{tool}={_version(tool)}\0".encode())
    return digest.hexdigest()


def is_only_docstring(path: Path) -> bool:
    """Tell whether a file defines nothing, as the `__init__` of most packages."""
    return all(isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) for node in _body(path))


@cache
def _body(path: Path) -> list[ast.stmt]:
    return ast.parse(path.read_text(encoding="utf-8")).body


def _version(tool: str) -> str:
    try:
        return version(tool)
    except PackageNotFoundError:
        return "absent"


def _has_no_influence(name: str) -> bool:
    return any(name == quiet or name.startswith(quiet + ".") for quiet in NO_INFLUENCE)


def _file(name: str) -> Path | None:
    path = _ROOT.joinpath(*name.split("."))
    for candidate in (path.with_suffix(".py"), path / "__init__.py"):
        if candidate.is_file():
            return candidate
    return None


def _imported(name: str) -> list[str]:
    path = _file(name)
    assert path is not None
    names = []
    for node in _statements(_body(path)):
        match node:
            case ast.Import(names=aliases):
                names += [alias.name for alias in aliases]
            case ast.ImportFrom(module=str(source), level=0, names=aliases):
                names += [source, *(f"{source}.{alias.name}" for alias in aliases)]
            case ast.ImportFrom():
                raise ValueError(f"{path}: relative import in line {node.lineno}; write it absolute")
    return [name for name in names if name.split(".")[0] in _PACKAGES]


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    """Yield all nodes below `body` but what is imported for annotations alone."""
    for node in body:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            yield from _statements(node.orelse)
            continue
        yield node
        yield from _statements(ast.iter_child_nodes(node))
