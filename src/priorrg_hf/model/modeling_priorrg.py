"""PriorRG models: the encoder that turns a study into a coarse-to-fine memory, and its two heads.

The forward passes follow arXiv 2508.05353, section "Method": clinical context, current image and prior image become the
memory `[context ; spatiotemporal ; visual]`, each segment decoded by one shared Perceiver from the segment before it. Stage 1
aligns the first two segments with reports, stage 2 writes the report from all three.
"""

from typing import Any

import torch
from torch import nn
from transformers.cache_utils import Cache, EncoderDecoderCache
from transformers.modeling_outputs import BaseModelOutputWithPooling, Seq2SeqLMOutput
from transformers.models.bert.modeling_bert import BertModel
from transformers.models.dinov2.modeling_dinov2 import Dinov2Model
from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel
from transformers.processing_utils import Unpack
from transformers.utils import ModelOutput, TransformersKwargs, can_return_tuple
from transformers.utils.output_capturing import capture_outputs, maybe_install_capturing_hooks

from .base_priorrg import CACHE_NAME, PriorRGContrastiveOutput, PriorRGModelOutput, PriorRGPreTrainedModel
from .configuration_priorrg import PriorRGConfig
from .generation_priorrg import PriorRGGenerationMixin
from .layers_priorrg import PriorRGLayerFusion, PriorRGPerceiver, PriorRGProjection, PriorRGTemporalFusion


# Rows of the time position table.
CURRENT, PRIOR = 0, 1


class PriorRGModel(PriorRGPreTrainedModel):
    r"""
    The encoder of PriorRG: clinical context, current image and prior image in, the decoder's memory out.

    Args:
        config ([`PriorRGConfig`]):
            Configuration.
        add_visual_segment (`bool`, *optional*, defaults to `True`):
            Whether to build and compute the visual segment, which stage 1 does not have.
    """

    own_parts = ("layer fusion",)
    # Set where processes must make the same calls (sharded parameters, BatchNorm over processes): a training batch without any prior
    # then still calls the prior's modules, for the sake of those processes whose batch has one.
    calls_unused_modules = False

    def __init__(self, config: PriorRGConfig, add_visual_segment: bool = True):
        super().__init__(config)
        self.has_visual_segment = add_visual_segment and "visual" in config.memory_segments
        self.text_model = BertModel(config.text_config, add_pooling_layer=False)
        self.vision_model = Dinov2Model(config.vision_config)
        self.vision_projection = PriorRGProjection(config, config.vision_config.hidden_size, pre_norm=True)
        self.text_projection = PriorRGProjection(config, config.text_config.hidden_size, pre_norm=False)
        self.view_position_embedding = nn.Parameter(
            torch.empty(len(config.view_positions), config.vision_config.hidden_size)
        )
        self.time_position_embedding = nn.Parameter(torch.empty(2, config.hidden_size))
        self.temporal_fusion = PriorRGTemporalFusion(config) if config.use_prior else None
        self.spatiotemporal_norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.perceiver = PriorRGPerceiver(config)
        self.layer_fusion = PriorRGLayerFusion(config) if self.has_visual_segment and config.use_layer_fusion else None
        self.visual_norm = (
            nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps) if self.has_visual_segment else None
        )
        if config.freeze_vision:
            self.freeze_vision_encoder()
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.text_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        self.text_model.set_input_embeddings(value)

    def get_encoder(self, modality: str | None = None):
        return self.vision_model if modality == "image" else self

    def freeze_vision_encoder(self):
        """Takes the vision encoder's parameters out of training. It stays in evaluation mode from now on."""
        self.config.freeze_vision = True
        self.vision_model.requires_grad_(False)
        self.vision_model.eval()

    def train(self, mode: bool = True):
        super().train(mode)
        if self.config.freeze_vision:
            self.vision_model.eval()
        return self

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Projected text tokens of shape `(batch_size, tokens, hidden_size)`; `pooler_output` is the first one. Hidden states and
        attentions are the text encoder's."""
        outputs = self.text_model(
            input_ids=input_ids, attention_mask=attention_mask, inputs_embeds=inputs_embeds, return_dict=True, **kwargs
        )
        hidden_states = self.text_projection(outputs.last_hidden_state)
        return BaseModelOutputWithPooling(
            last_hidden_state=hidden_states,
            pooler_output=hidden_states[:, 0],
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    def encode_images(
        self, pixel_values: torch.Tensor, output_layers: bool = False, **kwargs: Unpack[TransformersKwargs]
    ) -> tuple[torch.Tensor, tuple[torch.Tensor, ...] | None]:
        """The vision encoder's final features `(images, patches, width)` and, if asked, the output of each layer before the
        final LayerNorm."""
        if output_layers:
            # The recorder must reach the vision encoder through this model: installed once by the encoder itself and once from
            # here, it would record every layer twice (transformers 5.23).
            maybe_install_capturing_hooks(self)
        trained = torch.is_grad_enabled() and any(p.requires_grad for p in self.vision_model.parameters())
        with torch.set_grad_enabled(trained):
            outputs = self.vision_model(
                pixel_values.to(self.vision_model.dtype),
                output_hidden_states=output_layers,
                **_without_capture(kwargs),
            )
        # Entry 0 of the hidden states is the embedding output, which is no layer.
        return outputs.last_hidden_state, outputs.hidden_states[1:] if output_layers else None

    def project_image_features(
        self, features: torch.Tensor, view_position_ids: torch.Tensor | None, time: int
    ) -> torch.Tensor:
        """`(images, patches, vision width)` -> `(images, patches, hidden_size)`, with view and time position added."""
        if view_position_ids is None:
            view = self.view_position_embedding[self.config.view_positions["unk"]]
        else:
            view = self.view_position_embedding[view_position_ids][:, None]
        return self.vision_projection(features + view) + self.time_position_embedding[time]

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        view_position_ids: torch.Tensor | None = None,
        prior_pixel_values: torch.Tensor | None = None,
        prior_view_position_ids: torch.Tensor | None = None,
        prior_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        vision_last_hidden_state: torch.Tensor | None = None,
        vision_hidden_states: torch.Tensor | None = None,
        prior_vision_last_hidden_state: torch.Tensor | None = None,
        output_features: bool = False,
        **kwargs: Unpack[TransformersKwargs],
    ) -> PriorRGModelOutput:
        r"""
        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, tokens)`, *optional*):
                Clinical context, `[INDICATION] ... [SEP] [HISTORY] ...`. A study without one has the bare template.
            attention_mask (`torch.Tensor` of shape `(batch_size, tokens)`, *optional*):
                0 at padded context tokens.
            pixel_values (`torch.FloatTensor` of shape `(batch_size, channels, height, width)`):
                Current images.
            view_position_ids (`torch.LongTensor` of shape `(batch_size,)`, *optional*):
                Ids of `config.view_positions`. Default: the id of `"unk"`.
            prior_pixel_values (`torch.FloatTensor` of shape `(batch_size, channels, height, width)`, *optional*):
                Prior images; rows without a prior are ignored, whatever they hold.
            prior_view_position_ids (`torch.LongTensor` of shape `(batch_size,)`, *optional*):
                Like `view_position_ids`, for the priors.
            prior_mask (`torch.BoolTensor` of shape `(batch_size,)`, *optional*):
                `True` where a prior exists. Default: everywhere if priors are given, else nowhere.
            inputs_embeds (`torch.FloatTensor` of shape `(batch_size, tokens, text width)`, *optional*):
                Word embeddings of the context, instead of `input_ids`.
            vision_last_hidden_state (`torch.FloatTensor` of shape `(batch_size, patches, vision width)`, *optional*):
                Features of a frozen vision encoder, computed before; replaces `pixel_values`.
            vision_hidden_states (`torch.FloatTensor` of shape `(batch_size, layers, patches, vision width)`, *optional*):
                The output of each of its layers, needed with it where layers are fused.
            prior_vision_last_hidden_state (`torch.FloatTensor` like `vision_last_hidden_state`, *optional*):
                The same for the priors; replaces `prior_pixel_values`.
            output_features (`bool`, *optional*, defaults to `False`):
                Whether to return the token features that the Perceiver reads.
        """
        # Only the Perceiver's states are recorded; the backbones, which have recorders of their own, run outside of it.
        capture_kwargs, kwargs = kwargs, _without_capture(kwargs)
        self._check_inputs(input_ids, inputs_embeds, pixel_values, vision_last_hidden_state, vision_hidden_states)
        prior_inputs = prior_pixel_values if prior_vision_last_hidden_state is None else prior_vision_last_hidden_state
        prior_mask = self._resolve_prior_mask(
            prior_mask, prior_inputs, pixel_values if vision_last_hidden_state is None else vision_last_hidden_state
        )
        prior_rows = self._prior_rows(prior_mask)

        current, layers, prior = self._image_features(
            pixel_values,
            prior_pixel_values,
            vision_last_hidden_state,
            vision_hidden_states,
            prior_vision_last_hidden_state,
            prior_rows,
            **kwargs,
        )
        # In training the BatchNorm takes its statistics call by call, in the published order: fused, current, prior.
        fused = None
        if layers is not None and self.layer_fusion is not None:
            fused = self.project_image_features(self.layer_fusion(layers), view_position_ids, CURRENT)
        current = self.project_image_features(current, view_position_ids, CURRENT)
        spatiotemporal = self._fuse_prior(current, prior, prior_view_position_ids, prior_mask, prior_rows, **kwargs)

        visual = None
        if self.visual_norm is not None:
            visual = self.visual_norm(fused if fused is not None else current)
        context = None
        if self.config.use_context:
            context = self.get_text_features(
                input_ids, attention_mask, inputs_embeds, **{**kwargs, "return_dict": True}
            ).last_hidden_state
        return self._compress(
            context,
            attention_mask if self.config.mask_context_padding else None,
            spatiotemporal,
            visual,
            output_features,
            **{**capture_kwargs, "return_dict": True},
        )

    @capture_outputs(tie_last_hidden_states=False)
    def _compress(
        self,
        context: torch.Tensor | None,
        attention_mask: torch.Tensor | None,
        spatiotemporal: torch.Tensor,
        visual: torch.Tensor | None,
        output_features: bool,
        **kwargs: Unpack[TransformersKwargs],
    ) -> PriorRGModelOutput:
        """Features to memory: each segment is decoded from the segment before it, coarse to fine."""
        kwargs = _without_capture(kwargs)
        context_latents, visual_latents = None, None
        if context is not None:
            context_latents = self.perceiver(context, attention_mask=attention_mask, **kwargs)
        spatiotemporal_latents = self.perceiver(spatiotemporal, latents=context_latents, **kwargs)
        if visual is not None:
            visual_latents = self.perceiver(visual, latents=spatiotemporal_latents, **kwargs)
        segments = {
            "context": context_latents,
            "spatiotemporal": spatiotemporal_latents,
            "visual": visual_latents,
        }
        memory = [latents for name in self.config.memory_segments if (latents := segments[name]) is not None]
        return PriorRGModelOutput(
            last_hidden_state=torch.cat(memory, dim=1),
            context_embeds=context_latents,
            spatiotemporal_embeds=spatiotemporal_latents,
            visual_embeds=visual_latents,
            context_features=context if output_features else None,
            spatiotemporal_features=spatiotemporal if output_features else None,
            visual_features=visual if output_features else None,
        )

    def _check_inputs(self, input_ids, inputs_embeds, pixel_values, vision_last_hidden_state, vision_hidden_states):
        if self.config.use_context and (input_ids is None) == (inputs_embeds is None):
            raise ValueError(
                "Give the clinical context as `input_ids` or as `inputs_embeds`, one of them. A study without context has "
                'the bare text "[INDICATION] [SEP] [HISTORY] ", which PriorRGProcessor makes.'
            )
        if (pixel_values is None) == (vision_last_hidden_state is None):
            raise ValueError(
                "Give the current images as `pixel_values` or as `vision_last_hidden_state`, one of them."
            )
        if self.layer_fusion is not None and vision_last_hidden_state is not None and vision_hidden_states is None:
            raise ValueError("Layer fusion needs `vision_hidden_states` together with `vision_last_hidden_state`.")

    def _resolve_prior_mask(self, prior_mask, prior_inputs, current_inputs) -> torch.Tensor | None:
        """`None` where no study of the batch can have a prior."""
        if not self.config.use_prior:
            return None
        if prior_inputs is None:
            if prior_mask is not None and not _traced() and prior_mask.any():
                raise ValueError("`prior_mask` marks priors, but neither `prior_pixel_values` nor features are given.")
            return None
        batch_size = current_inputs.shape[0]
        if prior_mask is None:
            prior_mask = torch.ones(batch_size, dtype=torch.bool, device=current_inputs.device)
        if prior_inputs.shape[0] != batch_size or prior_mask.shape != (batch_size,):
            raise ValueError(
                f"`prior_pixel_values` and `prior_mask` need one row a study ({batch_size}), got shapes "
                f"{tuple(prior_inputs.shape)} and {tuple(prior_mask.shape)}; rows without a prior hold zeros and False."
            )
        return prior_mask.bool()

    def _prior_rows(self, prior_mask: torch.Tensor | None) -> torch.Tensor | None:
        """Indices of the studies with a prior, so that the others cost nothing; `None` under compilation and export, where
        shapes must not depend on data and every row takes the prior path before the mask decides."""
        if prior_mask is None or (_traced() and not self.training):
            return None
        return prior_mask.nonzero().flatten()

    def _image_features(
        self, pixel_values, prior_pixel_values, current, layers, prior, prior_rows, **kwargs
    ) -> tuple[torch.Tensor, torch.Tensor | None, torch.Tensor | None]:
        """Final features of the current images, all their layers (if fused), final features of the priors: one vision
        pass for all images that are not given as features."""
        has_prior = self.config.use_prior and (prior_pixel_values is not None or prior is not None)
        if has_prior and prior_rows is not None:
            prior_pixel_values = prior_pixel_values[prior_rows] if prior is None else None
            prior = prior[prior_rows] if prior is not None else None
        images = [] if current is not None else [pixel_values]
        if has_prior and prior is None:
            images.append(prior_pixel_values)
        if images:
            need_layers = self.layer_fusion is not None and current is None
            features, all_layers = self.encode_images(torch.cat(images), need_layers, **kwargs)
            if current is None:
                current = features[: pixel_values.shape[0]]
                features = features[pixel_values.shape[0] :]
                if all_layers is not None:
                    layers = torch.stack([layer[: current.shape[0]] for layer in all_layers], dim=1)
            if has_prior and prior is None:
                prior = features
        return current, layers if self.layer_fusion is not None else None, prior if has_prior else None

    def _fuse_prior(self, current, prior, prior_view_position_ids, prior_mask, prior_rows, **kwargs) -> torch.Tensor:
        """STF where a prior exists, the normalised current features elsewhere."""
        alone = self.spatiotemporal_norm(current)
        if self.temporal_fusion is None:
            return alone
        if prior_rows is None and prior is not None:
            prior = self.project_image_features(prior, prior_view_position_ids, PRIOR)
            return torch.where(prior_mask[:, None, None], self.temporal_fusion(current, prior, **kwargs), alone)
        if prior is None or len(prior_rows) == 0:
            if self.training:
                alone = alone + self._unused_prior_path(self.temporal_fusion, current, prior)
            return alone
        if prior_view_position_ids is not None:
            prior_view_position_ids = prior_view_position_ids[prior_rows]
        prior = self.project_image_features(prior, prior_view_position_ids, PRIOR)
        fused = self.temporal_fusion(current[prior_rows], prior, **kwargs)
        return alone.index_copy(0, prior_rows, fused.to(alone.dtype))

    def _unused_prior_path(self, fusion: PriorRGTemporalFusion, current, prior) -> torch.Tensor:
        """Zero, but with zero gradients rather than none for the fusion, which distributed training needs in each step."""
        if not self.calls_unused_modules:
            sums: list[Any] = [parameter.sum() for parameter in fusion.parameters()]
            return 0 * sum(sums)
        nothing = 0 * fusion(current[:1], current[:1]).sum()
        if prior is not None and getattr(self.vision_projection.batch_norm, "accepts_empty_batches", False):
            nothing = nothing + self.project_image_features(prior, None, PRIOR).sum()  # of no rows at all
        return nothing


def _traced() -> bool:
    """Whether the code runs under torch.compile or torch.export."""
    return torch.compiler.is_compiling() or torch.compiler.is_exporting()


def _without_capture(kwargs: dict) -> dict:
    """Keyword arguments for the inner attention calls: what the output recorder and the loss read stops here."""
    dropped = ("output_attentions", "output_hidden_states", "return_dict", "num_items_in_batch", "use_cache")
    return {name: value for name, value in kwargs.items() if name not in dropped}


def contrastive_loss(logits: torch.Tensor, study_ids: torch.Tensor, report_study_ids: torch.Tensor) -> torch.Tensor:
    """Symmetric cross-entropy with multi-positive targets: all images and reports of one study belong together.

    Args:
        logits (`torch.Tensor` of shape `(images, reports)`): scaled similarities.
        study_ids (`torch.Tensor` of shape `(images,)`): study of each image.
        report_study_ids (`torch.Tensor` of shape `(reports,)`): study of each report.
    """
    same = (study_ids[:, None] == report_study_ids[None, :]).to(logits.dtype)
    per_image = nn.functional.cross_entropy(logits, same / same.sum(dim=1, keepdim=True))
    per_text = nn.functional.cross_entropy(logits.t(), same.t() / same.t().sum(dim=1, keepdim=True))
    return (per_image + per_text) / 2


class PriorRGForContrastivePretraining(PriorRGPreTrainedModel):
    r"""
    Stage 1: aligns studies (image, prior and context) with their reports.

    The loss depends on the whole batch, so gradient accumulation does not enlarge the pool of negatives.
    """

    own_parts = ("temperature",)
    # A loss over pairs can't be normalised by a count of items, so Trainer must average it over accumulated batches.
    accepts_loss_kwargs = False

    def __init__(self, config: PriorRGConfig):
        super().__init__(config)
        self.model = PriorRGModel(config, add_visual_segment=False)
        self.logit_scale = nn.Parameter(torch.empty(()))
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        self.model.set_input_embeddings(value)

    def get_encoder(self, modality: str | None = None):
        return self.model.get_encoder(modality)

    @can_return_tuple
    def get_image_features(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        view_position_ids: torch.Tensor | None = None,
        prior_pixel_values: torch.Tensor | None = None,
        prior_view_position_ids: torch.Tensor | None = None,
        prior_mask: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Study features; arguments as in [`PriorRGModel.forward`].

        Returns `last_hidden_state` (the context and spatiotemporal segments, `(batch_size, 2 * num_latents, hidden_size)`) and
        `pooler_output`, their mean over tokens `(batch_size, hidden_size)`, not normalised.
        """
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            pixel_values=pixel_values,
            view_position_ids=view_position_ids,
            prior_pixel_values=prior_pixel_values,
            prior_view_position_ids=prior_view_position_ids,
            prior_mask=prior_mask,
            inputs_embeds=inputs_embeds,
            **{**kwargs, "return_dict": True},
        )
        segments = [s for s in (outputs.context_embeds, outputs.spatiotemporal_embeds) if s is not None]
        latents = torch.cat(segments, dim=1)
        return BaseModelOutputWithPooling(
            last_hidden_state=latents,
            pooler_output=latents.mean(dim=1),
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )

    @can_return_tuple
    def get_text_features(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> BaseModelOutputWithPooling:
        """Report features of `[CLS] [FINDINGS] ...` token ids: all projected tokens, and as `pooler_output` the first one, which
        stands for the report, `(batch_size, hidden_size)`, not normalised."""
        return self.model.get_text_features(input_ids, attention_mask, **{**kwargs, "return_dict": True})

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        view_position_ids: torch.Tensor | None = None,
        prior_pixel_values: torch.Tensor | None = None,
        prior_view_position_ids: torch.Tensor | None = None,
        prior_mask: torch.Tensor | None = None,
        report_input_ids: torch.Tensor | None = None,
        report_attention_mask: torch.Tensor | None = None,
        study_ids: torch.Tensor | None = None,
        inputs_embeds: torch.Tensor | None = None,
        return_loss: bool = True,
        **kwargs: Unpack[TransformersKwargs],
    ) -> PriorRGContrastiveOutput:
        r"""
        Arguments beyond those of [`PriorRGModel.forward`]:

        Args:
            report_input_ids (`torch.LongTensor` of shape `(batch_size, report_tokens)`):
                Reports, `[CLS] [FINDINGS] ...`.
            report_attention_mask (`torch.Tensor` of shape `(batch_size, report_tokens)`, *optional*):
                0 at padded report tokens.
            study_ids (`torch.LongTensor` of shape `(batch_size,)`, *optional*):
                Rows with the same id are positives of each other. Default: each row is a study of its own.
            return_loss (`bool`, *optional*, defaults to `True`):
                Whether to compute the loss.
        """
        if report_input_ids is None:
            raise ValueError("`report_input_ids` is missing; for studies without reports call `get_image_features`.")
        image_embeds = self.get_image_features(
            input_ids=input_ids,
            attention_mask=attention_mask,
            pixel_values=pixel_values,
            view_position_ids=view_position_ids,
            prior_pixel_values=prior_pixel_values,
            prior_view_position_ids=prior_view_position_ids,
            prior_mask=prior_mask,
            inputs_embeds=inputs_embeds,
            **{**kwargs, "return_dict": True},
        ).pooler_output
        text_embeds = self.get_text_features(report_input_ids, report_attention_mask, return_dict=True).pooler_output
        image_embeds = nn.functional.normalize(image_embeds, dim=-1)
        text_embeds = nn.functional.normalize(text_embeds, dim=-1)
        logits_per_image = self.logit_scale.exp() * image_embeds @ text_embeds.t()
        loss = None
        if return_loss:
            if study_ids is None:
                study_ids = torch.arange(len(image_embeds), device=image_embeds.device)
            loss = contrastive_loss(logits_per_image, study_ids, study_ids)
        return PriorRGContrastiveOutput(
            loss=loss,
            logits_per_image=logits_per_image,
            logits_per_text=logits_per_image.t(),
            image_embeds=image_embeds,
            text_embeds=text_embeds,
        )


class PriorRGForReportGeneration(PriorRGGenerationMixin, PriorRGPreTrainedModel):
    r"""
    Stage 2: writes the findings section from the memory. Research use only, not for clinical decisions.

    Loads stage-1 checkpoints too: everything they learned is taken over; layer fusion, its norm and the decoder are new.
    """

    config: PriorRGConfig
    own_parts = ("decoder", "layer fusion")

    def __init__(self, config: PriorRGConfig):
        super().__init__(config)
        self.model = PriorRGModel(config)
        self.memory_projection = (
            nn.Linear(config.hidden_size, config.decoder_config.n_embd)
            if config.hidden_size != config.decoder_config.n_embd
            else None
        )
        self.decoder = GPT2LMHeadModel(config.decoder_config)
        self.loss_type = "ForConditionalGeneration"
        self.post_init()
        self.set_generation_defaults()

    def get_input_embeddings(self) -> nn.Module:
        return self.model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module):
        self.model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        return self.decoder.get_output_embeddings()

    def set_output_embeddings(self, value: nn.Module):
        self.decoder.set_output_embeddings(value)

    def get_encoder(self, modality: str | None = None):
        return self.model.get_encoder(modality)

    def get_decoder(self):
        return self.decoder

    def resize_token_embeddings(self, new_num_tokens: int | None = None, *args, **kwargs) -> nn.Embedding:
        """Resizes the word embeddings of the text encoder and of the decoder, which share one tokenizer."""
        embeddings = self.model.text_model.resize_token_embeddings(new_num_tokens, *args, **kwargs)
        self.decoder.resize_token_embeddings(new_num_tokens, *args, **kwargs)
        self.vocab_size = self.config.decoder_config.vocab_size
        return embeddings

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        pixel_values: torch.Tensor | None = None,
        view_position_ids: torch.Tensor | None = None,
        prior_pixel_values: torch.Tensor | None = None,
        prior_view_position_ids: torch.Tensor | None = None,
        prior_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        encoder_outputs: ModelOutput | tuple[torch.Tensor, ...] | None = None,
        cache: Cache | None = None,
        past_key_values: Cache | None = None,
        use_cache: bool | None = None,
        inputs_embeds: torch.Tensor | None = None,
        decoder_inputs_embeds: torch.Tensor | None = None,
        vision_last_hidden_state: torch.Tensor | None = None,
        vision_hidden_states: torch.Tensor | None = None,
        prior_vision_last_hidden_state: torch.Tensor | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Unpack[TransformersKwargs],
    ) -> Seq2SeqLMOutput:
        r"""
        Arguments beyond those of [`PriorRGModel.forward`]:

        Args:
            labels (`torch.LongTensor` of shape `(batch_size, report_tokens)`, *optional*):
                Target tokens, one a decoder position (without the start token); -100 is ignored. They are not shifted against
                the logits; decoder inputs are made from them when none are given.
            decoder_input_ids (`torch.LongTensor` of shape `(batch_size, report_tokens)`, *optional*):
                The report so far, start token first.
            decoder_attention_mask (`torch.Tensor` of shape `(batch_size, report_tokens)`, *optional*):
                0 at padded report tokens. Default: with `labels`, the positions behind the last target; else none.
            encoder_outputs ([`PriorRGModelOutput`] or `tuple`, *optional*):
                A memory computed before; its first entry is used.
            cache ([`~transformers.EncoderDecoderCache`], *optional*):
                Keys and values of the report so far and of the memory. `past_key_values` is its name before transformers 5.24; either
                is taken by any version. In the output it has the name of the installed version.
            decoder_inputs_embeds (`torch.FloatTensor` of shape `(batch_size, report_tokens, n_embd)`, *optional*):
                Word embeddings of the report, instead of `decoder_input_ids`.
            logits_to_keep (`int` or `torch.Tensor`, *optional*, defaults to 0):
                How many of the last positions get logits; 0 means all.

        Raises:
            ValueError: both `cache` and `past_key_values` are given.
        """
        if cache is not None and past_key_values is not None:
            raise ValueError("`cache` and `past_key_values` are two names of one argument; give one of them.")
        cache = past_key_values if cache is None else cache
        loss_kwargs = {name: kwargs.pop(name) for name in ("num_items_in_batch",) if name in kwargs}
        if labels is not None:
            use_cache = False
            if decoder_input_ids is None and decoder_inputs_embeds is None:
                decoder_input_ids = self.prepare_decoder_input_ids_from_labels(labels)
            if decoder_attention_mask is None:
                decoder_attention_mask = self.prepare_decoder_attention_mask_from_labels(labels)
        if encoder_outputs is None:
            encoder_outputs = self.model(
                input_ids=input_ids,
                attention_mask=attention_mask,
                pixel_values=pixel_values,
                view_position_ids=view_position_ids,
                prior_pixel_values=prior_pixel_values,
                prior_view_position_ids=prior_view_position_ids,
                prior_mask=prior_mask,
                inputs_embeds=inputs_embeds,
                vision_last_hidden_state=vision_last_hidden_state,
                vision_hidden_states=vision_hidden_states,
                prior_vision_last_hidden_state=prior_vision_last_hidden_state,
                **{**kwargs, "return_dict": True},
            )
        if decoder_input_ids is not None and decoder_inputs_embeds is None:
            # Given ids, GPT-2 takes the padding behind finished reports for a forgotten mask and says so in every batch search.
            # Only a prompt can lack one: `generate` looks there.
            decoder_inputs_embeds = self.decoder.get_input_embeddings()(decoder_input_ids)
            decoder_input_ids = None
        outputs = self.decoder(
            input_ids=decoder_input_ids,
            attention_mask=decoder_attention_mask,
            inputs_embeds=decoder_inputs_embeds,
            encoder_hidden_states=self._project_memory(encoder_outputs[0], cache),
            use_cache=use_cache,
            logits_to_keep=logits_to_keep,
            **{**kwargs, CACHE_NAME: cache, "return_dict": True},
        )
        loss = None
        if labels is not None:
            # `shift_labels` keeps the library's causal loss from shifting labels that are aligned already.
            loss = self.loss_function(
                logits=outputs.logits,
                labels=labels,
                vocab_size=self.config.decoder_config.vocab_size,
                shift_labels=labels,
                **loss_kwargs,
            )
        return Seq2SeqLMOutput(
            loss=loss,
            logits=outputs.logits,
            decoder_hidden_states=outputs.hidden_states,
            decoder_attentions=outputs.attentions,
            cross_attentions=outputs.cross_attentions,
            encoder_last_hidden_state=encoder_outputs[0],
            encoder_hidden_states=getattr(encoder_outputs, "hidden_states", None),
            encoder_attentions=getattr(encoder_outputs, "attentions", None),
            **{CACHE_NAME: getattr(outputs, CACHE_NAME)},
        )

    def _project_memory(self, memory: torch.Tensor, cache: Cache | None) -> torch.Tensor:
        """The memory at the decoder's width. Once its keys are cached nobody reads its values, so they stay as they are."""
        cached = isinstance(cache, EncoderDecoderCache) and cache.is_updated.get(0)
        return memory if self.memory_projection is None or cached else self.memory_projection(memory)


__all__ = [
    "PriorRGPreTrainedModel",
    "PriorRGModel",
    "PriorRGForContrastivePretraining",
    "PriorRGForReportGeneration",
]
