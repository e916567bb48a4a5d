"""How well change could be guessed without the prior, and the cause without the context, by the best possible guesser.

Nothing is rendered and nothing is trained: the truths of a large cohort are counted. The guesser is given more than any model has: the
exact state behind the current image (every finding's level, the view, the devices) and the true distribution of the answer given that
state, so that no model without the prior (without the context) can do better in expectation.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from .cohort import Patient, Visit, make_patient
from .facts import SITES, split_site


def _visits(num_patients: int, seed: int) -> Iterator[tuple[Patient, int, Visit]]:
    for index in range(num_patients):
        patient = make_patient(seed, index)
        for number, visit in enumerate(patient.visits):
            yield patient, number, visit


def _split_best(table: dict, held_out: dict) -> tuple[int, int]:
    """Right answers and items when the most frequent answer of each group in `table` is given in `held_out`."""
    right = total = 0
    for group, answers in held_out.items():
        total += sum(answers.values())
        if group in table:
            right += answers[table[group].most_common(1)[0][0]]
    return right, total


def best_change_accuracy_without_prior(num_patients: int = 20_000, seed: int = 0) -> dict[str, float]:
    """The best `change_accuracy` of a writer who is told that a prior exists, sees everything else, but not the prior.

    Returns:
        `dict`: `bound` for the exact groups (finding, side, current level, view, how many findings are present), fitted on one half of
        the patients and counted on the other; `resolved_share`, the share of findings that are resolved, which such a writer cannot
        name without making up more comparisons than it gets right; `items`.
    """
    tables: tuple[dict, dict] = (defaultdict(Counter), defaultdict(Counter))
    resolved = [0, 0]
    absent = [0, 0]
    for patient, number, visit in _visits(num_patients, seed):
        if number == 0:
            continue
        half = patient.index % 2
        changes = patient.facts(number).changes()
        for site in SITES:
            level = visit.levels.get(site, 0)
            if level:
                group = (site, level, visit.view, min(len(visit.levels), 4))
                tables[half][group][changes[site]] += 1
            else:
                absent[half] += 1
                resolved[half] += changes.get(site) == "resolved"
    right, present = _split_best(tables[0], tables[1])
    total = present + resolved[1]
    bound = right / total
    # Guessing "resolved" wherever nothing is seen: each right guess gains, each wrong one adds to what is counted.
    with_resolved = (right + resolved[1]) / (present + absent[1])
    return {"bound": max(bound, with_resolved), "resolved_share": resolved[1] / total, "items": float(total)}


def best_cause_accuracy_without_context(num_patients: int = 20_000, seed: int = 0) -> dict[str, float]:
    """The best `cause_accuracy` of a writer who sees every image but not the context.

    Groups: the finding, its level, its change, the view, and which other findings are present; fitted on one half of the patients,
    counted on the other.
    """
    tables: tuple[dict, dict] = (defaultdict(Counter), defaultdict(Counter))
    for patient, number, visit in _visits(num_patients, seed):
        facts = patient.facts(number)
        others = frozenset(split_site(site)[0] for site in visit.levels)
        for site, cause in facts.causes().items():
            group = (split_site(site)[0], visit.levels[site], facts.findings[site].change, visit.view, others)
            tables[patient.index % 2][group][cause] += 1
    right, total = _split_best(tables[0], tables[1])
    return {"bound": right / total, "items": float(total)}


def change_distribution(num_patients: int = 20_000, seed: int = 0) -> dict[int, dict[str, float]]:
    """Distribution of the change given the current level (1 .. 4), over all sites with a prior."""
    table: dict[int, Counter] = defaultdict(Counter)
    for patient, number, visit in _visits(num_patients, seed):
        if number:
            changes = patient.facts(number).changes()
            for site, level in visit.levels.items():
                table[level][changes[site]] += 1
    return {level: _shares(table[level].items()) for level in sorted(table)}


def _shares(counts: Iterable[tuple[str, int]]) -> dict[str, float]:
    table = dict(counts)
    return {name: table[name] / sum(table.values()) for name in sorted(table)}


__all__ = ["best_cause_accuracy_without_context", "best_change_accuracy_without_prior", "change_distribution"]
