"""Bars and lines as SVG, light enough for a README. Pure: values in, text out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_COLOURS = ("#8a8f98", "#d08c3f", "#2f6fb0", "#3f9a6b", "#a05ab4", "#c04a4a")
_WIDTH, _LEFT, _BAR, _GAP, _TOP = 720, 110, 13, 14, 58
_HEIGHT, _FOOT = 300, 40


def _text(x: float, y: float, words: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def _document(height: float, title: str, names: Sequence[str], parts: Sequence[str]) -> str:
    legend = []
    for index, name in enumerate(names):
        x = _LEFT + index * 130
        legend.append(f'<rect x="{x}" y="32" width="10" height="10" fill="{colour(index)}"/>')
        legend.append(_text(x + 14, 41, name))
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}"'
            ' font-family="sans-serif" fill="#444">',
            f'<rect width="{_WIDTH}" height="{height:.0f}" fill="#fff"/>',
            _text(10, 20, title, size=14),
            *legend,
            *parts,
            "</svg>\n",
        )
    )


def colour(index: int) -> str:
    return _COLOURS[index % len(_COLOURS)]


def bars(title: str, values: Mapping[str, Mapping[str, float]], unit: str) -> str:
    """`values`: group -> name -> value; a bar each, from the left, labelled with its value."""
    names = list(dict.fromkeys(name for group in values.values() for name in group))
    highest = max((value for group in values.values() for value in group.values()), default=0) or 1
    scale = (_WIDTH - _LEFT - 90) / highest
    parts, y = [], float(_TOP)
    for label, group in values.items():
        parts.append(_text(_LEFT - 8, y + len(group) * _BAR / 2 + 4, label, "end"))
        for name, value in group.items():
            width = max(value * scale, 1)
            fill = colour(names.index(name))
            parts.append(
                f'<rect x="{_LEFT}" y="{y:.1f}" width="{width:.1f}" height="{_BAR - 2}" fill="{fill}"/>'
            )
            parts.append(_text(_LEFT + width + 5, y + _BAR - 3.5, f"{value:.3g} {unit}", size=10))
            y += _BAR
        y += _GAP
    return _document(y + 4, title, names, parts)


def lines(title: str, values: Mapping[str, Sequence[tuple[float, float]]], across: str, unit: str) -> str:
    """`values`: name -> points; both axes begin at 0."""
    points = [point for line in values.values() for point in line]
    right = max((x for x, _ in points), default=0) or 1
    highest = max((y for _, y in points), default=0) or 1
    base, width = _HEIGHT - _FOOT, _WIDTH - _LEFT - 40

    def place(x: float, y: float) -> tuple[float, float]:
        return _LEFT + x / right * width, base - y / highest * (base - _TOP)

    parts = [f'<path d="M{_LEFT} {_TOP}V{base}H{_LEFT + width}" fill="none" stroke="#999"/>']
    parts.append(_text(_LEFT - 8, _TOP + 4, f"{highest:.3g} {unit}", "end"))
    parts.append(_text(_LEFT - 8, base, "0", "end"))
    parts.append(_text(_LEFT + width, base + 18, f"{right:.3g} {across}", "end"))
    for index, line in enumerate(values.values()):
        path = " ".join("{:.1f},{:.1f}".format(*place(x, y)) for x, y in line)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour(index)}" stroke-width="2"/>')
    return _document(_HEIGHT, title, list(values), parts)
