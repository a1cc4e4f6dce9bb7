"""A Chromium of the system, and made-up pages to look at with it; without one the tests are skipped."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from made_up_pages import write_pages

NAMES = ("chromium", "chromium-browser", "google-chrome")
Open = Callable[..., Any]


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: make test installs it")
    path = next((found for name in NAMES if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip("there is no Chromium on this machine: apt-get install chromium")
    # Root may not use Chromium's own sandbox, and has no need of it for pages of our own.
    options = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_api.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=path, args=options)
        yield found
        found.close()


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `small`, of 24 slides, and `large`, of 500: each a report, its page of pictures, a page of verdicts."""
    folder = tmp_path_factory.mktemp("pages")
    for name, count in (("small", 24), ("large", 500)):
        write_pages(folder / name, count)
    return folder


@pytest.fixture
def visit(browser: Any, pages: Path) -> Iterator[Open]:
    """Opens a page, given by its path; fails in the end where a script failed, or anything but files was asked for."""
    contexts, faults = [], list[str]()

    def open_page(path: str, *, width: int = 1280, **options: Any) -> Any:
        contexts.append(browser.new_context(viewport={"width": width, "height": 900}, **options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", lambda one: None if one.url.startswith(("file:", "data:")) else faults.append(one.url))
        page.goto((pages / path).as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []
