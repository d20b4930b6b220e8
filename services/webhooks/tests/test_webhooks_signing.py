"""Signatures are those of Standard Webhooks; the vector is the one of its documentation."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from uuid import uuid4

import pytest
import standardwebhooks
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from webhooks.domain.signing import (
    BadSecret,
    Kind,
    kind_of,
    new_secret,
    public_key_of,
    signed_headers,
    signer_of,
    webhook_id,
)

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AT = datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'


def test_the_vector_of_the_standard() -> None:
    assert signed_headers([signer_of(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", AT, BODY) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_while_secrets_rotate_each_of_them_signs() -> None:
    other = new_secret()
    one, two = (
        signed_headers([signer_of(secret)], "msg_1", AT, BODY)["webhook-signature"] for secret in (SECRET, other)
    )
    assert (
        signed_headers([signer_of(SECRET), signer_of(other)], "msg_1", AT, BODY)["webhook-signature"] == f"{one} {two}"
    )


def test_a_delivery_has_one_id_per_endpoint_and_events() -> None:
    endpoint, other = uuid4(), uuid4()
    assert webhook_id(endpoint, ["a"]) == webhook_id(endpoint, ["a"])
    assert (
        len(
            {
                webhook_id(endpoint, ["a"]),
                webhook_id(endpoint, ["b"]),
                webhook_id(other, ["a"]),
                webhook_id(endpoint, ["a", "b"]),
            }
        )
        == 4
    )


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        SECRET[6:],
        "whsec_AAAA",
        "whsec_" + "A" * 128,
        "whsec_%%%",
        "whsec_é",
        "whsk_AAAA",
        "whsk_" + "A" * 48,
    ],
)
def test_a_secret_of_another_shape_is_refused(secret: str) -> None:
    with pytest.raises(BadSecret):
        signer_of(secret)


def test_a_new_secret_is_accepted_and_is_another_each_time() -> None:
    kinds: tuple[Kind, ...] = ("v1", "v1a")
    for kind in kinds:
        one, other = new_secret(kind), new_secret(kind)
        assert one != other
        assert kind_of(one) == kind_of(other) == kind


def test_the_client_of_the_standard_verifies_what_an_old_and_a_new_secret_sign_and_passes_over_other_kinds() -> None:
    old, new = new_secret(), new_secret()
    signers = [signer_of(secret) for secret in (new_secret("v1a"), new, old)]
    headers = signed_headers(signers, "msg_1", datetime.now(UTC), BODY)
    for secret in (old, new):
        assert standardwebhooks.Webhook(secret).verify(BODY, headers) == json.loads(BODY)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(new_secret()).verify(BODY, headers)
    with pytest.raises(standardwebhooks.WebhookVerificationError):
        standardwebhooks.Webhook(new).verify(BODY.replace(b"2", b"3"), headers)


def test_the_public_key_verifies_an_ed25519_signature() -> None:
    secret = new_secret("v1a")
    headers = signed_headers([signer_of(secret)], "msg_1", AT, BODY)
    version, _, signature = headers["webhook-signature"].partition(",")
    assert version == "v1a"
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key_of(secret).removeprefix("whpk_")))
    key.verify(base64.b64decode(signature), f"msg_1.{headers['webhook-timestamp']}.".encode() + BODY)
    with pytest.raises(InvalidSignature):
        key.verify(base64.b64decode(signature), b"msg_2." + BODY)
