"""How fast the ledger is: jobs claimed and finished per second, and what pages wait meanwhile.

    python benchmarks/platform/throughput.py [--jobs 10000] [--workers 8] [--seconds 20]

Processes claim and finish queued jobs as workers do (one transaction a job, on disk before it
counts), without doing the work in between; another one reads what a page of jobs shows. Prints one
line for SQLite and one for PostgreSQL.
"""

from __future__ import annotations

import argparse
import multiprocessing
import statistics
import tempfile
import time
from pathlib import Path

from clusters import postgres
from lanternfish.service import store
from lanternfish.service.store import Outcome, Submission


def submit(url: str | None, folder: Path, jobs: int) -> tuple[str, float]:
    """Queue jobs, 500 at a click; returns the group and the seconds that it took."""
    db = store.open(url, folder)
    user = store.create_user(db, "ada")
    group = store.create_group(db, "lab", owner=user.id)
    asked = Submission(group.id, user.id, "count", "1.0", {"to": 3}, reserve=1_000)
    began = time.perf_counter()
    for at in range(0, jobs, 500):
        store.submit_all(db, [asked] * min(500, jobs - at))
    seconds = time.perf_counter() - began
    db.close()
    return group.id, seconds


def serve(url, folder, name, start, seconds, count) -> None:
    """A worker: finish and claim, until the time is over."""
    db = store.open(url, folder)
    start.wait(120)
    ended, done, end = None, 0, time.monotonic() + seconds
    while time.monotonic() < end:
        job = store.turn(db, name, ended)
        if job is None:  # none waits; the last one ended with the question
            ended = None
            break
        ended = (job.id, job.token, Outcome("succeeded", cpu_seconds=1.0))
        done += 1
    if ended is not None:
        store.finish(db, *ended)
    count.value = done
    db.close()


def read(url, folder, group, start, until, waits) -> None:
    """A reader: what a page of jobs asks for."""
    db = store.open(url, folder)
    start.wait(120)
    while not until.value or not waits:
        began = time.perf_counter()
        page = store.jobs_of(db, group, limit=50)
        store.counts_of(db, group)
        store.queue_position(db, page[0].id)
        waits.append(time.perf_counter() - began)
        time.sleep(0.05)
    db.close()


def measure(url: str | None, folder: Path, jobs: int, workers: int, seconds: float) -> dict:
    """Jobs per second, and what the reader waited (seconds: median, and 99 in 100 under)."""
    group, submitting = submit(url, folder, jobs)
    context = multiprocessing.get_context("spawn")
    with context.Manager() as manager:
        start, waits = context.Barrier(workers + 2), manager.list()
        until = context.Value("i", 0)
        counts = [context.Value("i", 0) for _ in range(workers)]
        crew = [
            context.Process(target=serve, args=(url, folder, f"w{n}", start, seconds, counts[n]))
            for n in range(workers)
        ]
        crew.append(context.Process(target=read, args=(url, folder, group, start, until, waits)))
        for each in crew:
            each.start()
        start.wait(120)  # all have imported and connected
        began = time.monotonic()
        for each in crew[:-1]:
            each.join()
        took = time.monotonic() - began
        until.value = 1
        crew[-1].join()
        waited = sorted(waits)
    done = sum(each.value for each in counts)
    check(url, folder, group, done)
    return {
        "per_second": done / took,
        "done": done,
        "submitted_per_second": jobs / submitting,
        "page": statistics.median(waited),
        "page_99": waited[int(0.99 * (len(waited) - 1))],
    }


def check(url, folder, group, done) -> None:
    """Every job that was counted has ended once."""
    db = store.open(url, folder)
    ended = store.counts_of(db, group)["succeeded"]
    spent = store.find_group(db, group).spent
    db.close()
    if ended != done or spent != done * 278:  # a CPU second is 277.8 micro-units, rounded up
        raise SystemExit(f"Expected {done} jobs that succeeded and paid; got {ended}, {spent}.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    parser.add_argument("--workers", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=20.0)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lf-") as folder:
        tell("SQLite", measure(None, Path(folder), asked.jobs, asked.workers, asked.seconds))
    with (
        postgres() as cluster,
        cluster.database() as url,
        tempfile.TemporaryDirectory(prefix="lf-") as folder,
    ):
        tell("PostgreSQL", measure(url, Path(folder), asked.jobs, asked.workers, asked.seconds))


def tell(name: str, found: dict) -> None:
    print(
        f"{name}: {found['per_second']:.0f} jobs/s claimed and finished ({found['done']} jobs), "
        f"{found['submitted_per_second']:.0f} jobs/s submitted; a page of jobs: median "
        f"{1e3 * found['page']:.0f} ms, 99 in 100 under {1e3 * found['page_99']:.0f} ms",
        flush=True,
    )


if __name__ == "__main__":
    main()
