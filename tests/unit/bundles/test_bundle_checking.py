"""Every evil archive is refused with the error of its own evil, before anything is unpacked."""

from __future__ import annotations

import io
import struct
import zipfile
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpo_service.bundles.archive import CODE, MARKER, Limits
from hpo_service.bundles.building import from_files
from hpo_service.bundles.checking import check
from hpo_service.errors import InvalidInput

Entry = tuple[str, bytes]


def archive(*entries: Entry, change: Callable[[zipfile.ZipInfo], None] = lambda _: None, marker: bool = True) -> bytes:
    """A zip archive of these entries, each changed by `change`, with the marker before them."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made:
        if marker:
            made.writestr(MARKER, b"")
        for name, data in entries:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(info)
            made.writestr(info, data)
    return buffer.getvalue()


def of_kind(mode: int) -> Callable[[zipfile.ZipInfo], None]:
    def change(info: zipfile.ZipInfo) -> None:
        info.create_system = 3
        info.external_attr = mode << 16

    return change


def renamed(data: bytes, old: str, new: str) -> bytes:
    """A name written over another one of the same length, which zipfile itself would have mended."""
    assert len(old) == len(new)
    return data.replace(old.encode(), new.encode())


def with_flag(data: bytes, flag: int) -> bytes:
    """The flag set in every entry, in both tellings."""
    found = bytearray(data)
    for signature, place in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        at = found.find(signature)
        while at >= 0:
            value = struct.unpack_from("<H", found, at + place)[0] | flag
            struct.pack_into("<H", found, at + place, value)
            at = found.find(signature, at + 4)
    return bytes(found)


def with_wrong_byte(data: bytes) -> bytes:
    at = data.index(b"print(1)")
    return data[:at] + b"print(2)" + data[at + 8 :]


def with_sizes(data: bytes, name: str, size: int) -> bytes:
    """The directory tells another size of the file `name` than it has."""
    found = bytearray(data)
    at = found.find(b"PK\1\2")
    while at >= 0:
        length = struct.unpack_from("<H", found, at + 28)[0]
        if found[at + 46 : at + 46 + length] == name.encode():
            struct.pack_into("<I", found, at + 24, size)
        at = found.find(b"PK\1\2", at + 4)
    return bytes(found)


def with_zip64(data: bytes) -> bytes:
    """The end tells that another end stands before it, which would be believed."""
    at = data.rindex(b"PK\5\6")
    return data[:at] + b"PK\6\7" + bytes(16) + data[at:]


def with_hidden_end(data: bytes, place: int) -> bytes:
    """The sign of an end stands within the end itself, where who looks for the last sign finds it first."""
    at = data.rindex(b"PK\5\6") + place
    return data[:at] + b"PK\5\6" + data[at + 4 :]


def with_hidden_zip64(data: bytes) -> bytes:
    """A small end, and before it a larger one that is believed; its sign stands in the comment once more."""
    at = data.rindex(b"PK\5\6")
    count, size, start = struct.unpack_from("<HLL", data, at + 10)
    larger = struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, count, count, size, start)
    smaller = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, 46, 0, 4)
    return data[:at] + larger + struct.pack("<4sLQL", b"PK\6\7", 0, at, 1) + smaller + b"PK\6\7"


GOOD = f"{CODE}/train.py"
STORED = from_files({"train.py": b"print(1)\n"}).archive
PLAIN = archive((GOOD, b"print(1)\n"))
MANY = archive(*((f"{CODE}/{i}", b"") for i in range(120)))
EVIL = {
    "zip slip": (archive((f"{CODE}/../../etc/passwd", b"x")), "do not lead out of the archive"),
    "slip to the side": (archive((f"{CODE}/..", b"x")), "do not lead out of the archive"),
    "absolute": (archive(("/etc/passwd", b"x")), "relative, without a drive"),
    "drive": (archive(("C:/x.py", b"x")), "relative, without a drive"),
    "backslash": (renamed(archive((f"{CODE}/a_b.py", b"x")), f"{CODE}/a_b.py", f"{CODE}/a\\b.py"), "no backslash"),
    "nul": (renamed(archive((f"{CODE}/a_b.py", b"x")), f"{CODE}/a_b.py", f"{CODE}/a\0b.py"), "no backslash and no NUL"),
    "control character": (archive((f"{CODE}/a\nb.py", b"x")), "no control characters"),
    "long name": (archive((f"{CODE}/{'a' * 2000}", b"x")), "at most 1024 bytes"),
    "empty part": (archive((f"{CODE}//train.py", b"x")), "plain paths"),
    "dot": (archive((f"{CODE}/./train.py", b"x")), "plain paths"),
    "link": (archive((GOOD, b"/etc/passwd"), change=of_kind(0o120777)), "no links"),
    "device": (archive((GOOD, b""), change=of_kind(0o020666)), "files and folders only"),
    "pipe": (archive((GOOD, b""), change=of_kind(0o010666)), "files and folders only"),
    "folder with content": (archive((GOOD, b"x"), change=of_kind(0o040755)), "files and folders only"),
    "capitals": (archive((GOOD, b"1"), (f"{CODE}/TRAIN.py", b"2")), "a name stands once"),
    "file and folder": (archive((f"{CODE}/a", b"1"), (f"{CODE}/a/b.py", b"2")), "a file or a folder, not both"),
    "encrypted": (with_flag(PLAIN, 1), "not encrypted"),
    "strange method": (
        archive((GOOD, b"x"), change=lambda info: setattr(info, "compress_type", zipfile.ZIP_LZMA)),
        "stored or deflated",
    ),
    "too many": (archive(*((f"{CODE}/{i}", b"") for i in range(12))), "at most 8 files"),
    "huge directory": (MANY, "a directory lists at most 8 files"),
    "huge directory, hidden": (with_hidden_end(MANY, 4), "a directory lists at most 8 files"),
    "huge directory, hidden deeper": (with_hidden_end(MANY, 16), "a directory lists at most 8 files"),
    "huge directory of a hidden end": (with_hidden_zip64(MANY), "less than 4 GiB"),
    "zip64": (with_zip64(STORED), "less than 4 GiB"),
    "too large": (archive((GOOD, b"x" * 60_000)), "unpacks to at most 48.8 KiB"),
    "bomb": (archive((GOOD, b"0" * 40_000)), "at most 50 times its size"),
    "lying bomb": (with_sizes(archive((GOOD, b"0" * 45_000)), GOOD, 10), "whole and matches its checksum"),
    "shorter than told": (with_sizes(STORED, GOOD, 30), "whole and matches|as long as"),
    "wrong byte": (with_wrong_byte(STORED), "matches its checksum"),
    "truncated": (STORED[: len(STORED) // 2], "a bundle is a zip archive"),
    "nothing": (b"", "a bundle is a zip archive"),
    "text": (b"#!/bin/sh\nrm -rf /\n", "a bundle is a zip archive"),
    "no marker": (archive((GOOD, b"x"), marker=False), f"the file '{MARKER}'"),
    "beside": (archive((GOOD, b"x"), ("sitecustomize.py", b"x")), f"lie in {CODE}/"),
    "only the marker": (archive(), "at least one file"),
}
SMALL = Limits(files=8, unpacked_bytes=50_000, ratio=50.0, always_bytes=30_000)


@pytest.mark.parametrize("evil", sorted(EVIL))
def test_an_evil_archive_is_refused_with_its_own_error(evil: str) -> None:
    data, told = EVIL[evil]
    with pytest.raises(InvalidInput, match=told) as refused:
        check(io.BytesIO(data), limits=SMALL)
    assert refused.value.problems[0].remedy


def test_a_name_twice_is_refused() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        twice = archive((GOOD, b"1"), (GOOD, b"2"))
    with pytest.raises(InvalidInput, match="a name stands once"):
        check(io.BytesIO(twice))


def test_an_ordinary_zip_of_that_layout_is_taken() -> None:
    found = check(
        io.BytesIO(archive((f"{CODE}/", b""), (GOOD, b"x"), (f"{CODE}/pkg/", b""), (f"{CODE}/pkg/a.py", b"")))
    )
    assert list(found) == ["pkg/a.py", "train.py"]


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_damage_is_refused_or_harmless(data: st.DataObject) -> None:
    """Any bytes written over a good archive: refused as ours, or still a manifest of safe names."""
    found = bytearray(PLAIN)
    for _ in range(data.draw(st.integers(1, 4))):
        found[data.draw(st.integers(0, len(found) - 1))] = data.draw(st.integers(0, 255))
    try:
        manifest = check(io.BytesIO(bytes(found)))
    except InvalidInput:
        return
    for name in manifest:
        assert not name.startswith("/")
        assert ".." not in name.split("/")
        assert "\\" not in name


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_refused_as_ours(data: bytes) -> None:
    with pytest.raises(InvalidInput):
        check(io.BytesIO(data))
