"""`generate()`: searches, caches, prompts, encoder outputs, compilation, and no silent context."""

import pytest
import torch
from hub_helpers import inputs_of, studies, tiny_config, tiny_model, tiny_processor
from transformers import LogitsProcessor, modeling_utils
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

from priorrg_hf import PriorRGForReportGeneration
from priorrg_hf.model.base_priorrg import CACHE_NAME


LENGTH = 12


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return tiny_processor(tmp_path_factory.mktemp("processor"))


@pytest.fixture(scope="module")
def model(processor):
    return tiny_model(tiny_config(processor.tokenizer))


@pytest.fixture(scope="module")
def inputs(processor):
    return dict(inputs_of(processor, studies(), return_tensors="pt"))


def test_published_defaults(processor):
    model = PriorRGForReportGeneration(tiny_config(processor.tokenizer))
    assert (model.generation_config.num_beams, model.generation_config.max_length) == (3, 100)
    assert model.generation_config.decoder_start_token_id == processor.tokenizer.bos_token_id


@pytest.mark.parametrize("num_beams", [1, 3])
def test_caches_agree(model, inputs, num_beams):
    settings = {"max_length": LENGTH, "num_beams": num_beams}
    dynamic = model.generate(**inputs, **settings)
    assert dynamic.shape[0] == 4 and dynamic.shape[1] <= LENGTH
    for other in ({"use_cache": False}, {"cache_implementation": "static"}):
        assert torch.equal(model.generate(**inputs, **settings, **other), dynamic), other


def test_greedy_is_the_argmax_of_teacher_forcing(model, inputs):
    ids = model.generate(**inputs, max_length=LENGTH, num_beams=1, do_sample=False, min_length=LENGTH)
    logits = model(**inputs, decoder_input_ids=ids[:, :-1]).logits
    logits[..., model.config.eos_token_id] = -torch.inf  # min_length forbids the end token
    assert torch.equal(logits.argmax(-1), ids[:, 1:])


def test_batch_equals_single(model, inputs):
    together = model.generate(**inputs, max_length=LENGTH)
    for row in range(4):
        single = model.generate(**{k: v[row : row + 1] for k, v in inputs.items()}, max_length=LENGTH)[0]
        assert torch.equal(together[row, : len(single)], single)


def test_encoder_outputs_alone(model, inputs):
    expected = model.generate(**inputs, max_length=LENGTH)
    encoder_outputs = model.get_encoder()(**inputs)
    assert torch.equal(model.generate(encoder_outputs=encoder_outputs, max_length=LENGTH), expected)


def test_prompts_are_continued(model, inputs, processor):
    prompt = torch.tensor([[processor.tokenizer.bos_token_id, 70, 71]] * 4)
    ids = model.generate(**inputs, decoder_input_ids=prompt, max_length=LENGTH)
    assert torch.equal(ids[:, :3], prompt)


def test_several_sequences_and_scores(model, inputs):
    outputs = model.generate(
        **inputs,
        max_length=LENGTH,
        num_beams=4,
        num_return_sequences=2,
        return_dict_in_generate=True,
        output_scores=True,
    )
    assert outputs.sequences.shape[0] == 8
    assert outputs.sequences_scores.shape == (8,)
    sampled = model.generate(**inputs, max_length=LENGTH, do_sample=True, num_beams=1, num_return_sequences=2)
    assert sampled.shape[0] == 8


def test_encoder_runs_once_and_cross_attention_keys_are_made_once(model, inputs, monkeypatch):
    encoded, keys = [], []
    hooks = [
        model.model.register_forward_hook(lambda *args: encoded.append(1)),
        model.decoder.transformer.h[0].crossattention.c_attn.register_forward_hook(lambda *args: keys.append(1)),
    ]
    try:
        model.generate(**inputs, max_length=LENGTH, num_beams=3)
    finally:
        for hook in hooks:
            hook.remove()
    assert encoded == [1]
    assert keys == [1]


def test_only_the_last_position_gets_logits(model, inputs, monkeypatch):
    shapes = []
    hook = model.decoder.lm_head.register_forward_hook(lambda module, args, output: shapes.append(output.shape[1]))
    try:
        model.generate(**inputs, decoder_input_ids=torch.full((4, 5), 70), max_length=LENGTH, num_beams=1)
    finally:
        hook.remove()
    assert set(shapes) == {1}


def test_no_context_is_an_error_not_a_start_token(model, inputs):
    given = {k: v for k, v in inputs.items() if k not in ("input_ids", "attention_mask")}
    with pytest.raises(ValueError, match="clinical context"):
        model.generate(**given, max_length=LENGTH)


class _EndsEarly(LogitsProcessor):
    """Ends the first report after three tokens."""

    def __init__(self, eos_token_id):
        self.eos_token_id = eos_token_id

    def __call__(self, input_ids, scores):
        scores = scores.clone()
        scores[:, self.eos_token_id] = -torch.inf
        if input_ids.shape[1] == 3:
            scores[0] = -torch.inf
            scores[0, self.eos_token_id] = 0.0
        return scores


@pytest.mark.parametrize("use_cache", [True, False])
def test_finished_reports_are_not_taken_for_a_forgotten_mask(model, inputs, monkeypatch, use_cache):
    warnings = []
    monkeypatch.setattr(modeling_utils.logger, "warning_once", warnings.append)
    ends = [_EndsEarly(model.config.eos_token_id)]
    ids = model.generate(**inputs, max_length=LENGTH, num_beams=1, logits_processor=ends, use_cache=use_cache)
    pad = model.config.pad_token_id
    assert (ids[0, 4:] == pad).all() and not (ids[1:] == pad).any()
    assert warnings == []


def test_a_padded_prompt_without_its_mask_is_told(model, inputs, monkeypatch):
    warnings = []
    monkeypatch.setattr(modeling_utils.logger, "warning_once", warnings.append)
    bos, pad = model.config.decoder_start_token_id, model.config.pad_token_id
    prompt = torch.tensor([[pad, bos, 70], [bos, 70, 71], [bos, 70, 71], [bos, 70, 71]])
    model.generate(
        **inputs, decoder_input_ids=prompt, decoder_attention_mask=(prompt != pad).long(), max_length=LENGTH
    )
    assert warnings == []
    model.generate(**inputs, decoder_input_ids=prompt, max_length=LENGTH)
    assert len(warnings) == 1 and "attention_mask" in warnings[0]


def test_models_without_context_need_none(processor, inputs):
    model = tiny_model(tiny_config(processor.tokenizer, use_context=False))
    given = {k: v for k, v in inputs.items() if k not in ("input_ids", "attention_mask")}
    expected = model.generate(**inputs, max_length=LENGTH)
    assert torch.equal(model.generate(**given, max_length=LENGTH), expected)


def test_a_misspelt_argument_is_refused(model, inputs):
    with pytest.raises(ValueError, match="prior_pixel_value"):
        model.generate(**inputs, prior_pixel_value=inputs["prior_pixel_values"], max_length=LENGTH)


def test_compiled_decoding_step_equals_eager(model, inputs):
    """Static cache and a full graph, with the back end that runs the captured graph as it is."""
    expected = model.generate(**inputs, max_length=LENGTH, num_beams=1)
    eager_forward = model.forward
    torch._dynamo.reset()
    try:
        model.forward = torch.compile(eager_forward, backend="eager", fullgraph=True)
        encoder_outputs = model.get_encoder()(**inputs)
        ids = model.generate(
            encoder_outputs=encoder_outputs,
            max_length=LENGTH,
            num_beams=1,
            cache_implementation="static",
            disable_compile=True,
        )
    finally:
        model.forward = eager_forward
        torch._dynamo.reset()
    assert torch.equal(ids, expected)


@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("name", ["cache", "past_key_values"])
def test_cache_holds_the_memory_once(model, inputs, name):
    encoder_outputs = model.get_encoder()(**inputs)
    outputs = model(encoder_outputs=encoder_outputs, decoder_input_ids=torch.full((4, 2), 70), use_cache=True)
    cache = getattr(outputs, CACHE_NAME)
    assert isinstance(cache, EncoderDecoderCache)
    assert cache.cross_attention_cache.layers[0].keys.shape[2] == encoder_outputs[0].shape[1]
    stepwise = model(
        encoder_outputs=encoder_outputs,
        decoder_input_ids=torch.full((4, 1), 71),
        use_cache=True,
        **{name: cache},
    ).logits
    ids = torch.tensor([[70, 70, 71]] * 4)
    whole = model(encoder_outputs=encoder_outputs, decoder_input_ids=ids).logits[:, -1:]
    torch.testing.assert_close(stepwise, whole, rtol=1e-4, atol=1e-5)


def test_two_names_of_the_cache_at_once_are_refused(model, inputs):
    with pytest.raises(ValueError, match="two names of one argument"):
        model(**inputs, decoder_input_ids=torch.full((4, 1), 70), cache=DynamicCache(), past_key_values=DynamicCache())


@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("num_beams", [1, 3])
def test_memory_is_projected_once_in_a_generation(processor, inputs, num_beams):
    """The decoder is narrower than the memory here; every version of transformers names the cache in its own way."""
    config = tiny_config(processor.tokenizer)
    config.decoder_config.n_embd = config.hidden_size // 2
    narrow = tiny_model(config)
    assert narrow.memory_projection is not None
    calls = []
    narrow.memory_projection.register_forward_hook(lambda module, args, output: calls.append(output.shape))
    ids = narrow.generate(**inputs, max_length=LENGTH, min_length=LENGTH, num_beams=num_beams)
    assert ids.shape[1] == LENGTH and len(calls) == 1


# --- references must not reach a written report


REFERENCE = "A zebra sits on the left lung. Its tail ends in the right atrium."


@pytest.fixture(scope="module")
def training_batch(processor):
    reports = [REFERENCE, "Clear.", "No change.", "Effusion on the right."]
    return dict(inputs_of(processor, studies(), reports=reports, return_tensors="pt"))


def test_a_training_batch_is_not_copied(model, inputs, training_batch):
    expected = model.generate(**inputs, max_length=LENGTH)
    with pytest.warns(UserWarning, match="training batch"):
        ids = model.generate(**training_batch, max_length=LENGTH)
    assert torch.equal(ids, expected)
    with pytest.warns(UserWarning, match="training batch"):
        row = {name: value[:1] for name, value in training_batch.items()}
        ids = model.generate(**row, max_length=LENGTH)
    assert torch.equal(ids[0], expected[0, : ids.shape[1]])


def test_labels_alone_change_nothing(model, inputs, training_batch, recwarn):
    expected = model.generate(**inputs, max_length=LENGTH)
    assert torch.equal(model.generate(**inputs, labels=training_batch["labels"], max_length=LENGTH), expected)
    assert not [warning for warning in recwarn if "training batch" in str(warning.message)]


def test_embedded_references_are_left_out_too(model, inputs, training_batch):
    embeds = model.decoder.get_input_embeddings()(training_batch["decoder_input_ids"]).detach()
    with pytest.warns(UserWarning, match="training batch"):
        ids = model.generate(
            **inputs, decoder_inputs_embeds=embeds, labels=training_batch["labels"], max_length=LENGTH
        )
    assert torch.equal(ids, model.generate(**inputs, max_length=LENGTH))


@pytest.mark.parametrize("with_mask", [True, False])
def test_a_batch_whose_labels_were_taken_out_is_refused(model, training_batch, with_mask):
    batch = {name: value for name, value in training_batch.items() if name != "labels"}
    if not with_mask:
        del batch["decoder_attention_mask"]
    with pytest.raises(ValueError, match="finished reports"):
        model.generate(**batch, max_length=60)


def test_one_row_of_such_a_batch_is_told(model, training_batch):
    row = {name: value[:1] for name, value in training_batch.items() if name != "labels"}
    with pytest.warns(UserWarning, match="training batch"):
        model.generate(**row, max_length=60)


def test_prompts_draw_no_warning(model, inputs, recwarn):
    prompt = torch.tensor([[model.config.decoder_start_token_id, 70, 71]] * 4)
    ids = model.generate(**inputs, decoder_input_ids=prompt, max_length=LENGTH)
    assert torch.equal(ids[:, :3], prompt)
    assert not [warning for warning in recwarn if "training batch" in str(warning.message)]
