"""``lanternfish check`` and the report as a page: kept, shown first, whole, and nothing fetched."""

import base64
import json
import re
import shutil

import numpy as np
import pytest

import lanternfish as lf
from lanternfish.cli.report_html import decimated

CHROMIUM = "/usr/bin/chromium"


@pytest.fixture(scope="module")
def looked(finished, tmp_path_factory, command):
    """A copy of the finished run, checked and with its page, and what both commands said."""
    pytest.importorskip("plotly")
    folder = tmp_path_factory.mktemp("looked") / "run"
    shutil.copytree(finished[0], folder)
    checked = command("check", folder, "--simulations", 200, "--workers", 1)
    assert checked.exit_code == 0, checked.output
    page = command("report", folder, "--html")
    assert page.exit_code == 0, page.output
    return folder, checked, page


def test_check_is_kept_told_and_drawn(looked):
    folder, checked, _ = looked
    run = lf.Run.load(folder)
    assert run.trust is not None
    assert run.trust.simulations <= 200
    report = (folder / "report.md").read_text()
    for check in run.trust.values():
        assert f"{check.name}: {check.verdict}" in report
    assert "observation:" in checked.stdout
    assert "Not made:" in checked.stderr
    assert (folder / "figures/checks.png").read_bytes().startswith(b"\x89PNG")


def test_a_failed_check_stands_at_the_top(looked, tmp_path, command):
    shutil.copytree(looked[0], tmp_path / "run")
    stored = json.loads((tmp_path / "run/run.json").read_text())
    found = stored["checks"]["trust"]["found"]["support"]
    found |= {"passed": False, "verdict": "It leaks.", "advice": "Mend it."}
    (tmp_path / "run/run.json").write_text(json.dumps(stored))
    told = command("report", tmp_path / "run").stdout
    top = [line for line in told.splitlines() if line.strip()][1]
    assert top.startswith("Careful: this posterior failed")
    assert "support: Mend it." in told


def test_the_page_holds_all_and_fetches_nothing(looked):
    page = (looked[0] / "report.html").read_text()
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    data = json.loads(text.replace("<\\/", "</"))
    run = lf.Run.load(looked[0])
    assert [p["name"] for p in data["parameters"]] == ["a", "b"]
    assert {c["name"] for c in data["checks"] if "passed" in c} == set(run.trust)
    assert len(data["points"]["valid"]) == 60
    cloud = np.frombuffer(base64.b64decode(data["cloud"]["data"]), "<f4")
    assert len(cloud) == 2 * 2_000
    kept = data["points"]["traces"]
    values = np.frombuffer(base64.b64decode(kept["values"]["data"]), "<f4")
    assert np.isfinite(values).all()
    assert kept["values"]["rows"] == kept["n"] * len(kept["channels"])
    head = page.split("<script>")[0]
    assert not re.search(r'(src|href)="http', head)
    assert "<!--" not in page.split("<body>")[1].split("<script>")[0]


def test_extremes_of_a_trace_are_kept():
    time, values = np.arange(100_000.0), np.zeros((1, 1, 100_000))
    values[0, 0, 51_234] = 40.0
    place, drawn = decimated(time, values, 500)
    assert len(place) == drawn.shape[-1] == 1_000
    assert drawn.max() == 40.0
    assert abs(place[np.argmax(drawn[0, 0])] - 51_234) <= 200


def test_check_of_nothing(command, tmp_path):
    result = command("check", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "Expected a run folder" in result.output


@pytest.mark.slow
def test_choosing_a_point_in_a_browser(looked):
    """A real browser: no error, no request, and a click shows that point."""
    sync_api = pytest.importorskip("playwright.sync_api")
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run"]
    with sync_api.sync_playwright() as driver:
        try:
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        except sync_api.Error:
            pytest.skip(f"no browser at {CHROMIUM}")
        page, wrong = browser.new_page(viewport={"width": 1360, "height": 1000}), []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda r: r.url.startswith("http") and wrong.append(r.url))
        page.goto((looked[0] / "report.html").resolve().as_uri())
        page.wait_for_selector("body[data-ready=yes]", timeout=120_000)
        before = page.inner_text("#point strong")
        page.get_by_label("next sample").click()
        page.wait_for_function(
            "before => document.querySelector('#point strong').innerText !== before", arg=before
        )
        assert page.locator("#point .main-svg").count() > 0
        assert not wrong
        browser.close()
