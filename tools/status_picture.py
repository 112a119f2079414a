"""Draws docs/status-page.png: the status page of the demo in Debian's Chromium.

The demo runs in virtual time, so the same code gives the same page:
    python -m tools.status_picture
"""

import io
import math
import shutil
from pathlib import Path

from PIL import Image
from playwright.sync_api import Route, sync_playwright

from cdi_exporter import logs
from cdi_exporter.config.settings import Refresh
from cdi_exporter.web.routes import STATIC
from tests import virtual
from tests.harness import rig, workspace
from tests.simulator import Fault, FaultKind, demo_workspace

TARGET = Path(__file__).parents[1] / "docs" / "status-page.png"
WIDTH = 1280
COLOURS = 256
SCRAPE_EVERY = 5.0
ANSWER = 0.18
"""The duration of each response in seconds, as over a network."""

SHOWN_AFTER = 31 * 60.0
"""Seconds after the demo's start, when each kind of problem has appeared."""

HOME = "http://demo.invalid/"


async def demo_page() -> str:
    """The status page after the demo has run for a while."""
    clock = virtual.virtual_clock()
    simulator = demo_workspace(1, clock=clock.wall)
    simulator.faults.append(Fault(0, math.inf, FaultKind.SLOW, delay=ANSWER))
    config = workspace("demo", refresh=Refresh(min_interval=2.0))
    async with rig(simulator, workspaces=[config], clock=clock) as demo:
        end = clock.monotonic() + SHOWN_AFTER
        while clock.monotonic() < end:
            await clock.sleep(SCRAPE_EVERY)
            await demo.scrape()
        return (await demo.client.get("/")).text


def photograph(html: str) -> bytes:
    """The whole page as PNG, in the light theme."""

    def answer(route: Route) -> None:
        path = route.request.url.removeprefix(HOME).partition("?")[0]
        if path:
            route.fulfill(path=STATIC / Path(path).name)
        else:
            route.fulfill(body=html, content_type="text/html; charset=utf-8")

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": 800}, color_scheme="light")
        page.route("**/*", answer)
        page.goto(HOME)
        picture = page.screenshot(full_page=True)
        browser.close()
    return picture


def chromium() -> str:
    """The path of Debian's browser."""
    path = shutil.which("chromium")
    if path is None:
        message = "chromium is missing: run make debian-packages"
        raise SystemExit(message)
    return path


def with_palette(drawn: Image.Image) -> Image.Image:
    """The picture with a palette of its most frequent colours, which makes it small."""
    every = drawn.getcolors(drawn.width * drawn.height) or []
    frequent = sorted(every, reverse=True)[:COLOURS]
    palette = Image.new("P", (1, 1))
    palette.putpalette(
        [part for _, colour in frequent if isinstance(colour, tuple) for part in colour]
    )
    return drawn.quantize(palette=palette, dither=Image.Dither.NONE)


def main() -> None:
    """Write the picture."""
    logs.configure("warn", "logfmt")
    drawn = Image.open(io.BytesIO(photograph(virtual.run(demo_page())))).convert("RGB")
    small = with_palette(drawn)
    small.save(TARGET, optimize=True)
    print(f"{TARGET.name}: {small.width} x {small.height}, {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
