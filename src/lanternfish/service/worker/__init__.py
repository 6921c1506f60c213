"""The worker: lease -> environment -> child process -> log stream -> publish.

A worker is a process of its own, which outlives the server; both meet only in the store. It runs
one job at a time: start as many as there are cores. `work` is its loop; `lanternfish worker` calls
it.
"""

from lanternfish.service.worker.loop import Worker, start_workers, work

__all__ = ["Worker", "start_workers", "work"]
