"""Any interleaving of commands, repetitions and gateway reports keeps promise 3, and every operation ends at most once.

The machine plays the chassis and a gateway with its own arithmetic beside the ledger: what it counts as moved must be what
the ledger states.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable
from typing import Any
from unittest.mock import patch
from uuid import UUID

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from payments_play import NOW, ORDER, Play, authorize, capture, force, refund, report, uid, void

from contracts.deciding import Task, Withdrawn
from contracts.payments import (
    Authorized,
    Captured,
    Contradicted,
    Declined,
    Failed,
    ForceRefused,
    Pending,
    Refunded,
    Voided,
)
from payments.domain import books, vocabularies
from payments.domain import ledger as ledger_module
from payments.domain.answers import Contradiction
from payments.domain.folds import evolve
from payments.domain.forcing import UNANSWERED_MIN, Asking
from payments.domain.gateway import CHECK_KIND, GatewayCall
from payments.domain.ledger import Ledger, capture_id_of

FINAL = (Authorized, Captured, Voided, Refunded, Declined, Failed)
SUCCEEDED = (Authorized, Captured, Voided, Refunded)
AMOUNTS = st.dictionaries(st.sampled_from(["1", "2", "shipping"]), st.integers(0, 60), min_size=1, max_size=3)

UNAUTHORIZED = {"INITIATED", "DECLINED", "FAILED", "UNKNOWN"}
CONDITIONS: dict[str, Callable[[int, int, int, int], bool]] = {
    "NOTHING": lambda a, c, v, r: a == 0,
    "AUTHORIZED": lambda a, c, v, r: c == 0 and v < a,
    "AUTHORIZATION_VOIDED": lambda a, c, v, r: c == 0 and v == a > 0,
    "PARTIALLY_CAPTURED": lambda a, c, v, r: 0 < c < a - v and r == 0,
    "CAPTURED": lambda a, c, v, r: c == a - v > 0 and r == 0,
    "PARTIALLY_CAPTURED_REFUNDED": lambda a, c, v, r: 0 < c < a - v and r > 0,
    "PARTIALLY_REFUNDED": lambda a, c, v, r: c == a - v and 0 < r < c,
    "REFUNDED": lambda a, c, v, r: c == a - v and r == c > 0,
}
"""Conditions on the sums that are authorized, captured, voided, refunded. Exactly one holds."""
AGREE = {
    "FREE": {("paid", "free")},
    "NOTHING": {("pending", "unpaid")},
    "AUTHORIZED": {("pending", word) for word in ("authorized", "partially_authorized", "partially_voided")},
    "AUTHORIZATION_VOIDED": {("pending", "voided")},
    "PARTIALLY_CAPTURED": {("partially_paid", "partially_paid")},
    "CAPTURED": {("paid", "paid")},
    "PARTIALLY_CAPTURED_REFUNDED": {(word, word) for word in ("partially_refunded", "refunded")},
    "PARTIALLY_REFUNDED": {("partially_refunded", "partially_refunded")},
    "REFUNDED": {("refunded", "refunded")},
}
"""Dintero's word for the transaction -> its word for the order and Commerce Layer's that may be beside it."""


class Story(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.play = Play()
        self.sent: list[Any] = []
        self.authorizations: list[str] = []
        self.captures: list[str | UUID] = []
        self.open: dict[UUID, GatewayCall] = {}
        """Tasks that have not reported."""
        self.withdrawn: list[GatewayCall] = []
        """Calls that a worker had begun when a person stated the outcome."""
        self.checks: set[UUID] = set()
        """Tasks that ask what a gateway has."""
        self.stated: set[UUID] = set()
        self.contradictions: Counter[UUID] = Counter()
        self.truth: dict[UUID, tuple[str, str | None, bool]] = {}
        """What the gateway did, and whether it captured in the same call: it never changes its mind."""
        self.published: list[Any] = []
        self.answers: dict[UUID, list[Any]] = defaultdict(list)
        self.tasks: Counter[UUID] = Counter()
        self.n = 0

    @initialize(
        gateway=st.sampled_from(["marketplace", "test", "manual"]),
        closed_max=st.sampled_from([1, 8]),
        currency=st.sampled_from(["JPY", "EUR", "TND"]),
    )
    def choose(self, gateway: str, closed_max: int, currency: str) -> None:
        """With one closed operation in the ledger, decisions read the others from the table. Currencies of 0, 2, 3 decimals."""
        self.gateway, self.currency = gateway, currency
        self.patch = patch.object(ledger_module, "CLOSED_MAX", closed_max)
        self.patch.start()

    # -- what comes in ------------------------------------------------------------------------------------------------

    @rule(amounts=AMOUNTS, with_capture=st.booleans())
    def authorizes(self, amounts: dict[str, int], with_capture: bool) -> None:
        name = self.name("a")
        self.authorizations.append(name)
        if with_capture:
            self.captures.append(capture_id_of(uid(name)))
        self.send(authorize(name, amounts, self.gateway, self.currency, capture=with_capture))

    @rule(amounts=AMOUNTS, data=st.data())
    def captures_some(self, amounts: dict[str, int], data: st.DataObject) -> None:
        name = self.name("c")
        self.captures.append(name)
        self.send(capture(name, data.draw(st.sampled_from([*self.authorizations, "a?"])), amounts, self.currency))

    @rule(data=st.data())
    def captures_all_that_is_left(self, data: st.DataObject) -> None:
        of = data.draw(st.sampled_from([*self.authorizations, "a?"]))
        if uid(of) in self.play.ledger.authorizations:
            name = self.name("c")
            self.captures.append(name)
            self.send(capture(name, of, self.play.ledger.capturable(uid(of)), self.currency))

    @rule(data=st.data())
    def voids(self, data: st.DataObject) -> None:
        self.send(void(self.name("v"), data.draw(st.sampled_from([*self.authorizations, "a?"]))))

    @rule(amounts=AMOUNTS, data=st.data())
    def voids_some(self, amounts: dict[str, int], data: st.DataObject) -> None:
        """Exactly what it names, or nothing of it."""
        name, of = self.name("v"), data.draw(st.sampled_from([*self.authorizations, "a?"]))
        before = self.play.ledger
        left = before.capturable(uid(of)) if uid(of) in before.authorizations else {}
        self.send(void(name, of, amounts))
        operation = self.play.operations[uid(name)]
        if operation.postponed:
            assert before.operations[uid(of)].is_open
        else:
            is_left = all(amount <= left.get(line_id, -1) for line_id, amount in amounts.items())
            assert (operation.state == "failed") != is_left
            assert operation.state == "failed" or operation.amount_minor == sum(amounts.values())

    @rule(amounts=AMOUNTS, data=st.data(), recorded=st.booleans())
    def refunds(self, amounts: dict[str, int], data: st.DataObject, recorded: bool) -> None:
        name = self.name("r")
        self.send(
            refund(name, data.draw(st.sampled_from([*self.captures, "c?"])), amounts, self.currency, recorded=recorded)
        )
        operation = self.play.operations[uid(name)]
        if recorded:
            assert operation.state in ("succeeded", "failed"), "no gateway is asked"
            self.stated.add(uid(name))

    @rule(data=st.data(), outcome=st.sampled_from(["succeeded", "failed"]), tries=st.sampled_from([0, UNANSWERED_MIN]))
    def a_person_states_an_outcome(self, data: st.DataObject, outcome: str, tries: int) -> None:
        if not self.sent:
            return
        target = data.draw(st.sampled_from(self.sent)).operation_id
        before, held = self.play.ledger, self.play.operations[target]
        self.play.asking[target] = Asking(tries, NOW)
        command = force(self.name("f"), "?", outcome).model_copy(update={"target_operation_id": target})
        effects = self.play.when(command, id=f"m{self.n}")
        if effects and isinstance(effects[0], ForceRefused):
            assert self.play.ledger == before and not (held.is_open and not held.postponed and tries)
            return
        self.absorb(effects)
        if effects:
            self.stated.add(target)
            assert not held.is_open or tries, "its gateway may still answer"
            assert (self.play.operations[target].state == "succeeded") == (outcome == "succeeded")
            assert target not in {call.operation_id for task, call in self.open.items() if task not in self.checks}

    @rule(data=st.data(), yes=st.booleans(), takes=st.booleans())
    def a_call_that_was_under_way_reports_after_the_statement(
        self, data: st.DataObject, yes: bool, takes: bool
    ) -> None:
        if self.withdrawn:
            call = data.draw(st.sampled_from(self.withdrawn))
            self.withdrawn.remove(call)
            self.report(call, yes, takes)

    @rule(data=st.data())
    def asks_again(self, data: st.DataObject) -> None:
        """Also for operations that are answered, as long as the ledger has them: the chassis answers those by itself."""
        asked = [one for one in self.sent if one.operation_id in self.play.ledger.operations]
        if asked:
            before = self.play.ledger
            effects = self.play.when(data.draw(st.sampled_from(asked)), id=f"again{self.n}")
            assert effects == [] and self.play.ledger == before

    # -- what the gateway returns ----------------------------------------------------------------------------------------

    @rule(data=st.data(), yes=st.booleans(), takes=st.booleans(), later=st.booleans())
    def reports(self, data: st.DataObject, yes: bool, takes: bool, later: bool) -> None:
        """takes: it is a gateway that captures in the same call, if it is asked to."""
        if not self.open:
            return
        task_id = data.draw(st.sampled_from(sorted(self.open)))
        call = self.open[task_id]
        if later and not call.ask_only:
            del self.open[task_id]
            self.absorb(self.play.when(report(call, "pending"), id=f"m{self.n}"))
            return
        del self.open[task_id]
        if task_id in self.checks and call.operation_id not in self.truth and not yes:
            self.absorb(self.play.when(report(call, "unknown", None), id=f"m{self.n}"))
        else:
            self.report(call, yes, takes)

    def report(self, call: GatewayCall, yes: bool, takes: bool) -> None:
        told = ("succeeded", f"tg_{len(self.truth)}", takes and call.capture) if yes else ("refused", None, False)
        state, reference, captured = self.truth.setdefault(call.operation_id, told)
        money = self.play.left()
        self.absorb(self.play.when(report(call, state, reference, captured=captured), id=f"m{self.n}"))
        assert call.operation_id not in self.stated or self.play.left() == money, "a report after it moves nothing"

    @rule(data=st.data(), state=st.sampled_from(["same", "pending", "other"]))
    def a_frozen_worker_reports_too(self, data: st.DataObject, state: str) -> None:
        """The same operation once more, by who lost its lease."""
        if not (reported := self.truth.keys() - self.stated):
            return
        operation_id = data.draw(st.sampled_from(sorted(reported)))
        operation = self.play.operations[operation_id]
        call = GatewayCall(
            operation_id=operation_id, gateway="test", kind=operation.kind, order_id=ORDER, store_id="st_1",
            currency="EUR", amount_minor=operation.amount_minor, refers_to=operation.refers_to,
        )  # fmt: skip
        before, (said, reference, captured) = self.play.ledger, self.truth[operation_id]
        if state == "other":
            other = ("refused", None) if said == "succeeded" else ("succeeded", "tg_other")
            with pytest.raises(Contradiction):
                self.play.when(report(call, *other))
        elif state == "pending":
            assert self.play.when(report(call, "pending")) == []
        else:
            assert self.play.when(report(call, said, reference, captured=captured)) == []
        assert self.play.ledger == before

    # -- bookkeeping --------------------------------------------------------------------------------------------------

    def name(self, letter: str) -> str:
        self.n += 1
        return f"{letter}{self.n}"

    def send(self, command: Any) -> None:
        self.sent.append(command)
        self.absorb(self.play.when(command, id=f"m{self.n}"))

    def absorb(self, effects: list[Any]) -> None:
        for effect in effects:
            if isinstance(effect, Task):
                self.tasks[effect.task_id] += 1
                assert isinstance(effect.body, GatewayCall)
                self.open.setdefault(effect.task_id, effect.body)
                if effect.kind == CHECK_KIND:
                    self.checks.add(effect.task_id)
            elif isinstance(effect, Withdrawn):
                if (call := self.open.pop(effect.task_id, None)) is not None:
                    self.withdrawn.append(call)
            elif isinstance(effect, Contradicted):
                self.published.append(effect)
                self.contradictions[effect.target_operation_id] += 1
            elif isinstance(effect, (*FINAL, Pending)):
                self.published.append(effect)
                assert effect.operation_id is not None
                self.answers[effect.operation_id].append(effect)

    # -- what always holds --------------------------------------------------------------------------------------------

    @invariant()
    def per_line_nothing_is_spent_that_is_not_there(self) -> None:
        ledger = self.play.ledger
        for line in ledger.lines.values():
            assert 0 <= line.refunded_minor <= line.captured_minor <= line.authorized_minor
            assert line.voided_minor >= 0 and line.captured_minor + line.voided_minor <= line.authorized_minor
        for authorization in ledger.authorizations.values():
            assert all(line.left_minor >= 0 for line in authorization.lines.values())
        for authorization_id in ledger.authorizations:
            assert all(left >= 0 for left in ledger.capturable(authorization_id).values())
        for capture_id in ledger.captures:
            assert all(left >= 0 for left in ledger.refundable(capture_id).values())

    @invariant()
    def no_cent_is_lost_between_lines_totals_and_operations(self) -> None:
        ledger = self.play.ledger
        for what, kind in (
            ("authorized", "authorize"),
            ("captured", "capture"),
            ("voided", "void"),
            ("refunded", "refund"),
        ):
            whole = getattr(ledger, f"{what}_minor")
            assert whole == sum(getattr(line, f"{what}_minor") for line in ledger.lines.values())
            done = [o.amount_minor for o in self.play.operations.values() if o.kind == kind and o.state == "succeeded"]
            assert whole == sum(done)

    @invariant()
    def the_books_balance_and_give_every_amount_of_every_line(self) -> None:
        ledger, turnover = self.play.ledger, Counter[tuple[str, str, str]]()
        for one in self.play.posted:
            for line in one.lines:
                assert line.amount_minor > 0
                turnover[line.line_id, one.debit, "debit"] += line.amount_minor
                turnover[line.line_id, one.credit, "credit"] += line.amount_minor
        held, cleared = books.held_by(self.gateway), books.cleared_by(self.gateway)
        for line_id, amounts in ledger.lines.items():
            assert turnover[line_id, held, "debit"] == amounts.authorized_minor
            assert turnover[line_id, held, "credit"] == amounts.captured_minor + amounts.voided_minor
            assert turnover[line_id, cleared, "debit"] == amounts.captured_minor
            assert turnover[line_id, cleared, "credit"] == amounts.refunded_minor
        accounts = Counter[str]()
        for (_, account, side), minor in turnover.items():
            accounts[account] += minor if side == "debit" else -minor
        owed = [o for o in ledger.operations.values() if (o.kind, o.state) == ("refund", "pending")]
        assert accounts["refunds_payable"] == -sum(o.amount_minor for o in owed)
        assert sum(accounts.values()) == accounts["rounding"] == 0

    @invariant()
    def three_vocabularies_state_what_the_operations_add_up_to_and_agree(self) -> None:
        ledger, done = self.play.ledger, [o for o in self.play.operations.values() if o.state == "succeeded"]
        a, c, v, r = (
            sum(o.amount_minor for o in done if o.kind == kind) for kind in ("authorize", "capture", "void", "refund")
        )
        free = a == 0 and any(o.kind == "authorize" for o in done)
        transaction = vocabularies.dintero_transaction_status(ledger)
        words = vocabularies.dintero_payment_status(ledger), vocabularies.commercelayer_payment_status(ledger)
        [meant] = (
            [status for status, condition in CONDITIONS.items() if condition(a, c, v, r)] if not free else ["FREE"]
        )
        assert transaction in {"FREE": {"CAPTURED"}, "NOTHING": UNAUTHORIZED}.get(meant, {meant})
        assert words in AGREE[meant]

    @invariant()
    def of_each_authorization_and_capture_nothing_is_spent_twice(self) -> None:
        """What its operations have drawn, and may still draw if all that is open succeeds."""
        amounts: dict[UUID, int] = defaultdict(int)
        for operation in self.play.operations.values():
            if operation.refers_to and (
                operation.state == "succeeded" or (operation.is_open and not operation.postponed)
            ):
                amounts[operation.refers_to] += operation.amount_minor
        for operation_id, drawn in amounts.items():
            assert drawn <= self.play.operations[operation_id].amount_minor
            assert not drawn or self.play.operations[operation_id].state == "succeeded"

    @invariant()
    def the_newest_fact_carries_the_totals_that_stand(self) -> None:
        if self.published:
            assert self.published[-1].totals == self.play.ledger.totals()

    @invariant()
    def every_operation_is_answered_once_at_the_end_and_said_to_be_pending_once_at_most(self) -> None:
        for answers in self.answers.values():
            ends = [answer for answer in answers if isinstance(answer, FINAL)]
            assert sum(isinstance(answer, Pending) for answer in answers) <= 1
            assert not any(isinstance(answer, Pending) for answer in answers[1:]), "nothing follows the end"
            if len(ends) > 1:  # a person overruled a refusal
                first, second = ends
                assert isinstance(first, (Declined, Failed)) and isinstance(second, SUCCEEDED) and second.recorded

    @invariant()
    def what_the_gateway_moved_is_what_the_ledger_says(self) -> None:
        for operation_id, (said, _, captured) in self.truth.items():
            operation = self.play.operations[operation_id]
            if operation.recorded is None:
                assert (operation.state == "succeeded") == (said == "succeeded")
                taken = self.play.operations.get(capture_id_of(operation_id))
                assert captured == (taken is not None and taken.amount_minor == operation.amount_minor)

    @invariant()
    def a_contradiction_is_published_once_for_each_statement(self) -> None:
        assert self.contradictions.keys() <= self.stated
        for operation_id, times in self.contradictions.items():
            statements = sum(one.recorded for one in self.answers[operation_id] if isinstance(one, FINAL))
            assert times <= statements

    @invariant()
    def whatever_is_open_has_somebody_who_will_end_it(self) -> None:
        ledger = self.play.ledger
        asked = {call.operation_id for call in self.open.values()}
        for operation_id, operation in ledger.operations.items():
            if operation.postponed:
                assert ledger.in_flight(operation.refers_to)  # type: ignore[arg-type]
            elif operation.is_open:
                assert operation_id in asked

    @invariant()
    def a_gateway_is_told_once(self) -> None:
        assert all(n == 1 for n in self.tasks.values())

    def teardown(self) -> None:
        try:
            self.finish()
        finally:
            self.patch.stop()

    def finish(self) -> None:
        """When every task has reported nothing is open, and the published events alone give the same money."""
        while self.open:
            task_id = next(iter(self.open))
            call = self.open.pop(task_id)
            self.report(call, yes=True, takes=True)
        assert not any(operation.is_open for operation in self.play.operations.values())
        again = Ledger()
        for event in self.published:
            again = evolve(again, event)
        assert again.totals() == self.play.ledger.totals()
        assert again.lines == self.play.ledger.lines
        assert again.authorizations == self.play.ledger.authorizations
        assert again.captures == self.play.ledger.captures
        assert [*books.postings(Ledger(), again, self.published)] == [
            one._replace(place=self.published.index(one.event)) for one in self.play.posted
        ], "the published events alone give the same books, in one piece or in many"


Story.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestStory = Story.TestCase
