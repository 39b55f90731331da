"""bench.charts: SVG that a browser can read, drawn to scale."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree

import pytest

from bench import charts

SVG = "{http://www.w3.org/2000/svg}"


def bars_of(text: str) -> list[float]:
    root = ElementTree.fromstring(text)
    return [float(rect.get("width", "")) for rect in root.iter(f"{SVG}rect") if rect.get("height") == "11"]


def words_of(text: str) -> list[str]:
    return [node.text or "" for node in ElementTree.fromstring(text).iter(f"{SVG}text")]


def test_a_bar_is_as_long_as_its_value():
    one, two, four = bars_of(charts.bars("t", {"run": {"a": 1, "b": 2}, "kill": {"a": 4}}, "ms"))
    assert (two / one, four / one) == (pytest.approx(2, abs=0.01), pytest.approx(4, abs=0.01))


def test_names_and_values_are_told_and_escaped():
    words = words_of(charts.bars("a < b & c", {"run": {"<x>": 1.2345}}, "ms"))
    assert words == ["a < b & c", "<x>", "run", "1.23 ms"]


def test_a_runtime_keeps_its_colour_where_another_is_missing():
    root = ElementTree.fromstring(charts.bars("t", {"x": {"a": 1, "b": 1}, "y": {"b": 1}}, ""))
    fills = [rect.get("fill") for rect in root.iter(f"{SVG}rect") if rect.get("height") == "11"]
    assert fills[1] == fills[2] != fills[0]


def test_points_of_a_line_are_within_its_axes_and_to_scale():
    root = ElementTree.fromstring(
        charts.lines("t", {"a": [(0, 0), (50, 10)], "b": [(100, 20)]}, "mounts", "ms")
    )
    found = [
        [tuple(map(float, point.split(","))) for point in (line.get("points") or "").split()]
        for line in root.iter(f"{SVG}polyline")
    ]
    (origin, middle), (corner,) = found
    assert middle == pytest.approx([(origin[0] + corner[0]) / 2, (origin[1] + corner[1]) / 2], abs=0.1)
    assert origin[0] < corner[0] and origin[1] > corner[1]


@pytest.mark.parametrize("text", [charts.bars("t", {}, ""), charts.lines("t", {}, "", "")])
def test_nothing_is_a_chart_too(text):
    assert words_of(text)[0] == "t"
