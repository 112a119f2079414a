"""Local time zones. A time that is read as UTC must not depend on the machine's zone."""

import time
from collections.abc import Iterator

import pytest


@pytest.fixture(params=["UTC0", "NPT-5:45", "EST5EDT"])
def local_zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """Set the local time zone. The POSIX spelling needs no time zone database."""
    zone = str(request.param)
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("TZ", zone)
            time.tzset()
            yield zone
    finally:
        time.tzset()
