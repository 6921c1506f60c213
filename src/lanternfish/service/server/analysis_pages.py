"""Pages of analyses: cards, what one does, its exact code, and the form that starts jobs."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from lanternfish.service import store as st
from lanternfish.service.analyses import built
from lanternfish.service.jobs import Action
from lanternfish.service.server import forms, views
from lanternfish.service.server.access import allow
from lanternfish.service.server.catalogue import Analysis, reserve
from lanternfish.service.server.downloads import disposition
from lanternfish.service.server.errors import Mistake
from lanternfish.service.server.platform import platform_of
from lanternfish.service.server.rendering import core_hours, page
from lanternfish.service.server.sign_in import audit
from lanternfish.service.server.submitting import Wish, analysis_of, input_errors, submit
from lanternfish.service.server.typed import number, whole
from lanternfish.service.store.identity import new_id

router = APIRouter()
OFFERED = 200  # data sets that the form shows
SETTINGS_FORMAT = "lanternfish settings 1"


@router.get("/analyses", **allow())
def cards(request: Request) -> Response:
    """All analyses of this server."""
    platform, actor = platform_of(request), request.state.actor
    recent = []
    if actor.group is not None:
        recent = views.listed(platform.store, st.jobs_of(platform.store, actor.group.id, limit=5))
    return page(
        request,
        "analyses.html",
        analyses=platform.catalogue.all(),
        broken=platform.catalogue.broken() if actor.admin else {},
        recent=recent,
    )


@router.get("/analyses/{name}", **allow())
def look(request: Request, name: str) -> Response:
    """What an analysis computes, its paper, inputs and outputs, and its demo."""
    analysis = analysis_of(platform_of(request), name)
    first = _first_use(request, analysis)
    return page(request, "analysis.html", analysis=analysis, may_run=_may_run(request), **first)


@router.get("/analyses/{name}/code", **allow())
def code(request: Request, name: str, file: str = "") -> Response:
    """The exact code that will run."""
    platform = platform_of(request)
    analysis = analysis_of(platform, name)
    files = analysis.sources
    shown = next((f for f in files if f["path"] == file), files[0] if files else None)
    if file and (shown is None or shown["path"] != file):
        raise st.NotFoundError("Expected a file of this analysis; there is none of this name.")
    return page(
        request,
        "code.html",
        analysis=analysis,
        files=files,
        shown=shown,
    )


@router.post("/analyses/{name}/demo", **allow(Action.RUN, "group"))
def demo(request: Request, name: str) -> Response:
    """Run the demo: its data and settings, one click."""
    platform, group = platform_of(request), request.state.group
    analysis = analysis_of(platform, name)
    if analysis.demo is None:
        raise st.NotFoundError(f"{analysis.title} has no demo.")
    inputs = platform.catalogue.demo_inputs(analysis, group.id, request.state.actor.id)
    title = f"Demo: {analysis.demo['title']}"
    wish = Wish(name, analysis.demo["settings"], (inputs,), title=title, known=True)
    rows = submit(request, group.id, wish)
    audit(request, "submit", group=group.id, object=rows[0].id, detail={"demo": name})
    return RedirectResponse(f"/jobs/{rows[0].id}", 303)


@router.get("/analyses/{name}/new", **allow(Action.RUN, "group"))
def new(request: Request, name: str, job: str = "", data: str = "") -> Response:
    """The form, with defaults, or as a job had it; `?labels=ID` chooses data for one input."""
    platform = platform_of(request)
    analysis = analysis_of(platform, name)
    filled = Filled()
    if job:
        filled = _as_job(request, analysis, job)
    elif analysis.inputs:
        first, asked = analysis.inputs[0].name, request.query_params
        named = {e.name: [asked[e.name]] for e in analysis.inputs if asked.get(e.name)}
        filled = Filled(inputs={first: [data], **named} if data else named)
    return _form(request, analysis, filled)


@router.post("/analyses/{name}/new", **allow(Action.RUN, "group"))
async def start(request: Request, name: str) -> Response:
    """Start one job for each chosen data set; or load, or save, the settings of the form."""
    sent = await request.form()
    return await run_in_threadpool(_start, request, name, sent)


@router.post("/analyses/{name}/check", **allow(Action.RUN, "group"))
async def check(request: Request, name: str) -> Response:
    """Sentences for what is wrong in a form, by JSON pointer."""
    sent = await request.form()

    def told() -> dict[str, Any]:
        platform = platform_of(request)
        analysis = analysis_of(platform, name)
        filled = _read(request, analysis, sent)
        if filled.errors:
            return {"errors": filled.errors}
        verdict = platform.catalogue.examine(analysis, filled.settings or {}, filled.runs)
        return {"errors": verdict.errors, "bound": _bound(verdict.cpu_seconds, len(filled.runs))}

    return JSONResponse(await run_in_threadpool(told))


@router.post("/analyses/{name}/suggest", **allow(Action.RUN, "group"))
async def suggest(request: Request, name: str) -> Response:
    """Settings that the chosen data suggest: texts for the form by JSON pointer, and a sentence."""
    sent = await request.form()

    def told() -> dict[str, Any]:
        platform = platform_of(request)
        analysis = analysis_of(platform, name)
        filled = _read(request, analysis, sent)
        first = {key: chosen[0] for key, chosen in filled.inputs.items() if chosen}
        wrong = [s for p, s in filled.errors.items() if p.startswith("/inputs/")]
        if wrong:
            return {"texts": {}, "words": " ".join(wrong)}
        values, words = platform.catalogue.suggested(analysis, first)
        fields = forms.build(analysis.schema, {**analysis.defaults, **values}, {}, {})
        named = {f"/{key}" for key in values}
        return {"texts": {f.name: f.text for f in fields if f.name in named}, "words": words}

    return JSONResponse(await run_in_threadpool(told))


@dataclass
class Filled:
    """A form as it is filled in."""

    settings: dict[str, Any] | None = None
    inputs: dict[str, list[str]] = field(default_factory=dict)
    seed: str = "0"
    title: str = ""
    minutes: str = ""
    errors: dict[str, str] = field(default_factory=dict)
    raw: dict[str, list[str]] = field(default_factory=dict)
    parent: str = ""
    notice: str = ""

    @property
    def runs(self) -> tuple[dict[str, str], ...]:
        """One set of inputs for each data set of the input of which several are chosen."""
        several = next((n for n, chosen in self.inputs.items() if len(chosen) > 1), None)
        fixed = {n: chosen[0] for n, chosen in self.inputs.items() if n != several and chosen}
        if several is None:
            return (fixed,)
        return tuple({**fixed, several: each} for each in self.inputs[several])


def _start(request: Request, name: str, sent: FormData) -> Response:
    platform, group = platform_of(request), request.state.group
    analysis = analysis_of(platform, name)
    verb = sent.get("verb", "start")
    if verb == "load":
        return _form(request, analysis, _loaded(analysis, sent))
    filled = _read(request, analysis, sent)
    if verb == "save":
        return _saved(analysis, filled)
    if filled.errors:
        return _form(request, analysis, filled)
    wish = Wish(
        name,
        filled.settings or {},
        filled.runs,
        whole(filled.seed or "0"),
        filled.title,
        str(sent.get("key", ""))[:100] or None,
        parent=filled.parent or None,
        minutes=number(filled.minutes) if filled.minutes else None,
    )
    try:
        rows = submit(request, group.id, wish)
    except Mistake as error:
        filled.errors = error.errors
        return _form(request, analysis, filled)
    except st.StoreError as error:
        filled.errors = {"": str(error)}
        return _form(request, analysis, filled)
    audit(request, "submit", group=group.id, object=rows[0].id, detail={"jobs": len(rows)})
    target = f"/jobs/{rows[0].id}" if len(rows) == 1 else f"/batches/{rows[0].batch}"
    return RedirectResponse(target, 303)


def _read(request: Request, analysis: Analysis, sent: FormData) -> Filled:
    platform = platform_of(request)
    pairs = [(k, v) for k, v in sent.multi_items() if isinstance(v, str)]
    settings, errors, raw = forms.read(analysis.schema, (p for p in pairs if p[0].startswith("/")))
    known = {each.name for each in analysis.inputs}
    inputs: dict[str, list[str]] = {}
    for key, value in pairs:
        name = key.removeprefix("input:")
        if key.startswith("input:") and name in known and value:
            inputs.setdefault(name, []).append(value)
    text = {
        key: value.strip() for key, value in pairs if key in ("seed", "title", "minutes", "parent")
    }
    filled = Filled(settings, inputs, raw=raw, errors=errors)
    filled.seed, filled.title = text.get("seed", "0"), text.get("title", "")[:200]
    filled.minutes, filled.parent = text.get("minutes", ""), text.get("parent", "")
    if not errors:
        filled.errors = platform.catalogue.check(analysis, settings)
    filled.errors |= input_errors(platform, analysis, request.state.group.id, filled.runs)
    filled.errors |= _other_errors(filled)
    return filled


def _other_errors(filled: Filled) -> dict[str, str]:
    errors = {}
    try:
        seed = whole(filled.seed or "0")
        if not 0 <= seed < 2**63:
            errors["/seed"] = "Expected a seed of 0 or more."
    except ValueError as error:
        errors["/seed"] = str(error)
    try:
        if filled.minutes and number(filled.minutes) <= 0:
            errors["/minutes"] = "Expected more than 0 minutes."
    except ValueError as error:
        errors["/minutes"] = str(error)
    several = [name for name, chosen in filled.inputs.items() if len(chosen) > 1]
    for name in several[1:]:
        errors[f"/inputs/{name}"] = f"Expected one: several are chosen for {several[0]} already."
    return errors


def _loaded(analysis: Analysis, sent: FormData) -> Filled:
    """A form filled from a file of settings."""
    filled = Filled(
        inputs={
            each.name: [v for v in sent.getlist(f"input:{each.name}") if isinstance(v, str) and v]
            for each in analysis.inputs
        }
    )
    try:
        told = json.loads(str(sent.get("loaded", "")))
        if not isinstance(told, dict):
            raise ValueError("a table is missing")
    except ValueError as error:
        filled.errors = {"": f"Expected a file of settings, as this page saves them: {error}."}
        return filled
    if told.get("format") == SETTINGS_FORMAT:
        other = told.get("analysis")
        if other != analysis.name:
            filled.errors = {"": f"Expected settings of {analysis.name}; got those of {other}."}
            return filled
        filled.seed = str(told.get("seed", 0))
        told = told.get("settings", {})
    strange = sorted(set(told) - set(analysis.schema.get("properties", {})))
    filled.settings = told
    filled.notice = "The settings of the file are in the form."
    if strange:
        filled.errors = {
            "": f"The file has entries that this analysis does not know: {', '.join(strange)}."
        }
    return filled


def _saved(analysis: Analysis, filled: Filled) -> Response:
    """The form as a file, which `lanternfish submit` takes too."""
    told = {
        "format": SETTINGS_FORMAT,
        "analysis": analysis.name,
        "version": analysis.version,
        "seed": int(filled.seed) if filled.seed.isdigit() else 0,
        "settings": filled.settings,
    }
    headers = {"Content-Disposition": disposition(f"{analysis.name} settings.json", False)}
    return Response(
        json.dumps(told, indent=2, ensure_ascii=False) + "\n", 200, headers, "application/json"
    )


def _as_job(request: Request, analysis: Analysis, job: str) -> Filled:
    """The form as a job had it, to be changed; the new job will name it as its parent."""
    platform = platform_of(request)
    row = st.find_job(platform.store, job)
    if row is None or request.state.actor.role(row.group_id) is None:
        raise st.NotFoundError("There is no such job.")
    inputs = {i.name: [i.dataset_id] for i in st.inputs_of(platform.store, job) if i.dataset_id}
    return Filled(row.settings, inputs, str(row.seed), row.title or "", parent=job)


def _form(request: Request, analysis: Analysis, filled: Filled) -> Response:
    platform, group = platform_of(request), request.state.group
    values = {**analysis.defaults, **(filled.settings or {})}
    fields = forms.build(analysis.schema, values, filled.errors, filled.raw)
    shown = {f"/inputs/{each.name}" for each in analysis.inputs} | {"/seed", "/minutes"}
    shown |= _pointers(fields)
    elsewhere = [s for p, s in filled.errors.items() if p not in shown]
    return page(
        request,
        "new.html",
        422 if filled.errors else 200,
        analysis=analysis,
        fields=fields,
        filled=filled,
        elsewhere=elsewhere,
        count=len(filled.errors),
        datasets=st.datasets_of(platform.store, group.id, limit=OFFERED),
        key=new_id(),
        bound=_bound(analysis.cpu_seconds, 1),
        notice={"kind": "good", "text": filled.notice} if filled.notice else None,
        may_point=platform.configuration.personal or bool(platform.configuration.local_data),
        **_first_use(request, analysis),
    )


def _first_use(request: Request, analysis: Analysis) -> dict[str, Any]:
    """Whether a first job must build the environment of an analysis, and what that takes."""
    wanted = analysis.environment
    if not wanted:
        return {"own": False}
    folder = platform_of(request).configuration.folder / built.FOLDER
    told = {"cost": built.cost_in_words(wanted), "is_built": built.is_built(wanted, folder)}
    return {"own": True, **told}


def _bound(cpu_seconds: float | None, jobs: int) -> str:
    """The most that a click can cost, in words."""
    if cpu_seconds is None:
        return ""
    each = core_hours(reserve(cpu_seconds))
    return f"At most {each}." if jobs == 1 else f"At most {each} for each of {jobs} jobs."


def _pointers(fields: tuple[forms.Field, ...]) -> set[str]:
    found = set()
    for each in fields:
        found |= {each.pointer} | _pointers(each.children)
    return found


def _may_run(request: Request) -> bool:
    actor = request.state.actor
    return actor.group is not None and actor.may(Action.RUN)
