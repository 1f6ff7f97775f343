"""Which sets have embedded phantoms, and the function that writes each in its published layout."""

from collections.abc import Callable
from typing import Any

from ssrobust_lib.phantoms.ct_challenges import (
    write_btcv_phantoms,
    write_cad_pe_phantoms,
    write_chaos_phantoms,
    write_exact09_phantoms,
    write_sliver07_phantoms,
)
from ssrobust_lib.phantoms.ct_files import (
    write_kits19_phantoms,
    write_lits_phantoms,
    write_luna16_phantoms,
    write_visceral_phantoms,
)
from ssrobust_lib.phantoms.xray_files import write_rsna_phantoms, write_rsna_test_phantoms
from ssrobust_lib.phantoms.xray_pictures import write_kermany_phantoms, write_nih_phantoms
from ssrobust_lib.registry import Registry

PHANTOM_WRITERS: Registry[Callable[..., Any]] = Registry("phantom set")
_WRITERS: dict[str, Callable[..., Any]] = {
    "rsna": write_rsna_phantoms,
    "rsna_test": write_rsna_test_phantoms,
    "kermany": write_kermany_phantoms,
    "nih": write_nih_phantoms,
    "visceral": write_visceral_phantoms,
    "kits19": write_kits19_phantoms,
    "luna16": write_luna16_phantoms,
    "lits": write_lits_phantoms,
    "cad_pe": write_cad_pe_phantoms,
    "exact09": write_exact09_phantoms,
    "btcv": write_btcv_phantoms,
    "chaos": write_chaos_phantoms,
    "sliver07": write_sliver07_phantoms,
}
for _name, _writer in _WRITERS.items():
    PHANTOM_WRITERS.register(_name)(_writer)
