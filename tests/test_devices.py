"""Devices: what the processor can do, and what is not there."""

from pathlib import Path

import pytest
import torch

from ssrobust_lib.devices import KERNEL_ENVIRONMENT, choose_device, choose_precision, has_bf16, launch
from ssrobust_lib.registry import UnknownNameError


def test_bf16_only_where_the_processor_has_it(tmp_path: Path) -> None:
    cpu = torch.device("cpu")
    for flags, expected in (("sse avx512f avx512_bf16", True), ("amx_bf16 amx_tile", True), ("sse avx512f", False)):
        (tmp_path / "cpuinfo").write_text(f"processor : 0\nflags : {flags}\n")
        assert has_bf16(cpu, tmp_path / "cpuinfo") is expected
    assert has_bf16(cpu, tmp_path / "absent") is False
    assert choose_precision("bf16", cpu) == "bf16"
    with pytest.raises(UnknownNameError, match="float32"):
        choose_precision("float16", cpu)


def test_devices_that_are_not_there_are_refused() -> None:
    assert choose_device("cpu") == torch.device("cpu")
    if not torch.accelerator.is_available():
        with pytest.raises(ValueError, match="use 'auto' or 'cpu'"):
            choose_device("cuda")
    with pytest.raises(ValueError, match="devices=0"):
        launch(lambda fabric: None, devices=0)


def test_malloc_settings_are_text_for_an_environment() -> None:
    assert all(name.startswith("MALLOC_") and int(value) >= 0 for name, value in KERNEL_ENVIRONMENT.items())
