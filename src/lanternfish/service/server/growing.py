"""Uploads as they grow: bytes to disk in constant memory, hashed on the way, confirmed when synced.

Great bodies are read by a thread of their own (`direct`) into a few buffers, and hashed by another
one; small ones come through the event loop. What a cut leaves on disk beyond the confirmed offset
is written over by the next request. Blocks that hold only zeros are left out of the file, so that
sparse data stay sparse.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections import OrderedDict
from collections.abc import AsyncIterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Row
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect

from lanternfish.service import store as st
from lanternfish.service.server.direct import Connection, Source
from lanternfish.service.server.tus import Checksum, Refusal
from lanternfish.service.server.watching import RECEIVED
from lanternfish.service.store import Store

BLOCK = 4 << 20  # bytes written at a time: two of them are in memory for each upload
CONFIRM = 256 << 20  # bytes after which a long request is synced and confirmed
HASHES = 256  # running hashes kept; an upload that lost its own is read again at its end
DIRECT = 1 << 20  # bytes of a body that are worth a thread of their own
PIECE, PIECES = 1 << 19, 8  # buffers of such a body: one is filled while others are hashed
MOST_DIRECT = 32  # bodies that have threads of their own; more go through the event loop
_ZEROS = bytes(PIECE)
_log = logging.getLogger(__name__)


@dataclass
class _Body:
    """One request's bytes on their way to disk."""

    upload: str
    file: Any
    sha: Any  # hash of all bytes so far; None where it is not known
    check: Any  # hash of this request's bytes
    at: int  # bytes written
    confirmed: int


@dataclass
class Growing:
    """The uploads of one server."""

    store: Store
    locks: dict[str, asyncio.Lock] = field(default_factory=dict)
    hashes: OrderedDict[str, tuple[int, Any]] = field(default_factory=OrderedDict)
    endings: dict[str, asyncio.Task] = field(default_factory=dict)
    sources: set[Source] = field(default_factory=set)
    threads: Executor = field(default_factory=lambda: ThreadPoolExecutor(MOST_DIRECT, "upload"))
    problems: OrderedDict[str, str] = field(default_factory=OrderedDict)

    async def append(
        self,
        row: Row,
        offset: int,
        stream: AsyncIterator[bytes],
        checksum: Checksum | None,
        direct: tuple[Connection, int] | None = None,
    ) -> int:
        """Write a request's body at `offset`; returns the new confirmed offset.

        A connection that breaks keeps what came, unless a checksum was announced. `direct`: the
        connection and the length of the body, where both are known.

        Raises:
            Refusal: another offset (409), another request at work (423), too many bytes (400), a
                wrong checksum (460).
        """
        lock = self.locks.setdefault(row.id, asyncio.Lock())
        if lock.locked():
            raise Refusal(423, "Another request is writing to this upload; try again in a moment.")
        try:
            async with lock:
                return await self._append(row.id, offset, stream, checksum, direct)
        finally:
            self.locks.pop(row.id, None)

    async def _append(
        self,
        upload: str,
        offset: int,
        stream: AsyncIterator[bytes],
        checksum: Checksum | None,
        direct: tuple[Connection, int] | None,
    ) -> int:
        row = await run_in_threadpool(st.find_upload, self.store, upload)
        if row is None:
            raise Refusal(404, "There is no such upload.")
        if row.offset != offset or row.dataset_id is not None:
            raise Refusal(409, f"Expected bytes from {row.offset}; got bytes from {offset}.")
        body = await run_in_threadpool(self._open, row, checksum)
        try:
            await self._receive(body, row.length, stream, direct)
            if checksum is not None and body.check.digest() != checksum.digest:
                raise Refusal(460, "The bytes are not those of the checksum; send them again.")
            await run_in_threadpool(self._confirm, body)
        except ClientDisconnect:
            if checksum is None:
                await run_in_threadpool(self._confirm, body)
            raise
        finally:
            body.file.close()
        return body.at

    def _open(self, row: Row, checksum: Checksum | None) -> _Body:
        path = self.store.blobs.partial(row.id)
        file = open(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b", buffering=0)  # noqa: SIM115
        file.truncate(row.offset)  # bytes that were never confirmed
        file.seek(row.offset)
        known = self.hashes.pop(row.id, None)
        sha = hashlib.sha256() if row.offset == 0 else None
        if known is not None and known[0] == row.offset:
            sha = known[1]
        check = checksum.new() if checksum else None
        return _Body(row.id, file, sha, check, row.offset, row.offset)

    async def _receive(
        self,
        body: _Body,
        length: int,
        stream: AsyncIterator[bytes],
        direct: tuple[Connection, int] | None,
    ) -> None:
        if direct is not None and direct[1] >= DIRECT and len(self.sources) < MOST_DIRECT:
            if body.at + direct[1] > length:
                raise Refusal(400, f"Expected {length:,} bytes in all; got more.")
            first = await anext(stream)  # a client that waits for it is told to go on
            taken = direct[0].take()
            if taken is not None:
                left = direct[1] - len(first) - len(taken[0])
                await self._take(body, first + taken[0], Source(taken[1], left))
                return
            stream = _after(first, stream)
        await self._stream(body, length, stream)

    def stop(self) -> None:
        """Keep what has come of bodies that threads receive: the server stops."""
        for source in list(self.sources):
            source.stopped.set()

    async def _take(self, body: _Body, first: bytes, source: Source) -> None:
        self.sources.add(source)
        task = asyncio.get_running_loop().run_in_executor(
            self.threads, self._pump, body, first, source
        )
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            source.stopped.set()
            await asyncio.wait({task})
            raise
        finally:
            self.sources.discard(source)
            source.close()

    def _pump(self, body: _Body, first: bytes, source: Source) -> None:
        """Receive and write here, hash beside it."""
        buffers = [bytearray(PIECE) for _ in range(PIECES)]
        hashing: list[Future | None] = [None] * PIECES
        with ThreadPoolExecutor(1, "hash") as hasher:
            try:
                self._write(body, first)
                turn = 0
                while source.left:
                    if (busy := hashing[turn]) is not None:
                        busy.result()
                    whole = memoryview(buffers[turn])
                    piece = whole[: source.fill(whole)]
                    hashing[turn] = hasher.submit(_hash, body, piece)
                    self._put(body, piece, buffers[turn] == _ZEROS)
                    RECEIVED.inc(len(piece))
                    if body.check is None and body.at - body.confirmed >= CONFIRM:
                        _wait(hashing)
                        self._confirm(body)
                    turn = (turn + 1) % PIECES
            finally:
                _wait(hashing)

    async def _stream(self, body: _Body, length: int, stream: AsyncIterator[bytes]) -> None:
        """While one block is written and hashed, the next one is received."""
        block, received, writing = bytearray(), body.at, None
        try:
            async for piece in stream:
                received += len(piece)
                if received > length:
                    raise Refusal(400, f"Expected {length:,} bytes in all; got more.")
                block += piece
                if len(block) >= BLOCK:
                    if writing:
                        await writing
                    writing = asyncio.ensure_future(run_in_threadpool(self._write, body, block))
                    block = bytearray()
        finally:
            if writing:
                await writing
            if block and received <= length:
                await run_in_threadpool(self._write, body, block)

    def _write(self, body: _Body, block: bytes | bytearray) -> None:
        self._put(body, memoryview(block), _empty(block))
        _hash(body, block)
        if body.check is None and body.at - body.confirmed >= CONFIRM:
            self._confirm(body)

    def _put(self, body: _Body, block: memoryview, empty: bool) -> None:
        if empty:
            body.file.seek(len(block), os.SEEK_CUR)
        else:
            left = block
            while left:
                left = left[body.file.write(left) :]
        body.at += len(block)

    def _confirm(self, body: _Body) -> None:
        """Bytes are on disk before the database says so."""
        if body.at > body.confirmed:
            body.file.truncate(body.at)
            os.fsync(body.file.fileno())
            st.confirm_offset(self.store, body.upload, body.confirmed, body.at)
            body.confirmed = body.at
        if body.sha is not None:
            self.hashes[body.upload] = (body.at, body.sha.copy())
            while len(self.hashes) > HASHES:
                self.hashes.popitem(last=False)

    async def end(self, upload: str, patience: float = 3.0) -> None:
        """Make a whole upload a data set. A great one that is to be read again ends by itself."""
        task = self.endings.get(upload)
        if task is None:
            task = asyncio.create_task(self._end(upload))
            self.endings[upload] = task
        await asyncio.wait({task}, timeout=patience)

    async def _end(self, upload: str) -> None:
        try:
            await run_in_threadpool(self._make_dataset, upload)
        except st.StoreError as error:
            self._note(upload, str(error))
        except Exception:  # told to the user, who may send the last byte again
            _log.exception("ending upload %s failed", upload)
            self._note(upload, "The server could not keep the file; it will try again.")
        finally:
            self.endings.pop(upload, None)

    def _make_dataset(self, upload: str) -> None:
        row = st.find_upload(self.store, upload)
        if row is None or row.dataset_id is not None:
            return
        known = self.hashes.pop(upload, None)
        partial = self.store.blobs.partial(upload)
        if known is not None and known[0] == row.length:
            sha256 = known[1].hexdigest()
        elif partial.exists():
            sha256, _ = st.digest(partial)
        else:
            raise st.StoreError("The bytes of this upload are gone; upload the file again.")
        if row.sha256 and row.sha256.lower() != sha256:
            st.drop_upload(self.store, upload)
            raise st.StoreError(
                f"Expected a file whose SHA-256 is {row.sha256}; got {sha256}. Upload it again."
            )
        st.end_upload(self.store, upload, sha256)

    def _note(self, upload: str, sentence: str) -> None:
        self.problems[upload] = sentence
        while len(self.problems) > HASHES:
            self.problems.popitem(last=False)

    async def tidy(self) -> None:
        """Drop what has expired; end what was whole when the server last stopped."""
        for upload in await run_in_threadpool(st.expired_uploads, self.store):
            if upload not in self.locks:
                await run_in_threadpool(st.drop_upload, self.store, upload)
        for group in await run_in_threadpool(st.list_groups, self.store):
            for row in await run_in_threadpool(st.uploads_of, self.store, group.id):
                if row.length is not None and row.offset == row.length:
                    await self.end(row.id, patience=0.0)


def _empty(block: bytes | bytearray) -> bool:
    """Whether there are only zeros."""
    parts = range(0, len(block), PIECE)
    return all(block[at : at + PIECE] == _ZEROS[: len(block) - at] for at in parts)


def _hash(body: _Body, block: bytes | bytearray | memoryview) -> None:
    for state in (body.sha, body.check):
        if state is not None:
            state.update(block)


def _wait(hashing: list[Future | None]) -> None:
    for each in hashing:
        if each is not None:
            each.result()


async def _after(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
