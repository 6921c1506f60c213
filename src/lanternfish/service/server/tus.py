"""The tus 1.0.0 protocol for resumable uploads: its headers, without any I/O.

Reference: https://tus.io/protocols/resumable-upload (core, creation, creation-with-upload,
checksum, expiration, termination).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass

VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,checksum,expiration,termination"
CHECKSUMS = ("sha256", "sha1", "md5")
OFFSET_TYPE = "application/offset+octet-stream"
LONGEST_NAME = 200  # bytes of UTF-8: leaves room below the 255 of file systems


class Refusal(Exception):
    """A request that the protocol refuses: an HTTP status and one sentence."""

    def __init__(self, status: int, sentence: str):
        super().__init__(sentence)
        self.status, self.sentence = status, sentence


@dataclass(frozen=True)
class Creation:
    """What a client announces: `size` in bytes, and its metadata."""

    size: int
    metadata: dict[str, str]

    @property
    def name(self) -> str:
        return clean_name(self.metadata.get("filename") or self.metadata.get("name") or "")


@dataclass(frozen=True)
class Checksum:
    """Announced hash of one request's body."""

    algorithm: str
    digest: bytes

    def new(self):
        return hashlib.new(self.algorithm)


def check_version(headers: Mapping[str, str]) -> None:
    """Refuse other versions with 412, as the protocol says."""
    version = headers.get("tus-resumable")
    if version != VERSION:
        raise Refusal(
            412, f"Expected the header Tus-Resumable: {VERSION}; got {version or 'none'}."
        )


def creation(headers: Mapping[str, str], largest: int) -> Creation:
    """What a POST announces; a lying, missing or too great length is refused."""
    if "upload-defer-length" in headers:
        raise Refusal(400, "Expected Upload-Length; uploads of unknown length are not supported.")
    size = natural(headers.get("upload-length"), "Upload-Length")
    if size > largest:
        raise Refusal(413, f"Expected at most {largest:,} bytes; got {size:,}.")
    return Creation(size, metadata(headers.get("upload-metadata", "")))


def natural(text: str | None, name: str) -> int:
    """A header that is a count of bytes."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 18:
        raise Refusal(400, f"Expected {name} as a whole number of bytes; got {text or 'none'}.")
    return int(text)


def metadata(header: str) -> dict[str, str]:
    """`key base64, key base64`; hostile bytes are refused, text stays text."""
    found: dict[str, str] = {}
    for pair in filter(None, (part.strip() for part in header.split(","))):
        key, _, value = pair.partition(" ")
        try:
            found[key] = base64.b64decode(value.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise Refusal(
                400, f"Expected Upload-Metadata in base64 of UTF-8; {key!r} is not."
            ) from None
    return found


def checksum(headers: Mapping[str, str]) -> Checksum | None:
    """The announced hash of this request's body."""
    header = headers.get("upload-checksum")
    if header is None:
        return None
    algorithm, _, digest = header.partition(" ")
    if algorithm not in CHECKSUMS:
        raise Refusal(400, f"Expected a checksum of {', '.join(CHECKSUMS)}; got {algorithm!r}.")
    try:
        return Checksum(algorithm, base64.b64decode(digest.strip(), validate=True))
    except binascii.Error:
        raise Refusal(400, "Expected the checksum in base64.") from None


def clean_name(name: str) -> str:
    """A file name that is only a name: no folders, no control characters, not too long.

    It is shown and put into archives; files on disk carry ids instead.
    """
    name = unicodedata.normalize("NFC", name).replace("\\", "/").rpartition("/")[2]
    kept = (
        "".join(c for c in name if unicodedata.category(c)[0] != "C").strip().strip(".") or "data"
    )
    while len(kept.encode()) > LONGEST_NAME:
        stem, dot, ending = kept.rpartition(".")
        kept = stem[:-1] + dot + ending if dot and len(ending) < 20 and len(stem) > 1 else kept[:-1]
    return kept


def options_headers(largest: int) -> dict[str, str]:
    return {
        "Tus-Resumable": VERSION,
        "Tus-Version": VERSION,
        "Tus-Extension": EXTENSIONS,
        "Tus-Max-Size": str(largest),
        "Tus-Checksum-Algorithm": ",".join(CHECKSUMS),
    }
