"""Calls to payment gateways, outside any transaction.

Read in this order: `port` (what a gateway's code provides), `policy` (when it is called and asked), `registry` (which
gateways are set up), then one gateway, e.g. `test`. How to add one: docs/gateways.md.
"""
