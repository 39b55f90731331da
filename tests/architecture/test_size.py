"""Small enough to be read: a security review of the child is an afternoon."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.sources import files, lines_of_code, name_of, tree

FILE_LINES = 500
FUNCTION_LINES = 60
COMMAND_LINES = 60  # besides its tables
CHILD_LINES = 1000  # of code; fifty of them copy a tree, twenty let go of what others have open

# What may be longer, and the one clear reason
LONGER = {
    "oci.config": (
        560,
        "a Record and a parser for each object of the specification: one table, in its order",
    ),
    "plan.launch.plan_launch": (90, "the order of a whole launch, to be read at one go"),
    "plan.process.plan_process": (70, "one field of the process object after the other"),
    "plan.stub._code_aarch64": (80, "one program in machine code, line by line"),
}

# Written by a program from the vendored schemas or tables
GENERATED = ("oci.schema_check", "plan.syscalls")

MODULES = [pytest.param(path, id=name_of(path) or "pyrunc") for path in files()]


def length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("path", [path for path in MODULES if path.id not in GENERATED])
def test_a_file_is_short(path: Path):
    limit, _ = LONGER.get(name_of(path), (FILE_LINES, ""))
    assert len(path.read_text().splitlines()) <= limit


@pytest.mark.parametrize("path", [path for path in MODULES if path.id not in GENERATED])
def test_a_function_fits_a_screen(path: Path):
    long = {
        node.name: length(node)
        for node in ast.walk(tree(path))
        if isinstance(node, ast.FunctionDef)
        and length(node) > LONGER.get(f"{name_of(path)}.{node.name}", (FUNCTION_LINES, ""))[0]
    }
    assert long == {}


@pytest.mark.parametrize("path", files("cli/commands"), ids=name_of)
def test_a_command_parses_calls_and_prints_and_that_is_all(path: Path):
    tables = sum(length(node) for node in tree(path).body if isinstance(node, ast.Assign))
    assert len(path.read_text().splitlines()) - tables <= COMMAND_LINES


def test_what_runs_between_clone_and_exec_is_an_afternoons_reading():
    own = sum(lines_of_code(path.read_text()) for path in files("child"))
    used = sum(lines_used_by_child(path) for path in files("kernel"))
    assert own + used <= CHILD_LINES, f"child has {own} lines and uses {used} of kernel"


def lines_used_by_child(path: Path) -> int:
    """Of the functions and classes of a kernel module that child names, and that these name in turn."""
    source = path.read_text()
    defined = {
        node.name: node
        for node in ast.parse(source).body
        if isinstance(node, (ast.FunctionDef, ast.ClassDef))
    }
    wanted = [name for own in files("child") for name in names_in(tree(own)) if name in defined]
    reached: set[str] = set()
    while wanted:
        name = wanted.pop()
        if name not in reached:
            reached.add(name)
            wanted += [other for other in names_in(defined[name]) if other in defined]
    return sum(lines_of_code(ast.get_source_segment(source, defined[name]) or "") for name in reached)


def names_in(node: ast.AST) -> set[str]:
    return {
        name
        for child in ast.walk(node)
        for name in (
            [child.id] if isinstance(child, ast.Name)
            else [child.attr] if isinstance(child, ast.Attribute)
            else [alias.name for alias in child.names] if isinstance(child, ast.ImportFrom)
            else []
        )
    }  # fmt: skip
