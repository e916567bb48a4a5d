"""Exports a report generator as two programs that run without this package: the encoder and one decoding step.

`encoder`: a batch of studies to the memory, and to the keys and values of the decoder's cross-attention, computed once a study.
`decoder_step`: one token a study, the keys and values so far and those of the memory, to the next token's logits.

Batch size, context length and report length are dynamic. Both are saved by `torch.export.save`, and as ONNX on request; `export.json`
beside them names inputs, outputs and token ids. [`ExportedReportGenerator`] is the greedy loop over them.
"""

import io
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import nn
from transformers.cache_utils import DynamicCache, DynamicLayer, EncoderDecoderCache

from ..data.file_writing import explain_full_disk, json_file_with, replace_file
from ..data.locking import claimed


if TYPE_CHECKING:
    from ..model.configuration_priorrg import PriorRGConfig
    from ..model.modeling_priorrg import PriorRGForReportGeneration


ENCODER_INPUTS = (
    "input_ids",
    "attention_mask",
    "pixel_values",
    "view_position_ids",
    "prior_pixel_values",
    "prior_view_position_ids",
    "prior_mask",
)
ENCODER_OUTPUTS = ("memory", "memory_keys", "memory_values")
STEP_INPUTS = ("decoder_input_ids", "past_keys", "past_values", "memory_keys", "memory_values")
STEP_OUTPUTS = ("logits", "keys", "values")


class ExportableEncoder(nn.Module):
    """
    The encoder with positional inputs, [`ENCODER_INPUTS`] in this order.

    Returns `memory` (batch, memory tokens, hidden_size) and, for each decoder layer, `memory_keys` and `memory_values`
    (layers, batch, heads, memory tokens, head width).
    """

    def __init__(self, model: "PriorRGForReportGeneration"):
        super().__init__()
        self.model = model

    def forward(
        self,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        pixel_values: torch.Tensor,
        view_position_ids: torch.Tensor,
        prior_pixel_values: torch.Tensor,
        prior_view_position_ids: torch.Tensor,
        prior_mask: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        encoder_outputs = self.model.get_encoder()(
            input_ids=input_ids,
            attention_mask=attention_mask,
            pixel_values=pixel_values,
            view_position_ids=view_position_ids,
            prior_pixel_values=prior_pixel_values,
            prior_view_position_ids=prior_view_position_ids,
            prior_mask=prior_mask,
        )
        # One step fills the cross-attention's cache; all else that it computes is pruned from the graph.
        start = torch.full_like(input_ids[:, :1], _start_token(self.model.config))
        cache = EncoderDecoderCache(DynamicCache(), DynamicCache())
        self.model(decoder_input_ids=start, encoder_outputs=encoder_outputs, cache=cache, use_cache=True)
        return (encoder_outputs.last_hidden_state, *_stacked(cache.cross_attention_cache))


class ExportableDecoderStep(nn.Module):
    """
    One decoding step with its caches as plain tensors, [`STEP_INPUTS`] in this order.

    Takes `decoder_input_ids` (batch, 1), `past_keys` and `past_values` (layers, batch, heads, tokens so far, head width; no tokens at
    the start), and the encoder's `memory_keys` and `memory_values`. Returns `logits` (batch, vocabulary) and the keys and values with
    this token's added.
    """

    def __init__(self, model: "PriorRGForReportGeneration"):
        super().__init__()
        self.model = model

    def forward(
        self,
        decoder_input_ids: torch.Tensor,
        past_keys: torch.Tensor,
        past_values: torch.Tensor,
        memory_keys: torch.Tensor,
        memory_values: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        layers = range(self.model.config.decoder_config.n_layer)
        past, memory = DynamicCache(), DynamicCache()
        for layer in layers:
            past.update(past_keys[layer], past_values[layer], layer)
            memory.update(memory_keys[layer], memory_values[layer], layer)
        cache = EncoderDecoderCache(past, memory)
        # The memory's keys and values are in the cache, so that of the memory itself only the shape is read.
        width = self.model.config.hidden_size
        stand_in = memory_keys.new_zeros(decoder_input_ids.shape[0], memory_keys.shape[3], width)
        outputs = self.model(
            decoder_input_ids=decoder_input_ids,
            encoder_outputs=(stand_in,),
            cache=cache,
            use_cache=True,
        )
        return (outputs.logits[:, -1], *_stacked(cache.self_attention_cache))


def _start_token(config: "PriorRGConfig") -> int:
    if config.decoder_start_token_id is None:
        raise ValueError("the configuration has no `decoder_start_token_id`, with which every report begins")
    return config.decoder_start_token_id


def _stacked(cache: DynamicCache) -> tuple[torch.Tensor, torch.Tensor]:
    layers = [cast(DynamicLayer, layer) for layer in cache.layers]
    keys = [layer.keys for layer in layers if layer.keys is not None]
    values = [layer.values for layer in layers if layer.values is not None]
    return torch.stack(keys), torch.stack(values)


def example_inputs(
    model: "PriorRGForReportGeneration", batch_size: int = 2, tokens: int = 8
) -> dict[str, torch.Tensor]:
    """Encoder inputs of the right shapes and no meaning, to trace with."""
    config = model.config
    # transformers allows pairs as well; the processor's images are square
    size, channels = cast(int, config.vision_config.image_size), config.vision_config.num_channels
    images = torch.zeros(batch_size, channels, size, size, dtype=model.dtype)
    ids = torch.arange(tokens).remainder(config.vocab_size).expand(batch_size, -1).contiguous()
    views = torch.zeros(batch_size, dtype=torch.long)
    inputs = {
        "input_ids": ids,
        "attention_mask": torch.ones_like(ids),
        "pixel_values": images,
        "view_position_ids": views,
        "prior_pixel_values": images.clone(),
        "prior_view_position_ids": views.clone(),
        "prior_mask": torch.arange(batch_size).remainder(2).bool(),
    }
    return {name: tensor.to(model.device) for name, tensor in inputs.items()}


def export_programs(model: "PriorRGForReportGeneration") -> dict[str, torch.export.ExportedProgram]:
    """
    The two programs, `encoder` and `decoder_step`.

    Args:
        model ([`PriorRGForReportGeneration`]): Set to evaluation mode.

    Raises:
        `ValueError`: a model of stage 1, which has no decoder.
    """
    if not model.can_generate():
        raise ValueError(f"{type(model).__name__} has no decoder; export a PriorRGForReportGeneration.")
    model.eval()
    batch = torch.export.Dim("batch", min=1, max=4096)
    # The text encoder's learned positions end here.
    tokens = torch.export.Dim("tokens", min=1, max=model.config.text_config.max_position_embeddings)
    past = torch.export.Dim("past", min=0, max=model.config.decoder_config.n_positions - 1)
    encoder_inputs = example_inputs(model)
    encoder_shapes = {name: {0: batch} for name in ENCODER_INPUTS}
    encoder_shapes["input_ids"] = encoder_shapes["attention_mask"] = {0: batch, 1: tokens}
    with torch.no_grad():
        encoder = ExportableEncoder(model)
        memory = encoder(*encoder_inputs.values())
        programs = {
            "encoder": torch.export.export(
                encoder, tuple(encoder_inputs.values()), dynamic_shapes=encoder_shapes, strict=False
            )
        }
        config = model.config.decoder_config
        cache = memory[1].new_zeros(config.n_layer, 2, config.n_head, 5, config.n_embd // config.n_head)
        ids = torch.full((2, 1), _start_token(model.config), device=model.device)
        step_shapes = {name: {1: batch} for name in STEP_INPUTS}
        step_shapes["decoder_input_ids"] = {0: batch}
        step_shapes["past_keys"] = step_shapes["past_values"] = {1: batch, 3: past}
        programs["decoder_step"] = torch.export.export(
            ExportableDecoderStep(model),
            (ids, cache, cache.clone(), memory[1], memory[2]),
            dynamic_shapes=step_shapes,
            strict=False,
        )
    return programs


def export_model(
    model: "PriorRGForReportGeneration",
    folder: str | os.PathLike,
    onnx: bool = False,
    *,
    overwrite: bool = False,
    sources: Sequence[str | os.PathLike] = (),
) -> list[Path]:
    """
    Writes `encoder.pt2`, `decoder_step.pt2`, `export.json` and, on request, `encoder.onnx` and `decoder_step.onnx`.

    Args:
        model ([`PriorRGForReportGeneration`]): On the device and in the data type that the programs shall run with.
        folder (`str` or `os.PathLike`): Made if need be.
        onnx (`bool`, *optional*, defaults to `False`): Whether to write ONNX files too (`pip install priorrg-hf[export]`).
        overwrite (`bool`, *optional*, defaults to `False`): Whether to replace such files that no export wrote.
        sources (sequence of `str`, *optional*): What is never written over, e.g. the model's folder.

    Returns:
        `list[Path]`: the files.

    Raises:
        `OutputError`, `LockedError`, `DiskFullError` (`OSError`): such files of others are there, another export is writing, or the disk
            is full.
    """
    files = ("encoder.pt2", "decoder_step.pt2", "encoder.onnx*", "decoder_step.onnx*", "export.json")
    recognised = json_file_with("encoder", "decoder_step", "notice")(Path(folder) / "export.json")
    with (
        claimed(
            folder,
            "export",
            files,
            "priorrg export",
            sources=sources,
            overwrite=overwrite,
            recognised=recognised,
            mark=False,
        ) as place,
        explain_full_disk(place, "Earlier files are unchanged."),
    ):
        return _export(model, place, onnx)


def _export(model: "PriorRGForReportGeneration", folder: Path, onnx: bool) -> list[Path]:
    config, generation = model.config, model.generation_config
    programs = export_programs(model)
    names = {
        "encoder": {"inputs": list(ENCODER_INPUTS), "outputs": list(ENCODER_OUTPUTS)},
        "decoder_step": {"inputs": list(STEP_INPUTS), "outputs": list(STEP_OUTPUTS)},
    }
    description = {
        **names,
        "dtype": str(model.dtype).removeprefix("torch."),
        "num_layers": config.decoder_config.n_layer,
        "num_heads": config.decoder_config.n_head,
        "head_dim": config.decoder_config.n_embd // config.decoder_config.n_head,
        "decoder_start_token_id": config.decoder_start_token_id,
        "eos_token_id": config.eos_token_id,
        "pad_token_id": config.pad_token_id,
        "max_length": generation.max_length or 100,
        "notice": "Research use only, not for clinical decisions.",
    }
    written = []
    with tempfile.TemporaryDirectory(dir=folder, prefix=".exporting-") as made:
        staging = Path(made)
        for name, program in programs.items():
            # By way of memory: on a full disk torch's writer would end the whole process.
            content = io.BytesIO()
            torch.export.save(program, content)
            (staging / f"{name}.pt2").write_bytes(content.getbuffer())
        if onnx:
            for name, program in programs.items():
                save_onnx(program, staging / f"{name}.onnx", names[name])
        (staging / "export.json").write_text(json.dumps(description, indent=2) + "\n", encoding="utf-8")
        # The description first: it tells a later export that the files are ours.
        for path in sorted(staging.iterdir(), key=lambda path: (path.name != "export.json", path.name)):
            replace_file(path, folder / path.name)
            written.append(folder / path.name)
    return written


def save_onnx(program: torch.export.ExportedProgram, path: str | os.PathLike, names: dict[str, list[str]]) -> None:
    """
    Writes an exported program as ONNX.

    Args:
        program (`torch.export.ExportedProgram`): One of [`export_programs`].
        path (`str` or `os.PathLike`): The file.
        names (`dict[str, list[str]]`): Its `inputs` and `outputs`, as in `export.json`.

    Raises:
        `ImportError`: the `export` extra is not installed.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise ImportError("ONNX files need onnx and onnxscript: pip install priorrg-hf[export]") from error
    onnx_program = torch.onnx.export(
        program, input_names=names["inputs"], output_names=names["outputs"], dynamo=True, verbose=False
    )
    if onnx_program is None:  # older ways of exporting give none
        raise RuntimeError("torch.onnx.export gave no program")
    onnx_program.save(path)


class ExportedReportGenerator:
    """
    Greedy generation with the programs of [`export_model`]. Research use only, not for clinical decisions.

    Args:
        folder (`str` or `os.PathLike`): A folder written by [`export_model`].
    """

    def __init__(self, folder: str | os.PathLike):
        folder = Path(folder)
        self.settings: dict[str, Any] = json.loads((folder / "export.json").read_text(encoding="utf-8"))
        self.encoder = torch.export.load(folder / "encoder.pt2").module()
        self.decoder_step = torch.export.load(folder / "decoder_step.pt2").module()

    @torch.no_grad()
    def generate(self, max_length: int | None = None, **inputs: torch.Tensor) -> torch.Tensor:
        """
        Report token ids (batch, length), the start token first, padded after the end token.

        Args:
            max_length (`int`, *optional*): Tokens at most, the start token included. Default: the model's.
            inputs: What the processor returns, on the programs' device.
        """
        settings = self.settings
        end = settings["eos_token_id"] if isinstance(settings["eos_token_id"], list) else [settings["eos_token_id"]]
        _, memory_keys, memory_values = self.encoder(*(inputs[name] for name in settings["encoder"]["inputs"]))
        ids = torch.full_like(inputs["input_ids"][:, :1], settings["decoder_start_token_id"])
        shape = (settings["num_layers"], len(ids), settings["num_heads"], 0, settings["head_dim"])
        keys, values = memory_keys.new_zeros(shape), memory_keys.new_zeros(shape)
        finished = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        while ids.shape[1] < (max_length or settings["max_length"]) and not finished.all():
            logits, keys, values = self.decoder_step(ids[:, -1:], keys, values, memory_keys, memory_values)
            token = logits.argmax(dim=-1).masked_fill(finished, settings["pad_token_id"])
            finished = finished | torch.isin(token, torch.tensor(end, device=ids.device))
            ids = torch.cat([ids, token[:, None]], dim=1)
        return ids


__all__ = ["ExportedReportGenerator", "example_inputs", "export_model", "export_programs", "save_onnx"]
