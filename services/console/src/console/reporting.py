"""Asks every process of every service what it has under way: `GET /v1/operations`, with the console's key.

A name with several addresses is that of several processes, as of a headless service of Kubernetes or a scaled one of Docker:
each is asked. Behind the one address of a load balancer the setting `<OWNER>_PROCESS_URLS` names them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

import aiohttp
import structlog
from pydantic import ValidationError

from chassis.process.operations import Operations
from console.domain.operations import Report
from console.settings import Owner

log = structlog.get_logger("console.reporting")

TIMEOUT: Final = aiohttp.ClientTimeout(total=1.5)
PATH: Final = "/v1/operations"


async def ask_all(session: aiohttp.ClientSession, owners: Mapping[str, Owner]) -> list[Report]:
    """Returns a report of each address; one that does not answer in time has a report that states why."""
    asked = [(name, owner, url) for name, owner in owners.items() for url in owner.process_urls]
    found = await asyncio.gather(*(_ask_name(session, *one) for one in asked))
    return [report for reports in found for report in reports]


async def _ask_name(session: aiohttp.ClientSession, service: str, owner: Owner, url: str) -> Sequence[Report]:
    parts = urlsplit(url)
    try:
        addresses = await addresses_of(parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))
    except OSError as error:
        return [_silent(service, url, f"its name has no address ({error.strerror or error})")]
    return await asyncio.gather(*(_ask(session, service, owner, url, address) for address in addresses))


async def addresses_of(host: str, port: int) -> list[str]:
    """Returns the addresses of a name: those of IPv4, without any those of IPv6, so that a process counts once. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for family in (socket.AF_INET, socket.AF_INET6):
        if addresses := sorted({str(one[4][0]) for one in found if one[0] == family}):
            return addresses
    return []


async def _ask(session: aiohttp.ClientSession, service: str, owner: Owner, url: str, address: str) -> Report:
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    place = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
    headers = {"authorization": f"Bearer {owner.api_key}", "host": parts.netloc}
    try:
        async with session.get(
            f"{parts.scheme}://{place}{parts.path}{PATH}", headers=headers, timeout=TIMEOUT,
            server_hostname=parts.hostname if parts.scheme == "https" else None,
        ) as response:  # fmt: skip
            if response.status != 200:
                return _silent(service, place, f"it answered {response.status}")
            body = Operations.model_validate_json(await response.read())
    except TimeoutError:
        return _silent(service, place, f"no answer within {TIMEOUT.total:g} s")
    except aiohttp.ClientError as error:
        return _silent(service, place, f"it cannot be reached ({type(error).__name__})")
    except ValidationError as error:
        log.warning("report_unreadable", service=service, address=place, error=str(error))
        return _silent(service, place, "its answer is of another release")
    now = datetime.now(UTC)
    return Report(service, place, now, now, "", body.model_dump(mode="json"))


def _silent(service: str, address: str, why: str) -> Report:
    return Report(service, address, datetime.now(UTC), None, why, {})
