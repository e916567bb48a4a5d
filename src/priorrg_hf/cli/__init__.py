"""The `priorrg` command, one file a group of subcommands. Thin: each calls a public function of a room and shows its result.

May use every room, and imports them only when a command runs, so that `priorrg --help` answers without loading torch.
"""

import typer

from ..version import __version__
from . import data, evaluation, generation, info, phantom, publishing, reading, training
from .grammar import Commands


app = typer.Typer(
    name="priorrg",
    cls=Commands,
    help="Chest X-ray reports from the current image, the prior image and the clinical context. "
    "Research use only, not for clinical decisions.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(value: bool) -> None:
    if value:
        typer.echo(f"priorrg_hf {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    pass


for group in (training, data, generation, evaluation, reading, publishing, phantom, info):
    group.register(app)


def main() -> None:
    """Entry point of the console script."""
    app()


__all__ = ["app", "main"]
