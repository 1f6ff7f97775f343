"""DICOM radiographs: every transfer syntax decodes to the stored values, and the grey scale follows the header."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from format_files import EXPLICIT, bundled, jpeg, save_dicom
from layouts import write_dicom, xray

from ssrobust_lib.datasets import UnreadableImageError
from ssrobust_lib.datasets.formats import age_in_years, read_dicom
from ssrobust_lib.datasets.formats.dicom import windowed
from ssrobust_lib.datasets.formats.dicom_files import named_dicom, open_dicom
from ssrobust_lib.datasets.formats.dicom_frames import decode_frame, jpeg2000_size, jpeg_size

GREY_FILES = {
    "CT_small.dcm": "explicit, little endian",
    "MR_small_implicit.dcm": "implicit",
    "MR_small_bigendian.dcm": "big endian",
    "MR_small_padded.dcm": "padding behind the pixels",
    "image_dfl.dcm": "deflated",
    "MR_small_RLE.dcm": "RLE",
    "MR_small_jpeg_ls_lossless.dcm": "JPEG-LS",
    "JPEGLSNearLossless_08.dcm": "JPEG-LS of 8 bits with losses",
    "JPEGLSNearLossless_16.dcm": "JPEG-LS of 16 bits with losses",
    "MR_small_jp2klossless.dcm": "JPEG 2000 without losses",
    "JPEG2000.dcm": "JPEG 2000 with losses",
    "J2K_pixelrep_mismatch.dcm": "JPEG 2000 whose sign is not the header's",
    "693_J2KI.dcm": "JPEG 2000 of 14 bits",
}
RAMP = np.arange(48 * 64, dtype=np.uint16).reshape(48, 64)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", GREY_FILES, ids=GREY_FILES.values())
def test_each_transfer_syntax_decodes_to_what_pydicom_reads(name: str) -> None:
    import pydicom

    expected = pydicom.dcmread(bundled(name)).pixel_array
    with named_dicom(bundled(name)):
        file = open_dicom(bundled(name), ("CT", "MR", "NM", "OT", ""))
        (frame,) = file.encoded_frames()
        np.testing.assert_array_equal(decode_frame(file, frame), expected)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lossless_jpeg_decodes_to_its_pixels(tmp_path: Path, dtype: type) -> None:
    import SimpleITK

    stored = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, (40, 50)).astype(dtype)
    writer = SimpleITK.ImageFileWriter()
    writer.SetFileName(str(tmp_path / "a.dcm"))
    writer.SetUseCompression(True)
    writer.SetCompressor("JPEG")
    writer.Execute(SimpleITK.GetImageFromArray(stored))
    np.testing.assert_allclose(read_dicom(tmp_path / "a.dcm").pixels, stored / np.iinfo(dtype).max, atol=1e-6)


@pytest.mark.parametrize(
    "syntax",
    [EXPLICIT, "1.2.840.10008.1.2", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.5", "1.2.840.10008.1.2.4.90"],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int16])
def test_values_are_spread_over_all_that_the_bits_can_hold(tmp_path: Path, syntax: str, dtype: type) -> None:
    info = np.iinfo(dtype)
    stored = np.random.default_rng(1).integers(info.min, info.max, (40, 41), endpoint=True).astype(dtype)
    image = read_dicom(save_dicom(tmp_path / "a.dcm", stored, {}, syntax=syntax))
    expected = (stored.astype(np.float64) - info.min) / (float(info.max) - info.min)
    np.testing.assert_allclose(image.pixels, expected, atol=1e-6)
    assert image.pixels.dtype == np.float32


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("centre", "width"), [(800.0, 500.0), (0.0, 4000.0), (1000.5, 1.5)])
@pytest.mark.filterwarnings("ignore:overflow")  # in pydicom
def test_a_window_is_applied_as_pydicom_does(tmp_path: Path, function: str, centre: float, width: float) -> None:
    import pydicom
    from pydicom.pixels import apply_modality_lut, apply_windowing

    elements = {
        "WindowCenter": [centre, 5.0],
        "WindowWidth": [width, 7.0],
        "VOILUTFunction": function,
        "RescaleSlope": 0.5,
        "RescaleIntercept": -100,
    }
    path = save_dicom(tmp_path / "a.dcm", RAMP, elements, bits=12)
    data = pydicom.dcmread(path)
    shown = apply_windowing(apply_modality_lut(data.pixel_array, data), data)
    low, high = -100.0, 0.5 * 4095 - 100
    np.testing.assert_allclose(read_dicom(path).pixels, (shown - low) / (high - low), atol=1e-6)
    elements["PhotometricInterpretation"] = "MONOCHROME1"
    dark = read_dicom(save_dicom(tmp_path / "b.dcm", RAMP, elements, bits=12)).pixels
    np.testing.assert_allclose(dark, 1 - (shown - low) / (high - low), atol=1e-6)


def test_window_of_width_one_is_a_step_and_an_impossible_one_is_refused() -> None:
    np.testing.assert_array_equal(windowed(np.array([9.0, 9.6, 10.0]), 10, 1), [0, 1, 1])
    np.testing.assert_array_equal(windowed(np.array([0.0, 50.0, 99.0]), 50, 100), [0, 0.5 + 0.5 / 99, 1])
    for width, function in ((0.5, "LINEAR"), (0, "LINEAR_EXACT"), (-3, "SIGMOID")):
        with pytest.raises(UnreadableImageError, match="shows nothing"):
            windowed(np.zeros(3), 0, width, function)
    with pytest.raises(UnreadableImageError, match="CUBIC.*LINEAR, LINEAR_EXACT, SIGMOID"):
        windowed(np.zeros(3), 0, 10, "CUBIC")


def table(first: int, entries: list[int], bits: int) -> Any:
    import pydicom

    item = pydicom.Dataset()
    item.LUTDescriptor = [len(entries), first, bits]
    item["LUTDescriptor"].VR = "US"
    item.add_new("LUTData", "US", entries)
    return item


def test_tables_of_the_header_map_values_and_hold_their_ends(tmp_path: Path) -> None:
    stored = np.array([[0, 9, 10], [11, 12, 200]], np.uint8)
    path = save_dicom(tmp_path / "voi.dcm", stored, {"VOILUTSequence": [table(10, [0, 1023, 512], 10)]})
    np.testing.assert_allclose(read_dicom(path).pixels, np.array([[0, 0, 0], [1023, 512, 512]]) / 1023, atol=1e-6)
    inner = {"ModalityLUTSequence": [table(10, [100, 200, 300], 16)], "WindowCenter": 200.5, "WindowWidth": 201}
    path = save_dicom(tmp_path / "modality.dcm", stored, inner)
    np.testing.assert_allclose(read_dicom(path).pixels, [[0, 0, 0], [0.5, 1, 1]], atol=1e-6)


def test_rescaling_alone_changes_nothing_but_a_negative_slope_turns_the_image_round(tmp_path: Path) -> None:
    plain = read_dicom(save_dicom(tmp_path / "a.dcm", RAMP, {}, bits=12)).pixels
    scaled = read_dicom(save_dicom(tmp_path / "b.dcm", RAMP, {"RescaleSlope": 3, "RescaleIntercept": -7}, bits=12))
    np.testing.assert_array_equal(scaled.pixels, plain)
    turned = read_dicom(save_dicom(tmp_path / "c.dcm", RAMP, {"RescaleSlope": -1, "RescaleIntercept": 0}, bits=12))
    np.testing.assert_allclose(turned.pixels, 1 - plain, atol=1e-6)


def test_values_beyond_the_stored_bits_are_held_at_the_end(tmp_path: Path) -> None:
    import pydicom

    path = save_dicom(tmp_path / "a.dcm", RAMP, {}, bits=12, syntax="1.2.840.10008.1.2.4.90")
    data = pydicom.dcmread(path)
    data.BitsStored, data.HighBit = 10, 9
    data.save_as(path)
    np.testing.assert_allclose(read_dicom(path).pixels, np.minimum(RAMP, 1023) / 1023, atol=1e-6)


@pytest.mark.parametrize("explicit", [True, False])
def test_an_old_file_that_begins_with_its_data_set_is_read(tmp_path: Path, explicit: bool) -> None:
    import pydicom

    path = save_dicom(tmp_path / "a.dcm", xray(), {}, syntax=EXPLICIT if explicit else "1.2.840.10008.1.2")
    data = pydicom.dcmread(path)
    bare = io.BytesIO()
    pydicom.dcmwrite(bare, pydicom.Dataset(data), implicit_vr=not explicit, little_endian=True)
    (tmp_path / "old").write_bytes(bare.getvalue())
    assert b"DICM" not in bare.getvalue()
    np.testing.assert_array_equal(read_dicom(tmp_path / "old").pixels, read_dicom(path).pixels)


def test_several_fragments_make_one_frame(tmp_path: Path) -> None:
    import pydicom
    from pydicom.encaps import encapsulate

    path = save_dicom(tmp_path / "a.dcm", xray(), {}, syntax="1.2.840.10008.1.2.4.50")
    whole = read_dicom(path).pixels
    data = pydicom.dcmread(path)
    data.PixelData = encapsulate([jpeg(xray())], fragments_per_frame=4)
    data.save_as(path)
    np.testing.assert_array_equal(read_dicom(path).pixels, whole)


def test_metadata_is_plain_text_whatever_the_header_holds(tmp_path: Path) -> None:
    elements = {"ViewPosition": "P\x00A\n" * 40, "PatientSex": ["F", "M"], "PatientAge": "about 40"}
    metadata = read_dicom(save_dicom(tmp_path / "a.dcm", xray(), elements)).metadata
    assert metadata["view"].isprintable() and len(metadata["view"]) <= 16
    assert metadata["sex"].isprintable() and np.isnan(metadata["age"])


@pytest.mark.parametrize(
    ("elements", "reason"),
    [
        ({"Modality": "MR"}, "modality MR; expected CR, DX"),
        ({"Modality": "CT"}, "modality CT"),
        ({"NumberOfFrames": 3}, "expected one frame, found 3"),
        ({"NumberOfFrames": -1}, "claims -1 frames"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, r"expected grey pixels.* 3 channels \(RGB\)"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "PALETTE COLOR"),
        ({"Rows": 60_000, "Columns": 60_000}, "claims 60000 x 60000 pixels"),
        ({"Rows": 16_000, "Columns": 16_000}, "in all"),
        ({"Rows": 0}, "claims 0 x 32"),
        ({"Rows": None}, "has no Rows"),
        ({"Rows": 200}, r"200 x 32 pixels of 8 bits, 6,400 bytes, and 1,024 are there: was the file cut short"),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "found 32 bits of 32"),
        ({"BitsStored": 12}, "found 12 bits of 8"),
        ({"HighBit": 3}, "highest 3"),
        ({"WindowCenter": 100, "WindowWidth": 0}, "a window of width 0"),
        ({"WindowCenter": "nan", "WindowWidth": 10}, "WindowCenter is"),
    ],
)
def test_headers_that_are_wrong_are_named(tmp_path: Path, elements: dict[str, Any], reason: str) -> None:
    path = save_dicom(tmp_path / "bad.dcm", xray(), elements)
    with pytest.raises(UnreadableImageError, match=f"bad.dcm: .*{reason}"):
        read_dicom(path)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.90", "1.2.840.10008.1.2.5"])
def test_a_compressed_frame_of_another_size_or_cut_short_is_refused(tmp_path: Path, syntax: str) -> None:
    import pydicom

    path = save_dicom(tmp_path / "a.dcm", xray(), {}, syntax=syntax)
    data = pydicom.dcmread(path)
    data.Rows = 33  # RLE does not state its size, but cannot fill more than it has
    data.save_as(tmp_path / "b.dcm")
    with pytest.raises(UnreadableImageError, match="b.dcm"):
        read_dicom(tmp_path / "b.dcm")
    whole = path.read_bytes()
    for share in (0.3, 0.6, 0.9):
        (tmp_path / "c.dcm").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(UnreadableImageError, match="c.dcm"):
            read_dicom(tmp_path / "c.dcm")


def test_sizes_of_streams_are_read_and_nonsense_is_refused() -> None:
    from format_files import picture_bytes

    pixels = xray(side=32)[:, :20]
    assert jpeg_size(jpeg(pixels)) == (32, 20, 1)
    assert jpeg_size(jpeg(np.stack([pixels] * 3, -1))) == (32, 20, 3)
    assert jpeg2000_size(picture_bytes(pixels, "JPEG2000")) == (32, 20, 1)
    for read in (jpeg_size, jpeg2000_size):
        for wrong in (b"", b"\xff\xd8\xff", bytes(200), b"\xff\xd8" + b"\xff" * 300):
            with pytest.raises(UnreadableImageError, match="compressed frame"):
                read(wrong)


def test_a_progressive_jpeg_of_thousands_of_scans_is_not_decoded(tmp_path: Path) -> None:
    import pydicom
    from pydicom.encaps import encapsulate

    path = save_dicom(tmp_path / "a.dcm", xray(), {}, syntax="1.2.840.10008.1.2.4.50")
    data = pydicom.dcmread(path)
    stream = jpeg(xray(), progressive=True)
    scan = stream[stream.rindex(b"\xff\xda") : -2]
    data.PixelData = encapsulate([stream[:-2] + scan * 1000 + b"\xff\xd9"])
    data.save_as(path)
    with pytest.raises(UnreadableImageError, match="more than 256 scans"):
        read_dicom(path)


def test_a_header_of_millions_of_elements_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ssrobust_lib.datasets.formats import dicom_files

    monkeypatch.setattr(dicom_files, "MAX_READS", 500)
    path = save_dicom(tmp_path / "a.dcm", xray(), {})
    whole = path.read_bytes()
    place = whole.index(b"\x28\x00\x02\x00US")
    (tmp_path / "b.dcm").write_bytes(whole[:place] + b"\x09\x00\x01\x00LO\0\0" * 1000 + whole[place:])
    read_dicom(path)
    with pytest.raises(UnreadableImageError, match="b.dcm: the header has more than 500 parts"):
        read_dicom(tmp_path / "b.dcm")


def test_a_deflated_bomb_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from ssrobust_lib.datasets.formats import dicom_files

    assert read_dicom(bundled("image_dfl.dcm")).pixels.shape == (512, 512)
    monkeypatch.setattr(dicom_files, "MAX_FILE_BYTES", 2**20)
    with pytest.raises(UnreadableImageError, match="grows beyond"):
        read_dicom(bundled("image_dfl.dcm"))


@pytest.mark.parametrize(
    ("text", "years"), [("048Y", 48), ("6M", 0.5), ("48", 48), (30, 30), ("", None), ("155", None)]
)
def test_ages(text: object, years: float | None) -> None:
    assert math.isnan(age_in_years(text)) if years is None else age_in_years(text) == years


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_dicom_values_are_scaled_by_the_stored_bits_and_monochrome1_inverted(tmp_path: Path, bits: int) -> None:
    stored = np.random.default_rng(bits).integers(0, 2**bits, (20, 30))
    write_dicom(tmp_path / "a.dcm", stored, bits=bits)
    write_dicom(tmp_path / "b.dcm", stored, bits=bits, photometric="MONOCHROME1")
    expected = stored / (2**bits - 1)
    np.testing.assert_allclose(read_dicom(tmp_path / "a.dcm").pixels, expected, atol=1e-6)
    np.testing.assert_allclose(read_dicom(tmp_path / "b.dcm").pixels, 1 - expected, atol=1e-6)
