"""Files out: ranges, entity tags, names that stay text, archives made while they are sent."""

from __future__ import annotations

import mimetypes
import re
import stat
import zipfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from lanternfish.service.server.headers import FILE
from lanternfish.service.server.tus import clean_name
from lanternfish.service.store import Store

BLOCK = 1 << 20
_SHOWN = frozenset(  # kinds that a page shows; all others are only downloaded
    [
        "image/png",
        "image/jpeg",
        "image/gif",
        "image/webp",
        "image/svg+xml",
        "video/mp4",
        "video/webm",
    ]
)
_TEXT = frozenset({"text/plain", "text/csv", "application/json", "text/markdown"})
_RANGE = re.compile(r"bytes=(\d*)-(\d*)\Z", re.ASCII)


@dataclass(frozen=True)
class File:
    """A stored content and the name that it goes by."""

    name: str
    size: int
    sha256: str


def kind_of(name: str) -> str:
    """Media type by the ending, of those that do no harm; bytes otherwise."""
    kind = mimetypes.guess_type(name)[0] or ""
    return kind if kind in _SHOWN or kind in _TEXT else "application/octet-stream"


def disposition(name: str, inline: bool) -> str:
    """Content-Disposition (RFC 6266): no quotes, controls or folders come through."""
    name = clean_name(name)
    plain = "".join(c if c.isascii() and (c.isalnum() or c in " ._-()+") else "_" for c in name)
    word = "inline" if inline else "attachment"
    return f"{word}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"


def send(request: Request, store: Store, file: File, *, shown: bool = False) -> Response:
    """A content, whole or the range that is asked for; 304 where the browser has it already."""
    kind = kind_of(file.name)
    inline = shown and kind in _SHOWN
    tag = f'"{file.sha256}"'
    headers = {
        "ETag": tag,
        "Accept-Ranges": "bytes",
        "Cache-Control": "private, no-cache",
        "Content-Disposition": disposition(file.name, inline),
        "Content-Security-Policy": FILE,
    }
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    start, end = 0, file.size
    asked = request.headers.get("range")
    unchanged = request.headers.get("if-range", tag) == tag
    status = 200
    if asked and unchanged and (found := _RANGE.match(asked)):
        part = _range(found, file.size)
        if part is None:
            headers["Content-Range"] = f"bytes */{file.size}"
            return Response(status_code=416, headers=headers)
        start, end = part
        status = 206
        headers["Content-Range"] = f"bytes {start}-{end - 1}/{file.size}"
    headers["Content-Length"] = str(end - start)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=kind)
    return StreamingResponse(blocks(store, file.sha256, start, end), status, headers, kind)


def _range(found: re.Match[str], size: int) -> tuple[int, int] | None:
    first, last = found.groups()
    if not first and not last:
        return None
    if not first:  # the last n bytes
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(size, int(last) + 1 if last else size)
    return (start, end) if start < end else None


def blocks(store: Store, sha256: str, start: int, end: int) -> Iterator[bytes]:
    """The bytes of a content from `start` to `end`, block by block."""
    left = end - start
    with store.blobs.open(sha256, start) as file:
        while left > 0 and (block := file.read(min(BLOCK, left))):
            left -= len(block)
            yield block


class _Pipe:
    """What ZipFile writes to: it can not seek, and is emptied as it fills."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self.parts.append(bytes(data))
        return len(data)

    def flush(self) -> None: ...

    def drain(self) -> bytes:
        data, self.parts = b"".join(self.parts), []
        return data


def archive(store: Store, files: Iterable[File], more: dict[str, bytes]) -> Iterator[bytes]:
    """A ZIP of contents (stored, not compressed) and of small files `more`, in constant memory."""
    pipe = _Pipe()
    with zipfile.ZipFile(pipe, "w", zipfile.ZIP_STORED) as zipped:  # type: ignore[arg-type]
        for name, data in more.items():
            zipped.writestr(_entry(name), data)
            yield pipe.drain()
        for file in files:
            with zipped.open(_entry(file.name), "w", force_zip64=True) as entry:
                for block in blocks(store, file.sha256, 0, file.size):
                    entry.write(block)
                    yield pipe.drain()
            yield pipe.drain()
    yield pipe.drain()


def _entry(path: str) -> zipfile.ZipInfo:
    """A relative path below the archive's folder, whatever the name says."""
    parts = [clean_name(part) for part in path.replace("\\", "/").split("/")]
    made = zipfile.ZipInfo("/".join(p for p in parts if p not in ("", ".", "..")))
    made.external_attr = (stat.S_IFREG | 0o644) << 16
    return made


def send_archive(
    store: Store, name: str, files: Iterable[File], more: dict[str, bytes]
) -> StreamingResponse:
    headers = {
        "Content-Disposition": disposition(name, False),
        "Content-Security-Policy": FILE,
        "X-Accel-Buffering": "no",
    }
    return StreamingResponse(archive(store, files, more), 200, headers, "application/zip")
