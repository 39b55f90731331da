"""Fixtures for tests that drive a runtime by its command line; README.md tells how to choose which."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from support import fields, host, leaks
from support.bundle import PREFIX, Bundle
from support.marks import expect_deviations
from support.runtime import Runtime, write_launcher

_CHOICE = os.environ.get("PYRUNC_TEST_RUNTIME")


def _name_and_version() -> tuple[str, str]:
    """From the first line of `--version`: "runc version 1.1.5"."""
    assert _CHOICE is not None
    text = subprocess.run([_CHOICE, "--version"], capture_output=True, text=True, check=True).stdout
    name, _, version = text.splitlines()[0].partition(" version ")
    return name, version


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "deviation: a difference of another runtime, see support/marks.py")
    config.addinivalue_line("markers", "covers: fields that it proves, see support/fields.py")
    leaks.become_subreaper()
    _take_back_signals()


def _take_back_signals() -> None:
    """Undo what nohup(1) and a shell's `&` do to their children, which the runtimes under test would inherit:
    a container then never ends by an interrupt that a test sends."""
    for number, disposition in (
        (signal.SIGHUP, signal.SIG_DFL),
        (signal.SIGINT, signal.default_int_handler),
        (signal.SIGQUIT, signal.SIG_DFL),
    ):
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, disposition)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.user_properties += [("covers", row) for row in fields.claimed_by(item)]
    if _CHOICE is not None and any(item.get_closest_marker("deviation") for item in items):
        expect_deviations(items, *_name_and_version())


def pytest_collection_finish(session: pytest.Session) -> None:
    """PYRUNC_TEST_FIELDS=FILE: what each test says it proves, for those who compare that with the schemas."""
    if "PYRUNC_TEST_FIELDS" in os.environ:
        claims = {item.nodeid: fields.claimed_by(item) for item in session.items}
        Path(os.environ["PYRUNC_TEST_FIELDS"]).write_text(json.dumps(claims))


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    fields.forget()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None]:
    """A black-box test that passes has shown its rows to the runtime."""
    yield
    if "runtime" in getattr(item, "fixturenames", ()):
        unseen = fields.unseen(fields.claimed_by(item))
        assert not unseen, f"no document of this test has {', '.join(unseen)}"


@pytest.fixture(scope="session")
def runtime_command() -> Iterator[str]:
    """The absolute name of the runtime under test: of PYRUNC_TEST_RUNTIME, else of this checkout."""
    if _CHOICE is not None:
        found = shutil.which(_CHOICE)
        assert found, f"PYRUNC_TEST_RUNTIME: no such program: {_CHOICE}"
        yield os.path.abspath(found)
        return
    with tempfile.TemporaryDirectory(prefix=PREFIX) as directory:
        os.chmod(directory, 0o755)  # for other users too
        yield str(write_launcher(Path(directory) / "pyrunc"))


@pytest.fixture(scope="session", autouse=True)
def passed_on() -> Iterator[None]:
    """What the limits of a container have added is taken back: controllers that the root of a hybrid host's
    v2 hierarchy passes on can't be mounted as v1 any more."""
    before = host.passed_on_by_hybrid_root()
    yield
    for name in host.passed_on_by_hybrid_root() - before:
        host.hybrid_root_control().write_text(f"-{name}")


@pytest.fixture
def work() -> Iterator[Path]:
    """A directory that other users can enter, removed at the end: bundles would fill tmp_path's three
    remembered sessions with copies of busybox."""
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    path.chmod(0o755)
    yield path
    below = leaks.mounts_below(path)
    assert not below, f"will not remove files below mounts: {below}"
    shutil.rmtree(path)


@pytest.fixture
def runtime(runtime_command: str, work: Path) -> Iterator[Runtime]:
    """The runtime, with a state root of its own. At the end its containers are deleted by force, and no
    process, mount, cgroup or state directory may be left of them."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    watch = leaks.Watch(work, f"{PREFIX}{os.getpid()}-")
    made = Runtime(runtime_command, work, watch)
    try:
        yield made
        made.clean()
    finally:
        watch.require_clean()


@pytest.fixture
def new_bundle(work: Path) -> Callable[[], Bundle]:
    """For tests with several containers."""

    def make() -> Bundle:
        return Bundle(work / f"bundle-{len(list(work.glob('bundle*')))}")

    return make


@pytest.fixture
def bundle(work: Path) -> Bundle:
    return Bundle(work / "bundle")


@pytest.fixture
def running(runtime: Runtime, bundle: Bundle) -> Bundle:
    """The bundle of a container that runs, and does nothing. PID 1 ignores all signals but KILL."""
    runtime.launch(bundle, "sleep", "1000")
    return bundle
