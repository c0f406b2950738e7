"""The pages alone, without the API behind them."""

from __future__ import annotations

import warnings
from collections.abc import Iterator

import pytest
from fastapi import FastAPI

from hpo_service.dashboard import pages

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it asks for another HTTP client; httpx is the one that the SDK is built on
    from fastapi.testclient import TestClient


@pytest.fixture(scope="session")
def client() -> Iterator[TestClient]:
    app = FastAPI()
    pages.add_pages(app)
    with TestClient(app) as found:
        yield found
