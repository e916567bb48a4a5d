"""The subcommands `priorrg demo` and `priorrg phantom`. Only typer is imported here; everything heavy when a command runs."""

from pathlib import Path

import typer


def demo(
    output_dir: Path = typer.Option(Path("demo_output"), "--output-dir", "-o", help="Folder for everything."),
    num_studies: int = typer.Option(None, help="Studies of the synthetic cohort; 8 % are the test split."),
    seed: int = typer.Option(None, help="Seed of cohort, weights and batches."),
    stage_1_epochs: float = typer.Option(None, help="Epochs of the alignment."),
    stage_2_epochs: float = typer.Option(None, help="Epochs of the report generation."),
    num_proc: int = typer.Option(2, help="Processes that draw the cohort."),
    progress: bool = typer.Option(True, help="Show progress bars."),
) -> None:
    """The whole method on synthetic studies: cohort, both training stages, reports, scores, a page to look at.

    About ten minutes on two cores. A second call goes on where the first one stopped.

        priorrg demo --output-dir demo_output
    """
    from ..phantom.demo import DemoSettings, run_demo
    from ..phantom.demo_page import scores_as_markdown

    chosen = {
        "num_studies": num_studies,
        "seed": seed,
        "stage_1_epochs": stage_1_epochs,
        "stage_2_epochs": stage_2_epochs,
    }
    try:
        settings = DemoSettings(**{name: value for name, value in chosen.items() if value is not None})
        result = run_demo(output_dir, settings, num_proc=num_proc, progress=progress, say=typer.echo)
    except (ValueError, OSError) as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        raise typer.Exit(1) from error
    typer.echo("\n" + scores_as_markdown(result))
    typer.echo(f"Open {output_dir / 'index.html'}; the trained model is in {output_dir / 'stage2'}.")


def phantom(
    output: Path = typer.Argument(..., help="Folder for a Parquet file of each split."),
    num_studies: int = typer.Option(200, help="Studies, 16 to 100,000."),
    seed: int = typer.Option(0, help="Another seed gives other patients."),
    image_size: int = typer.Option(224, help="Height and width of the films in pixels."),
    laterals: bool = typer.Option(True, help="Draw the lateral films that some studies have."),
) -> None:
    """Writes synthetic studies with known truth as Parquet files that every other command reads; the truth is in their column `facts`.

    priorrg phantom phantom_studies --num-studies 500
    priorrg data check phantom_studies
    """
    from ..phantom import write_phantom_cohort

    try:
        write_phantom_cohort(output, num_studies, seed, image_size, laterals=laterals)
    except (ValueError, OSError) as error:
        typer.secho(f"error: {error}", err=True, fg="red")
        raise typer.Exit(1) from error
    typer.echo(f"{num_studies} studies are in {output}. Synthetic drawings, not patients.")


def register(app: typer.Typer) -> None:
    """Adds the subcommands of this module to the `priorrg` command."""
    app.command("demo", rich_help_panel="Synthetic studies")(demo)
    app.command("phantom", rich_help_panel="Synthetic studies")(phantom)
