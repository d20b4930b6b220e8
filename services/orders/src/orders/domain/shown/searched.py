"""What an order is found by: lexemes of what was sold, and marks of the rare states that it is in. `docs/search.md`

A lexeme is a word of PostgreSQL's full text type: four characters of its store, a letter for its kind, its value. They follow
from the content, which hardly ever changes. A mark is a row of its own, so that the orders that have it can be read in the
order of their age; the states that every order passes through in its first seconds have none.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Final

from contracts.snapshot import OrderContent
from orders.domain.shown.views import in_flight, waiting
from orders.domain.state.order import Order

WORDS_MAX: Final = 500
"""Distinct words of an order's titles that are searched; more are left out."""
WORD_BYTES_MAX: Final = 60
"""A longer value is searched by its hash."""
_WORD: Final = re.compile(r"\w+")

SKU, WORD, NAME, EMAIL, COUNTRY, CURRENCY, MARKET, CHANNEL, ACCOUNT, TEST = (
    "s",
    "w",
    "n",
    "e",
    "c",
    "y",
    "m",
    "h",
    "a",
    "t",
)
"""Kinds of lexemes. `NAME`: the ids by which people call an order, in lower case."""


@lru_cache(maxsize=4096)
def _of_store(store_id: str) -> str:
    """Four characters: the lexemes of two stores hardly ever meet, and a query checks the store of each row as well."""
    return base64.b64encode(hashlib.blake2b(store_id.encode(), digest_size=3).digest(), b"-_").decode()


def lexeme(store_id: str, kind: str, value: str) -> str:
    if len(value) > WORD_BYTES_MAX // 4 and len(value.encode()) > WORD_BYTES_MAX:
        value = f"#{hashlib.blake2b(value.encode(), digest_size=15).hexdigest()}"
    return f"{_of_store(store_id)}{kind}{value}"


def words(text: str) -> list[str]:
    """Returns the words of a text: letters and digits, without case and accents."""
    if not text.isascii():
        text = "".join(one for one in unicodedata.normalize("NFKD", text) if not unicodedata.combining(one))
    return _WORD.findall(text.casefold())


def email_hash(email: str, key: bytes) -> str:
    """Returns the keyed hash of an address, 96 bits: without the key no address can be tried against it."""
    digest = hmac.digest(key, email.strip().casefold().encode(), "sha256")
    return base64.b64encode(digest[:12], b"-_").decode()


def lexemes(order: Order, email_key: bytes | None) -> set[str]:
    """Returns the lexemes of an order with content. email_key: null: its buyer's address is not searched."""
    content, source, market = order.content, order.source, order.market
    assert content is not None and source is not None and market is not None
    pairs = [
        (CURRENCY, content.currency), (MARKET, market.code), (CHANNEL, source.channel), (ACCOUNT, source.account),
    ]  # fmt: skip
    pairs += [(SKU, line.sku) for line in content.lines if line.sku is not None]
    if (country := country_of(content)) is not None:
        pairs.append((COUNTRY, country))
    pairs += [(NAME, name.casefold()) for name in _names(order, content)]
    pairs += [(WORD, word) for word in _title_words(content)]
    if email_key is not None and content.buyer.email:
        pairs.append((EMAIL, email_hash(content.buyer.email, email_key)))
    if content.test:
        pairs.append((TEST, ""))
    return {lexeme(order.store_id, kind, value) for kind, value in pairs}


def country_of(content: OrderContent) -> str | None:
    """Returns the country that the goods go to; without one that of the bill."""
    for address in (content.ship_to, content.bill_to):
        if address is not None and address.country is not None:
            return address.country
    return None


def _names(order: Order, content: OrderContent) -> Iterator[str]:
    reference = order.annotations.reference if order.annotations is not None else None
    names = (order.number, content.external_order_id, content.external_number, content.purchase_order_number, reference)
    return (name for name in names if name)


def _title_words(content: OrderContent) -> Iterable[str]:
    found: dict[str, None] = {}
    for title in dict.fromkeys(line.title for line in content.lines if line.title):
        found.update(dict.fromkeys(words(title)))
        if len(found) > WORDS_MAX:
            return list(found)[:WORDS_MAX]
    return found


def vector(found: Iterable[str]) -> str:
    """Returns lexemes as the literal of a `tsvector`."""
    return " ".join(map(_quoted, found))


def any_of(found: Sequence[str]) -> str:
    """Returns a `tsquery` for rows with at least one of the lexemes."""
    return f"({' | '.join(map(_quoted, found))})"


def all_of(queries: Iterable[str]) -> str:
    """Returns a `tsquery` for rows that fit every one."""
    return " & ".join(queries)


def _quoted(text: str) -> str:
    if "'" in text or "\\" in text:
        text = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{text}'"


# -- marks ------------------------------------------------------------------------------------------------------------

UNMARKED: Final = {
    "status": frozenset({"approved"}),
    "payment_status": frozenset({"paid"}),
    "fulfillment_status": frozenset({"fulfilled", "in_progress"}),
    "waiting": frozenset({"", "answer", "warehouse"}),
}
"""The words that most orders have when nothing is wrong; every other one is a mark while the order is not in flight."""
_NONE: Final[frozenset[str]] = frozenset()


def mark(kind: str, word: str) -> str:
    return f"{kind}:{word}"


def marks(order: Order) -> frozenset[str]:
    """Returns the marks of an order.

    An order in flight (one of our services owes an answer within seconds) has no marks of its statuses, so that a step that
    it only passes through writes none. It is found among those in flight, which are few.
    """
    found: list[str] = []
    if order.exceptions:
        found += [mark("exception", code) for code in order.exceptions]
    if order.holds:
        found += {mark("hold", hold.reason) for hold in order.holds.values()}
    if order.annotations is not None:
        found += [mark("tag", tag) for tag in order.annotations.tags]
    if order.cancel_cause is not None:
        found.append(mark("cancel_cause", order.cancel_cause))
    if order.known and not in_flight(order):
        for kind, usual in UNMARKED.items():
            word = waiting(order) if kind == "waiting" else getattr(order, kind)
            if word not in usual:
                found.append(mark(kind, word))
    return frozenset(found) if found else _NONE
