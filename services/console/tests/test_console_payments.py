"""Pages of payments: accounts, statements, rows that a person explains, differences, the books of an order; needs
`CONSOLE_TEST_DATABASE_URL`.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from html import unescape
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from console_forms import Parsed
from console_owners import REAL, TABLES, Owner, checked, page, serving
from console_world import NOW, Browser, Life, Publisher, emptied
from payments_owner import (
    CARD,
    DIFFERENCE,
    SETTLEMENT,
    books,
    card,
    difference,
    dispute,
    document,
    ledger,
    movement,
    operation,
    payment_session,
    payments,
    row,
)

from chassis.process.app import App
from console.domain.payments import AMOUNT, explanation_of, import_of, minor_of, record_of
from contracts import orders

ORDER = UUID(int=9)


class TestWhatIsRequested:
    def test_an_amount_has_the_decimals_of_its_currency(self) -> None:
        assert [minor_of("12.5", "EUR"), minor_of(" 7 ", "JPY"), minor_of("0.001", "TND")] == [12_50, 7, 1]
        for text, currency in (
            ("12.345", "EUR"),
            ("0.5", "JPY"),
            ("-1", "EUR"),
            ("NaN", "EUR"),
            ("1e30", "EUR"),
            ("x", "EUR"),
            ("1", "XXX"),
        ):
            with pytest.raises(ValueError, match="no amount|too large"):
                minor_of(text, currency)

    def test_a_payment_is_recorded_with_the_lines_that_have_an_amount(self) -> None:
        fields = {
            "collection": "captures",
            "gateway": "psp",
            "payment_id": "P-1",
            "reason": "till",
            f"{AMOUNT}1": "20.00",
            f"{AMOUNT}2": "",
        }
        wanted = record_of(ORDER, "EUR", fields)
        assert wanted.path == f"/v1/orders/{ORDER}/payments/captures" and wanted.reason == "till"
        assert wanted.body == {
            "gateway": "psp",
            "payment_id": "P-1",
            "currency": "EUR",
            "lines": [{"line_id": "1", "amount_minor": 20_00}],
        }
        origin = {"channel": "api", "account": "till", "external_order_id": "A-1"}
        assert record_of(ORDER, "EUR", fields, origin).body == {**wanted.body, "origin": origin}
        both = record_of(ORDER, "EUR", fields | {"collection": "authorizations", "captured": "true"})
        assert both.body is not None and both.body["captured"] is True
        for name, why in (
            ("collection", "happened"),
            ("payment_id", "payment system"),
            ("reason", "reason"),
            (f"{AMOUNT}1", "amount"),
        ):
            with pytest.raises(ValueError, match=why):
                record_of(ORDER, "EUR", fields | {name: ""})

    def test_a_report_is_read_in_the_encoding_of_its_mapping(self) -> None:
        fields = {
            "format": b"csv",
            "gateway": b"bol",
            "report": "Tag;Betrag\nMärz;1".encode("cp1252"),
            "mapping": b'{"encoding": "cp1252"}',
        }
        wanted = import_of(fields)
        assert wanted.body is not None and wanted.body["content"] == "Tag;Betrag\nMärz;1"
        for name, value, why in (
            ("report", b"", "choose the file"), ("mapping", b"[]", "JSON object"), ("mapping", b"{}", "no text in utf-8"), ("format", b"pdf", "format"),
            ("gateway", b"", "gateway"), ("payout_minor", b"1.5", "whole number"), ("mapping", b'{"encoding": "x"}', "no text in x"),
        ):  # fmt: skip
            with pytest.raises(ValueError, match=why):
                import_of(fields | {name: value})

    def test_a_row_is_explained_with_a_reason_and_a_match_names_its_operation(self) -> None:
        for fields, why in (
            ({}, "choose what"),
            ({"resolution": "fee"}, "reason"),
            ({"resolution": "match", "reason": "x"}, "operation"),
        ):
            with pytest.raises(ValueError, match=why):
                explanation_of(SETTLEMENT, 2, fields)


@pytest_asyncio.fixture
async def owner() -> AsyncIterator[Owner]:
    async with serving(payments()) as owner:
        yield owner
    for request in owner.requests:
        if request.path != "/openapi.json":
            checked(document(), request)


@pytest_asyncio.fixture
async def app(owner: Owner) -> AsyncIterator[App]:
    async with emptied(TABLES, payments_url=owner.url, payments_api_key="tw_1_secret", ask_seconds_max=20) as app:
        yield app


@pytest.fixture
def paths() -> dict[str, Any]:
    """The routes that payments has when the console starts and asks for them."""
    return document()["paths"]


@pytest_asyncio.fixture
async def browser(app: App, owner: Owner, paths: dict[str, Any]) -> AsyncIterator[Browser]:
    owner.answers["GET", "/openapi.json"] = (200, {"paths": paths})
    browser = Browser(app)
    async with browser.asgi.router.lifespan_context(browser.asgi):
        yield browser


@pytest_asyncio.fixture
async def order(app: App) -> UUID:
    life = Life(number="A-7")
    placed = life.next(orders.Placed, status="placed", payment_status="authorized", placed_at=NOW)
    await Publisher(app).publish(life.received(), placed)
    return life.order_id


async def audit_of(app: App) -> list[tuple[str, ...]]:
    rows = await app.fetch("select subject_kind, action, reason, outcome from audit order by at")
    return [tuple(row) for row in rows]


class TestOnARealPostgres:
    pytestmark = REAL

    async def test_the_accounts_of_a_period_lead_to_the_entries_of_each(
        self, app: App, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        await browser.sign_in("viewer")
        shown = await browser.get("/payments?from=2026-11-01&to=2026-11-30&currency=EUR")
        assert shown.status == 200 and "1,234.56" in shown.text and "gateway clearing" in shown.text
        assert owner.asked("/v1/accounts").query == {"from": "2026-11-01", "to": "2026-11-30", "currency": "EUR"}
        assert ">Settlements<" not in shown.text, "a viewer may not reconcile"
        [csv] = re.findall(r'href="(/payments/accounts/customer\.csv[^"]*)"', shown.text)
        owner.answers["GET", "/v1/accounts/customer/entries.csv"] = (200, "at,order_id")
        file = await browser.get(unescape(csv))
        assert file.status == 200 and "at,order_id" in file.text and file.headers["content-type"].startswith("text/csv")
        assert owner.asked("/v1/accounts/customer/entries.csv").query["currency"] == "EUR"
        assert "customer-st_1-2026-11-01-2026-11-30.csv" in file.headers["content-disposition"]
        owner.answers["GET", "/v1/accounts/customer/entries.csv"] = (503, {})
        assert (await browser.get(unescape(csv))).status == 503
        [audited] = await app.fetch("select subject_kind, subject_id, store_id, action, reason, outcome from audit")
        assert tuple(audited) == (
            "account", "customer", "st_1", "export", "currency=EUR&from=2026-11-01&to=2026-11-30",
            f"done: {len(file.text.encode())} bytes",
        ), "a row for the file that was sent, none for the other"  # fmt: skip
        owner.answers["GET", "/v1/accounts"] = (422, {})
        assert (await browser.get("/payments?from=2026-12-01&to=2026-11-30")).status == 400
        owner.answers["GET", "/v1/accounts"] = (503, {})
        assert "payments is silent" in (await browser.get("/payments")).text
        assert (await browser.get("/payments?currency=euro")).status == 400

    @pytest.mark.parametrize("paths", [{}])
    async def test_a_release_of_payments_without_books_has_no_such_pages(
        self, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        await browser.sign_in("administrator")
        shown = await browser.get("/payments")
        assert "This cannot be shown" in shown.text and 'href="/payments' not in shown.text.partition("</header>")[0]
        assert "Record a payment" not in (await browser.get(f"/orders/{order}")).text

    async def test_a_report_is_uploaded_and_its_statement_is_shown(
        self, app: App, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        await browser.sign_in("finance", name="ann")
        form = Parsed((await browser.get("/payments/settlements")).text).form("Import")
        states = {"settlement_id": str(SETTLEMENT), "statement_id": "po_1", "code": "", "states": {"matched": 1}}
        owner.answers["POST", "/v1/settlements"] = (200, {"statements": [states]})
        fields = {**form.fields, "format": "stripe", "gateway": "stripe"}
        for _ in range(2):
            answer = await upload(browser, form.action, fields, '{"data": []}')
            assert answer.status == 303, answer.text
        sent = owner.writes[0]
        assert sent.body == {"format": "stripe", "gateway": "stripe", "content": '{"data": []}'}
        assert sent.headers["idempotency-key"] == form.fields["nonce"] and sent.headers["x-act-as"] == "ann"
        shown = (await browser.get(answer.location)).text
        assert "Imported." in shown and "po_1" in shown and "97.30" in shown and 'href="/payments/rows?' in shown
        await browser.get(f"/payments/st_1/settlements/{SETTLEMENT}?state=unmatched")
        assert owner.asked(f"/v1/settlements/{SETTLEMENT}/rows").query["state"] == "unmatched"
        assert await audit_of(app) == [("settlement", "import_statement", "", "done")]

    async def test_a_report_that_is_refused_keeps_what_was_entered(
        self, app: App, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        await browser.sign_in("finance")
        here = "/payments/st_1/settlements"
        empty = await upload(browser, here, {"format": "stripe", "gateway": "stripe"}, "")
        assert empty.status == 422 and "choose the file" in empty.text and not owner.writes
        problem = {
            "type": "/problems/statement_unbalanced",
            "title": "The rows do not sum to the payout",
            "detail": "97 and 98",
        }
        owner.answers["POST", "/v1/settlements"] = (422, problem)
        refused = await upload(browser, here, {"format": "stripe", "gateway": "stripe_eu"}, "{}")
        assert refused.status == 422 and "97 and 98" in refused.text and 'value="stripe_eu"' in refused.text
        assert [row[3] for row in await audit_of(app)] == ["statement_unbalanced"]

    async def test_a_row_is_explained_as_an_operation_of_an_order(
        self, app: App, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        capture = operation()
        owner.answers["GET", f"/v1/payments/{order}"] = (
            200,
            ledger(order, capture, operation(state="failed"), operation(kind="void")),
        )
        await browser.sign_in("finance")
        queue = (await browser.get("/payments/rows")).text
        [link] = re.findall(r'href="(/payments/rows\?[^"#]*row=[^"#]*)#open"', queue)
        opened = (await browser.get(unescape(link))).text
        assert "It is an operation" not in opened, "no order is named"
        find = Parsed(opened).form("Show its operations")
        named = (await browser.get(find.action, **find.fields | {"order": "a-7"})).text
        form = Parsed(named).form("Explain it")
        assert form.fields["operation_id"] == capture["operation_id"] and named.count("<option") == 5
        own = f"/v1/settlements/{SETTLEMENT}/rows/2/resolve"
        owner.answers["POST", own] = (
            409,
            {"type": "/problems/amount_differs", "title": "The amounts differ", "detail": "by 10.30"},
        )
        chosen = {**form.fields, "resolution": "match", "reason": "the buyer's transfer"}
        refused = await browser.post(form.action, chosen)
        assert refused.status == 409 and "by 10.30" in refused.text and "the buyer&#39;s transfer" in refused.text
        owner.answers["POST", own] = (200, row(place=2, open=False))
        again = Parsed(refused.text).form("Explain it").fields
        answer = await browser.post(form.action, {**again, "resolution": "match", "difference_is_fee": "true"})
        assert answer.status == 303 and "Explained." in (await browser.get(answer.location)).text
        assert owner.writes[-1].body == {
            "resolution": "match", "operation_id": capture["operation_id"], "difference_is_fee": True, "reason": "the buyer's transfer",
        }  # fmt: skip
        lacking = await browser.post(form.action, {"resolution": "fee", "reason": " "})
        assert lacking.status == 422 and "give a reason" in lacking.text
        assert [row[1:] for row in await audit_of(app)] == [
            ("explain_match", "the buyer's transfer", "amount_differs"), ("explain_match", "the buyer's transfer", "done"),
        ]  # fmt: skip

    async def test_a_row_of_an_order_offers_its_operations_at_once(
        self, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        one = operation()
        owner.answers["GET", "/v1/settlement-rows"] = page(
            row(place=2, order_id=order, operation_id=one["operation_id"], state="amount_differs")
        )
        owner.answers["GET", f"/v1/payments/{order}"] = (200, ledger(order, operation(), one))
        await browser.sign_in("finance")
        opened = (await browser.get(f"/payments/rows?row={SETTLEMENT}/2")).text
        assert Parsed(opened).form("Explain it").fields["operation_id"] == one["operation_id"], "what it differs from"
        assert f'href="/orders/{order}">A-7<' in opened

    async def test_a_row_of_a_bank_offers_what_waits_for_a_transfer(
        self, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        waiting = [operation(kind=kind, state="pending", gateway="manual") for kind in ("authorize", "void", "refund")]
        others = [
            operation(kind="authorize", state="pending", gateway="stripe"),
            operation(kind="capture", state="pending", gateway="manual"),
            operation(kind="authorize", state="succeeded", gateway="manual"),
        ]
        owner.answers["GET", "/v1/settlement-rows"] = page(row(place=2, order_id=order))
        owner.answers["GET", f"/v1/payments/{order}"] = (200, ledger(order, *waiting, *others))
        await browser.sign_in("finance")
        opened = (await browser.get(f"/payments/rows?row={SETTLEMENT}/2")).text
        assert all(one["operation_id"] in opened for one in waiting)
        assert not any(one["operation_id"] in opened for one in others)

    async def test_a_difference_is_applied_or_left_as_the_version_that_was_read(
        self, app: App, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        await browser.sign_in("finance")
        shown = (await browser.get("/payments/differences")).text
        assert "not booked" in shown and "book what the gateway has made" in shown
        own = f"/v1/differences/{DIFFERENCE}"
        owner.answers["POST", f"{own}/apply"] = (
            412,
            {"type": "/problems/version_outdated", "title": "It has changed", "detail": "version 3"},
        )
        form = Parsed(shown).form("Apply")
        refused = await browser.post(form.action, {**form.fields, "reason": "as Stripe has it"})
        assert refused.status == 412 and "It has changed" in refused.text and "as Stripe has it" in refused.text
        owner.answers["POST", f"{own}/dismiss"] = (200, difference(status="dismissed"))
        form = Parsed(shown).form("Leave it")
        assert (await browser.post(form.action, form.fields)).status == 422
        answer = await browser.post(form.action, {**form.fields, "reason": "a test payment"})
        assert answer.status == 303 and "Leave it: done." in (await browser.get(answer.location)).text
        assert owner.writes[-1].headers["if-match"] == '"2"' and owner.writes[-1].body == {"reason": "a test payment"}
        assert [row[1] for row in await audit_of(app)] == ["apply_difference", "dismiss_difference"]
        assert (await browser.post(f"/payments/st_1/differences/{DIFFERENCE}/erase", {})).status == 404
        owner.answers["GET", "/v1/differences"] = page(difference(proposal="ask"))
        assert "Apply or leave" not in (await browser.get("/payments/differences")).text

    async def test_an_order_leads_to_the_differences_of_its_books(self, owner: Owner) -> None:
        raised = {"code": "books_differ", "detail": "stripe not_booked", "since": NOW.isoformat(), "difference": []}
        statuses = {"status": "placed", "payment_status": "paid", "fulfillment_status": "unfulfilled"}
        shown = {**statuses, "waiting": "exception", "version": 2, "legal_actions": [], "money": None, "processes": [],
                 "timeline": [], "holds": [], "exceptions": [raised], "notes": []}  # fmt: skip
        keys = {"payments_api_key": "tw_1_secret", "orders_api_key": "tw_1_secret"}
        async with (
            serving(Owner({("GET", "/v1/parked"): page()}, default=(200, shown))) as shop,
            emptied(TABLES, payments_url=owner.url, orders_url=shop.url, ask_seconds_max=20, **keys) as app,
        ):
            browser, life = Browser(app), Life(number="A-7")
            async with browser.asgi.router.lifespan_context(browser.asgi):
                placed = life.next(orders.Placed, status="placed", payment_status="authorized", placed_at=NOW)
                await Publisher(app).publish(life.received(), placed)
                await browser.sign_in("finance")
                [link] = re.findall(
                    r'href="(/payments/differences[?][^"]*)"', (await browser.get(f"/orders/{life.order_id}")).text
                )
                assert unescape(link) == f"/payments/differences?store=st_1&order={life.order_id}"
                owner.answers["GET", "/v1/differences"] = page(difference(order_id=life.order_id, refused="no room"))
                listed = (await browser.get(unescape(link))).text
                assert owner.asked("/v1/differences").query["order_id"] == str(life.order_id)
                assert "Not applied:" in listed and "Show those of all orders" in listed
                await browser.sign_in("viewer", name="vic")
                assert "/payments/differences" not in (await browser.get(f"/orders/{life.order_id}")).text

    async def test_disputes_lead_to_their_orders(self, owner: Owner, browser: Browser, order: UUID) -> None:
        owner.answers["GET", "/v1/disputes"] = page(dispute(order_id=order))
        await browser.sign_in("viewer")
        shown = (await browser.get("/payments/disputes?state=open")).text
        assert owner.asked("/v1/disputes").query["state"] == "open"
        assert f'href="/orders/{order}">A-7<' in shown and "dp_1" in shown and "product not received" in shown
        owner.answers["GET", "/v1/disputes"] = page()
        assert "No dispute is recorded" in (await browser.get("/payments/disputes")).text

    async def test_sessions_lead_to_their_orders(self, owner: Owner, browser: Browser, order: UUID) -> None:
        cancelled = payment_session(order_id=order, state="cancelled", code="card_declined")
        owner.answers["GET", "/v1/payment-sessions"] = page(cancelled)
        await browser.sign_in("viewer")
        shown = (await browser.get("/payments/sessions?state=cancelled")).text
        assert owner.asked("/v1/payment-sessions").query["state"] == "cancelled"
        assert f'href="/orders/{order}">A-7<' in shown and "card declined" in shown and "shop.example" not in shown
        retained = payment_session(state="completed", gateway="stripe", prepayment="retained", held_minor=12_34)
        owner.answers["GET", "/v1/payment-sessions"] = page(retained)
        shown = (await browser.get("/payments/sessions?prepayment=retained")).text
        assert owner.asked("/v1/payment-sessions").query["prepayment"] == "retained"
        assert re.search(r"</svg>retained</span> <span class=\"money\">12\.34", shown), shown
        owner.answers["GET", "/v1/payment-sessions"] = page()
        assert "No session is recorded" in (await browser.get("/payments/sessions")).text
        assert "No payment is retained" in (await browser.get("/payments/sessions?prepayment=retained")).text

    async def test_a_gift_card_is_shown_with_its_movements_and_changed_as_it_was_read(
        self, app: App, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        owner.answers["GET", f"/v1/gift-cards/{CARD}"] = (200, card() | {"movements": [movement(order_id=order)]})
        await browser.sign_in("finance")
        listed = (await browser.get("/payments/gift-cards?status=active")).text
        here = f"/payments/st_1/gift-cards/{CARD}"
        assert (
            f'href="{here}"' in listed
            and "30.00" in listed
            and owner.asked("/v1/gift-cards").query["status"] == "active"
        )
        shown = (await browser.get(here)).text
        assert f'href="/orders/{order}">A-7<' in shown and "Deactivate" in shown and "−20.00" in shown
        form = Parsed(shown).form("Adjust")
        for wrong, why in (("", "no amount"), ("0", "state the amount"), ("1.234", "2 decimals")):
            refused = await browser.post(form.action, {**form.fields, "amount": wrong, "reason": "goodwill"})
            assert refused.status == 422 and why in unescape(refused.text)
        own = f"/v1/gift-cards/{CARD}/adjust"
        owner.answers["POST", own] = (
            409,
            {"type": "/problems/gift_card_insufficient", "title": "Not enough", "detail": "30.00 is left"},
        )
        sent = {**form.fields, "amount": "-40", "reason": "goodwill"}
        assert "30.00 is left" in (await browser.post(form.action, sent)).text
        owner.answers["POST", own] = (200, {})
        answer = await browser.post(form.action, {**sent, "amount": "-4.50", "nonce": str(uuid4())})
        assert answer.status == 303 and "Adjust: done." in (await browser.get(answer.location)).text
        assert (
            owner.writes[-1].body == {"amount_minor": -4_50, "reason": "goodwill"}
            and owner.writes[-1].headers["if-match"] == '"3"'
        )
        for action, fields, body in (
            ("deactivate", {}, None),
            ("extend", {"expires_at": "2027-01-01T00:00"}, {"expires_at": "2027-01-01T00:00:00+00:00"}),
        ):
            owner.answers["POST", f"/v1/gift-cards/{CARD}/{action}"] = (200, {})
            done = await browser.post(f"{here}/{action}", {"version": "3", "reason": "lost", **fields})
            assert done.status == 303 and owner.writes[-1].body == body
        assert (await browser.post(f"{here}/explode", {})).status == 404
        assert {row[0] for row in await audit_of(app)} == {"gift_card"}
        owner.answers["GET", f"/v1/gift-cards/{CARD}"] = (
            200,
            card(state="expired", status="expired") | {"movements": []},
        )
        assert "Deactivate" not in (await browser.get(here)).text
        await browser.sign_in("viewer", name="vic")
        assert "Change the expiry" not in (await browser.get(here)).text

    async def test_the_books_of_an_order_are_shown_and_a_payment_is_recorded(
        self, app: App, owner: Owner, browser: Browser, order: UUID
    ) -> None:
        one = operation()
        booked = books(order, one)
        booked["lines"] = [booked["lines"][0] | {"line_id": name} for name in ("1", "10", "2")]
        owner.answers |= {
            ("GET", f"/v1/payments/{order}"): (200, ledger(order, one)), ("GET", f"/v1/orders/{order}/ledger"): (200, booked),
        }  # fmt: skip
        await browser.sign_in("finance")
        shown = (await browser.get(f"/orders/{order}")).text
        assert f'href="/orders/{order}/ledger"' in shown
        kept = (await browser.get(f"/orders/{order}/ledger")).text
        assert "gateway clearing" in kept and "CAPTURED" in kept and one["operation_id"] in kept
        assert kept.index('"row">1<') < kept.index('"row">2<') < kept.index('"row">10<')
        form = Parsed(shown).form("Record it")
        assert f"{AMOUNT}1" in form.fields
        entered = {
            **form.fields,
            "collection": "captures",
            "gateway": "psp",
            "payment_id": "P-1",
            "reason": "at the till",
            f"{AMOUNT}1": "20",
        }
        wrong = await browser.post(form.action, {**entered, f"{AMOUNT}1": "20.001"})
        assert wrong.status == 422 and "2 decimals" in wrong.text and 'value="P-1"' in wrong.text
        own = f"/v1/orders/{order}/payments/captures"
        owner.answers["POST", own] = (
            409,
            {"type": "/problems/exceeds_capturable", "title": "Too much", "detail": "line 1: 0 is left"},
        )
        assert "line 1: 0 is left" in (await browser.post(form.action, entered)).text
        owner.answers["POST", own] = (
            200,
            {"operation_id": str(uuid4()), "amount_minor": 20_00, "repeated": False, "totals": {}},
        )
        answer = await browser.post(form.action, {**entered, "nonce": str(uuid4())})
        assert answer.status == 303 and "Record a payment: done." in (await browser.get(answer.location)).text
        assert owner.writes[-1].body == {
            "gateway": "psp", "payment_id": "P-1", "currency": "EUR", "lines": [{"line_id": "1", "amount_minor": 20_00}],
        }  # fmt: skip
        assert [row[:3] for row in await audit_of(app)] == [("order", "record_payment", "at the till")] * 2
        await browser.sign_in("operator", name="bob")
        assert "Record a payment" not in (await browser.get(f"/orders/{order}")).text

    async def test_an_upload_after_the_session_is_over_keeps_no_file(
        self, app: App, browser: Browser, order: UUID
    ) -> None:
        await browser.sign_in("finance")
        await app.fetch("update sessions set seen_at = now() - interval '1 day', created_at = now() - interval '1 day'")
        answer = await upload(browser, "/payments/st_1/settlements", {"format": "stripe"}, "secret rows")
        assert (answer.status, answer.location) == (303, "/sign-in")
        assert (await app.fetch("select unsent from sessions"))[0]["unsent"] is None


async def upload(browser: Browser, path: str, fields: dict[str, str], report: str):  # type: ignore[no-untyped-def]
    """Sends a form with a file as browsers do."""
    parts = "".join(
        f'--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n' for name, value in fields.items()
    )
    file = f'--x\r\nContent-Disposition: form-data; name="report"; filename="a.json"\r\nContent-Type: text/plain\r\n\r\n{report}\r\n--x--\r\n'
    sent = {"content-type": "multipart/form-data; boundary=x", "sec-fetch-site": "same-origin"}
    return await browser.call("POST", path, [], sent, (parts + file).encode())
