"""The two trainers. Thin: transformers' Trainer does the work, these add what is PriorRG's own.

Both: which parameters are frozen, batches from raw example rows, exact and unbreakable checkpoints, a stop with the names of the
studies when the loss is not finite, batch shares in the log, `training_report.json` and a loss plot.
Stage 1: negatives over all processes, optionally over accumulated batches. Stage 2: two learning rates, reports written during
evaluation with the images encoded once.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import broadcast_object_list
from torch import nn
from transformers import PreTrainedModel, Seq2SeqTrainer, Trainer
from transformers.trainer_callback import EarlyStoppingCallback, PrinterCallback, ProgressCallback
from transformers.trainer_utils import IntervalStrategy
from transformers.utils import logging

from ..data.file_writing import DiskFullError, disk_is_full
from ..data.locking import exclusive
from ..data.values import is_placeholder
from ..data.worker_processes import WorkerStart
from ..model.modeling_priorrg import PriorRGForContrastivePretraining, PriorRGForReportGeneration
from .augmentation import ChestXrayAugmentation
from .callbacks import BatchShares, EpochCallback, TrainingReport
from .checkpointing import (
    CheckpointError,
    WholeCheckpointsMixin,
    check_best,
    complete_checkpoint_in_words,
    recover_interrupted_saves,
    resumable_checkpoint,
    set_damaged_aside,
)
from .data_collator import BATCH_METADATA, PriorRGDataCollator, SkippedStudies
from .distributed import synchronize_batch_norm, world_size
from .interruption import signals_raise
from .losses import (
    embedding_gradients,
    pooled_contrastive_loss,
    random_state,
    restore_random_state,
    without_batch_norm_updates,
)
from .progress import ProgressLine
from .resuming import RunSettings, check_resumed_settings
from .samplers import LengthBucketSampler, text_lengths
from .training_args import PriorRGContrastiveTrainingArguments, PriorRGReportTrainingArguments


logger = logging.get_logger(__name__)

Head = PriorRGForContrastivePretraining | PriorRGForReportGeneration


class NonFiniteLossError(FloatingPointError):
    """The loss became NaN or infinite; the message names the studies of the batch that caused it."""


def base_model(model: nn.Module | None) -> Head:
    """The PriorRG head under PEFT, DDP or compile wrappers."""
    for attribute in ("module", "_orig_mod"):
        while hasattr(model, attribute) and isinstance(getattr(model, attribute), nn.Module):
            model = getattr(model, attribute)
    return cast(Head, cast(Any, model).get_base_model() if hasattr(model, "get_base_model") else model)


def check_vocabulary(model: PreTrainedModel, processor) -> None:
    """Raises `ValueError` when the tokenizer can produce ids that the embedding tables do not have, or uses another padding id."""
    config, tokenizer = model.config, processor.tokenizer
    largest = max(tokenizer.get_vocab().values())
    for part in ("text_config", "decoder_config"):
        rows = getattr(config, part).vocab_size
        if largest >= rows:
            raise ValueError(
                f"the tokenizer has token ids up to {largest}, but {part}.vocab_size is {rows}: tokenizer and model do not belong "
                "together. Load the processor from the model's own folder, or build the model for this tokenizer."
            )
    if config.pad_token_id is not None and tokenizer.pad_token_id != config.pad_token_id:
        raise ValueError(
            f"the tokenizer pads with id {tokenizer.pad_token_id}, the model expects {config.pad_token_id}: tokenizer and model do "
            "not belong together. Load the processor from the model's own folder."
        )
    missing = {name: index for name, index in processor.view_positions.items() if index >= len(config.view_positions)}
    if missing:
        raise ValueError(
            f"the processor knows view positions {missing} that the model's table of {len(config.view_positions)} rows does not "
            "have. Load the processor from the model's own folder."
        )


def leaves_parts_unused(config) -> bool:
    """Whether a configuration builds modules that no training batch reaches. (A batch without priors is no such case: the model
    gives the temporal fusion zero gradients then.)"""
    reads_image = any(segment in config.memory_segments for segment in ("spatiotemporal", "visual"))
    return not config.use_context or not reads_image


class PriorRGTrainerMixin(WholeCheckpointsMixin):
    """What both stages share; comes before the `Trainer` class."""

    stage: str
    report_task: str
    args: PriorRGContrastiveTrainingArguments | PriorRGReportTrainingArguments

    def __init__(
        self,
        model=None,
        args=None,
        data_collator=None,
        train_dataset=None,
        eval_dataset=None,
        processing_class=None,
        callbacks=None,
        **kwargs,
    ):
        if processing_class is None and data_collator is None:
            raise ValueError("pass the PriorRGProcessor as processing_class: it turns studies into model inputs")
        if isinstance(model, nn.Module):
            self._check_model(base_model(model))
            if processing_class is not None:
                check_vocabulary(base_model(model), processing_class)
            self.apply_freezing(model, args)
            if args.ddp_find_unused_parameters is None:
                args.ddp_find_unused_parameters = leaves_parts_unused(base_model(model).config)
            if args.sync_batch_norm:
                synchronize_batch_norm(model)
            base_model(model).model.calls_unused_modules = args.sync_batch_norm or bool(args.fsdp)
        self.feature_cache = None
        if data_collator is None:
            if args.feature_cache is not None:
                from .feature_cache import FeatureCache, precompute_features

                if args.fill_feature_cache:
                    with args.main_process_first(desc="filling the feature cache"):
                        for rows in _datasets(train_dataset, eval_dataset) if args.should_save else ():
                            precompute_features(
                                base_model(model), processing_class, rows, args.feature_cache,
                                layers="all" if self.report_task == "generation" else "last",
                                batch_size=args.per_device_eval_batch_size, progress=not args.disable_tqdm,
                            )  # fmt: skip
                self.feature_cache = FeatureCache.open(args.feature_cache, base_model(model), processing_class)
            data_collator = PriorRGDataCollator(
                processing_class,
                self.report_task,
                augmentation=ChestXrayAugmentation() if args.augmentation else None,
                prior_dropout=args.prior_dropout,
                context_dropout=args.context_dropout,
                feature_cache=self.feature_cache,
                bad_study=args.bad_study,
                seed=args.data_seed if args.data_seed is not None else args.seed,
            )
        self.skipped_studies = SkippedStudies()
        self.batch_shares = BatchShares()
        self._batch_metadata: dict[str, Any] = {}
        super().__init__(
            model=model,
            args=args,
            data_collator=data_collator,
            train_dataset=train_dataset,
            eval_dataset=eval_dataset,
            processing_class=processing_class,
            callbacks=callbacks,
            **kwargs,
        )
        self._sampler: LengthBucketSampler | None = None
        # A notebook's table stays.
        if self.pop_callback(ProgressCallback) or self.pop_callback(PrinterCallback):
            self.add_callback(ProgressLine())
        self.add_callback(EpochCallback(self.data_collator, self))
        self.add_callback(RunSettings(self))
        if args.early_stopping_patience and args.eval_strategy != IntervalStrategy.NO:
            self.add_callback(EarlyStoppingCallback(early_stopping_patience=args.early_stopping_patience))
        # Own losses: means over a batch, to be divided by the number of accumulated batches.
        self.evaluation_collator = (
            data_collator.for_evaluation() if hasattr(data_collator, "for_evaluation") else data_collator
        )

    # ---- what is trained ----

    def _check_model(self, model: nn.Module) -> None:
        raise TypeError(f"{type(self).__name__} does not say which model it trains")

    def _is_finite(self, model: nn.Module, inputs: dict[str, Any]) -> bool:
        """Whether what the model gives for a batch is finite throughout."""
        raise NotImplementedError

    def frozen_modules(self, model: nn.Module, args) -> list[nn.Module | nn.Parameter | None]:
        """Modules and parameters that this stage keeps as they are, apart from the vision encoder."""
        return []

    def apply_freezing(self, model: nn.Module, args) -> None:
        """Sets `requires_grad` as the stage and its arguments say. Never unfreezes what PEFT froze."""
        head = base_model(model)
        if head is not model:
            return  # under PEFT the adapters alone are trained, wherever they are
        if args.freeze_vision:
            head.model.freeze_vision_encoder()
        else:
            head.config.freeze_vision = False
            head.model.vision_model.requires_grad_(True)
        # DINOv2's mask token exists for pre-training only and never gets a gradient.
        mask_token = getattr(head.model.vision_model.embeddings, "mask_token", None)
        for item in [*self.frozen_modules(head, args), mask_token]:
            if item is not None:
                item.requires_grad_(False)

    def parameter_groups(self, model: nn.Module) -> list[dict[str, Any]]:
        """`{"params": [(name, parameter)], "lr": float}` for each learning rate; the first one is the logged one."""
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        return [{"params": trained, "lr": self.args.learning_rate}]

    def create_optimizer(self, model=None):
        if self.optimizer is not None:
            return self.optimizer
        model = self.model if model is None else model
        optimizer_class, optimizer_kwargs = self.get_optimizer_cls_and_kwargs(self.args, model)
        decayed = None if self.args.decay_all_parameters else set(self.get_decay_parameter_names(model))
        groups = []
        for group in self.parameter_groups(model):
            for decay in (True, False):
                parameters = [p for n, p in group["params"] if (decayed is None or n in decayed) == decay]
                if parameters:
                    decay_rate = self.args.weight_decay if decay else 0.0
                    groups.append({"params": parameters, "lr": group["lr"], "weight_decay": decay_rate})
        self.optimizer = optimizer_class(groups, **optimizer_kwargs)
        return self.optimizer

    def learning_rates(self) -> list[float]:
        """Current learning rate of each parameter group; empty before training."""
        return [float(group["lr"]) for group in self.optimizer.param_groups] if self.optimizer is not None else []

    # ---- batches ----

    def set_epoch(self, epoch: int) -> None:
        if self._sampler is not None:
            self._sampler.set_epoch(epoch)

    def _get_train_sampler(self, train_dataset=None):
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        dataset = self.train_dataset if train_dataset is None else train_dataset
        together = self.args.train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        seed = self.args.data_seed if self.args.data_seed is not None else self.args.seed
        self._sampler = LengthBucketSampler(text_lengths(cast(Any, dataset)), together, seed)
        return self._sampler

    def _get_eval_sampler(self, eval_dataset):
        # In the order of the table: predictions are matched with studies by position.
        return torch.utils.data.SequentialSampler(eval_dataset) if self.args.world_size <= 1 else None

    @contextlib.contextmanager
    def _evaluation_batches(self) -> Iterator[None]:
        training_collator, self.data_collator = self.data_collator, self.evaluation_collator
        try:
            yield
        finally:
            self.data_collator = training_collator

    @staticmethod
    def _with_own_generator(dataloader):
        # Starting worker processes draws a seed for them. Drawn from the global generator it would shift the dropout masks whenever a
        # resumed run starts its workers at another moment than the uninterrupted one (persistent workers do).
        # accelerate wraps the loader that is iterated over. (And workers end with this process, see `WorkerStart`.)
        loader = getattr(dataloader, "base_dataloader", dataloader)
        loader.generator = torch.Generator().manual_seed(0)
        if isinstance(loader, torch.utils.data.DataLoader) and loader.num_workers:
            loader.worker_init_fn = WorkerStart(loader.worker_init_fn)
        return dataloader

    def get_train_dataloader(self):
        return self._with_own_generator(super().get_train_dataloader())

    def get_eval_dataloader(self, eval_dataset=None):
        with self._evaluation_batches():
            return self._with_own_generator(super().get_eval_dataloader(eval_dataset))

    def get_test_dataloader(self, test_dataset):
        with self._evaluation_batches():
            return self._with_own_generator(super().get_test_dataloader(test_dataset))

    def _prepare_inputs(self, inputs):
        inputs = dict(inputs)
        self._batch_metadata = inputs.pop(BATCH_METADATA, {})
        self.skipped_studies.add(self._batch_metadata.get("skipped", {}))
        inputs = super()._prepare_inputs(inputs)
        for name in ("vision_last_hidden_state", "vision_hidden_states", "prior_vision_last_hidden_state"):
            if name in inputs:  # cached features travel in their stored precision
                inputs[name] = inputs[name].to(cast(PreTrainedModel, self.model).dtype)
        return inputs

    # ---- training ----

    def train(self, resume_from_checkpoint=None, trial=None, ignore_keys_for_eval=None):
        """Trains; see [`~transformers.Trainer.train`]. Writes `training_report.json` also when the run is stopped by an error."""
        if self.train_dataset is not None and hasattr(self.train_dataset, "__len__") and not len(self.train_dataset):
            raise ValueError(
                "the training set is empty: no study with findings, or a split that the table does not have"
            )
        self._check_before_training()
        if self.args.process_index != 0:
            return self._train_reported(
                self._agreed_checkpoint(resume_from_checkpoint), trial=trial, ignore_keys_for_eval=ignore_keys_for_eval
            )
        with exclusive(self._output_folder(), f"a training run (stage: {self.stage})", folder=True):
            return self._train_reported(
                self._agreed_checkpoint(resume_from_checkpoint), trial=trial, ignore_keys_for_eval=ignore_keys_for_eval
            )

    def _check_before_training(self) -> None:
        """Raises `ValueError` for settings under which a stage would run and learn nothing."""

    def _output_folder(self) -> str:
        # transformers fills in a folder where none is given
        return cast(str, self.args.output_dir)

    def _agreed_checkpoint(self, resume_from_checkpoint) -> str | None:
        """The checkpoint to go on from, looked for and compared with its manifest by the main process alone."""
        answer: list[Any] = [None, None]
        folder = self._output_folder()
        if self.args.should_save:
            recover_interrupted_saves(folder)
        if self.args.process_index == 0:
            try:
                answer[0] = resumable_checkpoint(resume_from_checkpoint, folder)
                if answer[0] is not None:
                    if self.args.load_best_model_at_end:
                        check_best(answer[0])
                    if Path(answer[0]).parent == Path(folder):
                        set_damaged_aside(folder, answer[0])
            except (CheckpointError, ValueError) as error:
                answer[1] = error
        if self.args.world_size > 1:
            broadcast_object_list(answer)
        if answer[1] is not None:
            raise answer[1]
        return answer[0]

    def _train_reported(self, resume_from_checkpoint: str | None, **kwargs):
        report = TrainingReport(self)
        with signals_raise() as interruption:
            try:
                output = super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
            except BaseException as error:
                # A signal to the whole group ends the workers too, and their end may be noticed first.
                error = interruption.received or error
                if self.state.max_steps:
                    try:
                        report.write("stopped", f"{type(error).__name__}: {error}")
                    except OSError as failure:  # a full disk, say: what stopped the run is the error to show
                        logger.warning(f"training_report.json could not be written ({failure})")
                if error is interruption.received:
                    raise error from None
                if disk_is_full(error) and not isinstance(error, CheckpointError):
                    raise CheckpointError(
                        f"no space left to write into {self.args.output_dir} ({error}). "
                        f"{complete_checkpoint_in_words(self.args.output_dir or '')} Free some space, then resume with "
                        "resume_from_checkpoint=True."
                    ) from error
                raise
        try:
            report.write("finished")
        except DiskFullError as error:
            raise CheckpointError(str(error)) from error
        return output

    def _load_from_checkpoint(self, resume_from_checkpoint, model=None):
        check_resumed_settings(self, resume_from_checkpoint)
        return super()._load_from_checkpoint(resume_from_checkpoint, model)

    def _enter_training_mode(self, model: nn.Module) -> None:
        if self.args.freeze_batch_norm:
            for module in model.modules():
                if isinstance(module, nn.modules.batchnorm._NormBase):
                    module.eval()

    def _check_loss(self, loss: torch.Tensor, row_is_finite, batches: list[dict[str, Any]]) -> None:
        """Stops the run when the loss is not finite; `row_is_finite()` tells which rows of the batches came out finite."""
        loss = loss.detach()
        if torch.isfinite(loss):
            return
        ids = self._batch_metadata.get("example_ids", [])
        finite = row_is_finite().tolist()
        sharded = self.is_fsdp_enabled or self.is_deepspeed_enabled or self.args.sync_batch_norm
        if len(finite) > 1 and not any(finite) and not sharded:
            # BatchNorm hands one study's NaN to the whole batch, so each study is asked alone.
            finite = [good for batch in batches for good in self._finite_alone(batch)]
        culprits = [name for name, good in zip(ids, finite, strict=False) if not good]
        if not culprits and world_size() > 1:
            named = "none of this process, see the messages of the others"
        else:
            named = ", ".join(culprits or ids) or "unknown"
        raise NonFiniteLossError(
            f"the loss is {float(loss)} at step {self.state.global_step + 1}; offending studies: {named}. "
            "No weights were changed by this batch (running statistics of BatchNorm may have been). Look at these studies, or lower "
            "the learning rate or set max_grad_norm; then resume from the last checkpoint."
        )

    def _finite_alone(self, batch: dict[str, Any]) -> list[bool]:
        """For each study of a batch, whether the model's output is finite when it is the only one."""
        model, rows = base_model(self.model), len(batch["prior_mask"])
        finite = []
        with torch.no_grad(), without_batch_norm_updates(model), self.compute_loss_context_manager():
            for row in range(rows):
                alone = {
                    name: value[row : row + 1] if torch.is_tensor(value) and len(value) == rows else value
                    for name, value in batch.items()
                }
                finite.append(self._is_finite(model, alone))
        return finite

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        if "loss" in logs:
            logs.update(self.batch_shares.take(self.args.device))
            rates = self.learning_rates()
            if len(set(rates)) > 1:
                logs.update({f"learning_rate_{index}": rate for index, rate in enumerate(rates)})
            logs.update(self.extra_logs())
        super().log(logs, start_time)

    def extra_logs(self) -> dict[str, float]:
        """Values of the stage to log beside the training loss."""
        return {}


class PriorRGContrastiveTrainer(PriorRGTrainerMixin, Trainer):
    """Stage 1: aligns images with context to reports.

    The loss is taken over the studies of all processes, with gradients through the gathering; with `gradient_cache` also over all
    accumulated batches. Evaluation loss is that of batches of `per_device_eval_batch_size`, and comparable at equal size only.

    Args:
        model ([`PriorRGForContrastivePretraining`]): the model.
        args ([`PriorRGContrastiveTrainingArguments`]): defaults are the published recipe.
        train_dataset, eval_dataset: example rows; see [`PriorRGDataCollator`].
        processing_class ([`PriorRGProcessor`]): makes the batches, and is saved with each checkpoint.
        **kwargs: as for [`~transformers.Trainer`].
    """

    stage = "alignment"
    report_task = "alignment"
    args: PriorRGContrastiveTrainingArguments
    loss_is_scaled_for_ga = False

    def __init__(self, model=None, args: PriorRGContrastiveTrainingArguments | None = None, **kwargs):
        super().__init__(model=model, args=args, **kwargs)
        self.can_return_loss = True
        self.model_accepts_loss_kwargs = False
        self._accumulated_batches: list[dict[str, Any]] = []
        # gradients of image and text embeddings and of the temperature, random state, loss
        self._cached_gradients: list[tuple[Any, Any, torch.Tensor, dict[str, torch.Tensor], torch.Tensor]] = []

    def _check_model(self, model: nn.Module) -> None:
        if not hasattr(model, "logit_scale"):
            raise TypeError(
                f"stage 1 trains PriorRGForContrastivePretraining, got {type(model).__name__}. A stage-2 checkpoint has no logit "
                "scale any more and its encoder is already fine-tuned; start stage 1 from the backbones or from a stage-1 folder."
            )

    def _check_before_training(self) -> None:
        args = self.args
        together = args.train_batch_size * args.world_size
        if args.gradient_cache:
            together *= args.gradient_accumulation_steps
        if together < 2:
            raise ValueError(
                "stage 1 tells the studies of a batch apart, and a batch of one study has a loss of 0: nothing would be learned. Set "
                "per_device_train_batch_size to 2 or more (the recipe: 32), or gradient_cache=True with gradient_accumulation_steps."
            )
        if not _has_two_studies(self.train_dataset):
            raise ValueError(
                "stage 1 tells studies apart, and the training set has a single one: nothing would be learned."
            )
        evaluates = args.eval_strategy != IntervalStrategy.NO and self.eval_dataset is not None
        if evaluates and args.eval_batch_size * args.world_size < 2:
            raise ValueError(
                "the evaluation loss of batches of one study is 0 for every model, so it cannot choose one. Set "
                "per_device_eval_batch_size to 2 or more, or eval_strategy='no'."
            )

    def _embed(self, model: nn.Module, inputs: dict[str, Any]):
        inputs = {key: value for key, value in inputs.items() if key not in ("study_ids", "return_loss")}
        outputs = model(**inputs, return_loss=False)
        return outputs, outputs["image_embeds"], outputs["text_embeds"]

    def _logit_scale(self) -> torch.Tensor:
        return cast(PriorRGForContrastivePretraining, base_model(self.model)).logit_scale

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if model.training:
            self._enter_training_mode(model)
            self.batch_shares.add(inputs["prior_mask"], self._batch_metadata.get("has_context", []))
        outputs, image_embeds, text_embeds = self._embed(model, inputs)
        loss = pooled_contrastive_loss(image_embeds, text_embeds, self._logit_scale(), inputs["study_ids"])
        self._check_loss(loss, lambda: _finite_rows(image_embeds, text_embeds), [inputs])
        return (loss, outputs) if return_outputs else loss

    def _is_finite(self, model: nn.Module, inputs: dict[str, Any]) -> bool:
        _, image_embeds, text_embeds = self._embed(model, inputs)
        return bool(_finite_rows(image_embeds, text_embeds).all())

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None):
        """Loss, and for `compute_metrics` the pair (image embeddings, text embeddings) with the study ids as labels."""
        inputs = self._prepare_inputs(inputs)
        with torch.no_grad(), self.compute_loss_context_manager():
            loss, outputs = self.compute_loss(model, inputs, return_outputs=True)
        if prediction_loss_only:
            return loss, None, None
        return loss, (outputs["image_embeds"], outputs["text_embeds"]), inputs["study_ids"]

    # ---- negatives over accumulated batches ----

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        batches, num_items = super().get_batch_samples(epoch_iterator, num_batches, device)
        if self.args.gradient_cache:
            self._accumulated_batches, self._cached_gradients = batches, []
        return batches, num_items

    def training_step(self, model, inputs, num_items_in_batch=None):
        if not self.args.gradient_cache:
            return super().training_step(model, inputs, num_items_in_batch)
        model.train()
        self._enter_training_mode(model)
        if not self._cached_gradients:
            self._fill_gradient_cache(model)
        image_gradient, text_gradient, scale_gradient, state, loss = self._cached_gradients.pop(0)
        inputs = self._prepare_inputs(inputs)
        restore_random_state(state, self.args.device)
        with self.compute_loss_context_manager():
            _, image_embeds, text_embeds = self._embed(model, inputs)
            # Its gradient is the cached one, so that backward hands this batch its share of the whole loss.
            surrogate = (image_embeds * image_gradient).sum() + (text_embeds * text_gradient).sum()
            surrogate = surrogate + self._logit_scale() * scale_gradient
        self.accelerator.backward(surrogate)
        return loss

    def _fill_gradient_cache(self, model: nn.Module) -> None:
        image_embeds, text_embeds, study_ids, states, example_ids = [], [], [], [], []
        with torch.no_grad(), without_batch_norm_updates(model), self.compute_loss_context_manager():
            for batch in self._accumulated_batches:
                batch = self._prepare_inputs(batch)
                self.batch_shares.add(batch["prior_mask"], self._batch_metadata.get("has_context", []))
                example_ids += self._batch_metadata.get("example_ids", [])
                states.append(random_state(self.args.device))
                _, image, text = self._embed(model, batch)
                image_embeds.append(image)
                text_embeds.append(text)
                study_ids.append(batch["study_ids"])
        sizes = [rows.shape[0] for rows in image_embeds]
        loss, image_gradients, text_gradients, scale_gradient = embedding_gradients(
            torch.cat(image_embeds), torch.cat(text_embeds), self._logit_scale(), torch.cat(study_ids)
        )
        self._batch_metadata = {"example_ids": example_ids}
        self._check_loss(
            loss,
            lambda: _finite_rows(torch.cat(image_embeds), torch.cat(text_embeds)),
            [self._prepare_inputs(dict(batch)) for batch in self._accumulated_batches] if not loss.isfinite() else [],
        )
        # DistributedDataParallel averages over processes; each embedding lives in one of them.
        share = float(world_size())
        self._cached_gradients = [
            (share * image, share * text, scale_gradient / len(sizes), state, loss / len(sizes))
            for image, text, state in zip(
                image_gradients.split(sizes), text_gradients.split(sizes), states, strict=True
            )
        ]

    def extra_logs(self) -> dict[str, float]:
        scale = self._logit_scale()
        scale = scale.full_tensor() if hasattr(scale, "full_tensor") else scale
        logit_scale = float(scale.detach()) if scale.numel() == 1 else float("nan")
        return {"logit_scale": logit_scale, "temperature": float(torch.tensor(-logit_scale).exp())}


def _datasets(train_dataset, eval_dataset) -> list:
    """The datasets that are there; an evaluation dataset may be a dictionary of several."""
    evaluations = list(eval_dataset.values()) if isinstance(eval_dataset, dict) else [eval_dataset]
    return [dataset for dataset in (train_dataset, *evaluations) if dataset is not None]


def _has_two_studies(dataset) -> bool:
    """Whether a dataset has studies to tell apart. One that is streamed is not looked into."""
    if dataset is None or not hasattr(dataset, "__len__"):
        return True
    if hasattr(dataset, "column_names"):
        pairs: Iterator[tuple[Any, Any]] = zip(dataset["patient_id"], dataset["study_id"], strict=True)
    else:
        pairs = ((row.get("patient_id"), row.get("study_id")) for row in dataset)
    first = next(pairs, None)
    return any(pair != first for pair in pairs)


def _finite_rows(*embeddings: torch.Tensor) -> torch.Tensor:
    return torch.stack([rows.isfinite().all(dim=-1) for rows in embeddings]).all(dim=0)


class PriorRGReportTrainer(PriorRGTrainerMixin, Seq2SeqTrainer):
    """Stage 2: writes reports. Decoder and everything else learn at different rates.

    Args:
        model ([`PriorRGForReportGeneration`]): the model, usually `from_pretrained(stage_1_folder)`.
        args ([`PriorRGReportTrainingArguments`]): defaults are the published recipe.
        train_dataset, eval_dataset: example rows; see [`PriorRGDataCollator`].
        processing_class ([`PriorRGProcessor`]): makes the batches, and is saved with each checkpoint.
        compute_metrics (`Callable`, *optional*): scores the written reports; see `report_metrics` in `priorrg_hf.training.runs`.
        **kwargs: as for [`~transformers.Seq2SeqTrainer`].
    """

    stage = "report generation"
    report_task = "generation"
    args: PriorRGReportTrainingArguments

    def __init__(self, model=None, args: PriorRGReportTrainingArguments | None = None, **kwargs):
        super().__init__(model=model, args=args, **kwargs)

    def _check_model(self, model: nn.Module) -> None:
        if not hasattr(model, "decoder"):
            raise TypeError(
                f"stage 2 trains PriorRGForReportGeneration, got {type(model).__name__}. "
                "PriorRGForReportGeneration.from_pretrained(stage_1_folder) takes over everything that stage 1 learned."
            )

    def frozen_modules(self, model, args):
        frozen = [getattr(model, "logit_scale", None)]
        if args.freeze_position_tables:
            frozen += [model.model.view_position_embedding, model.model.time_position_embedding]
        return frozen

    def parameter_groups(self, model):
        trained = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        decoder = {id(p) for p in cast(PriorRGForReportGeneration, base_model(model)).decoder.parameters()}
        return [
            {"params": [(n, p) for n, p in trained if id(p) in decoder], "lr": self.args.learning_rate},
            {"params": [(n, p) for n, p in trained if id(p) not in decoder], "lr": self.args.encoder_learning_rate},
        ]

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        if model.training:
            self._enter_training_mode(model)
            self.batch_shares.add(inputs["prior_mask"], self._batch_metadata.get("has_context", []))
        labels = inputs["labels"]
        loss, outputs = super().compute_loss(model, inputs, True, num_items_in_batch)
        self._check_loss(loss, lambda: _finite_reports(outputs["logits"], labels), [inputs])
        return (loss, outputs) if return_outputs else loss

    def _is_finite(self, model: nn.Module, inputs: dict[str, Any]) -> bool:
        inputs = {name: value for name, value in inputs.items() if name != "num_items_in_batch"}
        return bool(model(**inputs).loss.isfinite())

    def _get_num_items_in_batch(self, batch_samples, device):
        # Zero report tokens (every study of the update unreadable) would make the loss 0/0.
        num_items = super()._get_num_items_in_batch(batch_samples, device)
        return num_items.clamp(min=1) if torch.is_tensor(num_items) else num_items

    def predict(self, test_dataset, ignore_keys=None, metric_key_prefix="test", **gen_kwargs):
        """As [`~transformers.Seq2SeqTrainer.predict`]. Where rows have no findings, reports are written for all rows, without loss and metrics.

        Raises `ValueError` for such rows without `predict_with_generate`: there is nothing to predict then.
        """
        missing = _without_findings(test_dataset)
        if not missing or not isinstance(self.evaluation_collator, PriorRGDataCollator):
            return super().predict(test_dataset, ignore_keys, metric_key_prefix, **gen_kwargs)
        what = f"{missing} of {len(test_dataset)} rows have no findings"
        if not self.args.predict_with_generate:
            raise ValueError(
                f"{what}, so there is no loss to compute. Set predict_with_generate=True to have reports written."
            )
        logger.warning(f"{what}: reports are written, loss and metrics are left out")
        collator, metrics = self.evaluation_collator, self.compute_metrics
        self.evaluation_collator, self.compute_metrics = collator.for_evaluation(with_reports=False), None
        try:
            return super().predict(test_dataset, ignore_keys, metric_key_prefix, **gen_kwargs)
        finally:
            self.evaluation_collator, self.compute_metrics = collator, metrics

    def prediction_step(self, model, inputs, prediction_loss_only, ignore_keys=None, **gen_kwargs):
        """Loss and, with `predict_with_generate`, written reports. The images are encoded once for both."""
        if prediction_loss_only or not self.args.predict_with_generate:
            return self._finite_loss(super().prediction_step(model, inputs, prediction_loss_only, ignore_keys), inputs)
        if self.is_fsdp_enabled or self.is_deepspeed_enabled:
            # Sharded weights must be gathered around `generate`, which the library knows how to do.
            return super().prediction_step(model, inputs, prediction_loss_only, ignore_keys, **gen_kwargs)
        inputs = self._prepare_inputs(inputs)
        labels = inputs.pop("labels", None)
        decoder_inputs = {
            key: inputs.pop(key) for key in ("decoder_input_ids", "decoder_attention_mask") if key in inputs
        }
        gen_kwargs = {k: v for k, v in (gen_kwargs or self._gen_kwargs).items() if v is not None}
        head = cast(PriorRGForReportGeneration, base_model(self.model))
        with torch.no_grad(), self.accelerator.autocast():
            encoded = head.get_encoder()(**inputs)
            # A copy: beam search repeats the rows of the outputs it is handed, in place.
            generated = head.generate(
                input_ids=inputs["input_ids"], encoder_outputs=type(encoded)(**encoded), **gen_kwargs
            )
            loss = None
            if labels is not None:
                loss = model(encoder_outputs=encoded, labels=labels, **decoder_inputs)["loss"].detach().mean()
        width = gen_kwargs.get("max_length") or head.generation_config.max_length
        pad_token_id = head.config.pad_token_id
        generated = _pad_columns(generated, max(width, generated.shape[1]), cast(int, pad_token_id))
        if labels is not None:
            labels = _pad_columns(labels, max(width, labels.shape[1]), -100)
        return self._finite_loss((loss, generated, labels), {"labels": labels})

    @staticmethod
    def _finite_loss(results, inputs):
        loss, labels = results[0], inputs.get("labels")
        if loss is not None and labels is not None and not bool((labels != -100).any()):
            # Only unreadable studies in this batch: there is no report to lose on, and 0/0 would spoil the mean.
            return (torch.zeros_like(loss), *results[1:])
        return results


def _without_findings(rows) -> int:
    """How many example rows have no report to compare with."""
    names = getattr(rows, "column_names", None)
    if names is None:
        return sum(is_placeholder(row.get("findings")) for row in rows)
    return sum(map(is_placeholder, rows["findings"])) if "findings" in names else len(rows)


def _pad_columns(tokens: torch.Tensor, width: int, value: int) -> torch.Tensor:
    return nn.functional.pad(tokens, (0, width - tokens.shape[1]), value=value)


def _finite_reports(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Rows whose own mean loss is finite; logits `(batch, tokens, vocabulary)`, labels `(batch, tokens)`."""
    losses = nn.functional.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none")
    return losses.sum(dim=1).isfinite()


__all__ = [
    "NonFiniteLossError",
    "PriorRGContrastiveTrainer",
    "PriorRGReportTrainer",
    "check_vocabulary",
]
