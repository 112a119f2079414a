"""Chooses the format of a page from the headers `Accept` and `Accept-Encoding` (RFC 9110)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_OPENMETRICS_VERSIONS = frozenset({"", "0.0.1", "1.0.0"})
_TEXT_RANGES = frozenset({"text/plain", "text/*", "*/*"})
_QUALITY = re.compile(r"[01](\.[0-9]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Format:
    """The format and the encoding of a page."""

    openmetrics: bool = False
    gzip: bool = False

    @property
    def content_type(self) -> str:
        """The value of `Content-Type`."""
        return OPENMETRICS if self.openmetrics else TEXT


def negotiate(accept: str | None, accept_encoding: str | None) -> Format:
    """The format that the client prefers; text if it accepts none.

    Parts of a header that cannot be parsed are ignored.
    """
    return Format(_wants_openmetrics(accept or ""), _wants_gzip(accept_encoding or ""))


def _wants_openmetrics(accept: str) -> bool:
    openmetrics = text = 0.0
    for name, parameters, quality in _choices(accept):
        if name == "application/openmetrics-text":
            if parameters.get("version", "") in _OPENMETRICS_VERSIONS:
                openmetrics = max(openmetrics, quality)
        elif name in _TEXT_RANGES:
            text = max(text, quality)
    return openmetrics > 0 and openmetrics >= text


def _wants_gzip(accept_encoding: str) -> bool:
    qualities = {name: quality for name, _, quality in _choices(accept_encoding)}
    gzip = qualities.get("gzip", qualities.get("x-gzip", qualities.get("*", 0.0)))
    return gzip > 0 and gzip >= qualities.get("identity", 0.0)


def _choices(header: str) -> Iterator[tuple[str, dict[str, str], float]]:
    for choice in header.lower().split(","):
        name, *rest = (part.strip() for part in choice.split(";"))
        pairs = (part.partition("=") for part in rest)
        parameters = {key.strip(): value.strip().strip('"') for key, _, value in pairs}
        quality = parameters.pop("q", "1")
        if _QUALITY.fullmatch(quality):
            yield name, parameters, min(float(quality), 1.0)
