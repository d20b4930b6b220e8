"""The seller: what the law requires on a document, and how the documents are numbered."""

from __future__ import annotations

from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, StringConstraints, model_validator

from contracts.base import Code, Frozen, Text
from contracts.invoicing import Seller
from contracts.snapshot import Address


def _zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{name!r} is no time zone of the IANA database, such as Europe/Paris") from None
    return name


Prefix = Annotated[str, StringConstraints(pattern=r"^([A-Za-z0-9._/-]{0,31}[A-Za-z._/-])?$")]
"""Comes before the sequence. It ends in no digit, so prefix and sequence of a number are distinct and no number repeats."""
NumberFormat = Annotated[
    str, StringConstraints(max_length=64, pattern=r"^([A-Za-z0-9._/-]|\{prefix\}|\{yyyy\})*\{number\}$")
]
"""`{prefix}` once, `{yyyy}` at most once, `{number}` at the end; e.g. `{prefix}{yyyy}-{number}` for INV-2026-000001."""
Kind = Literal["invoice", "credit"]
TimeZone = Annotated[Text, AfterValidator(_zone)]


class SellerDetails(Frozen):
    """A seller may be stored incomplete; it issues nothing until it is complete."""

    name: Text = ""
    address: Address = Address()
    vat_number: Text = ""
    time_zone: TimeZone = "UTC"
    """The time zone of its books: the day of issue is a day there."""
    invoice_prefix: Prefix = "INV-"
    credit_prefix: Prefix = "CN-"
    number_format: NumberFormat = "{prefix}{number}"
    number_reset: Literal["never", "yearly"] = "never"
    """yearly: each year of the seller's time zone begins at 1; needs `{yyyy}` in the format, so that no number repeats."""

    @model_validator(mode="after")
    def _no_number_repeats(self) -> Self:
        if self.number_format.count("{prefix}") != 1 or self.number_format.count("{yyyy}") > 1:
            raise ValueError("number_format must hold {prefix} once and {yyyy} at most once")
        if ("{yyyy}" in self.number_format) != (self.number_reset == "yearly"):
            raise ValueError("number_reset is yearly exactly if number_format holds {yyyy}")
        if any(self.series(kind, 2000)[-1:].isdigit() for kind in ("invoice", "credit")):
            raise ValueError("number_format: the text before {number} must not end in a digit")
        return self

    def series(self, kind: Kind, year: int) -> str:
        """What the numbers of a kind have in common in a year: everything before the sequence."""
        return self._before_number(self._prefix(kind), f"{year:04d}")

    def series_pattern(self, kind: Kind) -> str:
        """A regular expression of PostgreSQL for the series of a kind in any year."""
        return f"^{self._before_number(self._prefix(kind), '[0-9]{4}').replace('.', '[.]')}$"

    def _prefix(self, kind: Kind) -> str:
        return self.invoice_prefix if kind == "invoice" else self.credit_prefix

    def _before_number(self, prefix: str, year: str) -> str:
        return self.number_format.removesuffix("{number}").replace("{yyyy}", year).replace("{prefix}", prefix)

    @model_validator(mode="after")
    def _kinds_are_told_apart(self) -> Self:
        if self.invoice_prefix == self.credit_prefix:
            raise ValueError(
                "invoice_prefix and credit_prefix must differ: invoices and credit notes number separately"
            )
        return self


class SellerTerms(SellerDetails):
    code: Code

    def missing(self) -> tuple[str, ...]:
        """What a document needs and this seller lacks (Directive 2006/112/EC art. 226, points 3 and 5)."""
        needed = {
            "name": self.name,
            "address.line1": self.address.line1,
            "address.country": self.address.country,
            "vat_number": self.vat_number,
        }
        return tuple(field for field, value in needed.items() if not (value or "").strip())

    def as_printed(self) -> Seller:
        return Seller(
            code=self.code,
            name=self.name,
            address=self.address,
            vat_number=self.vat_number,
            time_zone=self.time_zone,
        )
