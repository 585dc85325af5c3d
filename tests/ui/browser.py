"""A person at Prefect's UI: what they open, read, fill in and press. Everything waits for what is to be seen."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from playwright.sync_api import Locator, Page, TimeoutError, expect, sync_playwright  # noqa: A004

PICTURES = Path(__file__).with_name("pictures")
SIZE = {"width": 1120, "height": 900}
DRAWN_BYTES = 6_000
SEARCHES = 5
MILLISECONDS = 20_000  #: the machine may be busy with other tests
# Nothing is asked of anybody but the plane, neither by the page nor by the browser itself.
ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
expect.set_options(timeout=MILLISECONDS)


def chromium() -> str | None:
    """Find the browser."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


class Person:
    """Somebody with a browser, who knows the secret of the plane but is not signed in yet."""

    def __init__(self, page: Page, url: str, secret: str, album: Path) -> None:
        """Sit down."""
        self.page, self.url, self.secret, self.album = page, url, secret, album
        page.set_default_timeout(MILLISECONDS)
        page.route(lambda address: not address.startswith(url), lambda route: route.abort())

    @classmethod
    @contextmanager
    def at(cls, url: str, secret: str, album: Path) -> Iterator[Self]:
        """Open a browser for the time of a block."""
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium(), args=ARGUMENTS)
            try:
                yield cls(browser.new_page(viewport=SIZE), url, secret, album)
            finally:
                browser.close()

    def open(self, path: str) -> None:
        """Go to a page, by its address."""
        self.page.goto(path if path.startswith("http") else f"{self.url}/v2/{path}")

    def sign_in(self) -> None:
        """Fill in what `make up` printed."""
        self.page.get_by_placeholder("admin:pass").fill(self.secret)
        self.press("Login")

    def sees(self, *texts: str) -> None:
        """Wait until all TEXTS are on the page."""
        for text in texts:
            expect(self.page.get_by_text(text).first).to_be_visible()

    def search(self, text: str) -> None:
        """Search until TEXT is found: an address that follows late puts the last search back into the field."""
        for _ in range(SEARCHES):
            self.page.get_by_placeholder("Search").fill(text)
            with suppress(AssertionError):
                expect(self.page.get_by_text(text).first).to_be_visible(timeout=3000)
                return
        self.sees(text)

    def press(self, name: str, within: Locator | None = None) -> None:
        """Press a button."""
        (within or self.page).get_by_role("button", name=name, exact=True).first.click()

    def look_at(self, tab: str) -> Locator:
        """Choose a tab, and return what it shows."""
        self.page.get_by_role("tab", name=tab).click()
        return self.page.get_by_role("tabpanel", name=tab)

    def fill(self, label: str, text: str, within: Locator | None = None) -> None:
        """Write into a field."""
        (within or self.page).get_by_label(label, exact=True).first.fill(text)

    def choose(self, label: str, option: str, within: Locator | None = None) -> None:
        """Choose from a list."""
        (within or self.page).get_by_label(f"Select {label}", exact=True).click()
        self.page.get_by_role("option", name=option).click()

    def labels(self) -> list[str]:
        """Read the names of a form's fields, from top to bottom."""
        return [text.removesuffix(" (Optional)") for text in self.page.locator("label").all_inner_texts()]

    def find_deployment(self, name: str) -> None:
        """Go to a deployment by its name, from the list."""
        self.page.get_by_role("link", name="Deployments", exact=True).first.click()
        # Before the list is there, the page takes the search and forgets it.
        expect(self.page.get_by_role("columnheader", name="Deployment").first).to_be_visible()
        self.page.get_by_placeholder(re.compile("Search")).first.fill(name)  # the list shows ten at once
        expect(self.page).to_have_url(
            re.compile(f"={name}(&|$)")
        )  # it takes a moment, and would come back from elsewhere
        link = self.page.get_by_role("link", name=name, exact=True)
        link.and_(self.page.locator("[href*='/deployments/deployment/']")).click()
        expect(self.page).to_have_url(re.compile("/deployments/deployment/"))

    def find_run_form(self, name: str) -> None:
        """Open the form with which a deployment is run, as the Run button does."""
        self.find_deployment(name)
        self.press("Run")
        self.page.get_by_role("menuitem", name="Custom run").click()
        expect(self.page.get_by_role("button", name="Submit")).to_be_enabled()

    def resume(self) -> Locator:
        """Choose Resume in the menu of a run that waits, and return the form."""
        self.page.locator("main button[aria-haspopup=menu]").first.click()
        self.page.get_by_role("menuitem", name="Resume").click()
        return self.page.get_by_role("dialog")

    def send_answer(self, form: Locator) -> None:
        """Press Resume until the form closes, which it does when the server has taken the answer.

        It swallows a press while it still remembers that a field was empty a moment ago.
        """
        for _ in range(10):
            with suppress(AssertionError, TimeoutError):
                form.get_by_role("button", name="Resume", exact=True).click(timeout=2_000)
                expect(form).to_be_hidden(timeout=2_000)
            if not form.is_visible():
                return
        raise AssertionError("The answer was not taken.")

    def read_report(self) -> Locator:
        """Open the newest report of the run that is shown."""
        self.look_at("Artifacts").get_by_text("MARKDOWN").click()
        self.page.locator("a[href*='/artifacts/artifact/']").first.click()
        report = self.page.get_by_role("tabpanel", name="Artifact")
        expect(report.get_by_role("heading", level=1)).to_be_visible()
        return report

    def await_drawing(self) -> None:
        """Wait until the graph of a run is drawn: an empty canvas makes a small picture."""
        canvas = self.page.locator("canvas").first
        for _ in range(100):
            if len(canvas.screenshot()) > DRAWN_BYTES:
                return
            self.page.wait_for_timeout(100)

    def take_picture(self, name: str, height: int | None = None) -> None:
        """Keep what is seen: among the README's pictures when these are being renewed, else in a temporary folder."""
        folder = PICTURES if os.environ.get("SALVOR_PICTURES") == "1" else self.album
        folder.mkdir(exist_ok=True)
        self.page.set_viewport_size(SIZE | ({"height": height} if height else {}))
        self.page.evaluate("scrollTo(0, 0)")
        self.page.screenshot(path=folder / f"{name}.png", animations="disabled")
        self.page.set_viewport_size(SIZE)
