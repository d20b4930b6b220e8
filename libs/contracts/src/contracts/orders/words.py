"""The closed sets of words of an order."""

from __future__ import annotations

from typing import Literal

Status = Literal["draft", "pending", "editing", "placing", "placed", "approved", "cancelled"]
PaymentStatus = Literal[
    "unpaid",
    "authorized",
    "partially_authorized",
    "paid",
    "partially_paid",
    "voided",
    "partially_voided",
    "refunded",
    "partially_refunded",
    "free",
]
FulfillmentStatus = Literal["unfulfilled", "in_progress", "fulfilled", "not_required"]
CaptureOption = Literal["on_placement", "on_approval", "per_shipment", "manual"]
RequestedCause = Literal["customer", "out_of_stock", "declined", "marketplace", "gave_up"]
"""Why a person cancels an order."""
CancelCause = Literal[RequestedCause, "refunded"]
"""`refunded`: all that was captured has come back."""
Resolution = Literal["accept", "keep"]
"""What a person decides about an exception: the marketplace is right, or the order as it runs here is."""
