"""Model configurations by size, and new models for a tokenizer and a set of views."""

import json
import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from ..data.file_writing import read_json_object


if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from ..model.configuration_priorrg import PriorRGConfig
    from ..model.processing_priorrg import PriorRGProcessor


# Widths and depths of the parts. "base" is the published system. The small ones are for trying things out on a CPU; nobody should
# expect a usable report from them.
PRESETS: dict[str, dict] = {
    "tiny": {
        "image_size": 56,
        "vision_config": {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2},
        "text_config": {"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 64},
        "decoder_config": {"n_embd": 32, "n_layer": 2, "n_head": 2},
        "hidden_size": 32,
        "num_latents": 8,
        "perceiver_num_blocks": 1,
        "perceiver_num_heads": 2,
        "perceiver_head_dim": 16,
        "temporal_fusion_num_blocks": 1,
        "temporal_fusion_num_heads": 2,
    },
    "small": {
        "image_size": 112,
        "vision_config": {"hidden_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4},
        "text_config": {
            "hidden_size": 128,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 512,
        },
        "decoder_config": {"n_embd": 128, "n_layer": 3, "n_head": 4},
        "hidden_size": 128,
        "num_latents": 32,
        "perceiver_num_blocks": 2,
        "perceiver_num_heads": 4,
        "perceiver_head_dim": 32,
        "temporal_fusion_num_blocks": 2,
        "temporal_fusion_num_heads": 4,
    },
    "base": {
        "image_size": 518,
        "vision_config": {},
        "text_config": {"num_hidden_layers": 6},
        "decoder_config": {"n_layer": 6},
    },
}


def preset_settings(size: str) -> dict:
    """The settings of a preset, or of a JSON file with a `PriorRGConfig`. Raises `ValueError` for anything else."""
    if size in PRESETS:
        return json.loads(json.dumps(PRESETS[size]))
    if os.path.isfile(size):
        settings = read_json_object(size)
        vision = settings.get("vision_config", {})
        if not isinstance(vision, dict):
            raise ValueError(f"{size}: vision_config must be an object, got a {type(vision).__name__}")
        settings.setdefault("image_size", vision.get("image_size", 518))
        return settings
    raise ValueError(f"{size!r} is neither a preset ({', '.join(PRESETS)}) nor a JSON file with a configuration")


def view_table(views: Iterable[str | None]) -> dict[str, int]:
    """Numbers the view names of a data set in alphabetical order, `unk` first."""
    names = sorted({view for view in views if view and view != "unk"})
    return {name: index for index, name in enumerate(["unk", *names])}


def new_processor(
    tokenizer: "str | os.PathLike | PreTrainedTokenizerBase",
    image_size: int,
    view_positions: dict[str, int] | None = None,
) -> "PriorRGProcessor":
    """A processor for a GPT-2 vocabulary (folder or Hub id; PriorRG's seven tokens are added) and an image size."""
    from ..model.processing_priorrg import PriorRGProcessor, rad_dino_image_processor
    from ..model.tokenization_priorrg import build_priorrg_tokenizer

    return PriorRGProcessor(rad_dino_image_processor(image_size), build_priorrg_tokenizer(tokenizer), view_positions)


def new_config(
    size: str, processor: "PriorRGProcessor", *, image_size: int | None = None, **overrides
) -> "PriorRGConfig":
    """A configuration of a preset size (or JSON file) that fits a processor's vocabulary, views and image size.

    Args:
        size (`str`): `"tiny"`, `"small"`, `"base"` (published shapes) or a JSON file.
        processor ([`PriorRGProcessor`]): decides vocabulary, special token ids and views.
        image_size (`int`, *optional*): side of the images in pixels; a multiple of the patch size 14.
        **overrides: further fields of [`PriorRGConfig`].
    """
    from ..model.configuration_priorrg import PriorRGConfig

    settings = preset_settings(size)
    image_size = image_size or settings.get("image_size", 518)
    settings.pop("image_size", None)
    tokenizer = processor.tokenizer
    vocabulary = max(tokenizer.get_vocab().values()) + 1
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    settings["vision_config"] = {
        "patch_size": 14,
        **settings.get("vision_config", {}),
        "image_size": image_size,
    }
    settings["text_config"] = {
        **settings.get("text_config", {}),
        "vocab_size": vocabulary,
        "pad_token_id": tokenizer.pad_token_id,
    }
    settings["decoder_config"] = {**settings.get("decoder_config", {}), "vocab_size": vocabulary, **special}
    if image_size % settings["vision_config"]["patch_size"]:
        raise ValueError(
            f"image size {image_size} is not a multiple of the patch size {settings['vision_config']['patch_size']}"
        )
    settings.update(
        **special,
        sep_token_id=tokenizer.sep_token_id,
        decoder_start_token_id=tokenizer.bos_token_id,
        view_positions=dict(processor.view_positions),
        **overrides,
    )
    return PriorRGConfig(**settings)


__all__ = ["PRESETS", "new_config", "new_processor", "preset_settings", "view_table"]
