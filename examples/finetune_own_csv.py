"""Fine-tune a report generator on your own CSV: all weights, or low-rank adapters (LoRA) of the decoder.

    priorrg convert-checkpoint finetune.ckpt -o priorrg-mimic --tokenizer distilbert/distilgpt2 --view-positions view_position_dict.json
    python examples/finetune_own_csv.py --model priorrg-mimic --csv my_reports.csv --output_dir runs/mine --lora

The CSV needs, per study, an image path and a report; patient ids keep the splits apart, and prior, view, indication and history are used
where there are columns for them. Name your columns with --column findings=REPORT_TEXT image=FILE.
Research use only, not for clinical decisions.
"""

from dataclasses import dataclass, field

from transformers import HfArgumentParser

from priorrg_hf import (
    PriorRGForReportGeneration,
    PriorRGProcessor,
    PriorRGReportTrainer,
    PriorRGReportTrainingArguments,
)
from priorrg_hf.data import as_examples, load_studies
from priorrg_hf.training.report_metrics import ReportMetrics, priors_shown


@dataclass
class OwnData:
    """The table and the model to start from."""

    model: str = field(metadata={"help": "Converted checkpoint, or any PriorRG report generation folder or Hub id."})
    csv: str = field(metadata={"help": "Your table."})
    image_root: str | None = field(default=None, metadata={"help": "Folder of relative image paths."})
    column: list[str] = field(default_factory=list, metadata={"help": "FIELD=COLUMN, any number of them."})
    lora: bool = field(default=False, metadata={"help": "Train adapters of the decoder only."})
    lora_rank: int = field(default=16, metadata={"help": "Their rank."})


def main() -> None:
    own, training = HfArgumentParser((OwnData, PriorRGReportTrainingArguments)).parse_args_into_dataclasses()

    # 1. Studies, split by patient; rows without a report can't be learned from.
    columns = dict(pair.split("=", 1) for pair in own.column)
    studies = load_studies(own.csv, image_root=own.image_root, columns=columns)
    examples = as_examples(studies, require_findings=True)
    print({split: len(rows) for split, rows in examples.items()})

    # 2. Model and processor from the same folder, so that tokenizer, views and image size fit.
    processor = PriorRGProcessor.from_pretrained(own.model)
    model = PriorRGForReportGeneration.from_pretrained(own.model)
    if own.lora:
        from peft import get_peft_model

        from priorrg_hf.training.lora import freeze_batch_norm, lora_config

        # An adapter file has no BatchNorm statistics, so training must not change them.
        model = get_peft_model(freeze_batch_norm(model), lora_config(r=own.lora_rank))
        model.print_trainable_parameters()

    # 3. Train; reports of the validation split are written and scored after each epoch.
    trainer = PriorRGReportTrainer(
        model,
        training,
        train_dataset=examples["train"],
        eval_dataset=examples["validation"],
        processing_class=processor,
        compute_metrics=ReportMetrics(processor, has_prior=priors_shown(examples["validation"])),
    )
    trainer.train()

    print(trainer.evaluate())

    # 4. Save: the whole model, or with LoRA the adapters and, beside them, the merged model that needs no peft.
    trainer.save_model()
    if own.lora:
        merged = f"{training.output_dir}/merged"
        trainer.model.merge_and_unload().save_pretrained(merged)
        processor.save_pretrained(merged)


if __name__ == "__main__":
    main()
