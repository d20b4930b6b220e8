"""The accounts that stores have at gateways: small declared rows. Credentials are references; their values stay outside."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Final, NamedTuple, Self

from asyncpg import Connection
from pydantic import ConfigDict, StringConstraints, model_validator
from sqlalchemy import select

from chassis.declare.app import App
from contracts.base import Code, Frozen
from contracts.payments import AccountName, GatewayName
from payments import storefronts
from payments.storefronts import Storefront
from payments.tables import gateway_accounts

FRESH_SECONDS: Final = 10.0
"""How long a row that was read is used. A changed account takes effect after it, in every process."""

Reference = Annotated[str, StringConstraints(pattern=r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:/.+)$", max_length=500)]
"""`env:NAME` or `file:/absolute/path`."""
FieldName = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}$")]


class Fields(NamedTuple):
    """What an account at one gateway states."""

    credentials: frozenset[str]
    """All are needed."""
    settings: frozenset[str] = frozenset()
    """All are needed. They are no secrets."""
    optional: frozenset[str] = frozenset()
    """Further settings."""


FIELDS: Final[Mapping[str, Fields]] = {
    "dintero": Fields(
        frozenset({"client_id", "client_secret"}),
        frozenset({"account_id", "return_url"}),
        frozenset({"profile_id", "payment_product_type"}),
    ),
    "stripe": Fields(frozenset({"api_key"})),
}
"""The gateways of which stores have accounts."""


class CredentialsMissing(Exception):
    """A reference that leads nowhere. The text has the reference, never a value."""


def resolved(reference: Reference) -> str:
    """Reads the value of a reference, without surrounding white space. Raises CredentialsMissing."""
    kind, _, place = reference.partition(":")
    try:
        value = os.environ.get(place, "") if kind == "env" else Path(place).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CredentialsMissing(f"{reference}: {type(error).__name__}") from None
    if not value.strip():
        raise CredentialsMissing(f"{reference} is empty")
    return value.strip()


class Account(Frozen):
    """One of a store's accounts at a gateway."""

    # A literal key that was written by mistake in place of a reference must not be printed with the error.
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    store: Code
    gateway: GatewayName
    account: AccountName
    """Its name in payment methods, and in the address that the gateway sends events to."""
    url: Annotated[str, StringConstraints(pattern=r"^https?://[^\s/?#@]+[^\s?#@]*$", max_length=500)] | None = None
    """Null: the gateway's own address."""
    credentials: Mapping[FieldName, Reference]
    settings: Mapping[FieldName, Annotated[str, StringConstraints(min_length=1, max_length=500)]] = {}
    webhook_secret: Reference | None = None
    """Null: its events are refused."""

    @model_validator(mode="after")
    def _has_the_fields_of_its_gateway(self) -> Self:
        fields = FIELDS.get(self.gateway)
        if fields is None:
            raise ValueError(f"stores have accounts at: {', '.join(sorted(FIELDS))}")
        if self.credentials.keys() != fields.credentials:
            raise ValueError(f"credentials of {self.gateway}: {', '.join(sorted(fields.credentials))}")
        if not fields.settings <= self.settings.keys() <= fields.settings | fields.optional:
            needed, more = (", ".join(sorted(names)) or "none" for names in fields[1:])
            raise ValueError(f"settings of {self.gateway}: {needed}; optional: {more}")
        return self


@dataclass(frozen=True)
class Access:
    """What a gateway's code is given of an account: values, in place of references."""

    url: str
    credentials: Mapping[str, str] = field(repr=False)
    settings: Mapping[str, str] = field(default_factory=dict)


def access(account: Account, url: str) -> Access:
    """url: the gateway's own, used if the account states no other one. Raises CredentialsMissing."""
    values = {name: resolved(reference) for name, reference in account.credentials.items()}
    return Access(account.url or url, values, dict(account.settings))


class AccountsFile(Frozen):
    """`gateway_accounts: [{store, gateway, account, url, credentials, settings, webhook_secret}]`, `storefronts: [{store, origins}]`."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    gateway_accounts: tuple[Account, ...] = ()
    storefronts: tuple[Storefront, ...] = ()

    @model_validator(mode="after")
    def has_a_row(self) -> Self:
        if not self.gateway_accounts and not self.storefronts:
            raise ValueError("the file has no row")
        return self


class AccountTaken(ValueError):
    """An account stays its store's: captures and refunds go to the account that authorized."""


PUT: Final = """
insert into gateway_accounts as a (store_id, gateway, account, url, credentials, settings, webhook_secret)
values ($1, $2, $3, $4, $5::jsonb, $6::jsonb, $7)
on conflict (gateway, account) do update set url = excluded.url, credentials = excluded.credentials,
  settings = excluded.settings, webhook_secret = excluded.webhook_secret
where a.store_id = excluded.store_id
returning 1"""


async def apply(tx: Connection, file: Mapping[str, Any]) -> list[str]:
    """Writes the rows of a file; all of them or, on the first that is refused, none."""
    wanted, written = AccountsFile.model_validate(file), []
    for one in wanted.gateway_accounts:
        fields = (json.dumps(dict(one.credentials)), json.dumps(dict(one.settings)))
        if await tx.fetchval(PUT, one.store, one.gateway, one.account, one.url, *fields, one.webhook_secret) is None:
            raise AccountTaken(f"account {one.gateway}/{one.account} is another store's")
        written.append(f"gateway account {one.store}/{one.gateway}/{one.account}")
    for storefront in wanted.storefronts:
        await storefronts.put(tx, storefront)
        written.append(f"storefront {storefront.store}: {' '.join(storefront.origins) or 'none'}")
    return written


class Accounts:
    """Reads accounts, and uses what was read for `FRESH_SECONDS`."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._read: dict[tuple[str, str, str | None], tuple[float, Account | None]] = {}

    async def of_store(self, store_id: str, gateway: str, name: str | None) -> Account | None:
        """The store's account of this name at the gateway; without a name, the one that was written first."""
        at, account = self._read.get((store_id, gateway, name), (0.0, None))
        if not at or time.monotonic() - at > FRESH_SECONDS:
            found = select(gateway_accounts).where(
                gateway_accounts.c.store_id == store_id, gateway_accounts.c.gateway == gateway
            )
            if name is not None:
                found = found.where(gateway_accounts.c.account == name)
            account = await self._one(found.order_by(gateway_accounts.c.number).limit(1))
            self._read[store_id, gateway, name] = (time.monotonic(), account)
        return account

    async def named(self, gateway: str, account: str) -> Account | None:
        """The account of an address; read each time, because anyone can send one."""
        return await self._one(
            select(gateway_accounts).where(gateway_accounts.c.gateway == gateway, gateway_accounts.c.account == account)
        )

    async def _one(self, statement: Any) -> Account | None:
        rows = await self._app.read(statement)
        if not rows:
            return None
        row = rows[0]
        return Account(
            store=row["store_id"],
            gateway=row["gateway"],
            account=row["account"],
            url=row["url"],
            credentials=row["credentials"],
            settings=row["settings"],
            webhook_secret=row["webhook_secret"],
        )
