"""Prints the report for people: tables, findings and a verdict, readable without colours."""

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
    Level,
    Report,
)
from cdi_exporter.config.mistakes import one_line
from cdi_exporter.model import FAILURES, Status
from cdi_exporter.wording import GLYPHS, count, duration, things

LONGEST = 100
"""Characters of an integration's name that are shown, so that a row stays readable."""

LONGEST_TEXT = 1_000
"""Characters of any other text from the API or the configuration that are shown."""

INDENT = 2
"""Columns before the lines below the name of a workspace, or below `database`."""

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
        console.print(_workspace(workspace, report, console))
        console.print()
    if report.database:
        console.print(_database(report.database))
        console.print()
    console.print(_verdict(report))


def _workspace(workspace: CheckedWorkspace, report: Report, console: Console) -> RenderableType:
    cluster = f" ({workspace.cluster})" if workspace.cluster else ""
    title = Text.assemble((_plain(workspace.workspace), "bold"), f"  {workspace.endpoint}{cluster}")
    parts: list[RenderableType] = []
    if workspace.permissions is not None:
        parts.append(_facts(workspace, workspace.permissions))
    if workspace.watched:
        table = _integrations(workspace.watched, report.timestamp_seconds, narrow=False)
        if console.measure(table).maximum + INDENT > console.width:
            table = _integrations(workspace.watched, report.timestamp_seconds, narrow=True)
        parts.append(table)
    if workspace.cost:
        parts.append(_cost(workspace.cost, report.scrape_interval_seconds))
    return _section(title, parts, workspace.findings)


def _section(
    title: Text, parts: Sequence[RenderableType], findings: Sequence[Finding]
) -> RenderableType:
    """A title, and below it the parts and the findings with blank lines between them."""
    lines: list[RenderableType] = []
    for part in parts:
        lines += [part, Text()]
    for finding in findings:
        label, style = _LEVELS[finding.level]
        table = Table.grid(padding=(0, 2))
        table.add_column(no_wrap=True, width=9)
        table.add_column(overflow="fold")
        table.add_row(Text(label, style), Text(_plain(finding.text)))
        if finding.advice:
            table.add_row("", Text(_plain(finding.advice), "dim"))
        lines.append(table)
    if not findings:
        lines = lines[:-1]
    return Group(title, Padding(Group(*lines), (0, 0, 0, INDENT), expand=False))


def _facts(workspace: CheckedWorkspace, permissions: dict[str, Granted]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_row("key", Text(*_WORKS[workspace.key_works]))
    for name, granted in permissions.items():
        table.add_row(name, Text(*_GRANTED[granted]))
    counted = "none" if workspace.list_complete else "? unknown"
    if workspace.integrations:
        excluded = len(workspace.integrations) - len(workspace.watched)
        counted = f"{count(len(workspace.watched))} watched"
        counted += f", {count(excluded)} excluded by the configuration" if excluded else ""
    table.add_row("integrations", counted)
    return table


def _integrations(integrations: Sequence[CheckedIntegration], now: float, *, narrow: bool) -> Table:
    """One row per integration. A narrow table has the status in a line below the name."""
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    table.add_column("INTEGRATION, LAST RUN" if narrow else "INTEGRATION", overflow="fold")
    if not narrow:
        table.add_column("LAST RUN", no_wrap=True)
    for head in ("AGO", "TOOK", "ROWS", "FAILED"):
        table.add_column(head, justify="right", no_wrap=True)
    running = any(each.running_start_timestamp_seconds is not None for each in integrations)
    if running and not narrow:
        table.add_column("RUNNING", no_wrap=True)
    for each in integrations:
        name, in_progress = Text(_plain(each.integration_name[:LONGEST])), _running(each, now)
        status, *facts = _last_run(each, now)
        if narrow:
            table.add_row(name)
            table.add_row(Text.assemble("  ", status), *facts)
            if in_progress:
                table.add_row(Text(f"  {in_progress} in progress"))
        else:
            table.add_row(name, status, *facts, *([Text(in_progress)] if in_progress else []))
    return table


def _last_run(integration: CheckedIntegration, now: float) -> tuple[Text | str, ...]:
    """The cells of the last run: status, age, duration, rows synced and rows failed."""
    last = integration.last_run
    if last is None:
        why = Text("? unreadable", "red") if integration.problem else "no known runs"
        return why, "", "", "", ""
    word = _plain(last.job_status) if last.job_status else last.status.replace("_", " ")
    style = "green" if last.status is Status.SUCCESS else "yellow"
    if last.status in FAILURES:
        style = "red"
    at = last.finish_timestamp_seconds or last.start_timestamp_seconds
    return (
        Text(f"{GLYPHS[last.status]} {word}", style),
        "" if at is None else _coarse(now - at),
        "" if last.duration_seconds is None else duration(last.duration_seconds),
        "" if last.rows_synced is None else count(last.rows_synced),
        "" if last.rows_failed is None else count(last.rows_failed),
    )


def _running(integration: CheckedIntegration, now: float) -> str:
    since, word = integration.running_start_timestamp_seconds, integration.running_job_status
    if since is None:
        return ""
    return f"{GLYPHS[Status.RUNNING]} {_coarse(now - since)}" + (f" {_plain(word)}" if word else "")


def _coarse(seconds: float) -> str:
    """A duration, rounded to whole minutes if it is longer than a minute."""
    return duration(max(0, 60 * round(seconds / 60) if seconds >= 60 else round(seconds)))


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


def _database(database: CheckedDatabase) -> RenderableType:
    version = f"  PostgreSQL {_plain(database.server_version)}" if database.server_version else ""
    title = Text.assemble(("database", "bold"), version)
    if not database.reachable:
        return _section(title, [], database.findings)
    found, known = database.schema_version, database.known_schema_version
    schema = f"version {found}" if found else "none"
    schema += "" if found == known else f" (this exporter knows version {known})"
    table = Table.grid(padding=(0, 2))
    table.add_row("schema", "? unknown" if found is None else schema)
    table.add_row("read", Text(*_ALLOWED[database.may_read]))
    table.add_row("write", Text(*_ALLOWED[database.may_write]))
    table.add_row("create tables", Text(*_ALLOWED[database.may_create]))
    for each in database.leaders:
        leader = "none" if each.leader is None else _plain(each.leader)
        table.add_row(f"leader of {_plain(each.workspace)}", Text(leader))
    return _section(title, [table], database.findings)


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
    """Text from the API or the configuration, shortened and without control characters."""
    return one_line(text if len(text) <= LONGEST_TEXT else text[:LONGEST_TEXT] + "…")
