"""What a training run tells: batch shares, temperature, a plain report file and a loss plot; and when it stops."""

import io
import json
import math
import resource
import sys
import time
from pathlib import Path

import torch
import transformers
from transformers import TrainerCallback
from transformers.utils import logging

from ..data.file_writing import write_bytes_whole, write_text_whole
from ..version import __version__
from .distributed import sum_over_processes


logger = logging.get_logger(__name__)

REPORT_NAME = "training_report.json"
PLOT_NAME = "loss_plot.png"


def peak_memory_bytes() -> dict[str, int]:
    """Peak memory so far: `process` (resident set of this process) and, with CUDA, `cuda` (allocated by torch)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    memory = {"process": peak if sys.platform == "darwin" else peak * 1024}
    if torch.cuda.is_available():
        memory["cuda"] = torch.cuda.max_memory_allocated()
    return memory


class BatchShares:
    """Running means over the studies between two log entries: which had a prior image, which had clinical context."""

    def __init__(self):
        self.studies = self.with_prior = self.with_context = 0

    def add(self, prior_mask: torch.Tensor, has_context: list[bool]) -> None:
        self.studies += len(has_context)
        self.with_prior += int(prior_mask.sum())
        self.with_context += sum(has_context)

    def take(self, device: torch.device) -> dict[str, float]:
        """The shares since the last call, over all processes, and starts again. Empty when no batch was seen."""
        counts = torch.tensor([self.studies, self.with_prior, self.with_context])
        self.studies = self.with_prior = self.with_context = 0
        studies, with_prior, with_context = sum_over_processes(counts, device).tolist()
        if not studies:
            return {}
        return {"share_with_prior": with_prior / studies, "share_with_context": with_context / studies}


class EpochCallback(TrainerCallback):
    """Tells the collator and the sampler which epoch it is, before the epoch's first batch is made."""

    def __init__(self, *listeners):
        self.listeners = [listener for listener in listeners if hasattr(listener, "set_epoch")]

    def on_epoch_begin(self, args, state, control, **kwargs):
        # In the middle of an epoch (a resumed run) state.epoch is fractional; rounding guards the last digit of whole ones.
        epoch = math.floor(round(state.epoch or 0.0, 6))
        for listener in self.listeners:
            listener.set_epoch(epoch)


class TrainingReport:
    """Collects the facts of a run for `training_report.json` and draws the loss plot."""

    def __init__(self, trainer):
        self.trainer = trainer
        self.started = time.time()

    def write(self, status: str, error: str | None = None) -> Path | None:
        """Writes report and plot into the output folder; only the main process does.

        Args:
            status (`str`): `"finished"`, `"stopped"` (by an error or an interrupt).
            error (`str`, *optional*): why it stopped.
        """
        trainer = self.trainer
        if not trainer.is_world_process_zero():
            return None
        output_dir = Path(trainer.args.output_dir)
        path = output_dir / REPORT_NAME
        write_text_whole(path, json.dumps(self._facts(status, error), indent=2, allow_nan=False) + "\n")
        if trainer.args.loss_plot:
            draw_loss_plot(trainer.state.log_history, output_dir / PLOT_NAME)
        return path

    def _facts(self, status: str, error: str | None) -> dict:
        trainer, state, args = self.trainer, self.trainer.state, self.trainer.args
        losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
        evaluations = [entry for entry in state.log_history if any(key.startswith("eval_") for key in entry)]
        trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
        facts = {
            "status": status,
            "error": error,
            "stage": trainer.stage,
            "steps": state.global_step,
            "planned_steps": state.max_steps,
            "epochs": state.epoch,
            "seconds": time.time() - self.started,
            "first_loss": losses[0] if losses else None,
            "last_loss": losses[-1] if losses else None,
            "watched_metric": args.metric_for_best_model,
            "best_metric": state.best_metric,
            "best_checkpoint": state.best_model_checkpoint,
            "last_evaluation": evaluations[-1] if evaluations else None,
            "peak_memory_bytes": peak_memory_bytes(),
            "trainable_parameters": trainable,
            "parameters": sum(p.numel() for p in trainer.model.parameters()),
            "processes": args.world_size,
            "studies_left_out": trainer.skipped_studies.reasons,
            "learning_rates": trainer.learning_rates(),
            "arguments": {
                name: getattr(args, name)
                for name in (
                    "per_device_train_batch_size",
                    "gradient_accumulation_steps",
                    "num_train_epochs",
                    "learning_rate",
                    "weight_decay",
                    "bf16",
                    "seed",
                    "freeze_vision",
                    "prior_dropout",
                    "context_dropout",
                    "augmentation",
                    "feature_cache",
                )
            },
            "versions": {
                "priorrg_hf": __version__,
                "transformers": transformers.__version__,
                "torch": torch.__version__,
                "python": sys.version.split()[0],
            },
            "log_history": state.log_history,
            "notice": "Research use only, not for clinical decisions.",
        }
        return _without_nan(facts)


def _without_nan(value):
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {str(key): _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, (str, int, float, bool)) else str(value)


def draw_loss_plot(log_history: list[dict], path: Path) -> bool:
    """Draws training and evaluation loss over the steps as PNG. Returns whether it did (matplotlib may be missing)."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        logger.warning("loss_plot.png is left out: matplotlib is not installed (pip install 'priorrg-hf[train]')")
        return False
    figure = Figure(figsize=(7, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for key, label, marker in (("loss", "training", "."), ("eval_loss", "evaluation", "o")):
        points = [(entry["step"], entry[key]) for entry in log_history if key in entry]
        if points:
            axes.plot(*zip(*points, strict=True), marker=marker, label=label)
    axes.set_xlabel("step")
    axes.set_ylabel("loss")
    if axes.lines:
        axes.legend()
    axes.grid(alpha=0.3)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    write_bytes_whole(path, buffer.getvalue())
    return True


__all__ = ["BatchShares", "EpochCallback", "TrainingReport", "draw_loss_plot", "peak_memory_bytes"]
