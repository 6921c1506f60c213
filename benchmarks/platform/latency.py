"""How long a person waits: from submitting to the first line of the log; pages with 10,000 jobs.

python benchmarks/platform/latency.py [--jobs 10000]
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import httpx

from lanternfish.service import store as st
from served import percentile, served

SUBMISSIONS, VISITS = 10, 20
PAGES = ("/analyses", "/jobs", "/jobs?show=waiting", "/data", "/admin", "/api/v1/jobs?limit=50")


def first_line(client: httpx.Client, settings: dict) -> tuple[float, float]:
    """Seconds from asking until the job is accepted, and until the first line is seen."""
    begun = time.perf_counter()
    wanted = {"analysis": "count", "settings": settings}
    job = client.post("/api/v1/jobs", json=wanted).raise_for_status().json()[0]
    accepted = time.perf_counter() - begun
    seen = None
    with client.stream("GET", f"/api/v1/jobs/{job['id']}/stream") as answer:
        for line in answer.iter_lines():
            if seen is None and line.startswith('data: {"offset"'):
                seen = time.perf_counter() - begun if json.loads(line[6:])["text"] else None
            if line == "event: end":
                break
    assert seen is not None
    return accepted, seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=10_000)
    given = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,  # workers end after it
        served(Path(folder), workers=1) as server,
    ):
        headers = {"Authorization": f"Bearer {server.token}"}
        with httpx.Client(base_url=server.url, headers=headers, timeout=120) as client:
            client.get("/api/v1/analyses").raise_for_status()
            first_line(client, {"to": 1})  # the first one warms everything
            times = [first_line(client, {"to": 1, "pause": 0.0}) for _ in range(SUBMISSIONS)]
            print(f"accepted: median {percentile([a for a, _ in times], 50):.3f} s")
            print(f"first line: median {percentile([b for _, b in times], 50):.3f} s")
            one = st.Submission(server.group, server.user, "none", "1", {"to": 1}, title="Waiting")
            for begin in range(0, given.jobs, 1_000):
                st.submit_all(server.store, [one] * min(1_000, given.jobs - begin))
            for page in PAGES:
                taken = []
                for _ in range(VISITS):
                    begun = time.perf_counter()
                    client.get(page, headers={"Accept": "text/html"}).raise_for_status()
                    taken.append(time.perf_counter() - begun)
                print(f"{page}: median {1000 * percentile(taken, 50):.0f} ms")


if __name__ == "__main__":
    main()
