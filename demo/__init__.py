"""The demo: real invoices become marketplace orders, are replayed through all services and counted afterwards.

Read in this order: `source` (a CSV becomes documents), `retail` (a document becomes an order and its snapshot),
`trouble` (what goes wrong, by rule), `oracle` (how every order must end), `report` (the figures afterwards).
These modules are pure apart from reading the one file. `runner` is the whole demo on one screen.
"""
