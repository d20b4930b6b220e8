"""Every case of the conformance suite holds at every gateway, or the gateway states why it has none. The table of both is in the docs."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import test_payments_conformance
import test_payments_conformance_buyers
import test_payments_conformance_events
import test_payments_conformance_prepaying
from payments_conformance import CASES, LACKS, SHAPES, table
from payments_gateways import Shape, shaped

from payments.gateways.port import Abandons, HasDisputes, NotListable
from payments.gateways.registry import KINDS, LISTS

MODULES = (
    test_payments_conformance,
    test_payments_conformance_buyers,
    test_payments_conformance_events,
    test_payments_conformance_prepaying,
)
TESTS: dict[str, Callable[..., Any]] = {
    name: function for module in MODULES for name, function in vars(module).items() if name.startswith("test_")
}
DOCS = Path(__file__).parents[3] / "docs/gateways.md"


def test_each_test_of_the_suite_is_that_of_a_case_and_skips_for_the_feature_of_its_case_alone() -> None:
    named = {name for case in CASES for name in case.tests}
    assert named == set(TESTS)
    for name, function in TESTS.items():
        stated = {case.feature for case in CASES if name in case.tests} - {None}
        source = inspect.getsource(function)
        assert set(re.findall(r'needs\(shape, "([^"]+)"\)', source)) == stated, name
        assert "pytest.skip" not in source, f"{name} decides by itself"


def test_a_feature_that_is_lacking_is_that_of_a_case() -> None:
    features = {case.feature for case in CASES} - {None}
    assert {*LACKS} == {*SHAPES} and {*KINDS} <= {*SHAPES}
    assert {feature for lacking in LACKS.values() for feature in lacking} == features


@pytest.mark.parametrize("name", SHAPES)
async def test_what_a_gateway_lacks_it_does_not_have(name: str) -> None:
    async with shaped(name) as one:
        has = {
            "one capture": one.single_capture is not None,
            "buyers": isinstance(one.gateway, Abandons) and one.needs_buyer is not None,
            "return URL": hasattr(one.server, "return_urls"),
            "limit": one.amount_max > 0,
            "events": name in KINDS and one.server is not None,
            "disputes": isinstance(one.gateway, HasDisputes),
            "list": name in LISTS and await lists(one),
        }
        assert {feature for feature, there in has.items() if not there} == has.keys() & LACKS[name].keys()


async def lists(shape: Shape) -> bool:
    from test_payments_dintero_listing import DAY

    try:
        await shape.gateway.listed(DAY)
    except NotListable:
        return False
    return True


def test_the_table_of_the_docs_is_that_of_the_suite() -> None:
    lines = DOCS.read_text().splitlines()
    first = lines.index(table()[0])
    assert lines[first : first + len(table())] == table(), "\n".join(table())
