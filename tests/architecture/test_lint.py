"""ruff and mypy, so that a red line shows where all the others do."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture.sources import CHECKOUT


@pytest.mark.parametrize(
    "command", ["ruff check", "ruff format --check", "mypy"], ids=lambda command: command.replace(" ", "-")
)
def test_is_clean(command):
    done = subprocess.run(
        [sys.executable, "-m", *command.split()], cwd=CHECKOUT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
