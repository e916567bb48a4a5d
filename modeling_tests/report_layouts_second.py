"""A second author's made-up reports with known sections, written without sight of the parser or of the first generator.

Each report is put together from a preamble, a context, a body and a tail, each drawn from many kinds, and then printed in one of many
ways (wrapping, indentation, line ends, spaces, case). What a layout leaves open (such as whether "AP chest compared to ___:" opens a
section) is kept out of `expected`, and the leak check still covers it.
"""

import random
import re
from dataclasses import dataclass, field

SECTIONS = ("indication", "history", "comparison", "findings", "impression")


@dataclass
class MadeReport:
    text: str
    layout: str
    expected: dict
    body: list = field(default_factory=list)  # sentences of the report proper, which no context may hold


@dataclass(frozen=True)
class Words:
    persons: tuple
    complaints: tuple
    questions: tuple
    background: tuple
    findings: tuple
    openings: tuple
    traps: tuple
    inner: tuple
    impressions: tuple
    comparisons: tuple
    titles: tuple
    view_headers: tuple
    advice: tuple
    notices: tuple
    headers: dict


INDICATION = ("INDICATION", "REASON FOR EXAM", "REASON FOR EXAMINATION", "INDICATIONS", "CLINICAL INDICATION", "REASON FOR THE EXAM", "REASON FOR STUDY")
HISTORY = ("HISTORY", "CLINICAL HISTORY", "CLINICAL INFORMATION", "PATIENT HISTORY")
COMPARISON = ("COMPARISON", "COMPARISONS", "COMPARISON STUDY")
FINDINGS = ("FINDINGS", "FINDINGS", "FINDING")
IMPRESSION = ("IMPRESSION", "IMPRESSION", "IMPRESSIONS", "CONCLUSION")
BOTH = ("FINDINGS AND IMPRESSION", "FINDINGS/IMPRESSION", "FINDINGS & IMPRESSION", "IMPRESSION AND FINDINGS")
TECHNIQUE = ("TECHNIQUE", "TECHNIQUE", "VIEWS")
HEADERS = {
    "indication": INDICATION, "history": HISTORY, "comparison": COMPARISON, "findings": FINDINGS, "impression": IMPRESSION, "both": BOTH,
    "technique": TECHNIQUE,
}  # fmt: skip
FIRST = Words(
    persons=("___ year old man", "___-year-old woman", "___F", "___ yo M", "Elderly female", "Patient", "___ year old woman", "A ___-year-old male"),
    complaints=(
        "cough and fever", "shortness of breath", "new oxygen requirement", "chest pain radiating to the back", "history of effusion",
        "AML and neutropenic fever", "CHF, s/p diuresis", "hypoxia, known left pleural effusion", "s/p CABG x 3", "right IJ line placement",
        "altered mental status", "ESRD on HD", "metastatic breast cancer", "h/o COPD p/w dyspnea", "trauma, fall from ladder",
    ),
    questions=(
        "Evaluate for pneumonia.", "Assess for interval change.", "? infiltrate", "r/o pneumothorax.", "Please evaluate for edema or effusion.",
        "Any acute process?", "Eval tube position.", "Question free air.", "Rule out consolidation.", "Assess size of the left effusion.",
        "Please assess for change in right apical pneumothorax after chest tube to water seal.", "Interval change?",
    ),
    background=(
        "Recent CT showed a right lower lobe nodule.", "Known lung cancer with prior lobectomy.", "Now with worsening cough.",
        "Smoker for 30 years.", "Transferred from outside hospital.", "Recently treated for pneumonia.", "On anticoagulation.",
        "Presents after a motor vehicle collision.", "Positive PPD.", "Status post bronchoscopy today.",
    ),
    findings=(
        "The lungs are clear.", "Lungs are well expanded and clear.", "There is no focal consolidation, pleural effusion, or pneumothorax.",
        "Heart size is normal.", "The cardiac silhouette is moderately enlarged.", "Cardiomediastinal contours are stable.",
        "No acute osseous abnormality is identified.", "Mild degenerative changes are seen in the thoracic spine.",
        "A right internal jugular catheter terminates in the mid SVC.", "The endotracheal tube ends 4 cm above the carina.",
        "Small bilateral pleural effusions persist.", "There is mild vascular congestion.", "Low lung volumes accentuate the hilar structures.",
        "Bibasilar opacities likely reflect atelectasis.", "Median sternotomy wires are intact.", "Left-sided pacemaker leads are in standard position.",
        "The aorta is tortuous and calcified.", "Retrocardiac opacity has slightly improved.", "No free air below the right hemidiaphragm.",
        "Hilar contours are unremarkable.", "Surgical clips project over the left axilla.", "Enteric tube courses below the diaphragm, tip not imaged.",
        "Opacity at the left base is new since ___.", "Mediastinal silhouette and pulmonary vasculature are within normal limits.",
        "Interval placement of a left chest tube.", "Unchanged elevation of the right hemidiaphragm.", "Old healed rib fractures are noted on the left.",
        "PICC line has been withdrawn.", "Multiple rounded nodules measure up to 1.5 cm.", "Osseous structures are diffusely demineralized.",
    ),
    openings=(
        "As compared to the previous radiograph, there is no relevant change.", "In comparison with the study of ___, there is little change.",
        "The patient is status post median sternotomy and CABG.", "Comparison is made to the prior study from ___.",
        "Frontal and lateral views of the chest were obtained.", "Single portable upright view of the chest demonstrates low lung volumes.",
        "PA and lateral chest radiographs show clear lungs.", "In comparison to the prior exam, the patient has been extubated.",
        "AP portable upright view of the chest.", "Compared with ___, the left effusion has grown.", "Patient is rotated to the left.",
        "Since ___, there has been interval removal of the feeding tube.", "Upright AP and lateral views of the chest were provided.",
        "Portable AP chest film ___ at 5:12 is submitted.", "No previous images.", "The image is limited by motion.",
    ),
    traps=(
        "There are no findings to suggest active tuberculosis.", "A left thyroid mass makes an impression on the trachea.",
        "Given the history of trauma, a dedicated rib series could be helpful.", "The technique limits the assessment of the bases.",
        "For comparison, the opacity measured 2 cm in ___.", "These findings were discussed with Dr. ___ at 10:40 a.m.",
        "In view of the indication, a lateral view would be useful.", "No findings of recent fracture: the old deformity is unchanged.",
        "By history the line was placed an hour ago.",
    ),
    inner=(
        "LINES AND TUBES: A left PICC ends in the low SVC.", "OTHER: none.", "LUNGS: Clear.", "HEART: Mildly enlarged.",
        "PLEURA: No effusion.", "BONES: No fracture.", "Mediastinum: Not widened.", "SUPPORT DEVICES: Unchanged.", "Upper abdomen: Unremarkable.",
        "Lines/tubes: None.",
    ),
    impressions=(
        "No acute cardiopulmonary process.", "No evidence of pneumonia.", "Mild pulmonary edema, improved.", "Stable left pleural effusion.",
        "Right lower lobe pneumonia.", "Satisfactory position of the endotracheal tube.", "No pneumothorax after line placement.",
        "Worsening bibasilar atelectasis.", "Findings consistent with congestive heart failure.", "Normal chest radiograph.",
        "Increased opacity at the right base could be aspiration.", "No significant interval change.", "Cardiomegaly without edema.",
        "Resolved right upper lobe collapse.",
    ),
    comparisons=(
        "___.", "None.", "Chest radiograph from ___.", "Multiple prior studies, most recent ___.", "CT of the chest ___ and radiograph ___.",
        "Radiographs from ___ through ___", "None available.", "Outside study dated ___ at 14:20.", "Prior exam on ___.",
    ),
    titles=(
        "CHEST (PORTABLE AP)", "PA AND LATERAL CHEST RADIOGRAPHS", "CHEST RADIOGRAPH PERFORMED ON ___", "CHEST, PA AND LATERAL: ___", "AP CHEST, ___",
        "CHEST RADIOGRAPH", "PORTABLE CHEST OF ___", "TYPE OF EXAMINATION: Chest, AP portable single view.", "EXAMINATION: CHEST (PA AND LAT)",
        "EXAM: Chest frontal and lateral views.", "STUDY: Portable chest", "PROCEDURE: CHEST (SINGLE VIEW)", "CHEST TWO VIEWS",
        "CHEST: ___", "DATE OF EXAM: ___",
    ),
    view_headers=(
        "PA AND LATERAL VIEWS OF THE CHEST", "AP VIEW OF THE CHEST", "FRONTAL AND LATERAL CHEST RADIOGRAPHS", "PORTABLE AP CHEST RADIOGRAPH",
        "SINGLE AP VIEW OF THE CHEST", "UPRIGHT PORTABLE CHEST RADIOGRAPH", "AP AND LATERAL VIEWS OF THE CHEST",
    ),
    advice=("Repeat radiograph in 6 weeks is advised.", "Chest CT may be obtained if clinically warranted.", "Short-term follow-up."),
    notices=(
        "The above was telephoned to ___ by ___ on ___ at 9:15 AM, 5 minutes after discovery.", "Dr. ___ paged at 11:02.",
    ),
    headers=HEADERS,
)  # fmt: skip

TECHNIQUES = ("Chest PA and lateral.", "Portable AP upright.", "Single frontal view of the chest.", "Frontal and lateral radiographs of the chest.")
MISSPELT = {
    "INDICATION": "INDICTION", "FINDINGS": "FINDNGS", "IMPRESSION": "IMPRESION", "COMPARISON": "COMPARISION", "HISTORY": "HISTROY",
}  # fmt: skip


class Draft:
    """Paragraphs of a report in order; each is a list of (header, sentences) that are printed without a blank line between."""

    def __init__(self, rng, words, style):
        self.rng, self.words, self.style = rng, words, style
        self.paragraphs, self.expected, self.body = [], {}, []
        self.number, self.loose = 0, set()

    def pick(self, pool, low=1, high=1):
        return self.rng.sample(pool, min(len(pool), self.rng.randint(low, high)))

    def put(self, header, text, join=False):
        (self.paragraphs[-1] if join and self.paragraphs else self.new()).append((header, text))

    def new(self):
        self.paragraphs.append([])
        return self.paragraphs[-1]

    def section(self, name, header, sentences, proper=None, join=False):
        """A section whose text is `sentences`; `name` None leaves it out of what is expected, a tuple counts for several."""
        text = " ".join(sentences)
        for each in (name,) if isinstance(name, str) else name or ():
            self.expected[each] = f"{self.expected[each]} {text}" if each in self.expected else text
        if proper or (proper is None and name not in ("indication", "history", "comparison", None)):
            self.body += sentences
        self.put(header, text, join)

    def more(self, name, sentences):
        """Another paragraph of the section before."""
        self.section(name, None, sentences, proper=True)

    def free(self, sentences, join=False):
        self.body += sentences
        self.loose.add(" ".join(sentences))
        self.put(None, " ".join(sentences), join)

    def name(self, section):
        return self.rng.choice(self.words.headers[section])

    # context ---------------------------------------------------------------------------------------------------------

    def reason(self):
        rng, words = self.rng, self.words
        kind = rng.randrange(6)
        start = f"{rng.choice(words.persons)} with {rng.choice(words.complaints)}"
        if kind == 0:
            return [start + rng.choice((".", ""))]
        if kind == 1:
            return [start + ".", rng.choice(words.questions)]
        if kind == 2:
            return [start + ".", rng.choice(words.background), rng.choice(words.questions)]
        if kind == 3:
            question = rng.choice([q for q in words.questions if q[0].isalpha()])
            return [f"{start}, {question[0].lower()}{question[1:]}"]
        if kind == 4:
            complaint = rng.choice(words.complaints)
            return [complaint[0].upper() + complaint[1:] + ".", rng.choice(words.questions)]
        return [rng.choice(words.questions)]

    # body ------------------------------------------------------------------------------------------------------------

    def describe(self, low=2, high=6, opening=0.5, trap=0.25):
        sentences = self.pick(self.words.findings, low, high)
        if self.rng.random() < trap:
            sentences.insert(self.rng.randint(1, len(sentences)), self.rng.choice(self.words.traps))
        if self.rng.random() < opening:
            sentences.insert(0, self.rng.choice(self.words.openings))
        return sentences

    def conclude(self):
        sentences = self.pick(self.words.impressions, 1, 3)
        if len(sentences) > 1 and self.rng.random() < 0.5:
            mark = self.rng.choice(("{}. ", "{}) ", "{}.  "))
            sentences = [" ".join((mark.format(i + 1) + s).split()) for i, s in enumerate(sentences)]
        return sentences


# preambles -----------------------------------------------------------------------------------------------------------


def pre_final(d):
    d.put(None, "FINAL REPORT")


def pre_final_title(d):
    d.put(None, "FINAL REPORT")
    d.put(None, d.rng.choice(d.words.titles), join=d.rng.random() < 0.5)


def pre_title(d):
    d.put(None, d.rng.choice(d.words.titles))


def pre_none(d):
    pass


def pre_wet(d):
    d.section(None, "WET READ", [f"___ ___ ___ {d.rng.randint(1, 12)}:{d.rng.randint(10, 59)} PM"])
    d.free(d.pick(d.words.impressions, 1, 2), join=True)
    d.put(None, "_" * 78, join=d.rng.random() < 0.7)
    d.put(None, "FINAL REPORT")


def pre_addendum(d):
    d.section(None, "ADDENDUM", d.pick(d.words.impressions, 1, 1), proper=True)
    d.put(None, "_" * 78)
    d.put(None, "FINAL REPORT", join=True)


# contexts ------------------------------------------------------------------------------------------------------------


def ctx_indication(d):
    d.section("indication", d.name("indication"), d.reason())


def ctx_history(d):
    d.section("history", d.name("history"), d.reason())


def ctx_both(d):
    ctx_history(d)
    d.section("indication", d.name("indication"), d.reason(), join=d.rng.random() < 0.3)


def compare(d, join=False):
    d.section("comparison", d.name("comparison"), [d.rng.choice(d.words.comparisons)], join=join)


def technique(d, join=False):
    d.section(None, d.name("technique"), [d.rng.choice(TECHNIQUES)], join=join)


def ctx_full(d):
    ctx_indication(d)
    technique(d)
    compare(d)


def ctx_tight(d):
    ctx_indication(d)
    compare(d, join=True)
    if d.rng.random() < 0.5:
        technique(d, join=True)


def ctx_comparison_first(d):
    compare(d)
    d.section("indication", d.name("indication"), d.reason(), join=d.rng.random() < 0.4)


def ctx_comparison_only(d):
    compare(d)


def ctx_none(d):
    pass


# bodies --------------------------------------------------------------------------------------------------------------


def body_usual(d):
    d.section("findings", d.name("findings"), d.describe())
    d.section("impression", d.name("impression"), d.conclude())


def body_paragraphs(d):
    d.section("findings", d.name("findings"), d.describe(1, 3))
    d.more("findings", d.describe(1, 3, 0, 0.3))
    if d.rng.random() < 0.4:
        d.more("findings", d.describe(1, 2, 0, 0))
    d.section("impression", d.name("impression"), d.conclude())
    if d.rng.random() < 0.4:
        d.more("impression", d.pick(d.words.findings, 1, 2))


def body_inner_headers(d):
    d.section("findings", "FINDINGS", d.describe(0, 2, 0.5, 0) or ["The lungs are clear."])
    for each in d.pick(d.words.inner, 2, 4):
        d.section("findings", None, [each], proper=True, join=d.rng.random() < 0.7)
    d.section("impression", "IMPRESSION", d.conclude())


def body_inner_only(d):
    inner = d.pick(d.words.inner, 2, 4)
    d.section("findings", "FINDINGS", [inner[0]])
    for each in inner[1:]:
        d.section("findings", None, [each], proper=True, join=True)
    d.section("impression", d.name("impression"), d.conclude())


def body_combined(d):
    d.section(("findings", "impression"), d.name("both"), d.describe())
    if d.rng.random() < 0.3:
        d.more(("findings", "impression"), d.conclude())


def body_free_impression(d):
    d.free(d.describe(opening=0.8))
    if d.rng.random() < 0.4:
        d.free(d.describe(1, 2, 0))
    d.section("impression", d.name("impression"), d.conclude())


def body_free(d):
    d.free(d.describe(opening=0.9))
    if d.rng.random() < 0.5:
        d.free(d.describe(1, 3, 0.2))


def body_glued(d):
    """No blank line between the context and the free text."""
    openings = [o for o in d.words.openings[:2] + d.words.openings[4:9] if not o.startswith("Status post")]  # a clinician's words too
    d.free([d.rng.choice(openings), *d.pick(d.words.findings, 1, 4)], join=True)
    if d.rng.random() < 0.6:
        d.section("impression", "IMPRESSION", d.conclude())


def body_impression_only(d):
    d.section("impression", d.name("impression"), d.conclude())


def body_compared_impression(d):
    d.section("impression", "IMPRESSION", [d.rng.choice(("AP chest compared to ___:", "PA and lateral chest compared to ___ through ___:"))])
    d.more("impression", d.pick(d.words.findings, 2, 4))


def body_findings_only(d):
    d.section("findings", "FINDINGS", d.describe())


def body_views(d):
    d.section("findings", d.rng.choice(d.words.view_headers), d.describe(2, 5, 0, 0.3))
    d.section("impression", d.name("impression"), d.conclude())


def body_title_then_impression(d):
    d.put(None, d.rng.choice(d.words.titles))
    d.section("impression", "IMPRESSION", d.conclude())


def body_empty_impression(d):
    d.section("findings", "FINDINGS", d.describe())
    d.section(None, "IMPRESSION", ["___."])


def body_comparison_after(d):
    d.section("findings", "FINDINGS", d.describe())
    if "comparison" not in d.expected:
        compare(d)
    d.section("impression", "IMPRESSION", d.conclude())


def body_impression_first(d):
    d.section("impression", d.name("impression"), d.conclude())
    d.section("findings", "FINDINGS", d.describe())


# tails ---------------------------------------------------------------------------------------------------------------


def tail_none(d):
    pass


def tail_notice(d):
    d.section(None, d.rng.choice(("NOTIFICATION", "NOTIFICATIONS")), [d.rng.choice(d.words.notices)])


def tail_advice(d):
    header = d.rng.choice(("RECOMMENDATION", "RECOMMENDATIONS", "RECOMMENDATION(S)"))
    d.section(None, header, [d.rng.choice(d.words.advice)], join=d.rng.random() < 0.3)


def tail_addendum(d):
    d.section(None, "ADDENDUM", d.pick(d.words.findings, 1, 2), proper=True)


def tail_signature(d):
    d.put(
        None,
        d.rng.choice(
            ("Electronically signed by: ___, MD", "Dictated by: ___", "SIGNED BY: ___ ___, M.D.", "APPROVED BY: DR. ___", "Reported by: Dr. ___")
        ),
    )


PREAMBLES = (pre_final, pre_final, pre_final_title, pre_final_title, pre_title, pre_none, pre_wet, pre_addendum)
CONTEXTS = (ctx_indication, ctx_history, ctx_both, ctx_full, ctx_full, ctx_tight, ctx_comparison_first, ctx_comparison_only, ctx_none)
BODIES = (
    body_usual, body_usual, body_paragraphs, body_inner_headers, body_inner_only, body_combined, body_free_impression, body_free, body_glued,
    body_impression_only, body_compared_impression, body_findings_only, body_views, body_title_then_impression, body_empty_impression,
    body_comparison_after, body_impression_first,
)  # fmt: skip
TAILS = (tail_none, tail_none, tail_none, tail_notice, tail_advice, tail_addendum, tail_signature)


# second batch: other words, other parts ------------------------------------------------------------------------------

SECOND = Words(
    persons=("A ___-year-old woman", "This is a ___-year-old man", "Male", "___-year-old patient", "Woman, ___ years,", "___ M", "Infant", "Pt"),
    complaints=(
        "hemoptysis", "leukocytosis", "pleuritic chest pain", "sepsis of unknown source", "a history of sarcoidosis", "weakness", "tachypnea",
        "new Dobhoff tube", "left chest tube removal this morning", "cirrhosis and increasing O2 requirement", "atrial fibrillation with RVR",
        "syncope", "multiple myeloma", "HIV and night sweats", "esophageal perforation status post stent", "a cardiac arrest", "lung nodules",
    ),
    questions=(
        "Assess for CHF.", "Look for infiltrate.", "Evaluate lines.", "Is there pneumonia?", "Confirm NG tube placement.", "Pneumothorax?",
        "Please comment on any change in the pleural effusions.", "Check for volume overload.", "eval for ptx", "Concern for aspiration.",
        "Pre-operative evaluation.", "Follow up right lower lobe opacity seen last week.", "Question widened mediastinum.", "Query fracture.",
    ),
    background=(
        "Intubated last night.", "Had thoracentesis yesterday.", "Chest tube was placed on ___.", "Febrile to 102.3.", "WBC 18.4.", "Immunosuppressed.",
        "Echo with EF of 20%.", "Symptoms for two weeks.", "No fever.", "Lungs with crackles at both bases on exam.", "History of TB exposure.",
        "Heart failure admission in ___.", "Abnormal lung exam.", "Outside CT reported a left hilar mass.",
    ),
    findings=(
        "Moderate cardiomegaly is unchanged.", "Dual-lumen dialysis catheter ends in the right atrium.", "Tracheostomy tube in standard placement.",
        "Dense consolidation in the lingula persists.", "Heterogeneous opacification in the right lower lung is worse.", "Right pleural drain is still in place.",
        "Nasogastric tube passes into the stomach and out of view.", "Trace fluid is seen in the minor fissure.", "Aortic knob calcification is noted.",
        "Emphysema is severe.", "Lines are in place.", "Kyphosis limits evaluation of the apices.", "Vascular engorgement has resolved.",
        "Upper lungs are relatively clear.", "An azygos fissure is incidentally seen.", "No rib fracture is visible.", "Lung volumes are low.",
        "Blunting of the left costophrenic angle suggests a small effusion.", "Pulmonary vessels are not engorged.", "Hiatal hernia is moderate in size.",
        "Tip of the Swan-Ganz catheter projects over the main pulmonary artery.", "Pneumomediastinum is decreasing.", "Left lower lobe is still collapsed.",
        "Mild to moderate interstitial edema is present.", "Breast implants are noted.", "Subcutaneous air in the neck is less.", "Bones are intact.",
        "Cervical fusion hardware is partly imaged.", "Two views show no pneumonia.", "Nodular density over the fifth anterior rib may be a nipple shadow.",
    ),
    openings=(
        "Comparison to ___.", "In comparison with the earlier study of this date, the ET tube has been pulled back.", "As compared to the previous radiograph, the ventilation has improved.",
        "Semi-upright portable view of the chest provided.", "One portable AP view of the chest.", "Exam is limited by patient rotation.",
        "The patient is status post right upper lobectomy.", "The patient has taken a better inspiration.", "Two frontal images of the chest were reviewed.",
        "When compared to ___, there is a new small right effusion.", "Assessment of the bases is limited by overlying soft tissue.",
        "PA and lateral views of the chest provided demonstrate no focal consolidation.", "Redemonstrated is a large hiatal hernia.",
        "Right-sided Port-A-Cath tip terminates in the low SVC.", "Evaluation is limited.", "The previously seen right effusion is no longer visible.",
    ),
    traps=(
        "Clinical correlation is advised given the stated indication.", "No prior studies are available for comparison.", "Recommend comparison with outside images.",
        "The examination is otherwise unremarkable.", "No other findings.", "Dr. ___ was notified at 15:05 on ___.", "Conclusion of the drainage was uneventful.",
        "Technique is suboptimal.", "See above remarks on the lines.", "Impression upon the esophagus by the arch is usual.",
        "Please note that the history given was chest pain.", "These results were called to the ICU at 4:10 p.m.", "Wet clothes overlie the neck.",
    ),
    inner=(
        "TUBES/LINES: ET tube 5 cm above the carina.", "CARDIOMEDIASTINAL: Stable.", "LUNGS AND PLEURA: No change.", "Bones: Osteopenia.",
        "Soft tissues: Normal.", "AIRWAYS: Patent.", "DEVICES: AICD.", "Lungs/pleura: Small effusions.", "UPPER ABDOMEN: Gastric distention.", "HILA: Prominent.",
        "Heart size: Upper normal.", "CHEST WALL: Surgical clips.",
    ),
    impressions=(
        "Mild cardiomegaly.", "Limited study with no definite pneumonia.", "Left lower lobe collapse, unchanged.", "ET tube in good position.",
        "Small right apical pneumothorax.", "Multifocal pneumonia.", "Appropriately positioned PICC.", "No radiographic evidence of tuberculosis.",
        "Findings as above.", "New opacity in the lingula, concerning for pneumonia.", "Pulmonary vascular congestion.", "Clear lungs.",
        "Dobhoff tube in the stomach.", "Interval resolution of edema.", "Enlarging mass in the left upper lobe.",
    ),
    comparisons=(
        "Comparison is made with chest radiograph ___.", "Chest x-ray ___ at 05:30.", "Chest radiographs ___, ___, and ___.", "No prior.", "Prior chest CT of ___.",
        "Same-day radiograph at 4:32 a.m.", "PA and lateral chest radiograph of ___.", "Not available", "___ chest radiograph, ___ CT torso", "CXR ___.",
    ),
    titles=(
        "SINGLE FRONTAL VIEW OF THE CHEST", "PORTABLE AP CHEST FILM ___ AT 5:20 A.M.", "EXAMINATION:  CHEST (PORTABLE AP) PORT. LINE PLACEMENT", "CHEST, SINGLE AP FILM",
        "CHEST X-RAY DATED ___", "RADIOGRAPHS OF THE CHEST", "STUDY:  PA and lateral chest radiograph.", "CHEST PORT. LINE PLACEMENT", "TWO-VIEW CHEST",
        "DATE: ___", "AP AND LATERAL CHEST FILMS, ___", "CHEST, TWO VIEWS, ___", "EXAM: CHEST RADIOGRAPHS", "PORTABLE CHEST, ___", "CXR",
    ),
    view_headers=(
        "PORTABLE CHEST", "CHEST, PA AND LATERAL", "CHEST, SINGLE AP PORTABLE VIEW", "TWO VIEWS OF THE CHEST", "SUPINE PORTABLE CHEST RADIOGRAPH",
        "PORTABLE SEMI-UPRIGHT RADIOGRAPH OF THE CHEST", "AP UPRIGHT AND LATERAL VIEWS OF THE CHEST", "FRONTAL VIEW OF THE CHEST",
    ),
    advice=("Follow-up to resolution.", "Advance the tube by 5 cm.", "Non-emergent chest CT is recommended.", "Repeat PA view with nipple markers."),
    notices=(
        "Findings were discussed with Dr. ___ by Dr. ___ by telephone at 3:12 p.m. on ___.", "The impression was entered by ___ into the dashboard.",
    ),
    headers=HEADERS,
)  # fmt: skip


def pre_wet_two(d):
    """A preliminary read with lines of its own, closed by a rule."""
    d.put(d.rng.choice(("PRELIMINARY REPORT", "PFI", "WET READ VERSION #1", "PROVISIONAL FINDINGS IMPRESSION (PFI)")), "___ ___ 7:12 AM")
    d.free(d.describe(1, 2, 0, 0), join=True)
    d.put(None, "_" * 70)
    d.put(None, "FINAL REPORT")
    d.put(None, d.rng.choice(d.words.titles))


def pre_exam_date(d):
    d.put(None, "FINAL REPORT")
    d.put("EXAMINATION", d.rng.choice(("CHEST (PA AND LAT)", "Chest radiograph", "CHEST (PORTABLE AP)")))
    d.put("DATE", "___", join=True)


def ctx_examination(d):
    d.put("EXAMINATION", d.rng.choice(("Chest, PA and lateral", "CHEST (SINGLE VIEW)", "Portable chest radiograph")))
    ctx_full(d)


def ctx_two_reasons(d):
    """A request that is repeated in the report: both count, in order."""
    d.section("indication", "REASON FOR THIS EXAMINATION", d.reason())
    d.section("indication", "INDICATION", d.reason())


def ctx_everything(d):
    technique(d)
    ctx_history(d)
    compare(d)
    d.section("indication", d.name("indication"), d.reason())


def ctx_technique_comparison(d):
    technique(d)
    compare(d, join=d.rng.random() < 0.5)


def ctx_empty_indication(d):
    d.put("INDICATION", "")
    compare(d, join=True)


def ctx_deidentified(d):
    d.section("indication", d.name("indication"), ["___"])


def body_free_between(d):
    """Free text before a findings header belongs to nobody."""
    d.free([d.rng.choice(d.words.openings)])
    body_usual(d)


def body_findings_title(d):
    """A title of views at the start of the findings is part of them."""
    view = d.rng.choice(d.words.view_headers)
    d.section("findings", "FINDINGS", [f"{view}:", *d.describe(2, 3, 0, 0)])
    d.section("impression", "IMPRESSION", d.conclude())


def body_list_impression(d):
    d.section("findings", "FINDINGS", d.describe(2, 4))
    sentences = d.pick(d.words.impressions, 2, 4)
    d.section("impression", d.name("impression"), ["1. " + sentences[0]])
    for number, sentence in enumerate(sentences[1:], 2):
        d.section("impression", None, [f"{number}. {sentence}"], proper=True, join=d.rng.random() < 0.8)


def body_wrapped_inner(d):
    d.section("findings", "FINDINGS", d.describe(1, 2))
    for each in d.pick(d.words.inner, 1, 3):
        d.section("findings", None, [each, *d.pick(d.words.findings, 0, 2)], proper=True)
    d.section("impression", "IMPRESSION", d.conclude())


def body_two_findings(d):
    d.section("findings", "FINDINGS", d.describe(1, 3))
    d.section("impression", "IMPRESSION", d.conclude())
    d.section("findings", "FINDINGS", d.describe(1, 3))


def body_empty_findings(d):
    d.put("FINDINGS", d.rng.choice(("___", "___.", "")))
    d.section("impression", "IMPRESSION", d.conclude())


def body_glued_plain(d):
    """Free text right behind the context's line that begins like any finding."""
    claims = [f for f in d.words.findings if re.search(r" (?:is|are|has|have) ", f)]
    d.free([d.rng.choice(claims), *d.pick(d.words.findings, 1, 3)], join=True)
    d.section("impression", "IMPRESSION", d.conclude())


def tail_both(d):
    tail_advice(d)
    tail_notice(d)


def tail_radiologist(d):
    d.put(d.rng.choice(("RADIOLOGIST", "ATTENDING RADIOLOGIST", "RESIDENT")), "___, MD")


SECOND_PARTS = (
    (pre_final, pre_final_title, pre_title, pre_none, pre_wet_two, pre_exam_date),
    (ctx_examination, ctx_two_reasons, ctx_everything, ctx_technique_comparison, ctx_empty_indication, ctx_deidentified, ctx_indication,
     ctx_full, ctx_tight, ctx_comparison_first),
    (body_free_between, body_findings_title, body_list_impression, body_wrapped_inner, body_two_findings, body_empty_findings, body_glued_plain,
     body_free, body_free_impression, body_usual, body_views, body_combined, body_compared_impression),
    (tail_none, tail_none, tail_both, tail_radiologist, tail_signature, tail_notice, tail_addendum),
)  # fmt: skip


# third batch -----------------------------------------------------------------------------------------------------------

THIRD = Words(
    persons=("___ year old man", "History: ___F", "___ y/o woman", "Young man", "The patient is a ___-year-old female", "___ year old patient", "Neonate", "___ yo F"),
    complaints=(
        "dyspnea on exertion", "fevers, rigors", "subarachnoid hemorrhage", "hepatic encephalopathy", "diabetic ketoacidosis", "pancreatitis",
        "known pleural effusion", "DKA // infection?", "respiratory failure", "left pneumothorax", "substernal chest discomfort", "HTN, HLD, CAD",
        "malaise and weight loss", "pulmonary edema on prior film", "a new murmur", "tube feeds", "VATS wedge resection", "productive cough x 5 days",
    ),
    questions=(
        "Evaluate cardiopulmonary process.", "Please eval for CHF.", "Effusion?", "Evaluate for resolution of pneumonia.", "New infiltrate?", "PICC placement.",
        "Tube placement check.", "Evaluate ETT.", "Routine.", "Post-procedure film.", "Is the pneumothorax larger?", "Line position?", "Please check Dobhoff tip.",
        "Evaluate heart size.", "Preoperative clearance.", "Assess lungs.", "Infectious workup.",
    ),
    background=(
        "Afebrile.", "Self-extubated overnight.", "Recent travel.", "Central line was attempted on the right.", "CT chest last month was normal.", "Fell yesterday.",
        "Prior TB.", "Bilateral crackles.", "Decreased breath sounds on the left.", "Oxygen saturation 88%.", "Lupus on prednisone.", "Liver transplant in ___.",
    ),
    findings=(
        "Lungs appear hyperinflated.", "Right-sided central venous line ends at the cavoatrial junction.", "Diffuse reticular markings are chronic.",
        "Left pleural thickening is longstanding.", "Patchy opacity in the right middle lobe.", "Cardiac size is top normal.", "Ground-glass opacities are more extensive.",
        "Compression deformity of a mid-thoracic vertebral body is old.", "Spinal stimulator leads are seen.", "The stomach is distended with gas.",
        "Biapical scarring is symmetric.", "Nodule in the left mid lung measures 8 mm.", "Calcified granuloma in the right apex.", "Fluid in the fissures.",
        "Costophrenic sulci are sharp.", "Prominence of the right hilum is unchanged.", "Drain has been removed.", "Mild volume loss on the left.",
        "Both hemidiaphragms are well seen.", "Tortuosity of the thoracic aorta.", "Skin fold over the right chest mimics a pneumothorax.",
        "Coronary stent is noted.", "Overlying monitor leads.", "Shoulder arthroplasty on the right.", "Lingular atelectasis has cleared.", "IVC filter is partly seen.",
        "Airspace disease is nearly symmetric.", "Normal heart, lungs, hila, mediastinum and pleural surfaces.", "Gas under the diaphragm is expected after surgery.",
    ),
    openings=(
        "Status post left upper lobectomy with volume loss.", "Evaluation of the bases is limited by habitus.", "As compared to the previous image, the patient was intubated.",
        "Again seen is a right basal opacity.", "In comparison with the study of ___, the monitoring devices have been removed.", "Portable AP chest radiograph, ___.",
        "Two views of the chest show hyperinflation.", "Heart size and mediastinum are stable.", "Compared to prior chest radiographs since ___.",
        "The patient is status post CABG.", "Comparison to the previous radiograph of yesterday.", "Interval extubation.", "An AP view at 05:40 is compared to ___.",
        "Rotated positioning.", "Tip of the nasogastric tube is in the fundus.", "There has been no change.", "ET tube ends 3 cm from the carina.",
    ),
    traps=(
        "History of lobectomy explains the volume loss.", "Findings suggest mild edema.", "Impression of a skin fold was considered.", "Comparison shows gradual improvement.",
        "Indication of chronic disease is the barrel chest.", "Findings were conveyed at 11:45.", "Addendum to the earlier note is not needed.",
        "Recommendation was given on ___ at 07:30.", "The ratio is 1:2.", "Comparison with CT would help.", "Wet read was concordant.",
    ),
    inner=(
        "LINES: Port.", "TUBES: None.", "BONY THORAX: Intact.", "Pleural spaces: Clear.", "CARDIAC SILHOUETTE: Enlarged.", "VASCULATURE: Cephalized.", "OTHER FINDINGS: None.",
        "LUNG VOLUMES: Low.", "Osseous structures: No acute abnormality.", "Hardware: Spinal rods.", "PNEUMOTHORAX: None.", "EFFUSION: Small, left.", "MISC: none.",
    ),
    impressions=(
        "No change.", "Hyperinflation without pneumonia.", "Pneumonia in the middle lobe.", "As above.", "Moderate effusions, larger.", "Line ends at the cavoatrial junction.",
        "Edema has cleared.", "No displaced rib fracture.", "Possible early pneumonia, follow up if clinically indicated.", "Chronic changes only.", "Tube should be advanced.",
        "Unremarkable chest.", "Suspected nodule; see recommendation.",
    ),
    comparisons=(
        "Chest radiographs since ___, most recently ___.", "Prior radiograph, ___, 08:12.", "___ and ___", "Comparison made to ___.", "Chest CTA ___.", "Priors dating back to ___.",
        "Chest radiograph, ___ at 3 p.m.", "No relevant comparison.", "Correlation with CT ___.", "Not applicable.", "Scout of CT from ___; radiograph from ___.",
    ),
    titles=(
        "AP CHEST, 5:02 A.M. ON ___", "CHEST RADIOGRAPH, 12:30 P.M.", "CHEST X-RAY AT 10:15", "PA AND LATERAL CHEST ON ___", "CHEST (AP AND LAT)", "Chest, portable AP.",
        "PATIENT NAME: ___", "MRN: ___", "ACCESSION NUMBER: ___", "DEPARTMENT OF RADIOLOGY", "Chest radiograph, two views", "PORTABLE UPRIGHT CHEST, ___, 07:15 HOURS",
        "EXAMINATION: DX CHEST PORT LINE/TUBE PLCMT 1 EXAM", "EXAM TYPE: CHEST (PRE-OP PA AND LAT)", "RADIOGRAPHIC EXAMINATION OF THE CHEST",
    ),
    view_headers=(
        "UPRIGHT PA AND LATERAL VIEWS OF THE CHEST", "CHEST, AP PORTABLE", "SINGLE PORTABLE CHEST RADIOGRAPH", "ONE VIEW OF THE CHEST", "CHEST, TWO VIEWS",
        "BEDSIDE AP RADIOGRAPH OF THE CHEST", "PA AND LATERAL CHEST", "FRONTAL AND LATERAL VIEWS, CHEST",
    ),
    advice=("CT in 3 months.", "Withdraw the tube by 2 cm.", "Follow-up radiographs are recommended to document resolution."),
    notices=("Dr. ___ was informed at 16:20.", "Discussed with the house officer on ___ at 8:05 a.m.", "Emailed to the ED QA nurses."),
    headers={
        "indication": ("INDICATION", "REASON FOR THE EXAMINATION", "INDICATION FOR STUDY", "INDICATION FOR EXAM", "INDICATION(S)", "REASON FOR EXAMINATION"),
        "history": ("HISTORY", "CLINICAL DATA", "PERTINENT HISTORY", "BRIEF HISTORY", "CLINICAL HISTORY", "CLINICAL INFORMATION"),
        "comparison": ("COMPARISON", "COMPARISON(S)", "COMPARISON EXAM", "COMPARISON RADIOGRAPHS", "PRIOR STUDIES", "COMPARISON FILM"),
        "findings": ("FINDINGS", "FINDING(S)", "FINDINGS"), "impression": ("IMPRESSION", "IMPRESSION(S)", "CONCLUSIONS", "IMPRESSION AND RECOMMENDATION"),
        "both": ("FINDINGS AND IMPRESSION", "FINDINGS, IMPRESSION", "FINDINGS/IMPRESSIONS", "FINDINGS AND CONCLUSION"),
        "technique": ("TECHNIQUE", "IMAGING TECHNIQUE", "PROJECTIONS"),
    },
)  # fmt: skip


def pre_record(d):
    for header in d.pick(("PATIENT NAME", "MRN", "ACCESSION NUMBER", "DOB", "REFERRING PHYSICIAN"), 2, 4):
        d.put(header, "___", join=bool(d.paragraphs))
    if d.rng.random() < 0.6:
        d.put(None, "FINAL REPORT")


def pre_two_titles(d):
    for title in d.pick(d.words.titles, 2, 2):
        d.put(None, title, join=bool(d.paragraphs) and d.rng.random() < 0.6)


def ctx_slashes(d):
    """`___ year old man with cough  // eval for pneumonia`, as an order form prints it."""
    reason = f"{d.rng.choice([p for p in d.words.persons if ':' not in p])} with {d.rng.choice(d.words.complaints)} // {d.rng.choice(d.words.questions)}"
    d.section("indication", "INDICATION", [reason])
    if d.rng.random() < 0.7:
        technique(d)
        compare(d)


def ctx_terse(d):
    """A word or two that a report could begin with as well."""
    word = d.rng.choice((
        "Pleural effusion.", "Lung cancer.", "Interval change.", "Pneumothorax.", "Cardiac surgery.", "Chest tube removal", "Normal pregnancy.", "Effusions.", "Line.",
        "Right-sided chest tube.", "Heart transplant.", "Lung nodule.", "Edema", "Tube placement.", "Small pneumothorax, follow up.", "Rib pain.",
    ))  # fmt: skip
    name = d.rng.choice(("indication", "history"))
    d.section(name, d.name(name), [word])
    if d.rng.random() < 0.5:
        compare(d, join=d.rng.random() < 0.5)


def ctx_history_after(d):
    compare(d)
    technique(d)
    ctx_history(d)


def body_trap_paragraphs(d):
    """Each paragraph of the findings begins with a word that is also a header."""
    d.section("findings", d.name("findings"), d.describe(1, 2))
    for trap in d.pick(d.words.traps, 1, 2):
        d.more("findings", [trap, *d.pick(d.words.findings, 0, 2)])
    d.section("impression", d.name("impression"), d.conclude())


def body_free_traps(d):
    d.free([d.rng.choice(d.words.openings), d.rng.choice(d.words.traps)])
    d.free(d.pick(d.words.findings, 1, 2) + [d.rng.choice(d.words.traps)])
    d.section("impression", d.name("impression"), d.conclude())


def body_numbered_findings(d):
    items = [f"{i}. {each}" for i, each in enumerate(d.pick(d.words.inner, 2, 4), 1)]
    d.section("findings", "FINDINGS", [items[0]])
    for item in items[1:]:
        d.section("findings", None, [item], proper=True, join=True)
    d.section("impression", d.name("impression"), d.conclude())


def body_late_wet_read(d):
    body_usual(d)
    d.section(None, d.rng.choice(("WET READ", "PRELIMINARY READ")), d.pick(d.words.impressions, 1, 2), proper=True)


def body_advice_between(d):
    d.section("impression", "IMPRESSION", d.conclude())
    tail_advice(d)
    d.section("findings", "FINDINGS", d.describe(1, 3))


def body_impression_then_paragraph(d):
    d.free(d.describe(1, 2))
    d.section("impression", d.name("impression"), d.conclude())
    d.more("impression", ["The rest is unchanged.", *d.pick(d.words.findings, 0, 1)])


THIRD_PARTS = (
    (pre_final, pre_final_title, pre_record, pre_two_titles, pre_none, pre_wet, pre_exam_date),
    (ctx_slashes, ctx_slashes, ctx_terse, ctx_terse, ctx_history_after, ctx_full, ctx_tight, ctx_both, ctx_examination, ctx_none, ctx_comparison_first),
    (body_trap_paragraphs, body_free_traps, body_numbered_findings, body_late_wet_read, body_advice_between, body_impression_then_paragraph, body_free,
     body_usual, body_views, body_combined, body_findings_title, body_glued, body_free_impression, body_inner_headers),
    (tail_none, tail_both, tail_signature, tail_addendum, tail_radiologist),
)  # fmt: skip


# fourth batch ----------------------------------------------------------------------------------------------------------

FOURTH = Words(
    persons=("___ w/ hx of stroke", "___-year-old gentleman", "Older man", "Young woman", "___ F", "Homeless man", "___-year-old transplant recipient", "Resident of a nursing home"),
    complaints=(
        "wheezing", "c/o chest tightness", "rib pain after assault", "urosepsis", "increased work of breathing", "new crackles", "low grade temp", "a PICC", "bacteremia",
        "GI bleed, intubated for airway protection", "post-op day 2 from esophagectomy", "bilateral effusions on CT", "known emphysema", "NSTEMI", "failure to thrive",
        "desaturation to 80s", "mediastinal lymphadenopathy", "lung transplant", "recurrent aspiration",
    ),
    questions=(
        "Cause of symptoms?", "Evaluate for acute cardiopulmonary abnormality.", "Any evidence of infection?", "? CHF vs pneumonia", "Reassess after diuresis.", "Assess OGT position.",
        "Monitor pneumothorax.", "Evaluate progression.", "Has the effusion changed?", "Please perform PA and lateral.", "Needs clearance for MRI.", "To assess lead placement.",
        "Is there free air?", "Concern for pulmonary edema.", "Check ICD leads.", "Screening.", "Assess the mediastinum.", "Rule out TB.",
    ),
    background=(
        "Never smoked.", "Blood cultures grew MRSA.", "Bronch this afternoon.", "Chemo last week.", "Normal white count.", "Chest tubes to suction.", "Remote asbestos exposure.",
        "Worse since Tuesday.", "Has been coughing for a month.", "Lungs clear to auscultation.", "EKG was unchanged.", "Denies trauma.", "Left chest tube pulled today.", "No prior surgery.",
    ),
    findings=(
        "ET tube is 6 cm from the carina and should be advanced.", "Mediastinal drains are out.", "Bullous change at both apices.", "Pleural plaques are calcified.", "Left base is better aerated.",
        "Cardiac pacer wires end in the right atrium and ventricle.", "Vague density in the right suprahilar region.", "Feeding tube loops in the stomach.", "Pectus deformity.",
        "Right middle lobe scarring.", "Sharp costophrenic angles.", "Extensive subcutaneous emphysema limits the study.", "Faint opacity at the periphery of the left lung.",
        "The tip of the catheter cannot be seen.", "Central vessels are ill defined.", "Thickening of the right paratracheal stripe.", "Trachea is midline.", "Scoliosis is mild.",
        "Right hemithorax is opaque.", "Air-fluid level behind the heart.", "Loculated fluid tracks along the lateral chest wall.", "Gallstones are noted.", "A cavity in the left apex has thinner walls.",
        "Asymmetric edema favors the right.", "Ribs are intact as far as seen.", "Clips in the right upper quadrant.", "Bowel gas is normal.", "Valve prosthesis is noted.", "Lung markings are coarse.",
    ),
    openings=(
        "Comparison study of ___ is reviewed.", "In comparison with ___, the opacities have progressed.", "There is little overall change.", "No previous chest films.",
        "Portable supine chest film demonstrates the lines as before.", "AP single view of the chest has been obtained.", "PA and lateral chest compared to ___.", "Two portable views of the chest were obtained at 3 a.m.",
        "As compared to the prior exam, lung volumes have increased.", "Minimal change since yesterday.", "The heart is not enlarged.", "Once again, the right lung is opaque.", "Patient has been extubated.",
        "Large right pneumothorax.", "Clear lungs.", "Unchanged.", "A single frontal image shows the swallowed coin.",
    ),
    traps=(
        "The report of the CT is awaited.", "Compared to this, the left is normal.", "Signed consent is not needed.", "Views are slightly rotated.", "Findings are those of edema.",
        "Indications of prior surgery are clips.", "Reading room staff were told at 18:20.", "Impressions of the ribs on the lung are normal.", "Histories of this kind are common.",
        "Recommendations as before.", "Study is limited.", "Exam otherwise unchanged.", "Plan per team.", "Date of prior is ___.", "Conclusions are limited by motion.",
    ),
    inner=(
        "MEDICAL DEVICES: ICD.", "HEART AND MEDIASTINUM: Normal.", "LEFT LUNG: Clear.", "RIGHT LUNG: Basal atelectasis.", "PLEURAE: Thickened.", "Diaphragm: Elevated on the right.",
        "THORACIC CAGE: Intact.", "Aorta: Ectatic.", "NECK: No air.", "ET TUBE: 4 cm above the carina.", "Pulmonary vasculature: Normal.", "INCIDENTAL: Cholecystectomy clips.", "ABDOMEN: No free air.",
    ),
    impressions=(
        "See above.", "Lobar pneumonia.", "Worsened congestive failure.", "Stable chest.", "No evident complication of line placement.", "Right mainstem intubation.", "Probable atelectasis.",
        "Essentially normal study.", "Persistent apical pneumothorax.", "New left effusion.", "Nodules, possibly metastatic.", "Pneumoperitoneum, expected.", "Old granulomatous disease.",
    ),
    comparisons=(
        "Prior.", "___, and CT ___.", "Chest films of ___ and ___.", "Studies from ___ to ___.", "Most recent chest x-ray, ___.", "Comparison was made with the prior study.", "Portable chest ___ at 2:10 a.m.",
        "Outside hospital radiograph.", "Earlier today.", "No comparison studies.", "Two prior radiographs, the last ___.", "None seen.",
    ),
    titles=(
        "RADIOLOGY REPORT", "PORTABLE CHEST X-RAY REPORT", "AP PORTABLE CHEST, ___ AT 06:15", "CHEST PA & LAT", "CHEST X-RAY, PA AND LATERAL", "Portable chest x-ray", "SUPINE CHEST", "TWO VIEW CHEST ___",
        "EXAM: XR CHEST 1 VIEW", "EXAMINATION: XR CHEST AP PORTABLE", "STUDY DATE: ___", "___ MEDICAL CENTER", "CHEST FILM", "PROCEDURE: X-RAY CHEST", "EXAM DATE: ___",
    ),
    view_headers=(
        "CHEST X-RAY, PA AND LATERAL", "PORTABLE AP VIEW OF THE CHEST", "CHEST RADIOGRAPH, TWO VIEWS", "AP SUPINE CHEST", "PA AND LATERAL CHEST X-RAY", "CHEST (PORTABLE AP)", "SINGLE FRONTAL CHEST RADIOGRAPH",
    ),
    advice=("Shallow oblique views.", "Clinical follow-up is suggested.", "PA and lateral when feasible."),
    notices=("Paged to ___ at 7:10 p.m.", "The ED was called with this at 02:15.", "Wet read was given to the team."),
    headers={
        "indication": ("INDICATION", "REASON", "CLINICAL QUESTION", "REASON FOR CHEST X-RAY", "STUDY INDICATION", "REASON FOR EXAM"),
        "history": ("HISTORY", "CLINICAL HX", "CLINICAL DETAILS", "HISTORY OF PRESENT ILLNESS", "PATIENT HISTORY", "RELEVANT HISTORY"),
        "comparison": ("COMPARISON", "PRIOR STUDY", "COMPARISON DATE", "COMPARISON STUDIES", "COMPARISON IMAGES", "PRIOR EXAM"),
        "findings": ("FINDINGS", "CHEST FINDINGS", "RADIOGRAPHIC FINDINGS", "FINDINGS"), "impression": ("IMPRESSION", "SUMMARY", "OPINION", "FINAL IMPRESSION", "IMPRESSION/RECOMMENDATIONS"),
        "both": ("FINDINGS AND IMPRESSION", "FINDINGS AND IMPRESSIONS", "FINDINGS + IMPRESSION", "IMPRESSION/FINDINGS"), "technique": ("TECHNIQUE", "EXAM TECHNIQUE", "VIEWS OBTAINED"),
    },
)  # fmt: skip


def pre_two_finals(d):
    d.put(None, "FINAL REPORT")
    d.put(None, "FINAL REPORT", join=d.rng.random() < 0.5)


def pre_prelim_headers(d):
    """A preliminary read with sections of its own."""
    d.section(None, "WET READ", d.pick(d.words.impressions, 1, 1), proper=True)
    d.section(None, "IMPRESSION", d.pick(d.words.impressions, 1, 1), proper=True, join=True)
    d.put(None, "_" * 60)
    d.put(None, "FINAL REPORT")


def ctx_same_line(d):
    """Headers that follow each other in one paragraph."""
    ctx_history(d)
    d.section("indication", d.name("indication"), d.reason(), join=True)
    compare(d, join=True)
    technique(d, join=True)


def ctx_long(d):
    d.section("indication", d.name("indication"), [*d.reason()[:1], *d.pick(d.words.background, 2, 4), d.rng.choice(d.words.questions)])
    if d.rng.random() < 0.5:
        compare(d)


def ctx_history_then_technique(d):
    ctx_history(d)
    technique(d)


def body_labels_only(d):
    """Labels without a findings header belong to nobody and end the context."""
    inner = d.pick(d.words.inner, 2, 4)
    d.free([inner[0]])
    for each in inner[1:]:
        d.free([each], join=True)
    d.section("impression", d.name("impression"), d.conclude())


def body_labels_glued(d):
    for each in d.pick(d.words.inner, 2, 3):
        d.free([each], join=True)
    d.section("impression", d.name("impression"), d.conclude())


def body_numbered_free(d):
    d.free([f"{i}. {each}" for i, each in enumerate(d.pick(d.words.findings, 2, 4), 1)])


def body_fragments(d):
    for _ in range(d.rng.randint(2, 3)):
        d.free(d.pick(d.words.findings, 1, 2))
    if d.rng.random() < 0.7:
        d.section("impression", d.name("impression"), d.conclude())


def tail_closing(d):
    d.put(None, d.rng.choice(("END OF REPORT", "CC: Dr. ___", "JOB ID: ___", "DICTATED BY: ___", "Transcribed by: ___", "Dr. ___ ___")))


FOURTH_PARTS = (
    (pre_two_finals, pre_prelim_headers, pre_final, pre_final_title, pre_title, pre_none),
    (ctx_same_line, ctx_long, ctx_long, ctx_history_then_technique, ctx_full, ctx_terse, ctx_both, ctx_indication, ctx_everything),
    (body_labels_only, body_labels_glued, body_numbered_free, body_fragments, body_free_impression, body_free, body_usual, body_paragraphs, body_trap_paragraphs,
     body_combined, body_views, body_inner_headers, body_list_impression),
    (tail_closing, tail_none, tail_both, tail_addendum),
)  # fmt: skip


# printing ------------------------------------------------------------------------------------------------------------


def head_plain(d, header):
    return header + ":" + d.rng.choice((" ", "  ", "   "))


def head_title(d, header):
    return header.capitalize() + ": "


def head_lower(d, header):
    return header.lower() + ": "


def head_own_line(d, header):
    return header + ":\n"


def head_own_line_gap(d, header):
    return header + ":\n\n"


def head_bare_line(d, header):
    return header + "\n"


def head_dash(d, header):
    return header + d.rng.choice((" - ", " -- ", " – "))


def head_markdown(d, header):
    return f"## {header.title()}\n\n"


def head_bold(d, header):
    return f"**{header.title()}:** "


def head_bold_line(d, header):
    return f"**{header}**\n"


def head_numbered(d, header):
    d.number += 1
    return f"{d.number}. {header}: "


def head_underlined(d, header):
    return f"{header}\n{'-' * len(header)}\n"


def head_misspelt(d, header):
    for right, wrong in MISSPELT.items():
        if header == right and d.rng.random() < 0.5:
            header = wrong
    return header + ": "


def head_spaced(d, header):
    return header + " : "


def head_marked(d, header):
    return header + " ___: "


def head_hash(d, header):
    return "# " + header + ": "


HEADS = (head_plain,) * 6 + (
    head_title, head_lower, head_own_line, head_own_line_gap, head_bare_line, head_dash, head_markdown, head_bold, head_bold_line,
    head_numbered, head_underlined, head_misspelt, head_spaced, head_marked, head_hash,
)  # fmt: skip


def wrap(text, width):
    if not width:  # a line for each sentence
        return re.sub(r"(?<=[a-z][.?]) (?=[A-Z])", "\n", text).split("\n")
    lines, line = [], ""
    for word in text.split(" "):
        if line and len(line) + 1 + len(word) > width:
            lines.append(line)
            line = word
        else:
            line = f"{line} {word}" if line else word
    return [*lines, line]


def print_report(d, head, rng, widths=(48, 64, 70, 76, 82, 10_000)):
    width = rng.choice(widths)
    indent = rng.choice(("", " ", " ", " ", "    ", "\t"))
    gap = rng.choice(("", " ", " ", " \n ", "\n"))
    flat, free = False, d.loose
    pieces = []
    for paragraph in d.paragraphs:
        lines = []
        for header, text in paragraph:
            before = head(d, header) if header else ""
            *own, last = before.split("\n")
            lines += own + (wrap(last + text, width) if text or last else [])
        pieces.append("\n".join(indent + line if line else line for line in lines))
    text = ("\n" + gap + "\n").join(pieces) + rng.choice(("", "\n"))
    # without line breaks nothing tells where a context ends and free text starts
    if head is head_plain and rng.random() < 0.08 and not any(header is None and text in free for p in d.paragraphs for header, text in p):
        flat = True
        text = " ".join(text.split())
    return text, flat


def finish(text, d, rng):
    """Case, line ends and spaces; what is expected follows the case."""
    expected = {name: " ".join(value.split()) for name, value in d.expected.items()}
    body = list(d.body)
    if rng.random() < 0.06:
        text, expected, body = text.upper(), {k: v.upper() for k, v in expected.items()}, [b.upper() for b in body]
    change = rng.random()
    if change < 0.12:
        text = text.replace("\n", "\r\n")
    elif change < 0.2:
        odd = rng.choice("\u00a0\u2009\u2002\u3000\u202f")
        text = re.sub(" ", lambda m: odd if rng.random() < 0.3 else " ", text)
    elif change < 0.22:
        text = "\ufeff" + text
    expected = {k: v for k, v in expected.items() if k not in ("findings", "impression") or re.search("[A-Za-z]", v)}
    return text, expected, body


def sensible(context, body):
    """Flattened or glued free text needs a context before it, else the layout says nothing new."""
    bare = (ctx_none, ctx_comparison_only, ctx_technique_comparison, ctx_empty_indication, ctx_deidentified, ctx_examination, ctx_full, ctx_tight)
    return not (body is body_glued_plain and context in bare) and not (body is body_glued and context in (ctx_none, ctx_comparison_only))


FIRST_PARTS = (PREAMBLES, CONTEXTS, BODIES, TAILS)


def head_double(d, header):
    return header + ":: "


def head_indented_next(d, header):
    return header + ":\n    "


def head_bracket(d, header):
    return f"[{header}] "


def head_dot(d, header):
    return header + ". "


def head_roman(d, header):
    d.number += 1
    return f"{('I', 'II', 'III', 'IV', 'V', 'VI', 'VII', 'VIII', 'IX', 'X')[d.number - 1]}. {header}: "


def head_h3(d, header):
    return f"### {header}\n"


def head_star_colon_inside(d, header):
    return f"**{header.capitalize()}**: "


def head_bullet(d, header):
    return f"- {header}: "


def head_date(d, header):
    return f"{header} (___): "


def head_no_space(d, header):
    return f"{header}:"


SECOND_HEADS = (head_plain,) * 6 + (
    head_double, head_indented_next, head_dot, head_roman, head_h3, head_star_colon_inside, head_bullet, head_date, head_no_space, head_title,
    head_bare_line, head_own_line,
)  # fmt: skip


def head_star(d, header):
    return f"*{header}*: "


def head_slanted(d, header):
    return f"_{header.capitalize()}:_ "


def head_colon_dash(d, header):
    return f"{header}:- "


def head_rules(d, header):
    return f"=== {header} ===\n"


def head_letter(d, header):
    d.number += 1
    return f"{'ABCDEFGHIJKLM'[d.number - 1]}. {header}: "


def head_dot_bullet(d, header):
    return f"• {header}: "


def head_quoted(d, header):
    return f"> {header}: "


def head_tab(d, header):
    return f"{header}:\t"


def head_line_dash(d, header):
    return f"{header} -\n"


def head_gap_blank(d, header):
    return f"{header}: \n \n"


THIRD_HEADS = (head_plain,) * 8 + (
    head_star, head_slanted, head_colon_dash, head_rules, head_letter, head_dot_bullet, head_quoted, head_tab, head_line_dash, head_gap_blank, head_lower,
    head_title,
)  # fmt: skip
BATCHES = {"first": (FIRST, FIRST_PARTS, HEADS), "second": (SECOND, SECOND_PARTS, SECOND_HEADS), "third": (THIRD, THIRD_PARTS, THIRD_HEADS), "fourth": (FOURTH, FOURTH_PARTS, (*HEADS, *THIRD_HEADS))}


def make_report(seed, batch="first"):
    rng = random.Random(seed)
    words, parts, heads = BATCHES[batch]
    while True:
        pre, context, body, tail = (rng.choice(pool) for pool in parts)
        head = rng.choice(heads)
        if sensible(context, body):
            break
    d = Draft(rng, words, head)
    for part in (pre, context, body, tail):
        part(d)
    text, flat = print_report(d, head, rng, *([(0, 56, 68, 74, 90)] if batch in ("third", "fourth") else []))
    text, expected, sentences = finish(text, d, rng)
    if batch in ("third", "fourth") and rng.random() < 0.08:
        text = text.replace("\r", "").replace("\n", rng.choice(("\u2028", "\r", "\u200b\n", "\x0b")))
    layout = " ".join(p.__name__ for p in (pre, context, body, tail, head)) + (" flat" if flat else "")
    open_sections = set()
    if flat and body in (body_free_impression, body_free, body_glued, body_title_then_impression):
        # Without line breaks nothing tells where a comparison ends and free text starts.
        open_sections.add("comparison")
    if body is body_views and head in (head_bare_line, head_bold_line, head_underlined, head_markdown, head_h3, head_dot, head_rules, head_line_dash):
        open_sections.add("findings")  # without a colon it may as well be the title of the examination
    if body is body_glued and context in (ctx_full, ctx_tight, ctx_examination, ctx_technique_comparison, ctx_empty_indication):
        open_sections.add("comparison")  # "Portable AP chest radiograph, ___." may belong to it
    report = MadeReport(text, layout, expected, sentences)
    report.open = open_sections
    return report


def _context(sections):
    return " ".join((sections.get("indication") or "", sections.get("history") or ""))


def _context_words(sections):
    return sorted(word for word in _context(sections).lower().split() if word != "history:")


def score(parse, reports):
    """Share of exact sections, share of reports with all sections exact, leaked sentences and the reports that went wrong."""
    right = dict.fromkeys(SECTIONS, 0)
    wrong, leaks, total = [], [], 0
    for report in reports:
        total += 1
        found = parse(report.text)
        missed = [s for s in SECTIONS if s not in report.open and found.get(s) != report.expected.get(s)]
        if "history: " in _context(report.expected).lower() and _context_words(found) == _context_words(report.expected):
            missed = [s for s in missed if s not in ("indication", "history")]  # "INDICATION: History: ___F" may be either
        for s in SECTIONS:
            right[s] += s not in missed
        context, expected_context = _context(found), _context(report.expected)
        leaked = [s for s in report.body if s in context and s not in expected_context]
        if leaked:
            leaks.append((report, leaked))
        if missed:
            wrong.append((report, missed, found))
    return {s: right[s] / total for s in SECTIONS}, 1 - len(wrong) / total, leaks, wrong
