"""Write the findings for one study.

    python examples/generate_report.py --model runs/stage2 --image today.png --view PA \\
        --prior_image last_year.png --prior_view PA --indication "cough" --history "smoker"

Research use only, not for clinical decisions.
"""

from dataclasses import dataclass, field

import torch
from transformers import HfArgumentParser

from priorrg_hf import PriorRGForReportGeneration, PriorRGProcessor


@dataclass
class Study:
    """One study and the model that reads it."""

    model: str = field(metadata={"help": "Folder or Hub id of a report generation model with its processor."})
    image: str = field(metadata={"help": "Current image: any format, DICOM too."})
    view: str | None = field(default=None, metadata={"help": "Its view, e.g. PA."})
    prior_image: str | None = field(default=None, metadata={"help": "Prior image, if there is one."})
    prior_view: str | None = field(default=None, metadata={"help": "Its view."})
    indication: str | None = field(default=None, metadata={"help": "Why the study was made."})
    history: str | None = field(default=None, metadata={"help": "Clinical history."})
    num_beams: int = field(default=3, metadata={"help": "Beams."})
    max_length: int = field(default=100, metadata={"help": "Tokens, the start token included."})


def main() -> None:
    (study,) = HfArgumentParser(Study).parse_args_into_dataclasses()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    processor = PriorRGProcessor.from_pretrained(study.model)
    model = PriorRGForReportGeneration.from_pretrained(study.model).to(device).eval()

    inputs = processor(
        images=study.image,
        view_positions=study.view,
        prior_images=[study.prior_image],
        prior_view_positions=[study.prior_view],
        indication=study.indication,
        history=study.history,
    ).to(device)
    ids = model.generate(**inputs, num_beams=study.num_beams, max_length=study.max_length)
    print(processor.post_process_reports(ids)[0])


if __name__ == "__main__":
    main()
