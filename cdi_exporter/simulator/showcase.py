"""The workspace of `demo`: every kind of integration, with frequent runs."""

import random
import uuid
from collections.abc import Callable
from typing import NamedTuple

from cdi_exporter.simulator.simulated_workspace import DAY, SimulatedWorkspace
from cdi_exporter.simulator.spec import Episode, IntegrationSpec, Profile

REGIONS = ("", "-eu", "-us", "-apac", "-latam", "-sandbox")


class _Sync(NamedTuple):
    """An integration of the demo; `every` and `takes` are minutes at speed 1."""

    name: str
    profile: Profile
    every: float
    takes: float
    warehouse: str
    type: str
    rows: float
    trouble: tuple[float, float, float] | None = None
    """Trouble in minutes of real time: its start after the demo's start, its length, its period."""


# Soon after the start, one integration is late (after 15 minutes) and one run is stuck (after an
# hour), so that a short visit shows both.
_SYNCS = (
    _Sync("users-attributes-hourly", Profile.HEALTHY, 60, 10, "snowflake", "users_track", 48e3),
    _Sync("orders-snowflake", Profile.PARTIAL, 15, 3, "snowflake", "events", 9e3),
    _Sync(
        "email-subscription-bigquery", Profile.FAILING, 15, 3, "bigquery", "users_track", 2400,
        trouble=(-1, 12, 30),
    ),
    _Sync("purchases-redshift", Profile.MISCONFIGURED, 30, 5, "redshift", "events", 700),
    _Sync(
        "catalog-items-databricks", Profile.STUCK, 30, 5, "databricks", "catalogs", 15e3,
        trouble=(-50, 100, 240),
    ),
    _Sync("push-tokens-s3", Profile.HEALTHY, 20, 4, "s3", "users_track", 1200),
    _Sync(
        "loyalty-tiers-fabric", Profile.LATE, 30, 4, "fabric", "users_track", 3300,
        trouble=(-14, 60, 150),
    ),
    _Sync("churn-scores", Profile.ALWAYS_FAILING, 60, 8, "databricks", "users_track", 120e3),
    _Sync("consent-flags-redshift", Profile.UNKNOWN_STATUS, 15, 2, "redshift", "users_track", 400),
    _Sync(
        "web-events-bigquery", Profile.SLOW, 20, 2.5, "bigquery", "events", 30e3,
        trouble=(1, 8, 20),
    ),
    _Sync(
        "deleted-users-snowflake", Profile.ZERO_ROWS, 30, 2, "snowflake", "user_delete", 150,
        trouble=(-1, 10, 30),
    ),
    _Sync("users-attributes-realtime", Profile.HEALTHY, 10, 2, "snowflake", "users_track", 2e3),
)  # fmt: skip


def demo_workspace(
    seed: int, integrations: int, speed: float, clock: Callable[[], float]
) -> SimulatedWorkspace:
    """A workspace with days of history, in which a run starts or ends every few seconds."""
    specs = demo_integrations(seed, integrations, speed, clock())
    return SimulatedWorkspace(specs, clock, seed=seed, retention=demo_retention(speed))


def demo_integrations(seed: int, number: int, speed: float, now: float) -> list[IntegrationSpec]:
    """The integrations of a demo that starts now.

    Schedules and durations are divided by `speed`; times stay those of the clock. Beyond
    twelve integrations, the same syncs are repeated for other regions, and all intervals
    are longer, so that the workspace as a whole stays within the API's limits.
    """
    draw = random.Random(f"demo/{seed}")  # noqa: S311 - a simulation
    minute, crowd = 60 / speed, max(1.0, number / len(_SYNCS))
    # A slower demo has longer trouble; in a faster one, trouble still lasts long enough to see.
    trouble_minute = 60 * max(1.0, minute) * crowd
    specs = []
    for index in range(number):
        around, which = divmod(index, len(_SYNCS))
        kind = _SYNCS[which]
        every = kind.every * minute * crowd
        episode = None
        if kind.trouble is not None:
            first, length, again = (each * trouble_minute for each in kind.trouble)
            episode = Episode(now + first, length, again)
        spec = IntegrationSpec(
            id=new_id(draw),
            name=kind.name + (REGIONS[around] if around < len(REGIONS) else f"-{around}"),
            type=kind.type,
            warehouse=kind.warehouse,
            interval=None if kind.warehouse == "s3" else every,
            mean_gap=every,
            phase=draw.uniform(0, every),
            duration_median=kind.takes * minute,
            duration_sigma=0.4,
            rows_median=kind.rows,
            profile=kind.profile,
            episode=episode,
        )
        specs.append(spec)
    return specs


def demo_retention(speed: float) -> float:
    """The seconds of history: 30 days divided by `speed`, but at least 3 days."""
    return max(3 * DAY, 30 * DAY / speed)


def new_id(draw: random.Random) -> str:
    """A random UUID, as Braze uses for IDs."""
    return str(uuid.UUID(int=draw.getrandbits(128), version=4))
