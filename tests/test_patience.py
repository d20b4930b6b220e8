"""No test assumes that something has happened by a certain time: on a busy machine it has not.

What is forbidden is a pause of a fixed length, a time limit of less than a minute, and a duration that is compared with a number.
`tests/waiting.py` has what is used instead. A place that needs one of them is named here, with the reason.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[1]
FOLDERS: Final = ("tests", "libs/*/tests", "services/*/tests", "demo/tests", "bench/tests")
PAUSE_SECONDS_MAX: Final = 0.05
"""Between two reads of what is awaited."""
LIMIT_SECONDS_MIN: Final = 60
DURATIONS: Final = ("seconds", "took", "elapsed", "monotonic", "perf_counter")

NEEDED: Final = {
    "libs/chassis/tests/test_chassis_history.py": "that a process does not get ready has no end to wait for",
    "libs/chassis/tests/test_chassis_polls.py": "a fetch is to come back early; if it is late, the same holds",
    "libs/devservices/tests/test_containers.py": "another start is not to begin meanwhile",
    "libs/devservices/tests/test_servers.py": "a broker that is paused does not answer",
    "services/console/tests/provider_world.py": "until its client gives up",
    "services/console/tests/test_console_processes.py": "speed is the subject; it is measured while the process computes",
    "services/payments/tests/test_payments_policy.py": "longer than the gateway honours a key",
    "services/webhooks/tests/test_webhooks_processes.py": "a process that has lost its lease sends nothing",
    "services/webhooks/tests/webhooks_namespace.py": "a receiver that is sent no request closes",
    "tests/scenes.py": "pictures, not a test",
    "tests/integration/restoring.py": "its caller tries again",
    "tests/integration/shop.py": "its caller tries again",
}  # fmt: skip


def number(node: ast.expr) -> float | None:
    is_number = (
        isinstance(node, ast.Constant) and isinstance(node.value, (int, float)) and not isinstance(node.value, bool)
    )
    return node.value if is_number else None  # type: ignore[attr-defined, no-any-return]


def limits(call: ast.Call, name: str) -> Iterator[ast.expr]:
    if name == "asyncio.timeout":
        yield from call.args
    if name == "asyncio.wait_for":
        yield from call.args[1:]
    total = ("total",) if name.endswith("ClientTimeout") else ()
    yield from (one.value for one in call.keywords if one.arg in ("timeout", "timeout_seconds", "seconds_max", *total))


def assumptions(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The line of each place that assumes a speed, and its text."""
    for node in ast.walk(tree):
        found = False
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            pauses = node.args[:1] if name in ("asyncio.sleep", "time.sleep") else []
            found = any((number(one) or 0) > PAUSE_SECONDS_MAX for one in pauses) or any(
                (seconds := number(one)) is not None and seconds < LIMIT_SECONDS_MIN for one in limits(node, name)
            )
        elif isinstance(node, ast.Compare):
            is_upper = isinstance(node.ops[0], (ast.Lt, ast.LtE)) and (number(node.comparators[0]) or 0) > 0
            found = is_upper and any(word in ast.unparse(node.left) for word in DURATIONS)
        if found:
            yield node.lineno, ast.unparse(node)


def test_no_test_assumes_that_something_has_happened_by_a_certain_time() -> None:
    found = defaultdict[str, list[str]](list)
    for path in (path for folder in FOLDERS for path in ROOT.glob(f"{folder}/**/*.py")):
        for line, text in assumptions(ast.parse(path.read_text("utf-8"))):
            found[path.relative_to(ROOT).as_posix()].append(f"{line}: {text}")
    assert {path: lines for path, lines in found.items() if path not in NEEDED} == {}
    assert NEEDED.keys() <= found.keys(), "a reason for a place that is no more"


@pytest.mark.parametrize(
    ("source", "is_found"),
    [
        ("await asyncio.sleep(0.3)", True), ("time.sleep(1)", True), ("await asyncio.sleep(0.01)", False),
        ("await asyncio.sleep(pause)", False),
        ("async with asyncio.timeout(5): pass", True), ("await asyncio.wait_for(task, 20)", True),
        ("process.communicate(timeout=30)", True), ("process.communicate(timeout=PATIENCE_SECONDS)", False),
        ("await asyncio.wait_for(task, 120)", False), ("ClientTimeout(total=10)", True), ("line(total=10)", False),
        ("assert seconds < 5", True), ("assert time.monotonic() - began <= 10", True), ("assert seconds >= 0.4", False),
        ("assert seconds < PATIENCE_SECONDS", False), ("assert count < 5", False),
    ],
)  # fmt: skip
def test_what_assumes_a_speed(source: str, is_found: bool) -> None:
    wrapped = f"async def test() -> None:\n    {source}"
    assert bool([*assumptions(ast.parse(wrapped))]) is is_found
