"""The statements of the demo's bank, and how they reach payments; and how the buyers who pay by card pay an edit."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, cast
from uuid import UUID

import aiohttp
import pytest
from aiohttp import web

from demo import bank
from demo.bank import MAPPING, Bank, Transfer, statement
from demo.buyers import Buyers
from devservices.errors import DevservicesError
from gatewayservers.serving import listening
from payments.statements.mapped import Mapping, read
from system.installation import Installation

KEY, OPERATION = UUID(int=7), UUID(int=8)
NOWHERE = cast(Installation, None)


def test_payments_reads_each_transfer_and_the_balances() -> None:
    transfers = [Transfer("536365", 139_12), Transfer("A, B", -5), Transfer("536366-2", -200_00)]
    content = statement(date(2026, 11, 30), transfers, 100).encode()
    [found] = read(content, Mapping.model_validate(MAPPING), statement_id="1", account="demo")
    assert [(one.kind, one.gross_minor, one.references) for one in found.rows] == [
        ("transfer", 139_12, ("536365",)), ("transfer", -5, ("A, B",)), ("transfer", -200_00, ("536366-2",)),
    ]  # fmt: skip
    assert (found.opening_minor, found.closing_minor, [*found.unreadable]) == (100, 100 + 139_12 - 5 - 200_00, [])


async def test_a_statement_is_sent_until_it_is_answered_and_the_next_one_follows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bank, "PAUSE_SECONDS", 0)
    got = await sent_to([503, 201, 200], [[Transfer("1", 500)], [Transfer("2", -100), Transfer("3", 1)]])
    assert [(one["statement_id"], one["content"].splitlines()[-1].partition(",")[2]) for one in got] == [
        ("1", "1,5.00,5.00"), ("1", "1,5.00,5.00"), ("2", "3,0.01,4.01"),
    ]  # fmt: skip


async def test_a_refused_statement_ends_the_demo() -> None:
    with pytest.raises(DevservicesError, match="refused a bank statement: no"):
        await sent_to([422], [[Transfer("1", 500)]])


async def sent_to(statuses: list[int], batches: Sequence[Sequence[Transfer]]) -> list[dict[str, Any]]:
    """Returns the reports that payments got, which answers with these statuses."""
    got: list[dict[str, Any]] = []

    async def answered(request: web.Request) -> web.Response:
        got.append(await request.json())
        return web.Response(status=statuses[len(got) - 1], text="no")

    app = web.Application()
    app.router.add_post("/v1/settlements", answered)
    async with listening(app) as url, aiohttp.ClientSession(url) as client:
        one = Bank(NOWHERE)
        for transfers in batches:
            await one._import(client, transfers)
    return got


ACTION = {"kind": "pay", "client_secret": "pi_1_secret_x"}
OF_AN_EDIT = [(409, {"type": "operation_closed"}), (200, ACTION)]
OF_A_SESSION = [(200, {"state": "open", "action": None}), (200, {"state": "open", "action": ACTION})]


@pytest.mark.parametrize(
    ("kind", "path", "answers"),
    [
        ("authorize", f"/v1/payments/{KEY}/operations/{OPERATION}/action", OF_AN_EDIT),
        ("prepay", f"/v1/payment-sessions/{OPERATION}", OF_A_SESSION),
    ],
)
async def test_a_buyer_pays_what_the_action_names_once_there_is_one(kind: str, path: str, answers: list[Any]) -> None:
    left, paid = [*answers], list[str]()

    async def action(request: web.Request) -> web.Response:
        status, body = left.pop(0)
        return web.json_response(body, status=status)

    async def confirm(request: web.Request) -> web.Response:
        paid.append(request.match_info["id"])
        return web.json_response({})

    app = web.Application()
    app.router.add_get(path, action)
    app.router.add_post("/buyers/{id}/confirm", confirm)
    async with listening(app) as url, aiohttp.ClientSession(url) as client:
        buyers, row = Buyers(NOWHERE, url), {"order_id": KEY, "operation_id": OPERATION, "kind": kind}
        await buyers._pay(client, client, row)
        assert (paid, buyers.paid) == ([], set()), "the gateway does not wait for the buyer yet"
        await buyers._pay(client, client, row)
    assert (paid, buyers.paid) == (["pi_1"], {OPERATION})
