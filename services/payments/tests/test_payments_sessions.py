"""Payment sessions and abandoned authorizations, as stories: who may still pay, and what becomes of a payment that is late."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from payments_play import (
    NOW,
    ORDER,
    STORE,
    Play,
    authorize,
    authorized,
    call,
    declined,
    lines,
    refund,
    refunded,
    report,
    tasks_of,
    totals,
    uid,
    void,
    voided,
)
from pydantic import ValidationError

from contracts.deciding import Refusal, Wake, Withdrawn
from contracts.payments import (
    Authorized,
    CancelSession,
    Declined,
    GiftCardPart,
    OpenSession,
    Pending,
    SessionClosed,
    SessionOpened,
)
from payments.api.sessions import SessionBody
from payments.domain import answers, balances
from payments.domain.answers import Contradiction
from payments.domain.folds import evolve
from payments.domain.gateway import GatewayCall, abandoning_id, follow_up_id
from payments.domain.gift_cards import CardKey
from payments.domain.ledger import Ledger
from payments.domain.ledger_events import Abandoned
from payments.domain.operation import Operation, capture_id_of
from payments.domain.sessions import NOT_PAID, due, given_back_id, late_id
from payments.domain.waking import wake_at
from payments.storefronts import Storefront, origin_of, unfit

AUTHORIZE = call("a1", "authorize", 50_00)
ABANDON = call("a1", "authorize", 50_00).model_copy(update={"ask_only": True, "abandon": True})
FOLLOW_UP = call("a1", "authorize", 50_00, ask_only=True)
LATE, BACK = late_id(uid("a1")), given_back_id(uid("a1"))
VOID_LATE = call(BACK, "void", 50_00, of=LATE)  # type: ignore[arg-type]
HOUR = 3600.0
URL = "https://shop.example/thanks"


def opens(session: str = "s1", amount: int = 50_00, seconds: int = 600, currency: str = "EUR") -> OpenSession:
    return OpenSession(
        order_id=ORDER, store_id=STORE, operation_id=uid(session), actor="shop", currency=currency, amount_minor=amount,
        return_url=URL, expires_in_seconds=seconds,
    )  # fmt: skip


def cancels(session: str = "s1", op: str = "x1") -> CancelSession:
    return CancelSession(order_id=ORDER, store_id=STORE, operation_id=uid(op), actor="shop", session_id=uid(session))


def kinds(effects: list[Any]) -> list[str]:
    return [type(effect).__name__ for effect in effects]


def state(play: Play, session: str = "s1") -> str:
    return play.ledger.sessions[uid(session)].state


@pytest.fixture
def waiting(play: Play) -> Play:
    """The gateway waits for the buyer, for an hour at most."""
    play.when(authorize("a1", 50_00, gateway="test"))
    play.when(report(AUTHORIZE, "pending", expires_in_seconds=HOUR))
    return play


# -------------------------------------------------------------------------------------------- without a session


def test_an_authorization_that_waits_states_until_when(waiting: Play) -> None:
    [event, _] = waiting.effects
    assert isinstance(event, Pending) and event.expires_at == NOW + timedelta(hours=1)
    assert wake_at(waiting.ledger) == event.expires_at
    assert waiting.wakes(HOUR - 1) == []


def test_one_that_waits_for_no_buyer_is_never_abandoned(play: Play) -> None:
    play.when(authorize("a1", 50_00, gateway="test"))
    play.when(report(AUTHORIZE, "pending"))
    assert wake_at(play.ledger) is None


def test_after_its_time_it_is_cancelled_at_the_gateway_and_declined_only_then(waiting: Play) -> None:
    effects = waiting.wakes(HOUR)
    assert kinds(effects) == ["Abandoned", "Withdrawn", "Task"]
    assert effects[1] == Withdrawn(follow_up_id(uid("a1")))
    [task] = tasks_of(effects)
    assert task.task_id == abandoning_id(uid("a1")) and task.body.abandon and task.body.reported_as == "tg_1"  # type: ignore[attr-defined]
    assert waiting.ledger.operations[uid("a1")].is_open and wake_at(waiting.ledger) is None
    waiting.when(report(ABANDON, "refused", code="authorization_canceled"))
    waiting.then(declined("a1", 50_00, "payment_abandoned", NOT_PAID, totals()))


def test_the_timer_again_changes_nothing(waiting: Play) -> None:
    waiting.wakes(HOUR)
    assert waiting.wakes(HOUR + 1) == []


def test_a_worker_that_asked_before_states_nothing_any_more(waiting: Play) -> None:
    waiting.wakes(HOUR)
    for outcome in ("succeeded", "pending", "refused"):
        assert waiting.when(report(FOLLOW_UP, outcome)) == []
    waiting.when(report(ABANDON, "refused"))
    assert waiting.when(report(FOLLOW_UP, "succeeded")) == []
    assert waiting.left() == (0, 0, 0, 0)
    with pytest.raises(Contradiction):
        waiting.when(report(ABANDON, "succeeded"))


def test_what_was_paid_late_is_booked_voided_and_then_declined(waiting: Play) -> None:
    waiting.wakes(HOUR)
    effects = waiting.when(report(ABANDON, "succeeded", "tg_9"))
    assert kinds(effects) == ["Authorized", "Asked", "Task"]
    assert effects[0] == authorized(LATE, 50_00, totals(a=50_00), "test", "tg_9")
    [task] = tasks_of(effects)
    assert waiting.when(report(ABANDON, "refused")) == [], "cancelled meanwhile: the void states the same"
    waiting.when(report(task.body, "succeeded", "tg_v"))  # type: ignore[arg-type]
    waiting.then(
        voided(BACK, LATE, 50_00, totals(a=50_00, v=50_00), "tg_v"),  # type: ignore[arg-type]
        declined("a1", 50_00, "payment_abandoned", NOT_PAID, totals(a=50_00, v=50_00)),
    )


def test_what_was_captured_late_is_refunded_and_then_declined(play: Play) -> None:
    play.when(authorize("a1", 50_00, gateway="test", capture=True))
    play.when(report(AUTHORIZE.model_copy(update={"capture": True}), "pending", expires_in_seconds=HOUR))
    play.wakes(HOUR)
    effects = play.when(report(ABANDON, "succeeded", "tg_9", captured=True))
    assert kinds(effects) == ["Authorized", "Asked", "Task"] and play.left() == (50_00, 50_00, 0, 0)
    [task] = tasks_of(effects)
    play.when(report(task.body, "succeeded", "tg_r"))  # type: ignore[arg-type]
    after = totals(a=50_00, c=50_00, r=50_00)
    play.then(
        refunded(BACK, capture_id_of(LATE), 50_00, after, "tg_r"),  # type: ignore[arg-type]
        declined("a1", 50_00, "payment_abandoned", NOT_PAID, after),
    )


def test_what_the_gateway_does_not_give_back_is_left_captured_for_who_asked(play: Play) -> None:
    play.when(authorize("a1", 50_00, gateway="test", capture=True))
    play.when(report(AUTHORIZE.model_copy(update={"capture": True}), "pending", expires_in_seconds=HOUR))
    play.wakes(HOUR)
    [task] = tasks_of(play.when(report(ABANDON, "succeeded", "tg_9", captured=True)))
    assert kinds(play.when(report(task.body, "refused"))) == ["Failed", "Declined"]  # type: ignore[arg-type]
    play.when(refund("r1", capture_id_of(LATE), 50_00))
    assert kinds(play.effects) == ["Asked", "Task"]


def test_a_void_that_waited_releases_nothing_and_is_a_yes(waiting: Play) -> None:
    waiting.when(void("v1", "a1"))
    waiting.wakes(HOUR)
    waiting.when(report(ABANDON, "refused"))
    waiting.then(
        declined("a1", 50_00, "payment_abandoned", NOT_PAID, totals()),
        voided("v1", "a1", {}, totals()),
    )


def test_a_timer_moves_no_gift_card() -> None:
    """A card that pays a part gets it back with the decline, whose report locks it."""
    part = GiftCardPart(gift_card_id=uid("g"), lines=lines(5_00), amount_minor=5_00)
    held = Operation(kind="authorize", state="pending", gateway="test", currency="EUR", gift_cards=(part,))
    paid_by_card = Ledger(operations={uid("a1"): held})
    assert [*balances.needs(paid_by_card, Wake(NOW))] == []
    assert [*balances.needs(paid_by_card, report(ABANDON, "refused"))] == [CardKey(STORE, uid("g"))]


# --------------------------------------------------------------------------------------------------- with a session


def test_a_session_is_that_of_the_authorization_that_waits(waiting: Play) -> None:
    [opened] = waiting.when(opens())
    assert isinstance(opened, SessionOpened)
    assert (opened.authorization_id, opened.expires_at) == (uid("a1"), NOW + timedelta(seconds=600))
    assert wake_at(waiting.ledger) == opened.expires_at, "the session states how long the buyer has"
    waiting.when(report(FOLLOW_UP, "succeeded"))
    waiting.then(authorized("a1", 50_00, totals(a=50_00), "test", "tg_1"))
    assert state(waiting) == "completed" and wake_at(waiting.ledger) is None


def test_a_session_may_be_opened_before_the_order_asks(play: Play) -> None:
    play.when(opens())
    assert play.ledger.sessions[uid("s1")].authorization_id is None
    play.when(authorize("a0", 49_00, gateway="test"))
    play.when(authorize("a1", 50_00, gateway="test"))
    assert play.ledger.sessions[uid("s1")].authorization_id == uid("a1")


@pytest.mark.parametrize("gateway", ["marketplace", "manual", "recorded"])
def test_where_no_buyer_pays_no_session_is_for_it(play: Play, gateway: str) -> None:
    play.when(opens())
    play.when(authorize("a1", 50_00, gateway=gateway))
    assert play.ledger.sessions[uid("s1")].authorization_id is None
    assert kinds(play.wakes(600)) == ["SessionClosed"]


def test_an_expired_session_abandons_its_authorization(waiting: Play) -> None:
    waiting.when(opens())
    effects = waiting.wakes(600)
    assert kinds(effects) == ["SessionClosed", "Abandoned", "Withdrawn", "Task"]
    waiting.when(report(ABANDON, "refused"))
    assert isinstance(waiting.effects[0], Declined)
    assert state(waiting) == "expired"


def test_a_cancelled_session_abandons_its_authorization_at_once(waiting: Play) -> None:
    waiting.when(opens())
    [closed, *_] = waiting.when(cancels())
    assert isinstance(closed, SessionClosed) and closed.state == "cancelled"
    assert waiting.when(cancels(op="x2"), id="m2") == []
    waiting.when(report(ABANDON, "refused"))
    assert (state(waiting), waiting.left()) == ("cancelled", (0, 0, 0, 0))


def test_a_session_that_expires_before_the_gateway_has_answered_waits_for_its_answer(play: Play) -> None:
    play.when(authorize("a1", 50_00, gateway="test"))
    play.when(opens())
    assert kinds(play.wakes(600)) == ["SessionClosed", "Abandoned"]
    effects = play.when(report(AUTHORIZE, "pending", expires_in_seconds=HOUR))
    assert kinds(effects) == ["Pending", "Task"]
    assert [task.task_id for task in tasks_of(effects)] == [abandoning_id(uid("a1"))]


def test_what_succeeds_at_once_after_its_session_expired_is_given_back(play: Play) -> None:
    play.when(authorize("a1", 50_00, gateway="test"))
    play.when(opens())
    play.wakes(600)
    effects = play.when(report(AUTHORIZE, "succeeded"))
    assert kinds(effects) == ["Authorized", "Asked", "Task"]
    assert isinstance(effects[0], Authorized) and effects[0].operation_id == LATE


def test_a_decline_closes_its_session_with_its_code(waiting: Play) -> None:
    waiting.when(opens())
    waiting.when(report(FOLLOW_UP, "refused", code="card_declined"))
    assert state(waiting) == "cancelled" and waiting.ledger.sessions[uid("s1")].code == "card_declined"
    [event] = waiting.effects
    assert isinstance(event, Declined) and (event.code, event.session_id) == ("card_declined", uid("s1"))


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (opens("s2"), "session_open"),
        (cancels("s2"), "session_closed"),
    ],
)
def test_an_open_session_refuses(waiting: Play, command: Any, code: str) -> None:
    waiting.when(opens())
    before = waiting.ledger
    [refusal] = waiting.when(command, id="m2")
    assert isinstance(refusal, Refusal) and refusal.code == code and waiting.ledger == before


@pytest.mark.parametrize(
    ("command", "code"), [(opens(amount=1), "session_differs"), (opens(currency="USD"), "currency_differs")]
)
def test_a_session_of_another_amount_is_refused(waiting: Play, command: Any, code: str) -> None:
    [refusal] = waiting.when(command)
    assert isinstance(refusal, Refusal) and refusal.code == code


def test_a_session_that_is_opened_while_the_first_one_is_given_up_is_that_of_the_next_authorization(play: Play) -> None:
    play.when(authorize("a1", 50_00, gateway="test"))
    play.when(opens())
    play.when(cancels())
    [opened] = play.when(opens("s2"), id="m2")
    assert isinstance(opened, SessionOpened) and opened.authorization_id is None
    play.when(report(AUTHORIZE, "pending", expires_in_seconds=HOUR), id="m3")
    assert play.ledger.sessions[uid("s2")].authorization_id is None, "what is abandoned has no further session"
    play.when(report(ABANDON, "refused"), id="m4")
    [event] = play.effects
    assert isinstance(event, Declined) and (event.code, event.session_id) == ("payment_abandoned", uid("s1"))
    play.when(authorize("a2", 50_00, gateway="test"), id="m5")
    assert play.ledger.sessions[uid("s2")].authorization_id == uid("a2")


def test_the_next_session_of_an_order_is_possible_after_the_first_has_ended(play: Play) -> None:
    for n in range(5):
        assert kinds(play.when(opens(f"s{n}"), id=f"m{n}")) == ["SessionOpened"]
        play.when(cancels(f"s{n}", f"x{n}"), id=f"c{n}")
    assert len(play.ledger.sessions) == 2, "the document does not grow with each"


def test_a_restored_ledger_abandons_again(waiting: Play) -> None:
    """Without the private event the time is over once more; the gateway cancels what is cancelled without an effect."""
    waiting.wakes(HOUR)
    waiting.ledger = waiting.ledger.model_copy(
        update={
            "operations": {k: o.model_copy(update={"abandoned": False}) for k, o in waiting.ledger.operations.items()}
        }
    )
    assert isinstance(waiting.wakes(HOUR + 1)[0], Abandoned)


def test_a_restored_ledger_has_abandoned_what_a_published_session_ended(waiting: Play) -> None:
    pending = waiting.ledger.operations[uid("a1")]
    [opened, *_], [closed, *_] = waiting.when(opens()), waiting.when(cancels())
    restored = evolve(evolve(Ledger(operations={uid("a1"): pending}), opened), closed)
    [again] = answers.resumed(ORDER, STORE, restored)
    assert isinstance(again.body, GatewayCall) and again.body.abandon


def test_what_the_gateway_accepts_after_its_time_is_abandoned_at_once_by_a_restored_ledger(play: Play) -> None:
    play.when(authorize("a1", 50_00, gateway="test"))
    play.when(opens())
    play.wakes(600)
    [pending, *_] = play.when(report(AUTHORIZE, "pending", expires_in_seconds=HOUR))
    restored = evolve(Ledger(), pending)
    assert [one for _, one in due(restored)] == [uid("a1")]


def test_a_restored_ledger_gives_back_what_was_paid_late_before_the_order_asks_anew(waiting: Play) -> None:
    """It has the late payment, which was published, and neither the void nor that the authorization was abandoned."""
    waiting.when(opens())
    waiting.wakes(600)
    [late, *_] = waiting.when(report(ABANDON, "succeeded"))
    waiting.ledger = evolve(Ledger(), late)
    asked = waiting.when(authorize("a1", 50_00, gateway="test"), id="again")
    assert kinds(asked) == ["Asked", "Abandoned", "Asked", "Task"] and tasks_of(asked)[0].task_id == BACK
    assert kinds(waiting.when(report(VOID_LATE, "succeeded"))) == ["Voided", "Declined"]
    assert waiting.left() == (50_00, 0, 50_00, 0)


def test_a_restored_ledger_that_has_given_back_what_was_paid_late_declines_at_once(waiting: Play) -> None:
    waiting.when(opens())
    waiting.wakes(600)
    [late, *_] = waiting.when(report(ABANDON, "succeeded"))
    [voided_late, *_] = waiting.when(report(VOID_LATE, "succeeded"))
    waiting.ledger = evolve(evolve(Ledger(), late), voided_late)
    assert kinds(waiting.when(authorize("a1", 50_00, gateway="test"), id="again")) == ["Asked", "Abandoned", "Declined"]


# -------------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    "url",
    [
        "https://shop.example", "https://shop.example/thanks?order=1#top", "https://Shop.Example:443/x", "http://127.0.0.1:8080/x",
        "http://localhost/x", "http://[::1]:1/x",
    ],
)  # fmt: skip
def test_an_address_of_a_shop(url: str) -> None:
    assert unfit(url, {origin_of(url)}) is None and is_of_the_shape(url)
    assert unfit(url, {"https://other.example"}) == f"the store has no storefront {origin_of(url)}"


@pytest.mark.parametrize(
    "url",
    [
        "http://shop.example/x", "https://shop.example@evil.example/", "https://evil.example\\@shop.example/", "https:shop.example",
        "https://shop.example\\.evil.example", "javascript:alert(1)", "https://", "https:///x", "//shop.example/x", "https://shop.example:0/",
        "https://shop.example /x", "https://shop.example/\n", "ftp://shop.example/", "http://127.0.0.1.evil.example/", "https://shop..example:x/",
        "HTTPS://shop.example/", "https://\u017fhop.example/",
    ],
)  # fmt: skip
def test_what_is_no_address_of_a_shop(url: str) -> None:
    assert unfit(url, {"https://shop.example", "http://127.0.0.1"}) is not None and not is_of_the_shape(url)


def is_of_the_shape(url: str) -> bool:
    """Whether a request with this address fits the schema."""
    try:
        SessionBody(order_id=ORDER, amount_minor=1, currency="EUR", return_url=url)
    except ValidationError:
        return False
    return True


def test_a_storefront_has_origins_without_a_path() -> None:
    assert Storefront(store="st_1", origins=("https://Shop.Example",)).origins == ("https://shop.example",)
    for wrong in ("https://shop.example/", "http://shop.example", "shop.example"):
        with pytest.raises(ValueError, match="origin|https|address"):
            Storefront(store="st_1", origins=(wrong,))
