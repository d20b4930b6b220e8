"""Writes `dashboard.json`, the Grafana dashboard over the metrics of all services.

python deploy/observability/dashboard.py
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final, NamedTuple

FILE: Final = Path(__file__).with_name("dashboard.json")
DATASOURCE: Final = {"type": "prometheus", "uid": "${datasource}"}
COLUMNS, WIDTH, HEIGHT = 3, 8, 8


class Panel(NamedTuple):
    title: str
    unit: str
    """As Grafana names it."""
    queries: tuple[tuple[str, str], ...]
    """PromQL, and the legend of its series."""


BY_SERVICE: Final = "{{service}}"
PANELS: Final = (
    Panel("Messages handled", "cps", (("sum by (service) (rate(tradewind_messages_handled_total[1m]))", BY_SERVICE),)),
    Panel("Processes by step and what they wait for", "short",
        (("max by (service, step, waiting) (tradewind_processes)", "{{step}}: {{waiting}}"),)),
    Panel("Oldest process by step", "s",
        (("max by (service, step) (tradewind_process_age_seconds)", "{{step}}"),)),
    Panel("Lag", "short", (("sum by (service) (tradewind_consumer_lag)", BY_SERVICE),)),
    Panel("Age of the oldest record not handled", "s", (("max by (service) (tradewind_consumer_lag_age_seconds)", BY_SERVICE),)),
    Panel("New orders wait in Kafka", "bool", (("max by (service) (tradewind_intake_paused)", BY_SERVICE),)),
    Panel("Outbox", "short", (("max by (service) (tradewind_outbox_rows)", BY_SERVICE),)),
    Panel("Age of the outbox", "s", (("max by (service) (tradewind_outbox_age_seconds)", BY_SERVICE),)),
    Panel("Rows published", "cps", (("sum by (service) (rate(tradewind_rows_relayed_total[1m]))", BY_SERVICE),)),
    Panel("Parked messages", "short", (
        ("max by (service) (tradewind_parked_waiting)", BY_SERVICE),
        ("max by (service) (tradewind_parked_keys)", "{{service}}: orders behind them"),
        ("sum by (service) (increase(tradewind_messages_parked_total[1h]))", "{{service}}: in the last hour"),
    )),
    Panel("Set aside, unreadable, missing", "short", (
        ("max by (service) (tradewind_outbox_set_aside)", "{{service}}: set aside"),
        ("sum by (service) (increase(tradewind_batches_unreadable_total[1h]))", "{{service}}: batches unreadable"),
        ("sum by (service) (increase(tradewind_records_missing_total[1h]))", "{{service}}: records missing"),
    )),
    Panel("Timers late, tasks open", "short", (
        ("max by (service) (tradewind_timers_overdue)", "{{service}}: timers late"),
        ("max by (service) (tradewind_tasks_open)", "{{service}}: tasks open"),
    )),
    Panel("Transactions, p50 and p99", "s", (
        ("histogram_quantile(0.5, sum by (service, le) (rate(tradewind_batch_seconds_bucket[5m])))", "{{service}} p50"),
        ("histogram_quantile(0.99, sum by (service, le) (rate(tradewind_batch_seconds_bucket[5m])))", "{{service}} p99"),
    )),
    Panel("Messages per transaction", "short", (
        ("sum by (service) (rate(tradewind_batch_messages_sum[5m])) / sum by (service) (rate(tradewind_batch_messages_count[5m]))",
         BY_SERVICE),
    )),
    Panel("Duplicates removed, events ignored", "cps", (
        ("sum by (service) (rate(tradewind_duplicates_removed_total[5m]))", "{{service}}: duplicates"),
        ("sum by (service) (rate(tradewind_events_ignored_total[5m]))", "{{service}}: ignored"),
    )),
    Panel("Requests to receivers", "cps", (("sum by (outcome) (rate(tradewind_delivery_attempts_total[1m]))", "{{outcome}}"),)),
    Panel("Duration of requests to receivers, p99", "s",
        (("histogram_quantile(0.99, sum by (le) (rate(tradewind_delivery_attempt_seconds_bucket[5m])))", "p99"),)),
    Panel("Deliveries", "short", (
        ("sum(tradewind_deliveries_in_flight)", "in flight"),
        ("sum(tradewind_deliveries_waiting)", "wait for a retry"),
        ("max by (breaker) (tradewind_delivery_lag)", "behind, breaker {{breaker}}"),
    )),
    Panel("Endpoints that are sent nothing new", "short", (("sum(tradewind_breakers_open)", "endpoints"),)),
    Panel("Shards delivered", "short", (("sum(tradewind_shards_held)", "of 16"),)),
    Panel("Time since the deliveries went on", "s", (("max by (instance) (tradewind_dispatcher_age_seconds)", "{{instance}}"),)),
    Panel("Browsers that watch pages of the console", "short", (("sum(tradewind_console_streams)", "streams"),)),
    Panel("Host's clock minus the database's", "s", (("tradewind_clock_skew_seconds", "{{service}} {{instance}}"),)),
)  # fmt: skip


def dashboard() -> dict[str, Any]:
    variable = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}
    return {
        "uid": "tradewind", "title": "Tradewind", "schemaVersion": 39, "refresh": "10s", "tags": ["tradewind"],
        "time": {"from": "now-1h", "to": "now"}, "timezone": "utc", "templating": {"list": [variable]},
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }  # fmt: skip


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    row, column = divmod(number, COLUMNS)
    return {
        "id": number + 1, "type": "timeseries", "title": panel.title, "datasource": DATASOURCE,
        "gridPos": {"x": column * WIDTH, "y": row * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": None if "clock" in panel.title else 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {"refId": chr(ord("A") + n), "datasource": DATASOURCE, "expr": expr, "legendFormat": legend}
            for n, (expr, legend) in enumerate(panel.queries)
        ],
    }  # fmt: skip


def text() -> str:
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    FILE.write_text(text())
