"""The workspace that `demo` shows: every kind of integration, and something new all the time."""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from cdi_exporter.simulator.app import DAY, Simulator
from cdi_exporter.simulator.populations import new_id
from cdi_exporter.simulator.spec import Episode, IntegrationSpec, Profile

DEMO_SPEED = 60.0
DEMO_INTEGRATIONS = 12
REGIONS = ("", "-eu", "-us", "-apac", "-latam", "-sandbox")


@dataclass(frozen=True, slots=True)
class _Kind:
    """An integration of the demo; `every` and `takes` are minutes in a real workspace."""

    name: str
    profile: Profile
    every: float
    takes: float
    warehouse: str
    type: str
    rows: float
    trouble: tuple[float, float, float] | None = None
    """Minutes before the viewer's eyes: from the demo's begin, how long, how often."""


# The late one is late by the exporter's quarter of an hour soon after the begin, and the
# hanging one hangs for an hour soon after: what is said of them must be seen in a short visit.
_KINDS = (
    _Kind("users-attributes-hourly", Profile.HEALTHY, 60, 10, "snowflake", "users_track", 48e3),
    _Kind("orders-snowflake", Profile.PARTIAL, 15, 3, "snowflake", "events", 9e3),
    _Kind(
        "email-subscription-bigquery", Profile.FAILING, 15, 3, "bigquery", "users_track", 2400,
        trouble=(-1, 12, 30),
    ),
    _Kind("purchases-redshift", Profile.MISCONFIGURED, 30, 5, "redshift", "events", 700),
    _Kind(
        "catalog-items-databricks", Profile.HANGING, 30, 5, "databricks", "catalogs", 15e3,
        trouble=(-50, 100, 240),
    ),
    _Kind("push-tokens-s3", Profile.HEALTHY, 20, 4, "s3", "users_track", 1200),
    _Kind(
        "loyalty-tiers-fabric", Profile.LATE, 30, 4, "fabric", "users_track", 3300,
        trouble=(-14, 60, 150),
    ),
    _Kind("churn-scores", Profile.ALWAYS_FAILING, 60, 8, "databricks", "users_track", 120e3),
    _Kind("consent-flags-redshift", Profile.UNKNOWN_STATUS, 15, 2, "redshift", "users_track", 400),
    _Kind(
        "web-events-bigquery", Profile.SLOW, 20, 2.5, "bigquery", "events", 30e3,
        trouble=(1, 8, 20),
    ),
    _Kind(
        "deleted-users-snowflake", Profile.ZERO_ROWS, 30, 2, "snowflake", "user_delete", 150,
        trouble=(-1, 10, 30),
    ),
    _Kind("users-attributes-realtime", Profile.HEALTHY, 10, 2, "snowflake", "users_track", 2e3),
)  # fmt: skip


def demo_workspace(
    seed: int,
    integrations: int = DEMO_INTEGRATIONS,
    speed: float = DEMO_SPEED,
    *,
    clock: Callable[[], float],
) -> Simulator:
    """A workspace to look at, with days of history and something new every few seconds.

    Schedules and durations are divided by `speed`; times stay those of the clock. Beyond
    twelve integrations the same kinds return for other regions, and all schedules are
    longer, so that the workspace as a whole stays within what the API's limits can show.
    """
    draw = random.Random(f"demo/{seed}")  # noqa: S311 - a simulation
    pace = _Pace(clock(), 60 / speed, max(1.0, integrations / len(_KINDS)))
    specs = [_spec(draw, index, pace) for index in range(integrations)]
    return Simulator(specs, clock, seed=seed, retention=max(3 * DAY, 30 * DAY / speed))


@dataclass(frozen=True, slots=True)
class _Pace:
    begin: float
    minute: float
    """Seconds that a minute of a real workspace takes."""
    crowd: float
    """By how much schedules are longer for the sake of many integrations."""


def _spec(draw: random.Random, index: int, pace: _Pace) -> IntegrationSpec:
    around, which = divmod(index, len(_KINDS))
    kind = _KINDS[which]
    every = kind.every * pace.minute * pace.crowd
    spec = IntegrationSpec(
        id=new_id(draw),
        name=kind.name + (REGIONS[around] if around < len(REGIONS) else f"-{around}"),
        type=kind.type,
        warehouse=kind.warehouse,
        interval=None if kind.warehouse == "s3" else every,
        mean_gap=every,
        phase=draw.uniform(0, every),
        duration_median=kind.takes * pace.minute,
        duration_sigma=0.4,
        rows_median=kind.rows,
        profile=kind.profile,
    )
    if kind.trouble is None:
        return spec
    # At a slower speed trouble lasts as much longer; at a faster one it still can be seen.
    unit = 60 * max(1.0, pace.minute) * pace.crowd
    first, length, again = (each * unit for each in kind.trouble)
    return replace(spec, episode=Episode(pace.begin + first, length, again))
