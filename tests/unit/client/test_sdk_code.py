"""Code that goes with a study: which files, which import path, which kind; sent once, and named in the definition."""

from __future__ import annotations

import asyncio
import importlib
import io
import sys
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import hpo_service as hpo
from hpo_service.bundles.checking import check
from hpo_service.client.bundling import kind_of
from hpo_service.client.local_modules import imported, local_files, root_of
from hpo_service.errors import InvalidInput, TooLarge

DEFINITION = {"name": "mine", "objective": {"metric": "loss"}, "space": {}, "algorithm": {"name": "random"}}
Home = Callable[..., Path]


class Server:
    """Keeps bundles and the last definition."""

    def __init__(self) -> None:
        self.bundles: dict[str, bytes] = {}
        self.projects: set[str] = set()
        self.definition: dict[str, Any] = {}
        self.asked: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        import hashlib
        import json

        self.asked.append(request.method)
        if request.url.path.startswith("/api/v1/bundles"):
            self.projects.add(request.url.params["project"])
            if request.method == "HEAD":
                return httpx.Response(200 if request.url.path.rpartition("/")[2] in self.bundles else 404)
            body = request.read()
            self.bundles[hashlib.sha256(body).hexdigest()] = body
            return httpx.Response(201, json={})
        self.definition = json.loads(request.read())
        return httpx.Response(
            201, json={"id": "s1", "name": "mine", "state": "preflight", "definition": self.definition}
        )

    @property
    def files(self) -> list[str]:
        """Those of the bundle that the last definition names."""
        return list(check(io.BytesIO(self.bundles[self.definition["trainer"]["bundle"]])))

    def text(self, name: str) -> str:
        archive = zipfile.ZipFile(io.BytesIO(self.bundles[self.definition["trainer"]["bundle"]]))
        return archive.read(f"own-code/{name}").decode()


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
def client(server: Server) -> Iterator[hpo.Client]:
    with hpo.Client("http://server:8421", transport=httpx.MockTransport(server)) as found:
        yield found


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Home]:
    """Writes files below a folder that is on `sys.path`; what was imported of them goes afterwards."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)

    def make(**files: str) -> Path:
        for name, text in files.items():
            path = tmp_path / f"{name.replace('_in_', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        importlib.invalidate_caches()
        return tmp_path

    yield make
    for name in set(sys.modules) - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def test_a_folder_is_sent_once_and_named(client: hpo.Client, server: Server, home: Home) -> None:
    folder = home(train="def main(trial): ...")
    definition = {**DEFINITION, "trainer": {"function": "train:main", "params": {"a": 1}}, "project": "vision"}
    first = client.create_study(definition, code=folder)
    assert first.info.definition["trainer"]["function"] == "train:main"
    assert server.definition["trainer"]["params"] == {"a": 1}
    assert server.files == ["train.py"]
    assert server.projects == {"vision"}
    client.create_study(definition, code=str(folder))
    assert server.asked == ["HEAD", "POST", "POST", "HEAD", "POST"], "the bundle went once"


def test_uploading_alone_tells_what_was_sent(client: hpo.Client, server: Server, home: Home) -> None:
    folder = home(train="", pkg_in_a="")
    sent = client.upload_code(folder)
    assert (sent.files, sent.uploaded) == (("pkg/a.py", "train.py"), True)
    assert sent.digest in server.bundles
    assert client.upload_code(folder).uploaded is False


def test_the_async_client_sends_code_too(server: Server, home: Home) -> None:
    folder = home(train="def main(trial): ...")

    async def send() -> None:
        transport = httpx.MockTransport(server)
        async with hpo.AsyncClient("http://server:8421", transport=transport) as client:
            await client.create_study({**DEFINITION, "trainer": {"function": "train:main"}}, code=folder)
            assert not (await client.upload_code(folder)).uploaded

    asyncio.run(send())
    assert server.files == ["train.py"]


def test_a_function_of_a_module_brings_what_it_imports(client: hpo.Client, server: Server, home: Home) -> None:
    home(
        app_in___init__="",
        app_in_train="from . import layers\nfrom .data import rows\nimport json, numpy\ndef main(trial): ...",
        app_in_layers="def late():\n    import tools.more",
        app_in_data_in___init__="from app.data.read import *\nrows = 1",
        app_in_data_in_read="",
        app_in_unused="",
        tools_in_more="",
        tools_in_less="",
    )
    client.create_study(DEFINITION, objective=importlib.import_module("app.train").main)
    assert server.definition["trainer"]["function"] == "app.train:main"
    assert server.files == [
        "app/__init__.py", "app/data/__init__.py", "app/data/read.py", "app/layers.py", "app/train.py", "tools/more.py",
    ]  # fmt: skip


def test_a_folder_beside_the_function_brings_its_data(client: hpo.Client, server: Server, home: Home) -> None:
    folder = home(train="def main(trial): ...")
    (folder / "rows.csv").write_text("1,2")
    client.create_study(DEFINITION, objective=importlib.import_module("train").main, code=folder)
    assert server.files == ["rows.csv", "train.py"]


def test_a_function_of_another_folder_is_refused(client: hpo.Client, home: Home, tmp_path: Path) -> None:
    home(train="def main(trial): ...", sub_in_x="")
    with pytest.raises(InvalidInput, match="must lie in the folder"):
        client.create_study(DEFINITION, objective=importlib.import_module("train").main, code=tmp_path / "sub")


def test_a_function_within_another_is_captured_with_its_imports(client: hpo.Client, server: Server, home: Home) -> None:
    home(
        maker="import tools\ndef make(width):\n    def train(trial):\n        return tools.f(width)\n    return train\n"
    )
    home(tools="def f(x):\n    return x\n")
    client.create_study(DEFINITION, objective=importlib.import_module("maker").make(3))
    assert server.definition["trainer"]["function"] == "hpo_objective:train"
    assert server.files == ["hpo_objective.py", "tools.py"]
    assert "width = 3" in server.text("hpo_objective.py")


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("def it(trial):\n    return trial.params['lr']", "function"),
        ("def it(trial):\n    return trial.suggest_float('lr', 0, 1)", "optuna"),
        ("def it(t):\n    return t.suggest_float('lr', 0, 1)", "optuna"),
        ("def it(config):\n    return {'loss': config['lr']}", "ray_tune"),
        ("class it:\n    def step(self): ...", "ray_tune"),
        ("class it:\n    def build_model(self): ...", "recipe"),
        ("def it(): ...", "function"),
    ],
)
def test_the_kind_is_told_from_the_thing_itself(
    client: hpo.Client, server: Server, home: Home, source: str, kind: str
) -> None:
    home(thing=source)
    it = importlib.import_module("thing").it
    assert kind_of(it, {}) == kind
    assert kind_of(it, {"optuna": "a:b"}) == "optuna", "what the definition says goes before"
    client.create_study({**DEFINITION, "trainer": {"external": True}}, objective=it)
    assert server.definition["trainer"].keys() == {kind, "bundle"}
    client.create_study(DEFINITION, objective=it, kind="ray_tune")
    assert server.definition["trainer"]["ray_tune"] == "thing:it"


@pytest.mark.parametrize("thing", [lambda trial: 0, "train:main", 3, print, Path("x").exists])
def test_what_has_no_source_of_its_own_is_refused(client: hpo.Client, server: Server, thing: Any) -> None:
    with pytest.raises(InvalidInput, match="an objective is"):
        client.create_study(DEFINITION, objective=thing)
    assert server.asked == []


def test_what_is_installed_is_named_instead(client: hpo.Client) -> None:
    with pytest.raises(InvalidInput, match=r"'json\.decoder' is installed"):
        client.create_study(DEFINITION, objective=__import__("json").JSONDecoder)


def test_an_unknown_kind_is_refused(client: hpo.Client, home: Home) -> None:
    home(train="def main(trial): ...")
    with pytest.raises(InvalidInput, match="kind is one of"):
        client.create_study(DEFINITION, objective=importlib.import_module("train").main, kind="magic")  # type: ignore[arg-type]
    with pytest.raises(InvalidInput, match="kind says what objective= is"):
        client.create_study(DEFINITION, kind="optuna")


def test_too_large_a_folder_is_refused_before_anything_is_sent(
    client: hpo.Client, server: Server, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home(train="")
    with (folder / "huge.bin").open("wb") as file:
        file.truncate(60 * 2**20)
    with pytest.raises(TooLarge, match=r"huge\.bin \(60 MiB\)"):
        client.upload_code(folder)
    assert server.asked == []
    monkeypatch.setenv("HPO_MAX_BUNDLE_BYTES", str(70 * 2**20))
    client.upload_code(folder)
    assert server.asked == ["HEAD", "POST"], "the administrator's limit counts here, too"


def test_the_servers_data_stay_at_home(
    client: hpo.Client, server: Server, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home(train="", served_in_x="")
    monkeypatch.setenv("HPO_DATA", str(folder / "served"))
    assert client.upload_code(folder).files == ("train.py",)


def test_installed_and_own_modules_are_told_apart(home: Home) -> None:
    root = home(mine="", spread_in_part="")
    assert root_of("mine") == root_of("spread") == root
    assert [root_of(name) for name in ("json", "sys", "numpy", "hpo_service", "workers", "nowhere", "__main__")] == [
        None
    ] * 7


def test_broken_source_is_told_with_its_line(home: Home) -> None:
    home(mine="import nothing\ndef f(:\n")
    with pytest.raises(InvalidInput, match=r"mine\.py, line 2, is not"):
        local_files(["mine"])


def test_relative_imports_are_resolved() -> None:
    assert list(imported(b"from . import a\nfrom ..b import c\nfrom .d.e import f", "x.y", "f")) == [
        "x.y", "x.y.a", "x.b", "x.b.c", "x.y.d.e", "x.y.d.e.f",
    ]  # fmt: skip
