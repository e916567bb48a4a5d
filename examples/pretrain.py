"""Stage 1: align current image, prior image and clinical context with reports.

    python examples/pretrain.py --data studies.csv --model small --tokenizer distilbert/distilgpt2 --output_dir runs/stage1
    torchrun --nproc_per_node 8 examples/pretrain.py --data mimic --vision microsoft/rad-dino \
        --text microsoft/BiomedVLP-CXR-BERT-specialized --output_dir runs/stage1 --bf16

`priorrg pretrain` does the same from the shell; copy this file to change what it does. Research use only, not for clinical decisions.
"""

from transformers import HfArgumentParser, set_seed

from priorrg_hf import PriorRGContrastiveTrainer, PriorRGContrastiveTrainingArguments
from priorrg_hf.training_runs import (
    DataArguments,
    ModelArguments,
    build_for_pretraining,
    load_training_examples,
    views_of,
)


def main():
    parser = HfArgumentParser((DataArguments, ModelArguments, PriorRGContrastiveTrainingArguments))
    data, model_arguments, training = parser.parse_args_into_dataclasses()
    set_seed(training.seed)

    # Rows of paths and texts; images are opened by the processor, in the collator. No split shares a patient.
    examples = load_training_examples(data)
    model, processor = build_for_pretraining(model_arguments, views_of(examples["train"], examples["validation"]))

    trainer = PriorRGContrastiveTrainer(
        model=model,
        args=training,
        train_dataset=examples["train"],
        eval_dataset=examples["validation"],
        processing_class=processor,
    )
    trainer.train(resume_from_checkpoint=training.resume_from_checkpoint)
    trainer.save_model()  # model and processor: the folder is what examples/finetune.py starts from


if __name__ == "__main__":
    main()
