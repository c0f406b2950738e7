"""Settings: every `HPO_…` environment variable, read in one place, with its default and its meaning.

A test holds `docs/settings.md` to this list. Nothing else in the project reads the environment for configuration.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hpo_service.errors import FieldProblem, InvalidInput

PREFIX = "HPO_"
LOOPBACK_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})


class Settings(BaseModel):
    """What a server, a controller and a command line read; each field is the variable `HPO_<NAME>`."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: Path = Field(default=Path("hpo-data"), description="Folder of the embedded database, storage and logs.")
    database_url: str = Field(
        default="", description="SQLAlchemy URL; empty: SQLite in HPO_DATA. PostgreSQL: postgresql+psycopg://…"
    )
    storage: Path | None = Field(
        default=None, description="Folder of checkpoints, readable from every node; empty: HPO_DATA/storage."
    )
    artifacts: str = Field(
        default="",
        description="Where trials' artifacts are kept: a folder that every node can write, or a URL for fsspec "
        "(s3://bucket/path); empty: artifacts in HPO_STORAGE.",
    )
    artifact_max_bytes: Annotated[int, Field(ge=1)] = Field(
        default=1 << 30, description="Largest artifact that is kept, bytes."
    )
    host: str = Field(default="127.0.0.1", description="Address to listen on. Anything but loopback needs tokens.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(default=8421, description="Port to listen on.")
    allowed_hosts: str = Field(
        default="", description="Host names by which the server may be called, comma separated, beside its address."
    )
    url: str = Field(default="", description="The server that the SDK and CLI talk to; empty: http://HOST:PORT.")
    token: str = Field(default="", description="The bearer token that the SDK and CLI send.", repr=False)
    ray_address: str = Field(
        default="", description="An existing Ray cluster (host:port, or auto); empty: a local Ray of the controller."
    )
    ray_cpus: Annotated[int, Field(ge=0)] = Field(
        default=0, description="CPUs of the local Ray; 0: all of the machine."
    )
    idle_workers_s: Annotated[float, Field(gt=0)] = Field(
        default=300.0, description="Seconds after which an idle worker is let go."
    )
    cpu_hour_dollars: Annotated[float, Field(ge=0, le=1e6)] = Field(
        default=0.04, description="Price of one CPU for one hour, dollars."
    )
    gpu_hour_dollars: Annotated[float, Field(ge=0, le=1e6)] = Field(
        default=2.0, description="Price of one GPU for one hour, dollars."
    )
    wage_hour_dollars: Annotated[float, Field(ge=0, le=1e6)] = Field(
        default=60.0, description="What an hour of a person's work costs, dollars; reports compare with it. 0: do not."
    )
    lease_s: Annotated[float, Field(ge=1)] = Field(
        default=15.0, description="How long a controller that went silent keeps its studies, seconds."
    )
    retention_days: Annotated[float, Field(ge=0)] = Field(
        default=30.0, description="How long an ended study keeps the checkpoints of its paused trials."
    )
    max_body_bytes: Annotated[int, Field(ge=1024)] = Field(
        default=128 * 1024, description="Largest request body that is parsed."
    )
    max_bundle_bytes: Annotated[int, Field(ge=1024, le=2**31)] = Field(
        default=50 * 2**20, description="Largest archive of code that is taken; it may unpack to four times as much."
    )
    max_archive_bytes: Annotated[int, Field(ge=1024, le=2**40)] = Field(
        default=2 * 2**30, description="Largest archive of a study that is taken to be restored."
    )
    allow_pip: bool = Field(
        default=False, description="Whether studies may have packages installed for their code (trainer.pip)."
    )
    log_level: str = Field(default="info", description="debug, info, warning or error.")

    @property
    def resolved_database_url(self) -> str:
        return self.database_url or f"sqlite:///{(self.data / 'hpo.db').absolute()}"

    @property
    def resolved_storage(self) -> Path:
        return (self.storage or self.data / "storage").absolute()

    @property
    def resolved_artifacts(self) -> str:
        """An absolute folder, or a URL."""
        if "://" in self.artifacts and not self.artifacts.startswith("file://"):
            return self.artifacts.rstrip("/")
        folder = self.artifacts.removeprefix("file://")
        return str(Path(folder).absolute() if folder else self.resolved_storage / "artifacts")

    @property
    def resolved_url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.url or f"http://{host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        return self.host in LOOPBACK_HOSTS


def load_settings(environment: Mapping[str, str] | None = None, **overrides: Any) -> Settings:
    """Settings from the environment, overridden by keyword; raises `InvalidInput` naming the variable."""
    source = os.environ if environment is None else environment
    values: dict[str, Any] = {
        name: source[PREFIX + name.upper()]
        for name in Settings.model_fields
        if source.get(PREFIX + name.upper(), "") != ""
    }
    values |= {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise InvalidInput.of(
            *(
                FieldProblem(path=f"{PREFIX}{str(e['loc'][0]).upper()}", rule=e["msg"], value=e.get("input"))
                for e in error.errors()
            )
        ) from None
