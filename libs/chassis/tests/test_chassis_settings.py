"""Settings and crash points refuse wrong values; metrics count a batch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from chassis_counter import Settings, settings
from prometheus_client import generate_latest
from pydantic import ValidationError

from chassis import crash
from chassis.telemetry import Metrics

URL = "postgresql://me@db:5432/counter"


def test_a_stopped_process_must_lose_its_locks_before_its_partitions_move() -> None:
    with pytest.raises(ValidationError, match="below SESSION_TIMEOUT_SECONDS"):
        settings(URL, idle_in_transaction_seconds=10, session_timeout_seconds=10)


def test_no_transaction_may_live_so_long_that_the_relay_passes_its_rows() -> None:
    """Promise 1: the relay reads above a floor of ids, which is right only while transactions are short."""
    with pytest.raises(ValidationError, match="at most 90"):
        settings(URL, transaction_seconds_max=120)


@pytest.mark.parametrize(
    "wrong", [{"batch_records_max": 0}, {"http_port": -1}, {"log_level": "LOUD"}, {"relay_lease_seconds": 0},
              {"database_connections_max": 3}],
)  # fmt: skip
def test_a_value_out_of_range_is_refused_at_the_start(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        settings(URL, **wrong)


def test_settings_come_from_the_environment_of_the_service_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COUNTER_DATABASE_URL", URL)
    monkeypatch.setenv("COUNTER_RELAY_ROWS_MAX", "7")
    monkeypatch.setenv("OTHER_RELAY_ROWS_MAX", "9")
    assert Settings().relay_rows_max == 7  # type: ignore[call-arg]


def test_a_password_does_not_stand_in_the_printed_settings() -> None:
    assert "hunter2" not in repr(settings(URL, kafka_sasl_password="hunter2"))


def test_a_crash_point_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRASH_AT", "counter.after_lunch")
    with pytest.raises(ValueError, match="before_commit"):
        crash.arm("counter")
    monkeypatch.setenv("CRASH_AT", "other.before_commit")
    crash.arm("counter")
    crash.point("before_commit")  # another service's: nothing happens


def test_a_crash_is_immediate_at_the_pass_that_was_asked_for() -> None:
    code = "from chassis import crash; crash.arm('a'); crash.point('mid_batch'); print('once', flush=True); crash.point('mid_batch'); print('twice')"
    done = subprocess.run(
        [sys.executable, "-c", code], env={"CRASH_AT": "a.mid_batch:2"}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (137, "once\n")


def test_a_running_process_is_armed_by_a_file_and_a_signal(tmp_path: Path) -> None:
    code = (
        "import os, signal; from chassis import crash; crash.arm('a'); crash.point('mid_batch'); print('alive', flush=True); "
        "os.kill(os.getpid(), signal.SIGUSR1); crash.point('after_commit'); print('armed', flush=True); crash.point('mid_batch')"
    )
    (file := tmp_path / "wish").write_text("a.mid_batch")
    done = subprocess.run(
        [sys.executable, "-c", code], env={"CRASH_FILE": str(file)}, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, file.exists()) == (137, "alive\narmed\n", False)


def test_a_batch_counts_what_was_handled_removed_and_parked() -> None:
    metrics = Metrics("counter")
    metrics.batch(["done", "done", "duplicate", "parked", "queued"], 2, 0.01)
    text = generate_latest(metrics.registry).decode()
    assert 'tradewind_messages_handled_total{service="counter"} 2.0' in text
    assert 'tradewind_duplicates_removed_total{service="counter"} 1.0' in text
    assert 'tradewind_messages_parked_total{service="counter"} 2.0' in text
    assert 'tradewind_batch_messages_count{service="counter"} 1.0' in text


def test_a_setting_may_be_a_file_and_the_environment_goes_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Docker and Kubernetes mount secrets: a file named like the setting."""
    monkeypatch.delenv("COUNTER_DATABASE_URL", raising=False)
    (tmp_path / "counter_database_url").write_text(f"{URL}\n")
    (tmp_path / "counter_kafka_sasl_password").write_text("hidden\n")
    read = Settings(_secrets_dir=tmp_path)  # type: ignore[call-arg]
    assert (read.database_url, read.kafka_sasl_password) == (URL, "hidden")
    monkeypatch.setenv("COUNTER_DATABASE_URL", f"{URL}_2")
    assert Settings(_secrets_dir=tmp_path).database_url == f"{URL}_2"  # type: ignore[call-arg]
