"""Parked messages: what each cause means, what a person does about it, and what a form requests of the service that parked it.

`docs/operations.md` has the causes at length.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple, get_args
from urllib.parse import quote

from console.domain.wanted import Wanted, reason_of, version_of

State = Literal["waiting", "replayed", "edited", "discarded"]
STATES: Final[tuple[State, ...]] = get_args(State)
EDIT_SCOPE: Final = "parked.edit"
VIEW_SCOPE: Final = "parked.view"


class Action(NamedTuple):
    title: str
    does: str
    reasoned: bool = False
    """Whether a reason has to be given."""


ACTIONS: Final[Mapping[str, Action]] = {
    "replay": Action("Replay", "It is processed as it is, then what waits behind it, in order."),
    "edit": Action("Edit", "The new body takes its place and is processed at once, or nothing is stored."),
    "discard": Action("Discard", "The message is lost for good; what waits behind it goes on.", reasoned=True),
}


class Cause(NamedTuple):
    happened: str
    do: str
    lost: bool = False
    """Whether there is no message to process: it can only be discarded."""


_FIX: Final = "Deploy the fix, then replay."
_RESEND: Final = "The sender publishes it again with a new ce_id; discard this one."
CAUSES: Final[Mapping[str, Cause]] = {
    "fault": Cause("A decision of the service raised, or its database refused the row.", _FIX),
    "unreadable": Cause("A check of the service raised while it read the record.", _FIX),
    "waits": Cause("It is valid, and an earlier message of its key is parked.", "Nothing: it follows the first of its key."),
    "timed_out": Cause("Alone in its transaction, it exceeds a limit of the database.",
        "Find what locks its rows, or deploy the fix; then replay."),
    "crashed": Cause("The process ended three times while it processed this message alone.", "Find the reason in the log, then replay."),
    "edited": Cause("Its body was edited.", "Replay, edit again, or discard."),
    "bad_json": Cause("Its body is not JSON.", "Edit it; fix the sender."),
    "bad_body": Cause("Its body does not fit the schema of its type.", "Edit it; fix the sender."),
    "no_body": Cause("It has no body.", "Edit it; fix the sender."),
    "unknown_type": Cause("The service has no handler for its type.", "Deploy the release that has one, then replay; or discard."),
    "too_large": Cause("It is larger than a message may be, or its order would be.", "The sender splits it; discard this one."),
    "batch_unreadable": Cause("A batch of records could not be read.", "The sender sends its messages again; discard this one.", lost=True),
    "batch_too_large": Cause("A batch of records is too large when decompressed.", "The sender sends its messages again; discard this one.",
        lost=True),
    "records_missing": Cause("The broker deleted these records before they were read.",
        "Find out what they were, then discard.", lost=True),
    "not_ours": Cause("It is on the topic of the service's own events, and another program wrote it.",
        "Find out which program may write there, then discard.", lost=True),
    "not_adopted": Cause("It is an own event that does not follow the row in the database.",
        "Compare the order, its journal and the topic, then discard."),
    "missing_header": Cause("Its headers are not complete; an edit changes only the body.", _RESEND),
    "bad_header": Cause("A header cannot be read; an edit changes only the body.", _RESEND),
    "bad_key": Cause("Its record key is no id; an edit changes only the body.", _RESEND),
    "key_is_not_subject": Cause("Record key and subject differ; an edit changes only the body.", _RESEND),
    "store_differs": Cause("It names another store than the order has.", _RESEND),
    "too_old": Cause("Its time is further back than the inbox covers.", f"If a clock was wrong, replay. Else: {_RESEND}"),
    "from_the_future": Cause("Its time is in the future.", f"If a clock was wrong, replay. Else: {_RESEND}"),
    "contradiction": Cause("A gateway reported two different outcomes of one operation.",
        "Compare with the gateway; discard when it is settled."),
}  # fmt: skip
UNKNOWN: Final = Cause("The service states a cause that this release has no word for.", "Read its detail.")


def cause_of(code: str) -> Cause:
    return CAUSES.get(code, UNKNOWN)


def offered(message: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns the actions that make sense for a message; its service may still refuse one."""
    if message["state"] != "waiting":
        return ()
    if cause_of(message["cause"]).lost or message["topic"] == "task":
        return ("discard",)
    return tuple(ACTIONS)


def request_of(action: str, service: str, parked_id: int, fields: Mapping[str, str]) -> Wanted:
    """Returns the request of a form. Raises ValueError with what is missing."""
    reason = reason_of(fields)
    if ACTIONS[action].reasoned and not reason:
        raise ValueError("give a reason")
    bodies: Mapping[str, Any] = {"replay": None, "edit": {"value": value_of(fields)}, "discard": {"reason": reason}}
    version = version_of(fields) if action != "replay" else None
    return Wanted(service, "POST", f"/v1/parked/{parked_id}/{action}", bodies[action], reason, version)


def check_of(service: str, parked_id: int, fields: Mapping[str, str]) -> Wanted:
    """Returns the request that only checks an edit. Raises ValueError."""
    body = {"value": value_of(fields), "dry_run": True}
    return Wanted(service, "POST", f"/v1/parked/{parked_id}/edit", body, "", version_of(fields))


def value_of(fields: Mapping[str, str]) -> str:
    """Returns the body as it was typed: a form sends the end of a line as two characters."""
    return fields.get("value", "").replace("\r\n", "\n")


class Group(NamedTuple):
    """Messages of one service that wait for one reason."""

    service: str
    cause: str
    line: str
    """The line that raised, `<module>:<number>`; empty: none."""

    def path(self, *, id_max: int | None = None, limit: int, cursor: str | None = None) -> str:
        """Returns where its service lists it. id_max: only messages up to this id; a message that is parked later has a higher one."""
        query = f"/v1/parked?cause={quote(self.cause)}&raised_at={quote(self.line)}&limit={limit}"
        query += f"&id_max={id_max}" if id_max is not None else ""
        return query + (f"&cursor={quote(cursor)}" if cursor else "")
