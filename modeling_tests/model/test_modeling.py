"""The models: masks, batch invariance, attention back ends, freezing, ablations, loading between stages, work not done twice."""

import copy

import pytest
import torch
from hub_helpers import enable_checkpointing, inputs_of, studies, tiny_config, tiny_model, tiny_processor, tiny_stage_1

from priorrg_hf import (
    PriorRGConfig,
    PriorRGForContrastivePretraining,
    PriorRGForReportGeneration,
    PriorRGModel,
)
from priorrg_hf.model.modeling_priorrg import contrastive_loss


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return tiny_processor(tmp_path_factory.mktemp("processor"))


@pytest.fixture(scope="module")
def inputs(processor) -> dict[str, torch.Tensor]:
    return dict(inputs_of(processor, studies(), return_tensors="pt"))


@pytest.fixture()
def config(processor):
    return tiny_config(processor.tokenizer)


def reports_of(processor, task: str) -> dict[str, torch.Tensor]:
    rows = studies()
    texts = ["Clear lungs.", "Small left effusion, larger than before.", "No change.", "Pacemaker in place."]
    encoded = processor(images=[row["image"] for row in rows], reports=texts, report_task=task, return_tensors="pt")
    keys = ("report_input_ids", "report_attention_mask") if task == "alignment" else ("labels",)
    return {key: encoded[key] for key in keys}


def rows(inputs, *indices):
    return {name: value[list(indices)] for name, value in inputs.items()}


def distance(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@torch.no_grad()
def test_memory_holds_the_segments_in_order(config, inputs):
    model = tiny_model(config, PriorRGModel)
    outputs = model(**inputs)
    parts = [outputs.context_embeds, outputs.spatiotemporal_embeds, outputs.visual_embeds]
    assert torch.equal(outputs.last_hidden_state, torch.cat(parts, dim=1))
    assert outputs.last_hidden_state.shape == (4, 3 * config.num_latents, config.hidden_size)

    reordered = copy.deepcopy(model)
    reordered.config.memory_segments = ("visual", "spatiotemporal", "context")
    assert torch.equal(reordered(**inputs).last_hidden_state, torch.cat(parts[::-1], dim=1))


@torch.no_grad()
def test_a_batch_equals_its_studies_one_by_one(config, inputs):
    model = tiny_model(config)
    together = model.model(**inputs).last_hidden_state
    for row in range(4):
        single = rows(inputs, row)
        tokens = int(single["attention_mask"].sum())
        single["input_ids"], single["attention_mask"] = (
            single["input_ids"][:, :tokens],
            single["attention_mask"][:, :tokens],
        )
        assert distance(together[row : row + 1], model.model(**single).last_hidden_state) < 1e-5


@torch.no_grad()
def test_without_masking_padding_matters_as_in_the_published_system(processor, inputs):
    model = tiny_model(tiny_config(processor.tokenizer, mask_context_padding=False))
    single = rows(inputs, 2)
    tokens = int(single["attention_mask"].sum())
    assert tokens < inputs["input_ids"].shape[1]
    single["input_ids"], single["attention_mask"] = (
        single["input_ids"][:, :tokens],
        single["attention_mask"][:, :tokens],
    )
    together = model.model(**inputs).last_hidden_state[2:3]
    assert distance(together, model.model(**single).last_hidden_state) > 1e-4


@torch.no_grad()
def test_prior_mask_gates_the_prior(config, inputs):
    model = tiny_model(config, PriorRGModel)
    plain = model(**inputs).last_hidden_state
    noisy = dict(inputs)
    noise = torch.randn(inputs["prior_pixel_values"].shape, generator=torch.Generator().manual_seed(1))
    absent = ~inputs["prior_mask"][:, None, None, None]
    noisy["prior_pixel_values"] = torch.where(absent, noise, inputs["prior_pixel_values"])
    assert torch.equal(model(**noisy).last_hidden_state, plain)
    noisy["prior_pixel_values"] = torch.where(absent, inputs["prior_pixel_values"], noise)
    changed = (model(**noisy).last_hidden_state - plain).flatten(1).norm(dim=1) > 1e-3
    assert changed.tolist() == inputs["prior_mask"].tolist()


@torch.no_grad()
def test_no_prior_in_every_spelling(config, inputs):
    model = tiny_model(config, PriorRGModel)
    none = {**inputs, "prior_mask": torch.zeros(4, dtype=torch.bool)}
    expected = model(**none).last_hidden_state
    for left_out in (
        ["prior_mask", "prior_pixel_values"],
        ["prior_pixel_values"],
        ["prior_pixel_values", "prior_view_position_ids"],
    ):
        given = {name: value for name, value in none.items() if name not in left_out}
        assert torch.equal(model(**given).last_hidden_state, expected)
    with pytest.raises(ValueError, match="prior_mask"):
        model(**{name: value for name, value in inputs.items() if name != "prior_pixel_values"})
    with pytest.raises(ValueError, match="one row a study"):
        model(**{**inputs, "prior_mask": inputs["prior_mask"][:2]})


@torch.no_grad()
def test_priors_without_a_mask_are_all_used(config, inputs):
    model = tiny_model(config, PriorRGModel)
    with_mask = model(**{**inputs, "prior_mask": torch.ones(4, dtype=torch.bool)}).last_hidden_state
    assert torch.equal(model(**{k: v for k, v in inputs.items() if k != "prior_mask"}).last_hidden_state, with_mask)


@torch.no_grad()
def test_dense_path_equals_the_row_path(config, inputs, monkeypatch):
    model = tiny_model(config, PriorRGModel)
    expected = model(**inputs).last_hidden_state
    monkeypatch.setattr("priorrg_hf.model.modeling_priorrg._traced", lambda: True)
    assert distance(model(**inputs).last_hidden_state, expected) < 1e-6


@torch.no_grad()
def test_one_vision_pass_over_existing_images_only(config, inputs):
    model = tiny_model(config, PriorRGModel)
    seen = []
    model.vision_model.register_forward_hook(lambda module, args, output: seen.append(len(args[0])))
    model(**inputs)
    assert seen == [4 + int(inputs["prior_mask"].sum())]


@torch.no_grad()
def test_attention_implementations_agree(processor, inputs):
    outputs = {}
    for implementation in ("eager", "sdpa"):
        config = tiny_config(processor.tokenizer)
        config._attn_implementation = implementation
        model = tiny_model(config)
        assert model.config._attn_implementation == implementation
        outputs[implementation] = model(**inputs, **reports_of(processor, "generation")).logits
    assert distance(outputs["sdpa"], outputs["eager"]) < 1e-5


@torch.no_grad()
def test_own_attention_goes_through_the_interface(config, inputs):
    """Every own block must honour the chosen implementation, not only the backbones."""
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    callers = []

    def spy(module, *args, **kwargs):
        callers.append(type(module).__name__)
        return sdpa_attention_forward(module, *args, **kwargs)

    AttentionInterface.register("spy", spy)
    model = tiny_model(config, PriorRGModel)
    model.config._attn_implementation = "spy"
    model(**{k: v for k, v in inputs.items() if k != "attention_mask"})
    assert {"PriorRGTemporalAttention", "PriorRGPerceiverAttention"} <= set(callers)


def test_perceiver_attentions_and_latents_are_returned(processor, inputs):
    config = tiny_config(processor.tokenizer)
    config._attn_implementation = "eager"
    outputs = tiny_model(config, PriorRGModel)(**inputs, output_attentions=True, output_hidden_states=True)
    blocks = config.perceiver_num_blocks
    assert len(outputs.attentions) == 3 * blocks
    tokens = inputs["input_ids"].shape[1]
    assert outputs.attentions[0].shape == (4, config.perceiver_num_heads, config.num_latents, tokens)
    sums = outputs.attentions[0].sum(dim=-1)
    torch.testing.assert_close(sums, torch.ones_like(sums))
    padded = inputs["attention_mask"][2] == 0
    assert float(outputs.attentions[0][2][..., padded].abs().max()) == 0
    assert len(outputs.hidden_states) == 3 * blocks + 1


def test_recording_outputs_changes_nothing(config, inputs):
    model = tiny_model(config, PriorRGModel)
    with torch.no_grad():
        plain = model(**inputs).last_hidden_state
        model(**inputs, output_hidden_states=True)
        assert torch.equal(model(**inputs).last_hidden_state, plain)


@pytest.mark.parametrize("model_class", [PriorRGForContrastivePretraining, PriorRGForReportGeneration])
def test_gradient_checkpointing_equals_plain(processor, inputs, model_class):
    config = tiny_config(processor.tokenizer)
    for part in (config.text_config, config.decoder_config):
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "resid_pdrop", "embd_pdrop", "attn_pdrop"):
            if hasattr(part, name):
                setattr(part, name, 0.0)
    task = "alignment" if model_class is PriorRGForContrastivePretraining else "generation"
    gradients = []
    for checkpointing in (False, True):
        model = tiny_model(config, model_class).train()
        if checkpointing:
            enable_checkpointing(model)
        model(**inputs, **reports_of(processor, task)).loss.backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for name in gradients[0]:
        torch.testing.assert_close(gradients[1][name], gradients[0][name], rtol=1e-4, atol=1e-6, msg=name)


@torch.no_grad()
@pytest.mark.parametrize("model_class", [PriorRGForContrastivePretraining, PriorRGForReportGeneration])
def test_bf16_runs_and_stays_near(processor, inputs, model_class):
    config = tiny_config(processor.tokenizer)
    task = "alignment" if model_class is PriorRGForContrastivePretraining else "generation"
    model = tiny_model(config, model_class)
    full = model(**inputs, **reports_of(processor, task)).loss
    half = model.to(torch.bfloat16)(**inputs, **reports_of(processor, task)).loss
    assert half.isfinite()
    assert abs(float(half) - float(full)) < 0.15 * abs(float(full))


def test_bf16_autocast_trains(processor, inputs, config):
    model = tiny_model(config).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = model(**inputs, **reports_of(processor, "generation")).loss
    loss.backward()
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_vision_stays_frozen_and_in_evaluation_mode(config, inputs, tmp_path, processor):
    model = tiny_model(config).train()
    assert not model.model.vision_model.training and model.model.perceiver.training
    model(**inputs, **reports_of(processor, "generation")).loss.backward()
    assert all(p.grad is None and not p.requires_grad for p in model.model.vision_model.parameters())
    model.save_pretrained(tmp_path)
    loaded = PriorRGForReportGeneration.from_pretrained(tmp_path)
    assert not any(p.requires_grad for p in loaded.model.vision_model.parameters())

    trainable = tiny_config(processor.tokenizer, freeze_vision=False)
    model = tiny_model(trainable).train()
    assert model.model.vision_model.training
    model(**inputs, **reports_of(processor, "generation")).loss.backward()
    assert model.model.vision_model.embeddings.cls_token.grad is not None


@pytest.mark.parametrize("model_class", [PriorRGForContrastivePretraining, PriorRGForReportGeneration])
def test_every_trainable_parameter_gets_a_gradient_even_without_priors(processor, inputs, model_class):
    task = "alignment" if model_class is PriorRGForContrastivePretraining else "generation"
    model = tiny_model(tiny_config(processor.tokenizer), model_class).train()
    without = {**inputs, "prior_mask": torch.zeros(4, dtype=torch.bool)}
    model(**without, **reports_of(processor, task)).loss.backward()
    assert [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None] == []


def test_stage_1_feeds_stage_2(config, inputs, tmp_path):
    stage_1 = tiny_stage_1(config)
    stage_1.save_pretrained(tmp_path)
    stage_2, report = PriorRGForReportGeneration.from_pretrained(tmp_path, output_loading_info=True)
    learned = stage_1.model.state_dict()
    taken_over = stage_2.model.state_dict()
    for name, value in learned.items():
        assert torch.equal(taken_over[name], value), name
    new = ("model.layer_fusion.", "model.visual_norm.", "decoder.")
    assert all(name.startswith(new) for name in report["missing_keys"])
    assert not report["unexpected_keys"] and not report["mismatched_keys"]
    assert (stage_2.generation_config.num_beams, stage_2.generation_config.max_length) == (3, 100)
    back, report = PriorRGModel.from_pretrained(tmp_path, output_loading_info=True)
    assert torch.equal(back.perceiver.latents, stage_1.model.perceiver.latents)


@torch.no_grad()
@pytest.mark.parametrize("model_class", [PriorRGModel, PriorRGForContrastivePretraining, PriorRGForReportGeneration])
def test_save_and_load_gives_the_same_outputs(processor, config, inputs, tmp_path, model_class):
    model = tiny_model(config, model_class)
    extra = reports_of(processor, "alignment") if model_class is PriorRGForContrastivePretraining else {}
    if model_class is PriorRGForReportGeneration:
        extra = reports_of(processor, "generation")
    expected = model(**inputs, **extra)
    model.save_pretrained(tmp_path)
    outputs = model_class.from_pretrained(tmp_path)(**inputs, **extra)
    key = {PriorRGModel: "last_hidden_state", PriorRGForContrastivePretraining: "logits_per_image"}.get(
        model_class, "logits"
    )
    assert torch.equal(outputs[key], expected[key])


@torch.no_grad()
@pytest.mark.parametrize(
    "changes,segments",
    [
        ({"use_context": False}, 2),
        ({"use_prior": False}, 3),
        ({"use_layer_fusion": False}, 3),
        ({"memory_segments": ("context", "spatiotemporal")}, 2),
        ({"memory_segments": ("visual",)}, 1),
        ({"memory_segments": ("context",), "use_prior": False}, 1),
        ({"memory_segments": ("visual", "spatiotemporal", "context")}, 3),
    ],
)
def test_ablations(processor, inputs, changes, segments):
    config = tiny_config(processor.tokenizer, **changes)
    model = tiny_model(config)
    labels = reports_of(processor, "generation")
    outputs = model(**inputs, **labels)
    assert outputs.loss.isfinite()
    assert outputs.encoder_last_hidden_state.shape[1] == segments * config.num_latents
    if changes.get("use_prior") is False:
        assert torch.equal(model(**{**inputs, "prior_mask": ~inputs["prior_mask"]}, **labels).logits, outputs.logits)
    if changes.get("use_context") is False:
        given = {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}
        assert torch.equal(model(**given, **labels).logits, outputs.logits)


@torch.no_grad()
def test_layers_are_kept_only_where_they_are_fused(processor, inputs, config, monkeypatch):
    asked = []
    original = PriorRGModel.encode_images

    def spy(self, pixel_values, output_layers=False, **kwargs):
        asked.append(output_layers)
        return original(self, pixel_values, output_layers, **kwargs)

    monkeypatch.setattr(PriorRGModel, "encode_images", spy)
    tiny_stage_1(config)(**inputs, **reports_of(processor, "alignment"))
    tiny_model(tiny_config(processor.tokenizer, use_layer_fusion=False))(
        **inputs, **reports_of(processor, "generation")
    )
    tiny_model(config)(**inputs, **reports_of(processor, "generation"))
    assert asked == [False, False, True]


@torch.no_grad()
def test_cached_vision_features_replace_images(processor, config, inputs):
    model = tiny_model(config)
    expected = model(**inputs, **reports_of(processor, "generation")).logits
    last, layers = model.model.encode_images(inputs["pixel_values"], output_layers=True)
    prior, _ = model.model.encode_images(inputs["prior_pixel_values"])
    given = {name: value for name, value in inputs.items() if name not in ("pixel_values", "prior_pixel_values")}
    features = {
        "vision_last_hidden_state": last,
        "vision_hidden_states": torch.stack(layers, dim=1),
        "prior_vision_last_hidden_state": prior,
    }
    assert distance(model(**given, **features, **reports_of(processor, "generation")).logits, expected) < 1e-5
    with pytest.raises(ValueError, match="vision_hidden_states"):
        model(**given, vision_last_hidden_state=last, **reports_of(processor, "generation"))


def test_missing_inputs_are_named(config, inputs, processor):
    model = tiny_model(config)
    with pytest.raises(ValueError, match="clinical context"):
        model(
            **{k: v for k, v in inputs.items() if k not in ("input_ids", "attention_mask")},
            **reports_of(processor, "generation"),
        )
    with pytest.raises(ValueError, match="pixel_values"):
        model(**{k: v for k, v in inputs.items() if k != "pixel_values"}, **reports_of(processor, "generation"))
    with pytest.raises(ValueError, match="report_input_ids"):
        tiny_stage_1(config)(**inputs)


def test_multi_positive_targets():
    logits = torch.randn(3, 3, generator=torch.Generator().manual_seed(0))
    ids = torch.tensor([7, 7, 9])
    target = torch.tensor([[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    by_hand = (
        -(target * logits.log_softmax(1)).sum(1).mean() / 2
        - (target.t() * logits.t().log_softmax(1)).sum(1).mean() / 2
    )
    torch.testing.assert_close(contrastive_loss(logits, ids, ids), by_hand)


def test_contrastive_outputs(processor, config, inputs):
    model = tiny_stage_1(config)
    reports = reports_of(processor, "alignment")
    outputs = model(**inputs, **reports)
    torch.testing.assert_close(outputs.image_embeds.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(outputs.logits_per_text, outputs.logits_per_image.t())
    image = model.get_image_features(**inputs).pooler_output
    text = model.get_text_features(reports["report_input_ids"], reports["report_attention_mask"]).pooler_output
    torch.testing.assert_close(torch.nn.functional.normalize(image, dim=-1), outputs.image_embeds)
    torch.testing.assert_close(torch.nn.functional.normalize(text, dim=-1), outputs.text_embeds)
    assert model(**inputs, **reports, return_loss=False).loss is None
    same = model(**inputs, **reports, study_ids=torch.tensor([1, 1, 2, 3])).loss
    assert float(same) != float(outputs.loss)


def test_labels_are_aligned_not_shifted(processor, config, inputs):
    model = tiny_model(config)
    encoded = processor(
        images=[row["image"] for row in studies()],
        reports=["Clear lungs.", "Small left effusion [SEP] larger.", "No change.", "Pacemaker."],
        report_task="generation",
        return_tensors="pt",
    )
    from_labels = model(**inputs, labels=encoded["labels"])
    explicit = model(
        **inputs,
        labels=encoded["labels"],
        decoder_input_ids=encoded["decoder_input_ids"],
        decoder_attention_mask=encoded["decoder_attention_mask"],
    )
    torch.testing.assert_close(from_labels.logits, explicit.logits)
    by_hand = torch.nn.functional.cross_entropy(from_labels.logits.flatten(0, 1), encoded["labels"].flatten())
    torch.testing.assert_close(from_labels.loss, by_hand)


def test_decoder_of_another_width_gets_a_projection(processor, inputs):
    config = tiny_config(processor.tokenizer)
    config.decoder_config.n_embd = 40
    model = tiny_model(config)
    assert model.memory_projection.weight.shape == (40, 32)
    model(**inputs, **reports_of(processor, "generation")).loss.backward()
    assert model.memory_projection.weight.grad.abs().sum() > 0
    ids = model.generate(**inputs, max_length=8, num_beams=2)
    assert torch.equal(ids, model.generate(**inputs, max_length=8, num_beams=2, use_cache=False))


def test_resized_vocabulary_serves_both_text_parts(processor, config, inputs):
    model = tiny_model(config)
    size = config.decoder_config.vocab_size + 8
    model.resize_token_embeddings(size)
    assert model.get_input_embeddings().num_embeddings == size
    assert model.get_output_embeddings().out_features == size
    assert model.config.text_config.vocab_size == model.config.decoder_config.vocab_size == size
    assert model(**inputs, **reports_of(processor, "generation")).logits.shape[-1] == size


@pytest.mark.parametrize("model_class", [PriorRGModel, PriorRGForContrastivePretraining, PriorRGForReportGeneration])
@pytest.mark.parametrize("more", [8, 64])
def test_every_model_is_saved_and_loaded_after_a_resize(config, tmp_path, model_class, more):
    model = model_class(config)
    size = config.text_config.vocab_size + more
    model.resize_token_embeddings(size)
    model.save_pretrained(tmp_path)
    loaded = model_class.from_pretrained(tmp_path)
    assert loaded.get_input_embeddings().num_embeddings == size
    assert loaded.config.text_config.vocab_size == loaded.config.decoder_config.vocab_size == size


def test_backbones_are_loaded_from_folders(processor, tmp_path, inputs):
    from transformers import BertConfig, BertForMaskedLM, Dinov2Config, Dinov2Model, GPT2Config, GPT2LMHeadModel

    vision = Dinov2Model(Dinov2Config(image_size=28, hidden_size=32, num_hidden_layers=4, num_attention_heads=4))
    bert = BertForMaskedLM(
        BertConfig(
            vocab_size=99,
            hidden_size=32,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=48,
            max_position_embeddings=64,
        )
    )
    gpt2 = GPT2LMHeadModel(GPT2Config(vocab_size=257, n_embd=32, n_layer=2, n_head=4, n_positions=64))
    for name, part in (("vision", vision), ("text", bert), ("decoder", gpt2)):
        part.save_pretrained(tmp_path / name)
    # CXR-BERT's repository calls its model type so.
    text_config = (
        (tmp_path / "text" / "config.json").read_text().replace('"model_type": "bert"', '"model_type": "cxr-bert"')
    )
    (tmp_path / "text" / "config.json").write_text(text_config)
    config = tiny_config(processor.tokenizer)
    model = PriorRGForReportGeneration.from_pretrained_backbones(
        vision=tmp_path / "vision", text=tmp_path / "text", decoder=tmp_path / "decoder", config=config
    )
    assert torch.equal(model.model.vision_model.embeddings.cls_token, vision.embeddings.cls_token)
    assert model.model.text_model.config.num_hidden_layers == 2
    assert torch.equal(
        model.model.text_model.encoder.layer[1].output.dense.weight, bert.bert.encoder.layer[1].output.dense.weight
    )
    assert model.model.text_model.embeddings.word_embeddings.num_embeddings == len(processor.tokenizer)
    assert torch.equal(model.decoder.transformer.wte.weight[:257], gpt2.transformer.wte.weight)
    assert torch.equal(model.decoder.transformer.h[1].mlp.c_fc.weight, gpt2.transformer.h[1].mlp.c_fc.weight)
    assert model.decoder.lm_head.weight is model.decoder.transformer.wte.weight
    assert not any(p.requires_grad for p in model.model.vision_model.parameters())
    assert model(**inputs, **reports_of(processor, "generation")).loss.isfinite()
    stage_1 = PriorRGForContrastivePretraining.from_pretrained_backbones(vision=tmp_path / "vision", config=config)
    assert torch.equal(stage_1.model.vision_model.embeddings.cls_token, vision.embeddings.cls_token)
    config.text_config.num_hidden_layers = 6
    with pytest.raises(ValueError, match="4 layers"):
        PriorRGForReportGeneration.from_pretrained_backbones(text=tmp_path / "text", config=config)


def test_models_start_at_the_published_temperature(config):
    assert float(tiny_stage_1(config).logit_scale) == pytest.approx(PriorRGConfig().logit_scale_init_value)
