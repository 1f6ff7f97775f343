"""The tiny study with control arms and curves: what a profile says of them, small enough for a test."""

from typing import Any

from tiny_profile import tiny_profile

CONTROLS = {
    "jigsaw_same_data": {"pretext": "jigsaw", "pool": "labelled"},
    "scratch_long": {"as_long_as": "jigsaw"},
    "scratch_augmented": {"augmentation": {}},
}
CURVES = {
    "seeds": 1,
    "labels": {"pneumonia": [0.3, 0.5, "all"], "organs": [1, "all"]},
    "pool": {"pneumonia": [0.5], "organs": [0.5]},
}


def controls_profile(**changed: Any) -> dict[str, Any]:
    """Sections of the profile; `changed` ones take the place of those below."""
    sections = tiny_profile(name="tiny-controls", controls=CONTROLS, curves=CURVES)
    sections["arms"] += list(CONTROLS)
    return sections | changed
