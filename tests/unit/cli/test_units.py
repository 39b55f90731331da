"""cli.units: limits as people write them."""

from __future__ import annotations

import pytest

from pyrunc.cli.units import FIELDS, document_of, parse_bytes
from pyrunc.errors import PyruncError

NOTHING = {field.flag: "" for field in FIELDS}


@pytest.mark.parametrize(
    ("text", "number"),
    [("0", 0), ("4096", 4096), ("1k", 1024), ("1KB", 1024), ("1KiB", 1024), ("2m", 2 << 20),
     ("1.5g", 3 << 29), ("1 GB", 1 << 30), ("7b", 7), ("-1", -1),
     ("9223372036854771712", 9223372036854771712)],
)  # fmt: skip
def test_bytes_are_counted_in_multiples_of_1024(text, number):
    assert parse_bytes(text) == number


@pytest.mark.parametrize("text", ["", "k", "-2", "1x", "1mk", "1..5m", "m1", "1e3", "٣", "0x10", "-1k"])
def test_what_is_no_number_of_bytes_is_refused(text):
    with pytest.raises(ValueError):
        parse_bytes(text)


def test_only_what_was_given_is_in_the_document():
    given = {**NOTHING, "memory": "64m", "memory-swap": "-1", "cpuset-cpus": "0-3", "pids-limit": "0"}
    assert document_of(given) == {
        "memory": {"limit": 64 << 20, "swap": -1},
        "cpu": {"cpus": "0-3"},
        "pids": {"limit": 0},
    }
    assert document_of(NOTHING) == {}


@pytest.mark.parametrize(("flag", "value"), [("memory", "much"), ("cpu-share", "1k"), ("pids-limit", "1.5")])
def test_a_wrong_value_names_its_option(flag, value):
    with pytest.raises(PyruncError, match=f"^invalid value for {flag}: ") as raised:
        document_of({**NOTHING, flag: value})
    assert repr(value) in raised.value.why
