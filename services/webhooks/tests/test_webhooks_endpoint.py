"""An endpoint's life: what is decided on requests and reports, and what it is afterwards."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contracts.base import Command, Event
from contracts.deciding import Context, Refusal
from contracts.webhooks import DeliveryExhausted, EndpointDisabled, EndpointFailing, EndpointRecovered
from webhooks.domain import endpoint as domain
from webhooks.domain.config import Config, HeadersAuth, MtlsAuth, NoAuth, OAuth2Auth
from webhooks.domain.endpoint import (
    ENDPOINTS_MAX,
    SECRETS_MAX,
    Change,
    Create,
    Disable,
    Enable,
    Endpoint,
    EndpointEnabled,
    Exhausted,
    Failing,
    GivenUp,
    NewSecret,
    Recovered,
    Remove,
    Report,
    Rotate,
    StoreKey,
    Verified,
)

NOW, KEY, STORE, URL = datetime(2026, 11, 21, tzinfo=UTC), uuid4(), "st_1", "https://example.com/hooks"
DECIDE: dict[type[Command], Any] = {
    Create: domain.create, Change: domain.change, Verified: domain.verified, Enable: domain.enable, Disable: domain.disable,
    Rotate: domain.rotate, Remove: domain.remove, Report: domain.report,
}  # fmt: skip
FAILING = Failing(since=NOW, failures=7, last="500")


def ask(kind: type[Command], operation: UUID | None = None, **fields: Any) -> Command:
    about = {"endpoint_id": KEY, "store_id": STORE, "actor": "api-key:ann", "operation_id": operation or uuid4()}
    return kind(**about, **fields)


def decided(state: Endpoint, command: Command, now: datetime = NOW, endpoints: int = 0) -> list[Any]:
    shares = {StoreKey(STORE): endpoints}
    effects: list[Any] = DECIDE[type(command)](state, command, Context(now, KEY, STORE, uuid4(), shares=shares))
    return effects


def after(state: Endpoint, *commands: Command, now: datetime = NOW) -> Endpoint:
    for command in commands:
        for effect in decided(state, command, now):
            assert isinstance(effect, Event), effect
            state = domain.evolve(state, effect)
    return state


def code(state: Endpoint, command: Command, now: datetime = NOW, endpoints: int = 0) -> str:
    [refusal] = decided(state, command, now, endpoints)
    assert isinstance(refusal, Refusal)
    return refusal.code


def created(**config: Any) -> Endpoint:
    return after(Endpoint(), ask(Create, config=Config(**{"url": URL, **config}), secret=NewSecret(sealed="AAAA")))


ENABLED = after(created(), ask(Verified, url=URL))
DISABLED = after(ENABLED, ask(Disable))
REMOVED = after(ENABLED, ask(Remove))


def test_an_endpoint_is_pending_until_its_receiver_has_answered() -> None:
    assert created().status == "pending"
    assert (ENABLED.status, ENABLED.verified) == ("enabled", True)
    assert decided(ENABLED, ask(Verified, url=URL)) == []


def test_an_answer_to_a_former_url_verifies_nothing() -> None:
    assert code(created(), ask(Verified, url="https://example.com/other")) == "not_verified"


def test_a_new_url_is_pending_again_and_other_changes_are_not() -> None:
    faster = after(ENABLED, ask(Change, config=Config(url=URL, in_flight=2)))
    assert (faster.status, faster.verified, faster.config.in_flight) == ("enabled", True, 2)
    moved = after(ENABLED, ask(Change, config=Config(url="https://example.org/")))
    assert (moved.status, moved.verified) == ("pending", False)
    assert decided(ENABLED, ask(Change, config=ENABLED.config)) == []


def test_a_disabled_endpoint_with_a_new_url_stays_disabled_until_it_is_verified_and_enabled() -> None:
    moved = after(DISABLED, ask(Change, config=Config(url="https://example.org/")))
    assert code(moved, ask(Enable)) == "not_verified"
    verified = after(moved, ask(Verified, url="https://example.org/"))
    assert verified.status == "disabled"
    assert after(verified, ask(Enable)).status == "enabled"


def test_disabling_states_why_and_enabling_clears_it() -> None:
    [event] = decided(ENABLED, ask(Disable))
    assert isinstance(event, EndpointDisabled)
    assert (event.because, event.host) == ("request", "example.com")
    assert (DISABLED.status, DISABLED.disabled_because) == ("disabled", "request")
    assert decided(DISABLED, ask(Disable)) == []
    again = after(DISABLED, ask(Enable))
    assert (again.status, again.disabled_because) == ("enabled", None)
    assert decided(again, ask(Enable)) == []


def test_a_place_in_the_feed_that_a_person_sets_is_counted() -> None:
    moved = after(DISABLED, ask(Enable, position=7))
    assert (moved.moves, moved.moved_to) == (1, 7)
    twice = after(moved, ask(Enable, position=9))
    assert (twice.moves, twice.moved_to, twice.status) == (2, 9, "enabled")
    assert after(DISABLED, ask(Enable)).moves == 0


@pytest.mark.parametrize("state", [Endpoint(), REMOVED], ids=["never there", "removed"])
@pytest.mark.parametrize(
    "command",
    [ask(Change, config=Config(url=URL)), ask(Verified, url=URL), ask(Enable), ask(Disable), ask(Remove),
     ask(Rotate, secret=NewSecret(sealed="A"))],
    ids=lambda command: type(command).__name__,
)  # fmt: skip
def test_nothing_is_requested_of_an_endpoint_that_is_not_there(state: Endpoint, command: Command) -> None:
    assert code(state, command) == "endpoint_unknown"


def test_a_removed_endpoint_has_neither_secrets_nor_a_configuration_and_is_not_created_again() -> None:
    assert (REMOVED.status, REMOVED.secrets, REMOVED.config) == ("removed", (), Config(url=""))
    assert code(REMOVED, ask(Create, config=Config(url=URL), secret=NewSecret(sealed="A"))) == "endpoint_unknown"


def test_a_create_that_is_repeated_has_no_effect() -> None:
    assert decided(ENABLED, ask(Create, config=Config(url=URL), secret=NewSecret(sealed="B"))) == []


def test_a_store_has_so_many_endpoints_at_most() -> None:
    create = ask(Create, config=Config(url=URL), secret=NewSecret(sealed="A"))
    assert code(Endpoint(), create, endpoints=ENDPOINTS_MAX) == "too_many_endpoints"
    [event] = decided(Endpoint(), create, endpoints=ENDPOINTS_MAX - 1)
    assert domain.count(ENDPOINTS_MAX - 1, StoreKey(STORE), event) == ENDPOINTS_MAX
    [event] = decided(ENABLED, ask(Remove))
    assert domain.count(1, StoreKey(STORE), event) == 0
    assert [*domain.counted(event)] == [*domain.needs(ENABLED, ask(Remove))] == [StoreKey(STORE)]
    assert not [*domain.needs(ENABLED, ask(Disable))]


# -- secrets ----------------------------------------------------------------------------------------------------------


def rotated(state: Endpoint, at: datetime, hours: int = 24) -> Endpoint:
    return after(state, ask(Rotate, secret=NewSecret(sealed="BBBB"), overlap_hours=hours), now=at)


def test_a_replaced_secret_signs_until_its_overlap_ends() -> None:
    state = rotated(ENABLED, NOW)
    new, old = state.signing(NOW)
    assert (new.sealed, new.expires_at) == ("BBBB", None)
    assert old.expires_at == NOW + timedelta(hours=24)
    assert state.signing(NOW + timedelta(hours=24)) == (new,)


def test_without_an_overlap_the_new_secret_signs_alone() -> None:
    assert len(rotated(rotated(ENABLED, NOW), NOW, hours=0).secrets) == 1


def test_three_secrets_sign_at_most_until_one_expires() -> None:
    state = rotated(rotated(ENABLED, NOW), NOW + timedelta(hours=1))
    assert len(state.signing(NOW + timedelta(hours=1))) == SECRETS_MAX
    rotate = ask(Rotate, secret=NewSecret(sealed="C"))
    assert code(state, rotate, now=NOW + timedelta(hours=2)) == "too_many_secrets"
    assert len(rotated(state, NOW + timedelta(hours=24)).secrets) == SECRETS_MAX
    assert len(rotated(state, NOW + timedelta(hours=2), hours=0).secrets) == 1


@given(st.lists(st.tuples(st.integers(0, 200), st.integers(0, 168)), max_size=12))
def test_however_often_it_is_rotated_one_to_three_secrets_sign_and_the_newest_never_expires(
    rotations: list[tuple[int, int]],
) -> None:
    state, now = ENABLED, NOW
    for hours, overlap in rotations:
        now += timedelta(hours=hours)
        [effect] = decided(state, ask(Rotate, secret=NewSecret(sealed="D"), overlap_hours=overlap), now)
        if isinstance(effect, Refusal):
            assert len(state.signing(now)) == SECRETS_MAX
        else:
            before = {secret.id: secret.expires_at for secret in state.signing(now)}
            state = domain.evolve(state, effect)
            limit = now + timedelta(hours=overlap)
            kept = {secret.id: secret.expires_at for secret in state.secrets[1:]}
            assert all(before[one] is None or at <= before[one] for one, at in kept.items() if at is not None)
            assert all(at is not None and now < at <= limit for at in kept.values())
        assert 1 <= len(state.signing(now)) <= SECRETS_MAX
        assert state.secrets[0].expires_at is None


HEADERS = HeadersAuth(headers={"authorization": "sealed-1", "x-key": "sealed-2"})
OAUTH = OAuth2Auth(token_url="https://id.example.com/token", client_id="me", client_secret="sealed-3")
MTLS = MtlsAuth(certificate="PEM", private_key="sealed-4")


@pytest.mark.parametrize(("present", "url", "auth", "kept"), [
    (HEADERS, URL, HeadersAuth(headers={"x-key": None, "x-new": "sealed-5"}), HeadersAuth(headers={"x-key": "sealed-2", "x-new": "sealed-5"})),
    (HEADERS, "https://example.com/elsewhere", HeadersAuth(headers={"x-key": None}), HeadersAuth(headers={"x-key": "sealed-2"})),
    (HEADERS, "https://evil.example/", HeadersAuth(headers={"x-key": None}), None),
    (HEADERS, URL, HeadersAuth(headers={"x-other": None}), None),
    (NoAuth(), URL, HeadersAuth(headers={"x-key": None}), None),
    (OAUTH, URL, OAUTH.model_copy(update={"client_secret": None, "scope": "s"}), OAUTH.model_copy(update={"scope": "s"})),
    (OAUTH, "https://other.example/", OAUTH.model_copy(update={"client_secret": None}), OAUTH),
    (OAUTH, URL, OAUTH.model_copy(update={"client_secret": None, "token_url": "https://evil.example/"}), None),
    (HEADERS, URL, OAUTH.model_copy(update={"client_secret": None}), None),
    (MTLS, URL, MTLS.model_copy(update={"private_key": None}), MTLS),
    (MTLS, URL, MtlsAuth(certificate="OTHER", private_key=None), None),
    (MTLS, URL, NoAuth(), NoAuth()),
])  # fmt: skip
def test_a_secret_value_that_is_left_out_stays_and_goes_to_no_other_host(
    present: Any, url: str, auth: Any, kept: Any
) -> None:
    change = ask(Change, config=Config(url=url, auth=auth))
    if kept is None:
        assert code(created(auth=present), change) == "bad_secret"
    else:
        assert after(created(auth=present, in_flight=1), change).config.auth == kept


# -- reports ----------------------------------------------------------------------------------------------------------


def test_failing_is_told_once_until_a_delivery_succeeds() -> None:
    [event] = decided(ENABLED, ask(Report, what=FAILING))
    assert isinstance(event, EndpointFailing)
    failing = domain.evolve(ENABLED, event)
    assert (failing.failing_since, failing.status) == (NOW, "enabled")
    assert decided(failing, ask(Report, what=FAILING)) == []
    [event] = decided(failing, ask(Report, what=Recovered()))
    assert isinstance(event, EndpointRecovered)
    assert event.failing_since == NOW
    recovered = domain.evolve(failing, event)
    assert recovered.failing_since is None
    assert decided(recovered, ask(Report, what=Recovered())) == []


@pytest.mark.parametrize("because", ["gone", "failing"])
def test_giving_up_disables(because: str) -> None:
    failing = after(ENABLED, ask(Report, what=FAILING))
    [event] = decided(failing, ask(Report, what=GivenUp(because=because)))
    assert isinstance(event, EndpointDisabled)
    assert (event.because, event.failing_since) == (because, NOW)
    assert domain.evolve(failing, event).status == "disabled"


def test_exhausted_deliveries_are_told_and_change_nothing() -> None:
    report = ask(Report, what=Exhausted(count=3, event_id="e", event_type="orders.placed", last="500"))
    [event] = decided(ENABLED, report)
    assert isinstance(event, DeliveryExhausted)
    assert (event.count, event.operation_id) == (3, report.operation_id)
    assert domain.evolve(ENABLED, event) == ENABLED


@pytest.mark.parametrize("state", [Endpoint(), created(), DISABLED, REMOVED])
@pytest.mark.parametrize(
    "what", [FAILING, Recovered(), GivenUp(because="gone"), Exhausted(count=1, event_id="e", event_type="t", last="x")]
)
def test_a_report_of_an_endpoint_that_is_not_enabled_is_passed_over(state: Endpoint, what: Any) -> None:
    assert decided(state, ask(Report, what=what)) == []


def test_no_notice_shows_more_of_a_url_than_its_host() -> None:
    state = after(created(url="https://hooks.example.com/T0/secret?token=x"),
                  ask(Verified, url="https://hooks.example.com/T0/secret?token=x"))  # fmt: skip
    for command in (ask(Report, what=FAILING), ask(Report, what=GivenUp(because="gone")), ask(Disable)):
        [event] = decided(state, command)
        assert "secret" not in event.model_dump_json()
        assert event.host == "hooks.example.com"


@given(
    st.lists(
        st.sampled_from(["verify", "enable", "move", "disable", "url", "fail", "recover", "gone", "remove"]),
        max_size=15,
    )
)
def test_a_status_is_never_wrong(story: list[str]) -> None:
    """Nothing is delivered to a URL whose receiver has not answered, and a failing or disabled endpoint states why."""
    state = created()
    for number, step in enumerate(story):
        command = {
            "verify": ask(Verified, url=state.config.url), "enable": ask(Enable), "move": ask(Enable, position=number),
            "disable": ask(Disable), "url": ask(Change, config=Config(url=f"https://example.com/{number}")),
            "fail": ask(Report, what=FAILING), "recover": ask(Report, what=Recovered()),
            "gone": ask(Report, what=GivenUp(because="gone")), "remove": ask(Remove),
        }[step]  # fmt: skip
        for effect in decided(state, command):
            state = state if isinstance(effect, Refusal) else domain.evolve(state, effect)
        assert state.status != "enabled" or state.verified
        assert (state.status == "pending") <= (not state.verified)
        assert (state.status == "disabled") == (state.disabled_because is not None and state.status != "removed")
        assert state.failing_since is None or state.status == "enabled"
    assert Endpoint.model_validate_json(state.model_dump_json()) == state


def test_enabling_keeps_the_place_unless_one_is_named() -> None:
    [kept] = decided(DISABLED, ask(Enable))
    assert isinstance(kept, EndpointEnabled)
    assert kept.position is None
