"""Bodies of messages: what is shown is what is there, and a difference of two is exact."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from console.domain.bodies import bounded, difference, pretty, why_not_json

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=5), below, max_size=3),
    max_leaves=12,
)
TEXTS = st.lists(st.sampled_from(["{", "}", "  a", "  b", "  c", ""]), max_size=30).map("\n".join)


@given(value=JSON)
def test_a_pretty_body_is_the_same_value_with_its_names_in_their_order(value: Any) -> None:
    shown = pretty(json.dumps(value))
    assert json.loads(shown) == value
    assert json.dumps(json.loads(shown)) == json.dumps(value)
    assert pretty(shown) == shown and why_not_json(shown) == ""


@pytest.mark.parametrize("text", ["", "{", '{"a": 1, "a": 2}', '{"a": NaN}', "[" * 100_000, "\ufffd\x00"])
def test_what_would_lose_something_is_shown_as_it_is(text: str) -> None:
    assert pretty(text) == text


@pytest.mark.parametrize(
    ("text", "where"),
    [('{"a": 1,\n "b" 2}', "line 2, column 6: "), ("", "line 1, column 1: "), ("Infinity", "Infinity is no number")],
)
def test_a_text_that_is_not_json_is_refused_with_the_place(text: str, where: str) -> None:
    assert why_not_json(text).startswith(where)


@given(before=TEXTS, after=TEXTS)
def test_a_difference_makes_the_one_text_of_the_other(before: str, after: str) -> None:
    """Lines that are left out are equal in both, so the texts without the lines of a gap are made of it."""
    lines = difference(before, after)
    assert bool(lines) == (before != after)
    if not lines:
        return
    old, new = list[str](), list[str]()
    for line in lines:
        if line.kind == "gap":
            equal = after.split("\n")[len(new) : len(new) + int(line.text)]
            old += equal
            new += equal
        if line.kind in ("same", "removed"):
            old.append(line.text)
        if line.kind in ("same", "added"):
            new.append(line.text)
            assert line.number == len(new)
        if line.kind == "removed":
            assert line.number == len(old)
    assert ("\n".join(old), "\n".join(new)) == (before, after)


@given(text=st.text(alphabet="ab\n", max_size=60), characters_max=st.integers(1, 40))
def test_a_bounded_text_is_a_beginning_and_states_what_is_missing(text: str, characters_max: int) -> None:
    shown, left_out = bounded(text, characters_max)
    assert text.startswith(shown) and len(shown) + left_out == len(text) and len(shown) <= characters_max
    assert left_out == 0 or len(shown) >= characters_max // 2
