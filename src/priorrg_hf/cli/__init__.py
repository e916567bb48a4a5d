"""The `priorrg` command. Thin: each subcommand calls one public function, imported only when it runs.

Keeping the imports inside the functions lets `priorrg --help` answer without loading torch.
"""

from pathlib import Path

import typer

from ..version import __version__
from . import data, evaluation, generation, phantom, publishing, training


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


training.register(app)
data.register(app)
phantom.register(app)
publishing.register(app)
generation.register(app)
evaluation.register(app)


@app.command(rich_help_panel="Models")
def convert(
    checkpoint: Path = typer.Argument(..., exists=True, dir_okay=False, help="Published .ckpt file of either stage."),
    out: Path = typer.Argument(..., help="Folder to make; it appears whole or not at all."),
    tokenizer: str = typer.Option(
        ..., help="Folder or Hub id: PriorRG's tokenizer, or plain GPT-2, which gets the seven added tokens."
    ),
    view_positions: Path = typer.Option(
        ..., exists=True, dir_okay=False, help="JSON object: view name -> id, as the checkpoint was trained with."
    ),
    config: Path | None = typer.Option(
        None,
        exists=True,
        dir_okay=False,
        help="JSON with configuration fields the weights don't tell (numbers of heads); not needed at published sizes.",
    ),
) -> None:
    """Turn a published PriorRG checkpoint into a folder that from_pretrained and AutoProcessor load.

    Example: priorrg convert finetune.ckpt priorrg-mimic --tokenizer gpt2 --view-positions view_position_dict.json
    """
    from ..publishing.conversion import ConversionError, convert_checkpoint

    try:
        folder = convert_checkpoint(checkpoint, out, tokenizer, view_positions, config)
    except (ConversionError, OSError, ValueError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"Wrote {folder}. Load it with AutoProcessor and PriorRG models' from_pretrained.")


def main() -> None:
    """Entry point of the console script."""
    app()
