"""A real server process on a free port: clients from outside, kill -9, live notices, an orderly end."""

from __future__ import annotations

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.cpu_time import slowness

ROOT = Path(__file__).parents[2]
DEFINITION: dict[str, Any] = {
    "name": "external",
    "objective": {"metric": "loss"},
    "space": {"lr": {"type": "loguniform", "low": 1e-4, "high": 1e-1}},
    "algorithm": {"name": "random"},
    "trainer": {"external": True},
    "budget": {"trials": 30},
    "parallel": 8,
}


def environment(data: Path, port: int, **more: str) -> dict[str, str]:
    """The environment of a server on `data`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("HPO_")}
    return {**kept, "HPO_DATA": str(data), "HPO_PORT": str(port), "PYTHONPATH": str(ROOT), **more}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """A server process that can be killed and started again at the same place."""

    def __init__(self, data: Path) -> None:
        self.data = data
        self.port = free_port()
        self.process: subprocess.Popen[str] | None = None
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start and wait until it says that it listens."""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hpo_service.server", "--no-controller"],
            env=environment(self.data, self.port),
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().strip() == f"hpo-service listens on {self.url}"

    def end(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end; the exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(timeout=20)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        return status


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    found = Server(tmp_path)
    found.start()
    yield found
    if found.process is not None:
        found.end(signal.SIGKILL)


def patiently(client: httpx.Client, method: str, path: str, **more: Any) -> httpx.Response:
    """A request that is sent again while the server is away: what every real client does."""
    deadline = time.monotonic() + 30
    while True:
        try:
            return client.request(method, f"/api/v1{path}", **more)
        except httpx.TransportError:
            if time.monotonic() > deadline:
                raise
            threading.Event().wait(0.05)


class Lab(threading.Thread):
    """An external worker: asks, reports three times, tells; writes down what the server acknowledged."""

    def __init__(self, url: str, study: str, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self.url, self.base, self.client_name = url, f"/studies/{study}", name
        self.reported: dict[tuple[int, int], float] = {}
        self.told: dict[int, float] = {}
        self.error: BaseException | None = None

    def run(self) -> None:
        try:
            with httpx.Client(base_url=self.url, timeout=20) as client:
                while self._one(client):
                    pass
        except BaseException as error:
            self.error = error

    def _one(self, client: httpx.Client) -> bool:
        asked = patiently(client, "POST", f"{self.base}/ask", json={"client_id": self.client_name, "n": 1}).json()
        if not asked["trials"]:
            threading.Event().wait(0.02)
            return not asked["ended"]
        (trial,) = asked["trials"]
        key = {"trial": trial["trial"], "fence": trial["fence"]}
        for step in range(1, 4):
            value = trial["params"]["lr"] / step
            body = {"reports": [{**key, "step": step, "metrics": {"loss": value}}]}
            answer = patiently(client, "POST", f"{self.base}/reports", json=body)
            assert answer.json()["results"][0]["status"] in ("stored", "repeated"), answer.text
            self.reported[trial["trial"], step] = value
        answer = patiently(client, "POST", f"{self.base}/tell", json={**key, "value": value})
        assert answer.status_code == 200, answer.text
        assert trial["trial"] not in self.told
        self.told[trial["trial"]] = value
        return True


def test_three_clients_lose_nothing_when_the_server_is_killed(server: Server) -> None:
    with httpx.Client(base_url=server.url, timeout=20) as client:
        study = client.post("/api/v1/studies", json=DEFINITION).json()["id"]
    labs = [Lab(server.url, study, f"lab-{n}") for n in range(3)]
    for lab in labs:
        lab.start()
    for kills in (1, 2):
        wait_for(lambda wanted=kills: sum(len(lab.told) for lab in labs) >= 8 * wanted)
        server.end(signal.SIGKILL)
        server.start()
    for lab in labs:
        lab.join(timeout=60)
        assert not lab.is_alive()
        assert lab.error is None, lab.error

    told = {number: value for lab in labs for number, value in lab.told.items()}
    reported = {key: value for lab in labs for key, value in lab.reported.items()}
    assert sum(len(lab.told) for lab in labs) == len(told) == 30
    base = f"/studies/{study}"
    with httpx.Client(base_url=f"{server.url}/api/v1", timeout=20) as client:
        summary = client.get(base).json()
        assert (summary["state"], summary["trials"], summary["counts"]["finished"]) == ("finished", 30, 30)
        trials = client.get(f"{base}/trials?limit=100").json()["items"]
        assert {trial["number"]: trial["value"] for trial in trials} == told
        assert all(trial["attempts"] == 1 for trial in trials)
        for number in range(30):
            items = client.get(f"{base}/trials/{number}/reports").json()["items"]
            assert {(number, item["step"]): item["metrics"]["loss"] for item in items} == {
                key: value for key, value in reported.items() if key[0] == number
            }
        events = client.get(f"{base}/log?limit=1000").json()["items"]
        assert [event["seq"] for event in events] == list(range(1, summary["last_seq"] + 1))


def wait_for(condition: Any) -> None:
    """Wait until it holds, at most 60 s."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        threading.Event().wait(0.01)


@contextmanager
def notices(url: str, path: str, last: str | None = None) -> Iterator[Iterator[tuple[str, dict[str, Any]]]]:
    """Ids and data of the notices of one connection."""
    headers = {"Last-Event-ID": last} if last is not None else {}
    with httpx.stream("GET", f"{url}/api/v1{path}", headers=headers, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield _parsed(answer.iter_lines())


def _parsed(lines: Iterator[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    identity = ""
    for line in lines:
        if line.startswith("id: "):
            identity = line.removeprefix("id: ")
        elif line.startswith("data: "):
            yield identity, json.loads(line.removeprefix("data: "))


def test_notices_resume_over_a_restart(server: Server) -> None:
    with httpx.Client(base_url=f"{server.url}/api/v1", timeout=20) as client:
        study = client.post("/studies", json=DEFINITION).json()["id"]
        with notices(server.url, f"/studies/{study}/events") as stream:
            first, data = next(stream)
            assert first == f"{study}:{data['seq']}"
            client.post(f"/studies/{study}/ask", json={"client_id": "a"})
            second, moved = next(stream)
            assert moved["seq"] > data["seq"]
        client.post(f"/studies/{study}/pause")
        expected = client.get(f"/studies/{study}").json()["last_seq"]
    server.end(signal.SIGKILL)
    server.start()
    with notices(server.url, f"/studies/{study}/events", last=second) as stream:
        assert next(stream) == (f"{study}:{expected}", {"study": study, "seq": expected})
    with notices(server.url, "/events", last=second) as stream:
        assert next(stream)[1] == {"study": study, "seq": expected}
    missed = httpx.get(f"{server.url}/api/v1/studies/{study}/log?after={moved['seq']}").json()["items"]
    assert [event["kind"] for event in missed] == ["study_state_changed"]


def test_an_orderly_end_does_not_wait_for_live_readers(server: Server) -> None:
    study = httpx.post(f"{server.url}/api/v1/studies", json=DEFINITION).json()["id"]
    with notices(server.url, f"/studies/{study}/events") as stream:
        next(stream)
        began = time.monotonic()
        assert server.end(signal.SIGTERM) == 0
        assert time.monotonic() - began < 4


def test_it_starts_with_little_work_and_without_heavy_imports(server: Server) -> None:
    server.end(signal.SIGTERM)
    before = cpu_seconds()
    server.start()
    server.end(signal.SIGTERM)
    assert (cpu_seconds() - before) / slowness() < 3.0  # of the processor: other programs may keep it waiting
    code = (
        "import sys, hpo_service.server\n"
        "heavy = sorted({'ray', 'torch', 'optuna', 'pandas', 'pyarrow', 'scipy', 'sklearn'} & set(sys.modules))\n"
        "print(heavy)"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(server.data, 0),
        check=True,
    )
    assert found.stdout.strip() == "[]"


def cpu_seconds() -> float:
    """Processor time of all children that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def refusal(data: Path, port: int, **more: str) -> str:
    """What a server that cannot start says."""
    found = subprocess.run(
        [sys.executable, "-m", "hpo_service.server", "--no-controller"],
        env=environment(data, port, **more), capture_output=True, text=True, cwd=ROOT, timeout=30,
    )  # fmt: skip
    assert found.returncode == 1
    return found.stderr


def test_a_taken_port_and_a_taken_database_are_said_plainly(server: Server, tmp_path: Path) -> None:
    assert "another program listens on" in refusal(tmp_path / "other", server.port)
    assert "server" in refusal(server.data, 0)


def test_a_public_address_without_a_token_is_refused(tmp_path: Path) -> None:
    assert "hpo token create" in refusal(tmp_path, 0, HPO_HOST="0.0.0.0")


def test_a_chunked_body_over_the_limit_is_refused(server: Server) -> None:
    def pieces() -> Iterator[bytes]:
        for _ in range(300):
            yield b" " * 1024

    with httpx.Client(timeout=20) as client:
        try:
            answer = client.post(f"{server.url}/api/v1/studies", content=pieces())
        except httpx.TransportError:
            return  # refused while still sending: the connection was closed
    assert answer.status_code == 413
    assert answer.headers["content-type"] == "application/problem+json"
