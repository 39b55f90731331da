"""The program's sources as the tests of this directory see them."""

from __future__ import annotations

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
PACKAGE = CHECKOUT / "pyrunc"


def files(below: str = "") -> list[Path]:
    return sorted(path for path in (PACKAGE / below).rglob("*.py"))


def name_of(path: Path) -> str:
    """`cli.main` for pyrunc/cli/main.py, `cli` for its package's __init__, and nothing for pyrunc's own."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), str(path))


def imports(node: ast.AST) -> Iterator[tuple[int, str]]:
    """(line, module) of each import; `from a import b` counts as a.b, which is a module or a name in one."""
    for child in ast.walk(node):
        if isinstance(child, ast.Import):
            yield from ((child.lineno, alias.name) for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert not child.level, f"line {child.lineno}: imports are absolute here"
            yield from ((child.lineno, f"{child.module}.{alias.name}") for alias in child.names)


def lines_of_code(source: str) -> int:
    """Without blank lines, comments and docstrings: explaining more must not count against anyone."""
    passed_over = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT)
    lines = {
        line
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type not in passed_over and token.string
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(lines - _docstring_lines(ast.parse(source)))


def _docstring_lines(module: ast.Module) -> set[int]:
    documented = (ast.Module, ast.ClassDef, ast.FunctionDef)
    first = [node.body[0] for node in ast.walk(module) if isinstance(node, documented) and node.body]
    return {
        line
        for node in first
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")
