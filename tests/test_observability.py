"""`deploy/observability`: the alerts and the dashboard ask for series that the services expose, and each alert fires."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.series import exposed

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "deploy" / "observability"
ALERTS: dict[str, Any] = yaml.safe_load((FOLDER / "alerts.yml").read_text())
RULES = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
QUERIES = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
PROMQL = {
    "abs", "and", "by", "deriv", "histogram_quantile", "increase", "max", "min", "min_over_time", "or", "rate", "sum",
}  # fmt: skip
OF_PROMETHEUS = {"up"}
PROMTOOL = shutil.which("promtool")


def series(query: str) -> set[str]:
    """The series that a query names."""
    bare = re.sub(r"\{[^}]*\}|\[[^]]*\]|\bby \([^)]*\)", "", query)
    return set(re.findall(r"[a-z_]\w*", bare)) - PROMQL


@pytest.mark.parametrize("query", [*(rule["expr"] for rule in RULES), *QUERIES])
def test_a_query_names_series_that_a_service_exposes(query: str) -> None:
    assert series(query) and series(query) <= exposed() | OF_PROMETHEUS


def test_a_misspelt_series_is_found() -> None:
    assert series('max by (service) (deriv(tradewind_outbox_row{service="a"}[10m])) > 0') == {"tradewind_outbox_row"}


def test_the_dashboard_shows_every_series() -> None:
    whole = {re.sub(r"_(bucket|count|sum|total)$", "", name) for name in exposed()}
    assert {re.sub(r"_(bucket|count|sum|total)$", "", name) for query in QUERIES for name in series(query)} == whole


def test_the_dashboard_is_what_its_program_writes() -> None:
    made = runpy.run_path(str(FOLDER / "dashboard.py"))["text"]()
    assert (FOLDER / "dashboard.json").read_text() == made, "run python deploy/observability/dashboard.py"


def test_each_condition_of_the_operations_page_is_an_alert_and_no_other_series_is_alerted_on() -> None:
    rows = re.findall(r"^\| `(tradewind_\w+)` \| .*? \| ([^|]+?) \| [^|]+ \|$", OPERATIONS, re.MULTILINE)
    assert len(rows) > 20, "the tables are written otherwise; this test reads them"
    alerted = {re.sub(r"_bucket$", "", name) for rule in RULES for name in series(rule["expr"])} - OF_PROMETHEUS
    assert alerted == {name for name, condition in rows if condition != "-"}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_an_alert_states_what_the_operator_does(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("page", "ticket")
    action = rule["annotations"]["action"]
    assert len(action) > 30
    for heading in re.findall(r'"([^"]+)"', action):
        assert f"\n### {heading}\n" in OPERATIONS, f"the page has no section {heading}"
    for word in re.findall(r"`([a-z_]+_[a-z_]+)`", action):
        assert f"`{word}`" in OPERATIONS, f"the page does not name {word}"


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is missing: it is in Debian's package prometheus")
@pytest.mark.parametrize(
    "command",
    [("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml"), ("test", "rules", "alerts_test.yml")],
)
def test_prometheus_accepts_the_rules_and_each_fires(command: tuple[str, ...]) -> None:
    assert PROMTOOL is not None
    found = subprocess.run([PROMTOOL, *command], cwd=FOLDER, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_the_test_of_the_rules_expects_each_of_them_to_fire() -> None:
    [wrong, right] = yaml.safe_load((FOLDER / "alerts_test.yml").read_text())["tests"]
    expected = {re.findall(r'"(\w+)"', one["labels"])[0] for one in wrong["promql_expr_test"][0]["exp_samples"]}
    assert expected == {rule["alert"] for rule in RULES}
    assert right["promql_expr_test"][0]["exp_samples"] == []
