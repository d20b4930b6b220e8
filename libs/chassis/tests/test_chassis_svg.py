"""Pictures: plots whose lines have gaps, and shapes without a style of their own."""

from __future__ import annotations

import doctest
import re
from collections.abc import Sequence
from itertools import pairwise
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from chassis import svg
from chassis.svg import Line, ceiling, picture, plot, runs, shape

SVG = "{http://www.w3.org/2000/svg}"
VALUES = st.lists(st.none() | st.floats(0, 1e9), min_size=1, max_size=60)


def elements(drawn: str, name: str, class_: str) -> list[ElementTree.Element]:
    found = ElementTree.fromstring(drawn).iter(SVG + name)
    return [one for one in found if class_ in one.get("class", "").split()]


def test_examples_in_the_docstrings_hold() -> None:
    assert doctest.testmod(svg).failed == 0


@given(value=st.floats(1e-6, 1e12))
def test_an_axis_ends_at_a_round_number_that_is_not_far_above_the_largest_value(value: float) -> None:
    top = ceiling(value)
    assert value <= top < 2.5001 * value
    assert f"{top:e}"[0] in "125"


@given(flags=st.lists(st.booleans(), max_size=50))
def test_runs_cover_what_is_true_and_nothing_else(flags: Sequence[bool]) -> None:
    found = list(runs(flags))
    assert [n for first, last in found for n in range(first, last + 1)] == [n for n, flag in enumerate(flags) if flag]
    assert all(last + 1 < following for (_, last), (following, _) in pairwise(found))


@given(values=VALUES)
def test_a_line_has_a_piece_for_each_run_of_values_and_stays_inside_the_picture(values: Sequence[float | None]) -> None:
    drawn = plot("Lag", "Records", [Line("orders", values)], [(0, "1:00"), (1, "2:00")])
    pieces = list(runs([value is not None for value in values]))
    paths = elements(drawn, "path", "line")
    assert sum(path.get("d", "").count("M") for path in paths) == len(pieces)
    gaps = [first for first, _ in runs([value is None for value in values])]
    assert len(elements(drawn, "rect", "gap")) == len([first for first in gaps if first > 0])
    _, _, width, height = map(float, ElementTree.fromstring(drawn).get("viewBox", "").split())
    for path in paths:
        for x, y in re.findall(r"([\d.]+) ([\d.]+)", path.get("d", "")):
            assert 0 <= float(x) <= width and 0 <= float(y) <= height


def test_a_time_at_which_one_service_is_silent_is_a_gap_in_its_line_and_is_shaded_only_if_all_are() -> None:
    lines = [Line("orders", [1, None, None, 4]), Line("payments", [1, 2, None, 4])]
    drawn = plot("Lag", "Records", lines, [])
    [orders, payments] = [path for path in elements(drawn, "path", "line") if path.get("d", "").count("L")]
    assert (orders.get("d", "").count("M"), payments.get("d", "").count("M")) == (2, 2)
    assert len(elements(drawn, "rect", "gap")) == 1


def test_a_picture_of_a_page_has_no_style_of_its_own_and_names_itself() -> None:
    lines = [Line(f"<{n}>", [n, n + 1.5]) for n in range(12)]
    drawn = plot("Lag & more", 'the "newest" hour', lines, [(0.5, "1:30")])
    assert "style" not in drawn
    root = ElementTree.fromstring(drawn)
    assert root.get("role") == "img"
    assert [root.findtext(SVG + name) for name in ("title", "desc")] == ["Lag & more", 'the "newest" hour']
    assert "<12>" not in drawn and "&lt;11&gt;" in drawn


def test_a_picture_that_is_a_file_has_its_style_and_its_size() -> None:
    drawn = picture("a", "b", shape("rect", class_="bar"), width=10, height=20, style=svg.STYLE)
    root = ElementTree.fromstring(drawn)
    assert (root.get("width"), root.get("height")) == ("10", "20")
    assert "prefers-color-scheme: dark" in (root.findtext(SVG + "style") or "")
