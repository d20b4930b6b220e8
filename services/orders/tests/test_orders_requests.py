"""Orders that come as a request, and what a request is answered."""

from __future__ import annotations

from orders_play import ORDER, STORE, Play, content, line, market, uid

from contracts.fulfillment import Reserve
from contracts.orders import MarketTerms, Received
from contracts.snapshot import Snapshot
from orders.api.requests import NewOrder
from orders.domain.decisions.actions import allowed
from orders.domain.decisions.requests import MarketKey, needs_market
from orders.domain.shown.views import waiting
from orders.domain.state.order import initial


def test_an_order_over_http_starts_placing_and_answers_its_operation(play: Play) -> None:
    play.placed_over_http(content(), market(), "op").then(Received, asks=[Reserve])
    received = play.event(Received)
    assert received.operation_id == uid("op") and (received.source.channel, received.source.account) == ("api", "shop")
    assert received.number == "A-1" and received.source.updated_at == play.now


def test_the_same_order_again_is_the_same_order_and_another_content_is_refused(play: Play) -> None:
    play.placed_over_http(content(), market()).placed_over_http(content(), market(), "again").nothing()
    assert play.refusal is None
    play.placed_over_http(content(line(total=1)), market(), "other").nothing()
    assert play.refusal and play.refusal.code == "order_exists"


def test_the_market_is_looked_up_when_the_order_is_first_seen_and_never_again(play: Play) -> None:
    play.receives(content(), market())
    assert play.order.source is not None
    told = Snapshot(source=play.order.source, order=content())
    assert [*needs_market(initial(ORDER, STORE), told)] == [MarketKey(STORE, "bol", "a1")]
    assert [*needs_market(play.order, told)] == []


def test_nobody_can_do_anything_with_an_order_that_is_not_known(play: Play) -> None:
    assert allowed(play.order) == []
    assert play.cancels().refusal and play.refusal.code == "order_unknown"
    play.wakes(0).nothing()


def test_answers_about_an_order_that_is_not_known_change_nothing(play: Play) -> None:
    """The database was restored to before the order: its snapshot will be redelivered."""
    other = Play().in_the_warehouse()
    for message in other.heard.values():
        play.when(message).nothing()
    assert play.order == initial(ORDER, STORE)


def test_an_order_says_what_it_waits_for_at_every_moment(play: Play) -> None:
    """Promise 7."""
    seen = []
    for step in ("receives", "short", "wakes", "reserved", "authorized", "approves", "captured", "issued", "started"):
        if step == "receives":
            play.receives(content(), market(on_short="wait", approval="manual"))
        else:
            getattr(play, step)()
        seen.append(waiting(play.order))
    assert seen == [
        "answer", "stock", "answer", "answer", "approval", "answer", "answer", "answer", "warehouse",
    ]  # fmt: skip
    assert play.order.market == MarketTerms(code="m", on_short="wait", seller="acme")


def test_an_order_without_account_has_the_same_id_whatever_api_key_brings_it() -> None:
    asked = NewOrder.model_validate(content().model_dump())
    assert (asked.channel, asked.account) == ("api", "default")
