"""The messages that orders handles. Start reading here."""

from __future__ import annotations

from pathlib import Path

from chassis.declare.service import Aggregate, Service, Share, on
from contracts import differences, fulfillment, invoicing, payments
from contracts.deciding import Wake
from contracts.orders import (
    AddAttachment,
    AddNote,
    Approve,
    ApproveAndCapture,
    Archive,
    AskAgain,
    Cancel,
    CaptureOrder,
    ChangeEdit,
    ChangeTags,
    ConfirmEdit,
    DiscardEdit,
    Force,
    GiveUp,
    GiveUpRefund,
    Hold,
    OpenEdit,
    Place,
    Refund,
    Release,
    Resolve,
    Retry,
    RetryRefund,
    SetMetadata,
    SetReference,
    Unarchive,
)
from contracts.registry import SNAPSHOTS, SNAPSHOTS_BULK
from contracts.snapshot import Snapshot
from orders import api, invariants, store
from orders.domain.decisions import annotating, answers, disputes, expiring, forcing, reconciled, requests
from orders.domain.processes import kinds
from orders.domain.state import folding, order
from orders.settings import Settings
from orders.tables import metadata

ORDERS = Aggregate(
    table="orders",
    key="order_id",
    state=order.Order,
    initial=order.initial,
    evolve=folding.evolve,
    wake_at=kinds.wake_at,
    columns=store.COLUMNS,
    stamps=store.STAMPS,
    parts=store.PARTS,
    rows=store.rows,
    handlers=(
        # marketplace.orders.v1
        on(Snapshot, requests.snapshot),
        # orders.commands.v1, and the same over HTTP
        on(Place, requests.place),
        on(Approve, requests.approve),
        on(CaptureOrder, requests.capture),
        on(ApproveAndCapture, requests.approve_and_capture),
        on(Cancel, requests.cancel),
        on(OpenEdit, requests.open_edit),
        on(ChangeEdit, requests.change_edit),
        on(ConfirmEdit, requests.confirm_edit),
        on(DiscardEdit, requests.discard_edit),
        on(Retry, requests.retry),
        on(AskAgain, requests.ask),
        on(GiveUp, requests.give_up),
        on(Resolve, requests.resolve),
        on(Refund, requests.refund),
        on(RetryRefund, requests.retry_refund),
        on(GiveUpRefund, requests.give_up_refund),
        on(Archive, annotating.archive),
        on(Unarchive, annotating.unarchive),
        on(AddNote, annotating.add_note),
        on(ChangeTags, annotating.change_tags),
        on(SetMetadata, annotating.set_metadata),
        on(AddAttachment, annotating.add_attachment),
        on(SetReference, annotating.set_reference),
        on(Hold, requests.hold),
        on(Release, requests.release),
        on(Force, forcing.force),
        # payments.events.v1
        on(payments.Authorized, answers.authorized),
        on(payments.Pending, answers.pending),
        on(payments.Declined, answers.payment_refused),
        on(payments.Captured, answers.captured),
        on(payments.Voided, answers.voided),
        on(payments.Refunded, answers.refunded),
        on(payments.Reversed, answers.reversed_lines),
        on(payments.Failed, answers.payment_refused),
        on(payments.ForceRefused, forcing.refused),
        on(payments.Contradicted, forcing.contradicted),
        on(payments.ExpiryAnnounced, expiring.expiring),
        on(payments.DisputeOpened, disputes.opened),
        on(payments.DisputeClosed, disputes.closed),
        on(differences.DifferencesChanged, reconciled.changed),
        # fulfillment.events.v1
        on(fulfillment.Reserved, answers.reserved),
        on(fulfillment.OutOfStock, answers.out_of_stock),
        on(fulfillment.Released, answers.released),
        on(fulfillment.Started, answers.started),
        on(fulfillment.Shipped, answers.shipped),
        on(fulfillment.Delivered, answers.delivered),
        on(fulfillment.Fulfilled, answers.fulfilled),
        on(fulfillment.ShipmentsCancelled, answers.shipments_cancelled),
        on(fulfillment.TooLate, answers.too_late),
        on(fulfillment.Suspended, answers.suspended),
        on(fulfillment.Resumed, answers.resumed),
        on(fulfillment.Extended, answers.extended),
        on(fulfillment.Reduced, answers.reduced),
        on(fulfillment.Restocked, answers.restocked),
        # invoicing.events.v1
        on(invoicing.Issued, answers.issued),
        on(invoicing.Credited, answers.credited),
        on(invoicing.Failed, answers.rejected),
        # its own timers
        on(Wake, requests.wake),
    ),
)

MARKETS = Share(
    name="markets",
    needs=requests.needs_market,
    load=store.load_markets,
    touched=lambda event: (),
    evolve=lambda state, key, event: state,
)

SERVICE = Service(
    name="orders",
    aggregates=(ORDERS,),
    shares=(MARKETS,),
    settings=Settings,
    metadata=metadata,
    migrations=Path(__file__).parents[2] / "migrations",
    routes=api.routes,
    problems=api.PROBLEMS,
    apply=store.apply,
    intake=frozenset({SNAPSHOTS, SNAPSHOTS_BULK}),
    in_flight=store.IN_FLIGHT,
    processes=store.PROCESSES,
    adopts=False,  # the progress of its processes is not published: it resumes from snapshots and answers
    check=invariants.check,
)
