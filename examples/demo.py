"""The demonstration behind `make demo`: a server, a Hyperband study on handwritten digits, its best network.

Starts `hpo serve` on loopback with an embedded database in a folder of its own, submits
`examples/digits-hyperband.yaml` through the Python SDK and shows it live. `--keep` leaves the server up.
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

import hpo_service as hpo

HERE = Path(__file__).resolve().parent
START_S = 60.0


def free_port(wanted: int) -> int:
    """`wanted` where nothing listens there, else any free one."""
    for port in (wanted, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise SystemExit("no free port on 127.0.0.1")


def start_server(data: Path, port: int) -> subprocess.Popen[bytes]:
    data.mkdir(parents=True, exist_ok=True)
    log = (data / "server.log").open("ab")
    command = [sys.executable, "-m", "hpo_service.cli", "serve", "--port", str(port), "--data", str(data)]
    return subprocess.Popen(command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True)


def wait_until_ready(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    """Until the API answers and a controller leads; ends the demonstration with the log's tail otherwise."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise SystemExit(f"the server ended with status {server.returncode}:\n{log.read_text()[-2000:]}")
        try:
            if httpx.get(f"{url}/readyz", timeout=2).status_code == 200:
                return
        except httpx.TransportError:
            pass
        time.sleep(0.2)
    raise SystemExit(f"the server was not ready within {START_S:g} s; its log is {log}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the server up")
    parser.add_argument("--data", type=Path, default=Path("hpo-data/demo"), help="folder of database and checkpoints")
    parser.add_argument("--port", type=int, default=8421)
    arguments = parser.parse_args()

    port = free_port(arguments.port)
    url = f"http://127.0.0.1:{port}"
    server = start_server(arguments.data.absolute(), port)
    keep = False
    try:
        print(f"Starting the server on {url} (a few seconds: database, Ray, warm workers) …", flush=True)
        wait_until_ready(url, server, arguments.data / "server.log")
        keep = arguments.keep
        hpo_command = [sys.executable, "-m", "hpo_service.cli", "--url", url]
        shown = subprocess.run([*hpo_command, "submit", str(HERE / "digits-hyperband.yaml"), "--watch"], check=False)
        tell_time(url)
        tell_server(url, pid=server.pid if keep else None)
        return shown.returncode
    finally:
        if not keep:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)


def tell_time(url: str) -> None:
    """How long the newest study took, from its first dispatch."""
    with hpo.Client(url) as client:
        study = next(iter(client.studies(limit=1))).info
    if study.started_at and study.ended_at:
        print(f"The study took {(study.ended_at - study.started_at).total_seconds():.1f} s on warm workers.")


def tell_server(url: str, *, pid: int | None) -> None:
    if pid is not None:
        print(f"The server stays up: {url} (`kill {pid}` stops it). Put --url {url} behind the commands above.")
    else:
        print("The server is stopped now. `make demo KEEP=1` leaves it up, with its page;")
        print("`hpo serve` starts one of your own for the commands above.")


if __name__ == "__main__":
    sys.exit(main())
