"""`priorrg sweep`, `ablate` and `retrieve` from the command line, on tiny models and phantom studies."""

import json

import pytest
from datasets import DatasetDict
from hub_helpers import tiny_config, tiny_model, tiny_processor, tiny_stage_1
from typer.testing import CliRunner


pytest.importorskip("pycocoevalcap.bleu.bleu")

from priorrg_hf import phantom
from priorrg_hf.cli import app
from priorrg_hf.evaluation import ablation
from priorrg_hf.metrics import retrieval as search_module


def run(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def said(result) -> str:
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Folders of a report generator, of a stage-1 model and of 12 studies with labels."""
    root = tmp_path_factory.mktemp("command")
    processor = tiny_processor(root / "processor")
    config = tiny_config(processor.tokenizer)
    for name, model in (("stage2", tiny_model(config)), ("stage1", tiny_stage_1(config))):
        model.save_pretrained(root / name)
        processor.save_pretrained(root / name)
    cohort = phantom.make_phantom_cohort(
        40, 0, 32, fractions={"train": 0.4, "test": 0.6}, cache_dir=str(root / "cohort"), laterals=False
    )
    studies = cohort["test"].remove_columns(["facts"])
    studies = studies.select(range(min(12, len(studies))))
    DatasetDict({"test": studies}).save_to_disk(str(root / "data"))
    return root


def test_sweep(folders, tmp_path):
    arguments = [
        "sweep", folders / "stage2", "-d", folders / "data", "-o", tmp_path, "--only", "prior", "--only", "context", "--steps", 2,
        "--replicates", 5, "--num-beams", 1, "--max-length", 6, "--device", "cpu", "--limit", 6,
    ]  # fmt: skip
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    assert "| prior 0 % | 6 |" in result.output and "| context 0 % | 6 |" in result.output
    content = json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8"))
    assert set(content["questions"]) == {"prior", "context"} and not content["skipped"]
    assert (tmp_path / "prior.png").is_file() and str(tmp_path / "sweep.md") in said(result).replace(" ", "")
    again = run(*arguments, "--strict")  # from the reports on disk, to which --strict does not matter
    assert again.exit_code == 0 and json.loads((tmp_path / "sweep.json").read_text(encoding="utf-8")) == content
    wrong = run("sweep", folders / "stage2", "-d", folders / "data", "-o", tmp_path, "--only", "weather")
    assert wrong.exit_code == 2 and "prior-gap" in wrong.output


def with_a_broken_image(folders, folder, column):
    """The studies, one of whose images of a kind is no image; gives the folder and the study."""
    from datasets import load_from_disk

    studies = load_from_disk(str(folders / "data"))["test"]
    broken = next(row["study_id"] for row in studies if column != "prior" or row["prior"])
    bad = {"bytes": b"no image", "path": None}

    def spoil(row):
        if row["study_id"] == broken and column == "prior":
            return {"prior": {**row["prior"], "image": bad}}
        if row["study_id"] == broken:
            return {"images": [{**image, "image": bad} for image in row["images"]]}
        return {}

    DatasetDict({"test": studies.map(spoil, features=studies.features)}).save_to_disk(str(folder))
    return folder, broken


def test_sweep_scores_all_settings_on_the_same_readable_studies(folders, tmp_path):
    data, _ = with_a_broken_image(folders, tmp_path / "data", "prior")
    arguments = [
        "sweep", folders / "stage2", "-d", data, "-o", tmp_path / "out", "--only", "prior", "--steps", 2, "--replicates", 5,
        "--num-beams", 1, "--max-length", 6, "--device", "cpu",
    ]  # fmt: skip
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "out" / "sweep.json").read_text(encoding="utf-8"))
    # With the prior hidden the study can be read; it is left out there too.
    assert len({point["n"] for point in content["questions"]["prior"]["points"]}) == 1
    assert len(content["skipped"]) == 1 and "1 studies could not be read" in content["notes"][0]
    assert "left out:" in result.output
    strict = run(*arguments, "--strict", "--no-resume")
    assert strict.exit_code == 2 and next(iter(content["skipped"])) in said(strict)


def test_retrieve(folders, tmp_path):
    arguments = [
        "retrieve",
        folders / "stage1",
        "-d",
        folders / "data",
        "-o",
        tmp_path,
        "--device",
        "cpu",
        "--batch-size",
        5,
    ]
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    content = json.loads((tmp_path / "retrieval.json").read_text(encoding="utf-8"))
    assert list(content["conditions"]) == ["all inputs", "without prior", "without context", "image alone"]
    assert content["n"] == 12 and content["skipped"] == {}
    assert "| image_to_report_recall@1 |" in result.output
    assert (tmp_path / "embeddings_image_alone.safetensors").is_file()
    wrong = run("retrieve", folders / "stage2", "-d", folders / "data", "-o", tmp_path / "wrong")
    assert wrong.exit_code == 2 and "no stage-1 model" in said(wrong)
    few = run(*arguments, "--per-class", 200)
    assert few.exit_code == 2 and ("too few studies" in said(few) or "has no labels" in said(few))


def test_retrieve_reports_what_it_leaves_out_also_from_stored_embeddings(folders, tmp_path):
    data, _ = with_a_broken_image(folders, tmp_path / "data", "prior")
    arguments = ["retrieve", folders / "stage1", "-d", data, "-o", tmp_path / "out", "--device", "cpu"]
    for _ in range(2):  # the second from file
        result = run(*arguments)
        assert result.exit_code == 0, result.output
        content = json.loads((tmp_path / "out" / "retrieval.json").read_text(encoding="utf-8"))
        assert content["n"] == 11 and len(content["skipped"]) == 1
        name, reason = next(iter(content["skipped"].items()))
        assert f"left out: {name}" in result.output and reason
        assert "1 studies could not be read" in result.output
    strict = run(*arguments, "--strict")
    assert strict.exit_code == 2 and f"study {name}" in said(strict)


def test_retrieve_with_faiss_from_a_stated_size_on(folders, tmp_path, monkeypatch):
    pytest.importorskip("faiss", reason="faiss is not installed (extra retrieval)")
    arguments = ["retrieve", folders / "stage1", "-d", folders / "data", "--device", "cpu"]
    scores = {}
    for backend in ("torch", "faiss"):
        assert run(*arguments, "--backend", backend, "-o", tmp_path / backend).exit_code == 0
        scores[backend] = json.loads((tmp_path / backend / "retrieval.json").read_text(encoding="utf-8"))["conditions"]
    for condition, values in scores["torch"].items():
        assert scores["faiss"][condition] == pytest.approx(values), condition
    used = []
    found = search_module._faiss
    monkeypatch.setattr(search_module, "_faiss", lambda required: used.append(required) or found(required))
    assert run(*arguments, "-o", tmp_path / "small").exit_code == 0 and not used
    monkeypatch.setattr(search_module, "FAISS_FROM", 5)
    assert run(*arguments, "-o", tmp_path / "large").exit_code == 0 and used


def test_retrieve_without_faiss_says_what_to_install(folders, tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "faiss", None)
    result = run(
        "retrieve", folders / "stage1", "-d", folders / "data", "--backend", "faiss", "-o", tmp_path, "--device", "cpu"
    )
    assert result.exit_code == 2 and "pip install 'priorrg-hf[retrieval]'" in said(result)
    result = run(
        "retrieve", folders / "stage1", "-d", folders / "data", "--backend", "annoy", "-o", tmp_path, "--device", "cpu"
    )
    assert result.exit_code == 2 and "'annoy'" in said(result)


def test_ablate_lists_its_variants_and_names_wrong_ones(tmp_path):
    listed = run("ablate", "--list")
    assert listed.exit_code == 0
    names = [line.split(":")[0] for line in listed.output.splitlines()]
    assert names == [variant["name"] for variant in ablation.read_plan()["variants"]]
    wrong = run("ablate", "-o", tmp_path, "--only", "nonsense")
    assert wrong.exit_code == 2 and "no-stage-1" in said(wrong)
    seeds = run("ablate", "-o", tmp_path, "--seeds", "0,one")
    assert seeds.exit_code == 2 and "--seeds" in said(seeds)


def test_ablate_trains_from_a_plan_and_tabulates(tmp_path):
    try:
        phantom.phantom_vision_folder()
        phantom.phantom_tokenizer_folder()
    except FileNotFoundError as error:
        pytest.skip(str(error))
    plan = ablation.read_plan()
    plan["cohort"] = {
        "num_studies": 16,
        "image_size": 112,
        "fractions": {"train": 0.5, "test": 0.5},
        "laterals": False,
    }
    plan["model"]["text_config"]["num_hidden_layers"] = plan["model"]["decoder_config"]["n_layer"] = 1
    plan["stage_1"]["num_train_epochs"] = plan["stage_2"]["num_train_epochs"] = 1
    plan["generation"] = {"num_beams": 1, "batch_size": 8, "max_length": 8}
    plan["conditions"] = ["all inputs"]
    (tmp_path / "plan.json").write_text(json.dumps(plan), encoding="utf-8")
    result = run(
        "ablate", "--plan", tmp_path / "plan.json", "-o", tmp_path / "out", "--only", "no-stage-1", "--seeds", "3"
    )
    assert result.exit_code == 0, result.output
    assert "| no-stage-1 | all inputs | 1 |" in result.output and "seed 3, no-stage-1" in result.output
    content = json.loads((tmp_path / "out" / "ablation.json").read_text(encoding="utf-8"))
    assert content["seeds"] == [3] and list(content["variants"]) == ["no-stage-1"]
