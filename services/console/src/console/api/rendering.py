"""Templates, and how values are shown: money with its currency, times relative to now, words of statuses with their icons."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup

from console.api.navigation import GO, KEYS
from console.assets import HERE, Assets
from contracts.money import EXPONENTS, decimal_string

Clock = Callable[[], datetime]


class Look(NamedTuple):
    """How the word of a status is shown. The icon carries the meaning beside the colour."""

    tone: str
    icon: str
    label: str = ""


_GOOD, _BAD, _WAITS, _RUNS, _PLAIN = "good", "bad", "waits", "runs", "plain"
LOOKS: Final[Mapping[str, Look]] = {
    # status
    "draft": Look(_PLAIN, "dot"), "pending": Look(_WAITS, "clock"), "editing": Look(_WAITS, "pen"),
    "placing": Look(_RUNS, "arrow"), "placed": Look(_WAITS, "clock"), "approved": Look(_GOOD, "check"),
    "cancelled": Look(_PLAIN, "cross"), "completed": Look(_GOOD, "check"),
    # payment
    "unpaid": Look(_PLAIN, "dot"), "authorized": Look(_RUNS, "arrow"), "partially_authorized": Look(_WAITS, "half"),
    "paid": Look(_GOOD, "check"), "partially_paid": Look(_WAITS, "half"), "voided": Look(_PLAIN, "cross"),
    "partially_voided": Look(_PLAIN, "half"), "refunded": Look(_PLAIN, "back"), "partially_refunded": Look(_PLAIN, "back"),
    "free": Look(_GOOD, "check"),
    # fulfillment
    "unfulfilled": Look(_PLAIN, "dot"), "in_progress": Look(_RUNS, "arrow"), "fulfilled": Look(_GOOD, "check"),
    "not_required": Look(_PLAIN, "dash"),
    # what it waits for
    "": Look(_PLAIN, "dash", "nothing"), "answer": Look(_RUNS, "arrow", "an answer"),
    "approval": Look(_WAITS, "person"), "capture": Look(_WAITS, "person", "capture by hand"),
    "confirm": Look(_WAITS, "person", "confirmation of an edit"), "exception": Look(_BAD, "alert", "a decision"),
    "hold": Look(_WAITS, "pause", "release of a hold"), "no_answer": Look(_BAD, "alert", "no answer"),
    "outcomes": Look(_RUNS, "arrow", "outcomes"), "invoice": Look(_RUNS, "arrow", "an invoice"),
    "parked": Look(_BAD, "alert", "a parked message"), "payment": Look(_RUNS, "clock", "payment upstream"),
    "snapshot": Look(_RUNS, "clock", "the marketplace"), "stock": Look(_WAITS, "alert", "stock"),
    "warehouse": Look(_RUNS, "clock", "the warehouse"),
    # documents, deliveries, shipments
    "invoice_document": Look(_GOOD, "check", "invoice"), "credit_document": Look(_PLAIN, "back", "credit note"),
    "delivered": Look(_GOOD, "check"), "failed": Look(_BAD, "alert"), "picking": Look(_RUNS, "clock"),
    "shipped": Look(_GOOD, "check"), "on_hold": Look(_WAITS, "pause", "on hold"), "succeeded": Look(_GOOD, "check"),
    # jobs and their orders
    "running_job": Look(_RUNS, "arrow", "running"), "paused_job": Look(_WAITS, "pause", "paused"),
    "stopped_job": Look(_BAD, "alert", "stopped"), "cancelled_job": Look(_PLAIN, "cross", "cancelled"),
    "done_job": Look(_GOOD, "check", "done"), "waits_result": Look(_RUNS, "clock", "left"),
    "done_result": Look(_GOOD, "check", "done"), "refused_result": Look(_BAD, "alert", "refused"),
    "exhausted": Look(_BAD, "alert"), "returned": Look(_PLAIN, "back"),
    # the audit
    "done": Look(_GOOD, "check"), "silent": Look(_WAITS, "alert", "no answer"), "asked": Look(_RUNS, "clock", "requested"),
    "broken": Look(_BAD, "alert", "broken off"),
    # endpoints and replays
    "enabled": Look(_GOOD, "check"), "failing": Look(_BAD, "alert"), "held_back": Look(_WAITS, "pause"),
    "paused": Look(_WAITS, "pause"), "disabled": Look(_BAD, "cross"), "running": Look(_RUNS, "arrow"), "finished": Look(_GOOD, "check"),
    "pending_operation": Look(_RUNS, "clock", "pending"), "refused": Look(_BAD, "alert"),
    # disputes
    "open_dispute": Look(_BAD, "alert", "open"), "won_dispute": Look(_GOOD, "check", "won"), "lost_dispute": Look(_PLAIN, "cross", "lost"),
    # payment sessions
    "open_session": Look(_RUNS, "clock", "open"), "completed_session": Look(_GOOD, "check", "completed"),
    "expired_session": Look(_PLAIN, "clock", "expired"), "cancelled_session": Look(_PLAIN, "cross", "cancelled"),
    # what is paid in them before the order
    "held_prepayment": Look(_RUNS, "clock", "waits for the order"), "taken_prepayment": Look(_GOOD, "check", "taken over"),
    "returning_prepayment": Look(_RUNS, "back", "being given back"), "returned_prepayment": Look(_PLAIN, "back", "given back"),
    "retained_prepayment": Look(_BAD, "alert", "retained"),
    # gift cards
    "active_card": Look(_GOOD, "check", "active"), "inactive_card": Look(_PLAIN, "pause", "inactive"),
    "redeemed_card": Look(_PLAIN, "dash", "redeemed"), "expired_card": Look(_PLAIN, "clock", "expired"),
    # rows of statements
    "matched_row": Look(_GOOD, "check", "matched"), "booked_row": Look(_GOOD, "check", "booked"), "payout_row": Look(_GOOD, "check", "payout"),
    "overpaid_row": Look(_WAITS, "alert", "overpaid"), "unmatched_row": Look(_BAD, "alert", "unmatched"),
    "amount_differs_row": Look(_BAD, "alert", "amount differs"), "currency_differs_row": Look(_BAD, "alert", "currency differs"),
    "reference_ambiguous_row": Look(_BAD, "alert", "reference ambiguous"), "repeated_row": Look(_WAITS, "alert", "repeated"),
    "unreadable_row": Look(_BAD, "alert", "unreadable"),
    # parked messages
    "waiting": Look(_WAITS, "clock"), "replayed": Look(_GOOD, "check"), "edited": Look(_PLAIN, "pen"), "discarded": Look(_PLAIN, "cross"),
}  # fmt: skip
UNKNOWN: Final = Look(_PLAIN, "dot")
PATHS: Final[Mapping[str, str]] = {
    "check": "M3 8.5l3.2 3.2L13 5", "cross": "M4 4l8 8M12 4l-8 8", "dot": "M8 6.5a1.5 1.5 0 110 3 1.5 1.5 0 010-3z",
    "dash": "M4 8h8", "arrow": "M3 8h9M9 4.5L12.5 8 9 11.5", "clock": "M8 2.5a5.5 5.5 0 110 11 5.5 5.5 0 010-11zM8 5v3l2 1.5",
    "half": "M8 2.5a5.5 5.5 0 110 11 5.5 5.5 0 010-11zM8 2.5v11", "back": "M6 4L3 7l3 3M3 7h6a4 4 0 014 4v1",
    "person": "M8 2.5a2.5 2.5 0 110 5 2.5 2.5 0 010-5zM3 13.5c.6-3 2.4-4.2 5-4.2s4.400 1.200 5 4.200",
    "pause": "M5.500 4v8M10.500 4v8", "pen": "M3 13l.8-3L11 2.800l2.200 2.200L6 12.200z",
    "alert": "M8 2.500L14 13H2zM8 6.500v3M8 11.200v.3", "search": "M7 2.500a4.500 4.500 0 110 9 4.500 4.500 0 010-9zM10.500 10.500l3.300 3.300",
}  # fmt: skip
"""Icons of 16 x 16, as the path of a stroke."""


def icon(name: str) -> Markup:
    return Markup('<svg class="icon" viewBox="0 0 16 16" aria-hidden="true"><path d="{}"/></svg>').format(PATHS[name])


def word(value: str | None, kind: str = "") -> Markup:
    """Returns a status as icon and word."""
    value = value or ""
    look = LOOKS.get(f"{value}_{kind}" if kind else value, LOOKS.get(value, UNKNOWN))
    label = look.label or value.replace("_", " ")
    return Markup('<span class="word {}">{}{}</span>').format(look.tone, icon(look.icon), label)


def money(amount_minor: int | None, currency: str | None, *, zero: bool = True) -> Markup:
    """Returns an amount with its currency; a dash without one, and for nothing if `zero` is false."""
    if amount_minor is None or currency is None or (not zero and not amount_minor):
        return Markup('<span class="none">–</span>')
    number = decimal_string(abs(amount_minor), currency) if currency in EXPONENTS else str(abs(amount_minor))
    whole, dot, rest = number.partition(".")
    sign = "−" if amount_minor < 0 else ""
    return Markup('<span class="money">{}{}{}{} <abbr>{}</abbr></span>').format(
        sign, f"{int(whole):,}", dot, rest, currency
    )


def plain_money(amount_minor: int, currency: str | None) -> str:
    """Returns an amount with its currency where no markup can be."""
    number = decimal_string(amount_minor, currency) if currency in EXPONENTS else str(amount_minor)
    return f"{number} {currency or ''}".rstrip()


_STEPS: Final = ((60, 1, "s"), (3_600, 60, "min"), (86_400, 3_600, "h"), (86_400 * 60, 86_400, "d"))


def _instant(value: datetime | str | None) -> datetime | None:
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    return value.astimezone(UTC) if value is not None else None


def ago(value: datetime | str | None, now: datetime) -> Markup:
    """Returns a time as its distance from now, the exact one on hover."""
    if (at := _instant(value)) is None:
        return Markup('<span class="none">–</span>')
    seconds = (now - at).total_seconds()
    near = next((f"{int(abs(seconds) // unit)} {name}" for limit, unit, name in _STEPS if abs(seconds) < limit), None)
    text = f"{at:%-d %b %Y}" if near is None else f"{near} ago" if seconds >= 0 else f"in {near}"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S} UTC", text
    )


def duration(seconds: float) -> str:
    """Returns a time in its largest unit, whole."""
    return next((f"{int(seconds // unit)} {name}" for limit, unit, name in _STEPS if seconds < limit), "months")


def exact(value: datetime | str | None) -> Markup:
    if (at := _instant(value)) is None:
        return Markup("")
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S} UTC")


def moment(value: datetime | str) -> Markup:
    """Returns the time of day to the millisecond, for what happens within one second; the date on hover."""
    at = _instant(value)
    assert at is not None
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(), f"{at:%Y-%m-%d %H:%M:%S} UTC", f"{at:%H:%M:%S}.{at.microsecond // 1000:03}"
    )


def clock_time(value: datetime) -> Markup:
    """Returns the time of day of a moment that is near."""
    at = value.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(), f"{at:%Y-%m-%d}", f"{at:%H:%M:%S} UTC"
    )


def document(kind: str) -> Markup:
    """Returns the kind of a document of invoicing as icon and word."""
    return word(kind, "document")


def short_url(url: str) -> str:
    """Returns an address without what every one begins with."""
    return url.removeprefix("https://")


def epoch(value: str) -> int:
    """Returns a time as `webhook-timestamp` has it: whole seconds."""
    return int(datetime.fromisoformat(value).timestamp())


def pretty(value: Any) -> str:
    """Returns JSON as a person reads it."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def query(values: Mapping[str, Any]) -> str:
    """Returns a query string of the values that are not empty."""
    pairs = [(name, value) for name, value in values.items() if value not in (None, "", [], False)]
    return urlencode(pairs, doseq=True)


def _plain_word(text: str) -> str:
    return text.replace("_", " ")


class Templates:
    def __init__(self, assets: Assets, clock: Clock) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True,
            lstrip_blocks=True,
        )  # fmt: skip
        self._clock = clock
        self._environment.filters |= {"word": word, "exact": exact, "document": document, "plain_word": _plain_word}
        self._environment.filters |= {"moment": moment, "pretty": pretty, "duration": duration}
        self._environment.filters |= {"short_url": short_url, "epoch": epoch}
        self._environment.globals |= {
            "assets": assets.names,
            "icon": icon,
            "money": money,
            "plain_money": plain_money,
            "query": query,
            "go": GO,
            "keys": KEYS,
            "exact_time": clock_time,
        }

    def now(self) -> datetime:
        return self._clock()

    def render(self, name: str, *, part: str = "", **values: Any) -> str:
        """Returns a page; part: only the block of this name, if the page has it."""
        template = self._environment.get_template(name)
        layout = "part.html" if part in template.blocks else "base.html"
        return template.render(**self._present(), layout=layout, part=part, **values)

    def macros(self, name: str) -> Any:
        """Returns the macros of a template."""
        return self._environment.get_template(name).make_module(self._present())

    def _present(self) -> dict[str, Any]:
        now = self.now()
        return {
            "now": now,
            "ago": lambda value: ago(value, now),
            "age": lambda value: (now - datetime.fromisoformat(value)).total_seconds(),
        }
