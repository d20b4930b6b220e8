"""Signatures are those of Standard Webhooks; the vector is the one of its documentation."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from webhooks.domain.signing import BadSecret, key_of, new_secret, signed_headers, webhook_id

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
AT = datetime.fromtimestamp(1614265330, UTC)
BODY = b'{"test": 2432232314}'


def test_the_vector_of_the_standard() -> None:
    assert signed_headers([key_of(SECRET)], "msg_p5jXN8AQM9LWM0D4loKWxJek", AT, BODY) == {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


def test_while_secrets_rotate_each_of_them_signs() -> None:
    other = new_secret()
    one, two = (signed_headers([key_of(secret)], "msg_1", AT, BODY)["webhook-signature"] for secret in (SECRET, other))
    assert signed_headers([key_of(SECRET), key_of(other)], "msg_1", AT, BODY)["webhook-signature"] == f"{one} {two}"


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
    "secret", ["", "whsec_", SECRET[6:], "whsec_AAAA", "whsec_" + "A" * 128, "whsec_%%%", "whsec_é"]
)
def test_a_secret_of_another_shape_is_refused(secret: str) -> None:
    with pytest.raises(BadSecret):
        key_of(secret)


def test_a_new_secret_is_accepted_and_is_another_each_time() -> None:
    assert key_of(new_secret()) != key_of(new_secret())
