"""`priorrg evaluate`, `sweep`, `ablate` and `retrieve`. Heavy imports happen when they run."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .grammar import Mode, command, given, output_of, pairs, refuse_unused, show, show_plan, warn
from .options import (
    RUN,
    SCORES,
    BulkOptions,
    ComputeOptions,
    DecodingOptions,
    LongRunOptions,
    Model,
    OnMismatch,
    Overwrite,
    ScoreOptions,
    SelectionOptions,
    SourceOptions,
    complete,
    packaged,
)


PANEL = "Evaluation"
REPORT_FILES = (".csv", ".tsv", ".json", ".jsonl")

_AS_IT_IS = "a file of reports is scored as it is"
REPORTS = Mode(
    "a file of reports",
    dict.fromkeys(
        ("data", "format", "image_root", "reports", "all_items", "revision", "date_order", "allow_outside_image_root",
         "allow_urls", "allow_private_urls", "split", "views", "limit", "batch_size", "num_workers",
         "device", "dtype", "num_beams", "max_length", "strict", "no_resume", "on_mismatch"),
        _AS_IT_IS,
    ),
)  # fmt: skip
MODEL = Mode("a model", {"processor": "a model brings its own"})
# Retrieval without a balanced set has no use for classes to balance.
ALL_STUDIES = Mode("all studies (no --per-class)", {"classes": "it names the classes of a balanced set (--per-class)"})
BALANCED = Mode("--per-class")
MODES = {"evaluate": (MODEL, REPORTS), "retrieve": (ALL_STUDIES, BALANCED)}

Questions = ("prior", "context", "prior-view", "prior-gap", "swapped-context", "context-noise")
Scorers = ("chexbert", "radgraph", "ratescore", "bertscore", "radcliq", "green")


def _metrics(meteor: bool, meteor_nltk: bool = False) -> tuple[str, ...]:
    return ("bleu", "rouge_l", "cider", *(["meteor"] if meteor else []), *(["meteor_nltk"] if meteor_nltk else []))


def _tell_left_out(skipped: dict[str, str]) -> None:
    for name, reason in skipped.items():
        warn(f"left out: {name}: {reason}")


def evaluate(
    context: typer.Context,
    *,
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            show_default=False,
            help="Model folder or Hub id; or a file of reports (.jsonl, .json, .csv, .tsv).",
        ),
    ],  # fmt: skip
    source: SourceOptions,
    selection: SelectionOptions,
    compute: ComputeOptions,
    decoding: DecodingOptions,
    against: Annotated[
        Path | None,
        typer.Option(
            "--against", rich_help_panel=SCORES, help="Reports of another system on the same studies: paired test."
        ),
    ] = None,
    clinical: Annotated[
        list[str] | None,
        typer.Option(
            "--clinical",
            metavar="NAME",
            rich_help_panel=SCORES,
            autocompletion=complete(*Scorers),
            help=f"Clinical scorer, repeatable: {', '.join(Scorers)}.",
        ),
    ] = None,  # fmt: skip
    weights: Annotated[
        list[str] | None,
        typer.Option(
            "--weights",
            metavar="REPOSITORY=FOLDER",
            rich_help_panel=SCORES,
            help="Local weights of a clinical scorer.",
        ),
    ] = None,
    processor: Annotated[
        str | None,
        typer.Option(
            "--processor",
            rich_help_panel=SCORES,
            help="For a file of reports: folder or Hub id of the processor that cuts references as published.",
        ),
    ] = None,  # fmt: skip
    no_meteor: Annotated[
        bool, typer.Option("--no-meteor", rich_help_panel=SCORES, help="Leave METEOR 1.5 (Java) out.")
    ] = False,
    meteor_nltk: Annotated[
        bool,
        typer.Option(
            "--meteor-nltk",
            rich_help_panel=SCORES,
            help="NLTK's METEOR too, as meteor_nltk: another definition, not comparable with METEOR 1.5.",
        ),
    ] = False,  # fmt: skip
    confidence: Annotated[
        float, typer.Option("--confidence", min=0.5, max=0.999, rich_help_panel=SCORES, help="Of the intervals.")
    ] = 0.95,
    scores: ScoreOptions,
    no_plots: Annotated[bool, typer.Option("--no-plots", rich_help_panel=RUN, help="Draw no plots.")] = False,
    name: Annotated[
        str | None, typer.Option("--name", rich_help_panel=RUN, help="Of the system, in headings.")
    ] = None,
    output: Annotated[Path, typer.Option("--output", "-o", rich_help_panel=RUN, help="Folder to write.")] = Path(
        "evaluation"
    ),
    bulk: BulkOptions,
    shown: LongRunOptions,
) -> None:
    """Score a model, or a file of reports, into an evaluation card. Research use only, not for clinical decisions.

        priorrg evaluate runs/stage2 -d studies.csv -o evaluation

        priorrg evaluate reports.csv -c prediction=OUTPUT -c reference=FINDINGS -o evaluation

    Writes evaluation.json, evaluation.md (the card), plots and worst_studies.html (the twenty worst). Every score has a bootstrap
    interval, or the card says why not. References are scored in full and, as published, cut at the model's report length.

    Columns of a file that make the card richer: example_id, study_id, patient_id, has_prior, has_context, view_position, days_before.
    """
    is_file = Path(model).is_file()
    if not is_file and Path(model).suffix.lower() in REPORT_FILES:
        raise ValueError(f"there is no file {model}")
    refuse_unused(context, REPORTS if is_file else MODEL)
    scoring: dict[str, Any] = {
        "metrics": _metrics(not no_meteor, meteor_nltk), "clinical": tuple(clinical or ()), "replicates": scores.replicates,
        "confidence": confidence, "seed": scores.seed, "plots": not no_plots, "name": name,
        "weights": pairs(weights, "--weights", "REPOSITORY=FOLDER"),
    }  # fmt: skip
    from ..evaluation.evaluate import evaluate_file, evaluate_model

    with output_of(shown.quiet, shown.log_file):
        if is_file:
            if shown.dry_run:
                from ..evaluation.report_file import read_reports

                rows = read_reports(model, columns=source.columns)
                show_plan(shown.json_output, {"reads": model, "reports": len(rows), "writes": str(output)})
                return
            result = evaluate_file(
                model,
                output,
                columns=source.columns,
                processor=processor,
                against=against,
                overwrite=bulk.overwrite,
                **scoring,
            )
        else:
            data = source.require()
            if shown.dry_run:
                _plan(shown, "evaluate", model, data, source, selection, compute, decoding, output)
                return
            result = evaluate_model(
                packaged(model, "model"), data, output, reading=source.reading(), **selection.selection(),
                batch_size=compute.batch_size, num_workers=compute.num_workers, device=compute.device, dtype=compute.dtype,
                strict=bulk.strict, resume=not bulk.no_resume, on_mismatch=bulk.on_mismatch, overwrite=bulk.overwrite,
                generation=decoding.generation(), against=against,
                progress=not shown.quiet, **scoring,
            )  # fmt: skip
    for note in result.result["notes"] if not shown.quiet else ():
        warn(note)
    lines = []
    for protocol, values in result.result["protocols"].items():
        chosen = ", ".join(
            f"{metric} {values[metric]['value']:.3f}"
            for metric in ("bleu_1", "bleu_4", "rouge_l", "meteor", "cider", "change_f1")
            if values.get(metric) and values[metric]["value"] is not None
        )
        lines.append(f"{protocol} references: {chosen}")
    card = result.folder / "evaluation.md"
    show(shown.json_output, result.result, *lines, f"{result.result['num_examples']} reports; card: {card}")


def _plan(shown, what, model, data, source, selection, compute, decoding, output, settings: int = 1) -> None:
    from ..evaluation.dry_run import plan_reports
    from ..evaluation.evaluate import load_evaluation_data
    from ..evaluation.loading import load_for_generation

    studies = load_evaluation_data(data, reading=source.reading(), **selection.selection())
    loaded, processor = load_for_generation(packaged(model, "model"), device=compute.device, dtype=compute.dtype)
    plan = plan_reports(
        loaded, processor, studies.examples, None, batch_size=compute.batch_size, **decoding.generation()
    )
    plan["seconds"] *= settings
    more = {"settings": settings} if settings > 1 else {}
    show_plan(shown.json_output, {"reads": data, **plan, **more, "writes": str(output)})


def sweep(
    *,
    model: Model,
    source: SourceOptions,
    selection: SelectionOptions,
    compute: ComputeOptions,
    decoding: DecodingOptions,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only",
            metavar="NAME",
            rich_help_panel=SCORES,
            autocompletion=complete(*Questions),
            help=f"{', '.join(Questions)}; repeatable. Default: all.",
        ),
    ] = None,  # fmt: skip
    steps: Annotated[
        int, typer.Option("--steps", min=2, rich_help_panel=SCORES, help="Points from 0 to 100 % of an availability.")
    ] = 5,
    meteor: Annotated[
        bool, typer.Option("--meteor", rich_help_panel=SCORES, help="METEOR 1.5 too (Java; seconds a setting).")
    ] = False,
    scores: ScoreOptions,
    output: Annotated[Path, typer.Option("--output", "-o", rich_help_panel=RUN, help="Folder to write.")] = Path(
        "sweep"
    ),
    bulk: BulkOptions,
    shown: LongRunOptions,
) -> None:
    """What the model loses when inputs are missing or wrong: one table and one plot for each question.

    Prior and context at 0..100 % availability, a prior of another view, priors at growing time gaps, the context of another patient,
    noise in the context. Interrupted runs go on where they stopped.

        priorrg sweep runs/stage2 -d studies.csv -o sweep
    """
    data = source.require()
    from ..evaluation.sweep import QUESTIONS, run_sweep

    unknown = sorted(set(only or ()) - set(QUESTIONS))
    if unknown:
        raise ValueError(f"unknown questions {unknown}; there are {', '.join(QUESTIONS)}")
    with output_of(shown.quiet, shown.log_file):
        if shown.dry_run:
            _plan(
                shown,
                "sweep",
                model,
                data,
                source,
                selection,
                compute,
                decoding,
                output,
                settings=steps * len(only or QUESTIONS),
            )
            return
        result = run_sweep(
            packaged(model, "model"), data, output, questions=tuple(only or ()) or None, steps=steps, reading=source.reading(),
            **selection.selection(), metrics=_metrics(meteor), replicates=scores.replicates, seed=scores.seed,
            batch_size=compute.batch_size, num_workers=compute.num_workers, device=compute.device, dtype=compute.dtype,
            strict=bulk.strict, resume=not bulk.no_resume, on_mismatch=bulk.on_mismatch, overwrite=bulk.overwrite,
            generation=decoding.generation(), progress=not shown.quiet,
        )  # fmt: skip
    _tell_left_out(result.result["skipped"])
    show(shown.json_output, result.result, result.table, f"Tables and plots: {result.folder / 'sweep.md'}")


def ablate(
    *,
    plan: Annotated[
        Path | None,
        typer.Option(
            "--plan", exists=True, dir_okay=False, help="JSON file with variants. Default: the published questions."
        ),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option("--only", metavar="NAME", rich_help_panel=SCORES, help="Only these variants; repeatable."),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option("--seeds", rich_help_panel=SCORES, help="Seeds, e.g. 0,1,2. Default: those of the file."),
    ] = None,
    list_variants: Annotated[bool, typer.Option("--list", help="Show the variants and stop.")] = False,
    output: Annotated[Path, typer.Option("--output", "-o", rich_help_panel=RUN, help="Folder to write.")] = Path(
        "ablation"
    ),
    on_mismatch: OnMismatch = "refuse",
    overwrite: Overwrite = False,
    shown: LongRunOptions,
) -> None:
    """Train and tabulate variants of the method on the phantom cohort: segment order, segments left out, last layer only, no stage 1 ...

    Each variant is trained for each seed; what is finished is not done again, so that a stopped run goes on.

        priorrg ablate --only full --only no-stage-1 -o ablation
    """
    from ..evaluation.ablation import read_plan, run_ablation

    contents = read_plan(plan)
    if list_variants:
        variants = [given(name=variant["name"], about=variant.get("about")) for variant in contents["variants"]]
        show(
            shown.json_output,
            {"variants": variants},
            *(f"{entry['name']}: {entry.get('about', '')}" for entry in variants),
        )
        return
    try:
        chosen = [int(seed) for seed in seeds.split(",")] if seeds else None
    except ValueError:
        raise ValueError(f"--seeds {seeds!r}: write whole numbers with commas between them, e.g. 0,1,2") from None
    with output_of(shown.quiet, shown.log_file):
        if shown.dry_run:
            from ..evaluation.dry_run import plan_ablation

            show_plan(shown.json_output, {**plan_ablation(contents, only=only, seeds=chosen), "writes": str(output)})
            return
        result = run_ablation(
            contents, output, only=tuple(only or ()) or None, seeds=chosen, progress=not shown.quiet,
            on_mismatch=on_mismatch, overwrite=overwrite,
            say=(lambda _: None) if shown.quiet or shown.json_output else typer.echo,
        )  # fmt: skip
    show(shown.json_output, result.result, result.table, f"Table: {result.folder / 'ablation.md'}")


def retrieve(
    context: typer.Context,
    *,
    model: Model,
    source: SourceOptions,
    selection: SelectionOptions,
    compute: ComputeOptions,
    per_class: Annotated[
        int | None,
        typer.Option(
            "--per-class",
            min=1,
            rich_help_panel=SCORES,
            help="Balanced set of this many studies of each class, from the labels (published: 200).",
        ),
    ] = None,  # fmt: skip
    classes: Annotated[
        str | None,
        typer.Option(
            "--classes", rich_help_panel=SCORES, help="Label names with commas. Default: the five CheXpert classes."
        ),
    ] = None,
    backend: Annotated[
        str,
        typer.Option(
            "--backend",
            rich_help_panel=SCORES,
            autocompletion=complete("auto", "torch", "faiss"),
            help="torch; faiss (extra `retrieval`); auto: faiss from 200,000 candidates on, where installed. Both exact.",
        ),
    ] = "auto",  # fmt: skip
    seed: Annotated[int, typer.Option("--seed", rich_help_panel=SCORES, help="Of everything that is drawn.")] = 0,
    output: Annotated[Path, typer.Option("--output", "-o", rich_help_panel=RUN, help="Folder to write.")] = Path(
        "retrieval"
    ),
    strict: Annotated[
        bool, typer.Option("--strict", rich_help_panel=RUN, help="Stop at the first bad study instead of naming it.")
    ] = False,
    overwrite: Overwrite = False,
    shown: LongRunOptions,
) -> None:
    """Retrieval between images and reports, both directions, with and without prior and context. Embeddings are stored.

    priorrg retrieve runs/stage1 -d studies.csv -o retrieval
    """
    data = source.require()
    refuse_unused(context, ALL_STUDIES if per_class is None else BALANCED)
    from ..evaluation.retrieval import run_retrieval

    with output_of(shown.quiet, shown.log_file):
        if shown.dry_run:
            from ..evaluation.dry_run import plan_retrieval

            plan = plan_retrieval(
                packaged(model, "model"), data, batch_size=compute.batch_size, device=compute.device, dtype=compute.dtype,
                reading=source.reading(), **selection.selection(),
            )  # fmt: skip
            show_plan(shown.json_output, {**plan, "writes": str(output)})
            return
        result = run_retrieval(
            packaged(model, "model"), data, output, per_class=per_class, classes=classes.split(",") if classes else None,
            backend=backend, seed=seed, batch_size=compute.batch_size, num_workers=compute.num_workers, device=compute.device,
            dtype=compute.dtype, strict=strict, overwrite=overwrite, progress=not shown.quiet, reading=source.reading(), **selection.selection(),
        )  # fmt: skip
    _tell_left_out(result.result["skipped"])
    show(shown.json_output, result.result, result.table, f"Scores: {result.folder / 'retrieval.json'}")


def register(app: typer.Typer) -> None:
    """Adds the subcommands of this module to the `priorrg` command."""
    app.command("evaluate", rich_help_panel=PANEL)(command(evaluate))
    app.command("sweep", rich_help_panel=PANEL)(command(sweep))
    app.command("ablate", rich_help_panel=PANEL)(command(ablate))
    app.command("retrieve", rich_help_panel=PANEL)(command(retrieve))
