"""Models as files: kept when training ends early, and never a pickle that is more than numbers."""

import json
import subprocess
import zipfile
from types import SimpleNamespace

import pytest

from lanternfish.analyses.guests import python_with
from lanternfish.analyses.pose import models, synthetic, training
from lanternfish.analyses.pose.child import SCRIPT
from lanternfish.analyses.pose.video import write
from lanternfish.service.analyses import load
from lanternfish.service.analyses.local import run_here

# imageio-ffmpeg forks to start ffmpeg; nothing of JAX runs in its child
pytestmark = pytest.mark.filterwarnings("ignore:os.fork.. was called:RuntimeWarning")


@pytest.fixture
def asked(tmp_path):
    """A video of 40 frames and labels of 12 of them."""
    truth = synthetic.poses(40, 1, (128, 96), 3)
    write(tmp_path / "a.mp4", synthetic.draw(truth, (128, 96), 3), 25)
    synthetic.labels_of(truth, range(0, 36, 3), {}).write(tmp_path / "labels.json")
    return {"video": tmp_path / "a.mp4", "labels": tmp_path / "labels.json"}


def network(place, epochs):
    """Files as sleap-nn leaves them after some epochs; weights are a ZIP file, too."""
    place.mkdir(parents=True)
    with zipfile.ZipFile(place / "best.ckpt", "w") as archive:
        archive.writestr("best/data.pkl", place.name)
    (place / "training_config.yaml").write_text("model_config: {}\n")
    rows = ["epoch,train/loss,val/loss", "0,,0.5", *(f"{n},0.1,0.2" for n in range(1, epochs))]
    (place / "training_log.csv").write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize("state", ["both", "one", "cut off"])
def test_a_cancelled_training_keeps_the_best_weights_so_far(
    asked, tmp_path, monkeypatch, capsys, state
):
    def ended(job, task, begin, end):
        network(job.checkpoint / "model" / "centroid", 7)
        if state != "one":
            network(job.checkpoint / "model" / "instance", 3)
        if state == "cut off":
            kept = job.checkpoint / "model" / "instance" / "best.ckpt"
            kept.write_bytes(kept.read_bytes()[:20])
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "watch", ended)
    with pytest.raises(KeyboardInterrupt):
        run_here(load("pose"), {}, asked, tmp_path / "out")
    made = tmp_path / "out" / "model.zip"
    said = capsys.readouterr().out
    assert made.exists() == (state == "both")
    if state == "both":
        assert "best weights so far, of 7 and 3 epochs" in said
        models.unpack(made, tmp_path / "again")
        assert zipfile.is_zipfile(tmp_path / "again" / "instance" / "best.ckpt")
    else:
        assert "no model is kept" in said


def test_a_model_unpacks_nothing_but_its_own_files(tmp_path):
    for part in models.PARTS:
        network(tmp_path / "m" / part, 1)
    models.pack(tmp_path / "m", tmp_path / "model.zip")
    with zipfile.ZipFile(tmp_path / "model.zip", "a") as archive:
        archive.writestr("../outside.txt", "x")
        archive.writestr("centroid/more.ckpt", "x")
    models.unpack(tmp_path / "model.zip", tmp_path / "deep" / "out")
    found = {p.relative_to(tmp_path / "deep").as_posix() for p in (tmp_path / "deep").rglob("*.*")}
    assert found == {f"out/{part}/{name}" for part in models.PARTS for name in models.KEPT}
    assert not (tmp_path / "outside.txt").exists()


MAKE = """
import pathlib, pickle, sys, torch

class Evil:
    def __reduce__(self):
        return pathlib.Path.touch, (pathlib.Path(sys.argv[2]),)

folder, kind = pathlib.Path(sys.argv[1]), sys.argv[3]
told = {"state_dict": {"w": torch.arange(3.0)}, "epoch": 4, "callbacks": {"a": 1}}
if kind == "evil":
    told["callbacks"] = Evil()
if kind == "no weights":
    told["state_dict"] = {"w": "text"}
if kind == "bare pickle":
    (folder / "best.ckpt").write_bytes(pickle.dumps(Evil()))
elif kind == "cut off":
    torch.save(told, folder / "best.ckpt")
    data = (folder / "best.ckpt").read_bytes()
    (folder / "best.ckpt").write_bytes(data[: len(data) // 2])
else:
    torch.save(told, folder / "best.ckpt")
"""
LOOK = """
import json, pathlib, sys
sys.path.insert(0, str(pathlib.Path(sys.argv[1]).parent))
import sleap_child, torch
answers = []
for folder in sys.argv[2:]:
    try:
        sleap_child.safe([folder])
        kept = torch.load(pathlib.Path(folder) / "best.ckpt", weights_only=True)
        answers.append([sorted(kept), kept["state_dict"]["w"].tolist()])
    except sleap_child.RefusedError as error:
        answers.append(str(error))
print(json.dumps(answers))
"""


@pytest.mark.slow
def test_brought_weights_are_numbers_alone_and_nothing_in_them_runs(tmp_path):
    """In sleap-nn's environment, with its torch: builds it on first use (2.4 GB)."""
    program, variables = python_with(
        SimpleNamespace(log=print), "sleap_nn", "pose"
    )  # takes its log
    kinds = ("good", "evil", "bare pickle", "cut off", "no weights")
    trap = tmp_path / "trap"
    folders = [tmp_path / kind.replace(" ", "_") for kind in kinds]
    for folder, kind in zip(folders, kinds, strict=True):
        folder.mkdir()
        subprocess.run([program, "-c", MAKE, folder, trap, kind], check=True, env=variables)
    told = subprocess.run(
        [program, "-c", LOOK, SCRIPT, *folders],
        check=True, env=variables, capture_output=True, text=True,
    ).stdout  # fmt: skip
    good, *bad = json.loads(told.splitlines()[-1])
    assert good == [["epoch", "state_dict"], [0.0, 1.0, 2.0]]
    for folder, sentence in zip(folders[1:], bad, strict=True):
        assert sentence.startswith("Expected"), folder
        assert f"{folder.name}/best.ckpt" in sentence
    assert "other objects" in bad[0]
    assert not trap.exists()
    # The trap itself works: an unsafe load, here alone, falls into it.
    subprocess.run(
        [program, "-c", "import sys, pickle; pickle.load(open(sys.argv[1], 'rb'))",
         folders[2] / "best.ckpt"], check=True, env=variables,
    )  # fmt: skip
    assert trap.exists()
