"""Gift cards over HTTP: issue, activate, deactivate, adjust, extend, replace the code, check a code, list, read."""

from typing import Annotated, Any, Final, Literal
from uuid import UUID

import orjson
from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Select, case, func, select, tuple_
from sqlalchemy.engine import RowMapping

from chassis.declare.app import App, Outcome, Principal
from chassis.http.commands import CHANGE, COMMAND, etag
from chassis.http.paging import Cursor, Cursors, Limit, Page
from chassis.http.problems import Problem, answers
from contracts.base import Minor, MinorUnsigned, Text, Timestamp
from contracts.gift_cards import GiftCardAdjusted
from contracts.money import Currency
from payments.codes import LENGTH_MAX, end_of, hash_of, new_code
from payments.domain.gift_cards import (
    Activate,
    Adjust,
    Deactivate,
    Extend,
    GiftCard,
    GiftCardCommand,
    Issue,
    ReplaceCode,
)
from payments.responses import (
    GiftCardAdjustedShown,
    GiftCardMade,
    GiftCardShown,
    GiftCardTerms,
    GiftCardWithMovements,
)
from payments.tables import gift_card_balances, gift_card_movements, gift_cards

NAMESPACE: Final = UUID("b6c1f0a2-6a0e-5f0b-9d9a-1f8c2f4f7e55")
"""Namespace of the ids of gift cards."""
LIST: Final = Cursors("gift_cards", Timestamp, UUID)
MOVEMENTS_SHOWN: Final = 500
ONE: Final = "/gift-cards/{gift_card_id}"
b = gift_card_balances.c
STATUS: Final = case(
    (b.expired | (b.expires_at <= func.now()), "expired"),
    (~b.active, "inactive"),
    ((b.balance_minor == 0) | (b.single_use & (b.used_minor > 0)), "redeemed"),
    else_="active",
).label("status")
CARDS: Final = select(gift_cards, b.balance_minor, STATUS).join(
    gift_card_balances, (b.gift_card_id == gift_cards.c.key) & (b.store_id == gift_cards.c.store_id)
)


class NewGiftCard(BaseModel):
    model_config = ConfigDict(extra="forbid")

    currency: Currency
    amount_minor: MinorUnsigned
    """Its first balance."""
    expires_at: Timestamp | None = None
    """Null: it does not expire."""
    single_use: bool = False
    """One order is paid with it; what that order leaves cannot be used."""
    rechargeable: bool = True
    """Its balance may be raised."""
    activate: bool = False
    """It is sold, or given away, already: orders may be paid with it at once."""


class Adjustment(BaseModel):
    model_config = ConfigDict(extra="forbid")

    amount_minor: Minor
    """Added to the balance, or taken off if it is negative."""
    reason: Annotated[Text, Field(min_length=1)]


class Extension(BaseModel):
    model_config = ConfigDict(extra="forbid")

    expires_at: Timestamp | None
    """Null: it does not expire any more."""


class CodeGiven(BaseModel):
    model_config = ConfigDict(extra="forbid")

    code: Annotated[str, Field(min_length=1, max_length=LENGTH_MAX)]


def add_routes(router: APIRouter, app: App) -> None:
    Viewer = Annotated[Principal, Depends(app.principal("payments.view"))]
    Editor = Annotated[Principal, Depends(app.principal("gift_cards.edit"))]
    Checker = Annotated[Principal, Depends(app.principal("gift_cards.check"))]

    def addressed(request: Request, who: Principal, gift_card_id: UUID) -> dict[str, Any]:
        """The fields that every command of a request has."""
        return {
            "gift_card_id": gift_card_id, "store_id": who.store_id, "actor": who.actor,
            "operation_id": app.operation_id(request, who, gift_card_id),
        }  # fmt: skip

    async def run(request: Request, who: Principal, command: GiftCardCommand) -> Response:
        return await app.execute(request, who, command, lambda outcome: (200, _answer(command, outcome)))

    @router.post(
        "/gift-cards", status_code=201, response_model=GiftCardMade, dependencies=COMMAND,
        openapi_extra=answers("expiry_past"),
    )  # fmt: skip
    async def issue(request: Request, who: Editor, body: NewGiftCard) -> Response:
        """Issue a card. Its `code` is in this answer alone: a repeated request is answered without it."""
        code = _Code(who.store_id)
        gift_card_id = app.operation_id(request, who, NAMESPACE)
        command = Issue(**addressed(request, who, gift_card_id), **body.model_dump(), **code.stored)
        location = {"location": f"/v1/gift-cards/{gift_card_id}"}

        def answer(outcome: Outcome) -> tuple[int, Any, dict[str, str]]:
            code.note(outcome)
            return 201, _answer(command, outcome), location

        return code.added_to(await app.execute(request, who, command, answer))

    @router.post(
        "/gift-card-checks", response_model=GiftCardShown, openapi_extra=answers("gift_card_unknown"),
    )  # fmt: skip
    async def check(who: Checker, body: CodeGiven) -> Any:
        """The card of a code: its id, by which an order names it, and what it is worth."""
        rows = await app.read(_mine(who).where(gift_cards.c.code_sha256 == hash_of(who.store_id, body.code)))
        if not rows:
            raise _unknown("The store has no gift card of this code.")
        return _shown(rows[0])

    @router.get("/gift-cards", response_model=Page[GiftCardShown])
    async def list_gift_cards(
        who: Viewer,
        status: Literal["inactive", "active", "redeemed", "expired"] | None = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Any:
        """The store's gift cards, newest first."""
        found = _mine(who) if status is None else _mine(who).where(STATUS.element == status)
        if (last := LIST.after(cursor)) is not None:
            found = found.where(tuple_(gift_cards.c.created_at, gift_cards.c.key) < tuple_(*last))
        found = found.order_by(gift_cards.c.created_at.desc(), gift_cards.c.key.desc()).limit(limit + 1)
        return LIST.page([_shown(row) for row in await app.read(found)], limit, key=_place)

    @router.get(ONE, response_model=GiftCardWithMovements, openapi_extra=answers("gift_card_unknown"))
    async def one_gift_card(gift_card_id: UUID, who: Viewer, response: Response) -> Any:
        """A card with its latest movements, the newest first."""
        rows = await app.read(_mine(who).where(gift_cards.c.key == gift_card_id))
        if not rows:
            raise _unknown(f"The store has no gift card {gift_card_id}.")
        response.headers.update(etag(rows[0]["revision"]))
        m = gift_card_movements
        moved = select(m).where(m.c.gift_card_id == gift_card_id, m.c.store_id == who.store_id)
        return _shown(rows[0]) | {"movements": await app.read(moved.order_by(m.c.number.desc()).limit(MOVEMENTS_SHOWN))}

    @router.post(
        ONE + "/activate", response_model=GiftCardTerms, dependencies=CHANGE,
        openapi_extra=answers("gift_card_unknown", "gift_card_expired"),
    )  # fmt: skip
    async def activate(request: Request, who: Editor, gift_card_id: UUID) -> Response:
        """Let orders be paid with it. Its balance becomes a liability when this is done for the first time."""
        return await run(request, who, Activate(**addressed(request, who, gift_card_id)))

    @router.post(
        ONE + "/deactivate", response_model=GiftCardTerms, dependencies=CHANGE,
        openapi_extra=answers("gift_card_unknown", "gift_card_expired"),
    )  # fmt: skip
    async def deactivate(request: Request, who: Editor, gift_card_id: UUID) -> Response:
        """Stop it: no further order is paid with it until it is activated again. Its balance stays."""
        return await run(request, who, Deactivate(**addressed(request, who, gift_card_id)))

    @router.post(
        ONE + "/adjust", response_model=GiftCardAdjustedShown, dependencies=CHANGE,
        openapi_extra=answers(
            "gift_card_unknown", "gift_card_expired", "gift_card_fixed", "gift_card_insufficient", "gift_card_full"
        ),
    )  # fmt: skip
    async def adjust(request: Request, who: Editor, gift_card_id: UUID, body: Adjustment) -> Response:
        """Recharge it, or correct its balance, which never becomes negative."""
        return await run(request, who, Adjust(**addressed(request, who, gift_card_id), **body.model_dump()))

    @router.post(
        ONE + "/extend", response_model=GiftCardTerms, dependencies=CHANGE,
        openapi_extra=answers("gift_card_unknown", "expiry_past"),
    )  # fmt: skip
    async def extend(request: Request, who: Editor, gift_card_id: UUID, body: Extension) -> Response:
        """Give it another time of expiry, also after it has expired. What has expired does not come back by it."""
        return await run(request, who, Extend(**addressed(request, who, gift_card_id), expires_at=body.expires_at))

    @router.post(
        ONE + "/code", response_model=GiftCardMade, dependencies=CHANGE, openapi_extra=answers("gift_card_unknown")
    )
    async def replace_code(request: Request, who: Editor, gift_card_id: UUID) -> Response:
        """Give it another code, because the old one is lost or a stranger may have it. The old one is void at once."""
        code = _Code(who.store_id)
        command = ReplaceCode(**addressed(request, who, gift_card_id), **code.stored)

        def answer(outcome: Outcome) -> tuple[int, Any]:
            code.note(outcome)
            return 200, _answer(command, outcome)

        return code.added_to(await app.execute(request, who, command, answer))


class _Code:
    """The code that a request may make. It is added to the answer of that request; the stored answer, which a repetition gets,
    does not have it."""

    def __init__(self, store_id: str) -> None:
        self._code = new_code()
        self.stored: dict[str, Any] = {"code_sha256": hash_of(store_id, self._code), "code_end": end_of(self._code)}
        self._is_made = False

    def note(self, outcome: Outcome) -> None:
        self._is_made = outcome.state.code_sha256 == self.stored["code_sha256"]

    def added_to(self, response: Response) -> Response:
        if response.status_code >= 400 or not self._is_made:
            return response
        body = {**orjson.loads(bytes(response.body)), "code": self._code}
        headers = {name: value for name, value in response.headers.items() if name != "content-length"}
        return Response(orjson.dumps(body), response.status_code, headers)


def _mine(who: Principal) -> Select[Any]:
    return CARDS.where(gift_cards.c.store_id == who.store_id)


def _unknown(detail: str) -> Problem:
    return Problem(404, "gift_card_unknown", "No such gift card", detail)


def _place(card: dict[str, Any]) -> tuple[Any, Any]:
    return card["created_at"], card["gift_card_id"]


def _terms(card: GiftCard) -> dict[str, Any]:
    return {
        "gift_card_id": card.gift_card_id, "state": card.state, "currency": card.currency, "initial_minor": card.initial_minor,
        "expires_at": card.expires_at, "single_use": card.single_use, "rechargeable": card.rechargeable,
        "code_end": card.code_end,
    }  # fmt: skip


def _answer(command: GiftCardCommand, outcome: Outcome) -> dict[str, Any]:
    body = _terms(outcome.state) | {"version": outcome.version}
    if isinstance(command, Adjust):
        adjusted = next((event for event in outcome.events if isinstance(event, GiftCardAdjusted)), None)
        body["balance_minor"] = adjusted.balance_minor if adjusted is not None else None
    return body


def _shown(row: RowMapping) -> dict[str, Any]:
    card = GiftCard.model_validate_json(row["doc"])
    return _terms(card) | {
        "status": row["status"], "balance_minor": row["balance_minor"], "created_at": row["created_at"],
        "version": row["revision"],
    }  # fmt: skip
