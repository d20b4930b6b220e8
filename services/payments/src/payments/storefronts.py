"""Where buyers are sent back to: the origins of a store's shops. Another address would make us an open redirect."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Annotated, Final

from asyncpg import Connection
from pydantic import AfterValidator, ConfigDict, Field

from contracts.base import Code, Frozen

# Stricter than browsers are: no user, no backslash, no name that has to be decoded. What does not match is no address here.
HOST: Final = r"[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:]+\]"
PORT: Final = r"(?::[1-9][0-9]{0,4})?"
BELOW: Final = r"(?:[/?#][!-\[\]-~]*)?"
URL: Final = re.compile(rf"(?P<origin>(?P<scheme>https?)://(?P<host>{HOST}){PORT}){BELOW}")
LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
RETURN_URL_PATTERN: Final = rf"^(?:https://(?:{HOST})|http://(?:{'|'.join(map(re.escape, LOOPBACK))})){PORT}{BELOW}$"
"""What JSON Schema can state of an address that buyers are sent to. Which origins the store has, is not in it."""


def origin_of(url: str) -> str:
    """The origin of an address, in lower case. Raises ValueError unless it is https, or http on this machine."""
    read = URL.fullmatch(url)
    if read is None:
        raise ValueError("it is no address of the shape https://host/path")
    if read["scheme"] == "http" and read["host"] not in LOOPBACK:
        raise ValueError("it is not https")
    return read["origin"].lower()


def _origin(value: str) -> str:
    if origin_of(value) != value.lower():
        raise ValueError("an origin has no path")
    return value.lower()


class Storefront(Frozen):
    model_config = ConfigDict(extra="forbid")

    store: Code
    origins: Annotated[
        tuple[Annotated[str, Field(max_length=300), AfterValidator(_origin)], ...], Field(max_length=100)
    ]
    """E.g. `https://shop.example`; `http` on loopback only. They replace those of the store."""


PUT: Final = """
with gone as (delete from storefronts where store_id = $1 and origin <> all($2::text[]))
insert into storefronts (store_id, origin) select $1, unnest($2::text[]) on conflict do nothing"""


async def put(tx: Connection, one: Storefront) -> None:
    await tx.execute(PUT, one.store, list(one.origins))


def unfit(url: str, origins: Collection[str]) -> str | None:
    """Why a buyer is not sent to an address; null: the store has its origin."""
    try:
        origin = origin_of(url)
    except ValueError as error:
        return str(error)
    return None if origin in origins else f"the store has no storefront {origin}"
