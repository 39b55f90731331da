"""Each hole is opened once in a copy of pyrunc, and its tests must see it: one that can't fail shows nothing.

Races are lost sometimes, so one that isn't lost in its rounds proves nothing either: those are tried with
PYRUNC_TEST_WEAKENED=all, and several times.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from support.vulnerabilities import ROWS, Edit, Row

CHECKOUT = Path(__file__).resolve().parents[2]
_ALL = os.environ.get("PYRUNC_TEST_WEAKENED") == "all"
_ATTEMPTS = 4
_COPIED = ("pyrunc", "tests", "spec", "pyproject.toml")


def weakened(row: Row, place: Path) -> Path:
    """A checkout with the hole in it."""
    for name in _COPIED:
        source = CHECKOUT / name
        if source.is_dir():
            shutil.copytree(source, place / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place / name)
    for edit in row.proof:
        require_fits(row, edit)
        module = place / "pyrunc" / edit.module
        module.write_text(module.read_text().replace(edit.old, edit.new))
    write_own_launcher(place)
    return place


def require_fits(row: Row, edit: Edit) -> None:
    count = (CHECKOUT / "pyrunc" / edit.module).read_text().count(edit.old)
    assert count == 1, f"{row.ids[0]}: {edit.module} has changed, this no longer opens it"


def write_own_launcher(place: Path) -> None:
    """With an interpreter that nobody else runs: a busy file can't be opened for writing, sealed or not."""
    interpreter = shutil.copy(Path(sys.executable).resolve(), place / "interpreter")
    packages = sysconfig.get_path("purelib")
    program = (
        f"import sys; sys.path.insert(0, {str(place)!r}); sys.path.append({packages!r}); "
        "from pyrunc.cli.main import entry; entry()"
    )
    launcher = place / "launcher"
    launcher.write_text(f'#!/bin/sh\nexec {interpreter} -ISE -c "{program}" "$@"\n')
    launcher.chmod(0o755)


def failures(place: Path, tests: tuple[str, ...]) -> tuple[int, str]:
    """How many of the tests fail there, and what pytest said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYRUNC_")}
    environment["PYRUNC_TEST_RUNTIME"] = str(place / "launcher")
    argv = [sys.executable, "-m", "pytest", "-q", "--tb=line", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*argv, *(f"tests/{test}" for test in tests)],
        cwd=place, env=environment, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout + done.stderr
    found = re.search(r"(\d+) failed", done.stdout)
    return int(found[1]) if found else 0, done.stdout


def _id(row: Row) -> str:
    return row.ids[0]


@pytest.mark.parametrize("row", [row for row in ROWS if not row.race], ids=_id)
def test_a_hole_is_seen(row, tmp_path):
    count, said = failures(weakened(row, tmp_path), row.tests)
    assert count, said


@pytest.mark.skipif(not _ALL, reason="races take their time: PYRUNC_TEST_WEAKENED=all")
@pytest.mark.parametrize("row", [row for row in ROWS if row.race], ids=_id)
def test_a_race_is_seen(row, tmp_path):
    place = weakened(row, tmp_path)
    for _ in range(_ATTEMPTS):
        count, said = failures(place, row.tests)
        if count:
            return
    raise AssertionError(said)


@pytest.mark.parametrize("row", [row for row in ROWS if row.race], ids=_id)
def test_a_race_could_be_seen(row):
    for edit in row.proof:
        require_fits(row, edit)


@pytest.mark.parametrize("row", ROWS, ids=_id)
def test_the_tests_named_are_there(row):
    for test in row.tests:
        file, _, name = test.partition("::")
        text = (CHECKOUT / "tests" / file).read_text()
        assert not name or f"def {name}(" in text, test
