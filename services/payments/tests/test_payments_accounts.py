"""Accounts of stores at gateways: credentials are references, and a missing one is a closed code, never a guess."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from payments_gateways import FIRST, settings
from pydantic import ValidationError

from chassis.declare.service import Attempt, TryAgain
from payments.domain.gateway import GatewayCall
from payments.gateways.accounts import Account, AccountsFile, CredentialsMissing, resolved
from payments.gateways.registry import Gateways

KEY = "sk_live_" + "9" * 24


def account(api_key: str = "env:PAYMENTS_TEST_STRIPE_KEY") -> Account:
    credentials = {"api_key": api_key}
    return Account(store="st_1", gateway="stripe", account="main", url="http://127.0.0.1:1", credentials=credentials)


class One:
    def __init__(self, account: Account | None) -> None:
        self.account = account

    async def of_store(self, store_id: str, gateway: str, name: str | None) -> Account | None:
        return self.account if name in (None, self.account and self.account.account) else None


class Both:
    async def of_store(self, store_id: str, gateway: str, name: str | None) -> Account | None:
        return account().model_copy(update={"account": name or "main"})


CALL = GatewayCall(
    operation_id=uuid4(), gateway="stripe", kind="authorize", order_id=uuid4(), store_id="st_1", currency="EUR", amount_minor=1
)  # fmt: skip


def attempt(number: int) -> Attempt:
    return Attempt(CALL.operation_id, CALL.order_id, number, FIRST, FIRST)


def test_a_reference_is_read_from_the_environment_or_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PAYMENTS_TEST_STRIPE_KEY", KEY)
    (tmp_path / "key").write_text(f"{KEY}\n")
    assert resolved("env:PAYMENTS_TEST_STRIPE_KEY") == resolved(f"file:{tmp_path}/key") == KEY


@pytest.mark.parametrize("reference", ["env:PAYMENTS_TEST_NOWHERE", "file:/nowhere/at/all", "file:/"])
def test_a_reference_that_leads_nowhere_names_itself(reference: str) -> None:
    with pytest.raises(CredentialsMissing, match=reference):
        resolved(reference)


def test_a_key_in_place_of_a_reference_is_refused_and_not_printed() -> None:
    row = {"store": "st_1", "gateway": "stripe", "account": "main", "credentials": {"api_key": KEY}}
    with pytest.raises(ValidationError) as refused:
        AccountsFile.model_validate({"gateway_accounts": [row]})
    assert "api_key" in str(refused.value) and KEY not in str(refused.value)


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"gateway": "nowhere"}, "stores have accounts at: dintero, stripe"),
        ({"credentials": {"client_id": "env:A"}}, "credentials of dintero: client_id, client_secret"),
        ({"settings": {}}, "settings of dintero: account_id, return_url"),
        ({"settings": {"account_id": "P12345678", "return_url": "https://x", "colour": "red"}}, "settings of dintero"),
        ({"settings": {"account_id": "", "return_url": "https://x"}}, "at least 1 character"),
    ],
)
def test_an_account_states_what_its_gateway_needs(changed: dict[str, Any], why: str) -> None:
    row = {
        "store": "st_1", "gateway": "dintero", "account": "main",
        "credentials": {"client_id": "env:A", "client_secret": "file:/run/secrets/b"},
        "settings": {"account_id": "P12345678", "return_url": "https://x"},
    }  # fmt: skip
    assert AccountsFile.model_validate({"gateway_accounts": [row]}).gateway_accounts[0].account == "main"
    with pytest.raises(ValidationError, match=why):
        AccountsFile.model_validate({"gateway_accounts": [row | changed]})


async def test_missing_credentials_are_a_no_before_anything_was_tried_and_never_after() -> None:
    gateways = Gateways({}, One(account("env:PAYMENTS_TEST_NOWHERE")), settings())
    outcome = await gateways.run(CALL, attempt(1))
    assert (outcome.state, outcome.code) == ("not_set_up", "credentials_missing")
    for number, call in ((2, CALL), (1, CALL.model_copy(update={"ask_only": True}))):
        with pytest.raises(TryAgain, match="credentials_missing"):
            await gateways.run(call, attempt(number))
    with pytest.raises(TryAgain, match="credentials_missing"):
        await gateways.check(CALL, attempt(1))


async def test_a_store_without_an_account_has_no_gateway() -> None:
    outcome = await Gateways({}, One(None), settings()).run(CALL, attempt(1))
    assert (outcome.state, outcome.code) == ("not_set_up", "gateway_unknown")


async def test_an_account_that_the_store_does_not_have_is_named_in_the_refusal() -> None:
    outcome = await Gateways({}, One(account()), settings()).run(
        CALL.model_copy(update={"account": "second"}), attempt(1)
    )
    assert (outcome.state, outcome.code) == ("not_set_up", "gateway_unknown") and "stripe/second" in outcome.reason


async def test_the_accounts_of_a_store_at_one_gateway_are_called_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYMENTS_TEST_STRIPE_KEY", KEY)
    gateways = Gateways({}, Both(), settings())
    calls = [CALL.model_copy(update={"account": name}) for name in ("second", None, "second")]
    second, first, again = [await gateways.opened(call) for call in calls]
    assert second is again is not first
    await gateways.close()


async def test_a_key_that_is_replaced_is_used_from_the_next_call_on(monkeypatch: pytest.MonkeyPatch) -> None:
    gateways, used = Gateways({}, One(account()), settings()), []
    for key in ("sk_1", "sk_1", "sk_2"):
        monkeypatch.setenv("PAYMENTS_TEST_STRIPE_KEY", key)
        used.append(await gateways.opened(CALL))
    assert used[0] is used[1] is not used[2]
    await gateways.close()


async def test_a_key_is_in_no_outcome_and_in_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing listens there: the error of the connection is what a task keeps."""
    monkeypatch.setenv("PAYMENTS_TEST_STRIPE_KEY", KEY)
    gateways = Gateways({}, One(account()), settings())
    with pytest.raises(TryAgain) as again:
        await gateways.run(CALL, attempt(1))
    assert KEY not in repr(again.value) and KEY not in repr(account())
    await gateways.close()
