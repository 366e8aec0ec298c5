"""The `kaito` program: which verbs there are, and how errors end it.

A verb is imported when it is called; `kaito --help` reads the first line of its docstring from the source
file, so that no list of texts has to be kept and nothing heavy is loaded. The verbs of other packages come
through the entry-point group ``kaito.commands``: each entry point is named like its verb and points to a
function as Typer takes it (annotated parameters, a docstring), or to a `typer.Typer` for a group of verbs,
whose help is then the docstring of its module.

Exit codes: 0 done, 1 the question was answered with "no", 2 bad usage or input. Expected errors (`Problem`,
the errors of the store and of the import, a file that cannot be read or written) are one line on stderr; with
``-v`` before the verb their trace follows. Any other exception is a defect and keeps its trace.
"""

from __future__ import annotations

import ast
import io
import os
import sys
import traceback
from collections.abc import Sequence
from importlib import import_module, metadata
from importlib.machinery import PathFinder
from importlib.util import find_spec
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from kaito.problems import Problem

GROUP = "kaito.commands"
"""The entry-point group of verbs that other packages contribute."""

VERBS = {
    "events": "kaito.commands.reading:events",
    "status": "kaito.commands.reading:status",
    "why": "kaito.commands.reading:explain",
    "timeline": "kaito.commands.timeline:timeline",
    "log": "kaito.commands.log:app",
    "validate": "kaito.commands.validate:validate",
    "crds": "kaito.commands.crds:crds",
    "diagram": "kaito.commands.diagram:diagram",
    "operator": "kaito.commands.operator:operator",
    "provisioner": "kaito.commands.provisioner:provisioner",
}
"""Where each of our own verbs is, in the order of the help."""

BROKEN_PIPE = 141
"""What a shell reports for a filter whose reader went away: 128 and SIGPIPE."""

INTERRUPTED = 130


class Verbs(TyperGroup):
    """A group that knows its verbs by name and loads one when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(targets())

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        target = targets().get(cmd_name)
        return None if target is None else _load(cmd_name, target)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        rows = [(name, summary(target)) for name, target in targets().items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        # The inherited one looks for names alike among commands that are loaded already.
        if args[0] not in targets():
            known = ", ".join(targets())
            raise Problem(f"there is no verb {args[0]!r}; expected one of {known}")
        return super().resolve_command(ctx, args)


class Verb(TyperCommand):
    """A verb whose boolean options may also be written as Go programs take them: ``--webhook=false``."""

    def parse_args(self, ctx: Any, args: list[str]) -> Any:
        spellings: dict[str, str] = {}
        for option in self.params:
            if option.opts and getattr(option, "is_bool_flag", False) and option.secondary_opts:
                spellings |= {f"{name}=true": name for name in option.opts}
                spellings |= {f"{name}=false": option.secondary_opts[0] for name in option.opts}
        return super().parse_args(ctx, [spellings.get(arg, arg) for arg in args])


def targets() -> dict[str, str]:
    """Every verb's name and the ``module:attribute`` it is at; those of other packages come first."""
    contributed = {point.name: point.value for point in metadata.entry_points(group=GROUP)}
    return {**dict(sorted(contributed.items())), **VERBS}


def summary(target: str) -> str:
    """The first line of a verb's docstring, read from the source; empty when it cannot be found."""
    module, _, attribute = target.partition(":")
    source = _source(module)
    if source is None:
        return ""
    tree = ast.parse(source.read_bytes())
    functions = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == attribute]
    documented = ast.get_docstring(functions[0] if functions else tree) or ""
    return documented.partition("\n")[0]


def _source(module: str) -> Path | None:
    """The file of a module, found without importing it or its packages."""
    first, *rest = module.split(".")
    spec = find_spec(first)
    name = first
    for part in rest:
        if spec is None or spec.submodule_search_locations is None:
            return None
        name = f"{name}.{part}"
        spec = PathFinder.find_spec(name, spec.submodule_search_locations)
    return Path(spec.origin) if spec is not None and spec.origin else None


def _load(name: str, target: str) -> Any:
    module, _, attribute = target.partition(":")
    found = getattr(import_module(module), attribute)
    if isinstance(found, typer.Typer):
        app, help_ = found, summary(target)
    else:
        app, help_ = typer.Typer(rich_markup_mode=None, add_completion=False), None
        app.command(cls=Verb)(found)
    command = typer.main.get_command(app)
    command.name = name
    command.help = help_ or command.help
    return command


app = typer.Typer(
    cls=Verbs,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"kaito {metadata.version('kaito-operator')}")
        raise typer.Exit


@app.callback()
def kaito(
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit."),
    ] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show the trace of an error.")] = False,
) -> None:
    """GPU workspaces on Kubernetes: simulate them, and ask the logs what happened and why."""


def main() -> None:
    """The console script."""
    for stream in (sys.stdout, sys.stderr):
        # An arrow or a dash must not end the program where the terminal knows ASCII alone.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    arguments = list(arguments) or ["--help"]
    before_verb = takewhile(lambda argument: argument.startswith("-"), arguments)
    verbose = not {"-v", "--verbose"}.isdisjoint(before_verb)
    try:
        _invoke(arguments)
        sys.stdout.flush()
    except typer.Exit as exit_:
        return exit_.exit_code
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except BrokenPipeError:
        return _quiet()
    except Exception as error:
        lines = _expected(error)
        if lines is None:
            raise
        if verbose:
            traceback.print_exception(error)
        for line in lines:
            print(f"error: {line}", file=sys.stderr)
        return 2
    return 0


def _invoke(arguments: list[str]) -> None:
    command = typer.main.get_command(app)
    with command.make_context("kaito", arguments) as context:
        command.invoke(context)


def _quiet() -> int:
    """The reader of our output went away: nothing more is written, nor flushed when the program ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    return BROKEN_PIPE


def _expected(error: Exception) -> list[str] | None:
    """The lines to print for an error that the user can put right, one a fault; None for a defect."""
    if isinstance(error, typer.TyperException):
        context = getattr(error, "ctx", None)
        hint = f" (see {context.command_path} --help)" if context is not None else ""
        return [" ".join(error.format_message().split()) + hint]
    if isinstance(error, Problem):
        return [" ".join(line.split()) for line in str(error).splitlines()]
    if isinstance(error, OSError) and error.filename is not None:
        return [f"{error.filename}: {error.strerror}"]
    known = _known_errors()
    return [" ".join(str(error).split())] if isinstance(error, known) else None


def _known_errors() -> tuple[type[Exception], ...]:
    """The expected errors of packages that this module does not load: whoever raised one has."""
    names = (("store.errors", "StoreError"), ("kaito.importing.errors", "ImportRefused"))
    return tuple(getattr(sys.modules[module], name) for module, name in names if module in sys.modules)
