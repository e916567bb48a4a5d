"""The structured truth of a phantom study, and what the parser reads back from a report: the same dataclasses for both.

A fact is about one *site*: a finding and, where the finding has sides, a side. `"effusion:left"` and `"cardiomegaly"` are sites.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace


SIDES = ("left", "right")

# finding -> whether it has sides
FINDINGS = {
    "cardiomegaly": False,
    "effusion": True,
    "consolidation": True,
    "atelectasis": False,
    "edema": False,
    "pneumothorax": True,
}
SITES = tuple(
    site
    for finding, sided in FINDINGS.items()
    for site in ([f"{finding}:{side}" for side in SIDES] if sided else [finding])
)

SEVERITIES = ("minimal", "mild", "moderate", "severe")
# A resolved finding is absent now; the others are present now.
CHANGES = ("new", "worsened", "improved", "unchanged", "resolved")

# What a finding can be due to. The image never tells which; the clinical context does.
CAUSES = {
    "consolidation": ("pneumonia", "atelectasis", "contusion"),
    "effusion": ("heart_failure", "fluid_overload", "malignancy"),
    "edema": ("heart_failure", "fluid_overload", "malignancy"),
    "pneumothorax": ("procedure", "emphysema"),
}

DEVICES = {
    "endotracheal_tube": ("appropriate", "low", "high"),
    "central_line": ("superior_vena_cava", "right_atrium", "brachiocephalic_vein"),
    "pacemaker": ("right_ventricle", "right_atrium_and_ventricle"),
}


def split_site(site: str) -> tuple[str, str | None]:
    """`"effusion:left"` -> `("effusion", "left")`; `"edema"` -> `("edema", None)`."""
    finding, _, side = site.partition(":")
    return finding, side or None


def site_of(finding: str, side: str | None) -> str:
    return f"{finding}:{side}" if side else finding


@dataclass(frozen=True)
class FindingFact:
    """What is known of one site.

    Args:
        status (`str`): `"present"`, `"absent"` or `"uncertain"` (a hedged mention; truth is never uncertain).
        severity (`str`, *optional*): one of `SEVERITIES`, for present findings.
        change (`str`, *optional*): one of `CHANGES`, only where a prior exists.
        cause (`str`, *optional*): one of `CAUSES[finding]`, where the context tells it.
        value (`float`, *optional*): the continuous severity, 0 to about 1.1. Truth only; takes no part in comparisons.
    """

    status: str
    severity: str | None = None
    change: str | None = None
    cause: str | None = None
    value: float | None = field(default=None, compare=False)

    @property
    def present(self) -> bool:
        return self.status == "present"


@dataclass(frozen=True)
class Facts:
    """Facts of a study or of a report.

    Args:
        findings (`dict[str, FindingFact]`): by site. A site that is not named is absent.
        devices (`dict[str, str | None]`): device -> position of its tip or leads, one of `DEVICES[device]`; `None` where the text
            does not tell it.
    """

    findings: Mapping[str, FindingFact] = field(default_factory=dict)
    devices: Mapping[str, str | None] = field(default_factory=dict)

    def present_sites(self) -> set[str]:
        return {site for site, fact in self.findings.items() if fact.present}

    def changes(self) -> dict[str, str]:
        return {site: fact.change for site, fact in self.findings.items() if fact.change is not None}

    def causes(self) -> dict[str, str]:
        return {site: f.cause for site, f in self.findings.items() if f.cause is not None and f.present}

    def asserted(self) -> "Facts":
        """Without what is merely absent: equal for a truth and for a report that says all of it, whatever it negates."""
        kept = {
            site: fact for site, fact in self.findings.items() if fact.status != "absent" or fact.change is not None
        }
        return Facts({site: kept[site] for site in SITES if site in kept}, dict(sorted(self.devices.items())))

    def without_comparisons(self) -> "Facts":
        """The same without any change, as a report without a prior would state it."""
        findings = {site: replace(fact, change=None) for site, fact in self.findings.items()}
        return Facts(findings, self.devices)

    def to_json(self) -> str:
        findings = {
            site: {
                key: value
                for key, value in (
                    ("status", fact.status),
                    ("severity", fact.severity),
                    ("change", fact.change),
                    ("cause", fact.cause),
                    ("value", fact.value),
                )
                if value is not None
            }
            for site, fact in self.findings.items()
        }
        return json.dumps({"findings": findings, "devices": dict(self.devices)}, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Facts":
        """Raises `ValueError` for a text that `to_json` did not write."""
        try:
            data = json.loads(text)
            findings = {site: FindingFact(**fact) for site, fact in data["findings"].items()}
            devices = dict(data["devices"])
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"these are no facts: {error!r}") from None
        unknown = (set(findings) - set(SITES)) | (set(devices) - set(DEVICES))
        if unknown:
            raise ValueError(f"unknown sites or devices {sorted(unknown)}")
        return cls(findings, devices)


__all__ = [
    "CAUSES",
    "CHANGES",
    "DEVICES",
    "FINDINGS",
    "SEVERITIES",
    "SIDES",
    "SITES",
    "Facts",
    "FindingFact",
    "site_of",
    "split_site",
]
