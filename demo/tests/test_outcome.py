"""What the published events add to the counts and sums of an order."""

from __future__ import annotations

from typing import Any

from demo.outcome import edited


def event(*rows: tuple[str, str, int, int], edit_id: str | None = "5a0c") -> dict[str, Any]:
    """Rows: (line id, kind, quantity, amount)."""
    names = ("line_id", "kind", "quantity", "amount_minor")
    lines = [dict(zip(names, row, strict=True)) for row in rows]
    return {"lines": lines} | ({} if edit_id is None else {"edit_id": edit_id})


def test_a_line_without_replacement_is_cancelled() -> None:
    rows = [("3", "original", 2, 500), ("3", "reversal", -2, -500), ("3", "refund", 2, 500)]
    assert edited(event(*rows)) == {"edits": 1, "lines_cancelled": 1, "lines_cancelled_minor": 500}


def test_a_dearer_line_adds_the_difference_and_a_new_one_all_of_it() -> None:
    rows = [("1", "original", 2, 500), ("1", "reversal", -2, -500), ("1", "replacement", 3, 750), ("9", "added", 1, 40)]
    assert edited(event(*rows)) == {"edits": 1, "added_minor": 290}


def test_a_cheaper_line_is_neither_added_nor_cancelled() -> None:
    rows = [("1", "reversal", -2, -500), ("1", "replacement", 1, 250)]
    assert +edited(event(*rows)) == {"edits": 1}


def test_a_change_that_no_edit_caused_is_no_edit() -> None:
    assert not edited(event(edit_id=None))
    assert not edited({})
