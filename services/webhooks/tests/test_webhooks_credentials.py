"""Requests identify themselves by a certificate or by a token, to real receivers and token servers."""

from __future__ import annotations

import asyncio
import ssl
from base64 import b64decode
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from ipaddress import ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote_plus
from uuid import uuid4

import pytest
import pytest_asyncio
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa
from webhooks_certificates import Authority, tls_of
from webhooks_delivery import serving

from tests.waiting import PATIENCE_SECONDS
from webhooks import certificates, verification
from webhooks.delivery import credentials
from webhooks.delivery.outgoing import Outgoing, Request
from webhooks.delivery.sender import Answer, Sender
from webhooks.domain.config import Auth, Config, MtlsAuth, OAuth2Auth
from webhooks.domain.endpoint import Endpoint, Secret
from webhooks.domain.signing import new_secret
from webhooks.vault import Unreadable, Vault

pytestmark = pytest.mark.asyncio
LOOPBACK = ip_network("127.0.0.0/8")
VAULT = Vault(["a-key-of-thirty-two-characters-or-more"])
ENDPOINT = uuid4()
CLIENT_ID, CLIENT_SECRET = "shop:1 é", "hidden+/% 0"


@pytest_asyncio.fixture
async def sender() -> AsyncIterator[Sender]:
    async with Sender([LOOPBACK], connect_seconds_max=PATIENCE_SECONDS, total_seconds_max=PATIENCE_SECONDS) as sender:
        yield sender


def outgoing(url: str, auth: Auth) -> tuple[Outgoing, Request]:
    """The endpoint of a URL, and a request to it."""
    secret = Secret(id=uuid4(), sealed=VAULT.seal(ENDPOINT, new_secret()), created_at=datetime.now(UTC))
    endpoint = Endpoint(config=Config(url=url, auth=auth), secrets=(secret,))
    made = Outgoing(ENDPOINT, endpoint, VAULT)
    return made, made.signed(b"{}", "msg_1", datetime.now(UTC))


# -- certificates -----------------------------------------------------------------------------------------------------


@pytest.fixture
def authority(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Authority:
    """The one that this machine trusts."""
    authority = Authority()
    (tmp_path / "trusted.pem").write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "trusted.pem"))
    return authority


def server_tls(authority: Authority, tmp_path: Path, clients: Authority) -> ssl.SSLContext:
    """TLS of a receiver that requires a certificate of an authority of its own."""
    return tls_of(*authority.issue("server"), tmp_path, clients)


def mtls(certificate: str, key: str) -> MtlsAuth:
    return MtlsAuth(certificate=certificate, private_key=VAULT.seal(ENDPOINT, key))


async def test_the_receiver_sees_the_certificate_of_each_endpoint(
    sender: Sender, authority: Authority, tmp_path: Path
) -> None:
    clients, seen = Authority(), list[str]()

    async def handler(request: web.Request) -> web.Response:
        assert request.transport is not None
        subject = request.transport.get_extra_info("peercert")["subject"]
        seen.append(subject[0][0][1])
        return web.Response(status=204)

    async with serving(handler, server_tls(authority, tmp_path, clients)) as url:
        one, request = outgoing(url, mtls(*clients.issue("one")))
        other, _ = outgoing(url, mtls(*clients.issue("other")))
        for sending in (one, other, one):  # the connection of one endpoint is never another's
            assert (await sending.send(sender, request)).status == 204
        assert await verification.failure_of(sender, VAULT, "st_1", ENDPOINT, one._endpoint) is None
        stranger, _ = outgoing(url, mtls(*Authority().issue("stranger")))
        refused = await stranger.send(sender, request), await sender.post(url, {}, b"{}", ssl.create_default_context())
        for answer in refused:  # TLS 1.3 refuses after the handshake of the client
            assert answer.status is None and answer.error in ("tls_failed", "connection_lost")
    assert seen == ["one", "other", "one", "one"]


async def test_a_receiver_that_shows_no_trusted_certificate_gets_nothing(
    sender: Sender, authority: Authority, tmp_path: Path
) -> None:
    reached = False

    async def handler(request: web.Request) -> web.Response:
        nonlocal reached
        reached = True
        return web.Response()

    clients = Authority()
    async with serving(handler, server_tls(clients, tmp_path, clients)) as url:
        sending, request = outgoing(url, mtls(*clients.issue("one")))
        assert (await sending.send(sender, request)).error == "certificate_untrusted"
    assert not reached


async def test_the_context_of_an_endpoint_is_made_once(
    sender: Sender, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, real = 0, certificates.client_context

    def counted(certificate: str, private_key: str) -> ssl.SSLContext:
        nonlocal made
        made += 1
        return real(certificate, private_key)

    async def handler(request: web.Request) -> web.Response:
        return web.Response()

    monkeypatch.setattr(certificates, "client_context", counted)
    async with serving(handler, server_tls(authority, tmp_path, authority)) as url:
        sending, request = outgoing(url, mtls(*authority.issue("one")))
        answers = await asyncio.gather(*(sending.send(sender, request) for _ in range(5)))
    assert [answer.status for answer in answers] == [200] * 5 and made == 1


async def test_the_file_that_the_library_reads_has_no_open_key(monkeypatch: pytest.MonkeyPatch) -> None:
    certificate, key = Authority().issue("one")
    files: list[tuple[Path, str, int]] = []

    class Watched(ssl.SSLContext):
        def load_cert_chain(self, certfile: Any, keyfile: Any = None, password: Any = None) -> None:
            path = Path(certfile)
            files.append((path, path.read_text(), path.stat().st_mode & 0o777))
            super().load_cert_chain(certfile, keyfile, password)

    monkeypatch.setattr(ssl, "create_default_context", lambda: Watched(ssl.PROTOCOL_TLS_CLIENT))
    certificates.client_context(certificate, key)
    [(path, text, mode)] = files
    assert "BEGIN ENCRYPTED PRIVATE KEY" in text and "BEGIN PRIVATE KEY" not in text
    assert mode == 0o600 and not path.exists()


async def test_a_certificate_that_tls_does_not_accept_is_refused_and_never_falls(sender: Sender) -> None:
    certificate, key = Authority().issue("short", rsa.generate_private_key(65537, 1024))
    with pytest.raises(certificates.BadCertificate, match="TLS does not accept"):
        certificates.check(certificate, key, datetime.now(UTC))
    sending, request = outgoing("https://127.0.0.1:1/", mtls(certificate, key))
    for _ in range(2):
        assert await sending.send(sender, request) == Answer(None, "", "certificate_unusable", 0)


async def test_a_key_that_cannot_be_opened_is_an_error_of_its_own(sender: Sender) -> None:
    certificate, key = Authority().issue("one")
    sealed = Vault(["another-key-of-thirty-two-characters"]).seal(ENDPOINT, key)
    sending, request = outgoing("https://127.0.0.1:1/", MtlsAuth(certificate=certificate, private_key=sealed))
    with pytest.raises(Unreadable):
        await sending.send(sender, request)


# -- tokens -----------------------------------------------------------------------------------------------------------


@dataclass
class TokenServer:
    """Issues `token-1`, `token-2` and so on."""

    status: int = 200
    more: dict[str, Any] = field(default_factory=lambda: {"token_type": "Bearer", "expires_in": 3600})
    text: str | None = None
    """In place of the token."""
    suffix: str = ""
    asked: list[tuple[str, dict[str, list[str]]]] = field(default_factory=list)
    """Credentials and form of each request."""

    async def serve(self, request: web.Request) -> web.Response:
        scheme, _, basic = request.headers["authorization"].partition(" ")
        assert (scheme, request.content_type) == ("Basic", "application/x-www-form-urlencoded")
        self.asked.append((b64decode(basic).decode(), parse_qs(await request.text())))
        if self.text is not None:
            return web.Response(status=self.status, text=self.text)
        token = {"access_token": f"token-{len(self.asked)}{self.suffix}", **self.more}
        return web.json_response(token, status=self.status)


@dataclass
class Guarded:
    """A receiver that accepts some tokens."""

    accepted: set[str]
    got: list[str] = field(default_factory=list)

    async def serve(self, request: web.Request) -> web.Response:
        self.got.append(request.headers["authorization"].removeprefix("Bearer "))
        accepts = self.got[-1] in self.accepted
        return web.Response(status=200 if accepts else 401, text=f"you sent {request.headers['authorization']}")


def oauth2(token_url: str, scope: str = "") -> OAuth2Auth:
    sealed = VAULT.seal(ENDPOINT, CLIENT_SECRET)
    return OAuth2Auth(token_url=token_url, client_id=CLIENT_ID, client_secret=sealed, scope=scope)


async def test_one_token_serves_all_requests_of_an_endpoint(sender: Sender) -> None:
    server, receiver = TokenServer(), Guarded({"token-1"})
    async with serving(server.serve) as token_url, serving(receiver.serve) as url:
        sending, request = outgoing(url, oauth2(token_url, "hooks write"))
        answers = await asyncio.gather(*(sending.send(sender, request) for _ in range(8)))
        answers.append(await sending.send(sender, request))
    assert [answer.status for answer in answers] == [200] * 9
    [(basic, form)] = server.asked
    assert [unquote_plus(part) for part in basic.split(":")] == [CLIENT_ID, CLIENT_SECRET]
    assert form == {"grant_type": ["client_credentials"], "scope": ["hooks write"]}
    assert {answer.body for answer in answers} == {"you sent Bearer ***"}


async def test_a_token_is_replaced_before_it_ends(sender: Sender, monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 1_000.0

        def monotonic(self) -> float:
            return self.now

    clock = Clock()
    monkeypatch.setattr(credentials, "time", clock)
    server, receiver = TokenServer(), Guarded({"token-1", "token-2", "token-3"})
    async with serving(server.serve) as token_url, serving(receiver.serve) as url:
        sending, request = outgoing(url, oauth2(token_url))
        for clock.now in (1_000, 4_569.9, 4_570, 8_140):
            assert (await sending.send(sender, request)).succeeded
    assert receiver.got == ["token-1", "token-1", "token-2", "token-3"]
    assert server.asked[0][1] == {"grant_type": ["client_credentials"]}


async def test_a_token_that_the_receiver_refuses_is_replaced_once(sender: Sender) -> None:
    server, receiver = TokenServer(), Guarded({"token-1"})
    async with serving(server.serve) as token_url, serving(receiver.serve) as url:
        sending, request = outgoing(url, oauth2(token_url))
        assert (await sending.send(sender, request)).status == 200
        receiver.accepted = {"token-2"}  # the first was revoked
        answers = await asyncio.gather(*(sending.send(sender, request) for _ in range(4)))
        assert [answer.status for answer in answers] == [200] * 4 and len(server.asked) == 2
        receiver.accepted, receiver.got = set(), []
        assert (await sending.send(sender, request)).status == 401
    assert receiver.got == ["token-2", "token-3"]


async def test_a_long_token_is_sent_whole_and_not_shown(sender: Sender) -> None:
    server = TokenServer(suffix="x" * 5_000)
    receiver = Guarded({f"token-1{server.suffix}"})
    async with serving(server.serve) as token_url, serving(receiver.serve) as url:
        sending, request = outgoing(url, oauth2(token_url))
        answer = await sending.send(sender, request)
    assert (answer.status, answer.body) == (200, "you sent Bearer ***")


@pytest.mark.parametrize(
    ("server", "error"),
    [
        (TokenServer(401, text=f"wrong secret {CLIENT_SECRET}"), "token_refused"),
        (TokenServer(503), "token_refused"),
        (TokenServer(302), "token_refused"),
        (TokenServer(text="<html>"), "token_unreadable"),
        (TokenServer(text="{}"), "token_unreadable"),
        (TokenServer(more={"token_type": "mac"}), "token_unreadable"),
        (TokenServer(more={"token_type": "bearer", "expires_in": -1}), "token_unreadable"),
        (TokenServer(suffix="\r\nx-forged: 1"), "token_unreadable"),
        (TokenServer(suffix="x" * 30_000), "token_unreadable"),
    ],
)
async def test_a_token_server_that_fails_is_a_failed_attempt(sender: Sender, server: TokenServer, error: str) -> None:
    receiver = Guarded(set())
    async with serving(server.serve) as token_url, serving(receiver.serve) as url:
        sending, request = outgoing(url, oauth2(token_url))
        answers = await asyncio.gather(*(sending.send(sender, request) for _ in range(4)))
        assert {(answer.status, answer.body, answer.error) for answer in answers} == {(None, "", error)}
        assert len(server.asked) == 1 and receiver.got == []
        await sending.send(sender, request)
        assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("token_url", "error"),
    [("http://10.0.0.1/", "token_address_refused"), ("http://127.0.0.1:9/", "token_connect_failed")],
)
async def test_a_token_is_asked_for_through_the_gate(sender: Sender, token_url: str, error: str) -> None:
    sending, request = outgoing("http://127.0.0.1:9/", oauth2(token_url))
    assert (await sending.send(sender, request)).error == error
