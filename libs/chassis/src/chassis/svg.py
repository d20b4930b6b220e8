"""Pictures as SVG: bars, and plots of values over time.

Nothing in a picture is styled in place: every shape has a class, so that a page with a strict content security policy gives
the colours in its style sheet. `STYLE` gives them to a picture that is a file of its own. Both are readable on light and dark.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import groupby
from typing import Final, NamedTuple

STYLE: Final = """
  text { font: 13px system-ui, sans-serif; fill: #24292f } .dim { fill: #57606a; font-size: 11px } .head { font-weight: 600 }
  .bar { fill: #2f81f7 } .low { fill: #cf222e } .peer { fill: #8c959f } .track { fill: #8c959f; fill-opacity: .15 }
  .mark { stroke: #57606a; stroke-width: 1.5 } .goal { stroke: #1a7f37; stroke-width: 2 }
  .c0 { fill: #2f81f7 } .c1 { fill: #1a7f37 } .c2 { fill: #bf8700 } .c3 { fill: #8250df } .c4 { fill: #d4679b }
  .c5 { fill: #57606a } .c6 { fill: #0a7ea4 } .c7 { fill: #bc4c00 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 } .dim { fill: #8b949e } .mark { stroke: #8b949e } .goal { stroke: #3fb950 }
  }
"""
"""The style of a picture that is a file of its own."""
COLOURS: Final = 8
"""How many classes `c0`, `c1`, ... there are."""


def shape(name: str, content: str = "", **attributes: str | float | None) -> str:
    """Returns an element around `content`, which is SVG. `class_` is the attribute `class`, a `_` inside a name becomes `-`.

    Numbers have one decimal at most; an attribute that is None is left out.

    >>> shape("rect", x=1, width=2.25, class_="bar")
    '<rect x="1" width="2.2" class="bar"/>'
    """
    given = "".join(
        f' {name.rstrip("_").replace("_", "-")}="{_written(value)}"'
        for name, value in attributes.items()
        if value is not None
    )
    return f"<{name}{given}>{content}</{name}>" if content else f"<{name}{given}/>"


def words(text: str, **attributes: str | float | None) -> str:
    return shape("text", escape(text), **attributes)


def _written(value: str | float) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


def picture(title: str, description: str, body: str, *, width: float, height: float, style: str | None = None) -> str:
    """Returns a whole picture. style: that of a file of its own, which also has a size; a part of a page fills its place."""
    return shape(
        "svg", f"<title>{escape(title)}</title><desc>{escape(description)}</desc>"
        + (f"<style>{style}</style>" if style else "") + body,
        xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {_written(width)} {_written(height)}",
        width=width if style else None, height=height if style else None, role="img", class_=None if style else "plot",
    )  # fmt: skip


# -- plots over time --------------------------------------------------------------------------------------------------

WIDTH: Final = 400
TOP: Final = 8
LEFT: Final = 40
RIGHT: Final = 4
AREA: Final = 110
"""Height of what has the lines."""
LEGEND: Final = 16
"""Height of a line of the legend."""
LETTER: Final = 6.6
"""Width of a letter of the legend, about."""


class Line(NamedTuple):
    label: str
    values: Sequence[float | None]
    """At equal distances, the first at the left edge; null: no answer, and the line has a gap."""


def plot(
    title: str, description: str, lines: Sequence[Line], marks: Sequence[tuple[float, str]],
    shown: Callable[[float], str] = lambda value: f"{value:,g}",
) -> str:  # fmt: skip
    """Returns a plot, from zero up. All lines have the same number of values.

    marks: labels of the time axis, each with its place from 0 to 1. shown: a value of the other axis as text. A time at which no
    line has a value is shaded, except before the first value.
    """
    top = ceiling(max((value for line in lines for value in line.values if value is not None), default=0))
    legend, legend_height = _legend([line.label for line in lines])
    y_zero = TOP + legend_height + AREA
    parts = [*legend, *_axis(top, y_zero, shown)]
    parts += [
        words(label, x=LEFT + place * (WIDTH - LEFT - RIGHT), y=y_zero + 15, class_="dim", text_anchor=_anchor(place))
        for place, label in marks
    ]
    count = max((len(line.values) for line in lines), default=0)
    step = (WIDTH - LEFT - RIGHT) / max(count - 1, 1)
    silent = [all(line.values[n] is None for line in lines) for n in range(count)]
    for first, last in runs(silent):
        if first > 0:
            x, right = LEFT + (first - 0.5) * step, min(LEFT + (last + 0.5) * step, WIDTH - RIGHT)
            parts.append(shape("rect", x=x, width=right - x, y=y_zero - AREA, height=AREA, class_="gap"))
    for number, line in enumerate(lines):
        if path := _path(line.values, step, AREA / top, y_zero):
            parts.append(shape("path", d=path, class_=f"line c{number % COLOURS}"))
    return picture(title, description, "".join(parts), width=WIDTH, height=y_zero + 20)


def ceiling(value: float) -> float:
    """Returns the smallest of 1, 2, 5, 10, 20, 50, ... (or 0.5, 0.2, ...) that is not below `value`; 1 for zero.

    >>> ceiling(0), ceiling(3), ceiling(70), ceiling(0.015)
    (1.0, 5.0, 100.0, 0.02)
    """
    if value <= 0:
        return 1.0
    power = 0
    while 10.0**power < value:
        power += 1
    while 10.0 ** (power - 1) >= value:
        power -= 1
    return next(n for n in (10.0**power / 5, 10.0**power / 2, 10.0**power) if n >= value)


def runs(flags: Sequence[bool]) -> Iterator[tuple[int, int]]:
    """Yields the first and last index of each run of true ones."""
    for flag, run in groupby(range(len(flags)), key=flags.__getitem__):
        if flag:
            indices = list(run)
            yield indices[0], indices[-1]


def _path(values: Sequence[float | None], step: float, scale: float, y_zero: float) -> str:
    """A value between two gaps is a line without length: its round ends make it a dot."""
    found = []
    for first, last in runs([value is not None for value in values]):
        points = [
            f"{LEFT + n * step:.1f} {y_zero - value * scale:.1f}"
            for n in range(first, last + 1)
            if (value := values[n]) is not None
        ]
        found.append("M" + "L".join(points if len(points) > 1 else points * 2))
    return "".join(found)


def _axis(top: float, y_zero: float, shown: Callable[[float], str]) -> Iterator[str]:
    for share in (0, 0.5, 1):
        y = y_zero - share * AREA
        yield shape("line", x1=LEFT, x2=WIDTH - RIGHT, y1=y, y2=y, class_="grid" if share else "base")
        yield words(shown(top * share), x=LEFT - 6, y=y + 4, class_="dim", text_anchor="end")


def _anchor(place: float) -> str:
    return "start" if place < 0.1 else "end" if place > 0.9 else "middle"


def _legend(labels: Sequence[str]) -> tuple[list[str], float]:
    """Returns the legend and its height; a single line needs none."""
    if len(labels) < 2:
        return [], 0
    parts, x, y = [], float(LEFT), TOP + 4.0
    for number, label in enumerate(labels):
        width = 30 + LETTER * len(label)
        if x + width > WIDTH and x > LEFT:
            x, y = float(LEFT), y + LEGEND
        parts.append(shape("path", d=f"M{x:.1f} {y - 4:.1f}h12", class_=f"line c{number % COLOURS}"))
        parts.append(words(label, x=x + 17, y=y, class_="dim"))
        x += width
    return parts, y - TOP + LEGEND - 4
