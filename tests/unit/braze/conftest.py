"""Local time zones: what is read as UTC must not depend on where this runs."""

import time
from collections.abc import Iterator

import pytest


@pytest.fixture(params=["UTC0", "NPT-5:45", "EST5EDT"])
def local_zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """The machine is in this time zone, spelt so that it needs no database of zones."""
    zone = str(request.param)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TZ", zone)
            time.tzset()
            yield zone
    finally:
        time.tzset()
