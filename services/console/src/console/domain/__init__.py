"""Pure: what the events make of the row of an order, what it waits for, who may see what."""
