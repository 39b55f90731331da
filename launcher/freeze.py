"""Compile the runtime's modules into what the launcher and the script's archive carry, without that which
only readers and checkers need. This is build code: no call of the runtime executes it.

    python -I freeze.py TREE LIBRARY    writes into TREE its package's archive, to be installed in LIBRARY

Taken out are docstrings and asserts, annotations (of a class the names of its fields stay, for Record counts
them), `if TYPE_CHECKING` and `from __future__`. Lines keep their numbers.

Which modules? The archive has all. The launcher has those whose imports, followed to the end, it has too or
are built in: nobody keeps a list.
"""

from __future__ import annotations

import ast
import importlib.util
import marshal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

# Modules in C that the launcher is linked with, and the functions that make them
LINKED = {
    name: f"PyInit_{name}"
    for name in (
        "_codecs", "_json", "_pyrunc", "_signal", "_stat", "_struct", "errno", "fcntl", "gc", "posix",
        "select", "time", "_sha2" if sys.version_info >= (3, 12) else "_sha256",
    )
}  # fmt: skip
BUILT_IN = {*LINKED, "builtins", "sys"}
BORROWED = ("stat", "struct")  # of the standard library: a page of Python each, over a module in C
# Conditions that are decided here, and the branch not taken left out
_KNOWN = {"TYPE_CHECKING": False}
_KNOWN_IN_LAUNCHER = {**_KNOWN, "'_pyrunc' in sys.builtin_module_names": True}


class _Strip(ast.NodeTransformer):
    def __init__(self, known: Mapping[str, bool]) -> None:
        self.known = known

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | None:
        return None if node.module == "__future__" else node

    def visit_If(self, node: ast.If) -> ast.AST | list[ast.stmt]:
        condition = ast.unparse(node.test)
        if condition not in self.known:
            return self.generic_visit(node)
        taken = ast.Module(node.body if self.known[condition] else node.orelse, [])
        self.generic_visit(taken)
        return taken.body

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST | None:
        if node.value is None:
            return None
        assigned = ast.Assign(targets=[node.target], value=self.visit(node.value))
        return ast.copy_location(assigned, node)

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        fields: list[ast.expr | None] = [
            ast.Constant(statement.target.id)
            for statement in node.body
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)
        ]
        self.generic_visit(node)
        if fields:
            names = ast.Dict(keys=fields, values=[ast.Constant(None) for _ in fields])
            known = ast.Assign(targets=[ast.Name("__annotations__", ast.Store())], value=names)
            node.body.insert(0, ast.fix_missing_locations(ast.copy_location(known, node)))
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        return self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node


class Module:
    """One module to be frozen. `imports`: what it needs before it can be used."""

    def __init__(
        self, name: str, path: Path, shown: str, installed: str, known: Mapping[str, bool] = _KNOWN
    ) -> None:
        self.name, self.is_package = name, path.name == "__init__.py"
        tree = _Strip(known).visit(ast.parse(path.read_text(), shown))
        if any(isinstance(node, ast.Name) and node.id == "__file__" for node in ast.walk(tree)):
            own = ast.Assign(targets=[ast.Name("__file__", ast.Store())], value=ast.Constant(installed))
            tree.body.insert(0, ast.copy_location(own, tree.body[0]))
        for node in ast.walk(tree):
            if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.If)) and not node.body:
                node.body.append(ast.copy_location(ast.Pass(), node))
        self.imports = set(_imports(tree.body))
        self.code = compile(ast.fix_missing_locations(tree), shown, "exec", dont_inherit=True, optimize=2)


def _imports(statements: Iterable[ast.AST]) -> Iterable[str]:
    """What is imported when the module is; inside of a function it waits for a call, which may never come."""
    for node in statements:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            yield from _imports(ast.iter_child_nodes(node))


# Floors that no call of the runtime's command line gets to: they are the daemon's, which is started once
ENGINE = ("api", "docker", "engine", "image", "network")


def read(package: Path, library: str, *, for_launcher: bool) -> dict[str, Module]:
    """All modules of `package`, which will be installed in `library`."""
    modules = {}
    known = _KNOWN_IN_LAUNCHER if for_launcher else _KNOWN
    for path in sorted(package.rglob("*.py")):
        place = path.relative_to(package.parent)
        if for_launcher and place.parts[1] in ENGINE:
            continue
        name = ".".join(part for part in place.with_suffix("").parts if part != "__init__")
        modules[name] = Module(name, path, str(place), f"{library}/{place}", known)
    return modules


def borrow() -> dict[str, Module]:
    modules = {}
    for name in BORROWED:
        spec = importlib.util.find_spec(name)
        assert spec is not None
        path = spec.loader_state.filename if spec.origin == "frozen" else spec.origin
        modules[name] = Module(name, Path(path), f"{name}.py", f"{name}.py")
    return modules


def choose(modules: Mapping[str, Module]) -> dict[str, Module]:
    """Those that can do without what isn't here."""
    chosen = dict(modules)
    while True:
        wanting = [name for name in chosen if not _needs(modules[name], modules) <= {*chosen, *BUILT_IN}]
        if not wanting:
            return chosen
        for name in wanting:
            del chosen[name]


def _needs(module: Module, modules: Mapping[str, Module]) -> set[str]:
    """`from a import b` needs a.b if that is a module, else a."""
    known = {*modules, *BUILT_IN}
    return {name if name in known else name.rpartition(".")[0] for name in module.imports}


def group(modules: Mapping[str, Module]) -> list[list[Module]]:
    """Modules that the same commands import are used together, or not at all: marshalled together they share
    their strings. One that waits for a call is by itself. First come those that most commands need."""
    users: dict[str, set[str]] = {name: set() for name in modules}
    for command in modules:
        if command.startswith("pyrunc.cli.commands."):
            for name in _followed(command, modules):
                users[name].add(command)
    groups: dict[tuple[str, ...], list[Module]] = {}
    for name in sorted(modules):
        groups.setdefault(tuple(sorted(users[name])) or (name,), []).append(modules[name])
    return [groups[users] for users in sorted(groups, key=len, reverse=True)]


def _followed(name: str, modules: Mapping[str, Module]) -> set[str]:
    """It and all that it imports, with the packages on the way."""
    found: set[str] = set()
    waiting = [name]
    while waiting:
        name = waiting.pop()
        if name in modules and name not in found:
            found.add(name)
            waiting += [*_needs(modules[name], modules), name.rpartition(".")[0]]
    return found


def marshalled(group: Iterable[Module]) -> bytes:
    return marshal.dumps(tuple(module.code for module in group))


# What these need is found at once; of the many other modules, the list is read when one of them is wanted
LIGHT = tuple(f"pyrunc.cli.commands.{verb}" for verb in ("state", "start", "kill", "delete"))


def archive(modules: Mapping[str, Module]) -> bytes:
    """What archive.py describes."""
    places, body = {}, b""
    for members in group(modules):
        data = marshalled(members)
        for index, module in enumerate(members):
            places[module.name] = (len(body), len(data), index, module.is_package)
        body += data
    light = set().union(*(_followed(name, modules) for name in LIGHT))
    near = {name: place for name, place in places.items() if name in light}
    far = {name: place for name, place in places.items() if name not in light}
    server = Module("archive", Path(__file__).with_name("archive.py"), "archive.py", "")
    head = marshal.dumps((server.code, near, marshal.dumps(far)))
    return len(head).to_bytes(4, "little") + head + body


def main() -> None:
    """The archive is named for the bytecode that it has."""
    tree, library = sys.argv[1:]
    file = Path(tree, sys.implementation.cache_tag)
    file.write_bytes(archive(read(Path(tree, "pyrunc"), library, for_launcher=False)))


if __name__ == "__main__":
    main()
