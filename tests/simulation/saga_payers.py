"""The acts by which money moves besides the processes of orders: gift cards, payment sessions, disputes, payment systems elsewhere."""

from __future__ import annotations

from collections import defaultdict
from datetime import timedelta
from random import Random
from uuid import UUID

from saga_orders import STORE
from saga_world import World

from contracts.invoicing import Credit, CreditLine
from contracts.payments import (
    CancelSession,
    CheckDispute,
    Declined,
    GiftCardsRedeemed,
    MoneyLine,
    OpenSession,
    Refund,
    Refunded,
    ReplacingLine,
    Reverse,
    ReversedLine,
    Voided,
)
from contracts.payments import Record as RecordPayment
from payments.domain.balances import Balance
from payments.domain.disputes import DisputeCall
from payments.domain.gift_cards import Activate, Adjust, CardKey, Deactivate, Issue


class Payers:
    """Buyers, and who informs payments. Every choice is the `rng`'s."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cards: list[UUID] = []
        self.placed_here: set[UUID] = set()
        """Orders that came by a request."""
        self.refunded_elsewhere: set[UUID] = set()
        """Orders of which a part went back that no process asked for."""
        self.reversed: set[UUID] = set()
        """Orders of which captured lines were reversed: they are paid for other lines than they sell."""
        self.disputes_opened = 0

    # -- gift cards ---------------------------------------------------------------------------------------------------

    def issue_gift_cards(self, rng: Random) -> None:
        for n in range(2):
            card = self.world.name()
            self.cards.append(card)
            expires = self.world.now + timedelta(seconds=5000) if rng.random() < 0.2 else None
            self.world.request(
                Issue(
                    gift_card_id=card, store_id=STORE, operation_id=self.world.name(), actor="person:ann", currency="EUR",
                    amount_minor=rng.choice([50, 1500, 9000]), expires_at=expires, single_use=rng.random() < 0.2,
                    code_sha256=f"{n}" * 64, code_end="ABCD", activate=rng.random() < 0.9,
                )
            )  # fmt: skip

    def a_gift_card_changes(self, rng: Random) -> None:
        body = {
            "gift_card_id": rng.choice(self.cards),
            "store_id": STORE,
            "operation_id": self.world.name(),
            "actor": "person:ann",
        }
        self.world.request(
            rng.choice(
                [
                    Activate(**body),
                    Deactivate(**body),
                    Adjust(**body, amount_minor=rng.choice([-40, 700]), reason="checked"),
                ]
            )
        )

    def check_gift_cards(self) -> None:
        """What cards have paid of an order that is cancelled is on them again; no movement is lost between card and order."""
        used: dict[UUID, dict[UUID, int]] = defaultdict(lambda: defaultdict(int))
        for event in self.world.payments.journal:
            if isinstance(event, (GiftCardsRedeemed, Declined, Voided, Refunded)):
                for part in event.gift_cards:
                    redeemed = isinstance(event, GiftCardsRedeemed)
                    used[event.order_id][part.gift_card_id] += part.amount_minor if redeemed else -part.amount_minor
        for key, order in self.world.orders.states().items():
            if order.status == "cancelled":
                assert not any(used[key].values()), f"{key}: gift cards have not got back {dict(used[key])}"
        for card in self.cards:
            balance = self.world.payments.shares[CardKey(STORE, card)]
            assert isinstance(balance, Balance)
            assert balance.used_minor == sum(of_order[card] for of_order in used.values()) >= 0
            assert balance.balance_minor == sum(move.amount_minor for move in balance.moves) >= 0

    # -- sessions, disputes -------------------------------------------------------------------------------------------

    def a_buyer_pays_in_a_session(self, rng: Random) -> None:
        """Opens a session of an order, also before the order asks for its payment, or gives up in the one that is open."""
        found = sorted(self.world.orders.states())
        if not found:
            return
        key = rng.choice(found)
        ledger = self.world.payments.states().get(key)
        body = {"order_id": key, "store_id": STORE, "operation_id": self.world.name(), "actor": "api-key:till"}
        sessions = [name for name, one in ledger.sessions.items() if one.state == "open"] if ledger is not None else []
        if sessions:
            self.world.request(CancelSession(**body, session_id=sessions[0]))
            return
        waiting = [one.amount_minor for one in ledger.operations.values() if one.state == "pending"] if ledger else []
        amount = rng.choice(waiting or [self.world.orders.states()[key].grand_minor or 0])
        back = "https://shop.example/back"
        self.world.request(
            OpenSession(
                **body,
                currency="EUR",
                amount_minor=amount,
                return_url=back,
                expires_in_seconds=rng.choice([60, 4000]),
                gateway=rng.choice([None, "test"]),
                order_within_seconds=rng.choice([600, 9000]),
            )
        )

    def a_buyer_disputes(self, rng: Random) -> None:
        """A dispute of a payment is opened, or the gateway states more about one that is open."""
        if (asking := self.world.gateway.disputes()) and rng.random() < 0.7:
            call = asking[0].body
            assert isinstance(call, DisputeCall)
            ledger = self.world.payments.states()[call.order_id]
            one = ledger.disputes[call.dispute_id]
            (payment,) = [
                found.gateway_reference
                for found in ledger.authorizations.values()
                if found.gateway_reference is not None and one.reference == f"dp_{found.gateway_reference}"
            ]
            self.world.gateway.states(asking[0], rng.choice(["open", "won", "lost"]), payment, one.amount_minor)
            return
        disputable = [
            (key, found.gateway_reference, minor)
            for key, ledger in sorted(self.world.payments.states().items())
            for found in ledger.authorizations.values()
            if found.gateway == "test" and found.gateway_reference is not None
            if (minor := sum(line.captured_minor for line in found.lines.values()))
        ]
        if not disputable:
            return
        key, payment, minor = rng.choice(disputable)
        body = {"order_id": key, "store_id": STORE, "operation_id": self.world.name(), "actor": "gateway:test"}
        self.world.request(CheckDispute(**body, gateway="test", account="main", reference=f"dp_{payment}"))
        task = self.world.gateway.disputes()[-1]
        self.world.gateway.states(task, "open", payment, minor)

    # -- payment systems elsewhere ------------------------------------------------------------------------------------

    def a_payment_is_recorded(self, rng: Random) -> None:
        """What payments waits to be informed of has succeeded elsewhere, or was refused there."""
        if awaited := self.world.gateway.awaited():
            key, _, operation = rng.choice(awaited)
            self.world.gateway.inform(key, operation, rng.choice(["succeeded", "succeeded", "succeeded", "failed"]))

    def a_part_goes_back(self, rng: Random) -> None:
        """A refund of some of a captured line, and the credit note of it, that no process of orders asked for."""
        world = self.world
        if (one := self._a_captured_line(rng)) is None:
            return
        key, capture_id, line_id, left = one
        self.refunded_elsewhere.add(key)
        asked = {"order_id": key, "store_id": STORE, "actor": "person:ann"}
        amount, pieces = rng.randint(1, left - 1), rng.randint(0, 1)
        back = MoneyLine(line_id=line_id, quantity=pieces, amount_minor=amount)
        world.request(Refund(**asked, operation_id=world.name(), capture_id=capture_id, currency="EUR", lines=(back,)))
        billing = world.invoicing.states().get(key)
        if billing is not None and (invoice := billing.invoice_of(capture_id)) is not None:
            part = CreditLine(line_id=line_id, quantity=0, amount_minor=amount)
            world.request(Credit(**asked, operation_id=world.name(), invoice_id=invoice.invoice_id, lines=(part,)))

    def a_refund_is_recorded(self, rng: Random) -> None:
        """Money went back in a payment system elsewhere, which informs payments: orders credits it."""
        if (one := self._a_captured_line(rng)) is None:
            return
        key, capture_id, line_id, left = one
        back = MoneyLine(line_id=line_id, quantity=rng.randint(0, 1), amount_minor=rng.randint(1, left))
        self.world.request(
            RecordPayment(
                order_id=key, store_id=STORE, operation_id=self.world.name(), actor="api-key:till", kind="refund", system="psp",
                payment_id=str(self.world.name()), currency="EUR", lines=(back,), refers_to=capture_id,
            )
        )  # fmt: skip

    def captured_pieces_are_reversed(self, rng: Random) -> None:
        """Others replace them, that cost as much, less or more. What a piece costs, payments states where it is another amount."""
        if (one := self._a_captured_line(rng)) is None:
            return
        key, capture_id, line_id, left = one
        line, new = self.world.payments.states()[key].captures[capture_id].lines[line_id], self.world.name()
        pieces = rng.randint(1, line.pieces - line.pieces_back) if line.pieces > line.pieces_back else 0
        amount = left if pieces in (0, line.pieces - line.pieces_back) else left * pieces // line.pieces
        costs = rng.choice([0, max(amount - rng.randint(0, amount), 1), amount, amount + rng.choice([1, 250])])
        title, rate = rng.choice([(None, None), ("Replacement", None), ("Replacement", "8.1")])
        for reversed_minor in (amount, None):
            command = Reverse(
                order_id=key, store_id=STORE, operation_id=self.world.name(), actor="person:ann", currency="EUR",
                capture_id=rng.choice([capture_id, None]),
                reversals=(ReversedLine(line_id=f"{new}:off", reverses=line_id, quantity=pieces, amount_minor=amount),),
                lines=(
                    ReplacingLine(line_id=f"{new}:new", quantity=1, amount_minor=costs, title=title, rate=rate),
                ) if costs else (),
                refund_line_id=f"{new}:rest", recorded=rng.random() < 0.2, reference=str(new),
            )  # fmt: skip
            refusal = self.world.request(command)
            if refusal is None:
                self.reversed.add(key)
            if refusal is None or refusal.code != "price_differs" or reversed_minor is None:
                return
            amount = refusal.more["allowed_minor"]

    def _a_captured_line(self, rng: Random) -> tuple[UUID, UUID, str, int] | None:
        """Order, capture, line, and what of it may be refunded: more than one minor unit."""
        lines = [
            (key, capture_id, line_id, left)
            for key, ledger in sorted(self.world.payments.states().items())
            for capture_id, capture in ledger.captures.items()
            if capture.gift_card_id is None  # a part of another capture
            for line_id, left in ledger.refundable(capture_id).items()
            if left > 1
        ]
        return rng.choice(lines) if lines else None
