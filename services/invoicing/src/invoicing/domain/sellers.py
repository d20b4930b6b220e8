"""Who sells: what must stand on a document by law, and how the documents are numbered."""

from __future__ import annotations

from typing import Annotated, Self
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
"""Stands before the sequence. It ends in no digit, so a number tells prefix and sequence apart and is never made twice."""
TimeZone = Annotated[Text, AfterValidator(_zone)]


class SellerDetails(Frozen):
    """A seller may be written down before everything is known; it issues nothing until then."""

    name: Text = ""
    address: Address = Address()
    vat_number: Text = ""
    time_zone: TimeZone = "UTC"
    """Of its books: the day of issue is a day there."""
    invoice_prefix: Prefix = "INV-"
    credit_prefix: Prefix = "CN-"

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
