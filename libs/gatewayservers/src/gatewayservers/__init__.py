"""Payment gateways to test against: real HTTP servers with books of their own. Nothing of Tradewind is imported here, so
that a mistake in the services cannot hide in the book that they are compared with.
"""
