"""Populations for benchmarks and simulations: similar integrations, or a mixed workspace."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace

from cdi_exporter.simulator.showcase import new_id
from cdi_exporter.simulator.simulated_workspace import DAY
from cdi_exporter.simulator.spec import Profile
from tests.simulator.changing import ChangingSpec

EXCLUDED = "-excluded"
"""The suffix of an integration's name while the configuration excludes it."""

P95_OF_FIVE_MEDIANS = math.log(5) / 1.645
"""The sigma of durations whose 95th percentile is five times the median (10 and 2 minutes)."""


def many(
    number: int,
    seed: int,
    *,
    interval: float | None = 900.0,
    mean_gap: float = 900.0,
    duration_median: float = 120.0,
    duration_sigma: float = P95_OF_FIVE_MEDIANS,
    profiles: Sequence[Profile] = (Profile.HEALTHY,),
    overlap: bool = False,
) -> list[ChangingSpec]:
    """The benchmarks' population: the same schedule for all, with random phases.

    Profiles are assigned in turn.
    """
    draw = random.Random(f"many/{seed}")
    return [
        ChangingSpec(
            id=new_id(draw),
            name=f"sync-{index:05d}",
            interval=interval,
            mean_gap=mean_gap,
            phase=draw.uniform(0, mean_gap if interval is None else interval),
            duration_median=duration_median,
            duration_sigma=duration_sigma,
            rows_median=draw.uniform(100, 50_000),
            profile=profiles[index % len(profiles)],
            overlap=overlap,
        )
        for index in range(number)
    ]


def mixed(number: int, seed: int, start: float, end: float) -> list[ChangingSpec]:
    """A population for simulations from `start` to `end`, with random events of every kind.

    Schedules range from 5 minutes to a day, or are event-driven. There is every profile, and long
    runs that end after later ones. Some integrations are added, removed or renamed, some have no
    schedule for a while, and some have a name that ends with `EXCLUDED` for a while.
    """
    draw = random.Random(f"mixed/{seed}")
    several = [_any(draw, index, start, end) for index in range(number)]
    more = random.Random(f"mixed/{seed}/changes")
    return [_changing(more, spec, start, end) for spec in several]


def _changing(draw: random.Random, spec: ChangingSpec, start: float, end: float) -> ChangingSpec:
    """The integration, sometimes with a period without a schedule or with another name."""
    away = sorted(draw.uniform(start, end) for _ in range(4))
    if draw.random() < 0.1:
        spec = replace(spec, unscheduled=(away[0], away[2]))
    if draw.random() < 0.05 and not spec.renames:
        spec = replace(spec, renames=((away[1], spec.name + EXCLUDED), (away[3], spec.name)))
    return spec


def _any(draw: random.Random, index: int, start: float, end: float) -> ChangingSpec:
    pace = draw.choice([300.0, 300.0, 900.0, 900.0, 900.0, 3600.0, 6 * 3600.0, DAY])
    name = f"world-{index:05d}"

    def sometimes(share: float, otherwise: float) -> float:
        return draw.uniform(start, end) if draw.random() < share else otherwise

    added = sometimes(0.1, -math.inf)
    removed = sometimes(0.05, math.inf)
    renamed = sometimes(0.1, math.inf)
    return ChangingSpec(
        id=new_id(draw),
        name=name,
        interval=None if draw.random() < 0.15 else pace,
        mean_gap=pace,
        phase=draw.uniform(0, pace),
        duration_median=draw.uniform(2, pace / 4),
        duration_sigma=draw.uniform(0.1, 1.2),
        rows_median=10 ** draw.uniform(1, 6),
        profile=draw.choice(list(Profile)),
        overlap=draw.random() < 0.3,
        added_at=added,
        removed_at=removed if removed > added else math.inf,
        renames=((renamed, f"{name}-renamed"),) if renamed < end else (),
    )
