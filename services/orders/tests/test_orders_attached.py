"""What people attach to an order over HTTP: notes, tags, metadata, a reference, the archive."""

from __future__ import annotations

from uuid import uuid4

from orders_database import REAL, Client, execute, handle, inbound, place

from chassis.process.app import App
from contracts.orders import AddNote
from orders.handlers import SERVICE

pytestmark = REAL


async def count(app: App, table: str) -> int:
    async with app.database.connection() as connection:
        found: int = await connection.fetchval(f"select count(*) from {table}")
        return found


async def test_notes_are_added_once_and_paged_newest_first(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    key, other = await place(app, 2, "a")
    path = f"/v1/orders/{key}/notes"
    status, first = await call("POST", path, {"text": "call back", "author": "Ann"}, idempotency_key="n-1")
    assert (status, first["note_count"]) == (201, 1)
    assert await call("POST", path, {"text": "call back", "author": "Ann"}, idempotency_key="n-1") == (201, first)
    for n in range(2, 24):
        assert (await call("POST", path, {"text": f"{n}", "audience": "customer"}))[0] == 201
    _, shown = await call("GET", f"/v1/orders/{key}")
    assert (shown["note_count"], [one["number"] for one in shown["notes"]]) == (23, [*range(23, 3, -1)])
    seen, cursor = [], ""
    while cursor is not None:
        _, page = await call("GET", path, query="limit=10" + (f"&cursor={cursor}" if cursor else ""))
        seen, cursor = seen + page["items"], page["next_cursor"]
    assert [one["number"] for one in seen] == [*range(23, 0, -1)]
    last = seen[-1]
    assert (last["note_id"], last["text"], last["author"], last["actor"], last["audience"]) == (
        first["note_id"], "call back", "Ann", "api-key:desk", "internal",
    )  # fmt: skip
    _, page = await call("GET", path, query="limit=1")
    assert (await call("GET", f"/v1/orders/{other}/notes", query=f"cursor={page['next_cursor']}"))[0] == 400
    assert await call("GET", f"/v1/orders/{other}/notes") == (200, {"items": [], "next_cursor": None})
    assert await count(app, "notes") == 23


async def test_a_repeated_operation_on_the_topic_adds_one_note(app: App) -> None:
    (key,) = await place(app, 1, "a")
    asked = AddNote(order_id=key, store_id="a", operation_id=uuid4(), actor="erp", text="call back")
    await handle(app, inbound(asked, key, "a"))
    await handle(app, inbound(asked, key, "a"), inbound(asked, key, "a"))
    assert await count(app, "notes") == 1


async def test_tags_metadata_reference_and_archive_are_searched_and_shown(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    key, other = await place(app, 2, "a")
    path = f"/v1/orders/{key}"
    assert (await call("POST", f"{path}/tags", {"add": ["null", "vip", "a:b"]}))[1]["tags"] == ["a:b", "null", "vip"]
    assert (await call("PUT", f"{path}/reference", {"reference": 'ERP 7 \u00e4"{}'}))[0] == 200
    assert (await call("PATCH", f"{path}/metadata", {"erp": {"id": 7}, "gone": 1}))[0] == 200
    status, shown = await call("PATCH", f"{path}/metadata", {"gone": None, "price": 1.1})
    assert (status, shown["metadata"]) == (200, {"erp": {"id": 7}, "price": 1.1})
    assert (await call("PUT", f"{path}/metadata", {"x": "y" * 16_400}))[0] == 422
    assert (await call("PUT", f"{path}/metadata", [1]))[0] == 422
    link = {"name": "Claim", "url": "https://a.example/1.pdf"}
    status, shown = await call("POST", f"{path}/attachments", link)
    assert (status, shown["attachment_count"]) == (201, 1)
    assert (await call("POST", f"{path}/attachments", {**link, "url": "javascript:alert(1)"}))[0] == 422
    _, read = await call("GET", path)
    assert read["metadata"] == {"erp": {"id": 7}, "price": 1.1} and read["tags"] == ["a:b", "null", "vip"]
    assert [(one["name"], one["url"]) for one in read["attachments"]] == [("Claim", "https://a.example/1.pdf")]
    async with app.database.connection() as connection:
        rows = await connection.fetch("select key, tags, reference from orders where tags @> '{null}'::text[]")
        assert rows == []  # an element that is null is equal to nothing
        rows = await connection.fetch("select key, tags, reference from orders where tags @> array['null', 'vip']")
    assert [(one["key"], one["tags"], one["reference"]) for one in rows] == [
        (key, ["a:b", "null", "vip"], 'ERP 7 \u00e4"{}')
    ]
    status, shown = await call("POST", f"{path}/archive")
    assert status == 200 and shown["archived_at"] and shown["status"] == read["status"]
    assert (await call("POST", f"{path}/archive"))[1]["archived_at"] == shown["archived_at"]

    async def listed(query: str) -> list[str]:
        return [one["order_id"] for one in (await call("GET", "/v1/orders", query=query))[1]["items"]]

    assert await listed("") == [str(other)] and await listed("archived=true") == [str(key)]
    assert await listed(f"external_order_id={read['external_order_id']}") == [str(key)]
    assert await listed("archived=false&waiting=answer") == [str(other)] and len(await listed("waiting=answer")) == 2
    assert (await call("POST", f"{path}/unarchive"))[0] == 200 and len(await listed("")) == 2


async def test_metadata_of_other_changes_is_not_written_again(app: App) -> None:
    """It is a part of the row of its own: PostgreSQL keeps the stored value while other columns change."""
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    (key,) = await place(app, 1, "a")
    noise = "".join(chr(33 + hash((n, "x")) % 90) for n in range(15_000)).replace('"', "'").replace("\\", "/")
    assert (await call("PUT", f"/v1/orders/{key}/metadata", {"noise": noise}))[0] == 200

    async def stored() -> list[int]:
        async with app.database.connection() as connection:
            toast = await connection.fetchval(
                "select reltoastrelid::regclass::text from pg_class where relname = 'orders'"
            )
            return [
                row["chunk_id"] for row in await connection.fetch(f"select distinct chunk_id from {toast} order by 1")
            ]

    before = await stored()
    for n in range(3):
        assert (await call("POST", f"/v1/orders/{key}/notes", {"text": f"{n}"}))[0] == 201
    assert before and await stored() == before
    assert (await call("GET", f"/v1/orders/{key}"))[1]["metadata"] == {"noise": noise}


async def test_another_store_attaches_and_reads_nothing(app: App) -> None:
    (key,) = await place(app, 1, "a")
    mine, theirs = [Client(app, await app.keys.create(name, "desk", ["*"])) for name in ("a", "b")]
    assert (await mine("POST", f"/v1/orders/{key}/notes", {"text": "secret"}))[0] == 201
    path, link = f"/v1/orders/{key}", {"name": "Claim", "url": "https://a.example/1.pdf"}
    for method, below, body in (
        ("POST", "archive", None), ("POST", "unarchive", None), ("POST", "notes", {"text": "x"}), ("POST", "tags", {"add": ["x"]}),
        ("PATCH", "metadata", {"x": 1}), ("PUT", "metadata", {"x": 1}), ("POST", "attachments", link),
        ("PUT", "reference", {"reference": "x"}), ("GET", "notes", None), ("GET", "attachments", None),
    ):  # fmt: skip
        assert (await theirs(method, f"{path}/{below}", body))[0] == 404, below
    _, shown = await mine("GET", path)
    assert (shown["note_count"], shown["tags"], shown["metadata"], shown["archived_at"]) == (1, [], {}, None)


async def test_a_key_that_may_only_view_attaches_nothing(app: App) -> None:
    (key,) = await place(app, 1, "a")
    call = Client(app, await app.keys.create("a", "viewer", ["orders.view"]))
    assert (await call("POST", f"/v1/orders/{key}/notes", {"text": "x"}))[0] == 403
    assert (await call("GET", f"/v1/orders/{key}/notes"))[0] == 200


async def test_the_checker_finds_a_note_that_is_missing(app: App) -> None:
    call = Client(app, await app.keys.create("a", "desk", ["*"]))
    (key,) = await place(app, 1, "a")
    assert (await call("POST", f"/v1/orders/{key}/notes", {"text": "x"}))[0] == 201

    async def violated() -> dict[str, int]:
        async with app.database.connection() as connection:
            return {name: wrong for name, made, wrong in await SERVICE.check(connection) if wrong}  # type: ignore[misc]

    assert await violated() == {}
    await execute(app, "delete from notes")
    assert await violated() == {"orders.notes_and_attachments_are_all_there": 1}
