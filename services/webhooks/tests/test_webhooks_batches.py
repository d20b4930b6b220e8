"""Requests that carry a list of events: made, sent again as they were, replayed.

On a real PostgreSQL and real sockets; needs `WEBHOOKS_TEST_DATABASE_URL`.
"""

from __future__ import annotations

from uuid import UUID

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
    is_first_of_a,
    receiving,
    refusing,
    settled,
    stored,
    versions,
)
from webhooks_feed import Client, Publisher, noted

from chassis.process.app import App
from webhooks.domain import config as domain

pytestmark = REAL


def batches(receiver: Receiver, order: UUID) -> list[list[int]]:
    """The versions of an order in each request that has some."""
    of_requests = ([one["version"] for one in got.events if one["subject"] == str(order)] for got in receiver.got)
    return [found for found in of_requests if found]


async def test_a_batch_is_one_signed_request_and_each_of_its_events_is_found(app: App, publisher: Publisher) -> None:
    receiver = Receiver()
    client = Client(app, await app.keys.create(STORE, "viewer", ["webhooks.view"]))
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, batch=domain.Batch(max=3, wait_ms=200), payload="thin")
        async with dispatching(app):
            await publisher.publish(*(noted(STORE, version=version, order_id=A) for version in (1, 2)))
            await publisher.publish(*(noted(STORE, version=version, order_id=B) for version in (1, 2)))
            await receiver.until(lambda: len(receiver.accepted) == 4)
            await settled(app, made.id)
        _, page = await client.get("/v1/attempts", order_id=B)
    full, rest = receiver.got
    assert [(len(got.events), got.headers["Content-Type"]) for got in (full, rest)] == [
        (3, "application/cloudevents-batch+json"), (1, "application/cloudevents-batch+json"),
    ]  # fmt: skip
    assert Webhook(made.secret).verify(full.body, full.headers) == full.event
    assert [(one["subject"], one["version"]) for one in receiver.accepted] == [
        (str(A), 1), (str(A), 2), (str(B), 1), (str(B), 2),
    ]  # fmt: skip
    assert [one.get_id() for one in full.cloud_events] == [one["id"] for one in full.events]
    assert "dataref" in full.events[0] and "data" not in full.events[0]
    assert {(one["event_id"], one["webhook_id"], one["events"]) for one in page["items"]} == {
        (full.events[2]["id"], full.id, 3), (rest.events[0]["id"], rest.id, 1),
    }  # fmt: skip
    assert await stored(app, "select position, open, batches from cursors") == [(4, [], [])]


@pytest.mark.usefixtures("_quick")
async def test_a_batch_that_fails_is_sent_again_as_it_was_and_holds_its_orders_alone(
    app: App, publisher: Publisher
) -> None:
    receiver = Receiver(answer=refusing(2, is_first_of_a))
    orders = [UUID(int=number) for number in range(3, 13)]
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, batch=domain.Batch(max=4, wait_ms=50))
        async with dispatching(app):
            await publisher.publish(
                *(noted(STORE, version=version, order_id=one) for version in (1, 2) for one in (A, B))
            )
            await receiver.until(lambda: len(receiver.got) == 1)
            await publisher.publish(
                noted(STORE, version=3, order_id=A), *(noted(STORE, order_id=one) for one in orders)
            )
            await receiver.until(lambda: versions(receiver, A) == [1, 2, 3])
            await receiver.until(lambda: all(versions(receiver, one) == [1] for one in orders))
            await settled(app, made.id)
    assert batches(receiver, A) == [[1, 2], [1, 2], [1, 2], [3]] and batches(receiver, B) == [[1, 2]] * 3
    failed = [got for got in receiver.got if (got.events[0]["subject"], got.events[0]["version"]) == (str(A), 1)]
    assert len({(got.id, got.body) for got in failed}) == 1
    assert await stored(app, "select number, outcome, events from attempts where key = $1 and position <= 4 order by at", B) == [
        (1, "failed", 4), (1, "failed", 4), (2, "failed", 4), (2, "failed", 4), (3, "delivered", 4), (3, "delivered", 4),
    ]  # fmt: skip
    assert await stored(app, "select from waiting") == []


async def test_a_replay_sends_batches_of_its_own_and_a_resend_the_batch_that_was_sent(
    app: App, publisher: Publisher
) -> None:
    receiver = Receiver()
    client = Client(app, await app.keys.create(STORE, "editor", ["webhooks.view", "webhooks.edit"]))
    async with receiving(receiver):
        made = await endpoint(app, receiver.url, batch=domain.Batch(max=2))
        async with dispatching(app):
            await publisher.publish(*(noted(STORE, version=version, order_id=A) for version in range(1, 6)))
            await receiver.until(lambda: versions(receiver, A) == [1, 2, 3, 4, 5])
            await settled(app, made.id)
            sent = list(receiver.got)
            status, begun, _ = await client.call(
                "POST", f"/v1/endpoints/{made.id}/replay", {"from": "2020-01-01T00:00:00Z"}
            )
            assert status == 202
            await receiver.until(lambda: len(receiver.accepted) == 10)
            _, page = await client.get("/v1/attempts", event_id=sent[0].events[-1]["id"], endpoint=made.id)
            assert (await client.call("POST", f"/v1/attempts/{page['items'][-1]['id']}/resend"))[0] == 202
            await receiver.until(lambda: len(receiver.accepted) == 10 + len(sent[0].events))
            assert (await client.get(f"/v1/replays/{begun['replay_id']}"))[1]["delivered"] == 5
    assert [len(got.events) for got in receiver.got[len(sent) :]] == [2, 2, 1, len(sent[0].events)]
    assert (receiver.got[-1].id, receiver.got[-1].body) == (sent[0].id, sent[0].body)
