"""bench.figures: numbers to words."""

from __future__ import annotations

from bench.figures import compare, describe, ratios, table


def test_ratios_are_of_medians_to_the_first():
    assert ratios({"a": [2.0, 100.0, 4.0], "b": [2.0, 1.0], "c": [8.0]}) == {"a": 1.0, "b": 0.375, "c": 2.0}


def test_who_was_not_measured_has_no_ratio_and_is_not_the_base():
    assert ratios({"a": [], "b": [3.0], "c": [6.0]}) == {"b": 1.0, "c": 2.0}


def test_nothing_has_no_ratio_to_nothing():
    assert ratios({"a": [], "b": []}) == {}
    assert ratios({"a": [0.0], "b": [1.0]}) == {}


def test_a_cell_tells_the_median_and_the_minimum():
    assert describe([3.0, 1.0, 2.26], 2) == "2.26 (1.00)"
    assert describe([]) == "-"


def test_a_table_is_markdown_in_straight_columns():
    assert table(["op", "ms"], [["create", "1.0"], ["run", "12.5"]]).splitlines() == [
        "| op     | ms   |",
        "| ------ | ---- |",
        "| create | 1.0  |",
        "| run    | 12.5 |",
    ]


def test_a_comparison_has_all_runtimes_and_their_ratios_to_the_first():
    found = compare("ms", {"run": {"a": [2.0], "b": [1.0]}, "kill": {"a": [], "b": [1.0]}})
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in found.splitlines()]
    assert cells[0] == ["ms", "a", "b", "b/a"]
    assert cells[2] == ["run", "2.0 (2.0)", "1.0 (1.0)", "0.50"]
    assert cells[3] == ["kill", "-", "1.0 (1.0)", "1.00"]
