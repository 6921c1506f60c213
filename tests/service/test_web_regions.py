"""The page of regions in a real browser: the demo, contours chosen, filters moved, traces seen.

The job reads small results of suite2p (`calcium_import`), so that suite2p itself need not run.
"""

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect
from test_web_journey import (  # noqa: F401 - fixtures
    CHROMIUM,
    accessible,
    chromium,
    contrasts,
    ended,
    fits,
    mine,
    page,
    personal,
    signed_in,
    wait_for_analyses,
)

pytestmark = pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Chromium is not installed")
CURVES = """() => document.querySelector("[data-traces]").data
    .filter((each) => each.name).map((each) => [each.name, Math.max(...each.customdata)])"""
HIDDEN = """() => [...document.querySelectorAll(".regions-view polygon")]
    .map((each, k) => each.hasAttribute("hidden") ? k + 1 : 0).filter(Boolean)"""


def test_regions_are_chosen_compared_and_filtered(mine, tmp_path):  # noqa: F811
    page, base = mine  # noqa: F811
    wait_for_analyses(page, base)
    page.goto(f"{base}/analyses/calcium_import")
    accessible(page)
    page.click("text=Try the demo")
    page.wait_for_url("**/jobs/*")
    ended(page)
    expect(page.locator("main")).to_contain_text("Against known cells")
    page.screenshot(path=tmp_path / "1_job.png", full_page=True)
    page.click("text=Look at the regions")
    page.wait_for_selector("[data-drawn]")
    told = json.loads(page.request.get(f"{page.url.removesuffix('/regions')}".replace(
        "/jobs/", "/api/v1/jobs/") + "/files/regions.json").text())  # fmt: skip
    words = page.locator("[data-regions-words]")
    expect(words).to_have_text("8 of 10 regions pass the filters.")
    assert page.evaluate(HIDDEN) == [9, 10]
    assert page.get_attribute("[data-regions]", "data-drawn") == "1"  # the first cell
    shape = page.locator(".regions-view polygon[aria-label='Region 3']")
    shape.click()  # in the middle of a contour, as the mouse does
    page.wait_for_selector("[data-drawn='1 3']")
    assert [name for name, _ in page.evaluate(CURVES)] == ["region 1", "region 3"]
    assert all(most > 0.5 for _, most in page.evaluate(CURVES))
    expect(shape).to_have_attribute("aria-pressed", "true")
    page.locator(".regions-view polygon[aria-label='Region 5']").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("[data-drawn='1 3 5']")
    page.locator("tr[data-region='2'] button").click()
    page.wait_for_selector("[data-drawn='1 3 5 2']")
    page.screenshot(path=tmp_path / "2_regions.png", full_page=True)
    page.locator("tr[data-region='2'] button").click()  # again: no longer
    page.wait_for_selector("[data-drawn='1 3 5']")
    _filters(page, told, words)
    page.select_option("[data-image]", "Correlation")
    page.wait_for_function("document.querySelector('.regions-view image').href.baseVal"
                           ".endsWith('correlation.png')")  # fmt: skip
    page.screenshot(path=tmp_path / "3_filtered.png", full_page=True)
    page.click("[data-clear]")
    expect(page.locator("[data-traces-card]")).to_be_hidden()
    accessible(page)
    contrasts(page)
    fits(page)


def _filters(page, told, words):  # noqa: F811
    """Marks of suite2p and filters count as the numbers of the file do."""
    page.uncheck("[data-own]")
    expect(words).to_have_text("10 of 10 regions pass the filters.")
    assert page.evaluate(HIDDEN) == []
    page.fill("#filter-compactness", "1.2")
    round_ = sum(each["compactness"] <= 1.2 for each in told["regions"])
    expect(words).to_have_text(f"{round_} of 10 regions pass the filters.")
    skews = sorted(each["skew"] for each in told["regions"])
    page.fill("#filter-skew", str(skews[-3]))
    expect(words).to_have_text("3 of 10 regions pass the filters.")
    assert len(page.evaluate(HIDDEN)) == 7
    page.check("[data-also]")
    assert page.evaluate(HIDDEN) == []
    assert page.locator(".regions-view polygon.out").count() == 7
    page.click("[data-reset]")
    expect(words).to_have_text("8 of 10 regions pass the filters.")
