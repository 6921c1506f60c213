"""Regions of a folder that suite2p wrote, or of a zip of it.

    stat.npy                  pixels of each region (ypix, xpix, lam) and its measures
    F.npy, Fneu.npy, spks.npy (regions, frames); iscell.npy (regions, 2)
    ops.npy                   size, frame rate, images, shifts; since suite2p 1.0 also
                              db.npy, settings.npy, reg_outputs.npy and detect_outputs.npy

No pickle is loaded: see `pickled`. What older versions did not keep is computed from the traces and
pixels. Reference: Pachitariu et al., Suite2p, bioRxiv 061507.
"""

from __future__ import annotations

import stat as modes
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np

from lanternfish.analyses.calcium.pickled import PickledError, plain, read_array, read_objects
from lanternfish.analyses.calcium.regions import Motion, Regions

NEEDED = ("F.npy", "stat.npy")
SETTINGS = ("db.npy", "settings.npy", "reg_outputs.npy", "detect_outputs.npy", "ops.npy")
SHARE = 0.7  # of neuropil, that measures are computed with, as suite2p does
DEEPEST = 6  # folders within each other
MOST = 20_000  # names that are looked at, and px of a side
MAP = "What suite2p looked for regions in (Vcorr)"
OLD = "suite2p"


class ForeignError(ValueError):
    """Results that are not what they should be; the text says what was expected."""


@dataclass(frozen=True)
class Plane:
    """Results of one plane.

    Attributes:
        regions: see there; the rate is 0 where the files do not say it.
        program: who found them, with the version where it is told.
    """

    regions: Regions
    program: str


def read_plane(path: Path, number: int = -1) -> Plane:
    """Read a plane of a zip or a folder; number: of "plane2"; -1: the only one.

    Raises:
        ForeignError: in one sentence what is wrong, and what to do.
    """
    with _opened(path) as (names, open_file):
        place = _place(names, number, path.name)

        def get(name: str, objects: bool = False) -> Any:
            full = f"{place}/{name}".lstrip("/")
            if full not in names:
                return None
            with open_file(full) as file:
                return (read_objects if objects else read_array)(file, name)

        try:
            return _plane(get, path.name)
        except PickledError as error:
            raise ForeignError(str(error)) from None
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            if isinstance(error, ForeignError):
                raise
            raise ForeignError(
                f"Expected results as suite2p writes them in {path.name}; got "
                f"{type(error).__name__}: {str(error)[:120]}: take the folder as it was written."
            ) from None


@contextmanager
def _opened(path: Path) -> Iterator[tuple[set[str], Callable[[str], IO[bytes]]]]:
    """Names of the files within, and a function that opens one."""
    if path.is_dir():
        yield _files(path), lambda name: (path / name).open("rb")
        return
    if not zipfile.is_zipfile(path):
        raise ForeignError(
            f"Expected a folder that suite2p wrote, or a zip of it; {path.name} is neither: pack "
            "the folder plane0 as a zip."
        )
    try:
        with zipfile.ZipFile(path) as archive:
            names = {each.filename for each in archive.infolist()[:MOST] if not each.is_dir()}
            yield names, archive.open
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, OSError) as error:
        raise ForeignError(
            f"Expected a zip that can be unpacked; {path.name} cannot ({str(error)[:100]}): it is "
            "damaged or has a password: pack the folder again."
        ) from None


def _files(folder: Path, deep: int = 0) -> set[str]:
    """Files below a folder, as paths within it; links are left out."""
    found: set[str] = set()
    for each in sorted(folder.iterdir())[:MOST]:
        kind = each.lstat().st_mode
        if modes.S_ISREG(kind):
            found.add(each.name)
        elif modes.S_ISDIR(kind) and deep < DEEPEST:
            found |= {f"{each.name}/{inner}" for inner in _files(each, deep + 1)}
    return found


def _place(names: set[str], number: int, name: str) -> str:
    """The folder of a plane."""
    folders = {str(PurePosixPath(each).parent) for each in names}
    folders = {"" if each == "." else each for each in folders}
    whole = sorted(f for f in folders if all(f"{f}/{n}".lstrip("/") in names for n in NEEDED))
    planes = [f for f in whole if PurePosixPath(f).name != "combined"] or whole
    if number >= 0:
        planes = [f for f in planes if PurePosixPath(f).name == f"plane{number}"]
    if len(planes) == 1:
        return planes[0]
    if not planes:
        wanted = f"plane{number} with " if number >= 0 else ""
        there = ", ".join(f or "the top folder" for f in whole[:8])
        raise ForeignError(
            f"Expected {wanted}{' and '.join(NEEDED)}, as suite2p writes them, in {name}; "
            f"{'there are results in ' + there if there else 'there are none'}: "
            + ("set Plane." if there else "give the folder suite2p or plane0, or a zip of it.")
        )
    raise ForeignError(f"Expected one plane in {name}; it has {', '.join(planes[:8])}: set Plane.")


def _plane(get: Callable[..., Any], name: str) -> Plane:
    raw = _traces(get("F.npy"), "F.npy")
    count, frames = raw.shape
    around = _like(get("Fneu.npy"), raw, "Fneu.npy")
    spikes = _like(get("spks.npy"), raw, "spks.npy")
    told: dict[str, Any] = {}
    for each in SETTINGS:
        more = get(each, objects=True)
        told |= {k: plain(v) for k, v in more.items()} if isinstance(more, dict) else {}
    listed = [{k: plain(v) for k, v in plain(each).items()} for each in get("stat.npy").ravel()]
    if len(listed) != count:
        raise ForeignError(
            f"Expected as many regions in stat.npy as in F.npy of {name}; got {len(listed)} and "
            f"{count}: they are of different runs."
        )
    pixels = [np.stack([_whole(e["ypix"]), _whole(e["xpix"])], axis=-1) for e in listed]
    size = _size(told, pixels, name)
    own = [~_of(e, "overlap", p).astype(bool) for e, p in zip(listed, pixels, strict=True)]
    weights = [_of(e, "lam", p).astype(np.float32) for e, p in zip(listed, pixels, strict=True)]
    regions = Regions(
        pixels, weights, own, raw, around, spikes, _rate(told), size,
        _measures(listed, pixels, raw - SHARE * around), _classified(get("iscell.npy"), count),
        _motion(told, size, frames), _image(told, size), MAP,
    )  # fmt: skip
    version = told.get("suite2p_version") or told.get("version")
    return Plane(regions, f"{OLD} {version}" if isinstance(version, str) else OLD)


def _traces(values: Any, name: str) -> np.ndarray:
    if not isinstance(values, np.ndarray) or values.ndim != 2 or values.dtype.kind not in "fiu":
        got = getattr(values, "shape", None)
        raise ForeignError(f"Expected numbers of (regions, frames) in {name}; got {got}.")
    return values.astype(np.float32)


def _like(values: Any, raw: np.ndarray, name: str) -> np.ndarray:
    if values is None:
        return np.zeros_like(raw)
    found = _traces(values, name)
    if found.shape != raw.shape:
        raise ForeignError(
            f"Expected {raw.shape} values in {name}, as in F.npy; got {found.shape}: they are of "
            "different runs."
        )
    return found


def _whole(values: Any) -> np.ndarray:
    found = np.asarray(values)
    if found.ndim != 1 or not found.size or found.dtype.kind not in "iu":
        raise ForeignError("Expected whole numbers of px for each region in stat.npy.")
    return found.astype(np.int64)


def _of(told: dict, name: str, pixels: np.ndarray) -> np.ndarray:
    """A value for each pixel of a region; 0 (overlap) or 1 (weight) where it is not told."""
    if name not in told:
        return np.full(len(pixels), name == "lam", np.float32)
    found = np.asarray(told[name])
    if found.shape != (len(pixels),) or found.dtype.kind not in "biuf":
        raise ForeignError(f"Expected {len(pixels)} values {name} of a region in stat.npy.")
    return found


def _size(told: dict, pixels: list[np.ndarray], name: str) -> tuple[int, int]:
    """Height and width: as told, or what holds all regions."""
    most = np.max([each.max(0) for each in pixels], axis=0) + 1 if pixels else np.ones(2, int)
    least = np.min([each.min(0) for each in pixels], axis=0) if pixels else np.zeros(2, int)
    height, width = (int(told.get(key, most[k])) for k, key in enumerate(("Ly", "Lx")))
    inside = (least >= 0).all() and most[0] <= height and most[1] <= width
    if not inside or not 0 < height <= MOST or not 0 < width <= MOST:
        raise ForeignError(
            f"Expected regions within {width} x {height} px in {name}; they reach to "
            f"{int(most[1])} x {int(most[0])}: its files are of different runs."
        )
    return height, width


def _rate(told: dict) -> float:
    rate = told.get("fs", 0.0)
    good = isinstance(rate, int | float | np.number) and np.isfinite(rate) and rate > 0
    return float(rate) if good else 0.0


def _image(told: dict, size: tuple[int, int]) -> np.ndarray:
    """suite2p's map of correlations, which covers what was seen in all frames."""
    shown, map_ = np.zeros(size, np.float32), told.get("Vcorr")
    if not isinstance(map_, np.ndarray) or map_.ndim != 2 or map_.dtype.kind not in "fiu":
        return shown
    y, x = (int(np.ravel(told.get(name, (0,)))[0]) for name in ("yrange", "xrange"))
    y, x = (y, x) if map_.shape != size else (0, 0)
    if min(y, x) >= 0 and y + map_.shape[0] <= size[0] and x + map_.shape[1] <= size[1]:
        shown[y : y + map_.shape[0], x : x + map_.shape[1]] = map_
    return shown


def _motion(told: dict, size: tuple[int, int], frames: int) -> Motion:
    mean = told.get("meanImg")
    good = isinstance(mean, np.ndarray) and mean.shape == size and mean.dtype.kind in "fiu"
    mean = np.asarray(mean, np.float32) if good else np.zeros(size, np.float32)
    pair: Any = [told.get(name) for name in ("yoff", "xoff")]
    if not all(isinstance(p, np.ndarray) and p.shape == (frames,) for p in pair):
        return Motion(mean, np.zeros((0, 2), np.float32))
    parts: Any = [told.get(name) for name in ("yoff1", "xoff1")]
    local = None
    if all(isinstance(p, np.ndarray) and p.ndim == 2 and len(p) == frames for p in parts):
        local = np.stack([np.abs(p).max(axis=1) for p in parts], axis=-1).astype(np.float32)
    return Motion(mean, np.stack(pair, axis=-1).astype(np.float32), local)


def _classified(values: Any, count: int) -> np.ndarray:
    if values is None:
        return np.zeros((count, 2))
    if values.shape != (count, 2) or values.dtype.kind not in "biuf":
        raise ForeignError(
            f"Expected {count} x 2 values in iscell.npy; got {values.shape}: it is of another run."
        )
    return values.astype(float)


def _measures(listed: list[dict], pixels: list[np.ndarray], clean: np.ndarray) -> dict:
    """Measures as told, or (older versions) computed from traces without neuropil and pixels."""
    computed = {
        "snr": _smoothness(clean), "skew": _skewness(clean),
        "compactness": np.array([_compactness(p) for p in pixels]),
        "radius": np.array([np.sqrt(len(p) / np.pi) for p in pixels]),
    }  # fmt: skip
    names = {"snr": "snr", "skew": "skew", "compactness": "compact", "radius": "radius"}
    found = {
        ours: np.array([float(e.get(name, computed[ours][k])) for k, e in enumerate(listed)])
        for ours, name in names.items()
    }
    return found | {"pixels": np.array([len(p) for p in pixels], int)}


def _smoothness(traces: np.ndarray) -> np.ndarray:
    """1 - half the variance of steps over the variance."""
    spread = np.maximum(traces.var(axis=1), 1e-12)
    return 1 - 0.5 * np.diff(traces, axis=1).var(axis=1) / spread


def _skewness(traces: np.ndarray) -> np.ndarray:
    centred = traces - traces.mean(axis=1, keepdims=True)
    return (centred**3).mean(axis=1) / np.maximum(centred.std(axis=1) ** 3, 1e-12)


def _compactness(pixels: np.ndarray) -> float:
    """Mean distance of pixels from their median, over that in a disc of as many; 1 at least."""
    away = np.hypot(*(pixels - np.median(pixels, axis=0)).T)
    return float(max(away.mean() / (2 / 3 * np.sqrt(len(pixels) / np.pi)), 1.0))
