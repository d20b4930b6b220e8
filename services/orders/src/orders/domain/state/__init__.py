"""The state of an order, and how events change it."""
