"""The pinned jars: fetched once, rejected if they differ."""

import os
from pathlib import Path

import pytest

from devservices import DevservicesError, jars
from devservices.jars import PIN_LIST, Pin, kafka_jars, read_pins, sha256_of


@pytest.fixture
def pin_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A list of one small jar, and a repository that serves it from memory."""
    served = tmp_path / "served"
    served.write_bytes(b"a jar")
    path = tmp_path / "list"
    path.write_text(f"# a comment\n{sha256_of(served)}  org.example:thing:1.0\n")

    def download(context: object, pin: Pin) -> Path:
        copy = tmp_path / pin.file_name
        copy.write_bytes(served.read_bytes())
        return copy

    monkeypatch.setattr(jars, "_download", download)
    return path


def test_the_checked_in_list_names_kafka_and_no_file_twice() -> None:
    pins = read_pins(PIN_LIST)
    assert ("org.apache.kafka", "kafka_2.13", "4.3.1") in {(pin.group, pin.artifact, pin.version) for pin in pins}
    assert len({pin.file_name for pin in pins}) == len(pins)
    assert all(len(pin.sha256) == 64 for pin in pins)


def test_a_fetched_jar_that_differs_is_rejected_and_deleted(pin_list: Path, tmp_path: Path) -> None:
    (tmp_path / "served").write_bytes(b"another jar")
    with pytest.raises(DevservicesError, match=r"thing-1\.0\.jar as fetched is not the pinned file \(expected SHA-256"):
        kafka_jars(tmp_path, pin_list)
    assert not (tmp_path / "jars" / "thing-1.0.jar").exists()


def test_a_jar_changed_later_is_rejected_with_the_remedy(pin_list: Path, tmp_path: Path) -> None:
    [jar] = kafka_jars(tmp_path, pin_list)
    jar.write_bytes(b"b jar")
    os.utime(jar, ns=(1, 1))
    with pytest.raises(DevservicesError, match=rf"^{jar} is not the pinned file .* delete it and start again\.$"):
        kafka_jars(tmp_path, pin_list)
    jar.unlink()
    assert kafka_jars(tmp_path, pin_list) == [jar]


def test_an_unchanged_jar_is_hashed_once(pin_list: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kafka_jars(tmp_path, pin_list)
    monkeypatch.setattr(jars, "sha256_of", lambda path: pytest.fail(f"{path} was hashed again"))
    kafka_jars(tmp_path, pin_list)


def test_a_list_that_cannot_be_read_is_reported_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "list").write_text("no list at all")
    with pytest.raises(DevservicesError, match="restore it from git"):
        kafka_jars(tmp_path, tmp_path / "list")
