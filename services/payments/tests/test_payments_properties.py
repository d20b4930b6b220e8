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
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from payments_play import NOW, ORDER, Play, authorize, capture, force, refund, report, reverse, uid, void

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
    ReversalRefused,
    Reversed,
    Voided,
)
from payments.domain import books, compaction, vocabularies
from payments.domain.answers import Contradiction
from payments.domain.folds import evolve
from payments.domain.forcing import UNANSWERED_MIN, Asking
from payments.domain.gateway import CHECK_KIND, GatewayCall
from payments.domain.ledger import Ledger
from payments.domain.operation import capture_id_of
from payments.domain.reversals import capture_id_of_charge, charge_id_of, refund_id_of

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
        self.authorizations: list[str | UUID] = []
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
        begins=st.sampled_from(["placed", "captured"]),
    )
    def choose(self, gateway: str, closed_max: int, currency: str, begins: str) -> None:
        """With one closed operation in the ledger, decisions read the others from the table. Currencies of 0, 2, 3 decimals."""
        self.gateway, self.currency = gateway, currency
        self.patch = patch.object(compaction, "CLOSED_MAX", closed_max)
        self.patch.start()
        if begins == "captured":
            self.authorizes({"1": 60, "2": 50, "shipping": 7}, with_capture=True, pieces=3)
            for call in [*self.open.values()]:
                self.open.clear()
                self.report(call, yes=True, takes=True)

    # -- what comes in ------------------------------------------------------------------------------------------------

    @rule(amounts=AMOUNTS, with_capture=st.booleans(), pieces=st.integers(0, 3))
    def authorizes(self, amounts: dict[str, int], with_capture: bool, pieces: int) -> None:
        name = self.name("a")
        self.authorizations.append(name)
        if with_capture:
            self.captures.append(capture_id_of(uid(name)))
        command = authorize(name, amounts, self.gateway, self.currency, capture=with_capture)
        of_pieces = tuple(line.model_copy(update={"quantity": pieces}) for line in command.lines)
        self.send(command.model_copy(update={"lines": of_pieces}))

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

    @precondition(lambda self: any(one.lines for one in self.play.ledger.captures.values()))
    @rule(
        data=st.data(),
        share=st.sampled_from([100, 60, 0]),
        cost=st.integers(0, 90),
        parts=st.integers(1, 2),
        recorded=st.booleans(),
    )
    def reverses(self, data: st.DataObject, share: int, cost: int, parts: int, recorded: bool) -> None:
        """What is captured of a line, or a part of it, is replaced by lines that cost less, as much, or more."""
        ledger, name = self.play.ledger, self.name("x")
        taken = [(of, line_id) for of, one in ledger.captures.items() for line_id in one.lines]
        of, origin = data.draw(st.sampled_from(taken))
        line = ledger.captures[of].lines[origin]
        pieces = -(-(line.pieces - line.pieces_back) * share // 100)
        amount = line.captured_minor * pieces // line.pieces if line.pieces else line.left_minor * share // 100
        rows = {f"{name}:-": (origin, pieces, amount)}
        new = {f"{name}:{n}": cost for n in range(parts)}
        before, n_of = self.play.ledger, len(self.play.posted)
        command = reverse(name, rows, new, f"{name}:rest", capture_id=of, currency=self.currency, recorded=recorded)
        effects = self.play.when(command, id=f"m{self.n}")
        if isinstance(effects[0], ReversalRefused):
            assert self.play.ledger == before and len(self.play.posted) == n_of
            return
        self.sent.append(command)
        difference = amount - parts * cost
        moved = {refund_id_of(uid(name)): difference > 0, charge_id_of(uid(name)): difference < 0}
        for operation_id, is_needed in moved.items():
            one = self.play.operations.get(operation_id)
            assert is_needed == (one is not None) and (one is None or one.amount_minor == abs(difference))
            if recorded and one is not None:
                self.stated.add(operation_id)
        charge = charge_id_of(uid(name))
        self.captures += [capture_id_of(charge), capture_id_of_charge(charge)]
        self.authorizations.append(charge)
        self.absorb(effects)

    @precondition(lambda self: any(one.direction == -1 for one in self.play.ledger.lines.values()))
    @rule(data=st.data(), amount=st.integers(0, 60))
    def a_reversal_is_never_reversed(self, data: st.DataObject, amount: int) -> None:
        mirrors = [line_id for line_id, one in self.play.ledger.lines.items() if one.direction == -1]
        before, row = self.play.ledger, {"again": (data.draw(st.sampled_from(mirrors)), 1, amount)}
        event = self.play.when(reverse(self.name("x"), row, {"new": amount}, currency=self.currency))[0]
        assert isinstance(event, ReversalRefused) and event.code == "reversal_final" and self.play.ledger == before

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
            elif isinstance(effect, Reversed):
                self.published.append(effect)
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
            assert 0 <= line.reversed_minor <= line.captured_minor - line.refunded_minor
            assert line.direction == 1 or (line.captured_minor == line.authorized_minor and not line.reversed_minor)
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
            assert whole == sum(line.direction * getattr(line, f"{what}_minor") for line in ledger.lines.values())
            done = [o.amount_minor for o in self.play.operations.values() if o.kind == kind and o.state == "succeeded"]
            assert whole == sum(done)
        assert 0 <= ledger.refunded_minor <= ledger.captured_minor <= ledger.authorized_minor

    @invariant()
    def a_capture_pays_lines_of_what_its_gateway_has_taken(self) -> None:
        """And lines lose what their reversals have taken off them."""
        ledger, taken = self.play.ledger, Counter[str]()
        for capture_id, one in ledger.captures.items():
            paid = sum(line.captured_minor - line.reversed_minor for line in one.lines.values())
            assert paid == self.play.operations[capture_id].amount_minor
            assert all(0 <= line.pieces_back <= line.pieces for line in one.lines.values())
        for line in ledger.lines.values():
            taken[line.reverses or ""] += line.captured_minor if line.direction == -1 else 0
        assert +taken == +Counter({line_id: line.reversed_minor for line_id, line in ledger.lines.items()})

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
            plus, minus = ("debit", "credit") if amounts.direction == 1 else ("credit", "debit")
            assert turnover[line_id, held, plus] == amounts.authorized_minor
            assert turnover[line_id, held, minus] == amounts.captured_minor + amounts.voided_minor
            assert turnover[line_id, cleared, plus] == amounts.captured_minor
            assert turnover[line_id, cleared, minus] == amounts.refunded_minor
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
            if (
                operation.refers_to
                and operation.kind != "reverse"
                and (operation.state == "succeeded" or (operation.is_open and not operation.postponed))
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
