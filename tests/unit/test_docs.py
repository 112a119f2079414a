"""References in the documentation: files, headings, metrics, flags, log events and messages."""

import ast
import re
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path

import pytest

from cdi_exporter import catalog, problems
from cdi_exporter.cli import cli
from cdi_exporter.problems import REASONS, Problem

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
TOP = (
    "README",
    "CHANGELOG",
    "CONTRIBUTING",
    "SECURITY",
    "grafana/README",
    "deploy/helm/cdi-exporter/README",
)
PAGES = [*(ROOT / f"{name}.md" for name in TOP), *sorted(DOCS.rglob("*.md"))]
OPERATIONS, TROUBLESHOOTING = DOCS / "operations.md", DOCS / "troubleshooting.md"

METRICS = {metric.name for metric in catalog.CATALOG}
SUFFIXES = ("_sum", "_count", "_bucket")
FLAGS = {
    option
    for command in cli.every_command().values()
    for parameter in command.params
    for option in parameter.opts
} | {"--help", "--version"}

FLAGS_OF_OTHERS = {
    "our own, in general": {"--flag"},
    "make bench, make mutants": {"--quick", "--only", "--json", "--sizes", "--sample"},
    "tests.simulation.trace": {"--write", "--compare"},
    "Docker": {
        *("--build", "--build-arg", "--cap-drop", "--detach", "--env", "--env-file", "--name"),
        "--publish",
        *("--read-only", "--restart", "--security-opt", "--signal", "--ulimit", "--volume"),
    },
    "Helm, kubectl": {
        *("--from-file", "--from-literal", "--install", "--namespace", "--set", "--values"),
        *("--prefix", "--reset-then-reuse-values", "--reuse-values", "--selector"),
    },
    "cosign": {
        *("--certificate-identity", "--certificate-identity-regexp", "--certificate-oidc-issuer"),
    },
    "docker buildx": {"--format"},
    "pip, systemctl, systemd-tmpfiles": {"--create", "--no-deps", "--now", "--require-hashes"},
    "journalctl": {"--unit"},
    "Prometheus": {
        *("--storage.tsdb.path", "--storage.tsdb.retention.time", "--web.enable-admin-api"),
    },
}
"""Flags of other programs. Add a flag here when the docs mention a new one."""

LEVELS = {"debug": "debug", "info": "info", "warning": "warning"}
LEVELS |= {"error": "error", "exception": "error"}
"""The log level of each structlog method."""

page_of_each = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).with_suffix("").as_posix()
)


def text(page: Path) -> str:
    """The text of a page."""
    return page.read_text("utf-8")


def prose(page: Path) -> str:
    """The text without code blocks and without brackets in code, which could look like links."""
    blocks = re.sub(r"^ *```.*?^ *```", "", text(page), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`\n]*`", lambda code: re.sub(r"[\[\]()]", "", code[0]), blocks)


def links(page: Path) -> list[str]:
    """The relative links and images of a page, and links to its own headings."""
    found = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(page))
    return [link for link in found if not re.match(r"[a-z]+:", link)]


def target(page: Path, link: str) -> Path:
    """The file that a link points to."""
    path = link.partition("#")[0]
    return (page.parent / path).resolve() if path else page


def anchors(page: Path) -> set[str]:
    """The anchors that GitHub makes from the headings of a page."""
    headings = re.findall(r"^#+ (.+)$", prose(page), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", each).strip().lower().replace(" ", "-") for each in headings}


def rows(page: Path, first: str) -> Iterator[list[str]]:
    """The cells of each table row, in all tables whose first heading is `first`."""
    lines = iter(text(page).splitlines())
    for line in lines:
        if line.strip().startswith(f"| {first} |"):
            next(lines)
            for row in takewhile(lambda line: line.strip().startswith("|"), lines):
                yield [cell.strip() for cell in row.strip().strip("|").split(" | ")]


def trees() -> Iterator[ast.AST]:
    """The syntax trees of the exporter's code."""
    for module in sorted((ROOT / "cdi_exporter").rglob("*.py")):
        yield from ast.walk(ast.parse(text(module)))


def logged() -> set[tuple[str, str]]:
    """Each event that the code logs, with its level."""
    calls = [node for node in trees() if isinstance(node, ast.Call)]
    return {
        (LEVELS[call.func.attr], ast.literal_eval(call.args[0]))
        for call in calls
        if isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) == "log"
    }


@page_of_each
def test_each_link_has_a_target(page: Path) -> None:
    """A link points to a file or folder of the repository. An anchor is one of its headings."""
    lost = []
    for link in links(page):
        there, anchor = target(page, link), link.partition("#")[2]
        if not there.exists() or (anchor and anchor not in anchors(there)):
            lost.append(link)
    assert not lost


@page_of_each
def test_each_metric_in_the_docs_exists(page: Path) -> None:
    """Recorded series, whose names contain a colon, are checked by the tests of the rules."""
    names = re.findall(r"(?<![\w:])(?:braze_cdi|cdi_exporter)_\w+", text(page))
    unknown = [
        name
        for name in names
        if name not in METRICS
        and not any(name.removesuffix(suffix) in METRICS for suffix in SUFFIXES)
    ]
    assert not unknown


def test_each_abbreviation_in_the_readme_is_the_end_of_a_metric() -> None:
    """In a README row, `_rows_synced` after `braze_cdi_last_sync_status` is an abbreviation."""
    short = 0
    for line in text(ROOT / "README.md").splitlines():
        full = ""
        for name in re.findall(r"`([a-z]*_[a-z_]+)`", line) if line.startswith("|") else ():
            if name.startswith("_"):
                words = full.split("_")
                meant = {"_".join(words[:count]) + name for count in range(2, len(words))}
                assert meant & METRICS, f"{name} after {full}"
                short += 1
            else:
                full = name
    assert short


@page_of_each
def test_each_flag_in_the_docs_exists(page: Path) -> None:
    """A flag belongs to one of the commands, or is a known flag of another program."""
    named = {flag.rstrip(".") for flag in re.findall(r"(?<![\w-])--[a-z][a-z.-]*[a-z]", text(page))}
    assert named - FLAGS <= set().union(*FLAGS_OF_OTHERS.values())


def test_each_file_of_the_docs_is_linked_from_the_index() -> None:
    """The links may lead over other pages of the docs."""
    reached: set[Path] = set()
    waiting = {DOCS / "README.md"}
    while waiting:
        page = waiting.pop()
        reached.add(page)
        if page.suffix == ".md":
            found = {target(page, link) for link in links(page)}
            waiting |= {each for each in found if DOCS in each.parents and each.is_file()} - reached
    assert {each for each in DOCS.rglob("*") if each.is_file()} == reached


def test_each_event_of_the_log_is_described() -> None:
    """`docs/operations.md` lists exactly the events that the code logs, with their levels."""
    described = {(level, event.strip("`")) for level, event, *_ in rows(OPERATIONS, "level")}
    assert described == logged()


def test_each_reason_of_a_failed_refresh_has_its_section() -> None:
    """`docs/troubleshooting.md` has a section for each reason, in the order of the metric."""
    headings = re.findall(r"^### (\w+)$", text(TROUBLESHOOTING), flags=re.MULTILINE)
    assert headings == [*REASONS]


def test_each_message_is_quoted_exactly_as_in_the_code() -> None:
    """`…` replaces variable parts.

    The text after a semicolon may be a different text of the code.
    """
    constants = [
        node.value
        for node in trees()
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]
    messages = [each.message for each in problems.__dict__.values() if isinstance(each, Problem)]
    texts = "\n".join(constants + messages)
    quoted = [re.findall("`([^`]+)`", cells[0]) for cells in rows(TROUBLESHOOTING, "message")]
    assert all(quoted)
    parts = {
        part.strip(" :;")
        for cell in quoted
        for message in cell
        for part in re.split("…|; ", message)
    }
    assert [part for part in sorted(parts) if part not in texts] == []
