"""Puts the service together: guards, routes, pages, and what they share."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from importlib.metadata import PackageNotFoundError, version

from fastapi import FastAPI

from hpo_service.api.answers import Answers
from hpo_service.api.cluster import Glance
from hpo_service.api.counting import Counting
from hpo_service.api.desk import Desk
from hpo_service.api.exposure import require_tokens
from hpo_service.api.metrics import Metrics
from hpo_service.api.middleware import BodyLimit, HostAndOrigin, SecurityHeaders
from hpo_service.api.notices import Notices
from hpo_service.api.problems import add_handlers
from hpo_service.api.replay import Replay
from hpo_service.api.routes import (
    analyses,
    artifacts,
    bundles,
    charts,
    cluster,
    compare,
    confirmations,
    context,
    definitions,
    events,
    external,
    health,
    importing,
    lineage,
    logs,
    repeats,
    reports,
    reproductions,
    studies,
    surrogate,
    tokens,
    training,
    trials,
)
from hpo_service.api.routing import API
from hpo_service.api.state import Shared
from hpo_service.dashboard import pages
from hpo_service.decider import Decider
from hpo_service.model_views import SurrogateViews
from hpo_service.settings import LOOPBACK_HOSTS, Settings
from hpo_service.store.database import Database
from hpo_service.store.groupwriter import GroupWriter
from hpo_service.store.heads import heads
from hpo_service.views.columns import ColumnsCache

DESCRIPTION = """Hyperparameter optimisation as a service. Errors are RFC 9457 problem documents; lists page by cursor;
times are RFC 3339 UTC; money is integer micro-dollars; numbers that are not finite are the strings "NaN", "Infinity",
"-Infinity". Every POST takes an Idempotency-Key."""
ANY_ADDRESS = frozenset({"0.0.0.0", "::", ""})


def create_app(
    settings: Settings,
    db: Database,
    *,
    notify: Callable[[str], None] | None = None,
    controller_alive: Callable[[], bool] | None = None,
) -> FastAPI:
    """The ASGI application on an open database. `notify` is told the id of every study that a request changed;
    `controller_alive` whether the supervised controller runs, where this process supervises one.

    Raises Conflict where the address is not loopback and no token exists.
    """
    require_tokens(settings, db)
    shared = _shared(settings, db, notify or _nobody, controller_alive)

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        shared.views.open()
        yield
        shared.views.close()
        shared.notices.close()
        shared.background.close()
        shared.replays.close()
        shared.desk.close()
        shared.writer.close()

    app = FastAPI(
        title="hpo-service",
        version=_version(),
        description=DESCRIPTION,
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from elsewhere, which the page policy forbids
        redoc_url=None,
        openapi_url=f"{API}/openapi.json",
    )
    app.state.shared = shared
    app.router.redirect_slashes = False
    for module in (
        external,  # first, for routes are tried in this order, and nobody calls as often
        importing,
        definitions,
        studies,
        trials,
        artifacts,
        logs,
        training,
        lineage,
        reproductions,
        context,
        compare,
        confirmations,
        reports,
        cluster,
        charts,
        analyses,
        surrogate,
        events,
        bundles,
        repeats,
        tokens,
        health,
    ):
        app.router.routes += module.routes.routes
    app.router.routes += [*repeats.side_by_side.routes, *health.root.routes]
    pages.add_pages(app)
    add_handlers(app)
    app.add_middleware(BodyLimit, limit=settings.max_body_bytes)
    app.add_middleware(HostAndOrigin, allowed=_host_names(settings), any_address=settings.host in ANY_ADDRESS)
    app.add_middleware(SecurityHeaders, observe=shared.metrics.observe)
    return app


def _shared(
    settings: Settings, db: Database, notify: Callable[[str], None], controller_alive: Callable[[], bool] | None
) -> Shared:
    decider = Decider(db)
    notices = Notices(lambda: heads(db))
    return Shared(
        settings=settings,
        db=db,
        decider=decider,
        desk=Desk(db, decider),
        views=SurrogateViews(db, decider),
        columns=ColumnsCache(db),
        glance=Glance(db),
        writer=GroupWriter(db),
        notices=notices,
        answers=Answers(told=notices.told),
        replay=Replay(db),
        metrics=Metrics(Counting(db, settings.lease_s).families),
        notify=notify,
        controller_alive=controller_alive,
    )


def _host_names(settings: Settings) -> frozenset[str]:
    named = {name.strip() for name in settings.allowed_hosts.split(",") if name.strip()}
    own = {settings.host}
    if settings.is_loopback or settings.host in ANY_ADDRESS:
        own |= LOOPBACK_HOSTS
    if not settings.is_loopback:
        own.add(socket.gethostname())
    return frozenset((named | own) - {""})


def _nobody(_: str) -> None:
    """Where nobody wants to know."""


def _version() -> str:
    try:
        return version("hpo-service")
    except PackageNotFoundError:
        return "0"
