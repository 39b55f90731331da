"""`python -m conformance`: run a suite on runtimes, images or registries, and report clause by clause."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from pathlib import Path

try:
    import pytest
except ModuleNotFoundError:
    print(
        f"conformance: {sys.executable} has no pytest, which runs the suite\n"
        "hint: apt install python3-pytest; or, by a Python that has it: "
        f"PYTHONPATH={Path(__file__).resolve().parents[1]} PYTHON -m conformance",
        file=sys.stderr,
    )
    sys.exit(2)

from conformance import report
from conformance.clauses import load_clauses
from conformance.subjects import OPTIONS
from conformance.verdicts import Result, Subject, Table, select

HERE = Path(__file__).resolve().parent


class Collector:
    """A pytest plugin that keeps the results, and shows on a terminal how far the run is."""

    def __init__(self) -> None:
        self.results: list[Result] = []
        self.total = 0
        self._live = sys.stderr.isatty()

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self.total = len(session.items)

    def pytest_conformance_result(self, result: Result) -> None:
        self.results.append(result)
        if self._live:
            line = f"{len(self.results)}/{self.total} {result.subject.label} {result.test}"
            print(f"\r\033[K{line[:100]}", end="", file=sys.stderr, flush=True)

    def finish(self) -> None:
        if self._live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def arguments(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="conformance", description="Hold runtimes, images or registries against OCI's specifications."
    )
    kinds = parser.add_mutually_exclusive_group(required=True)
    for suite, (option, help) in OPTIONS.items():
        kinds.add_argument(option, action="append", default=[], metavar="PLACE", dest=suite, help=help)
    parser.add_argument("--section", action="append", default=[], metavar="NAME", help="only of the clauses")
    parser.add_argument("--format", choices=sorted(report.FORMATS), default="text")
    parser.add_argument("--output", metavar="FILE", help="write the report there, not to standard output")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """0: nothing is red. 1: something is. 2: the suite could not run."""
    wanted = arguments(words)
    collector = Collector()
    (suite,) = (name for name in OPTIONS if getattr(wanted, name))
    options = [f"{OPTIONS[suite][0]}={place}" for place in getattr(wanted, suite)]
    options += [f"--section={name}" for name in wanted.section]
    started = time.monotonic()
    where = ["--rootdir", str(HERE.parent), "-c", str(HERE / "pytest.ini")]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        status = pytest.main(
            [*where, "-q", "-p", "no:cacheprovider", str(HERE / suite), *options], plugins=[collector]
        )
    collector.finish()
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        print(said.getvalue(), f"conformance: pytest could not run the suite: {status!r}", file=sys.stderr)
        return 2
    subjects: list[Subject] = list(dict.fromkeys(result.subject for result in collector.results))
    clauses = select(load_clauses(suite).values(), wanted.section)
    table = Table(clauses, subjects, collector.results, time.monotonic() - started, suite)
    text = report.FORMATS[wanted.format](table)
    if wanted.output:
        Path(wanted.output).write_text(text)
    else:
        sys.stdout.write(text)
    return 1 if table.red() else 0


if __name__ == "__main__":
    sys.exit(main())
