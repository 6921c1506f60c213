"""Reading movies of calcium imaging: TIFF stacks, HDF5 and NWB; the header first, then in blocks.

A movie is (frames, height, width). No more than a block of frames is in memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

ENDINGS = (".tif", ".tiff", ".h5", ".hdf5", ".nwb")
BLOCK = 64 * 2**20  # bytes of a block
LOOKED = 16  # frames that saturation is counted on
TOPS = (255, 1_023, 2_047, 4_095, 8_191, 16_383, 32_767, 65_535)  # of converters of 8 to 16 bits
RATES = ("rate", "fs", "fps", "frame_rate", "framerate", "sampling_rate", "imaging_rate")
SERIES = ("TwoPhotonSeries", "OnePhotonSeries")
SLENDER = 3  # times as long as the axis before it: the last axis is time


class MovieError(ValueError):
    """The movie cannot be read."""


@dataclass(frozen=True)
class Source:
    """Which file, and what in it.

    Attributes:
        dataset: path within HDF5 or NWB; "": the only one.
        order: "auto", "frames first" or "frames last".
    """

    path: Path
    dataset: str = ""
    order: str = "auto"


@dataclass(frozen=True)
class Header:
    """What a movie says of itself.

    Attributes:
        rate: frames a second; None where the file does not say. planes: that share it, as the
            file says; 1 where it does not.
        dataset: path within the file.
    """

    frames: int
    height: int
    width: int
    dtype: np.dtype
    rate: float | None = None
    dataset: str = ""
    planes: int = 1

    @property
    def block(self) -> int:
        """Frames that are read at once."""
        return max(1, BLOCK // (self.height * self.width * max(self.dtype.itemsize, 4)))


def look(source: Source) -> Header:
    """Read the header.

    Raises:
        MovieError: in one sentence what is wrong, and what to do.
    """
    with _opened(source) as (header, _):
        return header


def frames(source: Source) -> Iterator[np.ndarray]:
    """Blocks of frames, (some, height, width), from the first to the last.

    Raises:
        MovieError: a frame cannot be read.
    """
    with _opened(source) as (header, read):
        for begin in range(0, header.frames, header.block):
            end = min(begin + header.block, header.frames)
            yield _block(read, begin, end, source.path.name)


def saturated(source: Source) -> float:
    """Share of pixels at the top of the converter's range, on a few frames over the movie."""
    with _opened(source) as (header, read):
        if header.dtype.kind not in "ui":
            return 0.0
        chosen = np.unique(np.linspace(0, header.frames - 1, LOOKED).astype(int))
        seen = np.stack([_block(read, k, k + 1, source.path.name)[0] for k in chosen])
    top = int(seen.max())
    if top not in TOPS and top != np.iinfo(header.dtype).max:
        return 0.0
    return float((seen == top).mean())


def _block(read, begin: int, end: int, name: str) -> np.ndarray:
    try:
        found = read(begin, end)
    except (OSError, ValueError, IndexError, KeyError, RuntimeError) as error:
        raise MovieError(
            f"Expected to read frames {begin} to {end - 1} of {name}; the file is damaged there "
            f"({str(error)[:120]}): copy it again from where it was recorded."
        ) from None
    if len(found) != end - begin:
        raise MovieError(f"Expected frames {begin} to {end - 1} in {name}; it ends before.")
    return found


@contextmanager
def _opened(source: Source) -> Iterator[tuple[Header, Any]]:
    """The header, and a function that reads frames [begin, end)."""
    if source.path.stat().st_size == 0:
        raise MovieError(f"Expected a movie; {source.path.name} is empty: copy it again.")
    if source.path.name.lower().endswith((".tif", ".tiff")):
        with _tiff(source) as found:
            yield found
    else:
        with _hdf5(source) as found:
            yield found


@contextmanager
def _tiff(source: Source) -> Iterator[tuple[Header, Any]]:
    import tifffile

    name = source.path.name
    try:
        file = tifffile.TiffFile(source.path)
        series: Any = file.series[0]
        alike = len(file.series) > 1 and len({(p.shape, p.dtype) for p in file.pages}) == 1
        sheets: Any = file.pages if alike else series.pages
        pages = len(sheets)
        wide = (pages, *sheets[0].shape) if alike else series.shape
    except (tifffile.TiffFileError, IndexError, ValueError, OSError, KeyError) as error:
        raise MovieError(
            f"Expected a TIFF stack; {name} cannot be read ({str(error)[:120]}): it is damaged or "
            "was cut off: copy it again."
        ) from None
    with file:
        _promised(file, series, name)
        page = series.keyframe
        if page.samplesperpixel > 1 or page.photometric in (2, 3, 6):  # RGB, palette, YCbCr
            raise MovieError(
                f"Expected grey values; {name} is a colour TIFF: export the raw frames, one number "
                "a pixel, from the program that recorded them."
            )
        _readable(page, name)
        shape = tuple(n for n in wide if n > 1) if len(wide) > 3 else wide
        if len(shape) > 3:
            raise MovieError(
                f"Expected one plane and one channel; {name} has axes {series.axes} of "
                f"{series.shape}: save each plane and channel as a file of its own."
            )
        if len(file.series) > 1 and not alike:
            raise MovieError(
                f"Expected frames of one size in {name}; it has {len(file.series)} of different "
                "sizes: save the movie alone."
            )
        _whole_tiff(source.path, series, sheets)
        flat = not alike and series.dataoffset is not None and page.compression == 1

        def read(begin: int, end: int) -> np.ndarray:
            if flat:
                size = math.prod(shape[1:])
                dtype = np.dtype(file.byteorder + series.dtype.char)
                with open(source.path, "rb") as raw:
                    raw.seek(series.dataoffset + begin * size * dtype.itemsize)
                    found = np.fromfile(raw, dtype, (end - begin) * size)
                return found.reshape(-1, *shape[1:]).astype(series.dtype, copy=False)
            return np.stack([sheets[k].asarray() for k in range(begin, min(end, pages))])

        order = "frames first" if source.order == "auto" and not flat else source.order
        if order == "frames last":
            raise MovieError(
                "Expected frames first, as TIFF stacks have them: choose Axis order auto, or save "
                "the movie as HDF5."
            )
        header = _header(shape, series.dtype, Source(source.path, "", order), _tiff_rate(file))
        yield replace(header, planes=_tiff_planes(file)), read


def _readable(page, name: str) -> None:
    """Raise where the packing of a page needs what is not installed (LZW, JPEG, Zstandard, ...)."""
    from tifffile import TIFF

    try:
        if page.compression != 1:
            TIFF.DECOMPRESSORS[page.compression]
        if page.predictor != 1:
            TIFF.UNPREDICTORS[page.predictor]
    except (KeyError, ImportError):
        kind = getattr(page.compression, "name", page.compression)
        raise MovieError(
            f"Expected a TIFF stack that can be unpacked here; {name} is packed by {kind}, which "
            "needs the package imagecodecs (`pip install imagecodecs`): install it, or save the "
            "movie without compression."
        ) from None


def _promised(file, series, name: str) -> None:
    """Raise where fewer frames can be found than the file's description says."""
    told = (file.shaped_metadata or ({},))[0].get("shape") if file.is_shaped else None
    if told and len(file.series) == 1 and math.prod(told) != math.prod(series.shape):
        raise MovieError(
            f"Expected {tuple(told)} values in {name}, as its header says; it has "
            f"{tuple(series.shape)}: it was cut off: copy it again."
        )


def _whole_tiff(path: Path, series, sheets) -> None:
    """Raise where the file ends before the pixels that its header tells of."""
    size, ends = path.stat().st_size, 0
    if series.dataoffset is not None:
        ends = series.dataoffset + series.nbytes
    last = sheets[len(sheets) - 1]
    if last is not None:
        there = zip(last.dataoffsets, last.databytecounts, strict=True)
        ends = max([ends, *(a + b for a, b in there)])
    if ends > size:
        raise MovieError(
            f"Expected {ends} bytes in {path.name}, as its header says; it has {size}: it was cut "
            "off: copy it again."
        )


def _tiff_rate(file) -> float | None:
    about = file.imagej_metadata or {}
    if about.get("finterval"):
        return 1 / float(about["finterval"])
    if about.get("fps"):
        return float(about["fps"])
    return _scanimage(file).get("SI.hRoiManager.scanFrameRate")


def _scanimage(file) -> dict[str, Any]:
    """What ScanImage says of all frames: before the first page, or in its software tag."""
    from tifffile.tifffile import scanimage_description_metadata

    told = (file.scanimage_metadata or {}).get("FrameData")
    if not told and file.pages[0].is_scanimage:
        told = scanimage_description_metadata(file.pages[0].software)
    return told or {}


def _tiff_planes(file) -> int:
    """Planes that share the frame rate, those of the way back too, as ScanImage says."""
    told = _scanimage(file)
    if not told.get("SI.hStackManager.enable"):
        return 1
    names = ("numFramesPerVolumeWithFlyback", "actualNumSlices", "numSlices")
    values = (told.get(f"SI.hStackManager.{name}") for name in names)
    return next((v for v in values if isinstance(v, int) and 1 <= v <= 1_000), 1)


@contextmanager
def _hdf5(source: Source) -> Iterator[tuple[Header, Any]]:
    import h5py

    name = source.path.name
    try:
        file = h5py.File(source.path, "r")
    except OSError as error:
        raise MovieError(
            f"Expected an HDF5 file; {name} cannot be opened ({str(error)[:120]}): it is damaged "
            "or was cut off: copy it again."
        ) from None
    with file:
        data: Any = _dataset(file, source, name)
        header = _header(
            data.shape, data.dtype, Source(source.path, data.name, source.order), _h5_rate(data)
        )
        last = data.shape[-1] == header.frames and source.order == "frames last"

        def read(begin: int, end: int) -> np.ndarray:
            if last:
                return np.moveaxis(data[..., begin:end], -1, 0)
            return data[begin:end]

        yield header, read


def _dataset(file, source: Source, name: str):
    """The dataset that holds the movie."""
    import h5py

    series = []
    found: dict[str, Any] = {}

    def visit(path, node) -> None:
        kind = node.attrs.get("neurodata_type", "")
        if isinstance(node, h5py.Group) and kind in SERIES:
            series.append(node)
        if isinstance(node, h5py.Dataset) and node.ndim == 3 and node.dtype.kind in "uif":
            found[path] = node

    file.visititems(visit)
    if source.dataset:
        node = file.get(source.dataset)
        node = node.get("data") if isinstance(node, h5py.Group) else node
        if not isinstance(node, h5py.Dataset):
            names = ", ".join(found) or "none"
            raise MovieError(
                f"Expected a dataset {source.dataset} in {name}; it has {names}: name one of them."
            )
        return node
    if series:
        found = {each.name: each["data"] for each in series if each["data"].ndim == 3}
        if not found:
            raise MovieError(
                f"Expected frames in {name}; its {series[0].attrs['neurodata_type']} points to "
                "other files: drop those files here."
            )
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        raise MovieError(
            f"Expected a movie, numbers of (frames, height, width), in {name}; it has no dataset "
            "of three axes: export the movie again."
        )
    names = ", ".join(sorted(found)[:8])
    raise MovieError(f"Expected one movie in {name}; it has {names}: name one under Dataset.")


def _h5_rate(data) -> float | None:
    group = data.parent
    if "starting_time" in group and "rate" in group["starting_time"].attrs:
        return float(group["starting_time"].attrs["rate"])
    if "timestamps" in group and len(group["timestamps"]) > 1:
        times = group["timestamps"]
        return float((len(times) - 1) / (times[-1] - times[0]))
    for place in (data, group, data.file):
        for key, value in place.attrs.items():
            if key.lower() in RATES and np.ndim(value) == 0 and np.isreal(value):
                return float(value)
    return None


def _header(shape, dtype, source: Source, rate: float | None) -> Header:
    name = source.path.name
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        raise MovieError(f"Expected numbers of 8 to 64 bits in {name}; got {dtype}.")
    if len(shape) == 2:
        raise MovieError(
            f"Expected a movie of many frames; {name} has one frame of {shape[0]} x {shape[1]} px: "
            "drop the whole stack."
        )
    if len(shape) != 3:
        raise MovieError(f"Expected (frames, height, width) in {name}; got {tuple(shape)}.")
    if source.order == "auto" and shape[2] > SLENDER * shape[1] and shape[2] > shape[0]:
        raise MovieError(
            f"Expected (frames, height, width) in {name}; got {tuple(shape)}, which looks as if "
            "frames were the last axis: choose Axis order 'frames last', or 'frames first' where "
            "it is right as it is."
        )
    if source.order == "frames last":
        shape = (shape[2], shape[0], shape[1])
    rate = float(rate) if rate and math.isfinite(float(rate)) and float(rate) > 0 else None
    return Header(int(shape[0]), int(shape[1]), int(shape[2]), dtype, rate, source.dataset)


@dataclass(frozen=True)
class Converted:
    """A movie as 16-bit integers in a plain file: value = offset + scale * integer."""

    header: Header
    offset: float
    scale: float


def convert(source: Source, path: Path, tell=lambda share: None) -> Converted:
    """Write a movie as 16-bit integers, (frames, height, width), without loss where it can be.

    Values of integers that fit stay as they are; others are scaled over their range.

    Raises:
        MovieError: a frame cannot be read, or none has a finite value.
    """
    header = look(source)
    offset, scale = 0.0, 1.0
    if header.dtype.kind == "f" or header.dtype.itemsize > 2:
        offset, scale = _range(source)
    while True:
        with open(path, "wb") as sink:
            done, fits = 0, True
            for block in frames(source):
                if header.dtype.kind == "u" and scale == 1.0 and block.max() > 32_767:
                    offset, scale, fits = 0.0, 65_535 / 32_766, False
                    break
                sink.write(_integers(block, offset, scale))
                done += len(block)
                tell(done / header.frames)
        if fits:
            return Converted(header, offset, scale)


def _integers(block: np.ndarray, offset: float, scale: float):
    if offset == 0.0 and scale == 1.0:
        return np.ascontiguousarray(block, np.int16).data
    values = np.nan_to_num((block.astype(np.float32) - offset) / scale, nan=0.0)
    return np.ascontiguousarray(np.rint(np.clip(values, -32_768, 32_767)), np.int16).data


def _range(source: Source) -> tuple[float, float]:
    low, high = math.inf, -math.inf
    for block in frames(source):
        finite = block[np.isfinite(block)] if block.dtype.kind == "f" else block
        if finite.size:
            low, high = min(low, float(finite.min())), max(high, float(finite.max()))
    if not math.isfinite(low):
        raise MovieError(f"Expected finite values in {source.path.name}; all are NaN or infinite.")
    return low, max(high - low, 1e-12) / 32_000
