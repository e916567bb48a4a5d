"""The processor of PriorRG: images, views and clinical text in, the tensors of `forward` out, and reports back to text.

What is unusual:

- The keys are always the same. A study without a prior gets zeros and a False in `prior_mask`; a study without context gets
  the bare context text.
- User text never becomes a special or template token. Only the template's own tokens do: each piece of user text is
  tokenised by itself by a twin of the tokenizer that knows no added tokens. For ordinary text the ids are those of the joined text.
- A row that cannot be used raises [`PriorRGInputError`], which carries the row's index, so that a long run can skip it.
"""

import difflib
import hashlib
import math
import os
import re
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image, ImageChops
from transformers import BatchFeature, BitImageProcessorPil
from transformers.processing_utils import ProcessingKwargs, ProcessorMixin, Unpack
from transformers.utils import logging

from .configuration_priorrg import DEFAULT_VIEW_POSITIONS
from .image_loading_priorrg import ImageLoadingError, load_image
from .tokenization_priorrg import plain_encoder, template_token_ids


logger = logging.get_logger(__name__)

UNKNOWN_VIEW = "unk"

ReportTask = Literal["generation", "alignment"]

_CONTEXT_TEMPLATE = re.compile(r"\[INDICATION\](.*?)\[SEP\](\s*)\[HISTORY\](.*)", re.DOTALL)
_UNPRINTABLE = re.compile(r"[^\x20-\x7E]")

# What of transformers' text arguments has a meaning here; of the others, those that do not change the output are let through.
_TEXT_KWARGS = {"padding", "truncation", "max_length", "pad_to_multiple_of", "return_tensors"}
_NEUTRAL_TEXT_KWARGS = {"add_special_tokens", "return_attention_mask", "verbose"}


class PriorRGInputError(ValueError):
    """
    Input that the processor cannot use.

    Attributes:
        row (`int`, *optional*): Index of the row within the call, where one row is at fault; `None` where the call itself is.
        field (`str`, *optional*): Name of the argument at fault.
    """

    def __init__(self, message: str, row: int | None = None, field: str | None = None):
        super().__init__(message)
        self.row = row
        self.field = field


class PriorRGProcessorKwargs(ProcessingKwargs, total=False):
    _defaults = {"text_kwargs": {"padding": True, "truncation": True}}  # type: ignore[misc]  # as all of transformers' processors say them


class PriorRGCallKwargs(PriorRGProcessorKwargs, total=False):
    # Named like attributes of the processor, so transformers' processor conventions keep them out of the signature itself.
    view_positions: str | Sequence[str | None] | None
    max_context_length: int | None
    max_report_length: int | None


def rad_dino_image_processor(size: int = 518) -> BitImageProcessorPil:
    """
    The image processor of RAD-DINO: shorter edge to `size` (bicubic), centre crop, /255, mean 0.5307 and standard deviation
    0.2583 on all three channels.

    Args:
        size (`int`, *optional*, defaults to 518): Height and width of the result; a multiple of the vision patch size.

    Returns:
        `BitImageProcessorPil`: It resizes with Pillow, as the published system does; the torchvision backend rounds differently.
    """
    return BitImageProcessorPil(
        do_resize=True,
        size={"shortest_edge": size},
        resample=3,  # bicubic
        do_center_crop=True,
        crop_size={"height": size, "width": size},
        do_rescale=True,
        rescale_factor=1 / 255,
        do_normalize=True,
        image_mean=[0.5307] * 3,
        image_std=[0.2583] * 3,
        do_convert_rgb=True,
    )


def study_id_to_int(study_id: str | int) -> int:
    """
    A study's id as an int64: integers stay, strings become the first 63 bits of their BLAKE2b hash, which is the same in every
    batch, process and machine (two of a million studies collide with a chance of 5e-8).

    Args:
        study_id (`str` or `int`): The id. Where studies are numbered per patient, put the patient's id in front.

    Raises:
        `ValueError`: neither a string nor an integer of 64 bits.
    """
    if isinstance(study_id, str):
        return int.from_bytes(hashlib.blake2b(study_id.encode("utf-8"), digest_size=8).digest(), "big") >> 1
    if isinstance(study_id, (int, np.integer)) and not isinstance(study_id, bool) and -(2**63) <= study_id < 2**63:
        return int(study_id)
    raise ValueError(f"{study_id!r} is no study id; pass a string or a 64-bit integer")


class PriorRGProcessor(ProcessorMixin):
    r"""
    Turns studies into the tensors that the PriorRG models take, and generated ids back into reports.

    Args:
        image_processor ([`BitImageProcessorPil`]):
            Resizes and normalises current and prior images; see [`rad_dino_image_processor`]. A torchvision
            `BitImageProcessor` is replaced by its Pillow twin, so that results do not depend on what is installed.
        tokenizer ([`PreTrainedTokenizerBase`]):
            GPT-2's with PriorRG's seven added tokens; see [`build_priorrg_tokenizer`].
        view_positions (`dict[str, int]`, *optional*):
            View name -> row of the model's view table, as in the model's configuration. Must hold `"unk"`.
        max_report_length (`int`, *optional*, defaults to 100):
            Tokens a report is cut to, `<|endoftext|>` or `[CLS] [FINDINGS]` included.
        max_context_length (`int`, *optional*, defaults to 300):
            Tokens the clinical context is cut to for report generation (stage 2).
        max_alignment_context_length (`int`, *optional*, defaults to 100):
            Tokens the clinical context is cut to for alignment (stage 1).

    Example:

    ```python
    >>> from priorrg_hf import PriorRGProcessor, build_priorrg_tokenizer, rad_dino_image_processor

    >>> processor = PriorRGProcessor(rad_dino_image_processor(), build_priorrg_tokenizer("distilbert/distilgpt2"))
    >>> inputs = processor(
    ...     images="today.png", prior_images="last_year.png", indication="cough", view_positions="PA", prior_view_positions="PA"
    ... )
    ```"""

    valid_processor_kwargs = PriorRGProcessorKwargs

    def __init__(
        self,
        image_processor,
        tokenizer,
        view_positions: dict[str, int] | None = None,
        max_report_length: int = 100,
        max_context_length: int = 300,
        max_alignment_context_length: int = 100,
        **kwargs,
    ):
        super().__init__(_with_pil_backend(image_processor), tokenizer, **kwargs)
        self.view_positions = _checked_view_positions(view_positions)
        for name, value in (
            ("max_report_length", max_report_length),
            ("max_context_length", max_context_length),
            ("max_alignment_context_length", max_alignment_context_length),
        ):
            _check_length(name, value)
        self.max_report_length = max_report_length
        self.max_context_length = max_context_length
        self.max_alignment_context_length = max_alignment_context_length
        self._token_ids = template_token_ids(tokenizer)

    @property
    def model_input_names(self) -> list[str]:
        """The keys that every call returns. `study_ids` and reports add theirs."""
        return [
            "input_ids",
            "attention_mask",
            "pixel_values",
            "view_position_ids",
            "prior_pixel_values",
            "prior_view_position_ids",
            "prior_mask",
        ]

    @property
    def pad_token_id(self) -> int:
        """Id of `[PAD]`."""
        return self._token_ids["[PAD]"]

    def __call__(
        self,
        images: Any = None,
        text: str | Sequence[str] | None = None,
        *,
        prior_images: Any = None,
        indication: str | Sequence[str | None] | None = None,
        history: str | Sequence[str | None] | None = None,
        prior_view_positions: str | Sequence[str | None] | None = None,
        reports: str | Sequence[str] | None = None,
        study_ids: str | int | Sequence[str | int] | None = None,
        report_task: ReportTask | None = None,
        **kwargs: Unpack[PriorRGCallKwargs],
    ) -> BatchFeature:
        """
        Prepares one study or a batch of them. Every argument is one item or a list with one entry a row.

        Args:
            images: The current images, one a row: anything [`~image_loading_priorrg.load_image`] opens.
            text (`str` or list of `str`, *optional*):
                A context written by the caller, instead of `indication` and `history`. Taken as it is; its tokens count as
                template tokens only where it has the form `[INDICATION] ... [SEP] [HISTORY] ...`.
            prior_images (*optional*): The prior images; `None` in the list for a study without one.
            indication (`str` or list of `str`, *optional*): Why the study was made; `None` where not known.
            history (`str` or list of `str`, *optional*): The clinical history; `None` where not known.
            prior_view_positions (`str` or list of `str`, *optional*): Views of the prior images; only for rows that have one.
            reports (`str` or list of `str`, *optional*): The reports' findings, for training.
            study_ids (`str`, `int` or list, *optional*):
                Equal for the images of one study; strings are hashed by [`study_id_to_int`].
            report_task (`str`, *optional*, defaults to `"generation"`):
                What the texts are for. `"generation"` (stage 2): contexts of up to `max_context_length` tokens, reports as
                `decoder_input_ids`, `decoder_attention_mask` and `labels`. `"alignment"` (stage 1): contexts of up to
                `max_alignment_context_length` tokens, reports as `report_input_ids` and `report_attention_mask`.
            view_positions (`str` or list of `str`, *optional*):
                Views of the current images, from `processor.view_positions` (case does not matter); `None` is `"unk"`.
            max_context_length (`int`, *optional*): For this call, instead of the processor's own limit.
            max_report_length (`int`, *optional*): For this call, instead of the processor's own limit.
            kwargs (*optional*):
                `text_kwargs` and `images_kwargs`, or their content: `padding` (`True`: the longest of the batch; `"max_length"`:
                the limits above, for static shapes), `truncation`, `max_length` (another name of `max_context_length`),
                `pad_to_multiple_of`, `return_tensors` (`"pt"` by default, `"np"`), and the image processor's arguments.

        Returns:
            [`BatchFeature`]: with B rows, L context tokens and T report tokens:
            `input_ids`, `attention_mask` (B, L); `pixel_values`, `prior_pixel_values` (B, 3, height, width; zeros where there is no
            prior); `view_position_ids`, `prior_view_position_ids` (B,); `prior_mask` (B,) bool. With `study_ids`: `study_ids` (B,).
            With `reports`: `labels` (unshifted, padding -100), `decoder_input_ids` and `decoder_attention_mask` (B, T), or
            `report_input_ids` and `report_attention_mask` (B, T).

        Raises:
            [`PriorRGInputError`]: names the row and what to do about it.
            `TypeError`: an unknown argument.
        """
        report_task = _checked_report_task(report_task)
        view_positions = kwargs.pop("view_positions", None)
        max_context_length = kwargs.pop("max_context_length", None)
        max_report_length = kwargs.pop("max_report_length", None)
        text_kwargs, images_kwargs = self._split_kwargs(kwargs)
        if text_kwargs.get("max_length") is not None:
            if max_context_length is not None:
                raise PriorRGInputError("pass either max_length or max_context_length", field="max_context_length")
            max_context_length = text_kwargs["max_length"]

        for name, value in (("max_context_length", max_context_length), ("max_report_length", max_report_length)):
            if value is not None:
                _check_length(name, value)

        rows = _as_batch(
            {
                "images": images,
                "text": text,
                "prior_images": prior_images,
                "indication": indication,
                "history": history,
                "view_positions": view_positions,
                "prior_view_positions": prior_view_positions,
                "reports": reports,
                "study_ids": study_ids,
            }
        )
        # Texts and views first: they cost nothing, so that a mistake in them shows before any image is opened.
        given = {"reports": reports, "study_ids": study_ids}
        data = self._encode_all_but_images(
            rows, given, report_task, max_context_length, max_report_length, text_kwargs
        )
        data.update(self._encode_images(rows, images_kwargs))
        return BatchFeature(data, tensor_type=text_kwargs.get("return_tensors", "pt"))

    def encode_without_images(
        self,
        has_prior: Sequence[bool],
        *,
        indication: Sequence[str | None] | None = None,
        history: Sequence[str | None] | None = None,
        view_positions: Sequence[str | None] | None = None,
        prior_view_positions: Sequence[str | None] | None = None,
        reports: Sequence[str] | None = None,
        study_ids: Sequence[str | int] | None = None,
        report_task: ReportTask | None = None,
    ) -> BatchFeature:
        """
        Everything of a batch but its pixels, for studies whose vision features are known already.

        Args:
            has_prior (sequence of `bool`): Whether each row has a prior image.
            indication, history, view_positions, prior_view_positions, reports, study_ids, report_task (*optional*):
                As for calling the processor, one entry a row.

        Returns:
            [`BatchFeature`]: what `__call__` returns, without `pixel_values` and `prior_pixel_values`; `prior_mask` (B,) is `has_prior`.

        Raises:
            [`PriorRGInputError`]: names the row and what to do about it.
        """
        report_task = _checked_report_task(report_task)
        rows = _as_batch(
            {
                "prior_images": [True if prior else None for prior in has_prior],
                "text": None,
                "indication": indication,
                "history": history,
                "view_positions": view_positions,
                "prior_view_positions": prior_view_positions,
                "reports": reports,
                "study_ids": study_ids,
            }
        )
        text_kwargs, _ = self._split_kwargs({})
        given = {"reports": reports, "study_ids": study_ids}
        data = self._encode_all_but_images(rows, given, report_task, None, None, text_kwargs)
        data["prior_mask"] = np.array([bool(prior) for prior in has_prior])
        return BatchFeature(data, tensor_type="pt")

    def _encode_all_but_images(
        self,
        rows: dict[str, list],
        given: dict[str, Any],
        report_task: str,
        max_context_length: int | None,
        max_report_length: int | None,
        text_kwargs: dict,
    ) -> dict[str, Any]:
        data = self._encode_contexts(rows, report_task, max_context_length, text_kwargs)
        data.update(self._encode_views(rows))
        if given["reports"] is not None:
            data.update(self._encode_reports(rows["reports"], report_task, max_report_length, text_kwargs))
        if given["study_ids"] is not None:
            data["study_ids"] = _encode_study_ids(rows["study_ids"])
        return data

    def encode_reports(
        self,
        reports: str | Sequence[str],
        report_task: ReportTask | None = None,
        max_report_length: int | None = None,
        padding: bool | str = True,
        return_tensors: str | None = "pt",
    ) -> BatchFeature:
        """
        Tokenises reports alone, for instance to embed the candidates of a retrieval without their images.

        Args:
            reports (`str` or list of `str`): The reports' findings.
            report_task, max_report_length, padding, return_tensors (*optional*): As for calling the processor.

        Returns:
            [`BatchFeature`]: `labels`, `decoder_input_ids` and `decoder_attention_mask`, or `report_input_ids` and
            `report_attention_mask`; all (B, T).
        """
        rows = _as_rows(reports)
        if not rows:
            raise PriorRGInputError("there are no reports; pass at least one", field="reports")
        return BatchFeature(
            self._encode_reports(
                rows, _checked_report_task(report_task), max_report_length, {"padding": padding, "truncation": True}
            ),
            tensor_type=return_tensors,
        )

    def post_process_reports(self, ids: Any) -> list[str]:
        """
        Turns generated ids into reports: special tokens are skipped, white space at the ends and characters outside 0x20-0x7E
        removed.

        Args:
            ids (`torch.Tensor`, `np.ndarray`, list of lists of `int`, or generate's output object):
                Ids (B, T), or (T,) for one report. Negative ids (the -100 of labels) count as padding.

        Returns:
            `list[str]`: one report a row.
        """
        ids = getattr(ids, "sequences", ids)
        rows = ids.tolist() if hasattr(ids, "tolist") else [_to_list(row) for row in ids]
        if not rows:
            return []
        if not isinstance(rows[0], list):
            rows = [rows]
        rows = [[token if token >= 0 else self.pad_token_id for token in row] for row in rows]
        texts = self.tokenizer.batch_decode(rows, skip_special_tokens=True)
        return [_UNPRINTABLE.sub("", text.strip()) for text in texts]

    @staticmethod
    def format_context(indication: str | None = None, history: str | None = None) -> str:
        """
        The context as text, for reading; `__call__` does not tokenise this string, but its parts.

        Args:
            indication, history (`str`, *optional*): The sections; a missing one is empty.

        Returns:
            `str`: `[INDICATION] {indication} [SEP] [HISTORY] {history}`.
        """
        return ("[INDICATION] " + (indication or "")).strip() + " [SEP] " + "[HISTORY] " + (history or "")

    def _split_kwargs(self, kwargs: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Checks the free keyword arguments and sorts them into those for text and those for images."""
        text_names = set(PriorRGProcessorKwargs.__annotations__["text_kwargs"].__annotations__)
        image_names = set(PriorRGProcessorKwargs.__annotations__["images_kwargs"].__annotations__)
        image_names |= set(getattr(getattr(self.image_processor, "valid_kwargs", None), "__annotations__", {}))
        known = text_names | image_names | set(PriorRGProcessorKwargs.__annotations__) | {"common_kwargs"}
        for name in kwargs:
            if name not in known:
                # transformers would only warn, and a misspelt prior_images would be a report without its prior
                arguments = {
                    "images",
                    "text",
                    *(type(self).__call__.__kwdefaults__ or ()),
                    *PriorRGCallKwargs.__annotations__,
                }
                close = difflib.get_close_matches(name, [*arguments, *known], n=1)
                hint = f"; did you mean {close[0]!r}?" if close else ""
                raise TypeError(f"{type(self).__name__} got an unknown argument {name!r}{hint}")

        # Tokenizer files often carry the length that somebody once truncated to. It only counts where they ask for padding too.
        own = self.tokenizer.init_kwargs
        own = {key: own[key] for key in ("padding", "max_length") if key in own} if "padding" in own else {}
        kwargs = {name: dict(value) if isinstance(value, dict) else value for name, value in kwargs.items()}
        kinds: Any = PriorRGProcessorKwargs  # annotated as an instance, but a class is what it takes
        merged = self._merge_kwargs(kinds, tokenizer_init_kwargs=own, **kwargs)
        text_kwargs, images_kwargs = merged["text_kwargs"], merged["images_kwargs"]
        for name, value in text_kwargs.items():
            neutral = value is None or value is False or name in _NEUTRAL_TEXT_KWARGS
            if name not in _TEXT_KWARGS and not neutral and (name, value) != ("padding_side", "right"):
                raise TypeError(f"{type(self).__name__} does not support {name}={value!r}")
        images_kwargs.pop("return_tensors", None)
        return text_kwargs, images_kwargs

    def _encode_contexts(
        self, rows: dict[str, list], report_task: str, max_length: int | None, text_kwargs: dict
    ) -> dict[str, Any]:
        if max_length is None:
            max_length = self.max_alignment_context_length if report_task == "alignment" else self.max_context_length
        encode = plain_encoder(self.tokenizer)
        ids = []
        for row, (text, indication, history) in enumerate(
            zip(rows["text"], rows["indication"], rows["history"], strict=True)
        ):
            text = _checked_text(text, row, "text", missing=None)
            indication = _checked_text(indication, row, "indication", missing="")
            history = _checked_text(history, row, "history", missing="")
            parts: tuple[str | Any, ...] | None
            if text is None:
                # "[INDICATION] {indication}" is stripped as a whole, hence only on the right
                parts = ((" " + (indication or "")).rstrip() + " ", " ", " " + (history or ""))
            elif indication or history:
                raise _row_error(
                    row, "text", "there are an indication or a history as well; pass either of the two forms"
                )
            else:
                template = _CONTEXT_TEMPLATE.fullmatch(text)
                parts = template.groups() if template else None
            if parts is None:
                ids.append(encode(text))
                continue
            tokens = self._token_ids
            ids.append(
                [tokens["[INDICATION]"], *encode(parts[0]), tokens["[SEP]"], *encode(parts[1]), tokens["[HISTORY]"]]
                + encode(parts[2])
            )
        input_ids, attention_mask = self._truncate_and_pad(ids, max_length, text_kwargs)
        return {"input_ids": input_ids, "attention_mask": attention_mask}

    def _encode_reports(
        self, reports: list, report_task: str, max_length: int | None, text_kwargs: dict
    ) -> dict[str, Any]:
        max_length = self.max_report_length if max_length is None else max_length
        encode, tokens = plain_encoder(self.tokenizer), self._token_ids
        ids = []
        for row, report in enumerate(reports):
            report = _checked_text(report, row, "reports", missing=None)
            if report is None:
                raise _row_error(
                    row, "reports", "there is no report; leave the row out of training, or `reports` out of the call"
                )
            if report_task == "alignment":
                ids.append([tokens["[CLS]"], *encode(" "), tokens["[FINDINGS]"], *encode(" " + report)])
            else:
                ids.append([tokens["bos"], *encode(" " + report + " "), tokens["eos"]])
        if report_task == "alignment":
            report_ids, mask = self._truncate_and_pad(ids, max_length, text_kwargs)
            return {"report_input_ids": report_ids, "report_attention_mask": mask}

        pad, sep = tokens["[PAD]"], tokens["[SEP]"]
        labels, _ = self._truncate_and_pad([row[1:] for row in ids], max_length - 1, text_kwargs, pad=-100)
        # All but the last column of the padded batch, as published: rows shorter than the longest keep their end token.
        inputs = [[pad if token == sep else token for token in row] for row in ids]
        inputs = [row[: len(targets)] for row, targets in zip(inputs, labels, strict=True)]
        decoder_input_ids, mask = self._truncate_and_pad(inputs, max_length - 1, text_kwargs)
        return {"decoder_input_ids": decoder_input_ids, "decoder_attention_mask": mask, "labels": labels}

    def _truncate_and_pad(self, ids: list[list[int]], max_length: int, text_kwargs: dict, pad: int | None = None):
        """Cuts and pads on the right; returns ids and mask as int64 arrays, or as lists where padding is off."""
        padding = text_kwargs.get("padding", True)
        padding = getattr(padding, "value", padding)
        if text_kwargs.get("truncation") not in (False, None, "do_not_truncate"):
            ids = [row[:max_length] for row in ids]
        if padding in (False, None, "do_not_pad"):
            return ids, [[1] * len(row) for row in ids]
        length = max(len(row) for row in ids)
        if padding == "max_length":
            length = max(length, max_length)
        multiple = text_kwargs.get("pad_to_multiple_of") or 1
        length = -(-length // multiple) * multiple
        padded = np.full((len(ids), length), self.pad_token_id if pad is None else pad, dtype=np.int64)
        mask = np.zeros_like(padded)
        for row, tokens in enumerate(ids):
            padded[row, : len(tokens)] = tokens
            mask[row, : len(tokens)] = 1
        return padded, mask

    def _encode_views(self, rows: dict[str, list]) -> dict[str, np.ndarray]:
        current = [self._view_id(view, row, "view_positions") for row, view in enumerate(rows["view_positions"])]
        prior = []
        for row, (view, image) in enumerate(zip(rows["prior_view_positions"], rows["prior_images"], strict=True)):
            if not _is_missing(view) and _is_missing(image):
                raise _row_error(
                    row,
                    "prior_view_positions",
                    f"there is a prior view ({view!r}) but no prior image; pass the image, or None for the view",
                )
            prior.append(self._view_id(view, row, "prior_view_positions"))
        return {
            "view_position_ids": np.array(current, dtype=np.int64),
            "prior_view_position_ids": np.array(prior, dtype=np.int64),
        }

    def _view_id(self, view: Any, row: int, field: str) -> int:
        if _is_missing(view):
            return self.view_positions[UNKNOWN_VIEW]
        if view in self.view_positions:
            return self.view_positions[view]
        if isinstance(view, str):
            wanted = _plain_view(view)
            found = {index for name, index in self.view_positions.items() if _plain_view(name) == wanted}
            if len(found) == 1:
                return found.pop()
            if not wanted:
                return self.view_positions[UNKNOWN_VIEW]
        spellings = {_plain_view(name): name for name in self.view_positions}
        near = difflib.get_close_matches(_plain_view(str(view)), spellings, n=1)
        hint = f" Did you mean {spellings[near[0]]!r}?" if near else ""
        raise _row_error(
            row,
            field,
            f"the view {view!r} is unknown; known are {', '.join(self.view_positions)}. Pass one of them, or None.{hint}",
        )

    def _encode_images(self, rows: dict[str, list], images_kwargs: dict) -> dict[str, np.ndarray]:
        # Row by row, so that only one image is held at its full size.
        current, prior = [], []
        for row, (image, prior_image) in enumerate(zip(rows["images"], rows["prior_images"], strict=True)):
            current.append(self._current_pixel_values(image, rows["text"][row], row, images_kwargs))
            prior.append(
                None
                if _is_missing(prior_image)
                else self._pixel_values(prior_image, row, "prior_images", images_kwargs)
            )
        present = [pixels for pixels in current + prior if pixels is not None]
        if not present:
            raise PriorRGInputError("the batch has no image at all; pass at least one", field="images")
        pixel_values = np.zeros((len(current), *present[0].shape), dtype=np.float32)
        prior_pixel_values = np.zeros_like(pixel_values)
        for field, target, images in (("images", pixel_values, current), ("prior_images", prior_pixel_values, prior)):
            for row, pixels in enumerate(images):
                if pixels is None:
                    continue
                if pixels.shape != target.shape[1:]:
                    raise _row_error(
                        row,
                        field,
                        f"the processed image has the shape {pixels.shape}, another one {target.shape[1:]}; "
                        "turn on do_center_crop",
                    )
                target[row] = pixels
        return {
            "pixel_values": pixel_values,
            "prior_pixel_values": prior_pixel_values,
            "prior_mask": np.array([pixels is not None for pixels in prior]),
        }

    def _current_pixel_values(self, image: Any, text: str | None, row: int, images_kwargs: dict) -> np.ndarray | None:
        if isinstance(image, (list, tuple)) and not image and text is not None:
            # transformers' way to say that this text comes without an image; never what a study table holds
            logger.warning_once("A text without an image gets pixels of value 0. Its report would describe nothing.")
            return None
        if _is_missing(image):
            raise _row_error(row, "images", "there is no current image; a report describes one, so leave the row out")
        return self._pixel_values(image, row, "images", images_kwargs)

    def _pixel_values(self, image: Any, row: int, field: str, images_kwargs: dict) -> np.ndarray:
        """One image as (3, height, width) float32."""
        if isinstance(image, (list, tuple)):
            if len(image) != 1:
                raise _row_error(row, field, f"there are {len(image)} images; pass one a row")
            image = image[0]
        try:
            image = load_image(image)
        except ImageLoadingError as error:
            raise _row_error(row, field, str(error)) from error
        if self._channels_are_alike(images_kwargs) and (gray := _gray_channel(image)) is not None:
            # One channel instead of three copies of it: a third of the time, and the same values to the last bit.
            images_kwargs = images_kwargs | {
                "do_convert_rgb": False,
                "input_data_format": "channels_first",
                "image_mean": self.image_processor.image_mean[:1],
                "image_std": self.image_processor.image_std[:1],
            }
            pixels = self.image_processor(np.asarray(gray)[None], return_tensors="np", **images_kwargs)["pixel_values"]
            return np.broadcast_to(pixels[0], (3, *pixels.shape[-2:]))
        return np.asarray(self.image_processor(image, return_tensors="np", **images_kwargs)["pixel_values"][0])

    def _channels_are_alike(self, images_kwargs: dict) -> bool:
        """Whether the image processor does to each of three channels what it does to one."""
        processor = self.image_processor
        overridden = {"do_convert_rgb", "input_data_format", "data_format", "image_mean", "image_std"} & set(
            images_kwargs
        )
        return (
            type(processor) is BitImageProcessorPil
            and not overridden
            and bool(processor.do_convert_rgb)
            and all(
                isinstance(values, (list, tuple)) and len(values) == 3 and len(set(values)) == 1
                for values in (processor.image_mean, processor.image_std)
            )
        )


def _checked_report_task(report_task: ReportTask | None) -> ReportTask:
    if report_task not in (None, "generation", "alignment"):
        raise PriorRGInputError(
            f"report_task is {report_task!r}; it must be 'generation' or 'alignment'", field="report_task"
        )
    return report_task or "generation"


def _gray_channel(image: Image.Image) -> Image.Image | None:
    """The one channel of a gray image; None for a coloured one. Many X-rays are stored as RGB with three equal channels."""
    if image.mode == "L":
        return image
    sample = np.asarray(image.resize((32, 32), Image.Resampling.NEAREST))
    if (sample != sample[:, :, :1]).any():
        return None
    red, green, blue = image.split()
    alike = all(ImageChops.difference(red, other).getbbox() is None for other in (green, blue))
    return red if alike else None


def _row_error(row: int, field: str, reason: str) -> PriorRGInputError:
    return PriorRGInputError(f"row {row}, {field}: {reason}", row=row, field=field)


def _with_pil_backend(image_processor):
    # By name, because without torchvision the torchvision class cannot be imported. Other image processors are the caller's choice.
    if type(image_processor).__name__ != "BitImageProcessor" or getattr(image_processor, "backend", "pil") == "pil":
        return image_processor
    return BitImageProcessorPil.from_dict(image_processor.to_dict())


def _check_length(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 2:
        raise PriorRGInputError(f"{name} must be an integer of at least 2, not {value!r}", field=name)


def _checked_view_positions(view_positions: dict[str, int] | None) -> dict[str, int]:
    if view_positions is None:
        return dict(DEFAULT_VIEW_POSITIONS)
    if UNKNOWN_VIEW not in view_positions:
        raise ValueError(
            f"view_positions must hold {UNKNOWN_VIEW!r}, for images of unknown view; it has {list(view_positions)}"
        )
    ids = list(view_positions.values())
    if any(isinstance(index, bool) or not isinstance(index, int) or index < 0 for index in ids) or len(
        set(ids)
    ) != len(ids):
        raise ValueError(f"view_positions must map names to distinct integers from 0 up, not {view_positions}")
    return dict(view_positions)


def _checked_text(text: Any, row: int, field: str, missing: str | None) -> str | None:
    if isinstance(text, str):
        if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
            raise _row_error(
                row, field, "the text holds half a character (a lone surrogate); export it again, as UTF-8"
            )
        return text
    if _is_missing(text):
        return missing
    raise _row_error(row, field, f"a {type(text).__name__} is no text; pass a string, or None for a missing one")


def _encode_study_ids(study_ids: list) -> np.ndarray:
    encoded = []
    for row, study_id in enumerate(study_ids):
        try:
            encoded.append(study_id_to_int(study_id))
        except ValueError as error:
            raise _row_error(row, "study_ids", str(error)) from error
    return np.array(encoded, dtype=np.int64)


def _plain_view(name: str) -> str:
    """Without case, and with blanks for "_" and "-": "AP_SUPINE" is "ap supine"."""
    return " ".join(re.sub(r"[_-]", " ", name).split()).casefold()


def _is_missing(value: Any) -> bool:
    """None, or the NaN that tables put in empty cells."""
    return value is None or (isinstance(value, float) and math.isnan(value))


def _to_list(row: Any) -> Any:
    return row.tolist() if hasattr(row, "tolist") else row


def _is_single(value: Any) -> bool:
    """Whether a value is one row's entry, not a batch: text, numbers, and everything that is one image."""
    if isinstance(value, (np.ndarray, torch.Tensor)):
        # (batch, channels, height, width) images, or a vector of study ids
        return value.ndim in (0, 2, 3)
    if isinstance(value, (str, bytes, bytearray, memoryview, dict, os.PathLike)) or not hasattr(value, "__iter__"):
        return True
    # open files, Pillow images and DICOM datasets can be iterated over, too
    return any(hasattr(type(value), name) for name in ("read", "getexif", "pixel_array"))


def _as_rows(value: Any) -> list:
    if not _is_single(value):
        if isinstance(value, (np.ndarray, torch.Tensor)) and value.ndim > 4:
            raise PriorRGInputError(
                f"an array of shape {tuple(value.shape)} is no batch of images; pass (batch, channels, height, width) or a list of images",
                field="images",
            )
        return value.tolist() if getattr(value, "ndim", None) == 1 else list(value)
    return [value.item() if getattr(value, "ndim", None) == 0 else value]


def _as_batch(arguments: dict[str, Any]) -> dict[str, list]:
    """Every argument as a list of one entry a row; None for an argument that was not given. The first argument, which must be
    given, says how many rows there are."""
    leading = next(iter(arguments))
    if arguments[leading] is None:
        raise PriorRGInputError(
            "there are no images; pass one current image a row (for reports alone: processor.encode_reports)",
            field="images",
        )
    rows = {name: _as_rows(value) for name, value in arguments.items() if value is not None}
    lengths = {name: len(value) for name, value in rows.items()}
    size = lengths[leading]
    if len(set(lengths.values())) != 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise PriorRGInputError(f"batch lengths differ: {listed}; each needs one entry a row, None for a missing one")
    if size == 0:
        raise PriorRGInputError("the batch is empty; pass at least one image", field="images")
    return {name: rows.get(name) or [None] * size for name in arguments}
