"""later: a module is imported when something of it is wanted, or all of them at once."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
from pyrunc.later import fetch_all, later
first, second = later("colorsys"), later("sndhdr_of_nobody")
assert "colorsys" not in sys.modules
assert first.rgb_to_hsv(0, 0, 0) == (0.0, 0.0, 0)
assert "colorsys" in sys.modules
try:
    fetch_all()
except ImportError as error:
    print(error.name)
"""


def test_a_module_comes_when_something_of_it_is_wanted():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert done.stdout == "sndhdr_of_nobody\n"
