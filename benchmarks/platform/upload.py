"""A sparse file is uploaded over a connection that is cut again and again.

    python benchmarks/platform/upload.py [--gigabytes 50] [--cuts 20]

Measured: the server's memory, the speed, and that the SHA-256 is that of the file. For comparison
the same bytes (4 GB of them at most) go over a loopback socket to a file, without HTTP, hashes or
promises, before and after: "raw" writes all of them, as any copy does; "raw, sparse" leaves zeros
out, as the platform does.
The file holds random blocks among zeros; zeros are left out on both sides, so that little disk is
needed.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import random
import socket
import tempfile
import threading
import time
from pathlib import Path

import httpx
import psutil

from served import served

BLOCK = 1 << 20
BUSY = (409, 423)  # the request that was cut is still being put away
RAW = 4_000_000_000  # bytes of the comparison, at most
EVERY = 64  # one block in so many is random, the others are zeros


def block(index: int) -> bytes:
    """Block `index` of the file."""
    return random.Random(index).randbytes(BLOCK) if index % EVERY == 0 else _ZEROS


_ZEROS = bytes(BLOCK)


def pieces(start: int, end: int):
    """The file's bytes from `start` to `end`."""
    at = start
    while at < end:
        data = block(at // BLOCK)[at % BLOCK : at % BLOCK + end - at]
        yield data
        at += len(data)


def hash_of(size: int) -> str:
    state = hashlib.sha256()
    for data in pieces(0, size):
        state.update(data)
    return state.hexdigest()


def raw_seconds(size: int, folder: Path, sparse: bool) -> float:
    """Loopback to disk: a socket, a file, zeros left out if `sparse`."""
    listening = socket.create_server(("127.0.0.1", 0))

    def receive() -> None:
        connection, _ = listening.accept()
        buffer = bytearray(BLOCK)
        view = memoryview(buffer)
        with connection, open(folder / "raw", "wb") as file:
            while True:
                got = 0
                while got < BLOCK and (n := connection.recv_into(view[got:])):
                    got += n
                if not got:
                    break
                if sparse and buffer[:got] == _ZEROS[:got]:
                    file.seek(got, os.SEEK_CUR)
                else:
                    file.write(view[:got])
            file.truncate(size)
            os.fsync(file.fileno())

    reader = threading.Thread(target=receive)
    reader.start()
    begun = time.perf_counter()
    with socket.create_connection(listening.getsockname()) as connection:
        for data in pieces(0, size):
            connection.sendall(data)
    reader.join()
    listening.close()
    (folder / "raw").unlink()
    return time.perf_counter() - begun


class Memory(threading.Thread):
    """The largest resident memory of a process."""

    def __init__(self, pid: int):
        super().__init__(daemon=True)
        self.process, self.peak, self.done = psutil.Process(pid), 0, threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.1):
            self.peak = max(self.peak, self.process.memory_info().rss)


def send(client: httpx.Client, place: str, size: int, cuts: list[int]) -> float:
    """Upload; at each offset of `cuts` the connection is cut in the middle of a request."""
    begun, offset = time.perf_counter(), 0
    while offset < size:
        ahead = [cut for cut in cuts if cut > offset]
        end = ahead[0] if ahead else size
        head = {"Tus-Resumable": "1.0.0", "Upload-Offset": str(offset)}
        head |= {"Content-Type": "application/offset+octet-stream"}
        head |= {"Content-Length": str(size - offset)}

        def body(start=offset, end=end):
            yield from pieces(start, end)
            if end < size:
                raise ConnectionAbortedError

        try:
            answer = client.patch(place, content=body(), headers=head, timeout=None)
            if answer.status_code not in BUSY:
                answer.raise_for_status()
        except ConnectionAbortedError:
            cuts = [cut for cut in cuts if cut > end]
        except httpx.TransportError:  # refused while it was sending: asked again below
            pass
        time.sleep(0.02)
        offset = int(client.head(place).headers["Upload-Offset"])
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=50.0)
    parser.add_argument("--cuts", type=int, default=20)
    given = parser.parse_args()
    size = int(given.gigabytes * 1e9)
    dice = random.Random(0)
    cuts = sorted(dice.randrange(1, size) for _ in range(given.cuts))
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as server:
        memory = Memory(server.pid)
        part = min(size, RAW)
        raw = {kind: [part / raw_seconds(part, Path(folder), kind)] for kind in (False, True)}
        headers = {"Authorization": f"Bearer {server.token}"}
        with httpx.Client(base_url=server.url, headers=headers) as client:
            process = psutil.Process(server.pid)
            before, used = process.memory_info().rss, sum(process.cpu_times()[:2])
            memory.start()
            head = {"Tus-Resumable": "1.0.0", "Upload-Length": str(size)}
            place = client.post("/api/v1/uploads", headers=head).headers["Location"]
            seconds = send(client, place, size, cuts)
            while not (seen := client.get(place).json())["dataset"]:
                assert not seen["problem"], seen
                time.sleep(0.1)
            memory.done.set()
            used = sum(process.cpu_times()[:2]) - used
            for kind in raw:  # other work comes and goes
                raw[kind].append(part / raw_seconds(part, Path(folder), kind))
            row = client.get(f"/api/v1/datasets/{seen['dataset']}").json()
    right = row["sha256"] == hash_of(size)
    print(f"{size / 1e9:.1f} GB, {len(cuts)} cuts: hash {'equal' if right else 'WRONG'}")
    print(f"server: {memory.peak / 1e6:.0f} MB at most, {before / 1e6:.0f} MB before")
    print(f"server: {used / size * 1e9:.2f} s of processor time for a gigabyte")
    speed = size / seconds / 1e6
    print(f"speed: {speed:.0f} MB/s")
    for kind, (first, last) in raw.items():
        name, share = "raw, sparse" if kind else "raw", 2e6 * speed / (first + last)
        print(f"{name}: {first / 1e6:.0f} MB/s before, {last / 1e6:.0f} after; {share:.0%} of it")


if __name__ == "__main__":
    main()
