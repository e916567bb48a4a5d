"""The words by which radiology reports name findings, sides, severities and changes; used by `report_reader.py`.

All patterns are for lower-case text. Findings are broad on purpose: "opacity", "infiltrate" and "pneumonia" are one finding
(`consolidation`), since reports of one and the same film use them for one another.
"""

import re


CHANGES = ("new", "worse", "improved", "unchanged", "resolved")
SEVERITIES = ("minimal", "mild", "moderate", "severe")
SIDES = ("left", "right")
OVERALL = "overall"

DEVICES = (
    "endotracheal_tube",
    "enteric_tube",
    "central_line",
    "pulmonary_artery_catheter",
    "chest_tube",
    "pacemaker",
    "support_devices",
)
# Findings of which a side says where they are seen, not which of two there is.
UNSIDED = {
    "cardiomegaly", "edema", "interstitial_disease", "mediastinum", "pneumomediastinum", "hilar_enlargement", "lung_volumes", "hernia",
    OVERALL,
    *DEVICES,
} - {"chest_tube"}  # fmt: skip

# name -> patterns, the more specific before the general: at one place the first match wins.
_FINDINGS: dict[str, tuple[str, ...]] = {
    "endotracheal_tube": (r"endotracheal tubes?", r"et tubes?", r"\bett\b", r"tracheostomy(?: tube)?", r"extubated"),
    "enteric_tube": (
        r"(?:naso|oro)gastric tubes?", r"(?:enteric|feeding|dobbhoff|ng|og|gastric) tubes?", r"\b[no]gt\b",
    ),
    "pulmonary_artery_catheter": (r"swan[ -]ganz(?: catheter)?", r"pulmonary artery catheter", r"pa catheter"),
    "central_line": (
        r"(?:(?:internal )?jugular|ij|subclavian|dialysis|hemodialysis|central)(?: central)?(?: venous)?(?: access)? (?:lines?|catheters?|sheath)",
        r"(?:internal )?jugular central venous (?:line|catheter)",
        r"picc(?: lines?| catheters?)?", r"port[- ]?a[- ]?cath", r"(?:chest |infusion )?port\b", r"\bcvcs?\b",
        r"central (?:venous )?lines?",
    ),
    "chest_tube": (r"chest (?:tubes?|drains?)", r"pigtail(?: catheters?)?", r"pleural (?:catheters?|drains?)", r"thoracostomy tubes?"),
    "pacemaker": (
        r"(?:biventricular |dual[- ]lead |dual[- ]chamber |single[- ](?:lead|chamber) )?(?:pacemakers?|pacers?|icd|aicd|pacing device)(?: leads?| wires?)?",
        r"cardiac device",
    ),
    "support_devices": (
        r"(?:monitoring and )?support(?:ing)? (?:and monitoring )?(?:devices?|apparatus|hardware)",
        r"lines and tubes", r"tubes and lines", r"(?:indwelling )?(?:devices|hardware)",
    ),
    "subcutaneous_emphysema": (r"subcutaneous (?:emphysema|air|gas)",),
    "pneumomediastinum": (r"pneumomediastinum", r"mediastinal emphysema"),
    "pneumothorax": (r"(?:hydro)?pneumothora(?:x|ces)", r"\bptx\b"),
    "pleural_thickening": (r"pleural thickening", r"pleural plaques?"),
    "pleural_effusion": (r"(?:pleural )?effusions?", r"pleural fluid", r"hydrothorax"),
    "atelectasis": (
        r"atelecta(?:sis|ses|tic (?:changes?|opacit(?:y|ies)|bands?))", r"(?:lobar )?collapse", r"volume loss",
        r"plate-?like opacit(?:y|ies)",
    ),
    "edema": (
        r"(?:pulmonary |interstitial |alveolar )*o?edema", r"(?:pulmonary )?(?:vascular|venous) (?:congestion|engorgement)",
        r"congestive changes?", r"fluid overload", r"pulmonary congestion", r"(?:vascular )?congestion\b",
    ),
    "lung_volumes": (
        r"lung volumes?", r"(?:lung )?aeration", r"inspirat(?:ion|ory (?:effort|level|volumes?))", r"lungs? (?:are |is )?(?=(?:better|less|more) (?:well )?(?:expanded|inflated|aerated))",
    ),
    "interstitial_disease": (
        r"(?:reticular )?interstitial (?:markings?|opacit(?:y|ies)|abnormalit(?:y|ies)|disease|changes?|thickening|pattern)", r"reticular opacities",
        r"pulmonary fibrosis",
    ),
    "consolidation": (
        r"consolidat(?:ions?|ive (?:changes?|opacit(?:y|ies)))", r"opaci(?:ty|ties|fications?)", r"infiltrat(?:es?|ions?)", r"pneumonias?",
        r"air[- ]?space disease", r"increased density", r"densit(?:y|ies)",
        r"(?:(?:air[- ]?space|alveolar|patchy|confluent|hazy|ground[- ]glass|pulmonary|lung) )?shadowing", r"ground[- ]glass (?:haze|haziness|changes?)",
        r"(?:air[- ]?space|alveolar|patchy|confluent|hazy|ground[- ]glass|pulmonary|lung) shadows?",
    ),
    "nodule": (r"nodul(?:es?|ar)\b(?: opacit(?:y|ies))?", r"mass(?:es)?\b", r"granulomas?", r"lesions?"),
    "fracture": (r"fractures?", r"fracture deformit(?:y|ies)"),
    "cardiomegaly": (
        r"cardiomegaly", r"cardiac enlargement", r"enlargement of the (?:heart|cardiac silhouette|cardiomediastinal silhouette)",
        r"(?:heart|cardiac)(?: size)?\b(?! failure| border)(?: silhouette)?", r"size of the (?:heart|cardiac silhouette)",
        r"cardiomediastinal (?:silhouette|contours?|size)", r"cardiac (?:silhouette|contours?|size)",
    ),
    "hilar_enlargement": (
        r"prominence of (?:the )?(?:left |right |both )?hil(?:um|[ia])\b", r"(?<!peri-)hilar (?:contours?|enlargement|lymphadenopathy|prominence|structures)",
        r"hil(?:um|[ia])\b", r"(?<!peri-)\bhilar\b",
    ),
    "mediastinum": (
        r"mediastin(?:um|al (?:contours?|silhouette|widening|shift|structures|prominence))", r"aortic (?:contours?|knob)", r"\bmediastinal\b(?= and hilar)",
    ),
    "scarring": (r"scar(?:ring|s)?\b", r"fibrotic changes?"),
    "hernia": (r"(?:hiatal |hiatus )?hernia",),
    "diaphragm_elevation": (
        r"elevat(?:ion|ed)(?: of)?(?: the)?(?: (?:right|left))?(?: hemi)?diaphragm", r"(?:hemi)?diaphragm(?:atic)? (?:is elevated|elevation)",
    ),
}  # fmt: skip
FINDINGS = tuple(_FINDINGS)
FINDING = re.compile(
    r"\b(?:" + "|".join(f"(?P<{name}>{'|'.join(forms)})" for name, forms in _FINDINGS.items()) + r")(?![\w-]*\w)"
)
# Organs that are named whether or not anything is wrong with them: a mention alone does not mean presence.
NEUTRAL_MENTION = re.compile(
    r"^(?:(?:size of the )?(?:heart|cardiac)(?: size)?(?: silhouette| contours?| size)?|cardiomediastinal .*|mediastin(?:um|al)(?: (?:contours?|silhouette|structures))?"
    r"|hilar(?: (?:contours?|structures))?|hil(?:um|[ia])|aortic .*|lung volumes?|(?:lung )?aeration|inspirat.*|lungs? .*)$"
)
ABNORMAL = re.compile(r"\b(?:enlarged|enlargement|widened|prominent|big|dilated|low|reduced|poor|decreased)\b")
NORMAL = re.compile(
    r"\b(?:normal|unremarkable|not enlarged|within (?:the )?normal limits|upper limits? of normal|top[- ]normal|not widened)\b"
)

BOTH_SIDES = r"bilateral(?:ly)?|both|bibasilar|bibasal|biapical|bi-basilar"
SIDE = re.compile(rf"\b(?:(?P<both>{BOTH_SIDES})|(?P<left>left)|(?P<right>right))(?:-sided)?\b")
# "right heart border", "left main bronchus": sides of something else.
NO_SIDE = re.compile(
    r"\b(?:right|left) (?:atri(?:um|al)|ventric\w+|main(?:stem)? (?:bronchus|pulmonary artery)|pulmonary artery|heart border|upper extremity|to left|to right)"
    r"|\b(?:to|toward|towards) the (?:right|left)\b"
)

_LEVELS = {
    "minimal": r"minimal(?:ly)?|tiny|trace|subtle|slight(?:ly)?|borderline|minute|faint|barely",
    "mild": r"mild(?:ly)?|small(?:-sized)?|minor",
    "moderate": r"moderate(?:ly)?(?:[- ]sized)?|medium(?:-sized)?",
    "severe": r"severe(?:ly)?|large(?:-sized)?|marked(?:ly)?|extensive|massive|gross(?:ly)?",
}
SEVERITY = re.compile(r"\b(?:" + "|".join(f"(?P<{name}>{words})" for name, words in _LEVELS.items()) + r")\b")

# ---- change ----
# "up" and "down" are of size; what they mean depends on the finding (a larger effusion is worse, larger lung volumes are better).
_CUES: dict[str, tuple[str, ...]] = {
    "resolved": (
        r"(?:interval )?resolution", r"resolved", r"cleared", r"clearing(?: of)?", r"disappear(?:ed|ance)", r"gone",
        r"no longer (?:seen|visible|visualized|present|identified|evident|apparent|appreciated|in place|demonstrated)",
        r"(?:been |interval |now )?removed", r"removal(?: of)?", r"extubated",
    ),
    "unchanged": (
        r"unchanged", r"unaltered", r"stable", r"static", r"constant", r"stability", r"persist(?:s|ent|ently|ing|ed|ence)?",
        r"similar", r"as before", r"the same", r"again (?:seen|noted|demonstrated|identified|visualized|present|shows?|evident)",
        r"re-?demonstrat(?:ed|ion)", r"remains?(?! (?:clear|normal|unremarkable|well|within))", r"still", r"continues? to", r"samechg",
    ),
    "worse": (
        r"worse(?:n(?:ed|ing|s)?)?", r"progress(?:ed|ion|ive(?:ly)?|ing)", r"deteriorat(?:ed|ion|ing)", r"re-?accumulat(?:ion|ed|ing)",
        r"exacerbat(?:ed|ion)",
    ),
    "improved": (
        r"improv(?:ed|ing|ement|es)", r"better", r"regress(?:ed|ion|ing)", r"resolving", r"partres",
    ),
    "up": (
        r"increas(?:ed|ing|es?|ingly)", r"larger", r"bigger", r"greater", r"enlarging", r"(?<=has )enlarged", r"(?<=have )enlarged", r"grown", r"growth",
        r"more (?:extensive|severe|prominent|pronounced|confluent|dense|diffuse|conspicuous|apparent|marked|widespread)", r"higher", r"denser", r"expanded(?= since)",
        r"(?<=has )(?:extended|spread)", r"(?<=have )(?:extended|spread)",
    ),
    "down": (
        r"decreas(?:ed|ing|es?)", r"smaller", r"diminish(?:ed|ing)", r"reduc(?:ed|tion|ing)", r"reced(?:ed|ing)", r"shrunk(?:en)?", r"lessen(?:ed|ing)",
        r"less (?:extensive|severe|prominent|pronounced|confluent|dense|conspicuous|apparent|marked|widespread)", r"lower(?= than| since| compared|$)",
    ),
    "new": (
        r"new(?:ly)?", r"(?:interval )?development of", r"developed", r"developing", r"(?:interval|new) appearance of", r"recur(?:red|rent|rence)",
        r"(?:interval )?placement of", r"(?:has|have) been (?:placed|inserted)", r"(?:interval |newly )?(?:placed|inserted)", r"insertion of",
    ),
}  # fmt: skip
CUE = re.compile(
    r"(?<![\w-])(?:" + "|".join(f"(?P<{name}>{'|'.join(forms)})" for name, forms in _CUES.items()) + r")(?![\w])"
)
DEVICE_ONLY = re.compile(r"removed|removal|plac|insert|extubated")

_QUALIFIER = (
    r"(?:(?:any|significant(?:ly)?|definite(?:ly)?|appreciabl[ey]|substantial(?:ly)?|relevant|interval|further|much|other|overall|great(?:ly)?|obvious(?:ly)?"
    r"|convincing(?:ly)?|material(?:ly)?|major|acute|real|clear(?:ly)?|radiological|radiographic|yet|evidence of|signs? of|in the way of|in the interval|been|be) )*"
)
_CHANGE_WORD = (
    r"(?:chang(?:e[ds]?|ing)|increas(?:ed?|ing)|decreas(?:ed?|ing)|worse(?:n(?:ing|ed))?|improve(?:ment|d)?|progress(?:ion|ed)|resolved|cleared"
    r"|resolution|clearing|regress(?:ion|ed)|deterioration|enlarge(?:d|ment)|grown|difference|alteration)"
)
# Rewritten before anything is read, in this order.
REWRITES: tuple[tuple[re.Pattern, str], ...] = tuple(
    (re.compile(pattern), replacement)
    for pattern, replacement in (
        # What is asked for, feared or not known is no statement.
        (r"\b(?:to|will|should) (?:ensure|document|confirm|assess|evaluate|exclude|monitor|verify|demonstrate)\b[^.;]*", " "),
        (r"\b(?:whether|unless|until|if)\b[^.;,]*", " "),
        # "Follow-up in six weeks", but not what a "follow-up radiograph shows".
        (r"\b(?:repeat|follow[- ]?up|further) (?:imaging|(?:chest )?radiographs?|films?|studies|study|chest x-?rays?)\b(?![^.;]*\b(?:show|demonstrat|reveal|depict))[^.;]*", " "),
        (r"\b(?:hemodynamically|clinically|medically) (?:stable|unchanged|improved)\b", " "),
        (r"\b(?:symptomatic|clinical|h(?:a)?emodynamic|functional) (?:improvement|worsening|deterioration|progress\w*|stability|resolution)\b", " "),
        (r"\bnew york\b", " "),
        # Comparing one side with the other is not comparing with the past.
        (r",?\s*\b(?:the )?(?:left|right)(?: side)?(?:(?: is| being)? (?:slightly |somewhat |much )?)(?:greater|larger|more|worse|bigger|smaller|less)(?: \w+)? than(?: on)?(?: the)? (?:left|right)\b", " bilaterally"),
        (r"\b(?:greater|larger|more|worse|smaller|less)(?: \w+)? (?:on|at) the (?:left|right)(?: base)?(?: side)? than(?: on)?(?: the)? (?:left|right)\b", " "),
        (r"\b(?:more|most|less) \w+ (?:in|on|at|within|over) the (?:lung )?(?:left|right|upper|lower|mid|middle|bases?|apex|apices|periphery|perihilar|central)\b(?![^.;]*\b(?:than|since|compar|prior|previous|interval|before))", " "),
        (r"\bwith (?:greater|more|less) (?:involvement|severity|density|prominence)\b(?![^.;]*\b(?:than|since|compar|prior|previous|interval|before))", " "),
        # Descriptions that sound like comparisons.
        (r"\bincreased (?=(?:interstitial markings?|lung markings?|bronchovascular|ap diameter|a-p diameter|lucency|translucency|attenuation|density|densities|retrosternal))", " "),
        # Denied change.
        (r"\bneither " + _CHANGE_WORD + r" nor " + _CHANGE_WORD, "samechg"),
        (r"\b(?:no|without|not|little|hardly any|nor|never) " + _QUALIFIER + _CHANGE_WORD + r"(?: or " + _CHANGE_WORD + r")?\b", "samechg"),
        (r"\b(?:nearly|near|almost|partial(?:ly)?|incomplete(?:ly)?|mostly|largely|partly)(?: complete(?:ly)?)? (?:interval )?(?:resolution|resolved|cleared|clearing)\b", "partres"),
    )
)  # fmt: skip

# A comparison with an earlier study, also where it states no change of a finding.
COMPARATIVE = re.compile(
    r"\b(?:no new|compared (?:to|with)|(?:in|by) comparison (?:to|with)|previous(?:ly)?|prior (?:study|exam\w*|radiograph|film|imaging|ct|chest)|since the|as before"
    r"|interval|again|earlier|last (?:study|exam\w*|radiograph|film)|former(?:ly)?|yesterday)\b"
)

NEGATION = re.compile(
    r"\b(?:no|without|not|negative for|free of|absence of|absent|nor|neither|never|ruled out|cleared of|rather than)\b"
)
NEGATED_AFTER = re.compile(
    r"^[\w ]{0,25}?\b(?:(?:is|are|was|were) (?:absent|excluded|ruled out|not (?:seen|present|identified|evident|visible|detected|demonstrated))"
    r"|(?:has|have) been (?:excluded|ruled out)|not (?:seen|identified|present|evident))\b"
)
NEGATION_ENDS = re.compile(
    r"\b(?:but|however|although|though|while|whereas|which|except|aside from|other than|with)\b|[,;] (?:(?:and|but) )?(?:there (?:is|are)|the|a|an|new|stable|unchanged|small|mild"
    r"|moderate|large|persistent|increas\w+|decreas\w+|heart|lungs?)\b|\band (?:stable|unchanged|persist\w+|improv\w+|worsen\w+)\b|\b(?:is|are|was|were|has|have|remains?|appears?) (?!no\b)"
)
HEDGE = re.compile(
    r"\b(?:possib(?:le|ly)|may|might|could|questionabl[ey]|equivocal|suspected|suspicious|concerning|cannot|can not|can't|not excluded|uncertain"
    r"|versus|vs|perhaps|difficult to exclude|would be hard to exclude|consider)\b"
)
HEDGED_NEGATION = re.compile(
    r"\b(?:cannot|can not|can't|not|difficult to|hard to)(?: be)?(?: entirely| completely| definitely)? (?:excluded?|rule[d]? out)\b"
)

VERB = re.compile(
    r"\b(?:is|are|was|were|be|been|being|has|have|had|appears?|remains?|shows?|seems?|demonstrates?|looks?|becomes?|became|persists?)\b"
)
STRONG_BOUNDARY = re.compile(
    r"\b(?:but|while|whereas|although|though|however|yet|despite|aside from|except for)\b|[,;]? and (?=there (?:is|are|has|have)\b)|[;:]"
)
PRONOUN = re.compile(r"^(?:and )?(?:it|this|these|they|which|both|the former|the latter)\b")
IMPERSONAL = re.compile(
    r"\b(?:there (?:is|are|has|have|was|were)|overall|otherwise|exam(?:ination)?|appearances?(?: of the (?:chest|lungs?))?|chest (?:is|appears))\b"
)
# Said of the chest as a whole where no finding is near: "radiological worsening, with ...", "improvement in appearances".
WHOLE_CHEST = re.compile(r"worsening|progression|deterioration|improvement|regression|stability")
REPORTS = re.compile(r"\b(?:show|demonstrat|reveal|depict)(?:s|es|ed|ing)\b")
_ADJECTIVE = (
    r"(?:left|right|upper|mid|middle|lower|basal|basilar|apical|central|peripheral|perihilar|peri-hilar|patchy|confluent|hazy|diffuse|linear|nodular|reticular"
    r"|interstitial|alveolar|air[- ]?space|ground[- ]glass|focal|multifocal|dense|coalescent)"
)
# "left upper and mid zone", "patchy and confluent": one noun is described.
ADJECTIVES_TOGETHER = re.compile(rf"\b{_ADJECTIVE}(?: lobe| lung| zone)?,? (?:and|or) (?={_ADJECTIVE}\b)")
# "..., the rest of the opacities ...": another subject, no second object.
OTHERS = re.compile(r"^\s*,?\s*(?:and )?the (?:rest|remainder|remaining|others?)\b")
AFTER_CUE_SIDE = re.compile(rf"^(?:[\w-]+ ){{0,3}}?(?:on|at|in) the (?P<side>left|right|{BOTH_SIDES})\b")
COORDINATION = re.compile(r"^\s*(?:,|and|or|,? and|,? or|/|as well as|along with|plus)\s+(?P<rest>[^,;]*)$")
NOUN_PHRASE_WORDS = re.compile(r"^(?:[\w'/-]+ ?){0,6}$")

__all__ = ["CHANGES", "DEVICES", "FINDINGS", "OVERALL", "SEVERITIES", "SIDES", "UNSIDED"]
