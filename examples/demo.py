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
        client = hpo.Client(url)
        study = client.create_study(HERE / "digits-hyperband.yaml")
        print(f"Study {study.id} submitted; its page is {url}/studies/{study.id}", flush=True)
        began = time.monotonic()
        study.wait(progress=True)
        print(f"\nThe study took {time.monotonic() - began:.1f} s.")
        keep = arguments.keep
        show_how_to_go_on(url, study.id, pid=server.pid if keep else None)
        return 0 if study.refresh().state == "finished" else 1
    finally:
        if not keep:
            os.killpg(server.pid, signal.SIGTERM)
            server.wait(timeout=30)


def show_how_to_go_on(url: str, study_id: str, *, pid: int | None) -> None:
    if pid is not None:
        print(f"The server stays up at {url}; `kill {pid}` stops it.")
        print(f"Next:  hpo --url {url} best {study_id} --checkpoint best.pt")
        print(f"       hpo --url {url} trials {study_id} --sort -val_accuracy")
    else:
        print("The server is stopped now. `make demo KEEP=1` leaves it up, with the study's page;")
        print("`hpo serve` starts one of your own, `hpo submit examples/digits-hyperband.yaml --watch` goes on from here.")


if __name__ == "__main__":
    sys.exit(main())
