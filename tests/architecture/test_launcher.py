"""What an installed pyrunc costs, by launcher and by script; and that both are what the sources say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support.launcher import deepfreeze, freeze

from tests.architecture.sources import CHECKOUT, PACKAGE

# CPU instructions in millions of a call that finds no container: by the launcher, and by the script beyond
# what its interpreter costs that does nothing
MOST = {"state": (7.1, 6.9), "start": (7.2, 7.4), "kill": (7.5, 7.4), "delete": (7.6, 7.8)}
# Likewise of all that a `create` does before it touches anything, of an ordinary bundle
MOST_TO_PLAN = (27.8, 42.2)
# What comes on top by launchers that unmarshal their code and have type() make their classes
LESS_STATIC = (0, 0) if deepfreeze.IS_POSSIBLE else (2.0, 15.0)
# What the launcher leaves to the ordinary interpreter: help, explanations, and asking other programs
NOT_FROZEN = {
    "pyrunc.cli.commands.completion",
    "pyrunc.cli.commands.conformance",
    "pyrunc.cli.commands.help",
    "pyrunc.cli.face",
    "pyrunc.kernel.foreign",
    "pyrunc.kernel.nftables",
    "pyrunc.linux.cgroups.systemd",
    "pyrunc.oci.digest",
    "pyrunc.oci.explain",
    "pyrunc.oci.image",
    "pyrunc.oci.reference",
}
needs_valgrind = pytest.mark.skipif(
    shutil.which("valgrind") is None, reason="there is no valgrind to count instructions"
)


@pytest.fixture(scope="module")
def prefix(tmp_path_factory) -> Path:
    directory = tmp_path_factory.mktemp("installed")
    vendor = tmp_path_factory.mktemp("vendor")
    command = [CHECKOUT / "tools" / "install", os.path.realpath(sys.executable), vendor, directory, ""]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return directory


@pytest.fixture(scope="module")
def launcher(prefix) -> Path:
    library = Path(sysconfig.get_config_var("LIBPL") or "/", sysconfig.get_config_var("LIBRARY") or "")
    if shutil.which("cc") is None or not library.is_file():
        pytest.skip("no compiler or no static library here to build a launcher")
    return prefix / "bin" / "pyrunc"


def test_it_is_built_where_it_can_be_and_says_so(launcher, prefix):
    for program, said in ((launcher, "static"), (prefix / "lib" / "pyrunc" / "bin" / "pyrunc", "none")):
        done = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == f"launcher: {said}"
        assert f"python: {sys.version.split()[0]}\n" in done.stdout


def test_without_a_compiler_there_is_the_script_and_one_line_that_says_why(tmp_path):
    vendor = tmp_path / "vendor"
    vendor.mkdir()
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "rm", "mkdir", "tar", "cp", "sed", "chmod", "mv", "git", "env"):
        if path := shutil.which(name):
            (tools / name).symlink_to(path)
    command = [
        CHECKOUT / "tools" / "install",
        os.path.realpath(sys.executable),
        vendor,
        tmp_path / "prefix",
        "",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={"PATH": str(tools)})
    program = tmp_path / "prefix" / "bin" / "pyrunc"
    assert done.stdout.splitlines() == [
        "no launcher: there is no C compiler (Debian: apt-get install gcc libc6-dev)",
        f"installed {program}",
    ]
    said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True).stdout
    assert said.endswith("launcher: none\n")


def instructions(*command: object) -> int:
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null"]
    words = [*valgrind, *map(str, command)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    assert found, done.stderr
    return int(found[1])


@needs_valgrind
@pytest.mark.parametrize("verb", MOST)
def test_a_light_call_by_the_launcher_is_cheaper_than_a_bare_interpreter(verb, launcher, tmp_path):
    cost = instructions(launcher, "--root", tmp_path, verb, "nobody")
    assert cost <= (MOST[verb][0] + LESS_STATIC[0]) * 1e6
    assert cost >= 4e6, "so little cannot be the whole call"


@needs_valgrind
@pytest.mark.parametrize("verb", MOST)
def test_a_light_call_by_the_script_costs_little_more_than_its_interpreter(verb, prefix, tmp_path):
    python = [os.path.realpath(sys.executable), "-ISEBXutf8"]
    nothing = tmp_path / "nothing.py"
    nothing.write_text("import posix\nposix._exit(0)\n")
    script = prefix / "lib" / "pyrunc" / "bin" / "pyrunc"
    cost = instructions(*python, script, "--root", tmp_path, verb, "nobody") - instructions(*python, nothing)
    assert cost <= MOST[verb][1] * 1e6
    assert cost >= 3e6, "so little cannot be the whole call"


@pytest.fixture
def bundle(prefix, tmp_path) -> Path:
    (tmp_path / "rootfs").mkdir()
    subprocess.run([prefix / "lib/pyrunc/bin/pyrunc", "spec", "--bundle", tmp_path], check=True)
    return tmp_path


@needs_valgrind
def test_to_plan_a_launch_is_cheap_by_the_launcher(launcher, bundle):
    cost = instructions(launcher, "plan", bundle)
    assert 15e6 <= cost <= (MOST_TO_PLAN[0] + LESS_STATIC[1]) * 1e6


@needs_valgrind
def test_to_plan_a_launch_is_cheap_by_the_script(prefix, bundle):
    nothing = bundle / "nothing.py"
    nothing.write_text("import posix\nposix._exit(0)\n")
    python = [os.path.realpath(sys.executable), "-ISEBXutf8"]
    script = prefix / "lib" / "pyrunc" / "bin" / "pyrunc"
    cost = instructions(*python, script, "plan", bundle) - instructions(*python, nothing)
    assert 15e6 <= cost <= MOST_TO_PLAN[1] * 1e6


def test_the_script_reads_its_package_from_the_archive_alone(prefix, tmp_path):
    """And without the archive, from the package: as another Python than the one that installed it would."""
    script = prefix / "lib" / "pyrunc" / "bin" / "pyrunc"
    archive = prefix / "lib" / "pyrunc" / sys.implementation.cache_tag
    for expected in (False, True):
        command = ["strace", "-f", "-e", "trace=%file", script, "--root", tmp_path, "state", "nobody"]
        if shutil.which("strace") is None:
            pytest.skip("there is no strace")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "container does not exist" in done.stderr
        assert ("lib/pyrunc/pyrunc/cli/main" in done.stderr) == expected
        archive.rename(archive.with_suffix(".away")) if not expected else None
    archive.with_suffix(".away").rename(archive)


def test_only_what_no_container_waits_for_is_left_to_the_ordinary_interpreter():
    modules = {**freeze.read(PACKAGE, "", for_launcher=True), **freeze.borrow()}
    assert set(modules) - set(freeze.choose(modules)) == NOT_FROZEN & set(modules)


def test_frozen_modules_give_the_answers_of_their_sources():
    """Unit tests again, with these instead."""
    command = [
        sys.executable, "-m", "pytest", "-q", "-p", "support.frozen", "-p", "no:cacheprovider",
        "tests/unit/plan", "tests/unit/oci/test_config.py", "tests/unit/oci/test_rules.py",
        "tests/unit/test_record.py", "--ignore=tests/unit/plan/test_seccomp_libseccomp.py",
    ]  # fmt: skip
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
