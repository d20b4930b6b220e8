"""How a process moves from step to step: the same for every kind."""
