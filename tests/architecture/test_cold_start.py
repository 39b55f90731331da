"""What a call of the command line pays before it does anything: an interpreter, and what is imported.

Measured in a fresh interpreter as bin/pyrunc starts it. The lists are the budget: whoever needs more of the
standard library on the way of a plain container says here why, and what it costs.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.sources import CHECKOUT, is_within

# In C and cheap (at most 0.2 ms), or a page of Python that imports nothing
CHEAP = {
    "__future__", "_json", "_signal", "_stat", "_struct", "errno", "fcntl", "gc", "posix", "resource",
    "select", "stat", "struct", "termios", "time",
}  # fmt: skip
DEARER = {"_ctypes"}  # 0.25 ms; the system calls that Python has no function for

# verb -> (what it may import of the system's modules, how many of ours)
VERBS: dict[str, tuple[set[str], int]] = {
    "state": (CHEAP, 24),
    "start": (CHEAP, 26),
    "kill": (CHEAP, 26),
    "delete": (CHEAP, 27),
    "create": (CHEAP | DEARER, 72),
    "run": (CHEAP | DEARER, 79),
    "exec": (CHEAP | DEARER, 59),
}
# What these four are quick without: nothing is planned, and no child is made
LIGHT = ("state", "start", "kill", "delete")
NOT_FOR_LIGHT = (
    "pyrunc.plan",
    "pyrunc.oci.config",
    "pyrunc.oci.node",
    "pyrunc.oci.validate",
    "pyrunc.kernel.syscall",
    "pyrunc.child.steps",
    "pyrunc.linux.apply",
)
# What only some configs ask for; and what makes a container, of which an exec needs nothing
NOT_FOR_ORDINARY = (
    "pyrunc.child.hooks",
    "pyrunc.kernel.spawn",
    "pyrunc.linux.hooks",
    "pyrunc.oci.rare",
    "pyrunc.plan.cgroup1",
    "pyrunc.plan.cgroup2",
    "pyrunc.plan.init",
    "pyrunc.plan.rareops",
    "pyrunc.plan.seccomp",
)
NOT_FOR_EXEC = (
    "pyrunc.child.rootfs",
    "pyrunc.linux.cgroups.apply",
    "pyrunc.oci.rules",
    "pyrunc.oci.schema_check",
    "pyrunc.plan.cgroups",
    "pyrunc.plan.launch",
    "pyrunc.plan.makeops",
    "pyrunc.plan.mounts",
    "pyrunc.runtime.create",
)

# CPU instructions beyond the bare interpreter's, in millions, of a call that finds no container
INSTRUCTIONS = {"state": 12.0, "kill": 13.0, "delete": 13.5}

MODULES_AFTER = """
import sys
bare = set(sys.modules)
sys.path.insert(0, {checkout!r})
from pyrunc.cli import main
{then}
print(*sorted(set(sys.modules) - bare), file=sys.stderr)
"""


def fresh(program: str) -> list[str]:
    """The last line on stderr, as words."""
    command = [sys.executable, "-ISEBXutf8", "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, stdin=subprocess.DEVNULL)
    return done.stderr.splitlines()[-1].split()


def foreign(modules: list[str]) -> set[str]:
    return {module for module in modules if not is_within(module, "pyrunc")}


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_imports_only_what_is_cheap(verb):
    allowed, most = VERBS[verb]
    modules = fresh(MODULES_AFTER.format(checkout=str(CHECKOUT), then=f"main.find({verb!r})"))
    assert foreign(modules) <= allowed
    ours = [module for module in modules if is_within(module, "pyrunc")]
    assert len(ours) <= most, ours


@pytest.mark.parametrize("verb", LIGHT)
def test_a_light_verb_knows_nothing_of_plans(verb):
    modules = fresh(MODULES_AFTER.format(checkout=str(CHECKOUT), then=f"main.find({verb!r})"))
    assert [
        module for module in modules if any(is_within(module, package) for package in NOT_FOR_LIGHT)
    ] == []


@pytest.mark.parametrize(
    ("verb", "needless"),
    [
        ("create", NOT_FOR_ORDINARY),
        ("run", NOT_FOR_ORDINARY),
        ("exec", (*NOT_FOR_ORDINARY, *NOT_FOR_EXEC)),
    ],
)
def test_what_is_rare_waits_for_a_config_that_asks_for_it(verb, needless):
    modules = fresh(MODULES_AFTER.format(checkout=str(CHECKOUT), then=f"main.find({verb!r})"))
    assert set(needless) & set(modules) == set()


@pytest.mark.parametrize("verb", VERBS)
def test_a_call_that_fails_imports_no_more_than_one_that_does_not(verb, tmp_path):
    words = ["--root", str(tmp_path), "--log", str(tmp_path / "log"), "--log-format", "json", verb]
    words += ["--bundle", str(tmp_path)] if verb in ("create", "run") else []
    words += ["nobody", *(["true"] if verb == "exec" else [])]
    then = f"assert main.run({words!r}) in (1, 255)"
    assert foreign(fresh(MODULES_AFTER.format(checkout=str(CHECKOUT), then=then))) <= VERBS[verb][0]
    assert "internal error" not in (tmp_path / "log").read_text()


# command of pyr -> (what it may import of the system's modules, how many of ours)
PYR: dict[str, tuple[set[str], int]] = {
    "ps": (CHEAP | {"_socket"}, 26),
    "run": (CHEAP | {"_socket"}, 30),
    "exec": (CHEAP | {"_socket"}, 28),
    "rm": (CHEAP | {"_socket"}, 28),
    "logs": (CHEAP | {"_socket"}, 28),
    "inspect": (CHEAP | {"_socket"}, 24),
}


@pytest.mark.parametrize("command", PYR)
def test_a_command_of_the_client_imports_only_what_is_cheap(command, tmp_path):
    """Asking a daemon that isn't there, which is most of the way of asking one that is."""
    words = ["-H", f"unix://{tmp_path}/none", command, *({"exec": ["x", "y"], "ps": []}.get(command, ["x"]))]
    program = MODULES_AFTER.replace("from pyrunc.cli import main", "from pyrunc.docker import main")
    modules = fresh(program.format(checkout=str(CHECKOUT), then=f"assert main.run({words!r})"))
    allowed, most = PYR[command]
    assert foreign(modules) <= allowed
    ours = [module for module in modules if is_within(module, "pyrunc")]
    assert len(ours) <= most, ours


def test_importing_the_package_imports_nothing():
    program = MODULES_AFTER.replace("from pyrunc.cli import main", "import pyrunc")
    assert fresh(program.format(checkout=str(CHECKOUT), then="")) == ["__future__", "pyrunc"]


@pytest.fixture(scope="module")
def installed(tmp_path_factory) -> Path:
    """A pyrunc as `make install` leaves it, compiled."""
    library = tmp_path_factory.mktemp("installed")
    shutil.copytree(CHECKOUT / "pyrunc", library / "pyrunc", ignore=shutil.ignore_patterns("__pycache__"))
    subprocess.run([sys.executable, "-I", "-m", "compileall", "-q", str(library)], check=True)
    script = (CHECKOUT / "bin" / "pyrunc.in").read_text()
    program = library / "entry.py"
    program.write_text(script.replace("@LIBRARY@", str(library)))
    return program


def count_instructions(*command: str) -> int:
    """Of the whole process, by valgrind: the same within a few thousand from run to run, on any machine."""
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    python = [os.path.realpath(sys.executable), "-ISEBXutf8"]
    done = subprocess.run([*valgrind, *python, *command], capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found, done.stderr
    return int(found[1])


@pytest.fixture(scope="module")
def bare(tmp_path_factory) -> int:
    """What an interpreter costs that does nothing, and leaves as we do."""
    program = tmp_path_factory.mktemp("bare") / "bare.py"
    program.write_text("import posix\nposix._exit(0)\n")
    return count_instructions(str(program))


@pytest.mark.skipif(shutil.which("valgrind") is None, reason="there is no valgrind to count instructions")
@pytest.mark.parametrize("verb", INSTRUCTIONS)
def test_a_light_call_costs_little_more_than_its_interpreter(verb, installed, bare, tmp_path):
    cost = count_instructions(str(installed), "--root", str(tmp_path), verb, "nobody") - bare
    assert cost <= INSTRUCTIONS[verb] * 1e6
    assert cost >= 3e6, "so little cannot be the whole call"
