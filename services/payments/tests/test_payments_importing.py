"""Reports over HTTP and by the command: about a gateway that the store has."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from uuid import uuid4

import pytest
from payments_database import URL
from payments_gateways import STORE
from payments_world import World, world
from test_payments_statements import camt

from contracts.payments import RECORDED
from payments.importing import IMPORT, why_no_report
from tests.future_orders import future_order

pytestmark = [pytest.mark.real, pytest.mark.skipif(not URL, reason="PAYMENTS_TEST_DATABASE_URL is not set")]
__all__ = ["world"]


async def test_a_report_about_a_gateway_that_the_store_does_not_have_is_refused(world: World, tmp_path: Path) -> None:
    report = {"format": "camt053", "content": camt("", closing="1000.00").decode()}
    for gateway in ("manaul", "strpe", "dintero", "till"):
        status, problem = await world.send("/v1/settlements", report | {"gateway": gateway})
        assert (status, problem["type"]) == (404, "/problems/gateway_unknown") and gateway in problem["detail"]
    file = tmp_path / "report.xml"
    file.write_bytes(camt("", closing="1000.00"))
    stated = {
        "store": STORE,
        "file": file,
        "format": "camt053",
        "mapping": None,
        "statement_id": "",
        "account": "",
        "payout_minor": None,
    }
    with pytest.raises(ValueError, match=r"gateway_unknown: .*'manaul'"):
        await IMPORT.run(world.app, Namespace(**stated, gateway="manaul"))
    assert await world.app.fetch("select from settlements") == []
    for gateway in ("manual", "marketplace", "stripe"):
        status, done = await world.send("/v1/settlements", report | {"gateway": gateway})
        assert (status, done["statements"][0]["code"]) == (200, "")
    [line] = await IMPORT.run(world.app, Namespace(**stated, gateway="manual"))
    assert "statement_repeated" in line or "statement_differs" in line


async def test_what_was_recorded_has_reports(world: World) -> None:
    assert await why_no_report(world.app, STORE, RECORDED) is not None
    order = future_order(STORE)
    sold = {
        "origin": order.origin, "payment_id": uuid4().hex, "gateway": "till", "currency": "EUR", "captured": True,
        "lines": [{"line_id": "1", "quantity": 1, "amount_minor": 500}],
    }  # fmt: skip
    status, booked = await world.send(f"/v1/orders/{order.id}/payments/authorizations", sold)
    assert status == 200, booked
    assert await why_no_report(world.app, STORE, RECORDED) is None
    assert await why_no_report(world.app, "st_other", RECORDED) is not None
