"""Any interleaving of a buyer who pays early, late or never, of expiries, cancels, stale reports and commands: what the gateway
holds in the end is what the ledger states, and of what was declined nothing stays with the gateway.

The gateway has a book of its own. A worker asks it and reports later, also after its task was withdrawn.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from payments_play import ORDER, STORE, Play, authorize, capture, report, uid, void
from payments_play import refund as refunds_command

from contracts.deciding import Task, Withdrawn
from contracts.payments import (
    PAYMENT_ABANDONED,
    Authorize,
    Authorized,
    CancelSession,
    Captured,
    Declined,
    Failed,
    OpenSession,
    Pending,
    PrepaymentReceived,
    PrepaymentReturnAsked,
    PrepaymentReturned,
    Refunded,
    ReturnPrepayment,
    SessionClosed,
    SessionOpened,
    Voided,
)
from payments.domain import answers, books, vocabularies
from payments.domain.compaction import compact
from payments.domain.folds import evolve
from payments.domain.gateway import GatewayCall
from payments.domain.ledger import Ledger
from payments.domain.operation import total
from payments.domain.prepayment_folds import part_id
from payments.domain.waking import wake_at

FINAL = (Authorized, Captured, Voided, Refunded, Declined, Failed, PrepaymentReceived, PrepaymentReturned)
OF_SESSIONS = (SessionOpened, SessionClosed, Pending, PrepaymentReturnAsked)


@dataclass
class Intent:
    """A payment at the gateway."""

    amount: int
    is_automatic: bool
    state: str = "open"
    """open: the buyer may pay. held, taken, gone."""
    captured: int = 0
    voided: int = 0
    refunded: int = 0

    def pay(self) -> None:
        if self.state == "open":
            self.state = "taken" if self.is_automatic else "held"
            self.captured = self.amount if self.is_automatic else 0

    @property
    def left(self) -> int:
        return self.amount - self.captured - self.voided if self.state == "held" else 0


class Buying(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.play, self.n, self.seconds = Play(), 0, 0.0
        self.intents: dict[str, Intent] = {}
        self.done: dict[UUID, tuple[str, int]] = {}
        """Captures, voids and refunds that the gateway was asked for: a repeated key has no second effect."""
        self.open: dict[UUID, GatewayCall] = {}
        self.answered: list[tuple[GatewayCall, dict[str, Any]]] = []
        """What workers have read at the gateway and not reported yet."""
        self.orders: list[str] = []
        self.sent: list[Any] = []
        """What the order has asked for; it asks again what is not answered."""
        self.published: list[Any] = []
        self.ends = Counter[UUID]()

    @initialize(
        can_cancel=st.booleans(),
        takes_at_once=st.booleans(),
        begins=st.sampled_from(["with nothing", "on the page", "ordered on the page", "paid"]),
        amounts=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    )
    def choose(self, can_cancel: bool, takes_at_once: bool, begins: str, amounts: tuple[int, int]) -> None:
        """takes_at_once: the gateway captures what is paid in a session before its order. begins: with a session of a buyer who pays
        before the order asks, so that few steps reach what follows."""
        self.can_cancel, self.takes_at_once = can_cancel, takes_at_once
        if begins == "with nothing":
            return
        self.a_session_is_opened(amounts[0], 600, "test")
        self.ask_and_report()
        if begins == "ordered on the page":
            self.the_order_asks(amounts[1], automatic=False)
        elif begins == "paid":
            for intent in self.intents.values():
                intent.pay()
            self.ask_and_report()
            self.the_order_asks(amounts[1], automatic=False)

    def ask_and_report(self) -> None:
        for call in [*self.open.values()]:
            self.report(call, self.asked(call))

    # -- the order, the storefront, the buyer, the time ---------------------------------------------------------------

    @rule(amount=st.integers(1, 3), automatic=st.booleans(), gateway=st.sampled_from(["test", "test", "test", "other"]))
    def the_order_asks(self, amount: int, automatic: bool, gateway: str = "test") -> None:
        name = self.name("a")
        self.orders.append(name)
        self.send(authorize(name, amount, gateway, capture=automatic))

    @rule(amount=st.integers(1, 3), seconds=st.sampled_from([60, 600]), gateway=st.sampled_from([None, "test", "test"]))
    def a_session_is_opened(self, amount: int, seconds: int, gateway: str | None) -> None:
        name = self.name("s")
        command = OpenSession(
            order_id=ORDER, store_id=STORE, operation_id=uid(name), actor="shop", currency="EUR", amount_minor=amount,
            return_url="https://shop.example", expires_in_seconds=seconds, gateway=gateway, order_within_seconds=9000,
        )  # fmt: skip
        self.absorb(self.play.when(command, id=name))

    @rule()
    def the_session_is_cancelled(self) -> None:
        for session_id, session in self.play.ledger.sessions.items():
            if session.state == "open":
                name = self.name("x")
                command = CancelSession(
                    order_id=ORDER, store_id=STORE, operation_id=uid(name), actor="shop", session_id=session_id
                )
                self.absorb(self.play.when(command, id=name))

    @rule(recorded=st.booleans())
    def a_person_gives_back_what_was_paid(self, recorded: bool) -> None:
        """recorded: after it was done at the gateway itself."""
        for session_id, session in self.play.ledger.sessions.items():
            paid, name = session.prepayment, self.name("b")
            if paid is None or paid.state != "held":
                continue
            if recorded and (intent := self.intents[paid.gateway_reference or ""]):
                intent.refunded, intent.voided = (intent.captured, 0) if paid.captured else (0, intent.amount)
            command = ReturnPrepayment(
                order_id=ORDER,
                store_id=STORE,
                operation_id=uid(name),
                actor="desk",
                session_id=session_id,
                recorded=recorded,
            )
            self.absorb(self.play.when(command, id=name))

    @rule(data=st.data())
    def the_buyer_pays(self, data: st.DataObject) -> None:
        if self.intents:
            self.intents[data.draw(st.sampled_from(sorted(self.intents)))].pay()

    @rule(seconds=st.sampled_from([30.0, 120.0, 4000.0, 10_000.0]))
    def time_passes(self, seconds: float) -> None:
        self.seconds += seconds
        self.absorb(self.play.wakes(self.seconds))

    @rule(data=st.data(), kind=st.sampled_from(["capture", "void", "refund"]))
    def the_order_goes_on(self, data: st.DataObject, kind: str) -> None:
        """Also with what was paid late and is being given back: that is held."""
        ledger = self.play.ledger
        if kind == "refund" and ledger.captures:
            of = data.draw(st.sampled_from(sorted(ledger.captures)))
            self.send(refunds_command(self.name("r"), of, ledger.refundable(of)))
        elif kind == "capture" and ledger.authorizations:
            of = data.draw(st.sampled_from(sorted(ledger.authorizations)))
            self.send(capture(self.name("c"), of, ledger.capturable(of)))  # type: ignore[arg-type]
        elif kind == "void" and self.orders:
            self.send(void(self.name("v"), data.draw(st.sampled_from(self.orders))))

    def send(self, command: Any) -> None:
        self.sent.append(command)
        self.n += 1
        self.absorb(self.play.when(command, id=f"m{self.n}"))

    @rule()
    def the_database_is_restored(self) -> None:
        """It has what was published, and nothing else; the order asks again. What a gateway was asked for and has not accepted is not
        published: asked again beside a session that pays, or has paid, it would be taken for an authorization that was never asked for."""
        one = self.play.ledger
        asked = any(
            o.kind == "authorize" and o.state == "asked" and o.session_id is None for o in one.operations.values()
        )
        if asked and any(s.gateway and (s.state == "open" or s.held_minor) for s in one.sessions.values()):
            return
        self.play.ledger, self.open = Ledger(), {}
        for event in self.published:
            self.play.ledger = compact(evolve(self.play.ledger, event))
        for task in answers.resumed(ORDER, STORE, self.play.ledger):
            assert isinstance(task.body, GatewayCall)
            self.open[task.task_id] = task.body
        for command in self.sent:
            if not self.ends[command.operation_id]:
                self.n += 1
                self.absorb(self.play.when(command, id=f"m{self.n}"))

    # -- the gateway --------------------------------------------------------------------------------------------------

    @rule(data=st.data())
    def a_worker_asks_the_gateway(self, data: st.DataObject) -> None:
        if self.open:
            call = self.open[data.draw(st.sampled_from(sorted(self.open)))]
            self.answered.append((call, self.asked(call)))

    @rule(data=st.data())
    def a_worker_reports(self, data: st.DataObject) -> None:
        """The policy retries what is pending without a report, except for the first answer."""
        if self.answered:
            call, outcome = self.answered.pop(data.draw(st.integers(0, len(self.answered) - 1)))
            self.report(call, outcome)

    def asked(self, call: GatewayCall) -> dict[str, Any]:
        if call.kind == "authorize":
            return self._authorization(call)
        intent = self.intents[call.source or ""]
        if call.operation_id not in self.done:
            self.done[call.operation_id] = self._moved(call, intent)
        return {"state": self.done[call.operation_id][0], "reference": call.source}

    def _moved(self, call: GatewayCall, intent: Intent) -> tuple[str, int]:
        match call.kind:
            case "capture":
                if intent.left < call.amount_minor:
                    return "refused", 0
                intent.captured += call.amount_minor
            case "void":
                if intent.state == "gone":
                    return "succeeded", 0  # it was cancelled as a whole
                assert intent.left >= call.amount_minor
                intent.voided += call.amount_minor
            case _:
                assert intent.captured - intent.refunded >= call.amount_minor, "more is given back than was taken"
                intent.refunded += call.amount_minor
        return "succeeded", call.amount_minor

    def _authorization(self, call: GatewayCall) -> dict[str, Any]:
        reference = f"pi_{call.operation_id}"
        intent = self.intents.get(reference)
        if intent is None:
            assert not call.ask_only, "it is asked about what was accepted"
            early = self.play.operations[call.operation_id].kind == "prepay"
            intent = self.intents[reference] = Intent(call.amount_minor, call.capture or (early and self.takes_at_once))
        assert intent.amount == call.amount_minor, "one key, one amount"
        if call.abandon and self.can_cancel and intent.state in ("open", "held") and not intent.captured:
            intent.voided = intent.amount if intent.state == "held" else 0
            intent.state = "gone"
        state = {"open": "pending", "held": "succeeded", "taken": "succeeded", "gone": "refused"}[intent.state]
        more = {"expires_in_seconds": 3600.0} if state == "pending" else {}
        return {"state": state, "reference": reference, "captured": intent.state == "taken", **more}

    def report(self, call: GatewayCall, outcome: dict[str, Any]) -> None:
        outcome = dict(outcome)
        if outcome["state"] == "pending" and call.ask_only:
            return
        if not any(call is one for one in self.open.values()) and not call.ask_only:
            return  # the first report of a call ended its task: the chassis takes no second one
        self.open = {name: one for name, one in self.open.items() if one is not call}
        self.n += 1
        effects = self.play.when(
            report(call, outcome.pop("state"), outcome.pop("reference"), **outcome), id=f"m{self.n}"
        )
        self.absorb(effects)

    # -- bookkeeping --------------------------------------------------------------------------------------------------

    def name(self, letter: str) -> str:
        self.n += 1
        return f"{letter}{self.n}"

    def absorb(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Withdrawn):
                self.open.pop(effect.task_id, None)
            elif isinstance(effect, Task):
                assert isinstance(effect.body, GatewayCall)
                self.open.setdefault(effect.task_id, effect.body)
            elif isinstance(effect, FINAL + OF_SESSIONS):
                self.published.append(effect)
                if isinstance(effect, FINAL):
                    assert effect.operation_id is not None
                    self.ends[effect.operation_id] += 1

    # -- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def every_operation_ends_once(self) -> None:
        assert all(times == 1 for times in self.ends.values())

    @invariant()
    def of_what_was_declined_nothing_stays_and_nothing_can_come(self) -> None:
        for operation_id, one in self.play.operations.items():
            if one.state == "declined" and one.code == PAYMENT_ABANDONED:
                intent = self.intents.get(f"pi_{operation_id}")
                if intent is None:  # it has waited for a session
                    continue
                assert intent.state != "open" and intent.left == 0
                assert intent.captured == intent.refunded

    @invariant()
    def no_more_is_authorized_than_was_asked_for(self) -> None:
        ledger = self.play.ledger
        for command in self.sent:
            if isinstance(command, Authorize):
                ids = {command.operation_id, *(part_id(command.operation_id, session) for session in ledger.sessions)}
                granted = [ledger.authorizations[one].lines.values() for one in ids & ledger.authorizations.keys()]
                assert sum(line.authorized_minor for lines in granted for line in lines) <= total(command.lines)

    @invariant()
    def nothing_is_both_voided_and_captured(self) -> None:
        for intent in self.intents.values():
            assert intent.captured + intent.voided <= intent.amount and intent.refunded <= intent.captured

    @invariant()
    def what_is_open_has_an_owner_and_a_session_a_time(self) -> None:
        ledger = self.play.ledger
        asked = {call.operation_id for call in self.open.values()}
        for operation_id, one in ledger.operations.items():
            if one.is_open and one.session_id is not None:
                assert one.session_id in asked, "its buyer is paying"
            elif one.is_open and not one.postponed:
                given_back = any(call.refers_to and one.abandoned for call in self.open.values())
                assert operation_id in asked or given_back
        is_open = any(session.state == "open" for session in ledger.sessions.values())
        assert not is_open or wake_at(ledger) is not None

    @invariant()
    def two_vocabularies_state_the_same_of_the_order(self) -> None:
        """What was paid in a session and not taken over is in neither."""
        ledger = self.play.ledger
        theirs, ours = vocabularies.dintero_payment_status(ledger), vocabularies.commercelayer_payment_status(ledger)
        if ledger.captured_minor == 0:
            assert theirs == "pending" and ours not in ("paid", "partially_paid", "refunded", "partially_refunded")
        else:
            assert theirs == ours

    @invariant()
    def the_books_balance(self) -> None:
        ledger = self.play.ledger
        assert ledger.captured_minor + ledger.voided_minor <= ledger.authorized_minor
        accounts = Counter[str]()
        for one in self.play.posted:
            for line in one.lines:
                accounts[one.debit] += line.amount_minor
                accounts[one.credit] -= line.amount_minor
        prepaid = [one.prepayment for one in ledger.sessions.values() if one.prepayment is not None]
        held = [sum(one.amount_minor for one in prepaid if one.captured is taken) for taken in (False, True)]
        assert accounts["gateway_clearing"] == ledger.captured_minor - ledger.refunded_minor + held[1]
        left = ledger.authorized_minor - ledger.captured_minor - ledger.voided_minor
        assert accounts["authorized"] == left + held[0] and accounts["prepayments"] == -sum(held)
        assert sum(accounts.values()) == 0

    def teardown(self) -> None:
        """Buyers who still can pay do so, and everything ends: the gateway's book is the ledger's, and nothing waits for an order."""
        self.answered.clear()
        self.time_passes(20_000.0)
        while self.open:
            for intent in self.intents.values():
                intent.pay()
            call = next(iter(self.open.values()))
            self.report(call, self.asked(call))
        ledger = self.play.ledger
        assert not any(one.is_open for one in self.play.operations.values())
        self.no_more_is_authorized_than_was_asked_for()
        intents = self.intents.values()
        assert not any(one.held_minor for one in ledger.sessions.values())
        there = sum(one.captured - one.refunded + one.left for one in intents)
        assert there == ledger.authorized_minor - ledger.voided_minor - ledger.refunded_minor
        if not self.takes_at_once:
            assert sum(one.captured - one.refunded for one in intents) == ledger.captured_minor - ledger.refunded_minor
        again = Ledger()
        for event in self.published:
            again = evolve(again, event)
        assert (again.totals(), again.lines) == (ledger.totals(), ledger.lines)
        assert not any(one.held_minor for one in again.sessions.values())
        assert len([*books.postings(Ledger(), again, self.published)]) == len(self.play.posted)


Buying.TestCase.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)
TestBuying = Buying.TestCase
