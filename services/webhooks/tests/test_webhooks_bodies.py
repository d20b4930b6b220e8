"""What is refused of an endpoint's configuration, and with which code."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from webhooks_addresses import HOSTS, WITH_CREDENTIALS, ZONES

from webhooks.api.bodies import EndpointGiven, checked_secret, configured
from webhooks.domain.config import Config, HeadersAuth, MtlsAuth, OAuth2Auth
from webhooks.domain.urls import Gate, Wrong, checked_url

GATE = Gate(frozenset({443, 8443}))
LOCAL = Gate(frozenset({443}), (ip_network("127.0.0.0/8"), ip_network("::1/128")))
URL = "https://example.com/hooks"


def stated(gate: Gate = GATE, **body: Any) -> Config:
    return configured(EndpointGiven.model_validate({"url": URL, **body}), gate, lambda value: f"sealed-{len(value)}")


def refused(gate: Gate = GATE, **body: Any) -> tuple[str, str]:
    with pytest.raises(Wrong) as wrong:
        stated(gate, **body)
    return wrong.value.refusal.code, wrong.value.refusal.detail


@pytest.mark.parametrize(("url", "code"), [
    ("http://example.com/", "url_not_https"), ("ftp://example.com/", "url_not_https"), ("example.com", "url_not_https"),
    ("", "url_not_https"), ("https://", "url_not_https"), ("https://exa mple.com/", "url_not_https"), ("javascript:alert(1)", "url_not_https"),
    ("https://user:word@example.com/", "url_has_credentials"), ("https://user@example.com/", "url_has_credentials"),
    ("https://example.com:80/", "url_port"), ("https://example.com:22/", "url_port"), ("https://example.com:0/", "url_port"),
    ("https://127.0.0.1/", "url_not_public"), ("https://169.254.169.254/latest/meta-data", "url_not_public"), ("https://10.1.2.3/", "url_not_public"),
    ("https://0.0.0.0/", "url_not_public"), ("https://[::1]/", "url_not_public"), ("https://[fd00::1]/", "url_not_public"),
    ("https://[::ffff:127.0.0.1]/", "url_not_public"), ("https://[64:ff9b::a00:1]/", "url_not_public"), ("https://192.88.99.3/", "url_not_public"),
    ("https://localhost/", "url_not_public"), ("https://LOCALHOST./", "url_not_public"), ("https://db.localhost/", "url_not_public"),
])  # fmt: skip
def test_a_url_that_may_not_be_sent_to_is_refused(url: str, code: str) -> None:
    assert refused(url=url)[0] == code
    assert refused(notify_url=url)[0] == code
    assert refused(auth={"kind": "oauth2", "token_url": url, "client_id": "a", "client_secret": "b"})[0] == code


@pytest.mark.parametrize(
    ("hosts", "code"), [(HOSTS, "url_not_public"), (ZONES, "url_not_https"), (WITH_CREDENTIALS, "url_has_credentials")]
)
def test_no_spelling_of_an_address_hides_it(hosts: Sequence[str], code: str) -> None:
    for url in (f"https://{host}/" for host in hosts):
        token = {"kind": "oauth2", "token_url": url, "client_id": "a", "client_secret": "b"}
        assert {refused(url=url)[0], refused(notify_url=url)[0], refused(auth=token)[0]} == {code}, url


@pytest.mark.parametrize(("url", "stored"), [
    ("https://example.com", "https://example.com/"), ("https://EXAMPLE.com:8443/A?b=C#part", "https://example.com:8443/A?b=C"),
    (" https://example.com/ ", "https://example.com/"), ("https://münchen.example/", "https://xn--mnchen-3ya.example/"),
    ("https://8.8.8.8/x", "https://8.8.8.8/x"), ("https://example.com\\@evil.example/", "https://example.com/@evil.example/"),
])  # fmt: skip
def test_a_url_is_stored_as_it_is_connected(url: str, stored: str) -> None:
    assert stated(url=url).url == stored


def test_an_operator_opens_networks_for_plain_http_and_every_port_and_no_other() -> None:
    for url in ("http://127.0.0.1:8080/", "http://localhost:8080/", "https://[::1]:9/", "http://127.1:8080/"):
        assert stated(LOCAL, url=url).url.startswith("http")
    assert refused(LOCAL, url="http://10.0.0.1/")[0] == "url_not_https"
    assert refused(LOCAL, url="https://10.0.0.1/")[0] == "url_not_public"
    assert refused(LOCAL, url="http://example.com/")[0] == "url_not_https"
    assert refused(LOCAL, url="http://user@127.0.0.1/")[0] == "url_has_credentials"


@given(st.text(max_size=60), st.sampled_from(["https://", "http://", "https://127.0.0.1", "//", ""]))
def test_any_text_is_a_url_in_its_normal_form_or_is_refused(text: str, scheme: str) -> None:
    try:
        url = checked_url(scheme + text, GATE)
    except Wrong as wrong:
        assert wrong.refusal.code.startswith("url_")
    else:
        assert url.startswith("https://")
        assert checked_url(url, GATE) == url


@pytest.mark.parametrize(("types", "nearest"), [
    (["orders.placd"], "orders.placed"), (["order.*"], "orders.*"), (["orders.placed", "payments.capture"], "payments.captured"), (["*"], None),
])  # fmt: skip
def test_a_type_that_no_event_has_is_refused_with_the_nearest(types: Sequence[str], nearest: str | None) -> None:
    with pytest.raises(Wrong) as wrong:
        stated(types=types)
    assert wrong.value.refusal.code == "unknown_type"
    assert nearest in (None, wrong.value.refusal.more["nearest"])


def test_without_new_types_those_of_today_are_named() -> None:
    assert stated(types=["webhooks.*"]).delivered_types == ("webhooks.*",)
    assert set(stated(types=["webhooks.*"], new_types=False).delivered_types) == {
        "webhooks.delivery_exhausted", "webhooks.endpoint_disabled", "webhooks.endpoint_failing", "webhooks.endpoint_recovered",
    }  # fmt: skip
    assert len(stated(new_types=False).delivered_types) > 40


@pytest.mark.parametrize(("path", "more"), [
    ("channel", {}), ("account", {}), ("market", {}), ("data.currency", {"types": ["orders.completed"]}), ("data.status", {}),
    ("data.source.channel", {"types": ["orders.received"]}), ("data.lines.sku", {"types": ["fulfillment.*"]}),
    ("data.text", {"personal": True, "types": ["orders.note_added"]}),
])  # fmt: skip
def test_a_condition_is_on_a_fact_or_a_field_that_an_event_has(path: str, more: dict[str, Any]) -> None:
    [condition] = stated(where=[{"path": path, "in": ["x", 1, True]}], **more).where
    assert condition.path == path
    assert condition.values == ("x", 1, True)
    assert [type(value) for value in condition.values] == [str, int, bool]


@pytest.mark.parametrize(("path", "more"), [
    ("", {}), ("chanel", {}), ("data", {}), ("data.", {}), ("data.currncy", {}), ("data.currency", {"types": ["orders.note_added"]}),
    ("data.status.code", {}), ("data.source", {"types": ["orders.received"]}), ("data.lines", {"types": ["fulfillment.*"]}),
    ("data.text", {"types": ["orders.note_added"]}), ("data.__class__", {}), ("data.lines.0.sku", {"types": ["fulfillment.*"]}),
])  # fmt: skip
def test_a_condition_that_no_event_can_answer_or_that_reveals_a_personal_value_is_refused(
    path: str, more: dict[str, Any]
) -> None:
    assert refused(where=[{"path": path, "in": ["x"]}], **more)[0] == "bad_filter"


@pytest.mark.parametrize("body", [
    {"where": [{"path": "channel", "in": []}]}, {"where": [{"path": "channel"}]}, {"where": [{"path": "channel", "in": [1.5]}]},
    {"where": [{"path": "channel", "in": ["x"]}] * 11}, {"batch": {"max": 101}}, {"batch": {"wait_ms": 5_001}}, {"in_flight": 17},
    {"in_flight": 0}, {"rate": {"per_second": 0}}, {"rate": {}}, {"order": "random"}, {"auth": {"kind": "basic"}}, {"surprise": 1},
    {"auth": {"kind": "headers", "headers": {}}}, {"auth": {"kind": "headers", "headers": {f"x-{n}": "y" for n in range(11)}}},
    {"types": ["orders.placed"] * 51}, {"url": "https://example.com/" + "x" * 2_000}, {"url": None}, {"personal": "yes"},
])  # fmt: skip
def test_what_is_out_of_bounds_does_not_validate(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        stated(**body)


@pytest.mark.parametrize("name", [
    "webhook-id", "Webhook-Signature", "Content-Type", "content-length", "Host", "Transfer-Encoding", "connection", "tradewind-replay", "Cookie",
    "Proxy-Authorization", "ce-id", "", "x y", "x:y", "x\r\nhost", "é", "x" * 101,
])  # fmt: skip
def test_a_header_of_the_delivery_itself_cannot_be_set(name: str) -> None:
    assert refused(auth={"kind": "headers", "headers": {name: "v"}})[0] == "reserved_header"


@pytest.mark.parametrize("value", ["", " x", "x ", "a\r\nhost: b", "é", "\x00", "\t"])
def test_a_header_value_ends_no_line(value: str) -> None:
    code, detail = refused(auth={"kind": "headers", "headers": {"x-key": value}})
    assert code == "reserved_header"
    assert value.strip() == "" or value not in detail


def test_secret_values_are_sealed_and_names_of_headers_compared_without_case() -> None:
    auth = stated(auth={"kind": "headers", "headers": {"Authorization": "Bearer x", "X-Kept": None}}).auth
    assert auth == HeadersAuth(headers={"authorization": "sealed-8", "x-kept": None})
    auth = stated(auth={"kind": "oauth2", "token_url": URL, "client_id": "me", "client_secret": "hidden"}).auth
    assert auth == OAuth2Auth(token_url=URL, client_id="me", client_secret="sealed-6")


@pytest.mark.parametrize(
    "secret", ["", "x", "whsec_", "whsec_AAAA", "whsk_AAAA", "whpk_" + "A" * 44, "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
)
def test_a_secret_of_another_shape_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(Wrong) as wrong:
        checked_secret(secret)
    assert wrong.value.refusal.code == "bad_secret"
    assert len(secret) < 10 or secret not in wrong.value.refusal.detail


# -- certificates -----------------------------------------------------------------------------------------------------


def pem(key: EllipticCurvePrivateKey, encryption: KeySerializationEncryption | None = None) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption()).decode()


def certificate(key: EllipticCurvePrivateKey, begins: int = -1, ends: int = 1) -> str:
    """begins, ends: days from now."""
    name, now = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")]), datetime.now(UTC)
    built = x509.CertificateBuilder(
        name, name, key.public_key(), 1, now + timedelta(days=begins), now + timedelta(days=ends)
    )
    return built.sign(key, SHA256()).public_bytes(Encoding.PEM).decode()


OWN, OTHER = generate_private_key(SECP256R1()), generate_private_key(SECP256R1())


def test_a_certificate_with_its_key_is_accepted_and_the_key_is_sealed() -> None:
    own = certificate(OWN)
    auth = stated(auth={"kind": "mtls", "certificate": own, "private_key": pem(OWN)}).auth
    assert auth == MtlsAuth(certificate=own, private_key=f"sealed-{len(pem(OWN))}")
    assert stated(auth={"kind": "mtls", "certificate": own}).auth == MtlsAuth(certificate=own, private_key=None)


@pytest.mark.parametrize(("shown", "key", "why"), [
    ("no certificate", pem(OWN), "not PEM"), ("", pem(OWN), "not PEM"), (certificate(OWN), "no key", "private key is not PEM"),
    (certificate(OWN), pem(OTHER), "not that of the certificate"), (certificate(OWN, -10, -1), pem(OWN), "valid from"),
    (certificate(OWN, 1, 2), None, "valid from"), (pem(OWN), pem(OWN), "not PEM"),
    (certificate(OWN), pem(OWN, BestAvailableEncryption(b"word")), "encrypted"),
])  # fmt: skip
def test_a_certificate_that_cannot_be_used_is_refused(shown: str, key: str | None, why: str) -> None:
    code, detail = refused(auth={"kind": "mtls", "certificate": shown, "private_key": key})
    assert code == "bad_certificate"
    assert why in detail
    assert "BEGIN" not in detail
