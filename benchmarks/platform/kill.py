"""The kill test: workers, children, server and database are killed at random; nothing is lost.

    python benchmarks/platform/kill.py [--jobs 1500] [--workers 4] [--database sqlite|postgresql]

Real workers run real child processes, of a small analysis. Meanwhile SIGKILL goes to workers, to
guards, to the analyses' own processes and to the platform's server, and (PostgreSQL) the database
is crashed and started anew. At the end every job must have succeeded once, with its own right
result, and been paid once, and a server must say so.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil
import sqlalchemy as sa

from clusters import Cluster, postgres
from lanternfish.service import store
from lanternfish.service.store import Store, Submission
from lanternfish.service.store import tables as t
from lanternfish.service.worker.tree import MARK
from served import TOYS

LEASE = 4.0  # seconds


@dataclass
class Killer:
    """Starts workers, kills what it meets, and counts."""

    db: Store
    workers: int
    random: random.Random
    every: float  # seconds between kills, on average
    jobs: frozenset[str]
    cluster: Cluster | None = None
    crew: list[subprocess.Popen] = field(default_factory=list)
    killed: collections.Counter = field(default_factory=collections.Counter)
    server: subprocess.Popen | None = None
    port: int = 0

    def keep_server(self) -> None:
        """Start the platform's server where it is gone."""
        if self.server is not None and self.server.poll() is None:
            return
        if not self.port:
            with socket.create_server(("127.0.0.1", 0)) as free:
                self.port = free.getsockname()[1]
        folder = self.db.folder
        file = folder / "lab.toml"
        file.write_text(
            f'folder = "{folder}"\ndatabase = "{self.db.url}"\nport = {self.port}\nworkers = 0\n'
        )
        command = [sys.executable, "-m", "lanternfish.cli", "serve", "--no-browser"]
        with open(folder / "server.log", "ab") as log:
            self.server = subprocess.Popen(
                [*command, "--config", str(file)], stdout=log, stderr=log, start_new_session=True
            )

    def listed(self, token: str, seconds: float = 60.0) -> int:
        """How many jobs the server says have succeeded, once one answers."""
        until = time.monotonic() + seconds
        while True:
            self.keep_server()
            try:
                return self._count(token)
            except httpx.TransportError:
                if time.monotonic() > until:
                    raise
                time.sleep(0.2)

    def _count(self, token: str) -> int:
        found: list[str] = []
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{self.port}", headers=headers) as client:
            while True:
                asked = {"state": "succeeded", "limit": "500"}
                asked |= {"before": found[-1]} if found else {}
                page = client.get("/api/v1/jobs", params=asked).raise_for_status().json()
                if not page:
                    return len(set(found))
                found += [job["id"] for job in page]

    def keep_crew(self) -> None:
        """Start workers in place of those that are gone."""
        self.crew = [each for each in self.crew if each.poll() is None]
        while len(self.crew) < self.workers:
            command = [sys.executable, "-m", "lanternfish.cli", "worker", "--lease", str(LEASE)]
            command += ["--folder", str(self.db.folder), "--retry-delay", "1"]
            log = open(self.db.folder / "workers.log", "ab")  # noqa: SIM115
            variables = {**os.environ, "LANTERNFISH_DATABASE": self.db.url}
            self.crew.append(
                subprocess.Popen(
                    command, env=variables, stdout=log, stderr=log, start_new_session=True
                )
            )
            log.close()

    def kill(self) -> None:
        """One kill: a worker, something that a job runs in, the server, or the database."""
        what = self.random.choices(
            ("worker", "child", "server", "database"), (8, 10, 1, 2 if self.cluster else 0)
        )
        getattr(self, f"_{what[0]}")()

    def _worker(self) -> None:
        victim = self.random.choice(self.crew)
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        self.killed["worker"] += 1

    def _server(self) -> None:
        assert self.server is not None
        self.server.kill()
        self.server.wait()
        self.killed["server"] += 1

    def _child(self) -> None:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.environ().get(MARK) in self.jobs:
                    found.append(process)
        if found:
            with contextlib.suppress(psutil.Error):
                self.random.choice(found).kill()
                self.killed["child"] += 1

    def _database(self) -> None:
        assert self.cluster is not None
        self.cluster.crash()
        time.sleep(self.random.random())
        self.cluster.start()
        self.killed["database"] += 1

    def stop(self) -> None:
        for each in self.crew:
            each.send_signal(signal.SIGTERM)
        for each in self.crew:
            each.wait(60)


def submit(db: Store, jobs: int) -> tuple[str, frozenset[str], str]:
    """Queue jobs, each with a seed that its result must show: the group, their ids, a token."""
    user = store.create_user(db, "ada")
    group = store.create_group(db, "lab", owner=user.id)
    ids: set[str] = set()
    for at in range(0, jobs, 100):
        made = store.submit_all(
            db,
            [
                Submission(
                    group.id,
                    user.id,
                    "count",
                    "1.0",
                    {"to": 3, "pause": 0.02},
                    seed=seed,
                    key=f"job-{seed}",
                    reserve=10_000,
                    max_attempts=1_000,
                )
                for seed in range(at, min(at + 100, jobs))
            ],
        )
        ids |= {job.id for job in made}
    token, _ = store.create_token(db, user.id, "kill")
    return group.id, frozenset(ids), token


def attempts_in(db: Store) -> int:
    """How many attempts have begun."""
    with db.read() as tx:
        return tx.execute(sa.select(sa.func.count()).select_from(t.attempts)).scalar_one()


def run(killer: Killer, group: str, patience: float) -> float:
    """Kill until all jobs have ended; returns the seconds that it took.

    Between two kills an attempt has begun: on a machine where workers take longer to start than
    the kills are apart, none would get to work otherwise.
    """
    began = told = time.monotonic()
    started = 0
    while True:
        killer.keep_crew()
        killer.keep_server()
        time.sleep(killer.random.expovariate(1 / killer.every))
        try:
            counts, now_started = store.counts_of(killer.db, group), attempts_in(killer.db)
        except sa.exc.SQLAlchemyError:
            continue  # the database has just been killed
        left = sum(counts[state] for state in ("queued", "running", "cancelling"))
        if left == 0:
            break
        now = time.monotonic()
        if now - told > 60:
            told = now
            print(f"  {left} jobs left, killed {dict(killer.killed)}", flush=True)
        if now - began > patience:
            raise SystemExit(f"Expected all jobs to end in {patience:.0f} s; {left} have not.")
        if now_started > started:
            started = now_started
            killer.kill()
    killer.stop()
    return time.monotonic() - began


def verify(db: Store, group: str, jobs: int) -> dict[str, int]:
    """What the ledger must hold; raises SystemExit where it does not."""
    wrong = []
    with db.read() as tx:
        rows = list(tx.execute(sa.select(t.jobs).order_by(t.jobs.c.seed)))
        attempts = list(tx.execute(sa.select(t.attempts)))
        results = list(tx.execute(sa.select(t.artifacts)))
        events = list(tx.execute(sa.select(t.events).where(t.events.c.kind == "state")))
        chunks = list(
            tx.execute(
                sa.select(
                    t.log_chunks.c.job_id, sa.func.sum(sa.func.length(t.log_chunks.c.data))
                ).group_by(t.log_chunks.c.job_id)
            )
        )
    if [row.seed for row in rows] != list(range(jobs)):
        wrong.append(f"{len(rows)} jobs in place of {jobs}")
    wrong += [f"{row.id} {row.state}: {row.reason}" for row in rows if row.state != "succeeded"]
    accepted = collections.Counter(e.job_id for e in events if e.data["state"] == "succeeded")
    ended = collections.Counter(a.job_id for a in attempts if a.outcome == "succeeded")
    wrong += [
        f"{row.id} accepted {accepted[row.id]} times" for row in rows if accepted[row.id] != 1
    ]
    wrong += [f"{row.id} has {ended[row.id]} good attempts" for row in rows if ended[row.id] != 1]
    wrong += [f"attempt {a.id} has not ended" for a in attempts if a.outcome is None]
    found = {result.job_id: result for result in results}
    if len(found) != len(results):
        wrong.append("results are there twice")
    sizes = dict(tuple(row) for row in chunks)
    for row in rows:
        with db.blobs.open(found[row.id].sha256) as content:
            text = content.read().decode()
        if text != f"numbers,lines,sum\n3,0,{6 + row.seed}\n":
            wrong.append(f"{row.id} has the result {text!r}")
        if sizes.get(row.id, 0) != row.log_size:
            wrong.append(f"{row.id} has {sizes.get(row.id)} bytes of log, not {row.log_size}")
    bank = store.find_group(db, group)
    if bank.reserved != 0 or bank.spent != sum(min(row.spent, row.reserved) for row in rows):
        wrong.append(f"the budget is {bank.reserved} reserved, {bank.spent} spent")
    if wrong:
        raise SystemExit("Wrong:\n" + "\n".join(wrong[:20]))
    lost = sum(a.outcome == "lost" for a in attempts)
    again = sum(a.outcome == "retried" for a in attempts)
    log = (db.folder / "workers.log").read_text(errors="replace")
    refused = log.count("no longer holds")
    return {"attempts": len(attempts), "lost": lost, "retried": again, "refused": refused}


def trial(
    url: str | None,
    folder: Path,
    *,
    jobs: int,
    workers: int,
    seed: int = 0,
    every: float = 2.0,
    cluster: Cluster | None = None,
    patience: float = 7_200.0,
) -> dict[str, int | float]:
    """One kill test; the counts, once all that must hold was seen to hold."""
    os.environ["PYTHONPATH"] = os.pathsep.join(
        [str(TOYS), str(Path(store.__file__).parents[3]), os.environ.get("PYTHONPATH", "")]
    )
    db = store.open(url, folder)
    group, ids, token = submit(db, jobs)
    killer = Killer(db, workers, random.Random(seed), every, ids, cluster)
    try:
        seconds = run(killer, group, patience)
        listed = killer.listed(token)
    finally:
        for each in (*killer.crew, *([killer.server] if killer.server else [])):
            each.kill()
            each.wait()
    if listed != jobs:
        raise SystemExit(f"Expected a server that lists {jobs} jobs as succeeded; got {listed}.")
    found = verify(db, group, jobs)
    db.close()
    return {**found, **{f"killed_{k}": n for k, n in killer.killed.items()}, "seconds": seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--jobs", type=int, default=1_500)
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--every", type=float, default=2.0, help="seconds between kills")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), action="append")
    asked = parser.parse_args()
    options = {"jobs": asked.jobs, "workers": asked.workers, "seed": asked.seed}
    options["every"] = asked.every
    for name in asked.database or ("sqlite", "postgresql"):
        with tempfile.TemporaryDirectory(prefix="lf-") as folder, contextlib.ExitStack() as stack:
            cluster = stack.enter_context(postgres()) if name == "postgresql" else None
            url = stack.enter_context(cluster.database()) if cluster else None
            found = trial(url, Path(folder), cluster=cluster, **options)
        print(f"{name}: {asked.jobs} results accepted once each; {found}", flush=True)


if __name__ == "__main__":
    main()
