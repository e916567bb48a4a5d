"""Writes the texts of a phantom visit: indication, history and findings, in radiology prose with synonyms and varied order.

The findings section states every present finding with side, severity, cause (where the context tells it) and, only where a prior
exists, its change; resolved findings; devices with their position; and some of what is absent. So the truth can be read back.
"""

from .cohort import Background, Patient
from .facts import SIDES, Facts, FindingFact, site_of, split_site
from .random_stream import RandomStream


# --- clinical context -----------------------------------------------------------------------------------------------

_ACUTE = {
    "infection": (
        "fever and productive cough",
        "cough with fever for three days",
        "febrile with rising white count",
        "fever and chills",
        "suspected sepsis with fever",
    ),
    "surgery": (
        "postoperative day two after hip replacement",
        "status post abdominal surgery",
        "after laparotomy under general anesthesia",
        "postoperative hypoxia",
        "recovering from bowel surgery",
    ),
    "trauma": (
        "motor vehicle collision",
        "fall from a ladder",
        "blunt chest trauma",
        "bicycle accident with rib pain",
        "pedestrian struck by car",
    ),
}
_QUESTIONS = ("evaluate lungs", "follow up", "shortness of breath", "assess chest", "please evaluate")
_CHRONIC = {
    "heart_failure": (
        "congestive heart failure",
        "known heart failure with reduced ejection fraction",
        "chronic heart failure on diuretics",
        "ischemic cardiomyopathy with heart failure",
    ),
    "renal_failure": (
        "end stage renal disease on dialysis",
        "renal failure with missed dialysis",
        "chronic kidney disease on hemodialysis",
        "acute kidney injury with oliguria",
    ),
    "cancer": (
        "metastatic breast cancer",
        "lung cancer on chemotherapy",
        "metastatic ovarian cancer",
        "known lymphoma",
    ),
}
_EVENT: dict[str, tuple[str, ...]] = {
    "thoracentesis": ("recent thoracentesis", "thoracentesis this morning", "status post thoracentesis"),
    "emphysema": ("severe emphysema", "bullous emphysema", "emphysema from smoking"),
}
_ASIDES = ("hypertension", "diabetes", "former smoker", "hypothyroidism", "osteoarthritis", "atrial fibrillation")


def write_indication(background: Background, stream: RandomStream) -> str | None:
    """The indication, or `None` where the request form has none."""
    reason, question = stream.choice(_ACUTE.get(background.acute or "", ("",))), stream.choice(_QUESTIONS)
    order = stream.integer(3)
    if background.acute is None:
        return None
    text = (f"{reason}, {question}", f"{question}, {reason}", reason)[order]
    return text[0].upper() + text[1:] + "."


def write_history(background: Background, stream: RandomStream) -> str | None:
    """The history, or `None` where the request form has none."""
    chronic, event = (
        stream.choice(_CHRONIC.get(background.chronic or "", ("",))),
        stream.choice(_EVENT.get(background.event or "", ("",))),
    )
    parts = stream.shuffled([chronic, event, stream.choice(_ASIDES)][: 2 + stream.integer(2)])
    if background.chronic is None:
        return None
    text = ", ".join(parts)
    return text[0].upper() + text[1:] + "."


# --- findings -------------------------------------------------------------------------------------------------------

_SEVERITY = {
    "default": {
        "minimal": ("minimal",),
        "mild": ("mild",),
        "moderate": ("moderate",),
        "severe": ("severe", "marked"),
    },
    "volume": {
        "minimal": ("minimal", "tiny"),
        "mild": ("small",),
        "moderate": ("moderate",),
        "severe": ("large",),
    },
    "extent": {
        "minimal": ("minimal", "subtle"),
        "mild": ("mild",),
        "moderate": ("moderate",),
        "severe": ("extensive", "severe"),
    },
}
_SCALE = {"effusion": "volume", "pneumothorax": "volume", "consolidation": "extent"}
_NOUN = {
    "cardiomegaly": ("cardiomegaly", "enlargement of the cardiac silhouette"),
    "effusion": ("pleural effusion", "effusion"),
    "consolidation": ("airspace opacity", "consolidation", "lung opacity"),
    "atelectasis": ("bibasilar linear atelectasis", "plate-like atelectasis"),
    "edema": ("pulmonary edema", "interstitial edema"),
    "pneumothorax": ("pneumothorax",),
}
_PLURAL = {
    "pleural effusion": "pleural effusions",
    "effusion": "effusions",
    "airspace opacity": "airspace opacities",
    "consolidation": "consolidations",
    "lung opacity": "lung opacities",
    "pneumothorax": "pneumothoraces",
}
_CAUSE = {
    "pneumonia": ("likely pneumonia", "consistent with pneumonia"),
    "atelectasis": ("likely atelectasis", "consistent with atelectasis"),
    "contusion": ("likely contusion", "consistent with contusion"),
    "heart_failure": ("due to heart failure", "likely cardiogenic"),
    "fluid_overload": ("due to fluid overload", "likely from renal failure"),
    "malignancy": ("due to malignancy", "likely malignant"),
    "procedure": ("after thoracentesis", "likely procedure related"),
    "emphysema": ("due to ruptured bulla", "likely from emphysema"),
}
# {x}: severity, side, noun; {n}: side, noun; {s}: severity; {is}, {has}: agreeing verbs. The cause follows in a clause of its own.
# Telegraphic forms first, then forms that name the finding before they grade it; reports mix both.
_STATEMENTS = {
    None: ("{x}", "There {is} {x}", "{n} {is} {s}"),
    "new": ("New {x}", "There {is} new {x}", "{n} {is} {s}, new", "{n} {is} {s}, new since the prior study"),
    "worsened": (
        "Worsening {x}",
        "{x} {has} worsened since the prior study",
        "{n} {is} {s}, increased",
        "{n} {is} {s}, worse than before",
    ),
    "improved": (
        "Improving {x}",
        "{x} {has} improved since the prior study",
        "{n} {is} {s}, decreased",
        "{n} {is} {s}, improved",
    ),
    "unchanged": ("Unchanged {x}", "Stable {x}", "{n} {is} {s}, unchanged", "{n} {is} {s}, stable"),
}
_RESOLVED = (
    "Previously seen {n} {has} resolved",
    "Interval resolution of {n}",
    "{n} {is} no longer seen",
    "{n} {has} resolved",
)
# How often a statement grades first, in two ways, and how often it names the finding first.
_GRADED_FIRST, _NAMED_FIRST = (0.2, 0.2), 0.6


_DEVICE: dict[tuple[str, str | None], tuple[str, ...]] = {
    ("endotracheal_tube", "appropriate"): (
        "Endotracheal tube ends in appropriate position",
        "ET tube tip is well above the carina",
    ),
    ("endotracheal_tube", "low"): ("Endotracheal tube is low at the carina", "ET tube tip in the right main bronchus"),
    ("endotracheal_tube", "high"): ("Endotracheal tube is high", "ET tube tip is high at the thoracic inlet"),
    ("central_line", "superior_vena_cava"): (
        "Central line ends in the superior vena cava",
        "Central venous catheter tip in the SVC",
    ),
    ("central_line", "right_atrium"): (
        "Central line ends in the right atrium",
        "Central venous catheter tip in the right atrium",
    ),
    ("central_line", "brachiocephalic_vein"): (
        "Central line ends in the brachiocephalic vein",
        "Central venous catheter tip in the brachiocephalic vein",
    ),
    ("pacemaker", "right_ventricle"): ("Pacemaker with lead in the right ventricle", "Single chamber pacemaker"),
    ("pacemaker", "right_atrium_and_ventricle"): (
        "Pacemaker with leads in the right atrium and ventricle",
        "Dual chamber pacemaker",
    ),
}
_HEART = ("cardiomegaly",)
_PLEURA = ("effusion", "pneumothorax")
_LUNGS = ("consolidation", "atelectasis", "edema")
_ORDERS = ((_HEART, _LUNGS, _PLEURA), (_LUNGS, _PLEURA, _HEART), (_HEART, _PLEURA, _LUNGS))


def _sentence(text: str) -> str:
    text = " ".join(text.split())
    return text[0].upper() + text[1:] + "."


def _choose_form(forms: tuple[str, ...], stream: RandomStream) -> str:
    named_first = len(forms) - len(_GRADED_FIRST)
    return stream.choice(forms, (*_GRADED_FIRST, *[_NAMED_FIRST / named_first] * named_first))


def _state(finding: str, sides: tuple[str | None, ...], fact: FindingFact, stream: RandomStream) -> str:
    """One sentence about one finding, on one side or on both."""
    noun = stream.choice(_NOUN[finding])
    bilateral = len(sides) == 2
    if bilateral:
        noun, side = _PLURAL[noun], "bilateral"
    else:
        side = sides[0] or ""
    words = {"n": f"{side} {noun}"}
    words["is"], words["has"] = ("are", "have") if bilateral else ("is", "has")
    if fact.change == "resolved":
        return _sentence(_choose_form(_RESOLVED, stream).format_map(words))
    words["s"] = stream.choice(_SEVERITY[_SCALE.get(finding, "default")][fact.severity or ""])
    words["x"] = f"{words['s']} {words['n']}"
    text = _choose_form(_STATEMENTS[fact.change], stream).format_map(words)
    if fact.cause is not None:
        text += ", " + stream.choice(_CAUSE[fact.cause])
    return _sentence(text)


def _said_together(facts: Facts, finding: str) -> list[tuple[tuple[str | None, ...], FindingFact]]:
    """The facts about a finding, both sides as one where all that is said of them is the same."""
    said: list[tuple[tuple[str | None, ...], FindingFact]] = []
    for side in (None, *SIDES):
        fact = facts.findings.get(site_of(finding, side))
        if fact is not None and (fact.present or fact.change == "resolved"):
            said.append(((side,), fact))
    if len(said) == 2 and said[0][1] == said[1][1]:
        return [(tuple(SIDES), said[0][1])]
    return said


def _normal(group: tuple[str, ...], facts: Facts, stream: RandomStream) -> str | None:
    """A sentence about what is absent, of findings that the report does not mention otherwise; not always said."""
    mentioned = {split_site(site)[0] for site, f in facts.findings.items() if f.present or f.change is not None}
    absent = [finding for finding in group if finding not in mentioned]
    say = stream.chance(0.75)
    variant = stream.integer(2)
    if not absent or not say:
        return None
    if group == _HEART:
        return ("Heart size is normal.", "No cardiomegaly.")[variant]
    if group == _PLEURA:
        return {
            ("effusion", "pneumothorax"): ("No pleural effusion or pneumothorax.", "No pneumothorax or effusion.")[
                variant
            ],
            ("effusion",): ("No pleural effusion.", "No effusion.")[variant],
            ("pneumothorax",): ("No pneumothorax.", "No evidence of pneumothorax.")[variant],
        }[tuple(absent)]
    if len(absent) == 3:
        return ("Lungs are clear.", "The lungs are clear.")[variant]
    return {
        "consolidation": ("No consolidation.", "No focal consolidation.")[variant],
        "edema": ("No edema.", "No pulmonary edema.")[variant],
        "atelectasis": ("No linear atelectasis.", "No plate-like atelectasis.")[variant],
    }[absent[0]]


def write_findings(facts: Facts, stream: RandomStream) -> str:
    """The findings section that states `facts`. Comparisons are written exactly where the facts hold changes."""
    devices = [_sentence(stream.choice(_DEVICE[item])) for item in facts.devices.items()]
    sentences = []
    for group in stream.choice(_ORDERS):
        for finding in group:
            for sides, fact in _said_together(facts, finding):
                sentences.append(_state(finding, sides, fact, stream))
        normal = _normal(group, facts, stream)
        if normal is not None:
            sentences.append(normal)
    sentences = devices + sentences if stream.chance(0.5) else sentences + devices
    # A report says something even of a chest in which there is nothing.
    return " ".join(sentences) or "Lungs are clear."


def write_texts(patient: Patient, visit: int) -> dict[str, str | None]:
    """`indication`, `history` and `findings` of a visit."""
    stream, background = patient.text_stream(visit), patient.visits[visit].background
    return {
        "indication": write_indication(background, stream),
        "history": write_history(background, stream),
        "findings": write_findings(patient.facts(visit), stream),
    }


__all__ = ["write_findings", "write_history", "write_indication", "write_texts"]
