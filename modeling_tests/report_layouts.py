"""Made-up radiology reports in many layouts, with the sections that they truly have. Knows nothing of the parser.

A layout is drawn from tables: names of headers and how they are written, what surrounds them, order, gaps, line ends, wrapping, titles,
wet reads, addenda, signatures, labels inside the findings, paragraphs without header. Each table has a part to develop on and a part
that is held apart, so that a score on the latter is one on names, sentences and decorations that nobody tuned on: `"developed"` was looked at while the
parser was written, `"second"`, `"third"` and `"fourth"` after a blind score each, `"unseen"` only ever as a score.

What a layout is expected to give follows `docs/data.md`: context ends with its paragraph, text without a header belongs to no
section, preliminary reads, addenda and signatures are left out.
"""

import random
import re
import textwrap
from dataclasses import dataclass


@dataclass(frozen=True)
class Layout:
    """A report, its true sections, and the text that must never stand in its context."""

    text: str
    sections: dict[str, str]
    answer: tuple[str, ...]
    traits: tuple[str, ...]


def _table(developed: list, second: list, third: list, fourth: list, unseen: list) -> dict[str, list]:
    return {"developed": developed, "second": second, "third": third, "fourth": fourth, "unseen": unseen}


FINDINGS = _table(
    [
        "The lungs are clear.", "There is a small left pleural effusion.", "Heart size is normal.", "The tip of the line projects over the mid SVC.",
        "No pneumothorax is seen.", "Mild interstitial edema has improved.", "Bibasilar atelectasis, left greater than right.",
        "The mediastinal contours are unremarkable.", "Findings at 10:30 are similar.", "Old right rib fractures.",
        "As compared to the previous radiograph, the opacity in the right lower lobe has grown.", "An ET tube ends 4.5 cm above the carina.",
    ],
    [
        "Lung volumes remain low.", "A moderate right effusion layers posteriorly.", "Cardiac silhouette is top normal.", "Sternotomy wires are intact.",
        "Since the prior study the chest tube was removed.", "There is no free air below the diaphragm.", "Patchy retrocardiac opacity persists.",
        "Surgical clips project over the left axilla.", "Hila are prominent but unchanged.", "Dual-lead pacemaker, leads in standard position.",
        "Compared with ___ at 06:15, vascular congestion is worse.", "Mild degenerative change of the thoracic spine.",
    ],
    ["Lungs are hyperexpanded.", "The right costophrenic angle is blunted.", "Trachea is midline.", "Interval placement of a left subclavian line, its tip in the right atrium.",
     "Compared to the prior examination from 8:15 a.m., aeration of the left base is better.", "No displaced fracture.", "Moderate pulmonary vascular engorgement.",
     "A 7 mm nodule projects over the third anterior rib.", "Aorta is tortuous and calcified.", "The hemidiaphragms are well seen.", "Pleural fluid: small, on both sides.",
     "Again seen is a hiatal hernia.", "Impression of the aortic arch on the trachea is usual."],
    ["There has been interval removal of the right jugular sheath.", "Streaky opacity at the left base, likely atelectasis.", "The descending aorta is ectatic.", "Left hemidiaphragm is elevated.",
     "Study is limited by rotation.", "Since ___, the right effusion has enlarged.", "Two leads follow their expected courses.", "No subdiaphragmatic air.", "Cardiomegaly, 17 cm across.",
     "Film at 13:55 shows a deep sulcus.", "Old granulomatous disease.", "Mild scoliosis: convex to the right.", "Indication of prior surgery: clips at the hilum.", "Costophrenic sulci are sharp."],
    ["Right jugular catheter in unchanged position.", "Interstitial markings are diffusely coarse.", "Since yesterday, left basal consolidation is denser.", "The costal margins are intact.",
     "Azygos fissure, a normal variant.", "Gastric bubble on the left.", "Comparison with the lateral film shows no nodule.", "Emphysema with flat diaphragms: severe.", "Two fiducials, 3 mm each.",
     "Patient is rotated to the left.", "A 14:20 film shows the same.", "History of surgery is evident from clips."],
)  # fmt: skip
IMPRESSION = _table(
    ["No acute cardiopulmonary process.", "Increasing left effusion.", "1. Stable cardiomegaly. 2. No edema.", "Tip in the SVC.", "Pneumonia in the right lower lobe."],
    ["Mild pulmonary edema, improved.", "1. New right basal opacity. 2. Lines as described.", "Normal chest.", "No radiographic evidence of pneumonia.",
     "Appropriate position of the Dobbhoff tube."],
    ["Worsening bilateral airspace disease.", "1. Nasogastric tube in the oesophagus. 2. Small apical pneumothorax, 1.2 cm.", "Unchanged from yesterday.", "Clear lungs.",
     "Findings most consistent with multifocal pneumonia; see above."],
    ["Edema, slightly better.", "1. Left lower lobe collapse.\n2. Lines unchanged.", "No change.", "Probable aspiration pneumonia; CT if symptoms persist.", "ETT 2 cm above the carina, withdraw 2 cm."],
    ["Mild failure.", "1) Increased edema. 2) New PICC.", "Resolution of pneumonia.", "Limited film; repeat when possible.", "Unremarkable chest radiograph."],
)  # fmt: skip
INDICATION = _table(
    ["Cough and fever.", "___ year old man with chest pain // pneumonia?", "Evaluation of line.", "Shortness of breath, evaluate for edema.", "Status post fall. Rule out rib fracture.",
     "Line placement", "?pneumothorax", "___F with hypoxia"],
    ["Dyspnea on exertion.", "___-year-old woman with sepsis, assess for infiltrate.", "Chest tube removal, pneumothorax?", "Altered mental status.", "Preoperative chest",
     "Intubated. Check tube position.", "r/o TB", "___M s/p MVC // trauma eval"],
    ["Hemoptysis.", "67 year old woman with RUL mass, post biopsy film.", "Hypoxia; evaluate for PE", "Central line placement.", "Fever and neutropenia. Question infection.",
     "___ y/o M w/ DOE, ?CHF", "Pain on the left with breathing.", "Nasogastric tube placement, confirm location."],
    ["Weakness.", "___ year old woman s/p L thoracentesis // r/o ptx", "Syncope and fall", "Sickle cell crisis, chest pain.", "New oxygen requirement. Please evaluate for edema.", "Positive PPD.",
     "45M, cough x2 weeks, ?PNA", "Swan-Ganz placement.", "Leukocytosis"],
    ["Hypotension.", "Post-op day 2 after esophagectomy", "Rule out aspiration.", "77 y.o. female with confusion, infection?", "Palpitations and dizziness.", "Interval change?", "Trauma",
     "___-day-old with tachypnea", "Tube position."],
)  # fmt: skip
HISTORY = _table(
    ["Heart failure and diabetes.", "Smoker.", "Known lung cancer, on chemotherapy.", "COPD"],
    ["Renal transplant in ___.", "Hypertension, prior CABG.", "Asthma since childhood", "Breast cancer. Mastectomy on the left."],
    ["Cirrhosis, ascites.", "HIV, last CD4 unknown", "Cystic fibrosis; lung transplant listed.", "Prior right lobectomy.", "ESRD on HD, fever to 102."],
    ["Alcohol abuse and pancreatitis.", "Aortic stenosis, planned TAVR", "Former smoker, 40 pack years.", "Multiple myeloma. Fever.", "Sarcoid"],
    ["Lymphoma in remission.", "Stroke, dysphagia.", "Dialysis patient", "None given.", "Pulmonary fibrosis, on oxygen at home."],
)  # fmt: skip
COMPARISON = _table(
    ["None.", "___.", "Chest radiograph ___.", "Radiographs from ___ and ___ at 8:30.", "CT of ___."],
    ["No prior studies available.", "PA and lateral chest of ___.", "Multiple priors, most recent ___.", "Portable film, ___ at 05:12"],
    ["Prior from ___.", "Chest x-rays of ___ and ___.", "Outside CT dated ___ and radiograph at 22:10.", "Two views from ___", "None available."],
    ["Radiograph of earlier the same day.", "Study of ___, 14:32.", "Multiple prior chest radiographs, latest ___", "No comparison.", "PET-CT from ___."],
    ["Prior radiograph ___, CT ___.", "Outside film.", "Exam from yesterday at 21:40.", "___ and ___", "No relevant priors."],
)  # fmt: skip
TECHNIQUE = _table(
    ["Chest PA and lateral.", "Single portable AP view.", "Two views of the chest were obtained."],
    ["Portable upright AP radiograph.", "Frontal and lateral chest radiographs were performed.", "One view, supine."],
    ["AP upright and lateral views.", "A single frontal image of the chest was acquired.", "Portable semi-erect technique."],
    ["Upright PA and lateral.", "AP view, patient semi-upright.", "Chest, single AP portable view."],
    ["One AP projection.", "Frontal and lateral.", "Semi-upright portable chest film, 1 image."],
)  # fmt: skip
NAMES = {
    "findings": _table(["FINDINGS", "FINDING", "CHEST FINDINGS", "FINDINGS (___)"], ["FINDINGS", "RADIOGRAPHIC FINDINGS", "FINDING(S)", "FINDINGS #1"], ["FINDINGS", "FINDINGS", "CHEST X-RAY FINDINGS", "IMAGING FINDINGS", "FINDINGS ___", "RADIOLOGICAL FINDINGS"],
        ["FINDINGS", "FINDINGS", "RADIOLOGY FINDINGS", "FINDINGS (CHEST)", "XRAY FINDINGS", "FINDINGS OF THE CHEST"],
        ["FINDINGS", "FINDINGS", "CHEST RADIOGRAPH FINDINGS", "FINDINGS - CHEST", "FINAL FINDINGS"],
),
    "impression": _table(["IMPRESSION", "CONCLUSION", "IMPRESSIONS", "OPINION"], ["IMPRESSION", "CONCLUSIONS", "FINAL IMPRESSION", "IMPRESSION(S)"], ["IMPRESSION", "IMPRESSION", "CONCLUSION(S)", "RADIOLOGICAL IMPRESSION", "SUMMARY", "IMPRESSION ___"],
        ["IMPRESSION", "IMPRESSION", "DIAGNOSTIC IMPRESSION", "ASSESSMENT", "CONCLUSION #1", "IMP"],
        ["IMPRESSION", "IMPRESSION", "OVERALL IMPRESSION", "CONCLUSION ___", "IMPRESSION (FINAL)"],
),
    "indication": _table(
        ["INDICATION", "REASON FOR EXAM", "REASON FOR EXAMINATION", "CLINICAL INDICATION", "REASON FOR THIS EXAMINATION", "INDICATIONS"],
        ["INDICATION", "REASON FOR STUDY", "INDICATION FOR EXAM", "REASON FOR THE EXAM", "REASON FOR X-RAY", "CLINICAL QUESTION", "INDICATION FOR STUDY"],
        ["INDICATION", "INDICATION(S)", "REASON FOR CXR", "REASON FOR REFERRAL", "INDICATION FOR EXAMINATION", "CLINICAL INDICATIONS", "REASON"],
        ["INDICATION", "INDICATION", "REASON FOR EXAM (ADMITTING)", "CHIEF COMPLAINT", "REASON FOR CHEST X-RAY", "CLINICAL INDICATION(S)", "REASON FOR TEST", "INDICATION FOR STUDY ___"],
        ["INDICATION", "INDICATION", "REASON FOR EXAMINATION", "REASON FOR PORTABLE CHEST", "INDICATION FOR RADIOGRAPH", "REASON FOR VISIT", "SYMPTOMS"],
),
    "history": _table(
        ["HISTORY", "CLINICAL HISTORY", "CLINICAL INFORMATION", "PATIENT HISTORY"],
        ["HISTORY", "CLINICAL DATA", "PAST MEDICAL HISTORY", "CLINICAL DETAILS", "PERTINENT HISTORY", "UNDERLYING MEDICAL CONDITION"],
        ["HISTORY", "CLINICAL INFO", "RELEVANT CLINICAL HISTORY", "CLINICAL BACKGROUND", "MEDICAL HISTORY", "PMH", "CLINICAL NOTES"],
        ["HISTORY", "HISTORY", "RELEVANT HISTORY", "CLINICAL CONTEXT", "HX", "CLINICAL STATEMENT", "HISTORY OF PRESENT ILLNESS", "BRIEF HISTORY"],
        ["HISTORY", "HISTORY", "CLINICAL HISTORY", "PMHX", "CLINICAL DIAGNOSIS", "HISTORY (FROM CHART)"],
),
    "comparison": _table(
        ["COMPARISON", "COMPARISONS", "COMPARISON STUDY", "PRIOR STUDIES"], ["COMPARISON", "COMPARISON EXAM", "PRIOR EXAMS", "COMPARISON FILMS", "COMPARED TO"], ["COMPARISON", "COMPARISON(S)", "COMPARISON STUDIES", "PREVIOUS STUDIES", "COMPARISON DATE", "PRIOR RADIOGRAPHS"],
        ["COMPARISON", "COMPARISON", "COMPARED WITH", "COMPARISON RADIOGRAPHS", "PREVIOUS EXAM", "PRIORS", "COMPARISON IMAGES"],
        ["COMPARISON", "COMPARISON", "PRIOR EXAMINATIONS", "COMPARISON(S) MADE TO", "PREVIOUS IMAGING", "RELEVANT PRIOR STUDIES"],
),
    "technique": _table(["TECHNIQUE", "VIEWS"], ["TECHNIQUE", "IMAGING TECHNIQUE"], ["TECHNIQUE", "EXAMINATION TECHNIQUE", "VIEWS OBTAINED"],
        ["TECHNIQUE", "CHEST TECHNIQUE", "NUMBER OF VIEWS"],
        ["TECHNIQUE", "TECHNICAL FACTORS", "PROJECTION"],
),
    "both": _table(["FINDINGS AND IMPRESSION", "FINDINGS/IMPRESSION"], ["IMPRESSION AND FINDINGS", "FINDINGS & IMPRESSION", "FINDINGS / IMPRESSION"], ["FINDINGS AND IMPRESSION", "FINDINGS AND CONCLUSION", "FINDINGS, IMPRESSION"],
        ["FINDINGS AND IMPRESSION", "FINDINGS / CONCLUSION", "FINDINGS-IMPRESSION", "FINDINGS + IMPRESSION"],
        ["FINDINGS AND IMPRESSION", "IMPRESSION / FINDINGS", "FINDINGS & CONCLUSION"],
),
}  # fmt: skip
EXAMINATIONS = _table(
    ["EXAMINATION: CHEST (PA AND LAT)", "EXAM: CHEST X-RAY", "PROCEDURE: CHEST RADIOGRAPH", "EXAMINATION:  CHEST (PORTABLE AP)"],
    ["STUDY: PORTABLE CHEST", "TYPE OF EXAMINATION: Chest PA and lateral radiograph.", "EXAM: Chest radiograph, two views", "Examination: CHEST (SINGLE VIEW)"],
    ["EXAMINATION:  DX CHEST PORT LINE/TUBE PLCMT", "PROCEDURES: XR CHEST AP", "EXAM TYPE: CHEST RADIOGRAPH", "Study: Chest (portable AP), ___"],
    ["EXAMINATION:  CHEST (PRE-OP PA AND LAT)", "EXAM: XR CHEST PORTABLE", "PROCEDURE:  Chest, frontal and lateral", "STUDY:  AP chest radiograph."],
    ["EXAMINATION:  CR - CHEST PORTABLE AP", "TYPE OF EXAM: Chest", "EXAM DATE: ___", "PROCEDURE DATE:  ___"],
)  # fmt: skip
TITLES = _table(
    ["CHEST 1 VIEW: 4/12/2008", "PA AND LATERAL CHEST RADIOGRAPH", "AP CHEST, 4:50 A.M., ___", "CHEST RADIOGRAPH PERFORMED ON ___.", "PORTABLE CHEST: ___ at 10:15",
     "TWO VIEWS OF THE CHEST, ___"],
    ["CHEST, TWO VIEWS: 12 April 2011", "PORTABLE AP CHEST RADIOGRAPH, ___ AT 0830 HOURS", "CHEST RADIOGRAPHS", "XR CHEST 2 VIEWS: ___", "SINGLE FRONTAL VIEW OF THE CHEST",
     "CXR, PORTABLE: 3/4/12 05:30 AM"],
    ["UPRIGHT AP VIEW OF THE CHEST: ___ at 7:35 AM", "CHEST (PA AND LATERAL), ___", "AP PORTABLE CHEST FILM, SUPINE: 11/02/2015", "CHEST X-RAY 2 VIEWS", "PORTABLE CHEST, ___.",
     "RADIOGRAPH OF THE CHEST, SINGLE VIEW: June 3, 2014 at 18:20 hours"],
    ["PA AND LATERAL CHEST FILMS: 09/30/2003 at 1410 hours", "PORTABLE AP CHEST, 6:00 P.M. ___", "CHEST, SINGLE AP PORTABLE VIEW, ___", "FRONTAL CHEST RADIOGRAPH", "LATERAL AND PA VIEWS CHEST: Feb 12, 2016",
     "CHEST PORTABLE: 05/05/05"],
    ["CHEST RADIOGRAPH, TWO VIEWS: January 4, 2013", "AP VIEW OF THE CHEST AT 9:15 AM, ___", "PORTABLE SUPINE CHEST RADIOGRAPH", "CHEST 2V: 10-11-2009", "LATERAL CHEST FILM: ___, 06:00 hours"],
)  # fmt: skip
VIEW_HEADERS = _table(
    ["PA AND LATERAL VIEWS OF THE CHEST", "CHEST, PORTABLE AP"],
    ["FRONTAL AND LATERAL CHEST RADIOGRAPHS", "SINGLE AP VIEW OF THE CHEST", "PORTABLE CHEST"],
    ["UPRIGHT PA AND LATERAL VIEWS OF THE CHEST", "AP CHEST RADIOGRAPH", "CHEST, TWO VIEWS"],
    ["LATERAL AND FRONTAL VIEWS OF THE CHEST", "SINGLE PORTABLE VIEW OF THE CHEST", "CHEST, AP UPRIGHT"],
    ["PA AND LATERAL CHEST", "PORTABLE CHEST RADIOGRAPH", "AP SUPINE VIEW OF THE CHEST"],
)
LABELS = _table(
    ["OTHER: none.", "LINES AND TUBES: PICC in place.", "HEART: normal.", "BONES: no fracture.", "Lungs: clear.", "ET TUBE: 3 cm above the carina.", "NO FOCAL CONSOLIDATION."],
    ["MISC: nil.", "DEVICES: dual-lead pacer.", "UPPER ABDOMEN: gas-filled bowel.", "Pleura: trace fluid.", "RIGHT: dry. LEFT: small fluid.", "NEW: retrocardiac opacity.",
     "SOFT TISSUES: emphysema #2.", "LEFT LUNG ___: hazy."],
    ["CARDIAC: enlarged.", "AIRWAY: midline trachea.", "MEDIASTINUM AND HILA: normal contours.", "Bones: osteopenia.", "NG TUBE #2: below the diaphragm.", "CLIPS: gallbladder fossa.",
     "SMALL RIGHT EFFUSION.", "PLEURAL SPACES: clear bilaterally.", "NOTE IS MADE OF A HERNIA."],
    ["PULMONARY VASCULATURE: engorged.", "THYROID: goiter.", "VALVES: aortic prosthesis.", "Spine: compression of T8.", "GREAT VESSELS: tortuous.", "MINIMAL BASAL SCARRING.", "VIEW: rotated.",
     "PORT #1, LEFT: tip in the SVC.", "EXTRAPULMONARY: breast implants."],
    ["PERIPHERY: no bullae.", "SHUNT: VP shunt catheter.", "Mediastinum: widened.", "LEFT ARM PICC: at the cavoatrial junction.", "SMALL APICAL CAP.", "CHEST WALL #1: normal.", "WIRES: intact.",
     "STOMACH: distended."],
)  # fmt: skip
TAILS = _table(
    ["NOTIFICATION: The findings were telephoned to Dr. ___ at 10:30.", "RECOMMENDATION(S): Repeat after treatment.", "Electronically signed by: Dr. ___", "Dictated by: ___"],
    ["RECOMMENDATIONS: CT of the chest.", "COMMUNICATION: discussed with the team at 09:15.", "Electronically signed by ___, MD on ___ 12:04", "CRITICAL RESULT: called at 8:00 pm.",
     "ATTENDING: Dr. ___", "NOTE TO PHYSICIAN: see above."],
    ["NOTIFICATION: Dr. ___ was paged by ___ at 3:15 p.m., 5 minutes after discovery.", "FOLLOW-UP: Radiograph in six weeks.", "Signed by: ___, MD", "Transcribed by: ___",
     "RECOMMENDATION:  Upright views.", "CRITICAL FINDINGS: communicated to the nurse.", "Interpreted by ___ on ___"],
    ["NOTIFICATIONS:  ___ spoke with ___ by phone on ___ at 4:40 PM.", "RECOMMENDATIONS:\nShort-interval follow-up.", "Dictated and signed by: Dr. ___", "Reported by ___, M.D.", "ATTENDING RADIOLOGIST: ___",
     "FOLLOWUP: none.", "DISCLAIMER: speech recognition was used."],
    ["NOTIFICATION:  Findings paged at 7:02 am.", "Approved by: ___", "Transcriptionist: ___", "SIGNED: ___, MD", "RECOMMENDATION: none", "COMMUNICATIONS: by email", "Electronically signed on ___"],
)  # fmt: skip
ADDENDA = _table(["ADDENDUM: The tube was repositioned afterwards.", "ADDENDUM\nThe left apex shows a nodule."],
                 ["ADDENDUM #1: The effusion is loculated.", "***ADDENDUM***\nRight-sided line added.", "Addendum:\nA nodule is present."],
    ["ADDENDUM: Comparison is now made to ___.", "ADDENDUM ___:\nRib fracture on the right.", "Addendum #2: Previously unseen nodule."],
    ["ADDENDUM:\nAn effusion on the left is likely as well.", "ADDENDUM (___): Tube now advanced.", "*** ADDENDUM ***\nCorrection of the side."],
    ["ADDENDUM: Small pneumothorax after all.", "ADDENDUM TO REPORT:\nTube has since moved.", "AMENDED REPORT: Left and right were exchanged."],
)  # fmt: skip
FINAL = _table(
    ["                                 FINAL REPORT", "FINAL REPORT", "FINAL EXAMINATION"],
    [" FINAL REPORT ", "Final Report:", "FINAL RADIOLOGY REPORT", "**FINAL REPORT**"],
    ["FINAL REPORT", "  FINAL  REPORT", "FINAL REPORT:", "= FINAL REPORT =", "Final radiology report"],
    [
        "                                 FINAL REPORT",
        "FINAL REPORT ",
        "*** FINAL REPORT ***",
        "FINAL REPORT -",
        "Final Report",
    ],
    ["FINAL REPORT", "                                 FINAL REPORT", "FINAL  REPORT:", "--- FINAL REPORT ---"],
)
WET = _table(
    [
        "WET READ: ___ ___ ___ 9:12 PM\n  no acute process, wet read text only",
        "WET READ: ___ 4:00 AM\n Small wet effusion on the left.",
    ],
    [
        "WET READ VERSION #1: ___ 9:12 PM\n  wet pneumonia on the right.",
        "PRELIMINARY REPORT: ___\n Wet lungs everywhere.\n IMPRESSION: wet preliminary.",
    ],
    [
        "WET READ: ___ ___ 7:05 AM\n  moist wet read of the left base.",
        "WET READ VERSION #2 ___ ___ 1:12 AM\n  Moist and wet. WET READ VERSION #1 ___ ___ 12:40 AM\n Wetter.",
        "PRELIM READ: \n Moist wet finding.\n FINDINGS: moist and wet.",
    ],
    [
        "WET READ: ___ SUN ___ 11:20 PM\n   soaked left base, soaked read.\n   SOAKED.",
        "PRELIMINARY READ: ___\n FINDINGS: soaked.\n IMPRESSION: soaked again.",
        "Wet read: soaked lungs.\n Soaked.",
    ],
    [
        "WET READ: ___ FRI 5:00 PM\n  drenched bases.",
        "PRELIMINARY INTERPRETATION:\n Drenched lungs.\n FINDINGS: drenched.",
        "WET READ VERSION #3: ___\n drenched once. \n\n drenched twice.",
    ],
)
RULES = _table(
    ["_" * 78, "______"],
    ["=" * 30, "_" * 40, "-" * 20],
    ["_" * 60, "*" * 20, "- " * 15, "=" * 10],
    ["_" * 70, "-" * 60, "= " * 10, "~" * 12],
    ["_" * 75, "=" * 40, "- - - - - - - - -", "********"],
)
LOOSE = _table(
    ["As compared to the previous radiograph, the left pleural effusion has grown.", "PA and lateral views of the chest. The lungs are clear without effusion.",
     "There is no pneumothorax. The heart is enlarged."],
    ["In comparison with the study of ___, there is little change in the opacity.", "Portable AP film shows low lung volumes. No edema.", "The Dobbhoff tube ends in the stomach.",
     "Cardiomegaly is stable. Lungs are hyperinflated.", "Tip of the new line lies in the right atrium."],
    ["Since ___, right lower lobe atelectasis has cleared.", "Frontal and lateral views show a normal heart. The lungs are clear.", "Heart size is top normal. No effusion.",
     "The patient has been extubated. Lung volumes are lower.", "ET tube is 3 cm above the carina. There is new left lower lobe collapse.", "Comparison is made to the prior study. Edema has progressed.",
     "Left-sided pleural effusion persists, moderate in size.", "Right PICC line terminates in the SVC."],
    ["In the interval, the chest tube was pulled.", "Two views show hyperinflation. The aorta is tortuous.", "Cardiac size cannot be evaluated. Large right effusion is unchanged.", "No previous images. There are low volumes.",
     "Moderate cardiomegaly is again noted.", "Increased opacity at the right base could be pneumonia.", "The NG tube has been advanced.", "Retrocardiac atelectasis has increased.", "AP single view of the chest has been obtained with patient upright."],
    ["Compared with the film of ___, no interval change.", "There has been extubation. Lungs are better aerated.", "Single view shows the tube 5 cm above the carina.", "The cardiac and mediastinal silhouettes are stable.",
     "Bilateral pleural effusions are increased. Edema is mild.", "A left chest tube has been placed, with no pneumothorax.", "Mild vascular congestion is present."],
)  # fmt: skip
CASES = _table(
    ["upper", "upper", "title", "capital"],
    ["upper", "title", "capital", "lower"],
    ["upper", "upper", "title", "capital", "lower"],
    ["upper", "upper", "title", "capital", "lower"],
    ["upper", "upper", "title", "capital", "lower"],
)
MARKS = _table(
    ["{}:", "{}:", "{}:", "{} :", "{}:  ", "**{}:**", "## {}", "{}\n", "1. {}:"],
    ["{}:", "{}:", "{}:  ", "**{}**:", "### {}:", "[{}]\n", "{} -", "2) {}:", "• {}:", "{}\n-------\n", "__{}:__", "{}::", "<b>{}:</b>"],
    ["{}:", "{}:", "{} : ", "***{}:***", "# {}", "#### {}:", "{} –", "a) {}:", "- {}:", "{}\n======\n", "*{}:*", "<strong>{}:</strong>", "III. {}:", "> {}:", "{}:-", "`{}`:"],
    ["{}:", "{}:", "{}:   ", "**{}**", "#### {}", "{}--", "4) {}:", "* {}:", "{}\n~~~~~~\n", "_{}_:", "<h3>{}</h3>", "IV) {}:", "+ {}:", "{}: -", "({}):", "{} ::", "== {} =="],
    ["{}:", "{}:", "{}:  ", "**{}:**", "### {}", "{} - ", "5. {}:", "‣ {}:", "{}\n-----\n", "__{}__:", "<u>{}</u>:", "B. {}:", "{} :", "[{}]:", "{}:\t"],
)  # fmt: skip
SPACES = _table(
    [" ", " ", "\u00a0", "\t"],
    [" ", " ", "\u2003", "\u3000", "\u2009 ", "\u00a0\u00a0"],
    [" ", " ", "\u2007", "\u202f", "\t ", "\u3000"],
    [" ", " ", "\u00a0", "\u2002", "\u205f", "  "],
    [" ", " ", "\u00a0", "\u2006", "\u2008", "\t"],
)
INDENTS = _table(
    ["", " ", "    "],
    ["", " ", "\t", "\u00a0", "\u200b", "\ufeff "],
    ["", " ", "  ", "\u2003", "\t\t", "\u00a0 "],
    ["", " ", "   ", "\u2009", "\u00a0\t", "\u2060"],
    ["", " ", "     ", "\u2004", "\u00a0"],
)
NEWLINES = _table(
    ["\n", "\n", "\r\n"],
    ["\n", "\r\n", "\r", "\r\r\n", "\u2028"],
    ["\n", "\n", "\r\n", "\x0b", "\u2029", "\x85"],
    ["\n", "\n", "\r\n", "\x0c", "\n\r", "\u2028"],
    ["\n", "\n", "\r\n", "\r", "\u2029"],
)


class _Draw:
    """One layout in the making."""

    def __init__(self, seed: int, part: str):
        self.random, self.part = random.Random(f"{seed}:{part}"), part
        self.sections: dict[str, str] = {}
        self.answer: list[str] = []
        self.traits: list[str] = []
        self.lines: list[str] = []
        self.case = self.of(CASES)
        self.mark = self.of(MARKS)
        self.space = self.of(SPACES)
        self.indent = self.of(INDENTS)
        self.gap = self.random.choice(["\n\n", "\n\n", "\n\n\n", "\n", "\n \n"])
        self.body = self.random.choice(["same", "same", "next", "blank"])

    def of(self, table):
        return self.random.choice(table[self.part])

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def some(self, table, low: int, high: int) -> str:
        return " ".join(self.random.sample(table[self.part], self.random.randint(low, high)))

    def header(self, kind: str) -> str:
        words = self.of(NAMES[kind])
        if self.case == "title":
            words = re.sub(
                r"[A-Z]+", lambda m: m[0] if m[0] in ("AND", "FOR", "THE") and False else m[0].capitalize(), words
            )
        elif self.case == "capital":
            words = words.capitalize()
        elif self.case == "lower":
            words = words.lower()
        if " " in words and self.space != " " and self.chance(0.5):
            words = words.replace(" ", self.space)
        mark = self.mark
        if "\n" in mark and self.case in ("capital", "lower") and "#" not in mark and "[" not in mark:
            mark = "{}:"  # words in small letters alone on a line are prose as well
        if mark == "{} -" and self.case == "lower":
            mark = "{}:"
        return mark.format(words)

    def section(self, kind: str, body: str, names: tuple[str, ...] | None = None) -> None:
        header, where = self.header(kind), self.body
        if "# " in header and ":" not in header:
            where = "next" if where == "same" else where
        if header.endswith("\n"):
            where = "same"
        gap = {
            "same": "" if header.endswith(("\n", "  ")) else self.space,
            "next": "\n" + self.indent,
            "blank": "\n\n" + self.indent,
        }[where]
        if self.chance(0.4):
            body_text = textwrap.fill(
                body, self.random.choice([30, 60, 80]), break_long_words=False, break_on_hyphens=False
            )
            body_text = body_text.replace("\n", "\n" + self.indent)
        else:
            body_text = body
        self.lines.append(f"{self.indent}{header}{gap}{body_text}")
        for name in names or ((kind,) if kind != "technique" else ()):
            if re.search("[A-Za-z]", body) or name not in ("findings", "impression"):
                self.sections[name] = " ".join(filter(None, [self.sections.get(name), body]))
        if kind in ("findings", "impression", "both"):
            self.answer.append(body)

    def block(self, text: str) -> None:
        self.lines.append("\n".join(self.indent + line for line in text.split("\n")))


def layout(seed: int, part: str = "developed") -> Layout:
    """One report in one layout; the same seed gives the same report everywhere."""
    draw = _Draw(seed, part)
    if draw.chance(0.12):
        return _one_line(draw)
    wrapped = draw.chance(0.7)
    if wrapped:
        _before_the_report(draw)
    if draw.chance(0.35):
        draw.block(draw.of(TITLES))
        draw.traits.append("title")
    if draw.chance(0.3):
        draw.block(draw.of(EXAMINATIONS))
    _context(draw)
    _report(draw)
    _after_the_report(draw)
    text = draw.gap.join(draw.lines)
    if draw.chance(0.1):
        text = "\n\n" + text + "\n\n"
    return _finished(draw, text)


def _before_the_report(draw: _Draw) -> None:
    if draw.chance(0.2):
        wet = draw.of(WET)
        draw.block(wet)
        draw.block(draw.of(RULES))
        draw.answer.append(wet.split("\n")[1])
        draw.traits.append("wet read")
    if draw.chance(0.1):
        addendum = draw.of(ADDENDA)
        draw.block(addendum)
        draw.block(draw.of(RULES))
        draw.answer.append(addendum.split(":")[-1].split("\n")[-1])
        draw.traits.append("addendum before")
    draw.lines.append(draw.of(FINAL))


def _context(draw: _Draw) -> None:
    kinds = [
        kind
        for kind, share in (("indication", 0.8), ("history", 0.4), ("technique", 0.4), ("comparison", 0.6))
        if draw.chance(share)
    ]
    if draw.chance(0.4):
        draw.random.shuffle(kinds)
    pools = {"indication": INDICATION, "history": HISTORY, "technique": TECHNIQUE, "comparison": COMPARISON}
    for kind in kinds:
        draw.section(kind, draw.of(pools[kind]))


def _loose(draw: _Draw) -> None:
    loose = draw.of(LOOSE)
    if draw.chance(0.2) and draw.lines and draw.sections and draw.lines[-1].rstrip()[-1] in ".?":
        draw.lines[-1] += "\n" + draw.indent + loose  # not even an empty line between
        draw.answer.append(loose)
        draw.traits.append("loose without gap")
        return
    draw.block(("\n\n" if "\n\n" not in draw.gap and "\n \n" not in draw.gap else "").lstrip(" ") + loose)
    draw.answer.append(loose)


def _report(draw: _Draw) -> None:
    form = draw.random.choices(
        ["two", "one", "both", "impression", "loose", "loose+impression", "views", "nothing"],
        [40, 8, 8, 12, 12, 8, 8, 4],
    )[0]
    draw.traits.append(form)
    if form == "nothing":
        return
    if form in ("loose", "loose+impression"):
        _loose(draw)
    if form == "both":
        draw.section("both", draw.some(FINDINGS, 1, 3), ("findings", "impression"))
    if form in ("two", "one"):
        _findings(draw)
    if form == "views":
        _views(draw)
    if form in ("two", "impression", "loose+impression", "views"):
        draw.section("impression", draw.of(IMPRESSION))


def _findings(draw: _Draw) -> None:
    body = draw.some(FINDINGS, 1, 4)
    draw.section("findings", body)
    if draw.chance(0.3):
        for label in draw.random.sample(LABELS[draw.part], draw.random.randint(1, 3)):
            draw.lines[-1] += draw.random.choice(["\n", "\n\n"]) + draw.indent + label
            draw.sections["findings"] += " " + label
            draw.answer.append(label)
        draw.traits.append("labels")
    if draw.chance(0.2):
        more = draw.some(FINDINGS, 1, 2)
        draw.lines[-1] += "\n\n" + draw.indent + more
        draw.sections["findings"] += " " + more
        draw.answer.append(more)
        draw.traits.append("paragraphs")


def _views(draw: _Draw) -> None:
    """A title of the views opens the findings, where no context stands behind it and no other header does."""
    body = draw.some(FINDINGS, 1, 3)
    draw.lines.append(f"{draw.indent}{draw.of(VIEW_HEADERS)}: {body}")
    draw.sections["findings"] = body
    draw.answer.append(body)


def _after_the_report(draw: _Draw) -> None:
    if draw.chance(0.3):
        draw.block(draw.of(TAILS))
        draw.traits.append("tail")
    if draw.chance(0.1) and set(draw.sections) & {"findings", "impression"}:
        addendum = draw.of(ADDENDA)
        draw.block(addendum)
        draw.answer.append(addendum.split(":")[-1].split("\n")[-1])
        draw.traits.append("addendum behind")


def _one_line(draw: _Draw) -> Layout:
    """The line breaks are lost."""
    draw.traits.append("one line")
    draw.mark, draw.body, draw.indent, draw.gap = (
        draw.random.choice(["{}:", "{}: ", "{} :", "**{}:**"]),
        "same",
        "",
        " ",
    )
    draw.space = " "
    draw.case = draw.of(
        _table(
            ["upper", "title"],
            ["upper", "title", "capital", "lower"],
            ["upper", "title", "capital", "lower"],
            ["upper", "title", "capital", "lower"],
            ["upper", "title", "capital", "lower"],
        )
    )
    pools = {
        "indication": INDICATION,
        "history": HISTORY,
        "comparison": COMPARISON,
        "findings": FINDINGS,
        "impression": IMPRESSION,
    }
    if draw.chance(0.3):
        draw.lines.append("FINAL REPORT")
    for kind, pool in pools.items():
        if kind == "findings" or draw.chance(0.7):
            body = draw.some(pool, 1, 2) if kind == "findings" else draw.of(pool)
            body = body if body[-1] in ".?!" else body + "."
            draw.section(kind, body)
            draw.lines[-1] = draw.lines[-1].replace("\n", " ")
    return _finished(draw, draw.gap.join(draw.lines))


def _finished(draw: _Draw, text: str) -> Layout:
    newline = draw.of(NEWLINES)
    if draw.case == "upper" and draw.chance(0.12) and not {"loose", "loose+impression"} & set(draw.traits):
        text = text.upper()
        draw.sections = {name: body.upper() for name, body in draw.sections.items()}
        draw.traits.append("all in capitals")
    if draw.chance(0.05) and "one line" not in draw.traits:
        text = text.replace("\n\n", "\n                                                             (Over)\n\n", 1)
        draw.traits.append("page mark")
    expected = {name: re.sub(r"\s+", " ", body).strip() for name, body in draw.sections.items()}
    traits = (*draw.traits, draw.case, repr(draw.mark), repr(draw.gap), repr(newline), draw.body)
    return Layout(text.replace("\n", newline), expected, tuple(draw.answer), traits)


def leaks(layout: Layout, sections: dict[str, str]) -> list[str]:
    """Sentences of the answer that stand in a section which the model reads."""
    context = " ".join(sections.get(name, "") for name in ("indication", "history", "comparison")).lower()
    found = []
    for part in layout.answer:
        for sentence in re.split(r"(?<=[.?!])\s+", re.sub(r"\s+", " ", part).strip()):
            if len(sentence) > 8 and sentence.lower().rstrip(".") in context:
                found.append(sentence)
    return found
