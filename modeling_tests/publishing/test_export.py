"""Exported programs: the same numbers as eager at other batch sizes and lengths, after saving and loading."""

import json

import pytest
import torch
from hub_helpers import inputs_of, studies, tiny_config, tiny_model, tiny_processor, tiny_stage_1
from typer.testing import CliRunner

from priorrg_hf.cli import app
from priorrg_hf.publishing.export import (
    ENCODER_INPUTS,
    STEP_INPUTS,
    ExportableEncoder,
    ExportedReportGenerator,
    export_programs,
    save_onnx,
)


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return tiny_processor(tmp_path_factory.mktemp("processor"))


@pytest.fixture(scope="module")
def model(processor):
    small = {"perceiver_num_blocks": 1, "temporal_fusion_num_blocks": 1}
    config = tiny_config(processor.tokenizer, **small)
    # A decoder of another width than the memory, so that the projection between them is exported as well.
    decoder = {**config.decoder_config.to_dict(), "n_embd": 48}
    vision = {"image_size": 28, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = tiny_config(processor.tokenizer, decoder_config=decoder, vision_config=vision, **small)
    return tiny_model(config)


@pytest.fixture(scope="module")
def folder(model, processor, tmp_path_factory):
    """The programs, made by the command."""
    folder = tmp_path_factory.mktemp("export")
    model.save_pretrained(folder / "model")
    processor.save_pretrained(folder / "model")
    result = CliRunner().invoke(app, ["export", str(folder / "model"), "-o", str(folder / "out")])
    assert result.exit_code == 0, result.output
    assert {path.name for path in (folder / "out").iterdir()} == {"encoder.pt2", "decoder_step.pt2", "export.json"}
    return folder / "out"


@pytest.fixture(scope="module")
def generator(folder):
    return ExportedReportGenerator(folder)


def batches(processor) -> list[dict[str, torch.Tensor]]:
    """Batch sizes and context lengths that were not traced; with priors, without, and mixed."""
    rows = studies()
    return [
        inputs_of(processor, rows),
        inputs_of(processor, rows[:1]),
        inputs_of(processor, [rows[1], rows[3], rows[1]]),
    ]


def test_encoder_equals_eager(generator, model, processor):
    for inputs in batches(processor):
        memory, keys, values = generator.encoder(*(inputs[name] for name in ENCODER_INPUTS))
        with torch.no_grad():
            expected = model.get_encoder()(**inputs).last_hidden_state
        torch.testing.assert_close(memory, expected, rtol=1e-5, atol=1e-5)
        assert keys.shape == values.shape == (2, len(memory), 4, memory.shape[1], 12)


def test_reports_equal_eager(generator, model, processor):
    for inputs in batches(processor):
        expected = model.generate(**inputs, num_beams=1, do_sample=False)
        assert torch.equal(generator.generate(**inputs), expected)
    assert generator.generate(max_length=4, **inputs).shape == (3, 4)


def test_each_step_gives_the_logits_of_the_whole_report(generator, model, processor):
    inputs = batches(processor)[0]
    ids = torch.tensor([[model.config.decoder_start_token_id, 5, 6, 7, 8]]).expand(4, -1)
    with torch.no_grad():
        expected = model(**inputs, decoder_input_ids=ids).logits
    _, memory_keys, memory_values = generator.encoder(*(inputs[name] for name in ENCODER_INPUTS))
    keys = values = memory_keys.new_zeros(2, 4, 4, 0, 12)
    for position in range(ids.shape[1]):
        token = ids[:, position : position + 1]
        logits, keys, values = generator.decoder_step(token, keys, values, memory_keys, memory_values)
        torch.testing.assert_close(logits, expected[:, position], rtol=1e-4, atol=1e-4)
    assert keys.shape[3] == 5


def test_description_names_everything_a_runtime_needs(folder, model):
    description = json.loads((folder / "export.json").read_text())
    assert description["encoder"]["inputs"] == list(ENCODER_INPUTS)
    assert description["decoder_step"]["inputs"] == list(STEP_INPUTS)
    assert (description["num_layers"], description["num_heads"], description["head_dim"]) == (2, 4, 12)
    assert description["eos_token_id"] == model.config.eos_token_id
    assert "not for clinical decisions" in description["notice"]


def test_models_export_by_themselves(model, processor):
    """Without the wrappers: the encoder, and the decoder over a whole report of any length."""
    inputs = dict(batches(processor)[0])
    batch, tokens, length = (torch.export.Dim(name, min=1, max=32) for name in ("batch", "tokens", "length"))
    shapes = {name: {0: batch, 1: tokens} if "mask" in name or "ids" in name else {0: batch} for name in inputs}
    for name in ("view_position_ids", "prior_view_position_ids", "prior_mask"):
        shapes[name] = {0: batch}
    with torch.no_grad():
        memory = model.get_encoder()(**inputs).last_hidden_state
        program = torch.export.export(
            model,
            (),
            {"encoder_outputs": (memory,), "decoder_input_ids": torch.full((4, 6), 7), "use_cache": False},
            dynamic_shapes={
                "encoder_outputs": ({0: batch},),
                "decoder_input_ids": {0: batch, 1: length},
                "use_cache": None,
            },
            strict=False,
        )
        ids = torch.arange(9)[None].expand(3, -1)
        exported = program.module()(encoder_outputs=(memory[:3],), decoder_input_ids=ids, use_cache=False)
        expected = model(encoder_outputs=(memory[:3],), decoder_input_ids=ids, use_cache=False)
        torch.testing.assert_close(exported.logits, expected.logits, rtol=1e-5, atol=1e-5)

        program = torch.export.export(model.get_encoder(), (), inputs, dynamic_shapes=shapes, strict=False)
        other = batches(processor)[2]
        exported = program.module()(**other).last_hidden_state
        torch.testing.assert_close(exported, model.get_encoder()(**other).last_hidden_state, rtol=1e-5, atol=1e-5)


def test_stage_1_is_refused(processor):
    with pytest.raises(ValueError, match="has no decoder"):
        export_programs(tiny_stage_1(tiny_config(processor.tokenizer)))


def test_onnx_equals_eager(folder, model, processor, tmp_path):
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    names = json.loads((folder / "export.json").read_text())
    for name in ("encoder", "decoder_step"):
        save_onnx(torch.export.load(folder / f"{name}.pt2"), tmp_path / f"{name}.onnx", names[name])
    encoder = onnxruntime.InferenceSession(tmp_path / "encoder.onnx")
    step = onnxruntime.InferenceSession(tmp_path / "decoder_step.onnx")
    for inputs in batches(processor):
        memory, memory_keys, memory_values = encoder.run(None, {name: inputs[name].numpy() for name in ENCODER_INPUTS})
        with torch.no_grad():
            expected = ExportableEncoder(model)(*(inputs[name] for name in ENCODER_INPUTS))
        torch.testing.assert_close(torch.tensor(memory), expected[0], rtol=1e-4, atol=1e-4)
        ids = inputs["input_ids"][:, :1].numpy() * 0 + model.config.decoder_start_token_id
        keys = values = torch.zeros(2, len(ids), 4, 0, 12).numpy()
        report = [ids]
        for _ in range(4):
            tensors = (report[-1], keys, values, memory_keys, memory_values)
            logits, keys, values = step.run(None, dict(zip(STEP_INPUTS, tensors, strict=True)))
            report.append(logits.argmax(-1)[:, None])
        settings = {"num_beams": 1, "max_new_tokens": 4, "min_new_tokens": 4}
        wanted = model.generate(**inputs, **settings)[:, 1:]
        ours = torch.tensor([list(row) for row in zip(*(tokens[:, 0] for tokens in report[1:]), strict=True)])
        until_end = (wanted == model.config.eos_token_id).long().cumsum(-1) == 0
        assert torch.equal(ours[until_end], wanted[until_end])
