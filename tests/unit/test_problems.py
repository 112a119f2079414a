"""The table of problems is complete, and the alert rules and runbooks agree with it."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from cdi_exporter import problems
from cdi_exporter.errors import ApiError
from cdi_exporter.problems import (
    BY_REASON,
    HISTORY_PERMISSION,
    LIST_PERMISSION,
    REASONS,
    problem_of,
)

ROOT = Path(__file__).resolve().parents[2]
RULES = ROOT / "prometheus" / "rules" / "braze-cdi.yml"
RUNBOOKS = ROOT / "docs" / "runbooks"
ERRORS = [each for each in ApiError.__subclasses__() if each.__module__ == ApiError.__module__]
"""Only the errors of this module. Other modules may have their own."""
EVERY = [each for each in vars(problems).values() if isinstance(each, problems.Problem)]


def test_each_reason_has_a_problem() -> None:
    """Each failure has a description and a next step."""
    assert tuple(BY_REASON) == REASONS
    for problem in EVERY:
        assert problem.reason in REASONS
        assert all((problem.kind, problem.summary, problem.alert, problem.advice))


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.__name__)
def test_the_code_of_an_error_has_its_reason(error: type[ApiError]) -> None:
    """The labels `code` and `reason` of an error belong to the same problem."""
    code = "503" if error.reason == "server_error" else error.code
    assert problem_of(code).reason == error.reason


@pytest.mark.parametrize(
    ("code", "reason", "summary"),
    [
        ("400", "other", "ID or cursor not accepted"),
        ("401", "unauthorized", "unknown API key"),
        ("403", "forbidden", "missing permission"),
        ("404", "other", "not found"),
        ("429", "rate_limited", "rate limit spent"),
        ("502", "server_error", "Braze has a problem"),
        ("timeout", "timeout", "request timed out"),
        ("connect_error", "connection", "no connection"),
        ("invalid_response", "invalid_response", "undocumented answer"),
        ("302", "other", "unexpected answer"),
        ("other", "other", "unexpected answer"),
    ],
)
def test_each_code_of_a_request_is_explained(code: str, reason: str, summary: str) -> None:
    """Each value of the label `code` has a reason and a short description."""
    found = problem_of(code)
    assert (found.reason, found.summary) == (reason, summary)


def _annotations(rule: dict[str, Any]) -> list[str]:
    return [*rule.get("annotations", {}).values()]


def test_alerts_describe_each_reason_as_the_table_does() -> None:
    """The descriptions of the alert rules use the text of the table for each reason."""
    groups = yaml.safe_load(RULES.read_text("utf-8"))["groups"]
    texts = [text for each in groups for rule in each["rules"] for text in _annotations(rule)]
    described = "\n".join(texts)
    assert [each.alert for each in BY_REASON.values() if each.alert not in described] == []
    for reason, text in re.findall(r'eq \$reason "(\w+)" }}([^{]*?)\s*{{', described):
        assert text == BY_REASON[reason].alert


def test_the_runbook_of_a_refused_key_explains_401_and_403() -> None:
    """The runbook has causes for both statuses and names both permissions."""
    text = (RUNBOOKS / "BrazeCDIApiUnauthorized.md").read_text("utf-8")
    causes = re.findall(r"^\d\. (.*(?:\n   .*)*)", text, re.MULTILINE)
    for problem in (problems.UNAUTHORIZED, problems.FORBIDDEN):
        status = re.findall(r"\((\d+)\)", problem.alert)[0]
        assert any(f"({status})" in cause for cause in causes)
    assert any(LIST_PERMISSION in cause and HISTORY_PERMISSION in cause for cause in causes)
    assert "BrazeCDIApiUnreachable" in text, "the 403 of a proxy is another problem"


def test_each_message_has_an_entry_in_the_troubleshooting_guide() -> None:
    """Users search the guide for the message in their log."""
    guide = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    assert [each.message for each in EVERY if each.message not in guide] == []
