"""Ids that two programs compute alike."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.deciding import Context
from contracts.ids import ORDER_NAMESPACE, decided, derived, message_id, order_id

PAGE = (Path(__file__).parents[3] / "docs" / "order-ids.md").read_text("utf-8")
ROWS = [
    [cell.replace("\\|", "|") for cell in re.findall(r"`([^`]*)`", line)]
    for line in PAGE.splitlines()
    if line.count("`") == 10
]
PROGRAMS = dict(re.findall(r"```(\w+)\n(.*?)```", PAGE, re.DOTALL))

codes = st.from_regex(r"[A-Za-z0-9._:-]{1,64}", fullmatch=True)
Decided = tuple[str, UUID, UUID, str]
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=200)


def printed_by(*program: str) -> list[str]:
    return subprocess.run(program, capture_output=True, text=True, check=True).stdout.split()


def test_the_namespace_never_changes() -> None:
    assert UUID("b4f1c1a6-5d0e-5c39-9a43-6a1d1a0f7e21") == ORDER_NAMESPACE
    assert str(ORDER_NAMESPACE) in PAGE


def test_the_worked_examples_are_true() -> None:
    assert len(ROWS) == 3
    for store, channel, account, external, expected in ROWS:
        assert str(order_id(store, channel, account, external)) == expected


def test_the_program_in_python_prints_them() -> None:
    assert printed_by(sys.executable, "-c", PROGRAMS["python"]) == [row[-1] for row in ROWS]


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not here")
def test_the_program_in_javascript_prints_them(tmp_path: Path) -> None:
    program = tmp_path / "order-id.mjs"
    program.write_text(PROGRAMS["javascript"], "utf-8")
    assert printed_by("node", str(program)) == [row[-1] for row in ROWS]


@given(st.tuples(codes, codes, codes, texts), st.tuples(codes, codes, codes, texts))
def test_two_orders_never_share_an_id(one: tuple[str, str, str, str], other: tuple[str, str, str, str]) -> None:
    assert (order_id(*one) == order_id(*other)) == (one == other)


def test_a_bar_in_the_external_id_is_not_taken_for_a_separator() -> None:
    assert order_id("a", "b", "c", "d|e") != order_id("b", "c", "d", "e")


def test_the_identity_of_a_message_differs_by_each_of_its_parts_and_sorts_by_time() -> None:
    early, late = datetime(2026, 11, 20, 23, 59, 59, 999000, UTC), datetime(2026, 11, 21, tzinfo=UTC)
    one, other = order_id("a", "b", "c", "1"), order_id("a", "b", "c", "2")
    parts = list(product((early, late), ("s", "t"), ("st_1", "st_2"), (one, other), ("41", "42")))
    ids = [message_id(*part) for part in parts]
    assert len(set(ids)) == len(parts) == 32
    assert ids == [message_id(*part) for part in parts]
    assert max(ids[:16]) < min(ids[16:])
    assert message_id(late, "a", "st", one, "b1") != message_id(late, "ab", "st", one, "1")


@given(st.tuples(codes, st.uuids(), st.uuids(), texts), st.tuples(codes, st.uuids(), st.uuids(), texts))
def test_what_two_decisions_make_never_shares_an_id(one: Decided, other: Decided) -> None:
    assert (decided(*one) == decided(*other)) == (one == other)


def test_one_message_id_and_name_are_another_thing_in_another_order_or_store() -> None:
    message, one, other = UUID(int=1), UUID(int=2), UUID(int=3)
    contexts = [Context(datetime.now(UTC), key, store, message) for key in (one, other) for store in ("st_1", "st_2")]
    assert len({context.new_id("shipment:main") for context in contexts}) == 4


def test_what_is_decided_again_gets_the_same_ids() -> None:
    parent = order_id("st_12", "bol", "store-887", "A2K8290LP8")
    assert derived(parent, "capture") == derived(parent, "capture")
    assert len({derived(parent, name) for name in ("capture", "refund", 0, 1)}) == 4
