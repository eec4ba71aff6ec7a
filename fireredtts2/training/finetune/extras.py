"""The optional packages of fine-tuning: imported on use, named with their cure when missing."""

from __future__ import annotations

import importlib
from types import ModuleType

#: Module to import -> what pip calls it.
PACKAGES = {
    "yaml": "pyyaml",
    "accelerate": "accelerate",
    "peft": "peft",
    "torchao.optim": "torchao",
    "torch.utils.tensorboard": "tensorboard",
    "wandb": "wandb",
}
IN_EXTRA = ("pyyaml", "accelerate", "peft")


class MissingPackageError(ValueError):
    """A package that the recipe asks for is not installed."""


def load_extra(module: str) -> ModuleType:
    """Imports a module of `PACKAGES`.

    Raises:
        MissingPackageError: it is not installed; the message names the command that installs it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = PACKAGES[module]
        wanted = '"fireredtts2[training]"' if package in IN_EXTRA else package
        raise MissingPackageError(
            f"this needs the package {package!r}; install it with: pip install {wanted}"
        ) from error
