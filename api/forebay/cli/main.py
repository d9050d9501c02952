"""The application: its options, and how errors become messages and exit statuses.

Exit status: 0 success, 1 something failed, 2 wrong usage or settings, 130 interrupted.
"""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
from collections.abc import Sequence
from typing import Annotated, Any, NoReturn

import typer
import typer.main

from forebay._version import __version__
from forebay.cli.commands import COMMANDS
from forebay.cli.lazy import LazyGroup
from forebay.cli.output import complain, say, write_as
from forebay.cli.shared_options import LOG_FORMAT, State, settings
from forebay.cli.streams import LostOutputError, flush_result, give_up_stdout, mend_streams
from forebay.errors import ForebayError

# The base class of Typer's usage errors; its module depends on Typer's version.
_UsageError: type[Any] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")


class _Group(LazyGroup):
    lazy = COMMANDS

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            flush_result()
        except BrokenPipeError:
            # The reader of our output has closed it, as `head` does.
            give_up_stdout()
            raise typer.Exit(128 + signal.SIGPIPE) from None
        except LostOutputError as error:
            give_up_stdout()
            complain(f"the result cannot be written to stdout: {error}; send it to another place")
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            say("interrupted")
            raise typer.Exit(130) from None
        return result


_EPILOG = """
[bold]Exit status:[/] 0 success, 1 something failed, 2 wrong usage or settings, 130 interrupted.
"""

app = typer.Typer(
    name="forebay",
    cls=_Group,
    help="Keep cloud media right in front of your GPUs: a cache of bounded size, filled by many workers.",
    epilog=_EPILOG,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
    invoke_without_command=True,
    pretty_exceptions_enable=False,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"forebay {__version__}")
        raise typer.Exit


@app.callback()
@settings(everything=True)
def root(
    ctx: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", metavar="", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Without a command: help."""
    if ctx.invoked_subcommand is None:
        print(ctx.get_help())
        raise typer.Exit(2)


def main() -> NoReturn:
    """Run the command that ``sys.argv`` asks for, and exit."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    mend_streams()
    # Batch systems end a job by SIGTERM. As an interrupt, it releases claims and reservations at once.
    signal.signal(signal.SIGTERM, interrupt)
    # Modules make many objects that stay: to look through them while others load, and once more at the end,
    # took 0.1 of the 0.63 s of CPU of a listing of 60,000 objects, and 0.3 s of its time.
    gc.set_threshold(50_000, 10, 10)
    atexit.register(gc.freeze)
    sys.exit(run())


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: by default, those of ``sys.argv``.

    Returns:
        the exit status.
    """
    state = State()
    # A usage error is reported before the options, --log-format among them, are read.
    write_as(os.environ.get(LOG_FORMAT, ""))
    try:
        command = typer.main.get_command(app)
        return command.main(arguments, prog_name="forebay", standalone_mode=False, obj=state) or 0
    except ForebayError as error:
        complain(str(error))
        return error.exit_status
    except _UsageError as error:
        complain(error.format_message())
        path = error.ctx.command_path if error.ctx else "forebay"
        say(f"`{path} --help` shows how it is used")
        return 2
    except typer.Abort:
        say("nothing was done")
        return 130
    except Exception as error:
        if state.verbose:
            raise
        complain(f"{type(error).__name__}: {error}")
        say("This is a bug in Forebay; with --verbose the command shows where it happened. Please report it.")
        return 1
