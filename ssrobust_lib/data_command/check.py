"""`ssrobust data check`: is a set here whole, as published, and readable; every problem with its file and reason.

In: a manifest and the data root. Out: a `Report`. Layout first, then counts, checksums (published, and the user's
own), and last every image and label map, opened by the same loader that a run uses.
"""

import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ssrobust_lib.data_command import DataCommandError, checksums
from ssrobust_lib.data_command.download import gigabytes, mismatch
from ssrobust_lib.data_command.fetch import fetched_files
from ssrobust_lib.datasets.decoding import label_of
from ssrobust_lib.datasets.left_out import sort_left_out, without_name
from ssrobust_lib.datasets.loader import LOADERS, LayoutError, Source, UnreadableImageError, XRay
from ssrobust_lib.datasets.parallel import ordered_map

if TYPE_CHECKING:
    from ssrobust_lib.datasets.manifest import Manifest

XRAYS_PER_TASK = 16  # one by one, passing results between processes would cost as much as decoding
COLUMNS = ("what", "file", "reason")


class CheckError(DataCommandError):
    """A check that cannot go on; the message says what to do."""


@dataclass
class Report:
    """What a check found.

    Attributes
    ----------
    name, title, folder : of the set
    lines : (what, in words) of each part of the check, in order
    problems : what (layout, counts, checksums, images), file, reason
    notes : what is worth knowing and no problem: cases left out on purpose, a record that was replaced
    finished : False where it was stopped before the end
    """

    name: str
    title: str
    folder: str
    lines: list[tuple[str, str]] = field(default_factory=list)
    problems: list[dict[str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    finished: bool = False

    def problem(self, what: str, file: str, reason: str) -> None:
        """Add one problem."""
        self.problems.append({"what": what, "file": file, "reason": reason})

    @property
    def exit_code(self) -> int:
        """0 for a whole and readable set, 1 for problems, 130 where it was stopped."""
        return 130 if not self.finished else int(bool(self.problems))

    def table(self) -> pd.DataFrame:
        """The problems, one row each: what, file, reason."""
        return pd.DataFrame(self.problems, columns=list(COLUMNS))


def check_set(
    manifest: "Manifest",
    data_root: Path | None,
    *,
    workers: int = 1,
    open_files: bool = True,
    subset: bool = False,
    record: bool = False,
    record_file: Path | None = None,
    bar: bool | None = None,
) -> Report:
    """Check a set; Ctrl-C ends it with what was found so far.

    Parameters
    ----------
    manifest : of the set
    data_root : folder that holds the sets' folders
    workers : processes that decode, threads that hash
    open_files : decode every image and label map; without it the check is quick and says nothing of damaged files
    subset : the folder holds a part of the set on purpose: fewer images than published, or a table's images that are
        not there, are no problem
    record : write checksums of all files, in place of an older record
    record_file : where they are; beside the set's folder by default
    bar : show progress bars; None shows them in a terminal only

    Raises
    ------
    DataFolderError
        If the folder is not there, empty or laid out otherwise.
    ChecksumFileError
        If recorded checksums cannot be read or written.
    CheckError
        If a process dies for want of memory.
    """
    from ssrobust_lib.datasets.manifest import locate

    root = locate(manifest, data_root)
    report = Report(manifest.name, manifest.title, str(root))
    known = manifest.layout.verified
    if not manifest.layout.is_verified:
        known = f"never compared with real files: {known.removeprefix('no').lstrip(': ') or 'nobody has read them'}"
    report.lines.append(("layout", f"as expected ({known})"))
    try:
        samples = _check_samples(manifest, root, report, subset)
        _check_published(manifest, root, report)
        _check_recorded(root, report, record, record_file or checksums.record_path(root), workers, bar)
        if open_files and samples is not None:
            _check_images(manifest, root, samples, report, workers, bar)
        elif not open_files:
            report.lines.append(("images", "not opened"))
        report.finished = True
    except KeyboardInterrupt:
        report.notes.append("stopped before the end: what is above is what was looked at")
    return report


def _check_samples(manifest: "Manifest", root: Path, report: Report, subset: bool) -> pd.DataFrame | None:
    """List the set as a run would and compare its counts with the published ones."""
    from ssrobust_lib.datasets import index_samples
    from ssrobust_lib.datasets.manifest import count_report, found_counts, is_own

    try:
        samples, left_out = index_samples(manifest, root)
    except LayoutError as error:
        report.problem("layout", "", str(error))
        return None
    known_bad, by_rule, lacking = sort_left_out(manifest, root, left_out)
    for row in known_bad:
        report.notes.append(f"left out, known to be bad: {row['path']}: {row['reason']}")
    if by_rule:
        first = f"{by_rule[0]['path']}: {by_rule[0]['reason']}"
        report.lines.append(
            ("left out", f"{len(by_rule):,} by the rule of the loader {manifest.loader}; first {first}")
        )
    if is_own(manifest):
        named = {*samples["sample_id"], *left_out["sample_id"]}
        lost = [case.sample for case in manifest.known_bad if f"{manifest.name}/{case.sample}" not in named]
        report.notes += [f"the manifest's known_bad names {name!r}, which is no sample of the set" for name in lost]
    for row in lacking if not subset else ():
        report.problem("images", row["path"], row["reason"])
    counts = count_report(manifest, samples)
    told = [f"{row['found']:,} of {row['published']:,} {row['what']}" for row in counts]
    if not told:
        told = [f"{n:,} {what}" for what, n in found_counts(samples).items() if n or what != "positive"]
        told[-1] += "" if manifest.access == "own" else "; none published"
    report.lines.append(("counts", ", ".join(told)))
    for row in counts:
        if row["found"] > row["published"] or (row["found"] < row["published"] and not subset):
            hint = "" if row["found"] > row["published"] else " (--subset if that is on purpose)"
            report.problem("counts", "", f"{row['what']}: expected {row['published']:,}, found {row['found']:,}{hint}")
    return samples


def _check_published(manifest: "Manifest", root: Path, report: Report) -> None:
    """Compare what the publisher gives checksums of with the files that are still here."""
    if manifest.access == "own":
        return
    fetched = fetched_files(root, manifest.name)
    here, before = [], []
    for file in manifest.files:
        if not (file.md5 or file.sha256):
            continue
        path = next((path for path in (root / file.into / file.name, root / file.name) if path.is_file()), None)
        if path is not None:
            here.append(file.name)
            if wrong := mismatch(file, path):
                report.problem("checksums", str(path.relative_to(root)), wrong)
        elif file.name in fetched and all(fetched[file.name].get(a) == getattr(file, a) for a in checksums.ALGORITHMS):
            before.append(file.name)
    told = [f"{len(here)} published files compared"] if here else []
    told += [f"{len(before)} archives were right when they were fetched"] if before else []
    if not any(file.md5 or file.sha256 for file in manifest.files):
        told = ["none published" if manifest.access != "open" else "none known"]
    report.lines.append(("published checksums", "; ".join(told) or "of archives that are not here"))


def _check_recorded(root: Path, report: Report, record: bool, place: Path, workers: int, bar: bool | None) -> None:
    """Hash every file of the set, and compare with the user's record, or write it."""
    earlier = checksums.read_record(place) if place.is_file() else None
    if earlier is None and not record:
        report.lines.append(("own checksums", "not recorded (--record writes them)"))
        return
    paths = checksums.set_files(root)
    found: dict[str, str] = {}
    total = sum((root / path).stat().st_size for path in paths if (root / path).is_file())
    with _bar("checksums", total, "B", bar) as shown:
        for path, digest in checksums.digests(root, paths, workers=workers, shown=shown):
            if isinstance(digest, OSError):
                report.problem("checksums", path, f"cannot be read: {digest.strerror}")
            else:
                found[path] = digest
    differing = {} if earlier is None else checksums.compare(earlier, found)
    if record:
        checksums.write_record(place, found)
        report.lines.append(("own checksums", f"of {len(found):,} files ({gigabytes(total)}) written to {place}"))
        if differing:
            report.notes.append(f"the record replaces an older one, from which {len(differing):,} files differ")
            report.notes += [f"since the older record: {path} {reason}" for path, reason in list(differing.items())[:5]]
        return
    report.lines.append(("own checksums", f"{len(found):,} files ({gigabytes(total)}) compared with {place}"))
    for path, reason in differing.items():
        report.problem("checksums", path, reason)


def _check_images(
    manifest: "Manifest", root: Path, samples: pd.DataFrame, report: Report, workers: int, bar: bool | None
) -> None:
    """Open every image and label map with the set's loader."""
    from ssrobust_lib.datasets import structures_of

    source = Source(manifest.loader, root, structures_of(manifest, root))
    rows = samples.to_dict("records")
    size = XRAYS_PER_TASK if manifest.kind == "xray" else 1
    chunks = [rows[start : start + size] for start in range(0, len(rows), size)]
    opened = bad = 0
    word = "scans" if manifest.kind == "ct" else "images"
    try:
        with _bar(f"open {word}", len(rows), word, bar) as shown:
            tasks = ((chunk, source) for chunk in chunks)
            for chunk, reasons in zip(chunks, ordered_map(open_samples, tasks, workers), strict=True):
                shown(len(chunk))
                opened += len(chunk)
                for row, reason in zip(chunk, reasons, strict=True):
                    if reason is not None:
                        bad += 1
                        report.problem("images", str(row["image"]), reason)
    except RuntimeError as error:  # a worker process has died
        raise CheckError(f"{manifest.name}: after {opened:,} of {len(rows):,} {word}: {error} (--workers 1)") from error
    finally:
        labelled = int(samples["has_label"].sum()) if source.structures else 0
        maps = f", label maps of {labelled:,}" if labelled else ""
        report.lines.append(("images", f"{opened:,} of {len(rows):,} {word} opened{maps}; {bad:,} cannot be used"))


def open_samples(task: tuple[list[dict[str, Any]], Source]) -> list[str | None]:
    """Decode some samples, with their label maps; for each the reason why it cannot be used, or None."""
    rows, source = task
    reasons: list[str | None] = []
    for row in rows:
        try:
            _open_sample(row, source)
            reasons.append(None)
        except UnreadableImageError as error:
            reasons.append(str(error))
        except Exception as error:  # a reader's fault in one file must not hide what is wrong with the others
            reasons.append(f"{type(error).__name__}: {error}")
    return reasons


def _open_sample(row: dict[str, Any], source: Source) -> None:
    loader = LOADERS[source.loader]
    image = loader.read_image(source.root, row)
    if isinstance(image, XRay):
        pixels = image.pixels
        if not np.isfinite(pixels).all() or pixels.min() < 0 or pixels.max() > 1:
            raise UnreadableImageError("pixels are NaN, infinite or outside [0, 1]")
        return
    if row["has_label"] and source.structures:
        labels = label_of(row, source)
        if labels.shape != image.hu.shape:
            raise UnreadableImageError(f"the label map has {labels.shape} voxels, the scan {image.hu.shape}")
        if not labels.any():
            raise UnreadableImageError("the label map is empty: no voxel belongs to a structure")


@contextmanager
def _bar(what: str, total: int, unit: str, shown: bool | None) -> Iterator[Any]:
    """A progress bar that is called with what is done since; in a terminal only, unless told otherwise."""
    from tqdm import tqdm

    disable, scale = None if shown is None else not shown, unit == "B"
    unit = unit if scale else f" {unit}"
    with tqdm(total=total, desc=what, unit=unit, unit_scale=scale, leave=False, disable=disable) as bar:
        yield bar.update


def report_text(report: Report, at_most: int = 20, width: int | None = None) -> str:
    """A report for the terminal: a line for each part, then the problems, the first `at_most` one by one.

    Parameters
    ----------
    at_most : problems, and notes, that are told one by one
    width : columns at which long lines are broken; None leaves each in one line, for a file
    """
    lines = [f"{report.name}: {report.title}", f"  {'folder':<21}{report.folder}"]
    for what, told in report.lines:
        lines += _broken(f"  {what:<21}", told, width)
    for note in _some(report.notes, at_most):
        lines += _broken("  note: ", note, width)
    if report.problems:
        n = len(report.problems)
        lines.append(f"{n:,} problem{'s' if n > 1 else ''}:")
        for told in _some([_in_words(problem) for problem in report.problems], at_most):
            lines += _broken("  ", told, width, deeper=2)
        if n > at_most:
            lines.append("  (--report FILE.csv lists all of them)")
    elif report.finished:
        lines.append("no problem found")
    return "\n".join(lines)


def _in_words(problem: dict[str, str]) -> str:
    reason = without_name(problem["file"], problem["reason"])
    return ": ".join(part for part in (problem["what"], problem["file"], reason) if part)


def _broken(head: str, text: str, width: int | None, deeper: int = 0) -> list[str]:
    """Text after a head, in one line, or broken at a width so that later lines begin below its first word."""
    if width is None:
        return [head + text]
    later = " " * (len(head) + deeper)
    return textwrap.wrap(
        text, width, initial_indent=head, subsequent_indent=later, break_long_words=False, break_on_hyphens=False
    ) or [head.rstrip()]


def _some(lines: Sequence[str], at_most: int) -> list[str]:
    rest = len(lines) - at_most
    return list(lines[:at_most]) + ([f"... and {rest:,} more"] if rest > 0 else [])
