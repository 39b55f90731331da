"""docker.table, units, and the rows of lists: columns and words that scripts read."""

import pytest

from pyrunc.docker import main
from pyrunc.docker.commands.network import make_pools
from pyrunc.docker.commands.ps import make_row, show_ports
from pyrunc.docker.commands.stats import cpu_percent
from pyrunc.docker.commands.usage import make_summary
from pyrunc.docker.filters import make_filters, qualify, split_reference
from pyrunc.docker.streams import parse_keys
from pyrunc.docker.table import lay_out, paint, show_list
from pyrunc.docker.units import binary_size, duration, ellipsis, epoch, human_size, parse_bytes
from pyrunc.errors import PyruncError

ROWS = [{"ID": "3f", "Name": "a-name-that-is-long", "Label": lambda name: f"<{name}>"},
        {"ID": "4", "Name": "b", "Label": lambda name: ""}]  # fmt: skip
COLUMNS = (("ID", "CONTAINER ID"), ("Name", "NAMES"))


def test_columns_are_as_wide_as_dockers():
    assert lay_out([["CONTAINER ID", "X", "NAMES"], ["3f", "y", "web"]]) == (
        "CONTAINER ID   X         NAMES\n3f             y         web\n"
    )


@pytest.mark.parametrize(
    ("form", "shown"),
    [
        ("", "CONTAINER ID   NAMES\n3f             a-name-that-is-long\n4              b\n"),
        ("{{.ID}}={{.Name}}", "3f=a-name-that-is-long\n4=b\n"),
        ("json", '{"ID":"3f","Name":"a-name-that-is-long"}\n{"ID":"4","Name":"b"}\n'),
        (r"table {{.Name}}\t{{.Label `x`}}",
         "NAMES                 x\na-name-that-is-long   <x>\nb                     \n"),
    ],
)  # fmt: skip
def test_a_list_has_the_form_that_is_asked_for(form, shown, capfd):
    show_list(ROWS, COLUMNS, form, {"Label": lambda name: name})
    assert capfd.readouterr().out == shown


def test_quiet_is_one_column(capfd):
    show_list(ROWS, COLUMNS, quiet="ID")
    assert capfd.readouterr().out == "3f\n4\n"


def test_colour_changes_no_width():
    assert paint("Up 3 seconds", 1, "STATUS") == "\x1b[32mUp 3 seconds\x1b[0m"
    assert paint("Exited (0) 3 days ago", 1, "STATUS") == "Exited (0) 3 days ago"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"),
     (180, "3 minutes"),
     (3600, "About an hour"), (7200, "2 hours"), (86400 * 3, "3 days"), (86400 * 20, "2 weeks"),
     (86400 * 100, "3 months"), (86400 * 900, "2 years")],
)  # fmt: skip
def test_durations(seconds, text):
    assert duration(seconds) == text


def test_sizes():
    assert [human_size(size, 3) for size in (0, 999, 1000, 1_982_000, 5e9)] == [
        "0B",
        "999B",
        "1kB",
        "1.98MB",
        "5GB",
    ]
    assert binary_size(1_982_000) == "1.89MiB"
    assert [parse_bytes(text) for text in ("1k", "1.5m", "2GB", "64KiB", "7", "1b")] == [
        1024, 3 << 19, 2 << 30, 64 << 10, 7, 1,
    ]  # fmt: skip
    for text in ("", "x", "-1", "1z", "9999999999g"):
        with pytest.raises(PyruncError):
            parse_bytes(text)


def test_times():
    assert epoch("1970-01-02T00:00:01Z") == 86401
    assert epoch("2024-03-01T12:00:00.5+02:00") == 1709287200.5
    assert epoch("0001-01-01T00:00:00Z") == 0


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        ([], ""),
        ([(443, 0, "")], "443/tcp"),
        ([(80, 8080, "0.0.0.0"), (9001, 9001, "0.0.0.0"), (9000, 9000, "0.0.0.0")],
         "0.0.0.0:9000-9001->9000-9001/tcp, 0.0.0.0:8080->80/tcp"),
        ([(80, 80, "::1")], "[::1]:80->80/tcp"),
    ],
)  # fmt: skip
def test_ports_are_shown_as_ranges(ports, text):
    given = [
        {"PrivatePort": a, "Type": "tcp", **({"PublicPort": b, "IP": c} if b else {})} for a, b, c in ports
    ]
    assert show_ports(given) == text


def test_a_row_of_ps():
    one = {"Id": "ab" * 32, "Image": "sha256:" + "cd" * 32, "Command": "sh -c 'echo hello world'",
           "Created": 90,
           "Status": "Up 1 second", "State": "running", "Names": ["/web", "/db/alias"], "Labels": {"a": "b"},
           "Mounts": [{"Name": "data", "Driver": "local"}]}  # fmt: skip
    row = make_row(one, 100.0, is_whole=False)
    assert (row["ID"], row["Image"], row["Names"]) == ("abababababab", "cdcdcdcdcdcd", "web")
    assert (row["Command"], row["RunningFor"]) == ('"sh -c \'echo hello w…"', "10 seconds ago")
    assert (row["Label"]("a"), row["LocalVolumes"]) == ("b", "1")


def test_system_df_knows_what_could_go():
    rows = make_summary(
        {
            "LayersSize": 100,
            "Images": [{"Size": 60, "SharedSize": 0, "Containers": 1}, {"Size": 40, "Containers": 0}],
            "Containers": [{"State": "exited", "SizeRw": 10}],
            "Volumes": [{"UsageData": {"Size": 5, "RefCount": 0}}],
        }
    )
    assert [(row["TotalCount"], row["Active"], row["Reclaimable"]) for row in rows[:3]] == [
        ("2", "1", "40B (40%)"), ("1", "0", "10B (100%)"), ("1", "0", "5B (100%)"),
    ]  # fmt: skip


def test_cpu_is_of_one_cpu():
    one = {"cpu_stats": {"cpu_usage": {"total_usage": 300}, "system_cpu_usage": 1000, "online_cpus": 2},
           "precpu_stats": {"cpu_usage": {"total_usage": 100}, "system_cpu_usage": 600}}  # fmt: skip
    assert cpu_percent(one) == 100.0


def test_references():
    assert split_reference("x:5000/a") == ("x:5000/a", "")
    assert split_reference("x:5000/a:b") == ("x:5000/a", "b")
    assert split_reference("a@sha256:00") == ("a", "sha256:00")
    assert [qualify(name) for name in ("a", "b/c", "x.y/d")] == [
        "docker.io/library/a",
        "docker.io/b/c",
        "x.y/d",
    ]
    assert make_filters(["status=exited", "label=a=b"]) == {
        "status": {"exited": True},
        "label": {"a=b": True},
    }


def test_detach_keys():
    assert parse_keys("ctrl-p,ctrl-q") == b"\x10\x11"
    assert parse_keys("a,ctrl-]") == b"a\x1d"
    for text in ("", "ctrl-", "ab"):
        with pytest.raises(PyruncError):
            parse_keys(text)


def test_pools_of_a_network():
    given = {"subnet": ("10.1.0.0/16",), "ip-range": ("10.1.5.0/24",), "gateway": ("10.1.0.9",),
             "aux-address": ("nas=10.1.0.5",)}  # fmt: skip
    assert make_pools(given) == [
        {"Subnet": "10.1.0.0/16", "IPRange": "10.1.5.0/24", "Gateway": "10.1.0.9",
         "AuxiliaryAddresses": {"nas": "10.1.0.5"}},
    ]  # fmt: skip
    with pytest.raises(PyruncError):
        make_pools({**given, "gateway": ("10.2.0.1",)})


def test_a_long_text_has_an_ellipsis():
    assert [ellipsis("abcdef", width) for width in (6, 5, 1, 0)] == ["abcdef", "abcd…", "a", ""]


@pytest.mark.parametrize("words", [[name] for name in main.COMMANDS] + [
    [group, name] for group, commands in main.GROUPS.items() for name in commands])  # fmt: skip
def test_each_command_of_the_table_is_there(words):
    _, module, key, _ = main.find(words)
    verb, function = main.load(f"pyrunc.docker.commands.{module}").COMMANDS[key]
    assert verb.summary.endswith(".") and callable(function)
    shorts = [flag.short for flag in verb.flags if flag.short]
    assert len(set(shorts)) == len(shorts)


@pytest.mark.parametrize(
    ("words", "hint"),
    [(["log", "web"], "pyr logs"), (["run", "-rm", "x"], "--rm"), (["-d", "run", "x"], "come after it"),
     (["prune"], "pyr system prune"), (["imagse"], "images"), (["swarm", "init"], "one host")],
)  # fmt: skip
def test_what_was_meant_is_said(words, hint, capfd):
    assert main.run(words) in (1, 125)
    assert hint in capfd.readouterr().err


def test_help_is_drawn_from_the_tables(capfd):
    for words in ([], ["run", "--help"], ["container"], ["help", "network", "create"]):
        assert main.run(words) == 0
    shown = capfd.readouterr().out
    assert "--publish" in shown and "Usage: pyr run" in shown and "--subnet" in shown
