"""Every field of the specification has a test, or a reason why it has none: support/fields.py tells how."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

from support import fields, fieldtable
from support.runtime import CHECKOUT

WHERE = ("tests/container", "tests/unit/plan", "tests/unit/linux", "tests/unit/oci")


@functools.cache
def claims() -> dict[str, list[str]]:
    """Row to the tests that say they prove it, as pytest collects them."""
    found: dict[str, list[str]] = {}
    path = Path(os.environ.get("TMPDIR", "/tmp")) / f"pyrunc-test-fields-{os.getpid()}"
    command = [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *WHERE]
    environment = {**os.environ, "PYRUNC_TEST_FIELDS": str(path)}
    subprocess.run(command, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, check=True)
    try:
        for test, rows in json.loads(path.read_text()).items():
            for row in rows:
                found.setdefault(row, []).append(test)
    finally:
        path.unlink()
    return found


def test_the_schemas_are_walked():
    rows = fields.rows()
    assert len(rows) == len(set(rows)) > 380
    for row in ("/ociVersion", "/mounts/*/options=ro", "/linux/timeOffsets/boottime/secs", "state:/pid"):
        assert row in rows


def test_each_field_has_a_test_or_a_reason():
    without = [row for row in fields.rows() if row not in claims()]
    assert [row for row in without if fields.reason(row) not in fields.IGNORED] == []


def test_what_has_only_a_test_of_the_plan_has_a_reason():
    """A black-box test is the rule."""
    only_planned = [
        row
        for row, tests in claims().items()
        if not any(test.startswith("tests/container/") for test in tests) and fields.reason(row) is None
    ]
    assert only_planned == []


def test_no_test_proves_a_field_that_is_none():
    assert sorted(set(claims()) - set(fields.rows())) == []


def test_no_reason_outlives_its_cause():
    """One for a field that is no more, or that has a black-box test."""
    proved = {row for row, tests in claims().items() if any("tests/container/" in test for test in tests)}
    assert [row for row in fields.rows() if fields.reason(row) is not None and row in proved] == []
    assert [start for start in fields.REASONS if not any(r.startswith(start) for r in fields.rows())] == []


def test_a_remark_is_about_a_field():
    assert set(fields.REMARKS) <= set(fields.rows())


def test_the_table_is_fresh_but_for_the_results():
    """tools/field-table makes it."""
    table = (CHECKOUT / "spec" / "FIELDS.md").read_text()
    assert fieldtable.without_results(table) == fieldtable.without_results(fieldtable.render([]))
