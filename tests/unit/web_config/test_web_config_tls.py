"""The TLS settings, tested with handshakes in memory with Python's own client."""

import ssl
import warnings
from pathlib import Path
from typing import Any

import pytest

from cdi_exporter.errors import ConfigError
from cdi_exporter.files import Files
from cdi_exporter.web.security.guard import load
from cdi_exporter.web.security.tls import ServerContext

AES128, AES256 = "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384"
CLIENTS = (None, "client", "stranger")
WITH_AUTHORITY = "client_ca_file: authority.crt, client_auth_type: "


def server(folder: Path, rest: str = "", pair: str = "server") -> ServerContext:
    """The server's TLS context with this certificate and these settings."""
    path = folder / "handshake.yml"
    path.write_text(
        f"tls_server_config: {{cert_file: {pair}.crt, key_file: {pair}.key"
        f"{', ' if rest else ''}{rest}}}\n"
    )
    tls = load(str(path), Files().read).tls
    assert tls is not None
    return tls


def client(
    folder: Path,
    *,
    only: ssl.TLSVersion | None = None,
    ciphers: str | None = None,
    curve: str | None = None,
    pair: str | None = None,
) -> ssl.SSLContext:
    """A client that trusts the servers of the tests."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    for trusted in ("server", "rsa", "renewed"):
        context.load_verify_locations(folder / f"{trusted}.crt")
    if only is not None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            context.maximum_version = context.minimum_version = only
    if ciphers is not None:
        context.set_ciphers(ciphers)
    if curve is not None:
        context.set_ecdh_curve(curve)
    if pair is not None:
        context.load_cert_chain(folder / f"{pair}.crt", folder / f"{pair}.key")
    return context


def handshake(
    server: ssl.SSLContext, client: ssl.SSLContext
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a connection. Raises ssl.SSLError if either end refuses.

    In TLS 1.3 the client finishes before the server has checked its certificate. So it then reads
    the server's reply.
    """
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    ours = server.wrap_bio(up, down, server_side=True)
    theirs = client.wrap_bio(down, up, server_hostname="localhost")
    for _ in range(4):
        for end in (theirs, ours):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                continue
    ours.do_handshake()
    theirs.do_handshake()
    return ours, theirs


def version(server: ssl.SSLContext, client: ssl.SSLContext) -> str | None:
    return handshake(server, client)[1].version()


def refused(server: ssl.SSLContext, client: ssl.SSLContext) -> bool:
    try:
        handshake(server, client)
    except ssl.SSLError:
        return True
    return False


def test_tls_1_2_and_1_3_by_default(certificates: Path) -> None:
    """Older versions are refused."""
    context = server(certificates)
    assert version(context, client(certificates)) == "TLSv1.3"
    assert version(context, client(certificates, only=ssl.TLSVersion.TLSv1_2)) == "TLSv1.2"
    old = client(certificates, only=ssl.TLSVersion.TLSv1_1, ciphers="ALL:@SECLEVEL=0")
    assert refused(context, old)


@pytest.mark.parametrize(
    ("rest", "offered", "spoken"),
    [
        ("min_version: TLS13", ssl.TLSVersion.TLSv1_2, None),
        ("min_version: TLS13", ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
        ("max_version: TLS12", ssl.TLSVersion.TLSv1_3, None),
        ("max_version: TLS12", ssl.TLSVersion.TLSv1_2, "TLSv1.2"),
        ("min_version: TLS11", ssl.TLSVersion.TLSv1_1, "TLSv1.1"),
        ("min_version: TLS11", ssl.TLSVersion.TLSv1, None),
        ("min_version: TLS10", ssl.TLSVersion.TLSv1, "TLSv1"),
        ("min_version: TLS10", ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
        ("min_version: TLS10, max_version: TLS10", ssl.TLSVersion.TLSv1_2, None),
        ("cipher_suites: [TLS_AES_128_GCM_SHA256]", ssl.TLSVersion.TLSv1_2, None),
        ("cipher_suites: [TLS_AES_128_GCM_SHA256]", ssl.TLSVersion.TLSv1_3, "TLSv1.3"),
    ],
)
def test_only_configured_tls_versions_are_accepted(
    rest: str, offered: ssl.TLSVersion, spoken: str | None, certificates: Path
) -> None:
    """A version must be in the range and have a cipher suite."""
    context = server(certificates, rest)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        old = offered < ssl.TLSVersion.TLSv1_2
    tls_client = client(certificates, only=offered, ciphers="ALL:@SECLEVEL=0" if old else None)
    assert (None if refused(context, tls_client) else version(context, tls_client)) == spoken


@pytest.mark.parametrize("order", ["", ", prefer_server_cipher_suites: false"])
def test_only_configured_cipher_suites_are_accepted(order: str, certificates: Path) -> None:
    """This applies up to TLS 1.2. The order is always Go's."""
    some = (
        "cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384, "
        f"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256]{order}"
    )
    context = server(certificates, some, pair="rsa")
    only = ssl.TLSVersion.TLSv1_2

    def chosen(ciphers: str) -> str:
        ours, _ = handshake(context, client(certificates, only=only, ciphers=ciphers))
        return (ours.cipher() or ("",))[0]

    assert chosen(AES128) == AES128
    assert chosen(AES256) == AES256
    assert chosen(f"{AES256}:{AES128}") == AES128
    cbc = client(certificates, only=only, ciphers="ECDHE-RSA-AES128-SHA")
    assert refused(context, cbc)
    assert not refused(server(certificates, pair="rsa"), cbc)
    assert version(context, client(certificates)) == "TLSv1.3"


@pytest.mark.parametrize("name", ["AES128-SHA", "AES256-GCM-SHA384"])
def test_rsa_key_exchange_must_be_configured_by_name(name: str, certificates: Path) -> None:
    """Go does not offer it by default."""
    tls_client = client(certificates, only=ssl.TLSVersion.TLSv1_2, ciphers=name)
    assert refused(server(certificates, pair="rsa"), tls_client)
    suites = "[TLS_RSA_WITH_AES_128_CBC_SHA, TLS_RSA_WITH_AES_256_GCM_SHA384]"
    assert not refused(server(certificates, f"cipher_suites: {suites}", pair="rsa"), tls_client)


@pytest.mark.parametrize(
    ("name", "curve"),
    [("CurveP256", "prime256v1"), ("CurveP384", "secp384r1"), ("CurveP521", "secp521r1")],
)
def test_a_single_curve_can_be_configured(name: str, curve: str, certificates: Path) -> None:
    """A client without this curve is refused."""
    context = server(certificates, f"curve_preferences: [{name}], min_version: TLS13")
    other = "secp384r1" if curve != "secp384r1" else "prime256v1"
    assert not refused(context, client(certificates, curve=curve))
    assert refused(context, client(certificates, curve=other))
    assert not refused(
        server(certificates, "curve_preferences: [X25519]"), client(certificates, curve="X25519")
    )


def test_several_curves_need_a_newer_python(certificates: Path) -> None:
    """Before Python 3.15 only one curve can be set. Several curves are an error."""
    rest = "curve_preferences: [CurveP384, CurveP521]"
    if hasattr(ssl.SSLContext, "set_groups"):
        context = server(certificates, rest)
        assert refused(context, client(certificates, curve="X25519"))
        assert not refused(context, client(certificates, curve="secp521r1"))
        return
    with pytest.raises(
        ConfigError, match="more than one curve, which this Python's TLS does not support"
    ):
        server(certificates, rest)


REQUIRED = "client_auth_type: RequireAndVerifyClientCert"


@pytest.mark.parametrize(
    ("auth", "served"),
    [
        ("", {None, "client", "stranger"}),
        (WITH_AUTHORITY + "VerifyClientCertIfGiven", {None, "client"}),
        (WITH_AUTHORITY + "RequireAndVerifyClientCert", {"client"}),
        (REQUIRED, set()),
        (f"client_ca_file: stranger.crt, {REQUIRED}", {"stranger"}),
        (f"client_ca_file: client.crt, {REQUIRED}", {"client"}),
        (f"client_ca_file: server.key, {REQUIRED}", set()),
        ("client_ca_file: server.key, client_auth_type: VerifyClientCertIfGiven", {None}),
    ],
)
@pytest.mark.parametrize("only", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_client_certificates_are_verified_against_the_client_ca(
    auth: str, served: set[str | None], only: ssl.TLSVersion, certificates: Path
) -> None:
    """The CA may be the certificate itself. Without a client CA, the system's CAs are used."""
    context = server(certificates, auth)
    clients = {pair: client(certificates, only=only, pair=pair) for pair in CLIENTS}
    assert {pair for pair, each in clients.items() if not refused(context, each)} == served


@pytest.mark.parametrize(
    ("allowed", "admitted"),
    [
        ("[scraper.example]", True),
        ("[nobody.example, ops@example.com]", True),
        ('["::1"]', True),
        ('["0:0:0:0:0:0:0:1"]', True),
        ('["spiffe://x/prom"]', True),
        ("[SCRAPER.example]", False),
        ('["*.example"]', False),
        ("[client]", False),
        ("[]", True),
    ],
)
def test_a_client_certificate_must_have_an_allowed_name(
    allowed: str, admitted: bool, certificates: Path
) -> None:
    """A name of any type must be equal to an allowed name."""
    auth = WITH_AUTHORITY + f"VerifyClientCertIfGiven, client_allowed_sans: {allowed}"
    context = server(certificates, auth)
    ours, _ = handshake(context, client(certificates, pair="client"))
    assert context.admits(ours.getpeercert()) is admitted
    ours, _ = handshake(context, client(certificates))
    no_certificate: dict[str, Any] | None = ours.getpeercert()
    assert context.admits(no_certificate) is (allowed == "[]")


def test_the_server_speaks_http_1_1(certificates: Path) -> None:
    """A client that offers HTTP/2 gets HTTP/1.1."""
    tls_client = client(certificates)
    tls_client.set_alpn_protocols(["h2", "http/1.1"])
    assert handshake(server(certificates), tls_client)[1].selected_alpn_protocol() == "http/1.1"
