"""`marketplace.snapshot`: an order as a marketplace states it now, whole and never a delta.

The body is `source` and `order`; the store is in `ce_storeid`, the order id in the key and in `ce_subject`.
`null` and a missing field mean not stated, `0` means stated zero. Unknown upstream states become lifecycle "unknown",
never an error. `docs/snapshot.md` lists every field and its effect.
"""

from contracts.snapshot.attributes import Attribute
from contracts.snapshot.lines import SHIPPABLE, Cancellation, Gift, Line, Quantities
from contracts.snapshot.message import NewContent, Snapshot, Source, arriving
from contracts.snapshot.order import OrderContent, Related
from contracts.snapshot.parties import Address, Buyer, Origin, TaxRegistration
from contracts.snapshot.payments import (
    SECURED,
    Discount,
    PaymentWord,
    Settlement,
    UpstreamInvoice,
    UpstreamPayment,
    UpstreamRefund,
)
from contracts.snapshot.shipping import ShippedLine, Shipping, UpstreamShipment, Windows
from contracts.snapshot.sizes import fitting
from contracts.snapshot.taxes import Tax, TaxCollection, open_rate, seller_taxes
from contracts.snapshot.totals import Totals

__all__ = [
    "SECURED", "SHIPPABLE", "Address", "Attribute", "Buyer", "Cancellation", "Discount", "Gift", "Line", "NewContent", "OrderContent",
    "Origin", "PaymentWord", "Quantities", "Related", "Settlement", "ShippedLine", "Shipping", "Snapshot", "Source", "Tax",
    "TaxCollection", "TaxRegistration", "Totals", "UpstreamInvoice", "UpstreamPayment", "UpstreamRefund", "UpstreamShipment",
    "Windows", "arriving", "fitting", "open_rate", "seller_taxes",
]  # fmt: skip
