"""Checks README and docs against the code: links, paths, tests, settings, metrics, causes, dependencies, make targets."""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest

from chassis.batch.staleness import STALE
from chassis.http.problems import PROBLEMS
from chassis.process import errors_doc, settings_doc
from contracts import limits
from contracts.registry import SERVICES
from contracts.snapshot import OrderContent
from orders import pages
from tests.series import exposed

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
SOURCE_FOLDERS = ("libs", "services", "tests", "demo", "bench", "deploy")
MADE = ("file.yaml", "report.json", "orders.csv", "system.json", "keys.json", "results.json")
"""Files that users write or our commands generate."""
each_page = pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])


@cache
def tree() -> frozenset[str]:
    """Paths of all files in the source folders, relative to the repository."""
    return frozenset(
        str(path.relative_to(ROOT))
        for folder in SOURCE_FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    )


@cache
def functions_of(path: str) -> frozenset[str]:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(
        node.name for node in ast.walk(ast.parse((ROOT / path).read_text())) if isinstance(node, functions)
    )


def prose(page: Path) -> str:
    """The page without code blocks: they are examples, or tested elsewhere."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)


def named(text: str) -> Iterable[tuple[str, str]]:
    """(file, function or "") of each code span that has the form of one of our files."""
    for word in re.findall(r"`([^`\s]+)`", text):
        found = re.fullmatch(r"([\w.-][\w./-]*\.(?:py|md|json|csv|yml|sha256))(?:::(\w+))?", word)
        if found:
            yield found[1], found[2] or ""


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", prose(page)):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


@each_page
def test_every_heading_that_is_linked_to_is_there(page: Path) -> None:
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", prose(page)):
        headings = re.findall(r"^#+ (.+)$", (page.parent / target if target else page).read_text(), flags=re.MULTILINE)
        slugs = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert anchor in slugs, f"{page.name} links to {target}#{anchor}"


@each_page
def test_every_file_and_every_test_that_is_named_is_there(page: Path) -> None:
    """A promise that names a renamed test has no test."""
    if page.name in ("write-a-service.md", "demo-data.md"):
        text = "\n".join(
            line for line in prose(page).splitlines() if "loyalty" not in line and "report.json" not in line
        )
    else:
        text = prose(page)
    for file, test in named(text):
        known = [path for path in tree() if path == file or path.endswith("/" + file)]
        assert known or (ROOT / file).exists() or Path(file).name in MADE, f"{page.name} names {file}"
        if test:
            assert any(test in functions_of(path) for path in known), f"{page.name} names {file}::{test}"


def test_the_tables_of_settings_are_those_of_the_code() -> None:
    assert settings_doc.filled(OPERATIONS) == OPERATIONS, "run python -m chassis.settings_doc docs/operations.md"


def test_every_series_is_in_operations_and_operations_names_no_other() -> None:
    series = {re.sub(r"_(bucket|count|sum)$", "", name) for name in exposed()}
    assert set(re.findall(r"`(tradewind_\w+)`", OPERATIONS)) == series


def test_every_cause_of_a_parked_message_is_in_operations() -> None:
    """Every value of `cause` has a row in the runbook."""
    sources = [ROOT / "libs/contracts/src/contracts/envelope.py", *(ROOT / "libs/chassis/src/chassis").glob("*.py")]
    causes = {"bad_json", "bad_body", "contradiction", *STALE}  # not found by the patterns below
    for source in sources:
        text = source.read_text()
        causes |= set(re.findall(r"Poison\(\s*\"(\w+)\"", text))
        causes |= set(re.findall(r"Refused\(\s*(?:entry\.)?record, [^,]+(?:\([^)]*\))?, \"(\w+)\"", text))
    table = set(re.findall(r"^\| ((?:`\w+`,? ?)+) \|", OPERATIONS, re.MULTILINE))
    listed = {word for row in table for word in re.findall(r"`(\w+)`", row)}
    assert causes - listed == set()


def test_the_page_of_dependencies_lists_exactly_the_direct_ones() -> None:
    wanted = (ROOT / "requirements.in").read_text().split("\n")
    for member in (*ROOT.glob("libs/*/pyproject.toml"), *ROOT.glob("services/*/pyproject.toml")):
        wanted += tomllib.loads(member.read_text())["project"]["dependencies"]
    names = {re.split(r"[\[~=<>; ]", line)[0] for line in wanted if line.strip()}
    direct = {name for name in names if not name.startswith("tradewind-")}
    listed = set(re.findall(r"^\| ([a-z][\w-]+) \| \w", (ROOT / "docs" / "dependencies.md").read_text(), re.MULTILINE))
    assert listed - {"package"} == direct


@each_page
def test_every_make_target_that_is_named_is_there(page: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wanted = set(re.findall(r"(?:`|^)make ([a-z-]+)", page.read_text(), re.MULTILINE))
    assert wanted <= targets, f"{page.name} names {wanted - targets}"


def test_the_page_of_errors_has_every_problem_of_every_service() -> None:
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    assert errors_doc.filled(page) == page, "run python -m chassis.process.errors_doc docs/errors.md"
    for service in ("chassis.http.problems", *(f"{name}.api" for name in SERVICES)):
        assert errors_doc.table(import_module(service).PROBLEMS) in page


def test_the_precedence_of_errors_names_every_code_of_the_chassis_that_refuses_a_request() -> None:
    precedence = (ROOT / "docs" / "errors.md").read_text("utf-8").partition("## Precedence")[2].partition("\n## ")[0]
    refusing = {
        code
        for code, about in PROBLEMS.items()
        if about.status < 500 and not code.startswith(("message_", "replay_", "filter_"))
    }
    assert refusing <= set(re.findall(r"`([a-z_]+)`", precedence))


def test_every_decision_has_the_same_sections() -> None:
    pages = sorted((ROOT / "docs" / "decisions").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{n:04}" for n in range(1, len(pages) + 1)]
    for page in pages:
        found = re.findall(r"^\*\*(\w[\w ]+)\.\*\*", page.read_text(), re.MULTILINE)
        assert found == ["Context", "Decision", "Consequences", "Rejected", "Guarded by", "Revisit when"], page.name


def test_the_readme_is_a_page_and_every_page_of_docs_can_be_reached_from_it() -> None:
    readme = (ROOT / "README.md").read_text()
    assert len(readme.splitlines()) <= 150
    linked = {ROOT / target for target in re.findall(r"\]\((docs/[^)#]+)\)", readme)}
    for page in list(linked):
        if page.suffix == ".md":
            linked |= {page.parent / target for target in re.findall(r"\]\(([^)#:]+\.md)\)", page.read_text())}
    pages = {page for page in PAGES if page.parent == ROOT / "docs"}
    assert {page.resolve() for page in pages} <= {page.resolve() for page in linked}


def test_the_order_of_the_readme_is_valid() -> None:
    found = re.search(r"-d '(\{.*?\n.*?\})'\n", (ROOT / "README.md").read_text(), re.DOTALL)
    assert found is not None
    order = OrderContent.model_validate_json(found[1])
    assert sum(line.line_total_minor or 0 for line in order.lines) == order.totals.grand_minor


def test_the_page_of_limits_names_every_limit_with_its_value() -> None:
    page = (ROOT / "docs" / "limits.md").read_text()
    for name, value in vars(limits).items():
        if isinstance(value, int):
            assert f"| `{name}` | {value:,} |" in page, f"docs/limits.md lacks {name} = {value:,}"


@pytest.mark.parametrize("name", pages.PAGES)
def test_the_tables_of_a_page_are_those_that_the_orders_service_decides_by(name: str) -> None:
    page = (ROOT / "docs" / name).read_text("utf-8")
    assert pages.filled(name, page) == page, "run: python -m orders.pages docs"
