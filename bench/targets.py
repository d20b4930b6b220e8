"""What the design asks for: floor and goal of each figure, and whether more of it is better."""

from __future__ import annotations

from typing import Final, NamedTuple


class Target(NamedTuple):
    floor: float
    goal: float
    unit: str
    text: str
    more_is_better: bool = True

    def verdict(self, value: float) -> str:
        def reaches(mark: float) -> bool:
            return value >= mark if self.more_is_better else value <= mark

        return "goal reached" if reaches(self.goal) else "floor passed" if reaches(self.floor) else "below the floor"


# fmt: off
TARGETS: Final = {
    "orders_per_second":          Target(300,    1_000,  "/s",  "orders, received to invoiced"),
    "received_to_invoiced_p50":   Target(250,    60,     "ms",  "received to invoiced at 100/s, p50", False),
    "received_to_invoiced_p99":   Target(1_000,  250,    "ms",  "received to invoiced at 100/s, p99", False),
    "relay_rows_per_second":      Target(15_000, 30_000, "/s",  "relay, outbox rows"),
    "orders_accepted_per_second": Target(600,    1_500,  "/s",  "orders accepted over HTTP, committed"),
    "posted_to_placed_p50":       Target(300,    80,     "ms",  "POST /v1/orders to placed at 50/s, p50", False),
    "posted_to_placed_p99":       Target(1_000,  300,    "ms",  "POST /v1/orders to placed at 50/s, p99", False),
    "confirmed_to_settled_p50":   Target(500,    150,    "ms",  "edit confirmed to settled, p50", False),
    "refunds_per_second":         Target(150,    400,    "/s",  "refunds, settled with credit note"),
    "decided_after_many":         Target(5,      1,      "ms",  "order with 200 edits and 200 refunds: decide", False),
    "search_p99":                 Target(50,     10,     "ms",  "slowest list of 1,000,000 orders, p99", False),
    "trial_balance":              Target(100,    20,     "ms",  "trial balance over 10,000,000 entries, p50", False),
    "operation_after_many":       Target(5,      1,      "ms",  "order with 500 operations: one more", False),
    "recorded_per_second":        Target(800,    2_000,  "/s",  "payments recorded, each committed"),
    "gateway_calls_per_second":   Target(1_000,  3_000,  "/s",  "calls to a gateway of 50 ms, one worker"),
    "gateway_calls_in_flight":    Target(200,    500,    "",    "calls to a gateway at one time, one worker"),
    "settled_in":                 Target(60,     15,     "s",   "settlement of 100,000 rows: read, matched, booked", False),
    "gateway_event_p99":          Target(300,    50,     "ms",  "event of a gateway accepted at 200/s, p99", False),
    "deliveries_per_second":      Target(1_000,  2_500,  "/s",  "webhooks delivered to 20 receivers of 20 ms"),
    "cpu_per_delivery":           Target(300,    180,    "us",  "CPU of a delivery, log of attempts included", False),
    "committed_to_sent_p50":      Target(250,    80,     "ms",  "committed in orders to sent, p50", False),
    "committed_to_sent_p99":      Target(1_000,  400,    "ms",  "committed in orders to sent, p99", False),
    "p99_beside_a_dead_receiver": Target(1.3,    1.1,    "x",   "p99 of the others beside a dead receiver", False),
    "rows_per_pending_delivery":  Target(0,      0,      "",    "rows per delivery that a dead receiver waits for", False),
    "memory_of_10000_endpoints":  Target(300,    200,    "MiB", "memory with 10,000 endpoints", False),
    "idle_cpu_of_10000_endpoints": Target(10,    3,      "%",   "idle CPU with 10,000 endpoints", False),
    "fed_per_second":             Target(8_000,  20_000, "/s",  "events written to the feed"),
    "read_per_second":            Target(10_000, 25_000, "/s",  "events of the feed read over HTTP"),
    "caught_up_per_second":       Target(500,    1_000,  "/s",  "one endpoint 1,000,000 events behind"),
    "console_lists_p50":          Target(10,     3,      "ms",  "console: a list of 1,000,000 orders, p50", False),
    "console_lists_p99":          Target(50,     25,     "ms",  "console: a list of 1,000,000 orders, p99", False),
    "console_pages_p99":          Target(150,    75,     "ms",  "console: a whole page, p99", False),
    "console_preview_p99":        Target(200,    50,     "ms",  "console: preview of 10,000 orders, p99", False),
    "console_rows_read":          Target(20_000, 20_000, "",    "console: rows that a list reads at most", False),
    "console_export":             Target(120,    60,     "s",   "console: 1,000,000 orders as CSV", False),
    "console_folded_per_second":  Target(8_000,  15_000, "/s",  "console: events folded, alone"),
    "committed_to_listed_p99":    Target(1_000,  250,    "ms",  "console: committed to listed at 100 orders/s, p99", False),
    "slowed_by_the_console":      Target(15,     5,      "%",   "console: what it takes of the orders/s of others", False),
    "memory_of_200_watchers":     Target(150,    100,    "MiB", "console: memory with 200 watchers", False),
    "cpu_of_200_watchers":        Target(10,     5,      "%",   "console: CPU of 200 watchers", False),
    "console_rebuilt_in":         Target(300,    150,    "s",   "console: 1,000,000 orders made anew", False),
    "preview_of_a_job":           Target(200,    50,     "ms",  "console: page of the preview of 10,000 waiting orders", False),
    "job_done_in":                Target(60,     30,     "s",   "console: a job asks again for 10,000 orders", False),
    "task_find_by_number_p99":    Target(100,    50,     "ms",  "console: an order by its number", False),
    "task_why_it_is_stuck_p99":   Target(300,    100,    "ms",  "console: the page of an order", False),
    "task_approve_the_next_p99":  Target(300,    150,    "ms",  "console: the next that waits, approved", False),
    "task_cancel_p99":            Target(500,    150,    "ms",  "console: a cancel with its reason", False),
    "task_which_message_p99":     Target(300,    100,    "ms",  "console: the messages of an order", False),
    "task_replay_a_group_p99":   Target(500,    150,    "ms",  "console: a group replayed, of 100,000 parked messages", False),
    "task_edit_and_replay_p99":  Target(500,    150,    "ms",  "console: a parked message edited and replayed", False),
    "task_resend_what_was_missed_p99": Target(300, 150, "ms",  "console: from an order, what an integrator missed", False),
    "task_replay_since_yesterday_p99": Target(300, 150, "ms",  "console: counted and replayed since yesterday 14:00", False),
    "task_first_of_the_tail_p99": Target(1_000,  400,    "ms",  "console: from a cancel to the first message of the tail", False),
    "memory_mib_max":             Target(200,    120,    "MiB", "memory of the largest service process", False),
}
# fmt: on
