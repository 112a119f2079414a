"""Question 4: what hangs, and what never started."""

from cdi_exporter import catalog
from tools.dashboards.frame import INTEGRATION_PAGE
from tools.dashboards.layout import Section, line
from tools.dashboards.panels import NONE, About, Panel, tile
from tools.dashboards.promql import KNOWN, LIMITS, NOW, column, count
from tools.dashboards.tables import Column, Label, Rows, table_of


def schedule() -> Section:
    """What hangs or was missed, then each integration."""
    stuck = tile(
        "Hanging runs",
        About(
            f"Integrations with a run under way for more than {LIMITS.stuck_factor:g} times its "
            "typical duration, at least an hour; 6 hours where none is known.",
            "integrations.",
            "any: later runs may not start before it ends.",
            "look in the warehouse whether its query waits for a lock, or for capacity.",
        ),
        count(NOW.stuck),
        mappings=[NONE],
    )
    missed = tile(
        "Missed starts",
        About(
            "Integrations whose scheduled time passed 20 minutes ago or more, with no run "
            "started since and none under way.",
            "integrations.",
            "any: nothing fails, and no data comes.",
            "see in Braze whether the integration is paused; start it by hand.",
        ),
        count(NOW.missed),
        mappings=[NONE],
    )
    return Section(
        "Does a run hang, or did one never start?",
        [line(8, (stuck, missed), _schedule(), widths=(4, 20))],
    )


def _schedule() -> Panel:
    running = NOW.newest(catalog.RUNNING_SYNC_START)
    typical = NOW.newest(catalog.TYPICAL_DURATION)
    scheduled = NOW.newest(catalog.NEXT_SCHEDULED_SYNC)
    return table_of(
        "Runs under way, and next runs",
        About(
            "What runs and since when, beside how long it typically takes; when the next run is "
            "scheduled, and by how much one is overdue. *no schedule*: Braze lists no next run, as "
            "for event-driven and paused integrations; *schedule lost*: since when, if it had one "
            "within the last 7 days.",
            "time.",
            "*running for* far above *typically*; *overdue by* without anything running; *schedule "
            "lost* that nobody knows of.",
            "look at the query in the warehouse, or whether the integration is paused in Braze.",
        ),
        Rows("integration", KNOWN, "integration_id"),
        Label("workspace", "workspace", 130),
        Label("integration_name", "integration", link=INTEGRATION_PAGE),
        Column(
            "running",
            "running for",
            column(f"time() - {running}"),
            "s",
            120,
            absent="not running",
            decimals=1,
        ),
        Column("typical", "typically", column(typical), "s", 110, absent="not known", decimals=1),
        Column(
            "next",
            "next run",
            column(f"{scheduled} * 1000"),
            "dateTimeFromNow",
            140,
            absent="no schedule",
        ),
        Column(
            "lost",
            "schedule lost",
            column(f"{NOW.newest(catalog.SCHEDULE_LOST)} * 1000"),
            "dateTimeFromNow",
            120,
        ),
        Column("overdue", "overdue by", column(NOW.overdue), "s", 100, decimals=1),
        Column(
            "finished",
            "last finish ago",
            column(f"time() - {NOW.newest(catalog.LAST_SYNC_FINISH)}"),
            "s",
            130,
            absent="none known",
            decimals=1,
        ),
        sort="running for",
    )
