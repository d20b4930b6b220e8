"""Every action in every state in which an order rests, and every scope, against an expectation that is written apart from
the table of actions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from orders_play import Play, content, line, market, uid

from chassis.process.app import App
from contracts import orders as words
from contracts.base import Command
from contracts.orders import CaptureLine, LineEdit
from contracts.payments import Capture, Refund
from contracts.snapshot import Address
from orders.domain.decisions.actions import ACTIONS, legal
from orders.domain.processes import edited, refunded
from orders.handlers import SERVICE

TWO: Final = content(line("1", 10_00, quantity=2), line("2", 5_00))
DEARER: Final = LineEdit(line_id="1", quantity=3)
MOVED: Final = TWO.model_copy(update={"ship_to": Address(name="Ann", line1="2 Way", city="Lyon", country="FR")})


# -- the states -------------------------------------------------------------------------------------------------------


def placed(play: Play, **terms: Any) -> Play:
    return play.receives(TWO, market(approval="manual", **terms)).reserved().authorized()


def shipped_in_part(play: Play) -> Play:
    return (
        play.in_the_warehouse_at(TWO, {"1": "here", "2": "there"}, capture="on_placement")
        .captured()
        .issued()
        .shipped("here")
    )


def paid(play: Play) -> Play:
    return play.in_the_warehouse(TWO).captured().issued()


def completed(play: Play) -> Play:
    return paid(play).shipped().fulfilled()


def cancelling(play: Play) -> Play:
    return paid(play).cancels()


STATES: Final[dict[str, Callable[[Play], Play]]] = {
    "awaiting payment": lambda play: play.receives(TWO.model_copy(update={"lifecycle": "awaiting_payment"}), market()),
    "not to be started": lambda play: play.receives(TWO, market(currency="GBP")),
    "placing": lambda play: play.receives(TWO, market()),
    "awaiting approval": placed,
    "awaiting approval, parcels to be captured": lambda play: placed(play, capture="per_shipment"),
    "awaiting approval, held": lambda play: placed(play).holds(),
    "awaiting approval, edited": lambda play: placed(play).opens_an_edit(DEARER),
    "in progress": paid,
    "in progress, held": lambda play: paid(play).holds().suspended(),
    "to be captured by hand": lambda play: play.in_the_warehouse(TWO, capture="manual"),
    "to be captured by hand, edited": lambda play: play.in_the_warehouse(TWO, capture="manual").opens_an_edit(DEARER),
    "to be captured by hand, held": lambda play: play.in_the_warehouse(TWO, capture="manual").holds().suspended(),
    "captured by hand": lambda play: play.in_the_warehouse(TWO, capture="manual").captures().captured().issued(),
    "capture refused": lambda play: play.in_the_warehouse(TWO).failed(Capture),
    "another address stated": lambda play: paid(play).receives(MOVED, seconds=1),
    "edited": lambda play: paid(play).opens_an_edit(DEARER),
    "edited in vain": lambda play: paid(play).opens_an_edit(),
    "edit confirmed": lambda play: paid(play).opens_an_edit(DEARER).confirms(),
    "edit discarded": lambda play: paid(play).opens_an_edit(DEARER).discards(),
    "shipped in part": shipped_in_part,
    "completed": completed,
    "refunded in part": lambda play: completed(play).refunds(goodwill_minor=1).refunded().credited(),
    "refunding": lambda play: paid(play).refunds(goodwill_minor=1),
    "refund refused": lambda play: completed(play).refunds(goodwill_minor=1).failed(Refund),
    "refund given up": lambda play: completed(play).refunds(goodwill_minor=1).failed(Refund).gives_up(),
    "refunded in whole": lambda play: completed(play).refunds(goodwill_minor=15_00).refunded().credited(),
    "cancelling": cancelling,
    "cancelling, edited": lambda play: paid(play).opens_an_edit(DEARER).cancels(),
    "cancel refused": lambda play: cancelling(play).too_late(),
    "cancelled": lambda play: placed(play).cancels().voided().released(),
    "archived": lambda play: completed(play).when(words.Archive(**play._person("archive"))),
}  # fmt: skip


# -- what a person requests -------------------------------------------------------------------------------------------


def requests(play: Play) -> dict[str, Command]:
    """One request of each action, about what the order has of it: its edit, its refund, its hold, its exception, its operation."""
    order = play.order
    edit_id = next((edited.data_of(run).edit_id for run in edited.of_order(order)), uid("no edit"))
    refund_id = next((refunded.data_of(run).refund_id for run in refunded.of_order(order.runs)), uid("no refund"))
    hold_id = next((hold.hold_id for hold in order.holds.values()), uid("no hold"))
    exception_id = next((one.exception_id for one in order.exceptions.values()), uid("no exception"))
    asks = sorted(order.asks.values(), key=lambda ask: order.runs[ask.run].waits == "person")
    target = asks[-1].operation_id if asks else uid("no operation")

    def of(model: type[Command], **body: Any) -> Command:
        return model(**play._person(f"the {model.__name__}"), **body)

    return {
        "approve": of(words.Approve),
        "capture": of(words.CaptureOrder, lines=(CaptureLine(line_id="1"),)),
        "approve_and_capture": of(words.ApproveAndCapture),
        "cancel": of(words.Cancel),
        "retry": of(words.Retry),
        "ask": of(words.AskAgain),
        "give_up": of(words.GiveUp),
        "force": of(words.Force, target_operation_id=target, outcome="succeeded", reason="seen"),
        "resolve": of(words.Resolve, exception_id=exception_id, resolution="accept"),
        "refund": of(words.Refund, goodwill_minor=1),
        "retry_refund": of(words.RetryRefund, refund_id=refund_id),
        "give_up_refund": of(words.GiveUpRefund, refund_id=refund_id),
        "archive": of(words.Archive),
        "unarchive": of(words.Unarchive),
        "add_note": of(words.AddNote, text="The customer called."),
        "change_tags": of(words.ChangeTags, add=("vip",)),
        "set_metadata": of(words.SetMetadata, metadata='{"a": 1}'),
        "add_attachment": of(words.AddAttachment, name="picture", url="https://example.com/1"),
        "set_reference": of(words.SetReference, reference="R-1"),
        "hold": of(words.Hold, reason="manual"),
        "release": of(words.Release, hold_id=hold_id),
        "open_edit": of(words.OpenEdit, changes=words.EditChanges(lines=(DEARER,))),
        "change_edit": of(words.ChangeEdit, edit_id=edit_id, changes=words.EditChanges(shipping_minor=1)),
        "confirm_edit": of(words.ConfirmEdit, edit_id=edit_id),
        "discard_edit": of(words.DiscardEdit, edit_id=edit_id),
    }


@cache
def rests(state: str) -> Play:
    return STATES[state](Play())


def answer(state: str, action: str) -> str:
    """`yes`: it is carried out; `done`: success, and nothing changes; else the code that refuses it."""
    play = copy.deepcopy(rests(state))
    play.when(requests(play)[action])
    if play.refusal is not None:
        assert not play.stated and not play.sent
        code: str = play.refusal.code
        return code
    return "yes" if play.stated or play.sent else "done"


# -- what is expected -------------------------------------------------------------------------------------------------

UNLESS_STATED: Final = """
    yes:                         archive add_note change_tags set_metadata add_attachment set_reference
    done:                        unarchive
    step_not_failed:             retry
    step_not_asked:              ask
    step_not_waiting:            give_up
    operation_unknown:           force
    exception_unknown:           resolve
    refund_unknown:              retry_refund give_up_refund
    hold_unknown:                release
    edit_unknown:                change_edit confirm_edit discard_edit
"""
"""Answers in the states below that do not state another one: the order has nothing that such a request is about."""

EXPECTED: Final[dict[str, str]] = {
    "awaiting payment": """
        yes:                         cancel hold
        order_not_awaiting_approval: approve approve_and_capture
        order_not_approved:          capture
        refund_exceeds:              refund
        order_not_placed:            open_edit
    """,
    "not to be started": """
        yes:                         cancel hold
        order_not_awaiting_approval: approve approve_and_capture
        order_not_approved:          capture
        obstacle_remains:            retry resolve
        refund_exceeds:              refund
        order_not_placed:            open_edit
    """,
    "placing": """
        yes:                         cancel hold ask give_up
        order_not_awaiting_approval: approve approve_and_capture
        order_not_approved:          capture
        not_forceable:               force
        refund_exceeds:              refund
        order_not_placed:            open_edit
    """,
    "awaiting approval": """
        yes:                         approve approve_and_capture cancel hold open_edit
        order_not_approved:          capture
        refund_exceeds:              refund
    """,
    "awaiting approval, parcels to be captured": """
        yes:                         approve cancel hold open_edit
        order_not_approved:          capture
        capture_automatic:           approve_and_capture
        refund_exceeds:              refund
    """,
    "awaiting approval, held": """
        yes:                         cancel hold release open_edit
        order_held:                  approve approve_and_capture retry give_up
        order_not_approved:          capture
        refund_exceeds:              refund
    """,
    "awaiting approval, edited": """
        yes:                         cancel hold change_edit confirm_edit discard_edit
        edit_open:                   approve approve_and_capture open_edit give_up
        order_not_approved:          capture
        refund_exceeds:              refund
    """,
    "in progress": """
        yes:                         cancel refund hold open_edit
        done:                        approve approve_and_capture
        capture_automatic:           capture
        not_forceable:               force
    """,
    "in progress, held": """
        yes:                         cancel refund hold release open_edit
        done:                        approve approve_and_capture
        capture_automatic:           capture
        order_held:                  retry give_up
        not_forceable:               force
    """,
    "to be captured by hand": """
        yes:                         capture approve_and_capture cancel hold open_edit
        done:                        approve
        not_forceable:               force
        refund_exceeds:              refund
    """,
    "to be captured by hand, edited": """
        yes:                         cancel hold change_edit confirm_edit discard_edit
        done:                        approve
        edit_open:                   capture approve_and_capture open_edit give_up
        not_forceable:               force
        refund_exceeds:              refund
    """,
    "to be captured by hand, held": """
        yes:                         cancel hold release open_edit
        done:                        approve
        order_held:                  capture approve_and_capture retry give_up
        not_forceable:               force
        refund_exceeds:              refund
    """,
    "captured by hand": """
        yes:                         cancel refund hold open_edit
        done:                        approve approve_and_capture
        nothing_to_capture:          capture
        not_forceable:               force
    """,
    "capture refused": """
        yes:                         cancel retry force hold open_edit give_up
        done:                        approve approve_and_capture
        capture_automatic:           capture
        refund_exceeds:              refund
    """,
    "another address stated": """
        yes:                         cancel resolve refund hold open_edit
        done:                        approve approve_and_capture
        capture_automatic:           capture
        not_forceable:               force
    """,
    "edited": """
        yes:                         cancel refund hold change_edit confirm_edit discard_edit
        done:                        approve approve_and_capture
        capture_automatic:           capture
        not_forceable:               force
        edit_open:                   open_edit give_up
    """,
    "edited in vain": """
        yes:                         cancel refund hold change_edit discard_edit
        done:                        approve approve_and_capture
        capture_automatic:           capture
        not_forceable:               force
        edit_open:                   open_edit give_up
        edit_empty:                  confirm_edit
    """,
    "edit confirmed": """
        yes:                         cancel refund hold ask
        done:                        approve approve_and_capture confirm_edit
        capture_automatic:           capture
        not_forceable:               force
        edit_open:                   open_edit
        edit_confirmed:              change_edit discard_edit give_up
    """,
    "edit discarded": """
        yes:                         cancel refund hold open_edit
        done:                        approve approve_and_capture discard_edit
        capture_automatic:           capture
        not_forceable:               force
        edit_discarded:              change_edit confirm_edit
    """,
    "shipped in part": """
        yes:                         refund hold open_edit
        done:                        approve approve_and_capture
        capture_automatic:           capture
        order_shipped:               cancel give_up
        not_forceable:               force
    """,
    "completed": """
        yes:                         refund
        done:                        approve approve_and_capture
        capture_automatic:           capture
        order_shipped:               cancel give_up
        order_finished:              hold
        order_completed:             open_edit
    """,
    "refunded in part": """
        yes:                         refund
        done:                        approve approve_and_capture
        capture_automatic:           capture
        order_shipped:               cancel give_up
        refund_not_refused:          retry_refund give_up_refund
        order_finished:              hold
        order_completed:             open_edit
    """,
    "refunding": """
        yes:                         cancel refund hold open_edit ask
        done:                        approve approve_and_capture
        capture_automatic:           capture
        not_forceable:               force
        refund_running:              give_up
        refund_not_refused:          retry_refund give_up_refund
    """,
    "refund refused": """
        yes:                         retry force refund retry_refund give_up_refund
        done:                        approve approve_and_capture
        capture_automatic:           capture
        order_shipped:               cancel give_up
        order_finished:              hold
        order_completed:             open_edit
    """,
    "refund given up": """
        yes:                         refund
        done:                        approve approve_and_capture give_up_refund
        capture_automatic:           capture
        order_shipped:               cancel give_up
        refund_not_refused:          retry_refund
        order_finished:              hold
        order_completed:             open_edit
    """,
    "refunded in whole": """
        done:                        cancel give_up
        order_not_awaiting_approval: approve approve_and_capture
        order_cancelled:             capture refund retry_refund give_up_refund hold open_edit
    """,
    "cancelling": """
        done:                        approve cancel give_up
        order_cancelled:             capture approve_and_capture refund retry_refund give_up_refund hold open_edit
        not_forceable:               force
        yes:                         ask
    """,
    "cancelling, edited": """
        done:                        approve cancel give_up
        order_cancelled:             capture approve_and_capture refund retry_refund give_up_refund hold
        order_cancelled:             open_edit change_edit confirm_edit discard_edit
        not_forceable:               force
        yes:                         ask
    """,
    "cancel refused": """
        yes:                         cancel refund hold open_edit
        done:                        approve approve_and_capture
        capture_automatic:           capture
        not_forceable:               force
    """,
    "cancelled": """
        done:                        cancel give_up
        order_not_awaiting_approval: approve approve_and_capture
        order_cancelled:             capture refund retry_refund give_up_refund hold open_edit
    """,
    "archived": """
        yes:                         refund unarchive
        done:                        approve approve_and_capture archive
        capture_automatic:           capture
        order_shipped:               cancel give_up
        order_finished:              hold
        order_completed:             open_edit
    """,
}
OF_THE_REQUEST: Final = """
capture        line_unknown capture_exceeds
force          outcome_recorded
resolve        resolution_unsupported order_shipped order_held undo_running goods_shipped step_not_failed edit_open order_not_placed order_completed edit_empty line_unknown line_cancelled line_exists price_missing sku_missing tax_missing discount_exceeds total_exceeds currency_differs sku_differs order_fulfilled total_differs
refund         refund_open line_unknown refund_limit_reached
change_tags    tags_unchanged tags_exceeded
set_metadata   metadata_unchanged metadata_exceeded
set_reference  reference_unchanged
hold           hold_reason_unknown hold_limit_reached
release        hold_released
open_edit      edit_opened
confirm_edit   edit_stale line_unknown line_cancelled line_exists price_missing sku_missing tax_missing discount_exceeds \
               total_exceeds currency_differs sku_differs order_shipped order_fulfilled
"""
"""Codes that another request gets: each has a test in the file of its subject."""
ABOUT_ANOTHER: Final = """
capture        nothing_to_capture
force          not_forceable
change_edit    edit_confirmed edit_discarded
confirm_edit   edit_discarded
discard_edit   edit_confirmed
retry_refund   refund_not_refused
give_up_refund refund_not_refused
"""
"""Codes of a request about one line, operation, edit or refund, while the action is possible for another one."""

# action              scope             route
SCOPES_EXPECTED: Final = """
approve               orders.edit       POST  /approve
capture               payments.capture  POST  /capture
approve_and_capture   payments.capture  POST  /approve_and_capture
cancel                orders.cancel     POST  /cancel
retry                 orders.edit       POST  /retry
ask                   orders.edit       POST  /ask
give_up               orders.cancel     POST  /give_up
force                 orders.force      POST  /force
resolve               orders.edit       POST  /exceptions/{exception_id}/resolve
refund                payments.refund   POST  /refunds
retry_refund          payments.refund   POST  /refunds/{refund_id}/retry
give_up_refund        payments.refund   POST  /refunds/{refund_id}/give_up
archive               orders.edit       POST  /archive
unarchive             orders.edit       POST  /unarchive
add_note              orders.edit       POST  /notes
change_tags           orders.edit       POST  /tags
set_metadata          orders.edit       PATCH /metadata
add_attachment        orders.edit       POST  /attachments
set_reference         orders.edit       PUT   /reference
hold                  orders.edit       POST  /holds
release               orders.edit       POST  /holds/{hold_id}/release
open_edit             orders.edit       POST  /edits
change_edit           orders.edit       PUT   /edits/{edit_id}
confirm_edit          orders.edit       POST  /edits/{edit_id}/confirm
discard_edit          orders.edit       POST  /edits/{edit_id}/discard
"""


# -- the walk ---------------------------------------------------------------------------------------------------------


def answers(text: str) -> dict[str, str]:
    """action -> answer."""
    rows = [row.split(":") for row in text.strip().splitlines()]
    return {action: word.strip() for word, actions in rows for action in actions.split()}


def test_every_state_and_every_action_is_expected() -> None:
    assert EXPECTED.keys() == STATES.keys()
    for state, text in EXPECTED.items():
        assert (answers(UNLESS_STATED) | answers(text)).keys() == ACTIONS.keys() == requests(rests(state)).keys(), state


@pytest.mark.parametrize("state", STATES)
def test_each_action_is_answered_as_expected(state: str) -> None:
    expected = answers(UNLESS_STATED) | answers(EXPECTED[state])
    assert {action: answer(state, action) for action in ACTIONS} == expected


def test_an_edit_is_given_up_neither_before_nor_after_one_of_its_answers() -> None:
    """The answer may have come after the order was read and before the request. As soon as the last one is there the edit has
    ended, and the order is judged by what it waits for then."""
    for last in ("authorized", "declined"):
        play = paid(Play()).opens_an_edit(DEARER).confirms()
        steps = ("suspended", "extended", last, *(["reduced"] if last == "declined" else []), "resumed")
        for step in steps:
            assert why_not_given_up(play) == "edit_confirmed", step
            getattr(play, step)()
        assert why_not_given_up(play) == (None if last == "authorized" else "step_not_waiting")
        assert [run.waits for run in play.order.open_runs if run.kind == "settle"] == ["answer"] * (
            last == "authorized"
        )


def why_not_given_up(play: Play) -> str | None:
    return next(one.why_not for one in legal(play.order) if one.action == "give_up")


@pytest.mark.parametrize("state", STATES)
def test_an_order_shows_as_possible_exactly_what_is_carried_out(state: str) -> None:
    shown = {one.action: one.why_not for one in legal(rests(state).order)}
    assert {action for action, why_not in shown.items() if why_not is None} == {
        action for action in ACTIONS if answer(state, action) == "yes"
    }


@settings(deadline=None, max_examples=200)
@given(state=st.sampled_from(sorted(STATES)), before=st.lists(st.sampled_from(sorted(ACTIONS)), max_size=4),
       action=st.sampled_from(sorted(ACTIONS)))  # fmt: skip
def test_what_an_order_shows_as_possible_is_what_a_request_is_answered(
    state: str, before: list[str], action: str
) -> None:
    """After any requests: an action that is not possible changes nothing, and is refused with the words that are shown; one that
    is possible is refused only for what the request itself asks. What is tried all the same is answered with what it finds."""
    play = copy.deepcopy(rests(state))
    for other in before:
        play.when(requests(play)[other])
    shown = next(one for one in legal(play.order) if one.action == action)
    play.when(requests(play)[action])
    code = play.refusal.code if play.refusal is not None else None
    if shown.allowed:
        rows = [row.split() for row in f"{OF_THE_REQUEST}{ABOUT_ANOTHER}".splitlines() if row]
        assert code is None or any(row[0] == action and code in row for row in rows)
    elif ACTIONS[action].why_not[str(shown.why_not)].answer != "tried":
        assert not play.stated and not play.sent
        assert code != shown.why_not or play.refusal.detail.startswith(str(shown.detail))


def test_every_code_of_an_action_refuses_it_in_a_state_or_needs_another_request() -> None:
    """The codes that depend on what is asked for have tests of their own; no other code is unreachable."""
    unreached = {name: [*action.why_not] for name, action in ACTIONS.items()}
    for play in map(rests, STATES):
        for name, request in requests(play).items():
            for code in (ACTIONS[name].guard(play.order, request), ACTIONS[name].guard(play.order, None)):
                if code in unreached[name]:
                    unreached[name].remove(code)
    rows = [row.split() for row in OF_THE_REQUEST.strip().splitlines()]
    assert {name: codes for name, codes in unreached.items() if codes} == {name: codes for name, *codes in rows}


def test_each_action_needs_its_scope() -> None:
    """Every route refuses a key without it before the order is read, so in every state: `tests/test_permissions.py`."""
    paths = (
        App(SERVICE, SERVICE.settings(database_url="postgresql://127.0.0.1:1/none"), "api").asgi().openapi()["paths"]
    )
    rows = [row.split() for row in SCOPES_EXPECTED.strip().splitlines()]
    assert [name for name, *_ in rows] == [*ACTIONS]
    for name, scope, method, path in rows:
        needed = paths[f"/v1/orders/{{order_id}}{path}"][method.lower()]["security"]
        assert ACTIONS[name].scope == scope and all(one == [scope] for way in needed for one in way.values()), name
