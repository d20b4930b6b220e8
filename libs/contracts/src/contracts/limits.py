"""The maximum of every list and sum in the contracts. `docs/limits.md` is the same for operators; a test compares the two.

A list without a maximum lets one order block every other one: all orders of a batch share its transaction.
"""

from __future__ import annotations

from typing import Final

MINOR_MAX: Final = 10**15
"""Largest amount, and largest sum of amounts, in minor units: exact in a JSON number (below 2^53)."""
QUANTITY_MAX: Final = 10**9
"""Pieces of a line, and of all lines of an order together."""
ORDER_LINES_MAX: Final = 1_000
CHARGED_LINES_MAX: Final = ORDER_LINES_MAX + 1
"""The lines of an order and its shipping charge."""
EDITED_LINES_MAX: Final = 4 * CHARGED_LINES_MAX
"""Rows that an edit adds to the history of an order's lines: each line may be recorded, reversed, replaced and refunded."""
TAXES_MAX: Final = 10
"""Tax components of a line, and of the shipping charge."""
VAT_GROUPS_MAX: Final = CHARGED_LINES_MAX * TAXES_MAX
"""VAT groups of a document: one per rate."""
UNIT_IDS_MAX: Final = 1_000
"""Ids that a marketplace gives to the single pieces of a line."""
UPSTREAM_REFUNDS_MAX: Final = 1_000
ATTRIBUTES_MAX: Final = 50
"""Attributes of an order, and of a line."""
UPSTREAM_PAYMENTS_MAX: Final = 100
UPSTREAM_SHIPMENTS_MAX: Final = 200
UPSTREAM_INVOICES_MAX: Final = 100
DISCOUNTS_MAX: Final = 1_000
"""Discounts of an order by code or title, those of its lines included."""
NAMES_MAX: Final = 20
"""Programs, shipping requirements, tax registrations and related orders of an order."""
PAYMENT_METHODS_MAX: Final = 10
"""Payment methods of a market."""
CURRENCIES_MAX: Final = 20
"""Currencies of a payment method."""
COUNTRIES_MAX: Final = 250
"""Countries of a payment method."""
LOCATIONS_MAX: Final = 20
"""Locations of a market. Reserving an order reads up to lines x locations shelves: 20,000."""
SHIPMENTS_MAX: Final = 500
"""Shipments of an order: one per location of its start, and those that extends form later."""
PLACED_LINES_MAX: Final = 2 * ORDER_LINES_MAX
"""Lines of an order by location: a line that is extended may have pieces at several."""
HOLDS_MAX: Final = 20
"""Open holds of an order."""
SUSPENSIONS_MAX: Final = 100
"""Open suspensions of an order's shipping."""
TAGS_MAX: Final = 10
"""Tags of an order."""
METADATA_BYTES_MAX: Final = 16_384
"""Metadata of an order, as JSON."""
METADATA_DEPTH_MAX: Final = 10
"""Levels of objects and lists in the metadata of an order."""
URL_LENGTH_MAX: Final = 2_000
"""Characters of the address of an attachment."""
GIFT_CARDS_MAX: Final = 10
"""Gift cards that an order is paid with."""
REFUNDS_MAX: Final = 300
"""Refunds of an order."""
REFUND_LINES_MAX: Final = 10_000
"""Lines of all open refunds of an order together; a line that goes back from two captures counts twice."""

BODY_BYTES_MAX: Final = 1024 * 1024
"""Largest body that is read, over HTTP and from a topic."""
JOURNAL_BYTES_MAX: Final = 900_000
"""Largest body that is written. Below BODY_BYTES_MAX: readers accept what writers publish."""
RECORD_BYTES_MAX: Final = 4 * 1024 * 1024
"""Largest record that a topic accepts."""
