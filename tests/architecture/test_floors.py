"""The floors of the house: an import only ever points down. The table is the rule."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.architecture.sources import PACKAGE, files, imports, is_within, name_of, tree

GROUND = (
    "errors", "record", "jsonio", "files", "later", "log", "waiting", "options", "protowire", "thirdparty",
    "__version__",
)  # fmt: skip

OPERATIONS = ("plan.ops", "plan.makeops", "plan.rareops")

# package -> what it may import besides itself and the ground
FLOORS: dict[str, tuple[str, ...]] = {
    "kernel": (),
    "oci": (),
    "plan": ("oci", "kernel.const"),
    "linux": (*OPERATIONS, "plan.facts", "kernel"),
    "child": (*OPERATIONS, "kernel"),
    "runtime": ("oci", "plan", "linux", "child", "kernel"),
    # the runtime through shim.oci_runtime alone, which reaches it by name
    "shim": ("kernel", "oci.node", "oci.state", "linux.cgroups.oom"),
    "cli": ("oci", "runtime", "kernel.signals", "shim"),
    "spawner": ("runtime", "linux.facts", "kernel", "shim"),
    "image": ("oci", "kernel"),
    "network": ("kernel",),
    # plan.syscalls is a table of names
    "engine": (
        "image",
        "network",
        "oci",
        "kernel",
        "plan.syscalls",
        "shim.protocol",
        "shim.logreader",
        "shim.settings",
        "spawner.client",
    ),
    "api": ("engine", "oci.state"),  # see test_a_route_knows_no_engine
    # the API alone; an engine of its own, where no daemon runs, by session, which reaches api.local by name
    "docker": ("api.client", "api.status"),
    "library": ("oci", "runtime", "kernel.signals", "kernel.spawn"),
    "__main__": ("cli.main",),
}

# module -> the only places that may import it
RESERVED: dict[str, tuple[str, ...]] = {
    "ctypes": ("kernel",),
    "_ctypes": ("kernel",),
    "click": ("cli.face", "docker.face"),
    "jsonschema": ("oci.explain",),
    "referencing": ("oci.explain",),
    "pyroute2": ("linux.netdevices", "network.links"),
    "jeepney": ("linux.cgroups.systemd",),
    "ptrace": (),
    "rich": ("docker.progress",),
    "pyrunc.api.local": ("docker.session",),
    "argparse": (),
    "logging": (),
    "dataclasses": (),
    "enum": (),
    "asyncio": (),
    "threading": ("image", "network", "engine", "api"),
    "subprocess": ("cli.commands.ps", "image", "network", "engine", "docker.credentials"),
}

# Imports that wait until they are called for: each is dear, and wanted when a call has failed already
DEFERRED = {("", "importlib"), ("jsonio", "json")}

MODULES = [pytest.param(path, id=name_of(path) or "pyrunc") for path in files()]


@pytest.mark.parametrize("path", MODULES)
def test_an_import_points_down(path: Path):
    name = name_of(path)
    floor = name.partition(".")[0]
    allowed = (*GROUND, *(() if floor in GROUND or not floor else (floor, *FLOORS[floor])))
    wrong = [
        f"line {line}: {module}"
        for line, module in imports(tree(path))
        if is_within(module, "pyrunc")
        and module != "pyrunc"
        and not any(is_within(module.removeprefix("pyrunc."), package) for package in allowed)
    ]
    assert wrong == []


@pytest.mark.parametrize("path", MODULES)
def test_what_is_dear_or_dangerous_is_imported_where_it_belongs(path: Path):
    name = name_of(path)
    wrong = [
        f"line {line}: {module}"
        for line, module in (*imports(tree(path)), *loads_by_name(tree(path)))
        for reserved, places in RESERVED.items()
        if is_within(module, reserved) and not any(is_within(name, place) for place in places)
    ]
    assert wrong == []


# Of the API's modules, those that make an engine or read its settings
MAKES_AN_ENGINE = ("api.app", "api.configuration", "api.daemon", "api.local")


@pytest.mark.parametrize("path", [path for path in MODULES if is_within(str(path.id), "api")])
def test_a_route_knows_no_engine(path: Path):
    """It says what it needs by a Protocol; and a client does not pay for an engine's imports."""
    if name_of(path) not in MAKES_AN_ENGINE:
        assert [module for _, module in imports(tree(path)) if is_within(module, "pyrunc.engine")] == []


def loads_by_name(node: ast.AST) -> list[tuple[int, str]]:
    """`load("click", …)` and `__import__("x")`: imports that no import statement shows."""
    return [
        (call.lineno, call.args[0].value)
        for call in ast.walk(node)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in ("load", "__import__")
        and call.args
        and isinstance(call.args[0], ast.Constant)
    ]


@pytest.mark.parametrize("path", MODULES)
def test_imports_stand_at_the_top(path: Path):
    """One that hides in a function would be carried out in the middle of a call: after pivot_root, perhaps,
    from the image's disk."""
    inner = {
        (name_of(path), module)
        for function in ast.walk(tree(path))
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda))
        for _, module in imports(function)
    }
    assert inner <= DEFERRED


@pytest.mark.parametrize(
    "path", [pytest.param(path, id=name_of(path)) for path in files() if path.name == "__init__.py"][1:]
)
def test_a_package_is_its_charter_and_re_exports_nothing(path: Path):
    module = tree(path)
    assert ast.get_docstring(module), "says what belongs here and what does not"
    others = [node for node in module.body[1:] if not _is_future(node)]
    assert others == []


def _is_future(node: ast.stmt) -> bool:
    return isinstance(node, ast.ImportFrom) and node.module == "__future__"


@pytest.mark.parametrize("path", [path for path in MODULES if not is_within(str(path.id), "cli")])
def test_only_faces_print(path: Path):
    calls = [
        f"line {call.lineno}"
        for call in ast.walk(tree(path))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "print"
    ]
    assert calls == []


@pytest.mark.parametrize("path", MODULES)
def test_a_module_opens_by_saying_what_it_is_for(path: Path):
    assert ast.get_docstring(tree(path))


def test_the_table_names_what_there_is():
    there = {entry.name for entry in PACKAGE.iterdir() if (entry / "__init__.py").exists()}
    assert there <= set(FLOORS)
