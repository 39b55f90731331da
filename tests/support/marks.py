"""Known differences of other runtimes, written beside the test that shows them."""

from __future__ import annotations

import re

import pytest


def deviation(
    runtime: str, *, reason: str, before: str | None = None, sometimes: bool = False
) -> pytest.MarkDecorator:
    """This test fails with `runtime` (`before` a version, when a later one has it right), and why.

    Strict: it must fail there, and a test that passes is an error, so that no note outlives its cause.
    But for a race that is lost `sometimes`.
    """
    return pytest.mark.deviation(runtime=runtime, reason=reason, before=before, sometimes=sometimes)


def version_numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in re.findall(r"\d+", text)[:3])


def expect_deviations(items: list[pytest.Item], name: str, version: str) -> None:
    for item in items:
        for mark in item.iter_markers("deviation"):
            known = mark.kwargs
            if known["runtime"] != name:
                continue
            if known["before"] and version_numbers(version) >= version_numbers(known["before"]):
                continue
            reason = f"{name} {version}: {known['reason']}"
            item.add_marker(pytest.mark.xfail(strict=not known["sometimes"], reason=reason))
