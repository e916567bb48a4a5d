"""The `priorrg` command. Thin: each subcommand calls one public function, imported only when it runs.

Keeping the imports inside the functions lets `priorrg --help` answer without loading torch.
"""

import typer

from . import cli_training
from .version import __version__


app = typer.Typer(
    name="priorrg",
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


cli_training.register(app)


def main() -> None:
    """Entry point of the console script."""
    app()


if __name__ == "__main__":
    main()
