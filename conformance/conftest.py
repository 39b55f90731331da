"""The pytest side of the suite: options, fixtures, and a `Result` of each test for each subject."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import host, leaks

from conformance.clauses import SUITES, Deviation, load_clauses, load_deviations, reason_for
from conformance.subjects import OPTIONS, NoSubject, identify
from conformance.verdicts import Result, Subject, outcome_of

HERE = Path(__file__).resolve().parent

_LONG = 4000
# Of clauses.HOSTS, what this machine is
_HERE = ["cgroup v2" if host.PURE_CGROUP2 else "cgroup v1"]
if os.path.isdir("/sys/module/apparmor") and not os.path.exists("/sys/kernel/security/apparmor"):
    _HERE.append("AppArmor off")
_results = pytest.StashKey[list[Result]]()
_source = pytest.StashKey[str]()
_reports = pytest.StashKey[dict[str, pytest.TestReport]]()
_subjects = pytest.StashKey[dict[str, list[Subject]]]()
_deviations = pytest.StashKey[Iterable[Deviation]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("conformance")
    for option, help in OPTIONS.values():
        group.addoption(option, action="append", default=[], help=f"{help}; may be repeated")
    group.addoption("--section", action="append", default=[], help="only these sections of the clauses")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(*ids): the clauses that a test proves")
    try:
        config.stash[_subjects] = {
            suite: list(dict.fromkeys(identify(suite, word) for word in config.getoption(option)))
            for suite, (option, _) in OPTIONS.items()
        }
    except NoSubject as error:
        raise pytest.UsageError(str(error)) from None
    if not any(config.stash[_subjects].values()):
        raise pytest.UsageError(f"conformance needs one of {', '.join(name for name, _ in OPTIONS.values())}")
    config.stash[_results] = []
    config.stash[_deviations] = load_deviations()
    leaks.become_subreaper()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """A suite runs when there is a subject for it."""
    suite = collection_path.name
    return True if collection_path.parent == HERE and config.stash[_subjects].get(suite) == [] else None


def _suite_of(path: Path) -> str:
    return path.parent.name


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "subject" in metafunc.fixturenames:
        subjects = metafunc.config.stash[_subjects][_suite_of(Path(metafunc.module.__file__))]
        metafunc.parametrize("subject", subjects, ids=[s.id for s in subjects])


def _clauses_of(item: pytest.Item) -> tuple[str, ...]:
    return tuple(name for mark in item.iter_markers("requirement") for name in mark.args)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Checks the names of clauses, and keeps what proves something of the wanted sections."""
    known = {suite: load_clauses(suite) for suite in SUITES if config.stash[_subjects][suite]}
    wanted = config.getoption("--section")
    sections = {clause.section for clauses in known.values() for clause in clauses.values()}
    if unknown := set(wanted) - sections:
        raise pytest.UsageError(f"--section: no such section: {', '.join(sorted(unknown))}")
    kept = []
    for item in items:
        names, clauses = _clauses_of(item), known[_suite_of(item.path)]
        if not names or not set(names) <= clauses.keys():
            raise pytest.UsageError(
                f"{item.nodeid}: @requirement names no clause, or an unknown one: {names}"
            )
        if not wanted or any(clauses[name].section in wanted for name in names):
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
    cases = [case for case in callspec.id.split(callspec.params["subject"].id) if case.strip("-")]
    name = f"{item.path.stem.removeprefix('test_')}::{item.originalname}"  # type: ignore[attr-defined]
    return f"{name}[{cases[0].strip('-')}]" if cases else name


def _result(item: pytest.Item, reports: dict[str, pytest.TestReport]) -> Result:
    subject: Subject = item.callspec.params["subject"]  # type: ignore[attr-defined]
    test = _test_name(item)
    bad = next((report for report in reports.values() if report.failed), None)
    skip = next((report for report in reports.values() if report.skipped), None)
    known = reason_for(item.config.stash[_deviations], subject.name, subject.version, test, _HERE)
    reason = known or ""
    if skip is not None and isinstance(skip.longrepr, tuple):
        reason = skip.longrepr[2].removeprefix("Skipped: ")
    function: Any = item.function  # type: ignore[attr-defined]
    used = item.funcargs.values()  # type: ignore[attr-defined]
    commands = next((value.commands for value in used if hasattr(value, "commands")), [])
    return Result(
        subject=subject,
        test=test,
        title=" ".join((function.__doc__ or test.partition("test_")[2].replace("_", " ")).split()),
        clauses=_clauses_of(item),
        outcome=outcome_of(bad is None, bad is None and skip is not None, known),
        seconds=sum(report.duration for report in reports.values()),
        reason=reason,
        message="" if bad is None else _message(bad),
        source="" if bad is None else item.stash[_source],
        commands=[] if bad is None else commands,
    )


def _message(report: pytest.TestReport) -> str:
    """What was expected and what was seen, and where in which file of the suite."""
    crash = getattr(report.longrepr, "reprcrash", None)
    if crash is None:
        return str(report.longrepr)[-_LONG:]
    return f"{Path(crash.path).name}:{crash.lineno}: {crash.message}"[:_LONG]


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
