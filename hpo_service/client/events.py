"""Live notices: server-sent events parsed, resumed after a break, without I/O.

The drivers' loops read lines and sleep; here is what a line means and what is asked next.
"""

from __future__ import annotations

import json

from hpo_service.client.protocol import Broken, Query, Reply, Request, RetryPolicy, checked
from hpo_service.client.results import Notice

SILENCE_S = 60.0  # servers send a comment at least every half minute; longer silence means a dead connection


class EventStream:
    """One subscription: `request()` to connect, `feed(line)` for every line, `pause(answer)` after a break."""

    def __init__(self, path: str, query: Query = (), *, last_id: str | None = None, policy: RetryPolicy) -> None:
        self.path, self.query, self.policy = path, query, policy
        self.last_id = last_id
        self.failures = 0
        self.retry_s: float | None = None
        self._id: str | None = None
        self._event = ""
        self._data: list[str] = []

    def request(self) -> Request:
        """Connects, from after the last notice that was seen."""
        self._event, self._data, self._id = "", [], None
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self.last_id is not None:
            headers["Last-Event-ID"] = self.last_id
        return Request(method="GET", path=self.path, query=self.query, headers=headers, timeout_s=SILENCE_S)

    def feed(self, line: str) -> Notice | None:
        """The notice that this line completes, if it does."""
        line = line.rstrip("\r\n")
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._event = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isdecimal():
            self.retry_s = min(60.0, int(value) / 1000)
        return None

    def _dispatch(self) -> Notice | None:
        data, event, seen = "\n".join(self._data), self._event, self._id
        self._data, self._event, self._id = [], "", None
        self.failures = 0
        if seen is not None:
            self.last_id = seen
        if not data or event not in ("", "message", "notice"):
            return None
        return Notice.parse(json.loads(data))

    def opened(self, reply: Reply) -> None:
        """Checks the answer to `request`; raises the server's error unless it is worth another try."""
        if reply.status >= 400 and self.policy.pause(self.failures, reply) is None:
            checked(reply)

    def pause(self, answer: Reply | Broken) -> float:
        """Seconds before connecting again after a break; raises when it has broken too often in a row."""
        pause = self.policy.pause(self.failures, answer) if self._broken(answer) else 0.0
        if pause is None:
            checked(answer)
            pause = 0.0
        self.failures += 1
        return max(pause, self.retry_s or self.policy.first_s)

    def _broken(self, answer: Reply | Broken) -> bool:
        return isinstance(answer, Broken) or answer.status >= 400
