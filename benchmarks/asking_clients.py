"""The clients of `asking`, as a child process: eight threads that ask and tell, of our service or of Optuna's storage.

Ours speak REST through the standard library, a connection each, kept alive: what any language can do. Imports nothing
of ours.
"""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from benchmarks import children

CLIENTS = 8
TIMEOUT_S = 120.0


def answer(how: str, **request: Any) -> dict[str, Any]:
    """`ours`: addresses, a study, how many trials a client asks for at a time. `optuna`: a storage's URL."""
    return lead(**request) if how == "ours" else optuna_storage(**request)


def value_of(lr: float, dropout: float, width: int) -> float:
    """A valley with its lowest point inside."""
    return float((dropout - 0.2) ** 2 + abs(lr - 1e-3) + (width / 512 - 0.5) ** 2)


def lead(urls: Sequence[str], study: str, n: int) -> dict[str, Any]:
    """Lead the study to its end, client i at address i modulo their number."""
    asks: list[float] = []
    tells: list[float] = []

    def work(number: int) -> int:
        call, count = _caller(urls[number % len(urls)], study), 0
        while True:
            began = time.perf_counter()
            asked = call("ask", {"client_id": f"client-{number}", "n": n})
            asks.append(time.perf_counter() - began)
            for one in asked["trials"]:
                key = {"trial": one["trial"], "fence": one["fence"]}
                began = time.perf_counter()
                call("tell", {**key, "value": value_of(**one["params"])})
                tells.append(time.perf_counter() - began)
                count += 1
            if not asked["trials"] and asked["ended"] is not None:
                return count

    return {**_together(work), "ask_ms": _median_ms(asks), "tell_ms": _median_ms(tells)}


def _caller(url: str, study: str) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=TIMEOUT_S)

    def call(verb: str, body: dict[str, Any]) -> dict[str, Any]:
        path = f"/api/v1/studies/{study}/{verb}"
        connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
        response = connection.getresponse()
        text = response.read()
        if response.status != 200:
            raise RuntimeError(f"{verb} was answered {response.status}: {text[:500]!r}")
        found: dict[str, Any] = json.loads(text)
        return found

    return call


def optuna_storage(url: str, sampler: str, trials: int) -> dict[str, Any]:
    """The same with Optuna's own relational storage: eight threads with one study. (Eight processes fare worse: on
    SQLite they lock each other out.)"""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    kinds = {"random": optuna.samplers.RandomSampler, "tpe": optuna.samplers.TPESampler}
    study = optuna.create_study(storage=url, sampler=kinds[sampler](seed=1))
    left = list(range(trials))

    def work(_: int) -> int:
        count = 0
        while True:
            try:
                left.pop()
            except IndexError:
                return count
            trial = study.ask()
            lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
            dropout = trial.suggest_float("dropout", 0.0, 0.6)
            study.tell(trial, value_of(lr, dropout, trial.suggest_int("width", 16, 512)))
            count += 1

    return _together(work)


def _together(work: Callable[[int], int]) -> dict[str, Any]:
    """Run the clients; how many trials they led in how many seconds."""
    counts: list[int] = []
    failed: list[BaseException] = []

    def run(number: int) -> None:
        try:
            counts.append(work(number))
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
    began, used = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]
    return {
        "trials": sum(counts),
        "seconds": time.perf_counter() - began,
        "client_cpu_s": time.process_time() - used,
    }


def _median_ms(seconds: Sequence[float]) -> float:
    return 1e3 * sorted(seconds)[len(seconds) // 2]


if __name__ == "__main__":
    children.serve(answer)
