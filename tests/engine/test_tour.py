"""The README's tour, run as it is written, in a shell: without a daemon, as who reads it first would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.bundle import PREFIX
from support.pyr import alone

README = Path(__file__).resolve().parents[2] / "README.md"
_SECTION = re.compile(r"^## A tour$(.*?)^## ", re.MULTILINE | re.DOTALL)
_BLOCK = re.compile(r"^```$(.*?)^```$", re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """The lines of a root's prompt; not those that say they need a network."""
    section = _SECTION.search(README.read_text())
    assert section
    lines = [line for block in _BLOCK.findall(section[1]) for line in block.splitlines()]
    assert all(line.startswith("# ") for line in lines if line)
    return [line[2:] for line in lines if line and not line.endswith("# needs a network")]


@pytest.mark.skipif(not all(map(shutil.which, ("busybox", "curl"))), reason="there is no busybox, or no curl")
def test_the_tour(network, tmp_path):
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}tour-") as directory:
        os.chmod(directory, 0o755)
        with alone(Path(directory)) as pyr:
            pyr.ok("rmi", "busybox")
            pyr.script(tmp_path)
            script = "\n".join(("set -eux -o pipefail", *commands()))
            environment = {**pyr.environment, "PATH": f"{tmp_path}:{os.environ['PATH']}"}
            done = subprocess.run(
                ["bash", "-c", script], cwd=directory, env=environment, capture_output=True, text=True,
                timeout=300, check=False,
            )  # fmt: skip
            assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]

    said = done.stdout
    assert "hello\n" in said and "a page\n" in said
    assert re.search(r"^[0-9a-f]{12} +busybox .* Up .*0\.0\.0\.0:8080->80/tcp +web$", said, re.MULTILINE)
    assert re.search(r"^running 172\.\d+\.\d+\.\d+$", said, re.MULTILINE)
    assert re.search(r"Exited \(\d+\)", said)
    assert "A /tmp/then" in said and "Loaded image: box:1" in said
    assert "1 packets received" in said and "Total reclaimed space" in said
