"""The certificate of a job: who, when, what went in, what came out, with which code, on what.

It is rendered from the ledger when it is asked for, so nothing of it can be out of date, and
`write_crate` packs it with inputs, outputs, log and code as a Workflow Run RO-Crate, from which
`lanternfish replay` runs the job anew.

References: Leo et al. (2024), PLoS ONE 19:e0309210 (Workflow Run RO-Crate, profile 0.5).
"""

from __future__ import annotations

import datetime
import hashlib
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lanternfish import __version__
from lanternfish.service.jobs import ENDED
from lanternfish.service.store.database import Store
from lanternfish.service.store.errors import ConflictError, NotFoundError
from lanternfish.service.store.events import log_from
from lanternfish.service.store.listing import artifacts_of, attempts_of, find_job, inputs_of
from lanternfish.service.store.people import find_group, find_user

FORMAT = "lanternfish-certificate/1"
_PROFILES = (
    "https://w3id.org/ro/wfrun/process/0.5",
    "https://w3id.org/ro/wfrun/workflow/0.5",
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0",
)


def certificate(store: Store, job: str) -> dict[str, Any]:
    """A job's certificate, as plain JSON.

    Raises:
        NotFoundError: there is no such job.
    """
    row = find_job(store, job)
    if row is None:
        raise NotFoundError(f"Expected the id of a job; got {job}.")
    user, group = find_user(store, id=row.user_id), find_group(store, row.group_id)
    attempts = attempts_of(store, job)
    last = attempts[-1] if attempts else None
    about = (last.surroundings if last else None) or {}
    return {
        "format": FORMAT,
        "platform": {"name": "lanternfish", "version": __version__},
        "job": {
            "id": row.id,
            "title": row.title or "",
            "state": row.state,
            "reason": row.reason,
            "ended_by": row.ended_by,
            "parent": row.parent_id,
            "relation": row.relation,
        },
        "who": {"user": user.name if user else "", "group": group.name if group else ""},
        "when": {name: _date(getattr(row, name)) for name in ("created", "started", "finished")},
        "analysis": {
            "name": row.analysis,
            "version": row.version,
            "code_sha256": row.code,
            "package": about.get("package"),
            "environment_sha256": last.environment if last else None,
        },
        "settings": row.settings,
        "seed": row.seed,
        "inputs": [
            {
                "name": each.name,
                "filename": each.filename,
                "size": each.size,
                "sha256": each.sha256,
                "location": each.location,
            }
            for each in inputs_of(store, job)
        ],
        "outputs": [
            {"path": each.path, "size": each.size, "sha256": each.sha256, "kind": each.kind}
            for each in artifacts_of(store, job)
        ],
        "machine": {key: value for key, value in about.items() if key != "package"},
        "use": {
            "cpu_seconds": sum(each.cpu_seconds or 0.0 for each in attempts),
            "peak_memory": max((each.peak_memory or 0 for each in attempts), default=0),
            "reserved_micro_core_hours": row.reserved,
            "spent_micro_core_hours": row.spent,
        },
        "attempts": [
            {
                "number": each.token,
                "worker": each.worker_id,
                "host": each.host,
                "started": _date(each.started),
                "ended": _date(each.ended),
                "outcome": each.outcome,
                "reason": each.reason,
                "cpu_seconds": each.cpu_seconds,
                "peak_memory": each.peak_memory,
            }
            for each in attempts
        ],
        "log": _log(store, job),
    }


def write_crate(
    store: Store,
    job: str,
    path: Path,
    *,
    sources: Sequence[dict[str, str]] = (),
    lock: str | None = None,
) -> None:
    """Write an ended job as a Workflow Run RO-Crate, a ZIP file.

    Args:
        sources: the code that ran, as the analysis's manifest has it. lock: of its environment.

    Raises:
        ConflictError: the job has not ended. NotFoundError: it does not exist.
    """
    found = certificate(store, job)
    if found["job"]["state"] not in ENDED:
        raise ConflictError(f"Expected a job that has ended; it is {found['job']['state']}.")
    with tempfile.TemporaryDirectory(dir=store.blobs.local / "new", prefix="crate-") as folder:
        _Crate(store, job, found, Path(folder)).write(path, sources, lock)


class _Crate:
    """Files and their description."""

    def __init__(self, store: Store, job: str, found: dict, folder: Path) -> None:
        from rocrate.rocrate import ROCrate

        self.store, self.job, self.found, self.folder = store, job, found, folder
        self.crate = ROCrate()

    def write(self, path: Path, sources: Sequence[dict[str, str]], lock: str | None) -> None:
        analysis, crate = self.found["analysis"], self.crate
        crate.name = f"{analysis['name']} {analysis['version']}, job {self.job}"
        crate.description = f"A job of the lanternfish platform: {self.found['job']['state']}."
        crate.root_dataset["conformsTo"] = [self._profile(each) for each in _PROFILES]
        workflow = self._workflow(sources)
        inputs = [self._input(each) for each in self.found["inputs"]]
        settings = [self._setting(name, value) for name, value in self.found["settings"].items()]
        settings.append(self._setting("seed", self.found["seed"]))
        outputs = [self._output(each) for each in self.found["outputs"]]
        self._text("certificate.json", json.dumps(self.found, indent=2), {"name": "Certificate"})
        self._file("log.txt", self._log(), {"name": "Log", "encodingFormat": "text/plain"})
        if lock is not None:
            self._text("environment/requirements.txt", lock, {"name": "Lock of the environment"})
        action = self._action(workflow, [each for each in inputs if each] + settings, outputs)
        crate.root_dataset["mentions"] = [action]
        crate.write_zip(path)

    def _profile(self, url: str):
        from rocrate.model.contextentity import ContextEntity

        name, version = url.split("/")[-2:]
        about = {"@type": "CreativeWork", "name": name, "version": version}
        return self.crate.add(ContextEntity(self.crate, url, properties=about))

    def _workflow(self, sources: Sequence[dict[str, str]]):
        analysis = self.found["analysis"]
        text = f"{analysis['name']} {analysis['version']}\n"
        files = list(sources) or [{"path": "analysis.txt", "text": text}]
        about = {"@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow"]}
        about |= {"name": analysis["name"], "version": analysis["version"]}
        main: Any = self._text(f"code/{files[0]['path']}", files[0]["text"], about)
        for each in files[1:]:
            self._text(f"code/{each['path']}", each["text"], {"name": each["path"]})
        main["programmingLanguage"] = self._entity(
            "https://www.python.org",
            {"@type": "ComputerLanguage", "name": "Python", "url": "https://www.python.org"},
        )
        self.crate.root_dataset["mainEntity"] = main
        return main

    def _input(self, each: dict):
        if each["location"] or each["sha256"] is None:  # stays where it is: named, with its hash
            told = {"@type": "CreativeWork", "name": each["filename"], "url": each["location"]}
            told |= {"sha256": each["sha256"]} if each["sha256"] else {}
            return self._entity(f"#input-{each['name']}", told)
        place = self.folder / "inputs" / each["name"] / each["sha256"]
        place.parent.mkdir(parents=True, exist_ok=True)
        self.store.blobs.fetch(each["sha256"], place)
        about = {"name": each["filename"], "sha256": each["sha256"]}
        return self._file(f"inputs/{each['name']}/{_plain(each['filename'])}", place, about)

    def _output(self, each: dict):
        place = self.folder / "outputs" / each["sha256"]
        place.parent.mkdir(exist_ok=True)
        if not place.exists():
            self.store.blobs.fetch(each["sha256"], place)
        about = {"name": each["path"], "sha256": each["sha256"]}
        return self._file(f"outputs/{each['path']}", place, about)

    def _setting(self, name: str, value: Any):
        about = {"@type": "PropertyValue", "name": name, "value": json.dumps(value)}
        return self._entity(f"#setting-{name}", about)

    def _action(self, workflow, objects: list, results: list):
        found = self.found
        agent = {"@type": "Person", "name": found["who"]["user"]}
        state = found["job"]["state"]
        status = "CompletedActionStatus" if state == "succeeded" else "FailedActionStatus"
        about = {
            "@type": "CreateAction",
            "name": f"Job {self.job}",
            "instrument": workflow,
            "object": objects,
            "result": results,
            "agent": self._entity("#agent", agent),
            "actionStatus": f"http://schema.org/{status}",
            "startTime": found["when"]["started"],
            "endTime": found["when"]["finished"],
        }
        about |= {"error": found["job"]["reason"]} if found["job"]["reason"] else {}
        return self._entity(f"#{self.job}", {k: v for k, v in about.items() if v is not None})

    def _entity(self, name: str, about: dict):
        from rocrate.model.contextentity import ContextEntity

        return self.crate.add(ContextEntity(self.crate, name, properties=about))

    def _file(self, path: str, source: Path, about: dict):
        about = {**about, "contentSize": str(source.stat().st_size)}
        return self.crate.add_file(source, path, properties=about)

    def _text(self, path: str, text: str, about: dict):
        place = self.folder / hashlib.sha256(path.encode()).hexdigest()
        place.write_text(text, encoding="utf-8")
        return self._file(path, place, about)

    def _log(self) -> Path:
        place = self.folder / "log.txt"
        with open(place, "wb") as file:
            for part in _log_parts(self.store, self.job):
                file.write(part)
        return place


def _log_parts(store: Store, job: str):
    offset = 0
    while True:
        part, offset = log_from(store, job, offset)
        if not part:
            return
        yield part


def _log(store: Store, job: str) -> dict[str, Any]:
    state, size = hashlib.sha256(), 0
    for part in _log_parts(store, job):
        state.update(part)
        size += len(part)
    return {"size": size, "sha256": state.hexdigest()}


def _date(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds")


def _plain(name: str) -> str:
    """A file name without a way out of its folder."""
    last = name.replace("\\", "/").rsplit("/", 1)[-1]
    return last if last.strip(".") else "data"
