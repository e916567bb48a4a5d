"""The demo on a handful of studies: every file appears, a second call repeats nothing, another demo's folder is refused."""

import json
from types import SimpleNamespace

import pytest


pytest.importorskip("datasets")

from transformers import GPT2Config

from priorrg_hf.phantom import load_phantom_tokenizer, load_phantom_vision, phantom_decoder_folder
from priorrg_hf.phantom.demo import (
    MODEL_SHAPE,
    TESTED_CONDITIONS,
    DemoSettings,
    check_targets,
    new_demo_model,
    run_demo,
)
from priorrg_hf.phantom.demo_page import scores_as_markdown, write_page


SETTINGS = DemoSettings(num_studies=24, stage_1_epochs=1, stage_2_epochs=1, batch_size=8, max_length=12)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    steps = []
    result = run_demo(folder, SETTINGS, num_proc=1, progress=False, say=steps.append)
    return SimpleNamespace(folder=folder, result=result, steps=steps)


def test_every_result_is_there(finished):
    names = {path.name for path in finished.folder.iterdir()}
    assert {"stage1", "stage2", "scores.json", "scores.md", "index.html", "demo.json"} <= names
    reports = [f"reports_{name}.jsonl" for name in ("all_inputs", "without_prior", "without_context")]
    for name in reports:
        rows = [json.loads(line) for line in (finished.folder / name).read_text(encoding="utf-8").splitlines()]
        assert len(rows) == 2 and all(row["reference"] and "prediction" in row for row in rows)
    assert not any(json.loads(line)["has_prior"] for line in (finished.folder / reports[1]).open(encoding="utf-8"))
    assert not any(json.loads(line)["has_context"] for line in (finished.folder / reports[2]).open(encoding="utf-8"))
    assert len(finished.steps) == 4
    page = (finished.folder / "index.html").read_text(encoding="utf-8")
    assert page.count("<article>") == 2 and "not for clinical decisions" in page
    scores = json.loads((finished.folder / "scores.json").read_text(encoding="utf-8").replace("NaN", "null"))
    assert set(scores["scores"]) == set(TESTED_CONDITIONS)


def test_a_second_call_trains_and_writes_nothing_again(finished):
    kept = [*finished.folder.glob("stage?/model.safetensors"), *finished.folder.glob("reports_*.jsonl")]
    before = {path: (path.stat().st_mtime_ns if path.suffix == ".safetensors" else path.read_bytes()) for path in kept}
    again = run_demo(finished.folder, SETTINGS, num_proc=1, progress=False, say=lambda text: None)
    after = {path: (path.stat().st_mtime_ns if path.suffix == ".safetensors" else path.read_bytes()) for path in kept}
    assert after == before and len(kept) == 5
    assert json.dumps(again["scores"]) == json.dumps(finished.result["scores"])


def test_a_lost_step_alone_is_done_again(finished):
    path = finished.folder / "reports_without_prior.jsonl"
    text = path.read_text(encoding="utf-8")
    path.unlink()
    run_demo(finished.folder, SETTINGS, num_proc=1, progress=False, say=lambda text: None)
    assert path.read_text(encoding="utf-8") == text


def test_another_demo_is_refused(finished):
    with pytest.raises(ValueError, match="other seed"):
        run_demo(finished.folder, DemoSettings(**{**SETTINGS.__dict__, "seed": 5}), say=lambda text: None)


def test_targets():
    def scores(change, cause, rate=0.0):
        return {
            "presence_f1": 0.95,
            "change_accuracy": change,
            "cause_accuracy": cause,
            "comparison_without_prior_rate": rate,
        }

    table = {
        "all inputs": scores(0.8, 0.9),
        "without prior": scores(0.6, 0.9, 0.5),
        "without context": scores(0.8, 0.2),
    }
    met = [target["met"] for target in check_targets(table).values()]
    assert met == [True, False, True, False]


def test_texts_cannot_break_the_page(tmp_path):
    from datasets import Dataset

    text = "<script>alert(1)</script>"
    example = {"example_id": "a", "view_position": "AP", "prior_view_position": None, "prior_image": None}
    example.update(image={"bytes": b"x"}, findings=text, indication=text, history=None)
    result = {"scores": {}, "targets": {}, "notice": "n"}
    write_page(tmp_path / "p.html", result, Dataset.from_list([example]), {"all inputs": [SimpleNamespace(example_id="a", prediction=text)]})  # fmt: skip
    assert "<script>" not in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_page_shows_studies_from_all_over_the_split(tmp_path):
    from datasets import Dataset

    rows = [
        {
            "example_id": f"study-{index}",
            "view_position": "AP",
            "prior_view_position": "PA" if index % 2 else None,
            "prior_image": {"bytes": b"x"} if index % 2 else None,
            "image": {"bytes": b"x"},
            "findings": f"true report {index}",
            "indication": None,
            "history": None,
        }
        for index in range(40)
    ]
    target = {"bound": "at least 0.9", "value": 0.95, "met": True}
    result = {"scores": {}, "targets": {"presence F1": target}, "notice": "n"}
    write_page(tmp_path / "p.html", result, Dataset.from_list(rows), {"all inputs": []}, num_examples=8)
    page = (tmp_path / "p.html").read_text(encoding="utf-8")
    shown = [index for index in range(40) if f"true report {index}<" in page]
    assert len(shown) == 8 == page.count("<article>") and sum(index % 2 for index in shown) == 6
    assert max(shown) > 30 and page.count("no prior study") == 2 and "<td>0.950</td><td>yes</td>" in page


def test_table_shows_missing_scores_as_dashes():
    result = {
        "scores": {"all inputs": {"reports": 2.0, "presence_f1": float("nan")}},
        "targets": {},
        "settings": {},
        "notice": "",
    }
    assert "| all inputs | - |" in scores_as_markdown(result)


def test_backbones_fit_each_other():
    model, processor = new_demo_model()
    stored = load_phantom_vision().state_dict()
    for name, value in model.model.vision_model.state_dict().items():
        assert value.equal(stored[name]), name
    assert len(load_phantom_tokenizer()) == model.config.decoder_config.vocab_size
    decoder = GPT2Config.from_pretrained(phantom_decoder_folder()).to_dict()
    assert {name: decoder[name] for name in MODEL_SHAPE["decoder_config"]} == MODEL_SHAPE["decoder_config"]
    assert decoder["vocab_size"] == len(load_phantom_tokenizer())
    assert processor.tokenizer.convert_tokens_to_ids(["[PAD]", "[SEP]", "[CLS]"]) == [1000, 1001, 1002]
