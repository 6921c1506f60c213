"""The certificate of a job as JSON, and with everything in it as an RO-Crate (ZIP)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Row
from starlette.responses import StreamingResponse

from lanternfish.service import store as st
from lanternfish.service.server.catalogue import Analysis
from lanternfish.service.server.downloads import BLOCK, disposition
from lanternfish.service.server.headers import FILE


def text(store: st.Store, job: str) -> bytes:
    """The certificate as a file."""
    return json.dumps(st.certificate(store, job), indent=2, ensure_ascii=False).encode() + b"\n"


def crate(store: st.Store, row: Row, analysis: Analysis | None) -> StreamingResponse:
    """The Workflow Run RO-Crate of an ended job. It is made on disk, sent, and removed."""
    same = analysis is not None and analysis.code == row.code
    more: dict[str, Any] = {}
    if analysis is not None and same:  # the code that ran, not what has been installed since
        lock = (analysis.environment or {}).get("lock")
        more = {"sources": analysis.sources, "lock": lock}
    folder = tempfile.TemporaryDirectory(dir=store.blobs.local / "new", prefix="sent-")
    place = Path(folder.name) / "crate.zip"
    try:
        st.write_crate(store, row.id, place, **more)
    except BaseException:
        folder.cleanup()
        raise
    headers = {
        "Content-Disposition": disposition(f"{row.analysis} {row.id}.crate.zip", False),
        "Content-Length": str(place.stat().st_size),
        "Content-Security-Policy": FILE,
    }
    return StreamingResponse(_sent(place, folder), 200, headers, "application/zip")


def _sent(place: Path, folder: tempfile.TemporaryDirectory) -> Iterator[bytes]:
    with folder, open(place, "rb") as file:
        while block := file.read(BLOCK):
            yield block
