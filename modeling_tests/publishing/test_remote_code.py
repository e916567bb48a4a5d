"""A folder saved with code, in an interpreter that has transformers but not this package."""

import json

import pytest
import torch
from hub_helpers import inputs_of, run_without_package, studies, tiny_config, tiny_model, tiny_processor, tiny_stage_1
from safetensors.torch import save_file
from transformers import pipeline

from priorrg_hf.publishing.hub import save_with_code


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Both stages with code, tensors in, and what this process makes of them."""
    folder = tmp_path_factory.mktemp("hub")
    processor = tiny_processor(folder)
    config = tiny_config(processor.tokenizer)
    model, stage_1 = tiny_model(config), tiny_stage_1(config)
    save_with_code(model, processor, folder / "stage_2")
    save_with_code(stage_1, processor, folder / "stage_1")

    rows = studies()
    inputs = inputs_of(processor, rows, reports=["no change", "clear", "larger heart", "tube"])
    contexts = {key: value for key, value in inputs.items() if key not in ("labels", "decoder_input_ids")}
    contexts.pop("decoder_attention_mask")
    reports = inputs_of(processor, rows, reports=["a", "b", "c", "d"], report_task="alignment")
    with torch.no_grad():
        expected = {
            "memory": model.model(**contexts).last_hidden_state,
            "logits": model(**inputs).logits,
            "logits_per_image": stage_1(**reports).logits_per_image,
            "ids": model.generate(**contexts),
        }
    tensors = {f"in.{key}": value for key, value in inputs.items()}
    tensors |= {f"report.{key}": value for key, value in reports.items()}
    tensors |= {f"out.{key}": value for key, value in expected.items()}
    save_file({key: value.contiguous() for key, value in tensors.items()}, folder / "expected.safetensors")

    write = pipeline("report-generation", model=model, processor=processor)
    for row in rows:
        for key in ("image", "prior_image"):
            if row.get(key) is not None:
                row[key].save(folder / f"{row['study_id']}_{key}.png")
                row[key] = str(folder / f"{row['study_id']}_{key}.png")
    texts = [output[0]["generated_text"] for output in write(rows)]
    (folder / "studies.json").write_text(json.dumps({"rows": rows, "texts": texts}), encoding="utf-8")
    return folder


def check(folder, script: str):
    done = run_without_package(script, folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


COMMON = """
import json, torch
from safetensors.torch import load_file
tensors = load_file("expected.safetensors")
def part(name):
    return {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith(name + ".")}
inputs, reports, expected = part("in"), part("report"), part("out")
contexts = {key: value for key, value in inputs.items() if "decoder" not in key and key != "labels"}
def remote(thing):
    assert type(thing).__module__.startswith("transformers_modules."), type(thing).__module__
    return thing
"""


def test_models_processor_and_pipeline_are_the_same_without_the_package(folder):
    check(
        folder,
        COMMON
        + """
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoModelForZeroShotImageClassification
from transformers import AutoProcessor, pipeline

remote(AutoConfig.from_pretrained("stage_2", trust_remote_code=True))
with torch.no_grad():
    base = remote(AutoModel.from_pretrained("stage_2", trust_remote_code=True))
    assert torch.equal(base(**contexts).last_hidden_state, expected["memory"])
    model = remote(AutoModelForImageTextToText.from_pretrained("stage_2", trust_remote_code=True))
    assert torch.equal(model(**inputs).logits, expected["logits"])
    assert torch.equal(model.generate(**contexts), expected["ids"])
    stage_1 = remote(AutoModelForZeroShotImageClassification.from_pretrained("stage_1", trust_remote_code=True))
    assert torch.equal(stage_1(**reports).logits_per_image, expected["logits_per_image"])
    # Stage 1's folder starts stage 2: only the decoder, layer fusion and its norm are new.
    started, report = AutoModelForImageTextToText.from_pretrained(
        "stage_1", trust_remote_code=True, output_loading_info=True
    )
    new = {name.split(".")[1] if name.startswith("model.") else name.split(".")[0] for name in report["missing_keys"]}
    assert new == {"decoder", "layer_fusion", "visual_norm"}, new

processor = remote(AutoProcessor.from_pretrained("stage_2", trust_remote_code=True))
stored = json.load(open("studies.json"))
rows, texts = stored["rows"], stored["texts"]
made = processor(
    images=[row["image"] for row in rows],
    prior_images=[row.get("prior_image") for row in rows],
    indication=[row.get("indication") for row in rows],
    history=[row.get("history") for row in rows],
    view_positions=[row.get("view_position") for row in rows],
    prior_view_positions=[row.get("prior_view_position") for row in rows],
)
assert set(made) == set(contexts)
for key, value in made.items():
    assert torch.equal(value, contexts[key]), key

write = remote(pipeline(model="stage_2", trust_remote_code=True))
assert write.task == "report-generation"
assert [output[0]["generated_text"] for output in write(rows)] == texts
assert [output[0]["generated_text"] for output in write(rows, batch_size=2)] == texts
named = pipeline("report-generation", model="stage_2", trust_remote_code=True)
assert named(rows[1])[0] == {"generated_text": texts[1], "study_id": "s1"}

# What users save again still runs.
model.save_pretrained("again")
processor.save_pretrained("again")
again = AutoModelForImageTextToText.from_pretrained("again", trust_remote_code=True)
with torch.no_grad():
    assert torch.equal(again(**inputs).logits, expected["logits"])
remote(AutoProcessor.from_pretrained("again", trust_remote_code=True))
""",
    )


def test_nothing_loads_without_trust(folder):
    check(
        folder,
        """
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText, AutoProcessor, pipeline
loads = [
    lambda: AutoConfig.from_pretrained("stage_2"),
    lambda: AutoModel.from_pretrained("stage_2"),
    lambda: AutoModelForImageTextToText.from_pretrained("stage_2", trust_remote_code=False),
    lambda: AutoProcessor.from_pretrained("stage_2"),
    lambda: pipeline("report-generation", model="stage_2"),
]
for load in loads:
    try:
        load()
    except ValueError as error:
        assert "trust_remote_code" in str(error), error
    else:
        raise AssertionError("loaded remote code without trust")
""",
    )


def test_remote_code_needs_transformers_and_its_dependencies_only(folder):
    """pydicom and the rest of the extras may be absent, and importing the code prints nothing."""
    done = check(
        folder,
        """
import importlib.abc, sys
class Extras(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("pydicom", "pylibjpeg", "openjpeg", "libjpeg", "simplejpeg", "jpeg_ls", "typer"):
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Extras())
from transformers import AutoModelForImageTextToText, AutoProcessor
from transformers.utils import logging
logging.disable_progress_bar()
processor = AutoProcessor.from_pretrained("stage_2", trust_remote_code=True)
model = AutoModelForImageTextToText.from_pretrained("stage_2", trust_remote_code=True)
ids = model.generate(**processor(images="s0_image.png"))
assert processor.post_process_reports(ids)
assert not any(name.startswith("priorrg_hf") for name in sys.modules)
""",
    )
    assert (done.stdout, done.stderr) == ("", "")
