"""The forest of messages of an order: whole, in the order of causes, even if journals lack entries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from console.domain.tree import Delivery, Message, Origin, Tree, grown

AT = datetime(2026, 11, 21, 9, 30, tzinfo=UTC)
SERVICES = ("orders", "payments", "fulfillment")


def message(id: str, cause_id: str, *, at: int = 0, service: str = "orders", **more: Any) -> Message:
    fields: dict[str, Any] = {
        "kind": "event", "type": f"{service}.{id}", "published": True, "operation_id": None, "actor": "api-key:demo",
        "via": None, "cause_type": "orders.place", "version": 1, "body": {},
    }  # fmt: skip
    return Message(id=id, service=service, at=AT + timedelta(seconds=at), cause_id=cause_id, **fields | more)


def delivery(id: str, event_id: str, at: int = 0) -> Delivery:
    return Delivery(id, event_id, "e", "erp.example.com", 1, AT + timedelta(seconds=at), "delivered", "200")


def drawn(tree: Tree) -> list[str]:
    """Each row as its level in dots and its id."""
    return ["." * row.level + row.item.id for row in tree.rows]


def placed_order() -> list[Message]:
    """As the services journal it: a request, a command, its answer, a task of the gateway and what followed."""
    return [
        message("received", "request"),
        message("reserve", "request", kind="command", operation_id="op1"),
        message("authorize", "reserved", at=2, kind="command", actor="fulfillment", operation_id="op2"),
        message("placed", "authorized", at=5, actor="payments"),
        message("reserved", "reserve", at=1, service="fulfillment", actor="orders", operation_id="op1"),
        message("asked", "authorize", at=3, service="payments", actor="orders", operation_id="op2", published=False),
        message("authorized", "report", at=4, service="payments", actor="task:gateway", cause_type="task:gateway", operation_id="op2"),
    ]  # fmt: skip


def test_an_order_is_one_tree_from_its_request_across_services_and_gateways() -> None:
    tree = grown(placed_order(), [delivery("second", "placed", 9), delivery("first", "placed", 8)])
    assert drawn(tree) == [
        "request", ".received", ".reserve", "..reserved", "...authorize", "....asked", ".....authorized", "......placed",
        ".......first", ".......second",
    ]  # fmt: skip
    found = tree.message("authorized")
    assert found is not None
    assert [row.item.id for row in tree.chain(found)] == ["request", "reserve", "reserved", "authorize", "asked"]
    assert [row.item.id for row in tree.effects(found)] == ["placed"]
    assert (outcome := tree.outcome_of("op2")) is not None and outcome.id == "authorized"
    assert tree.message("request") is None and tree.outcome_of("op9") is None


def test_what_a_silent_service_decided_begins_a_tree_that_names_the_service() -> None:
    read = [one for one in placed_order() if one.service != "payments"]
    tree = grown(read, unread=["payments"])
    assert drawn(tree) == ["request", ".received", ".reserve", "..reserved", "...authorize", "authorized", ".placed"]
    assert [(row.item.id, row.item.unread) for row in tree.rows if isinstance(row.item, Origin)] == [
        ("request", ""),
        ("authorized", "payments"),
    ]


def test_messages_that_cause_each_other_are_cut_before_the_earliest() -> None:
    tree = grown(
        [message("c", "b", at=3), message("a", "c", at=1), message("b", "a", at=2), message("tail", "c", at=0)]
    )
    assert drawn(tree) == ["a", ".b", "..c", "...tail"]
    assert drawn(grown([message("self", "self")])) == ["self"]


def test_a_chain_of_thousands_is_walked() -> None:
    tree = grown(message(str(n), str(n - 1), at=n) for n in range(5_000))
    assert len(tree.rows) == 5_001 and tree.rows[-1].level == 5_000


ids = st.integers(0, 11).map(str)
stories = st.lists(
    st.builds(
        lambda id, cause, at, service, task, operation: message(
            id, cause, at=at, service=service, operation_id=operation,
            cause_type="task:gateway" if task else "orders.place", actor=service,
        ),
        ids, st.integers(0, 14).map(str), st.integers(0, 4), st.sampled_from(SERVICES), st.booleans(),
        st.sampled_from([None, "x", "y"]),
    ),
    max_size=12, unique_by=lambda one: one.id,
)  # fmt: skip
deliveries = st.lists(st.builds(delivery, st.integers(100, 109).map(str), ids, st.integers(0, 4)), unique_by=lambda one: one.id)  # fmt: skip


@given(stories, deliveries, st.sets(st.sampled_from(SERVICES)))
def test_every_message_is_once_and_below_its_cause_in_any_story(
    messages: list[Message], carried: list[Delivery], unread: set[str]
) -> None:
    tree = grown(messages, carried, unread)
    found = [row.item.id for row in tree.rows if isinstance(row.item, Message)]
    assert sorted(found) == sorted(one.id for one in messages)
    assert {row.item.id for row in tree.rows if isinstance(row.item, Delivery)} == {
        one.id for one in carried if one.event_id in found
    }
    levels: dict[str, int] = {}
    for row in tree.rows:
        assert row.level == (levels[row.parent.id] + 1 if row.parent is not None else 0), (
            "a cause is before its effects"
        )
        levels[row.item.id] = row.level
        if isinstance(row.item, Message) and row.parent is not None and row.item.cause_id in found:
            assert row.parent.id == row.item.cause_id
        if isinstance(row.item, Message) and row.parent is None:
            assert row.item.cause_id in found or row.item.cause_type.startswith("task:"), "only a circle has no origin"
    causes = [one.cause_id for one in messages if one.cause_id not in found]
    assert {row.item.id for row in tree.rows if isinstance(row.item, Origin)} <= set(causes)


@given(stories.flatmap(lambda read: st.tuples(st.just(read), st.permutations(SERVICES))))
def test_the_tree_does_not_depend_on_which_service_answers_first(story: tuple[list[Message], list[str]]) -> None:
    messages, order = story
    regrouped = [one for service in order for one in messages if one.service == service]
    assert drawn(grown(regrouped)) == drawn(grown(messages))
