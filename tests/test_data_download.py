"""Downloads from a server on loopback that cuts, lies, moves, forgets and fails; only the right bytes are kept."""

import hashlib
from pathlib import Path
from types import SimpleNamespace

import pytest
from archives import source
from http_server import Server, running_server

from ssrobust_lib.data_command import download as module
from ssrobust_lib.data_command.download import DownloadError, Patience, download

CONTENT = bytes(range(256)) * 1200  # 307,200 bytes
QUICK = Patience(attempts=3, first_wait_s=0.01, longest_wait_s=0.02, connect_s=2, read_s=2)


@pytest.fixture
def server():
    with running_server() as server:
        yield server


def get(server: Server, tmp_path: Path, *faults: str, said: list[str] | None = None, **fields: object) -> Path:
    address = server.serve("/a.bin", CONTENT, *faults)
    content = fields.pop("content", CONTENT)
    target = tmp_path / "in" / "a.bin"
    download(source(address, content, **fields), target, patience=QUICK, say=(said if said is not None else []).append)
    return target


def leave_part(target: Path, content: bytes, address: str, validator: str | None = '"v1"') -> None:
    """A part as an earlier, interrupted call leaves it."""
    import json

    target.parent.mkdir(parents=True, exist_ok=True)
    target.with_name("a.bin.part").write_bytes(content)
    target.with_name("a.bin.part.json").write_text(json.dumps({"address": address, "validator": validator}))


def ranges(server: Server) -> list[str]:
    return [asked for _, asked, _ in server.asked]


def test_a_file_arrives_whole_and_leaves_no_part(server, tmp_path):
    target = get(server, tmp_path)
    assert target.read_bytes() == CONTENT
    assert [path.name for path in target.parent.iterdir()] == ["a.bin"]


def test_a_whole_file_is_not_asked_for_again(server, tmp_path):
    get(server, tmp_path)
    get(server, tmp_path)
    assert len(server.asked) == 1


def test_a_cut_connection_is_continued_where_it_broke(server, tmp_path):
    said: list[str] = []
    target = get(server, tmp_path, "cut:200000", "cut:50000", said=said)
    assert target.read_bytes() == CONTENT
    assert ranges(server) == ["", "bytes=107200-", "bytes=257200-"]
    assert len(said) == 2 and "a.bin" in said[0] and "trying again in" in said[0]


def test_an_earlier_part_is_continued(server, tmp_path):
    target = tmp_path / "in" / "a.bin"
    leave_part(target, CONTENT[:1000], server.address + "/a.bin")
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [("/a.bin", "bytes=1000-", 206)]


def test_a_part_that_is_the_whole_is_recognised(server, tmp_path):
    target = tmp_path / "in" / "a.bin"
    leave_part(target, CONTENT, server.address + "/a.bin")
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked == [("/a.bin", f"bytes={len(CONTENT)}-", 416)]


@pytest.mark.parametrize(
    ("validator", "address"), [('"v0"', "/a.bin"), ('"v1"', "/other.bin")], ids=["changed file", "other address"]
)
def test_a_part_of_another_version_or_address_is_not_continued(server, tmp_path, validator, address):
    leave_part(tmp_path / "in" / "a.bin", b"x" * 1000, server.address + address, validator)
    assert get(server, tmp_path).read_bytes() == CONTENT


def test_a_part_with_other_bytes_is_found_out_by_the_checksum_and_got_anew(server, tmp_path):
    said: list[str] = []
    leave_part(tmp_path / "in" / "a.bin", b"x" * 1000, server.address + "/a.bin")
    assert get(server, tmp_path, said=said).read_bytes() == CONTENT
    assert ranges(server) == ["bytes=1000-", ""]
    assert "sha256" in said[0]


def test_a_part_that_nothing_vouches_for_is_not_continued(server, tmp_path):
    leave_part(tmp_path / "in" / "a.bin", b"x" * 1000, server.address + "/a.bin", validator=None)
    assert get(server, tmp_path, sha256=None).read_bytes() == CONTENT
    assert ranges(server) == [""]


def test_a_part_longer_than_the_file_is_got_anew(server, tmp_path):
    leave_part(tmp_path / "in" / "a.bin", CONTENT + b"more", server.address + "/a.bin")
    assert get(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("fault", ["whole", "from_zero"])
def test_a_server_that_ignores_ranges_still_gives_the_right_bytes(server, tmp_path, fault):
    leave_part(tmp_path / "in" / "a.bin", CONTENT[:1000], server.address + "/a.bin")
    assert get(server, tmp_path, fault).read_bytes() == CONTENT


def test_a_server_without_ranges_that_always_cuts_is_given_up(server, tmp_path):
    with pytest.raises(DownloadError, match="given up after 3 attempts without progress"):
        get(server, tmp_path, *["whole_cut:100000"] * 10)
    assert len(server.asked) == 4
    assert (tmp_path / "in" / "a.bin.part").stat().st_size == 207200


@pytest.mark.parametrize("fault", ["status:500", "status:503", "status:429", "status:408", "later:0", "drop"])
def test_a_fault_that_may_pass_is_tried_again(server, tmp_path, fault):
    assert get(server, tmp_path, fault, fault).read_bytes() == CONTENT
    assert len(server.asked) == 3


def test_attempts_count_from_the_last_progress(server, tmp_path):
    faults = ["status:503", "status:503", "cut:300000", "status:503", "status:503", "cut:200000", "status:503"]
    assert get(server, tmp_path, *faults).read_bytes() == CONTENT


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_is_final_and_named(server, tmp_path, status):
    with pytest.raises(DownloadError, match=rf"/a\.bin: the server answers {status}"):
        get(server, tmp_path, f"status:{status}")
    assert len(server.asked) == 1


def test_retry_after_is_kept_to_but_not_beyond_the_longest_wait(server, tmp_path, monkeypatch):
    waits: list[float] = []
    monkeypatch.setattr(module.time, "sleep", waits.append)
    address = server.serve("/a.bin", CONTENT, "later:7", "later:9999", "status:503")
    patient = Patience(attempts=5, first_wait_s=1, longest_wait_s=60)
    download(source(address, CONTENT), tmp_path / "a.bin", patience=patient, say=lambda _: None)
    assert waits == [7, 60, 4]


def test_a_redirect_is_followed(server, tmp_path):
    server.serve("/moved", CONTENT)
    assert get(server, tmp_path, "moved").read_bytes() == CONTENT
    assert [path for path, _, _ in server.asked] == ["/a.bin", "/moved"]


def test_an_endless_redirect_ends(server, tmp_path):
    server.serve("/moved", CONTENT, *["moved"] * 100)
    with pytest.raises(DownloadError, match="redirects"):
        get(server, tmp_path, "moved")


def test_a_redirect_from_https_to_http_is_not_followed(server, tmp_path, monkeypatch):
    import requests

    address = server.serve("/a.bin", CONTENT)
    real = requests.Session.get
    monkeypatch.setattr(requests.Session, "get", lambda self, _, **options: real(self, address, **options))
    with pytest.raises(DownloadError, match="not encrypted"):
        download(source("https://example.org/a.bin", CONTENT), tmp_path / "a.bin", patience=QUICK)
    assert not (tmp_path / "a.bin").exists()


def test_another_size_than_published_is_refused_before_anything_is_read(server, tmp_path):
    with pytest.raises(DownloadError, match=r"the manifest says 307,201 bytes, the server 307,200"):
        get(server, tmp_path, content=CONTENT + b"x")
    assert not (tmp_path / "in" / "a.bin.part").exists()


def test_wrong_bytes_are_refused_and_not_kept(server, tmp_path):
    wrong = b"x" + CONTENT[1:]
    with pytest.raises(DownloadError, match="expected sha256 .*, got .*Nothing of it is kept"):
        get(server, tmp_path, content=wrong)
    assert list((tmp_path / "in").iterdir()) == []


def test_md5_alone_is_compared(server, tmp_path):
    right, wrong = hashlib.md5(CONTENT).hexdigest(), "0" * 32
    assert get(server, tmp_path, sha256=None, md5=right).is_file()
    (tmp_path / "in" / "a.bin").unlink()
    with pytest.raises(DownloadError, match="expected md5 0000"):
        get(server, tmp_path, sha256=None, md5=wrong)


def test_a_damaged_file_of_an_earlier_call_is_got_anew(server, tmp_path):
    said: list[str] = []
    get(server, tmp_path).write_bytes(b"x" * len(CONTENT))
    assert get(server, tmp_path, said=said).read_bytes() == CONTENT
    assert "getting it anew" in said[0]


def test_a_length_that_is_too_short_is_found_out(server, tmp_path):
    with pytest.raises(DownloadError, match="the manifest says 307,200 bytes, the server 307,100"):
        get(server, tmp_path, "short:100")


def test_without_a_published_size_a_short_length_is_found_out_by_the_checksum(server, tmp_path):
    with pytest.raises(DownloadError, match="expected sha256"):
        get(server, tmp_path, "short:100", bytes=None)


def test_a_body_longer_than_published_is_stopped(server, tmp_path):
    with pytest.raises(DownloadError, match="more than the 307 kB expected"):
        get(server, tmp_path, "more:5000000")


def test_a_body_without_length_is_taken_and_an_early_end_of_it_noticed(server, tmp_path):
    assert get(server, tmp_path, "unsized").read_bytes() == CONTENT
    (tmp_path / "in" / "a.bin").unlink()
    assert get(server, tmp_path, "unsized_cut:100").read_bytes() == CONTENT
    assert ranges(server)[-1] == "bytes=307100-"


def test_a_web_page_instead_of_the_file_is_named_as_such(server, tmp_path):
    with pytest.raises(DownloadError, match="a web page instead of a.bin"):
        get(server, tmp_path, "page")


def test_nobody_at_the_address(tmp_path):
    with pytest.raises(DownloadError, match="Connection refused") as caught:
        download(source("http://127.0.0.1:9/a.bin", CONTENT), tmp_path / "a.bin", patience=QUICK, say=lambda _: None)
    assert "object at 0x" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_full_disk_is_noticed_before_the_download(server, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: SimpleNamespace(free=module.RESERVE + 1000))
    with pytest.raises(DownloadError, match=r"needs 307 kB, but .* has 268\.4 MB free"):
        get(server, tmp_path)


def test_progress_is_told_from_where_it_goes_on_to_the_end(server, tmp_path):
    seen: list[tuple[int, int | None]] = []
    target = tmp_path / "in" / "a.bin"
    address = server.serve("/a.bin", CONTENT)
    leave_part(target, CONTENT[:1000], address)
    download(source(address, CONTENT), target, patience=QUICK, shown=lambda done, total: seen.append((done, total)))
    assert seen[0] == (1000, len(CONTENT)) and seen[-1] == (len(CONTENT), len(CONTENT))
    assert seen == sorted(seen)
