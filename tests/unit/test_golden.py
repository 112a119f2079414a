"""Golden cases: JSON from Braze and the exposition that it must produce, one folder per case.

Each folder is named after the fact that it shows. It holds the responses of the API:
`integrations.json`, and `history-ID.json` for each integration. The Link header of a page is in
a file with the same name and the suffix `.link`. The page it links to is `…-CURSOR.json`.
A missing list is answered with 403, a missing history with 404. Each `stepN` folder replaces
files and is scraped `STEP` seconds after the previous step.

`expected.txt` has the samples of one scrape: those of `catalog.PER_INTEGRATION`, and the count
of invalid items. It has no HELP and TYPE lines, which the metrics reference shows. A step without
`expected.txt` is not compared, because reads may still be under way. The last step always has one.
The first scrape is at 2026-09-21T14:13:20Z (1.79e+09). `GOLDEN=write` writes the expected files
again; read the changes before you commit them.
"""

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest

from cdi_exporter import catalog
from cdi_exporter.app import Exporter
from cdi_exporter.config import Settings, load_file
from cdi_exporter.web.routes import WebOptions, create_app
from tests.harness import SCRAPER, inline, workspace
from tests.simulation.direct import DirectTransport
from tests.virtual import run, virtual_clock

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CASES = sorted(path for path in GOLDEN.iterdir() if path.is_dir())
STEP = 60.0
SUMMARY_ENDS = ("_sum", "_count")
SHOWN = {metric.name for metric in (*catalog.PER_INTEGRATION, catalog.API_INVALID_ITEMS)}

Send = Callable[[dict[str, Any]], Awaitable[None]]


class Answers:
    """An ASGI app that answers with the files of a case. Files of the latest step come first."""

    def __init__(self) -> None:
        self.folders: list[Path] = []

    def add(self, folder: Path) -> None:
        """Add the folder of the next step."""
        self.folders.insert(0, folder)

    async def __call__(self, scope: dict[str, Any], receive: object, send: Send) -> None:
        """Answer one request."""
        status, headers, body = self._answer(scope["raw_path"].decode(), scope["query_string"])
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    def _answer(self, path: str, query: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        match path.strip("/").split("/"):
            case ["cdi", "integrations"]:
                name, missing = "integrations", 403
            case ["cdi", "integrations", identifier, "job_sync_status"]:
                name, missing = f"history-{identifier}", 404
            case _:
                raise AssertionError(path)
        cursor = parse_qs(query.decode()).get("cursor")
        if cursor is not None:
            name, missing = f"{name}-{cursor[0]}", 400
        folder = next((each for each in self.folders if (each / f"{name}.json").exists()), None)
        if folder is None:
            return missing, [], b""
        link = folder / f"{name}.link"
        headers = [(b"link", link.read_bytes().strip())] if link.exists() else []
        return 200, headers, (folder / f"{name}.json").read_bytes()


def steps(case: Path) -> list[Path]:
    """The folders of a case, in the order in which they are scraped."""
    return [case, *sorted(case.glob("step*"))]


def settings(case: Path) -> Settings:
    """The configuration of the case. By default one workspace discovers its integrations."""
    path = case / "config.yml"
    return load_file(str(path), {}) if path.exists() else Settings((workspace("golden"),))


def family(line: str) -> str:
    """The name of the metric of a sample line."""
    name = line.partition("{")[0]
    ends = (name.removesuffix(end) for end in SUMMARY_ENDS)
    return next((each for each in ends if each in SHOWN), name)


def golden_part(page: str) -> str:
    """The lines of a page that `expected.txt` contains."""
    lines = (line for line in page.split("\n") if not line.startswith("#"))
    return "".join(f"{line}\n" for line in lines if family(line) in SHOWN)


async def scrapes(case: Path) -> list[str]:
    """The golden part of each step's scrape."""
    answers, clock = Answers(), virtual_clock()
    exporter = Exporter(
        settings(case), clock, transport=lambda _: DirectTransport(answers), offload=inline
    )
    app = DirectTransport(create_app(exporter, WebOptions()))
    pages = []
    async with httpx.AsyncClient(
        transport=app, base_url="http://exporter.test", headers=SCRAPER
    ) as client:
        for number, folder in enumerate(steps(case)):
            answers.add(folder)
            await asyncio.sleep(number * STEP - asyncio.get_running_loop().time())
            response = await client.get("/probe", params={"workspace": "golden"})
            assert response.status_code == 200, response.text
            pages.append(golden_part(response.text))
    await exporter.close()
    return pages


def compare(folders: Sequence[Path], pages: Sequence[str]) -> None:
    for folder, page in zip(folders, pages, strict=True):
        expected = folder / "expected.txt"
        if not expected.exists() and folder != folders[-1]:
            continue
        if os.environ.get("GOLDEN") == "write":
            expected.write_bytes(page.encode())
        assert page == expected.read_bytes().decode(), f"{folder.relative_to(GOLDEN)} differs"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_golden_case(case: Path) -> None:
    """The responses of this case produce exactly the expected samples."""
    compare(steps(case), run(scrapes(case)))
