"""Pure: `ledger` holds the state, `commands` the commands' decisions, `answers` the gateways' reports, `gateway` their port."""
