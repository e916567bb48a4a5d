"""Ways to print a header, for the made-up reports in `report_layouts_second.py`; `d` is the draft of a report."""

MISSPELT = {
    "INDICATION": "INDICTION", "FINDINGS": "FINDNGS", "IMPRESSION": "IMPRESION", "COMPARISON": "COMPARISION", "HISTORY": "HISTROY",
}  # fmt: skip


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


HEADS = (head_plain,) * 6 + (
    head_title, head_lower, head_own_line, head_own_line_gap, head_bare_line, head_dash, head_markdown, head_bold, head_bold_line,
    head_numbered, head_underlined, head_misspelt, head_spaced, head_marked, head_hash,
)  # fmt: skip
SECOND_HEADS = (head_plain,) * 6 + (
    head_double, head_indented_next, head_dot, head_roman, head_h3, head_star_colon_inside, head_bullet, head_date, head_no_space, head_title,
    head_bare_line, head_own_line,
)  # fmt: skip
THIRD_HEADS = (head_plain,) * 8 + (
    head_star, head_slanted, head_colon_dash, head_rules, head_letter, head_dot_bullet, head_quoted, head_tab, head_line_dash, head_gap_blank, head_lower,
    head_title,
)  # fmt: skip
