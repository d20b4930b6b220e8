"""Parked messages over HTTP: who sees them, their groups, replay, edit, discard."""

import asyncio
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from chassis_client import Answer, Client
from chassis_counter import STORE, Stick, World, plus

from chassis.batch import parking
from chassis.batch.parking import Rejected
from chassis.work import parked as work
from chassis.work.parked_groups import GROUPS

pytestmark = pytest.mark.real


async def test_parked_messages_are_seen_by_their_store_and_the_unreadable_ones_by_administrators(
    client: Client, world: World
) -> None:
    mine, theirs = uuid4(), uuid4()
    await world.take(
        Rejected(world.record(plus(mine)), mine, "bad_body", "no", STORE),
        Rejected(world.record(plus(theirs, store_id="st_2")), theirs, "bad_body", "no", "st_2"),
        Rejected(world.record(plus(uuid4())), None, "bad_header", "no"),
    )
    create = client.app.keys.create
    own, root = await create(STORE, "ann", ["parked.view"]), await create(None, "root", ["*"])
    seen = (await client("GET", "/v1/parked", key=own)).json["items"]
    assert [row["key"] for row in seen] == [str(mine)]
    everything = (await client("GET", "/v1/parked", key=root)).json["items"]
    assert len(everything) == 3
    other = next(row["id"] for row in everything if row["store_id"] == "st_2")
    assert (await client("GET", f"/v1/parked/{other}", key=own)).status == 404
    assert (await client("POST", f"/v1/parked/{seen[0]['id']}/replay", key=own)).status == 403
    assert (await client("GET", "/v1/parked?cursor=WyJhIl0", key=own)).json["type"] == "/problems/cursor_invalid"
    assert (await client("GET", "/v1/parked?state=%00", key=own)).status == 400
    assert (await client("GET", "/v1/parked?state=gone", key=own)).status == 422


async def test_parked_messages_are_left_alone_while_a_restored_database_catches_up(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, counter = await client.app.keys.create(STORE, "ann", ["parked.view", "parked.edit"]), uuid4()
    await world.take(world.from_topic(plus(counter, 1, play="boom")))
    [row] = (await client("GET", "/v1/parked", key=key)).json["items"]
    monkeypatch.setattr("chassis.batch.shell.READY_SECONDS_MAX", 0.01)
    client.app.shell.ready.clear()
    for action, body in (("replay", b""), ("edit", b'{"value": "{}"}'), ("discard", b"")):
        url = f"/v1/parked/{row['id']}/{action}"
        refused = await client("POST", url, key=key, body=body, content_type="application/json")
        assert (refused.status, refused.json["type"]) == (503, "/problems/database_unavailable"), action
        assert refused.json["title"] == "The restored database is catching up"
    assert (await client("GET", "/v1/parked", key=key)).json["items"] == [row]
    client.app.shell.ready.set()
    assert (await client("POST", f"/v1/parked/{row['id']}/discard", key=key)).status == 200


async def test_a_person_replays_edits_and_discards_over_http(client: Client, world: World) -> None:
    """Promise 6 and 7."""
    key, counter = await client.app.keys.create(STORE, "ann", ["parked.view", "parked.edit"]), uuid4()
    await world.take(*(world.from_topic(plus(counter, n, play="boom" if n < 3 else "")) for n in (1, 2, 4)))
    rows = (await client("GET", "/v1/parked", key=key)).json["items"]
    assert [row["cause"] for row in rows] == ["waits", "waits", "fault"]
    second, first = rows[1]["id"], rows[2]["id"]

    failed = await client("POST", f"/v1/parked/{first}/replay", key=key)
    assert (failed.status, failed.json["type"], failed.json["stopped_at"]) == (409, "/problems/replay_stopped", first)

    shown = (await client("GET", f"/v1/parked/{first}", key=key)).json
    mended = json.dumps({"value": shown["value"].replace("boom", "")}).encode()
    edited = await client("POST", f"/v1/parked/{first}/edit", key=key, body=mended, content_type="application/json")
    assert (edited.status, edited.json["replayed"], edited.json["stopped_at"]) == (200, 1, second)

    assert (await client("POST", f"/v1/parked/{second}/discard", key=key)).json == {"discarded": second}
    assert (await client("GET", "/v1/parked", key=key)).json["items"] == []
    assert await world.total(counter) == 5
    gone = await client("POST", f"/v1/parked/{second}/discard", key=key)
    assert (gone.status, gone.json["type"]) == (409, "/problems/message_settled")
    audit = await world.one("select settled_by from parked where id = $1", second)
    assert audit == "api-key:ann"


async def test_an_edit_that_fails_again_is_answered_409_and_leaves_no_trace(client: Client, world: World) -> None:
    """Wherever it fails: its decision raises, the database refuses it, an earlier message fails."""
    key, counter = await client.app.keys.create(STORE, "ann", ["*"]), uuid4()
    await world.take(*(world.from_topic(plus(counter, n, play="boom")) for n in (1, 2)))
    before = await world.rows("select * from parked order by id")
    for stopped_at, row, value in (
        (before[0]["id"], before[0], before[0]["value"].decode()),
        (before[0]["id"], before[0], plus(counter, 5_000).model_dump_json()),
        (before[0]["id"], before[1], plus(counter, 1).model_dump_json()),
    ):
        body = json.dumps({"value": value}).encode()
        answer = await client(
            "POST", f"/v1/parked/{row['id']}/edit", key=key, body=body, content_type="application/json"
        )
        assert (answer.status, answer.json["type"]) == (409, "/problems/replay_stopped"), value
        assert answer.json["stopped_at"] == stopped_at
        assert await world.rows("select * from parked order by id") == before, value
    assert await world.total(counter) is None


async def test_an_edit_that_does_not_fit_its_schema_is_answered_422_with_the_place_and_nothing_is_stored(
    client: Client, world: World
) -> None:
    key, counter = await client.app.keys.create(STORE, "ann", ["*"]), uuid4()
    await world.take(world.from_topic(plus(counter, 1, play="boom")))
    before = await world.rows("select * from parked order by id")
    good = json.loads(before[0]["value"])

    async def edit(value: str) -> list[tuple[str, str]]:
        body = json.dumps({"value": value}).encode()
        path = f"/v1/parked/{before[0]['id']}/edit"
        answer = await client("POST", path, key=key, body=body, content_type="application/json")
        assert (answer.status, answer.json["type"]) == (422, "/problems/request_invalid"), answer.body
        return [(one["where"], one["pointer"]) for one in answer.json["errors"]]

    async def fits(value: str) -> Answer:
        body = json.dumps({"value": value, "dry_run": True}).encode()
        return await client(
            "POST", f"/v1/parked/{before[0]['id']}/edit", key=key, body=body, content_type="application/json"
        )

    assert (await fits(json.dumps(good))).json == {"replayed": 0, "left": 1}
    assert (await fits(json.dumps(good | {"amount": "many"}))).json["errors"][0]["pointer"] == "/amount"
    assert await edit("{") == [("value", "")]
    assert await edit("[]") == [("value", "")]
    wrong = good | {"amount": "many", "wake_at": "soon"}
    assert await edit(json.dumps(wrong)) == [("value", "/amount"), ("value", "/wake_at")]
    del good["store_id"]
    assert await edit(json.dumps(good)) == [("value", "/store_id")]
    assert await world.rows("select * from parked order by id") == before


async def test_a_change_of_a_message_that_has_changed_meanwhile_is_refused_with_its_present_version(
    client: Client, world: World
) -> None:
    """By another person who edited it, or because it failed again: `If-Match` names what was read."""
    key, counter = await client.app.keys.create(STORE, "ann", ["*"]), uuid4()
    await world.take(*(world.from_topic(plus(counter, n, play="boom")) for n in (1, 2)))
    second, first = [row["id"] for row in (await client("GET", "/v1/parked", key=key)).json["items"]]

    async def change(action: str, parked_id: int, **sent: str) -> Answer:
        body = json.dumps({"value": plus(counter, 5).model_dump_json()} if action == "edit" else {}).encode()
        path = f"/v1/parked/{parked_id}/{action}"
        return await client("POST", path, key=key, body=body, content_type="application/json", **sent)

    read = (await client("GET", f"/v1/parked/{first}", key=key)).headers["etag"]
    assert (await client("POST", f"/v1/parked/{first}/replay", key=key)).status == 409
    for action in ("edit", "discard"):
        outdated = await change(action, first, if_match=read)
        assert (outdated.status, outdated.json["type"]) == (412, "/problems/version_outdated"), action
        assert outdated.json["version"] == 2 and outdated.headers["etag"] == '"2"'
    assert (
        await world.total(counter) is None
        and (await client("GET", f"/v1/parked/{first}", key=key)).json["state"] == "waiting"
    )
    assert (await change("edit", first, if_match='"2"')).json["replayed"] == 1
    settled = await change("edit", first, if_match='"2"')
    assert (settled.status, settled.json["type"]) == (412, "/problems/version_outdated"), "edited by another: no 409"
    assert (await change("edit", first)).json["type"] == "/problems/message_settled"
    assert (await change("discard", second, if_match='"1", "2"')).json == {"discarded": second}


async def test_of_two_edits_of_what_both_have_read_one_takes_effect(client: Client, world: World) -> None:
    key, counter = await client.app.keys.create(STORE, "ann", ["*"]), uuid4()
    await world.take(world.from_topic(plus(counter, 1, play="boom")))
    [row] = (await client("GET", "/v1/parked", key=key)).json["items"]

    async def edit(amount: int) -> int:
        body = json.dumps({"value": plus(counter, amount).model_dump_json()}).encode()
        path = f"/v1/parked/{row['id']}/edit"
        return (await client("POST", path, key=key, body=body, content_type="application/json", if_match='"1"')).status

    assert sorted(await asyncio.gather(edit(5), edit(7))) == [200, 412]
    assert await world.total(counter) in (5, 7)


async def test_personal_values_of_a_parked_message_need_a_scope(client: Client, world: World) -> None:
    """A body that does not validate is not shown without it: which of its values are personal is not stated."""
    label, scopes = uuid4(), (["parked.view"], ["parked.view", "personal.view"])
    blind, seeing = [await client.app.keys.create(STORE, "ann", one) for one in scopes]
    stick = Stick(label_id=label, store_id=STORE, operation_id=uuid4(), actor="t", text="x", sender="Ann")
    record = world.record(stick)
    for other in (record, record._replace(offset=record.offset + 1, value=b'{"sender": "Ann"}')):
        await world.take(Rejected(other, label, "bad_body", "no", STORE, stick.TYPE))
    broken, whole = [row["id"] for row in (await client("GET", "/v1/parked", key=blind)).json["items"]]

    async def read(parked_id: int, key: str) -> tuple[bool, Any]:
        shown = (await client("GET", f"/v1/parked/{parked_id}", key=key)).json
        return shown["masked"], shown["value"] and json.loads(shown["value"])

    hidden, body = await read(whole, blind)
    assert hidden and (body["sender"], body["text"]) == ("***", "x")
    assert await read(broken, blind) == (True, None)
    assert (await read(whole, seeing))[1]["sender"] == "Ann"
    assert await read(broken, seeing) == (False, {"sender": "Ann"})


async def test_parked_messages_are_grouped_by_cause_and_line_and_a_group_is_replayed_as_it_was_seen(
    client: Client, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parking, "_OURS", parking._OURS | {"chassis_counter"})
    key, stranger = [await client.app.keys.create(store, "ann", ["*"]) for store in (STORE, "st_2")]
    one, two, bad = uuid4(), uuid4(), uuid4()
    await world.take(*(world.from_topic(plus(one, n, play="boom" if n == 1 else "")) for n in (1, 2, 4)))
    await world.take(world.from_topic(plus(two, 1, play="boom")), world.from_topic(plus(bad, 1, play="half")))
    await world.take(Rejected(world.record(plus(uuid4())), uuid4(), "bad_body", "no", STORE, "counter.add"))

    found = (await client("GET", "/v1/parked-groups", key=key)).json["items"]
    assert [(group["cause"], group["count"], group["keys"], group["behind"]) for group in found] == [
        ("fault", 2, 2, 2), ("bad_body", 1, 1, 0), ("fault", 1, 1, 0),
    ]  # fmt: skip
    line = found[0]["raised_at"]
    assert re.fullmatch(r"chassis_counter:\d+", line) and found[1]["raised_at"] is None
    assert {group["service"] for group in found} == {"counter"} and found[0]["types"] == ["counter.add"]
    assert found[0]["oldest_at"] < found[0]["newest_at"]
    assert (await client("GET", "/v1/parked-groups", key=stranger)).json == {"items": []}
    keys = [one["key"] for one in (await client("GET", "/v1/parked-keys", key=key)).json["items"]]
    assert keys == sorted(keys) and {str(one), str(two), str(bad)} < set(keys)
    first = (await client("GET", "/v1/parked-keys?limit=3", key=key)).json
    rest = (await client("GET", f"/v1/parked-keys?limit=3&cursor={first['next_cursor']}", key=key)).json
    assert [one["key"] for page in (first, rest) for one in page["items"]] == keys and rest["next_cursor"] is None
    assert (await client("GET", "/v1/parked-keys", key=stranger)).json["items"] == []

    await world.take(world.from_topic(plus(uuid4(), 1, play="boom")))
    assert found[1]["detail"] == "no" and found[0]["detail"].startswith("ValueError in our code")
    listed_without = (await client("GET", "/v1/parked?raised_at=", key=key)).json["items"]
    assert {row["cause"] for row in listed_without} == {"bad_body", "waits"}
    listed = f"/v1/parked?cause=fault&raised_at={line}&id_max={found[0]['newest_id']}"
    rows = (await client("GET", listed, key=key)).json["items"][::-1]
    assert [row["key"] for row in rows] == [str(one), str(two)]
    whole = (await client("GET", f"/v1/parked/{rows[0]['id']}", key=key)).json
    assert (whole["raised_at"], whole["behind"]) == (line, 2) and whole["stack"][-1] == f"{line} add"

    async def replay(*ids: int, who: str = key) -> list[tuple[int, str]]:
        body = json.dumps({"ids": ids}).encode()
        answer = await client("POST", "/v1/parked-replays", key=who, body=body, content_type="application/json")
        assert answer.status == 200, answer.body
        return [(item["id"], item["outcome"]) for item in answer.json["items"]]

    first, second = [row["id"] for row in rows]
    behind = (await client("GET", f"/v1/parked?key={one}", key=key)).json["items"][0]["id"]
    assert await replay(first, behind, second, 10**9) == [
        (first, "stopped"), (behind, "stopped"), (second, "stopped"), (10**9, "unknown"),
    ]  # fmt: skip
    assert await replay(first, who=stranger) == [(first, "unknown")]
    await world.do("update parked set value = convert_to(replace(convert_from(value, 'UTF8'), 'boom', ''), 'UTF8') where key = $1", one)  # fmt: skip
    assert await replay(first, behind, second) == [(first, "replayed"), (behind, "replayed"), (second, "stopped")]
    assert await world.total(one) == 7
    assert await replay(first) == [(first, "replayed")]


PARKED_MANY = """
insert into parked (key, store_id, type, topic, partition, "offset", record_key, headers, value, fingerprint, cause, detail, raised_at)
select gen_random_uuid(), $1, 'counter.' || n % 3, 'many', 0, n, '', '[]', convert_to(repeat(md5(n::text), 40), 'UTF8'), '',
  case when n % 4 > 0 then 'fault' else 'bad_body' end, 'no', case when n % 4 = 0 then 'counter:' || n % 5 end
from generate_series(1, 20000) as n"""


async def test_groups_and_the_list_of_one_are_read_from_indexes_however_many_messages_wait(
    client: Client, world: World
) -> None:
    key = await client.app.keys.create(STORE, "ann", ["*"])
    await world.do(PARKED_MANY, STORE)
    await world.do("vacuum analyze parked")
    groups = (await client("GET", "/v1/parked-groups", key=key)).json["items"]
    assert [(one["cause"], one["count"], one["or_more"], one["keys"]) for one in groups] == [
        ("fault", 10_000, True, 10_000), *([("bad_body", 1_000, False, 1_000)] * 5),
    ]  # fmt: skip
    assert all(one["types"] == ["counter.0", "counter.1", "counter.2"] for one in groups)
    assert await indexes_of(world, GROUPS, STORE) == {"parked_groups", "parked_waiting", "parked_pkey"}
    assert await rows_read(world, GROUPS, STORE) < 10_001 + 5 * 1_000 + 100, (
        "the others of the largest group are not read"
    )
    filters = {"cause": "bad_body", "raised_at": groups[1]["raised_at"], "store_id": STORE}
    statement, values = work.listed("waiting", filters, 10**12, 50)
    assert await indexes_of(world, statement, *values) == {"parked_groups"}
    listed = (
        await client("GET", f"/v1/parked?cause=bad_body&raised_at={groups[1]['raised_at']}&limit=500", key=key)
    ).json
    assert len(listed["items"]) == 500 and {one["raised_at"] for one in listed["items"]} == {groups[1]["raised_at"]}


async def indexes_of(world: World, statement: str, *values: Any) -> set[str]:
    """Returns the indexes that a plan uses; fails if it scans a table."""
    nodes = await scans_of(world, f"explain (format json) {statement}", *values)
    assert all(node["Node Type"] != "Seq Scan" for node in nodes), nodes
    return {node["Index Name"] for node in nodes if "Index Name" in node}


async def rows_read(world: World, statement: str, *values: Any) -> int:
    """Returns how many rows of `parked` a statement reads."""
    nodes = await scans_of(world, f"explain (analyze, format json) {statement}", *values)
    return sum(
        int((node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]) for node in nodes
    )


async def scans_of(world: World, explained: str, *values: Any) -> list[Any]:
    """Returns the nodes of a plan that read `parked`."""
    plan = await world.one(explained, *values)
    nodes, found = [plan[0]["Plan"]], []
    while nodes:
        node = nodes.pop()
        found += [node] if node.get("Relation Name") == "parked" else []
        nodes += node.get("Plans", ())
    return found


async def test_what_a_tenant_sees_of_a_fault_is_no_traceback_no_driver_and_no_sql(client: Client, world: World) -> None:
    key = await client.app.keys.create(STORE, "ann", ["*"])
    await world.take(world.from_topic(plus(uuid4(), 1, play="boom")), world.from_topic(plus(uuid4(), 5_000)))
    rows = (await client("GET", "/v1/parked", key=key)).json["items"]
    seen = [await client("GET", f"/v1/parked/{row['id']}", key=key) for row in rows]
    seen += [await client("POST", f"/v1/parked/{row['id']}/replay", key=key) for row in rows]
    assert [answer.status for answer in seen] == [200, 200, 409, 409]
    for answer in seen:
        assert "the log of the service has the cause" in answer.json["detail"]
        for leak in (
            b"Traceback",
            b"File ",
            b"does not know this",
            b"asyncpg",
            b"CheckViolation",
            b"counters_below_1000",
            b"insert",
        ):
            assert leak not in answer.body, leak


async def test_parked_messages_are_discarded_in_bulk_by_filter_with_a_reason_that_is_shown(
    client: Client, world: World
) -> None:
    key, stranger = [await client.app.keys.create(store, "ann", ["*"]) for store in (STORE, "st_2")]
    bad, worse, good = uuid4(), uuid4(), uuid4()
    await world.take(*(world.from_topic(plus(one, 1, play="boom")) for one in (bad, bad, worse)))
    await world.take(Rejected(world.record(plus(good)), good, "bad_body", "no", STORE))

    async def discard(who: str, **chosen: Any) -> Answer:
        body = json.dumps(chosen, default=str).encode()
        return await client("POST", "/v1/parked-discards", key=who, body=body, content_type="application/json")

    assert (await discard(key, cause="fault")).status == 422  # why?
    assert (await discard(key, reason="all of it")).json["type"] == "/problems/filter_missing"
    assert (await discard(stranger, reason="not mine", cause="fault")).json["discarded"] == 0
    assert (await discard(key, reason="test data", key=bad)).json == {"discarded": 2, "more": False}
    assert (await discard(key, reason="test data", cause="fault", key=good)).json["discarded"] == 0
    waiting = (await client("GET", "/v1/parked", key=key)).json["items"][::-1]
    assert [row["key"] for row in waiting] == [str(worse), str(good)]
    ids = [row["id"] for row in waiting]
    assert (await discard(key, reason="test data", ids=ids[:1])).json["discarded"] == 1
    body = b'{"reason": "sent anew"}'
    one = await client("POST", f"/v1/parked/{ids[1]}/discard", key=key, body=body, content_type="application/json")
    assert one.status == 200
    assert await world.one("select count(*) from parked_keys") == 0
    gone = (await client("GET", "/v1/parked?state=discarded", key=key)).json["items"]
    assert [row["reason"] for row in gone] == ["sent anew", "test data", "test data", "test data"]
    assert {row["settled_by"] for row in gone} == {"api-key:ann"}
    assert (await client("GET", f"/v1/parked/{ids[1]}", key=key)).json["reason"] == "sent anew"


async def test_what_waits_behind_discarded_messages_is_retried_at_once(client: Client, world: World) -> None:
    key, counter = await client.app.keys.create(STORE, "ann", ["*"]), uuid4()
    await world.take(*(world.from_topic(plus(counter, n, play="boom" if n == 1 else "")) for n in (1, 2, 4)))
    body = b'{"reason": "test data", "cause": "fault"}'
    assert (await client("POST", "/v1/parked-discards", key=key, body=body, content_type="application/json")).json[
        "discarded"
    ] == 1
    assert await client.app.replays.retry_due()
    assert await world.total(counter) == 6


@pytest.mark.parametrize(("days", "cause"), [(-30, "too_old"), (3, "from_the_future")])
async def test_what_was_parked_for_its_time_is_judged_anew_when_it_is_replayed(
    client: Client, world: World, days: int, cause: str
) -> None:
    """Rejected again while its time is out of range, by a replay and by an edit; handled once it is in range."""
    key, counter = await client.app.keys.create(STORE, "ann", ["*"]), uuid4()
    wrong, right = world.record(plus(counter, 5)), world.record(plus(counter, 7))
    moved = (datetime.now(UTC) + timedelta(days=days)).isoformat().encode()
    wrong = wrong._replace(headers=[(name, moved if name == "ce_time" else value) for name, value in wrong.headers])
    await world.take(*(Rejected(record, None, cause, "by a wrong clock", STORE) for record in (wrong, right)))
    second, first = (await client("GET", "/v1/parked", key=key)).json["items"]
    for action, body in (("replay", b""), ("edit", json.dumps({"value": "{}"}).encode())):
        url = f"/v1/parked/{first['id']}/{action}"
        answer = await client("POST", url, key=key, body=body, content_type="application/json")
        assert (answer.status, answer.json["type"]) == (409, "/problems/message_unreplayable"), action
    assert (await client("POST", f"/v1/parked/{second['id']}/replay", key=key)).json == {"replayed": 1, "left": 0}
    assert await world.total(counter) == 7
    left = (await client("GET", "/v1/parked", key=key)).json["items"]
    assert [(row["id"], row["cause"]) for row in left] == [(first["id"], cause)]


async def test_a_message_that_blocks_nobody_is_not_replayed_past_a_parked_one_of_its_order(
    client: Client, world: World
) -> None:
    key, counter = await client.app.keys.create(STORE, "ann", ["*"]), uuid4()
    await world.take(Rejected(world.record(plus(counter, 5)), None, "too_old", "by a wrong clock", STORE))
    await world.take(world.from_topic(plus(counter, 1, play="boom")))
    row = (await client("GET", "/v1/parked", key=key)).json["items"][0]
    answer = await client("POST", f"/v1/parked/{row['id']}/replay", key=key)
    assert (answer.status, answer.json["type"], answer.json["stopped_at"]) == (
        409,
        "/problems/replay_stopped",
        row["id"],
    )
    assert await world.total(counter) is None


async def test_a_request_about_parked_messages_that_comes_twice_has_one_effect_and_one_answer(
    client: Client, world: World
) -> None:
    key = await client.app.keys.create(STORE, "ann", ["*"])
    keys = [uuid4() for _ in range(4)]
    await world.take(*(world.from_topic(plus(one, 1, play="boom")) for one in keys))
    rows = await world.rows("select * from parked order by id")
    mended = {"value": rows[0]["value"].decode().replace("boom", "")}
    parked_id, other, third, fourth = (row["id"] for row in rows)

    async def send(path: str, body: dict[str, Any], name: str) -> Answer:
        sent = json.dumps(body).encode()
        return await client("POST", path, key=key, body=sent, content_type="application/json", idempotency_key=name)

    for path, body, another in (
        (f"/v1/parked/{parked_id}/edit", mended, {"value": "{}"}),
        (f"/v1/parked/{other}/discard", {"reason": "a test"}, {"reason": "another"}),
        ("/v1/parked-replays", {"ids": [third]}, {"ids": [fourth]}),
        ("/v1/parked-discards", {"cause": "fault", "reason": "a test"}, {"cause": "fault", "reason": "another"}),
    ):
        first = await send(path, body, path)
        settled = await world.rows("select id, state, version from parked order by id")
        await world.take(world.from_topic(plus(uuid4(), 1, play="boom")))
        again = await send(path, body, path)
        assert (first.status, first.body) == (again.status, again.body) == (200, first.body), path
        assert again.headers["idempotency-replayed"] == "true" and "idempotency-replayed" not in first.headers
        assert (await world.rows("select id, state, version from parked order by id"))[: len(settled)] == settled
        other_body = await send(path, another, path)
        assert (other_body.status, other_body.json["type"]) == (409, "/problems/idempotency_key_reused"), path
    assert await world.total(keys[0]) == 1


async def test_a_refused_replay_leaves_its_key_free(client: Client, world: World) -> None:
    """What stopped it may be fixed by then."""
    key, counter = await client.app.keys.create(STORE, "ann", ["*"]), uuid4()
    await world.take(world.from_topic(plus(counter, 1, play="boom")))
    [row] = await world.rows("select id from parked")
    path = f"/v1/parked/{row['id']}/replay"
    for _ in range(2):
        stopped = await client("POST", path, key=key, idempotency_key="one")
        assert (stopped.status, stopped.json["type"]) == (409, "/problems/replay_stopped")
    assert await world.one("select version from parked where id = $1", row["id"]) == 3
