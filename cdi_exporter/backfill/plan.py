"""The options of a backfill: its range, the instants and days in it, and the labels. Pure.

Instants are the times of samples: Unix seconds that are multiples of the step, so that the same
range always has the same instants.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from cdi_exporter import catalog
from cdi_exporter.config import Settings, WorkspaceConfig, format_duration, parse_duration
from cdi_exporter.errors import ConfigError

FORMAT = 2
"""The format of the day files. After a change of it, files of older versions are made again."""

DAY = 86_400
LONGEST_STEP = 3_600
"""Longest step in seconds: with a longer one, rules and panels over one hour show nothing."""

LOOKBACK = 300
"""Prometheus' default `--query.lookback-delta` in seconds: older samples do not count as
current."""

HEAD = 3 * 3_600
"""Seconds of samples that Prometheus may have in memory and not yet in a block."""

TOO_NEW = (
    "blocks newer than 3h make Prometheus drop in-memory samples of ALL jobs at its next restart"
)

_LABEL_NAME = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*", re.ASCII)
_OWN_LABELS = frozenset({label for each in catalog.PER_INTEGRATION for label in each.labels})
"""Labels of the series that backfill writes. `endpoint`, which the Prometheus operator sets, is not
one of them."""


Day = tuple[str, range]
"""A UTC day, such as `2026-09-24`, and its instants."""


def moment_at(text: str, now: float) -> float:
    """The Unix time of a duration ago or of an RFC 3339 time; raises ValueError."""
    with suppress(ValueError):
        return now - parse_duration(text)
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.timestamp()
    msg = "expected a duration ago such as 30d, or a time such as 2026-09-01T00:00:00Z"
    raise ValueError(msg)


def parse_moment(text: str) -> str:
    """The text itself; raises ValueError if `moment_at` cannot parse it.

    It stays text, because "ago" is relative to the start of the job.
    """
    moment_at(text, 0.0)
    return text


def parse_label(text: str) -> tuple[str, str]:
    """Parse `name=value`; raises ValueError for an invalid name, or one that the exporter uses."""
    name, equals, value = text.partition("=")
    if not equals or not _LABEL_NAME.fullmatch(name):
        msg = "expected name=value, such as job=braze-cdi"
    elif name in _OWN_LABELS:
        msg = "names a label that the exporter sets itself"
    elif name.startswith("__"):
        msg = "has a name that starts with __, which is reserved for Prometheus"
    elif not value:
        msg = "has no value; Prometheus drops labels without a value"
    else:
        return name, value
    raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class BackfillOptions:
    """The flags of `backfill`, without those of the configuration. `step` in seconds."""

    output: Path
    since: str = "30d"
    until: str = "3h"
    step: float = 240.0
    labels: tuple[tuple[str, str], ...] = ()
    include: tuple[str, ...] = ()
    dry_run: bool = False
    force: bool = False
    """Whether the range may end less than 3 hours ago."""

    def check(self, now: float) -> None:
        """Raise ConfigError with a line for each error."""
        errors = []
        if not 1 <= self.step <= LONGEST_STEP or self.step % 1:
            written = format_duration(self.step)
            errors.append(f"--step={written}: expected whole seconds, from 1s to 1h")
        names = [name for name, _ in self.labels]
        twice = sorted({name for name in names if names.count(name) > 1})
        errors += [f"--label: {name} is given more than once" for name in twice]
        if not errors and (error := self._range_error(now)):
            errors.append(error)
        if errors:
            raise ConfigError(errors)

    def _range_error(self, now: float) -> str | None:
        grid = grid_of(self, now)
        since, until = f"--since={self.since}", f"--until={self.until}"
        if grid.until > now:
            return f"{until} is in the future; expected a time in the past"
        if grid.since < 0:
            return f"{since} is too long ago"
        if not len(grid):
            step = format_duration(self.step)
            return f"{since} {until}: the range contains no sample at a step of {step}"
        if is_too_new(grid, now) and not self.force:
            return f"{until}: {TOO_NEW}; expected 3h or more ago, or --force"
        return None


@dataclass(frozen=True, slots=True)
class Grid:
    """The instants of a range: multiples of `step` from `since` to `until`, in Unix seconds."""

    since: float
    until: float
    step: int

    @property
    def first(self) -> int:
        """The first instant."""
        return self.at_or_after(self.since)

    @property
    def last(self) -> int:
        """The last instant; less than the first if the range contains none."""
        return int(self.until // self.step) * self.step

    def __len__(self) -> int:
        return max(0, (self.last - self.first) // self.step + 1)

    def at_or_after(self, moment: float) -> int:
        """The first instant that is not before the moment."""
        return -int(-moment // self.step) * self.step

    def after(self, moment: float) -> int:
        """The first instant after the moment."""
        return int(moment // self.step) * self.step + self.step

    def days(self) -> Iterator[Day]:
        """The UTC days with instants, in order."""
        for start in range(self.first // DAY * DAY, self.last + 1, DAY):
            first = max(self.first, self.at_or_after(start))
            instants = range(first, min(self.last + 1, start + DAY), self.step)
            if instants:
                yield utc(start)[:10], instants


def grid_of(options: BackfillOptions, now: float) -> Grid:
    """The grid of the options at the time `now`."""
    return Grid(moment_at(options.since, now), moment_at(options.until, now), int(options.step))


def is_too_new(grid: Grid, now: float) -> bool:
    """Whether the range contains times that Prometheus may still have in memory."""
    return now - grid.until < HEAD - 1  # a second may pass between two readings of the clock


def fingerprint(settings: Settings, options: BackfillOptions) -> str:
    """A digest that identifies a job: equal for equal arguments; it contains no secret."""
    job = {
        "format": FORMAT,
        "since": options.since,
        "until": options.until,
        "step": options.step,
        "labels": sorted(options.labels),
        "include": options.include,
        "workspaces": [
            {
                "name": config.name,
                "place": url_digest(config),
                "integrations": config.integrations and [*map(asdict, config.integrations)],
                "include": config.include,
                "exclude": config.exclude,
                "stale_after": [*map(asdict, config.stale_after)],
            }
            for config in settings.workspaces
        ],
    }
    return hashlib.sha256(json.dumps(job).encode()).hexdigest()


def url_digest(config: WorkspaceConfig) -> str:
    """A digest of the workspace URL, which may contain a secret."""
    return hashlib.sha256(config.endpoint.encode()).hexdigest()


def counted(number: int, what: str) -> str:
    """A number with its noun, such as `1 file` or `31 files`."""
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def utc(moment: float) -> str:
    """A Unix time in RFC 3339 format, in UTC."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rough_duration(seconds: float) -> str:
    """A duration in seconds as its two largest units, such as `5h9m`."""
    whole = round(seconds)
    if whole >= DAY:
        return format_duration(whole // 3600 * 3600)
    return format_duration(whole // 60 * 60 if whole >= 3600 else whole)


def rough_size(count: float) -> str:
    """A number of bytes with a readable unit, such as `1.2 GB`."""
    units = ("B", "kB", "MB", "GB", "TB")
    power = 0
    while count >= 1000 and power < len(units) - 1:
        count /= 1000
        power += 1
    return f"{count:.{0 if count >= 10 or not power else 1}f} {units[power]}"
