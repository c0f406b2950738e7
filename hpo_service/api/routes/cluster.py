"""`/cluster`: the whole installation at a glance."""

from __future__ import annotations

from fastapi import APIRouter

from hpo_service.api.access import Role
from hpo_service.api.cluster import Cluster
from hpo_service.api.routing import role, router
from hpo_service.api.state import PrincipalDep, SharedDep

routes: APIRouter = router(tag="service")


@routes.get("/cluster", openapi_extra=role(Role.VIEWER))
def get_cluster(shared: SharedDep, caller: PrincipalDep) -> Cluster:
    """Nodes, workers with what they train and how busy they were, the studies that share them, and what failed last."""
    return shared.glance.at(caller)
