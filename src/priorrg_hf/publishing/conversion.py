"""Published PriorRG checkpoints -> folders that `from_pretrained` and `AutoProcessor` load.

The published files are PyTorch-Lightning checkpoints. One table below holds every rename, and is read in both directions, so that an
error can name a missing weight as the file should have named it.
"""

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch

from ..data.file_writing import explain_full_disk, new_folder_beside, read_json_object, replace_file
from ..data.locking import exclusive
from ..data.model_folders import clear_folder_errors


if TYPE_CHECKING:
    from ..model.configuration_priorrg import PriorRGConfig
    from ..model.modeling_priorrg import PriorRGPreTrainedModel


# (published prefix, prefix here); `{i}` stands for a layer number.
RENAMES = [
    ("image_encoder", "model.vision_model"),
    ("text_encoder.bert", "model.text_model"),
    ("image_projection.norm", "model.vision_projection.norm"),
    ("image_projection.head.0", "model.vision_projection.fc1"),
    ("image_projection.head.1", "model.vision_projection.batch_norm"),
    ("image_projection.head.3", "model.vision_projection.fc2"),
    ("text_projection.head.0", "model.text_projection.fc1"),
    ("text_projection.head.1", "model.text_projection.batch_norm"),
    ("text_projection.head.3", "model.text_projection.fc2"),
    ("vp_pos_embed", "model.view_position_embedding"),
    ("temp_pos_embed", "model.time_position_embedding"),
    ("logit_scale", "logit_scale"),
    ("layer_norm", "model.spatiotemporal_norm"),
    ("layer_norm_fusion", "model.visual_norm"),
    ("temporal_fusion.norm", "model.temporal_fusion.norm"),
    ("temporal_fusion.layers.{i}.0.fc_q", "model.temporal_fusion.layers.{i}.attention.q_proj"),
    ("temporal_fusion.layers.{i}.0.fc_k", "model.temporal_fusion.layers.{i}.attention.k_proj"),
    ("temporal_fusion.layers.{i}.0.fc_v", "model.temporal_fusion.layers.{i}.attention.v_proj"),
    ("temporal_fusion.layers.{i}.0.fc_o", "model.temporal_fusion.layers.{i}.attention.o_proj"),
    ("temporal_fusion.layers.{i}.0.ln_1", "model.temporal_fusion.layers.{i}.norm"),
    ("temporal_fusion.layers.{i}.0.ln_2", "model.temporal_fusion.layers.{i}.prior_norm"),
    ("temporal_fusion.layers.{i}.1.net.0", "model.temporal_fusion.layers.{i}.mlp_norm"),
    ("temporal_fusion.layers.{i}.1.net.1", "model.temporal_fusion.layers.{i}.fc1"),
    ("temporal_fusion.layers.{i}.1.net.4", "model.temporal_fusion.layers.{i}.fc2"),
    ("perceiver.latents", "model.perceiver.latents"),
    ("perceiver.layers.{i}.0.norm", "model.perceiver.layers.{i}.cross_norm"),
    ("perceiver.layers.{i}.0.norm_context", "model.perceiver.layers.{i}.context_norm"),
    ("perceiver.layers.{i}.0.fn", "model.perceiver.layers.{i}.cross_attention"),
    ("perceiver.layers.{i}.1.norm", "model.perceiver.layers.{i}.cross_ff_norm"),
    ("perceiver.layers.{i}.1.fn.net.0", "model.perceiver.layers.{i}.cross_ff.fc1"),
    ("perceiver.layers.{i}.1.fn.net.2", "model.perceiver.layers.{i}.cross_ff.fc2"),
    ("perceiver.layers.{i}.2.0.0.norm", "model.perceiver.layers.{i}.self_norm"),
    ("perceiver.layers.{i}.2.0.0.fn", "model.perceiver.layers.{i}.self_attention"),
    ("perceiver.layers.{i}.2.0.1.norm", "model.perceiver.layers.{i}.self_ff_norm"),
    ("perceiver.layers.{i}.2.0.1.fn.net.0", "model.perceiver.layers.{i}.self_ff.fc1"),
    ("perceiver.layers.{i}.2.0.1.fn.net.2", "model.perceiver.layers.{i}.self_ff.fc2"),
    ("layer_fusion.cbam.ca.se.0", "model.layer_fusion.channel_fc1"),
    ("layer_fusion.cbam.ca.se.2", "model.layer_fusion.channel_fc2"),
    ("layer_fusion.cbam.sa.conv", "model.layer_fusion.spatial_conv"),
    ("layer_fusion.projection.0", "model.layer_fusion.conv1"),
    ("layer_fusion.projection.1", "model.layer_fusion.batch_norm"),
    ("layer_fusion.projection.3", "model.layer_fusion.conv2"),
    ("text_decoder.encoder_decoder.decoder", "decoder"),
]

# Entries of published files that no part of the model reads: the text encoder's unused heads, metric networks, and index
# buffers that older releases of transformers stored.
IGNORED = [
    r"text_encoder\.cls\..*",
    r"text_encoder\.cls_projection_head\..*",
    r"(val|test)_.*",
    r".*\.embeddings\.position_ids",
    r".*\.(attn|crossattention)\.(bias|masked_bias)",
]

# DINOv2's attention has these names in published files; in memory transformers has others since 5.18.
_DINOV2_RENAMES = [
    ("attention.attention.query", "attention.q_proj"),
    ("attention.attention.key", "attention.k_proj"),
    ("attention.attention.value", "attention.v_proj"),
    ("attention.output.dense", "attention.o_proj"),
]


class ConversionError(ValueError):
    """A checkpoint that is no published PriorRG checkpoint, or does not fit the configuration."""


def _replace_prefix(name: str, pairs: list[tuple[str, str]]) -> str | None:
    """The name under the longest matching prefix of `pairs`, or `None`."""
    for old, new in sorted(pairs, key=lambda pair: -len(pair[0])):
        pattern = re.escape(old).replace(r"\{i\}", r"(\d+)") + r"(?=\.|$)"
        match = re.match(pattern, name)
        if match:
            layer = match.group(1) if match.groups() else ""
            return new.replace("{i}", layer) + name[match.end() :]
    return None


def rename_key(name: str) -> str | None:
    """Name of a published weight in this package, `None` where it is not one of PriorRG's."""
    return _replace_prefix(name, RENAMES)


def published_key(name: str) -> str:
    """Name of a weight of this package in a published file; the reverse of [`rename_key`]."""
    return _replace_prefix(name, [(new, old) for old, new in RENAMES]) or name


def rename_state_dict(state_dict: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Published state dict -> the names and shapes of this package. Tensors are views, not copies.

    Raises:
        ConversionError: an entry is neither one of PriorRG's nor known to be unused; the message names it.
    """
    renamed, unexpected = {}, []
    for name, tensor in state_dict.items():
        if any(re.fullmatch(pattern, name) for pattern in IGNORED):
            continue
        new_name = rename_key(name)
        if new_name is None:
            unexpected.append(name)
        else:
            renamed[new_name] = _reshape(new_name, tensor)
    if unexpected:
        raise ConversionError(f"Unexpected entries in the checkpoint, none of PriorRG's: {_some(unexpected)}.")
    return renamed


def _reshape(name: str, tensor: torch.Tensor) -> torch.Tensor:
    if re.fullmatch(r"model\.(vision|text)_projection\.fc[12]\.weight", name) and tensor.dim() == 3:
        return tensor.squeeze(-1)  # kernel-1 Conv1d -> Linear
    if name in ("model.view_position_embedding", "model.time_position_embedding") and tensor.dim() == 3:
        return tensor.squeeze(1)
    return tensor


def _some(names: list[str], limit: int = 8) -> str:
    rest = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(sorted(names)[:limit]) + rest


def load_published_state_dict(checkpoint: str | os.PathLike) -> dict[str, torch.Tensor]:
    """State dict of a published `.ckpt`, memory-mapped where the format allows it, and never unpickling code."""
    try:
        try:
            content = torch.load(checkpoint, map_location="cpu", weights_only=True, mmap=True)
        except RuntimeError:  # files in torch's format before 1.6 can't be mapped
            content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ConversionError(
            f"{checkpoint} can't be read as a checkpoint of plain weights ({error}). Files that need pickled code are refused."
        ) from error
    state_dict = content.get("state_dict", content) if isinstance(content, dict) else content
    if not isinstance(state_dict, dict) or not all(isinstance(value, torch.Tensor) for value in state_dict.values()):
        raise ConversionError(f"{checkpoint} holds no state dict of tensors.")
    return state_dict


def infer_config(
    state_dict: dict[str, torch.Tensor], settings: dict[str, Any] | None = None, **tokens: int
) -> "PriorRGConfig":
    """Configuration of a renamed state dict: every size that shapes tell, updated by `settings`.

    Raises:
        ConversionError: the number of attention heads, which no shape tells, is open.
    """
    from ..model.configuration_priorrg import PriorRGConfig

    settings = {**(settings or {})}
    inferred = _inferred_settings(state_dict, tokens)
    for part, heads in (
        ("vision_config", "num_attention_heads"),
        ("text_config", "num_attention_heads"),
        ("decoder_config", "n_head"),
    ):
        given = dict(settings.pop(part, None) or {})
        width = inferred[part].get("hidden_size", inferred[part].get("n_embd"))
        if heads not in given:
            if width != 768:
                raise ConversionError(
                    f"`{part}.{heads}` can't be told from the weights (width {width}); give it in the configuration."
                )
            inferred[part][heads] = 12
        settings[part] = {**inferred.pop(part), **given}
    return PriorRGConfig(**{**inferred, **settings})


def _inferred_settings(state_dict: dict[str, torch.Tensor], tokens: dict[str, int]) -> dict[str, Any]:
    def shape(name: str) -> torch.Size:
        if name not in state_dict:
            raise ConversionError(f"The checkpoint lacks {published_key(name)}.")
        return state_dict[name].shape

    def count(pattern: str) -> int:
        numbers = [int(match.group(1)) for name in state_dict if (match := re.match(pattern, name))]
        return max(numbers) + 1 if numbers else 0

    vision, text, decoder = "model.vision_model.", "model.text_model.", "decoder.transformer."
    width, _, patch_size, _ = shape(vision + "embeddings.patch_embeddings.projection.weight")
    patches = shape(vision + "embeddings.position_embeddings")[1] - 1
    vocab_size, text_width = shape(text + "embeddings.word_embeddings.weight")
    num_latents, hidden_size = shape("model.perceiver.latents")
    head_dim = max(1, hidden_size // 4)
    settings: dict[str, Any] = {
        "hidden_size": hidden_size,
        "num_latents": num_latents,
        "perceiver_num_blocks": count(r"model\.perceiver\.layers\.(\d+)\."),
        "perceiver_num_heads": shape("model.perceiver.layers.0.cross_attention.to_q.weight")[0] // 64,
        "temporal_fusion_num_blocks": count(r"model\.temporal_fusion\.layers\.(\d+)\."),
        "temporal_fusion_num_heads": shape("model.temporal_fusion.layers.0.attention.q_proj.weight")[0] // head_dim,
        **tokens,
        "vision_config": {
            "hidden_size": width,
            "num_hidden_layers": count(r"model\.vision_model\.encoder\.layer\.(\d+)\."),
            "patch_size": patch_size,
            "image_size": round(patches**0.5) * patch_size,
        },
        "text_config": {
            "vocab_size": vocab_size,
            "hidden_size": text_width,
            "num_hidden_layers": count(r"model\.text_model\.encoder\.layer\.(\d+)\."),
            "intermediate_size": shape(text + "encoder.layer.0.intermediate.dense.weight")[0],
            "max_position_embeddings": shape(text + "embeddings.position_embeddings.weight")[0],
        },
        # Stage 1 has no decoder; its configuration gets the published decoder's shape.
        "decoder_config": {"vocab_size": vocab_size, "n_embd": 768, "n_layer": 6},
    }
    if vision + "encoder.layer.0.mlp.fc1.weight" in state_dict:
        settings["vision_config"]["mlp_ratio"] = shape(vision + "encoder.layer.0.mlp.fc1.weight")[0] // width
    else:
        settings["vision_config"]["use_swiglu_ffn"] = True
    if decoder + "wte.weight" in state_dict:
        settings["decoder_config"] = {
            "vocab_size": vocab_size,
            "n_embd": shape(decoder + "wte.weight")[1],
            "n_layer": count(r"decoder\.transformer\.h\.(\d+)\."),
            "n_positions": shape(decoder + "wpe.weight")[0],
        }
    return settings


def _known_backbone_fields(settings: dict[str, Any]) -> dict[str, Any]:
    """Drops what older releases of transformers wrote into sub-configurations and today's classes don't have."""
    from ..model.configuration_priorrg import PriorRGConfig

    settings = dict(settings)
    for part, config_class in PriorRGConfig.sub_configs.items():
        if isinstance(settings.get(part), dict):
            known = set(config_class().to_dict()) | {"hidden_size", "num_attention_heads"}
            known -= {"model_type", "torch_dtype", "dtype", "architectures", "transformers_version", "_name_or_path"}
            known -= {"output_hidden_states", "output_attentions", "return_dict", "id2label", "label2id"}
            settings[part] = {name: value for name, value in settings[part].items() if name in known}
    return settings


def _read_json(source: str | os.PathLike | dict | None) -> dict:
    if source is None or isinstance(source, dict):
        return dict(source or {})
    try:
        return read_json_object(source)
    except ValueError as error:
        raise ConversionError(str(error)) from None


def _check_view_positions(view_positions: dict[str, Any]) -> None:
    wrong = {name: value for name, value in view_positions.items() if type(value) is not int or value < 0}
    if wrong or len(set(view_positions.values())) < len(view_positions) or not view_positions:
        raise ConversionError(
            f"The view positions must be an object of view names and ids, each id once, got {str(wrong or view_positions)[:300]}."
        )


def load_published_model(
    checkpoint: str | os.PathLike,
    view_positions: dict[str, int],
    config: dict[str, Any] | None = None,
    **tokens: int,
) -> "PriorRGPreTrainedModel":
    """The model of a published checkpoint: [`PriorRGForReportGeneration`] for a stage-2 file, else
    [`PriorRGForContrastivePretraining`]. `tokens` are special token ids by configuration name, such as `pad_token_id`.

    Raises:
        ConversionError: entries are missing, unexpected, or of another shape; the message names them.
    """
    from ..model.modeling_priorrg import PriorRGForContrastivePretraining, PriorRGForReportGeneration

    state_dict = rename_state_dict(load_published_state_dict(checkpoint))
    is_stage_2 = any(name.startswith("decoder.") for name in state_dict)
    table = state_dict.get("model.view_position_embedding")
    if table is not None and len(table) != len(view_positions):
        raise ConversionError(
            f"The checkpoint has {len(table)} view positions, the given dictionary {len(view_positions)}: "
            f"{', '.join(view_positions)}."
        )
    settings = {**_known_backbone_fields(config or {}), "view_positions": view_positions}
    model_config = infer_config(state_dict, settings, **tokens)
    if is_stage_2:
        state_dict.pop("logit_scale", None)
        if model_config.decoder_config.tie_word_embeddings:
            embeddings = state_dict.get("decoder.transformer.wte.weight")
            if embeddings is not None:
                state_dict.setdefault("decoder.lm_head.weight", embeddings)
    model_class = PriorRGForReportGeneration if is_stage_2 else PriorRGForContrastivePretraining
    _check_names_and_shapes(model_class, model_config, state_dict)
    return model_class.from_pretrained(None, config=model_config, state_dict=state_dict)


def _check_names_and_shapes(model_class, config: "PriorRGConfig", state_dict: dict[str, torch.Tensor]) -> None:
    with torch.device("meta"):
        expected = {_saved_name(name): value.shape for name, value in model_class(config).state_dict().items()}
    found = {_saved_name(name): value.shape for name, value in state_dict.items()}
    # A counter that BatchNorm does not need; files written before PyTorch 0.4.1 lack it.
    optional = {name for name in expected if name.endswith("num_batches_tracked")}
    missing = [published_key(name) for name in expected.keys() - found.keys() - optional]
    unexpected = [published_key(name) for name in found.keys() - expected.keys()]
    wrong = [
        f"{published_key(name)} {tuple(found[name])} instead of {tuple(expected[name])}"
        for name in expected.keys() & found.keys()
        if expected[name] != found[name]
    ]
    problems = [
        f"{what}: {_some(names)}"
        for what, names in (("missing", missing), ("unexpected", unexpected), ("wrong shape", wrong))
        if names
    ]
    if problems:
        raise ConversionError(f"The checkpoint does not fit the configuration; {'; '.join(problems)}.")


def _saved_name(name: str) -> str:
    for saved, in_memory in _DINOV2_RENAMES:
        if name.startswith("model.vision_model.encoder."):
            name = name.replace(f".{in_memory}.", f".{saved}.")
    return name


def convert_checkpoint(
    checkpoint: str | os.PathLike,
    output_dir: str | os.PathLike,
    tokenizer: str | os.PathLike,
    view_positions: str | os.PathLike | dict[str, int],
    config: str | os.PathLike | dict[str, Any] | None = None,
) -> Path:
    """
    Converts a published PriorRG checkpoint of either stage.

    Args:
        checkpoint (`str` or `os.PathLike`):
            The `.ckpt` file.
        output_dir (`str` or `os.PathLike`):
            Folder to make; it appears whole or not at all.
        tokenizer (`str` or `os.PathLike`):
            Folder or Hub id of the tokenizer: PriorRG's own, or plain GPT-2, which then gets the seven added tokens.
        view_positions (`dict[str, int]` or path of a JSON file):
            View name -> id, as the checkpoint was trained with.
        config (`dict` or path of a JSON file, *optional*):
            Fields of [`PriorRGConfig`] that the weights don't tell; needed for other than the published sizes (heads).

    Returns:
        `Path`: the folder, with model, processor and generation configuration.

    Raises:
        ConversionError: the checkpoint does not fit; the message names the entries.
    """
    output_dir = Path(output_dir)
    if output_dir.is_symlink() or (output_dir.exists() and not output_dir.is_dir()):
        raise ConversionError(f"{output_dir} is a link or a file, not a folder; name a new folder.")
    if output_dir.exists() and any(output_dir.iterdir()):
        raise ConversionError(f"{output_dir} exists and is not empty; name a new folder.")
    view_positions = _read_json(view_positions)
    _check_view_positions(view_positions)
    with exclusive(output_dir, "priorrg convert", folder=False):
        return _convert(checkpoint, output_dir, tokenizer, view_positions, _read_json(config))


def _convert(checkpoint, output_dir: Path, tokenizer, view_positions: dict[str, int], config: dict[str, Any]) -> Path:
    from ..model.processing_priorrg import PriorRGProcessor, rad_dino_image_processor
    from ..model.tokenization_priorrg import build_priorrg_tokenizer

    with clear_folder_errors(tokenizer):
        text_tokenizer = build_priorrg_tokenizer(tokenizer)
    model = load_published_model(
        checkpoint,
        view_positions,
        config,
        bos_token_id=text_tokenizer.bos_token_id,
        eos_token_id=text_tokenizer.eos_token_id,
        pad_token_id=text_tokenizer.pad_token_id,
        sep_token_id=text_tokenizer.sep_token_id,
    )
    processor = PriorRGProcessor(
        image_processor=rad_dino_image_processor(size=cast(int, model.config.vision_config.image_size)),
        tokenizer=text_tokenizer,
        view_positions=view_positions,
    )
    staging = new_folder_beside(output_dir)
    try:
        with explain_full_disk(output_dir, "Nothing of it is kept."):
            model.save_pretrained(staging)
            processor.save_pretrained(staging)
            for path in staging.iterdir():
                replace_file(path, path)  # permissions as the umask says
            if output_dir.exists():
                output_dir.rmdir()
            os.replace(staging, output_dir)
    except BaseException:
        shutil.rmtree(staging, ignore_errors=True)
        raise
    return output_dir
