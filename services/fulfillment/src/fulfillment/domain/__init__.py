"""Pure: state, decide, evolve. Imports contracts, pydantic and the standard library; no I/O, no clock, no random."""
