"""When the service desk sends which request, and how it goes on after a refusal or no answer."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import aiohttp
import pytest

from demo.changes import Body
from demo.desk import Api, Cancel, Desk, Edit, Http, Progress, Refund, Refused, Request, Reversal, request_of
from demo.retail import orders_of
from demo.tests.conftest import Reader, row
from system.installation import Installation

KEY = UUID(int=7)


def progress(**more: Any) -> Progress:
    return {"revision": 1, "status": "approved", "paid": False, "completed": False, "waiting": "warehouse"} | more


class Answers(Http):
    """Answers each request from a list; an exception in it is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.sent: list[tuple[str, str, str | None]] = []
        self.asked: list[Api] = []

    async def send(
        self, method: str, path: str, body: Body | None = None, idempotency_key: str | None = None, api: Api = "orders"
    ) -> Any:
        self.sent.append((method, path.removeprefix(f"{KEY}/"), idempotency_key))
        self.asked.append(api)
        answer = self.answers.pop(0) if self.answers else {}
        if isinstance(answer, Exception):
            raise answer
        return answer


def preview(digest: str) -> Any:
    return {"preview": {"preview": digest}}


async def test_an_order_is_cancelled_once_it_is_paid() -> None:
    http, request = Answers(), Cancel()
    assert not await request.advance(http, KEY, progress()) and http.sent == []
    assert await request.advance(http, KEY, progress(paid=True))
    assert http.sent == [("POST", "cancel", f"cancel-{KEY}")]


async def test_an_edit_is_previewed_and_confirmed_and_done_when_the_order_is_no_longer_edited() -> None:
    http, request = Answers({"edit_id": "e"}, {}, preview("p1")), Edit({"lines": []})
    assert not await request.advance(http, KEY, progress()) and http.sent == []
    assert not await request.advance(http, KEY, progress(paid=True))
    assert http.sent == [
        ("POST", "edits", f"edit-{KEY}"),
        ("PUT", "edits/e", f"change-{KEY}"),
        ("GET", "edits/e", None),
        ("POST", "edits/e/confirm", f"confirm-{KEY}-p1"),
    ]
    assert not await request.advance(http, KEY, progress(paid=True, status="editing"))
    assert await request.advance(http, KEY, progress(paid=True)) and len(http.sent) == 4


async def test_a_stale_preview_is_read_again() -> None:
    stale = Refused("edit_stale")
    http = Answers({"edit_id": "e"}, {}, preview("p1"), stale, {"edit_id": "e"}, {}, preview("p2"))
    request = Edit({"lines": []})
    for _ in range(2):
        assert not await request.advance(http, KEY, progress(paid=True, status="editing"))
    assert [key for _, path, key in http.sent if path.endswith("confirm")] == [
        f"confirm-{KEY}-p1",
        f"confirm-{KEY}-p2",
    ]
    assert await request.advance(http, KEY, progress(paid=True))


async def test_a_refund_follows_completion_and_is_done_when_nothing_of_it_is_open() -> None:
    http, request = Answers(), Refund({"lines": []})
    assert not await request.advance(http, KEY, progress(paid=True)) and http.sent == []
    assert not await request.advance(http, KEY, progress(completed=True, waiting=""))
    assert http.sent == [("POST", "refunds", f"refund-{KEY}")]
    assert not await request.advance(http, KEY, progress(completed=True, waiting="answer"))
    assert await request.advance(http, KEY, progress(completed=True, waiting="")) and len(http.sent) == 1


def told(captured: int, refunded: int, waiting: str = "", *remarks: str) -> Any:
    money = {"captured_minor": captured, "refunded_minor": refunded}
    return {"money": money, "waiting": waiting, "remarks": [{"code": one} for one in remarks]}


@pytest.mark.parametrize(("charge", "refund"), [(0, 0), (0, 128), (100, 0)])
async def test_a_reversal_is_asked_of_payments_and_done_when_the_order_has_its_money_and_its_documents(
    charge: int, refund: int
) -> None:
    known, end = "lines_reversed", (500 + charge, refund)
    not_yet = [told(500, 0), told(501, refund, "", known), told(*end), told(*end, "answer", known)]
    reversed_ = {"charge_minor": charge, "refund_minor": refund}
    http = Answers(reversed_, *not_yet, TimeoutError(), told(*end, "", known))
    request = Reversal({"lines": []}, 500)
    for early in (progress(paid=True), progress(completed=True, waiting="answer")):
        assert not await request.advance(http, KEY, early) and http.sent == []
    for revision in range(1, 2 + len(not_yet)):
        for waiting in ("answer", "", ""):  # an order that has not changed since is not read again
            assert not await request.advance(http, KEY, progress(completed=True, waiting=waiting, revision=revision))
    last = progress(completed=True, waiting="", revision=9)
    with pytest.raises(TimeoutError):
        await request.advance(http, KEY, last)
    assert await request.advance(http, KEY, last), "what got no answer is read again"
    assert http.sent[:2] == [("POST", "reversals", f"reverse-{KEY}"), ("GET", str(KEY), None)]
    assert http.asked == ["payments", *["orders"] * (2 + len(not_yet))]


def desk_of(request: Request) -> Desk:
    return Desk(Installation(None), {KEY: request})  # type: ignore[arg-type]  # no request needs the system


async def test_the_warehouse_ships_an_edited_order_afterwards_and_a_cancelled_one_never() -> None:
    edited, cancelled, refunded = desk_of(Edit({})), desk_of(Cancel()), desk_of(Refund({}))
    assert edited.unshipped == cancelled.unshipped == {str(KEY)} and refunded.unshipped == set()
    assert desk_of(Reversal({}, 1)).unshipped == set()
    await edited._advance(Answers({"edit_id": "e"}, {}, preview("p")), KEY, progress(paid=True))
    assert edited.unshipped and not edited.done
    await edited._advance(Answers(), KEY, progress(paid=True))
    await cancelled._advance(Answers(), KEY, progress(paid=True))
    assert edited.done and cancelled.done
    assert edited.unshipped == set() and cancelled.unshipped == {str(KEY)}


async def test_a_refused_request_is_named_and_not_repeated() -> None:
    desk = desk_of(Refund({}))
    await desk._advance(Answers(Refused("refund_empty")), KEY, progress(completed=True))
    assert desk.done and desk.refused == {KEY: "refund_empty"}


@pytest.mark.parametrize("error", [aiohttp.ClientConnectionError(), TimeoutError(), OSError()])
async def test_a_request_without_an_answer_is_repeated_with_its_key(error: Exception) -> None:
    desk, http = desk_of(Cancel()), Answers(error)
    await desk._advance(http, KEY, progress(paid=True))
    assert not desk.done and not desk.refused
    await desk._advance(http, KEY, progress(paid=True))
    assert desk.done and http.sent[0] == http.sent[1]


async def test_an_order_that_waits_for_a_person_is_left_to_them() -> None:
    desk, http = desk_of(Cancel()), Answers()
    await desk._advance(http, KEY, progress(waiting="exception"))
    assert desk.done and not http.sent


def test_each_trouble_that_people_make_has_its_request(read_rows: Reader) -> None:
    (order,) = orders_of(read_rows(row("1"), row("1")))
    kinds = {trouble: type(request_of(trouble, order)) for trouble in ("cancelled", "refunded", "edited")}
    assert kinds == {"cancelled": Cancel, "refunded": Refund, "edited": Edit}
    assert isinstance(request_of("line_cancelled", order), Edit)
    assert isinstance(request_of("replaced_dearer", order), Reversal)
    assert request_of("declined", order) is request_of("late", order) is request_of("timed_out", order) is None
