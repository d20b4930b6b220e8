"""Which orders of the demo have a gift card, and what it is worth: by the rule of the demo, and by its oracle."""

from __future__ import annotations

from uuid import UUID

from contracts.ids import order_id
from demo.gift_cards import cards_of
from demo.oracle import expect
from demo.retail import RetailOrder, snapshot
from demo.source import Book
from system.installation import STORE


def test_the_cards_are_those_that_the_oracle_expects(sample: Book, sample_orders: list[RetailOrder]) -> None:
    expected = expect(sample, STORE)
    cards = cards_of(sample_orders, order_id)
    assert cards == {UUID(order.order_id): order.card_minor for order in expected if order.card_minor}
    assert (len(cards), sum(cards.values())) == (39, 1_045_237)
    assert sum(order.card_minor == order.total_minor > 0 for order in expected) == 13, "they never ask the gateway"
    assert {order.trouble for order in expected if order.card_minor} > {
        "refunded",
        "line_cancelled",
        "edited",
        "declined",
    }


def test_what_goes_back_of_a_line_is_the_gateways_first(sample: Book) -> None:
    """Half of 536639 is the card's, so of its first line 12.60: a piece of 2.10 goes back to the gateway alone. The whole last
    line of 536367 goes back; the card has paid 139.36 x 31.80 / 278.73 = 15.90 of it."""
    [order] = [one for one in expect(sample, STORE) if one.external_order_id == "536639"]
    assert (order.trouble, order.card_minor, order.by_card_minor) == ("refunded", 14_425, 14_425)
    [order] = [one for one in expect(sample, STORE) if one.external_order_id == "536367"]
    assert (order.trouble, order.card_minor, order.by_card_minor) == ("line_cancelled", 13_936, 13_936 - 15_90)


def test_a_snapshot_names_the_card_of_its_order(sample_orders: list[RetailOrder]) -> None:
    order = sample_orders[0]
    assert "gift_cards" not in snapshot(order)["order"]
    assert snapshot(order, "a card")["order"]["gift_cards"] == [{"gift_card_id": "a card"}]
