"""What commands decide by themselves, before and after their one call of the runtime."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pyrunc.cli.commands import ps, run
from pyrunc.cli.main import Settings
from pyrunc.errors import CONFLICT, PyruncError

SETTINGS = Settings(state_root="/nowhere")


@pytest.mark.parametrize(
    ("path", "name"),
    [("/a/web", "web"), ("/a/My bundle!", "My-bundle-"), ("/a/.hidden", "hidden"), ("/", "container"),
     ("/a/...", "container"), ("/a/ä", "container"), ("/a/v1.2_x+y", "v1.2_x+y")],
)  # fmt: skip
def test_a_container_is_named_after_its_bundle(path, name):
    assert run.name_after(path) == name


@pytest.fixture
def requests(monkeypatch):
    """What `run` would be called with; names in `taken` are refused, as the state root refuses them."""
    made = []
    taken: set[str] = set()

    def start(request, **options):
        if request.id in taken:
            raise PyruncError(CONFLICT, "container with given ID already exists", request.id)
        made.append((request.id, request.bundle, options))
        return 7

    monkeypatch.setattr(run, "run", start)
    return SimpleNamespace(made=made, taken=taken)


def do(*words: str) -> int:
    return run.main(SETTINGS, run.COMMAND.parse(list(words)))


@pytest.fixture
def bundle(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "config.json").write_text("{}")
    return tmp_path / "web"


@pytest.mark.parametrize("word", ["web", "web/", "./web", "{path}"])
def test_a_path_of_a_bundle_is_run_under_its_name(word, bundle, requests):
    assert do(word.format(path=bundle)) == 7
    assert requests.made == [("web", str(bundle), {"detach": False, "keep": False, "subreaper": True})]


def test_here_and_above_are_bundles_too(bundle, requests, monkeypatch):
    monkeypatch.chdir(bundle)
    do(".")
    assert requests.made[0][:2] == ("web", str(bundle))


def test_inside_a_bundle_a_word_is_a_name_even_if_a_bundle_has_it(bundle, requests, monkeypatch):
    (bundle.parent / "config.json").write_text("{}")
    do("web")
    assert requests.made[0][:2] == ("web", str(bundle.parent))


def test_with_a_bundle_option_a_word_is_a_name(bundle, requests):
    do("--bundle", "other", "web")
    assert requests.made[0][:2] == ("web", str(bundle.parent / "other"))


def test_a_name_that_is_taken_gets_a_number(bundle, requests, capfd):
    requests.taken |= {"web", "web-2"}
    do("--detach", "web/")
    assert requests.made[0][0] == "web-3"
    assert capfd.readouterr().out == "web-3\n"  # how else would one know what to call it


def test_a_name_of_the_users_own_is_not_changed(bundle, requests):
    requests.taken.add("mine")
    with pytest.raises(PyruncError, match="already exists"):
        do("--bundle", "web", "mine")


PS = """\
UID          PID    PPID  C STIME TTY          TIME CMD
root           1       0  0 07:25 ?        00:00:01 /sbin/init with 42
me            42       1  0 07:25 ?        00:00:00 sleep 1
"""


def test_the_hosts_ps_is_filtered_by_its_pid_column():
    assert ps.rows_of(PS, {42}).splitlines() == [PS.splitlines()[0], PS.splitlines()[2]]
    assert ps.rows_of(PS, {7}).splitlines() == [PS.splitlines()[0]]


def test_a_table_without_pids_is_refused_with_a_way_out():
    with pytest.raises(PyruncError, match="couldn't find PID field in ps output") as raised:
        ps.rows_of("CMD\nsleep\n", {1})
    assert "-o pid" in raised.value.hint
