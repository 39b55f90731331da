"""options: the rules and the words of runc's parser."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrunc.options import (
    DURATION,
    NUMBER,
    NUMBERS,
    SWITCH,
    TEXT,
    TEXTS,
    Command,
    Flag,
    HelpWanted,
    Operand,
    UsageError,
    parse_duration,
)

FLAGS = (
    Flag(name="bundle", short="b", kind=TEXT, summary=""),
    Flag(name="tty", short="t", kind=SWITCH, summary=""),
    Flag(name="preserve-fds", kind=NUMBER, summary=""),
    Flag(name="env", short="e", kind=TEXTS, summary=""),
    Flag(name="gid", kind=NUMBERS, summary=""),
    Flag(name="interval", kind=DURATION, default=5.0, summary=""),
)
ONE = Command(name="create", summary="", flags=FLAGS, operands=(Operand(name="container"),))
TWO = Command(
    name="kill",
    summary="",
    flags=FLAGS,
    operands=(Operand(name="container"), Operand(name="signal", required=False, default="TERM")),
)
REST = Command(
    name="exec",
    summary="",
    flags=FLAGS,
    operands=(Operand(name="container"), Operand(name="command", required=False, many=True)),
    stops_at_operand=True,
)
NONE = Command(name="list", summary="", flags=FLAGS)


def test_what_was_not_given_has_its_default():
    assert ONE.parse(["c"]) == {
        "bundle": "", "tty": False, "preserve-fds": 0, "env": (), "gid": (), "interval": 5.0,
        "container": "c",
    }  # fmt: skip


@pytest.mark.parametrize("words", ["--bundle /b", "--bundle=/b", "-bundle /b", "-bundle=/b", "-b /b"])
def test_an_option_has_one_dash_or_two_and_its_value_beside_it_or_after_an_equals_sign(words):
    assert ONE.parse([*words.split(), "c"])["bundle"] == "/b"


def test_a_value_may_look_like_an_option_or_be_empty_or_hold_an_equals_sign():
    assert ONE.parse(["--bundle", "--tty", "c"])["bundle"] == "--tty"
    assert ONE.parse(["--bundle=", "c"])["bundle"] == ""
    assert ONE.parse(["--env", "A=b=c", "c"])["env"] == ("A=b=c",)


@pytest.mark.parametrize(("word", "value"), [("--tty", True), ("-t=1", True), ("--tty=F", False)])
def test_a_switch_takes_a_value_by_an_equals_sign_alone(word, value):
    given = TWO.parse([word, "c", "false"])
    assert given["tty"] is value
    assert given["signal"] == "false"


def test_values_of_an_option_that_may_be_repeated_add_up_over_both_its_names():
    given = ONE.parse(["-e", "A=1", "--env=B=2", "--gid", "3", "--gid", "4", "c"])
    assert (given["env"], given["gid"]) == (("A=1", "B=2"), (3, 4))


def test_options_may_follow_operands():
    given = TWO.parse(["c", "--tty", "9", "-b", "/b"])
    assert (given["container"], given["signal"], given["tty"], given["bundle"]) == ("c", "9", True, "/b")


def test_after_an_operand_a_word_that_is_no_option_of_ours_is_one_more_operand():
    assert TWO.parse(["c", "-9"])["signal"] == "-9"


def test_a_command_that_runs_another_leaves_that_one_its_options():
    given = REST.parse(["-t", "c", "ls", "--tty=no", "--", "--help"])
    assert given["tty"] is True
    assert given["command"] == ["ls", "--tty=no", "--", "--help"]


def test_two_dashes_end_the_options():
    assert ONE.parse(["--", "--tty"])["container"] == "--tty"
    assert TWO.parse(["c", "--", "-t"])["signal"] == "-t"
    assert REST.parse(["--", "c", "ls"])["command"] == ["ls"]


def test_one_dash_is_an_operand():
    assert ONE.parse(["-"])["container"] == "-"


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["c", "--help"], ["--tty", "-help", "c"]])
def test_help_is_wanted_wherever_the_word_stands(words):
    with pytest.raises(HelpWanted):
        ONE.parse(words)


@pytest.mark.parametrize("word", ["0x10", "16", "020", "0b10000"])
def test_a_number_is_read_as_go_reads_it(word):
    assert ONE.parse(["--preserve-fds", word, "c"])["preserve-fds"] == 16


@pytest.mark.parametrize(
    ("command", "words", "sentence"),
    [
        (ONE, "--bogus c", "flag provided but not defined: -bogus"),
        (ONE, "-bt c", "flag provided but not defined: -bt"),
        (ONE, "--bogus=1 c", "flag provided but not defined: -bogus"),
        (ONE, "--bundle", "flag needs an argument: -bundle"),
        (ONE, "-b", "flag needs an argument: -b"),
        (ONE, "---tty c", "bad flag syntax: ---tty"),
        (ONE, "--=x c", "bad flag syntax: --=x"),
        (ONE, "-=x c", "bad flag syntax: -=x"),
        (ONE, "--preserve-fds x c", 'invalid value "x" for flag -preserve-fds: parse error'),
        (ONE, "--preserve-fds=1_ c", 'invalid value "1_" for flag -preserve-fds: parse error'),
        (ONE, "--preserve-fds=٣ c", 'invalid value "٣" for flag -preserve-fds: parse error'),
        (ONE, "--gid 1,2 c", 'invalid value "1,2" for flag -gid: parse error'),
        (ONE, "--interval 3 c", 'invalid value "3" for flag -interval: parse error'),
        (ONE, "--tty=maybe c", 'invalid boolean value "maybe" for -tty: parse error'),
        (ONE, "--tty= c", 'invalid boolean value "" for -tty: parse error'),
        (ONE, "", 'pyrunc: "create" requires exactly 1 argument(s)'),
        (ONE, "a b", 'pyrunc: "create" requires exactly 1 argument(s)'),
        (NONE, "a", 'pyrunc: "list" requires exactly 0 argument(s)'),
        (TWO, "", 'pyrunc: "kill" requires a minimum of 1 argument(s)'),
        (TWO, "a b c", 'pyrunc: "kill" requires a maximum of 2 argument(s)'),
        (REST, "--tty", 'pyrunc: "exec" requires a minimum of 1 argument(s)'),
    ],
)
def test_an_error_says_what_runc_says(command, words, sentence):
    with pytest.raises(UsageError) as raised:
        command.parse(words.split())
    assert str(raised.value) == sentence


def test_a_command_that_takes_anything_has_no_options_at_all():
    command = Command(name="x", summary="", operands=(Operand(name="words", many=True),), takes_anything=True)
    assert command.parse(["--help", "--", "-y"])["words"] == ["--help", "--", "-y"]


WORD = st.text(alphabet="-=bte1 \udcff", max_size=6) | st.sampled_from(["--tty", "--env", "-e", "--"])


@given(st.lists(WORD), st.sampled_from([ONE, TWO, REST, NONE]))
def test_no_words_are_a_bug(words, command):
    try:
        given = command.parse(words)
    except (UsageError, HelpWanted):
        return
    assert set(given) == {flag.name for flag in command.flags} | {
        operand.name for operand in command.operands
    }


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5s", 5), ("1m30s", 90), ("1.5h", 5400), ("250ms", 0.25), ("-2s", -2), ("+2s", 2), ("0", 0),
     ("1us", 1e-6), ("1µs", 1e-6), ("2ns", 2e-9)],
)  # fmt: skip
def test_a_span_of_time_is_spelled_as_in_go(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "--5s", "5x", "5s0", "1..5s", "٣s", "-"])
def test_what_is_not_a_span_of_time_is_refused(text):
    with pytest.raises(ValueError):
        parse_duration(text)
