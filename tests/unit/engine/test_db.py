"""engine.db, locks and events: what is shared by threads and processes."""

from __future__ import annotations

import threading

import pytest

from pyrunc.engine.db import MIGRATIONS, Database
from pyrunc.engine.events import Bus
from pyrunc.engine.locks import Locks
from pyrunc.errors import CONFLICT, PyruncError


@pytest.fixture
def database(tmp_path):
    made = Database(str(tmp_path / "db"))
    yield made
    made.close()


def test_a_transaction_is_all_or_nothing(database):
    with pytest.raises(ZeroDivisionError), database.transaction():
        database.insert("volumes", {"a": 1}, name="v")
        with database.transaction():
            database.insert("volumes", {"a": 2}, name="w")
        raise ZeroDivisionError
    assert database.rows("volumes") == []


def test_names_are_unique(database):
    database.insert("containers", {}, id="1", name="n")
    for call in (
        lambda: database.insert("containers", {}, id="2", name="n"),
        lambda: database.insert("containers", {}, id="1", name="m"),
    ):
        with pytest.raises(PyruncError) as caught:
            call()
        assert caught.value.kind == CONFLICT
    database.insert("containers", {"x": "ö"}, id="12", name="m")
    assert database.keys_beginning("containers", "id", "1") == ["1", "12"]
    assert database.keys_beginning("containers", "id", "%") == []
    with pytest.raises(PyruncError):
        database.rename("containers", "m", "n")
    assert database.row("containers", name="m") == {"x": "ö"}


def test_another_process_sees_it_and_a_newer_version_is_refused(database, tmp_path):
    database.insert("volumes", {"a": 1}, name="v")
    second = Database(str(tmp_path / "db"))
    assert second.row("volumes", name="v") == {"a": 1}
    second._connection.execute(f"PRAGMA user_version={len(MIGRATIONS) + 1}")
    second.close()
    with pytest.raises(PyruncError, match="newer version"):
        Database(str(tmp_path / "db"))


def test_events_are_told_and_the_last_thousand_kept(database):
    bus = Bus(database)
    with bus.subscribe(lambda event: event.action == "die") as subscription:
        for number in range(1100):
            bus.publish(
                "container", "die" if number % 100 == 0 else "x", str(number), {"name": "n"}, code="1"
            )
        assert [event.id for event in subscription.take()] == [str(number) for number in range(0, 1100, 100)]
        assert subscription.take() == []
    kept = bus.past(0, 1 << 62)
    assert (len(kept), kept[0].id, kept[-1].attributes) == (1000, "100", {"name": "n", "code": "1"})


def test_a_lock_is_held_by_one_and_may_be_held_twice(tmp_path):
    locks = Locks(str(tmp_path / "locks"))
    inside, most = [], []

    def work() -> None:
        for _ in range(20):
            with locks.holding("a"), locks.holding("a"):
                inside.append(1)
                most.append(len(inside))
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) == 1
    assert list((tmp_path / "locks").iterdir()) == []
    for name in ("known", "of-one-who-was-killed"):
        (tmp_path / "locks" / name).touch()
    locks.sweep({"known"})
    assert [path.name for path in (tmp_path / "locks").iterdir()] == ["known"]
