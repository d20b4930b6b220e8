"""ID tokens of an identity provider: whether one is genuine, of now and for us, and whom it states.

OpenID Connect Core 1.0, section 3.1.3.7. A key of the provider verifies a signature, so the algorithms are asymmetric ones: with
HS256, whoever has the public key could sign.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, ClaimError, ExpiredTokenError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "ES512",
    "EdDSA",
    "Ed25519",
)
SKEW_SECONDS: Final = 60
"""How far the clocks of the provider and of the console may be apart."""
SUBJECT: Final = re.compile(r"[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?")
NAME_CHARACTERS_MAX: Final = 100
GROUPS_MAX: Final = 1_000
NAMED_BY: Final = ("name", "preferred_username", "email", "sub")
"""Claims that name a person; the first that a token has."""


class KeyUnknown(Exception):
    """No key that we have fits the token: the provider may have changed its keys."""


class TokenInvalid(Exception):
    """The sentence states what is wrong, without a value of the token."""


class Expected(NamedTuple):
    issuer: str
    client_id: str
    nonce: str
    """As the console sent it with the request that the token answers."""


class Stated(NamedTuple):
    """Whom a token states."""

    subject: str
    name: str
    groups: tuple[str, ...]


def verified(
    id_token: str, access_token: str | None, keys: Mapping[str, Any], expected: Expected, now_seconds: float
) -> Mapping[str, Any]:
    """Returns the claims of a token.

    keys: the provider's JWK set. Raises KeyUnknown, TokenInvalid.
    """
    registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
    try:
        token = jwt.decode(id_token, KeySet.import_key_set(dict(keys)), registry=registry)  # type: ignore[arg-type]
    except (InvalidKeyIdError, BadSignatureError) as error:
        raise KeyUnknown(_sentence(error)) from None
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise TokenInvalid(_sentence(error)) from None
    options = {
        "iss": {"essential": True, "value": expected.issuer},
        "aud": {"essential": True, "value": expected.client_id},
    }
    known = {"nonce": expected.nonce, "client_id": expected.client_id, "access_token": access_token}
    claims = CodeIDToken(token.claims, token.header, options, known)
    try:
        claims.validate(now=int(now_seconds), leeway=SKEW_SECONDS)
    except JoseError as error:
        raise TokenInvalid(_sentence(error)) from None
    return token.claims


def _sentence(error: Exception) -> str:
    match error:
        case ExpiredTokenError():
            return "the ID token is expired: compare the clocks of the identity provider and of the console"
        case ClaimError() if error.claim in ("iat", "nbf"):
            return "the ID token is of the future: compare the clocks of the identity provider and of the console"
        case ClaimError():
            return f"a claim of the ID token is missing, or not the expected one: {error.claim}"
        case InvalidKeyIdError():
            return "the ID token is signed with a key that the identity provider does not publish"
        case BadSignatureError():
            return "the signature of the ID token is wrong"
        case JoseError():
            return f"the ID token cannot be used ({error.error or type(error).__name__})"
        case _:
            return "the ID token cannot be read"


def stated(claims: Mapping[str, Any], groups_claim: str) -> Stated:
    """Returns whom claims state. Raises TokenInvalid for a subject that no journal can name."""
    subject = claims.get("sub")
    if not isinstance(subject, str) or not SUBJECT.fullmatch(subject):
        raise TokenInvalid("the subject of the ID token is not 1 to 255 characters of printable ASCII")
    name = next(one for key in NAMED_BY if isinstance(claims.get(key), str) and (one := _plain(claims[key])))
    groups = claims.get(groups_claim)
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    return Stated(subject, name, tuple(one for one in listed if isinstance(one, str) and one)[:GROUPS_MAX])


def _plain(text: str) -> str:
    """Returns a name without characters that are not seen, or that turn the text around them."""
    seen = "".join(one if unicodedata.category(one)[0] != "C" else " " for one in text)
    return " ".join(seen.split())[:NAME_CHARACTERS_MAX]
