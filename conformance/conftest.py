"""The pytest side of the suite: options, fixtures, and a `Result` of each test for each runtime."""

from __future__ import annotations

import inspect
import os
import re
import shlex
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from support import leaks
from support.bundle import PREFIX, Bundle
from support.runtime import Done, Runtime

from conformance.clauses import Deviation, load_clauses, load_deviations, reason_for
from conformance.verdicts import Result, Subject, outcome_of

_LONG = 4000
_results = pytest.StashKey[list[Result]]()
_source = pytest.StashKey[str]()
_reports = pytest.StashKey[dict[str, pytest.TestReport]]()
_subjects = pytest.StashKey[list[Subject]]()
_deviations = pytest.StashKey[Iterable[Deviation]]()


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


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    group.addoption("--runtime", action="append", default=[], help="a runtime to test; may be repeated")
    group.addoption("--section", action="append", default=[], help="only these sections of the clauses")


def identify(command: str) -> Subject:
    """By the first line of `--version`: "runc version 1.1.5"."""
    path = shutil.which(command)
    if path is None:
        raise pytest.UsageError(f"--runtime: no such program: {command}")
    asked = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    found = re.match(r"(\S+) version:? (\S+)", asked.stdout)
    if asked.returncode != 0 or found is None:
        raise pytest.UsageError(f"--runtime: {command} --version does not tell a name and a version")
    return Subject(str(Path(path).absolute()), found[1], found[2])


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(*ids): the clauses that a test proves")
    if not config.getoption("--runtime"):
        raise pytest.UsageError("conformance needs --runtime PATH")
    config.stash[_subjects] = list(dict.fromkeys(identify(name) for name in config.getoption("--runtime")))
    config.stash[_results] = []
    config.stash[_deviations] = load_deviations()
    leaks.become_subreaper()


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "subject" in metafunc.fixturenames:
        subjects = metafunc.config.stash[_subjects]
        metafunc.parametrize("subject", subjects, ids=[s.label.replace(" ", "-") for s in subjects])


def _clauses_of(item: pytest.Item) -> tuple[str, ...]:
    return tuple(name for mark in item.iter_markers("requirement") for name in mark.args)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Checks the names of clauses, and keeps what proves something of the wanted sections."""
    known = load_clauses()
    wanted = config.getoption("--section")
    unknown = set(wanted) - {clause.section for clause in known.values()}
    if unknown:
        raise pytest.UsageError(f"--section: no such section: {', '.join(sorted(unknown))}")
    kept = []
    for item in items:
        names = _clauses_of(item)
        if not names or not set(names) <= known.keys():
            raise pytest.UsageError(
                f"{item.nodeid}: @requirement names no clause, or an unknown one: {names}"
            )
        if not wanted or any(known[name].section in wanted for name in names):
            item.stash[_source] = inspect.getsource(item.function)  # type: ignore[attr-defined]
            kept.append(item)
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    report: pytest.TestReport = outcome.get_result()
    reports = item.stash.setdefault(_reports, {})
    reports[report.when] = report
    if report.when == "teardown":
        result = _result(item, reports)
        item.config.stash[_results].append(result)
        item.config.hook.pytest_conformance_result(result=result)


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    class Hooks:
        @pytest.hookspec()
        def pytest_conformance_result(self, result: Result) -> None:
            """A test is over."""

    pluginmanager.add_hookspecs(Hooks)


def _test_name(item: pytest.Item) -> str:
    """`mounts::test_x[case]`: without the runtime, which is the first parameter."""
    callspec = item.callspec  # type: ignore[attr-defined]
    subject_id = callspec.params["subject"].label.replace(" ", "-")
    cases = [case for case in callspec.id.split(subject_id) if case.strip("-")]
    name = f"{item.path.stem.removeprefix('test_')}::{item.originalname}"  # type: ignore[attr-defined]
    return f"{name}[{cases[0].strip('-')}]" if cases else name


def _result(item: pytest.Item, reports: dict[str, pytest.TestReport]) -> Result:
    subject: Subject = item.callspec.params["subject"]  # type: ignore[attr-defined]
    test = _test_name(item)
    bad = next((report for report in reports.values() if report.failed), None)
    skip = next((report for report in reports.values() if report.skipped), None)
    known = reason_for(item.config.stash[_deviations], subject.name, subject.version, test)
    reason = known or ""
    if skip is not None and isinstance(skip.longrepr, tuple):
        reason = skip.longrepr[2].removeprefix("Skipped: ")
    function: Any = item.function  # type: ignore[attr-defined]
    watched = item.funcargs.get("runtime")  # type: ignore[attr-defined]
    return Result(
        subject=subject,
        test=test,
        title=" ".join((function.__doc__ or test.partition("test_")[2].replace("_", " ")).split()),
        clauses=_clauses_of(item),
        outcome=outcome_of(bad is None, bad is None and skip is not None, known),
        seconds=sum(report.duration for report in reports.values()),
        reason=reason,
        message="" if bad is None else str(getattr(bad.longrepr, "reprcrash", None) or bad.longrepr)[-_LONG:],
        source="" if bad is None else item.stash[_source],
        commands=[] if bad is None or watched is None else watched.commands,
    )


def pytest_sessionfinish(session: pytest.Session) -> None:
    """The lists decide: pytest's own status knows nothing of deviations."""
    results = session.config.stash[_results]
    if session.exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        red = any(result.red for result in results)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED if red else pytest.ExitCode.OK


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """For `pytest conformance`: which failures are listed, and which are red."""
    for result in config.stash[_results]:
        if result.outcome in ("deviation", "unexpected", "failed"):
            told = f": {result.reason}" if result.reason else ""
            terminalreporter.write_line(f"{result.outcome} {result.subject.label} {result.test}{told}")


# -- what tests use ----------------------------------------------------------------------------------


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
