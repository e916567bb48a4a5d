"""What is PriorRG's own about writing: the published defaults, decoder inputs made from labels, and arguments of `generate` that are checked.

A report is never copied from its reference: a training batch handed to `generate` loses what tells it, and finished reports are no prompts.
"""

import copy
import warnings
from typing import TYPE_CHECKING, Any, cast

import torch
from transformers.generation import GenerationMixin


if TYPE_CHECKING:
    from transformers.models.gpt2.modeling_gpt2 import GPT2LMHeadModel

    from .configuration_priorrg import PriorRGConfig


# The published generation defaults (beam search with 3 beams, 100 tokens with the start token).
PUBLISHED_GENERATION = {"max_length": 100, "num_beams": 3}


class PriorRGGenerationMixin(GenerationMixin):
    """Comes before the model's base class; `transformers` does the search."""

    if TYPE_CHECKING:  # what the model has
        config: PriorRGConfig
        decoder: GPT2LMHeadModel

    def set_generation_defaults(self):
        """Fills in the published generation settings where `generation_config` leaves them open."""
        for name, value in PUBLISHED_GENERATION.items():
            if getattr(self.generation_config, name) is None:
                setattr(self.generation_config, name, value)

    def prepare_decoder_input_ids_from_labels(self, labels: torch.Tensor) -> torch.Tensor:
        """Labels moved one to the right behind the start token; padding and `[SEP]` become `[PAD]`, as published."""
        start, padding = self.config.decoder_start_token_id, self.config.pad_token_id
        if start is None or padding is None:
            raise ValueError("decoder inputs need `decoder_start_token_id` and `pad_token_id` in the configuration")
        decoder_input_ids = labels.new_full(labels.shape, start)
        decoder_input_ids[:, 1:] = labels[:, :-1]
        replaced = decoder_input_ids == -100
        if self.config.sep_token_id is not None:
            replaced = replaced | (decoder_input_ids == self.config.sep_token_id)
        return decoder_input_ids.masked_fill(replaced, padding)

    def prepare_decoder_attention_mask_from_labels(self, labels: torch.Tensor) -> torch.Tensor:
        """1 up to the decoder position that reads the last target of a row, 0 at the padding behind it."""
        is_target = (labels != -100).long()
        not_after_last = is_target.flip(1).cummax(dim=1).values.flip(1)
        mask = torch.ones_like(not_after_last)
        mask[:, 1:] = not_after_last[:, :-1]
        return mask

    def generate(self, *args, **kwargs):
        """As `GenerationMixin.generate`, with the inputs of [`PriorRGModel.forward`].

        `decoder_input_ids` are a prompt, the beginning of the report, which is continued. A training batch holds the whole
        reference there: beside `labels`, decoder inputs are left out with a warning, so that no report is copied from its reference.

        Raises:
            ValueError: no clinical context is given. (The bare context of a study without one is text too; without this check
                the start token would silently take its place.) Or a prompt is a finished report: it holds the end token, or
                padding behind its last token.
        """
        inputs = args[0] if args else kwargs.get("inputs")
        names = ("input_ids", "inputs_embeds", "encoder_outputs")
        if self.config.use_context and inputs is None and all(kwargs.get(name) is None for name in names):
            raise ValueError(
                "`generate` needs the clinical context as `input_ids`. For a study without one, PriorRGProcessor makes the "
                'bare text "[INDICATION] [SEP] [HISTORY] ".'
            )
        kwargs = self._without_max_length(self._without_reference(kwargs))
        if kwargs.get("decoder_input_ids") is not None:
            mask = kwargs.get("decoder_attention_mask")
            self._check_prompt(kwargs["decoder_input_ids"], mask)
            self.decoder.warn_if_padding_and_no_attention_mask(kwargs["decoder_input_ids"], mask)
        return cast(Any, super()).generate(*args, **kwargs)

    def _without_max_length(self, kwargs: dict) -> dict:
        """`max_new_tokens` as the `max_length` it comes to.

        transformers warns where both are set, and here `max_length` always is: it belongs to the published defaults.
        """
        config = kwargs.get("generation_config")
        asked = kwargs.get("max_new_tokens", getattr(config, "max_new_tokens", None))
        longest = kwargs.get("max_length", getattr(config, "max_length", None))
        if asked is None or longest is not None:
            return kwargs
        prompt = kwargs.get("decoder_input_ids")
        start = 1
        if prompt is not None:
            # A prompt without the start token gets one.
            start = prompt.shape[1] + int(bool((prompt[:, 0] != self.config.decoder_start_token_id).all()))
        kwargs = {name: value for name, value in kwargs.items() if name != "max_new_tokens"}
        if config is None:
            return {**kwargs, "max_length": start + asked}
        config = copy.deepcopy(config)
        config.max_length, config.max_new_tokens = start + asked, None
        return {**kwargs, "generation_config": config}

    @staticmethod
    def _without_reference(kwargs: dict) -> dict:
        """The arguments of `generate` without what tells the report that is to be written."""
        if kwargs.get("labels") is None:
            return kwargs
        names = ("decoder_input_ids", "decoder_attention_mask", "decoder_inputs_embeds")
        if any(kwargs.get(name) is not None for name in names):
            warnings.warn(
                "`generate` got a training batch: `labels` beside decoder inputs, which hold the reference report. Both are left "
                "out, so that the report is written and not copied. Make the batch without `reports`, or pass a prompt without `labels`.",
                stacklevel=3,
            )
        return {name: value for name, value in kwargs.items() if name not in ("labels", *names)}

    def _check_prompt(self, prompt: torch.Tensor, mask: torch.Tensor | None) -> None:
        """Refuses whole reports as prompts, which is what a training batch without its labels holds."""
        if prompt.dim() != 2 or prompt.shape[1] < 2:
            return
        ends = self.generation_config.eos_token_id
        ends = prompt.new_tensor([ends] if isinstance(ends, int) else list(ends or []))
        shown = mask if mask is not None and mask.shape == prompt.shape else torch.ones_like(prompt)
        is_token = torch.ne(prompt, -1 if self.config.pad_token_id is None else self.config.pad_token_id)
        behind_start = (
            is_token.long().cumsum(dim=1) > 1
        )  # the start token may be the end token as well, and stand behind padding
        # the processor writes [PAD] for the end token of shorter reports, too
        padded = (~is_token[:, -1] | (shown[:, -1] == 0)) & is_token.any(dim=1)
        if bool(padded.any()) or bool((torch.isin(prompt, ends) & behind_start).any()):
            raise ValueError(
                "`decoder_input_ids` hold end tokens or padding behind their last token: they are finished reports, as in a training "
                "batch, and no prompts. Leave `decoder_input_ids` and `decoder_attention_mask` out, or pad prompts of several lengths "
                "on the left."
            )
        if mask is not None and bool((shown != 0).all()):
            warnings.warn(
                "`generate` continues the `decoder_input_ids` that it was given. If they come from a training batch, they are the "
                "reference report: leave them out.",
                stacklevel=3,
            )


__all__ = ["PUBLISHED_GENERATION", "PriorRGGenerationMixin"]
