"""`priorrg demo` and `priorrg phantom`. Everything heavy is imported when a command runs."""

import dataclasses
from pathlib import Path
from typing import Annotated

import typer

from .grammar import command, duration, given, output_of, show, show_plan, usage_error
from .options import RUN, LongRunOptions, OnMismatch, Overwrite, Seed


PANEL = "Synthetic studies"
# Two cores, default settings: what `make demo` took when this was written. A dry run scales it by the number of updates.
_DEMO_SECONDS = 512


def demo(
    *,
    output: Annotated[Path, typer.Option("--output", "-o", rich_help_panel=RUN, help="Folder for everything.")] = Path(
        "demo_output"
    ),
    num_studies: Annotated[
        int | None,
        typer.Option("--num-studies", min=100, help="Studies of the synthetic cohort; 8 % are the test split."),
    ] = None,
    seed: Annotated[
        int | None, typer.Option("--seed", rich_help_panel=RUN, help="Of everything that is drawn.")
    ] = None,
    stage_1_epochs: Annotated[float | None, typer.Option("--stage-1-epochs", help="Epochs of the alignment.")] = None,
    stage_2_epochs: Annotated[
        float | None, typer.Option("--stage-2-epochs", help="Epochs of the report generation.")
    ] = None,
    num_workers: Annotated[
        int, typer.Option("--num-workers", min=1, rich_help_panel=RUN, help="Processes that draw the cohort.")
    ] = 2,
    on_mismatch: OnMismatch = "refuse",
    overwrite: Overwrite = False,
    shown: LongRunOptions,
) -> None:
    """The whole method on synthetic studies: cohort, both training stages, reports, scores, a page to look at.

    About ten minutes on two cores. A second call goes on where the first one stopped.

        priorrg demo -o demo_output
    """
    from ..phantom.demo import DemoSettings, run_demo
    from ..phantom.demo_page import scores_as_markdown

    chosen = given(num_studies=num_studies, seed=seed, stage_1_epochs=stage_1_epochs, stage_2_epochs=stage_2_epochs)
    settings = DemoSettings(**chosen)
    with output_of(shown.quiet, shown.log_file):
        if shown.dry_run:
            usual = DemoSettings()
            work, usual_work = (s.num_studies * (s.stage_1_epochs + s.stage_2_epochs) for s in (settings, usual))
            plan = {
                "reads": "synthetic studies, drawn by the run", **dataclasses.asdict(settings),
                "seconds": _DEMO_SECONDS * work / usual_work, "on": "two cores", "writes": str(output),
            }  # fmt: skip
            show_plan(shown.json_output, plan)
            return
        silent = shown.quiet or shown.json_output
        result = run_demo(
            output,
            settings,
            num_proc=num_workers,
            progress=not shown.quiet,
            say=(lambda _: None) if silent else typer.echo,
            on_mismatch=on_mismatch,
            overwrite=overwrite,
        )
    took = duration(sum(result["seconds"].values()))
    show(
        shown.json_output,
        result,
        "\n" + scores_as_markdown(result),
        f"Took {took}. Open {output / 'index.html'}; the trained model is in {output / 'stage2'}.",
    )


def phantom(
    *,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", rich_help_panel=RUN, help="Folder for a Parquet file of each split."),
    ] = None,
    num_studies: Annotated[int, typer.Option("--num-studies", help="Studies, 16 to 100,000.")] = 200,
    seed: Seed = 0,
    image_size: Annotated[int, typer.Option("--image-size", help="Height and width of the films in pixels.")] = 224,
    no_laterals: Annotated[bool, typer.Option("--no-laterals", help="Draw frontal films only.")] = False,
    overwrite: Overwrite = False,
    shown: LongRunOptions,
) -> None:
    """Write synthetic studies with known truth as Parquet files that every other command reads; the truth is in their column `facts`.

    priorrg phantom -o phantoms --num-studies 500

    priorrg data check -d phantoms
    """
    if output is None:
        raise usage_error("no folder given for the studies: pass --output FOLDER (-o)")
    from ..phantom import write_phantom_cohort

    if shown.dry_run:
        show_plan(shown.json_output, {"studies": num_studies, "image_size": image_size, "writes": str(output)})
        return
    with output_of(shown.quiet, shown.log_file):
        write_phantom_cohort(output, num_studies, seed, image_size, laterals=not no_laterals, overwrite=overwrite)
    show(
        shown.json_output,
        {"output": str(output), "studies": num_studies},
        f"{num_studies} studies are in {output}. Synthetic drawings, not patients.",
    )


def register(app: typer.Typer) -> None:
    """Adds the subcommands of this module to the `priorrg` command."""
    app.command("demo", rich_help_panel=PANEL)(command(demo))
    app.command("phantom", rich_help_panel=PANEL)(command(phantom))
