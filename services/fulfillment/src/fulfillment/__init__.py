"""Stock, reservations and shipments: what lies where, which order holds it, and what has left.

Read `handlers` first (the commands that it handles), then `domain.fulfillment` (an order's pieces) and `domain.stock` (the shelf).
"""
