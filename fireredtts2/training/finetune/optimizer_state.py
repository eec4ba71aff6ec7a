"""What an optimizer has gathered, put into one whose settings the recipe has just given."""

from __future__ import annotations

from typing import Any, TypeAlias

import torch

OptimizerState: TypeAlias = dict[str, Any]


def load_gathered(optimizer: torch.optim.Optimizer, saved: OptimizerState) -> None:
    """Takes over moments and step counts; every group keeps its own rate, decay and betas.

    torch would take those from the state too, and a resumed run would go on at the old rate
    whatever its recipe says.

    Args:
        optimizer: freshly built from the recipe.
        saved: what `state_dict` gave, of an optimizer with the same groups.
    """
    # NOTE: before loading, not after: torch looks at `fused` to know where `step` must lie.
    groups = [
        {**old, **own, "params": old["params"]}
        for old, own in zip(saved["param_groups"], optimizer.param_groups, strict=True)
    ]
    optimizer.load_state_dict({**saved, "param_groups": groups})
