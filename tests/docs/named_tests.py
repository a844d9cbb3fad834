"""The tests of a file, for tables that name them."""

import ast
from functools import cache
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]


@cache
def functions_of(file: str) -> set[str]:
    """Return the names of the functions in a file below the repository, none if it is not there."""
    path = REPO / file
    if not path.is_file():
        return set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
