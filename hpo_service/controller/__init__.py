"""The loop: load → fold → propose → commit → launch → collect → commit.

`loop` decides and launches on the main thread (Ray dies with the thread that started it), `collector` stores what
workers say on its own thread, so that a report never waits for a proposal. Everything that must survive is in the
database; what lives here can be killed at any moment.
"""

from hpo_service.controller.loop import Controller
from hpo_service.controller.process import main

__all__ = ["Controller", "main"]
