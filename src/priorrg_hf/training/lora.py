"""LoRA for PriorRG: which modules to adapt, and what else an adapter needs to be the whole of what was learned.

PEFT knows no targets for this model type, and its `all-linear` would adapt projections whose BatchNorm an adapter file can't hold.
`lora_config` names the targets part by part. `freeze_batch_norm` keeps training from changing the statistics of the base model, which
no adapter file contains: without it a reloaded adapter would not give the trained model's outputs.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import nn


if TYPE_CHECKING:
    from peft import LoraConfig
    from transformers import PreTrainedModel
    from typing_extensions import Self


# Part -> its modules, and the linears of their attention and of their feed-forward. DINOv2's names before and after its renaming.
_PARTS = {
    "decoder": (
        r"decoder\.transformer\.h\.\d+",
        r"(?:attn|crossattention)\.(?:c_attn|q_attn|c_proj)",
        r"mlp\.(?:c_fc|c_proj)",
    ),
    "text": (
        r"(?:model\.)?text_model\.encoder\.layer\.\d+",
        r"attention\.(?:self\.(?:query|key|value)|output\.dense)",
        r"(?:intermediate|output)\.dense",
    ),
    "vision": (
        r"(?:model\.)?vision_model\.encoder\.layer\.\d+",
        r"attention\.(?:[qkvo]_proj|attention\.(?:query|key|value)|output\.dense)",
        r"mlp\.(?:fc1|fc2|weights_in|weights_out)",
    ),
    "temporal_fusion": (r"(?:model\.)?temporal_fusion\.layers\.\d+", r"attention\.[qkvo]_proj", r"fc[12]"),
    "perceiver": (
        r"(?:model\.)?perceiver\.layers\.\d+",
        r"(?:cross|self)_attention\.to_(?:q|kv|out)",
        r"(?:cross|self)_ff\.fc[12]",
    ),
}
PARTS = tuple(_PARTS)


def target_modules(parts: Sequence[str] = ("decoder",), feed_forward: bool = False) -> str:
    """
    The regular expression, to be matched in full, of the linear layers of some parts.

    Args:
        parts (`Sequence[str]`, *optional*, defaults to `("decoder",)`):
            Of `decoder`, `text`, `vision`, `temporal_fusion` and `perceiver`.
        feed_forward (`bool`, *optional*, defaults to `False`): Whether to adapt the feed-forward layers beside the attention.

    Raises:
        `ValueError`: an unknown part, or none.
    """
    parts = [parts] if isinstance(parts, str) else list(parts)
    unknown = [part for part in parts if part not in _PARTS]
    if unknown or not parts:
        raise ValueError(f"parts must be some of {', '.join(PARTS)}, got {', '.join(map(repr, unknown)) or 'none'}.")
    patterns = []
    for part in parts:
        layers, attention, ff = _PARTS[part]
        patterns.append(rf"{layers}\.(?:{attention}|{ff})" if feed_forward else rf"{layers}\.(?:{attention})")
    return "|".join(f"(?:{pattern})" for pattern in patterns)


def lora_config(parts: Sequence[str] = ("decoder",), feed_forward: bool = False, **kwargs) -> "LoraConfig":
    """
    A LoRA configuration for PriorRG.

    Args:
        parts (`Sequence[str]`, *optional*, defaults to `("decoder",)`): See [`target_modules`].
        feed_forward (`bool`, *optional*, defaults to `False`): See [`target_modules`].
        kwargs (*optional*):
            Arguments of `peft.LoraConfig`; `r` is 16 and `lora_alpha` 32 unless given. `task_type` may be `None`, `"SEQ_2_SEQ_LM"` or
            `"FEATURE_EXTRACTION"`.

    Returns:
        `peft.LoraConfig`: for `peft.get_peft_model`, or for `model.add_adapter` where PEFT is as new as transformers wants it (0.22 with
            transformers 5.24).

    Raises:
        `ImportError`: PEFT is not installed.
        `ValueError`: an unknown part.

    Example:

    ```python
    >>> from peft import get_peft_model
    >>> from priorrg_hf.training.lora import freeze_batch_norm, lora_config

    >>> model = get_peft_model(freeze_batch_norm(model), lora_config(("decoder", "perceiver"), r=8))
    ```"""
    try:
        from peft import LoraConfig
    except ImportError as error:
        raise ImportError("LoRA needs PEFT: pip install priorrg-hf[peft]") from error

    settings = {"r": 16, "lora_alpha": 32, "target_modules": target_modules(parts, feed_forward)}
    if set([parts] if isinstance(parts, str) else parts) == {"decoder"}:
        # GPT-2's layers hold their weights transposed. In mixed configurations PEFT finds this out layer by layer, and says so.
        settings["fan_in_fan_out"] = True
    return LoraConfig(**{**settings, **kwargs})


class _FixedBatchNorm1d(nn.BatchNorm1d):
    def train(self, mode: bool = True) -> "Self":
        return super().train(False)


class _FixedBatchNorm2d(nn.BatchNorm2d):
    def train(self, mode: bool = True) -> "Self":
        return super().train(False)


_FIXED: dict[type[nn.Module], type[nn.Module]] = {nn.BatchNorm1d: _FixedBatchNorm1d, nn.BatchNorm2d: _FixedBatchNorm2d}


def freeze_batch_norm(model: "PreTrainedModel") -> "PreTrainedModel":
    """
    Keeps every BatchNorm in evaluation mode from now on: training neither uses the batch's statistics nor changes the running
    ones. Names and weights stay, so the model saves and loads as before.

    Args:
        model ([`PreTrainedModel`]): Changed in place.

    Returns:
        The same model.
    """
    for module in model.modules():
        if type(module) in _FIXED:
            module.__class__ = _FIXED[type(module)]
            module.eval()
    return model


__all__ = ["PARTS", "freeze_batch_norm", "lora_config", "target_modules"]
