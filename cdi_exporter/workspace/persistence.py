"""What of one workspace outlives the process: handed to the journal, told once committed."""

from datetime import UTC, datetime
from functools import partial

import structlog

from cdi_exporter.model import Run, in_future
from cdi_exporter.state import Change, Memory, StateError, unreadable
from cdi_exporter.workspace.api import Api
from cdi_exporter.workspace.roster import News, Roster
from cdi_exporter.workspace.tracked import Tracked

log = structlog.get_logger()


class Persistence:
    """The journal's side of one workspace."""

    def __init__(self, name: str, roster: Roster, api: Api, journal: Memory) -> None:
        self.name = name
        self._roster, self._api, self._journal = roster, api, journal
        self._counted: dict[str, list[Run]] = {}
        """Runs counted, but not committed and told yet."""
        self._changed: set[str] = set()
        """Integrations that the journal has to write."""
        self._closed = False

    @property
    def list_read(self) -> bool:
        """Whether the whole list was ever read."""
        return self._roster.list_read

    @property
    def forgotten(self) -> float | None:
        """When the last integration left that is forgotten."""
        return self._roster.forgotten

    def restore(self) -> None:
        """Begin with what the journal knows; raises StateError where that is unreadable."""
        stored = self._journal.load(self.name)
        for row in stored.rows:
            if not row.id.strip() or row.id in (".", ".."):
                problem = f"integration {row.id!r}: id is not an integration ID"
                raise StateError(unreadable(self.name, problem))
        try:
            self._roster.restore(stored, self._api.now(), self._api.wall())
        except ValueError as error:
            raise StateError(unreadable(self.name, f"integration {error}")) from error
        for tracked in self._roster:
            tracked.watermark_ahead = self._is_ahead(tracked)
        self._journal.changed(self)

    def note(self, tracked: Tracked) -> None:
        """Have the journal write what changed of an integration."""
        if tracked.dirty and self._journal.keeps and not self._closed:
            self._changed.add(tracked.id)
            self._journal.changed(self)

    def note_roster(self) -> None:
        """Have the journal write who came and went."""
        self._journal.changed(self)

    def finished(self, tracked: Tracked, counted: list[Run]) -> None:
        """A page was read: tell of the runs that it counted, once they cannot count again."""
        self._watch_watermark(tracked)
        if self._journal.keeps and counted:
            self._counted.setdefault(tracked.id, []).extend(counted)
            return
        for run in counted:
            self._tell(tracked, run)

    def _watch_watermark(self, tracked: Tracked) -> None:
        """Warn once when the watermark is in the future: Braze syncs nothing older any more."""
        before, tracked.watermark_ahead = tracked.watermark_ahead, self._is_ahead(tracked)
        if tracked.watermark_ahead and not before:
            log.warning(
                "watermark in the future",
                workspace=self.name,
                integration_id=tracked.id,
                integration_name=tracked.name,
                watermark=_iso(tracked.ledger.known.watermark),
            )

    def _is_ahead(self, tracked: Tracked) -> bool:
        return in_future(tracked.ledger.known.watermark, self._api.server())

    def changes(self) -> list[Change]:
        """What the journal has to write; asked for once, and again if it raises."""
        news = self._roster.changed(self._changed, self._api.now(), self._api.wall())
        self._changed = set()
        return [self._change(each) for each in news]

    async def settle(self, deadline: float) -> None:
        """Wait, at most until then (loop seconds), for counters to be committed."""
        await self._journal.settle(deadline, lambda: any(one.behind for one in self._roster))

    def close(self) -> None:
        """Note nothing more."""
        self._closed = True

    def leave(self) -> None:
        """Hand over what is left to be written."""
        self._journal.leave(self)

    def _change(self, news: News) -> Change:
        counted = self._counted.get(news.id, [])[:]

        def committed() -> None:
            if news.tracked is None or news.record is None:
                return
            news.tracked.committed(news.record)
            untold = self._counted.pop(news.id, [])
            told = [run for run in untold if any(run is each for each in counted)]
            if len(told) < len(untold):
                self._counted[news.id] = untold[len(told) :]
            for run in told:
                self._tell(news.tracked, run)

        return Change((self.name, news.id), partial(news.row, self.name), committed)

    def _tell(self, tracked: Tracked, run: Run) -> None:
        facts = {
            "workspace": self.name,
            "integration_id": tracked.id,
            "integration_name": tracked.name,
            "status": run.status.value,
            "job_status": run.job_status,
            "rows_synced": run.rows_synced,
            "rows_failed": run.rows_failed,
            "duration_seconds": run.duration,
            "finished_at": _iso(run.finish),
        }
        log.info("sync finished", **{key: fact for key, fact in facts.items() if fact is not None})


def _iso(time: float | None) -> str | None:
    return None if time is None else datetime.fromtimestamp(time, UTC).isoformat()
