"""The form of an endpoint: what it sends is what webhooks takes, and what it has no field for stays."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from console_forms import Parsed
from console_owners import ENDPOINT, REAL, Owner, endpoint, made
from console_world import STORE, Browser
from hypothesis import given
from hypothesis import strategies as st

from chassis.process.app import App
from console.domain.editing import NEW, NUMBERS, changed, created, fields_of
from console.domain.endpoints import EVENT_TYPES
from webhooks.api.bodies import EndpointGiven, NewEndpoint

HERE = f"/webhooks/{STORE}/{ENDPOINT}"
OWN = f"/v1/endpoints/{ENDPOINT}"
URL = "https://erp.example.com/hooks"
ENDPOINTS = st.fixed_dictionaries({
    "url": st.just(URL),
    "types": st.lists(st.sampled_from((*EVENT_TYPES, "orders.*", "payments.*")), unique=True, max_size=5).map(sorted),
    "new_types": st.booleans(), "personal": st.booleans(),
    "where": st.sampled_from(([], [{"path": "channel", "in": ["bol", "ebay"]}])),
    "order": st.sampled_from(("per_order", "none")), "payload": st.sampled_from(("full", "thin")),
    "exhausted": st.sampled_from(("skip", "hold")), "verify": st.sampled_from(("answer", "echo")),
    "in_flight": st.integers(1, 16), "batch": st.fixed_dictionaries({"max": st.integers(1, 100), "wait_ms": st.integers(0, 5_000)}),
    "rate": st.sampled_from((None, {"per_second": 10, "burst": 20})), "notify_url": st.sampled_from((None, "https://erp.example.com/notices")),
    "auth": st.sampled_from(({"kind": "none"}, {"kind": "headers", "headers": {"authorization": None}},
                             {"kind": "oauth2", "token_url": URL, "client_id": "shop", "client_secret": None, "scope": ""})),
})  # fmt: skip


@given(ENDPOINTS)
def test_a_form_that_is_sent_as_it_is_changes_nothing(given: dict[str, Any]) -> None:
    shown = endpoint(**given)
    wanted = changed(shown, {**fields_of(shown), "version": "3"})
    assert EndpointGiven.model_validate(wanted.body) == EndpointGiven.model_validate(given)
    assert (wanted.method, wanted.path, wanted.version) == ("PUT", OWN, 3)


def test_a_new_endpoint_has_the_defaults_of_webhooks() -> None:
    body = NewEndpoint.model_validate(created({**NEW, "url": URL}).body)
    assert body == NewEndpoint(url=URL)


@pytest.mark.parametrize(
    ("field", "missing"),
    [
        ({"url": " "}, "URL"),
        ({"which": "these"}, "tick a type"),
        ({"order": "random"}, "order"),
        ({"in_flight": "17"}, "in flight"),
        ({"batch_max": "٣"}, "batch max"),
        ({"batch_wait_ms": ""}, "batch wait ms"),
    ],
)
def test_a_form_that_is_not_complete_names_what_is_missing(field: dict[str, str], missing: str) -> None:
    with pytest.raises(ValueError, match=missing):
        created({**NEW, "url": URL, **field})


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_the_limits_are_those_of_webhooks(name: str) -> None:
    for number in NUMBERS[name]:
        EndpointGiven.model_validate(created({**NEW, "url": URL, name: str(number)}).body)


class TestOnARealPostgres:
    pytestmark = REAL

    async def test_a_new_endpoint_shows_its_secret_once(self, app: App, hooks: Owner, browser: Browser) -> None:
        hooks.answers["POST", "/v1/endpoints"] = (201, made("whsec_c2VjcmV0"))
        await browser.sign_in("operator")
        form = Parsed((await browser.get(f"/webhooks/{STORE}/new")).text).form("Create")
        sent = form.fields | {"url": URL, "which": "these", "type:orders.placed": "true", "type:payments.*": "true"}
        answer = await browser.post(form.action, sent)
        assert answer.status == 200 and "whsec_c2VjcmV0" in answer.text
        [request] = hooks.writes
        assert request.body["types"] == ["orders.placed", "payments.*"] or set(request.body["types"]) == {
            "orders.placed",
            "payments.*",
        }
        [row] = await app.fetch("select action, subject_id, outcome from audit")
        assert tuple(row) == ("create", URL, "done")

    async def test_a_change_names_the_version_that_was_read_and_keeps_the_form_if_it_is_refused(
        self, app: App, hooks: Owner, browser: Browser
    ) -> None:
        hooks.answers["GET", OWN] = (200, endpoint(types=["orders.placed"], rate={"per_second": 10, "burst": 20}))
        hooks.answers["PUT", OWN] = (
            412,
            {"type": "/problems/version_outdated", "title": "Changed meanwhile", "detail": "read it again"},
        )
        await browser.sign_in("operator")
        form = Parsed((await browser.get(f"{HERE}/edit")).text).form("Save")
        assert form.fields["type:orders.placed"] == "true"
        refused = await browser.post(form.action, form.fields | {"in_flight": "3"})
        assert refused.status == 412 and "Changed meanwhile" in refused.text
        assert Parsed(refused.text).form("Save").fields["in_flight"] == "3"
        [request] = hooks.writes
        assert (request.headers["if-match"], request.body["in_flight"]) == ('"3"', 3)
        assert request.body["rate"] == {"per_second": 10, "burst": 20}, "what has no field stays"
        hooks.answers["PUT", OWN] = (200, endpoint())
        assert (await browser.post(form.action, form.fields)).location == f"{HERE}?done=change"
        incomplete = await browser.post(form.action, form.fields | {"batch_max": "many", "nonce": str(uuid4())})
        assert incomplete.status == 422 and "batch max is a whole number from 1 to 100" in incomplete.text

    async def test_who_may_not_change_endpoints_has_no_form(self, hooks: Owner, browser: Browser) -> None:
        await browser.sign_in("viewer")
        for path in (f"/webhooks/{STORE}/new", f"{HERE}/edit"):
            assert (await browser.get(path)).status == 403
            assert (await browser.post(path, {})).status == 403
        assert hooks.writes == []
