"""Debian's docker-registry on loopback: a process, a port and a directory of its own."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.waiting import until

needs_registry = pytest.mark.skipif(
    shutil.which("docker-registry") is None, reason="there is no docker-registry to ask"
)
needs_skopeo = pytest.mark.skipif(shutil.which("skopeo") is None, reason="there is no skopeo")

_CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage:
  filesystem: {{rootdirectory: {directory}}}
  delete: {{enabled: true}}
http: {{addr: "127.0.0.1:{port}"}}
{more}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Registry:
    """`address` is what a reference begins with."""

    def __init__(self, directory: Path, port: int) -> None:
        self.directory, self.port = directory, port
        self.address = f"127.0.0.1:{port}"

    def is_up(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@contextmanager
def running_registry(directory: Path, more: str = "") -> Iterator[Registry]:
    """`more`: further lines of its configuration, as for authentication."""
    directory.mkdir(exist_ok=True)
    registry = Registry(directory, free_port())
    config = directory / "config.yml"
    config.write_text(_CONFIG.format(directory=directory / "data", port=registry.port, more=more))
    log = (directory / "log").open("wb")
    process = subprocess.Popen(
        ["docker-registry", "serve", str(config)],
        stdout=log,
        stderr=log,
        env={"OTEL_TRACES_EXPORTER": "none"},
    )
    try:
        until(registry.is_up, "the registry answers")
        yield registry
    finally:
        process.kill()
        process.wait()
        log.close()


def skopeo(*words: str) -> str:
    """Its output; a failure is the test's."""
    done = subprocess.run(
        ["skopeo", "--insecure-policy", *words], capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
