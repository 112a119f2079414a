"""The options of a backfill: times, labels, instants and days, and their errors."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdi_exporter.backfill import BackfillOptions, parse_label, parse_moment
from cdi_exporter.backfill.plan import (
    DAY,
    TOO_NEW,
    Grid,
    counted,
    fingerprint,
    grid_of,
    moment_at,
    rough_duration,
    rough_size,
    utc,
)
from cdi_exporter.config import Settings, inline_key
from cdi_exporter.errors import ConfigError
from tests.harness import workspace
from tests.virtual import EPOCH


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("30d", EPOCH - 30 * DAY),
        ("1h30m", EPOCH - 5400),
        ("0", EPOCH),
        ("2026-09-01T00:00:00Z", 1_788_220_800),
        ("2026-09-01T02:00:00+02:00", 1_788_220_800),
    ],
)
def test_a_time_is_a_duration_ago_or_rfc_3339(text: str, moment: float) -> None:
    """Both forms are converted to a Unix time."""
    assert moment_at(parse_moment(text), EPOCH) == moment


@pytest.mark.parametrize("text", ["", "yesterday", "30", "2026-09-01", "2026-09-01T00:00:00"])
def test_an_invalid_time_is_rejected_with_the_valid_forms(text: str) -> None:
    """A time without a time zone is ambiguous."""
    with pytest.raises(ValueError, match="such as 30d, or a time such as 2026-09-01T00:00:00Z"):
        parse_moment(text)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("job=braze-cdi", ("job", "braze-cdi")),
        ("instance=exporter:10234", ("instance", "exporter:10234")),
        ("cluster=a=b", ("cluster", "a=b")),
        ("endpoint=http", ("endpoint", "http")),
    ],
)
def test_labels_are_those_that_prometheus_adds_to_the_target(
    text: str, label: tuple[str, str]
) -> None:
    """Scrape configurations, the operator and external_labels may set these labels."""
    assert parse_label(text) == label


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("job", "expected name=value"),
        ("=x", "expected name=value"),
        ("a-b=x", "expected name=value"),
        ("é=x", "expected name=value"),
        ("job=", "has no value"),
        ("__name__=x", "reserved for Prometheus"),
        ("workspace=x", "the exporter sets itself"),
        ("status=x", "the exporter sets itself"),
    ],
)
def test_invalid_labels_are_refused(text: str, problem: str) -> None:
    """The error names the problem."""
    with pytest.raises(ValueError, match=problem):
        parse_label(text)


@pytest.mark.parametrize(
    ("fields", "mistakes"),
    [
        ({"step": 0.5}, ["--step=500ms: expected whole seconds, from 1s to 1h"]),
        ({"step": 7200.0}, ["--step=2h: expected whole seconds, from 1s to 1h"]),
        (
            {"step": 1.5, "labels": (("job", "a"), ("job", "b"))},
            [
                "--step=1s500ms: expected whole seconds, from 1s to 1h",
                "--label: job is given more than once",
            ],
        ),
        (
            {"until": parse_moment("2126-01-01T00:00:00Z")},
            ["--until=2126-01-01T00:00:00Z is in the future; expected a time in the past"],
        ),
        ({"since": parse_moment("100y")}, ["--since=100y is too long ago"]),
        (
            {"since": parse_moment("1h"), "until": parse_moment("2h")},
            ["--since=1h --until=2h: the range contains no sample at a step of 4m"],
        ),
        (
            {"until": parse_moment("2h59m")},
            [f"--until=2h59m: {TOO_NEW}; expected 3h or more ago, or --force"],
        ),
    ],
)
def test_errors_in_flags_are_one_line_each(fields: dict[str, object], mistakes: list[str]) -> None:
    """The line contains the flag, its value and what is expected."""
    options = BackfillOptions(Path(), **fields)  # type: ignore[arg-type]
    with pytest.raises(ConfigError) as caught:
        options.check(EPOCH)
    assert list(caught.value.mistakes) == mistakes


def test_the_last_three_hours_can_be_forced() -> None:
    """This is needed for an empty Prometheus."""
    BackfillOptions(Path(), until=parse_moment("0s"), force=True).check(EPOCH)


def test_the_default_range_ends_where_the_memory_of_prometheus_starts() -> None:
    """By default the range is 30 days ago to 3 hours ago, with a sample every 4 minutes."""
    BackfillOptions(Path()).check(EPOCH)
    grid = grid_of(BackfillOptions(Path()), EPOCH)
    assert (grid.since, grid.until, grid.step) == (EPOCH - 30 * DAY, EPOCH - 3 * 3600, 240)
    assert (utc(grid.first), utc(grid.last)) == ("2026-08-22T14:16:00Z", "2026-09-21T11:12:00Z")


grids = st.builds(
    lambda since, length, step: Grid(since, since + length, step),
    st.floats(0, 2e9),
    st.floats(0, 20 * DAY),
    st.integers(300, 3600),
)


@settings(deadline=None)
@given(grid=grids)
def test_the_days_contain_each_instant_of_the_range_once(grid: Grid) -> None:
    """Instants are multiples of the step within the range, each in the file of its UTC day."""
    instants = [(day, instant) for day, those in grid.days() for instant in those]
    expected = range(grid.first, grid.last + 1, grid.step)
    assert [instant for _, instant in instants] == [*expected]
    assert len(grid) == len(expected)
    for name, instant in instants:
        assert instant % grid.step == 0
        assert grid.since <= instant <= grid.until
        assert utc(instant).startswith(name)


@settings(deadline=None)
@given(grid=grids, moment=st.floats(0, 2e9))
def test_the_instants_around_a_time_are_the_nearest_ones(grid: Grid, moment: float) -> None:
    """The instants at or after a time, and after it, are the nearest ones."""
    assert grid.at_or_after(moment) - grid.step < moment <= grid.at_or_after(moment)
    assert grid.after(moment) > moment >= grid.after(moment) - grid.step


def test_a_job_is_identified_by_its_arguments_and_not_by_its_key_or_limits() -> None:
    """A rotated key resumes the same job; another label is another job."""
    options = BackfillOptions(Path(), labels=(("job", "a"), ("instance", "b")))

    def mark(chosen: BackfillOptions = options, **fields: object) -> str:
        return fingerprint(Settings((workspace(**fields),)), chosen)  # type: ignore[arg-type]

    assert mark() == mark(key=inline_key("another"))
    assert mark() == mark(BackfillOptions(Path("elsewhere"), labels=options.labels[::-1]))
    others = [
        mark(BackfillOptions(Path(), labels=(("job", "c"), ("instance", "b")))),
        mark(BackfillOptions(Path(), labels=options.labels, step=60.0)),
        mark(BackfillOptions(Path(), labels=options.labels, include=("a",))),
        mark(BackfillOptions(Path(), labels=options.labels, since=parse_moment("31d"))),
        mark(endpoint="https://other.test"),
        mark(exclude=("a",)),
    ]
    assert len({mark(), *others}) == 7


def test_durations_and_sizes_are_readable() -> None:
    """Durations have two units, sizes a suitable unit, and nouns the correct number."""
    assert rough_duration(0.4) == "0s"
    assert rough_duration(95) == "1m35s"
    assert rough_duration(2 * 3600 + 61) == "2h1m"
    assert rough_duration(3 * DAY + 3700) == "3d1h"
    assert [rough_size(size) for size in (0, 999, 1500, 42_000, 1.2e9, 3e15)] == [
        "0 B",
        "999 B",
        "1.5 kB",
        "42 kB",
        "1.2 GB",
        "3000 TB",
    ]
    assert (counted(1, "file"), counted(0, "file")) == ("1 file", "0 files")
