"""What the owner of an order or of a parked message has answered to a job: a result, or nothing."""

from __future__ import annotations

from typing import Final, NamedTuple

from console.owners import Outcome

DETAIL_CHARACTERS_MAX: Final = 300


class Result(NamedTuple):
    state: str
    """`done` or `refused`."""
    code: str = ""
    detail: str = ""


class Silent(NamedTuple):
    """The owner has not answered: the order or message stays as it is."""

    detail: str


def result_of(owner: str, outcome: Outcome) -> Result | Silent:
    """An owner that fails, or does not accept the console's own key, has not decided."""
    if outcome.done:
        return Result("done")
    if outcome.status is None or outcome.status >= 500 or outcome.status in (401, 403, 429):
        return Silent((outcome.detail or f"{owner} answers {outcome.status}")[:DETAIL_CHARACTERS_MAX])
    return Result("refused", outcome.code[:100] or str(outcome.status), outcome.detail[:DETAIL_CHARACTERS_MAX])
