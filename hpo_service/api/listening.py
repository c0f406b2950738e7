"""The API behind a socket: uvicorn with our endings. The server loads it last, for it takes longest to load."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Sequence
from types import FrameType

import uvicorn

from hpo_service.api.app import create_app
from hpo_service.settings import Settings
from hpo_service.store.database import Database

DRAIN_S = 5


def listen(
    settings: Settings,
    db: Database,
    listener: socket.socket,
    *,
    address: str,
    controller_alive: Callable[[], bool] | None = None,
    endings: Sequence[Callable[[], None]] = (),
) -> None:
    """Answer requests on `listener` until SIGTERM or SIGINT, then call `endings` and finish what is under way."""
    app = create_app(settings, db, controller_alive=controller_alive)
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,
        lifespan="on",
        ws="none",
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=DRAIN_S,
    )
    _quiet_signals()
    _Server(config, [app.state.shared.notices.close, *endings], address).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Uvicorn that says where it listens once it does, and calls `endings` (live streams, the controller) as soon as a
    signal ends it, before it waits for the requests under way."""

    def __init__(self, config: uvicorn.Config, endings: Sequence[Callable[[], None]], address: str) -> None:
        super().__init__(config)
        self._endings = endings
        self._address = address

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            print(f"hpo-service listens on {self._address}", flush=True)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        for end in self._endings:
            end()
        super().handle_exit(sig, frame)


def _quiet_signals() -> None:
    """Uvicorn raises the signal that ended it once more; by then everything is in order, and the status is 0."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
