"""The Python SDK: everything a program does with the service, over REST alone, blocking or awaiting.

Every operation is written once, as a generator that does no I/O (`operations`, `study_operations`, `asking`); two
drivers carry it out (`drivers`), and `blocking` and `awaiting` list the same operations as methods. Not here: anything
that needs torch, Ray, FastAPI or a database.
"""

from hpo_service.client.awaiting import AsyncClient, AsyncStudy, AsyncTrial
from hpo_service.client.blocking import Client, Study, Trial
from hpo_service.client.protocol import RetryPolicy
from hpo_service.client.results import View

__all__ = ["AsyncClient", "AsyncStudy", "AsyncTrial", "Client", "RetryPolicy", "Study", "Trial", "View"]
