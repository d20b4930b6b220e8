"""An action that a person requests of an owner from a form: audited before it is sent, and done once however often it is sent."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple
from uuid import UUID, uuid4

from console import audit
from console.api.refusals import refusal
from console.api.serving import Pages
from console.audit import Subject
from console.domain.people import PERSONAL, Person
from console.domain.wanted import Wanted
from console.owners import Outcome


class Failed(NamedTuple):
    """A form whose request was not done, shown again with what the person entered."""

    action: str
    fields: Mapping[str, str]
    nonce: UUID
    title: str
    detail: str
    status: int


def nonce_of(fields: Mapping[str, str]) -> UUID:
    """Returns the nonce of a form; a new one if it has none."""
    try:
        return UUID(fields.get("nonce", ""))
    except ValueError:
        return uuid4()


def incomplete(action: str, fields: Mapping[str, str], error: ValueError) -> Failed:
    return Failed(action, fields, nonce_of(fields), "The form is not complete", f"{error}; nothing was done", 422)


async def request(
    pages: Pages, person: Person, subject: Subject, action: str, wanted: Wanted, fields: Mapping[str, str]
) -> Outcome | Failed:
    """Requests an action of its owner; returns its answer, or why the action is not done."""
    nonce = nonce_of(fields)
    await audit.asked(pages.app, nonce, person, subject, action, wanted.reason)
    outcome = await pages.owners.send(wanted, subject.store_id, person, nonce)
    if outcome.done:
        await audit.ended(pages.app, nonce, person, "done", _version(subject, outcome))
        return outcome
    has_code = outcome.status is not None and outcome.code
    await audit.ended(pages.app, nonce, person, outcome.code[:100] if has_code else "silent")
    return failure(action, fields, wanted, outcome)


def failure(action: str, fields: Mapping[str, str], wanted: Wanted, outcome: Outcome) -> Failed:
    """Returns why an action is not done."""
    if outcome.status is None or outcome.status >= 500:  # the same nonce: what was done after all is not done twice
        detail = outcome.detail or "it has not done it, or may have; sent again, it is done once"
        return Failed(action, fields, nonce_of(fields), f"{wanted.owner.capitalize()} does not answer", detail, 503)
    return Failed(action, fields, uuid4(), outcome.title or "Refused", outcome.detail, outcome.status)


async def revealed(pages: Pages, person: Person, subject: Subject) -> None:
    """Writes that a person is shown the personal data of a subject, before it is shown. Raises Problem 403 without the scope."""
    if not person.at(subject.store_id).may(PERSONAL):
        raise refusal("action_forbidden", f"it needs the scope {PERSONAL}")
    nonce = uuid4()  # a form that is sent again shows the data again: each time is a row
    await audit.asked(pages.app, nonce, person, subject, "reveal", "")
    await audit.ended(pages.app, nonce, person, "done")


def _version(subject: Subject, outcome: Outcome) -> int | None:
    """Returns the version of an order after an action: the lists catch up with it."""
    version = outcome.body.get("version") if subject.kind == "order" and isinstance(outcome.body, dict) else None
    return version if type(version) is int else None
