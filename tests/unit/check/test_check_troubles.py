"""Findings about missing and invalid answers: the cause, and what to do."""

import math
import socket
import ssl
from collections.abc import Callable

import httpx
import pytest

from cdi_exporter.check.report import Granted
from cdi_exporter.config import ConfiguredIntegration
from cdi_exporter.problems import HISTORY_PERMISSION
from tests.harness import scripted
from tests.simulator import HISTORY, LIST, Fault, FaultKind, ScriptedIntegration
from tests.unit.check.checking import checked, codes, finding, one, simulated
from tests.virtual import EPOCH

BRAZE = "https://rest.iad-03.braze.com"
ALWAYS = (EPOCH - 1, math.inf)
PAGE = "<html><body>Access denied</body></html>"


class Raises(httpx.AsyncBaseTransport):
    """A transport that fails with an error of the operating system."""

    def __init__(self, reason: BaseException) -> None:
        self._reason = reason

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("All connection attempts failed") from self._reason


def answers(status: int, page: str, **headers: str) -> httpx.MockTransport:
    """A server that always returns the same answer."""
    return httpx.MockTransport(lambda _: httpx.Response(status, text=page, headers=headers))


def web_page(status: int) -> httpx.MockTransport:
    """A proxy that answers with its own web page."""
    return answers(status, PAGE, **{"content-type": "text/html; charset=utf-8"})


NO_CONNECTION: dict[str, tuple[BaseException, str]] = {
    "name_resolution": (
        socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
        "rest.iad-01",
    ),
    "certificate": (
        ssl.SSLCertVerificationError(1, "certificate verify failed: self-signed certificate"),
        "ca_file",
    ),
    "tls": (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "port"),
    "connection": (ConnectionRefusedError(111, "Connect call failed ('::1', 1, 0, 0)"), "firewall"),
}


@pytest.mark.parametrize("code", NO_CONNECTION)
def test_each_cause_of_a_failed_connection_has_its_own_code(code: str) -> None:
    """Name resolution, certificate, TLS and other failures have different codes."""
    reason, advice = NO_CONNECTION[code]
    found = one(Raises(reason), endpoint=BRAZE)
    assert codes(found) == [code]
    assert advice in found.findings[0].advice
    assert "rest.iad-03.braze.com" in found.findings[0].text
    assert found.key_works is None
    assert found.permissions is not None
    assert set(found.permissions.values()) == {Granted.UNKNOWN}


@pytest.mark.parametrize(
    ("name", "endpoint", "reported"),
    [
        ("HTTPS_PROXY", BRAZE, True),
        ("all_proxy", BRAZE, True),
        ("HTTPS_PROXY", "http://127.0.0.1:1", False),
        ("ALL_PROXY", "http://127.0.0.1:1", True),
    ],
)
def test_the_variable_of_a_proxy_is_named_without_its_url(
    name: str, endpoint: str, reported: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The URL may contain a password. The variable is named only if the proxy may be the cause."""
    monkeypatch.setenv(name, "http://user:canary-password@proxy.test:3128")
    found = one(Raises(ConnectionRefusedError(111, "refused")), endpoint=endpoint)
    advice = found.findings[0].advice
    assert (f"{name} is set" in advice) is reported
    assert "canary" not in advice


@pytest.mark.parametrize("status", [200, 302, 401, 403, 404])
def test_a_web_page_says_nothing_about_the_key(status: int) -> None:
    """A proxy's 401 or 403 is not Braze's, and its 200 is not an empty list."""
    found = one(web_page(status), endpoint=BRAZE)
    assert "web_page" in codes(found)
    assert not {"unauthorized", "forbidden", "list_forbidden"} & {*codes(found)}
    assert found.key_works is None
    assert found.permissions is not None
    assert set(found.permissions.values()) == {Granted.UNKNOWN}


def test_a_404_for_the_list_names_the_endpoints_of_braze() -> None:
    """After a 404 for the list, the finding names Braze's endpoints."""
    found = one(answers(404, "{}"), endpoint="https://api.example.com")
    said = finding(found, "not_found")
    assert "api.example.com" in said.text
    assert "rest.iad-01" in said.advice


FAULTS: dict[FaultKind, tuple[str, Callable[[str], bool]]] = {
    FaultKind.HANG: ("timeout", lambda text: "within 10 s" in text),
    FaultKind.OUTAGE: ("connection", lambda text: "no connection" in text),
    FaultKind.SERVER_ERROR: ("server_error", lambda text: text.startswith("503")),
    FaultKind.HTML: ("server_error", lambda text: text.startswith("502")),
    FaultKind.REDIRECT: ("other", lambda text: text.startswith("302")),
    FaultKind.NOT_JSON: ("invalid_response", lambda text: "not JSON" in text),
    FaultKind.BAD_MESSAGE: ("invalid_response", lambda text: "not success" in text),
    FaultKind.REPEATING_CURSOR: ("invalid_response", lambda text: "repeat themselves" in text),
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_failing_list_is_one_finding_with_its_cause(kind: FaultKind) -> None:
    """There is one error with its cause, and the check ends soon in spite of retries."""
    code, fits = FAULTS[kind]
    fault = Fault(*ALWAYS, kind, endpoint=LIST)
    simulator = simulated(scripted("one", runs=3), faults=[fault])
    found = one(simulator)
    assert not found.ok
    assert fits(finding(found, code).text)
    assert len(simulator.traffic[LIST].times) <= 3


def test_failing_histories_are_reported_next_to_working_ones() -> None:
    """One error names the failing integrations; the others are reported."""
    several = [scripted(f"i{each}", runs=3) for each in range(6)]
    fault = Fault(*ALWAYS, FaultKind.NOT_JSON, endpoint=HISTORY, rate=0.3)
    found = one(simulated(*several, faults=[fault], seed=4))
    failed = [each.integration_name for each in found.watched if each.problem]
    assert 0 < len(failed) < 6
    said = finding(found, "history_unreadable")
    assert all(name in said.text for name in failed)
    assert found.permissions is not None
    assert found.permissions[HISTORY_PERMISSION] is Granted.YES


def test_no_more_histories_are_read_after_two_failures() -> None:
    """Other histories would fail for the same reason."""
    several = [scripted(f"i{each}", runs=3) for each in range(15)]
    simulator = simulated(*several, faults=[Fault(*ALWAYS, FaultKind.HANG, endpoint=HISTORY)])
    found = one(simulator)
    assert codes(found) == ["timeout"]
    assert len(simulator.traffic[HISTORY].times) == 6


def test_configured_integrations_are_read_without_the_list() -> None:
    """A list that fails for another reason than a permission does not affect the histories."""
    fault = Fault(*ALWAYS, FaultKind.SERVER_ERROR, endpoint=LIST)
    found = one(
        simulated(scripted("one", runs=3), faults=[fault]),
        integrations=(ConfiguredIntegration("one"),),
    )
    assert codes(found) == ["server_error"]
    assert found.permissions is not None
    assert found.permissions[HISTORY_PERMISSION] is Granted.YES
    assert found.watched[0].last_run is not None


@pytest.mark.parametrize(("seconds", "way"), [(90.0, "behind"), (-90.0, "ahead of")])
def test_a_wrong_clock_is_a_warning(seconds: float, way: str) -> None:
    """A difference of at least a minute is a warning, because every age is wrong by it."""
    found = one(simulated(scripted("one", runs=3), ahead=seconds))
    assert found.ok
    assert finding(found, "clock").text == f"this machine's clock is 1 min 30 s {way} Braze's"


@pytest.mark.parametrize(
    ("runs", "failed", "expected"),
    [
        (3, 2, None),
        (6, 5, "5 failed runs in a row, no success since "),
        (5, 5, "5 failed runs in a row, no success since "),
        (30, 30, "at least 10 failed runs in a row, no success since "),
    ],
)
def test_runs_that_fail_in_a_row_are_a_warning(
    runs: int, failed: int, expected: str | None
) -> None:
    """The warning has the time of the last success, if the newest page shows it."""
    integration = ScriptedIntegration("one", "users")
    for number in range(runs, 0, -1):
        start = EPOCH - 3600 * number
        integration.run(start, start + 60, "error" if number <= failed else "success")
    found = checked(simulated(integration)).workspaces[0].findings
    reported = [each.text for each in found if each.code == "failing"]
    assert len(reported) == (expected is not None)
    assert all(each.startswith(f"users (one): {expected}") for each in reported)
