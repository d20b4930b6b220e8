"""The problems of webhooks' routes: one entry per code, a page each under `/problems/`."""

from typing import Final

from chassis.declare.app import About, Problems

PROBLEMS: Final[Problems] = {
    # -- the feed
    "beyond_retention": About(410, "The feed no longer has these events",
        "The events behind the cursor are older than the retained days, and were dropped.",
        "`oldest_cursor` is the place before the oldest event. What lies between has to be read from the services."),
    "too_many_streams": About(429, "Too many streams", "The API key has as many streams open as it may.",
        "Close one, or read pages with `wait`."),
    "event_unknown": About(404, "No such event", "The feed has no event of this id in this store: it never was there, or it was dropped.",
        "`GET /v1/events` lists the events; ids are compared byte for byte."),
    # -- endpoints: what is configured
    "url_not_https": About(422, "The URL is not https", "Events go over TLS alone, to a complete URL. `pointer` names the field.",
        "Send a URL such as `https://example.com/webhooks`."),
    "url_has_credentials": About(422, "The URL has a user name or a password", "A URL is shown and logged; a secret in it would be, too.",
        "Leave them out and state `auth`."),
    "url_port": About(422, "The URL has another port", "The operator allows some ports only.", "Use one of those that the detail names."),
    "url_not_public": About(422, "The address is not public", "The URL states an address of a private or reserved network.",
        "Use a public name or address. An operator can allow a network: `WEBHOOKS_ALLOWED_NETWORKS`."),
    "unknown_type": About(422, "No event has this type", "The type is misspelt, or belongs to a newer release.",
        "`nearest` is the nearest type that exists; all of a service are `orders.*`."),
    "bad_filter": About(422, "The condition cannot be evaluated", "No event of these types has the field, or it is personal.",
        "Name `channel`, `account`, `market` or a field of the event as `data.<name>`; a personal one needs `personal`."),
    "bad_secret": About(422, "The secret cannot be used",
        "The secret has another shape, or a value of `auth` is missing and there is no present one to keep.",
        "A secret is `whsec_` and the base64 of 24 to 64 bytes, or `whsk_` and that of the 32 bytes of an ed25519 key. Leave it"
        " out to have one made. State the values of `auth` again when the host changes."),
    "reserved_header": About(422, "The header cannot be set", "Deliveries set this header themselves, or it has no valid name or value.",
        "Use another name, e.g. `Authorization` or `X-Api-Key`."),
    "bad_certificate": About(422, "The certificate cannot be used", "It is no PEM, has expired, or the private key is not its own.",
        "Send the certificate with its chain and its private key, unencrypted, both as PEM."),
    # -- endpoints: what is requested
    "attempt_unknown": About(404, "No such attempt", "This store has no attempt of this id, or it is older than 90 days.",
        "`GET /v1/attempts` lists them."),
    "replay_unknown": About(404, "No such replay", "This store has no replay of this id.", "`POST /v1/endpoints/{id}/replay` begins one."),
    "endpoint_unknown": About(404, "No such endpoint", "This store has no endpoint of this id, or it was removed.",
        "`GET /v1/endpoints` lists them."),
    "too_many_endpoints": About(409, "Too many endpoints", "A store has 500 endpoints at most.", "Remove one that is no longer used."),
    "too_many_secrets": About(409, "Too many secrets sign", "Three secrets sign at most. Those that were replaced sign until their overlap ends.",
        "Wait until one has expired, or rotate with `overlap_hours: 0`, which ends all others at once."),
    "not_verified": About(409, "The receiver is not verified", "No request to the present URL was answered as it should be.",
        "`POST /v1/endpoints/{id}/verify` asks it."),
    "disabled": About(409, "The endpoint is disabled", "Nothing is sent to it: on request, or because its receiver failed for days or was gone.",
        "`POST /v1/endpoints/{id}/enable` enables it. `POST /v1/endpoints/{id}/test` sends an example also while it is disabled."),
    "secret_unstorable": About(409, "The service has no key for secrets", "`WEBHOOKS_SECRET_KEYS` is not set, so no secret can be stored.",
        "An operator sets it in every process of webhooks."),
    "secret_unreadable": About(409, "The secret cannot be read any more", "The key that encrypted it is no longer in `WEBHOOKS_SECRET_KEYS`.",
        "An operator puts the key back behind the present ones; or rotate the secret."),
}  # fmt: skip
