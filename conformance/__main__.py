"""`python -m conformance`: run the suite on runtimes, and report clause by clause."""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import time
from pathlib import Path

import pytest

from conformance import report
from conformance.clauses import load_clauses
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
    parser = argparse.ArgumentParser(prog="conformance", description="Hold OCI runtimes against the spec.")
    parser.add_argument("--runtime", action="append", required=True, metavar="PATH")
    parser.add_argument("--section", action="append", default=[], metavar="NAME")
    parser.add_argument("--format", choices=sorted(report.FORMATS), default="text")
    parser.add_argument("--output", metavar="FILE", help="write the report there, not to standard output")
    return parser.parse_args(words)


def main(words: list[str] | None = None) -> int:
    """0: nothing is red. 1: something is. 2: the suite could not run."""
    wanted = arguments(words)
    collector = Collector()
    options = [f"--runtime={path}" for path in wanted.runtime]
    options += [f"--section={name}" for name in wanted.section]
    started = time.monotonic()
    where = ["--rootdir", str(HERE.parent), "-c", str(HERE.parent / "pyproject.toml")]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        status = pytest.main(
            [*where, "-q", "-p", "no:cacheprovider", str(HERE / "runtime"), *options], plugins=[collector]
        )
    collector.finish()
    if status not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        print(said.getvalue(), f"conformance: pytest could not run the suite: {status!r}", file=sys.stderr)
        return 2
    subjects: list[Subject] = list(dict.fromkeys(result.subject for result in collector.results))
    clauses = select(load_clauses().values(), wanted.section)
    table = Table(clauses, subjects, collector.results, time.monotonic() - started)
    text = report.FORMATS[wanted.format](table)
    if wanted.output:
        Path(wanted.output).write_text(text)
    else:
        sys.stdout.write(text)
    return 1 if table.red() else 0


if __name__ == "__main__":
    sys.exit(main())
