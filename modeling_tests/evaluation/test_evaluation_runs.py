"""Runs with a tiny model on phantom studies: `evaluate MODEL DATA`, the sweep, retrieval of stage 1, the ablation command."""

import json

import pytest
from hub_helpers import tiny_config, tiny_model, tiny_processor, tiny_stage_1


pytest.importorskip("pycocoevalcap.bleu.bleu")

from priorrg_hf import phantom
from priorrg_hf.data import as_examples
from priorrg_hf.evaluation import ablation, evaluate, retrieval, sweep
from priorrg_hf.evaluation.conditions import CONDITIONS, ChangedExamples


FAST = ("bleu", "rouge_l", "cider")
GENERATION = {"max_length": 10, "num_beams": 1}


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return tiny_processor(tmp_path_factory.mktemp("processor"))


@pytest.fixture(scope="module")
def model(processor):
    return tiny_model(tiny_config(processor.tokenizer))


@pytest.fixture(scope="module")
def studies(tmp_path_factory):
    """The test split of a small cohort, with laterals."""
    cohort = phantom.make_phantom_cohort(
        60, 0, 32, fractions={"train": 0.4, "test": 0.6}, cache_dir=str(tmp_path_factory.mktemp("cohort"))
    )
    return cohort["test"]


@pytest.fixture(scope="module")
def data(studies):
    examples = as_examples(studies, include_views="frontal", require_findings=True)
    return evaluate.EvaluationData(
        examples, studies, evaluate._days_before(studies), evaluate._labels(studies), "phantom", "f"
    )


@pytest.fixture(scope="module")
def swept(model, processor, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    return sweep.sweep_examples(
        model, processor, data, folder, steps=3, replicates=20, batch_size=16, progress=False, generation=GENERATION
    )


def test_sweep_answers_every_question_with_a_table_and_a_plot(swept):
    questions = swept.result["questions"]
    assert set(questions) == set(sweep.QUESTIONS), swept.result["notes"]
    for name, question in questions.items():
        assert f"## {question['title']}" in swept.table
        assert len(question["points"]) >= 3
        assert (swept.folder / f"{name}.png").stat().st_size > 0
    data = json.loads((swept.folder / "sweep.json").read_text())
    assert [point["label"] for point in data["questions"]["prior"]["points"]] == [
        "prior 0 %",
        "prior 50 %",
        "all inputs",
    ]


def reports(swept, name):
    return [json.loads(line) for line in (swept.folder / "reports" / name).read_text().splitlines()]


def test_sweep_hides_what_it_says(swept, data):
    had_prior = {str(row["example_id"]): row["prior_image"] is not None for row in data.examples}
    everything, none, half = (reports(swept, f"{name}.jsonl") for name in ("all_inputs", "prior_0", "prior_50"))
    assert [row["has_prior"] for row in everything] == list(had_prior.values())
    assert not any(row["has_prior"] for row in none)
    kept = [row["has_prior"] for row in half]
    assert 0 < sum(kept) < sum(had_prior.values())
    assert not any(row["has_context"] for row in reports(swept, "context_0.jsonl"))
    assert [row["example_id"] for row in none] == [row["example_id"] for row in everything]


def test_sweep_scores_changes_also_where_the_prior_is_hidden(swept):
    points = {point["label"]: point for point in swept.result["questions"]["prior"]["points"]}
    assert "change_f1" in points["prior 0 %"]["scores"]
    assert points["prior 0 %"]["n"] == points["all inputs"]["n"]


def test_sweep_resumes_without_work(model, processor, data, swept, monkeypatch):
    monkeypatch.setattr(model, "generate", lambda **kwargs: pytest.fail("reports were written again"))
    again = sweep.sweep_examples(
        model,
        processor,
        data,
        swept.folder,
        steps=3,
        replicates=20,
        batch_size=16,
        progress=False,
        generation=GENERATION,
    )
    assert again.table == swept.table


def test_availabilities_nest():
    names = [f"e{i}" for i in range(500)]
    kept = [{n for n in names if sweep.position_of(n, "prior", 0) < share} for share in (0.25, 0.5, 0.75)]
    assert kept[0] < kept[1] < kept[2]
    assert 90 < len(kept[0]) < 160


def test_swapped_contexts_come_from_other_patients(data):
    change = sweep.swapped_contexts(data.examples, seed=0)
    own = {}
    for row in data.examples:
        own.setdefault(row["patient_id"], set()).add((row["indication"], row["history"]))
    swapped = 0
    for row in data.examples:
        if row["indication"] or row["history"]:
            new = change(dict(row))
            context = (new["indication"], new["history"])
            assert any(context in contexts for patient, contexts in own.items() if patient != row["patient_id"])
            swapped += context != (row["indication"], row["history"])
    assert swapped > 5


def test_noise_replaces_about_its_share_of_words(data):
    change = sweep.noisy_contexts(data.examples, 0.5, seed=0)
    words = changed = 0
    for row in data.examples:
        for name in ("indication", "history"):
            if row[name]:
                before, after = row[name].split(), change(dict(row))[name].split()
                assert len(before) == len(after)
                words += len(before)
                changed += sum(a != b for a, b in zip(before, after, strict=True))
    assert 0.3 < changed / words < 0.6


def test_priors_of_another_view_are_of_the_prior_study(data, studies):
    given = sweep.priors_of_another_view(data.examples, studies)
    assert given
    assert {entry["prior_view_position"] for entry in given.values()} == {"LATERAL"}


def test_priors_further_back_grow_older(data, studies):
    found = sweep.priors_further_back(data.examples, studies, 2)
    assert found
    for options in found.values():
        assert 0 < options[0][1] < options[1][1]


def test_unanswerable_questions_are_noted(model, processor, data, tmp_path):
    one = evaluate.EvaluationData(data.examples.select([0]), data.studies.select([0]), {}, {}, "one", "f")
    result = sweep.sweep_examples(
        model, processor, one, tmp_path, questions=["prior-gap", "swapped-context"], replicates=5, progress=False,
        generation=GENERATION,
    )  # fmt: skip
    assert len(result.result["notes"]) == 2 and not result.result["questions"]
    with pytest.raises(ValueError, match="prior-view"):
        sweep.sweep_examples(model, processor, one, tmp_path, questions=["nonsense"])


# ---- evaluate MODEL DATA ----


def test_evaluate_a_model_on_a_source(model, processor, studies, tmp_path):
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    phantom_folder = tmp_path / "data"
    from datasets import DatasetDict

    DatasetDict({"test": studies.remove_columns(["facts"])}).save_to_disk(str(phantom_folder))
    result = evaluate.evaluate_model(
        tmp_path / "model", phantom_folder, tmp_path / "out", views="frontal", limit=12, batch_size=6, metrics=FAST,
        replicates=20, plots=False, progress=False, generation=GENERATION, device="cpu",
    )  # fmt: skip
    data = json.loads((tmp_path / "out" / "evaluation.json").read_text())
    assert data["num_examples"] == 12 and set(data["protocols"]) == {"full", "cut"}
    assert data["fingerprints"]["model"] and data["fingerprints"]["data"]
    assert "data:image/png" in (tmp_path / "out" / "worst_studies.html").read_text()
    assert result.result["split"] == "test"
    with pytest.raises(ValueError, match="no split 'train'"):
        evaluate.evaluate_model(tmp_path / "model", phantom_folder, tmp_path / "out", split="train")


# ---- retrieval ----


def test_retrieval_of_a_stage_1_model(processor, data, tmp_path, monkeypatch):
    model = tiny_stage_1(tiny_config(processor.tokenizer))
    examples = data.examples.select(range(14))
    classes = [index % 2 for index in range(14)]
    result = retrieval.retrieval_of_examples(
        model, processor, examples, tmp_path, classes=classes, batch_size=5, progress=False
    )
    assert list(result.result["conditions"]) == list(CONDITIONS)
    scores = result.result["conditions"]["all inputs"]
    assert {"image_to_report_cat_precision@5", "report_to_image_recall@10"} <= set(scores)
    assert result.result["conditions"]["image alone"] != scores
    # Embeddings are stored, and not computed again.
    monkeypatch.setattr(model, "get_image_features", lambda **kwargs: pytest.fail("embedded again"))
    again = retrieval.retrieval_of_examples(
        model, processor, examples, tmp_path, classes=classes, batch_size=5, progress=False
    )
    assert again.result["conditions"] == result.result["conditions"]
    # Unless an image is another one.
    images = list(examples["image"])
    with pytest.raises(pytest.fail.Exception, match="embedded again"):
        retrieval.retrieval_of_examples(
            model,
            processor,
            examples.remove_columns("image").add_column(
                "image", images[1:] + images[:1], feature=examples.features["image"]
            ),
            tmp_path,
            classes=classes,
            batch_size=5,
            progress=False,
        )


def test_embeddings_do_not_depend_on_the_batch(processor, data):
    model = tiny_stage_1(tiny_config(processor.tokenizer))
    examples = data.examples.select(range(5))
    one, names, _ = retrieval.embed_studies(model, processor, examples, batch_size=1, progress=False)
    many, _, skipped = retrieval.embed_studies(model, processor, examples, batch_size=5, progress=False)
    assert abs(one - many).max() < 1e-4 and names == list(examples["example_id"]) and not skipped


def test_a_report_generator_is_no_retrieval_model(model, processor, tmp_path):
    model.save_pretrained(tmp_path)
    processor.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no stage-1 model"):
        retrieval.load_stage_1(tmp_path)


# ---- ablation ----


def test_the_plan_of_the_package_is_sound():
    plan = ablation.read_plan()
    names = [variant["name"] for variant in plan["variants"]]
    assert {
        "full",
        "fine-to-coarse",
        "no-visual-segment",
        "last-layer-only",
        "no-stage-1",
        "no-prior",
        "no-context",
    } <= set(names)
    assert plan["seeds"] == [0, 1, 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"nonsense": 1}, "unknown"),
        ({"variants": [{"name": "a"}, {"name": "a"}]}, "name of its own"),
        ({"variants": [{"name": "a", "conditions": ["in the dark"]}]}, "in the dark"),
    ],
)
def test_wrong_plans_are_explained(tmp_path, change, message):
    plan = {**ablation.read_plan(), **change}
    (tmp_path / "plan.json").write_text(json.dumps(plan))
    with pytest.raises(ValueError, match=message):
        ablation.read_plan(tmp_path / "plan.json")


def test_ablation_trains_tabulates_and_goes_on(tmp_path):
    try:
        phantom.phantom_vision_folder()
        phantom.phantom_tokenizer_folder()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    plan = ablation.read_plan()
    plan["cohort"] = {
        "num_studies": 24,
        "image_size": 112,
        "fractions": {"train": 0.5, "test": 0.5},
        "laterals": False,
    }
    plan["model"]["text_config"]["num_hidden_layers"] = plan["model"]["decoder_config"]["n_layer"] = 1
    plan["training"]["per_device_train_batch_size"] = 8
    plan["stage_1"]["num_train_epochs"] = plan["stage_2"]["num_train_epochs"] = 1
    plan["generation"] = {"num_beams": 1, "batch_size": 8, "max_length": 12}
    plan["conditions"] = ["all inputs", "without prior"]
    said = []
    options = {"only": ["full", "fine-to-coarse", "no-stage-1"], "seeds": [0], "progress": False, "say": said.append}
    result = ablation.run_ablation(plan, tmp_path, **options)
    assert [line.split(":")[0] for line in said] == ["seed 0, full", "seed 0, fine-to-coarse", "seed 0, no-stage-1"]
    for name in options["only"]:
        assert f"| {name} | without prior |" in result.table
        config = json.loads((tmp_path / "seed0" / name / "config.json").read_text())
        expected = (
            ["visual", "spatiotemporal", "context"]
            if name == "fine-to-coarse"
            else ["context", "spatiotemporal", "visual"]
        )
        assert config["memory_segments"] == expected
    # Variants that differ in the memory only share stage 1.
    assert len(list((tmp_path / "seed0").glob("stage1_*"))) == 1
    monkey = pytest.MonkeyPatch()
    monkey.setattr(ablation._Runner, "_train", lambda *args, **kwargs: pytest.fail("trained again"))
    again = ablation.run_ablation(plan, tmp_path, **options)
    monkey.undo()
    assert again.table == result.table
    plan["model"]["hidden_size"] = 64
    with pytest.raises(ValueError, match="another plan"):
        ablation.run_ablation(plan, tmp_path, **options)


def test_conditions_hide_what_they_say_and_nothing_else():
    from datasets import Dataset

    row = {
        "example_id": "a",
        "prior_image": "x.png",
        "prior_view_position": "AP",
        "indication": "fever",
        "history": "cancer",
    }
    rows = Dataset.from_list([row])
    prior, context = dict.fromkeys(("prior_image", "prior_view_position")), dict.fromkeys(("indication", "history"))
    hidden = {
        "all inputs": {},
        "without prior": prior,
        "without context": context,
        "image alone": {**prior, **context},
    }
    assert {name: ChangedExamples(rows, change)[0] for name, change in CONDITIONS.items()} == {
        name: {**row, **change} for name, change in hidden.items()
    }
    assert rows[0] == row
