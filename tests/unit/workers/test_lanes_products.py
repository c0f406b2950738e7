"""Products by torch and by numpy come to the same, in whatever layout the matrices lie, cut or whole."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from workers.loops import products

sides = st.integers(1, 140)


def laid(values: Tensor, *, across: bool) -> Tensor:
    """The same numbers, column by column in memory."""
    return values.mT.contiguous().mT if across else values


@pytest.fixture(params=[False, True], ids=["torch", "numpy"])
def by(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    monkeypatch.setattr(products, "by_numpy", lambda: request.param)
    return bool(request.param)


@pytest.mark.parametrize("across", [0, 1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize(
    "shape", [(7, 5, 3), (130, 64, 10), (10, 128, 130), (1, 9, 4), (65, 300, 129), (200, 300, 200)]
)
def test_products_in_every_layout(by: bool, across: int, shape: tuple[int, int, int]) -> None:
    rows, inner, columns = shape
    generator = torch.Generator().manual_seed(1)
    a = laid(torch.randn(3, rows, inner, generator=generator), across=bool(across & 1))
    b = laid(torch.randn(3, inner, columns, generator=generator), across=bool(across & 2))
    added = torch.randn(3, 1, columns, generator=generator)
    out = laid(torch.empty(3, rows, columns), across=bool(across & 4))
    wanted = a.double() @ b.double()
    products.multiply(a, b, out=out)
    torch.testing.assert_close(out.double(), wanted, rtol=1e-4, atol=1e-4)
    products.multiply_add(added, a, b, out=out)
    torch.testing.assert_close(out.double(), wanted + added, rtol=1e-4, atol=1e-4)


@given(rows=st.integers(1, 5000), inner=st.integers(1, 3000), columns=sides)
def test_the_rows_of_a_product_are_cut_once_and_in_order(rows: int, inner: int, columns: int) -> None:
    cut = products.pieces(rows, inner, columns)
    assert [row for start, stop in cut for row in range(start, stop)] == list(range(rows))
    assert len(cut) == 1 or all((stop - start) * inner * columns <= 10**6 for start, stop in cut)


def test_numpys_library_computes_on_one_thread_while_lanes_do(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: Callable[[], list[int]] = lambda: [one["num_threads"] for one in products._libraries().info()]  # noqa: E731
    monkeypatch.setattr(products, "by_numpy", lambda: True)
    with products._libraries().limit(limits=2):
        before = threads()
        with products.one_thread("cpu"):
            assert set(threads()) == {1}
        assert threads() == before
