"""A server in memory for tests of SDK and command line: the REST shapes, without a store or an algorithm.

It is handed to `httpx.MockTransport`; `faults` are answered first, one per request, and every request is kept.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from typing import Any

import httpx

T0 = "2026-01-02T03:04:05Z"
Fault = httpx.Response | Exception
Route = tuple[str, re.Pattern[str], Callable[..., httpx.Response]]


def problem(slug: str, status: int, detail: str, **more: Any) -> httpx.Response:
    """A problem document."""
    document = {"type": f"urn:hpo:problem:{slug}", "title": slug, "status": status, "detail": detail, **more}
    return httpx.Response(status, json=document, headers={"content-type": "application/problem+json"})


class FakeServer:
    """Studies and trials in dictionaries."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.faults: list[Fault] = []
        self.studies: dict[str, dict[str, Any]] = {}
        self.trials: dict[str, list[dict[str, Any]]] = {}
        self.rungs: list[dict[str, Any]] = []
        self.methods: dict[str, Any] = {"lanes": [], "items": []}
        self.states: list[str] = []  # what a study's next look-ups say, oldest first
        self.beats: list[dict[str, Any]] = []
        self.beaten = threading.Event()
        self.stop_trials: set[int] = set()
        self.streams: list[httpx.Response] = []
        self.answers: dict[str, httpx.Response] = {}
        self.routes: list[Route] = [
            ("POST", re.compile(r"/studies"), self._create),
            ("GET", re.compile(r"/studies"), self._list),
            ("POST", re.compile(r"/studies/validate"), self._validate),
            ("GET", re.compile(r"/studies/([^/]+)"), self._get),
            ("PATCH", re.compile(r"/studies/([^/]+)"), self._patch),
            ("DELETE", re.compile(r"/studies/([^/]+)"), self._delete),
            ("POST", re.compile(r"/studies/([^/]+)/(pause|resume|stop)"), self._steer),
            ("POST", re.compile(r"/studies/([^/]+)/retry"), self._retry),
            ("GET", re.compile(r"/studies/([^/]+)/trials"), self._trials),
            ("POST", re.compile(r"/studies/([^/]+)/trials"), self._enqueue),
            ("GET", re.compile(r"/studies/([^/]+)/trials/(\d+)"), self._trial),
            ("GET", re.compile(r"/studies/([^/]+)/best"), self._best),
            ("GET", re.compile(r"/studies/([^/]+)/methods"), lambda *_: httpx.Response(200, json=self.methods)),
            ("GET", re.compile(r"/studies/([^/]+)/rungs"), lambda *_: httpx.Response(200, json={"items": self.rungs})),
            ("GET", re.compile(r"/studies/([^/]+)/curves"), self._curves),
            ("GET", re.compile(r"/compare"), self._compare),
            ("POST", re.compile(r"/studies/([^/]+)/ask"), self._ask),
            ("POST", re.compile(r"/studies/([^/]+)/heartbeat"), self._heartbeat),
            ("POST", re.compile(r"/studies/([^/]+)/reports"), self._report),
            ("POST", re.compile(r"/studies/([^/]+)/tell"), self._tell),
            ("GET", re.compile(r"/(?:studies/[^/]+/)?events"), lambda *_: self.streams.pop(0)),
        ]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if self.faults:
            fault = self.faults.pop(0)
            if isinstance(fault, Exception):
                raise fault
            return fault
        path = request.url.path.removeprefix("/api/v1")
        if f"{request.method} {path}" in self.answers:
            return self.answers[f"{request.method} {path}"]
        for method, pattern, answer in self.routes:
            match = pattern.fullmatch(path)
            if match and method == request.method:
                return answer(request, *match.groups())
        return problem("not-found", 404, f"nothing at {path}")

    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self)

    def last(self, method: str = "POST") -> httpx.Request:
        """The newest request of that method."""
        return next(request for request in reversed(self.requests) if request.method == method)

    def body(self, method: str = "POST") -> Any:
        """The JSON body of the newest request of that method."""
        return json.loads(self.last(method).content)

    def add_study(self, id: str, name: str, **more: Any) -> dict[str, Any]:
        self.studies[id] = {
            "id": id,
            "name": name,
            "state": "running",
            "created_at": T0,
            "definition": {
                "objective": {"metric": "val_accuracy", "direction": "maximize"},
                "algorithm": {"name": "random"},
                "budget": {"trials": 10},
            },
            "counts": {"waiting": 0, "running": 1, "paused": 0, "finished": 2, "stopped": 0, "failed": 0},
            "trials": 3,
            "best": {"trial": 1, "value": 0.978, "resource": 27.0, "params": {"lr": 3.2e-4, "batch_size": 64}},
            "resource": 54.0,
            "cost_microdollars": 12_300,
            **more,
        }
        self.trials.setdefault(id, [])
        return self.studies[id]

    def add_trials(self, id: str, count: int, **more: Any) -> None:
        for number in range(count):
            self.trials[id].append(
                {
                    "study_id": id,
                    "number": number,
                    "state": "finished",
                    "params": {"lr": 0.01 * (number + 1)},
                    "values": {"val_accuracy": 0.9 + number / 10_000, "val_loss": 0.5},
                    "value": 0.9 + number / 10_000,
                    "resource": 27.0,
                    "seconds": 12.34,
                    "cost_microdollars": 100,
                    "fence": 1,
                    **more,
                }
            )

    def _create(self, request: httpx.Request) -> httpx.Response:
        document = json.loads(request.content)
        study = self.add_study(f"st_{len(self.studies)}", document.get("name", "study"), definition=document)
        return httpx.Response(201, json=study)

    def _list(self, request: httpx.Request) -> httpx.Response:
        asked = request.url.params
        found = [s for s in reversed(self.studies.values()) if asked.get("name") in (None, s["name"])]
        return self._page(found, asked)

    def _page(self, items: list[Any], asked: httpx.QueryParams) -> httpx.Response:
        start, limit = int(asked.get("cursor", 0)), int(asked.get("limit", 50))
        following = str(start + limit) if start + limit < len(items) else None
        shown = {"items": items[start : start + limit], "next_cursor": following, "total": len(items)}
        return httpx.Response(200, json=shown)

    def _validate(self, request: httpx.Request) -> httpx.Response:
        return httpx.Response(
            200,
            json={
                "valid": True,
                "definition": json.loads(request.content),
                "plan": {
                    "brackets": [{"bracket": 3, "trials": 27}],
                    "trials": 49,
                    "total_resource": 300.0,
                    "notes": ["one note"],
                },
                "estimate": {"dollars": 0.0123, "hours": 0.5, "per": {}, "basis": "recent studies"},
                "space_digest": "abc",
            },
        )

    def _get(self, request: httpx.Request, id: str) -> httpx.Response:
        if id not in self.studies:
            return problem("not-found", 404, f"no study has the id {id!r}")
        if self.states:
            self.studies[id]["state"] = self.states.pop(0)
        return httpx.Response(200, json=self.studies[id])

    def _patch(self, request: httpx.Request, id: str) -> httpx.Response:
        self.studies[id] |= {k: v for k, v in json.loads(request.content).items() if k in ("parallel", "notes")}
        return httpx.Response(200, json=self.studies[id])

    def _delete(self, request: httpx.Request, id: str) -> httpx.Response:
        del self.studies[id]
        return httpx.Response(204)

    def _steer(self, request: httpx.Request, id: str, verb: str) -> httpx.Response:
        self.studies[id]["state"] = {"pause": "paused", "resume": "running", "stop": "stopped"}[verb]
        self.studies[id]["reason"] = json.loads(request.content).get("reason", "")
        return httpx.Response(200, json=self.studies[id])

    def _retry(self, request: httpx.Request, id: str) -> httpx.Response:
        return httpx.Response(200, json={"trials": json.loads(request.content).get("trials") or [7, 8]})

    def _trials(self, request: httpx.Request, id: str) -> httpx.Response:
        return self._page(self.trials[id], request.url.params)

    def _enqueue(self, request: httpx.Request, id: str) -> httpx.Response:
        count = len(json.loads(request.content)["configurations"])
        return httpx.Response(201, json={"trials": list(range(3, 3 + count))})

    def _trial(self, request: httpx.Request, id: str, number: str) -> httpx.Response:
        if int(number) >= len(self.trials[id]):
            return problem("not-found", 404, f"study {id} has no trial {number}")
        return httpx.Response(200, json={**self.trials[id][int(number)], "attempt_rows": []})

    def _best(self, request: httpx.Request, id: str) -> httpx.Response:
        limit = int(request.url.params["limit"])
        return httpx.Response(200, json={"items": list(reversed(self.trials[id]))[:limit]})

    def _curves(self, request: httpx.Request, id: str) -> httpx.Response:
        curve = {"number": 1, "state": "finished", "resource": [1, 2, 3], "value": [0.5, "NaN", 0.9]}
        return httpx.Response(200, json={"metric": "val_accuracy", "trials": [curve], "shown": 1, "of": 3})

    def _compare(self, request: httpx.Request) -> httpx.Response:
        ids = request.url.params.get_list("study")
        best = {"trials": [0, 1], "values": [0.9, 0.978]}
        items = [{"study": self.studies[id], "best_so_far": best} for id in ids]
        return httpx.Response(200, json={"items": items, "differences": [{"path": "algorithm.eta", "values": [3, 4]}]})

    def _ask(self, request: httpx.Request, id: str) -> httpx.Response:
        asked = json.loads(request.content)
        if self.studies[id]["state"] == "finished":
            return httpx.Response(200, json={"trials": [], "ended": "budget.trials reached"})
        given = [
            {
                "trial": number,
                "fence": 1,
                "params": {"lr": 0.1},
                "seed": 5,
                "from_resource": 0.0,
                "target": 9.0,
                "horizon": 27.0,
                "checkpoint": None,
            }
            for number in range(asked["n"])
        ]
        return httpx.Response(200, json={"trials": given, "ended": None})

    def _heartbeat(self, request: httpx.Request, id: str) -> httpx.Response:
        body = json.loads(request.content)
        self.beats.append(body)
        self.beaten.set()
        beats = [{**key, "status": "held", "stop": key["trial"] in self.stop_trials} for key in body["trials"]]
        return httpx.Response(200, json={"trials": beats})

    def _report(self, request: httpx.Request, id: str) -> httpx.Response:
        results = [{"status": "stored", "message": ""} for _ in json.loads(request.content)["reports"]]
        return httpx.Response(200, json={"results": results})

    def _tell(self, request: httpx.Request, id: str) -> httpx.Response:
        told = json.loads(request.content)
        state = "paused" if told["state"] == "completed" else "failed"
        trial = {"study_id": id, "number": told["trial"], "state": state, "value": told.get("value"), "fence": 1}
        return httpx.Response(200, json=trial)
