"""What all commands share: errors and exit codes, options that travel in groups, modes, dry runs, JSON, quiet, log files.

Only typer is imported here, so that `priorrg --help` answers at once.

- Errors are one line, `error: ...`, on standard error. Exit code 2: what was asked for cannot be done (a wrong option, file, table,
  model, a missing extra). Exit code 1: the run failed (a full disk, a loss that is not finite), or `data check` found faults.
- Options that several commands have are declared once, as fields of the dataclasses in `options.py`, and spread over a command's
  signature by [`command`].
- A command with several ways to be called declares them as [`Mode`]s: an option that the chosen way does not use is refused.
"""

import contextlib
import dataclasses
import difflib
import errno
import inspect
import json
import logging
import os
import sys
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer
from typer.core import TyperCommand, TyperGroup


if TYPE_CHECKING:
    from click import ClickException, UsageError
else:
    # typer carries a copy of click or uses click itself, by version; its own exception leads to either's.
    UsageError = typer.BadParameter.__base__
    ClickException = UsageError.__base__

# The disk, not the user.
_FAILURES = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ENOMEM, errno.EMFILE, errno.ENFILE}
TRACEBACK_VARIABLE = "PRIORRG_TRACEBACK"


def exit_code_of(error: BaseException) -> int:
    """2 where the call is at fault, 1 where the run failed."""
    if isinstance(error, OSError):
        return 1 if error.errno in _FAILURES else 2
    return 2 if isinstance(error, (ValueError, ImportError)) else 1


def message_of(error: BaseException) -> str:
    """The line for the user."""
    text = str(error).strip()
    if isinstance(error, (ValueError, ImportError, OSError, RuntimeError, ArithmeticError)) and text:
        return text
    return (
        f"unexpected {type(error).__name__}{': ' + text if text else ''} ({TRACEBACK_VARIABLE}=1 shows where; please report it "
        "with the output of `priorrg info`)"
    )


def tell_error(message: str) -> None:
    """The one format of errors."""
    typer.secho(f"error: {message}", err=True, fg="red")


def warn(message: str) -> None:
    """A line on standard error about something that was left out or assumed."""
    typer.secho(message, err=True, fg="yellow")


def usage_error(message: str, context: typer.Context | None = None) -> Exception:
    """An error of the call: shown with where the help is."""
    # the context is typer's own where typer carries a copy of click
    return UsageError(message, cast(Any, context))


def _words_of(error: ClickException) -> str:
    """A usage error as a sentence that ends with the remedy."""
    possibilities = getattr(error, "possibilities", None)
    if possibilities:  # a misspelt option
        name = getattr(error, "option_name", "")
        near = difflib.get_close_matches(name, possibilities, n=1, cutoff=0.0)[0]
        return f"No such option: {name}. Did you mean {near}?"
    words = error.format_message()
    if words.startswith("Got unexpected extra argument"):
        words += ". Studies are given with --data/-d, what is written with --output/-o"
    context = getattr(error, "ctx", None)
    if words.startswith("No such command") and "Did you mean" not in words and context is not None:
        asked = words.split("'")[1]
        longer = [name for name in context.command.list_commands(context) if name.startswith(asked)]
        words += f" Did you mean {longer[0]!r}?" if longer else ""
    return words


class Commands(TyperGroup):
    """The group of commands: whatever a command raises becomes the one error format and an exit code."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        try:
            code = super().main(
                args=args,
                prog_name=prog_name or "priorrg",
                complete_var=complete_var,
                standalone_mode=False,
                windows_expand_args=windows_expand_args,
                **extra,
            )
        except ClickException as error:
            context = getattr(error, "ctx", None)
            tell_error(_words_of(error))
            if isinstance(error, UsageError) and context is not None:
                typer.echo(f"See: {context.command_path} --help", err=True)
            code = error.exit_code if error.exit_code > 1 else 2
        except typer.Abort:
            tell_error("stopped")
            code = 130
        except Exception as error:
            if os.environ.get(TRACEBACK_VARIABLE):
                raise
            tell_error(message_of(error))
            code = exit_code_of(error)
        if not standalone_mode:
            return code
        sys.exit(code if isinstance(code, int) else 0)


# ---- groups of options ----


def command(function: Callable) -> Callable:
    """A function for typer, in which each parameter annotated with a dataclass is spread into the dataclass's fields.

    The fields are annotated like parameters of a command (`Annotated[str, typer.Option(...)]`). `function` receives the dataclasses.
    """
    hints = typing.get_type_hints(function, include_extras=True)
    groups: dict[str, tuple[type, list[str]]] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function).parameters.values():
        hint = hints[parameter.name]
        if not (isinstance(hint, type) and dataclasses.is_dataclass(hint)):
            parameters.append(parameter.replace(annotation=hint, kind=inspect.Parameter.KEYWORD_ONLY))
            continue
        inner = typing.get_type_hints(hint, include_extras=True)
        groups[parameter.name] = (hint, [entry.name for entry in dataclasses.fields(hint)])
        for entry in dataclasses.fields(hint):
            default = entry.default_factory() if callable(entry.default_factory) else entry.default
            parameters.append(
                inspect.Parameter(
                    entry.name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=inner[entry.name]
                )
            )

    def run(**values):
        for name, (cls, names) in groups.items():
            values[name] = cls(**{entry: values.pop(entry) for entry in names})
        return function(**values)

    run.__name__, run.__doc__ = function.__name__, function.__doc__
    setattr(run, "__signature__", inspect.Signature(parameters))  # noqa: B010 (no attribute that functions declare)
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return run


@dataclass
class Mode:
    """One of several ways to call a command.

    Args:
        name (`str`): how messages call it.
        unused (mapping): parameter that this way does not use -> why, as the end of a sentence.
    """

    name: str
    unused: Mapping[str, str] = field(default_factory=dict)


def refuse_unused(context: typer.Context, mode: Mode) -> None:
    """Raises for an option on the command line that the mode does not use: ignored, it would promise what does not happen."""
    for parameter in context.command.params:
        given = context.get_parameter_source(parameter.name)
        if parameter.name in mode.unused and given is not None and given.name == "COMMANDLINE":
            option = max(parameter.opts, key=len) if parameter.param_type_name == "option" else parameter.name.upper()
            raise usage_error(f"{option} is not used with {mode.name}: {mode.unused[parameter.name]}", context)


def pairs(values: list[str] | None, option: str, form: str) -> dict[str, str]:
    """`NAME=VALUE` texts as a mapping, e.g. of `--column findings=REPORT_TEXT`."""
    result: dict[str, str] = {}
    for text in values or []:
        name, separator, value = text.partition("=")
        if not separator or not name.strip() or not value:
            raise usage_error(f"{option} {text!r} is not of the form {form}")
        if name.strip() in result:
            raise usage_error(f"{option} names {name.strip()!r} twice")
        result[name.strip()] = value
    return result


def given(**values: Any) -> dict[str, Any]:
    """The values that are not `None`: what the user chose, so that the rest keeps the library's defaults."""
    return {name: value for name, value in values.items() if value is not None}


# ---- results ----


def show(as_json: bool, result: Mapping[str, Any], *lines: str) -> None:
    """A command's result: one JSON object on standard output, or lines for people."""
    if as_json:
        typer.echo(json.dumps(result, ensure_ascii=False, default=str, indent=1))
        return
    for line in lines:
        typer.echo(line)


def show_plan(as_json: bool, plan: Mapping[str, Any]) -> None:
    """What a dry run found. `seconds` is written as a time for people; `None` is left out."""
    plan = {"dry_run": True, **{name: value for name, value in plan.items() if value is not None}}
    lines = ["Dry run: nothing was written."]
    for name, value in plan.items():
        if name == "dry_run":
            continue
        if isinstance(value, Mapping):
            value = ", ".join(f"{key} {entry}" for key, entry in value.items())
        if name == "seconds":
            name, value = "takes about", duration(value)
        lines.append(f"  {name.replace('_', ' '):<14} {value}")
    show(as_json, plan, *lines)


def duration(seconds: float) -> str:
    """`42 s`, `12 min`, `3.4 h`, `2.1 days`."""
    for size, unit in ((172800, 86400), (5400, 3600), (90, 60)):
        if seconds >= size:
            number = seconds / unit
            return f"{number:.1f} {'days' if unit == 86400 else 'h'}" if unit > 60 else f"{number:.0f} min"
    return f"{max(seconds, 1):.0f} s"


def _loading_bars(shown: bool) -> bool:
    """Switches transformers' bar for reading weights from disk, a second or two of work; returns whether it was on.

    The public switch turns the Hub's download bars off as well, and these are wanted. Checked on 5.18 to 5.24.
    """
    from transformers.utils import logging as transformers_logging

    before = getattr(transformers_logging, "_tqdm_active", True)
    transformers_logging._tqdm_active = shown
    return before


def _table_bars(shown: bool) -> bool:
    """Switches the bars of `datasets`, of which one command would draw four; returns whether they were on."""
    name = "HF_DATASETS_DISABLE_PROGRESS_BARS"
    if "datasets" not in sys.modules:  # importing it takes a second, and not every command needs it
        before = os.environ.get(name) != "1"
        if shown:
            os.environ.pop(name, None)
        else:
            os.environ[name] = "1"
        return before
    import datasets

    before = not datasets.are_progress_bars_disabled()
    if before and not shown:
        datasets.disable_progress_bars()
    elif shown and not before and os.environ.get(name) is None:
        datasets.enable_progress_bars()
    return before


@contextlib.contextmanager
def output_of(quiet: bool, log_file: Path | None) -> Iterator[None]:
    """While it is open, messages of the package and of transformers also go to `log_file`, and `quiet` keeps warnings off the screen.

    Handlers and levels are put back afterwards, because one process may run several commands.
    """
    loggers = [logging.getLogger(name) for name in ("priorrg_hf", "transformers", "datasets")]
    before = [(logger, logger.level, logger.handlers[:], logger.propagate) for logger in loggers]
    handler = None
    bars = _loading_bars(shown=False), _table_bars(shown=False)
    try:
        if log_file is not None:
            log_file.parent.mkdir(parents=True, exist_ok=True)
            handler = logging.FileHandler(log_file, encoding="utf-8")
            handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        for logger in loggers:
            if quiet:
                logger.handlers = [logging.NullHandler()]
                logger.propagate = False
            if handler is not None:
                logger.addHandler(handler)
                if logger.name == "priorrg_hf":  # the others keep their levels, and their own way to the screen
                    logger.setLevel(logging.INFO)
                    if not quiet:
                        shown = logging.StreamHandler()
                        shown.setLevel(logging.WARNING)
                        logger.addHandler(shown)
        yield
    finally:
        for logger, level, handlers, propagate in before:
            logger.setLevel(level)
            logger.handlers, logger.propagate = handlers, propagate
        if handler is not None:
            handler.close()
        _loading_bars(shown=bars[0])
        _table_bars(shown=bars[1])


__all__ = [
    "Commands",
    "Mode",
    "TyperCommand",
    "command",
    "duration",
    "exit_code_of",
    "given",
    "message_of",
    "output_of",
    "pairs",
    "refuse_unused",
    "show",
    "show_plan",
    "tell_error",
    "usage_error",
    "warn",
]
