"""Question 3: how many rows did not reach Braze."""

from cdi_exporter import catalog
from tools.dashboards.layout import Section, line
from tools.dashboards.panels import NONE, About, bars, tile
from tools.dashboards.promql import LIMITS, rise, share_failed
from tools.dashboards.statuses import BLUE, VERMILION, YELLOW


def loss() -> Section:
    """In all, and by integration."""
    failed, synced = rise(catalog.ROWS_FAILED), rise(catalog.ROWS_SYNCED)
    total = tile(
        "Rows not written",
        About(
            "Rows that Braze refused in runs that finished within the time range.",
            "rows.",
            "any number of rows that the campaign team does not know of.",
            "find the integration beside; see the errors of its runs in Braze.",
        ),
        f"sum({failed})",
        colours=((None, BLUE), (1, YELLOW)),
        mappings=[NONE],
    )
    share = tile(
        "Share not written",
        About(
            "Rows that Braze refused, of all rows of the time range. Without any row there is "
            "nothing to show.",
            "share of the rows.",
            "more than a few percent.",
            "find the integration beside; see the errors of its runs in Braze.",
        ),
        share_failed(f"sum({failed})", f"sum({synced})"),
        unit="percentunit",
        colours=((None, BLUE), (0.001, YELLOW), (LIMITS.failed_share, VERMILION)),
    )
    most = bars(
        "Most rows not written, top 10",
        About(
            "The integrations that lost most rows within the time range.",
            "rows.",
            "a bar that was not there yesterday.",
            "see the errors of its runs in Braze; correct these rows at their source.",
        ),
        "short",
        f"topk(10, {failed})",
        "{{workspace}} / {{integration_name}}",
        (None, BLUE),
        (1, YELLOW),
    )
    shares = bars(
        "Largest share not written, top 10",
        About(
            "The integrations that lost the largest share of their rows within the time range.",
            "share of the integration's rows.",
            "100 %: nothing arrives, though runs may end as *partial*.",
            "see the errors of its runs in Braze; a changed column type loses every row.",
        ),
        "percentunit",
        f"topk(10,\n{share_failed(failed, synced)}\n)",
        "{{workspace}} / {{integration_name}}",
        (None, BLUE),
        (0.001, YELLOW),
        (LIMITS.failed_share, VERMILION),
    ).max(1)
    return Section(
        "How many rows did not reach Braze?",
        [line(8, (total, share), most, shares, widths=(4, 10, 10))],
    )
