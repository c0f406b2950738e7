"""The command line, `hpo`: everything a person does with the service, over the same REST as the SDK.

Here: the list of commands and the global options. Commands stand in `studies`, `trials` and `server`; they load what
they need when they run, so that `hpo --help` and completion are fast and need no extra.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from hpo_service.cli import (
    artifacts,
    benching,
    discovering,
    importing,
    repeating,
    reproducing,
    sending,
    server,
    studies,
    trials,
)
from hpo_service.cli import confirming as of_confirming
from hpo_service.cli.base import HpoGroup, Session

app = typer.Typer(
    cls=HpoGroup,
    name="hpo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Hyperparameter optimization studies: submit them, watch them, use what they found.",
)


@app.callback()
def _globals(
    context: typer.Context,
    url: Annotated[str | None, typer.Option("--url", help="The server. [HPO_URL]")] = None,
    token: Annotated[str | None, typer.Option("--token", help="Access token. [HPO_TOKEN]")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    session = context.obj if isinstance(context.obj, Session) else Session()
    session.url, session.token, session.json, session.debug = url, token, json, debug
    context.obj = session


_COMMANDS: tuple[Callable[..., None], ...] = (
    studies.submit,
    studies.validate,
    discovering.discover,
    studies.studies,
    studies.show,
    studies.watch,
    studies.pause,
    studies.resume,
    studies.stop,
    studies.delete,
    studies.retry,
    studies.enqueue,
    studies.change,
    trials.trials,
    trials.trial,
    trials.best,
    trials.logs,
    artifacts.artifacts,
    trials.compare,
    trials.export,
    sending.send,
    of_confirming.confirm,
    of_confirming.report,
    reproducing.reproduce,
    reproducing.record,
    repeating.replay,
    repeating.archive,
    repeating.restore,
    repeating.diff,
    server.serve,
    server.controller,
    server.doctor,
    server.schema,
    server.workers,
    server.version,
)
for _command in _COMMANDS:
    app.command()(_command)
app.command("import")(importing.bring)
app.add_typer(server.tokens, name="token")
app.add_typer(benching.bench, name="bench")


def main() -> None:
    """The entry point `hpo`."""
    app()
