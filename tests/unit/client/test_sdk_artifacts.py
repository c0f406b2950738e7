"""Artifacts and searches of logs through the SDK and the command line, against the real service in this process."""

from __future__ import annotations

import asyncio
import io
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from hpo_service.api.app import create_app
from hpo_service.cli import app as command_line
from hpo_service.cli.base import Session
from hpo_service.client import AsyncClient, Client, Study, Trial
from hpo_service.client.artifacts import ArtifactBase, ArtifactInfo
from hpo_service.errors import FenceRefused, HpoError, InvalidInput, TooLarge
from hpo_service.settings import Settings
from hpo_service.store import artifacts, logs
from hpo_service.store.database import Database, open_database
from tests.unit.api.support import DEFINITION

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks for another HTTP client; httpx is the one that the SDK is built on
    from fastapi.testclient import TestClient


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("sdk-artifacts") / "hpo.db"
    open_database(f"sqlite:///{path}").close()
    return path


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, artifact_max_bytes=1 << 20)


@pytest.fixture
def db(settings: Settings, template: Path) -> Iterator[Database]:
    shutil.copy(template, settings.data / "hpo.db")
    database = open_database(settings.resolved_database_url)
    yield database
    database.close()


@pytest.fixture
def transport(settings: Settings, db: Database) -> Iterator[httpx.BaseTransport]:
    with TestClient(create_app(settings, db), base_url="http://localhost") as inside:
        yield inside._transport


@pytest.fixture
def client(transport: httpx.BaseTransport) -> Iterator[Client]:
    with Client("http://localhost", transport=transport) as found:
        yield found


@pytest.fixture
def study(client: Client) -> Study:
    return client.create_study(DEFINITION)


@pytest.fixture
def trial(study: Study) -> Trial:
    found = study.ask()
    assert found is not None
    return found


def test_files_go_in_and_come_back(trial: Trial, tmp_path: Path) -> None:
    big = tmp_path / "model.bin"
    big.write_bytes(bytes(range(256)) * 3000)
    kept = trial.artifact(big)
    assert (kept.name, kept.size_bytes, kept.fence) == ("model.bin", 768_000, trial.fence)
    trial.artifact(str(big), name="runs/../same.bin")
    first, second = trial.artifacts()
    assert first.info == kept
    assert first.save(tmp_path / "copy") == tmp_path / "copy"
    assert (tmp_path / "copy").read_bytes() == big.read_bytes()
    folder = tmp_path / "folder"
    folder.mkdir()
    assert second.save(folder) == folder / "same.bin"
    buffer = io.BytesIO()
    assert first.save(buffer) is None
    assert buffer.getvalue() == big.read_bytes()
    assert "model.bin" in repr(first)
    assert trial.artifacts(limit=1).first() is not None


def test_what_cannot_be_kept_is_refused(study: Study, trial: Trial, tmp_path: Path, db: Database) -> None:
    with pytest.raises(InvalidInput, match="is a file"):
        trial.artifact(tmp_path)
    large = tmp_path / "large"
    large.write_bytes(b"x" * ((1 << 20) + 1))
    with pytest.raises(TooLarge, match="1048576"):
        trial.artifact(large)
    now = db.now()
    db.clock = lambda: int(now.timestamp() * 1e6) + 3_600_000_000
    assert study.ask(client_id="another") is not None
    with pytest.raises(FenceRefused):
        trial.artifact(Path(__file__))


def test_damage_on_the_way_is_noticed(trial: Trial, tmp_path: Path, settings: Settings) -> None:
    source = tmp_path / "a.txt"
    source.write_text("right")
    kept = trial.artifact(source)
    (stored,) = Path(settings.resolved_artifacts).rglob(kept.id)
    stored.write_text("wrong")
    one = trial.artifacts().first()
    assert one is not None
    with pytest.raises(HpoError, match="other bytes"):
        one.save(tmp_path / "copy.txt")
    assert not (tmp_path / "copy.txt").exists()


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a/b.txt", "b.txt"), ("..\\..\\c", "c"), ("../..", "x"), (".hidden", "hidden"), ('a"b|c', "a_b_c"), ("a/", "x")],
)
def test_a_name_is_never_a_path(name: str, expected: str, client: Client) -> None:
    info = ArtifactInfo(id="x", trial=0, name=name, size_bytes=1)
    assert ArtifactBase(client._core, client._run, "s", info).file_name == expected


def test_lines_are_searched(study: Study, trial: Trial, db: Database) -> None:
    logs.append_logs(db, [(study.id, trial.number, trial.fence, "epoch 1\nloss NaN\n" * 150)])
    found = list(study.search_logs("nan"))
    assert len(found) == 150  # of two pages
    assert (found[1].trial, found[1].line, found[1].text) == (trial.number, 4, "loss NaN")
    assert len(list(study.search_logs("nan", trial=trial.number, fence=trial.fence, limit=3))) == 3
    assert list(study.search_logs("nowhere")) == []


async def _all_of(settings: Settings, db: Database, study_id: str, number: int, folder: Path) -> list[str]:
    transport = httpx.ASGITransport(app=create_app(settings, db))
    async with AsyncClient("http://localhost", transport=transport) as client:
        study = await client.study(study_id)
        trial = await study.trial(number)
        kept = await trial.artifact(__file__, name="again.py")
        saved = [str(await one.save(folder)) async for one in trial.artifacts()]
        assert kept.name == "again.py"
        return [Path(path).name for path in saved] + [one.text async for one in study.search_logs("hello")]


def test_the_awaiting_twin_does_the_same(
    settings: Settings, db: Database, study: Study, trial: Trial, tmp_path: Path
) -> None:
    logs.append_logs(db, [(study.id, trial.number, trial.fence, "hello there\n")])
    folder = tmp_path / "async"
    folder.mkdir()
    assert asyncio.run(_all_of(settings, db, study.id, trial.number, folder)) == ["again.py", "hello there"]
    assert (folder / "again.py").read_bytes() == Path(__file__).read_bytes()


def hpo(transport: httpx.BaseTransport, *words: str) -> Result:
    return CliRunner().invoke(
        command_line, list(words), obj=Session(transport=transport), env={"HPO_URL": "http://localhost"}
    )


def test_the_command_lists_and_saves(
    transport: httpx.BaseTransport, study: Study, trial: Trial, tmp_path: Path
) -> None:
    place = f"{study.name}/{trial.number}"
    assert "kept no files" in hpo(transport, "artifacts", place).stdout
    source = tmp_path / "curve.txt"
    source.write_text("1 2 3")
    for _ in range(2):
        trial.artifact(source)
    listed = hpo(transport, "artifacts", place)
    assert listed.exit_code == 0, listed.output
    assert listed.stdout.count("curve.txt") == 2
    assert "5 B" in listed.stdout
    done = hpo(transport, "artifacts", place, "--save", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["curve-2.txt", "curve.txt"]
    assert hpo(transport, "artifacts", place, "--fence", "9").stdout.count("curve.txt") == 0


def test_the_command_searches_a_study_and_a_trial(
    transport: httpx.BaseTransport, study: Study, trial: Trial, db: Database
) -> None:
    logs.append_logs(db, [(study.id, trial.number, trial.fence, "one\nloss NaN\n")])
    for place in (study.name, f"{study.name}/{trial.number}"):
        found = hpo(transport, "logs", place, "--search", "nan")
        assert found.exit_code == 0, found.output
        assert f"{study.name}/{trial.number} attempt 1, line 2: loss NaN" in found.stdout
    assert "no line" in hpo(transport, "logs", study.name, "--search", "zebra").stdout
    assert '"line": 2' in hpo(transport, "--json", "logs", study.name, "--search", "nan").stdout


def test_the_store_is_asked_once_per_page(study: Study, trial: Trial, db: Database) -> None:
    items = [
        artifacts.ArtifactItem(
            id=f"{n:032x}",
            study_id=study.id,
            trial=trial.number,
            fence=trial.fence,
            name=f"{n}",
            location=f"{study.id}/{trial.number}/{n:032x}",
            digest="",
            size_bytes=1,
            media_type="text/plain",
        )
        for n in range(150)
    ]
    artifacts.add_artifacts(db, items)
    assert [one.name for one in trial.artifacts()] == [str(n) for n in range(150)]
