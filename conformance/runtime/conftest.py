"""What tests of runtimes use: the runtime, and bundles for it."""

from __future__ import annotations

import os
import shlex
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import leaks
from support.bundle import PREFIX, Bundle
from support.runtime import Done, Runtime

from conformance.verdicts import Subject

_LONG = 4000


class Watched(Runtime):
    """A runtime whose commands are kept as evidence."""

    commands: list[str]

    def __call__(self, *arguments: object, **how: Any) -> Done:
        shown = shlex.join(str(word) for word in arguments)
        try:
            done = super().__call__(*arguments, **how)
        except AssertionError as error:
            self.commands.append(f"$ {shown}\n{error}")
            raise
        text = f"$ {shown}\nexit status {done.returncode}\n{done.stdout}{done.stderr}"
        self.commands.append(text[:_LONG])
        return done

    def ask(self, bundle: Bundle, *, options: Sequence[object] = (), **questions: str) -> dict[str, str]:
        """Of a question that fails the words are wanted, not the status."""
        return super().ask(bundle, options=options, **questions, end="true")


@pytest.fixture
def work() -> Iterator[Path]:
    """A directory that other users can enter, removed at the end."""
    path = Path(tempfile.mkdtemp(prefix=PREFIX))
    path.chmod(0o755)
    yield path
    below = leaks.mounts_below(path)
    assert not below, f"will not remove files below mounts: {below}"
    shutil.rmtree(path)


@pytest.fixture
def runtime(subject: Subject, work: Path) -> Iterator[Watched]:
    """The runtime, with a state root of its own; nothing may be left of its containers at the end."""
    watch = leaks.Watch(work, f"{PREFIX}{os.getpid()}-")
    made = Watched(subject.path, work, watch)
    made.commands = []
    try:
        yield made
        made.clean()
    finally:
        watch.require_clean()


@pytest.fixture
def bundle(work: Path) -> Bundle:
    return Bundle(work / "bundle")


@pytest.fixture
def new_bundle(work: Path) -> Callable[[], Bundle]:
    """For tests with several containers."""
    return lambda: Bundle(work / f"bundle-{time.monotonic_ns()}")


@pytest.fixture
def running(runtime: Watched, bundle: Bundle) -> Bundle:
    """The bundle of a container that runs, and does nothing."""
    runtime.launch(bundle, "sleep", "1000")
    return bundle


@pytest.fixture
def refused(runtime: Watched, bundle: Bundle) -> Callable[[], str]:
    """Creating the bundle is an error and makes no container; gives what the runtime said."""

    def check() -> str:
        bundle.write()
        done = runtime("create", "--bundle", bundle.path, runtime.remember(bundle.id))
        assert done.returncode != 0, f"was created: {done}"
        state = runtime("state", bundle.id)
        assert state.returncode != 0, f"an error, but there is a container: {state}"
        said: str = done.said
        return said

    return check
