"""Which store an account of Dintero is here; `python -m dintero_compat apply file.yaml` writes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final, NamedTuple

from asyncpg import Connection
from pydantic import BaseModel, ConfigDict, StringConstraints, TypeAdapter

from chassis.declare.app import App
from contracts.base import Code

AID_PATTERN: Final = r"^[PT][0-9]{8}$"
"""P: production, T: test."""
Aid = Annotated[str, StringConstraints(pattern=AID_PATTERN)]

PUT: Final = "insert into accounts (aid, store_id, ships) values ($1, $2, $3)"


class Account(NamedTuple):
    aid: str
    store_id: str
    ships: bool
    """Whether its goods are reserved and shipped here."""


class _Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    aid: Aid
    store: Code
    ships: bool = True


_FILE: Final = TypeAdapter(dict[str, list[_Row]])


async def apply(tx: Connection, wanted: Mapping[str, Any]) -> Sequence[str]:
    """`accounts:` a list of {aid, store, ships}. It replaces all: an account that the file lacks ends. Raises ValueError."""
    if set(wanted) != {"accounts"}:
        raise ValueError("the file has one list, accounts")
    rows = _FILE.validate_python(dict(wanted))["accounts"]
    if len({row.aid for row in rows}) < len(rows):
        raise ValueError("an account is listed twice")
    await tx.execute("delete from accounts")
    await tx.executemany(PUT, [(row.aid, row.store, row.ships) for row in rows])
    return [f"{row.aid}: store {row.store}" for row in rows]


async def find(app: App, aid: str) -> Account | None:
    """Returns an account; None if there is none of this id."""
    rows = await app.fetch("select aid, store_id, ships from accounts where aid = $1", aid)
    return Account(**rows[0]) if rows else None
