"""Folders of evaluations, sweeps, retrieval, ablations and the demo: other data, other seeds, other models, files of others, two runs."""

import dataclasses
import json

import pytest
from hub_helpers import tiny_config, tiny_model, tiny_processor, tiny_stage_1


pytest.importorskip("pycocoevalcap.bleu.bleu")

from datasets import Dataset

from priorrg_hf import phantom
from priorrg_hf.data import as_examples
from priorrg_hf.data.file_writing import OutputError
from priorrg_hf.data.locking import LockedError, exclusive
from priorrg_hf.evaluation import ablation, evaluate, retrieval, sweep
from priorrg_hf.evaluation.reuse import OtherReportsError


GENERATION = {"max_length": 8, "num_beams": 1}
FAST = {"replicates": 10, "progress": False, "generation": GENERATION, "batch_size": 16}


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return tiny_processor(tmp_path_factory.mktemp("processor"))


@pytest.fixture(scope="module")
def model(processor):
    return tiny_model(tiny_config(processor.tokenizer))


@pytest.fixture(scope="module")
def model_folder(model, processor, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    cohort = phantom.make_phantom_cohort(
        30, 3, 32, fractions={"train": 0.5, "test": 0.5}, cache_dir=str(tmp_path_factory.mktemp("cohort"))
    )
    return cohort["test"]


@pytest.fixture(scope="module")
def data(studies):
    examples = as_examples(studies, include_views="frontal", require_findings=True)
    return evaluate.EvaluationData(
        examples, studies, evaluate._days_before(studies), evaluate._labels(studies), "phantom", "f"
    )


def contents(folder):
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def reports(folder, name):
    return [json.loads(line) for line in (folder / "reports" / name).read_text().splitlines()]


@pytest.mark.parametrize("question", ["swapped-context", "context-noise", "prior"])
def test_a_sweep_of_another_seed_shows_no_reports_of_the_first(model, processor, data, tmp_path, question):
    run = {"questions": [question], "steps": 3, **FAST}
    sweep.sweep_examples(model, processor, data, tmp_path / "a", seed=0, **run)
    before = contents(tmp_path / "a")
    with pytest.raises(OtherReportsError, match="prior image|indication or history"):
        sweep.sweep_examples(model, processor, data, tmp_path / "a", seed=1, **run)
    assert contents(tmp_path / "a") == before
    mixed = sweep.sweep_examples(model, processor, data, tmp_path / "a", seed=1, on_mismatch="rewrite", **run)
    fresh = sweep.sweep_examples(model, processor, data, tmp_path / "b", seed=1, **run)
    assert mixed.table == fresh.table
    for path in (tmp_path / "b" / "reports").glob("*.jsonl"):
        assert reports(tmp_path / "a", path.name) == reports(tmp_path / "b", path.name)
    again = sweep.sweep_examples(model, processor, data, tmp_path / "a", seed=1, **run)
    assert again.table == fresh.table


def test_a_sweep_of_fewer_studies_or_another_model_is_refused(model, processor, data, tmp_path):
    run = {"questions": ["prior"], "steps": 2, **FAST}
    sweep.sweep_examples(model, processor, data, tmp_path, **run)
    fewer = dataclasses.replace(data, examples=data.examples.select(range(5)))
    with pytest.raises(OtherReportsError, match="table does not have"):
        sweep.sweep_examples(model, processor, fewer, tmp_path, **run)
    with pytest.raises(OtherReportsError, match="num_beams"):
        sweep.sweep_examples(model, processor, data, tmp_path, **{**run, "generation": {**GENERATION, "num_beams": 2}})


def test_a_card_of_other_data_never_shows_the_first(model_folder, studies, tmp_path):
    run = {"split": "test", "plots": False, "metrics": ("bleu",), **FAST}
    first, second = tmp_path / "first", tmp_path / "second"
    rows = list(studies)
    changed = [{**row, "findings": "Left effusion."} if row["findings"] else row for row in rows]
    for folder, table in ((first, rows), (second, changed)):
        folder.mkdir()
        Dataset.from_list(table, features=studies.features).to_parquet(str(folder / "test-00000-of-00001.parquet"))
    one = evaluate.evaluate_model(model_folder, first, tmp_path / "out", **run)
    before = contents(tmp_path / "out")
    with pytest.raises(OtherReportsError, match="reference"):
        evaluate.evaluate_model(model_folder, second, tmp_path / "out", **run)
    assert contents(tmp_path / "out") == before
    other = evaluate.evaluate_model(model_folder, second, tmp_path / "out", on_mismatch="rewrite", **run)
    fresh = evaluate.evaluate_model(model_folder, second, tmp_path / "fresh", **run)
    assert other.scores() == fresh.scores() != one.scores()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("evaluation.json", "evaluate"), ("evaluation.md", "evaluate"), ("worst_studies.html", "evaluate"), ("scores.png", "evaluate"),
     ("sweep.json", "sweep"), ("sweep.md", "sweep"), ("prior.png", "sweep"), ("retrieval.json", "retrieve"),
     ("embeddings_reports.safetensors", "retrieve"), ("settings.json", "ablate"), ("ablation.md", "ablate"), ("seed0/x", "ablate"),
     ("demo.json", "demo"), ("cohort/x", "demo"), ("stage2/x", "demo"), ("index.html", "demo"), ("reports.jsonl", "evaluate-model")],
)  # fmt: skip
@pytest.mark.parametrize("how", ["file", "link"])
def test_files_of_others_are_never_replaced(model, processor, data, model_folder, tmp_path, name, kind, how):
    folder = tmp_path / "out"
    (folder / name).parent.mkdir(parents=True)
    (tmp_path / "precious").write_text("precious")
    if how == "file":
        (folder / name).write_text("my own")
    elif "/" in name:
        pytest.skip("a folder that is not empty, either way")
    else:
        (folder / name).symlink_to(tmp_path / "precious")
    (tmp_path / "r.jsonl").write_text('{"example_id": "1", "prediction": "a b", "reference": "a b c"}\n')
    before = contents(tmp_path)

    def run(**options):
        if kind == "evaluate":
            evaluate.evaluate_file(tmp_path / "r.jsonl", folder, metrics=("bleu",), replicates=5, **options)
        elif kind == "evaluate-model":
            table = tmp_path.parent / f"{tmp_path.name}-source"
            table.mkdir(exist_ok=True)
            data.studies.to_parquet(str(table / "test-00000-of-00001.parquet"))
            evaluate.evaluate_model(model_folder, table, folder, metrics=("bleu",), **{**FAST, **options})
        elif kind == "sweep":
            sweep.sweep_examples(model, processor, data, folder, questions=["prior"], steps=2, **{**FAST, **options})
        elif kind == "retrieve":
            stage_1 = tiny_stage_1(tiny_config(processor.tokenizer))
            retrieval.retrieval_of_examples(stage_1, processor, data.examples, folder, progress=False, **options)
        elif kind == "ablate":
            ablation.run_ablation(ablation.read_plan(), folder, progress=False, **options)
        else:
            from priorrg_hf.phantom.demo import run_demo

            run_demo(folder, progress=False, **options)

    with pytest.raises(OutputError):
        run()
    assert contents(tmp_path) == before
    if how == "link":
        with pytest.raises(OutputError, match="symbolic link"):
            run(overwrite=True)
        assert contents(tmp_path) == before


def test_a_card_is_not_written_over_the_reports_it_is_of(tmp_path):
    folder = tmp_path / "out"
    folder.mkdir()
    path = folder / "evaluation.json"
    path.write_text(json.dumps([{"prediction": "a b c d", "reference": "a b c d"}] * 3))
    before = path.read_bytes()
    for overwrite in (False, True):
        with pytest.raises(OutputError):
            evaluate.evaluate_file(path, folder, metrics=("bleu",), replicates=5, overwrite=overwrite)
    assert path.read_bytes() == before


def test_two_runs_in_one_folder(model, processor, data, tmp_path):
    import threading

    failures = []

    def second():
        for run in (
            lambda: sweep.sweep_examples(model, processor, data, tmp_path, questions=["prior"], **FAST),
            lambda: ablation.run_ablation(ablation.read_plan(), tmp_path, progress=False),
            lambda: phantom.write_phantom_cohort(tmp_path, 20),
        ):
            try:
                run()
            except LockedError as error:
                failures.append(str(error))

    with exclusive(tmp_path, "another command", folder=True):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join()
    assert len(failures) == 3 and all("another command" in failure for failure in failures)


def test_damaged_and_foreign_embeddings_are_computed_anew(processor, data, tmp_path):
    stage_1 = tiny_stage_1(tiny_config(processor.tokenizer))
    run = {"progress": False, "conditions": ["all inputs"]}
    first = retrieval.retrieval_of_examples(stage_1, processor, data.examples, tmp_path, **run)
    for path in tmp_path.glob("embeddings_*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    again = retrieval.retrieval_of_examples(stage_1, processor, data.examples, tmp_path, **run)
    assert again.result["conditions"] == first.result["conditions"]
    longer = tiny_processor(tmp_path / "p")
    longer.max_alignment_context_length = 5
    other = retrieval.retrieval_of_examples(stage_1, longer, data.examples, tmp_path, **run)
    fresh = retrieval.retrieval_of_examples(stage_1, longer, data.examples, tmp_path / "fresh", **run)
    assert other.result["conditions"] == fresh.result["conditions"]
    assert other.result["fingerprints"] != first.result["fingerprints"]


def test_a_cohort_is_written_over_its_like_only(tmp_path):
    from priorrg_hf.data import load_studies

    phantom.write_phantom_cohort(tmp_path / "c", 20, 0, 32)
    phantom.write_phantom_cohort(tmp_path / "c", 20, 0, 32)
    before = contents(tmp_path / "c")
    for changes in ({"seed": 1}, {"num_studies": 16}, {"image_size": 48}, {"laterals": False}):
        with pytest.raises(OutputError, match="another phantom cohort"):
            phantom.write_phantom_cohort(tmp_path / "c", **{"num_studies": 20, "seed": 0, "image_size": 32, **changes})
    assert contents(tmp_path / "c") == before
    phantom.write_phantom_cohort(tmp_path / "c", 16, 1, 32, overwrite=True)
    assert sum(len(part) for part in load_studies(tmp_path / "c").values()) == 16
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "mine.parquet").write_text("mine")
    with pytest.raises(OutputError, match="mine.parquet"):
        phantom.write_phantom_cohort(tmp_path / "d", 20, 0, 32)


def test_scores_of_an_ablation_belong_to_its_model_and_data(tmp_path, monkeypatch):
    plan = ablation.read_plan()
    folder = tmp_path / "seed0" / "full"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"first")
    runner = ablation._Runner(plan, tmp_path, False, print, "refuse")
    monkeypatch.setattr(runner, "stage_2", lambda variant, seed: folder)
    variant = {"name": "full", "conditions": ["all inputs"]}
    scores = {"all inputs": {"bleu_4": 0.5}}
    stored = {"made_of": runner._made_of(folder, 0), "scores": scores}
    (folder / "test_scores.json").write_text(json.dumps(stored))
    assert runner.scores(variant, 0) == scores
    asked = []
    monkeypatch.setattr(runner, "cohort", lambda seed: asked.append(seed) or pytest.fail("scored anew"))
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(pytest.fail.Exception, match="scored anew"):
        runner.scores(variant, 0)
    (folder / "model.safetensors").write_bytes(b"first")
    for damaged in ("[]", "{", json.dumps(scores), json.dumps({**stored, "scores": []})):
        (folder / "test_scores.json").write_text(damaged)
        with pytest.raises(pytest.fail.Exception, match="scored anew"):
            runner.scores(variant, 0)
