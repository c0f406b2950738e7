"""Many checkpoints at once, and the thread that stores them while the worker trains on."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from workers import checkpoints
from workers.checkpoints import Request
from workers.contract import AttemptKey, CheckpointRef
from workers.errors import StorageError
from workers.saving import Saver


def request(root: Path, trial: int, *, step: int = 1, state: Any = None) -> Request:
    key = AttemptKey(study_id="s", trial=trial, fence=3)
    held = {"w": torch.full((4,), float(trial))} if state is None else state
    return Request(root, key, held, step, float(step))


@pytest.fixture
def saver() -> Iterator[Saver]:
    made = Saver()
    yield made
    made.close()


def test_many_are_what_one_by_one_would_have_stored(tmp_path: Path) -> None:
    requests = [request(tmp_path / "many", trial) for trial in range(5)]
    got = checkpoints.save_many(requests)
    for one, ref in zip(requests, got, strict=True):
        alone = checkpoints.save(tmp_path / "alone", one.key, one.state, step=1, resource=1.0)
        assert isinstance(ref, CheckpointRef)
        assert (ref.path, ref.digest, ref.size_bytes) == (alone.path, alone.digest, alone.size_bytes)
        assert checkpoints.load(tmp_path / "many", ref, weights_only=True)["w"].tolist() == [float(one.key.trial)] * 4
    assert not list(tmp_path.rglob("*.part"))


def test_one_of_many_fails_alone(tmp_path: Path) -> None:
    blocked = tmp_path / "blocked"
    blocked.write_text("")
    wrong = [request(blocked, 0), request(tmp_path, 1), request(tmp_path, 2, state={"f": lambda: 0})]
    disk, stored, state = checkpoints.save_many(wrong)
    assert isinstance(disk, StorageError)
    assert str(blocked) in str(disk)
    assert isinstance(stored, CheckpointRef)
    assert isinstance(state, Exception)
    assert not isinstance(state, StorageError)
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["blocked", "3-1.pt"]


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    first, again = checkpoints.save_many([request(tmp_path, 0), request(tmp_path, 0, state={"other": 1})])
    assert isinstance(first, CheckpointRef)
    assert isinstance(again, CheckpointRef)
    assert [Path(ref.path).name for ref in (first, again)] == ["3-1.pt", "3-1-1.pt"]


def test_a_checkpoint_is_named_only_after_it_is_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened: list[str] = []
    sync, rename = os.fsync, Path.rename

    def synced(handle: int) -> None:
        happened.append("sync " + Path(os.readlink(f"/proc/self/fd/{handle}")).name.rpartition(".")[2])
        sync(handle)

    def renamed(path: Path, target: Path) -> Path:
        happened.append("name")
        return rename(path, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(Path, "rename", renamed)
    checkpoints.save_many([request(tmp_path, 0), request(tmp_path, 1)])
    assert happened[:4] == ["sync part", "sync part", "name", "name"]
    assert {"sync 0", "sync 1", "sync s"} <= set(happened[4:])


def test_a_file_that_cannot_be_synced_is_not_stored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    (found,) = checkpoints.save_many([request(tmp_path, 0)])
    assert isinstance(found, StorageError)
    assert "No space left" in str(found)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def test_answers_and_actions_come_in_the_order_in_which_they_were_put_in(tmp_path: Path, saver: Saver) -> None:
    order: list[str] = []

    def note(text: str) -> Callable[..., None]:
        return lambda *_: order.append(text)

    for trial in range(100):
        saver.save(request(tmp_path, trial), note(f"stored {trial}"))
        saver.then(note(f"ended {trial}"))
    saver.wait()
    assert order == [text for trial in range(100) for text in (f"stored {trial}", f"ended {trial}")]


def test_what_is_answered_is_durable(tmp_path: Path, saver: Saver) -> None:
    seen: list[bool] = []

    def check(ref: CheckpointRef | Exception) -> None:
        assert isinstance(ref, CheckpointRef)
        seen.append((tmp_path / ref.path).is_file() and threading.current_thread() is not threading.main_thread())

    saver.save(request(tmp_path, 0), check)
    saver.wait()
    assert seen == [True]


def test_a_fault_of_one_answer_does_not_stop_the_others(
    tmp_path: Path, saver: Saver, capsys: pytest.CaptureFixture[str]
) -> None:
    got: list[Any] = []

    def fails(_: Any) -> None:
        raise ValueError("on purpose")

    saver.save(request(tmp_path, 0), fails)
    saver.save(request(tmp_path, 1), got.append)
    saver.wait()
    assert len(got) == 1
    assert "on purpose" in capsys.readouterr().err


def test_closing_finishes_what_was_put_in(tmp_path: Path) -> None:
    before = threading.active_count()
    saver, got = Saver(), []
    for trial in range(3):
        saver.save(request(tmp_path, trial), got.append)
    saver.close()
    assert len(got) == 3
    assert threading.active_count() == before


def test_a_writer_without_threads_says_so_of_every_checkpoint_and_goes_on(
    tmp_path: Path, saver: Saver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def no_threads(*_: Any) -> None:
        raise RuntimeError("can't start new thread")

    got: list[Any] = []
    with monkeypatch.context() as broken:
        broken.setattr("workers.saving.save_many", no_threads)
        for trial in range(3):
            saver.save(request(tmp_path, trial), got.append)
        saver.wait()
    assert [str(error) for error in got] == ["can't start new thread"] * 3
    assert "can't start new thread" in capsys.readouterr().err
    saver.save(request(tmp_path, 4), got.append)
    saver.wait()
    assert isinstance(got[3], CheckpointRef)


def test_what_is_stored_is_no_longer_held(tmp_path: Path, saver: Saver) -> None:
    freed = threading.Event()
    state = torch.ones(3)
    weakref.finalize(state, freed.set)
    saver.save(request(tmp_path, 0, state={"w": state}), lambda _: None)
    del state
    assert freed.wait(10)
