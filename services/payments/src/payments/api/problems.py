"""Problems of payments' routes: status, cause, and what to do."""

from chassis.declare.app import About, Problems

PROBLEMS: Problems = {
    "order_unknown": About(404, "No payment of this order", "The payments service has received no command about this order.",
        "Read the order in the orders service: it may wait before its payment is authorized."),
}  # fmt: skip
