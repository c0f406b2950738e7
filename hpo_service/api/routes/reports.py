"""`/studies/{id}/report.html` and `.md`: what was searched, found and spent, on one page that needs nothing else."""

from __future__ import annotations

import functools
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

from fastapi import APIRouter, Response

from hpo_service.api import confirming, definition_text
from hpo_service.api.access import Role
from hpo_service.api.routing import role, router
from hpo_service.api.state import Shared, SharedDep, StudyDep
from hpo_service.core.definition import parse
from hpo_service.report.blocks import Report
from hpo_service.report.gathering import Given, gather
from hpo_service.report.markdown import markdown
from hpo_service.report.page import html
from hpo_service.report.writing import written
from hpo_service.store import finding
from hpo_service.store.rows import StudyRow
from hpo_service.views.confirmation import read, telling

routes: APIRouter = router(prefix="/studies/{study_id}", tag="reports")

ALONE = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
"""The page's own policy: style that stands in it, and nothing else at all."""


@routes.get("/report.html", openapi_extra=role(Role.VIEWER), response_class=Response)
def get_report(study: StudyDep, shared: SharedDep) -> Response:
    """The report of a study as one HTML page that needs nothing else: to keep, to send, to print."""
    headers = {"content-security-policy": ALONE}
    return Response(html(_report(shared, study)), media_type="text/html; charset=utf-8", headers=headers)


@routes.get("/report.md", openapi_extra=role(Role.VIEWER), response_class=Response)
def get_report_markdown(study: StudyDep, shared: SharedDep) -> Response:
    """The report of a study as Markdown."""
    return Response(markdown(_report(shared, study)), media_type="text/markdown; charset=utf-8")


def _report(shared: Shared, study: StudyRow) -> Report:
    settings = shared.settings
    own = read(shared.db, study) if parse(study.definition).confirms is not None else None
    confirmations = [read(shared.db, row) for row in finding.confirming(shared.db, study.id)]
    shown = own or (telling(confirmations) if confirmations else None)
    together, note = (None, "") if shown is None else confirming.ensemble_of(shared, shown)
    given = Given(
        definition_text=definition_text.as_yaml(study.definition, comment=f"The definition of the study {study.id}."),
        cpu_hour_dollars=settings.cpu_hour_dollars,
        gpu_hour_dollars=settings.gpu_hour_dollars,
        wage_hour_dollars=settings.wage_hour_dollars,
        version=_version(),
        now=shared.db.now(),
        confirmations=confirmations,
        own=own,
        ensemble=together,
        ensemble_note=note,
    )
    with shared.columns.at(study.id, study.last_seq) as columns:
        return written(gather(shared.db, study, columns, given))


@functools.cache
def _version() -> str:
    try:
        return installed("hpo-service")
    except PackageNotFoundError:
        return "0"
