"""cli.table: the columns of `list`, character for character as runc prints them."""

from __future__ import annotations

from pyrunc.cli.table import layout


def test_a_column_is_never_narrower_than_twelve():
    header = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]
    assert layout([header]) == "ID          PID         STATUS      BUNDLE      CREATED     OWNER\n"


def test_a_long_cell_is_followed_by_three_spaces():
    rows = [["ID", "PID", "OWNER"], ["a-long-name", "1", "root"], ["b", "12345678901", "x"]]
    assert layout(rows).splitlines() == [
        "ID            PID           OWNER",
        "a-long-name   1             root",
        "b             12345678901   x",
    ]
