"""What a study's `auto` picked and what it began from, in words for the wire. Reads the log's first events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hpo_service.api.schemas import Chosen, WarmSource, WarmStart
from hpo_service.store import warm_starts
from hpo_service.store.database import Database
from hpo_service.store.rows import StudyRow


def told(db: Database, row: StudyRow) -> Mapping[str, Any]:
    """`chosen` and `warm_start`, None for studies of an algorithm that was named. Neither ever changes."""
    algorithm = row.definition.get("algorithm")
    if not isinstance(algorithm, Mapping) or algorithm.get("name") != "auto":
        return {"chosen": None, "warm_start": None}
    chosen, warm = warm_starts.beginning(db, row.id)
    start = None
    if warm is not None:
        start = WarmStart(
            mode=warm.mode,
            text=warm.text,
            sources=[
                WarmSource(
                    study=source.study,
                    name=source.name,
                    trials=source.trials,
                    shared=list(source.shared),
                    likeness=source.likeness,
                )
                for source in warm.sources
            ],
            portfolio=[dict(params) for params in warm.portfolio],
        )
    return {"chosen": Chosen.model_validate(dict(chosen)) if chosen else None, "warm_start": start}
