"""`priorrg push`, `card`, `export` and `convert-checkpoint`. Nothing heavy is imported before a command runs."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from .grammar import command, given, output_of, show, show_plan, usage_error
from .options import RUN, LongRunOptions, Model, Overwrite, ShowOptions, packaged


CARD = "Card"


@dataclass
class CardOptions:
    """What a model card says beside what the model itself knows."""

    evaluation: Annotated[
        Path | None,
        typer.Option(
            "--evaluation", exists=True, dir_okay=False, rich_help_panel=CARD,
            help='JSON with the results: {"metrics": {"bleu_4": 0.175}, ...}, or evaluation.json of `priorrg evaluate`.',
        ),
    ] = None  # fmt: skip
    name: Annotated[
        str | None,
        typer.Option("--name", rich_help_panel=CARD, help="Heading. Default: the repository's or folder's name."),
    ] = None
    license: Annotated[
        str, typer.Option("--license", rich_help_panel=CARD, help="Licence of the weights, a Hub identifier.")
    ] = "other"
    base_model: Annotated[
        list[str] | None,
        typer.Option("--base-model", rich_help_panel=CARD, help="Hub id that the weights started from; repeatable."),
    ] = None
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", rich_help_panel=CARD, help="Hub id of training data; repeatable.")
    ] = None
    training_data: Annotated[
        str | None, typer.Option("--training-data", rich_help_panel=CARD, help="One sentence on the training data.")
    ] = None
    training: Annotated[
        str | None, typer.Option("--training", rich_help_panel=CARD, help="One sentence on the training.")
    ] = None
    no_code: Annotated[
        bool, typer.Option("--no-code", rich_help_panel=CARD, help="The repository holds weights without the code.")
    ] = False

    def arguments(self) -> dict[str, Any]:
        """Arguments of `render_model_card`."""
        return given(
            model_name=self.name,
            license=self.license,
            base_models=self.base_model or None,
            datasets=self.dataset or None,
            training_data=self.training_data,
            training=self.training,
        )

    def results(self) -> dict[str, Any] | None:
        """Content of `--evaluation`."""
        if self.evaluation is None:
            return None
        try:
            content = json.loads(self.evaluation.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(f"{self.evaluation} is no valid JSON: {error}") from None
        if not isinstance(content, dict):
            raise ValueError(f"{self.evaluation} must hold a JSON object with the results")
        return content


def push(
    *,
    model: Model,
    repo_id: Annotated[
        str, typer.Argument(metavar="REPO_ID", show_default=False, help="owner/name on the Hub; made if need be.")
    ],
    card: CardOptions,
    visibility: Annotated[
        str | None,
        typer.Option("--visibility", help="private or public, of a new repository. Default: the account's."),
    ] = None,
    pull_request: Annotated[
        bool, typer.Option("--pull-request", help="Open a pull request instead of committing.")
    ] = False,
    revision: Annotated[str | None, typer.Option("--revision", help="Branch to commit to.")] = None,
    message: Annotated[str, typer.Option("--message", help="Commit message.")] = "Upload PriorRG",
    shown: LongRunOptions,
) -> None:
    """Upload a model with its processor, card and code to the Hub.

    Only weights, settings, tokenizer, card and code are uploaded; images, logs and training states never are. Log in first: hf
    auth login.

        priorrg push runs/stage2 me/priorrg-cxr --visibility private --evaluation evaluation/evaluation.json
    """
    if visibility not in (None, "private", "public"):
        raise ValueError(f"--visibility is private or public, got {visibility!r}")
    from ..publishing.hub import load_for_hub, push_to_hub, upload_patterns

    with output_of(shown.quiet, shown.log_file):
        loaded, processor = load_for_hub(packaged(model, "model"))
        if shown.dry_run:
            files = ", ".join(upload_patterns(not card.no_code))
            show_plan(shown.json_output, {"reads": model, "files": files, "writes": f"{repo_id} on the Hub"})
            return
        address = push_to_hub(
            loaded,
            processor,
            repo_id,
            with_code=not card.no_code,
            private=None if visibility is None else visibility == "private",
            create_pr=pull_request,
            revision=revision,
            commit_message=message,
            evaluation=card.results(),
            **card.arguments(),
        )
    show(shown.json_output, {"url": str(address)}, str(address))


def card(
    *,
    model: Model,
    card: CardOptions,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", rich_help_panel=RUN, help="File to write. Default: standard output."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the model card of a folder, with its results.

    priorrg card runs/stage2 --evaluation evaluation/evaluation.json -o README.md
    """
    from ..data.file_writing import write_output
    from ..model.configuration_priorrg import PriorRGConfig
    from ..publishing.model_card import render_model_card

    arguments = {"model_name": Path(model).name, **card.arguments()}
    text = render_model_card(
        PriorRGConfig.from_pretrained(packaged(model, "model")),
        evaluation=card.results(),
        repo_id=model,
        with_code=not card.no_code,
        **arguments,
    )
    if output is None:
        typer.echo(text)
        return
    write_output(output, text, ours=_is_card, overwrite=overwrite)
    typer.echo(f"Wrote {output}.")


def _is_card(path: Path) -> bool:
    """A model card, written by us or edited since."""
    return "\n- priorrg\n" in path.read_text(encoding="utf-8", errors="replace").split("\n---", 1)[0]


def export(
    *,
    model: Model,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", rich_help_panel=RUN, help="Folder for the exported programs.")
    ] = None,
    onnx: Annotated[
        bool, typer.Option("--onnx", help="ONNX files as well (pip install 'priorrg-hf[export]').")
    ] = False,
    overwrite: Overwrite = False,
    shown: LongRunOptions,
) -> None:
    """Export encoder and decoding step as programs that run without this package (torch.export, ONNX).

    priorrg export runs/stage2 -o exported --onnx
    """
    if output is None:
        raise usage_error("no folder given for the programs: pass --output FOLDER (-o)")
    from ..model.modeling_priorrg import PriorRGForReportGeneration
    from ..publishing.export import export_model
    from ..publishing.hub import load_for_hub

    with output_of(shown.quiet, shown.log_file):
        loaded, _ = load_for_hub(packaged(model, "model"))
        if not isinstance(loaded, PriorRGForReportGeneration):
            raise ValueError(f"{type(loaded).__name__} has no decoder; export a PriorRGForReportGeneration.")
        if shown.dry_run:
            show_plan(shown.json_output, {"reads": model, "programs": "encoder, decoding step", "writes": str(output)})
            return
        files = export_model(loaded, output, onnx=onnx, overwrite=overwrite, sources=[model])
    show(shown.json_output, {"files": [str(path) for path in files]}, *map(str, files))


def convert_checkpoint(
    *,
    checkpoint: Annotated[
        Path,
        typer.Argument(
            metavar="CHECKPOINT",
            exists=True,
            dir_okay=False,
            show_default=False,
            help="Published .ckpt file of either stage.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", rich_help_panel=RUN, help="Folder to make; it appears whole or not at all."),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            "--tokenizer",
            help="Folder or Hub id: PriorRG's tokenizer, or plain GPT-2, which gets the seven added tokens.",
        ),
    ] = None,
    view_positions: Annotated[
        Path | None,
        typer.Option(
            "--view-positions",
            exists=True,
            dir_okay=False,
            help="JSON object: view name -> id, as it was trained with.",
        ),
    ] = None,
    model_config: Annotated[
        Path | None,
        typer.Option(
            "--model-config",
            exists=True,
            dir_okay=False,
            help="JSON with configuration fields the weights don't tell (numbers of heads); not needed at published sizes.",
        ),
    ] = None,  # fmt: skip
    shown: ShowOptions,
) -> None:
    """Turn a published PriorRG checkpoint into a folder that from_pretrained and AutoProcessor load.

    priorrg convert-checkpoint finetune.ckpt -o priorrg-mimic --tokenizer gpt2 --view-positions view_position_dict.json
    """
    if output is None or tokenizer is None or view_positions is None:
        needed = (("--output", output), ("--tokenizer", tokenizer), ("--view-positions", view_positions))
        raise usage_error(f"missing: {', '.join(name for name, value in needed if value is None)}")
    from ..publishing.conversion import convert_checkpoint as run

    with output_of(shown.quiet, shown.log_file):
        folder = run(checkpoint, output, packaged(tokenizer, "tokenizer"), view_positions, model_config)
    show(
        shown.json_output,
        {"output": str(folder)},
        f"Wrote {folder}. Load it with AutoProcessor and PriorRG models' from_pretrained.",
    )


def register(app: typer.Typer) -> None:
    """Mounts the commands."""
    for function in (push, card, export, convert_checkpoint):
        app.command(function.__name__.replace("_", "-"), rich_help_panel="Models")(command(function))
