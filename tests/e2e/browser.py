"""Headless Chromium, which must report no problem and send requests only to the exporter.

The accessibility rules are those of axe-core, from the package axe-playwright-python.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

from axe_playwright_python.sync_playwright import (  # type: ignore[import-untyped]  # no py.typed
    Axe,
)
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.e2e.processes import PATIENCE, program

WIDE, PHONE = 1280, 390
Theme = Literal["light", "dark"]
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
_LISTEN = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (each) =>
  window.violations.push(`${each.violatedDirective} ${each.blockedURI}`));
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser, without its sandbox: that needs privileges that a container does not have."""
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program("chromium"), args=["--no-sandbox"]
        )
        yield browser
        browser.close()


class Window:
    """A window that shows one page and records the problems that the browser reports."""

    def __init__(self, page: Page, home: str) -> None:
        self.page, self.home = page, home
        self.complaints: list[str] = []
        self.requested: list[str] = []
        """The URLs of all requests."""
        page.add_init_script(_LISTEN)
        page.on("console", lambda each: self._complain(each.type, each.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda each: self._complain("error", f"dialog {each.message}"))
        page.on("request", lambda each: self.requested.append(each.url))

    def _complain(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def go(self, path: str = "/") -> Page:
        """Open a path of the exporter."""
        response = self.page.goto(self.home + path)
        assert response is not None
        assert response.status == 200
        return self.page

    def wait_for_complaints(self, count: int) -> None:
        """Wait for the browser's reports, which can arrive later than their cause."""
        while len(self.complaints) < count:
            self.page.wait_for_event("console", timeout=PATIENCE * 1000)

    def check(self) -> None:
        """Assert that the browser reported no problem and sent requests only to the exporter."""
        assert self.complaints == []
        assert self.page.evaluate("window.violations") in ([], None)
        assert [each for each in self.requested if not each.startswith(self.home + "/")] == []

    def scrolls_sideways(self) -> bool:
        """Whether the page is wider than the window."""
        wide: bool = self.page.evaluate(
            "document.documentElement.scrollWidth > document.documentElement.clientWidth"
        )
        return wide

    def barriers(self) -> list[str]:
        """The accessibility rules that the page breaks, each with the offending elements."""
        found = Axe().run(self.page, options={"runOnly": {"type": "tag", "values": RULES}})
        assert len(found.response["passes"]) > 10
        return [
            f"{rule['id']}: {node['html'][:200]}"
            for rule in found.response["violations"]
            for node in rule["nodes"]
        ]


@contextmanager
def window(
    browser: Browser,
    home: str,
    *,
    width: int = WIDE,
    theme: Theme = "light",
    **options: Any,
) -> Iterator[Window]:
    """A window of this width. At its end, the test fails if the browser reported a problem."""
    context = browser.new_context(
        viewport={"width": width, "height": 844 if width == PHONE else 900},
        color_scheme=theme,
        **options,
    )
    context.set_default_timeout(PATIENCE * 1000)
    opened = Window(context.new_page(), home)
    yield opened
    if options.get("java_script_enabled", True):
        opened.check()
    context.close()
