"""The two lists that a run is held against: clauses of the specification, and known deviations."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SUITES = ("runtime", "image", "distribution")
DEVIATIONS = HERE / "deviations.toml"
LEVELS = ("MUST", "MUST NOT", "SHOULD", "SHOULD NOT")
HOSTS = ("cgroup v1", "cgroup v2", "AppArmor off")  # hybrid is v1
VERSIONS = ("1.0.0", "1.0.2", "1.1.0", "1.2.0", "1.2.1", "1.3.0")


class BadList(ValueError):
    """A list does not say what it must; the text names the entry."""


@dataclass(frozen=True)
class Clause:
    """One normative sentence of the specification."""

    id: str
    section: str
    where: str
    level: str
    since: str
    text: str
    untested: str | None  # why no test proves it


@dataclass(frozen=True)
class Deviation:
    """A test that one runtime is known to fail: in every version, or in those `before` one; everywhere, or
    just `on` hosts of a kind, one of HOSTS."""

    runtime: str
    test: str
    reason: str
    before: str | None = None
    on: str | None = None

    def holds_for(self, runtime: str, version: str, here: Collection[str]) -> bool:
        if runtime != self.runtime or (self.on is not None and self.on not in here):
            return False
        return self.before is None or version_numbers(version) < version_numbers(self.before)


def requirement(*ids: str) -> pytest.MarkDecorator:
    """The clauses that a test proves."""
    return pytest.mark.requirement(*ids)


def version_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def parse_clauses(text: str) -> dict[str, Clause]:
    """Sections are tables; in each, `spec` is the place and every other key a clause."""
    found: dict[str, Clause] = {}
    for section, table in tomllib.loads(text).items():
        where = table.pop("spec", None)
        if not isinstance(where, str):
            raise BadList(f"section {section} has no spec=")
        for name, entry in table.items():
            clause = _clause(name, section, where, dict(entry))
            if name in found:
                raise BadList(f"{name} is listed twice")
            found[name] = clause
    return found


def _clause(name: str, section: str, where: str, entry: dict[str, str]) -> Clause:
    clause = Clause(
        id=name,
        section=section,
        where=entry.pop("at", where),
        level=entry.pop("level", "MUST"),
        since=entry.pop("since", "1.0.0"),
        text=entry.pop("text", ""),
        untested=entry.pop("untested", None),
    )
    if entry:
        raise BadList(f"{name} has unknown keys: {', '.join(entry)}")
    if clause.level not in LEVELS or clause.since not in VERSIONS or not clause.text:
        raise BadList(f"{name} needs a text, a level of {LEVELS} and a version of {VERSIONS}")
    return clause


def parse_deviations(text: str) -> list[Deviation]:
    found = []
    for entry in tomllib.loads(text).get("deviation", []):
        try:
            deviation = Deviation(**entry)
        except TypeError as error:
            raise BadList(f"deviation {entry}: {error}") from None
        if not deviation.reason.strip():
            raise BadList(f"deviation {deviation.runtime} {deviation.test} has no reason")
        if deviation.on not in (None, *HOSTS):
            raise BadList(f"deviation {deviation.runtime} {deviation.test}: on is none of {HOSTS}")
        found.append(deviation)
    return found


def load_clauses(suite: str) -> dict[str, Clause]:
    return parse_clauses((HERE / suite / "requirements.toml").read_text())


def load_deviations(path: Path = DEVIATIONS) -> list[Deviation]:
    return parse_deviations(path.read_text())


def reason_for(
    deviations: Iterable[Deviation], runtime: str, version: str, test: str, here: Collection[str]
) -> str | None:
    """Why this test is known to fail, on a host that is `here` of HOSTS; None: it has to pass."""
    for deviation in deviations:
        if deviation.test == test and deviation.holds_for(runtime, version, here):
            return deviation.reason
    return None
