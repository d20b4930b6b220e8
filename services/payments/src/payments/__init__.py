"""Payments: what was authorized, captured, voided and refunded of every order, per line, and who moved the money.

Read in this order: `handlers` (the messages that it handles), `domain.ledger` (state and invariants), `domain.commands` (the four
commands), `domain.answers` (what gateways report), `gateways` (the calls).
"""
