"""A real study in a real browser, from its demo to a walk through its posterior.

The pictures of docs/platform.md are made on the way, by one command:

    LANTERNFISH_PICTURES=docs/images pytest -m slow tests/service/test_web_pictures.py
"""

import os
from pathlib import Path

import pytest
from server_kit import SOURCE, command_line_server
from test_web_journey import ARGUMENTS, CHROMIUM, WIDE, accessible, ended, wait_for_analyses

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not os.path.exists(CHROMIUM), reason="Chromium is not installed"),
]
PATIENCE = 600_000  # ms: a study trains and simulates


@pytest.fixture
def page(tmp_path, monkeypatch):
    """A page of a personal server, signed in; without the analyses of these tests."""
    from playwright.sync_api import sync_playwright

    monkeypatch.setenv("LOGNAME", "ada")
    monkeypatch.setattr("server_kit.TOYS", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", SOURCE)

    with command_line_server(tmp_path / "data") as (link, _), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        context = browser.new_context(viewport=WIDE, device_scale_factor=1.5)
        made = context.new_page()
        made.set_default_timeout(PATIENCE)
        wrong: list[str] = []
        made.on("pageerror", lambda error: wrong.append(str(error)))
        made.goto(link)
        yield made
        browser.close()
        assert not wrong, wrong


@pytest.fixture
def picture(page, tmp_path):
    """Keeps what the page shows as a picture of the documentation."""
    folder = Path(os.environ.get("LANTERNFISH_PICTURES") or tmp_path)

    def take(name, selector=None):
        page.wait_for_load_state("networkidle") if selector is None else None
        page.wait_for_timeout(500)  # drawings settle
        if selector:
            page.evaluate(
                "s => document.querySelector(s).scrollIntoView({block: 'center'})", selector
            )
        page.screenshot(path=folder / f"platform_{name}.png")

    return take


def test_from_a_demo_to_a_walk_through_its_posterior(page, picture):
    base = page.url.removesuffix("/analyses")
    wait_for_analyses(page, base)
    picture("analyses")
    page.goto(f"{base}/analyses/npe/new")
    page.wait_for_selector("#setting-simulations")
    picture("form", "#setting-model")
    page.goto(f"{base}/analyses/npe")
    page.click("text=Try the demo")
    page.wait_for_url("**/jobs/*")
    page.wait_for_selector("figure >> text=loss")  # live, while it trains
    page.wait_for_selector(".chart .main-svg")
    page.wait_for_timeout(3_000)
    picture("job", "h1")
    ended(page)
    accessible(page)

    page.click("text=Explore the posterior")
    page.wait_for_selector("text=samples of 2 parameters.")
    page.wait_for_selector("[data-walks] option >> nth=2", state="attached")
    accessible(page)
    page.select_option("[data-walks]", index=0)
    page.focus("[data-place]")
    for _ in range(7):
        page.keyboard.press("ArrowRight")
    assert "prior standard deviations from its start" in page.inner_text("[data-values]")
    page.set_viewport_size({"width": 1280, "height": 1180})
    picture("explore", "h1")
    page.set_viewport_size(WIDE)
    page.select_option("[data-walks]", index=1)
    page.select_option("[data-quantity]", index=1)
    page.focus("[data-place]")
    page.keyboard.press("End")
    assert "lengths from the mode" in page.inner_text("[data-values]")
    picture("direction", "[data-walk-card]")

    before = page.locator("[data-walks] option").count()
    page.focus("[data-point]")
    page.keyboard.press("Home")
    page.click("text=Start here")
    page.focus("[data-point]")
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    page.click("text=End here")
    page.wait_for_selector("text=A path from sample 1 to sample 6.")
    page.click("text=Walk the path")
    page.wait_for_selector("[data-asked] >> text=/^Computed/")
    assert page.locator("[data-walks] option").count() == before + 1
    assert "From sample 1 to sample 6" in page.inner_text("[data-values]")
    page.reload()
    page.wait_for_selector(f"[data-walks] option >> nth={before}", state="attached")  # it is kept
