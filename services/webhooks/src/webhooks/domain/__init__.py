"""Pure: places in the feed, and whom an event goes to, when, in which order, signed how."""
