"""Two plain pages, the list of studies and one study. They hold no data: their script asks the public API."""

from __future__ import annotations

import re
from pathlib import Path

from fastapi import FastAPI, Request, Response
from jinja2 import Environment, FileSystemLoader, select_autoescape
from starlette.responses import HTMLResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from hpo_service.errors import NotFound

FOLDER = Path(__file__).parent
STUDY_ID = re.compile(r"[A-Za-z0-9_\-]{1,64}")


def add_pages(app: FastAPI) -> None:
    """Serve the pages and their files. They are public: what they show needs whatever the API asks for."""
    environment = Environment(loader=FileSystemLoader(FOLDER / "templates"), autoescape=select_autoescape())

    def index(_: Request) -> Response:
        return HTMLResponse(environment.get_template("studies.html").render())

    def study(request: Request) -> Response:
        study_id = request.path_params["study_id"]
        if not STUDY_ID.fullmatch(study_id):
            raise NotFound("there is no such page", remedy="go to /")
        return HTMLResponse(environment.get_template("study.html").render(study_id=study_id))

    app.router.routes += [
        Route("/", index, methods=["GET"]),
        Route("/studies/{study_id}", study, methods=["GET"]),
        Mount("/static", StaticFiles(directory=FOLDER / "static"), name="static"),
    ]
