"""Loading between the classes without alarm, foreign keys still named; copies and pickles; lengths without a warning."""

import copy
import logging
import pickle
import sys
import warnings

import pytest
import torch
from hub_helpers import inputs_of, studies, tiny_config, tiny_model, tiny_processor, tiny_stage_1
from safetensors.torch import load_file, save_file
from transformers import AutoModel

import priorrg_hf  # registers the Auto classes
from priorrg_hf import PriorRGForContrastivePretraining, PriorRGForReportGeneration, PriorRGModel


@pytest.fixture(scope="module")
def processor(tmp_path_factory):
    return tiny_processor(tmp_path_factory.mktemp("processor"))


@pytest.fixture(scope="module")
def folders(processor, tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    config = tiny_config(processor.tokenizer)
    tiny_model(config).save_pretrained(root / "report")
    tiny_stage_1(copy.deepcopy(config)).save_pretrained(root / "contrastive")
    PriorRGModel.from_pretrained(root / "report").save_pretrained(root / "encoder")
    return root


@pytest.fixture()
def said(caplog):
    for name in ("priorrg_hf", "transformers"):
        logging.getLogger(name).propagate = True
    caplog.set_level(logging.WARNING)
    yield lambda: [record.getMessage() for record in caplog.records]


@pytest.mark.parametrize(
    ("folder", "cls", "new"),
    [
        ("contrastive", PriorRGForReportGeneration, "decoder, layer fusion"),
        ("report", PriorRGForContrastivePretraining, "temperature"),
        ("report", PriorRGModel, "nothing is new"),
        ("contrastive", PriorRGModel, "layer fusion"),
        ("encoder", PriorRGForReportGeneration, "decoder"),
        ("encoder", PriorRGForContrastivePretraining, "temperature"),
    ],
)
def test_another_class_is_taken_over_in_one_line(folders, said, folder, cls, new):
    model = cls.from_pretrained(folders / folder)
    (line,) = said()
    assert line.startswith(f"{cls.__name__} from the weights of a PriorRG") and new in line and "\n" not in line
    count = int(line.split(": ")[1].split(" ")[0])
    assert 0 < count <= len(model.state_dict())


@pytest.mark.parametrize("cls", [PriorRGForReportGeneration, PriorRGForContrastivePretraining, PriorRGModel])
def test_its_own_class_loads_in_silence(folders, said, cls):
    name = {
        PriorRGForReportGeneration: "report",
        PriorRGForContrastivePretraining: "contrastive",
        PriorRGModel: "encoder",
    }[cls]
    cls.from_pretrained(folders / name)
    assert said() == []


def test_what_is_new_is_in_the_loading_report_all_the_same(folders):
    _, report = PriorRGForReportGeneration.from_pretrained(folders / "contrastive", output_loading_info=True)
    assert any(name.startswith("decoder.") for name in report["missing_keys"])
    assert not any("perceiver" in name for name in report["missing_keys"])
    _, report = PriorRGForReportGeneration.from_pretrained(folders / "report", output_loading_info=True)
    assert not report["missing_keys"]


def test_auto_model_is_no_alarm(folders, said):
    assert type(AutoModel.from_pretrained(folders / "report")).__name__ == "PriorRGModel"
    assert len(said()) == 1


@pytest.mark.parametrize("folder", ["report", "contrastive"])
@pytest.mark.parametrize("cls", [PriorRGForReportGeneration, PriorRGForContrastivePretraining, PriorRGModel])
def test_a_foreign_key_and_a_lost_one_are_named(folders, said, tmp_path, folder, cls):
    state = load_file(folders / folder / "model.safetensors")
    lost = next(name for name in state if name.endswith("perceiver.latents"))
    del state[lost]
    (tmp_path / "config.json").write_text((folders / folder / "config.json").read_text())
    save_file(
        {**state, "spare_wheel.weight": torch.ones(2)}, tmp_path / "model.safetensors", metadata={"format": "pt"}
    )
    cls.from_pretrained(tmp_path)
    text = "\n".join(said())
    assert "spare_wheel.weight" in text and "perceiver.latents" in text


@pytest.mark.parametrize(
    "part", ["decoder.transformer.wte.weight", "model.layer_fusion.channel_attention.squeeze.weight"]
)
def test_a_part_that_its_own_class_lacks_is_named(folders, said, tmp_path, part):
    state = load_file(folders / "report" / "model.safetensors")
    name = next((key for key in state if key == part), None) or next(key for key in state if "layer_fusion" in key)
    del state[name]
    (tmp_path / "config.json").write_text((folders / "report" / "config.json").read_text())
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    PriorRGForReportGeneration.from_pretrained(tmp_path)
    assert name.split(".")[-2] in "\n".join(said())


@pytest.mark.parametrize(
    "way", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))], ids=["deepcopy", "pickle"]
)
def test_a_model_that_has_recorded_attentions_can_be_copied(folders, processor, way):
    model = PriorRGForReportGeneration.from_pretrained(folders / "report", attn_implementation="eager").eval()
    inputs = inputs_of(processor, studies()[:2])
    asked = {
        "max_length": 6,
        "num_beams": 1,
        "output_attentions": True,
        "output_hidden_states": True,
        "return_dict_in_generate": True,
    }
    first = model.generate(**inputs, **asked)
    twin = way(model)
    for one in (twin, model, way(twin)):
        again = one.generate(**inputs, **asked)
        assert torch.equal(first.sequences, again.sequences)
        assert len(again.encoder_attentions) == len(first.encoder_attentions) > 0
        for expected, got in zip(first.encoder_attentions, again.encoder_attentions, strict=True):
            torch.testing.assert_close(got, expected)


def test_max_new_tokens_draws_no_warning(folders, processor, said):
    model = PriorRGForReportGeneration.from_pretrained(folders / "report").eval()
    inputs, before = inputs_of(processor, studies()[:2]), model.generation_config.max_length
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        new = model.generate(**inputs, max_new_tokens=7, min_new_tokens=7, num_beams=1)
        assert new.shape[1] == 8
        from transformers import GenerationConfig

        settings = GenerationConfig(max_new_tokens=5, min_new_tokens=5, num_beams=1)
        assert model.generate(**inputs, generation_config=settings).shape[1] == 6
        assert settings.max_new_tokens == 5, "the caller's settings are left as they are"
        prompt = new[:, :4]
        assert (
            model.generate(**inputs, decoder_input_ids=prompt, max_new_tokens=3, min_new_tokens=3, num_beams=1).shape[
                1
            ]
            == 7
        )
        # A prompt without the start token gets one.
        assert (
            model.generate(
                **inputs, decoder_input_ids=prompt[:, 1:], max_new_tokens=3, min_new_tokens=3, num_beams=1
            ).shape[1]
            == 7
        )
    assert said() == []
    assert model.generation_config.max_length == before


def test_device_map_without_accelerate_says_so(folders, monkeypatch):
    monkeypatch.setitem(sys.modules, "accelerate", None)
    monkeypatch.setattr("transformers.modeling_utils.is_accelerate_available", lambda *_: False, raising=False)
    monkeypatch.setattr(
        "transformers.integrations.accelerate.is_accelerate_available", lambda *_: False, raising=False
    )
    with pytest.raises((ValueError, ImportError), match="accelerate"):
        PriorRGForReportGeneration.from_pretrained(folders / "report", device_map="auto")
    assert priorrg_hf.__version__
