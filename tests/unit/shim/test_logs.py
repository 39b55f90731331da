"""shim.logs and shim.logreader: from bytes to entries, files of them, and back."""

from __future__ import annotations

import datetime
import json
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.shim.logreader import Entry, parse_entry, parse_time, read
from pyrunc.shim.logs import PIECE_BYTES, Lines, Log, encode_json, encode_local
from pyrunc.shim.settings import LogSettings


def log_of(path: Path, driver: str = "json-file", size: int = 0, files: int = 1) -> tuple[Log, LogSettings]:
    settings = LogSettings(driver=driver, path=str(path), max_size_bytes=size, max_files=files)
    return Log(settings, lambda: pytest.fail("a line was lost")), settings


def texts(settings: LogSettings, tail: int = -1) -> bytes:
    return b"".join(entry.text for entry in read(settings, tail=tail))


def test_a_json_file_is_docker_s(tmp_path):
    log, _ = log_of(tmp_path / "log")
    log.write(1, b'say "hi"\nnext')
    log.write(2, b"bad \xff byte \xe2\x82\xac\n")
    log.write(1, b" line\nlast")
    log.end()
    entries = [json.loads(line) for line in (tmp_path / "log").read_bytes().splitlines()]
    assert [(entry["stream"], entry["log"]) for entry in entries] == [
        ("stdout", 'say "hi"\n'), ("stderr", "bad \ufffd byte €\n"), ("stdout", "next line\n"),
        ("stdout", "last"),
    ]  # fmt: skip
    for entry in entries:
        assert list(entry) == ["log", "stream", "time"]
        datetime.datetime.fromisoformat(entry["time"][:19] + "+00:00")


def test_a_local_log_is_the_cri_s(tmp_path):
    log, settings = log_of(tmp_path / "log", "local")
    log.write(1, b"one\n\n" + b"x" * (PIECE_BYTES + 1))
    log.end()
    lines = (tmp_path / "log").read_bytes().split(b"\n")
    assert [line.split(b" ", 1)[1][:10] for line in lines[:-1]] == [
        b"stdout F o", b"stdout F ", b"stdout P x", b"stdout P x",
    ]  # fmt: skip
    assert texts(settings) == b"one\n\n" + b"x" * (PIECE_BYTES + 1)


@pytest.mark.parametrize("size", [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 2 * PIECE_BYTES])
def test_long_lines_are_cut_at_16_kib_and_share_a_time(size):
    lines = Lines()
    found = lines.feed(b"x" * (size - 3), 1) + lines.feed(b"xxx\nnext\n", 2)
    *pieces, last, following = found
    assert [len(text) for text, _, _ in pieces] == [PIECE_BYTES] * (size // PIECE_BYTES)
    assert (len(last[0]), last[1]) == (size % PIECE_BYTES, True)
    assert not any(is_whole for _, is_whole, _ in pieces)
    assert following == (b"next", True, 2)
    if pieces:
        assert {time for _, _, time in (*pieces, last)} == {pieces[0][2]}


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.text("ab\n€", max_size=12))),
    st.sampled_from(["json-file", "local"]),
)
def test_what_is_written_is_read(tmp_path_factory, chunks, driver):
    log, settings = log_of(tmp_path_factory.mktemp("log") / "log", driver)
    for stream, text in chunks:
        log.write(stream, text.encode())
    log.end()
    for stream in (1, 2):
        wanted = "".join(text for number, text in chunks if number == stream).encode()
        assert b"".join(entry.text for entry in read(settings) if entry.stream == stream) == wanted


@pytest.mark.parametrize("driver", ["json-file", "local"])
def test_rotation_keeps_whole_lines_and_so_many_files(tmp_path, driver):
    log, settings = log_of(tmp_path / "log", driver, size=500, files=3)
    for number in range(100):
        log.write(1, f"line {number}\nand {number}\n".encode())
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["log", "log.1", "log.2"]
    for path in tmp_path.iterdir():
        assert 0 < path.stat().st_size <= 500
        assert path.read_bytes().endswith(b"\n")
    kept = texts(settings)
    assert "".join(f"line {n}\nand {n}\n" for n in range(100)).encode().endswith(kept)
    assert texts(settings, tail=3) == b"and 98\nline 99\nand 99\n"
    assert texts(settings, tail=1000) == kept
    assert texts(settings, tail=0) == b""


@pytest.fixture
def at_open():
    """`at_open(call)`: `call(path)` before each file is opened, until the end of the test."""
    calls = []

    def hook(event, arguments):
        if event == "open" and calls:
            calls[0](str(arguments[0]))

    sys.addaudithook(hook)  # there is no way to take it away
    yield calls.append
    calls.clear()


class Rotating:
    """A log that has numbers in it, and is rotated so often before one of its files is opened."""

    def __init__(self, path, files):
        self.path = str(path / "log")
        self.log, self.settings = log_of(path / "log", size=200, files=files)
        self.number = 0
        self.rotate(files)

    def rotate(self, times):
        begun = Path(self.path).stat().st_ino
        while times:
            self.log.write(1, b"%d\n" % self.number)
            self.number += 1
            times -= Path(self.path).stat().st_ino != begun
            begun = Path(self.path).stat().st_ino


def require_consecutive(text):
    numbers = [int(line) for line in text.split()]
    assert numbers
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


@pytest.mark.parametrize("times", [1, 2, 3, 7])
@pytest.mark.parametrize("place", ["log", "log.1", "log.5"])
def test_a_log_that_is_rotated_while_its_files_are_opened(tmp_path, at_open, times, place):
    rotating = Rotating(tmp_path, 30)
    left = [True]

    def look(path):
        if path == f"{tmp_path}/{place}" and left:
            left.clear()
            rotating.rotate(times)

    at_open(look)
    require_consecutive(texts(rotating.settings))
    assert not left


def test_a_log_that_is_rotated_again_and_again_while_its_files_are_opened(tmp_path, at_open):
    """Nobody waits for a moment of rest."""
    rotating = Rotating(tmp_path, 30)
    busy = []

    def look(path):
        if path.startswith(f"{tmp_path}/log.") and not busy:
            busy.append(path)
            rotating.rotate(1)
            busy.clear()

    at_open(look)
    require_consecutive(texts(rotating.settings))


def test_a_log_of_one_file_begins_anew(tmp_path):
    log, settings = log_of(tmp_path / "log", size=300)
    for number in range(50):
        log.write(1, f"line {number}\n".encode())
    assert [path.name for path in tmp_path.iterdir()] == ["log"]
    assert texts(settings).endswith(b"line 49\n")
    assert (tmp_path / "log").stat().st_size <= 300


def test_a_log_goes_on_where_it_was(tmp_path):
    first, _ = log_of(tmp_path / "log")
    first.write(1, b"first\n")
    first.close()
    second, settings = log_of(tmp_path / "log")
    second.write(1, b"second\n")
    assert texts(settings) == b"first\nsecond\n"


def test_the_last_entries_of_a_log_that_is_larger_than_a_block(tmp_path):
    log, settings = log_of(tmp_path / "log")
    log.write(1, b"".join(b"%d\n" % number for number in range(20_000)))
    assert texts(settings, tail=3) == b"19997\n19998\n19999\n"
    assert texts(settings, tail=15_000) == b"".join(b"%d\n" % number for number in range(5_000, 20_000))


def test_a_link_in_its_place_is_not_followed(tmp_path):
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        log_of(tmp_path / "log")


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"{}",
        b"[]",
        b'{"log":1,"time":"","stream":"stdout"}',
        b'{"log":"x","time":"","stream":"x"}',
        b"{",
    ],
)
def test_what_is_no_entry(line):
    assert parse_entry("json-file", line) is None


def test_entries_of_both_kinds():
    time = "2026-01-02T03:04:05.6Z"
    for driver, encode in (("json-file", encode_json), ("local", encode_local)):
        for is_whole in (True, False):
            line = encode(2, time, b"text with spaces", is_whole)
            expected = Entry(stream=2, time=time, text=b"text with spaces" + (b"\n" if is_whole else b""))
            assert parse_entry(driver, line) == expected


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [("1970-01-01T00:00:00Z", 0), ("1970-01-01T00:00:00.5Z", 500_000_000),
     ("2000-03-01T00:00:00+01:30", 951_863_400 * 10**9),
     ("2024-02-29T12:34:56.123456789Z", 1709210096123456789)],
)  # fmt: skip
def test_times(text, nanoseconds):
    assert parse_time(text) == nanoseconds


@given(st.datetimes(min_value=datetime.datetime(1970, 1, 1), max_value=datetime.datetime(2200, 1, 1)))
def test_any_time(moment):
    utc = moment.replace(tzinfo=datetime.UTC)
    exact = (utc - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)) // datetime.timedelta(microseconds=1)
    assert parse_time(moment.isoformat() + "Z") == exact * 1000


@pytest.mark.parametrize("text", ["", "now", "2024-02-29", "2024-02-29T12:34:56", "2024-02-29T12:34:56x"])
def test_no_times(text):
    with pytest.raises(ValueError):
        parse_time(text)
