"""Fetching whole sets from a server on loopback: complete, resumable, and never half a set in its folder."""

import fcntl
import hashlib
import io
import os
import zipfile
from pathlib import Path

import pytest
from archives import source, tar_of
from http_server import Server, running_server
from layouts import KERMANY, write_nih, write_pictures

from ssrobust_lib import cli
from ssrobust_lib.data_command import DataCommandError, fetch
from ssrobust_lib.data_command.download import DownloadError, Patience
from ssrobust_lib.data_command.extraction import ArchiveError
from ssrobust_lib.data_command.fetch import FetchError, fetch_set
from ssrobust_lib.datasets.manifest import Manifest, load_manifest, locate

QUICK = Patience(attempts=2, first_wait_s=0.01, longest_wait_s=0.02, connect_s=2, read_s=2)


@pytest.fixture
def server():
    with running_server() as server:
        yield server


def zipped(folder: Path) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            archive.write(path, path.relative_to(folder).as_posix())
    return stream.getvalue()


def offered(server: Server, manifest: str, *files: tuple[str, bytes, str, str]) -> Manifest:
    """A manifest of the project whose files (name, content, unpack, into) the server offers."""
    listed = tuple(
        source(server.serve(f"/{name}", content), content, name=name, unpack=unpack, into=into)
        for name, content, unpack, into in files
    )
    return load_manifest(manifest).model_copy(update={"access": "open", "files": listed, "counts": {}})


@pytest.fixture
def kermany(server: Server, tmp_path: Path) -> Manifest:
    return offered(server, "kermany", ("set.zip", zipped(write_pictures(tmp_path / "made", KERMANY)), "zip", ""))


@pytest.fixture
def nih(server: Server, tmp_path: Path) -> Manifest:
    """Two archives that both hold a folder images, and a table."""
    made = write_nih(tmp_path / "made")
    files = []
    for number in (1, 2):
        pictures = sorted((made / f"images_00{number}" / "images").iterdir())
        archive = tar_of(tmp_path / "tar", {f"images/{path.name}": path.read_bytes() for path in pictures})
        files.append((f"images_00{number}.tar.gz", archive.read_bytes(), "tar", f"images_00{number}"))
    table = "Data_Entry_2017_v2020.csv"
    return offered(server, "nih", *files, (table, (made / table).read_bytes(), "none", ""))


def got(manifest: Manifest, root: Path, **options: object) -> list[str]:
    """Fetch, and return what was said."""
    said: list[str] = []
    fetch_set(manifest, root, patience=QUICK, say=said.append, **options)
    return said


def tree(folder: Path) -> dict[str, bytes]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_a_zip_becomes_the_set_and_leaves_no_archive(server, kermany, tmp_path):
    said = got(kermany, tmp_path / "data")
    root = locate(kermany, tmp_path / "data")
    assert sorted(tree(root)) == sorted(KERMANY)
    assert tree(root) == tree(tmp_path / "made")
    assert "1 of 1 files to get" in said[0] and "5 files" in said[-1]
    assert list((tmp_path / "data" / ".ssrobust" / "kermany" / "downloads").iterdir()) == []


def test_nothing_complete_is_downloaded_again(server, nih, tmp_path):
    got(nih, tmp_path)
    asked = len(server.asked)
    assert got(nih, tmp_path) == []
    assert len(server.asked) == asked


def test_archives_gather_in_their_folders_beside_a_plain_file(nih, tmp_path):
    got(nih, tmp_path / "data")
    assert tree(tmp_path / "data" / "nih") == tree(tmp_path / "made")


def test_a_size_that_nobody_states_is_not_told_as_nothing(kermany, tmp_path):
    unstated = tuple(file.model_copy(update={"bytes": None}) for file in kermany.files)
    said = got(kermany.model_copy(update={"files": unstated}), tmp_path / "data")
    assert said[0] == "kermany: 1 of 1 files to get, of a size that is not stated"


def test_archives_are_kept_on_demand(kermany, tmp_path):
    got(kermany, tmp_path, keep_archives=True)
    (archive,) = (tmp_path / ".ssrobust" / "kermany" / "downloads").iterdir()
    assert hashlib.sha256(archive.read_bytes()).hexdigest() == kermany.files[0].sha256


def test_only_what_was_deleted_since_is_fetched_again(server, nih, tmp_path):
    got(nih, tmp_path)
    (tmp_path / "nih" / "images_002" / "images" / "00000002_001.png").unlink()
    server.asked.clear()
    got(nih, tmp_path)
    assert [path for path, _, _ in server.asked] == ["/images_002.tar.gz"]
    assert tree(tmp_path / "nih") == tree(tmp_path / "made")


def test_a_new_version_in_the_manifest_is_fetched(server, nih, tmp_path):
    got(nih, tmp_path)
    content = (tmp_path / "made" / "Data_Entry_2017_v2020.csv").read_bytes() + b"\n"
    newer = source(server.serve("/v2.csv", content), content, name="Data_Entry_2017_v2020.csv")
    got(nih.model_copy(update={"files": (*nih.files[:2], newer)}), tmp_path)
    assert (tmp_path / "nih" / "Data_Entry_2017_v2020.csv").read_bytes() == content


@pytest.mark.parametrize("steps", range(12))
def test_wherever_it_is_interrupted_no_half_set_is_there_and_the_next_call_goes_on(nih, tmp_path, monkeypatch, steps):
    """Stop at the k-th rename, whatever it is of: download, unpacked file, note, whole set."""
    replace, left = os.replace, [steps]

    def stopping(*arguments: object) -> None:
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        replace(*arguments)

    monkeypatch.setattr(os, "replace", stopping)
    folder = tmp_path / "data" / "nih"
    try:
        got(nih, tmp_path / "data")
    except KeyboardInterrupt:
        assert not folder.exists() or tree(folder) == tree(tmp_path / "made")
    else:
        assert steps >= 10  # three downloads, three pictures, three notes, the set
    monkeypatch.setattr(os, "replace", replace)
    got(nih, tmp_path / "data")
    assert tree(folder) == tree(tmp_path / "made")


def test_what_came_before_an_interruption_is_not_downloaded_again(server, nih, tmp_path):
    server.files["/images_002.tar.gz"].faults = ["status:404"]
    with pytest.raises(DownloadError, match="404"):
        got(nih, tmp_path)
    assert not (tmp_path / "nih").exists()
    server.asked.clear()
    got(nih, tmp_path)
    assert [path for path, _, _ in server.asked] == ["/images_002.tar.gz", "/Data_Entry_2017_v2020.csv"]


def test_an_unsafe_archive_leaves_nothing_in_the_data_folder(server, tmp_path):
    archive = tar_of(tmp_path / "a.tar", {"good.png": b"x", "../../../evil.png": b"evil"}).read_bytes()
    manifest = offered(server, "kermany", ("set.tar.gz", archive, "tar", ""))
    with pytest.raises(ArchiveError, match=r"set\.tar\.gz: the name '../../../evil.png' leads out of its folder"):
        got(manifest, tmp_path / "data")
    assert [path.name for path in (tmp_path / "data").iterdir()] == [".ssrobust"]
    assert list(tmp_path.rglob("*.png")) == []


def test_archives_that_contradict_each_other_are_refused(server, tmp_path):
    first, second = ({"a.png": b"1"}, {"a.png": b"22"})
    manifest = offered(
        server, "kermany", *(
            (f"{turn}.tar", tar_of(tmp_path / "t", files, "w").read_bytes(), "tar", "")
            for turn, files in enumerate((first, second))
        ),
    )  # fmt: skip
    with pytest.raises(ArchiveError, match=r"a\.png came from another archive"):
        got(manifest, tmp_path / "data")


def test_a_set_that_is_here_already_is_left_alone(server, kermany, tmp_path):
    write_pictures(tmp_path / "data" / "kermany", KERMANY[:-1])
    before = tree(tmp_path / "data" / "kermany")
    with pytest.raises(FetchError, match="kermany is in .* already, but not from this command"):
        got(kermany, tmp_path / "data")
    assert tree(tmp_path / "data" / "kermany") == before and server.asked == []


def test_a_file_that_the_user_has_put_there_is_neither_replaced_nor_downloaded(server, nih, tmp_path):
    folder = tmp_path / "data" / "nih"
    folder.mkdir(parents=True)
    table = nih.files[2].name
    (folder / table).write_bytes((tmp_path / "made" / table).read_bytes())
    (folder / "notes.txt").write_text("mine")
    got(nih, tmp_path / "data")
    assert [path for path, _, _ in server.asked] == ["/images_001.tar.gz", "/images_002.tar.gz"]
    assert tree(folder) == tree(tmp_path / "made") | {"notes.txt": b"mine"}


def test_a_file_of_the_user_that_differs_from_the_published_one_stops_the_fetch(server, nih, tmp_path):
    folder = tmp_path / "data" / "nih"
    folder.mkdir(parents=True)
    table = nih.files[2].name
    (folder / table).write_text("my own table")
    for _ in range(2):  # the second call says the same, and downloads nothing again
        with pytest.raises(FetchError, match=f"{table} was there before and differs"):
            got(nih, tmp_path / "data")
        assert len(server.asked) == 3
    assert tree(folder) == {table: b"my own table"}
    (folder / table).unlink()
    got(nih, tmp_path / "data")
    assert tree(folder) == tree(tmp_path / "made") and len(server.asked) == 3


def test_an_empty_folder_and_one_behind_a_link_are_filled(kermany, tmp_path):
    (tmp_path / "elsewhere" / "kermany").mkdir(parents=True)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "kermany").symlink_to(tmp_path / "elsewhere" / "kermany")
    got(kermany, tmp_path / "data")
    assert tree(tmp_path / "elsewhere" / "kermany") == tree(tmp_path / "made")


def test_a_folder_on_another_disk_is_filled_file_by_file(kermany, tmp_path, monkeypatch):
    replace = os.replace

    def across(source: object, target: object) -> None:
        inside = str(tmp_path / "data" / "kermany")
        if str(target).startswith(inside) and not str(source).startswith(inside):
            raise OSError(18, "Invalid cross-device link")
        replace(source, target)

    monkeypatch.setattr(os, "replace", across)
    got(kermany, tmp_path / "data")
    assert tree(tmp_path / "data" / "kermany") == tree(tmp_path / "made")
    assert not (tmp_path / "data" / ".ssrobust" / "kermany" / "staged").exists()


def test_a_second_process_is_told_of_the_first(kermany, tmp_path):
    (tmp_path / ".ssrobust" / "kermany").mkdir(parents=True)
    with open(tmp_path / ".ssrobust" / "kermany" / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(FetchError, match="another process is fetching 'kermany'"):
            got(kermany, tmp_path)


def test_a_disk_that_is_too_small_is_noticed_before_the_first_request(server, kermany, tmp_path):
    (file,) = kermany.files
    huge = kermany.model_copy(update={"files": (file.model_copy(update={"bytes": 10**18}),)})
    with pytest.raises(DownloadError, match="needs 2000000.0 TB"):
        got(huge, tmp_path)
    assert server.asked == []


def test_a_folder_that_cannot_be_written_is_named(kermany, tmp_path, monkeypatch):
    def read_only(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path / "data"))

    monkeypatch.setattr(Path, "mkdir", read_only)
    with pytest.raises(FetchError, match=r"data cannot be written \(Permission denied\): name another data folder"):
        got(kermany, tmp_path / "data")


@pytest.mark.parametrize(
    ("access", "why"),
    [("open", "no address"), ("account", "an account"), ("registration", "a registration"), ("agreement", "a signed")],
)
def test_a_set_that_is_not_offered_openly_says_how_to_get_it(tmp_path, access, why):
    manifest = load_manifest("rsna").model_copy(update={"access": access, "files": (), "get": "ask at their desk."})
    with pytest.raises(FetchError) as caught:
        got(manifest, tmp_path)
    assert why in str(caught.value) and "How to get it: ask at their desk. Put it in" in str(caught.value)
    assert str(tmp_path / "rsna") in str(caught.value) and list(tmp_path.iterdir()) == []


def run_command(monkeypatch: pytest.MonkeyPatch, manifest: Manifest, root: Path) -> int:
    """`ssrobust data fetch` with a manifest of ours in place of the project's."""
    from ssrobust_lib.datasets import manifest as manifests

    monkeypatch.setattr(manifests, "load_manifest", lambda name: manifest)
    monkeypatch.setattr(fetch, "Patience", lambda: QUICK)
    return cli.run(["data", "fetch", manifest.name, "--root", str(root)])


def test_the_command_says_what_it_got_and_what_comes_next(kermany, tmp_path, monkeypatch, capsys):
    assert run_command(monkeypatch, kermany, tmp_path / "data") == 0
    said = capsys.readouterr().out
    assert "licence: CC BY 4.0" in said and f"kermany is here: {tmp_path / 'data' / 'kermany'}" in said
    assert "ssrobust data check kermany" in said


def test_the_command_fails_in_one_line(server, kermany, tmp_path, monkeypatch, capsys):
    server.files.clear()
    assert run_command(monkeypatch, kermany, tmp_path / "data") == 1
    error = capsys.readouterr().err
    assert error.startswith("ssrobust: http://127.0.0.1") and "404" in error and error.count("\n") == 1


def test_the_command_says_where_a_fetched_set_is_laid_out_otherwise(server, tmp_path, monkeypatch, capsys):
    archive = tar_of(tmp_path / "a.tar", {"pictures/a.png": b"x"}).read_bytes()
    manifest = offered(server, "kermany", ("set.tar.gz", archive, "tar", ""))
    assert run_command(monkeypatch, manifest, tmp_path / "data") == 1
    error = capsys.readouterr().err
    assert "everything with an address is here, but the set is not whole" in error and "laid out otherwise" in error


def test_every_error_of_the_commands_is_told_without_a_traceback():
    for error in (FetchError, DownloadError, ArchiveError):
        assert issubclass(error, DataCommandError) and cli._expected(error("told"))
