"""Reconciles: reads a gateway's list page by page, compares it with our ledgers order by order, and closes what is no more.

Each step reads a bounded part and is saved with what it has written. A process that is killed leaves a step undone, and
the next one does it again: rows of the list are named by the gateway, differences by what they are about.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Final, cast
from uuid import UUID

import structlog
from asyncpg import Connection

from chassis.batch.errors import is_transient
from chassis.declare.app import App, Principal
from chassis.work.loops import delayed
from contracts.ids import derived
from payments import comparing, reconciliations
from payments.comparing import CHUNK_ORDERS, CHUNK_ROWS, Found
from payments.domain.differences import Find, Lose
from payments.domain.listing import Listing
from payments.gateways.accounts import CredentialsMissing
from payments.gateways.port import Gateway, NotListable, Unclear
from payments.gateways.registry import KINDS, gateways_of
from payments.reconciliations import LeaseLost, Reconciliation
from payments.settings import Settings

log = structlog.get_logger("payments.reconciling")

RECONCILER: Final = Principal("reconciliation", "", frozenset(), kind="system")
IDLE_SECONDS: Final = 2.0
"""Between two queries for a reconciliation that is due."""
AT_ONCE: Final = 50
"""Differences that are submitted at the same time: they share batches."""
STRANGERS: Final = "strangers"
"""The place at which `comparing` has done all orders: rows that belong to none are left."""


def loops(app: App) -> Mapping[str, Callable[[], Awaitable[None]]]:
    return {"reconciliations": Reconciler(app).run}


class Reconciler:
    def __init__(self, app: App) -> None:
        self._app = app
        self._holder = f"{socket.gethostname()}:{os.getpid()}"
        self._settings = cast(Settings, app.settings)
        self._made_on: date | None = None
        """The day, shifted by the hour of the night, for which this process has made the nightly ones."""

    async def run(self) -> None:
        while True:
            with delayed("reconciliations"):
                await self.make_nightly(datetime.now(UTC))
                while await self.one():
                    pass
            await asyncio.sleep(IDLE_SECONDS)

    async def make_nightly(self, now: datetime) -> None:
        hour = self._settings.reconciliation_hour
        if hour is None or (today := (now - timedelta(hours=hour)).date()) == self._made_on:
            return
        listing = [name for name, kind in KINDS.items() if kind.lists]
        await self._app.write(lambda tx: reconciliations.create_nightly(tx, listing, now, hour))
        self._made_on = today

    async def one(self) -> bool:
        """Runs a reconciliation that is due to its end, or until a step fails. Returns whether there was one."""
        one = await reconciliations.lease(self._app, self._holder)
        if one is None:
            return False
        try:
            gateway = await gateways_of(self._app).of_store(one.store_id, one.gateway, one.account)
            if gateway is None:
                await reconciliations.fail(self._app, one, self._holder, f"gateway {one.gateway} is not set up")
                return True
            while one.state in ("listing", "comparing", "closing"):
                one = await self._step(one, gateway)
        except LeaseLost:
            log.info("reconciliation_taken_over", reconciliation=str(one.key))
        except NotListable as error:
            await reconciliations.fail(self._app, one, self._holder, str(error))
        except (Unclear, CredentialsMissing) as error:
            await reconciliations.later(self._app, one, self._holder, str(error))
        except Exception as error:
            if is_transient(error):
                raise  # the lease runs out by itself
            log.error("reconciliation_faulty", reconciliation=str(one.key), error=repr(error), exc_info=True)
            await reconciliations.later(self._app, one, self._holder, repr(error))
        return True

    async def _step(self, one: Reconciliation, gateway: Gateway) -> Reconciliation:
        if one.state == "listing":
            return await self._list(one, gateway)
        if one.state == "closing":
            return await self._close(one)
        return await self._compare(one, gateway)

    async def _list(self, one: Reconciliation, gateway: Gateway) -> Reconciliation:
        """A page of the list. After the last one, the orders are added whose ledgers have moved money in the period."""
        page = await gateway.listed(Listing(one.store_id, one.begins_at, one.ends_at, one.place or None))

        async def write(tx: Connection) -> Reconciliation:
            added = await comparing.stage(tx, one, page.rows)
            if page.cursor is not None:
                return await reconciliations.save(tx, one, self._holder, "listing", page.cursor, listed=added)
            await comparing.stage_ours(tx, one)
            return await reconciliations.save(tx, one, self._holder, "comparing", "", listed=added)

        return cast(Reconciliation, await self._app.write(write))

    async def _compare(self, one: Reconciliation, gateway: Gateway) -> Reconciliation:
        """Some orders or, after all of them, some rows of the list that belong to none."""
        phase, _, after = one.place.partition(" ")
        if phase == STRANGERS:
            found, done, last = await self._app.write(lambda tx: comparing.strangers(tx, one, after))
            state, place = ("comparing", f"{STRANGERS} {last}") if done == CHUNK_ROWS else ("closing", "")
            orders = 0
        else:
            chunk, done, last = await self._app.write(lambda tx: comparing.orders(tx, one, one.place))
            found = await comparing.confirmed(chunk, one, gateway)
            state, place = "comparing", last if done == CHUNK_ORDERS else STRANGERS
            orders = done
        await self._submit_found(one, found)

        async def write(tx: Connection) -> Reconciliation:
            new = await comparing.remember(tx, one, [difference.key for difference in found])
            return await reconciliations.save(tx, one, self._holder, state, place, orders=orders, found=new)

        return cast(Reconciliation, await self._app.write(write))

    async def _submit_found(self, one: Reconciliation, found: list[Found]) -> None:
        who = replace(RECONCILER, store_id=one.store_id)
        for first in range(0, len(found), AT_ONCE):
            await asyncio.gather(*(
                self._submit(who, Find(
                    difference_id=difference.key, store_id=one.store_id, actor=who.actor, about=difference.about,
                    operation_id=derived(difference.key, f"found by {one.key}"), reconciliation_id=one.key,
                ))
                for difference in found[first : first + AT_ONCE]
            ))  # fmt: skip

    async def _submit(self, who: Principal, command: Find | Lose) -> None:
        outcome = await self._app.submit(who, command)
        if outcome.error is not None:
            raise outcome.error

    async def _close(self, one: Reconciliation) -> Reconciliation:
        """Some differences of the period that are open and were not found; after all of them, the end."""
        after = UUID(one.place) if one.place else UUID(int=0)
        gone: list[UUID] = await self._app.write(lambda tx: comparing.not_found(tx, one, after))
        who = replace(RECONCILER, store_id=one.store_id)
        await asyncio.gather(*(
            self._submit(who, Lose(
                difference_id=key, store_id=one.store_id, actor=who.actor, operation_id=derived(key, f"not found by {one.key}"),
                reconciliation_id=one.key,
            ))
            for key in gone
        ))  # fmt: skip

        async def write(tx: Connection) -> Reconciliation:
            if gone:
                return await reconciliations.save(tx, one, self._holder, "closing", str(gone[-1]), gone=len(gone))
            await reconciliations.sweep(tx, one.key)
            return await reconciliations.save(tx, one, self._holder, "done", "")

        return cast(Reconciliation, await self._app.write(write))
