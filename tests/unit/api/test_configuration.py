"""api.configuration: options and daemon.json, and who wins: nobody."""

from __future__ import annotations

import pytest

from pyrunc.api.configuration import COMMAND, DEFAULT_HOST, make_configuration
from pyrunc.errors import CONFLICT, INVALID, PyruncError


def make(*words: str, **document):
    given = {key.replace("_", "-"): value for key, value in document.items()}
    return make_configuration(COMMAND.parse(list(words)), given, "/etc/daemon.json")


def test_nothing_said():
    made = make()
    assert (made.hosts, made.layout.data_root, made.settings.log_files) == (
        (DEFAULT_HOST,),
        "/var/lib/pyrunc",
        3,
    )


def test_both_ways_say_the_same():
    by_words = make(
        "-H",
        "unix:///a",
        "--data-root",
        "/d",
        "--dns",
        "1.1.1.1",
        "--default-ulimit",
        "nofile=1:2",
        "--add-runtime",
        "runc=/r",
        "--log-opt",
        "max-size=1m",
        "--storage-driver",
        "vfs",
    )
    by_file = make(
        hosts=["unix:///a"], data_root="/d", dns=["1.1.1.1"], runtimes={"runc": {"path": "/r"}},
        default_ulimits={"nofile": {"Name": "nofile", "Soft": 1, "Hard": 2}}, log_opts={"max-size": "1m"},
        storage_driver="vfs", live_restore=True,
    )  # fmt: skip
    assert by_words == by_file
    assert by_words.settings.default_ulimits == {"nofile": (1, 2)}
    assert by_words.settings.storage_driver == "plain"


def test_icc_is_on_unless_told_otherwise():
    assert [make(*words).settings.icc for words in ((), ("--icc",), ("--icc=false",))] == [True, True, False]
    assert [make(icc=value).settings.icc for value in (True, False)] == [True, False]
    for word in ("--icc=true", "--icc=false"):
        with pytest.raises(PyruncError, match=r"icc: \(from flag"):
            make(word, icc=False)


def test_a_clash_names_both():
    with pytest.raises(PyruncError) as caught:
        make("-H", "unix:///b", hosts=["unix:///a"])
    assert caught.value.kind == CONFLICT
    assert "hosts: (from flag: [unix:///b], from file: [unix:///a])" in caught.value.what


@pytest.mark.parametrize(
    ("words", "document"),
    [
        ((), {"no_such_thing": 1}),
        ((), {"hosts": "unix:///a"}),
        ((), {"live_restore": False}),
        ((), {"runtimes": {"x": {}}}),
        (("-H", "tcp://127.0.0.1:1"), {}),
        (("-H", "tcp://127.0.0.1:1", "--tls"), {}),
        (("--tlsverify",), {}),
        (("--log-driver", "syslog"), {}),
        (("--log-opt", "x=1"), {}),
        (("--default-ulimit", "nofile=x"), {}),
        (("--add-runtime", "x"), {}),
        ((), {"icc": "no"}),
    ],
)
def test_what_cannot_be_is_refused(words, document):
    with pytest.raises(PyruncError) as caught:
        make(*words, **document)
    assert caught.value.kind == INVALID


def test_tcp_with_certificates():
    tls = ("--tlsverify", "--tlscacert", "ca", "--tlscert", "c", "--tlskey", "k")
    assert make("-H", "tcp://127.0.0.1:1", *tls).tls == ("ca", "c", "k")
