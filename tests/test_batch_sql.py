"""The page of the SQL that a service's batches run is what the code sends."""

from __future__ import annotations

from importlib import import_module

import pytest

from chassis.batch import golden
from chassis.declare.service import Service

SERVICES = ("orders", "payments", "fulfillment", "invoicing", "webhooks", "console")


def service(name: str) -> Service:
    found: Service = import_module(f"{name}.handlers").SERVICE
    return found


@pytest.mark.parametrize("name", SERVICES)
def test_the_page_is_what_the_code_sends(name: str) -> None:
    declared = service(name)
    assert golden.file_of(declared).read_text(encoding="utf-8") == golden.page_of(declared), (
        f"run python -m chassis.batch.golden {name}.handlers"
    )


@pytest.mark.parametrize("name", SERVICES)
def test_the_layout_changes_nothing_but_white_space(name: str) -> None:
    for step in golden.steps(service(name)):
        laid_out = golden.formatted(step.sql)
        assert golden.normal(laid_out) == golden.normal(step.sql)
        assert max(map(len, laid_out.splitlines())) <= golden.WIDTH
        assert "--" not in step.sql, "a comment would end at the next line of another layout"


def test_the_check_names_a_page_that_differs(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert golden.main(["--check", *(f"{name}.handlers" for name in SERVICES)]) == 0
    page = golden.file_of(service("payments"))
    before = page.read_text(encoding="utf-8")
    try:
        page.write_text(before + "select 1;\n", encoding="utf-8")
        assert golden.main(["--check", "payments.handlers"]) == 1
    finally:
        page.write_text(before, encoding="utf-8")
    assert "python -m chassis.batch.golden payments.handlers" in capsys.readouterr().out
