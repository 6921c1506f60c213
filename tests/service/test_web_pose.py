"""Pose in a real browser, whole: frames, labels by the mouse, training, prediction, results.

Trains in the environment of sleap-nn: that of LANTERNFISH_FOLDER where it is built there, else a
new one (2.4 GB).
"""

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect
from server_kit import command_line_server
from test_web_journey import (  # noqa: F401 - fixtures
    CHROMIUM,
    accessible,
    chromium,
    ended,
    fits,
    page,
    wait_for_analyses,
)

from lanternfish.analyses.pose import synthetic, video

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Chromium is not installed"),
    pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning"),  # of imageio-ffmpeg
]
SIZE = (200, 160)
FRAMES = 14  # labelled
expect.set_options(timeout=30_000)  # ms: machines of two cores are slow at times
LIMIT = 3.0  # px: marked to half a pixel of the screen, trained for seconds


@pytest.fixture
def drawn(tmp_path):
    """A video of one animal, and its pose."""
    truth = synthetic.poses(100, 1, SIZE, 5)
    video.write(tmp_path / "cage.mp4", synthetic.draw(truth, SIZE, 5), 25)
    return tmp_path / "cage.mp4", truth


def test_pose_from_a_dropped_video_to_a_labelled_one(page, drawn, tmp_path):  # noqa: F811
    path, truth = drawn
    folder = tmp_path / "server"
    folder.mkdir()
    built = Path(os.environ.get("LANTERNFISH_FOLDER", "~/.local/share/lanternfish")).expanduser()
    (built / "environments").mkdir(parents=True, exist_ok=True)
    (folder / "environments").symlink_to(built / "environments")
    with command_line_server(folder) as (link, _):
        page.goto(link)
        base = link.split("/start")[0]
        wait_for_analyses(page, base)
        page.goto(f"{base}/analyses/pose_frames/new")
        page.set_input_files("#files", path)
        page.wait_for_selector(".picker input:checked")
        page.fill("#setting-count", str(FRAMES))
        page.click("text=Check and start")
        page.wait_for_url("**/jobs/*")
        ended(page)
        page.screenshot(path=tmp_path / "1_frames.png", full_page=True)
        page.click("text=Label the frames")
        _label(page, truth)
        page.screenshot(path=tmp_path / "2_label.png")
        accessible(page)
        page.click("[data-do=save]")
        page.click("a:text-is('Train with it')")
        labels = page.locator("[data-part=input-labels] label", has_text="cage labels.json")
        expect(labels.locator("input")).to_be_checked()
        page.fill("#setting-epochs", "15")
        page.fill("#setting-steps", "20")
        page.screenshot(path=tmp_path / "3_form.png", full_page=True)
        accessible(page)
        page.click("text=Check and start")
        page.wait_for_url("**/jobs/*")
        page.wait_for_selector(".chart .main-svg, .state.failed", timeout=600_000)
        page.screenshot(path=tmp_path / "4_training.png", full_page=True)
        page.set_default_timeout(900_000)
        ended(page)
        page.wait_for_selector("text=held out")
        for picture in page.locator("[data-part=pictures] img").all():
            picture.scroll_into_view_if_needed()
            expect(picture).to_have_js_property("complete", True)
        page.screenshot(path=tmp_path / "5_result.png", full_page=True)
        accessible(page)
        fits(page)
        row = page.locator("tr:has-text('median error') + tr, tbody tr").all_inner_texts()
        files = page.request.get(f"{base}/api/v1{page.url.removeprefix(base)}").json()
    names = {each["path"] for each in files["results"]}
    assert {"labelled.mp4", "model.zip", "poses.csv", "nwb/animal1.nwb", "report.md"} <= names
    found = [float(text) for text in re.findall(r"^\s*(\d+\.\d+)\s", "\n".join(row), re.M)]
    assert found, row
    assert found[0] < LIMIT


def _label(page, truth):  # noqa: F811
    """Mark every keypoint of every frame with the mouse."""
    expect(page.locator("[data-where]")).to_contain_text("(1 of")
    page.click("summary:has-text('Skeleton')")
    page.fill("[data-names]", "\n".join(synthetic.SKELETON.keypoints))
    names = synthetic.SKELETON.keypoints
    edges = [f"{names[a]}-{names[b]}" for a, b in synthetic.SKELETON.edges]
    page.fill("[data-edges]", "\n".join(edges))
    page.click("[data-do=skeleton]")
    canvas = page.locator("[data-canvas]")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    scale = box["width"] / SIZE[0]
    for n in range(FRAMES):
        where = page.locator("[data-where]")
        expect(where).to_contain_text(f"({n + 1} of")
        frame = int(re.search(r"\d+", where.inner_text()).group())
        for x, y in truth[frame, 0]:
            page.mouse.click(box["x"] + (x + 0.5) * scale, box["y"] + (y + 0.5) * scale)
        if n + 1 < FRAMES:
            page.keyboard.press("]")
    expect(page.locator("[data-where]")).to_contain_text(f"{FRAMES} labelled")
    kept = json.loads(page.evaluate("localStorage[Object.keys(localStorage)[0]]"))
    got = {int(k): v[0]["points"] for k, v in kept["frames"].items()}
    off = [np.array(points) - truth[frame, 0] for frame, points in got.items()]
    assert np.abs(off).max() < 1.0, "the mouse marks what is under it"
