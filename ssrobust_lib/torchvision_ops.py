"""Declare the two torchvision operators that a CPU build of torch lacks beside the published torchvision wheel.

`import torchvision` (and with it torchmetrics, MONAI and Lightning) otherwise stops with
``operator torchvision::nms does not exist``. Only declarations are made, and only where they are missing: calling
``torchvision.ops.nms`` still fails, everything that this project uses works. Import this module before any of them.
"""

import torch

_MISSING = [name for name in ("nms", "qnms") if not torch._C._dispatch_has_kernel(f"torchvision::{name}")]

# the library object owns the declarations: it has to live as long as the process
_library = torch.library.Library("torchvision", "FRAGMENT")
for _name in _MISSING:
    try:
        _library.define(f"{_name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:  # torchvision's own binary has declared it in the meantime
        continue
