"""How an order is shown and found."""
