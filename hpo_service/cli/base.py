"""What every command shares: global options, the client, output, and errors as one line with a remedy.

Not here: commands. A command module gets `Session` from its context and prints through it.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.text import Text
from typer.core import TyperGroup

from hpo_service.errors import FieldProblem, HpoError

if TYPE_CHECKING:
    from hpo_service.client import Client, Study

FLAGS = frozenset({"--json", "--debug"})
WITH_VALUE = frozenset({"--url", "--token"})
PIPE_WIDTH = 240
INTERRUPTED = 130


@dataclass
class Session:
    """One run of the command line: its global options, its consoles and, when needed, its client."""

    url: str | None = None
    token: str | None = None
    json: bool = False
    debug: bool = False
    transport: Any = None  # an httpx transport in place of the network
    _client: Client | None = field(default=None, repr=False)

    @property
    def client(self) -> Client:
        """The connection, made when first used."""
        if self._client is None:
            from hpo_service.client import Client, RetryPolicy  # httpx is only loaded by commands that need it

            self._client = Client(self.url, self.token, retry=RetryPolicy(retries=3), transport=self.transport)
        return self._client

    def study(self, id_or_name: str) -> Study:
        """The study that an argument names."""
        return self.client.study(id_or_name)

    @property
    def console(self) -> Console:
        """Standard output; wide where it is not a terminal, so that nothing is cut in a pipe."""
        console = Console(file=sys.stdout, highlight=False)
        return console if console.is_terminal else Console(file=sys.stdout, highlight=False, width=PIPE_WIDTH)

    def say(self, line: str) -> None:
        """A line for people; nothing under --json."""
        if not self.json:
            self.console.print(Text(line), soft_wrap=True)

    def emit(self, document: Any) -> None:
        """A JSON document on standard output."""
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")

    def close(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def session_of(context: typer.Context) -> Session:
    """The session of a command's context."""
    found = context.find_root().obj
    assert isinstance(found, Session)
    return found


class HpoGroup(TyperGroup):
    """The command group: global options may stand anywhere, and errors end in one line and exit code 1."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, globals_first(args))

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except HpoError as error:
            fail(ctx.obj, error)
        except TimeoutError as error:
            fail(ctx.obj, HpoError(str(error), remedy="ask again later"))
        except KeyboardInterrupt:
            sys.stderr.write("interrupted\n")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:
            raise typer.Exit(0) from None
        except (typer.Exit, typer.Abort):
            raise
        except Exception as error:
            if type(error).__module__.partition(".")[0] in ("click", "typer"):
                raise  # usage errors: their own message, exit code 2
            fail(ctx.obj, HpoError(f"{type(error).__name__}: {error}", remedy="--debug shows where"))
        finally:
            if isinstance(ctx.obj, Session):
                ctx.obj.close()


def globals_first(args: Iterable[str]) -> list[str]:
    """The arguments with the global options moved to the front, where the group reads them."""
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(args)
    for arg in waiting:
        if arg == "--":
            rest += [arg, *waiting]
        elif arg in FLAGS or (arg.partition("=")[0] in WITH_VALUE and "=" in arg):
            front.append(arg)
        elif arg in WITH_VALUE:
            front += [arg, *(value for value in [next(waiting, None)] if value is not None)]
        else:
            rest.append(arg)
    return front + rest


def fail(session: Session | None, error: HpoError) -> None:
    """Prints the error, its remedy and every broken field to standard error; exits with 1."""
    if session is not None and session.debug:
        traceback.print_exc()
    if session is not None and session.json:
        sys.stderr.write(json.dumps(error.to_problem(), ensure_ascii=False) + "\n")
        raise typer.Exit(1)
    console = Console(stderr=True, highlight=False)
    for line in error_lines(error):
        console.print(line, soft_wrap=True)
    raise typer.Exit(1)


def error_lines(error: HpoError) -> list[Text]:
    """One line for one broken rule; a headline and a line per field for several."""
    if len(error.problems) > 1:
        lines = [Text.assemble(("error: ", "bold red"), f"{len(error.problems)} rules are broken")]
        return lines + [Text(f"  {problem}") for problem in map(readable, error.problems)]
    line = error.problems[0].line if error.problems else None
    if line is not None and not error.problems[0].path.startswith("line "):
        return [Text.assemble(("error: ", "bold red"), f"line {line}, {error}")]
    return [Text.assemble(("error: ", "bold red"), str(error))]


def readable(problem: FieldProblem) -> str:
    """A broken rule; a value that came over the wire is its own representation already."""
    place = problem.path
    if problem.line is not None and not place.startswith("line "):
        place = f"line {problem.line}, {place}" if place else f"line {problem.line}"
    text = f"{place}: {problem.rule}" if place else problem.rule
    if problem.value not in (None, "None"):
        text += f", but got {problem.value}"
    return f"{text}; {problem.remedy}" if problem.remedy else text
