"""Words of the made-up reports in `report_layouts_second.py`: a list for each batch, none of them from a real report."""

from dataclasses import dataclass


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


INDICATION = (
    "INDICATION",
    "REASON FOR EXAM",
    "REASON FOR EXAMINATION",
    "INDICATIONS",
    "CLINICAL INDICATION",
    "REASON FOR THE EXAM",
    "REASON FOR STUDY",
)
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
