"""bench.bundles: what is measured is what it is said to be."""

from __future__ import annotations

from bench.bundles import profile
from pyrunc.plan.syscalls import TABLES


def test_the_profile_names_434_calls_once_and_no_argument_rule_is_void():
    names = [name for machine in ("x86_64", "x86") for _, run in TABLES[machine] for name in run.split()]
    allowed, *by_argument = profile(names)["syscalls"]
    assert len(set(allowed["names"])) == len(allowed["names"]) == 434
    assert {name for rule in by_argument for name in rule["names"]}.isdisjoint(allowed["names"])
