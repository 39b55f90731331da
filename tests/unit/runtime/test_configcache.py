"""runtime.configcache: what was found before, and when it counts no more."""

from __future__ import annotations

import os
import time

import pytest

from pyrunc.record import replaced
from pyrunc.runtime.configcache import ConfigCache
from pyrunc.runtime.store import State

STATE = State(
    id="x",
    bundle="/b",
    rootfs="/b/r",
    created="2024-01-01T00:00:00.5Z",
    oci_version="1.0",
    pid=7,
    start_time=9,
)


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "config.json"
    made.write_text("old")
    past = time.time_ns() - 10**10
    os.utime(made, ns=(past, past))
    time.sleep(0.06)  # the time of the last change cannot be set
    return made


def reader(file):
    return lambda: [file.read_text()]


def test_a_file_that_is_as_it_was_is_read_once(file):
    cache = ConfigCache()
    first = cache.get(str(file), (), reader(file))
    assert first == ["old"]
    assert cache.get(str(file), (), reader(file)) is first


def test_other_facts_other_values(file):
    cache = ConfigCache()
    first = cache.get(str(file), "these", reader(file))
    assert cache.get(str(file), "those", reader(file)) is not first


def test_a_file_that_was_changed_is_read_again(file):
    cache = ConfigCache()
    cache.get(str(file), (), reader(file))
    file.write_text("new")
    assert cache.get(str(file), (), reader(file)) == ["new"]


def test_one_that_was_just_written_is_not_kept(file):
    cache = ConfigCache()
    file.write_text("new")
    first = cache.get(str(file), (), reader(file))
    assert cache.get(str(file), (), reader(file)) is not first


def test_what_is_not_there_is_not_kept(tmp_path):
    cache, gone = ConfigCache(), str(tmp_path / "gone")
    assert cache.get(gone, (), lambda: ["a"]) == ["a"]
    assert cache.get(gone, (), lambda: ["b"]) == ["b"]


def test_that_of_a_container_is_kept_as_long_as_it_is_that_container():
    cache, made = ConfigCache(), iter("abcdef")
    assert cache.of_container(STATE, "/run/x", lambda: next(made)) == "a"
    assert cache.of_container(STATE, "/run/x", lambda: next(made)) == "a"
    for other in ({"created": "2024-01-01T00:00:00.6Z"}, {"pid": 8}, {"start_time": 10}):
        assert cache.of_container(replaced(STATE, **other), "/run/x", lambda: next(made)) != "a"


def test_the_least_recently_used_goes_first():
    cache = ConfigCache()
    for number in range(32):
        cache.keep(str(number), 1, number)
    assert cache.find("0", 1) == 0
    cache.keep("one more", 1, "x")
    assert (cache.find("0", 1), cache.find("1", 1), cache.find("2", 1)) == (0, None, 2)
