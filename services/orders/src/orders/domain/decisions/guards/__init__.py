"""Guards of the actions, by subject: (order, request) -> why the action is not possible, a code; None: it is."""
