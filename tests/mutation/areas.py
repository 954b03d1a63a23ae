"""The areas of the project whose tests are tried, each with its sources and with the tests that mirror them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCES = Path("src/diffusion_lab")


#: What this file reads of a module, the defaults in its signatures, is no line that a test executes.
READS_SIGNATURES = "config/test_defaults.py"


@dataclass(frozen=True)
class Area:
    """Modules, and the tests that are to catch faults in them.

    Attributes:
        sources: folders and files below `SOURCES`.
        tests: folders and files below tests/.
    """

    sources: tuple[str, ...]
    tests: tuple[str, ...]

    def files(self, root: Path) -> list[Path]:
        """Return the source files of the project in a folder, from there."""
        found = []
        for name in self.sources:
            place = root / SOURCES / name
            found += [place] if place.is_file() else sorted(place.rglob("*.py"))
        return [file.relative_to(root) for file in found]


def _mirrored(*sources: str, tests: tuple[str, ...] = ()) -> Area:
    """Return an area whose tests have the names of its sources, and some more that are of it."""
    named = [name if "." not in name else str(Path(name).with_name(f"test_{Path(name).name}")) for name in sources]
    return Area(sources, (*named, *tests))


AREAS = {
    "mathematics": _mirrored(
        "schedules",
        "processes",
        "parameterizations",
        "objectives",
        "sampling",
        "distributions.py",
        "noise.py",
        tests=(READS_SIGNATURES, "test_other_device.py"),
    ),
    "training": _mirrored(
        "training",
        tests=(
            "runs/test_train.py",
            "runs/test_resume.py",
            "runs/test_ends.py",
            "runs/test_rank_processes.py",
            READS_SIGNATURES,
        ),
    ),
    "networks": _mirrored("networks", tests=(READS_SIGNATURES, "test_other_device.py")),
    "data": Area(
        ("codecs", "data", "vocabulary"),
        ("codecs", "data", "test_vocabulary.py", "test_other_device.py", "runs/test_train.py", READS_SIGNATURES),
    ),
    "runs": _mirrored("run_folder", "reproduction", tests=("runs/test_train.py",)),
    "measures": _mirrored("likelihood", "metrics", tests=("runs/test_evaluate.py", READS_SIGNATURES)),
    "statistics": _mirrored(
        "catalogue/comparison",
        "catalogue/metric_names.py",
        "catalogue/number_format.py",
        tests=("test_compare_page.py",),
    ),
}
