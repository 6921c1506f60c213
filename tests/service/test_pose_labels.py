"""Labels, frames, checks before queueing, readers of other programs' results, and the page."""

import csv
import json
import pickle
import shutil
import subprocess
from pathlib import Path

import h5py
import numpy as np
import pytest
from playwright.sync_api import expect, sync_playwright
from server_kit import PASSWORD, serving

from lanternfish.analyses.pose import results, synthetic, video
from lanternfish.analyses.pose.foreign import ForeignError, plain_pickle, read_foreign
from lanternfish.analyses.pose.frames import choose
from lanternfish.analyses.pose.labels import FORMAT, Labels, LabelsError, read_labels, split
from lanternfish.service import store as st
from lanternfish.service.analyses import load
from lanternfish.service.analyses.local import run_here
from lanternfish.service.analyses.requests import check

# imageio-ffmpeg forks to start ffmpeg; nothing of JAX runs in its child
pytestmark = pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning")
CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"
DEMO = Path(video.__file__).with_name("demo")


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A video of 24 frames, and its poses."""
    path = tmp_path_factory.mktemp("small") / "small.mp4"
    truth = synthetic.poses(24, 2, (128, 96), 3)
    video.write(path, synthetic.draw(truth, (128, 96), 3), 25)
    return path, truth


def test_labels_come_back_as_they_were(tmp_path):
    frames = {4: (((1.5, 2.0), None, None, None, None),), 2: ()}
    labels = Labels(synthetic.SKELETON, frames, {"name": "a.mp4"})
    labels.write(tmp_path / "labels.json")
    again = read_labels(tmp_path / "labels.json")
    assert again == labels
    assert again.labelled == [4]
    assert np.isnan(again.array([2, 4])[0]).all()
    assert again.array([2, 4])[1, 0, 0].tolist() == [1.5, 2.0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda told: told.update(format="other"), "Expected labels.json to have"),
        (lambda told: told["frames"][0].update(frame=-1), "whole numbers from 0"),
        (lambda told: told["frames"].append(told["frames"][0]), "comes twice"),
        (lambda told: told["frames"][0]["animals"][0]["points"].pop(), "another skeleton"),
        (lambda told: told["skeleton"].update(edges=[[0, 9]]), "pairs of two"),
        (lambda told: told["skeleton"]["keypoints"].__setitem__(0, "neck"), "different names"),
        (lambda told: told.pop("frames"), "as the labelling page writes it"),
    ],
)
def test_labels_that_are_wrong_say_where(tmp_path, change, words):
    told = json.loads((DEMO / "labels.json").read_text())
    change(told)
    path = tmp_path / "labels.json"
    path.write_text(json.dumps(told))
    with pytest.raises(LabelsError, match=words):
        read_labels(path)


def test_held_out_frames_are_never_trained_on():
    train, held = split(range(30), 0.15, 7)
    assert not set(train) & set(held)
    assert sorted([*train, *held]) == list(range(30))
    assert (train, held) == split(range(30), 0.15, 7)


def test_frames_that_are_taken_are_those_of_their_number(small, tmp_path):
    """Against the drawing itself: the noise of each frame is its own."""
    import matplotlib.image

    path, truth = small
    clip = video.look(path)
    assert (clip.frames, clip.width, clip.height, clip.fps) == (24, 128, 96, 25)
    drawn = list(synthetic.draw(truth, (128, 96), 3))
    for number, png in zip((3, 17), video.extract(clip, [17, 3], tmp_path, grey=True), strict=True):
        found = 255 * matplotlib.image.imread(png)
        gaps = [np.abs(found - each).mean() for each in drawn]
        assert int(np.argmin(gaps)) == number
    gaps = [
        np.abs(a.astype(float) - b).mean() for a, b in zip(video.read(clip), drawn, strict=True)
    ]
    assert max(gaps) < 5


def test_frames_of_different_kinds_are_all_chosen():
    kinds = np.repeat(np.eye(4) * 200, 25, axis=0) + np.random.default_rng(0).normal(size=(100, 4))
    assert {index // 25 for index in choose(kinds, 4, 0)} == {0, 1, 2, 3}
    assert len(choose(np.zeros((50, 4)), 10, 0)) == 10


def problems(inputs, name="pose", **settings):
    return " ".join(map(str, check(load(name), {"animals": 2, **settings}, inputs)[0]))


def test_bad_input_is_told_before_a_job_is_queued(small, tmp_path):
    path, truth = small
    good = {"video": DEMO / "two_animals.mp4", "labels": DEMO / "labels.json"}
    assert problems(good) == ""
    assert "labels to train with, or a model" in problems({"video": path})
    assert "Set Animals to 2" in problems(good, animals=1).replace("set", "Set")
    assert "320 x 240" in problems({**good, "video": path})
    labels = synthetic.labels_of(truth, range(3), {})
    labels.write(tmp_path / "few.json")
    assert "8 labelled frames or more" in problems({"video": path, "labels": tmp_path / "few.json"})
    nine = synthetic.labels_of(truth, range(9), {})
    far = Labels(nine.skeleton, {k + 20: v for k, v in nine.frames.items()})
    far.write(tmp_path / "far.json")
    assert "of another video" in problems({"video": path, "labels": tmp_path / "far.json"})
    cut = tmp_path / "cut.mp4"
    cut.write_bytes(path.read_bytes()[:3000])
    assert "cannot" in problems({**good, "video": cut})
    changing = tmp_path / "changing.mp4"
    subprocess.run(
        [video.ffmpeg(), "-v", "error", "-i", str(path), "-vf", "select='not(between(n,5,12))'",
         "-fps_mode", "passthrough", str(changing)], check=True,
    )  # fmt: skip
    assert "constant frame rate" in problems({**good, "video": changing})
    (tmp_path / "model.zip").write_bytes(b"PK\x03\x04 no")
    assert "damaged" in problems({"video": path, "model": tmp_path / "model.zip"})


def test_errors_do_not_depend_on_the_order_of_animals():
    truth = np.random.default_rng(1).uniform(0, 100, (6, 2, 3, 2))
    distances, hit, there = results.errors(truth[:, ::-1] + [3, 4], truth)
    assert np.allclose(distances, 5)
    assert (hit, there) == (36, 36)
    places, _ = results.link(truth[:, ::-1], np.ones((6, 2, 3)), 2)
    assert np.allclose(np.sort(places, axis=1), np.sort(truth, axis=1))


def test_deeplabcut_tables_and_hdf5_hold_the_same(tmp_path):
    found = read_foreign(DEMO / "deeplabcut.csv")
    truth = synthetic.poses(120, 2, (320, 240), 1)
    assert np.allclose(found.points, truth, atol=1e-3)
    assert found.animals == ("animal1", "animal2")
    with open(DEMO / "deeplabcut.csv", newline="") as file:
        rows = list(csv.reader(file))
    columns = list(zip(*(row[1:] for row in rows[:4]), strict=True))
    values = np.array([[float(cell) for cell in row[1:]] for row in rows[4:]])
    for protocol in (0, 4):
        path = tmp_path / f"p{protocol}.h5"
        kind = [("index", "<i8"), ("values_block_0", "<f8", (values.shape[1],))]
        table = np.zeros(len(values), kind)
        table["index"], table["values_block_0"] = np.arange(len(values)), values
        with h5py.File(path, "w") as file:
            made = file.create_dataset("df_with_missing/table", data=table)
            made.attrs["values_block_0_kind"] = np.void(pickle.dumps(columns, protocol))
        assert np.allclose(read_foreign(path).points, truth, atol=1e-3)


def test_pickles_that_hold_more_than_text_are_refused():
    with pytest.raises(ValueError, match="a packed object"):
        plain_pickle(pickle.dumps([Path("x")]))
    assert plain_pickle(pickle.dumps([("a", "b"), ("a", "c")], 0)) == [("a", "b"), ("a", "c")]


def test_sleap_analysis_files(tmp_path):
    truth = synthetic.poses(10, 2, (128, 96), 0)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["tracks"] = truth.transpose(1, 3, 2, 0)
        file["point_scores"] = np.full((2, 5, 10), 0.7)
        file["node_names"] = [name.encode() for name in synthetic.SKELETON.keypoints]
        file["track_names"] = [b"one", b"two"]
        file["edge_inds"] = np.array(synthetic.SKELETON.edges)
    found = read_foreign(tmp_path / "a.h5")
    assert np.array_equal(found.points, truth)
    assert found.animals == ("one", "two")
    assert found.edges == synthetic.SKELETON.edges
    assert np.allclose(found.score, 0.7)
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(ForeignError, match="another kind of HDF5"):
        read_foreign(tmp_path / "b.h5")


@pytest.mark.skipif(not Path(CHROMIUM).exists(), reason="Chromium is not installed")
def test_the_page_labels_by_keys_alone_and_saves_a_data_set(small, tmp_path):
    made = run_here(load("pose_frames"), {"count": 6}, {"video": small[0]}, tmp_path / "out")
    assert len(made) == 7
    with serving(tmp_path / "server") as server, sync_playwright() as playwright:
        user = server.user("ada")
        group = st.create_group(server.store, "lab", owner=user).id
        job = finished(server.store, group, user, small[0], tmp_path / "out", made)
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(90_000)
        wrong = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda told: told.type == "error" and wrong.append(told.text))
        page.goto(f"{server.url}/sign-in")
        page.fill("input[name=name]", "ada")
        page.fill("input[name=password]", PASSWORD)
        page.press("input[name=password]", "Enter")
        page.wait_for_url("**/analyses*")
        page.goto(f"{server.url}/jobs/{job}")
        page.click("text=Label the frames")
        where = page.locator("[data-where]")
        expect(where).to_contain_text("1 of 6")
        page.focus("[data-canvas]")
        for key in ("a", "Enter", "Shift+ArrowRight", "ArrowDown", "Enter", "]"):
            page.keyboard.press(key)
        expect(where).to_contain_text("2 of 6), 1 labelled")
        for key in ("a", "Enter", "a", "Shift+ArrowLeft", "Enter", "Control+z", "Control+y"):
            page.keyboard.press(key)
        expect(where).to_contain_text("2 labelled")
        page.reload()
        expect(where).to_contain_text("1 of 6), 2 labelled")
        page.screenshot(path=tmp_path / "label.png")
        page.click("[data-do=save]")
        expect(page.locator("[data-saved]")).to_contain_text("Saved as small labels.json")
        [row] = [r for r in st.datasets_of(server.store, group) if r.name.endswith(".json")]
        with server.store.blobs.open(row.sha256) as file:
            told = json.loads(file.read())
        browser.close()
    assert wrong == []
    assert told["format"] == FORMAT
    first, second = told["frames"]
    assert first["animals"] == [{"points": [[64, 48], [74, 49]]}]
    assert [animal["points"][0] for animal in second["animals"]] == [[74, 49], [64, 49]]


def finished(store, group, user, path, out, made):
    """A job that has ended with these results."""
    sha256, size = store.blobs.put(path)
    data = st.add_dataset(store, group, user, path.name, size, sha256)
    asked = st.Submission(group, user, "pose_frames", "1", {}, 0, (st.Input("video", data.id),))
    st.submit(store, asked)
    job = st.claim(store, "worker")
    results = tuple(st.Result(name, *reversed(store.blobs.put(out / name))) for name in made)
    st.finish(store, job.id, job.token, st.Outcome("succeeded", results=results))
    return job.id
