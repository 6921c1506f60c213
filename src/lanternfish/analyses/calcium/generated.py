"""Calcium movies whose cells, traces, spikes and motion are known.

    F_k(t) = b_k (1 + a sum_s exp(-(t - s) / tau))            spikes s of cell k, a Poisson process
    x(t) = Poisson(gain (ground + neuropil(t) + sum_k w_k F_k(t)), moved by the shift of frame t)

Cells are discs with soft edges, neuropil is a few wide fields with slow time courses, motion is a
slow walk of the whole frame, between pixels too. Fewer photons (`gain`) are more noise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MARGIN = 9  # px, of cells from the edge
APART = 1.15  # diameters, between centres at least
BRIGHT = 0.75  # of a cell's ground, in units of the frame's
STEP = 0.12  # px a frame, of the walk


@dataclass(frozen=True)
class Movie:
    """What a movie is generated from.

    Attributes:
        cells, frames: numbers. size: height and width, px. diameter: of cells, px.
        rate: frames a second. tau: decay of the indicator, s. firing: spikes a second.
        amplitude: of one spike, as a share of the cell's ground.
        gain: photons of the background in a pixel and frame. motion: largest shift, px.
    """

    cells: int = 20
    frames: int = 1_000
    size: tuple[int, int] = (128, 128)
    diameter: float = 11.0
    rate: float = 10.0
    tau: float = 0.7
    firing: float = 0.25
    amplitude: float = 0.9
    gain: float = 40.0
    motion: float = 2.0
    seed: int = 0


@dataclass(frozen=True)
class Truth:
    """What is known of a movie: weights (cells, height, width), the others (cells or 2, frames)."""

    weights: np.ndarray
    traces: np.ndarray
    spikes: np.ndarray
    shifts: np.ndarray

    @property
    def masks(self) -> np.ndarray:
        """Pixels of each cell, (cells, height, width)."""
        return self.weights > 0.5


def generate(movie: Movie) -> tuple[Truth, Iterator[np.ndarray]]:
    """What is known, and the frames, (height, width) of 16 unsigned bits, one after the other.

    Raises:
        ValueError: so many cells do not fit.
    """
    draw = np.random.default_rng(movie.seed)
    weights = _discs(movie, draw)
    spikes = draw.poisson(movie.firing / movie.rate, (movie.cells, movie.frames)).astype(np.float32)
    traces = 1 + movie.amplitude * _decay(spikes, np.exp(-1 / (movie.rate * movie.tau)))
    traces *= draw.uniform(0.8, 1.3, (movie.cells, 1))
    walk = np.cumsum(draw.normal(0, STEP, (2, movie.frames)), axis=1)
    shifts = movie.motion * np.sin(walk / max(movie.motion, 1e-9)) if movie.motion else 0 * walk
    truth = Truth(weights, traces.astype(np.float32), spikes, shifts.astype(np.float32))
    return truth, _frames(movie, truth, draw)


def _discs(movie: Movie, draw: np.random.Generator) -> np.ndarray:
    height, width = movie.size
    centres: list[np.ndarray] = []
    for _ in range(20_000):
        if len(centres) == movie.cells:
            break
        spot = draw.uniform(MARGIN, [height - MARGIN, width - MARGIN])
        if all(np.hypot(*(spot - c)) > APART * movie.diameter for c in centres):
            centres.append(spot)
    if len(centres) < movie.cells:
        raise ValueError(
            f"Expected room for {movie.cells} cells of {movie.diameter:g} px; {len(centres)} fit "
            f"in {height} x {width} px."
        )
    y, x = np.mgrid[:height, :width]
    radii = movie.diameter / 2 * draw.uniform(0.9, 1.1, movie.cells)
    away = [np.hypot(y - c[0], x - c[1]) for c in centres]
    return np.array(
        [1 / (1 + np.exp((far - r) / 0.6)) for far, r in zip(away, radii, strict=True)], np.float32
    )


def _decay(spikes: np.ndarray, stay: float) -> np.ndarray:
    from scipy.signal import lfilter

    return np.asarray(lfilter([1.0], [1.0, -stay], spikes, axis=-1), np.float32)


def _frames(movie: Movie, truth: Truth, draw: np.random.Generator) -> Iterator[np.ndarray]:
    from scipy.ndimage import gaussian_filter, shift

    fields = np.stack(
        [gaussian_filter(draw.normal(size=movie.size), max(movie.size) / 8) for _ in range(3)]
    )
    fields = 0.5 + 0.25 * fields / fields.std(axis=(1, 2), keepdims=True)
    fields = np.clip(fields, 0, None).astype(np.float32)
    slow = _decay(draw.normal(size=(3, movie.frames)), np.exp(-1 / (movie.rate * 1.5)))
    slow = 1 + 0.12 * slow / slow.std(axis=1, keepdims=True)
    texture = 1 + 0.15 * gaussian_filter(draw.normal(size=movie.size), 2) * 4
    ground = np.clip(0.5 * texture, 0.1, None).astype(np.float32)
    flat = BRIGHT * truth.weights.reshape(movie.cells, -1)
    for t in range(movie.frames):
        seen = ground + np.tensordot(slow[:, t], fields, 1) / 3
        seen = seen + (truth.traces[:, t] @ flat).reshape(movie.size)
        seen = shift(seen, truth.shifts[:, t], order=1, mode="nearest", prefilter=False)
        yield np.minimum(draw.poisson(movie.gain * np.clip(seen, 0, None)), 65_535).astype(
            np.uint16
        )


def write(movie: Movie, path: Path, *, dtype: str = "uint16") -> Truth:
    """Write a movie as .tif or .h5 (dataset `movie`), and what is known beside it (`.truth.h5`)."""
    truth, frames = generate(movie)
    if path.suffix == ".h5":
        import h5py

        shape = (movie.frames, *movie.size)
        with h5py.File(path, "w") as file:
            kept = file.create_dataset(
                "movie", shape, dtype, chunks=(50, *movie.size), compression=9, shuffle=False
            )
            kept.attrs["rate"] = movie.rate
            for t, frame in enumerate(frames):
                kept[t] = np.minimum(frame, np.iinfo(dtype).max)
    else:
        import tifffile

        with tifffile.TiffWriter(path) as sink:
            for frame in frames:
                sink.write(frame.astype(dtype), contiguous=True)
    write_truth(truth, path.with_suffix(".truth.h5"))
    return truth


def write_truth(truth: Truth, path: Path) -> None:
    """Write what is known as HDF5: `masks`, `traces`, `spikes`, `shifts`."""
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("masks", data=truth.masks.astype(np.uint8), compression=9)
        for name in ("traces", "spikes", "shifts"):
            file.create_dataset(name, data=getattr(truth, name), compression=9)


def write_suite2p(movie: Movie, path: Path) -> Truth:
    """Write a zip as suite2p would, of the cells that are known and of two regions that are none.

    Traces have noise of photons, neuropil is slow; the files are those of suite2p before 1.0.
    """
    import io
    import zipfile

    truth, _ = generate(movie)
    draw = np.random.default_rng(movie.seed + 1)
    cells, frames = truth.traces.shape
    masks = [*truth.masks, *_stripes(movie.size)]
    around = 20 + _decay(draw.normal(size=(len(masks), frames)), 0.95).astype(np.float32)
    light = np.vstack([movie.gain * truth.traces, np.full((2, frames), movie.gain)])
    raw = light + 0.7 * around + draw.normal(size=light.shape) * np.sqrt(movie.gain / 40)
    spikes = np.vstack([truth.spikes, np.zeros((2, frames))])
    weights = [*truth.weights, *masks[cells:]]
    levels = light.mean(axis=1) / movie.gain
    mean = 0.2 + np.tensordot(levels, np.array(weights), 1)
    stat = [
        {"ypix": (spots := np.argwhere(mask))[:, 0], "xpix": spots[:, 1], "npix": len(spots),
         "lam": weight[mask].astype(np.float32), "overlap": np.zeros(len(spots), bool)}
        for mask, weight in zip(masks, weights, strict=True)
    ]  # fmt: skip
    options = {"Ly": movie.size[0], "Lx": movie.size[1], "fs": movie.rate, "tau": movie.tau,
               "meanImg": mean.astype(np.float32), "Vcorr": np.sum(weights, 0, np.float32),
               "yoff": np.rint(truth.shifts[0]).astype(np.int32),
               "xoff": np.rint(truth.shifts[1]).astype(np.int32)}  # fmt: skip
    marked = np.r_[np.ones(cells), 0, 0]
    files = {"F": raw.astype(np.float32), "Fneu": around, "spks": spikes.astype(np.float32),
             "iscell": np.stack([marked, 0.1 + 0.8 * marked], axis=-1),
             "stat": np.array(stat, object), "ops": np.array(options, object)}  # fmt: skip
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, values in files.items():
            kept = io.BytesIO()
            np.save(kept, values)
            place = zipfile.ZipInfo(f"suite2p/plane0/{name}.npy")
            archive.writestr(place, kept.getvalue(), zipfile.ZIP_DEFLATED)
    write_truth(truth, path.with_suffix(".truth.h5"))
    return truth


def _stripes(size: tuple[int, int]) -> list[np.ndarray]:
    """Two long regions, of what is no cell."""
    made = [np.zeros(size, bool) for _ in range(2)]
    made[0][2:4, 8:48] = True
    made[1][8:48, 2:4] = True
    return made
