"""Tracking in a real browser, whole: a video is dropped, an arena typed, a labelled video plays."""

from pathlib import Path

import numpy as np
import pytest
from playwright.sync_api import expect
from test_web_journey import (  # noqa: F401 - fixtures
    CHROMIUM,
    PATIENCE,
    accessible,
    chromium,
    ended,
    fits,
    mine,
    page,
    personal,
    signed_in,
    wait_for_analyses,
)

from lanternfish.analyses.tracking import generated

pytestmark = [
    pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Chromium is not installed"),
    pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning"),  # of imageio-ffmpeg
]
SCENE = generated.Scene(frames=75, width=220, height=170, cross=False)

PLAYED = """async () => {
    const video = document.querySelector("video");
    video.muted = true;
    await video.play();
    await new Promise((done) => {
        video.ontimeupdate = () => video.currentTime > 0.5 && done();
    });
    video.pause();
    await new Promise((done) => {
        video.onseeked = done;
        video.currentTime = 0.9 * video.duration;
    });
    const size = [video.videoWidth, video.videoHeight];
    const canvas = Object.assign(document.createElement("canvas"), {width: 220, height: 170});
    const brush = canvas.getContext("2d");
    brush.drawImage(video, 0, 0);
    const values = brush.getImageData(0, 0, 220, 170).data;
    let grey = 0, coloured = 0;
    for (let i = 0; i < values.length; i += 4) {
        grey += values[i] / (220 * 170);
        coloured += Math.abs(values[i] - values[i + 2]) > 40;
    }
    return {size, reached: video.currentTime, length: video.duration, grey, coloured};
}"""


@pytest.fixture
def form(mine, tmp_path):  # noqa: F811
    """The form of tracking, with a video in `tmp_path`: (page, its address)."""
    page, base = mine  # noqa: F811
    generated.write(SCENE, tmp_path / "fish.mp4", 4)
    wait_for_analyses(page, base)
    address = f"{base}/analyses/tracking/new"
    page.goto(address)
    return page, address


def test_a_cut_video_is_refused_and_a_whole_one_suggests_settings(form, tmp_path):
    page, address = form  # noqa: F811
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "fish.mp4").read_bytes()[:20_000])
    page.set_input_files("#files", tmp_path / "cut.mp4")
    page.wait_for_selector(".picker input:checked")
    page.click("text=Check and start")
    page.wait_for_selector("text=cannot be opened: it is empty, damaged, cut off")
    page.goto(address)
    page.set_input_files("#files", tmp_path / "fish.mp4")
    page.wait_for_selector(".picker label:has-text('fish.mp4') input:checked")
    page.click("text=Suggest from the data")
    words = page.locator("[data-suggest-words]")
    expect(words).to_contain_text("2 animals of", timeout=PATIENCE)
    expect(page.locator("#setting-animals")).to_have_value("2")
    found = [float(page.input_value(f"#setting-{name}")) for name in ("smallest", "largest")]
    sizes = [np.pi / 12 * length**2 for length in SCENE.lengths]
    assert found[0] < min(sizes) < max(sizes) < found[1]
    page.screenshot(path=tmp_path / "0_suggested.png", full_page=True)


@pytest.mark.slow
def test_a_dropped_video_is_tracked_and_its_labelled_video_plays(form, tmp_path):
    page, _ = form  # noqa: F811
    page.set_input_files("#files", tmp_path / "fish.mp4")
    page.wait_for_selector(".picker label:has-text('fish.mp4') input:checked")
    page.click("text=Suggest from the data")
    expect(page.locator("#setting-animals")).to_have_value("2", timeout=PATIENCE)
    page.fill("#setting-arena", "circle 110 85 300")
    page.click("text=Check and start")
    page.wait_for_selector("text=Expected a shape inside of the frame, 220 x 170 px")
    page.fill("#setting-arena", "rectangle 0 0 220 170")
    page.screenshot(path=tmp_path / "1_form.png", full_page=True)
    accessible(page)
    got = []
    page.on("response", lambda r: got.append(r.status) if "labelled.mp4" in r.url else None)
    page.click("text=Check and start")
    page.wait_for_url("**/jobs/*")
    ended(page)
    shown = page.locator("[data-part=pictures] img")
    expect(shown).to_have_count(5)  # ways, coverage, speed, occupancy, proximity
    for n in range(5):
        shown.nth(n).scroll_into_view_if_needed()
        page.wait_for_function(
            "e => e.complete && e.naturalWidth > 300", arg=shown.nth(n).element_handle()
        )
    expect(page.locator("main")).to_contain_text("Positions were found in 100.0 %")
    accessible(page)
    fits(page)
    page.locator("video").scroll_into_view_if_needed()
    seen = page.evaluate(PLAYED)
    page.screenshot(path=tmp_path / "2_result.png", full_page=True)
    assert seen["size"] == [220, 170]
    assert seen["reached"] > 0.8 * seen["length"] > 1.5
    assert seen["grey"] > 60  # of a light dish: frames are drawn, not black
    assert seen["coloured"] > 20  # names and tails
    assert set(got) == {206}  # in parts, so that a long video starts at once
    address = page.locator("video").evaluate("e => e.src")
    whole = page.request.get(address)
    part = page.request.get(address, headers={"Range": "bytes=1000-1999"})
    assert (whole.headers["content-type"], part.status) == ("video/mp4", 206)
    assert part.body() == whole.body()[1000:2000]
    for name in ("positions.csv", "nwb/animal_1.nwb", "nwb/animal_2.nwb"):
        expect(page.locator("main")).to_contain_text(name.rpartition("/")[2])
