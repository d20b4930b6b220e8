"""Pure: `ledger` holds the state, `obey` the commands' decisions, `answers` the gateways' reports, `gateway` their port."""
