"""No delivery and no request for a token reaches an address of the house, in a network in which each address has a listener.

Needs Linux, `ip` and `unshare`, and the right to make a network namespace.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from webhooks_addresses import HOSTS, OF_SVIX, WITH_CREDENTIALS, ZONES
from webhooks_namespace import PUBLIC, SETUP

SCRIPT = Path(__file__).with_name("webhooks_namespace.py")
NAMES = ("metadata.example", "mapped.example", "nat64.example", "6to4.example", "127.0.0.1.nip.io", "localtest.me")
BEHIND = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "fd00:ec2::254", "64:ff9b::7f00:1", "2002:7f00:1::")
"""Some of the house. They are reached when the gate is open: the listeners see what passes."""


class Sent(NamedTuple):
    url: str
    is_token_url: bool = False
    gate: str = "closed"
    times: int = 1


def literal(address: str) -> str:
    return f"[{address}]" if ":" in address else address


REFUSED = [
    Sent(f"{scheme}://{host}/", is_token_url)
    for host in (*HOSTS, *ZONES, *WITH_CREDENTIALS, *map(literal, OF_SVIX), *NAMES)
    for scheme, is_token_url in (("http", False), ("https", False), ("http", True))
]
PASSED = [Sent(f"http://{literal(one)}/", gate="open") for one in BEHIND]
REBINDING, REBINDING_TOKENS = (
    Sent("http://rebinding.example/", times=3), Sent("http://rebinding-tokens.example/", is_token_url=True, times=3)
)  # fmt: skip
REDIRECTING, TOKENS, BOTH = (
    Sent("http://public.example/"), Sent("http://public.example/", is_token_url=True), Sent("http://both.example/")
)  # fmt: skip


@pytest.fixture(scope="module")
def ended() -> dict[Sent, Any]:
    """Returns of each request how it was answered, and which addresses it has reached."""
    requests = [*REFUSED, *PASSED, REBINDING, REBINDING_TOKENS, REDIRECTING, TOKENS, BOTH]
    script = f'{SETUP} || exit 90\nexec "$@"'
    command = ["unshare", "--map-root-user", "--net", "--mount", "sh", "-c", script, "sh", sys.executable, str(SCRIPT)]
    given = json.dumps([one._asdict() for one in requests])
    try:
        run = subprocess.run(command, input=given, capture_output=True, text=True, timeout=300, check=False)
    except FileNotFoundError as error:
        pytest.skip(f"no network namespace can be made: {error}")
    if run.returncode in (1, 90) and "Traceback" not in run.stderr:
        pytest.skip(f"no network namespace can be made: {run.stderr.strip()}")
    assert run.returncode == 0, run.stderr
    return dict(zip(requests, json.loads(run.stdout), strict=True))


def test_no_spelling_of_an_address_and_no_name_reaches_a_listener_of_the_house(ended: dict[Sent, Any]) -> None:
    """Nor does a proxy of the environment, at an address of the house, get any of them."""
    for sent in REFUSED:
        [[status, error]] = ended[sent]["answers"]
        assert (ended[sent]["reached"], status) == ([], None), (sent, ended[sent])
        assert error.removeprefix("token_") in ("address_refused", "url_invalid", "name_unresolved"), (sent, error)


def test_the_listeners_see_what_passes_an_open_gate(ended: dict[Sent, Any]) -> None:
    """Else the test above could not fail."""
    assert [ended[sent]["reached"] for sent in PASSED] == [[one] for one in BEHIND]


def test_a_redirect_to_the_metadata_of_a_cloud_is_not_followed(ended: dict[Sent, Any]) -> None:
    assert ended[REDIRECTING] == {"answers": [[302, None]], "reached": [PUBLIC]}
    assert ended[TOKENS] == {"answers": [[None, "token_refused"]], "reached": [PUBLIC]}


def test_a_name_is_refused_once_its_address_has_changed(ended: dict[Sent, Any]) -> None:
    """The address is the one that is connected, not the one that was checked before."""
    refused = [None, "address_refused"]
    assert ended[REBINDING] == {"answers": [[302, None], refused, refused], "reached": [PUBLIC]}
    refused = [None, "token_address_refused"]
    assert ended[REBINDING_TOKENS] == {"answers": [[None, "token_refused"], refused, refused], "reached": [PUBLIC]}


def test_of_a_name_with_two_addresses_the_public_one_alone_is_connected(ended: dict[Sent, Any]) -> None:
    assert ended[BOTH] == {"answers": [[302, None]], "reached": [PUBLIC]}
