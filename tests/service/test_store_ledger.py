"""The ledger's promises, on SQLite and PostgreSQL."""

from __future__ import annotations

import hashlib
import threading
from dataclasses import replace

import pytest
import sqlalchemy as sa

from lanternfish.service import store
from lanternfish.service.jobs import State
from lanternfish.service.store import Outcome, Result, Submission
from lanternfish.service.store import tables as t
from lanternfish.service.store.journal import Journal

DONE = Outcome("succeeded", cpu_seconds=36.0, memory=1 << 20)  # 36 s are 10,000 micro-units


def asked(group, user, **fields):
    return Submission(group, user, "toy", "1", {"n": 3}, **fields)


def states(db, job):
    return [e.data["state"] for e in store.events_after(db, job=job, kinds=("state",))]


def test_a_job_from_submission_to_its_end(lab):
    db, group, user = lab
    job = store.submit(db, asked(group, user, seed=7, reserve=25_000))
    assert (job.state, job.seed, job.settings) == ("queued", 7, {"n": 3})
    assert store.find_group(db, group).reserved == 25_000
    running = store.claim(db, "w1")
    assert (running.id, running.state, running.token, running.attempts) == (job.id, "running", 1, 1)
    assert store.heartbeat(db, job.id, 1, pid=42) is State.RUNNING
    assert store.append_log(db, job.id, 1, b"one\n") == 4
    assert store.append_log(db, job.id, 1, b"two\n") == 8
    store.append_event(db, job.id, 1, "progress", {"fraction": 0.5, "text": "half"})
    result = Result("samples.csv", 3, hashlib.sha256(b"abc").hexdigest(), "table")
    assert store.finish(db, job.id, 1, replace(DONE, results=(result,))) is State.SUCCEEDED
    ended = store.find_job(db, job.id)
    assert (ended.state, ended.spent, ended.progress) == ("succeeded", 10_000, 0.5)
    bank = store.find_group(db, group)
    assert (bank.reserved, bank.spent) == (0, 10_000)
    kinds = {c.kind: c.amount for c in store.charges_of(db, group)}
    assert kinds == {"reserve": 25_000, "pay": 10_000, "release": 15_000}
    assert states(db, job.id) == ["queued", "running", "succeeded"]
    assert [a.path for a in store.artifacts_of(db, job.id)] == ["samples.csv"]
    attempt = store.attempts_of(db, job.id)[0]
    assert (attempt.pid, attempt.peak_memory, attempt.outcome) == (42, 1 << 20, "succeeded")
    assert store.claim(db, "w1") is None


def test_jobs_start_in_order_and_priority_goes_first(lab):
    db, group, user = lab
    jobs = store.submit_all(db, [asked(group, user) for _ in range(5)])
    urgent = store.submit(db, asked(group, user, priority=-1))
    order = [store.claim(db, "w").id for _ in range(6)]
    assert order == [urgent.id, *(job.id for job in jobs)]
    assert len({job.batch for job in jobs}) == 1


def test_the_same_key_gives_the_same_job_and_another_request_is_refused(lab):
    db, group, user = lab
    first = store.submit(db, asked(group, user, key="k", reserve=10))
    again = store.submit(db, asked(group, user, key="k", reserve=10))
    assert again.id == first.id
    assert store.find_group(db, group).reserved == 10
    with pytest.raises(store.ConflictError, match="new idempotency key"):
        store.submit(db, asked(group, user, key="k", seed=1))


def test_the_same_key_twice_in_a_batch_is_one_job(lab):
    db, group, user = lab
    one, other = asked(group, user, key="k"), asked(group, user, key="l")
    made = store.submit_all(db, [one, other, one])
    assert made[0].id == made[2].id != made[1].id
    with pytest.raises(store.ConflictError, match="different keys"):
        store.submit_all(db, [asked(group, user, key="m"), asked(group, user, key="m", seed=1)])
    same = asked(group, user)  # without a key, the same request twice is two jobs
    assert len({job.id for job in store.submit_all(db, [same, same])}) == 2


def test_many_at_once_with_one_key_make_one_job(lab):
    db, group, user = lab
    found, wrong = [], []

    def ask():
        try:
            found.append(store.submit(db, asked(group, user, key="k")).id)
        except Exception as error:  # told by the assertion below
            wrong.append(error)

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not wrong
    assert len(found) == 8
    assert len(set(found)) == 1


def test_a_budget_is_never_passed(lab):
    db, group, user = lab
    store.change_group(db, group, budget=100)
    store.submit(db, asked(group, user, reserve=60))
    with pytest.raises(store.OverBudgetError, match="core-hours"):
        store.submit_all(db, [asked(group, user, reserve=20), asked(group, user, reserve=21)])
    assert len(store.jobs_of(db, group)) == 1  # all or none
    store.cancel(db, store.jobs_of(db, group)[0].id, "ada")
    assert store.find_group(db, group).reserved == 0
    store.submit(db, asked(group, user, reserve=100))


def test_what_a_lost_attempt_publishes_is_refused(db, lab):
    _, group, user = lab
    job = store.submit(db, asked(group, user))
    old = store.claim(db, "dies", lease=-1.0)
    new = store.claim(db, "lives")
    assert (new.id, new.token) == (job.id, old.token + 1)
    for late in (
        lambda: store.finish(db, job.id, old.token, DONE),
        lambda: store.heartbeat(db, job.id, old.token),
        lambda: store.append_log(db, job.id, old.token, b"late"),
        lambda: store.append_event(db, job.id, old.token, "message", {"text": "late"}),
        lambda: store.publish(db, job.id, old.token, [Result("a", 0, "0" * 64)]),
    ):
        with pytest.raises(store.LeaseLostError):
            late()
    assert store.finish(db, job.id, new.token, DONE) is State.SUCCEEDED
    with pytest.raises(store.LeaseLostError):  # a result is accepted once
        store.finish(db, job.id, new.token, DONE)
    assert states(db, job.id) == ["queued", "running", "queued", "running", "succeeded"]


def test_attempts_are_limited_and_the_reasons_kept(lab):
    db, group, user = lab
    job = store.submit(db, asked(group, user, max_attempts=2, reserve=50))
    store.claim(db, "w1", lease=-1.0)
    store.claim(db, "w2", lease=-1.0)
    assert store.claim(db, "w3") is None
    ended = store.find_job(db, job.id)
    assert (ended.state, ended.ended_by) == ("failed", "the lease that expired")
    assert "w2 was not heard of" in ended.reason
    assert "attempt 2 of 2" in ended.reason
    assert [a.outcome for a in store.attempts_of(db, job.id)] == ["lost", "lost"]
    assert store.find_group(db, group).reserved == 0


def test_an_attempt_that_fails_for_a_cause_outside_is_tried_again_later(lab):
    db, group, user = lab
    job = store.submit(db, asked(group, user))
    store.claim(db, "w1")
    outcome = Outcome("retry", "The disk was full.", delay=100.0)
    assert store.finish(db, job.id, 1, outcome) is State.QUEUED
    assert store.claim(db, "w1") is None
    store.note_worker(db, "w1", host="here", pid=1)
    assert "The disk was full. The next attempt" in store.queue_position(db, job.id).reason


def test_cancelling_waits_for_the_worker_and_says_who(lab):
    db, group, user = lab
    job = store.submit(db, asked(group, user, reserve=50_000))
    store.claim(db, "w1")
    assert store.cancel(db, job.id, "ada") is State.CANCELLING
    assert store.cancel(db, job.id, "bob") is State.CANCELLING  # the first one it was
    assert store.heartbeat(db, job.id, 1) is State.CANCELLING
    assert store.finish(db, job.id, 1, DONE) is State.CANCELLED
    ended = store.find_job(db, job.id)
    assert (ended.ended_by, ended.reason) == ("ada", "Cancelled by ada.")
    assert store.cancel(db, job.id, "bob") is State.CANCELLED
    assert store.find_group(db, group).spent == 10_000


def test_a_job_that_is_being_cancelled_ends_so_when_its_worker_dies(lab):
    db, group, user = lab
    job = store.submit(db, asked(group, user))
    store.claim(db, "w1", lease=-1.0)
    store.cancel(db, job.id, "ada")
    assert store.expire(db) == 1
    assert store.find_job(db, job.id).state == "cancelled"
    assert store.find_job(db, job.id).ended_by == "ada"


def test_groups_run_as_many_jobs_as_they_may(lab):
    db, group, user = lab
    other = store.create_group(db, "other", owner=user, max_running=0)
    store.change_group(db, group, max_running=1)
    store.submit(db, asked(other.id, user))
    jobs = store.submit_all(db, [asked(group, user), asked(group, user)])
    store.note_worker(db, "w", host="here", pid=1)
    assert store.claim(db, "w").id == jobs[0].id
    assert store.claim(db, "w") is None
    place = store.queue_position(db, jobs[1].id)
    assert (place.place, place.of) == (2, 2)
    assert place.reason == "lab runs 1 jobs, as many as it may at a time (1)."


def test_why_a_job_waits(lab):
    db, group, user = lab
    jobs = store.submit_all(db, [asked(group, user), asked(group, user)])
    assert "No worker is running" in store.queue_position(db, jobs[0].id).reason
    store.note_worker(db, "w", host="here", pid=1, analyses=["npe"])
    assert "offers the analysis toy" in store.queue_position(db, jobs[0].id).reason
    assert store.claim(db, "w", analyses=("npe",)) is None
    store.note_worker(db, "v", host="here", pid=2)
    assert "as soon as a worker is free" in store.queue_position(db, jobs[0].id).reason
    assert store.queue_position(db, jobs[1].id).reason == "1 jobs were there before."
    store.claim(db, "v", analyses=("npe", "toy"))
    assert store.queue_position(db, jobs[0].id) is None


def test_the_log_is_read_from_any_offset(lab):
    db, group, user = lab
    job = store.submit(db, asked(group, user))
    store.claim(db, "w1")
    whole = bytes(range(256)) * 1_000
    for at in range(0, len(whole), 50_000):
        store.append_log(db, job.id, 1, whole[at : at + 50_000])
    for offset in (0, 1, 49_999, 50_000, 65_536, 255_999, 256_000, 300_000):
        data, end = store.log_from(db, job.id, offset, limit=len(whole))
        assert data == whole[offset:]
        assert end == max(offset, len(whole))
    some, end = store.log_from(db, job.id, 10, limit=100)
    assert 100 <= len(some) < 200_000
    assert some == whole[10:end]


def test_run_again_only_what_failed(lab):
    db, group, user = lab
    jobs = store.submit_all(db, [asked(group, user, seed=s) for s in range(3)])
    for _ in jobs:
        row = store.claim(db, "w")
        outcome = Outcome("failed", "It diverged.") if row.seed == 1 else DONE
        store.finish(db, row.id, row.token, outcome)
    again = store.rerun_failed(db, jobs[0].batch, user)
    assert [(j.seed, j.parent_id, j.relation) for j in again] == [(1, jobs[1].id, "rerun")]
    assert store.rerun_failed(db, jobs[0].batch, user) == []
    changed = store.duplicate(db, jobs[0].id, user, settings={"n": 9}, seed=5)
    assert (changed.settings, changed.seed, changed.relation) == ({"n": 9}, 5, "duplicate")
    assert [j.id for j in store.children_of(db, jobs[0].id)] == [changed.id]
    with pytest.raises(store.ConflictError, match="has ended"):
        store.rerun(db, changed.id, user)


def test_pages_of_a_listing_have_every_job_once(lab):
    db, group, user = lab
    jobs = store.submit_all(db, [asked(group, user, title=f"take {n}") for n in range(25)])
    seen, before = [], None
    while page := store.jobs_of(db, group, before=before, limit=10):
        seen += [job.id for job in page]
        before = page[-1].id
    assert seen == [job.id for job in reversed(jobs)]
    assert [j.title for j in store.jobs_of(db, group, text="TAKE 7")] == ["take 7"]
    assert store.counts_of(db, group)[State.QUEUED] == 25


def test_events_of_a_group_become_visible_in_the_order_of_their_ids(lab):
    """Eight writers at once; a reader that follows the ids misses none and sees none twice."""
    db, group, user = lab
    jobs = store.submit_all(db, [asked(group, user) for _ in range(8)])
    for _ in jobs:
        store.claim(db, "w")
    start = store.last_event(db, group=group)

    def write(job):
        for n in range(20):
            store.append_event(db, job, 1, "metric", {"name": "n", "value": n, "step": n})

    threads = [threading.Thread(target=write, args=(job.id,)) for job in jobs]
    for each in threads:
        each.start()
    seen, at = [], start
    while len(seen) < 160 and (any(t.is_alive() for t in threads) or at < start + 10_000):
        news = store.events_after(db, at, group=group)
        seen += news
        at = news[-1].id if news else at
        if not news and not any(t.is_alive() for t in threads):
            break
    for each in threads:
        each.join()
    seen += store.events_after(db, at, group=group)
    by_job = {job.id: [e.data["value"] for e in seen if e.job_id == job.id] for job in jobs}
    assert all(values == list(range(20)) for values in by_job.values())


def test_a_transaction_that_fails_leaves_nothing(lab):
    db, group, user = lab
    with pytest.raises(store.NotFoundError, match="does not have or has deleted"):
        store.submit(db, asked(group, user, inputs=(store.Input("data", "nothing"),), reserve=5))
    assert store.find_group(db, group).reserved == 0
    with db.read() as tx:
        assert tx.execute(sa.select(sa.func.count()).select_from(t.jobs)).scalar() == 0


@pytest.mark.parametrize("events", [0, 40])
def test_a_move_whose_end_is_refused_is_not_kept_at_all(lab, events):
    """PostgreSQL hears of a move's last statements together, and refuses them at its end."""
    db, group, user = lab
    job = store.submit(db, asked(group, user, reserve=25_000))

    def pay_for_nobody():
        with db.write_together() as tx:
            journal = Journal(tx, 1.0)
            for _ in range(events):
                journal.state(group, job.id, {"state": "running"})
            charge = {"group_id": "nobody", "job_id": job.id, "kind": "pay", "amount": 1}
            journal.charges.append({**charge, "time": 1.0})
            journal.write()

    with pytest.raises(sa.exc.IntegrityError):
        pay_for_nobody()
    assert states(db, job.id) == ["queued"]
    assert store.claim(db, "w1").id == job.id  # the connection goes on


def test_what_goes_past_sqlalchemy_is_what_it_would_have_written(lab):
    db, group, user = lab
    job = store.submit(db, asked(group, user))
    data = {"text": "ü 100% \u2028 'quoted' \\ %s %(x)s", "n": [1, None, 0.5]}
    with db.write_together() as tx:
        journal = Journal(tx, 2.5)
        for _ in range(3):
            journal.state(group, job.id, data)
        journal.write()
    rows = store.events_after(db, job=job.id, kinds=("state",))[1:]
    assert [(e.data, e.time, e.job_id) for e in rows] == [(data, 2.5, job.id)] * 3
    assert rows[0].id < rows[1].id < rows[2].id
