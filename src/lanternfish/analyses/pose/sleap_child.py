"""The process that sleap-nn runs in: `python sleap_child.py task.json`, of its own environment.

Reads a task, labels and frames as files; writes models and positions as files; says what it does in
lines of JSON on its standard output that begin with `LANTERNFISH `. It is the only file that
imports sleap-nn, and nothing imports it.

Training is top-down: a network that finds each animal (its anchor), and one that finds the
keypoints in a crop around it. Reference: Pereira et al., Nature Methods 2022,
doi:10.1038/s41592-022-01426-1.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

os.environ.update(WANDB_MODE="disabled", OTEL_SDK_DISABLED="true", DO_NOT_TRACK="1")


def say(**told) -> None:
    print("LANTERNFISH " + json.dumps(told), flush=True)


def heal_torchvision() -> None:
    """Declare torchvision's compiled operators where its wheel was built for another torch.

    They are needed to import it, and never called here.
    """
    import torch

    try:
        import torchvision
    except (RuntimeError, ImportError):
        for name in [n for n in sys.modules if n.split(".")[0] == "torchvision"]:
            del sys.modules[name]
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        heal_torchvision.kept = library  # it ends with the object
        import torchvision  # noqa: F401


def skeleton_of(told):
    import sleap_io as sio

    nodes = [sio.Node(name) for name in told["keypoints"]]
    edges = [sio.Edge(nodes[a], nodes[b]) for a, b in told["edges"]]
    pairs = [sio.Symmetry([nodes[a], nodes[b]]) for a, b in told["symmetric"]]
    return sio.Skeleton(nodes=nodes, edges=edges, symmetries=pairs, name="animal")


def labels_of(told, skeleton, wanted, images):
    """Labels of some frames on their images (one image a frame)."""
    import numpy as np
    import sleap_io as sio

    video = sio.Video.from_filename([str(images[str(f)]) for f in wanted], grayscale=True)
    animals = {each["frame"]: each["animals"] for each in told["frames"]}
    frames = []
    for index, frame in enumerate(wanted):
        instances = []
        for animal in animals[frame]:
            points = [[np.nan, np.nan] if p is None else p for p in animal["points"]]
            if np.isfinite(points).any():
                instances.append(sio.Instance.from_numpy(np.array(points, float), skeleton))
        frames.append(sio.LabeledFrame(video=video, frame_idx=index, instances=instances))
    return sio.Labels(frames, videos=[video], skeletons=[skeleton])


def train(task) -> None:
    """Two networks into `folder`/centroid and `folder`/instance; goes on from last.ckpt."""
    from sleap_nn.train import train as fit

    folder = Path(task["folder"])
    told = json.loads(Path(task["labels"]).read_text())
    skeleton = skeleton_of(told["skeleton"])
    for part in ("train", "held"):
        labels = labels_of(told, skeleton, task[part], task["images"])
        labels.save(str(folder / f"{part}.slp"), embed=True)
    heads = {
        "centroid": {"centroid": {"confmaps": {"anchor_part": None, "sigma": 2.5,
                                               "output_stride": 2}}},
        "instance": {"centered_instance": {"confmaps": {
            "part_names": task["keypoints"], "anchor_part": None, "sigma": task["sigma"],
            "output_stride": 2}}},
    }  # fmt: skip
    for number, (name, head) in enumerate(heads.items()):
        place = folder / name
        if (place / "finished").is_file():
            continue
        say(stage=f"training network {number + 1} of 2 ({name})")
        last = place / "last.ckpt"
        stride = 16 if name == "centroid" else 8
        fit(
            train_labels_path=[str(folder / "train.slp")],
            val_labels_path=[str(folder / "held.slp")],
            ensure_grayscale=True,
            scale=task["scale"] if name == "centroid" else 1.0,
            crop_size=task["crop"] if name == "instance" else None,
            use_augmentations_train=True,
            geometry_aug={"rotation_min": -180.0, "rotation_max": 180.0, "scale_min": 0.9,
                          "scale_max": 1.1, "affine_p": 1.0},
            intensity_aug={"contrast_p": 0.5, "brightness_p": 0.5},
            backbone_config={"unet": {"in_channels": 1, "kernel_size": 3, "filters": 16,
                                      "filters_rate": 1.5, "max_stride": stride,
                                      "output_stride": 2, "up_interpolate": True}},
            head_configs=head,
            batch_size=4,
            num_workers=0,
            data_pipeline_fw="torch_dataset_cache_img_memory",
            train_steps_per_epoch=task["steps"],
            min_train_steps_per_epoch=task["steps"],
            max_epochs=task["epochs"][name],
            seed=task["seed"],
            save_ckpt=True,
            ckpt_save_last=True,
            ckpt_dir=str(folder),
            run_name=name,
            resume_ckpt_path=str(last) if last.is_file() else None,
            trainer_accelerator=task["device"],
            trainer_num_devices=1,
            enable_progress_bar=False,
            learning_rate=1e-3,
            lr_scheduler="reduce_lr_on_plateau",
            early_stopping=True,
            early_stopping_patience=task["patience"],
            early_stopping_min_delta=1e-8,
        )  # fmt: skip
        (place / "finished").touch()


class RefusedError(ValueError):
    """A user's file that cannot be used; the text is for the user."""


def safe(models) -> None:
    """Refuse weights that are more than numbers, without running what they might hold.

    `weights_only` reads a pickle with an unpickler that makes tensors, numbers, text and containers
    of them and nothing else.

    Raises:
        RefusedError: there is something else in a file, or it is damaged.
    """
    import torch

    for folder in models:
        for path in Path(folder).glob("*.ckpt"):
            name = f"{path.parent.name}/{path.name}"
            try:
                told = torch.load(path, map_location="cpu", weights_only=True)
                state = told["state_dict"]
            except Exception as error:
                said = str(error).strip().splitlines() or [""]
                reason = next((line for line in said if "Unsupported" in line), said[-1])
                raise RefusedError(
                    f"Expected weights, numbers alone, in {name} of the model; it is damaged or "
                    f"holds other objects, and was not loaded ({type(error).__name__}: "
                    f"{reason.strip()[:160]}): take the model.zip of a job as it was."
                ) from None
            if not all(isinstance(each, torch.Tensor) for each in state.values()):
                raise RefusedError(f"Expected tensors as weights in {name} of the model.")
            torch.save({k: v for k, v in told.items() if k != "callbacks"}, path)


def predict(task) -> None:
    """Positions of all frames, or of single images, into an .npz without pickle."""
    import numpy as np
    import sleap_io as sio
    from sleap_nn.inference.run import predict as infer

    if task["foreign"]:
        safe(task["models"])
    source = task["source"]
    video = sio.Video.from_filename(source, grayscale=True)
    done = [0.0]

    def progress(now, total):
        if total and now / total - done[0] > 0.01:
            done[0] = now / total
            say(predicted=done[0])

    found = infer(
        video,
        model_paths=task["models"],
        device="cuda" if task["device"] == "gpu" else task["device"],
        batch_size=4,
        max_instances=task["animals"],
        peak_threshold=task["threshold"],
        integral_refinement="integral",
        progress_callback=progress,
    )
    names = [node.name for node in found.skeletons[0].nodes]
    edges = [[int(a), int(b)] for a, b in found.skeletons[0].edge_inds]
    count = len(video)
    most = max((len(frame.instances) for frame in found), default=0)
    points = np.full((count, most, len(names), 2), np.nan)
    score = np.full((count, most, len(names)), np.nan)
    for frame in found:
        ranked = sorted(frame.instances, key=lambda each: -each.score)
        for k, each in enumerate(ranked):
            points[frame.frame_idx, k] = each.numpy()
            score[frame.frame_idx, k] = each.points["score"]
    score[np.isnan(points[..., 0])] = np.nan
    np.savez_compressed(task["out"], points=points, score=score)
    Path(task["out"]).with_suffix(".json").write_text(
        json.dumps({"keypoints": names, "edges": edges})
    )
    if task.get("slp"):
        found.save(task["slp"], embed=False)


def convert(task) -> None:
    """Labels of SLEAP as one of our files of labels."""
    import numpy as np
    import sleap_io as sio

    labels = sio.load_slp(task["source"])
    skeleton = labels.skeletons[0]
    frames = []
    for frame in labels:
        if labels.videos.index(frame.video) != 0:
            continue
        animals = [
            {
                "points": [
                    None if np.isnan(p).any() else [float(p[0]), float(p[1])] for p in e.numpy()
                ]
            }
            for e in frame.user_instances or frame.instances
        ]
        frames.append({"frame": int(frame.frame_idx), "animals": animals})
    told = {
        "format": task["format"],
        "video": {"name": str(labels.videos[0].filename)[:200] if labels.videos else ""},
        "skeleton": {
            "keypoints": skeleton.node_names,
            "edges": [[int(a), int(b)] for a, b in skeleton.edge_inds],
            "symmetric": [[int(a), int(b)] for a, b in skeleton.symmetry_inds],
        },
        "frames": frames,
    }
    Path(task["out"]).write_text(json.dumps(told))


def main() -> None:
    task = json.loads(Path(sys.argv[1]).read_text())
    heal_torchvision()
    try:
        {"train": train, "predict": predict, "convert": convert}[task["do"]](task)
    except RefusedError as error:
        say(refused=str(error))
        sys.exit(1)
    say(done=task["do"])


if __name__ == "__main__":
    main()
