"""Problems of payments' routes: status, cause, and what to do."""

from chassis.declare.app import About, Problems

PROBLEMS: Problems = {
    "order_unknown": About(404, "No payment of this order", "The payments service has received no command about this order.",
        "Read the order in the orders service: it may wait before its payment is authorized."),
    "payment_differs": About(409, "The payment was recorded otherwise", "The payment system's id is recorded with another amount, currency or outcome.",
        "Compare both; another operation has another id in its payment system."),
    "payment_taken": About(409, "The payment is recorded on another order", "The payment system's id is recorded on the order that the detail names.",
        "Record the operation on its own order."),
    "currency_differs": About(409, "Another currency than the order's", "An order is paid in one currency.",
        "State the amounts in the currency of the order's first authorization."),
    "authorization_unknown": About(409, "No such authorization", "The order has no authorization that this can draw on.",
        "Record the authorization first, then repeat the request; `captured: true` records both in one."),
    "capture_unknown": About(409, "No such capture", "The order has no capture that this can draw on.",
        "Record the capture first, then repeat the request."),
    "reference_ambiguous": About(409, "It could draw on several", "The order has several authorizations or captures, and the request names none.",
        "Name `authorization_id` or `capture_id`; `GET /v1/payments/{order_id}` lists them."),
    "line_unknown": About(409, "No such line", "What the operation draws on has no line of this id.", "State the lines that were authorized or captured."),
    "exceeds_authorizable": About(409, "More than an order holds", "An order holds at most 10^15 minor units.", "`allowed_minor` is what may still be authorized."),
    "exceeds_capturable": About(409, "More than is left of a line", "The amount exceeds what is authorized and neither captured, voided nor held.",
        "`line` does not fit; `allowed_minor` is what is left of it."),
    "exceeds_refundable": About(409, "More than was captured of a line", "The amount exceeds what is captured and neither refunded nor held.",
        "`line` does not fit; `allowed_minor` is what is left of it."),
}  # fmt: skip
