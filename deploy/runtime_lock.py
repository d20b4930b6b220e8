"""The part of requirements.lock that a service needs at run time: what its pyproject.toml files ask for, and what those need.

    python deploy/runtime_lock.py requirements.lock libs/contracts libs/chassis services/orders > runtime.lock

An argument that is no directory is the name of one more package.
Reads the `# via` comments of the lock, so the pins and hashes are the very same. Standard library only.
"""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def name_of(requirement: str) -> str:
    found = re.match(r"[A-Za-z0-9._-]+", requirement)
    assert found is not None, requirement
    return re.sub(r"[-_.]+", "-", found.group()).lower()


def blocks(lock: str) -> dict[str, str]:
    """Package name -> its lines, comments included."""
    found: dict[str, str] = {}
    name = ""
    for line in lock.splitlines():
        if line and not line.startswith((" ", "#")):
            name = name_of(line)
            found[name] = ""
        if name:
            found[name] += line + "\n"
    return found


def needed_by(block: str) -> set[str]:
    """Who needs a package, from its `# via` comment."""
    comment = block.partition("# via")[2]
    return {name_of(word) for word in re.findall(r"[A-Za-z0-9][A-Za-z0-9._-]*", comment)} - {"r"}


def main(lock: Path, members: list[Path]) -> None:
    packages = blocks(lock.read_text(encoding="utf-8"))
    wanted: set[str] = set()
    for member in members:
        if not member.is_dir():
            wanted.add(name_of(str(member)))
            continue
        project = tomllib.loads((member / "pyproject.toml").read_text(encoding="utf-8"))
        asked = [*project["project"].get("dependencies", []), *project["build-system"]["requires"]]
        wanted |= {name_of(requirement) for requirement in asked}
    wanted.add("editables")
    wanted &= packages.keys()
    while more := {name for name, block in packages.items() if name not in wanted and needed_by(block) & wanted}:
        wanted |= more
    print("".join(packages[name] for name in sorted(wanted)), end="")


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(argument) for argument in sys.argv[2:]])
