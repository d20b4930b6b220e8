"""JSON Schemas of every published type, generated from the models and checked in under `schemas/<type>/`.

    python -m contracts.schemas                        write them
    python -m contracts.schemas --check                fail when the checked-in ones differ, or break the last release
    python -m contracts.schemas --release              freeze them as what the next change is compared with
    python -m contracts.schemas --release --breaking   the same in spite of findings: all services stop to upgrade

`<version>.reader.json` is what a reader takes: defaults may be missing, unknown fields are ignored.
`<version>.writer.json` is what a writer of ours emits: every field that it does not leave out while null, and no other.
Rules across fields (sums) and the list of currencies are only in the models.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema

from contracts.base import Message
from contracts.compatibility import Schema, Schemas, incompatibilities
from contracts.envelope import dataschema
from contracts.registry import MESSAGES

FOLDER: Final = Path(__file__).parents[2] / "schemas"
BASELINE: Final = FOLDER / "baseline.json"
"""The schemas of the last release; `compatibility` compares the present ones with it."""
ANNOTATIONS: Final = frozenset({"$id", "$schema", "title", "description"})
"""What no payload depends on: left out of the baseline."""


class Untitled(GenerateJsonSchema):
    """Without titles that repeat the names of fields. A writer leaves out no field but those of `IfStated` and `UNLESS_EMPTY`."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def field_is_required(self, field: Any, total: bool) -> bool:
        if self.mode == "serialization":
            return "serialization_exclude_if" not in field
        return super().field_is_required(field, total)


def reader(model: type[Message]) -> Schema:
    schema = model.model_json_schema(mode="validation", schema_generator=Untitled)
    return _headed(model, schema, "")


def writer(model: type[Message]) -> Schema:
    schema = model.model_json_schema(mode="serialization", schema_generator=Untitled)
    return _headed(model, _closed(schema), ":writer")


def present(messages: Mapping[str, type[Message]] = MESSAGES) -> Schemas:
    """Type -> version -> the reader's and the writer's schema, as the models are now."""
    return {
        kind: {str(model.SCHEMA_VERSION): {"reader": reader(model), "writer": writer(model)}}
        for kind, model in sorted(messages.items())
    }


def baseline() -> Schemas:
    """Type -> version -> schemas as they were released; nothing before the first release."""
    return json.loads(BASELINE.read_text("utf-8")) if BASELINE.exists() else {}


def files(schemas: Schemas) -> dict[Path, str]:
    """Where every schema belongs, and its text."""
    return {
        FOLDER / kind / f"{version}.{side}.json": text(schema)
        for kind, versions in schemas.items()
        for version, sides in versions.items()
        for side, schema in sides.items()
    }


def text(value: Any, indent: int = 2) -> str:
    return json.dumps(value, indent=indent, sort_keys=True, ensure_ascii=False) + "\n"


def differences(expected: Mapping[Path, str], found: Sequence[Path]) -> list[str]:
    """A line for every file that is missing, stale or left over."""
    lines = [f"{path} is missing" for path in expected if not path.exists()]
    lines += [
        f"{path} is stale" for path, content in expected.items() if path.exists() and path.read_text("utf-8") != content
    ]
    return sorted(lines + [f"{path} belongs to no type" for path in found if path not in expected])


def _headed(model: type[Message], schema: Schema, suffix: str) -> Schema:
    uri = dataschema(model.TYPE, model.SCHEMA_VERSION) + suffix
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": uri, **schema}


def _closed(node: Any) -> Any:
    """The schema with `additionalProperties: false` on every object of named fields."""
    if isinstance(node, list):
        return [_closed(item) for item in node]
    if not isinstance(node, dict):
        return node
    closed = {name: value if name in ("default", "enum", "const") else _closed(value) for name, value in node.items()}
    if node.get("type") == "object" and "additionalProperties" not in node:
        closed["additionalProperties"] = False
    return closed


def _bare(node: Any, named: bool = False) -> Any:
    """The schema without annotations. `named`: the keys of this object are names of fields or definitions."""
    if isinstance(node, list):
        return [_bare(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        name: value if name == "default" and not named else _bare(value, not named and name in ("properties", "$defs"))
        for name, value in node.items()
        if named or name not in ANNOTATIONS
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m contracts.schemas", description="JSON Schemas of every message.")
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference or a finding")
    parser.add_argument("--release", action="store_true", help="freeze the present schemas as the baseline")
    parser.add_argument("--breaking", action="store_true", help="with --release: in spite of findings")
    chosen = parser.parse_args(arguments)

    schemas = present()
    expected, found = files(schemas), sorted(FOLDER.glob("*/*.json"))
    problems = [str(finding) for finding in incompatibilities(baseline(), schemas)]
    if chosen.check:
        problems += [f"{line}; run python -m contracts.schemas" for line in differences(expected, found)]
    else:
        for path in found:
            if path not in expected:
                path.unlink()
        for path, content in expected.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, "utf-8")
    for problem in problems:
        print(problem, file=sys.stderr)
    if chosen.release and (chosen.breaking or not problems):
        frozen = {kind: {v: _bare(sides) for v, sides in versions.items()} for kind, versions in schemas.items()}
        BASELINE.write_text(text(frozen, indent=1), "utf-8")
        return 0
    return 1 if problems and (chosen.check or chosen.release) else 0


if __name__ == "__main__":
    sys.exit(main())
