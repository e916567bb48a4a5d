"""Folders with code, uploads, model cards and their commands."""

import ast
import fnmatch
import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from hub_helpers import tiny_config, tiny_model, tiny_processor, tiny_stage_1
from typer.testing import CliRunner

from priorrg_hf import PriorRGConfig, PriorRGForContrastivePretraining, PriorRGForReportGeneration
from priorrg_hf.cli import app
from priorrg_hf.publishing import hub
from priorrg_hf.publishing.model_card import render_model_card


REPOSITORY = Path(__file__).resolve().parents[2]
WEIGHTS_AND_SETTINGS = {
    "README.md",
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "processor_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
}


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return tiny_processor(tmp_path_factory.mktemp("processor"))


@pytest.fixture(scope="module")
def config(processor):
    return tiny_config(processor.tokenizer)


@pytest.fixture(scope="module")
def model(config):
    return tiny_model(config)


@pytest.fixture
def uploads(monkeypatch):
    """Stands in for the Hub: what would be uploaded, by the rules of `upload_folder`."""
    made = []

    class Api:
        def __init__(self, token=None):
            self.token = token

        def create_repo(self, repo_id, private=None, exist_ok=False):
            assert exist_ok
            return SimpleNamespace(repo_id=repo_id)

        def upload_folder(self, *, repo_id, folder_path, allow_patterns, **kwargs):
            names = [str(path.relative_to(folder_path)) for path in Path(folder_path).rglob("*") if path.is_file()]
            allowed = {name for name in names if any(fnmatch.fnmatch(name, pattern) for pattern in allow_patterns)}
            texts = {
                name: (Path(folder_path) / name).read_text() for name in allowed if name.endswith((".md", ".json"))
            }
            made.append(
                SimpleNamespace(repo_id=repo_id, names=allowed, texts=texts, left=set(names) - allowed, **kwargs)
            )
            return SimpleNamespace(commit_url=f"https://hub/{repo_id}/commit/1", pr_url=f"https://hub/{repo_id}/pr/1")

    monkeypatch.setattr("huggingface_hub.HfApi", Api)
    return made


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def test_code_files_are_flat_and_closed_under_their_imports():
    paths = hub.code_files()
    names = {path.stem for path in paths}
    assert set(hub.ENTRY_FILES) <= names
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.level:
                # Transformers copies and loads `from .sibling import name` only.
                assert node.level == 1 and node.module in names, f"{path.name}:{node.lineno}"
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                modules = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                assert not any(module.startswith("priorrg_hf") for module in modules), f"{path.name}:{node.lineno}"


def test_folder_with_code(model, processor, tmp_path):
    (tmp_path / "training_log.txt").write_text("stays")
    hub.save_with_code(model, processor, tmp_path)
    code = {path.name for path in hub.code_files()}
    assert files(tmp_path) == WEIGHTS_AND_SETTINGS | code | {"training_log.txt"}
    (tmp_path / "README.md").write_text("written by hand")
    hub.save_with_code(model, processor, tmp_path)
    assert (tmp_path / "README.md").read_text() == "written by hand"
    settings = json.loads((tmp_path / "config.json").read_text())
    assert settings["auto_map"]["AutoModelForImageTextToText"] == "modeling_priorrg.PriorRGForReportGeneration"
    assert settings["custom_pipelines"]["report-generation"]["pt"] == ["AutoModelForImageTextToText"]
    for reference in [*settings["auto_map"].values(), settings["custom_pipelines"]["report-generation"]["impl"]]:
        module, name = reference.split(".")
        assert f"class {name}(" in (tmp_path / f"{module}.py").read_text(encoding="utf-8")
    for name in ("processor_config.json", "tokenizer_config.json"):
        assert json.loads((tmp_path / name).read_text())["auto_map"] == hub.PROCESSOR_AUTO_MAP


def test_saving_with_code_leaves_no_trace_in_memory(model, processor, tmp_path):
    hub.save_with_code(model, processor, tmp_path / "with")
    model.save_pretrained(tmp_path / "plain")
    processor.save_pretrained(tmp_path / "plain")
    assert not any(name.endswith(".py") for name in files(tmp_path / "plain"))
    assert "auto_map" not in (tmp_path / "plain" / "config.json").read_text()
    assert "auto_map" not in (tmp_path / "plain" / "processor_config.json").read_text()
    assert type(model)._auto_class is None and type(processor)._auto_class is None


def test_model_that_came_from_such_a_folder_can_be_saved_again(model, processor, tmp_path, uploads):
    """`pipeline()` puts classes into the configuration, which JSON can't hold."""
    from transformers import pipeline

    hub.save_with_code(model, processor, tmp_path / "first")
    write = pipeline("report-generation", model=str(tmp_path / "first"), trust_remote_code=True)
    before = write.model.config.custom_pipelines
    hub.save_with_code(write.model, write.processor, tmp_path / "second")
    assert write.model.config.custom_pipelines is before
    # Loading fills in data types and tokenizer defaults; what refers to code must come out the same.
    for name in ("config.json", "processor_config.json", "tokenizer_config.json"):
        first, second = (json.loads((tmp_path / folder / name).read_text()) for folder in ("first", "second"))
        for key in ("auto_map", "custom_pipelines", "view_positions"):
            assert first.get(key) == second.get(key)
    for name in files(tmp_path / "first") - {"config.json", "tokenizer_config.json", "tokenizer.json"}:
        assert (tmp_path / "first" / name).read_bytes() == (tmp_path / "second" / name).read_bytes(), name
    hub.push_to_hub(write.model, write.processor, "me/plain", with_code=False)
    (upload,) = uploads
    assert not any("auto_map" in text or "custom_pipelines" in text for text in upload.texts.values())


def test_interrupted_save_leaves_the_old_folder(model, processor, tmp_path, monkeypatch):
    hub.save_with_code(model, processor, tmp_path)
    before = {name: (tmp_path / name).read_bytes() for name in files(tmp_path)}

    def fail(*args, **kwargs):
        raise OSError("disk full")

    monkeypatch.setattr(type(processor), "save_pretrained", fail)
    with pytest.raises(OSError, match="disk full"):
        hub.save_with_code(tiny_model(tiny_config(processor.tokenizer, num_latents=3)), processor, tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in files(tmp_path)} == before


def test_mismatched_processor_and_adapters_are_refused(config, processor, tmp_path):
    other = tiny_model(tiny_config(processor.tokenizer, view_positions={"PA": 0, "unk": 1}))
    with pytest.raises(ValueError, match="view_positions"):
        hub.save_with_code(other, processor, tmp_path)
    other = tiny_model(config)
    other.peft_config = {}
    with pytest.raises(ValueError, match="merge_and_unload"):
        hub.save_with_code(other, processor, tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ValueError, match="Merge it first"):
        hub.load_for_hub(tmp_path)


@pytest.mark.parametrize("with_code", [True, False])
def test_push(model, processor, uploads, with_code):
    address = hub.push_to_hub(model, processor, "me/my-model", with_code=with_code, commit_message="First")
    assert address == "https://hub/me/my-model/commit/1"
    (upload,) = uploads
    code = {path.name for path in hub.code_files()} if with_code else set()
    assert upload.names == WEIGHTS_AND_SETTINGS | code
    assert upload.left == set()
    assert upload.commit_message == "First"
    assert ("auto_map" in upload.texts["config.json"]) == with_code
    assert 'model="me/my-model"' in upload.texts["README.md"]


def test_push_command_takes_nothing_of_a_training_folder(model, processor, uploads, tmp_path):
    folder = tmp_path / "run"
    model.save_pretrained(folder)
    processor.save_pretrained(folder)
    for name in (
        "optimizer.pt",
        "trainer_state.json",
        "patient.png",
        "generated.jsonl",
        "studies.json",
        "logs/events",
    ):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("private")
    (folder / "evaluation.json").write_text(json.dumps({"metrics": {"bleu_4": 0.125}, "dataset": "Somewhere"}))
    arguments = ["push", str(folder), "me/x", "--evaluation", str(folder / "evaluation.json"), "--dataset", "me/data"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert "https://hub/me/x/commit/1" in result.output
    (upload,) = uploads
    assert upload.names == WEIGHTS_AND_SETTINGS | {path.name for path in hub.code_files()}
    assert "private" not in "".join(upload.texts.values())
    metadata = yaml.safe_load(upload.texts["README.md"].split("---")[1])
    assert metadata["model-index"][0]["results"][0]["metrics"][0]["value"] == 0.125
    assert metadata["datasets"] == ["me/data"]


def test_allow_list_keeps_back_what_a_save_might_leave(model, processor, uploads, monkeypatch):
    private = (
        "optimizer.pt",
        "training_args.bin",
        "patient.png",
        "generated.jsonl",
        "studies.csv",
        "log.txt",
        "notes.json",
    )
    save = type(processor).save_pretrained

    def careless_save(self, folder, **kwargs):
        save(self, folder, **kwargs)
        for name in private:
            (Path(folder) / name).write_text("private")

    monkeypatch.setattr(type(processor), "save_pretrained", careless_save)
    hub.push_to_hub(model, processor, "me/x")
    assert uploads[0].left == set(private)


def test_push_command_refuses_other_models(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}')
    result = CliRunner().invoke(app, ["push", str(tmp_path), "me/x"])
    assert result.exit_code == 2
    assert "not a PriorRG model" in result.output


def test_both_heads_load_as_saved(model, config, processor, tmp_path):
    for saved in (model, tiny_stage_1(config)):
        folder = tmp_path / type(saved).__name__
        hub.save_with_code(saved, processor, folder)
        assert type(hub.load_for_hub(folder)[0]) is type(saved)


def card_parts(text: str) -> tuple[dict, str]:
    _, metadata, body = text.split("---\n", 2)
    return yaml.safe_load(metadata), body


def test_card_of_the_published_size():
    evaluation = {
        "dataset": "MIMIC-CXR",
        "split": "test",
        "num_examples": 3852,
        "metrics": {"bleu_4": {"value": 0.175, "low": 0.171, "high": 0.179}, "rouge_l": 0.324},
    }
    text = render_model_card(PriorRGConfig(), evaluation=evaluation, model_name="PriorRG MIMIC", repo_id="me/priorrg")
    metadata, body = card_parts(text)
    assert metadata["license"] == "other" and metadata["library_name"] == "transformers"
    assert metadata["pipeline_tag"] == "image-text-to-text"
    assert metadata["base_model"] == ["microsoft/rad-dino", "microsoft/BiomedVLP-CXR-BERT-specialized"]
    assert {"radiology", "chest-x-ray", "custom_code"} <= set(metadata["tags"])
    (index,) = metadata["model-index"]
    assert index["name"] == "PriorRG MIMIC"
    (result,) = index["results"]
    assert result["dataset"]["name"] == "MIMIC-CXR" and result["dataset"]["split"] == "test"
    assert {metric["name"]: metric["value"] for metric in result["metrics"]} == {"bleu_4": 0.175, "rouge_l": 0.324}
    assert re.search(r"\*\*Research use only, not for clinical decisions\.\*\*", body)
    for heading in ("Use", "Intended use", "Limitations", "Model", "Training", "Evaluation", "Citation"):
        assert f"\n## {heading}\n" in body
    assert "| bleu_4 | 0.175 | 0.171 to 0.179 |\n| rouge_l | 0.324 |  |\n" in body
    assert "| vision encoder | DINOv2, 12 layers of 768, images 518 x 518, frozen |" in body
    assert "| memory | context, spatiotemporal, visual; 128 tokens each, in this order |" in body
    assert "\n\n\n" not in body
    assert "{{" not in text and "{%" not in text


def test_card_takes_the_index_of_an_evaluation(config):
    from huggingface_hub import EvalResult
    from huggingface_hub.repocard_data import eval_results_to_model_index

    results = [
        EvalResult("image-to-text", "phantom", "Phantom", "bleu_4", value, metric_name=name)
        for name, value in (("BLEU-4", 0.25), ("BLEU-4 (references cut)", 0.5))
    ]
    index = eval_results_to_model_index("run-7", results)
    evaluation = {"metrics": {"bleu_4": {"value": 0.25, "low": 0.2, "high": 0.3}}, "model_index": index}
    metadata, body = card_parts(render_model_card(config, evaluation=evaluation, model_name="Mine"))
    assert metadata["model-index"][0]["name"] == "Mine"
    metrics = metadata["model-index"][0]["results"][0]["metrics"]
    assert {metric["name"]: metric["value"] for metric in metrics} == {"BLEU-4": 0.25, "BLEU-4 (references cut)": 0.5}
    assert "| bleu_4 | 0.25 | 0.2 to 0.3 |" in body


def test_card_says_what_is_not_known(config):
    metadata, body = card_parts(render_model_card(config, with_code=False))
    assert "model-index" not in metadata and "base_model" not in metadata and "custom_code" not in metadata["tags"]
    assert "No results are given" in body and "training data are not named" in body
    assert "trust_remote_code" not in body and "priorrg_hf" in body


def test_card_of_stage_1(config):
    metadata, body = card_parts(render_model_card(config, architecture=PriorRGForContrastivePretraining.__name__))
    assert metadata["pipeline_tag"] == "zero-shot-image-classification"
    assert "get_image_features" in body and "decoder" not in body.split("## Model")[1].split("## Training")[0]


def test_usage_examples_of_cards_are_valid_python(config):
    for architecture in (PriorRGForReportGeneration.__name__, PriorRGForContrastivePretraining.__name__):
        body = render_model_card(config, architecture=architecture)
        ast.parse(re.search(r"```python\n(.*?)```", body, re.DOTALL).group(1))


def test_results_that_are_no_numbers_are_refused(config):
    with pytest.raises(ValueError, match="rouge_l"):
        render_model_card(config, evaluation={"metrics": {"rouge_l": "high"}})


def test_card_command(config, tmp_path):
    config.save_pretrained(tmp_path)
    out = tmp_path / "README.md"
    result = CliRunner().invoke(
        app, ["card", str(tmp_path), "--output", str(out), "--name", "Mine", "--training-data", "A phantom."]
    )
    assert result.exit_code == 0, result.output
    assert "# Mine\n" in out.read_text() and "A phantom." in out.read_text()


def test_wheel_holds_the_template(tmp_path):
    pytest.importorskip("hatchling")
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=REPOSITORY,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    script = (
        f"import sys; sys.path.insert(0, {str(tmp_path / 'site')!r})\n"
        "from priorrg_hf.publishing.model_card import template_path\nprint(template_path())"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (
        Path(done.stdout.strip())
        == tmp_path / "site" / "priorrg_hf" / "publishing" / "model_cards" / "model_card.md.jinja"
    )
