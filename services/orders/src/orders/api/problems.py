"""The problems of orders' routes: one entry per code, a page each under `/problems/`."""

from chassis.declare.app import About, Problems

PROBLEMS: Problems = {
    "order_unknown": About(404, "No such order", "This store has no order of this id.",
        "Use the `order_id` that `POST /v1/orders` answered; `GET /v1/orders?external_order_id=` finds it."),
    "order_exists": About(409, "The external id is taken by an order with another content",
        "Channel, account and external id name an order that was sold otherwise.",
        "Give the new order an external id of its own; a change of the old one comes as a snapshot."),
    "order_not_awaiting_approval": About(409, "The order does not wait for approval",
        "It needs no approval, has not been placed yet, or is cancelled.", "`GET /v1/orders/{id}` lists `legal_actions`."),
    "order_shipped": About(409, "Something has shipped", "Goods have left the warehouse: the order can no longer be cancelled.",
        "Take the goods back as a return."),
    "step_not_failed": About(409, "No step waits for a person", "No process of the order waits to be resumed.",
        "`GET /v1/orders/{id}` shows in `processes` what it waits for."),
    "market_unknown": About(404, "No such market", "This store has no market of this code.",
        "`GET /v1/markets` lists them; `PUT /v1/markets/{code}` creates one."),
    "market_taken": About(409, "Another market is found by this",
        "A store has one market for each channel and account, and one default.", "Change that market, or name another account."),
    "exception_unknown": About(404, "No such open exception", "The order has no open exception of this id.",
        "`GET /v1/orders/{id}` lists `exceptions`; one that was resolved is in the timeline."),
    "resolution_unsupported": About(409, "The exception does not end by this resolution",
        "Exceptions of this kind end otherwise.", "`GET /v1/orders/{id}` lists the resolutions of each exception."),
    "obstacle_remains": About(409, "The order still cannot start", "The cause that keeps the order from starting is not corrected.",
        "Correct what the exception names, then resolve it again."),
    "undo_running": About(409, "The cancel of the order has not ended", "The order is being cancelled, and services still answer.",
        "Resolve the exception when the cancel has ended; `GET /v1/orders/{id}` shows it in `processes`."),
    "tags_exceeded": About(409, "Too many tags", "With these tags the order would have more than 10.",
        "Remove others in the same request: `remove` is applied before `add`."),
    "metadata_exceeded": About(409, "The metadata is too large", "With this change the metadata would have more than 16,384 bytes.",
        "Remove members by setting them to null, or replace the object with `PUT`."),
}  # fmt: skip
