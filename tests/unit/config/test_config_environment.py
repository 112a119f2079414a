"""The configuration of one workspace by environment variables."""

from pathlib import Path

import pytest

from cdi_exporter.config import ConfiguredIntegration, WorkspaceConfig, from_environment, inline_key
from cdi_exporter.config.environment import misspelt
from cdi_exporter.errors import ConfigError

ENDPOINT = {"BRAZE_REST_ENDPOINT": "rest.iad-03.braze.com"}
GOOD = ENDPOINT | {"BRAZE_API_KEY": "canary-5f0c9d7e1a10"}


def mistakes(environ: dict[str, str]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        from_environment(environ)
    assert "canary" not in str(caught.value)
    return list(caught.value.mistakes)


def workspace(environ: dict[str, str]) -> WorkspaceConfig:
    (found,) = from_environment(environ).workspaces
    return found


def test_endpoint_and_key_are_enough_for_the_quick_start() -> None:
    """The workspace is named `default` and discovers its integrations."""
    assert workspace(GOOD) == WorkspaceConfig(
        "default", "https://rest.iad-03.braze.com", inline_key("canary-5f0c9d7e1a10")
    )


def test_all_environment_variables_are_applied(tmp_path: Path) -> None:
    """Name, key file and integrations are used; empty variables count as unset."""
    (tmp_path / "key").write_text("k\n")
    found = workspace(
        ENDPOINT
        | {
            "BRAZE_API_KEY": "",
            "BRAZE_API_KEY_FILE": str(tmp_path / "key"),
            "BRAZE_WORKSPACE": " production ",
            "BRAZE_INTEGRATION_IDS": "a, b,",
        }
    )
    assert found.name == "production"
    assert found.key.known.reveal() == "k"
    assert found.integrations == (ConfiguredIntegration("a"), ConfiguredIntegration("b"))


@pytest.mark.parametrize("written", ["", " ", "auto"])
def test_integrations_are_discovered_without_ids(written: str) -> None:
    assert workspace(GOOD | {"BRAZE_INTEGRATION_IDS": written}).integrations is None


def test_an_empty_environment_is_rejected_with_what_to_set() -> None:
    """The error names the variables to set, and the alternatives."""
    assert mistakes({}) == [
        (
            "BRAZE_REST_ENDPOINT: not set; expected the REST endpoint of the workspace, such as "
            "rest.iad-03.braze.com"
        ),
        (
            "BRAZE_API_KEY: not set; expected a REST API key with the permissions "
            "cdi.integration_list and cdi.integration_job_status, or its file in BRAZE_API_KEY_FILE"
        ),
        (
            "no configuration: set these variables, or pass a YAML file with --config.file; "
            '"cdi-exporter demo" needs neither'
        ),
    ]


def test_the_id_is_taken_from_the_url_of_the_dashboard() -> None:
    """Users paste the URL of the integration's page."""
    url = "https://dashboard-03.braze.com/app/cdi/integration/a1/?tab=sync-log"
    found = workspace(GOOD | {"BRAZE_INTEGRATION_IDS": f"{url}, b2"})
    assert found.integrations == (ConfiguredIntegration("a1"), ConfiguredIntegration("b2"))


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        (
            {"BRAZE_REST_ENDPOINT": "http://rest.iad-03.braze.com"},
            (
                'BRAZE_REST_ENDPOINT: "http://rest.iad-03.braze.com" uses plain http; expected '
                "https://… (plain http is allowed only for loopback addresses)"
            ),
        ),
        (
            {"BRAZE_REST_ENDPOINT": "https://x:canary@rest.iad-03.braze.com"},
            (
                'BRAZE_REST_ENDPOINT: "https://…@rest.iad-03.braze.com" contains credentials; '
                "expected only the REST endpoint, such as rest.iad-03.braze.com"
            ),
        ),
        (
            {"BRAZE_API_KEY": "canary 5f0c9d7e1a10"},
            (
                "BRAZE_API_KEY: the key contains spaces, control characters or non-ASCII "
                "characters; expected a Braze REST API key"
            ),
        ),
        (
            {"BRAZE_API_KEY_FILE": "/canary-5f0c9d7e1a10"},
            "BRAZE_API_KEY: set together with BRAZE_API_KEY_FILE; expected one of the two",
        ),
        (
            {"BRAZE_API_KEY": " ", "BRAZE_API_KEY_FILE": "/run/secrets/api-key"},
            (
                'BRAZE_API_KEY_FILE: the file "/run/secrets/api-key" cannot be read (no such file '
                "or directory); expected a file that contains the key"
            ),
        ),
        (
            {"BRAZE_API_KEY": " ", "BRAZE_API_KEY_FILE": "11111111-2222-3333-4444-555555555555"},
            (
                "BRAZE_API_KEY_FILE: the file cannot be read (no such file or directory); expected "
                "a file that contains the key"
            ),
        ),
        (
            {"BRAZE_WORKSPACE": "a\nb"},
            'BRAZE_WORKSPACE: "a\\nb" contains control characters; expected text',
        ),
        (
            {"BRAZE_WORKSPACE": "a\udcffb"},
            'BRAZE_WORKSPACE: "a\\udcffb" contains control characters; expected text',
        ),
        (
            {"BRAZE_INTEGRATION_IDS": "a,.."},
            (
                'BRAZE_INTEGRATION_IDS: "a,.." is not an integration ID; '
                "expected an integration ID as Braze shows it"
            ),
        ),
        (
            {"BRAZE_INTEGRATION_IDS": "a,b,a"},
            (
                'BRAZE_INTEGRATION_IDS: "a,b,a" has an ID twice; expected comma-separated '
                "integration IDs, each once"
            ),
        ),
        *(
            (
                {"BRAZE_INTEGRATION_IDS": written},
                (
                    f"BRAZE_INTEGRATION_IDS: {shown} {problem}; expected comma-separated "
                    "integration IDs, such as id1,id2"
                ),
            )
            for written, shown, problem in (
                ("a b", '"a b"', "contains a space between IDs"),
                ("a;b", '"a;b"', "contains a semicolon"),
                ("[a,b]", '"[a,b]"', "is in brackets"),
                ('"a"', '"\\"a\\""', "is in quotes, which are part of the value"),
                ('"a","b"', '"\\"a\\",\\"b\\""', "is in quotes, which are part of the value"),
                ("'a',b", "\"'a',b\"", "contains quotes"),
            )
        ),
        (
            {"BRAZE_INTEGRATION_IDS": "https://dashboard-03.braze.com/"},
            (
                'BRAZE_INTEGRATION_IDS: "https://dashboard-03.braze.com/" is a URL without an ID; '
                "expected an integration ID as Braze shows it"
            ),
        ),
        (
            {"BRAZE_INTEGRATION_IDS": ","},
            'BRAZE_INTEGRATION_IDS: ","; expected comma-separated integration IDs',
        ),
    ],
)
def test_an_error_names_its_variable(environ: dict[str, str], message: str) -> None:
    """The same rules apply as in a file, and the error line names the variable."""
    assert mistakes(GOOD | environ) == [message]


def test_all_errors_are_reported_at_once() -> None:
    """Each invalid variable has its own error line."""
    found = mistakes({"BRAZE_REST_ENDPOINT": "a b", "BRAZE_INTEGRATION_IDS": "."})
    assert [line.split(":")[0] for line in found] == [
        "BRAZE_REST_ENDPOINT",
        "BRAZE_API_KEY",
        "BRAZE_INTEGRATION_IDS",
    ]


KNOWN = [
    "BRAZE_REST_ENDPOINT",
    "BRAZE_API_KEY",
    "CDI_EXPORTER_LOG_LEVEL",
    "CDI_EXPORTER_STATE_FILE",
]


@pytest.mark.parametrize(
    ("name", "likely"),
    [
        ("CDI_EXPORTER_LOG_LEVL", "CDI_EXPORTER_LOG_LEVEL"),
        ("CDI_EXPORTER_LOGLEVEL", "CDI_EXPORTER_LOG_LEVEL"),
        ("BRAZE_ENDPOINT", "BRAZE_REST_ENDPOINT"),
        ("BRAZE_APIKEY", "BRAZE_API_KEY"),
        ("BRAZE_API_KEY", None),
        ("BRAZE_SDK_COLOUR", None),
        ("OTHER_LOG_LEVL", None),
        ("CDI_EXPORTER_SERVICE_HOST", None),
        ("CDI_EXPORTER_SERVICE_PORT_STATE_FILE", None),
        ("CDI_EXPORTER_PORT", None),
        ("CDI_EXPORTER_PORT_10234_TCP_ADDR", None),
    ],
)
def test_an_unknown_variable_is_reported_with_the_known_one_that_it_resembles(
    name: str, likely: str | None
) -> None:
    """Variables of a Kubernetes Service, and variables unlike any known one, are not misspelt."""
    assert misspelt({name: "x"}, KNOWN) == ({name: likely} if likely else {})
