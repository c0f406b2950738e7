"""Shell completion of study names, when the server answers at once; silent otherwise."""

from __future__ import annotations

import contextlib

ANSWER_WITHIN_S = 0.3


def study_names(incomplete: str) -> list[str]:
    """Names and ids of studies that begin so; none when the server does not answer within 0.3 s."""
    with contextlib.suppress(
        Exception
    ):  # whatever is wrong, a shell waiting for a completion is not the place to say it
        from hpo_service.client import Client, RetryPolicy

        with Client(timeout_s=ANSWER_WITHIN_S, retry=RetryPolicy(retries=0)) as client:
            found = [name for study in client.studies(limit=50) for name in (study.name, study.id)]
            return [name for name in dict.fromkeys(found) if name.startswith(incomplete)]
    return []
