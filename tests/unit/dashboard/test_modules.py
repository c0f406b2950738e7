"""The modules of the pages as a whole: they import one way, and export nothing that nobody uses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from hpo_service.dashboard import pages

TESTS = Path(__file__).parents[2]
STATIC = pages.FOLDER / "static"
IMPORT = re.compile(r"""^(?:import|export)\s+(\{[^}]*\}|\*\s+as\s+\w+)\s+from\s+["']([^"']+)["']""", re.MULTILINE)
EXPORT = re.compile(r"^export\s+(?:async\s+)?(?:const|let|function\*?|class)\s+(\w+)", re.MULTILINE)
BY_CONTRACT = {
    ("charts", "info"),
    ("charts", "mount"),
    ("study", "mount"),
    ("trial", "mount"),
}  # imported by name at run time
PLOTLYS = {"js-plotly-plot", "js-line", "scatterlayer"}  # classes that Plotly gives


def module_texts(folder: Path) -> dict[Path, str]:
    """The text of each module, without its comments."""
    comment = re.compile(r"^\s*//.*$", re.MULTILINE)
    return {path.resolve(): comment.sub("", path.read_text()) for path in sorted(folder.rglob("*.js"))}


def imports_of(path: Path, text: str) -> Iterator[tuple[Path, list[str]]]:
    """The modules that one imports, and the names; a namespace counts as every name that is used of it."""
    for names, source in IMPORT.findall(text):
        target = (path.parent / source).resolve()
        if names.startswith("*"):
            alias = names.split()[-1]
            yield target, re.findall(rf"\b{alias}\.(\w+)", text)
        else:
            yield target, [one.split(" as ")[0].strip() for one in names.strip("{}").split(",") if one.strip()]


def cycle_in(texts: dict[Path, str]) -> list[str]:
    """The names of the modules of one cycle of imports, or none."""
    done: set[Path] = set()

    def walk(path: Path, trail: list[Path]) -> list[Path]:
        if path in trail:
            return [*trail[trail.index(path) :], path]
        if path in done or path not in texts:
            return []
        for target, _ in imports_of(path, texts[path]):
            if found := walk(target, [*trail, path]):
                return found
        done.add(path)
        return []

    return next(([one.name for one in found] for path in texts if (found := walk(path, []))), [])


def unused_in(folder: Path, texts: dict[Path, str], tests: str = "") -> list[str]:
    """What is exported and imported nowhere, except what pages look for by its name and what `tests` name."""
    used = {
        (target, name) for path, text in texts.items() for target, names in imports_of(path, text) for name in names
    }
    return [
        f"{path.relative_to(folder.resolve())}: {name}"
        for path, text in texts.items()
        for name in EXPORT.findall(text)
        if (path, name) not in used and (path.parent.name, name) not in BY_CONTRACT
        if not (path.relative_to(folder.resolve()).as_posix() in tests and re.search(rf"\b{name}\b", tests))
    ]


def test_no_module_imports_itself_by_detours() -> None:
    assert cycle_in(module_texts(STATIC)) == []


def test_what_is_exported_is_used() -> None:
    tests = [path.read_text() for path in TESTS.rglob("*.py") if path != Path(__file__)]
    assert unused_in(STATIC, module_texts(STATIC), "\n".join(tests)) == []


def test_classes_in_styles_are_given_to_something() -> None:
    """A rule for a class that no module and no template names draws nothing."""
    given = " ".join(path.read_text() for path in [*STATIC.rglob("*.js"), *(pages.FOLDER / "templates").glob("*.html")])
    words = set(re.findall(r"[\w-]+", given)) | PLOTLYS
    stems = {stem for stem in re.findall(r"([\w-]+-)\$\{", given)}  # `is-${kind}`
    for path in STATIC.rglob("*.css"):
        css = re.sub(r"/\*.*?\*/|url\([^)]*\)", "", path.read_text(), flags=re.DOTALL)
        classes = {one for head in re.findall(r"[^{}]*(?=\{)", css) for one in re.findall(r"\.([a-zA-Z][\w-]*)", head)}
        unused = {one for one in classes - words if not any(one.startswith(stem) for stem in stems)}
        assert not unused, path.name


@pytest.mark.parametrize(
    ("files", "cycle", "unused"),
    [
        ({"a.js": 'import { b } from "./b.js";', "b.js": "export const b = 1;"}, False, []),
        (
            {
                "a.js": 'import { b } from "./b.js";\nexport const a = b;',
                "b.js": 'import { a } from "./a.js";\nexport const b = a;',
            },
            True,
            [],
        ),
        ({"a.js": "export const one = 1;\nexport function two() {}"}, False, ["a.js: one", "a.js: two"]),
        ({"a.js": 'import * as b from "./b.js";\nb.x();', "b.js": "export const x = 1, y = 2;"}, False, []),
    ],
)
def test_the_checks_can_fail(tmp_path: Path, files: dict[str, str], cycle: bool, unused: list[str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    texts = module_texts(tmp_path)
    assert bool(cycle_in(texts)) is cycle
    assert unused_in(tmp_path, texts) == unused
