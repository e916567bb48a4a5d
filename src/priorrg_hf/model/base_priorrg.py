"""What all PriorRG models share: outputs, weight initialisation, loading between the stages, copying and pickling.

Loading a checkpoint of another PriorRG class is what the recipe does (stage 2 starts from stage 1), so it raises no alarm: one line says what was
taken over and what is new. Keys that belong to neither class are still named by transformers.
"""

import contextvars
import inspect
import re
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from torch import nn
from transformers import initialization as init
from transformers.integrations import peft as peft_integration
from transformers.modeling_utils import PreTrainedModel
from transformers.models.dinov2.modeling_dinov2 import Dinov2Model
from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel
from transformers.utils import ModelOutput, check_peft_version, logging
from transformers.utils.output_capturing import OutputRecorder

from .backbones_priorrg import copy_decoder, load_bert
from .configuration_priorrg import PriorRGConfig
from .layers_priorrg import PriorRGPerceiver, PriorRGPerceiverAttention, PriorRGPerceiverBlock


logger = logging.get_logger(__name__)

# The decoder's cache, as argument and in outputs: `past_key_values` up to transformers 5.23, `cache` from 5.24 on (the old name, then
# deprecated, goes in 5.40). Checked on 5.18 to 5.24.
CACHE_NAME = "cache" if "cache" in inspect.signature(GPT2LMHeadModel.forward).parameters else "past_key_values"
# Parts that some of the classes have -> names of their weights. Which class has which: `own_parts`.
PARTS = {
    "decoder": r"^(decoder|memory_projection)\.",
    "layer fusion": r"(^|^model\.)(layer_fusion|visual_norm)\.",
    "temperature": r"^(logit_scale)$",
}
# Parts of the classes by the name that a checkpoint's configuration tells.
_SAVED_PARTS = {
    "PriorRGModel": ("layer fusion",),
    "PriorRGForContrastivePretraining": ("temperature",),
    "PriorRGForReportGeneration": ("decoder", "layer fusion"),
}
# The class whose `from_pretrained` runs: the encoder within it must not take itself for what is loaded.
_LOADING: contextvars.ContextVar[type | None] = contextvars.ContextVar("priorrg_loading", default=None)


@dataclass
class PriorRGModelOutput(ModelOutput):
    r"""
    Output of [`PriorRGModel`]. Segments that the configuration leaves out are `None`.

    Args:
        last_hidden_state (`torch.FloatTensor` of shape `(batch_size, segments * num_latents, hidden_size)`):
            The memory: the active segments in the order of `config.memory_segments`.
        context_embeds (`torch.FloatTensor` of shape `(batch_size, num_latents, hidden_size)`, *optional*):
            Context segment, `P(context)`.
        spatiotemporal_embeds (`torch.FloatTensor` of shape `(batch_size, num_latents, hidden_size)`, *optional*):
            Spatiotemporal segment: current image and change since the prior, given the context.
        visual_embeds (`torch.FloatTensor` of shape `(batch_size, num_latents, hidden_size)`, *optional*):
            Fine visual detail of the current image, given the segments before.
        context_features (`torch.FloatTensor` of shape `(batch_size, tokens, hidden_size)`, *optional*):
            Projected context tokens, with `output_features=True`.
        spatiotemporal_features (`torch.FloatTensor` of shape `(batch_size, patches, hidden_size)`, *optional*):
            Current features fused with the prior's, with `output_features=True`.
        visual_features (`torch.FloatTensor` of shape `(batch_size, patches, hidden_size)`, *optional*):
            Layer-fused current features, with `output_features=True`.
        hidden_states (`tuple[torch.Tensor]`, *optional*):
            With `output_hidden_states=True`: the Perceiver's latents at the start and after each block, use by use.
        attentions (`tuple[torch.Tensor]`, *optional*):
            With `output_attentions=True` (eager attention): the Perceiver's cross-attention maps, block by block.
    """

    last_hidden_state: torch.Tensor | None = None
    context_embeds: torch.Tensor | None = None
    spatiotemporal_embeds: torch.Tensor | None = None
    visual_embeds: torch.Tensor | None = None
    context_features: torch.Tensor | None = None
    spatiotemporal_features: torch.Tensor | None = None
    visual_features: torch.Tensor | None = None
    hidden_states: tuple[torch.Tensor, ...] | None = None
    attentions: tuple[torch.Tensor, ...] | None = None


@dataclass
class PriorRGContrastiveOutput(ModelOutput):
    r"""
    Output of [`PriorRGForContrastivePretraining`].

    Args:
        loss (`torch.FloatTensor` of shape `()`, *optional*):
            Symmetric cross-entropy against the multi-positive targets.
        logits_per_image (`torch.FloatTensor` of shape `(batch_size, reports)`):
            Scaled cosine similarity of each study with each report.
        logits_per_text (`torch.FloatTensor` of shape `(reports, batch_size)`):
            Its transpose.
        image_embeds (`torch.FloatTensor` of shape `(batch_size, hidden_size)`):
            L2-normalised study embeddings (image, prior and context).
        text_embeds (`torch.FloatTensor` of shape `(reports, hidden_size)`):
            L2-normalised report embeddings.
    """

    loss: torch.Tensor | None = None
    logits_per_image: torch.Tensor | None = None
    logits_per_text: torch.Tensor | None = None
    image_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None


def _saved_as(config: PriorRGConfig) -> str | None:
    """Class that a checkpoint was saved with, or `None` for a configuration that no model has saved."""
    return next(iter(config.architectures or ()), None)


def _check_peft(method: str, instead: str) -> None:
    """Raises `ImportError` where transformers refuses `method` for the version of PEFT, before anything is changed.

    Which PEFT transformers wants for its own adapter methods is private to it. Checked on 5.18 (0.20.0) to 5.24 (0.22.0).
    """
    try:
        check_peft_version(min_version=getattr(peft_integration, "MIN_PEFT_VERSION", "0"))
    except ValueError as error:
        raise ImportError(
            f"`{method}` of transformers {transformers.__version__}: {str(error).rstrip('.')}. "
            f"PEFT's own way takes older versions too: `{instead}`."
        ) from None


def _is_recorder(hook) -> bool:
    """Whether a hook is transformers' output recorder. Checked on 5.18 to 5.24."""
    return hook is not None and getattr(hook, "__qualname__", "").endswith("output_capturing_hook")


class PriorRGPreTrainedModel(PreTrainedModel):
    """Base class: weight initialisation, loading, and the features that all PriorRG models support."""

    config: PriorRGConfig
    base_model_prefix = "model"
    main_input_name = "input_ids"
    input_modalities = ["text", "image"]
    supports_gradient_checkpointing = True
    _no_split_modules = ["PriorRGPerceiverBlock", "PriorRGTemporalFusionBlock", "PriorRGLayerFusion"]
    _supports_sdpa = True
    _supports_flash_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {
        "hidden_states": PriorRGPerceiverBlock,
        "attentions": OutputRecorder(PriorRGPerceiverAttention, index=1, layer_name="cross_attention"),
    }

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        super()._init_weights(module)
        if isinstance(module, PriorRGPerceiver):
            init.normal_(module.latents, mean=0.0, std=1.0)
        elif isinstance(module, PriorRGPreTrainedModel):
            # The models' own parameters, those of no layer.
            for name, parameter in module.named_parameters(recurse=False):
                if name == "logit_scale":
                    init.constant_(parameter, self.config.logit_scale_init_value)
                else:  # the tables of view and time positions
                    init.normal_(parameter, mean=0.0, std=self.config.initializer_range)

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args, **kwargs) -> nn.Embedding:
        """Resizes the word embeddings. The vocabulary of the decoder, also of one to come, follows: one tokenizer serves both."""
        embeddings = super().resize_token_embeddings(new_num_tokens, *args, **kwargs)
        self.config.vocab_size = embeddings.num_embeddings
        return embeddings

    # Names of `PARTS` that this class has.
    own_parts: tuple[str, ...] = ()

    def post_init(self):
        super().post_init()
        if _LOADING.get() is type(self) and _saved_as(self.config) in _SAVED_PARTS:
            theirs = _SAVED_PARTS[_saved_as(self.config) or ""]
            missing = {PARTS[name] for name in self._new_parts()}
            unexpected = {PARTS[name] for name in theirs if name not in self.own_parts}
            self._keys_to_ignore_on_load_missing = {*(self._keys_to_ignore_on_load_missing or ()), *missing}
            self._keys_to_ignore_on_load_unexpected = {*(self._keys_to_ignore_on_load_unexpected or ()), *unexpected}

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        """As `PreTrainedModel.from_pretrained`. Checkpoints hold weights only, so what goes with them is set anew: a frozen
        vision encoder is frozen again, and a folder without generation settings gets the published ones. A checkpoint of another
        PriorRG class gives what both have; one line in the log says so."""
        # A configuration that the caller brings does not tell what the checkpoint was saved as.
        token = _LOADING.set(None if isinstance(kwargs.get("config"), PriorRGConfig) else cls)
        try:
            loaded = super().from_pretrained(*args, **kwargs)
        finally:
            _LOADING.reset(token)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if not isinstance(kwargs.get("config"), PriorRGConfig):
            new = model._tell_what_was_taken_over()
            if isinstance(loaded, tuple):  # no alarm is no secret
                loaded[1]["missing_keys"] = set(loaded[1]["missing_keys"]) | new
        whole: Any = model  # methods that some of the classes have
        if model.config.freeze_vision:
            getattr(whole, model.base_model_prefix, whole).freeze_vision_encoder()
        if model.can_generate():
            whole.set_generation_defaults()
        return loaded

    def _new_parts(self) -> list[str]:
        """Names of `PARTS` that this class has and the class of the checkpoint has not."""
        saved_as = _saved_as(self.config)
        if saved_as == type(self).__name__ or saved_as not in _SAVED_PARTS:
            return []
        return [name for name in self.own_parts if name not in _SAVED_PARTS[saved_as]]

    def _tell_what_was_taken_over(self) -> set[str]:
        """One line about a checkpoint of another class. Returns the weights that are new."""
        saved_as = _saved_as(self.config)
        if saved_as == type(self).__name__ or saved_as not in _SAVED_PARTS:
            return set()
        names = list(self.state_dict())
        weights = {part: {name for name in names if re.search(PARTS[part], name)} for part in self._new_parts()}
        # A part that the configuration leaves out is not new either.
        parts = [part for part, found in weights.items() if found]
        new = set().union(*weights.values())
        logger.warning(
            f"{type(self).__name__} from the weights of a {saved_as}: {len(names) - len(new)} tensors taken over, "
            + (f"new and to be trained: {', '.join(parts)}." if parts else "nothing is new.")
        )
        return new

    def add_adapter(self, adapter_config, adapter_name: str | None = None) -> None:
        """As in transformers, with an error that says what works where the installed PEFT is too old for transformers."""
        _check_peft("add_adapter", "peft.get_peft_model(model, config)")
        super().add_adapter(adapter_config, adapter_name=adapter_name)

    def load_adapter(self, *args, **kwargs):
        """As in transformers, with an error that says what works where the installed PEFT is too old for transformers."""
        _check_peft("load_adapter", "peft.PeftModel.from_pretrained(model, folder)")
        return super().load_adapter(*args, **kwargs)

    def tie_weights(self, missing_keys: set[str] | None = None, recompute_mapping: bool = True):
        """As in transformers, but a decoder that is new as a whole has no weights to tie that could be missed."""
        if _LOADING.get() is type(self) and "decoder" in self._new_parts():
            missing_keys = None
        return super().tie_weights(missing_keys=missing_keys, recompute_mapping=recompute_mapping)

    def __getstate__(self):
        """For copying and pickling: without the hooks that transformers installs when attentions or hidden states are first asked for.
        They are local functions, which cannot be pickled, and are installed again when they are needed."""
        for module in self.modules():
            for hooks in (
                module._forward_hooks,
                module._forward_hooks_with_kwargs,
                module._forward_hooks_always_called,
            ):
                for key in [key for key in hooks if _is_recorder(module._forward_hooks.get(key))]:
                    del hooks[key]
            module.__dict__.pop("_output_capturing_hooks_installed", None)
        return self.__dict__.copy()

    @classmethod
    def from_pretrained_backbones(
        cls,
        vision: str | None = None,
        text: str | None = None,
        decoder: str | None = None,
        config: PriorRGConfig | None = None,
        **config_kwargs,
    ) -> "PriorRGPreTrainedModel":
        r"""
        A new model whose backbones start from pretrained weights. Everything else is new.

        Args:
            vision (`str`, *optional*):
                Hub id or folder of a DINOv2 model, such as `"microsoft/rad-dino"`. Sets `config.vision_config`.
            text (`str`, *optional*):
                Hub id or folder of a BERT model, such as `"microsoft/BiomedVLP-CXR-BERT-specialized"`, read as plain
                BERT weights (no remote code). Its first `config.text_config.num_hidden_layers` layers are taken; its word
                embeddings are not, because the decoder's tokenizer is used.
            decoder (`str`, *optional*):
                Hub id or folder of a GPT-2 model, such as `"distilbert/distilgpt2"`. Its embeddings keep their rows and grow
                to the vocabulary of `config`; cross-attention is new. Left out: random weights, as published.
            config ([`PriorRGConfig`], *optional*):
                Shapes of everything that no backbone decides. Default: `PriorRGConfig(**config_kwargs)`.

        Raises:
            ValueError: a backbone is of another model type, or has too few layers.
        """
        config = config if config is not None else PriorRGConfig(**config_kwargs)
        settings = config.to_dict()
        vision_model, text_model, decoder_model = None, None, None
        if vision is not None:
            vision_model = Dinov2Model.from_pretrained(vision)
            settings["vision_config"] = vision_model.config.to_dict()
        if text is not None:
            text_model = load_bert(text, config.text_config.num_hidden_layers)
            settings["text_config"] = {
                **text_model.config.to_dict(),
                "vocab_size": config.text_config.vocab_size,
                "pad_token_id": config.pad_token_id,
            }
        if decoder is not None:
            decoder_model = GPT2LMHeadModel.from_pretrained(decoder)
            settings["decoder_config"] = {
                **decoder_model.config.to_dict(),
                "vocab_size": config.decoder_config.vocab_size,
                "pad_token_id": config.pad_token_id,
            }
        model = cls(PriorRGConfig.from_dict(settings))
        base: Any = getattr(model, model.base_model_prefix, model)
        if vision_model is not None:
            base.vision_model.load_state_dict(vision_model.state_dict())
        if text_model is not None:
            state = text_model.state_dict()
            state["embeddings.word_embeddings.weight"] = base.text_model.embeddings.word_embeddings.weight.data
            base.text_model.load_state_dict(state)
        target = getattr(model, "decoder", None)
        if decoder_model is not None and isinstance(target, GPT2LMHeadModel):
            copy_decoder(decoder_model, target)
        return model


__all__ = ["PriorRGContrastiveOutput", "PriorRGModelOutput", "PriorRGPreTrainedModel"]
