"""The arguments of the two training stages. Every default is the published recipe.

|                  | stage 1 (alignment)                      | stage 2 (report generation)                           |
|------------------|------------------------------------------|-------------------------------------------------------|
| frozen           | vision encoder                           | vision encoder, view and time tables, logit scale     |
| optimiser        | AdamW 5e-5                               | AdamW, decoder 5e-5, everything else 5e-6             |
| weight decay     | 0.01 on every parameter                  | same                                                  |
| batch            | 32, accumulated twice                    | 16, accumulated twice                                 |
| epochs           | 10                                       | 50 at most                                            |
| schedule         | plateau x0.1, patience 10, on eval loss  | plateau x0.1, patience 5, on RCB                      |
| early stop       | after 15 evaluations without improvement | same                                                  |

The recipe names neither warm-up nor gradient clipping, so both are off (`warmup_steps=0`, `max_grad_norm=0`).
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from transformers import Seq2SeqTrainingArguments, TrainingArguments
from transformers.trainer_utils import IntervalStrategy, SchedulerType


if TYPE_CHECKING:  # what it stands before
    _ArgumentsBase = TrainingArguments
else:
    _ArgumentsBase = object


@dataclass
class PriorRGRecipeArguments(_ArgumentsBase):
    """What both stages share on top of transformers' own arguments."""

    freeze_vision: bool = field(
        default=True,
        metadata={"help": "Keep the vision encoder as it is: evaluation mode, no gradients. The published setting."},
    )
    freeze_batch_norm: bool = field(
        default=False,
        metadata={
            "help": "Keep the BatchNorm layers of the projections in evaluation mode while training. Useful for batches of a "
            "few studies, and what makes accumulated, cached or distributed gradients equal those of one big batch."
        },
    )
    sync_batch_norm: bool = field(
        default=False,
        metadata={"help": "Take BatchNorm statistics over all processes instead of each process's own batch."},
    )
    decay_all_parameters: bool = field(
        default=True,
        metadata={
            "help": "Apply weight decay to every parameter, as the recipe does. False leaves out biases and norms, as "
            "transformers does."
        },
    )
    early_stopping_patience: int = field(
        default=15, metadata={"help": "Stop after so many evaluations without improvement; 0 never stops early."}
    )
    plateau_factor: float = field(
        default=0.1, metadata={"help": "Factor of the learning rates when the watched metric stops improving."}
    )
    plateau_patience: int = field(
        default=10, metadata={"help": "Evaluations without improvement before the learning rates drop."}
    )
    prior_dropout: float = field(
        default=0.0,
        metadata={
            "help": "Probability of hiding an existing prior image in training, so that the model copes without one."
        },
    )
    context_dropout: float = field(
        default=0.0,
        metadata={
            "help": "Probability of hiding indication and history in training, so that the model copes without them."
        },
    )
    augmentation: bool = field(
        default=False,
        metadata={
            "help": "Small random rotations, shifts, scalings and intensity changes of the training images. Never mirrors: "
            "left and right carry meaning in a chest X-ray. Not possible together with --feature_cache."
        },
    )
    feature_cache: str | None = field(
        default=None,
        metadata={
            "help": "Folder with precomputed vision features (`priorrg precompute`). Needs a frozen vision encoder; features of "
            "other weights or another preprocessing are refused."
        },
    )
    fill_feature_cache: bool = field(
        default=False,
        metadata={
            "help": "First compute the features that the feature_cache does not hold yet, as `priorrg precompute` does with its "
            "defaults; the folder is made if it does not exist."
        },
    )
    bad_study: str = field(
        default="skip",
        metadata={
            "help": "What to do with a study whose image cannot be read while training: `skip` (named, counted, its place filled "
            "by another study of the batch) or `raise`.",
            "choices": ["skip", "raise"],
        },
    )
    overwrite_output_dir: bool = field(
        default=False,
        metadata={
            "help": "Start a new run in an output folder that holds one already, whose checkpoints and model are then replaced, or "
            "that holds files of others under the same names."
        },
    )
    loss_plot: bool = field(default=True, metadata={"help": "Draw loss_plot.png beside training_report.json."})

    def _check_recipe(self) -> None:
        for name in ("prior_dropout", "context_dropout"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ValueError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if self.bad_study not in ("skip", "raise"):
            raise ValueError(f"bad_study must be 'skip' or 'raise', got {self.bad_study!r}")
        if self.feature_cache is not None and not self.freeze_vision:
            raise ValueError(
                "feature_cache holds the output of a fixed vision encoder, but freeze_vision=False trains it. Drop one of the two."
            )
        if self.fill_feature_cache and self.feature_cache is None:
            raise ValueError("fill_feature_cache needs feature_cache, the folder to fill")
        if self.feature_cache is not None and self.augmentation:
            raise ValueError(
                "augmentation changes the images, but feature_cache holds the features of the unchanged ones. Drop one of the two."
            )

    def _fill_defaults(self) -> None:
        if self.greater_is_better is None and self.metric_for_best_model is not None:
            self.greater_is_better = not self.metric_for_best_model.endswith("loss")
        self._fill_plateau("max" if self.greater_is_better else "min")
        if not torch.accelerator.is_available():
            self.dataloader_pin_memory = False

    def _fill_plateau(self, mode: str) -> None:
        plateau = SchedulerType(self.lr_scheduler_type) == SchedulerType.REDUCE_ON_PLATEAU
        if plateau and IntervalStrategy(self.eval_strategy) == IntervalStrategy.NO:
            raise ValueError(
                "lr_scheduler_type='reduce_lr_on_plateau' steps at each evaluation, but eval_strategy is 'no'. Evaluate every "
                "epoch (the recipe), or choose another schedule such as 'constant'."
            )
        if plateau and self.lr_scheduler_kwargs is None:
            self.lr_scheduler_kwargs = {
                "mode": mode,
                "factor": self.plateau_factor,
                "patience": self.plateau_patience,
            }


def _recipe(default, help_text: str):
    return field(default=default, metadata={"help": help_text})


@dataclass
class PriorRGContrastiveTrainingArguments(PriorRGRecipeArguments, TrainingArguments):
    """Arguments of stage 1, the alignment of images and context with reports. Defaults are the published recipe.

    Takes every argument of [`~transformers.TrainingArguments`]; those listed in this class are new or have another default.

    Args:
        gradient_cache (`bool`, *optional*, defaults to `False`):
            Make gradient accumulation enlarge the pool of negatives: the embeddings of all accumulated batches are computed first
            without gradients, the loss is taken over all of them (and over all processes), and each batch is then run again to
            receive its share of the gradient (GradCache, Gao et al. 2021). One more forward pass per batch; memory of one batch.
    """

    per_device_train_batch_size: int = _recipe(32, "Studies per device and forward pass.")
    per_device_eval_batch_size: int = _recipe(32, "Studies per device in evaluation; also the pool of its negatives.")
    gradient_accumulation_steps: int = _recipe(
        2, "Batches per update. They share negatives only with --gradient_cache."
    )
    num_train_epochs: float = _recipe(10, "Epochs. The published scripts use 10, the paper says 30.")
    learning_rate: float = _recipe(5e-5, "Learning rate of AdamW.")
    weight_decay: float = _recipe(0.01, "Weight decay of AdamW.")
    max_grad_norm: float = _recipe(0.0, "Clip gradients to this norm; 0, the recipe, only measures it.")
    lr_scheduler_type: SchedulerType | str = _recipe("reduce_lr_on_plateau", "Learning-rate schedule.")
    eval_strategy: IntervalStrategy | str = _recipe("epoch", "When to evaluate: no, steps or epoch.")
    save_strategy: str = _recipe("epoch", "When to write a checkpoint: no, steps, epoch or best.")
    save_total_limit: int | None = _recipe(2, "Checkpoints kept; the best one always is.")
    load_best_model_at_end: bool = _recipe(True, "End with the best checkpoint instead of the last.")
    metric_for_best_model: str | None = _recipe(
        "loss", "Metric that the schedule, early stopping and selection watch."
    )
    greater_is_better: bool | None = _recipe(None, "Whether that metric should grow; by default known from its name.")
    logging_steps: float = _recipe(10, "Steps between log entries.")
    logging_first_step: bool = _recipe(True, "Log the first step too, so that every run has a loss to start from.")
    remove_unused_columns: bool = _recipe(False, "Must stay False: the collator reads raw example rows.")
    restore_callback_states_from_checkpoint: bool = _recipe(True, "Early stopping goes on counting after a resume.")
    ddp_find_unused_parameters: bool | None = _recipe(
        None,
        "Whether distributed training looks for unused parameters; by default where the configuration leaves parts out.",
    )
    plateau_patience: int = _recipe(10, "Evaluations without improvement before the learning rate drops.")
    gradient_cache: bool = _recipe(
        False, "Accumulated batches share their negatives, at the price of one more forward pass (GradCache)."
    )

    def __post_init__(self):
        self._check_recipe()
        self._fill_defaults()
        super().__post_init__()


@dataclass
class PriorRGReportTrainingArguments(PriorRGRecipeArguments, Seq2SeqTrainingArguments):
    """Arguments of stage 2, report generation. Defaults are the published recipe.

    Takes every argument of [`~transformers.Seq2SeqTrainingArguments`]; those listed in this class are new or have another default.

    `metric_for_best_model="rcb"` is BLEU-4 + CheXbert-14 micro F1 + RadGraph partial F1. Where the clinical scorers are not
    installed, BLEU-4 + ROUGE-L takes its place, `rcb_is_fallback` says so in the logs, and the two must never be compared.

    Args:
        encoder_learning_rate (`float`, *optional*, defaults to 5e-6):
            Learning rate of everything but the decoder. `learning_rate` is the decoder's.
        freeze_position_tables (`bool`, *optional*, defaults to `True`):
            Keep the tables of view and time positions as stage 1 learned them.
    """

    per_device_train_batch_size: int = _recipe(16, "Studies per device and forward pass.")
    per_device_eval_batch_size: int = _recipe(16, "Studies per device in evaluation.")
    gradient_accumulation_steps: int = _recipe(2, "Batches per update.")
    num_train_epochs: float = _recipe(50, "Epochs at most; early stopping usually ends the run sooner.")
    learning_rate: float = _recipe(5e-5, "Learning rate of the decoder.")
    encoder_learning_rate: float = _recipe(5e-6, "Learning rate of everything but the decoder.")
    weight_decay: float = _recipe(0.01, "Weight decay of AdamW.")
    max_grad_norm: float = _recipe(0.0, "Clip gradients to this norm; 0, the recipe, only measures it.")
    lr_scheduler_type: SchedulerType | str = _recipe("reduce_lr_on_plateau", "Learning-rate schedule.")
    eval_strategy: IntervalStrategy | str = _recipe("epoch", "When to evaluate: no, steps or epoch.")
    save_strategy: str = _recipe("epoch", "When to write a checkpoint: no, steps, epoch or best.")
    save_total_limit: int | None = _recipe(2, "Checkpoints kept; the best one always is.")
    load_best_model_at_end: bool = _recipe(True, "End with the best checkpoint instead of the last.")
    metric_for_best_model: str | None = _recipe("rcb", "Metric that the schedule, early stopping and selection watch.")
    greater_is_better: bool | None = _recipe(None, "Whether that metric should grow; by default known from its name.")
    predict_with_generate: bool = _recipe(True, "Write reports during evaluation and score them.")
    generation_num_beams: int | None = _recipe(3, "Beams of the reports written during evaluation.")
    generation_max_length: int | None = _recipe(100, "Tokens of those reports, the start token included.")
    logging_steps: float = _recipe(10, "Steps between log entries.")
    logging_first_step: bool = _recipe(True, "Log the first step too, so that every run has a loss to start from.")
    remove_unused_columns: bool = _recipe(False, "Must stay False: the collator reads raw example rows.")
    restore_callback_states_from_checkpoint: bool = _recipe(True, "Early stopping goes on counting after a resume.")
    ddp_find_unused_parameters: bool | None = _recipe(
        None,
        "Whether distributed training looks for unused parameters; by default where the configuration leaves parts out.",
    )
    plateau_patience: int = _recipe(5, "Evaluations without improvement before the learning rates drop.")
    freeze_position_tables: bool = _recipe(True, "Keep the view and time position tables of stage 1.")

    def __post_init__(self):
        self._check_recipe()
        self._fill_defaults()
        if self.metric_for_best_model == "rcb" and not self.predict_with_generate:
            raise ValueError(
                "metric_for_best_model='rcb' is measured on written reports, but predict_with_generate is False. Watch 'loss' "
                "instead, or let the evaluation write reports."
            )
        super().__post_init__()
