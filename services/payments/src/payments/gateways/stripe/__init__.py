"""Stripe over its HTTP API: payment intents with manual capture, refunds, and the events of its webhooks.

`gateway` has the requests, `answers` reads what comes back, `amounts` converts money to Stripe's units, `events` verifies
and reads webhooks. Source of every rule: Stripe's API reference and documentation, as named beside it.
"""
