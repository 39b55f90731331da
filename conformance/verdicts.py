"""From the results of tests to a verdict for each clause and runtime."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from conformance.clauses import Clause

# From good to bad; a clause is as bad as the worst of its tests, but a skipped one only if all were.
OUTCOMES = ("untested", "skipped", "passed", "deviation", "unexpected", "failed")
RED = ("unexpected", "failed")


@dataclass(frozen=True)
class Subject:
    """What is under test: a runtime by its path, an image or a registry by its place."""

    path: str
    name: str
    version: str

    @property
    def label(self) -> str:
        return f"{self.name} {self.version}".strip()

    @property
    def id(self) -> str:
        """Within pytest's names of tests."""
        return re.sub(r"[^\w.+:@-]", "-", self.label)


@dataclass
class Result:
    """What one test found out about one subject."""

    subject: Subject
    test: str
    title: str
    clauses: Sequence[str]
    outcome: str
    seconds: float
    reason: str = ""  # of a skip or a deviation
    message: str = ""  # expected and seen, as the assertion told it
    source: str = ""  # the test
    commands: list[str] = field(default_factory=list)  # what was done, with its output

    @property
    def red(self) -> bool:
        return self.outcome in RED


@dataclass
class Table:
    """All of a run, as every report shows it."""

    clauses: Sequence[Clause]
    subjects: Sequence[Subject]
    results: Sequence[Result]
    seconds: float
    suite: str = "runtime"

    def of(self, clause: Clause, subject: Subject) -> list[Result]:
        return [r for r in self.results if r.subject == subject and clause.id in r.clauses]

    def verdict(self, clause: Clause, subject: Subject) -> str:
        outcomes = [result.outcome for result in self.of(clause, subject)]
        return max(outcomes, key=OUTCOMES.index, default="untested")

    def reason(self, clause: Clause, subject: Subject) -> str:
        """Why a clause has no plain verdict."""
        reasons = dict.fromkeys(r.reason for r in self.of(clause, subject) if r.reason)
        if reasons:
            return "; ".join(reasons)
        return "" if self.of(clause, subject) else (clause.untested or "not selected")

    def counts(self, subject: Subject) -> dict[str, int]:
        found = dict.fromkeys(OUTCOMES, 0)
        for clause in self.clauses:
            found[self.verdict(clause, subject)] += 1
        return found

    def red(self) -> list[Result]:
        return [result for result in self.results if result.red]


def outcome_of(passed: bool, skipped: bool, deviation: str | None) -> str:
    """A failure must be listed, and what is listed must fail."""
    if skipped:
        return "skipped"
    if deviation is None:
        return "passed" if passed else "failed"
    return "unexpected" if passed else "deviation"


def select(clauses: Iterable[Clause], sections: Sequence[str]) -> list[Clause]:
    return [clause for clause in clauses if not sections or clause.section in sections]
