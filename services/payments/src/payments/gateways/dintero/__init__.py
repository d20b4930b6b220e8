"""Dintero over its checkout API: sessions, transactions and their events, and the webhooks of its subscriptions.

`gateway` has the requests, `answers` reads transactions, `tokens` gets the access token, `events` verifies and reads
webhooks. Sources: Dintero's API reference (docs.dintero.com, the checkout and webhooks APIs, read in 2026) and the types of
Dintero.Node.SDK (`src/generated/payments.d.ts`).
"""
