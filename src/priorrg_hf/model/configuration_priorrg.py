"""Configuration of PriorRG. `PriorRGConfig()` is the published full-size system (arXiv 2508.05353)."""

import math
from typing import TYPE_CHECKING, Any

from huggingface_hub.dataclasses import strict
from transformers import BertConfig, Dinov2Config, GPT2Config, PreTrainedConfig


# The three parts of the decoder's memory, coarse to fine, in the order in which each is computed from the one before.
MEMORY_SEGMENTS = ("context", "spatiotemporal", "visual")

# GPT-2's vocabulary and the seven added tokens.
PUBLISHED_VOCAB_SIZE = 50264

# View names as they occur in MIMIC-CXR. "unk" stands for every image whose view is not known.
DEFAULT_VIEW_POSITIONS = {
    "AP": 0,
    "PA": 1,
    "LATERAL": 2,
    "LL": 3,
    "AP AXIAL": 4,
    "AP LLD": 5,
    "AP RLD": 6,
    "PA LLD": 7,
    "PA RLD": 8,
    "LAO": 9,
    "RAO": 10,
    "LPO": 11,
    "SWIMMERS": 12,
    "XTABLE LATERAL": 13,
    "unk": 14,
}


@strict
class PriorRGConfig(PreTrainedConfig):
    r"""
    Configuration of [`PriorRGModel`] and its two heads. The defaults give the published full-size system: RAD-DINO
    shapes for vision, the first six layers of CXR-BERT shapes for text, DistilGPT2 shapes for the decoder.

    Args:
        vision_config (`dict` or [`Dinov2Config`], *optional*):
            The vision encoder. Default: ViT-B/14 at 518 x 518, 12 layers (RAD-DINO).
        text_config (`dict` or [`BertConfig`], *optional*):
            The text encoder for context and reports. Default: BERT-base shapes with 6 layers and 50,264 tokens.
        decoder_config (`dict` or [`GPT2Config`], *optional*):
            The report decoder; cross-attention is always on. Default: DistilGPT2 shapes with 50,264 tokens.
        hidden_size (`int`, *optional*, defaults to 768):
            Width D of the space that vision and text are projected into, and of the memory. A decoder of another
            width gets a linear projection of the memory.
        num_latents (`int`, *optional*, defaults to 128):
            Latents of the Perceiver, and so tokens in each memory segment.
        perceiver_num_blocks (`int`, *optional*, defaults to 3):
            Blocks of the Perceiver. One Perceiver serves all memory segments.
        perceiver_num_heads (`int`, *optional*, defaults to 8):
            Heads of its cross- and self-attention.
        perceiver_head_dim (`int`, *optional*, defaults to 64):
            Width of each of these heads.
        temporal_fusion_num_blocks (`int`, *optional*, defaults to 3):
            Blocks of the spatiotemporal fusion of current and prior features.
        temporal_fusion_num_heads (`int`, *optional*, defaults to 8):
            Heads of its cross-attention.
        temporal_fusion_head_dim (`int`, *optional*):
            Width of each of these heads. Default: `hidden_size // 4`, as published (192 at full size).
        view_positions (`dict[str, int]`, *optional*):
            View name -> row of the view position table. Must hold `"unk"`; ids are distinct and count from 0.
        logit_scale_init_value (`float`, *optional*, defaults to ln(1/0.07)):
            Start of the learned logit scale of stage 1 (natural logarithm; not clamped).
        mask_context_padding (`bool`, *optional*, defaults to `True`):
            Whether the Perceiver ignores padded context tokens, which makes a study's output independent of the rest
            of its batch. `False` reproduces the published system, which attends to them. For a single study both agree.
        freeze_vision (`bool`, *optional*, defaults to `True`):
            Whether the vision encoder is frozen: no gradients, always in evaluation mode. As published.
        memory_segments (`tuple[str, ...]`, *optional*, defaults to `("context", "spatiotemporal", "visual")`):
            The segments the decoder sees, in this order (coarse to fine as published; reversed is fine to coarse;
            segments may be left out). `"context"` has no effect while `use_context` is off.
        use_layer_fusion (`bool`, *optional*, defaults to `True`):
            Whether the visual segment fuses all vision layers; `False` takes the last layer only.
        use_prior (`bool`, *optional*, defaults to `True`):
            Whether prior images are used. When off, every study is treated as one without a prior.
        use_context (`bool`, *optional*, defaults to `True`):
            Whether the clinical context is used. When off, the spatiotemporal segment starts from the learned latents.
        perceiver_ff_multiplier (`int`, *optional*, defaults to 4):
            Width of the Perceiver's GEGLU feed-forward as a multiple of `hidden_size`.
        layer_norm_eps (`float`, *optional*, defaults to 1e-5):
            Epsilon of every LayerNorm outside the three backbones.
        initializer_range (`float`, *optional*, defaults to 0.02):
            Standard deviation of new weights.
        bos_token_id, eos_token_id, decoder_start_token_id (`int`, *optional*, defaults to 50256):
            `<|endoftext|>`, which starts and ends a report. Like the ids below, the default keeps its place at the end of the
            vocabulary where that is smaller than the published one.
        pad_token_id (`int`, *optional*, defaults to 50257):
            `[PAD]`.
        sep_token_id (`int`, *optional*, defaults to 50258):
            `[SEP]`, which the decoder reads as `[PAD]`.

    Example:

    ```python
    >>> from priorrg_hf import PriorRGConfig

    >>> config = PriorRGConfig()
    >>> config.vision_config.image_size, config.decoder_config.n_layer
    (518, 6)
    >>> fine_to_coarse = PriorRGConfig(memory_segments=("visual", "spatiotemporal", "context"))
    ```"""

    model_type = "priorrg"
    # Two names of the decoder's cache, by version of transformers.
    keys_to_ignore_at_inference = ["past_key_values", "cache"]
    sub_configs = {"vision_config": Dinov2Config, "text_config": BertConfig, "decoder_config": GPT2Config}

    if TYPE_CHECKING:  # what they are once the configuration is made
        vision_config: Dinov2Config
        text_config: BertConfig
        decoder_config: GPT2Config
        temporal_fusion_head_dim: int
        view_positions: dict[str, int]
    else:  # what may be given, which the strict dataclass checks
        vision_config: dict | PreTrainedConfig | None = None
        text_config: dict | PreTrainedConfig | None = None
        decoder_config: dict | PreTrainedConfig | None = None
        temporal_fusion_head_dim: int | None = None
        view_positions: dict[str, int] | None = None
    hidden_size: int = 768
    num_latents: int = 128
    perceiver_num_blocks: int = 3
    perceiver_num_heads: int = 8
    perceiver_head_dim: int = 64
    perceiver_ff_multiplier: int = 4
    temporal_fusion_num_blocks: int = 3
    temporal_fusion_num_heads: int = 8
    logit_scale_init_value: float | int = math.log(1 / 0.07)
    mask_context_padding: bool = True
    freeze_vision: bool = True
    memory_segments: list[str] | tuple[str, ...] = MEMORY_SEGMENTS
    use_layer_fusion: bool = True
    use_prior: bool = True
    use_context: bool = True
    layer_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    bos_token_id: int | None = 50256
    eos_token_id: int | list[int] | None = 50256
    pad_token_id: int | None = 50257
    sep_token_id: int | None = 50258
    decoder_start_token_id: int | None = None
    is_encoder_decoder: bool = True
    tie_word_embeddings: bool = True

    def __post_init__(self, **kwargs):
        self._fit_default_token_ids()
        self.vision_config = self._build("vision_config", self.vision_config, {"image_size": 518})
        self.text_config = self._build(
            "text_config",
            self.text_config,
            {"vocab_size": PUBLISHED_VOCAB_SIZE, "num_hidden_layers": 6, "pad_token_id": self.pad_token_id},
        )
        self.decoder_config = self._build(
            "decoder_config",
            self.decoder_config,
            {
                "vocab_size": PUBLISHED_VOCAB_SIZE,
                "n_layer": 6,
                "bos_token_id": self.bos_token_id,
                "eos_token_id": self.eos_token_id,
                "pad_token_id": self.pad_token_id,
            },
        )
        # A report decoder without cross-attention could not see the memory.
        self.decoder_config.add_cross_attention = True
        self.decoder_config.is_decoder = True
        if self.temporal_fusion_head_dim is None:
            self.temporal_fusion_head_dim = max(1, self.hidden_size // 4)
        if self.view_positions is None:
            self.view_positions = dict(DEFAULT_VIEW_POSITIONS)
        if self.decoder_start_token_id is None:
            self.decoder_start_token_id = self.bos_token_id
        self.memory_segments = tuple(self.memory_segments)
        super().__post_init__(**kwargs)
        # Here as well as in the strict validation that follows, so that a wrong value raises a plain ValueError.
        self.validate_priorrg()

    def _fit_default_token_ids(self):
        """The published ids, moved to the end of a vocabulary that is too small for them. `<|endoftext|>` and the seven added tokens
        are its last eight."""
        decoder_config: Any = self.decoder_config or {}
        if isinstance(decoder_config, PreTrainedConfig):
            vocab_size = decoder_config.vocab_size
        else:
            vocab_size = decoder_config.get("vocab_size", PUBLISHED_VOCAB_SIZE)
        if not 8 <= vocab_size < PUBLISHED_VOCAB_SIZE:
            return
        for name in ("bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id"):
            published = type(self).__dataclass_fields__[name].default
            if getattr(self, name) == published and published >= vocab_size:
                setattr(self, name, published - PUBLISHED_VOCAB_SIZE + vocab_size)

    @classmethod
    def _build(cls, name: str, value: dict | PreTrainedConfig | None, defaults: dict) -> Any:
        config_class = cls.sub_configs[name]
        if isinstance(value, PreTrainedConfig):
            if value.model_type != config_class.model_type:
                raise ValueError(f"`{name}` must be a {config_class.__name__}, got {type(value).__name__}.")
            return value
        value = dict(value or {})
        model_type = value.pop("model_type", config_class.model_type)
        # CXR-BERT calls itself "cxr-bert" for the sake of its projection head; what is used of it is plain BERT.
        if model_type not in (config_class.model_type, "cxr-bert" if name == "text_config" else None):
            raise ValueError(f"`{name}` must have model_type {config_class.model_type!r}, got {model_type!r}.")
        return config_class(**{**defaults, **value})

    def validate_priorrg(self):
        """Checks every field that is PriorRG's own; runs on construction. Raises `ValueError` naming the field."""
        for name in (
            "hidden_size",
            "num_latents",
            "perceiver_num_blocks",
            "perceiver_num_heads",
            "perceiver_head_dim",
            "perceiver_ff_multiplier",
            "temporal_fusion_num_blocks",
            "temporal_fusion_num_heads",
            "temporal_fusion_head_dim",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"`{name}` must be at least 1, got {getattr(self, name)}.")
        if self.hidden_size % 2:
            raise ValueError(
                f"`hidden_size` must be even (projections pass through half of it), got {self.hidden_size}."
            )
        if not self.layer_norm_eps > 0:
            raise ValueError(f"`layer_norm_eps` must be positive, got {self.layer_norm_eps}.")
        if not math.isfinite(self.logit_scale_init_value):
            raise ValueError(f"`logit_scale_init_value` must be finite, got {self.logit_scale_init_value}.")
        self._validate_memory_segments()
        self._validate_view_positions()
        self._validate_backbones()

    def _validate_memory_segments(self):
        unknown = [segment for segment in self.memory_segments if segment not in MEMORY_SEGMENTS]
        if unknown:
            raise ValueError(f"`memory_segments` holds unknown segments {unknown}; known are {list(MEMORY_SEGMENTS)}.")
        if len(set(self.memory_segments)) != len(self.memory_segments):
            raise ValueError(f"`memory_segments` names a segment twice: {list(self.memory_segments)}.")
        if not self.active_memory_segments:
            raise ValueError(
                f"`memory_segments` {list(self.memory_segments)} with `use_context={self.use_context}` leaves the "
                "decoder no memory; name at least one segment that is in use."
            )

    def _validate_view_positions(self):
        if "unk" not in self.view_positions:
            raise ValueError('`view_positions` must hold the name "unk" for images whose view is not known.')
        if sorted(self.view_positions.values()) != list(range(len(self.view_positions))):
            raise ValueError(
                f"`view_positions` must give each name its own id, counting from 0; got {dict(self.view_positions)}."
            )

    def _validate_backbones(self):
        if self.text_config.vocab_size != self.decoder_config.vocab_size:
            raise ValueError(
                "`text_config.vocab_size` and `decoder_config.vocab_size` must agree, because one tokenizer serves "
                f"both; got {self.text_config.vocab_size} and {self.decoder_config.vocab_size}."
            )
        if self.decoder_config.n_embd % self.decoder_config.n_head:
            raise ValueError(
                f"`decoder_config.n_embd` ({self.decoder_config.n_embd}) must be divisible by "
                f"`decoder_config.n_head` ({self.decoder_config.n_head})."
            )
        for name in ("bos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id"):
            token_id = getattr(self, name)
            if token_id is not None and not 0 <= token_id < self.decoder_config.vocab_size:
                raise ValueError(
                    f"`{name}` ({token_id}) is outside the vocabulary of {self.decoder_config.vocab_size} tokens."
                )

    @property
    def vocab_size(self) -> int:
        """Tokens of the vocabulary, which the text encoder and the decoder share."""
        return self.decoder_config.vocab_size

    @vocab_size.setter
    def vocab_size(self, value: int):
        self.text_config.vocab_size = self.decoder_config.vocab_size = value

    @property
    def active_memory_segments(self) -> tuple[str, ...]:
        """The memory segments that exist under `use_context`, in the decoder's order."""
        return tuple(s for s in self.memory_segments if s != "context" or self.use_context)

    def get_text_config(self, decoder=None, encoder=None) -> PreTrainedConfig:
        """The decoder's configuration, from which generation takes vocabulary and cache shapes.

        The stock look-up would find `text_config`, which here belongs to the context encoder.
        """
        return self.text_config if encoder and not decoder else self.decoder_config


__all__ = ["PriorRGConfig"]
