"""What is reported of endpoints and exhausted deliveries: as events of the feed, and to `notify_url`.

On a real PostgreSQL and real sockets; needs `WEBHOOKS_TEST_DATABASE_URL`.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from standardwebhooks import Webhook
from webhooks_delivery import (
    REAL,
    STORE,
    A,
    B,
    Receiver,
    dispatching,
    endpoint,
    receiving,
    refusing,
    settled,
    stored,
    versions,
)
from webhooks_feed import Client, Publisher, noted

from chassis.process.app import App
from contracts.webhooks import EndpointDisabled
from tests.waiting import patience, until
from webhooks.domain import config as domain
from webhooks.domain import notices
from webhooks.domain.config import HeadersAuth
from webhooks.domain.endpoint import SHARDS, notices_id

pytestmark = REAL
REPORTED = """
select type from journal where type in ('webhooks.endpoint_failing', 'webhooks.endpoint_recovered', 'webhooks.endpoint_disabled')
order by id"""


@pytest.mark.usefixtures("_quick")
async def test_an_exhausted_event_is_skipped_and_reported_once(app: App, publisher: Publisher) -> None:
    receiver = Receiver(answer=lambda event: 500 if event["version"] == 1 else 200)
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app):
            for version in (2, 3, 4):  # others succeed, so that the breaker stays closed
                await publisher.publish(noted(STORE, version=version, order_id=B))
            await publisher.publish(noted(STORE, version=1, order_id=A), noted(STORE, version=2, order_id=A))
            await receiver.until(lambda: versions(receiver, A) == [2])
            await settled(app, made.id)
    assert await stored(app, "select position, lane, tries, exhausted, last from waiting") == [
        (4, None, 5, True, "500")
    ]
    assert await stored(app, "select count(*) from journal where type = 'webhooks.delivery_exhausted'") == [(1,)]


@pytest.mark.usefixtures("_quick")
async def test_exhausted_deliveries_of_an_hour_are_reported_together(
    app: App, publisher: Publisher, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver = Receiver(answer=lambda event: 500 if event["subject"] != str(B) else 200)
    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        async with dispatching(app) as [dispatcher]:
            for number in range(1, 4):
                await publisher.publish(noted(STORE), noted(STORE, version=number, order_id=B))
                await settled(app, made.id)
            reported = "select (payload::jsonb->>'count')::int from journal where type = 'webhooks.delivery_exhausted' order by id"
            counted = dispatcher._reports._exhaustions
            await until(lambda: [one.count for one in counted.values()] == [2], "two since the first was reported")
            monkeypatch.setattr(notices, "EXHAUSTED_EVERY", timedelta())  # the hour is over
            async with patience():
                while len(await stored(app, reported)) < 2:
                    await asyncio.sleep(0.05)
    assert await stored(app, reported) == [(1,), (2,)]


async def test_an_endpoint_is_reported_while_it_fails_once_it_is_back_and_when_it_is_given_up(
    app: App, publisher: Publisher
) -> None:
    """Each part begins as a process that finds what an earlier one has written, some days ago."""
    up = False
    receiver = Receiver(answer=lambda event: 200 if up else 500)

    async def fails_since(when: str, failures: int) -> None:
        await app.fetch(
            f"update cursors set failing_since = clock_timestamp() - interval '{when}', failed_in_a_row = $1", failures
        )

    async def until_reported(*types: str) -> None:
        async with patience():
            while (found := await stored(app, REPORTED)) != [(f"webhooks.endpoint_{type}",) for type in types]:
                assert len(found) <= len(types), found
                await asyncio.sleep(0.05)

    async with receiving(receiver):
        made = await endpoint(app, receiver.url)
        await publisher.publish(noted(STORE), noted(STORE))
        await fails_since("5 minutes", 30)
        async with dispatching(app):
            await receiver.until(lambda: len(receiver.got) == 1)
        await until_reported()
        await fails_since("10 minutes", 30)
        async with dispatching(app):
            await until_reported("failing")
        async with dispatching(app):
            await receiver.until(lambda: len(receiver.got) >= 3)
        up = True
        async with dispatching(app):
            await until_reported("failing", "recovered")
            await settled(app, made.id)
        up = False
        await publisher.publish(noted(STORE))
        await fails_since("5 days", 18)
        async with dispatching(app):
            await until_reported("failing", "recovered", "failing")
        async with dispatching(app):
            await until_reported("failing", "recovered", "failing", "disabled")
            sent = len(receiver.got)
        async with dispatching(app) as [dispatcher], patience():
            while len(dispatcher._loaded) < SHARDS:
                await asyncio.sleep(0.05)
            assert not dispatcher._lines
    assert len(receiver.got) == sent
    assert await stored(app, "select doc::jsonb->>'disabled_because' from endpoints") == [("failing",)]


async def test_that_an_endpoint_is_back_is_reported_although_the_process_that_saw_it_has_died(
    app: App, publisher: Publisher
) -> None:
    receiver = Receiver(answer=lambda event: 500)
    async with receiving(receiver):
        await endpoint(app, receiver.url)
        await publisher.publish(noted(STORE))
        await app.fetch(
            "update cursors set failing_since = clock_timestamp() - interval '1 hour', failed_in_a_row = 30"
        )
        async with dispatching(app), patience():
            while not await stored(app, REPORTED):
                await asyncio.sleep(0.05)
        await app.fetch("update cursors set failing_since = null, failed_in_a_row = 0")
        async with dispatching(app), patience():
            while len(await stored(app, REPORTED)) < 2:
                await asyncio.sleep(0.05)
    assert await stored(app, REPORTED) == [("webhooks.endpoint_failing",), ("webhooks.endpoint_recovered",)]


def disabled(endpoint_id: UUID, version: int = 1) -> EndpointDisabled:
    return EndpointDisabled(
        endpoint_id=endpoint_id, store_id=STORE, version=version, host="example.com", because="request", operation_id=uuid4()
    )  # fmt: skip


@pytest.mark.usefixtures("_quick")
async def test_notices_of_an_endpoint_go_to_its_notify_url_also_while_it_is_disabled(
    app: App, publisher: Publisher
) -> None:
    receiver, noticed = Receiver(), Receiver(answer=refusing(1))
    client = Client(app, await app.keys.create(STORE, "editor", ["webhooks.view", "webhooks.edit"]))
    async with receiving(receiver, noticed):
        made = await endpoint(
            app, receiver.url, notify_url=noticed.url, types=("orders.*",), batch=domain.Batch(max=10),
            auth=lambda seal: HeadersAuth(headers={"x-api-key": seal("of-the-receiver")}),
        )  # fmt: skip
        assert (await client.call("POST", f"/v1/endpoints/{made.id}/disable"))[0] == 200
        async with dispatching(app):
            await publisher.publish(noted(STORE), disabled(uuid4()), disabled(made.id))
            await noticed.until(lambda: len(noticed.accepted) == 1)
            await settled(app, notices_id(made.id))
            _, page = await client.get("/v1/attempts", endpoint=made.id)
            assert [(one["outcome"], one["notice"], one["subject"]) for one in page["items"]] == [
                ("delivered", True, str(made.id)), ("failed", True, str(made.id)),
            ]  # fmt: skip
            status, replay, _ = await client.call("POST", f"/v1/attempts/{page['items'][0]['id']}/resend")
            assert (status, replay["endpoint_id"]) == (202, str(made.id))
            await noticed.until(lambda: len(noticed.got) == 3)
    assert receiver.got == []
    first, *_ = noticed.got
    assert {(got.id, got.body) for got in noticed.got} == {(first.id, first.body)}
    assert (first.event["type"], first.event["subject"]) == ("webhooks.endpoint_disabled", str(made.id))
    assert Webhook(made.secret).verify(first.body, first.headers) and "x-api-key" not in {
        *map(str.lower, first.headers)
    }


async def test_a_notify_url_that_fails_or_is_gone_disables_nothing_and_is_no_notice(
    app: App, publisher: Publisher
) -> None:
    receiver, noticed = Receiver(), Receiver(answer=lambda event: 410)
    async with receiving(receiver, noticed):
        made = await endpoint(app, receiver.url, notify_url=noticed.url)
        async with dispatching(app):
            await publisher.publish(disabled(made.id), noted(STORE))
            await receiver.until(lambda: len(receiver.accepted) == 2)
            await noticed.until(lambda: len(noticed.got) == 1)
            await settled(app, made.id)
    assert len({got.id for got in (*receiver.got, *noticed.got)}) == 3  # its own deliveries have other ids
    assert await stored(app, "select status from endpoints") == [("enabled",)]
    assert (
        await stored(
            app, "select from journal where type in ('webhooks.endpoint_disabled', 'webhooks.endpoint_failing')"
        )
        == []
    )
