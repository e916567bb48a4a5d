"""LoRA on the parts of the model: targets, gradients, saving, merging, training."""

import re

import pytest
import torch
from hub_helpers import inputs_of, studies, tiny_config, tiny_model, tiny_processor, tiny_stage_1


pytest.importorskip("peft")

from peft import PeftModel, get_peft_model
from transformers import Trainer, TrainingArguments, set_seed
from transformers.integrations import peft as peft_integration
from transformers.utils import check_peft_version

from priorrg_hf import PriorRGForReportGeneration
from priorrg_hf.training.lora import PARTS, freeze_batch_norm, lora_config, target_modules


PREFIXES = {
    "decoder": "decoder.transformer.h.",
    "text": "model.text_model.encoder.layer.",
    "vision": "model.vision_model.encoder.layer.",
    "temporal_fusion": "model.temporal_fusion.layers.",
    "perceiver": "model.perceiver.layers.",
}
# Attention linears per layer; two layers in each part of the tiny model, four in the vision encoder.
ATTENTION_LINEARS = {"decoder": 5, "text": 4, "vision": 4, "temporal_fusion": 4, "perceiver": 6}
FEED_FORWARD_LINEARS = {"decoder": 2, "text": 2, "vision": 2, "temporal_fusion": 2, "perceiver": 4}


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return tiny_processor(tmp_path_factory.mktemp("processor"))


@pytest.fixture(scope="module")
def inputs(processor):
    return inputs_of(processor, studies(), reports=["no change", "clear lungs", "larger heart", "tube in place"])


@pytest.fixture
def model(processor):
    return tiny_model(tiny_config(processor.tokenizer))


def logits(model, inputs) -> torch.Tensor:
    model.eval()
    with torch.no_grad():
        return model(**inputs).logits


def adapt(model, *args, **kwargs):
    """A LoRA model that is not the base model any more."""
    set_seed(1)
    model = get_peft_model(freeze_batch_norm(model), lora_config(*args, **kwargs))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    return model


@pytest.mark.parametrize("feed_forward", [False, True])
@pytest.mark.parametrize("part", PARTS)
def test_targets_of_each_part(model, part, feed_forward):
    pattern = target_modules((part,), feed_forward)
    found = [name for name, module in model.named_modules() if re.fullmatch(pattern, name)]
    linears = ATTENTION_LINEARS[part] + feed_forward * FEED_FORWARD_LINEARS[part]
    layers = 4 if part == "vision" else 2
    assert len(found) == layers * linears, found
    assert all(name.startswith(PREFIXES[part]) for name in found)


def test_targets_of_the_encoder_alone(model):
    names = [
        name for name, _ in model.model.named_modules() if re.fullmatch(target_modules(("text", "perceiver")), name)
    ]
    assert len(names) == 2 * 4 + 2 * 6


@pytest.mark.parametrize("parts", [("lungs",), (), ("decoder", "lungs")])
def test_unknown_parts_are_refused(parts):
    with pytest.raises(ValueError, match="decoder, text, vision, temporal_fusion, perceiver"):
        lora_config(parts)


@pytest.mark.parametrize("parts", [("decoder",), ("vision",), PARTS])
@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
def test_only_the_adapters_learn_and_the_start_is_the_base_model(model, inputs, parts):
    expected = logits(model, inputs)
    adapted = get_peft_model(freeze_batch_norm(model), lora_config(parts))
    assert torch.equal(logits(adapted, inputs), expected)
    statistics = {name: buffer.clone() for name, buffer in adapted.named_buffers()}
    adapted.train()
    adapted(**inputs).loss.backward()
    for name, parameter in adapted.named_parameters():
        is_adapter = "lora_" in name
        assert parameter.requires_grad == is_adapter
        if "lora_B" in name:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
        elif not is_adapter:
            assert parameter.grad is None
    assert all(torch.equal(buffer, statistics[name]) for name, buffer in adapted.named_buffers())


@pytest.mark.filterwarnings("ignore:fan_in_fan_out")
def test_save_load_and_merge(processor, model, inputs, tmp_path):
    base = logits(model, inputs)
    adapted = adapt(model, ("decoder", "text", "perceiver", "temporal_fusion"), feed_forward=True)
    expected = logits(adapted, inputs)
    assert not torch.allclose(expected, base, atol=1e-2)

    adapted.save_pretrained(tmp_path)
    assert sum(path.stat().st_size for path in tmp_path.glob("adapter_model*")) < 400_000
    fresh = tiny_model(tiny_config(processor.tokenizer))
    assert torch.equal(logits(fresh, inputs), base)
    loaded = PeftModel.from_pretrained(fresh, tmp_path)
    assert torch.equal(logits(loaded, inputs), expected)
    with loaded.disable_adapter():
        assert torch.equal(logits(loaded, inputs), base)

    # In 64 bits, because merging changes the order of sums.
    inputs = {name: value.double() if value.is_floating_point() else value for name, value in inputs.items()}
    expected = logits(loaded.double(), inputs)
    # PEFT compares the text encoder's embeddings with the decoder's head, and takes them for untied.
    with pytest.warns(UserWarning, match="no longer tied"):
        merged = loaded.merge_and_unload()
    assert type(merged) is PriorRGForReportGeneration
    torch.testing.assert_close(logits(merged, inputs), expected, rtol=1e-9, atol=1e-9)
    merged.save_pretrained(tmp_path / "merged")
    again = PriorRGForReportGeneration.from_pretrained(tmp_path / "merged", dtype=torch.float64)
    torch.testing.assert_close(logits(again, inputs), expected, rtol=1e-9, atol=1e-9)
    assert again.decoder.lm_head.weight is again.decoder.transformer.wte.weight


@pytest.mark.parametrize("task_type", [None, "SEQ_2_SEQ_LM", "FEATURE_EXTRACTION"])
def test_task_types(model, inputs, task_type):
    adapted = adapt(model, ("decoder",), task_type=task_type)
    contexts = {name: value for name, value in inputs.items() if "decoder" not in name and name != "labels"}
    given = inputs if task_type != "FEATURE_EXTRACTION" else {k: v for k, v in inputs.items() if k != "labels"}
    expected = logits(adapt(tiny_model(model.config), ("decoder",)), inputs)
    assert torch.equal(logits(adapted, given), expected)
    ids = adapted.generate(**contexts, max_new_tokens=4)
    assert torch.equal(ids, adapted.base_model.model.generate(**contexts, max_new_tokens=4))


def test_stage_1_takes_adapters(processor):
    model = tiny_stage_1(tiny_config(processor.tokenizer))
    batch = inputs_of(processor, studies(), reports=["a", "b", "c", "d"], report_task="alignment")
    adapted = get_peft_model(freeze_batch_norm(model), lora_config(("text", "perceiver")))
    adapted.train()
    adapted(**batch).loss.backward()
    assert all(p.grad is not None for name, p in adapted.named_parameters() if "lora_B" in name)


def _transformers_takes_this_peft() -> bool:
    try:
        check_peft_version(min_version=peft_integration.MIN_PEFT_VERSION)
    except ValueError:
        return False
    return True


@pytest.mark.skipif(not _transformers_takes_this_peft(), reason="transformers' own adapter methods need a newer PEFT")
def test_add_adapter_of_transformers(processor, model, inputs, tmp_path):
    base = logits(model, inputs)
    model.add_adapter(lora_config(("decoder",)), adapter_name="ward")
    assert torch.equal(logits(model, inputs), base)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.normal_(std=0.2)
    expected = logits(model, inputs)
    model.save_pretrained(tmp_path)
    assert not (tmp_path / "model.safetensors").exists()
    fresh = tiny_model(tiny_config(processor.tokenizer))
    fresh.load_adapter(str(tmp_path), adapter_name="ward")
    assert torch.equal(logits(fresh, inputs), expected)
    fresh.disable_adapters()
    assert torch.equal(logits(fresh, inputs), base)


def test_a_peft_too_old_for_transformers_is_told_with_what_works(model, inputs, tmp_path, monkeypatch):
    monkeypatch.setattr(peft_integration, "MIN_PEFT_VERSION", "99.0")
    before = logits(model, inputs)
    with pytest.raises(ImportError, match=r"add_adapter.*99\.0.*get_peft_model"):
        model.add_adapter(lora_config())
    with pytest.raises(ImportError, match=r"load_adapter.*99\.0.*PeftModel\.from_pretrained"):
        model.load_adapter(str(tmp_path))
    assert not any("lora_" in name for name, _ in model.named_parameters())
    # what the message names works, whatever transformers wants
    adapted = adapt(model)
    assert not torch.allclose(logits(adapted, inputs), before, atol=1e-2)


def test_training_changes_the_adapter_alone(model, inputs, tmp_path):
    adapted = get_peft_model(freeze_batch_norm(model), lora_config(("decoder", "perceiver"), r=4))
    before = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    rows = [{name: value[i] for name, value in inputs.items()} for i in range(4)]
    arguments = TrainingArguments(
        str(tmp_path),
        max_steps=2,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = Trainer(adapted, arguments, train_dataset=rows, data_collator=lambda rows: _stack(rows))
    assert trainer.train().global_step == 2
    changed = {name for name, tensor in adapted.state_dict().items() if not torch.equal(tensor, before[name])}
    assert changed and all("lora_" in name for name in changed)

    trainer.save_model(tmp_path / "adapter")
    loaded = PeftModel.from_pretrained(tiny_model(model.config), tmp_path / "adapter")
    assert torch.equal(logits(loaded, inputs), logits(adapted, inputs))


def _stack(rows: list[dict]) -> dict:
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def test_frozen_batch_norm_is_still_the_same_checkpoint(model, tmp_path, inputs):
    expected = logits(model, inputs)
    freeze_batch_norm(model).train()
    assert not any(module.training for module in model.modules() if "BatchNorm" in type(module).__name__)
    assert model.decoder.training
    model.save_pretrained(tmp_path)
    assert torch.equal(logits(PriorRGForReportGeneration.from_pretrained(tmp_path), inputs), expected)
