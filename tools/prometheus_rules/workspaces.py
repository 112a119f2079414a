"""Alerts on a workspace and the Braze API."""

from cdi_exporter import catalog
from tools.prometheus_rules.conditions import Conditions
from tools.prometheus_rules.facts import OF_WORKSPACE, TIME, Facts
from tools.prometheus_rules.promql import both, bracketed, by, highest, indented, newest, number
from tools.prometheus_rules.rule import Alert, Group
from tools.prometheus_rules.thresholds import Thresholds

REFUSED = 'reason=~"unauthorized|forbidden"'


def workspace_alerts(limits: Thresholds) -> Group:
    """A workspace cannot be read, or soon."""
    rules = (
        _unreachable(limits),
        _unauthorized(limits),
        _list_unreadable(limits),
        _unwatched(limits),
        _rate_limit(limits),
    )
    return Group("braze-cdi-workspaces", "Workspaces and the Braze API", rules)


def _refused(window: str) -> str:
    return f"{highest(catalog.REFRESH_ERROR, window, REFUSED, catalog.WORKSPACE)} == 1"


def _other_error(window: str) -> str:
    others = 'reason!~"unauthorized|forbidden"'
    return f"{highest(catalog.REFRESH_ERROR, window, others, catalog.WORKSPACE)} == 1"


def _since(limits: Thresholds) -> str:
    return Facts(limits).of_workspace(
        catalog.LAST_REFRESH, f"Last complete refresh at {TIME}.", "It was never read completely."
    )


def _unreachable(limits: Thresholds) -> Alert:
    never_up = f"{highest(catalog.UP, limits.api_window)} == 0"
    # Refusals amid other errors are no matter of the key alone.
    refused = f"{_refused(limits.lookback)}\nunless\n  {_other_error(limits.lookback)}"
    unread = Conditions(limits).unread
    return Alert(
        name="ApiUnreachable",
        severity="critical",
        expr=f"{bracketed(both('or', never_up, unread))}\n"
        f"unless on (workspace)\n{indented(bracketed(refused))}",
        held="5m",
        summary="Braze workspace {{ $labels.workspace }} cannot be read: its syncs go unseen",
        description="Workspace {{ $labels.workspace }}: "
        f"{Facts(limits).reason()}. {_since(limits)}",
        action="Look at Braze's status page and at the exporter's status page, which tells the "
        "problem; then at network, DNS and proxy.",
        dashboard=OF_WORKSPACE,
        means="No refresh of the workspace got through for a while, for another reason than "
        "its key; or none has ended for an hour.",
    )


def _unauthorized(limits: Thresholds) -> Alert:
    up = f"{highest(catalog.UP, limits.lookback)} == 1"
    return Alert(
        name="ApiUnauthorized",
        severity="critical",
        expr=f"{_refused(limits.lookback)}\nunless on (workspace)\n  {up}",
        held="10m",
        summary="Braze refuses the API key of workspace {{ $labels.workspace }}: "
        "its syncs go unseen",
        description="Workspace {{ $labels.workspace }}: "
        f"{Facts(limits).reason()}. {_since(limits)}",
        action="Check in Braze under Settings, APIs and Identifiers that the key exists, allows "
        "the exporter's address, and has cdi.integration_list and cdi.integration_job_status.",
        dashboard=OF_WORKSPACE,
        means="Braze answers 401 or 403: the key was revoked, replaced, or lacks a permission. The "
        "web page of a proxy that answers 403 is another matter: see `ApiUnreachable`.",
    )


def _list_unreadable(limits: Thresholds) -> Alert:
    listed = f"{highest(catalog.LIST_READABLE, limits.lookback)} == 0"
    up = f"{highest(catalog.UP, limits.lookback)} == 1"
    return Alert(
        name="ListUnreadable",
        severity="warning",
        expr=f"{listed}\nand on (workspace)\n  {up}",
        held="15m",
        keep="15m",
        summary="The list of integrations of Braze workspace {{ $labels.workspace }} cannot be "
        "read: new integrations are not discovered",
        description="Workspace {{ $labels.workspace }}: the histories of known integrations are "
        "still read, but the list of integrations cannot be read. New, renamed and deleted "
        f"integrations and changed schedules go unnoticed.{Facts(limits).list_answer()}",
        action="See the exporter's log for the reason. If it is 403, give the key the permission "
        "cdi.integration_list; otherwise look at Braze's status page.",
        dashboard=OF_WORKSPACE,
        means="The list of integrations cannot be read, although histories can.",
    )


def _unwatched(limits: Thresholds) -> Alert:
    before = newest(catalog.UP, limits.unwatched_within)
    now = newest(catalog.UP, limits.lookback)
    scraped = f'max (last_over_time(up{{job="{limits.job}"}}[{limits.lookback}])) == 1'
    return Alert(
        name="WorkspaceUnwatched",
        severity="critical",
        expr=f"{before}\nunless on (workspace)\n  {now}\nand on ()\n  {scraped}",
        held="10m",
        summary="Braze workspace {{ $labels.workspace }} is no longer watched: its syncs go unseen",
        description="Workspace {{ $labels.workspace }}: no exporter has told of it for 15 "
        "minutes, though one answers Prometheus.",
        action="See in Prometheus under Status, Targets which target of the exporter fails or "
        "is missing, and whether the exporter's configuration still has the workspace.",
        dashboard=OF_WORKSPACE,
        means=f"A workspace that was read within the last {limits.unwatched_within} is read by "
        "no exporter any more, though one is up: a target fails or is gone, or the workspace "
        "left the configuration.",
    )


def _rate_limit(limits: Thresholds) -> Alert:
    remaining = highest(catalog.API_RATE_LIMIT_REMAINING, limits.lookback)
    limit = newest(catalog.API_RATE_LIMIT, limits.lookback)
    reset = newest(catalog.API_RATE_LIMIT_RESET, limits.lookback)
    share = f"{both('/', remaining, limit)}\n< {number(limits.rate_limit_share)}"
    # What Braze said long ago tells nothing of now; 300 s cover clocks that differ.
    stale = f"{reset} < time() - 300"
    return Alert(
        name="RateLimitNearlySpent",
        severity="warning",
        expr=f"{share}\nunless on {by(catalog.ENDPOINT)}\n  {stale}",
        held="15m",
        keep="10m",
        summary="The Braze API rate limit of workspace {{ $labels.workspace }} is nearly spent",
        description="Workspace {{ $labels.workspace }}, endpoint {{ $labels.endpoint }}: at best "
        f"{{{{ $value | humanizePercentage }}}} of the rate limit was left within "
        f"the last {limits.lookback}. The exporter leaves a fifth of it free by default: "
        "something else uses the rest.",
        action="Find what else asks this endpoint with the same workspace's keys; or lower "
        "refresh.rate_limit_share in the exporter's configuration.",
        dashboard=OF_WORKSPACE,
        means="Little is left of the API's rate limit, minute after minute.",
    )
