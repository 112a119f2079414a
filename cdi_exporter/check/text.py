"""The report for people: a table, findings, a verdict; it can be read without colours."""

from collections.abc import Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from cdi_exporter.check.report import (
    CheckedDatabase,
    CheckedIntegration,
    CheckedWorkspace,
    Cost,
    Finding,
    Granted,
    LastRun,
    Level,
    Report,
)
from cdi_exporter.config.mistakes import one_line
from cdi_exporter.model import FAILURES, Status
from cdi_exporter.wording import GLYPHS, count, duration, things

LONGEST = 100
"""Characters of a name from the API that are shown."""

LONGEST_TEXT = 1_000

INDENT = 2
"""Columns before everything that belongs to a workspace."""

_LEVELS = {
    Level.ERROR: ("✖ error", "bold red"),
    Level.WARNING: ("! warning", "bold yellow"),
    Level.NOTE: ("· note", "bold"),
}
_GRANTED = {
    Granted.YES: ("✔ yes", "green"),
    Granted.LIKELY: ("✔ probably", "green"),
    Granted.NO: ("✖ no", "red"),
    Granted.UNKNOWN: ("? unknown", "yellow"),
}
_ALLOWED = {
    True: _GRANTED[Granted.YES],
    False: _GRANTED[Granted.NO],
    None: ("- no tables yet", ""),
}
_WORKS = {
    True: ("✔ works", "green"),
    False: ("✖ unknown to Braze", "red"),
    None: ("? unknown", "yellow"),
}


def show(report: Report, console: Console) -> None:
    """Print a report."""
    for workspace in report.workspaces:
        console.print(_workspace(workspace, report, console), soft_wrap=False)
        console.print()
    if report.database:
        console.print(_database(report.database), soft_wrap=False)
        console.print()
    console.print(_verdict(report))


def _workspace(workspace: CheckedWorkspace, report: Report, console: Console) -> RenderableType:
    cluster = f" ({workspace.cluster})" if workspace.cluster else ""
    title = Text.assemble((_plain(workspace.workspace), "bold"), f"  {workspace.endpoint}{cluster}")
    parts: list[RenderableType] = []
    if workspace.permissions is not None:
        parts += [_facts(workspace, workspace.permissions), Text()]
    if workspace.watched:
        table = _integrations(workspace.watched, report.timestamp_seconds, narrow=False)
        if console.measure(table).maximum + INDENT > console.width:
            table = _integrations(workspace.watched, report.timestamp_seconds, narrow=True)
        parts += [table, Text()]
    if workspace.cost:
        parts += [_cost(workspace.cost, report.scrape_interval_seconds), Text()]
    parts += [_finding(each) for each in workspace.findings]
    while parts and isinstance(parts[-1], Text) and not parts[-1]:
        parts.pop()
    return Group(title, Padding(Group(*parts), (0, 0, 0, INDENT), expand=False))


def _facts(workspace: CheckedWorkspace, permissions: dict[str, Granted]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("key", Text(*_WORKS[workspace.key_works]))
    for name, granted in permissions.items():
        table.add_row(name, Text(*_GRANTED[granted]))
    table.add_row("integrations", _counted(workspace))
    return table


def _counted(workspace: CheckedWorkspace) -> str:
    watched = len(workspace.watched)
    left_out = len(workspace.integrations) - watched
    if not workspace.integrations:
        return "none" if workspace.list_complete else "? unknown"
    shown = f"{count(watched)} watched"
    return f"{shown}, {count(left_out)} excluded by the configuration" if left_out else shown


def _integrations(integrations: Sequence[CheckedIntegration], now: float, *, narrow: bool) -> Table:
    """A row for each; if `narrow`, status and run in progress have lines below the name."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    table.add_column("INTEGRATION, LAST RUN" if narrow else "INTEGRATION", overflow="fold")
    if not narrow:
        table.add_column("LAST RUN", no_wrap=True)
    for head in ("AGO", "TOOK", "ROWS", "FAILED"):
        table.add_column(head, justify="right", no_wrap=True)
    under_way = any(each.running_start_timestamp_seconds is not None for each in integrations)
    if under_way and not narrow:
        table.add_column("RUNNING", no_wrap=True)
    for each in integrations:
        name, running = Text(_plain(each.integration_name[:LONGEST])), _running(each, now)
        status, *facts = _last_run(each, now)
        if narrow:
            table.add_row(name)
            table.add_row(Text.assemble("  ", status), *facts)
            if running:
                table.add_row(Text(f"  {running} in progress"))
        else:
            table.add_row(name, status, *facts, *([Text(running)] if running else []))
    return table


def _last_run(integration: CheckedIntegration, now: float) -> tuple[Text | str, ...]:
    """Status, age, duration, rows synced and failed; the age of its start if that is all."""
    last = integration.last_run
    if last is None:
        why = Text("? unreadable", "red") if integration.problem else "no known runs"
        return why, "", "", "", ""
    at = last.finish_timestamp_seconds or last.start_timestamp_seconds
    return (
        Text(f"{GLYPHS[last.status]} {_word(last)}", _style(last.status)),
        "" if at is None else _coarse(now - at),
        "" if last.duration_seconds is None else duration(last.duration_seconds),
        "" if last.rows_synced is None else count(last.rows_synced),
        "" if last.rows_failed is None else count(last.rows_failed),
    )


def _word(last: LastRun) -> str:
    """The status; if it is unknown, Braze's own word for it."""
    return _plain(last.job_status) if last.job_status else last.status.replace("_", " ")


def _running(integration: CheckedIntegration, now: float) -> str:
    since, word = integration.running_start_timestamp_seconds, integration.running_job_status
    if since is None:
        return ""
    return f"{GLYPHS[Status.RUNNING]} {_coarse(now - since)}" + (f" {_plain(word)}" if word else "")


def _coarse(seconds: float) -> str:
    """A duration in whole minutes if it is longer than one."""
    return duration(max(0, 60 * round(seconds / 60) if seconds >= 60 else round(seconds)))


def _style(status: Status) -> str:
    if status in FAILURES:
        return "red"
    return "green" if status is Status.SUCCESS else "yellow"


def _cost(cost: Cost, scrape_interval: float) -> Text:
    lists, histories = cost.integrations, cost.job_sync_status
    shows = (
        f"A finished run appears within {duration(cost.refresh_interval_seconds)}."
        if cost.keeps_up or histories.requests_per_minute <= histories.budget_per_minute
        else "Finished runs appear late."
    )
    assumed = ""
    if cost.intervals_assumed:
        of = things(cost.intervals_assumed, "integration")
        assumed = f" The time between runs is assumed for {of}."
    return Text(
        f"Scraped every {duration(scrape_interval)}, watching uses about "
        f"{lists.requests_per_minute:.1f} of {lists.budget_per_minute} list requests and "
        f"{histories.requests_per_minute:.1f} of {histories.budget_per_minute} history requests "
        f"a minute. {shows}{assumed}"
    )


def _finding(finding: Finding) -> Table:
    label, style = _LEVELS[finding.level]
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True, width=9)
    table.add_column(overflow="fold")
    table.add_row(Text(label, style), Text(_plain(finding.text)))
    if finding.advice:
        table.add_row("", Text(_plain(finding.advice), "dim"))
    return table


def _database(database: CheckedDatabase) -> RenderableType:
    version = f"  PostgreSQL {_plain(database.server_version)}" if database.server_version else ""
    title = Text.assemble(("database", "bold"), version)
    parts: list[RenderableType] = []
    if database.reachable:
        parts.append(_database_facts(database))
        if database.findings:
            parts.append(Text())
    parts += [_finding(each) for each in database.findings]
    return Group(title, Padding(Group(*parts), (0, 0, 0, INDENT), expand=False))


def _database_facts(database: CheckedDatabase) -> Table:
    found, known = database.schema_version, database.known_schema_version
    table = Table.grid(padding=(0, 2))
    table.add_row(
        "schema",
        "? unknown"
        if found is None
        else ("none" if found == 0 else f"version {found}")
        + ("" if found == known else f" (this exporter knows version {known})"),
    )
    permissions = {
        "read": database.may_read,
        "write": database.may_write,
        "create tables": database.may_create,
    }
    for name, granted in permissions.items():
        table.add_row(name, Text(*_ALLOWED[granted]))
    for each in database.leaders:
        leader = "none" if each.leader is None else _plain(each.leader)
        table.add_row(f"leader of {_plain(each.workspace)}", Text(leader))
    return table


def _verdict(report: Report) -> Text:
    failing = [each.workspace for each in report.workspaces if not each.ok]
    if report.database and not report.database.ok:
        failing.append("the database")
    if failing:
        return Text(f"✖ not working: {_plain(', '.join(failing))}", "bold red")
    workspaces = things(len(report.workspaces), "workspace")
    if report.offline:
        return Text(
            f"✔ the configuration is valid: {workspaces}. Braze was not contacted.", "bold green"
        )
    return Text(f"✔ works: {workspaces}", "bold green")


def _plain(text: str) -> str:
    """Text from the API or the configuration, without control characters and of bounded length."""
    return one_line(text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…")
