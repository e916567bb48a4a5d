"""Subcommands of `priorrg` around evaluation: evaluate, sweep, ablate, retrieve. Heavy imports happen when they run."""

from pathlib import Path

import typer


PANEL = "Evaluation"
REPORT_FILES = (".csv", ".tsv", ".json", ".jsonl")
SOURCE, SCORES, WRITING = "Studies", "Scores", "Writing"

DATA = typer.Argument(None, help="Any source that `priorrg data check` reads; not needed for a file of reports.")
SPLIT = typer.Option("test", help="Split of the source; 'all' takes every one.", rich_help_panel=SOURCE)
IMAGE_ROOT = typer.Option(None, help="Folder of relative image paths.", rich_help_panel=SOURCE)
FORMAT = typer.Option(None, "--format", help="Format of the source. Default: detected.", rich_help_panel=SOURCE)
VIEWS = typer.Option(
    None, help="Which images are evaluated: frontal, lateral, or all (default).", rich_help_panel=SOURCE
)
LIMIT = typer.Option(None, min=1, help="Only the first studies.", rich_help_panel=SOURCE)
COLUMN = typer.Option(
    [], "--column", "-c", metavar="FIELD=COLUMN", help="e.g. findings=REPORT_TEXT, or prediction=MODEL_OUTPUT.",
    rich_help_panel=SOURCE,
)  # fmt: skip
OUTPUT = typer.Option(Path("evaluation"), "--output", "-o", help="Folder to write.", rich_help_panel=WRITING)
BATCH_SIZE = typer.Option(8, min=1, help="Studies per forward pass.", rich_help_panel=WRITING)
NUM_WORKERS = typer.Option(0, min=0, help="Processes that prepare images.", rich_help_panel=WRITING)
DEVICE = typer.Option(None, help="Default: cuda where there is one.", rich_help_panel=WRITING)
DTYPE = typer.Option("float32", help="float32, bfloat16 or float16.", rich_help_panel=WRITING)
NUM_BEAMS = typer.Option(None, min=1, help="Default: the model's (3).", rich_help_panel=WRITING)
MAX_LENGTH = typer.Option(None, min=2, help="Default: the model's (100).", rich_help_panel=WRITING)
STRICT = typer.Option(False, help="Stop at the first bad study.", rich_help_panel=WRITING)
RESUME = typer.Option(True, help="Go on where an earlier run stopped.", rich_help_panel=WRITING)
REPLICATES = typer.Option(1000, min=1, help="Bootstrap replicates.", rich_help_panel=SCORES)
CONFIDENCE = typer.Option(0.95, min=0.5, max=0.999, help="Of the intervals.", rich_help_panel=SCORES)
SEED = typer.Option(0, help="Of bootstrap, tests and whatever is drawn.", rich_help_panel=SCORES)
METEOR = typer.Option(True, help="Compute METEOR 1.5 (Java).", rich_help_panel=SCORES)
METEOR_NLTK = typer.Option(
    False, help="Compute NLTK's METEOR too, as meteor_nltk: another definition, not comparable with METEOR 1.5.",
    rich_help_panel=SCORES,
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Adds the subcommands of this module to the `priorrg` command."""
    app.command("evaluate", rich_help_panel=PANEL)(evaluate)
    app.command("sweep", rich_help_panel=PANEL)(sweep)
    app.command("ablate", rich_help_panel=PANEL)(ablate)
    app.command("retrieve", rich_help_panel=PANEL)(retrieve)


def _pairs(values: list[str], option: str) -> dict[str, str]:
    pairs = {}
    for value in values:
        name, separator, content = value.partition("=")
        if not separator or not name or not content:
            raise ValueError(f"{option} {value!r}: write NAME=VALUE")
        pairs[name] = content
    return pairs


def _seeds(value: str) -> list[int]:
    try:
        return [int(seed) for seed in value.split(",")]
    except ValueError:
        raise ValueError(f"--seeds {value!r}: write whole numbers with commas between them, e.g. 0,1,2") from None


def _fail(error: Exception) -> typer.Exit:
    typer.secho(f"Error: {error}", err=True, fg="red")
    return typer.Exit(2)


def _tell_left_out(skipped: dict[str, str]) -> None:
    for name, reason in skipped.items():
        typer.secho(f"left out: {name}: {reason}", err=True, fg="yellow")


def _metrics(meteor: bool, meteor_nltk: bool = False) -> tuple[str, ...]:
    return ("bleu", "rouge_l", "cider", *(["meteor"] if meteor else []), *(["meteor_nltk"] if meteor_nltk else []))


def _generation(num_beams: int | None, max_length: int | None) -> dict[str, int]:
    return {name: value for name, value in (("num_beams", num_beams), ("max_length", max_length)) if value is not None}


def evaluate(
    model: str = typer.Argument(..., help="Model folder or Hub id; or a file of reports (.jsonl, .json, .csv, .tsv)."),
    data: str = DATA,
    output: Path = OUTPUT,
    split: str = SPLIT,
    image_root: Path = IMAGE_ROOT,
    data_format: str = FORMAT,
    views: str = VIEWS,
    limit: int = LIMIT,
    column: list[str] = COLUMN,
    against: Path = typer.Option(
        None, help="Reports of another system on the same studies: paired test.", rich_help_panel=SCORES
    ),
    clinical: list[str] = typer.Option(
        [],
        metavar="NAME",
        help="Clinical scorer, repeatable: chexbert, radgraph, ratescore, bertscore, radcliq, green.",
        rich_help_panel=SCORES,
    ),
    weights: list[str] = typer.Option(
        [], metavar="REPOSITORY=FOLDER", help="Local weights of a clinical scorer.", rich_help_panel=SCORES
    ),
    processor: str = typer.Option(
        None,
        help="For a file of reports: folder or Hub id of the processor that cuts references as published.",
        rich_help_panel=SCORES,
    ),
    meteor: bool = METEOR,
    meteor_nltk: bool = METEOR_NLTK,
    replicates: int = REPLICATES,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
    name: str = typer.Option(None, help="Of the system, in headings.", rich_help_panel=WRITING),
    batch_size: int = BATCH_SIZE,
    num_workers: int = NUM_WORKERS,
    num_beams: int = NUM_BEAMS,
    max_length: int = MAX_LENGTH,
    device: str = DEVICE,
    dtype: str = DTYPE,
    strict: bool = STRICT,
    resume: bool = RESUME,
    plots: bool = typer.Option(True, help="Draw plots.", rich_help_panel=WRITING),
) -> None:
    """Score a model, or a file of reports, into an evaluation card. Research use only, not for clinical decisions.

    A model:   priorrg evaluate runs/stage2 studies.csv -o evaluation

    A file:    priorrg evaluate reports.csv -c prediction=OUTPUT -c reference=FINDINGS -o evaluation

    Writes evaluation.json, evaluation.md (the card), plots and worst_studies.html (the twenty worst).

    Every score has a bootstrap interval, or the card says why not.

    References are scored in full and, as published, cut at the model's report length (for a file: --processor).

    Columns of a file that make the card richer: example_id, study_id, patient_id, has_prior, has_context, view_position, days_before.
    """
    from ..evaluation.evaluate import evaluate_file, evaluate_model

    scoring = {
        "metrics": _metrics(meteor, meteor_nltk), "clinical": tuple(clinical), "replicates": replicates, "confidence": confidence,
        "seed": seed, "plots": plots, "name": name,
    }  # fmt: skip
    try:
        scoring["weights"] = _pairs(weights, "--weights")
        columns = _pairs(column, "--column")
        if Path(model).is_file():
            given = {"--limit": limit, "--views": views, "--image-root": image_root, "--format": data_format}
            unused = [option for option, value in given.items() if value is not None]
            if data is not None or unused:
                raise ValueError(
                    f"{model} is a file of reports: it is scored as it is, without {data or ', '.join(unused)}"
                )
            result = evaluate_file(model, output, columns=columns, processor=processor, against=against, **scoring)
        else:
            if Path(model).suffix.lower() in REPORT_FILES:
                raise ValueError(f"there is no file {model}")
            if processor is not None:
                raise ValueError("--processor is for a file of reports; a model brings its own")
            if data is None:
                raise ValueError(
                    f"{model} is no file of reports; to evaluate a model name the studies too: priorrg evaluate MODEL DATA"
                )
            result = evaluate_model(
                model, data, output, split=None if split == "all" else split, source_format=data_format, image_root=image_root,
                columns=columns, views=views, limit=limit, batch_size=batch_size, num_workers=num_workers, device=device,
                dtype=dtype, strict=strict, resume=resume, generation=_generation(num_beams, max_length), against=against,
                **scoring,
            )  # fmt: skip
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise _fail(error) from error
    for note in result.result["notes"]:
        typer.secho(note, fg="yellow")
    for protocol, scores in result.result["protocols"].items():
        shown = ", ".join(
            f"{metric} {scores[metric]['value']:.3f}"
            for metric in ("bleu_1", "bleu_4", "rouge_l", "meteor", "cider", "change_f1")
            if scores.get(metric) and scores[metric]["value"] is not None
        )
        typer.echo(f"{protocol} references: {shown}")
    typer.echo(f"{result.result['num_examples']} reports; card: {result.folder / 'evaluation.md'}")


def sweep(
    model: str = typer.Argument(..., help="Model folder or Hub id."),
    data: str = typer.Argument(..., help="Any source that `priorrg data check` reads."),
    output: Path = typer.Option(Path("sweep"), "--output", "-o", help="Folder to write.", rich_help_panel=WRITING),
    what: list[str] = typer.Option(
        [],
        "--only",
        metavar="NAME",
        help="prior, context, prior-view, prior-gap, swapped-context, context-noise; repeatable. Default: all.",
        rich_help_panel=SCORES,
    ),
    steps: int = typer.Option(5, min=2, help="Points from 0 to 100 % of an availability.", rich_help_panel=SCORES),
    split: str = SPLIT,
    image_root: Path = IMAGE_ROOT,
    data_format: str = FORMAT,
    views: str = VIEWS,
    limit: int = LIMIT,
    column: list[str] = COLUMN,
    meteor: bool = typer.Option(
        False, help="Compute METEOR 1.5 too (Java; seconds a setting).", rich_help_panel=SCORES
    ),
    replicates: int = REPLICATES,
    seed: int = SEED,
    batch_size: int = BATCH_SIZE,
    num_workers: int = NUM_WORKERS,
    num_beams: int = NUM_BEAMS,
    max_length: int = MAX_LENGTH,
    device: str = DEVICE,
    dtype: str = DTYPE,
    strict: bool = STRICT,
    resume: bool = RESUME,
) -> None:
    """What the model loses when inputs are missing or wrong: one table and one plot for each question.

    Prior and context at 0..100 % availability, a prior of another view, priors at growing time gaps, the context of another patient,
    noise in the context. Interrupted runs go on where they stopped.
    """
    from ..evaluation.sweep import run_sweep

    try:
        result = run_sweep(
            model, data, output, questions=tuple(what) or None, steps=steps, split=None if split == "all" else split,
            source_format=data_format, image_root=image_root, columns=_pairs(column, "--column"), views=views, limit=limit,
            metrics=_metrics(meteor), replicates=replicates, seed=seed, batch_size=batch_size, num_workers=num_workers,
            device=device, dtype=dtype, strict=strict, resume=resume, generation=_generation(num_beams, max_length),
        )  # fmt: skip
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise _fail(error) from error
    typer.echo(result.table)
    _tell_left_out(result.result["skipped"])
    typer.echo(f"Tables and plots: {result.folder / 'sweep.md'}")


def ablate(
    config: Path = typer.Argument(
        None,
        exists=True,
        dir_okay=False,
        help="JSON file with variants. Default: the published questions on phantoms.",
    ),
    output: Path = typer.Option(Path("ablation"), "--output", "-o", help="Folder to write.", rich_help_panel=WRITING),
    only: list[str] = typer.Option(
        [], metavar="NAME", help="Run only these variants; repeatable.", rich_help_panel=SCORES
    ),
    seeds: str = typer.Option(None, help="Seeds, e.g. 0,1,2. Default: those of the file.", rich_help_panel=SCORES),
    list_variants: bool = typer.Option(False, "--list", help="Show the variants and stop.", rich_help_panel=SCORES),
) -> None:
    """Train and tabulate variants of the method on the phantom cohort: segment order, segments left out, last layer only, no stage 1 ...

    Each variant is trained for each seed; what is finished is not done again, so that a stopped run goes on.
    """
    from ..evaluation.ablation import read_plan, run_ablation

    try:
        plan = read_plan(config)
        if list_variants:
            for variant in plan["variants"]:
                typer.echo(f"{variant['name']}: {variant.get('about', '')}")
            return
        chosen = _seeds(seeds) if seeds else None
        result = run_ablation(plan, output, only=tuple(only) or None, seeds=chosen)
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise _fail(error) from error
    typer.echo(result.table)
    typer.echo(f"Table: {result.folder / 'ablation.md'}")


def retrieve(
    model: str = typer.Argument(..., help="Stage-1 model folder or Hub id."),
    data: str = typer.Argument(
        ..., help="Any source that `priorrg data check` reads, with findings; with labels for classes."
    ),
    output: Path = typer.Option(Path("retrieval"), "--output", "-o", help="Folder to write.", rich_help_panel=WRITING),
    per_class: int = typer.Option(
        None,
        min=1,
        help="Build a balanced set of this many studies of each class from the labels (published: 200).",
        rich_help_panel=SCORES,
    ),
    classes: str = typer.Option(
        None, help="Comma-separated label names. Default: the five CheXpert classes.", rich_help_panel=SCORES
    ),
    backend: str = typer.Option(
        "auto",
        help="torch; faiss (pip install 'priorrg-hf[retrieval]'); or auto: faiss from 200,000 candidates on, where installed. Both exact.",
        rich_help_panel=SCORES,
    ),
    split: str = SPLIT,
    image_root: Path = IMAGE_ROOT,
    data_format: str = FORMAT,
    views: str = VIEWS,
    limit: int = LIMIT,
    column: list[str] = COLUMN,
    seed: int = SEED,
    batch_size: int = BATCH_SIZE,
    num_workers: int = NUM_WORKERS,
    device: str = DEVICE,
    dtype: str = DTYPE,
    strict: bool = STRICT,
) -> None:
    """Retrieval between images and reports, both directions, with and without prior and context. Embeddings are stored."""
    from ..evaluation.retrieval import run_retrieval

    try:
        result = run_retrieval(
            model, data, output, per_class=per_class, classes=classes.split(",") if classes else None, backend=backend,
            split=None if split == "all" else split, source_format=data_format, image_root=image_root,
            columns=_pairs(column, "--column"), views=views, limit=limit, seed=seed, batch_size=batch_size,
            num_workers=num_workers, device=device, dtype=dtype, strict=strict,
        )  # fmt: skip
    except (OSError, ValueError, ImportError, RuntimeError) as error:
        raise _fail(error) from error
    typer.echo(result.table)
    _tell_left_out(result.result["skipped"])
    typer.echo(f"Scores: {result.folder / 'retrieval.json'}")
