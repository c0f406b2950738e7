"""Checkpoints on disk, random streams, tracebacks, captured output, environments."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workers import capture, checkpoints, environment, streams
from workers.capture import LogBuffer, captured
from workers.contract import AttemptKey
from workers.errors import CheckpointError, InvalidOrderError, StorageError
from workers.tracebacks import format_exception

KEY = AttemptKey(study_id="s-1", trial=3, fence=5)


def test_tensors_and_arrays_come_back(tmp_path: Path) -> None:
    state = {"w": torch.arange(6.0).reshape(2, 3), "n": np.arange(3), "epoch": 4}
    ref = checkpoints.save(tmp_path, KEY, state, step=4, resource=4.5)
    assert ref.path == "checkpoints/s-1/3/5-4.pt"
    assert (ref.step, ref.resource) == (4, 4.5)
    data = (tmp_path / ref.path).read_bytes()
    assert (ref.digest, ref.size_bytes) == (hashlib.sha256(data).hexdigest(), len(data))
    back = checkpoints.load(tmp_path, ref, weights_only=False)
    assert torch.equal(back["w"], state["w"])  # type: ignore[arg-type]
    assert (back["n"] == state["n"]).all()
    assert back["epoch"] == 4


def test_nothing_is_overwritten_and_nothing_is_left_aside(tmp_path: Path) -> None:
    first = checkpoints.save(tmp_path, KEY, {"a": 1}, step=1, resource=1.0)
    second = checkpoints.save(tmp_path, KEY, {"a": 2}, step=1, resource=1.0)
    assert second.path == "checkpoints/s-1/3/5-1-1.pt"
    assert checkpoints.load(tmp_path, first, weights_only=True) == {"a": 1}
    assert checkpoints.load(tmp_path, second, weights_only=True) == {"a": 2}
    names = sorted(p.name for p in (tmp_path / "checkpoints/s-1/3").iterdir())
    assert names == ["5-1-1.pt", "5-1.pt"]


def test_a_state_that_does_not_pickle_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises((AttributeError, TypeError, Exception), match=r"lambda|pickle"):
        checkpoints.stage(tmp_path, KEY, {"f": lambda: 0})
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == []


def test_weights_only_refuses_code(tmp_path: Path) -> None:
    ref = checkpoints.save(tmp_path, KEY, {"path": Path("x")}, step=1, resource=1.0)
    assert checkpoints.load(tmp_path, ref, weights_only=False) == {"path": Path("x")}
    with pytest.raises(CheckpointError, match="cannot be decoded"):
        checkpoints.load(tmp_path, ref, weights_only=True)


@settings(max_examples=30, deadline=None)
@given(place=st.floats(0, 0.999), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found(tmp_path_factory: pytest.TempPathFactory, place: float, bit: int) -> None:
    root = tmp_path_factory.mktemp("flip")
    ref = checkpoints.save(root, KEY, {"w": torch.ones(4)}, step=1, resource=1.0)
    data = bytearray((root / ref.path).read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    (root / ref.path).write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoints.load(root, ref, weights_only=True)


def test_missing_file_is_a_checkpoint_error(tmp_path: Path) -> None:
    ref = checkpoints.save(tmp_path, KEY, {}, step=1, resource=1.0)
    checkpoints.remove(tmp_path, ref)
    checkpoints.remove(tmp_path, ref)
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoints.load(tmp_path, ref, weights_only=True)


@pytest.mark.parametrize("study", ["../up", "a/b", "", ".hidden"])
def test_study_ids_cannot_leave_the_storage(study: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidOrderError):
        checkpoints.folder(tmp_path, replace(KEY, study_id=study))


def test_probe(tmp_path: Path) -> None:
    checkpoints.probe(tmp_path)
    assert list((tmp_path / "checkpoints").iterdir()) == []
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(StorageError, match="HPO_STORAGE"):
        checkpoints.probe(blocked)


def test_plain_pickle_without_torch(tmp_path: Path) -> None:
    script = (
        "import sys; from workers import checkpoints; from workers.contract import AttemptKey\n"
        f"key = AttemptKey(study_id='s', trial=0, fence=1)\n"
        f"ref = checkpoints.save({str(tmp_path)!r}, key, {{'x': (1, 2)}}, step=1, resource=1.0)\n"
        f"assert checkpoints.load({str(tmp_path)!r}, ref, weights_only=False) == {{'x': (1, 2)}}\n"
        "assert 'torch' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


# Streams


def test_streams_are_named_and_repeat() -> None:
    one, two = streams.Streams(7), streams.Streams(7)
    named = [(one.order, 1), (one.order, 2), (one.augmentation, 1), (one.dropout, 1)]
    draw = [torch.rand(3, generator=stream(epoch)).tolist() for stream, epoch in named]
    assert len({tuple(d) for d in draw}) == 4
    two.order(9)
    assert torch.rand(3, generator=two.order(2)).tolist() == draw[1]
    assert torch.rand(3, generator=streams.Streams(7, fold=1).order(2)).tolist() != draw[1]
    assert torch.rand(3, generator=streams.Streams(8).order(2)).tolist() != draw[1]


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2**63 - 1), st.sampled_from("abc"), st.integers(0, 99)), unique=True, max_size=30)
)
def test_stream_seeds_do_not_collide(names: list[tuple[int, str, int]]) -> None:
    seeds = [streams.stream_seed(root, name, part) for root, name, part in names]
    assert len(set(seeds)) == len(names)
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_stream_seed_is_fixed_for_ever() -> None:
    assert (
        streams.stream_seed(1, "order", 0, 2) == int.from_bytes(hashlib.sha256(b"1/order/0/2").digest()[:8], "big") >> 1
    )
    assert streams.split_rng(0).permutation(5).tolist() == streams.split_rng(0).permutation(5).tolist()


# Output and tracebacks


def test_other_threads_keep_their_streams(capsys: pytest.CaptureFixture[str]) -> None:
    go, done = threading.Event(), threading.Event()

    def outsider() -> None:
        go.wait()
        print("from outside")
        logging.getLogger("x").error("logged outside")
        done.set()

    thread = threading.Thread(target=outsider)
    thread.start()
    pieces: list[str] = []
    buffer = LogBuffer(pieces.append)
    with captured(buffer):
        go.set()
        done.wait()
        inner = threading.Thread(target=lambda: print("from a thread of its own"))
        inner.start()
        inner.join()
    thread.join()
    buffer.flush()
    assert "".join(pieces) == "from a thread of its own\n"
    assert "from outside" in capsys.readouterr().out


def test_bytes_written_past_the_text_layer_are_kept() -> None:
    pieces: list[str] = []
    buffer = LogBuffer(pieces.append)
    with captured(buffer):
        sys.stdout.buffer.write("grün\n".encode())
        io.TextIOWrapper(sys.stdout.buffer).close()
        sys.stdout.buffer.write(b"\xff\n")
        print("and on")
    buffer.flush()
    assert "".join(pieces) == "grün\n\ufffd\nand on\n"


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The clock that the capture reads; it moves when a test moves it."""
    clock = [100.0]
    monkeypatch.setattr(capture, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    return clock


def test_a_flush_sends_at_once_and_a_flood_of_them_in_batches(now: list[float]) -> None:
    pieces: list[str] = []
    buffer = LogBuffer(pieces.append)
    with captured(buffer):
        print("last words", end="")
        assert pieces == []
        sys.stdout.flush()
        sys.stdout.flush()
        assert pieces == ["last words"]
        for number in range(1_000):
            print(number, file=sys.stderr, flush=True)
        assert len(pieces) < 10
        now[0] += 0.2
        sys.stderr.flush()
    assert "".join(pieces) == "last words" + "".join(f"{number}\n" for number in range(1_000))


def test_a_line_end_sends_what_has_waited(now: list[float]) -> None:
    pieces: list[str] = []
    buffer = LogBuffer(pieces.append)
    buffer.write("one\n")
    now[0] += 0.3
    buffer.write("two, ")
    assert pieces == []
    buffer.write("three\n")
    buffer.write("four\n")
    assert pieces == ["one\ntwo, three\n"]


def test_log_limit_counts_bytes() -> None:
    pieces: list[str] = []
    buffer = LogBuffer(pieces.append, limit_bytes=10)
    buffer.write("ééééé")
    buffer.write("x")
    buffer.write("y")
    buffer.flush()
    text = "".join(pieces)
    assert text.startswith("ééééé\n[log cut")
    assert "y" not in text.partition("\n")[0]


def test_logging_is_put_back() -> None:
    root = logging.getLogger()
    before = root.level, list(root.handlers)
    with captured(LogBuffer(lambda _: None)):
        root.setLevel(logging.DEBUG)
        root.addHandler(logging.NullHandler())
    assert (root.level, list(root.handlers)) == before


def test_tracebacks_of_recipes_stay_whole() -> None:
    try:
        checkpoints.folder("/", AttemptKey(study_id="", trial=0, fence=0))
    except InvalidOrderError as error:
        text = format_exception(error)
    assert "test_worker_checkpoints.py" in text


# Environment


def test_environment_is_json_with_a_digest_that_follows_it() -> None:
    def capture(**run: Any) -> dict[str, Any]:
        return environment.capture(device="cpu", code={"sha256": "0"}, data={"sha256": "1"}, run=run)

    found = capture(width=1)
    assert json.loads(json.dumps(found)) == found
    assert found["packages"]["torch"] == torch.__version__
    assert found["digest"] == capture(width=1)["digest"] != capture(width=2)["digest"]
    assert {"python", "os", "cpu", "gpu", "torch", "code", "data", "run"} <= set(found)


def test_git_state_sees_commits_and_changes(tmp_path: Path) -> None:
    def git(*arguments: str) -> None:
        identity = ("-c", "user.name=n", "-c", "user.email=e@example.com")
        subprocess.run(["git", *identity, *arguments], cwd=tmp_path, check=True, capture_output=True)

    assert environment.git_state(tmp_path) is None
    git("init", "-q")
    (tmp_path / "f.py").write_text("a = 1\n")
    git("add", ".")
    git("commit", "-qm", "first")
    clean = environment.git_state(tmp_path)
    assert clean is not None
    assert len(clean["commit"]) == 40
    assert clean["diff_sha256"] is None
    (tmp_path / "f.py").write_text("a = 2\n")
    changed = environment.git_state(tmp_path)
    assert changed is not None
    assert changed["diff_sha256"] is not None
