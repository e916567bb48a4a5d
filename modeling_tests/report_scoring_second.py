"""How well a parser does on the made-up reports of `report_layouts_second.py`."""

SECTIONS = ("indication", "history", "comparison", "findings", "impression")


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
        if "history: " in _context(report.expected).lower() and _context_words(found) == _context_words(
            report.expected
        ):
            missed = [
                s for s in missed if s not in ("indication", "history")
            ]  # "INDICATION: History: ___F" may be either
        for s in SECTIONS:
            right[s] += s not in missed
        context, expected_context = _context(found), _context(report.expected)
        leaked = [s for s in report.body if s in context and s not in expected_context]
        if leaked:
            leaks.append((report, leaked))
        if missed:
            wrong.append((report, missed, found))
    return {s: right[s] / total for s in SECTIONS}, 1 - len(wrong) / total, leaks, wrong
