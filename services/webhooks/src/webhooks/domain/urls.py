"""Which URLs deliveries may go to, as far as the URL itself shows it. The address of a name is judged when it is connected.

A URL is parsed once, as browsers do (the URL standard of WHATWG), and stored in that parser's normal form: an address has
one spelling then, even if a person wrote `0x7f.1` or `2130706433`, and the client that connects cannot read it otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import NamedTuple

from pydantic import AnyUrl, TypeAdapter, ValidationError

from contracts.deciding import Refusal
from webhooks.domain.addresses import Network, is_allowed

_URL: TypeAdapter[AnyUrl] = TypeAdapter(AnyUrl)
_LOOPBACK = "127.0.0.1"


class Wrong(ValueError):
    """A value of a request is refused; `refusal` names the problem."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.detail)
        self.refusal = refusal


class Gate(NamedTuple):
    """What the operator allows."""

    ports: frozenset[int]
    networks: tuple[Network, ...] = ()
    """Addresses that are not public. To them plain HTTP and every port are allowed, too."""


def checked_url(text: str, gate: Gate, field: str = "url") -> str:
    """Returns a URL in its normal form. field: of the request, for the problem. Raises Wrong."""
    more = {"pointer": f"/{field}"}
    try:
        url = _URL.validate_python(text.strip())
    except ValidationError:
        raise Wrong(Refusal("url_not_https", f"{field} is no URL such as https://example.com/webhooks", more)) from None
    if url.scheme not in ("https", "http") or not url.host:
        raise Wrong(Refusal("url_not_https", f"{field} has to begin with https://", more))
    if url.username is not None or url.password is not None:
        raise Wrong(Refusal("url_has_credentials", f"{field} carries a user name or a password: use `auth`", more))
    address = _address(url.host)
    if address is not None and _is_in(address, gate.networks):
        return _without_fragment(url)
    if url.scheme != "https":
        raise Wrong(Refusal("url_not_https", f"{field} has to begin with https://", more))
    if address is not None and not is_allowed(address):
        raise Wrong(Refusal("url_not_public", f"{field} has the host {url.host}, which is not a public address", more))
    if url.port not in gate.ports:
        allowed = " and ".join(str(port) for port in sorted(gate.ports))
        raise Wrong(Refusal("url_port", f"{field} has the port {url.port}; allowed are {allowed}", more))
    return _without_fragment(url)


def host_of(url: str) -> str:
    """Returns the host of a checked URL."""
    return _URL.validate_python(url).host or ""


def origin_of(url: str) -> str:
    """Returns scheme, host and port of a checked URL."""
    parsed = _URL.validate_python(url)
    return f"{parsed.scheme}://{parsed.host}:{parsed.port}"


def _address(host: str) -> str | None:
    """Returns the address that a host states itself; None for a name that has to be looked up."""
    name = host.strip("[]").rstrip(".").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return _LOOPBACK  # RFC 6761: never looked up elsewhere
    try:
        return str(ip_address(name))
    except ValueError:
        return None


def _is_in(address: str, networks: Iterable[Network]) -> bool:
    found = ip_address(address)
    return any(found.version == network.version and found in network for network in networks)


def _without_fragment(url: AnyUrl) -> str:
    return str(url).partition("#")[0]
