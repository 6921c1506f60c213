"""Pose in a real browser, whole: frames, labels by the mouse, training, prediction, results.

Trains in the environment of sleap-nn that the user of this machine has (LANTERNFISH_FOLDER); it is
built at first need (2.4 GB).
"""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect
from server_kit import command_line_server, share_environments
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
EPOCHS = 15
TRAINED = 3_600_000  # ms, at most: some minutes on two free cores
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
    share_environments(folder)
    with command_line_server(folder) as (link, _):
        base = _frames(page, link, path)
        page.screenshot(path=tmp_path / "1_frames.png", full_page=True)
        page.click("text=Label the frames")
        _label(page, truth)
        page.screenshot(path=tmp_path / "2_label.png")
        accessible(page)
        page.click("[data-do=save]")
        page.click("a:text-is('Train with it')")
        labels = page.locator("[data-part=input-labels] label", has_text="cage labels.json")
        expect(labels.locator("input")).to_be_checked()
        page.fill("#setting-epochs", str(EPOCHS))
        page.fill("#setting-steps", "20")
        page.screenshot(path=tmp_path / "3_form.png", full_page=True)
        accessible(page)
        page.click("text=Check and start")
        page.wait_for_url("**/jobs/*")
        page.wait_for_selector(".chart .main-svg, .state.failed", timeout=TRAINED)
        page.screenshot(path=tmp_path / "4_training.png", full_page=True)
        page.set_default_timeout(TRAINED)
        ended(page)
        _result(page, base, tmp_path)


def _frames(page, link, path):  # noqa: F811
    """Drop a video and have frames of it proposed; the server's address."""
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
    return base


def _result(page, base, tmp_path):  # noqa: F811
    """The page of a training that has succeeded: curves whole, pictures, error, files."""
    page.wait_for_selector("text=held out")
    expect(page.locator(".chart .main-svg").first).to_be_visible()
    loss = "() => [...document.querySelectorAll('.chart')].map((e) => e.calcdata?.[0]?.length)"
    page.wait_for_function(f"Math.max(...({loss})()) === {EPOCHS}")  # drawn, not only known
    for picture in page.locator("[data-part=pictures] img").all():
        picture.scroll_into_view_if_needed()
        page.wait_for_function(
            "e => e.complete && e.naturalWidth > 100", arg=picture.element_handle()
        )
    page.screenshot(path=tmp_path / "5_result.png", full_page=True)
    accessible(page)
    fits(page)
    rows = page.locator("tbody tr").all_inner_texts()
    files = page.request.get(f"{base}/api/v1{page.url.removeprefix(base)}/files").json()
    names = {each["path"] for each in files}
    assert {"labelled.mp4", "model.zip", "poses.csv", "nwb/animal1.nwb", "report.md"} <= names
    found = [float(text) for text in re.findall(r"^\s*(\d+\.\d+)\s", "\n".join(rows), re.M)]
    assert found, rows
    assert found[0] < LIMIT


def test_labels_by_keys_with_undo_zoom_and_files(page, drawn, tmp_path):  # noqa: F811
    path, truth = drawn
    folder = tmp_path / "server"
    folder.mkdir()
    with command_line_server(folder) as (link, _):
        _frames(page, link, path)
        page.click("text=Label the frames")
        _label(page, truth)
        whole = _kept(page)
        frame = max(whole)
        page.focus("[data-canvas]")
        page.keyboard.press("p")  # from the last keypoint to the one before
        page.keyboard.press("Shift+ArrowRight")
        page.keyboard.press("Control+ArrowDown")
        page.keyboard.press("Enter")
        before, after = whole[frame][0]["points"], _kept(page)[frame][0]["points"]
        moved = np.array(after) - np.array(before)
        assert moved[-2].tolist() == pytest.approx([10, 0.25])
        assert np.abs(np.delete(moved, -2, 0)).max() == 0
        page.click("[data-do=undo]")
        assert _kept(page) == whole
        page.click("[data-do=closer]")
        page.screenshot(path=tmp_path / "1_zoomed.png")
        page.click("[data-do=farther]")
        _drag(page, before[0], (15, -10))
        moved = np.array(_kept(page)[frame][0]["points"]) - np.array(before)
        np.testing.assert_allclose(moved[0], [15, -10], atol=1.5)
        page.click("[data-do=undo]")
        with page.expect_download() as caught:
            page.click("[data-do=download]")
        caught.value.save_as(tmp_path / "labels.json")
        told = json.loads((tmp_path / "labels.json").read_text())
        assert {each["frame"] for each in told["frames"]} == set(whole)
        page.evaluate("localStorage.clear()")
        page.reload()
        expect(page.locator("[data-where]")).to_contain_text("0 labelled")
        page.set_input_files("[data-open]", tmp_path / "labels.json")
        expect(page.locator("[data-where]")).to_contain_text(f"{FRAMES} labelled")
        assert _kept(page) == whole
        accessible(page)
        fits(page)


def _kept(page):  # noqa: F811
    """Labels that the browser keeps, by frame."""
    kept = json.loads(page.evaluate("localStorage[Object.keys(localStorage)[0]]"))
    return {int(frame): animals for frame, animals in kept["frames"].items()}


def _drag(page, point, way):  # noqa: F811
    """Take a keypoint with the mouse to another place, px of the frame."""
    canvas = page.locator("[data-canvas]")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    scale = box["width"] / SIZE[0]
    x, y = (box[k] + (v + 0.5) * scale for k, v in zip("xy", point, strict=True))
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + way[0] * scale / 2, y + way[1] * scale / 2)
    page.mouse.move(x + way[0] * scale, y + way[1] * scale)
    page.mouse.up()


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
    got = {frame: animals[0]["points"] for frame, animals in _kept(page).items()}
    off = [np.array(points) - truth[frame, 0] for frame, points in got.items()]
    assert np.abs(off).max() < 1.0, "the mouse marks what is under it"
