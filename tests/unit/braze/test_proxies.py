"""Selection of a proxy from environment variables."""

import pytest

from cdi_exporter.braze.proxies import Proxies, Proxy
from cdi_exporter.errors import ConfigError

BRAZE = "https://rest.iad-03.braze.com"
ADDRESS = "https://10.1.2.3"
URL = "http://proxy.example:3128"


def used(url: str = BRAZE, **environ: str) -> Proxy | None:
    return Proxies(environ).proxy_for(url)


@pytest.mark.parametrize(
    ("environ", "variable"),
    [
        ({"HTTPS_PROXY": URL}, "HTTPS_PROXY"),
        ({"https_proxy": URL}, "https_proxy"),
        ({"ALL_PROXY": URL}, "ALL_PROXY"),
        ({"all_proxy": URL}, "all_proxy"),
        ({"HTTPS_PROXY": "http://other.example", "https_proxy": URL}, "https_proxy"),
        ({"ALL_PROXY": "socks5h://x:1", "HTTPS_PROXY": URL}, "HTTPS_PROXY"),
        ({"HTTP_PROXY": "nonsense://", "HTTPS_PROXY": f" {URL}\n"}, "HTTPS_PROXY"),
        ({"https_proxy": "", "ALL_PROXY": URL}, "ALL_PROXY"),
    ],
)
def test_lower_case_and_scheme_specific_variables_take_precedence(
    environ: dict[str, str], variable: str
) -> None:
    """Lower case wins over upper case. The variable of the scheme wins over ALL_PROXY."""
    assert used(**environ) == Proxy(variable, URL)


@pytest.mark.parametrize(
    "environ",
    [
        {},
        {"HTTP_PROXY": URL},
        {"HTTPS_PROXY": ""},
        {"HTTPS_PROXY": URL, "https_proxy": ""},
        {"HTTPS_PROXY": " "},
    ],
)
def test_without_proxy_variables_no_proxy_is_used(environ: dict[str, str]) -> None:
    """An empty variable is treated as unset. In lower case it also hides the upper-case one."""
    assert used(**environ) is None


def test_lower_case_no_proxy_wins_unless_it_is_empty() -> None:
    """An empty `no_proxy` does not hide `NO_PROXY`."""
    assert used(HTTPS_PROXY=URL, no_proxy="", NO_PROXY="braze.com") is None
    assert used(HTTPS_PROXY=URL, no_proxy="a.example", NO_PROXY="braze.com") is not None


def test_a_proxy_shows_no_password() -> None:
    """This keeps the password out of log lines and tracebacks."""
    assert "canary" not in repr(used(HTTPS_PROXY="http://u:canary@proxy.example"))


def test_an_http_endpoint_uses_the_variable_http_proxy() -> None:
    """In a CGI script a client can set HTTP_PROXY with a header, so it is ignored there."""
    local = "http://127.0.0.1:8080"
    assert used(local, HTTP_PROXY=URL) == Proxy("HTTP_PROXY", URL)
    assert used(local, HTTPS_PROXY=URL) is None
    assert used(local, HTTP_PROXY=URL, REQUEST_METHOD="GET") is None
    assert used(local, http_proxy=URL, REQUEST_METHOD="GET") == Proxy("http_proxy", URL)


@pytest.mark.parametrize(
    ("written", "url"),
    [
        ("proxy.example:3128", "http://proxy.example:3128"),
        ("10.0.0.1:3128", "http://10.0.0.1:3128"),
        ("[::1]:3128", "http://[::1]:3128"),
        ("user:pass@proxy.example:3128", "http://user:pass@proxy.example:3128"),
        ("HTTPS://proxy.example/", "HTTPS://proxy.example/"),
        ("http://proxy.example", "http://proxy.example"),
    ],
)
def test_the_scheme_of_a_proxy_is_optional(written: str, url: str) -> None:
    """As in curl, the default scheme is http."""
    assert used(HTTPS_PROXY=written) == Proxy("HTTPS_PROXY", url)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("socks5h://127.0.0.1:1080", '"socks5h://127.0.0.1:1080" is a SOCKS proxy'),
        ("socks5://u:canary@h:1", '"socks5://…@h:1" is a SOCKS proxy'),
        ("SOCKS4://h:1", "is a SOCKS proxy"),
        ("ftp://proxy.example", "is neither http nor https"),
        ("http://proxy.example:99999", "is not a URL with a valid port"),
        ("http://proxy.example:port", "is not a URL with a valid port"),
        ("proxy.example:0", "has no valid port"),
        ("http://", "has no valid host"),
        ("http://:3128", "has no valid host"),
        ("http://u:canary@:3128", '"http://…@:3128" has no valid host'),
        ("http://[::1", "is not a URL"),
        ("http://pro xy:1", "has no valid host"),
        ("http://próxy.example:1", "has no valid host"),
        ("http://proxy.example/path", "has more than a host and a port"),
        ("http://proxy.example:1?canary", "has more than"),
        ("http://u:ca#canary/x@proxy.example:1", '"http://…@proxy.example:1" '),
        ("://", "is neither http nor https"),
        ("\x00", "has no valid host"),
    ],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
def test_an_unusable_proxy_is_one_line_of_error(variable: str, written: str, message: str) -> None:
    """The line names the variable and shows its value without user and password."""
    with pytest.raises(ConfigError) as caught:
        used(**{variable: written})
    (line,) = caught.value.mistakes
    assert line.startswith(f"{variable}: ")
    assert message in line
    assert line.endswith("; expected an HTTP proxy, such as http://proxy.example:3128")
    assert "canary" not in line.replace("?canary", "")
    assert line.isprintable()


def test_an_unused_proxy_is_not_validated() -> None:
    """NO_PROXY covers the endpoint."""
    assert used(ALL_PROXY="socks5h://127.0.0.1:1080", NO_PROXY="*") is None
    assert used(ALL_PROXY="socks5h://127.0.0.1:1080", NO_PROXY=".braze.com") is None


@pytest.mark.parametrize(
    ("exceptions", "url", "covered"),
    [
        ("*", BRAZE, True),
        ("a.example,*", BRAZE, True),
        ("rest.iad-03.braze.com", BRAZE, True),
        ("REST.IAD-03.BRAZE.COM", BRAZE, True),
        ("braze.com", BRAZE, True),
        (".braze.com", BRAZE, True),
        ("*.braze.com", BRAZE, True),
        ("braze.com.", BRAZE, True),
        ("raze.com", BRAZE, False),
        ("iad-03", BRAZE, False),
        ("braze.com:443", BRAZE, True),
        ("braze.com:8443", BRAZE, False),
        ("braze.com:8443", "https://rest.braze.com:8443", True),
        (" , ,braze.com, ", BRAZE, True),
        ("a.example braze.com", BRAZE, True),
        ("", BRAZE, False),
        ("10.0.0.0/8,fd00::/8", BRAZE, False),
        ("10.0.0.0/8,fd00::/8", ADDRESS, True),
        ("10.0.0.0/8,fd00::/8", "https://[fd00::7]:8443", True),
        ("10.0.0.0/8,fd00::/8", "https://11.0.0.1", False),
        ("[fd00::]/8", "https://[fd00::7]", True),
        ("10.1.2.9/8", ADDRESS, True),
        ("10.0.0.0/255.0.0.0", ADDRESS, True),
        ("0.0.0.0/0", ADDRESS, True),
        ("0.0.0.0/0", BRAZE, False),
        ("10.1.2.3", ADDRESS, True),
        ("10.1.2.3:443", ADDRESS, True),
        ("10.1.2.3:80", ADDRESS, False),
        ("2.3", ADDRESS, False),
        (".1.2.3", ADDRESS, False),
        ("[::1]", "http://[::1]:8080", True),
        ("::1", "http://[::1]:8080", True),
        ("[::1]:8080", "http://[::1]:8080", True),
        ("[::1]:8081", "http://[::1]:8080", False),
        ("0:0:0:0:0:0:0:1", "http://[::1]:8080", True),
        ("127.0.0.1", "http://[::ffff:127.0.0.1]:1", True),
        ("localhost", "http://localhost:8080", True),
        ("localhost", "http://127.0.0.1:8080", False),
    ],
)
@pytest.mark.parametrize("variable", ["NO_PROXY", "no_proxy"])
def test_hosts_excepted_by_no_proxy(
    variable: str, exceptions: str, url: str, covered: bool
) -> None:
    """An entry is a name with its subdomains, an address or a network, optionally with a port."""
    proxies = Proxies({"ALL_PROXY": URL, variable: exceptions})
    assert (proxies.proxy_for(url) is None) == covered
    assert proxies.ignored == []


@pytest.mark.parametrize(
    ("entry", "shown"),
    [
        ("10.0.0.0/99", '"10.0.0.0/99"'),
        ("[::1", '"[::1"'),
        ("[name]", '"[name]"'),
        ("http://braze.com", '"http://braze.com"'),
        ("braze.com:port", '"braze.com:port"'),
        ("a*b.com", '"a*b.com"'),
        ("rest.*", '"rest.*"'),
        ("a_b?c", '"a_b?c"'),
        ("u:canary@braze.com", '"…@braze.com"'),
        ("0f9b1c3e-55aa-4c1e-9d57-0123456789ab:x", "…"),
    ],
)
def test_an_exception_that_means_nothing_is_ignored(entry: str, shown: str) -> None:
    """The other entries apply. The ignored entry is recorded without secrets."""
    proxies = Proxies({"HTTPS_PROXY": URL, "NO_PROXY": f"{entry},10.0.0.0/8"})
    assert proxies.proxy_for(BRAZE) == Proxy("HTTPS_PROXY", URL)
    assert proxies.proxy_for(ADDRESS) is None
    assert proxies.ignored == [("NO_PROXY", shown)]
