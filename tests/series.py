"""The series of all services, as `/metrics` shows them; no server is started."""

from __future__ import annotations

import re
from typing import cast

from prometheus_client import generate_latest

from chassis.declare.app import App
from chassis.telemetry import Metrics
from console.live.hub import streams
from webhooks.delivery.metrics import DeliveryMetrics


def exposed() -> frozenset[str]:
    """Returns the name of every series, with its suffix: `_bucket`, `_count`, `_sum`, `_total`."""
    metrics = Metrics("x")
    metrics.under_way([("place.reserve", "answer", 1, 0.5)])
    deliveries = DeliveryMetrics(cast(App, metrics))  # of an application it needs the registry alone
    deliveries.attempted("delivered", 0.1)
    streams(cast(App, metrics))
    shown = generate_latest(metrics.registry).decode()
    names = re.findall(r"^(tradewind_\w+)\{", shown, re.MULTILINE)
    return frozenset(name for name in names if not name.endswith("_created"))
