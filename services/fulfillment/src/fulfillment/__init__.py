"""Stock, reservations and shipments: what lies where, which order holds it, and what has left.

Read `handlers` first (the commands that it handles), then `domain.fulfillment` (the pieces of an order) and `domain.stock` (the shelf).
"""
