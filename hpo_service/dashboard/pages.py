"""The pages of the dashboard and the files they load. They hold no data: their scripts ask the public API.

What a page shows lives in `static/pages/NAME.js`, its frame in `templates/NAME.html`.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request, Response
from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.exceptions import HTTPException
from starlette.responses import HTMLResponse
from starlette.routing import Match, Mount, Route
from starlette.types import Scope

from hpo_service.dashboard.assets import PLOTLY_ROUTE, StaticGzip, plotly, plotly_path
from hpo_service.dashboard.modules import Modules

FOLDER = Path(__file__).parent
STUDY_ID = re.compile(r"[A-Za-z0-9_\-]{1,64}")
TRIAL_NUMBER = re.compile(r"[0-9]{1,9}")
NOT_PAGES = ("/api", "/static")
FRAME = "core/frame.js"
UNBUILT = re.compile(r'((?:src|href)=)"/static/(?!vendor/)')
Page = Callable[[Request], Response]


class Elsewhere(Route):
    """Whatever no other route serves, except what programs ask for: they get problem documents, 405 among them."""

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if scope["type"] == "http" and scope["path"].startswith(NOT_PAGES):
            return Match.NONE, {}
        return super().matches(scope)


def add_pages(app: FastAPI) -> None:
    """Serve the pages and their files. They are public: what they show needs whatever the API asks for. Comes after
    every other route, for it answers all paths that are left."""
    environment = Environment(loader=FileSystemLoader(FOLDER / "templates"), autoescape=select_autoescape())

    modules = Modules(FOLDER / "static")

    def render(name: str, status: int = 200, **values: Any) -> Response:
        needed = modules.needed(FRAME, f"pages/{name}.js")
        text = environment.get_template(f"{name}.html").render(
            page=name, plotly=plotly_path(), modules=needed, **values
        )
        return HTMLResponse(UNBUILT.sub(rf'\1"/static/@{modules.build}/', text), status)

    def plain(name: str) -> Page:
        return lambda _: render(name)

    def missing(request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            raise HTTPException(404)
        return render("missing", 404, path=request.scope["path"][:200])

    def study(request: Request) -> Response:
        study_id = request.path_params["study_id"]
        return render("study", study_id=study_id) if STUDY_ID.fullmatch(study_id) else missing(request)

    def trial(request: Request) -> Response:
        study_id, number = request.path_params["study_id"], request.path_params["number"]
        if not STUDY_ID.fullmatch(study_id) or not TRIAL_NUMBER.fullmatch(number):
            return missing(request)
        return render("trial", study_id=study_id, number=int(number))

    app.router.routes += [
        Route("/", plain("studies"), methods=["GET"]),
        Route("/new", plain("new"), methods=["GET"]),
        Route("/compare", plain("compare"), methods=["GET"]),
        Route("/workers", plain("workers"), methods=["GET"]),
        Route("/studies/{study_id}", study, methods=["GET"]),
        Route("/studies/{study_id}/trials/{number}", trial, methods=["GET"]),
        Route(PLOTLY_ROUTE, plotly, methods=["GET"]),
        Mount("/static", StaticGzip(modules=modules), name="static"),
        Elsewhere("/{path:path}", missing, methods=["GET"]),
    ]
