"""PriorRGConfig: published defaults, validation at the door, round trips."""

import json
import subprocess
import sys

import pytest
from transformers import AutoConfig, BertConfig, Dinov2Config, GPT2Config

from priorrg_hf import PriorRGConfig


def test_defaults_are_the_published_system():
    config = PriorRGConfig()
    assert (config.hidden_size, config.num_latents) == (768, 128)
    assert (config.perceiver_num_blocks, config.perceiver_num_heads, config.perceiver_head_dim) == (3, 8, 64)
    assert (config.temporal_fusion_num_blocks, config.temporal_fusion_num_heads) == (3, 8)
    assert config.temporal_fusion_head_dim == 192
    assert config.logit_scale_init_value == pytest.approx(2.6592600369)
    vision, text, decoder = config.vision_config, config.text_config, config.decoder_config
    assert (vision.image_size, vision.patch_size, vision.num_hidden_layers, vision.hidden_size) == (518, 14, 12, 768)
    assert (text.vocab_size, text.num_hidden_layers, text.hidden_size, text.num_attention_heads) == (50264, 6, 768, 12)
    assert (decoder.vocab_size, decoder.n_layer, decoder.n_embd, decoder.n_head) == (50264, 6, 768, 12)
    assert decoder.add_cross_attention
    assert (config.bos_token_id, config.eos_token_id, config.pad_token_id, config.sep_token_id) == (
        50256,
        50256,
        50257,
        50258,
    )
    assert config.memory_segments == ("context", "spatiotemporal", "visual")
    assert config.mask_context_padding and config.freeze_vision and config.use_layer_fusion


@pytest.mark.parametrize(
    "field,value,message",
    [
        ("hidden_size", 7, "hidden_size"),
        ("hidden_size", 0, "hidden_size"),
        ("num_latents", 0, "num_latents"),
        ("perceiver_num_heads", 0, "perceiver_num_heads"),
        ("temporal_fusion_num_blocks", 0, "temporal_fusion_num_blocks"),
        ("memory_segments", ("context", "future"), "memory_segments"),
        ("memory_segments", ("context", "context"), "memory_segments"),
        ("memory_segments", (), "memory_segments"),
        ("view_positions", {"AP": 0}, "view_positions"),
        ("view_positions", {"AP": 0, "unk": 2}, "view_positions"),
        ("pad_token_id", 60000, "pad_token_id"),
        ("logit_scale_init_value", float("nan"), "logit_scale_init_value"),
        ("layer_norm_eps", 0.0, "layer_norm_eps"),
        ("text_config", {"vocab_size": 100}, "vocab_size"),
        ("vision_config", {"model_type": "vit"}, "vision_config"),
        ("decoder_config", {"n_embd": 10, "n_head": 3}, "n_embd"),
    ],
)
def test_wrong_values_are_named(field, value, message):
    with pytest.raises(ValueError, match=message):
        PriorRGConfig(**{field: value})


def test_wrong_types_are_named():
    with pytest.raises(Exception, match="num_latents"):
        PriorRGConfig(num_latents="many")


def test_segments_of_unused_context_fall_away():
    config = PriorRGConfig(use_context=False)
    assert config.active_memory_segments == ("spatiotemporal", "visual")
    with pytest.raises(ValueError, match="memory_segments"):
        PriorRGConfig(use_context=False, memory_segments=("context",))


def test_round_trip_keeps_everything(tmp_path):
    config = PriorRGConfig(
        vision_config={"hidden_size": 96, "num_attention_heads": 3},
        hidden_size=48,
        memory_segments=("visual", "context"),
        view_positions={"PA": 0, "unk": 1},
        use_prior=False,
    )
    config.save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert isinstance(loaded, PriorRGConfig)
    expected = {**config.to_dict(), "_name_or_path": loaded.name_or_path}
    assert loaded.to_dict() == expected
    assert loaded.memory_segments == ("visual", "context")
    assert isinstance(loaded.vision_config, Dinov2Config)
    json.loads((tmp_path / "config.json").read_text())


def test_sub_configurations_may_be_objects():
    config = PriorRGConfig(
        vision_config=Dinov2Config(image_size=56),
        text_config=BertConfig(vocab_size=50264),
        decoder_config=GPT2Config(vocab_size=50264),
    )
    assert config.vision_config.image_size == 56
    assert config.decoder_config.add_cross_attention
    with pytest.raises(ValueError, match="vision_config"):
        PriorRGConfig(vision_config=BertConfig())


def test_generation_reads_the_decoder():
    config = PriorRGConfig()
    assert config.get_text_config() is config.decoder_config
    assert config.get_text_config(decoder=True) is config.decoder_config
    assert config.get_text_config(encoder=True) is config.text_config


@pytest.mark.parametrize("command", [["-c", "import priorrg_hf"], ["-m", "priorrg_hf", "--help"]])
def test_import_and_help_are_silent_and_load_no_torch(command):
    probe = (
        "import sys, runpy\n"
        f"sys.argv = ['priorrg'] + {command[2:]!r}\n"
        "try:\n"
        + (
            f"    exec({command[1]!r})\n"
            if command[0] == "-c"
            else f"    runpy.run_module({command[1]!r}, run_name='__main__')\n"
        )
        + "except SystemExit:\n    pass\n"
        "print('LOADED', [name for name in ('torch', 'transformers', 'datasets') if name in sys.modules])"
    )
    result = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, timeout=120, check=True)
    assert result.stdout.strip().endswith("LOADED []")
    assert result.stderr == ""
    if command[0] == "-c":
        assert result.stdout.strip() == "LOADED []"
