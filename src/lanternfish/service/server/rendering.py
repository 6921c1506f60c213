"""Pages: Jinja2 templates with what every page needs, and numbers in words."""

from __future__ import annotations

import hashlib
import re
import time
from datetime import UTC, datetime
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from lanternfish import __version__
from lanternfish.service.server.prose import rendered

WEB = Path(__file__).parents[1] / "web"
STATIC = WEB / "static"


@lru_cache(maxsize=1)
def plotly_script() -> Path:
    """Plotly's script, as shipped inside its wheel; Plotly itself is never imported."""
    found = find_spec("plotly")
    if found is None or not found.submodule_search_locations:
        raise ModuleNotFoundError(
            "Expected plotly to be installed: pip install lanternfish[service]"
        )
    return Path(next(iter(found.submodule_search_locations))) / "package_data" / "plotly.min.js"


@lru_cache(maxsize=1)
def plotly_styles() -> tuple[str, ...]:
    """Ids of style elements that Plotly's script adds unless the page has them (for maps)."""
    found = re.findall(rb'getElementById\("([0-9a-f]{64})"\)', plotly_script().read_bytes())
    return tuple(sorted({each.decode() for each in found}))


@lru_cache(maxsize=64)
def static(name: str) -> str:
    """Address of a static file; it changes with the content, so that it may be kept for ever."""
    path = plotly_script() if name == "plotly.min.js" else STATIC / name
    if name.endswith(".js") and name != "plotly.min.js":
        return f"/static/{scripts_version()}/{name}"  # modules import each other by relative name
    return f"/static/{hashlib.sha256(path.read_bytes()).hexdigest()[:12]}/{name}"


@lru_cache(maxsize=1)
def scripts_version() -> str:
    state = hashlib.sha256()
    for path in sorted(STATIC.glob("*.js")):
        state.update(path.read_bytes())
    return state.hexdigest()[:12]


def size(count: float | None) -> str:
    """Bytes in words, in powers of ten."""
    if count is None:
        return ""
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if abs(count) < 1000 or unit == "TB":
            break
        count /= 1000
    return f"{count:.0f} {unit}" if unit == "B" or count >= 100 else f"{count:.1f} {unit}"


def duration(seconds: float | None) -> str:
    """Seconds in words."""
    if seconds is None:
        return ""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min"
    return f"{hours // 24} d {hours % 24} h"


def ago(moment: float) -> str:
    """How long since, or until, in words."""
    seconds = time.time() - moment
    future, seconds = seconds < -5, abs(seconds)
    for least, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= least:
            count = int(seconds // least)
            words = f"{count} {unit}{'s' * (count > 1)}"
            return f"in {words}" if future else f"{words} ago"
    return "in a moment" if future else "just now"


def clock(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def iso(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds")


def core_hours(units: int | None) -> str:
    """Micro-units of a core-hour in words."""
    return "unlimited" if units is None else f"{units / 1e6:,.3g} core-hours"


def _environment() -> Environment:
    made = Environment(
        loader=FileSystemLoader(WEB / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    made.filters.update(
        bytes=size, duration=duration, ago=ago, clock=clock, iso=iso, core_hours=core_hours
    )
    made.filters["markdown"] = rendered
    made.tests["ending"] = lambda text, endings: text.endswith(tuple(e.lower() for e in endings))
    made.globals.update(static=static, version=__version__, plotly=lambda: static("plotly.min.js"))
    made.globals.update(plotly_styles=plotly_styles)
    return made


ENVIRONMENT = _environment()


def page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page, with who asks and their groups as `request.state` has them."""
    state = request.state
    csrf = getattr(state, "csrf", "")
    platform = request.app.state.platform
    actor = getattr(state, "actor", None)
    context = {
        "actor": actor,
        "groups": actor.groups if actor else (),
        "group": actor.group if actor else None,
        "personal": platform.configuration.personal,
        "provider": platform.provider.provider.name if platform.provider else "",
        "navigation": _NAVIGATION,
        "path": request.url.path,
        "csrf": csrf,
        "csrf_field": lambda: Markup('<input type="hidden" name="csrf" value="{}">').format(
            escape(csrf)
        ),
        "notice": None,
        **values,
    }
    text = ENVIRONMENT.get_template(template).render(context)
    return HTMLResponse(text, status)


_NAVIGATION = (("/analyses", "Analyses"), ("/data", "Data"), ("/jobs", "Jobs"))
