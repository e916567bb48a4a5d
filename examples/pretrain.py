"""Stage 1: align chest X-rays, their priors and their clinical context with reports.

    python examples/pretrain.py --data studies.csv --output_dir runs/stage1 --model small --tokenizer distilbert/distilgpt2
    python examples/pretrain.py examples/configs/pretrain_1gpu.json
    torchrun --nproc_per_node 8 examples/pretrain.py examples/configs/pretrain_8gpu.json

The defaults are the published recipe. `priorrg pretrain` does the same with a data table and fewer arguments; this script shows the pieces.
Research use only, not for clinical decisions.
"""

import sys

from transformers import HfArgumentParser, set_seed

from priorrg_hf import PriorRGContrastiveTrainer, PriorRGContrastiveTrainingArguments
from priorrg_hf.training.checkpointing import last_complete_checkpoint
from priorrg_hf.training.runs import (
    DataArguments,
    ModelArguments,
    build_for_pretraining,
    load_training_examples,
    views_of,
)


def main() -> None:
    parser = HfArgumentParser((DataArguments, ModelArguments, PriorRGContrastiveTrainingArguments))
    if len(sys.argv) == 2 and sys.argv[1].endswith(".json"):
        data, model_arguments, training = parser.parse_json_file(sys.argv[1])
    else:
        data, model_arguments, training = parser.parse_args_into_dataclasses()
    set_seed(training.seed)

    # Flat example rows; images are opened by the collator, in the data loader's processes.
    examples = load_training_examples(data)
    model, processor = build_for_pretraining(model_arguments, views_of(examples["train"], examples["validation"]))

    trainer = PriorRGContrastiveTrainer(
        model,
        training,
        train_dataset=examples["train"],
        eval_dataset=examples["validation"],
        processing_class=processor,
    )
    trainer.train(resume_from_checkpoint=last_complete_checkpoint(training.output_dir))
    trainer.save_model()
    print(trainer.evaluate())


if __name__ == "__main__":
    main()
