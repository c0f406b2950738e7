"""What a study's pages ask the server, as questions that are new each time: the k-th asking of a question moves the
study first or filters otherwise, so that no answer is at hand from before."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import httpx

from benchmarks.many_trials import Mover

PARAMS = ("lr", "batch_size", "optimizer", "momentum", "dropout", "weight_decay", "layers")
SORTS = ("-value", "value", "param.lr", "metric.val_loss", "-cost", "-number", "-seconds", "dropout")
Query = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Question:
    """`rest` and `query` make its k-th asking, `share` of the way through them all; `moves`: the study does first."""

    rest: Callable[[int], str]
    query: Callable[[float], Query] = field(default=lambda share: {})
    moves: bool = False


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What it took: milliseconds at the client of each asking, and the largest body."""

    ms: Sequence[float]
    largest: int


def overview(last_seq: int) -> list[str]:
    """What the study page asks before its overview is drawn, in its order."""
    fields = ",".join([*(f"param.{name}" for name in PARAMS), "value"])
    return [
        "", f"/changes?since={last_seq}", "/progress", "/curves?choose=top&limit=50",
        f"/sample?fields={fields}&limit=5000",
        "/trials?limit=10&sort=-value",
    ]  # fmt: skip


def questions(trials: int, other: str) -> dict[str, Question]:
    """Every data route of the pages of a study and its trials, with and without filters."""

    def at(rest: str, **query: str) -> Question:
        return Question(rest=lambda k: rest, query=lambda share: query, moves=True)

    def filtered(rest: str, low: float, high: float, template: str, **query: str) -> Question:
        return Question(
            rest=lambda k: rest,
            query=lambda share: {"filter": template.format(low * (high / low) ** share), **query},
        )

    def numbered(rest: str) -> Question:
        return Question(rest=lambda k: rest.format(k * trials // 97 % trials))

    def sorted_by(sort: str, **query: str) -> Question:
        return at("/trials", sort=sort, limit="50", **query)

    wide, narrow = (1e-5, 1e-2), (3e-2, 9e-2)
    return {
        "study": at(""),
        "changes since the last": Question(rest=lambda k: "/changes", moves=True),
        "progress": at("/progress"),
        "progress, lr>…": filtered("/progress", *wide, "lr>{:.4g}"),
        "sample of 5,000": at("/sample", limit="5000"),
        "sample, optimizer:sgd lr>…": filtered("/sample", *wide, "optimizer:sgd lr>{:.4g}", limit="5000"),
        "curves, the best 200": at("/curves", limit="200"),
        "curves, the newest 200": at("/curves", limit="200", choose="newest"),
        "curves of 200 with lr>…": filtered("/curves", *wide, "lr>{:.4g}", limit="200", choose="filter"),
        "brackets": at("/brackets"),
        "importance": at("/importance"),
        "importance, lr>…": filtered("/importance", *wide, "lr>{:.4g}"),
        "distribution by optimizer": at("/distribution", by="optimizer"),
        "distribution by lr, dropout<…": filtered("/distribution", 0.05, 0.5, "dropout<{:.4g}", by="lr"),
        "timeline": at("/timeline"),
        "sensitivity": at("/sensitivity"),
        "Pareto": at("/pareto"),
        "Pareto, lr>…": filtered("/pareto", *wide, "lr>{:.4g}"),
        "surrogate (none)": at("/surrogate"),
        "a page of 50 trials, 8 sorts": Question(
            rest=lambda k: "/trials",
            query=lambda share: {"limit": "50", "sort": SORTS[int(share * len(SORTS))]},
            moves=True,
        ),
        "the same, with statistics of two metrics": sorted_by("-value", stats="val_loss,val_accuracy"),
        "best 50 with lr>…": filtered("/trials", *wide, "lr>{:.4g}", limit="50", sort="-value"),
        "best 50 with optimizer:sgd lr>… and statistics": filtered(
            "/trials", *wide, "optimizer:sgd lr>{:.4g}", limit="50", sort="-value", stats="val_loss,val_accuracy"
        ),
        "50 by val_loss with layers:3 lr>… (few)": filtered(
            "/trials", *narrow, "layers:3 lr>{:.4g}", limit="50", sort="metric.val_loss"
        ),
        "500 trials, best first": at("/trials", sort="-value", limit="500"),
        "one trial": numbered("/trials/{}"),
        "what stands beside a trial": numbered("/trials/{}/context"),
        "event log, newest 100": at("/log", before="0", limit="100"),
        "two studies compared": at(f"/compare?study={{}}&study={other}"),
    }  # fmt: skip


def ask_all(
    http: httpx.Client, study: str, asked: Mapping[str, Question], mover: Mover, times: int
) -> dict[str, Asked]:
    """Each question `times` times over one kept connection."""
    return {name: _ask(http, study, question, mover, times) for name, question in asked.items()}


def _ask(http: httpx.Client, study: str, question: Question, mover: Mover, times: int) -> Asked:
    found, largest = [], 0
    for k in range(times):
        rest, query = question.rest(k), dict(question.query((k + 0.5) / times))
        if rest == "/changes":
            query["since"] = str(timed(http, f"/studies/{study}")[1].json()["last_seq"])
        if question.moves:
            mover.move()
        path = rest.format(study) if rest.startswith("/compare") else f"/studies/{study}{rest}"
        ms, answer = timed(http, path, query)
        found.append(ms)
        largest = max(largest, len(answer.content))
    return Asked(ms=found, largest=largest)


def timed(http: httpx.Client, path: str, query: Query | None = None) -> tuple[float, httpx.Response]:
    """Milliseconds from the request until the whole body is here."""
    began = time.perf_counter()
    answer = http.get(path, params=query or None)
    ms = 1e3 * (time.perf_counter() - began)
    if answer.status_code != 200:
        raise RuntimeError(f"{answer.url} answered {answer.status_code}: {answer.text[:500]}")
    return ms, answer


def changes(http: httpx.Client, study: str, mover: Mover, times: int) -> Asked:
    """A live page's request after each of `times` moves of three trials."""
    seq = timed(http, f"/studies/{study}")[1].json()["last_seq"]
    timed(http, f"/studies/{study}/changes", {"since": str(seq)})
    found, largest = [], 0
    for _ in range(times):
        mover.move()
        ms, answer = timed(http, f"/studies/{study}/changes", {"since": str(seq)})
        body = answer.json()
        seq = body["seq"]
        if body["changed"] != 3:
            raise RuntimeError(f"three trials moved, but the answer tells of {body['changed']}")
        found.append(ms)
        largest = max(largest, len(answer.content))
    return Asked(ms=found, largest=largest)
