"""Stage 2: learn to write the findings, starting from stage 1.

    python examples/finetune.py --data studies.csv --output_dir runs/stage2 --model runs/stage1
    python examples/finetune.py examples/configs/finetune_1gpu.json
    torchrun --nproc_per_node 8 examples/finetune.py examples/configs/finetune_8gpu.json

The defaults are the published recipe. `priorrg finetune` does the same with fewer arguments; this script shows the pieces.
Research use only, not for clinical decisions.
"""

import sys

from transformers import HfArgumentParser, set_seed

from priorrg_hf import PriorRGReportTrainer, PriorRGReportTrainingArguments
from priorrg_hf.training.checkpointing import last_complete_checkpoint
from priorrg_hf.training.report_metrics import ReportMetrics, priors_shown
from priorrg_hf.training.runs import (
    DataArguments,
    ModelArguments,
    build_for_finetuning,
    load_training_examples,
    views_of,
)


def main() -> None:
    parser = HfArgumentParser((DataArguments, ModelArguments, PriorRGReportTrainingArguments))
    if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
        data, model_arguments, training = parser.parse_json_file(sys.argv[1])
    else:
        data, model_arguments, training = parser.parse_args_into_dataclasses()
    set_seed(training.seed)

    examples = load_training_examples(data)
    # From a stage-1 folder everything shared is taken over; layer fusion, its norm and the decoder are new.
    model, processor = build_for_finetuning(model_arguments, views_of(examples["train"], examples["validation"]))

    metrics = None
    if training.predict_with_generate:
        metrics = ReportMetrics(processor, has_prior=priors_shown(examples["validation"]))
    trainer = PriorRGReportTrainer(
        model,
        training,
        train_dataset=examples["train"],
        eval_dataset=examples["validation"],
        processing_class=processor,
        compute_metrics=metrics,
    )
    trainer.train(resume_from_checkpoint=last_complete_checkpoint(training.output_dir))
    trainer.save_model()
    print(trainer.evaluate())


if __name__ == "__main__":
    main()
