"""Pure: what a place in the feed means after a restore, and how an event is shown."""
