"""Networks of the study by name; a new one is a new module of this package that registers its class in `NETWORKS`."""

import importlib
import pkgutil

from ssrobust_lib.networks.registry import NETWORKS, build_network, initialise

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")

__all__ = ["NETWORKS", "build_network", "initialise"]
