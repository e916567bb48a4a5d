"""What is read: statements, and the words that decided."""

from dataclasses import dataclass, field


SIDES = ("left", "right", "bilateral")
PRESENCES = ("present", "absent", "uncertain")
SEVERITIES = ("subtle", "trace", "small", "mild", "moderate", "large", "severe")
CHANGES = ("new", "increased", "decreased", "unchanged", "resolved")
# The four grades on which severities of two reports are compared: a small effusion is a mild one.
GRADES = ("minimal", "mild", "moderate", "severe")
GRADE_OF = {"subtle": "minimal", "trace": "minimal", "small": "mild", "mild": "mild", "moderate": "moderate", "large": "severe", "severe": "severe"}  # fmt: skip
OVERALL = "overall"


@dataclass(frozen=True, slots=True)
class Trigger:
    """Words that decided a part of a statement.

    Args:
        part (`str`): `"side"`, `"presence"`, `"severity"` or `"change"`.
        text (`str`): the words, in lower case, abbreviations expanded.
        start, end (`int`): their place in the text, in characters.
    """

    part: str
    text: str
    start: int
    end: int


@dataclass(frozen=True)
class Statement:
    """What a report says of one finding on one side, as things stand at its end.

    Args:
        finding (`str`): one of `tables.findings()` (the labels of [`read_facts`] are among them), or `"overall"` for the chest as a whole.
        side (`str`, *optional*): `"left"`, `"right"`, `"bilateral"`, or `None` where no side is given or the finding has none.
        presence (`str`, *optional*): `"present"`, `"absent"`, `"uncertain"`, or `None` where an organ is named without saying.
        severity (`str`, *optional*): `"trace"`, `"small"`, `"mild"`, `"moderate"`, `"large"` or `"severe"`, as it is now; or
            `"subtle"`, a word of visibility rather than size, which is graded with the smallest and is no severity in [`read_facts`].
        change (`str`, *optional*): `"new"`, `"increased"`, `"decreased"`, `"unchanged"` or `"resolved"`, against the earlier study.
        start, end (`int`): where the finding is (last) named, in characters; takes no part in comparisons.
        words (`str`): by which the finding is named there; takes no part in comparisons.
        explains (`bool`): whether it is named only as what another finding may be or is due to; takes no part in comparisons.
        triggers (`tuple[Trigger]`): the words that decided; take no part in comparisons.
        mentions (`tuple[tuple[int, int]]`): every place where the finding is named; takes no part in comparisons.
    """

    finding: str
    side: str | None = None
    presence: str | None = None
    severity: str | None = None
    change: str | None = None
    start: int = field(default=0, compare=False)
    end: int = field(default=0, compare=False)
    words: str = field(default="", compare=False)
    explains: bool = field(default=False, compare=False)
    triggers: tuple[Trigger, ...] = field(default=(), compare=False)
    mentions: tuple[tuple[int, int], ...] = field(default=(), compare=False)

    @property
    def site(self) -> str:
        """`"pleural_effusion:left"`, or the finding alone where there is no side."""
        return f"{self.finding}:{self.side}" if self.side else self.finding

    @property
    def sites(self) -> tuple[str, ...]:
        """The site, or for a bilateral finding that of each side: "bilateral effusions" are a left and a right one."""
        if self.side == "bilateral":
            return (f"{self.finding}:left", f"{self.finding}:right")
        return (self.site,)

    @property
    def grade(self) -> str | None:
        """The severity on the scale of four, see `GRADES`."""
        return GRADE_OF.get(self.severity or "")


__all__ = ["CHANGES", "GRADES", "GRADE_OF", "OVERALL", "PRESENCES", "SEVERITIES", "SIDES", "Statement", "Trigger"]
