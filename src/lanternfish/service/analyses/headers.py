"""What a file says of itself in its first bytes, against what its name says."""

from __future__ import annotations

from pathlib import Path

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
MAGIC: dict[str, tuple[bytes, ...]] = {
    ".nwb": (_HDF5,),
    ".h5": (_HDF5,),
    ".hdf5": (_HDF5,),
    ".npz": _ZIP,
    ".zip": _ZIP,
    ".npy": (b"\x93NUMPY",),
    ".png": (b"\x89PNG\r\n\x1a\n",),
    ".jpg": (b"\xff\xd8\xff",),
    ".jpeg": (b"\xff\xd8\xff",),
    ".gif": (b"GIF87a", b"GIF89a"),
    ".tif": (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
    ".tiff": (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+"),
    ".gz": (b"\x1f\x8b",),
    ".avi": (b"RIFF",),
    ".pdf": (b"%PDF",),
}
TEXT = (".csv", ".tsv", ".json", ".toml", ".txt", ".py", ".md")


def contradiction(path: Path) -> str:
    """A sentence where a file's first bytes contradict its name; "" where they do not."""
    if not path.is_file():
        return ""
    with open(path, "rb") as file:
        head = file.read(4096)
    suffix = path.suffix.lower()
    wanted = MAGIC.get(suffix)
    if wanted and not head.startswith(wanted):
        got = "an empty file" if not head else _named(head)
        return f"Expected {path.name} to begin as {suffix} files do; got {got}."
    if suffix in TEXT and (b"\x00" in head or _is_known(head)):
        return f"Expected {path.name} to be text; got {_named(head)}."
    return ""


def _is_known(head: bytes) -> bool:
    return any(head.startswith(start) for start in MAGIC.values())


def _named(head: bytes) -> str:
    for suffix, start in MAGIC.items():
        if head.startswith(start):
            return f"a file of another kind ({suffix})"
    return "something else"
