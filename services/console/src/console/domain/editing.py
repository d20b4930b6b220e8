"""The form of an endpoint: its fields as texts, and the body that webhooks takes, whole."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from console.domain.endpoints import EVENT_TYPES
from console.domain.wanted import Fields, Wanted, reason_of

TYPE: Final = "type:"
"""Begins the name of the box of a type."""
CHOICES: Final[Mapping[str, Mapping[str, str]]] = {
    "which": {"all": "every type", "these": "the types below"},
    "order": {"per_order": "one after the other, per order", "none": "as they come"},
    "payload": {"full": "the whole event", "thin": "without data: the receiver fetches it"},
    "exhausted": {"skip": "skip the delivery", "hold": "hold later events of the order"},
    "verify": {"answer": "any answer of 200 to 299", "echo": "it answers the challenge"},
}
"""Field -> its values, and what they mean."""
NUMBERS: Final[Mapping[str, tuple[int, int]]] = {
    "in_flight": (1, 16),
    "batch_max": (1, 100),
    "batch_wait_ms": (0, 5_000),
}
"""Field -> its limits, both included."""
NEW: Final[Fields] = {
    "url": "", "which": "all", "order": "per_order", "payload": "full", "exhausted": "skip", "verify": "answer", "notify_url": "",
    "in_flight": "8", "batch_max": "1", "batch_wait_ms": "0", "new_types": "true",
}  # fmt: skip
"""The form of an endpoint that is not made yet: the defaults of webhooks."""
READ_ONLY: Final = frozenset({
    "endpoint_id", "version", "status", "disabled_because", "failing_since", "secrets", "created_at", "breaker", "last_success_at",
    "backlog",
})  # fmt: skip


def groups(fields: Fields) -> Mapping[str, list[str]]:
    """Returns the types that can be ticked, by their service: all of it, its types, and ticked ones of a newer release."""
    ticked = {name.removeprefix(TYPE) for name in fields if name.startswith(TYPE)}
    found: dict[str, list[str]] = {}
    for one in sorted({*EVENT_TYPES, *ticked}):
        service = one.partition(".")[0]
        found.setdefault(service, [f"{service}.*"]).extend([one] if not one.endswith(".*") else [])
    return found


def fields_of(endpoint: Mapping[str, Any]) -> Fields:
    """Returns the form of an endpoint as it is. endpoint: as webhooks shows it."""
    same = {name: str(endpoint[name]) for name in ("url", "order", "payload", "exhausted", "verify", "in_flight")}
    ticked = {name: "true" for name in ("new_types", "personal") if endpoint[name]}
    batch, types = endpoint["batch"], endpoint["types"]
    return {
        **same, **ticked, **{f"{TYPE}{one}": "true" for one in types}, "which": "these" if types else "all",
        "notify_url": endpoint["notify_url"] or "", "batch_max": str(batch["max"]), "batch_wait_ms": str(batch["wait_ms"]),
    }  # fmt: skip


def created(fields: Fields) -> Wanted:
    """Returns the request of a form for a new endpoint. Raises ValueError with what is missing."""
    return Wanted("webhooks", "POST", "/v1/endpoints", _stated(fields), reason_of(fields))


def changed(endpoint: Mapping[str, Any], fields: Fields) -> Wanted:
    """Returns the request of a form: what it has no field for stays, and the version has to be the one that was read.

    Raises ValueError with what is missing.
    """
    kept = {name: value for name, value in endpoint.items() if name not in READ_ONLY}
    path = f"/v1/endpoints/{UUID(endpoint['endpoint_id'])}"
    version = _number(fields, "version", 0, 2**31 - 1)
    return Wanted("webhooks", "PUT", path, kept | _stated(fields), reason_of(fields), version=version)


def _stated(fields: Fields) -> dict[str, Any]:
    if not (url := fields.get("url", "").strip()):
        raise ValueError("state the URL")
    for name, choices in CHOICES.items():
        if fields.get(name) not in choices:
            raise ValueError(f"choose one of {', '.join(choices)} for {name}")
    types = [name.removeprefix(TYPE) for name in fields if name.startswith(TYPE)]
    if fields["which"] == "these" and not types:
        raise ValueError("tick a type, or choose every type")
    numbers = {name: _number(fields, name, *limits) for name, limits in NUMBERS.items()}
    return {
        "url": url, "types": types if fields["which"] == "these" else [], "notify_url": fields.get("notify_url", "").strip() or None,
        **{name: fields[name] for name in ("order", "payload", "exhausted", "verify")},
        **{name: fields.get(name) == "true" for name in ("new_types", "personal")},
        "in_flight": numbers["in_flight"], "batch": {"max": numbers["batch_max"], "wait_ms": numbers["batch_wait_ms"]},
    }  # fmt: skip


def _number(fields: Fields, name: str, least: int, most: int) -> int:
    text = fields.get(name, "").strip()
    if not (text.isascii() and text.isdecimal() and least <= int(text[:12]) <= most):
        raise ValueError(f"{name.replace('_', ' ')} is a whole number from {least} to {most}")
    return int(text)
