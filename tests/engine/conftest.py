"""One daemon for all tests of this directory; each leaves it without containers."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.bundle import PREFIX
from support.engine import Engine, needs_docker, private_network, running_engine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = str(Path(__file__).parent)
    for item in items:
        if str(item.path).startswith(here) and "docker" in getattr(item, "fixturenames", ()):
            item.add_marker(needs_docker)


@pytest.fixture(scope="session")
def network() -> Iterator[None]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with private_network():
        yield


@pytest.fixture(scope="session")
def daemon(network: None) -> Iterator[Engine]:
    with tempfile.TemporaryDirectory(prefix=f"{PREFIX}engine-") as directory:
        os.chmod(directory, 0o755)
        with running_engine(Path(directory)) as made:
            yield made


@pytest.fixture
def engine(daemon: Engine) -> Iterator[Engine]:
    if daemon.process is None:
        daemon.start()
    yield daemon
    if daemon.process is None:
        daemon.start()
    daemon.clean()


@pytest.fixture
def docker(engine: Engine) -> Engine:
    """The same, for tests that call Docker's command line."""
    return engine
