"""Webhooks: the feed of all events, which integrators read from any point of the retained days."""
