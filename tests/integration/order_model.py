"""What an order is after the requests that were made of it: a model of the promises of docs/edits.md, refunds.md and holds.md.

It shares no code with the services. Amounts are minor units, tax included. A model is exact when the order is settled: every request is applied
whole, as if no other were under way. `apply` returns the code that refuses a request, or None.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

Money = dict[str, tuple[int, int]]
"""line id -> (pieces, minor units)."""
CHARGE = "shipping"


def share(total: int, part: int | Fraction, whole: int | Fraction) -> int:
    """A part's share, rounded half up."""
    return int(Fraction(total * part) / whole + Fraction(1, 2))


def spread(total: int, weights: Mapping[str, int]) -> dict[str, int]:
    """The total by weight; the largest remainders, then the first lines, have the odd units."""
    exact = {name: Fraction(total * weight, sum(weights.values())) for name, weight in weights.items()}
    shares = {name: int(value) for name, value in exact.items()}
    odd = sorted(exact, key=lambda name: shares[name] - exact[name])[: total - sum(shares.values())]
    return {name: value + (name in odd) for name, value in shares.items()}


@dataclass
class Line:
    sku: str | None
    """None: the shipping charge."""
    pieces: int
    minor: int
    whole: tuple[int, int] | None = None
    """Pieces and price of which fewer pieces are a share; None: fewer pieces are a share of those that are left."""
    rate: str = "20"
    """The rate of its VAT, in percent."""
    shipped: int = 0
    restocked: int = 0

    def have(self, pieces: int) -> None:
        if self.whole is not None and pieces <= self.whole[0]:
            self.pieces, self.minor = pieces, share(self.whole[1], pieces, self.whole[0])
        else:
            self.cost(pieces, share(self.minor, pieces, self.pieces))

    def cost(self, pieces: int, minor: int) -> None:
        some_were_cancelled = self.whole is None or min(self.pieces, pieces) < self.whole[0]
        self.pieces, self.minor = pieces, minor
        self.whole = None if some_were_cancelled else (pieces, minor)


@dataclass
class Captured:
    """A line of a capture; what edits have taken off it, and what has gone back."""

    pieces: int
    minor: int
    edited: tuple[int, int] = (0, 0)
    back: tuple[int, int] = (0, 0)


Paper = dict[str, tuple[Fraction, int, int, int, int]]
"""line id -> rate, gross and VAT of an invoice's line, and what of both is on its credit notes."""
Part = tuple[int, Money]
"""What goes back of a capture, or is taken from an authorization, by its number."""


@dataclass
class Request:
    name: str
    body: dict[str, Any] = field(default_factory=dict)
    fault: str | None = None
    """What goes wrong at the gateway while it is carried out."""


@dataclass
class Model:
    lines: dict[str, Line]
    capture: str
    """The option of its market."""
    approved: bool
    cancelled: bool = False
    completed: bool = False
    holds: int = 0
    ship_to: dict[str, Any] | None = None
    draft: dict[str, Any] | None = None
    """The changes of an open edit."""
    confirmed: bool = False
    """The open edit waits for the release of the order only."""
    by_marketplace: bool = False
    """The open edit takes over what the marketplace has changed."""
    ended: str = ""
    """How the last edit of a person ended: `edited` or `discarded`."""
    awaiting: dict[str, Any] | None = None
    """What the marketplace has changed during an edit: taken over when it has ended."""
    authorizations: list[dict[str, int]] = field(default_factory=list)
    """line id -> what is neither captured nor voided."""
    captures: list[dict[str, Captured]] = field(default_factory=list)
    due: list[Part] = field(default_factory=list)
    """To capture, from authorizations, once the order is neither held nor edited."""
    refused: list[tuple[list[Part], bool]] = field(default_factory=list)
    """Refunds that the gateway refuses: what is left of them, and whether to restock."""
    money: Counter[str] = field(default_factory=Counter)
    drawn: bool = True
    """Which capture a refund is of is certain: not if captures and refunds are made at the same time."""
    loose: bool = False
    """It was cancelled in the middle of something else: only what is left of it is certain, nothing."""

    def __post_init__(self) -> None:
        self._authorize({name: line.minor for name, line in self.lines.items()})
        self._settle()

    def apply(self, request: Request) -> str | None:
        found: Callable[[Request], str | None] = getattr(self, f"_{request.name}")
        code = found(request)
        if not self.cancelled and self.fulfilled and self.payment in ("paid", "partially_refunded") and not self.paused:
            self.completed = self.completed or self.captured == self.grand + self.given_back
        return code

    def amounts(self, request: Request) -> dict[str, set[int]]:
        """Each amount that the answer to a request may state now, whether it is accepted or refused: `moves` minor units, `left`
        pieces or minor units of its line, the `total` and the `new_total` of an edit. What is captured may be on its way still:
        of that, nothing is left to refund yet."""
        if request.name == "open":
            return {
                "total": {self.grand},
                "new_total": {sum(line.minor for line in self._changed(request.body).values())},
            }
        if request.name == "capture":
            return {"left": {self._rest(name)[0] for name in request.body.get("pieces", {})}}
        if request.name != "refund":
            return {}
        parts = self._planned(**request.body)
        moves = set() if isinstance(parts, str) else {sum(minor for _, part in parts for _, minor in part.values())}
        (name, kind) = next(
            (name, kind) for kind, of in enumerate(("pieces", "minor")) for name in request.body.get(of, {})
        )
        own = [one[name] for one in self.captures if name in one]
        gone = sum(one.back[kind] for one in own)
        sums = {0}
        for one in own:
            sums |= {before + (one.pieces, one.minor)[kind] for before in sums}
        return {"moves": moves, "left": {captured - gone for captured in sums}}

    # -- requests -----------------------------------------------------------------------------------------------------

    def _approve(self, request: Request) -> str | None:
        if self.approved and not self.cancelled:
            return None
        if self.holds or self.draft is not None or self.cancelled:
            return (
                "order_held" if self.holds else "edit_open" if self.draft is not None else "order_not_awaiting_approval"
            )
        self.approved = True
        self._settle()
        return None

    def _hold(self, request: Request) -> str | None:
        if self.cancelled or self.completed:
            return "order_cancelled" if self.cancelled else "order_finished"
        self.holds += 1
        return None

    def _release(self, request: Request) -> str | None:
        self.holds = max(self.holds - 1, 0)
        if not self.holds and self.confirmed:
            self._carry_out(request.fault)
        self._take()
        return None

    def _cancel(self, request: Request) -> str | None:
        if not self.cancelled and any(line.shipped for line in self.lines.values()):
            return "order_shipped"
        self._undo()
        return None

    def _capture(self, request: Request) -> str | None:
        if self.cancelled:
            return "order_cancelled"
        if not self.approved or self.capture != "manual":
            return "order_not_approved" if not self.approved else "capture_automatic"
        if self.paused:
            return "order_held" if self.holds else "edit_open"
        wanted: Mapping[str, int] = request.body.get("pieces") or {}
        if any(pieces > self._rest(name)[0] for name, pieces in wanted.items()):
            return "nothing_to_capture" if not any(self._rest(name)[1] for name in wanted) else "capture_exceeds"
        parts: Money = {}
        for name in wanted or self.lines:
            pieces, minor = self._rest(name)
            if wanted and wanted[name] < pieces:
                line, taken = self.lines[name], self._taken(name)
                minor = share(line.minor, taken[0] + wanted[name], line.pieces) - taken[1]
                pieces = wanted[name]
            if minor:
                parts[name] = (pieces, minor)
        self._begin(parts)
        return None

    def _snapshot(self, request: Request) -> str | None:
        """What the marketplace has changed is an edit, by the market's rule. What a person does not accept changes nothing."""
        changes = request.body.get("changes")
        return self._take_over(changes) if changes is not None else None

    def would_change(self, changes: dict[str, Any]) -> bool:
        return self._changed(changes) != self.lines or changes.get("ship_to") not in (None, self.ship_to)

    def _take_over(self, changes: dict[str, Any]) -> str | None:
        after = self._changed(changes)
        if self.cancelled or not self.would_change(changes):
            return None
        if not any(line.pieces for line in after.values() if line.sku):
            if any(line.shipped for line in self.lines.values()):
                return "order_shipped"
            self._undo()
            return None
        if self.completed:
            return "order_completed"
        if self.draft is not None:
            self.awaiting = changes
            return "edit_open"
        if (code := self._why_not(after, changes)) is not None:
            return code
        self.draft, self.confirmed, self.by_marketplace = changes, True, True
        if not self.holds:
            self._carry_out(None)
        return None

    def _take_over_what_waited(self) -> None:
        if self.awaiting is not None and self.draft is None:
            changes, self.awaiting = self.awaiting, None
            self._take_over(changes)

    def _ship(self, request: Request) -> str | None:
        """All that is left at a location."""
        if self.holds or self.confirmed:
            return "shipment_on_hold"
        parcel = self.parcels()[request.body["location"]]
        for name, pieces in parcel.items():
            self.lines[name].shipped += pieces
        if self.capture == "per_shipment":
            self._settle(parcel)
        return None

    # -- edits --------------------------------------------------------------------------------------------------------

    def _open(self, request: Request) -> str | None:
        if self.cancelled:
            return "order_cancelled"
        if self.draft is not None or self.completed:
            return "edit_open" if self.draft is not None else "order_completed"
        self.draft = request.body
        return None

    def _discard(self, request: Request) -> str | None:
        if self.draft is None or self.confirmed:
            return "edit_confirmed" if self.confirmed or self.ended == "edited" else None
        self.draft, self.ended = None, "discarded"
        self._take_over_what_waited()
        self._take()
        return None

    def _confirm(self, request: Request) -> str | None:
        if self.draft is None or self.confirmed:
            return "edit_discarded" if self.draft is None and self.ended == "discarded" else None
        if (code := self._why_not(after := self._changed(self.draft), self.draft)) is not None:
            return code
        if not any(line.pieces for line in after.values() if line.sku):
            self._undo()
        else:
            self.confirmed = True
            if not self.holds:
                self._carry_out(request.fault)
        return None

    def _edit(self, request: Request) -> str | None:
        code = self._open(request)
        return self._confirm(request) if code is None else code

    def _changed(self, changes: dict[str, Any]) -> dict[str, Line]:
        after = copy.deepcopy(self.lines)
        for one in changes.get("lines", ()):
            line = after[one["line_id"]]
            pieces = one.get("quantity", line.pieces)
            if "unit_price_minor" in one:
                line.cost(pieces, one["unit_price_minor"] * pieces)
            elif pieces != line.pieces:
                line.have(pieces)
        for one in changes.get("add", ()):
            minor = one["unit_price_minor"] * one["quantity"]
            rate = one["tax"][0]["rate"]
            after[one["line_id"]] = Line(one["sku"], one["quantity"], minor, (one["quantity"], minor), rate)
        if (charge := changes.get("shipping_minor")) is not None:
            after[CHARGE] = Line(None, 0, charge)
        return after

    def _why_not(self, after: dict[str, Line], changes: dict[str, Any]) -> str | None:
        moves = changes.get("ship_to") not in (None, self.ship_to)
        if not moves and all(after[name] == self.lines.get(name) for name in after):
            return "edit_empty"
        if moves and any(line.shipped for line in self.lines.values()):
            return "order_shipped"
        for name, line in self.lines.items():
            now = after[name]
            moved = abs(now.minor * line.pieces - line.minor * now.pieces) > max(line.pieces, now.pieces)
            if line.shipped and now != line and (now.pieces < line.shipped or moved):
                return "order_shipped"
        more = any(
            line.sku and line.pieces > (self.lines[name].pieces if name in self.lines else 0)
            for name, line in after.items()
        )
        return "order_fulfilled" if more and self.fulfilled else None

    def _carry_out(self, fault: str | None) -> None:
        assert self.draft is not None
        after, ship_to, by_marketplace = self._changed(self.draft), self.draft.get("ship_to"), self.by_marketplace
        self.draft, self.confirmed, self.by_marketplace = None, False, False
        missing, surplus, back = self._difference(after)
        declined = bool(missing) and fault == "declined"
        self.ended = self.ended if by_marketplace else "discarded" if declined else "edited"
        if declined:
            self._take()
            self._take_over_what_waited()
            return
        self._authorize(missing)
        self.lines, self.ship_to = after, ship_to or self.ship_to
        given = self._take_off(back)
        self._trim()
        for authorization in reversed(self.authorizations):
            for name in authorization:
                amount = min(authorization[name], surplus.get(name, 0))
                authorization[name] -= amount
                surplus[name] = surplus.get(name, 0) - amount
                self.money["voided"] += amount
        self._give_back(given)
        self._take()
        if self.capture != "per_shipment" or self.captures or self.due or self.fulfilled:
            self._settle()
        if given and self._all_is_back() and 0 < self.grand <= sum(self._taken(name)[1] for name in self._known()):
            self._undo()
        self._take_over_what_waited()

    def _difference(self, after: dict[str, Line]) -> tuple[dict[str, int], dict[str, int], Money]:
        """What the lines lack of what they cost, what is authorized too much, and what is captured too much."""
        missing, surplus, back = {}, {}, {}
        for name in dict.fromkeys([*after, *self._known()]):
            line = after.get(name, Line(None, 0, 0))
            pieces, minor = self._taken(name, with_due=False)
            held = sum(one.get(name, 0) for one in self.authorizations)
            to_pay = line.minor - minor
            if to_pay > held:
                missing[name] = to_pay - held
            surplus[name] = max(held - max(to_pay, 0), 0)
            if to_pay < 0:
                back[name] = (max(pieces - line.pieces, 0), -to_pay)
        return missing, surplus, back

    def _take_off(self, back: Money) -> list[Part]:
        """Takes off the captures, the newest first, what the lines no longer cost; returns what of it has not gone back."""
        parts: list[Part] = []
        for number, capture in reversed([*enumerate(self.captures)]):
            part: Money = {}
            for name, one in capture.items():
                pieces, minor = back.get(name, (0, 0))
                now = min(pieces, max(one.pieces - one.edited[0], 0)), min(minor, one.minor - one.edited[1])
                if now[1] <= 0:
                    continue
                back[name] = (pieces - now[0], minor - now[1])
                one.edited = (one.edited[0] + now[0], one.edited[1] + now[1])
                if left := one.minor - one.back[1]:
                    part[name] = (min(now[0], max(one.pieces - one.back[0], 0)), min(now[1], left))
            if part:
                parts.append((number, part))
        return parts

    def _trim(self) -> None:
        """What is due takes at most what its line costs."""
        left = {name: line.minor - self._taken(name, with_due=False)[1] for name, line in self.lines.items()}
        for number, (authorization, part) in enumerate(self.due):
            trimmed: Money = {}
            for name, (pieces, minor) in part.items():
                amount = min(minor, max(left.get(name, 0), 0))
                left[name] = left.get(name, 0) - amount
                if amount:
                    trimmed[name] = (pieces if amount == minor else share(pieces, amount, minor), amount)
            self.due[number] = (authorization, trimmed)
        self.due = [one for one in self.due if one[1]]

    # -- refunds ------------------------------------------------------------------------------------------------------

    def _refund(self, request: Request) -> str | None:
        if self.cancelled:
            return "order_cancelled"
        parts = self._planned(**{name: value for name, value in request.body.items() if name != "restock"})
        if isinstance(parts, str):
            return parts
        self.refused.append((parts, request.body.get("restock", False)))
        return None if request.fault == "declined" else self._retry_refund(Request("retry_refund", {"number": -1}))

    def _retry_refund(self, request: Request) -> str | None:
        parts, restock = self.refused[request.body["number"]]
        while parts and all(self._left(parts[0][0], name) >= minor for name, (_, minor) in parts[0][1].items()):
            self._give_back([parts[0]], restock)
            parts.pop(0)
        if not parts:
            self.refused.remove((parts, restock))
            if self._all_is_back() and not self.due:
                self._undo()
        return None

    def _give_up_refund(self, request: Request) -> str | None:
        self.refused.pop(request.body["number"])
        return None

    def _planned(
        self, pieces: Mapping[str, int] = {}, minor: Mapping[str, int] = {}, goodwill_minor: int = 0
    ) -> list[Part] | str:
        """The parts of a refund, the newest capture first."""
        gone = {(n, name): one.back for n, capture in enumerate(self.captures) for name, one in capture.items()}
        for parts, _ in self.refused:
            for n, part in parts:
                for name, (count, amount) in part.items():
                    gone[n, name] = (gone[n, name][0] + count, gone[n, name][1] + amount)
        found: list[dict[str, tuple[int, int]]] = [{} for _ in self.captures]

        def left(n: int, name: str) -> tuple[int, int]:
            one, (count, amount) = self.captures[n][name], gone[n, name]
            return max(one.pieces - count, 0), max(one.minor - amount, 0)

        def take(n: int, name: str, count: int, amount: int) -> None:
            gone[n, name] = (gone[n, name][0] + count, gone[n, name][1] + amount)
            before = found[n].get(name, (0, 0))
            found[n][name] = (before[0] + count, before[1] + amount)

        newest = [*reversed(range(len(self.captures)))]
        for name, wanted in [*pieces.items(), *minor.items()]:
            own, kind = [n for n in newest if name in self.captures[n]], 0 if name in pieces else 1
            if wanted > sum(left(n, name)[kind] for n in own):
                return "refund_exceeds"
            for n in own:
                now = min(wanted, left(n, name)[kind])
                wanted -= now
                if kind and now:
                    take(n, name, 0, now)
                elif now:
                    one = self.captures[n][name]
                    price = share(one.minor, gone[n, name][0] + now, one.pieces) - gone[n, name][1]
                    take(n, name, now, min(max(price, 0), left(n, name)[1]))
        if goodwill_minor > sum(left(*one)[1] for one in gone):
            return "refund_exceeds"
        for n in newest:
            weights = {name: rest for name in self.captures[n] if (rest := left(n, name)[1])}
            amount = min(goodwill_minor, sum(weights.values()))
            for name, part in spread(amount, weights).items() if amount else ():
                if part:
                    take(n, name, 0, part)
            goodwill_minor -= amount
        parts = [(n, found[n]) for n in newest if found[n]]
        return parts if any(amount for _, part in parts for _, amount in part.values()) else "refund_empty"

    def _left(self, capture: int, name: str) -> int:
        one = self.captures[capture][name]
        return one.minor - one.back[1]

    def _give_back(self, parts: Iterable[Part], restock: bool = False) -> None:
        for number, part in parts:
            for name, (pieces, minor) in part.items():
                one, line = self.captures[number][name], self.lines.get(name)
                one.back = (one.back[0] + pieces, one.back[1] + minor)
                self.money["refunded"] += minor
                if restock and line is not None:
                    line.restocked += min(pieces, line.shipped - line.restocked)

    def _all_is_back(self) -> bool:
        return bool(self.captures) and not any(
            self._left(n, name) for n, capture in enumerate(self.captures) for name in capture
        )

    # -- money and its end --------------------------------------------------------------------------------------------

    def _authorize(self, minor: dict[str, int]) -> None:
        if minor:
            self.authorizations.append(dict(minor))
            self.money["authorized"] += sum(minor.values())

    def _settle(self, parcel: Mapping[str, int] = {}) -> None:
        """Takes what the market's option takes by now."""
        lines: Money = {}
        for name, line in self.lines.items():
            if self.capture == "per_shipment" and line.sku:
                taken = self._taken(name)
                minor = share(line.minor, taken[0] + parcel[name], line.pieces) - taken[1] if name in parcel else 0
                lines[name] = (parcel.get(name, 0), minor)
            elif (
                parcel
                or self.capture == "on_placement"
                or (
                    self.approved
                    and (
                        self.capture == "on_approval"
                        or (self.capture == "per_shipment" and (self.captures or self.due))
                    )
                )
            ):
                lines[name] = self._rest(name)
        self._begin({name: one for name, one in lines.items() if one[1] > 0})

    def _begin(self, lines: Money) -> None:
        """One capture for each authorization, the oldest first."""
        done = dict.fromkeys(lines, (0, 0))
        parts: list[Part] = []
        for number, authorization in enumerate(self.authorizations):
            part: Money = {}
            for name, (pieces, minor) in lines.items():
                waiting = sum(one[name][1] for n, one in self.due if n == number and name in one)
                amount = min(minor - done[name][1], authorization.get(name, 0) - waiting)
                if amount > 0:
                    so_far = share(pieces, done[name][1] + amount, minor)
                    part[name] = (so_far - done[name][0], amount)
                    done[name] = (so_far, done[name][1] + amount)
            if part:
                parts.append((number, part))
        self.due += parts
        self._take()

    def _take(self) -> None:
        if self.paused:
            return
        for number, part in self.due:
            self.captures.append({name: Captured(*one) for name, one in part.items()})
            for name, (_, minor) in part.items():
                self.authorizations[number][name] -= minor
                self.money["captured"] += minor
        self.due = []

    def _undo(self) -> None:
        """Nothing is left: what is captured goes back, what is authorized is voided, what has not shipped is released."""
        if self.cancelled:
            return
        self.ended = "discarded" if self.draft is not None else self.ended
        self.cancelled, self.holds, self.draft, self.confirmed, self.due, self.refused = True, 0, None, False, [], []
        self.by_marketplace, self.awaiting = False, None
        self.completed = False
        self.money["voided"] += sum(amount for one in self.authorizations for amount in one.values())
        self.money["refunded"] = self.money["captured"]
        for capture in self.captures:
            for one in capture.values():
                one.back = (one.pieces, one.minor)

    # -- what is expected ---------------------------------------------------------------------------------------------

    def _known(self) -> list[str]:
        return [*dict.fromkeys(name for one in [*self.captures, *self.authorizations] for name in one)]

    def _taken(self, name: str, *, with_due: bool = True) -> tuple[int, int]:
        """What is captured of a line, or is about to be, and no edit has given back."""
        own = [
            (one.pieces - one.edited[0], one.minor - one.edited[1])
            for capture in self.captures
            if (one := capture.get(name))
        ]
        own += [part[name] for _, part in self.due if with_due and name in part]
        return sum(pieces for pieces, _ in own), sum(minor for _, minor in own)

    def _rest(self, name: str) -> tuple[int, int]:
        line, (pieces, minor) = self.lines[name], self._taken(name)
        return (max(line.pieces - pieces, 0), line.minor - minor) if line.minor > minor else (0, 0)

    @property
    def paused(self) -> bool:
        return bool(self.holds) or self.draft is not None

    @property
    def grand(self) -> int:
        return sum(line.minor for line in self.lines.values())

    @property
    def captured(self) -> int:
        return self.money["captured"]

    @property
    def given_back(self) -> int:
        return sum(one.edited[1] for capture in self.captures for one in capture.values())

    @property
    def refundable(self) -> int:
        return (
            self.captured
            - self.money["refunded"]
            - sum(m for parts, _ in self.refused for _, part in parts for _, m in part.values())
        )

    @property
    def fulfilled(self) -> bool:
        goods = [line for line in self.lines.values() if line.sku]
        return any(line.shipped for line in goods) and all(line.shipped == line.pieces for line in goods)

    def parcels(self) -> dict[str, dict[str, int]]:
        """location -> line id -> pieces to ship. The first letter of a SKU names its location."""
        parcels: dict[str, dict[str, int]] = {}
        for name, line in self.lines.items():
            if self.approved and not self.cancelled and line.sku and line.pieces > line.shipped:
                parcels.setdefault(LOCATIONS[line.sku[0]], {})[name] = line.pieces - line.shipped
        return parcels

    def documents(self) -> list[Paper]:
        """An invoice for each capture, and what its credit notes have. A rate's VAT is computed once per invoice, and its net is
        spread over the lines; a credited part has its share of the line's VAT."""
        found = []
        for capture in self.captures:
            invoice: Paper = {}
            rates = {name: Fraction(self.lines[name].rate) for name in sorted(capture, key=lambda name: name == CHARGE)}
            for rate in dict.fromkeys(rates.values()):
                gross = {name: capture[name].minor for name in rates if rates[name] == rate}
                net = sum(gross.values()) - share(sum(gross.values()), rate, 100 + rate)
                for name, part in spread(net, gross).items():
                    line, vat = capture[name], gross[name] - part
                    invoice[name] = (rate, line.minor, vat, line.back[1], share(vat, line.back[1], line.minor))
            found.append(invoice)
        return found

    @property
    def payment(self) -> str:
        authorized, captured, voided, refunded = (
            self.money[name] for name in ("authorized", "captured", "voided", "refunded")
        )
        if not captured:
            return "voided" if voided == authorized else "authorized"
        if refunded:
            return "refunded" if refunded == captured else "partially_refunded"
        return "paid" if captured == authorized - voided else "partially_paid"

    def expected(self) -> dict[str, Any]:
        """What the four services show of the order when it is settled."""
        net = {
            "to refund": self.captured - self.money["refunded"],
            "to capture": self.money["authorized"] - self.captured - self.money["voided"],
        }
        goods = {name: line for name, line in self.lines.items() if line.sku and not self.cancelled}
        shown = {
            "status": "cancelled" if self.cancelled else "editing" if self.draft is not None else "approved" if self.approved else "placed",
            "holds": self.holds, **net, "invoices less credit notes": net["to refund"],
            "reserved": sum(line.pieces - line.shipped for line in goods.values()),
        }  # fmt: skip
        if self.loose:
            return shown
        lines = {
            name: (
                sum(c[name].minor for c in self.captures if name in c),
                sum(c[name].back[1] for c in self.captures if name in c),
            )
            for name in self._known()
        }
        return shown | {
            "ship_to": self.ship_to, "payment": self.payment, "total": self.grand, "authorized": self.money["authorized"], "invoiced": self.captured,
            "captured and refunded": {name: both for name, both in lines.items() if any(both)},
            "completed": self.completed, "shipped": sum(line.shipped for line in self.lines.values()),
            "restocked": sum(line.restocked for line in self.lines.values()),
            "prices": {name: line.minor for name, line in self.lines.items() if line.minor},
            **({"documents": sorted(sorted(one.items()) for one in self.documents())} if self.drawn else {}),
        }  # fmt: skip


LOCATIONS = {"S": "main", "T": "second"}
