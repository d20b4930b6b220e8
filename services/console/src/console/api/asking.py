"""Asks an owner for what a page cannot do without: no usable answer is the page of a problem."""

from __future__ import annotations

from typing import Any

from console.api.refusals import refusal
from console.api.serving import Pages
from console.domain.people import Person
from console.owners import Answer


async def ask(pages: Pages, name: str, path: str, store_id: str, person: Person, unknown: str) -> Any:
    """Returns what an owner answers. unknown: the code of the problem if it has nothing. Raises Problem."""
    return found(name, await pages.owners.read(name, path, store_id, person), unknown)


def found(name: str, answer: Answer, unknown: str) -> Any:
    """Returns the body of an answer. Raises Problem: 404 `unknown`; 400, if the owner refuses the query; 503."""
    match answer.state:
        case "answered":
            return answer.body
        case "nothing":
            raise refusal(unknown, f"{name} has nothing of this id in this store")
        case "unset":
            raise refusal("service_unset", f"CONSOLE_{name.upper()}_URL and its API key are not set")
    if answer.status in (400, 422):
        raise refusal("filter_invalid", f"{name} refuses it: the cursor or a filter is not one of this list")
    raise refusal("service_silent", f"{name}: {answer.why}")
