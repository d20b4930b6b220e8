"""The microservice chassis: what every service needs and no service is about.

Read in this order: `service` (what a service declares), `shell` (how a batch becomes one transaction), `consumer`
(topic -> shell), `relay` (outbox -> topic), `parking` (what is refused, and how it comes back), `tasks` and `timers`
(what happens outside and later), `http` (requests -> shell), `app` (one process of all of it).
"""
