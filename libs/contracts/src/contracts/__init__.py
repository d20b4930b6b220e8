"""Every message that crosses a topic, and what all services must agree on: ids, money, topics, envelopes.

Start with `base` (what a message is), then read the module of a service.
"""
