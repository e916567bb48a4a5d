"""Both stages by hand: what `priorrg pretrain` and `priorrg finetune` do, in the pieces that one may want to change.

    python examples/train.py pretrain --data studies.csv --output_dir runs/stage1 --model small --tokenizer distilbert/distilgpt2
    python examples/train.py finetune --data studies.csv --output_dir runs/stage2 --model runs/stage1
    torchrun --nproc_per_node 8 examples/train.py pretrain pretrain_8gpu   # a packaged configuration, or a JSON or YAML file

The defaults are the published recipe. Research use only, not for clinical decisions.
"""

import sys

from transformers import set_seed

from priorrg_hf import (
    PriorRGContrastiveTrainer,
    PriorRGContrastiveTrainingArguments,
    PriorRGReportTrainer,
    PriorRGReportTrainingArguments,
    ReportMetrics,
)
from priorrg_hf.training.checkpointing import last_complete_checkpoint
from priorrg_hf.training.report_metrics import priors_shown
from priorrg_hf.training.runs import (
    build_for_finetuning,
    build_for_pretraining,
    load_training_examples,
    parse_run_arguments,
    read_argument_file,
    views_of,
)


STAGES = {
    "pretrain": (PriorRGContrastiveTrainingArguments, build_for_pretraining, PriorRGContrastiveTrainer),
    # From a stage-1 folder everything shared is taken over; layer fusion, its norm and the decoder are new.
    "finetune": (PriorRGReportTrainingArguments, build_for_finetuning, PriorRGReportTrainer),
}


def main() -> None:
    stage, *words = sys.argv[1:]
    arguments_class, build, trainer_class = STAGES[stage]
    values = read_argument_file(words.pop(0)) if words and not words[0].startswith("--") else {}
    data, model_arguments, training = parse_run_arguments(arguments_class, values, words)
    set_seed(training.seed)

    # Flat example rows; images are opened by the collator, in the data loader's processes.
    examples = load_training_examples(data)
    model, processor = build(model_arguments, views_of(examples["train"], examples["validation"]))

    more = {}
    if stage == "finetune" and training.predict_with_generate:
        more["compute_metrics"] = ReportMetrics(processor, has_prior=priors_shown(examples["validation"]))
    trainer = trainer_class(
        model,
        training,
        train_dataset=examples["train"],
        eval_dataset=examples["validation"],
        processing_class=processor,
        **more,
    )
    trainer.train(resume_from_checkpoint=last_complete_checkpoint(training.output_dir))
    trainer.save_model()
    print(trainer.evaluate())


if __name__ == "__main__":
    main()
