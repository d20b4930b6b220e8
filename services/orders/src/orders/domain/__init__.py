"""Pure: what an order is, how it is placed, settled and undone. No I/O, no clock, no made-up ids."""
