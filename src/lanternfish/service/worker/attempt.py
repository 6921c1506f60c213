"""One attempt at a job: from its lease to its outcome."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy import exc as sa_exc

from lanternfish.service import store as ledger
from lanternfish.service.analyses import Manifest, UnknownAnalysisError, find_manifest
from lanternfish.service.analyses.built import FOLDER
from lanternfish.service.analyses.local import missing_outputs, results
from lanternfish.service.jobs import State
from lanternfish.service.store import LeaseLostError, Outcome, Result, Store
from lanternfish.service.worker.environments import (
    EnvironmentBuildError,
    python_for,
    surroundings,
)
from lanternfish.service.worker.process import Child, End
from lanternfish.service.worker.relay import Relay
from lanternfish.service.worker.results import LostInputError, gather, keep, lay_out
from lanternfish.service.worker.tree import MARK, kill_leftovers

if TYPE_CHECKING:
    from lanternfish.service.worker.loop import Worker

_SECRETS = ("SECRET", "PASSWORD", "TOKEN", "AWS_", "PGPASS", "CREDENTIAL", "API_KEY")


@dataclass
class Attempt:
    """A claimed job (its row) that this worker works on."""

    store: Store
    job: sa.Row
    worker: Worker
    _lost: bool = field(default=False, init=False)
    _heard: float = field(default=0.0, init=False)
    _cancelling: bool = field(default=False, init=False)
    _stopped: str = field(default="", init=False)

    @property
    def folder(self) -> Path:
        """Work folder of the job, which all its attempts share."""
        return self.store.folder / "work" / self.job.id

    def run(self) -> Outcome | None:
        """Do the work; returns the outcome, or None where the lease was lost."""
        relay = Relay(self.store, self.job.id, self.job.token, self.job.log_size)
        self._heard = time.monotonic()
        try:
            return self._run(relay)
        except LeaseLostError:
            return None
        except (LostInputError, UnknownAnalysisError) as error:
            return self._failed(relay, "failed", str(error))
        except EnvironmentBuildError as error:
            return self._failed(relay, "failed", str(error))
        except OSError as error:
            return self._failed(relay, "retry", _storage(error))
        finally:
            relay.close()

    def _run(self, relay: Relay) -> Outcome | None:
        job = self.job
        if job.attempts > 1 and kill_leftovers(job.id):
            relay.say("Ended what the last attempt had left running.")
        relay.say(f"Attempt {job.attempts} of {job.max_attempts} at {job.analysis} {job.version}.")
        relay.flush(now=True)
        manifest = find_manifest(job.analysis)
        if manifest.error:
            return self._failed(relay, "failed", f"{job.analysis} cannot be used: {manifest.error}")
        python, variables = python_for(
            manifest,
            self.store.folder / FOLDER,
            lambda text: self._try(lambda: _say(relay, text)),
            self._build_on,
        )
        output, task = self._lay_out(relay)
        command, variables = self._command(python, variables, task)
        child = Child(
            command,
            variables,
            output,
            log=relay.log,
            message=lambda found: self._hear(relay, manifest, output, found),
        )
        self._watch(child, relay, manifest)
        end = child.close()
        return None if self._lost else self._outcome(child, end, relay, manifest, output)

    def _lay_out(self, relay: Relay) -> tuple[Path, Path]:
        output = self.folder / f"output-{self.job.token}"
        checkpoint = self.folder / "checkpoint"
        for each in (output, checkpoint):
            each.mkdir(parents=True, exist_ok=True)
        inputs = lay_out(
            self.store,
            ledger.inputs_of(self.store, self.job.id),
            self.folder / "in",
            lambda *content: self._note(relay, *content),
            self._hold,
        )
        task = {
            "analysis": self.job.analysis,
            "code": self.job.code,
            "settings": self.job.settings,
            "seed": self.job.seed,
            "inputs": {name: str(path) for name, path in inputs.items()},
            "output": str(output),
            "checkpoint": str(checkpoint),
            "attempt": self.job.attempts,
        }
        file = self.folder / f"task-{self.job.token}.json"
        file.write_text(json.dumps(task), encoding="utf-8")
        return output, file

    def _note(self, relay: Relay, name: str, sha256: str, size: int) -> None:
        before = ledger.note_content(self.store, self.job.id, name, sha256, size)
        if before:
            relay.say(
                f"The data of {name} are not those that a job read first: their SHA-256 was "
                f"{before[:12]}…, and is {sha256[:12]}…."
            )

    def _hold(self) -> None:
        """Keep the lease while inputs are read, which may take long."""
        if time.monotonic() - self._heard >= self.worker.beat:
            state = ledger.heartbeat(
                self.store, self.job.id, self.job.token, lease=self.worker.lease
            )
            self._heard = time.monotonic()
            self._cancelling = state is State.CANCELLING

    def _build_on(self) -> None:
        """Keep the lease while an environment is built; a cancelled job ends the build.

        Raises:
            EnvironmentBuildError: the job was cancelled. LeaseLostError: another has taken it over.
        """
        self._try(self._hold)
        if self._lost:
            raise LeaseLostError(f"Attempt {self.job.token} no longer holds {self.job.id}.")
        if self._cancelling:
            raise EnvironmentBuildError("Stopped while its environment was being built.")

    def _command(
        self, python: str, variables: dict[str, str], task: Path
    ) -> tuple[list[str], dict[str, str]]:
        command = [python, "-m", "lanternfish.service.analyses.child", str(task)]
        kept = {name: value for name, value in os.environ.items() if not _secret(name)}
        kept |= variables
        kept |= {MARK: self.job.id, "PYTHONUNBUFFERED": "1", "MPLBACKEND": "Agg"}
        kept |= {"LANTERNFISH_ATTEMPT": str(self.job.token)}
        if self.worker.sandbox is not None:
            return self.worker.sandbox.wrap(command, kept, self.folder, task)
        return command, kept

    def _hear(self, relay: Relay, manifest: Manifest, output: Path, found: dict) -> None:
        kind, data = str(found.get("kind")), found.get("data")
        if kind not in ("progress", "metric", "picture") or not isinstance(data, dict):
            return
        if kind == "picture":
            outputs = [(each["path"], each["kind"]) for each in manifest.outputs]
            try:
                relay.publish([keep(self.store, output, str(data.get("path")), outputs)])
            except (OSError, ValueError, sa_exc.SQLAlchemyError, LeaseLostError) as error:
                relay.say(f"A picture could not be shown: {error}")
            return
        relay.event(kind, data)

    def _watch(self, child: Child, relay: Relay, manifest: Manifest) -> None:
        """Until the child has ended: log, heartbeat, limits, cancel."""
        began, beaten = time.monotonic(), 0.0
        about: dict = {"pid": child.pid, "surroundings": surroundings()}
        about["surroundings"]["package"] = manifest.package
        if manifest.environment:
            about["environment"] = manifest.environment["lock_sha256"]
        while not child.wait(0.05):
            self._try(relay.flush)
            if time.monotonic() - beaten >= self.worker.beat:
                beaten = time.monotonic()
                child.use.measure(child.pid)
                relay.event(
                    "use",
                    {"memory": child.use.memory, "cpu_seconds": round(child.use.cpu_seconds, 2)},
                )
                self._try(lambda: self._beat(child, about))
                self._limits(child, began)
            if self._lost or self._cancelling or self._stopped:
                child.stop()
        if about:  # it ended before it was asked after
            self._patiently(lambda: self._beat(child, about))
        self._patiently(lambda: relay.flush(now=True))

    def _beat(self, child: Child, about: dict) -> None:
        state = ledger.heartbeat(
            self.store,
            self.job.id,
            self.job.token,
            lease=self.worker.lease,
            memory=child.use.peak,
            cpu_seconds=child.use.cpu_seconds,
            **about,
        )
        about.clear()
        self._heard = time.monotonic()
        self._cancelling = self._cancelling or state is State.CANCELLING

    def _limits(self, child: Child, began: float) -> None:
        job, seconds = self.job, time.monotonic() - began
        if job.seconds_limit is not None and seconds > job.seconds_limit:
            self._stopped = f"It took longer than its limit of {job.seconds_limit:,.0f} s."
        if job.memory_limit is not None and child.use.memory > job.memory_limit:
            self._stopped = (
                f"It used {child.use.memory / 2**20:,.0f} MiB of memory, more than its limit of "
                f"{job.memory_limit / 2**20:,.0f} MiB."
            )

    def _try(self, step) -> None:
        """A step that may fail while the database is away; the lease says for how long."""
        try:
            step()
        except LeaseLostError:
            self._lost = True
        except sa_exc.SQLAlchemyError:
            if time.monotonic() - self._heard > self.worker.lease:
                self._lost = True  # another may have taken over: end, before both write
            time.sleep(0.2)

    def _patiently(self, step) -> None:
        while not self._lost:
            try:
                step()
                return
            except LeaseLostError:
                self._lost = True
            except sa_exc.SQLAlchemyError:
                time.sleep(0.5)  # results are there: wait until the database is

    def _outcome(
        self, child: Child, end: End, relay: Relay, manifest: Manifest, output: Path
    ) -> Outcome:
        state, reason = self._verdict(end, manifest, output)
        found: tuple[Result, ...] = ()
        try:
            found = tuple(gather(self.store, output, manifest))  # partial results, too
        except ValueError as error:
            state, reason = "failed", str(error)
        if reason:
            relay.say(reason)
        relay.say(f"Ended: {'cancelled' if self._cancelling else state}.")
        self._patiently(lambda: relay.flush(now=True))
        return Outcome(
            state,
            reason,
            found,
            memory=child.use.peak,
            cpu_seconds=child.use.cpu_seconds,
            delay=self.worker.delay if state == "retry" else 0.0,
        )

    def _verdict(self, end: End, manifest: Manifest, output: Path) -> tuple[str, str]:
        if self._stopped:
            return "failed", self._stopped
        if end.state == "succeeded":
            wanted = [(each["path"], each["required"]) for each in manifest.outputs]
            missing = missing_outputs(wanted, results(output))
            if missing:
                return "failed", f"Expected {', '.join(missing)}; the analysis made none."
            return "succeeded", ""
        if end.state:
            return end.state, end.reason
        if end.code < 0:
            name = signal.Signals(-end.code).name
            return "retry", f"Its process was ended from outside ({name})."
        return "failed", f"Its process ended without a word (exit code {end.code})."

    def _failed(self, relay: Relay, state: str, reason: str) -> Outcome:
        relay.say(reason)
        self._patiently(lambda: relay.flush(now=True))
        return Outcome(state, reason, delay=self.worker.delay if state == "retry" else 0.0)


def clean(store: Store, job: str) -> None:
    """Remove the work folder of a job that has ended."""
    shutil.rmtree(store.folder / "work" / job, ignore_errors=True)


def _say(relay: Relay, text: str) -> None:
    relay.say(text)
    relay.flush(now=True)


def _storage(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full: {error}."
    return f"Storage failed: {error}."


def _secret(name: str) -> bool:
    """Whether a variable of the worker may hold a secret, which no analysis sees."""
    ours = name.startswith("LANTERNFISH_") and name != "LANTERNFISH_DATA"
    return ours or any(part in name.upper() for part in _SECRETS)
