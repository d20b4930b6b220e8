"""What jobs do: actions that a person requests for many orders at once, what is requested for each of them, and the replay of
parked messages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final, NamedTuple
from uuid import UUID

from console.domain.acting import ACTIONS, Action, request_of
from console.domain.parked import EDIT_SCOPE
from console.domain.people import Person
from console.domain.wanted import Wanted
from contracts.ids import derived

NAMES: Final = (
    "approve",
    "approve_and_capture",
    "capture",
    "hold",
    "release",
    "retry",
    "ask",
    "give_up",
    "archive",
    "cancel",
)
"""Neither a refund nor an outcome that a person states is one of them: lines and operations differ from order to order."""
BULK: Final[Mapping[str, Action]] = {name: ACTIONS[name] for name in NAMES}
REPLAY: Final = "replay_group"
OF_JOBS: Final[Mapping[str, Action]] = {
    **BULK,
    REPLAY: Action("Replay", "", EDIT_SCOPE, "Each message is processed, and what waits behind it.", noted=True),
}
"""What any job does, by the word of its row and of the audit."""
PER_HOLD: Final = "{hold_id}"


class Numbered(NamedTuple):
    """A request, and the nonce that it has however often it is sent."""

    nonce: UUID
    wanted: Wanted


def offered(person: Person) -> Mapping[str, Action]:
    return {name: action for name, action in BULK.items() if person.may(action.scope)}


def requests_of(
    job_id: UUID, action: str, order_id: UUID, fields: Mapping[str, str], holds: Sequence[str]
) -> Sequence[Numbered]:
    """Returns what a job requests for one order. fields: of the form, and `version`, that of the order in the preview. holds: ids of
    the order's open ones; a release has a request for each, and none if no hold is open. Raises ValueError with what is missing
    in the fields."""
    if PER_HOLD not in BULK[action].path:
        return [Numbered(derived(job_id, str(order_id)), request_of(action, order_id, fields))]
    return [
        Numbered(derived(job_id, f"{order_id}|{hold}"), request_of(action, order_id, {**fields, "hold_id": hold}))
        for hold in holds
    ]


def complete(action: str, fields: Mapping[str, str]) -> None:
    """Raises ValueError with what is missing in the form of a job."""
    requests_of(UUID(int=0), action, UUID(int=0), {**fields, "version": "0"}, [str(UUID(int=0))])


def still(person: Person, roles: Sequence[str]) -> Person:
    """Returns the person with those of the roles that a job began with and that the person still has."""
    return replace(person, grants=tuple(one for one in person.grants if one.role in roles))
