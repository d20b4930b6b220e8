"""What an OpenAPI document cannot state about our services, for schemathesis. No check is switched off."""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import schemathesis
from hypothesis import strategies as st
from schemathesis.openapi.checks import RejectedPositiveData

from chassis.http.paging import CURSOR_PATTERN, opened
from contracts.ids import order_id

RULED: Final = re.compile(
    r"body (|/terms|/terms/code|/time_zone|/lines|/lines/[0-9]+|/auth|/batch|/rate|/notify_url|/mapping)|query (|/types)"
)
"""Where a rule is broken that JSON Schema cannot state: over several fields or parameters, over all lines, the code in the path, a
name of the IANA's list, what this release does not deliver."""
RULES: Final = frozenset({
    "url_not_https", "url_has_credentials", "url_port", "url_not_public", "unknown_type", "bad_filter", "bad_secret",
    "reserved_header", "bad_certificate", "statement_unreadable", "statement_unbalanced", "expiry_past",
    "order_origin_missing",
})  # fmt: skip
"""Rules with a code of their own. JSON Schema cannot compare with the present time (`expiry_past`) or with the
orders that payments has (`order_origin_missing`)."""
RECEIVER: Final = {"url": "http://127.0.0.1:9/hooks", "types": [], "where": [], "secret": None}
"""Fields of an endpoint: with made-up values it would always be refused. Nothing listens there."""
STORE: Final = os.environ["STORE"]
"""Whose orders are paid: with an origin, the id of an order follows from it. Sent with the key of the other store, it is refused."""
RETURNED: Final = {"return_url": os.environ["STOREFRONT"], "cancel_url": os.environ["STOREFRONT"]}
"""Where a buyer is sent: a made-up host is no storefront of the store."""
REPLAYED: Final = {"from": (datetime.now(UTC) - timedelta(hours=1)).isoformat(), "to": None}
"""Places in the feed: a cursor or a time that the feed still holds, which a made-up text is not."""
NO_REPLAY: Final = "00000000-0000-4000-8000-000000000000"
"""A link that schemathesis infers takes the number of a parked message for the id of an endpoint's replay, or the null of a dry
run."""
WAIT_SECONDS_MAX: Final = 1.0
"""A longer `timeout` would only pass the time."""

FIRST, LAST = datetime(1970, 1, 2), datetime(2199, 12, 30)
"""JSON Schema has no range of times."""
schemathesis.openapi.format("date", st.dates(FIRST.date(), LAST.date()).map(str))
schemathesis.openapi.format("date-time", st.datetimes(FIRST, LAST, timezones=st.just(UTC)).map(datetime.isoformat))


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Replaces values that fit a schema and that a service refuses for a good reason."""
    if isinstance(case.query, dict):
        for name, of_feed in (("cursor", False), ("after", True)):
            if _is_made_up(case.query.get(name), of_feed=of_feed):
                del case.query[name]
    if _is_made_up(case.headers.get("Last-Event-ID"), of_feed=True):
        del case.headers["Last-Event-ID"]
    if isinstance(case.query, dict) and isinstance(timeout := case.query.get("timeout"), int | float):
        case.query["timeout"] = min(timeout, WAIT_SECONDS_MAX) if timeout <= 30 else timeout
    if isinstance(case.body, dict | list | float):
        case.body = _with_whole_integers(case.body)
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    for header in ("X-Act-As", "X-Act-As-Scopes"):
        case.headers.pop(header, None)  # the keys may not act for persons: each request would be refused
    if case.headers.get("If-Match") == "":
        del case.headers["If-Match"]  # schemathesis finds no header value for a pattern with quotes, and sends none
    replay = str((case.path_parameters or {}).get("replay_id", ""))
    if replay.isdigit() or replay in ("null", "None"):
        case.path_parameters["replay_id"] = NO_REPLAY
    if case.operation.path == "/v1/markets/{code}" and isinstance(case.body, dict) and "terms" in case.body:
        case.body["terms"]["code"] = case.path_parameters["code"]
    if case.operation.path.startswith("/v1/endpoints") and isinstance(case.body, dict):
        usable = REPLAYED if case.operation.path.endswith("/replay") else RECEIVER
        case.body |= {name: value for name, value in usable.items() if name in case.body}
    if case.operation.path == "/v1/payment-sessions" and isinstance(case.body, dict):
        case.body |= {name: value for name, value in RETURNED.items() if name in case.body}
    if isinstance(case.body, dict) and isinstance(origin := case.body.get("origin"), dict):
        key = str(order_id(STORE, origin["channel"], origin["account"], origin["external_order_id"]))
        if "order_id" in case.body:
            case.body["order_id"] = key
        else:
            case.path_parameters["order_id"] = key


def _is_made_up(cursor: object, *, of_feed: bool) -> bool:
    """Whether it has the form of a cursor. A cursor holds a checksum: a real one comes from `next_cursor`, by a link.

    of_feed: whether it has to be a cursor of the feed, which `GET /v1/cursors` shows. Elsewhere such a one is refused.
    """
    if not isinstance(cursor, str) or not re.fullmatch(CURSOR_PATTERN, cursor):
        return False
    try:
        return opened(cursor).startswith(b'["feed"') is not of_feed
    except ValueError:
        return True


def _with_whole_integers(body: Any) -> Any:
    """Writes 10.0 as 10. Both are integers in JSON Schema; the services refuse an amount with a decimal point, because it is
    most likely not in minor units."""
    match body:
        case dict():
            return {name: _with_whole_integers(value) for name, value in body.items()}
        case list():
            return [_with_whole_integers(value) for value in body]
        case float() if body.is_integer():
            return int(body)
        case _:
            return body


@schemathesis.hook
def filter_failure(context: Any, failure: Any, case: Any, response: Any) -> bool:
    """Accepts that a body is refused by a rule, e.g. that lines and totals add up. Any other refusal of valid data fails."""
    return not (isinstance(failure, RejectedPositiveData) and response.status_code == 422 and _is_by_rule(response))


def _is_by_rule(response: Any) -> bool:
    problem = json.loads(response.content)
    errors = problem.get("errors", [])
    return problem["type"].removeprefix("/problems/") in RULES or (
        bool(errors)
        and all(
            one["where"] == "value"  # of a parked message: JSON in a text, with the schema of the message's type
            or (one["what"].startswith("Value error, ") and RULED.fullmatch(f"{one['where']} {one['pointer']}"))
            for one in errors
        )
    )
