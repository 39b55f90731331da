"""A finished run as text, TAP, JUnit XML, JSON, or one self-contained page."""

from __future__ import annotations

import json
from collections.abc import Callable
from html import escape
from pathlib import Path
from xml.etree import ElementTree

from conformance.clauses import Clause
from conformance.verdicts import OUTCOMES, Result, Subject, Table

_PAGE = Path(__file__).resolve().parent / "page.html"
_MARKS = {
    "untested": "-", "skipped": "skip", "passed": "ok", "deviation": "known", "unexpected": "PASSES",
    "failed": "FAIL",
}  # fmt: skip


def summary(table: Table, subject: Subject) -> str:
    counts = table.counts(subject)
    return ", ".join(f"{counts[name]} {name}" for name in reversed(OUTCOMES) if counts[name])


def text(table: Table) -> str:
    """A line for each clause, the evidence of what is red, and the counts."""
    lines = []
    section = ""
    for clause in table.clauses:
        if clause.section != section:
            section = clause.section
            lines += ["", f"{section} ({clause.where})"]
        cells = " ".join(f"{_MARKS[table.verdict(clause, s)]:6}" for s in table.subjects)
        lines.append(f"  {cells} {clause.id} [{clause.level}, {clause.since}] {clause.text}")
        for reason in dict.fromkeys(table.reason(clause, s) for s in table.subjects):
            if reason:
                lines.append(f"         {reason}")
    for result in table.red():
        lines += ["", f"{result.outcome} {result.subject.label} {result.test}: {result.title}"]
        lines += [f"  {line}" for line in _evidence(result).splitlines()]
    lines.append("")
    lines += [f"{subject.label}: {summary(table, subject)}" for subject in table.subjects]
    lines.append(f"{len(table.clauses)} clauses, {len(table.results)} tests in {table.seconds:.0f} s")
    return "\n".join(lines).lstrip("\n") + "\n"


def _evidence(result: Result) -> str:
    if result.outcome == "unexpected":
        return f"passes, but deviations.toml says: {result.reason}"
    return "\n".join([result.message, *result.commands])


def tap(table: Table) -> str:
    """TAP 13; a deviation is a TODO, as TAP calls a failure that is known."""
    lines = ["TAP version 13", f"1..{len(table.results)}"]
    for number, result in enumerate(table.results, 1):
        good = result.outcome in ("passed", "skipped")
        line = f"{'ok' if good else 'not ok'} {number} - {result.subject.label} {result.test}"
        line += f" ({' '.join(result.clauses)})"
        if result.outcome == "skipped":
            line += f" # SKIP {result.reason}"
        elif result.outcome == "deviation":
            line += f" # TODO {result.reason}"
        lines.append(line)
        if result.red:
            lines += [f"# {line}" for line in _evidence(result).splitlines()]
    return "\n".join(lines) + "\n"


def junit(table: Table) -> str:
    """One test suite for each runtime."""
    root = ElementTree.Element("testsuites", name="conformance")
    for subject in table.subjects:
        results = [result for result in table.results if result.subject == subject]
        suite = ElementTree.SubElement(
            root, "testsuite", name=subject.label, tests=str(len(results)),
            failures=str(sum(result.red for result in results)),
            skipped=str(sum(result.outcome in ("skipped", "deviation") for result in results)),
            time=f"{sum(result.seconds for result in results):.3f}",
        )  # fmt: skip
        for result in results:
            section, _, name = result.test.partition("::")
            case = ElementTree.SubElement(
                suite, "testcase", classname=section, name=name, time=f"{result.seconds:.3f}"
            )
            if result.red:
                failure = ElementTree.SubElement(case, "failure", message=_printable(result.message[:300]))
                failure.text = _printable(_evidence(result))
            elif result.outcome != "passed":
                ElementTree.SubElement(case, "skipped", message=_printable(result.reason))
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _printable(text: str) -> str:
    """XML has no place for control characters."""
    return "".join(c if c.isprintable() or c in "\n\t" else "�" for c in text)


def as_data(table: Table) -> dict[str, object]:
    """What JSON and the page are made of."""
    return {
        "seconds": round(table.seconds, 1),
        "subjects": [{"label": s.label, "path": s.path, "counts": table.counts(s)} for s in table.subjects],
        "clauses": [_clause_data(table, clause) for clause in table.clauses],
        "results": [_result_data(table, result) for result in table.results],
    }


def _clause_data(table: Table, clause: Clause) -> dict[str, object]:
    return {
        "id": clause.id, "section": clause.section, "where": clause.where, "level": clause.level,
        "since": clause.since, "text": clause.text,
        "verdicts": [table.verdict(clause, subject) for subject in table.subjects],
        "reasons": [table.reason(clause, subject) for subject in table.subjects],
    }  # fmt: skip


def _result_data(table: Table, result: Result) -> dict[str, object]:
    return {
        "subject": table.subjects.index(result.subject), "test": result.test, "title": result.title,
        "clauses": list(result.clauses), "outcome": result.outcome, "seconds": round(result.seconds, 3),
        "reason": result.reason, "message": result.message, "source": result.source,
        "commands": result.commands,
    }  # fmt: skip


def as_json(table: Table) -> str:
    return json.dumps(as_data(table), indent=1) + "\n"


def html(table: Table) -> str:
    """The page with the run's data in it; `</` is the one thing that could end a script early."""
    data = json.dumps(as_data(table)).replace("</", "<\\/")
    title = f"OCI {table.suite} conformance: " + ", ".join(subject.label for subject in table.subjects)
    return _PAGE.read_text().replace("@TITLE@", escape(title)).replace("@DATA@", data)


FORMATS: dict[str, Callable[[Table], str]] = {
    "text": text, "tap": tap, "junit": junit, "json": as_json, "html": html,
}  # fmt: skip
