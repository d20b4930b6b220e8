"""The pages of the console that axe examines and `make screenshots` takes, and how a person comes to each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

FIRST: Final = "main tbody th[scope=row] a"
ORDER: Final = "/orders/{order_id}"
ENDPOINT: Final = "/webhooks/{store_id}/{endpoint_id}"


class Page(NamedTuple):
    """A page of the console, and how a person comes to it."""

    name: str
    path: str
    links: Sequence[str] = ()
    """Selectors of links that are followed from there, one after the other."""
    route: str = ""
    """Where they lead, as the router has it; empty: `path` is the page."""
    opens: str = ""
    """Selector of what is clicked at last: it opens a dialog, unfolds a form, or sends one."""
    press: str = ""
    """A key that is pressed at last."""

    @property
    def shows(self) -> str:
        """The route that answers."""
        return self.route or self.path.partition("?")[0]


WAITS: Final = "/orders?view=approval"
PAID: Final = "/orders?payment=paid&fulfillment=fulfilled"
"""Orders that have everything an order can have: a refund needs a capture."""
PAGES: Final = (
    Page("orders", "/orders"),
    Page("approval", WAITS),
    Page("filters", "/orders?fulfillment=unfulfilled"),
    Page("nothing-found", "/orders?q=nothing-has-this-number"),
    Page("keys", "/orders", press="?"),
    Page("order", WAITS, (FIRST,), ORDER),
    Page("order-held", "/orders?view=hold", (FIRST,), ORDER),
    Page("order-paid", PAID, (FIRST,), ORDER),
    Page("cancel", WAITS, (FIRST,), ORDER, opens="summary:text('Cancel')"),
    Page("refund", PAID, (FIRST,), ORDER, opens="summary:text('Refund')"),
    Page("record-payment", PAID, (FIRST,), ORDER, opens="summary:text('Record a payment')"),
    Page("books", PAID, (FIRST, "text=Books of the order"), f"{ORDER}/ledger"),
    Page("messages", PAID, (FIRST, "text=Messages of all services"), f"{ORDER}/messages"),
    Page("message", PAID, (FIRST, ".timeline a"), f"{ORDER}/messages"),
    Page("message-waiting", WAITS, (FIRST, ".timeline a"), f"{ORDER}/messages"),
    Page("processes", "/processes"),
    Page("process", "/processes", (".row-acts a.button",)),
    Page("parked", "/parked"),
    Page("parked-group", "/parked", ("td.do a",), "/parked/{service}/group"),
    Page("parked-message", "/parked", ("text=Example",), "/parked/{service}/{parked_id}"),
    Page("parked-edit", "/parked", ("text=Example",), "/parked/{service}/{parked_id}", opens=".reveal button"),
    Page("parked-discarded", "/parked?state=discarded"),
    Page("payments", "/payments"),
    Page("settlements", "/payments/settlements"),
    Page("settlement", "/payments/settlements", (FIRST,), "/payments/{store_id}/settlements/{settlement_id}"),
    Page("settlement-rows", "/payments/rows"),
    Page("settlement-row", "/payments/rows", ("td.do a",)),
    Page("gift-cards", "/payments/gift-cards"),
    Page("gift-card", "/payments/gift-cards", (FIRST,), "/payments/{store_id}/gift-cards/{gift_card_id}"),
    Page(
        "gift-card-adjust", "/payments/gift-cards", (FIRST,), "/payments/{store_id}/gift-cards/{gift_card_id}",
        opens="summary:text('Adjust')",
    ),
    Page("disputes", "/payments/disputes"),
    Page("payment-sessions", "/payments/sessions"),
    Page("differences", "/payments/differences"),
    Page("difference", "/payments/differences", opens=".forms summary"),
    Page("webhooks", "/webhooks"),
    Page("endpoint", "/webhooks", (FIRST,), ENDPOINT),
    Page("endpoint-new", "/webhooks", ("text=New endpoint",), "/webhooks/{store_id}/new"),
    Page("endpoint-change", "/webhooks", (FIRST, "a.button:text('Change')"), f"{ENDPOINT}/edit"),
    Page("replay-new", "/webhooks", ("main tbody td a:text('Replay')",), f"{ENDPOINT}/replay"),
    Page("replay", "/webhooks", (FIRST, "section[aria-labelledby=replays] a"), f"{ENDPOINT}/replays/{{replay_id}}"),
    Page("delivery", "/webhooks", (FIRST, FIRST), f"{ENDPOINT}/delivery"),
    Page("topics", "/topics"),
    Page("tail", "/topics/tail"),
    Page("record", "/topics/tail", (FIRST,), "/topics/{topic}/{partition}/{offset}"),
    Page("jobs", "/jobs"),
    Page("job", "/jobs", (FIRST,), "/jobs/{job_id}"),
    Page("job-new", WAITS, ("text=Act on all",), "/jobs/new"),
    Page("audit", "/audit"),
    Page("markets", "/markets"),
    Page("people", "/people"),
    Page("sign-in", "/sign-in"),
    Page("problem", "/orders?colour=red"),
    Page("overview", "/"),
    Page("overview-day", "/?span=24h"),
)  # fmt: skip
"""A further page is one line. The overview is last: its plots need a minute."""
NO_PAGES: Final[Mapping[str, str]] = {
    "/assets/{name}": "styles, scripts, the icon",
    "/exports/orders.csv": "a file",
    "/live": "the stream of events",
    "/orders/next": "a redirect to an order",
    "/payments/accounts/{account}.csv": "a file",
    "/sign-in/begin": "a redirect to the identity provider",
    "/sign-in/callback": "the redirect back from it",
    "/{path:path}": "the page of an unknown address, which is that of any problem",
}
"""Routes that answer a GET with something else than a page of their own."""
