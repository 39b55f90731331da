"""docker.words: pflag's rules for options, and its sentences."""

import pytest

from pyrunc.docker.commands.run import RUN
from pyrunc.docker.commands.verbs import COMMANDS
from pyrunc.docker.words import Misused
from pyrunc.errors import PyruncError
from pyrunc.options import HelpWanted


def test_short_options_are_bundled_and_the_last_has_its_value():
    given = RUN.parse(["-itp8080:80", "-e=A=1", "-eB", "--name", "web", "busybox", "ls", "-l"])

    assert (given["interactive"], given["tty"], given["publish"]) == (True, True, ("8080:80",))
    assert (given["env"], given["name"]) == (("A=1", "B"), "web")
    assert given["words"] == ["busybox", "ls", "-l"]


def test_options_may_follow_operands_but_in_run():
    given = COMMANDS["rm"][0].parse(["web", "-f", "--", "-v"])
    assert (given["words"], given["force"], given["volumes"]) == (["web", "-v"], True, False)


def test_a_switch_takes_a_value_by_an_equals_sign_alone():
    assert RUN.parse(["--sig-proxy=false", "--init=true", "x"])["sig-proxy"] is False
    assert RUN.parse(["--rm", "true"])["words"] == ["true"]


@pytest.mark.parametrize(
    ("words", "sentence", "code"),
    [
        (["--foo", "x"], "unknown flag: --foo", 125),
        (["-rm", "x"], "unknown shorthand flag: 'r' in -rm", 125),
        (["-p"], "flag needs an argument: 'p' in -p", 125),
        (["--name"], "flag needs an argument: --name", 125),
        (["--cpus", "x", "y"], 'invalid argument "x" for "--cpus" flag: invalid syntax', 125),
        (["--init=maybe", "y"], 'invalid argument "maybe" for "--init" flag: invalid syntax', 125),
        ([], "'pyr run' requires at least 1 argument", 1),
    ],
)
def test_what_does_not_fit_is_said_in_dockers_words(words, sentence, code):
    with pytest.raises(Misused) as caught:
        RUN.parse(words)
    assert (str(caught.value), caught.value.code) == (sentence, code)


def test_h_is_the_hostname_for_run_and_help_elsewhere():
    assert RUN.parse(["-h", "box", "x"])["hostname"] == "box"
    with pytest.raises(HelpWanted):
        COMMANDS["rm"][0].parse(["-h"])


def test_a_misuse_is_an_error_of_ours():
    assert issubclass(Misused, PyruncError)
