"""One process at a time uses an instance; errors are one sentence."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import devservices
from devservices import DevservicesError
from devservices.instance import Instance
from devservices.processes import clean_environment

HOLD = """
import sys, pathlib
from devservices.instance import Instance
with Instance(pathlib.Path(sys.argv[1]), "demo").locked():
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(root: Path) -> subprocess.Popen[str]:
    """Another process that holds the lock of the instance `demo`."""
    command = [sys.executable, "-c", HOLD, str(root)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_gets_an_error_that_names_the_holder(tmp_path: Path) -> None:
    with hold(tmp_path) as holder:
        with pytest.raises(DevservicesError, match=f"'demo' is in use by process {holder.pid} "):
            with Instance(tmp_path, "demo").locked():
                pass
        with Instance(tmp_path, "other").locked():
            pass
        holder.kill()


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with hold(tmp_path) as holder:
        holder.kill()
    with Instance(tmp_path, "demo").locked():
        assert (tmp_path / ".devservices/demo/lock").read_text() == str(os.getpid())


@pytest.mark.parametrize("name", ["cache", "../demo", "", "Demo", "a" * 41])
def test_a_name_that_is_no_name_of_an_instance_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(DevservicesError, match="cannot name an instance"):
        Instance(tmp_path, name)


def test_a_directory_that_cannot_be_written_is_reported_in_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TRADEWIND_DEVSERVICES", raising=False)  # containers need no place
    (tmp_path / ".devservices").write_text("a file where the directory should be")  # root may write anywhere else
    with pytest.raises(DevservicesError, match=r"^Cannot write to .*\.devservices/demo \(Not a directory\): .*"):
        with devservices.running(tmp_path, "demo"):
            pass


def test_an_unsupported_backend_is_rejected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRADEWIND_DEVSERVICES", "podman")
    with pytest.raises(DevservicesError, match="TRADEWIND_DEVSERVICES=podman is not supported"):
        with devservices.running(tmp_path, "demo"):
            pass


def test_options_meant_for_other_servers_do_not_reach_ours() -> None:
    environment = {"PATH": "/bin", "PGPORT": "1", "JAVA_TOOL_OPTIONS": "-Xmx8g", "HOME": "/root"}
    assert clean_environment(environment) == {"PATH": "/bin", "HOME": "/root"}
