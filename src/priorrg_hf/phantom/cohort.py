"""The state model: patients, their visits, and how findings come and go.

Two properties hold by construction and are counted in `counting.py`:

- *Change cannot be guessed from the current state.* Each finding moves between absence and four severity levels as a reversible
  Markov chain (`LEVEL_TRANSITIONS`) whose stationary distribution is uniform over the levels, and whose rates are such that, given
  the current level, the possible changes are equally likely: new, worsened, improved, unchanged (a quarter each) at the two
  middle levels; three of them (a third each) at the lowest level, which nothing worsens into, and at the highest, which nothing improves into.
- *The cause cannot be guessed from the image.* Causes follow from the clinical background alone, which is drawn
  independently of everything that is drawn in the picture.
"""

import datetime
from dataclasses import dataclass, field

from .facts import DEVICES, FINDINGS, SEVERITIES, SIDES, SITES, Facts, FindingFact, site_of, split_site
from .random_stream import RandomStream


# Streams of a patient; the numbers are part of what a seed means.
_STREAM_COURSE, _STREAM_TEXT, _STREAM_RENDER = 0, 1, 2

NUM_VISITS_WEIGHTS = (0.16, 0.24, 0.26, 0.20, 0.14)  # of 1 .. 5 visits
PREVALENCE = {
    "cardiomegaly": 0.30,
    "effusion": 0.26,
    "consolidation": 0.22,
    "atelectasis": 0.24,
    "edema": 0.24,
    "pneumothorax": 0.15,
}
SYMMETRIC_SHARE = {"effusion": 0.35, "consolidation": 0.2, "pneumothorax": 0.0}
DEVICE_PREVALENCE = {"endotracheal_tube": 0.16, "central_line": 0.2, "pacemaker": 0.13}

# Continuous severity at the centre of each level, and how far a patient lies from it. Levels stay 0.16 apart at least.
LEVEL_CENTRES = (0.16, 0.44, 0.72, 1.0)
LEVEL_SPREAD = 0.06
UNCHANGED_DRIFT = 0.015

# Rows: from level 1 .. 4; columns: to absence, level 1 .. 4. The part between levels is symmetric, so that the stationary
# distribution is uniform over the levels; see the module's docstring for what the numbers achieve.
_T14 = 0.19 - 1 / 6
LEVEL_TRANSITIONS = (
    (1 / 3, 1 / 3, 0.25, 0.06, _T14),
    (0.25, 0.25, 0.25, 0.19, 0.06),
    (0.25, 0.06, 0.19, 0.25, 0.25),
    (1 / 3, _T14, 0.06, 0.25, 1 / 3),
)

ACUTE_STATES = ("infection", "surgery", "trauma")
BACKGROUNDS = ("heart_failure", "renal_failure", "cancer")
THORACIC_EVENTS = ("thoracentesis", "emphysema")

_CAUSE_OF_ACUTE = {"infection": "pneumonia", "surgery": "atelectasis", "trauma": "contusion"}
_CAUSE_OF_BACKGROUND = {"heart_failure": "heart_failure", "renal_failure": "fluid_overload", "cancer": "malignancy"}
_CAUSE_OF_EVENT = {"thoracentesis": "procedure", "emphysema": "emphysema"}


RENDER_PURPOSES = ("shape", "pose", "exposure", "markings", *SITES)


@dataclass(frozen=True)
class Background:
    """The clinical facts of a visit that no image shows. `None` where the request form does not tell.

    Args:
        acute (`str`, *optional*): one of `ACUTE_STATES`, told in the indication; decides what a consolidation is.
        chronic (`str`, *optional*): one of `BACKGROUNDS`, told in the history; decides what effusions and edema are due to.
        event (`str`, *optional*): one of `THORACIC_EVENTS`, told in the history; decides what a pneumothorax is due to.
    """

    acute: str | None
    chronic: str | None
    event: str | None

    def cause(self, finding: str) -> str | None:
        if finding == "consolidation":
            return _CAUSE_OF_ACUTE.get(self.acute or "")
        if finding in ("effusion", "edema"):
            return _CAUSE_OF_BACKGROUND.get(self.chronic or "")
        return _CAUSE_OF_EVENT.get(self.event or "") if finding == "pneumothorax" else None


@dataclass(frozen=True)
class Visit:
    """One visit.

    Args:
        index (`int`): 0 for the first.
        acquired (`str`): ISO date-time; visits of a patient are strictly ordered.
        levels (`dict[str, int]`): severity level 1 .. 4 of each present site.
        values (`dict[str, float]`): continuous severity of each present site.
        devices (`dict[str, str]`): device -> position.
        background (`Background`): what the context tells.
        view (`str`): `"PA"` or `"AP"`, of the frontal image.
        has_lateral (`bool`): whether a lateral image was taken too.
    """

    index: int
    acquired: str
    levels: dict[str, int]
    values: dict[str, float]
    devices: dict[str, str]
    background: Background
    view: str
    has_lateral: bool


@dataclass(frozen=True)
class Patient:
    """A patient: the visits in order of time. `seed`, `group` and `index` name the patient's random streams."""

    seed: int
    group: int
    index: int
    visits: list[Visit] = field(default_factory=list)

    @property
    def patient_id(self) -> str:
        return f"{'pr'[self.group]}{self.seed}-{self.index:06d}"

    def study_id(self, visit: int) -> str:
        return f"{self.patient_id}-{visit + 1}"

    def facts(self, visit: int) -> Facts:
        """The truth of a visit, with changes against the visit before."""
        now = self.visits[visit]
        before = self.visits[visit - 1] if visit else None
        findings = {}
        for site in SITES:
            level = now.levels.get(site, 0)
            change = None if before is None else change_between(before.levels.get(site, 0), level)
            if level:
                cause = now.background.cause(split_site(site)[0])
                findings[site] = FindingFact("present", SEVERITIES[level - 1], change, cause, now.values[site])
            elif change is not None:
                findings[site] = FindingFact("absent", change=change)
        return Facts(findings, dict(now.devices))

    def text_stream(self, visit: int) -> RandomStream:
        return RandomStream(self.seed, self.group, self.index, _STREAM_TEXT, visit)

    def render_stream(self, visit: int | None, view: str = "", purpose: str = "shape") -> RandomStream:
        """One stream for each purpose, so that another finding never changes exposure or noise. `visit=None`: the patient's own
        shape, the same at each visit."""
        place = 0 if visit is None else 1 + 2 * visit + (view == "LATERAL")
        return RandomStream(self.seed, self.group, self.index, _STREAM_RENDER, place, RENDER_PURPOSES.index(purpose))


def change_between(before: int, now: int) -> str | None:
    """The change from one level (0 is absence) to another; `None` between absence and absence."""
    if not before and not now:
        return None
    if not before:
        return "new"
    if not now:
        return "resolved"
    return "unchanged" if now == before else "worsened" if now > before else "improved"


def _next_level(stream: RandomStream, level: int, prevalence: float) -> int:
    if level:
        return stream.choice(range(5), LEVEL_TRANSITIONS[level - 1])
    # Detailed balance: what appears at a level equals what resolves from it.
    appear = [row[0] * (prevalence / 4) / (1 - prevalence) for row in LEVEL_TRANSITIONS]
    return stream.choice(range(5), [1 - sum(appear), *appear])


def _first_level(stream: RandomStream, prevalence: float) -> int:
    return 1 + stream.integer(4) if stream.chance(prevalence) else 0


def _step_values(stream: RandomStream, before: Visit | None, levels: dict[str, int]) -> dict[str, float]:
    values = {}
    for site, level in levels.items():
        centre = LEVEL_CENTRES[level - 1]
        if before is not None and before.levels.get(site) == level:
            value = before.values[site] + stream.uniform(-UNCHANGED_DRIFT, UNCHANGED_DRIFT)
            value = min(max(value, centre - LEVEL_SPREAD), centre + LEVEL_SPREAD)
        else:
            value = stream.uniform(centre - LEVEL_SPREAD, centre + LEVEL_SPREAD)
        values[site] = round(value, 4)
    return values


def _step_devices(stream: RandomStream, before: Visit | None) -> dict[str, str]:
    devices = {}
    for device, prevalence in DEVICE_PREVALENCE.items():
        position = before.devices.get(device) if before else None
        keep = 1.0 if device == "pacemaker" else 0.7
        if position is not None and stream.chance(keep):
            # Tubes and lines get repositioned, leads do not.
            moved = device != "pacemaker" and stream.chance(0.25)
            devices[device] = stream.choice(DEVICES[device]) if moved else position
        elif position is None and stream.chance(prevalence if before is None else prevalence * 0.4):
            devices[device] = stream.choice(DEVICES[device])
    return devices


def _background(stream: RandomStream, chronic: str) -> Background:
    acute, event = stream.choice(ACUTE_STATES), stream.choice(THORACIC_EVENTS)
    has_indication, has_history = stream.chance(0.95), stream.chance(0.95)
    return Background(
        acute if has_indication else None, chronic if has_history else None, event if has_history else None
    )


def make_patient(seed: int, index: int, *, group: int = 0, max_visits: int = 5) -> Patient:
    """Patient number `index` of a cohort. Depends on `seed`, `group` and `index` only; `max_visits` cuts the course short.

    Args:
        seed (`int`): seed of the cohort.
        index (`int`): number of the patient.
        group (`int`, defaults to 0): 0 for cohorts, 1 for retrieval splits, which share no patient with cohorts.
        max_visits (`int`, defaults to 5): visits after these are left out.
    """
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must not be negative, got {seed} and {index}")
    stream = RandomStream(seed, group, index, _STREAM_COURSE)
    patient = Patient(seed, group, index)
    num_visits = 1 + stream.choice(range(5), NUM_VISITS_WEIGHTS)
    # Dates lie in a future that no real study can have.
    time = datetime.datetime(2160, 1, 1) + datetime.timedelta(minutes=stream.integer(20 * 365 * 24 * 60))
    chronic = stream.choice(BACKGROUNDS)
    symmetric = {finding: stream.chance(share) for finding, share in SYMMETRIC_SHARE.items()}
    before = None
    for visit_index in range(min(num_visits, max_visits)):
        levels = {}
        for finding, sided in FINDINGS.items():
            prevalence = PREVALENCE[finding]
            together = not sided or symmetric[finding]
            for side in (None,) if not sided else SIDES[:1] if together else SIDES:
                site = site_of(finding, side)
                if before is None:
                    level = _first_level(stream, prevalence)
                else:
                    level = _next_level(stream, before.levels.get(site, 0), prevalence)
                for place in SIDES if sided and together else (side,):
                    levels[site_of(finding, place)] = level
        levels = {site: level for site, level in levels.items() if level}
        visit = Visit(
            index=visit_index,
            acquired=time.isoformat(timespec="minutes"),
            levels=levels,
            values=_step_values(stream, before, levels),
            devices=_step_devices(stream, before),
            background=_background(stream, chronic),
            view=stream.choice(("PA", "AP")),
            has_lateral=stream.chance(0.3),
        )
        patient.visits.append(visit)
        # From some hours (intensive care) to years (out-patients).
        scale = stream.choice((0.5, 4.0, 60.0, 700.0), (0.25, 0.35, 0.25, 0.15))
        time += datetime.timedelta(minutes=180 + int(stream.uniform(0.3, 1.5) * scale * 24 * 60))
        before = visit
    return patient


__all__ = ["Background", "Patient", "Visit", "change_between", "make_patient"]
