"""Write the report of one study.

    python examples/generate_report.py --model runs/stage2 --image today.png --prior_image last.png --indication "cough"

Research use only, not for clinical decisions.
"""

from dataclasses import dataclass, field

from transformers import HfArgumentParser, pipeline

import priorrg_hf  # noqa: F401  (registers the task)


@dataclass
class Study:
    model: str = field(metadata={"help": "Folder or Hub id of a report model."})
    image: str = field(metadata={"help": "Current image: path or URL; PNG, JPEG, DICOM, ..."})
    prior_image: str | None = field(default=None, metadata={"help": "Prior image."})
    indication: str | None = field(default=None, metadata={"help": "Why the study was made."})
    history: str | None = field(default=None, metadata={"help": "Clinical history."})
    view_position: str | None = field(default=None, metadata={"help": "View of the image, e.g. PA."})
    prior_view_position: str | None = field(default=None, metadata={"help": "View of the prior image."})
    num_beams: int = field(default=3, metadata={"help": "Beams of the search."})


def main():
    (study,) = HfArgumentParser(Study).parse_args_into_dataclasses()
    study = vars(study)
    write = pipeline("report-generation", model=study.pop("model"))
    num_beams = study.pop("num_beams")
    print(write(study, num_beams=num_beams)[0]["generated_text"])


if __name__ == "__main__":
    main()
