"""What an order is about: what was sold, what was stated of it, and sums over both. Nothing here has an order's state."""
