"""`priorrg push`, `priorrg card` and `priorrg export`. Nothing heavy is imported before a command runs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import typer


_MODEL = typer.Argument(..., metavar="MODEL", help="Model folder or Hub id.")
_EVALUATION = typer.Option(
    None, exists=True, dir_okay=False, help='JSON with the results for the card: {"metrics": {"bleu_4": 0.175}, ...}.'
)
_NAME = typer.Option(None, help="Heading of the card. Default: the repository's or folder's name.")
_LICENSE = typer.Option("other", help="Licence of the weights, a Hub identifier. Default: research use.")
_BASE_MODEL = typer.Option(None, "--base-model", help="Hub id that the weights started from; may be repeated.")
_DATASET = typer.Option(None, "--dataset", help="Hub id of training data; may be repeated.")
_TRAINING_DATA = typer.Option(None, help="One sentence on the training data.")
_TRAINING = typer.Option(None, help="One sentence on the training.")


def register(app: typer.Typer) -> None:
    """Mounts the commands."""
    app.command(rich_help_panel="Models")(push)
    app.command(rich_help_panel="Models")(card)
    app.command(rich_help_panel="Models")(export)


def push(
    model: str = _MODEL,
    repo_id: str = typer.Argument(..., metavar="REPO_ID", help="owner/name on the Hub; made if need be."),
    code: bool = typer.Option(True, "--code/--no-code", help="Add the code, so that it loads without this package."),
    private: bool | None = typer.Option(None, "--private/--public", help="Visibility of a new repository."),
    pull_request: bool = typer.Option(False, help="Open a pull request instead of committing."),
    revision: str | None = typer.Option(None, help="Branch to commit to."),
    message: str = typer.Option("Upload PriorRG", help="Commit message."),
    evaluation: Path | None = _EVALUATION,
    name: str | None = _NAME,
    license: str = _LICENSE,
    base_model: list[str] | None = _BASE_MODEL,
    dataset: list[str] | None = _DATASET,
    training_data: str | None = _TRAINING_DATA,
    training: str | None = _TRAINING,
) -> None:
    """Upload a model with its processor, card and code to the Hub.

    Only weights, settings, tokenizer, card and code are uploaded; images, logs and training states never are. Log in first: hf
    auth login.

    Example: priorrg push runs/finetune/best me/priorrg-cxr --private --evaluation evaluation.json
    """
    from ..publishing.hub import load_for_hub, push_to_hub

    with _clear_errors():
        loaded, processor = load_for_hub(model)
        address = push_to_hub(
            loaded,
            processor,
            repo_id,
            with_code=code,
            private=private,
            create_pr=pull_request,
            revision=revision,
            commit_message=message,
            evaluation=_read_json(evaluation),
            **_card_arguments(name, license, base_model, dataset, training_data, training),
        )
    typer.echo(address)


def card(
    model: str = _MODEL,
    out: Path | None = typer.Option(None, "--out", "-o", help="File to write. Default: standard output."),
    code: bool = typer.Option(True, "--code/--no-code", help="Whether the repository holds the code."),
    evaluation: Path | None = _EVALUATION,
    name: str | None = _NAME,
    license: str = _LICENSE,
    base_model: list[str] | None = _BASE_MODEL,
    dataset: list[str] | None = _DATASET,
    training_data: str | None = _TRAINING_DATA,
    training: str | None = _TRAINING,
) -> None:
    """Write the model card of a folder, with its results.

    Example: priorrg card runs/finetune/best --evaluation evaluation.json --out README.md
    """
    from ..model.configuration_priorrg import PriorRGConfig
    from ..publishing.model_card import render_model_card

    with _clear_errors():
        text = render_model_card(
            PriorRGConfig.from_pretrained(model),
            evaluation=_read_json(evaluation),
            repo_id=model,
            with_code=code,
            **_card_arguments(name or Path(model).name, license, base_model, dataset, training_data, training),
        )
        if out is None:
            typer.echo(text)
            return
        _write_whole(out, text)
    typer.echo(f"Wrote {out}.")


def export(
    model: str = _MODEL,
    out: Path = typer.Argument(..., metavar="OUT", help="Folder for the exported programs."),
    onnx: bool = typer.Option(False, "--onnx", help="ONNX files as well (pip install priorrg-hf[export])."),
) -> None:
    """Export encoder and decoding step as programs that run without this package (torch.export, ONNX).

    Example: priorrg export runs/finetune/best exported --onnx
    """
    from ..publishing.export import export_model
    from ..publishing.hub import load_for_hub

    with _clear_errors():
        loaded, _ = load_for_hub(model)
        files = export_model(loaded, out, onnx=onnx)
    for path in files:
        typer.echo(str(path))


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Expected failures as one line and exit code 1."""
    try:
        yield
    except (OSError, ValueError, ImportError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise typer.Exit(1) from error


def _read_json(path: Path | None) -> dict[str, Any] | None:
    if path is None:
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold a JSON object with the results.")
    return content


def _card_arguments(name, license, base_model, dataset, training_data, training) -> dict[str, Any]:
    arguments = {
        "model_name": name,
        "license": license,
        "base_models": base_model or None,
        "datasets": dataset or None,
        "training_data": training_data,
        "training": training,
    }
    return {key: value for key, value in arguments.items() if value is not None}


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
