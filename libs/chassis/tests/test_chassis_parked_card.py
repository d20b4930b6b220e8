"""A record that is parked is stored as it came, but for a card number in place of a payment token."""

from __future__ import annotations

import pytest

from chassis.batch.parking import Rejected, _row
from chassis.batch.record import Record

CARD = "4242 4242 4242 4242"


def parked(value: bytes) -> tuple[bytes, bytes]:
    """What of a record is stored: its value, and what identifies it."""
    record = Record("marketplace.orders.v1", 0, 7, b"k", value, [])
    row = _row(Rejected(record, None, "bad_body", "totals.grand_minor is 1"))
    assert record.fingerprint() in row, "it is recognised when it is redelivered"
    [stored] = [one for one in row if isinstance(one, bytes) and b"order" in one]
    return stored, record.fingerprint()


@pytest.mark.parametrize(
    "token",
    [f'"{CARD}"', '"4242424242424242"', '"4242-4242-4242-4242"', "4242424242424242"],
)
def test_a_card_number_is_not_stored_with_a_parked_record(token: str) -> None:
    stored, _ = parked(f'{{"order": {{"payment_token" : {token}, "totals": 1}}'.encode())
    assert stored == b'{"order": {"payment_token" : "refused:card-number", "totals": 1}'


@pytest.mark.parametrize("token", ['"pm_1PqR5"', '"4242424242424241"', "null", '"\\u0034"', "42424242424242420000"])
def test_everything_else_is_stored_as_it_came(token: str) -> None:
    value = f'{{"order": {{"payment_token": {token}, "gtin": "{CARD}"'.encode()
    assert parked(value)[0] == value
