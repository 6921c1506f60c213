"""200 people watch logs: the server's memory, and the delay from a line written to a line seen.

    python benchmarks/platform/watchers.py [--watchers 200] [--jobs 10] [--seconds 20]

The server is a process of its own; a worker (this process) writes a line of each job every 0.2 s
that tells the time; the watchers are in a third process, so that reading does not slow the writing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import time
from pathlib import Path

import httpx
import psutil

from lanternfish.service import store as st
from served import percentile, served

CONNECTING = 15.0  # seconds that the watchers have to come


async def watch(
    client: httpx.AsyncClient, job: str, delays: list[float], begin: float, until: float
) -> None:
    """Read a stream; each line of the log tells when it was written.

    Lines from before `begin`, by when all watchers are there, do not count: they waited for their
    reader.
    """
    async with client.stream("GET", f"/api/v1/jobs/{job}/stream") as answer:
        async for line in answer.aiter_lines():
            if line.startswith('data: {"offset"'):
                now = time.time()
                times = map(float, json.loads(line[6:])["text"].split())
                delays += [now - t for t in times if t > begin]
            if time.time() > until:
                return


def watchers(url: str, token: str, jobs: list[str], number: int, seconds: float, results) -> None:
    """All watchers, in one process."""

    async def all_of_them() -> list[float]:
        delays: list[float] = []
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        headers = {"Authorization": f"Bearer {token}"}
        options = {"base_url": url, "headers": headers, "limits": limits, "timeout": 60}
        async with httpx.AsyncClient(**options) as client:
            begin = time.time() + CONNECTING
            until = begin + seconds
            tasks = [
                watch(client, jobs[i % len(jobs)], delays, begin, until) for i in range(number)
            ]
            await asyncio.gather(*tasks)
        return delays

    results.put(asyncio.run(all_of_them()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--watchers", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=20.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as server:
        group, user = server.group, server.user
        wanted = [st.Submission(group, user, "watched", "1", {}) for _ in range(given.jobs)]
        st.submit_all(server.store, wanted)
        held = [st.claim(server.store, "benchmark", lease=600) for _ in range(given.jobs)]
        jobs = [(job.id, job.token) for job in held]
        context = multiprocessing.get_context("spawn")
        results = context.Queue()
        names = [job for job, _ in jobs]
        child = context.Process(
            target=watchers,
            args=(server.url, server.token, names, given.watchers, given.seconds, results),
        )
        child.start()
        process, peak, until = (
            psutil.Process(server.pid),
            0,
            time.time() + CONNECTING + given.seconds + 30,
        )
        while child.is_alive() and results.empty() and time.time() < until:
            for job, token in jobs:
                st.append_log(server.store, job, token, f"{time.time()}\n".encode())
            peak = max(peak, process.memory_info().rss)
            time.sleep(0.2)
        delays = results.get(timeout=30)
        child.join()
    print(f"{given.watchers} watchers of {given.jobs} jobs, {len(delays):,} lines seen")
    print(f"delay: median {percentile(delays, 50):.3f} s, 99 % {percentile(delays, 99):.3f} s")
    print(f"server: {peak / 1e6:.0f} MB at most")


if __name__ == "__main__":
    main()
