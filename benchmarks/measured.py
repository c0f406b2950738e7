"""One study of ours from submission to end, measured: wall time, CPU by part, what was trained, how it was decided to
train it.

Timed by the database, from the stored submission to the end of the study: preflight and calibration are in it.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

import hpo_service as hpo
from benchmarks import server

IDLE_S = 3.0


@dataclass(frozen=True, kw_only=True)
class Measured:
    """A finished study. `values`, `params` and `resources` are those of its trials, by number; `cpu_s` is CPU seconds
    by part (`server.PARTS`); `preflight_s` is how much of `seconds` went by before the study ran."""

    seconds: float
    preflight_s: float
    cpu_s: Mapping[str, float]
    values: Sequence[float]
    params: Sequence[dict[str, Any]] = ()
    resources: Sequence[float] = ()
    best: float | None = None
    methods: Mapping[str, int] = field(default_factory=dict)

    @property
    def trials(self) -> int:
        return len(self.values)

    @property
    def rate(self) -> float:
        """Trials per second."""
        return self.trials / self.seconds

    def cpu_ms(self, part: str | None = None) -> float:
        """CPU milliseconds per trial, of one part or of all."""
        return 1e3 * (sum(self.cpu_s.values()) if part is None else self.cpu_s[part]) / self.trials


def train(url: str, document: Mapping[str, Any]) -> Measured:
    """Submit the study and wait for its end. Raises RuntimeError where a trial did not finish."""
    with hpo.Client(url) as client:
        before = server.cpu_split(url)
        study = client.create_study(document)
        study.wait()
        after = server.cpu_split(url)
        info = study.refresh().info
        failed = info.counts.get("failed", 0)
        if info.state != "finished" or failed:
            raise RuntimeError(f"the study should have finished without failures: {info.state}, {dict(info.counts)}")
        assert info.created_at is not None
        assert info.started_at is not None
        assert info.ended_at is not None
        found = sorted(study.trials(), key=lambda trial: trial.number)
        return Measured(
            seconds=(info.ended_at - info.created_at).total_seconds(),
            preflight_s=(info.started_at - info.created_at).total_seconds(),
            cpu_s={part: after[part] - before[part] for part in after},
            values=[float("nan") if trial.value is None else trial.value for trial in found],
            params=[dict(trial.params) for trial in found],
            resources=[trial.resource for trial in found],
            best=info.best.value if info.best else None,
            methods=methods(log(url, study.id, "methods_chosen")),
        )


def log(url: str, study_id: str, kind: str) -> list[dict[str, Any]]:
    """The payloads of a study's events of one kind, newest first (of lists in them the first 20)."""
    query: dict[str, Any] = {"before": 0, "kind": kind, "limit": 1000}
    answer = httpx.get(f"{url}/api/v1/studies/{study_id}/log", params=query, timeout=30)
    return [event["payload"] for event in answer.raise_for_status().json()["items"]]


def methods(chosen: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """How many structures are trained how, and where that is known from: {"fused × 32, measured": 4, …}."""
    counted: Counter[str] = Counter()
    for payload in chosen:
        for choice in payload["choices"]:
            width = f" × {choice['width']}" if choice["width"] > 1 else ""
            counted[f"{choice['method']}{width}, {choice['source']}"] += 1
    return dict(sorted(counted.items()))


def said(found: Mapping[str, int]) -> str:
    """The same in words."""
    return "; ".join(f"{name} ({count} structures)" for name, count in found.items()) or "no methods were chosen"


def idle_share(url: str) -> float:
    """CPUs that the warm server takes while it has nothing to do."""
    before, began = server.cpu_seconds(url), time.monotonic()
    time.sleep(IDLE_S)
    return (server.cpu_seconds(url) - before) / (time.monotonic() - began)
