"""Stage 2: learn to write the findings, from a stage-1 folder (or from a report model, to train it further).

    python examples/finetune.py --data studies.csv --model runs/stage1 --output_dir runs/stage2
    python examples/finetune.py --data studies.csv --model org/priorrg --output_dir runs/mine --lora

`priorrg finetune` does the same from the shell; copy this file to change what it does. Research use only, not for clinical decisions.
"""

from transformers import HfArgumentParser, set_seed

from priorrg_hf import PriorRGReportTrainer, PriorRGReportTrainingArguments
from priorrg_hf.report_metrics import ReportMetrics
from priorrg_hf.training_runs import (
    DataArguments,
    ModelArguments,
    build_for_finetuning,
    load_training_examples,
    views_of,
)


def main():
    parser = HfArgumentParser((DataArguments, ModelArguments, PriorRGReportTrainingArguments))
    data, model_arguments, training = parser.parse_args_into_dataclasses()
    set_seed(training.seed)

    examples = load_training_examples(data)
    # Everything stage 1 learned is taken over; layer fusion, its norm and the decoder are new.
    model, processor = build_for_finetuning(model_arguments, views_of(examples["train"], examples["validation"]))
    if model_arguments.lora:
        from peft import get_peft_model

        from priorrg_hf.peft_utils import lora_config

        model = get_peft_model(model, lora_config(r=model_arguments.lora_rank))

    trainer = PriorRGReportTrainer(
        model=model,
        args=training,
        train_dataset=examples["train"],
        eval_dataset=examples["validation"],
        processing_class=processor,
        compute_metrics=ReportMetrics(processor) if training.predict_with_generate else None,
    )
    trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)
    trainer.save_model()


if __name__ == "__main__":
    main()
