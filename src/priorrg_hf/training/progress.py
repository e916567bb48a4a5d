"""The progress line of a training run, in place of transformers' bars and dictionaries."""

import json

from transformers import TrainerCallback
from transformers.utils import logging

from ..data.progress import progress_bar


logger = logging.get_logger(__name__)


class ProgressLine(TrainerCallback):
    """One line: studies done of all, studies a second, time left, the last loss, the last evaluation.

    Every log entry also goes to the log as a line of JSON, at level INFO (the commands' `--log-file` keeps them).
    """

    def __init__(self):
        self.bar = self.evaluation_bar = None
        self.facts: dict[str, str] = {}

    def on_train_begin(self, args, state, control, **kwargs):
        if state.is_world_process_zero and not args.disable_tqdm:
            self._studies = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
            self.facts = {}
            self.bar = progress_bar(
                description="training",
                total=state.max_steps * self._studies,
                initial=state.global_step * self._studies,
            )

    def on_step_end(self, args, state, control, **kwargs):
        if self.bar is not None:
            self.bar.update(state.global_step * self._studies - self.bar.n)

    def on_prediction_step(self, args, state, control, eval_dataloader=None, **kwargs):
        if not state.is_world_process_zero or args.disable_tqdm or not hasattr(eval_dataloader, "__len__"):
            return
        if self.evaluation_bar is None:
            # Inside a run the line tells it; an evaluation by itself has a line of its own.
            self.evaluation_bar = progress_bar(
                description="evaluating", total=len(eval_dataloader), unit="batches", shown=self.bar is None
            )
            self._evaluated = 0
        self._evaluated += 1
        self.evaluation_bar.update(1)
        if self.bar is not None:
            self._show(evaluating=f"{self._evaluated}/{len(eval_dataloader)} batches")

    def _end_evaluation(self):
        if self.evaluation_bar is not None:
            self.evaluation_bar.close()
            self.evaluation_bar = None

    def on_evaluate(self, args, state, control, metrics=None, **kwargs):
        self._end_evaluation()
        name = args.metric_for_best_model
        if name and metrics:
            name = name if name.startswith("eval_") else f"eval_{name}"
            if isinstance(metrics.get(name), (int, float)):
                self.facts[name] = f"{metrics[name]:.4g}"
        self._show()

    def on_predict(self, args, state, control, metrics=None, **kwargs):
        self._end_evaluation()

    def on_log(self, args, state, control, logs=None, **kwargs):
        if not state.is_world_process_zero or not logs:
            return
        logger.info(json.dumps({"step": state.global_step, **logs}, default=str))
        if "loss" in logs:
            self.facts["loss"] = f"{float(logs['loss']):.4g}"
        self._show()

    def _show(self, **now: str) -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(", ".join(f"{name} {value}" for name, value in {**self.facts, **now}.items()))

    def on_train_end(self, args, state, control, **kwargs):
        if self.bar is not None:
            self.bar.close()
            self.bar = None


__all__ = ["ProgressLine"]
