"""Stock and shipments over HTTP, on a real PostgreSQL."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from fulfillment_database import REAL, audit, together
from fulfillment_play import STORE, cancel, count, extend, reduce, reserve, restock, resume, start, suspend, uid

from chassis.process.app import App
from contracts.snapshot import Address
from tests.asgi import asgi_of, asked

pytestmark = REAL


class Client:
    """Speaks ASGI to the service with a key of one store."""

    def __init__(self, app: App, key: str) -> None:
        self.asgi, self.key = asgi_of(app), key

    async def __call__(
        self, method: str, path: str, body: Any = None, if_match: str = "", **query: Any
    ) -> tuple[int, Any]:
        headers = [(b"authorization", f"Bearer {self.key}".encode()), (b"content-type", b"application/json")]
        headers += [(b"if-match", if_match.encode())] if if_match else []
        return await asked(self.asgi, method, path, headers, body, urlencode(query))


async def client(app: App, *scopes: str, store: str = STORE) -> Client:
    return Client(app, await app.keys.create(store, "test", scopes or ("*",)))


async def test_stock_is_counted_and_read_also_under_an_sku_with_slashes(app: App) -> None:
    call = await client(app)
    row = {"location": "main", "sku": "A/B c", "on_hand": 7, "reserved": 0, "available": 7, "version": 1}
    assert await call("PUT", "/v1/stock/main/A/B c", {"on_hand": 7}) == (200, row)
    assert await call("GET", "/v1/stock/main/A/B c") == (200, row)
    assert (await call("GET", "/v1/stock/main/other"))[0] == 404
    assert (await (await client(app, store="st_2"))("GET", "/v1/stock/main/A/B c"))[0] == 404


async def test_a_count_is_set_only_at_the_version_that_if_match_names(app: App) -> None:
    """The version counts the changes of the count; what orders reserve does not change it."""
    call = await client(app)
    path = "/v1/stock/main/V"
    for precondition in ("*", '"1"'):
        assert (await call("PUT", path, {"on_hand": 7}, if_match=precondition))[0] == 412
    assert (await call("GET", path))[0] == 404
    assert [(await call("PUT", path, {"on_hand": n}))[1]["version"] for n in (7, 8)] == [1, 2]
    await together(app.shell, reserve("v1", ("V", 2)))
    status, problem = await call("PUT", path, {"on_hand": 9}, if_match='"1"')
    assert (status, problem["type"], problem["version"]) == (412, "/problems/version_outdated", 2)
    status, row = await call("PUT", path, {"on_hand": 9}, if_match='"2"')
    assert (status, row["on_hand"], row["version"]) == (200, 9, 3)
    [listed] = (await call("GET", "/v1/stock"))[1]["items"]
    assert listed == (await call("GET", path))[1] == row | {"reserved": 2, "available": 7}


async def test_a_thousand_counts_come_in_one_request_and_each_refusal_is_named(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("held", 5), reserve("r1", ("held", 2)))
    items = [{"location": "main", "sku": f"Q{n}", "on_hand": n} for n in range(999)]
    status, said = await call(
        "PUT", "/v1/stock", {"items": [*items, {"location": "main", "sku": "held", "on_hand": 1}]}
    )
    assert (status, said["set"], [no["code"] for no in said["refused"]]) == (200, 999, ["stock_reserved"])
    seen: list[str] = []
    cursor: dict[str, str] = {}
    while len(seen) < 1_000:
        _, page = await call("GET", "/v1/stock", limit=300, **cursor)
        seen += [item["sku"] for item in page["items"]]
        cursor = {"cursor": page["next_cursor"]}
    assert len(set(seen)) == 1_000
    assert seen == sorted(seen)
    assert (await call("PUT", "/v1/stock", {"items": items[:1] * 2}))[0] == 422


async def test_the_fulfillments_of_a_store_are_listed_newest_first_each_once_with_totals_and_version(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("A", 50))
    for n in range(5):
        await together(app.shell, reserve(f"r{n}", ("A", 1 + n), order=f"o{n}"))
    seen: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while not seen or cursor["cursor"]:
        _, page = await call("GET", "/v1/fulfillments", limit=2, **cursor)
        seen += page["items"]
        cursor = {"cursor": page["next_cursor"]}
        await together(app.shell, reserve(f"later {len(seen)}", ("A", 1), order=f"later {len(seen)}"))
    assert [(one["status"], one["totals"]) for one in seen] == [
        ("reserved", {"reserved": n, "shipped": 0}) for n in (5, 4, 3, 2, 1)
    ]
    for one in seen:
        _, whole = await call("GET", f"/v1/fulfillments/{one['order_id']}")
        assert {name: whole[name] for name in ("order_id", "version", "status", "totals")} == {
            name: one[name] for name in ("order_id", "version", "status", "totals")
        }
    stranger = await client(app, store="st_other")
    assert (await stranger("GET", "/v1/fulfillments"))[1]["items"] == []


async def test_a_shipment_is_shipped_and_delivered_once(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    _, page = await call("GET", "/v1/shipments", status="picking")
    (shipment,) = page["items"]
    path = f"/v1/shipments/{shipment['shipment_id']}"
    status, problem = await call("POST", f"{path}/deliver")
    assert (status, problem["type"]) == (409, "/problems/shipment_not_shipped")
    for carrier in ("DHL", "UPS"):  # the second message has another carrier
        status, said = await call("POST", f"{path}/ship", {"carrier": carrier, "tracking_number": "T1"})
        assert (status, said["status"], said["carrier"], said["tracking_number"]) == (200, "shipped", "DHL", "T1")
    for _ in range(2):
        status, said = await call("POST", f"{path}/deliver")
        assert (status, said["status"]) == (200, "delivered")
    _, kept = await call("GET", path)
    assert kept["shipped_at"] and kept["delivered_at"] and kept["lines"] == said["lines"]
    _, order = await call("GET", f"/v1/fulfillments/{shipment['order_id']}")
    assert (order["status"], order["totals"]) == ("fulfilled", {"reserved": 0, "shipped": 2})
    await audit(app)


async def test_the_warehouse_sees_where_a_shipment_goes_and_a_changed_address(app: App) -> None:
    call = await client(app)
    paris, lyon = ({"line1": "1 Way", "city": city, "country": "FR"} for city in ("Paris", "Lyon"))
    await together(app.shell, count("A", 5), reserve("r1", ("A", 2)), start("s1", to=Address.model_validate(paris)))
    for stated in (paris, lyon):
        _, page = await call("GET", "/v1/shipments", status="picking")
        (shipment,) = page["items"]
        assert {name: value for name, value in shipment["ship_to"].items() if value is not None} == stated
        _, alone = await call("GET", f"/v1/shipments/{shipment['shipment_id']}")
        assert alone["ship_to"] == shipment["ship_to"]
        await together(app.shell, start("s2", to=Address.model_validate(lyon)))
    await audit(app)


async def test_a_cancelled_shipment_is_not_sent(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("A", 5), reserve("r1", ("A", 2)), start("s1"), cancel("c1"))
    _, page = await call("GET", "/v1/shipments", status="cancelled")
    status, problem = await call("POST", f"/v1/shipments/{page['items'][0]['shipment_id']}/ship")
    assert (status, problem["type"]) == (409, "/problems/shipment_cancelled")


async def test_a_shipment_on_hold_is_listed_as_such_and_does_not_ship(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("A", 5), reserve("r1", ("A", 2)), start("s1"), suspend("h1"))
    assert (await call("GET", "/v1/shipments", status="picking"))[1]["items"] == []
    (shipment,) = (await call("GET", "/v1/shipments", status="on_hold"))[1]["items"]
    path = f"/v1/shipments/{shipment['shipment_id']}"
    status, problem = await call("POST", f"{path}/ship")
    _, order = await call("GET", f"/v1/fulfillments/{shipment['order_id']}")
    (suspension,) = order["suspensions"]
    assert (status, problem["type"]) == (409, "/problems/shipment_on_hold")
    assert suspension["since"][:19] in problem["detail"]
    assert suspension["suspension_id"] == str(uid("h1"))
    await together(app.shell, resume("h2", "h1"))
    status, said = await call("POST", f"{path}/ship")
    assert (status, said["status"]) == (200, "shipped")
    await audit(app)


async def test_what_was_added_is_shown_with_what_was_there_and_restocked_pieces_are_stated(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("A", 9), reserve("r1", ("A", 2)), start("s1"))
    await together(app.shell, extend("e1", ("1", "A", 3)))
    (shipment,) = (await call("GET", "/v1/shipments"))[1]["items"]
    assert [line["quantity"] for line in shipment["lines"]] == [5]
    _, shipped = await call("POST", f"/v1/shipments/{shipment['shipment_id']}/ship")
    assert shipped["lines"] == shipment["lines"]
    await together(app.shell, restock("b1", ("1", 4)))
    _, order = await call("GET", f"/v1/fulfillments/{shipment['order_id']}")
    assert (order["totals"], [line["quantity"] for line in order["restocked"]]) == ({"reserved": 0, "shipped": 5}, [4])
    assert (await call("GET", "/v1/stock/main/A"))[1]["on_hand"] == 8
    await audit(app)


async def test_an_emptied_shipment_is_refused_also_when_the_document_has_no_room_for_it(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("A", 5), reserve("r1", ("A", 2)), start("s1"), reduce("d1", ("1", 2)))
    (shipment,) = (await call("GET", "/v1/shipments", status="cancelled"))[1]["items"]
    for action in ("ship", "deliver"):
        status, problem = await call("POST", f"/v1/shipments/{shipment['shipment_id']}/{action}")
        assert (status, problem["type"]) == (409, "/problems/shipment_cancelled")
    await audit(app)


async def test_a_key_without_the_scope_and_a_key_of_another_store_see_and_move_nothing(app: App) -> None:
    await together(app.shell, count("A", 5), reserve("r1", ("A", 2)), start("s1"))
    _, page = await (await client(app))("GET", "/v1/shipments")
    path = f"/v1/shipments/{page['items'][0]['shipment_id']}"
    viewer, stranger = await client(app, "fulfillment.view"), await client(app, store="st_2")
    assert (await viewer("POST", f"{path}/ship"))[0] == 403
    assert (await viewer("PUT", "/v1/stock/main/A", {"on_hand": 9}))[0] == 403
    assert (await stranger("POST", f"{path}/ship"))[0] == (await stranger("GET", path))[0] == 404
    assert (
        (await stranger("GET", "/v1/shipments"))[1]["items"] == (await stranger("GET", "/v1/stock"))[1]["items"] == []
    )


async def test_a_cursor_of_another_list_is_refused(app: App) -> None:
    call = await client(app)
    await together(app.shell, count("A", 5), count("B", 5))
    _, page = await call("GET", "/v1/stock", limit=1)
    assert (await call("GET", "/v1/shipments", cursor=page["next_cursor"]))[0] == 400
