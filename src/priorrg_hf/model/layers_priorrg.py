"""The blocks of PriorRG: projections, spatiotemporal fusion, the Perceiver, layer fusion. Tensors in, tensors out.

Every attention goes through transformers' attention interface, so that the chosen implementation serves these blocks too.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers.masking_utils import create_bidirectional_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from .configuration_priorrg import PriorRGConfig


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor]:
    weights = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        weights = weights + attention_mask
    # In 32 bits, as the fused kernels do.
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


class _Attention(nn.Module):
    """What the attention interface reads of a module."""

    config: PriorRGConfig
    num_heads: int
    scaling: float
    is_causal: bool


def attend(
    module: _Attention,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Multi-head attention of `(batch, length, heads * head_dim)` tensors through the attention interface.

    `module` gives `config`, `num_heads`, `scaling` and `is_causal`. Returns the heads side by side, and the weights where the
    implementation has them.
    """
    batch_size, length, width = query.shape
    query, key, value = (
        states.view(batch_size, states.shape[1], module.num_heads, width // module.num_heads).transpose(1, 2)
        for states in (query, key, value)
    )
    implementation: Any = module.config._attn_implementation
    attention_interface: Callable = ALL_ATTENTION_FUNCTIONS.get_interface(implementation, eager_attention_forward)
    output, weights = attention_interface(
        module, query, key, value, attention_mask, dropout=0.0, scaling=module.scaling, **kwargs
    )
    return output.reshape(batch_size, length, width), weights


class PriorRGProjection(nn.Module):
    """Token-wise projection into the shared space: Linear, BatchNorm, ReLU, Linear (vision: LayerNorm first)."""

    def __init__(self, config: PriorRGConfig, input_size: int, pre_norm: bool):
        super().__init__()
        inner_size = config.hidden_size // 2
        self.norm = nn.LayerNorm(input_size, eps=config.layer_norm_eps) if pre_norm else nn.Identity()
        self.fc1 = nn.Linear(input_size, inner_size)
        self.batch_norm = nn.BatchNorm1d(inner_size)
        self.fc2 = nn.Linear(inner_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        hidden_states = self.fc1(self.norm(hidden_states))
        # Statistics over batch and tokens together, padded tokens too, as published.
        hidden_states = self.batch_norm(hidden_states.flatten(0, 1)).view(hidden_states.shape)
        return self.fc2(nn.functional.relu(hidden_states))


class PriorRGTemporalAttention(_Attention):
    """Cross-attention of current features to prior features; all four linears have biases."""

    def __init__(self, config: PriorRGConfig):
        super().__init__()
        self.config = config
        self.num_heads = config.temporal_fusion_num_heads
        inner_size = self.num_heads * config.temporal_fusion_head_dim
        self.scaling = config.temporal_fusion_head_dim**-0.5
        self.is_causal = False
        self.q_proj = nn.Linear(config.hidden_size, inner_size)
        self.k_proj = nn.Linear(config.hidden_size, inner_size)
        self.v_proj = nn.Linear(config.hidden_size, inner_size)
        self.o_proj = nn.Linear(inner_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor, prior_states: torch.Tensor, **kwargs) -> torch.Tensor:
        query, key, value = self.q_proj(hidden_states), self.k_proj(prior_states), self.v_proj(prior_states)
        return self.o_proj(attend(self, query, key, value, None, **kwargs)[0])


class PriorRGTemporalFusionBlock(GradientCheckpointingLayer):
    def __init__(self, config: PriorRGConfig):
        super().__init__()
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.prior_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attention = PriorRGTemporalAttention(config)
        self.mlp_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(config.hidden_size, config.hidden_size)
        self.fc2 = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor, prior_states: torch.Tensor, **kwargs) -> torch.Tensor:
        hidden_states = hidden_states + self.attention(
            self.norm(hidden_states), self.prior_norm(prior_states), **kwargs
        )
        return hidden_states + self.fc2(nn.functional.gelu(self.fc1(self.mlp_norm(hidden_states))))


class PriorRGTemporalFusion(nn.Module):
    """Spatiotemporal fusion (STF): blocks of cross-attention from the current image to the prior, then a LayerNorm."""

    def __init__(self, config: PriorRGConfig):
        super().__init__()
        self.layers = nn.ModuleList(
            PriorRGTemporalFusionBlock(config) for _ in range(config.temporal_fusion_num_blocks)
        )
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden_states: torch.Tensor, prior_states: torch.Tensor, **kwargs) -> torch.Tensor:
        for layer in self.layers:
            hidden_states = layer(hidden_states, prior_states, **kwargs)
        return self.norm(hidden_states)


class PriorRGPerceiverAttention(_Attention):
    """Attention of latents to a sequence, after Perceiver (Jaegle et al., 2021): only the output linear has a bias."""

    def __init__(self, config: PriorRGConfig):
        super().__init__()
        self.config = config
        self.num_heads = config.perceiver_num_heads
        inner_size = self.num_heads * config.perceiver_head_dim
        self.scaling = config.perceiver_head_dim**-0.5
        self.is_causal = False
        self.to_q = nn.Linear(config.hidden_size, inner_size, bias=False)
        self.to_kv = nn.Linear(config.hidden_size, inner_size * 2, bias=False)
        self.to_out = nn.Linear(inner_size, config.hidden_size)

    def forward(
        self, latents: torch.Tensor, context: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        key, value = self.to_kv(context).chunk(2, dim=-1)
        output, weights = attend(self, self.to_q(latents), key, value, attention_mask, **kwargs)
        return self.to_out(output), weights


class PriorRGFeedForward(nn.Module):
    """GEGLU feed-forward (Shazeer, 2020)."""

    def __init__(self, config: PriorRGConfig):
        super().__init__()
        inner_size = config.hidden_size * config.perceiver_ff_multiplier
        self.fc1 = nn.Linear(config.hidden_size, inner_size * 2)
        self.fc2 = nn.Linear(inner_size, config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        value, gate = self.fc1(hidden_states).chunk(2, dim=-1)
        return self.fc2(value * nn.functional.gelu(gate))


class PriorRGPerceiverBlock(GradientCheckpointingLayer):
    def __init__(self, config: PriorRGConfig):
        super().__init__()
        self.cross_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.context_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.cross_attention = PriorRGPerceiverAttention(config)
        self.cross_ff_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.cross_ff = PriorRGFeedForward(config)
        self.self_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_attention = PriorRGPerceiverAttention(config)
        self.self_ff_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.self_ff = PriorRGFeedForward(config)

    def forward(
        self, latents: torch.Tensor, context: torch.Tensor, attention_mask: torch.Tensor | None = None, **kwargs
    ) -> torch.Tensor:
        context = self.context_norm(context)
        latents = latents + self.cross_attention(self.cross_norm(latents), context, attention_mask, **kwargs)[0]
        latents = latents + self.cross_ff(self.cross_ff_norm(latents))
        normed = self.self_norm(latents)
        latents = latents + self.self_attention(normed, normed, **kwargs)[0]
        return latents + self.self_ff(self.self_ff_norm(latents))


class PriorRGPerceiver(nn.Module):
    """Compresses a sequence of any length into `num_latents` tokens, from learned latents or from given ones."""

    def __init__(self, config: PriorRGConfig):
        super().__init__()
        self.config = config
        self.latents = nn.Parameter(torch.empty(config.num_latents, config.hidden_size))
        self.layers = nn.ModuleList(PriorRGPerceiverBlock(config) for _ in range(config.perceiver_num_blocks))

    def forward(
        self,
        hidden_states: torch.Tensor,
        latents: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **kwargs,
    ) -> torch.Tensor:
        if latents is None:
            latents = self.latents.expand(hidden_states.shape[0], -1, -1)
        mask: Any = attention_mask  # its form is the attention implementation's
        if attention_mask is not None:
            mask = create_bidirectional_mask(
                config=self.config,
                inputs_embeds=latents,
                attention_mask=attention_mask,
                encoder_hidden_states=hidden_states,
            )
        for layer in self.layers:
            latents = layer(latents, hidden_states, mask, **kwargs)
        return latents


def _mix_channels(conv: nn.Conv2d, image: torch.Tensor) -> torch.Tensor:
    """A 1x1 convolution as the matrix product that it is: with so few channels, convolution kernels take ten times as long on a CPU."""
    mixed = torch.einsum("oc,bcnw->bonw", conv.weight[:, :, 0, 0], image)
    return mixed if conv.bias is None else mixed + conv.bias[:, None, None]


class PriorRGLayerFusion(nn.Module):
    """Attention-enhanced layer fusion (ALF): all vision layers as the channels of one image, weighed by CBAM
    (Woo et al., 2018) with a residual, then squeezed to a single layer."""

    def __init__(self, config: PriorRGConfig):
        super().__init__()
        num_layers = config.vision_config.num_hidden_layers
        self.channel_fc1 = nn.Conv2d(num_layers, max(1, num_layers // 4), kernel_size=1, bias=False)
        self.channel_fc2 = nn.Conv2d(max(1, num_layers // 4), num_layers, kernel_size=1, bias=False)
        self.spatial_conv = nn.Conv2d(2, 1, kernel_size=7, padding=3, bias=False)
        self.conv1 = nn.Conv2d(num_layers, max(1, num_layers // 2), kernel_size=1)
        self.batch_norm = nn.BatchNorm2d(max(1, num_layers // 2))
        self.conv2 = nn.Conv2d(max(1, num_layers // 2), 1, kernel_size=1)

    def channel_mlp(self, pooled: torch.Tensor) -> torch.Tensor:
        return self.channel_fc2(nn.functional.relu(self.channel_fc1(pooled)))

    def forward(self, layers: torch.Tensor) -> torch.Tensor:
        # layers: (batch, layers, patches, width)
        average = layers.mean(dim=(2, 3), keepdim=True)
        maximum = layers.amax(dim=(2, 3), keepdim=True)
        scaled = layers * torch.sigmoid(self.channel_mlp(average) + self.channel_mlp(maximum))
        pooled = torch.cat([scaled.amax(dim=1, keepdim=True), scaled.mean(dim=1, keepdim=True)], dim=1)
        # Two channels, a large image: in this memory order the CPU's convolution takes its gradients four times as fast.
        pooled = pooled.contiguous(memory_format=torch.channels_last)
        fused = layers + scaled * torch.sigmoid(self.spatial_conv(pooled))
        fused = _mix_channels(self.conv2, nn.functional.relu(self.batch_norm(_mix_channels(self.conv1, fused))))
        return fused.squeeze(1)  # (batch, patches, width)
