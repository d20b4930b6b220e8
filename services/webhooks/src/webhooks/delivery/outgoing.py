"""The requests to one endpoint: the rendered event, signatures, what its `auth` adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple
from uuid import UUID

from webhooks.delivery import render
from webhooks.delivery.credentials import Credentials, credentials_of
from webhooks.delivery.masking import masked, spellings
from webhooks.delivery.sender import Answer, Sender
from webhooks.domain.config import HeadersAuth
from webhooks.domain.endpoint import Endpoint
from webhooks.domain.signing import Signer, signed_headers, signer_of, webhook_id
from webhooks.vault import Vault
from webhooks.window import FeedEvent

KEPT_CHARACTERS_MAX: Final = 2_000
"""How much of an answer is stored."""


class Request(NamedTuple):
    url: str
    headers: Mapping[str, str]
    body: bytes
    delivery_id: str


class Outgoing:
    """Secrets are decrypted once, when the first request needs them."""

    def __init__(self, endpoint_id: UUID, endpoint: Endpoint, vault: Vault, *, delivers_as: UUID | None = None) -> None:
        """delivers_as: what the ids of deliveries are derived from, if not from the endpoint's id."""
        self._id, self._endpoint, self._vault = endpoint_id, endpoint, vault
        self._delivers_as = delivers_as or endpoint_id
        self._signers: dict[UUID, Signer] = {}
        self._fixed: dict[str, str] | None = None
        self._credentials: Credentials | None = None
        self._opened: set[str] = set()
        self._hidden: tuple[str, ...] = ()
        """What is masked in answers: the values of `_opened`."""

    def update(self, endpoint: Endpoint) -> None:
        """The endpoint has other secrets."""
        self._endpoint = endpoint

    def delivery_id(self, events: Sequence[FeedEvent], replay_id: UUID | None = None) -> str:
        """Returns the id of a delivery, which its events determine.

        replay_id: for an id of its own, so that the receiver does not recognize it.
        """
        event_ids = [event.row["event_id"] for event in events]
        return webhook_id(self._delivers_as, event_ids if replay_id is None else [*event_ids, str(replay_id)])

    def request(
        self, events: Sequence[FeedEvent], delivery_id: str, now: datetime, replay_id: UUID | None = None
    ) -> Request:
        """Raises `vault.Unreadable`."""
        config = self._endpoint.config
        thin, personal = config.payload == "thin", config.personal
        request = self.carrying([render.body_of(one, thin=thin, personal=personal) for one in events], delivery_id, now)
        if replay_id is None:
            return request
        return request._replace(headers={**request.headers, render.REPLAY: str(replay_id)})

    def carrying(self, bodies: Sequence[bytes], delivery_id: str, now: datetime) -> Request:
        """Returns the request of rendered events: a batch if the endpoint wants batches, or if they are several.

        Raises `vault.Unreadable`.
        """
        if self._endpoint.config.batch.max == 1 and len(bodies) == 1:
            return self.signed(bodies[0], delivery_id, now)
        request = self.signed(render.batch_of(bodies), delivery_id, now)
        return request._replace(headers={**request.headers, "content-type": render.BATCH_MEDIA_TYPE})

    def signed(self, body: bytes, delivery_id: str, now: datetime) -> Request:
        """Returns the request of a body. Raises `vault.Unreadable`."""
        signers = [self._signer(secret.id, secret.sealed) for secret in self._endpoint.signing(now)]
        headers = {**self._fixed_headers(), **signed_headers(signers, delivery_id, now, body)}
        return Request(self._endpoint.config.url, headers, body, delivery_id)

    async def send(self, sender: Sender, request: Request, more: Mapping[str, str] | None = None) -> Answer:
        """Returns the answer without secrets, as far as it is stored.

        more: headers besides those of the request. Raises `vault.Unreadable`, `sender.NotOurs`.
        """
        if self._credentials is None:
            self._credentials = credentials_of(self._endpoint.config.auth, self._open)
        headers = {**request.headers, **more} if more else request.headers
        answer = await self._credentials.post(sender, request.url, headers, request.body)
        return answer._replace(body=masked(answer.body, self._hidden)[:KEPT_CHARACTERS_MAX])

    def _open(self, sealed: str) -> str:
        """Returns a secret value, which is hidden in answers from then on."""
        value = self._vault.open(self._id, sealed)
        if value not in self._opened:
            self._opened.add(value)
            self._hidden = spellings(self._opened)
        return value

    def _signer(self, secret_id: UUID, sealed: str) -> Signer:
        if (found := self._signers.get(secret_id)) is None:
            found = self._signers[secret_id] = signer_of(self._open(sealed))
        return found

    def _fixed_headers(self) -> Mapping[str, str]:
        if self._fixed is None:
            self._fixed = {"content-type": render.MEDIA_TYPE, "user-agent": render.USER_AGENT}
            if isinstance(auth := self._endpoint.config.auth, HeadersAuth):
                for name, sealed in auth.headers.items():
                    assert sealed is not None, name
                    self._fixed[name] = self._open(sealed)
        return self._fixed
