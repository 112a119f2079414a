"""The status as JSON values; `docs/status.schema.json` describes them.

Names follow the metrics: times are Unix seconds, durations are seconds, and null means unknown.
"""

import json
from collections.abc import Sequence
from typing import Any

from cdi_exporter import __version__
from cdi_exporter.model import Run
from cdi_exporter.web.choice import Choice
from cdi_exporter.web.status import IntegrationStatus, WorkspaceStatus

Document = dict[str, Any]


def status_json(workspaces: Sequence[WorkspaceStatus], choice: Choice, now: float) -> str:
    """The answer of `/api/v1/status`; `now` is Unix seconds."""
    document = {
        "version": __version__,
        "timestamp_seconds": now,
        "workspaces": [_workspace(each, choice) for each in workspaces],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def _workspace(workspace: WorkspaceStatus, choice: Choice) -> Document:
    snapshot = workspace.snapshot
    reason, text = snapshot.error, snapshot.problem or ""
    problem = {"reason": reason, "text": text, "advice": workspace.advice}
    return {
        "name": snapshot.name,
        "state": workspace.state,
        "role": snapshot.role,
        "problem": None if reason is None else problem,
        "list_readable": snapshot.list_readable,
        "last_refresh_timestamp_seconds": snapshot.last_refresh,
        "refresh_duration_seconds": snapshot.refresh_duration,
        "history_reads_pending": snapshot.pending_reads,
        "rate_limits": [
            {
                "endpoint": each.endpoint,
                "limit": each.limit,
                "remaining": each.remaining,
                "reset_timestamp_seconds": each.reset,
            }
            for each in snapshot.endpoints
        ],
        "counts": workspace.counts,
        "integrations": [_integration(each) for each in choice.apply(workspace.integrations)],
        "recent_requests": [
            {
                "timestamp_seconds": each.at,
                "endpoint": each.endpoint,
                "integration_id": each.integration_id,
                "code": each.code,
                "duration_seconds": each.seconds,
            }
            for each in workspace.exchanges
        ],
    }


def _integration(row: IntegrationStatus) -> Document:
    facts, last = row.facts, row.facts.last
    return {
        "id": facts.id,
        "name": facts.name,
        "type": facts.type,
        "status": facts.status,
        "warehouse": facts.warehouse,
        "concerns": [{"kind": concern, "text": text} for concern, text in row.concerns.items()],
        "last_sync": None
        if last is None
        else _run(last) | {"duration_seconds": last.duration, "failed_ratio": last.failed_ratio},
        "consecutive_failures": facts.consecutive_failures,
        "last_success_timestamp_seconds": facts.last_success,
        "last_success_age_seconds": row.success_age,
        "last_delivery_timestamp_seconds": facts.last_delivery,
        "last_delivery_age_seconds": row.delivery_age,
        "stale_after_seconds": facts.stale_after,
        "late": row.late,
        "syncs_running": facts.running,
        "running_sync_start_timestamp_seconds": facts.running_since,
        "running_sync_job_status": facts.running_job_status,
        "next_scheduled_sync_timestamp_seconds": facts.next_scheduled,
        "schedule_lost_timestamp_seconds": facts.schedule_lost,
        "typical_sync_interval_seconds": facts.typical_interval,
        "typical_sync_duration_seconds": facts.typical_duration,
        "typical_sync_rows": facts.typical_rows,
        "history_start_timestamp_seconds": facts.history_start,
        "watermark_timestamp_seconds": facts.watermark,
        "last_refresh_timestamp_seconds": row.shown.refreshed,
        "up": row.shown.up,
        "problem": row.shown.problem,
        "recent_syncs": [_run(run) for run in facts.recent],
    }


def _run(run: Run) -> Document:
    return {
        "status": run.status.value,
        "job_status": run.job_status,
        "start_timestamp_seconds": run.start,
        "finish_timestamp_seconds": run.finish,
        "rows_synced": run.rows_synced,
        "rows_failed": run.rows_failed,
    }
