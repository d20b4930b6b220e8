"""What every event of an order has: its three statuses after it."""

from __future__ import annotations

from typing import Annotated

from contracts.base import Event, Open, OrderKeyed
from contracts.orders.words import FulfillmentStatus, PaymentStatus, Status


class OrderEvent(OrderKeyed, Event):
    status: Annotated[Status, Open()]
    payment_status: Annotated[PaymentStatus, Open()]
    fulfillment_status: Annotated[FulfillmentStatus, Open()]
