"""Kafka's jars: pinned by SHA-256 in `kafka-jars.sha256`, fetched once, rejected if they differ.

The list holds the whole resolved tree, so a first start resolves nothing and fetches the files concurrently. jgo fetches
from Maven Central, or from the `[repositories]` of its `~/.config/jgo.conf`.
To change the version, edit ENDPOINT and run `python -m devservices pin-jars`.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from devservices.errors import DevservicesError

if TYPE_CHECKING:
    from jgo.maven import MavenContext

ENDPOINT = "org.apache.kafka:kafka_2.13:4.3.1+org.slf4j:slf4j-simple:1.7.36"
PIN_LIST = Path(__file__).with_name("kafka-jars.sha256")
DOWNLOADS_AT_ONCE = 8


@dataclass(frozen=True)
class Pin:
    sha256: str
    group: str
    artifact: str
    version: str

    @property
    def file_name(self) -> str:
        return f"{self.artifact}-{self.version}.jar"


def kafka_jars(cache: Path, pin_list: Path = PIN_LIST) -> list[Path]:
    """Returns the jars in the order of the list, each verified. Fetches those not yet in `cache`."""
    pins = read_pins(pin_list)
    directory = cache / "jars"
    directory.mkdir(exist_ok=True)
    with _one_at_a_time(cache / "jars.lock"):
        missing = [pin for pin in pins if not (directory / pin.file_name).exists()]
        if missing:
            _fetch(missing, directory)
        _verify(pins, directory)
    return [directory / pin.file_name for pin in pins]


def read_pins(pin_list: Path) -> list[Pin]:
    try:
        lines = [line.split() for line in pin_list.read_text().splitlines() if line and not line.startswith("#")]
        return [Pin(sha256, *coordinate.split(":")) for sha256, coordinate in lines]
    except (OSError, ValueError, TypeError) as error:
        raise DevservicesError(
            f"The list of pinned jars {pin_list} cannot be read ({error}): restore it from git, or write it again with "
            "'python -m devservices pin-jars'."
        ) from error


def _fetch(pins: list[Pin], directory: Path) -> None:
    """Fetches into a temporary directory and moves each verified file: `directory` never holds a partial file."""
    with tempfile.TemporaryDirectory(prefix="fetching-", dir=directory.parent) as staging:
        context = _maven(Path(staging))
        pool = ThreadPoolExecutor(max_workers=DOWNLOADS_AT_ONCE, thread_name_prefix="devservices-fetch")
        try:
            for pin, path in zip(pins, pool.map(lambda pin: _download(context, pin), pins), strict=True):
                if (found := sha256_of(path)) != pin.sha256:
                    raise DevservicesError(
                        f"{pin.file_name} as fetched is not the pinned file (expected SHA-256 {pin.sha256}, got "
                        f"{found}): check the Maven repository or proxy it came from; the file was deleted."
                    )
                os.replace(path, directory / pin.file_name)
        finally:
            pool.shutdown(cancel_futures=True)


def _maven(repository: Path) -> MavenContext:
    try:
        from jgo.config import GlobalSettings
        from jgo.maven import MavenContext
    except ImportError as error:
        raise DevservicesError(
            f"The package '{error.name}' is missing: install this package with its dependencies (pip install)."
        ) from error
    return MavenContext(repo_cache=repository, remote_repos=GlobalSettings.load().repositories or None)


def _download(context: MavenContext, pin: Pin) -> Path:
    artifact = context.project(pin.group, pin.artifact).at_version(pin.version).artifact()
    try:
        return artifact.resolve()
    except Exception as error:  # requests, jgo and the file system raise types of their own
        raise DevservicesError(
            f"{pin.file_name}, which Kafka needs, could not be fetched ({_short(error)}): make a Maven repository "
            "reachable for the first start (a mirror: '[repositories]' in ~/.config/jgo.conf), or name a running broker in "
            "KAFKA_BOOTSTRAP_SERVERS."
        ) from error


def _verify(pins: list[Pin], directory: Path) -> None:
    """Hashes each jar once. Later calls compare size and modification time, and hash again where these differ."""
    stamps_path = directory.parent / "jars.verified.json"
    try:
        verified = dict(json.loads(stamps_path.read_text()))
    except (OSError, ValueError):
        verified = {}
    stamps = {}
    for pin in pins:
        path = directory / pin.file_name
        status = path.stat()
        stamps[pin.file_name] = [pin.sha256, status.st_size, status.st_mtime_ns]
        if verified.get(pin.file_name) != stamps[pin.file_name] and (found := sha256_of(path)) != pin.sha256:
            raise DevservicesError(
                f"{path} is not the pinned file (expected SHA-256 {pin.sha256}, found {found}): delete it and start "
                "again."
            )
    if stamps != verified:
        stamps_path.write_text(json.dumps(stamps))


def pin_jars(pin_list: Path = PIN_LIST) -> int:
    """Resolves ENDPOINT again and writes the list. Returns the number of jars in it."""
    from jgo.env import EnvironmentBuilder, LinkStrategy

    with tempfile.TemporaryDirectory() as scratch:
        context = _maven(Path(scratch) / "m2")
        builder = EnvironmentBuilder(context=context, link_strategy=LinkStrategy.COPY, cache_dir=Path(scratch) / "envs")
        environment = builder.from_endpoint(ENDPOINT)
        used = {path.name for path in Path(environment.path).rglob("*.jar")}
        lines = []
        for path in sorted(context.repo_cache.rglob("*.jar"), key=lambda path: path.name):
            *group, artifact, version = path.parent.relative_to(context.repo_cache).parts
            if path.name in used:
                lines.append(f"{sha256_of(path)}  {'.'.join(group)}:{artifact}:{version}\n")
    pin_list.write_text(f"# {ENDPOINT}\n# Written by 'python -m devservices pin-jars'.\n" + "".join(lines))
    return len(lines)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _one_at_a_time(path: Path) -> Iterator[None]:
    """Serializes first starts of several instances: the second waits, then finds the jars."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for abandoned in path.parent.glob("fetching-*"):  # of a process that was killed
            shutil.rmtree(abandoned, ignore_errors=True)
        yield


def _short(error: BaseException) -> str:
    """The innermost cause, cut to 160 characters: the text of a connection error of requests fills a page."""
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__  # type: ignore[assignment]
    return f"{type(error).__name__}: {error}"[:160]
