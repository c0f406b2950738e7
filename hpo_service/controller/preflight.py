"""A study's first state: what only the cluster or a worker can see is tried before anything is dispatched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from hpo_service import algorithms
from hpo_service.controller import orders
from hpo_service.core.definition import StudyDefinition
from hpo_service.core.states import StudyState
from hpo_service.store import studies
from hpo_service.store.rows import StudyRow
from workers.contract import Ended, Outcome

if TYPE_CHECKING:
    from hpo_service.controller.loop import Controller, Led

TRIES = 3
"""How often a preflight whose worker was lost is tried."""


def step(controller: Controller, row: StudyRow, led: Led) -> bool:
    """Move the study's preflight on; True when its state changed."""
    definition = controller.decider.fold(row.id).definition
    ended = controller.collector.take_preflight(row.id)
    if ended is not None:
        led.preflighting = False
        return _judge(controller, row, led, ended)
    if led.preflighting:
        return False
    lacking = _lacking(controller, definition)
    if lacking is not None:
        if controller.joining():
            return False
        return _fail(controller, row, lacking)
    led.preflighting = True
    led.preflights += 1
    params = trial_params(definition)
    launch = orders.preflight_launch(
        definition,
        row.id,
        params,
        algorithms.segment_target(definition, params),
        number=led.preflights,
        storage_root=controller.storage_root,
    )
    controller.flights.add((o.key for o in launch.orders), cpu=launch.cpu, gpu=launch.gpu)
    controller.executor.launch(launch)
    return False


def trial_params(definition: StudyDefinition) -> dict[str, object]:
    """The configuration that preflight tries: the defaults where they are allowed, else the first draw."""
    space = definition.search_space
    if space.has_default:
        return dict(space.default_params())
    return dict(space.sample(np.random.default_rng(definition.seed)))


def _lacking(controller: Controller, definition: StudyDefinition) -> str | None:
    need, capacity = definition.resources, controller.executor.capacity()
    for name, wanted, most in (("gpu", need.gpu, capacity.node_gpu), ("cpu", need.cpu, capacity.node_cpu)):
        if wanted > most:
            return (
                f"resources.{name}: a trial asks for {wanted:g}, but no node of the cluster has more than {most:g}; "
                f"lower resources.{name} or add a node that has them"
            )
    return None


def _judge(controller: Controller, row: StudyRow, led: Led, ended: Ended) -> bool:
    if ended.outcome in (Outcome.REACHED, Outcome.COMPLETED, Outcome.CANCELLED, Outcome.PAUSED):
        studies.set_state(controller.db, row.id, StudyState.RUNNING, "preflight passed")
        return True
    if ended.outcome is Outcome.LOST and led.preflights < TRIES:
        return True
    return _fail(controller, row, "\n".join(part for part in (ended.reason, ended.traceback) if part))


def _fail(controller: Controller, row: StudyRow, reason: str) -> bool:
    studies.set_state(controller.db, row.id, StudyState.FAILED, f"preflight: {reason}")
    return True
