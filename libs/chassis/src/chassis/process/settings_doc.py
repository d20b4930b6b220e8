"""The tables of settings in docs/operations.md, made from the classes so that they stay true.

`python -m chassis.process.settings_doc docs/operations.md` fills each `<!-- settings module:Class -->` ... `<!-- end -->`;
`--check` only reports whether the page is stale.
"""

from __future__ import annotations

import argparse
import re
import sys
from importlib import import_module
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from chassis.settings import ServiceSettings

UNITS = {"_seconds": "s", "_ms": "ms", "_hours": "h", "_days": "days"}
PLACE = re.compile(r"(<!-- settings (\S+):(\S+) -->\n).*?(<!-- end -->)", re.DOTALL)


def table(model: type[ServiceSettings]) -> str:
    """Its own knobs, not those that it inherits."""
    prefix = model.model_config.get("env_prefix") or "<SERVICE>_"
    inherited = ServiceSettings.model_fields if model is not ServiceSettings else {}
    own = {name: field for name, field in model.model_fields.items() if name not in inherited}
    if not own:
        return f"None of its own (`{prefix}` and the names above).\n"
    lines = ["| variable | default | what it is |", "|---|---|---|"]
    lines += [
        f"| `{prefix}{name.upper()}` | {_default(name, field)} | {_about(name, field)} |" for name, field in own.items()
    ]
    return "\n".join(lines) + "\n"


def _default(name: str, field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None or field.default in ("", PydanticUndefined):
        return "none"
    unit = next((unit for suffix, unit in UNITS.items() if suffix in name), "")
    return f"{field.default} {unit}".strip()


def _about(name: str, field: FieldInfo) -> str:
    if not field.description:
        raise SystemExit(f"the setting {name} has no docstring")
    choices = _choices(field.annotation)
    told = " ".join(field.description.split()).replace("|", "\\|")
    return f"{told} One of {', '.join(choices)}." if choices else told


def _choices(annotation: Any) -> list[str]:
    if get_origin(annotation) is Literal:
        return [f"`{value}`" for value in get_args(annotation)]
    if isinstance(annotation, UnionType):
        return [choice for part in get_args(annotation) for choice in _choices(part)]
    return []


def filled(page: str) -> str:
    """The page with its tables made anew."""

    def one(found: re.Match[str]) -> str:
        begin, module, name, end = found.groups()
        return begin + table(getattr(import_module(module), name)) + end

    return PLACE.sub(one, page)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m chassis.process.settings_doc")
    parser.add_argument("page", type=Path)
    parser.add_argument("--check", action="store_true")
    arguments = parser.parse_args()
    before = arguments.page.read_text(encoding="utf-8")
    after = filled(before)
    if arguments.check:
        return 0 if after == before else 1
    arguments.page.write_text(after, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
