"""`ssrobust data list|check|fetch|show|prepare`: their options, and what each prints.

In: the arguments of the command line. Out: text on standard output, an exit code. Whatever a command needs is imported
when it runs.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ssrobust_lib.datasets.manifest import Manifest

ROOT_HELP = "folder that holds the sets' folders (default: the environment's SSROBUST_REAL_DATA)"
NAME_HELP = "name of a set (`ssrobust data list`), or path of a manifest of your own (*.yaml)"


def add_data_command(commands: Any) -> None:
    """Add `data` and its own commands to the parser's commands."""
    about = "list, fetch, check, show and prepare data sets"
    data = commands.add_parser("data", help=about, description=about)
    inner = data.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, run: Any, about: str) -> argparse.ArgumentParser:
        added = inner.add_parser(name, help=about, description=about)
        added.set_defaults(run=run)
        added.add_argument("--root", type=Path, metavar="FOLDER", help=ROOT_HELP)
        return added

    listed = command("list", _list, "say of every set whether it is here, on what terms it is given, how to get it")
    listed.add_argument("names", nargs="*", metavar="NAME", help="sets to tell of (default: all); " + NAME_HELP)
    listed.add_argument("--json", action="store_true", help="print everything known as JSON")

    check = command(
        "check", _check, "check layout, counts, checksums, and that every file can be read; exit code 0 or 1"
    )
    check.add_argument("name", help=NAME_HELP)
    _add_workers(check)
    check.add_argument("--quick", action="store_true", help="do not open the images")
    check.add_argument(
        "--subset", action="store_true", help="a part of the set is here on purpose: accept smaller counts"
    )
    check.add_argument(
        "--record", action="store_true", help="write checksums of all files; later checks compare with them"
    )
    check.add_argument(
        "--checksums", type=Path, metavar="FILE", help="where they are (default: <set>.sha256 beside the set)"
    )
    check.add_argument("--report", type=Path, metavar="FILE", help="write all problems as CSV: what, file, reason")

    fetch = command("fetch", _fetch, "download an open set; stop it with Ctrl-C, the same command goes on")
    fetch.add_argument("name", help=NAME_HELP)
    fetch.add_argument("--keep-archives", action="store_true", help="do not delete archives once they are unpacked")

    show = command("show", _show, "write a contact sheet of some images, CT with its structures, as PNG")
    show.add_argument("name", help=NAME_HELP)
    show.add_argument("-n", type=int, help="number of images (default: 12 X-rays or 4 scans)")
    show.add_argument("--seed", type=int, default=0, help="which images (default: 0)")
    show.add_argument("--to", type=Path, metavar="FILE", help="the PNG to write (default: runs/data/<set>.png)")

    prepare = command("prepare", _prepare, "decode and resample a whole set into the cache, before a run needs it")
    prepare.add_argument("name", help=NAME_HELP)
    prepare.add_argument("--profile", default="paper", help="run whose preprocessing is used (default: paper)")
    prepare.add_argument("--size", type=int, metavar="PIXELS", help="side of the images instead of the profile's")
    prepare.add_argument("--pixel-mm", type=float, metavar="MM", help="CT: size of a pixel")
    prepare.add_argument("--slice-mm", type=float, metavar="MM", help="CT: distance of slices")
    prepare.add_argument("--window", type=float, nargs=2, metavar=("LOW", "HIGH"), help="CT: HU shown as 0 and 1")
    _add_workers(prepare)


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")


def data_root(chosen: argparse.Namespace) -> Path | None:
    """The data folder that the option or else the environment names; None where neither does."""
    from ssrobust_lib.sources import REAL_DATA

    named = chosen.root or os.environ.get(REAL_DATA)
    return Path(named).expanduser() if named else None


def _manifest_and_root(chosen: argparse.Namespace) -> "tuple[Manifest, Path | None]":
    """The manifest, and the data folder; a project's own set cannot be looked for without one.

    Raises `DataFolderError` that says how to name the folder.
    """
    from ssrobust_lib.datasets.manifest import FOLDER, DataFolderError, load_manifest
    from ssrobust_lib.sources import REAL_DATA

    manifest, root = load_manifest(chosen.name), data_root(chosen)
    if root is None and (manifest.file is None or manifest.file.parent == FOLDER):
        raise DataFolderError(
            f"no data folder is named: expected --root FOLDER, or {REAL_DATA} in the environment. Name the folder that "
            f"holds {manifest.folder}/, or is to hold it (`export {REAL_DATA}=/path/to/images`)"
        )
    return manifest, root


def _list(chosen: argparse.Namespace) -> None:
    import json

    from ssrobust_lib.data_command.inventory import as_json, inventory, inventory_text
    from ssrobust_lib.datasets.manifest import load_manifest, manifests

    sets = {name: load_manifest(name) for name in chosen.names} or manifests()
    root = data_root(chosen)
    entries = inventory(sets, root)
    if chosen.json:
        print(json.dumps(as_json(entries, root), indent=1, ensure_ascii=False))
    else:
        print(inventory_text(entries, root, width=_columns()))


def _columns() -> int:
    """Width of the terminal, within what reads well."""
    return max(80, min(shutil.get_terminal_size((100, 24)).columns, 120))


def _check(chosen: argparse.Namespace) -> int:
    from ssrobust_lib.data_command.check import CheckError, check_set, report_text

    manifest, root = _manifest_and_root(chosen)
    report = check_set(
        manifest, root, workers=chosen.workers, open_files=not chosen.quick, subset=chosen.subset, record=chosen.record,
        record_file=chosen.checksums,
    )  # fmt: skip
    print(report_text(report, width=_columns() if sys.stdout.isatty() else None))
    if chosen.report is not None:
        try:
            report.table().to_csv(chosen.report, index=False)
        except OSError as error:
            raise CheckError(f"{chosen.report} cannot be written ({error.strerror or error})") from error
        print(f"all problems: {chosen.report}")
    return report.exit_code


def _fetch(chosen: argparse.Namespace) -> None:
    from tqdm import tqdm

    from ssrobust_lib.data_command.fetch import FetchError, fetch_set
    from ssrobust_lib.datasets.manifest import DataFolderError, locate

    manifest, root = _manifest_and_root(chosen)
    if root is None:
        root = Path.cwd()
    if manifest.files:
        print(f"{manifest.title}\n  licence: {manifest.licence}\n  terms: {manifest.terms}")
    fetch_set(manifest, root, keep_archives=chosen.keep_archives, say=tqdm.write)
    try:
        folder = locate(manifest, root)
    except DataFolderError as error:
        raise FetchError(f"everything with an address is here, but the set is not whole. {error}") from error
    print(f"{manifest.name} is here: {folder}\nnext: ssrobust data check {chosen.name}")


def _show(chosen: argparse.Namespace) -> None:
    from ssrobust_lib.data_command.contact_sheet import show_set
    from ssrobust_lib.datasets.left_out import without_name

    manifest, root = _manifest_and_root(chosen)
    shown = show_set(manifest, root, n=chosen.n, seed=chosen.seed, target=chosen.to)
    for path, reason in shown.skipped.items():
        print(f"passed over: {path}: {without_name(path, reason)}")
    what = "scans" if manifest.kind == "ct" else "images"
    print(f"{len(shown.samples)} {what} of {manifest.name}: {shown.path}")
    print(f"terms: {manifest.terms}")


def _prepare(chosen: argparse.Namespace) -> None:
    from ssrobust_lib.config import load_profile
    from ssrobust_lib.data_command.prepare import in_words, prepare, settings_for
    from ssrobust_lib.datasets.left_out import without_name

    manifest, root = _manifest_and_root(chosen)
    settings = settings_for(
        manifest.kind,
        load_profile(chosen.profile),
        size=chosen.size,
        pixel_mm=chosen.pixel_mm,
        slice_mm=chosen.slice_mm,
        window_hu=tuple(chosen.window) if chosen.window else None,
    )
    print(f"{manifest.name}: {in_words(settings)}")
    folder, problems = prepare(manifest, root, settings, workers=chosen.workers)
    for row in problems.head(20).to_dict("records"):
        print(f"left out: {row['path']}: {without_name(row['path'], row['reason'])}")
    if len(problems) > 20:
        print(f"... and {len(problems) - 20:,} more: ssrobust data check {chosen.name} --report FILE.csv")
    more = f" (missing or not decoded, and left out: {len(problems):,})" if len(problems) else ""
    print(f"{manifest.name} is prepared{more}: {folder}")
