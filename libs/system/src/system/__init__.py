"""The whole system on one machine: every service as a process beside Kafka and PostgreSQL, and the checker of invariants.

    with devservices.running(root, name="demo", reset=True) as servers:
        with System(root, servers.kafka, servers.postgres, logs) as system:
            system.prepare()
            system.start()
            assert not violations(check(system))

`processes` starts and stops the services, `installation` makes an installation from nothing, `background` leaves one running for
`make up`, `checker` and `topics` compare databases and topics with the invariants.
"""
