"""One model split among processes (FSDP2): each holds a part of every tensor.

`accelerate` makes the processes; its own FSDP plugin is taken on GPUs only, so that the splitting
is done here by torch's `fully_shard`, on any device the same. Checkpoints hold whole tensors, so
that a run goes on with any number of processes, sharded or not.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.training.finetune.optimizer_state import OptimizerState, load_gathered
from fireredtts2.training.finetune.recipe import Recipe
from fireredtts2.training.muon import Muon, orthogonalize

log = logging.getLogger(__name__)
#: What accelerate may be set up for; FSDP also comes by `accelerate launch --use_fsdp`.
PLAIN_KINDS, FSDP = ("NO", "MULTI_CPU", "MULTI_GPU"), "FSDP"


def wants_shards(accelerator: Any, recipe: Recipe) -> bool:
    """Whether the recipe, or `accelerate launch --use_fsdp`, asks for it.

    Raises:
        ValueError: accelerate is set up for something that is not done here.
    """
    kind = accelerator.distributed_type.value
    if kind not in (*PLAIN_KINDS, FSDP):
        raise ValueError(
            f"accelerate is set up for {kind}; what works here is one device, or several by DDP or "
            "FSDP (torchrun, or accelerate launch)"
        )
    if kind == FSDP:
        plugin = accelerator.state.fsdp_plugin
        if plugin.fsdp_version != 2 or plugin.cpu_offload:
            raise ValueError(
                f"accelerate is set up for FSDP {plugin.fsdp_version}"
                f"{' with parameters kept on the CPU' if plugin.cpu_offload else ''}; what works "
                "here is --fsdp_version 2 without offload"
            )
    wanted = recipe.optim.shard or kind == FSDP
    if wanted and accelerator.num_processes == 1:
        log.info("optim.shard: there is one process, which holds everything")
        return False
    return wanted


def shard(module: nn.Module, model: DualTransformer, device: torch.device) -> None:
    """Splits a module in place; each block of the model inside it is gathered by itself."""
    world = torch.distributed.get_world_size()
    mesh = torch.distributed.init_device_mesh(device.type, (world,))
    for part in (model.backbone, model.decoder):
        for block in part.layers:
            fully_shard(block, mesh=mesh)
    # NOTE: the outermost would stay gathered after a validation, and the next step would then read
    # the averaged weights that were judged.
    fully_shard(module, mesh=mesh, reshard_after_forward=True)


def whole(tensor: Tensor, keeps: bool = True) -> Tensor:
    """The whole of a tensor; all processes must ask. Empty where it is not kept."""
    if isinstance(tensor, DTensor):
        full = tensor.full_tensor()
        return full.detach() if keeps else full.new_empty(0)
    return tensor.detach()


def placed(full: Tensor, like: Tensor) -> Tensor:
    """This process's part of a whole tensor, split as `like` is; the whole where it is not."""
    if not isinstance(like, DTensor):
        return full
    full = full.to(like.device_mesh.device_type, like.dtype)
    return distribute_tensor(full, like.device_mesh, like.placements, src_data_rank=None)


def clip(parameters: Iterable[Tensor], limit: float) -> float:
    """Clips the gradients to a norm, and returns what it was: over all processes' parts."""
    parameters = [p for p in parameters if p.grad is not None]
    norm = whole(nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None]))
    nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    return float(norm)


def gathered(optimizer: torch.optim.Optimizer, keeps: bool) -> OptimizerState:
    """An optimizer's state with whole tensors; all processes must ask."""
    state = optimizer.state_dict()
    own = {
        number: {name: _whole_number(value, keeps) for name, value in values.items()}
        for number, values in state["state"].items()
    }
    return {**state, "state": own}


def _whole_number(value: Any, keeps: bool) -> Any:
    if not isinstance(value, DTensor):
        return value
    # Whether a part is held in 8 bits depends on its size, which differs between processes.
    inner = _floats(value.to_local())
    plain = DTensor.from_local(
        inner, value.device_mesh, value.placements, run_check=False,
        shape=value.shape, stride=value.stride(),
    )  # fmt: skip
    full = whole(plain, keeps)
    return full.cpu()


def _is_quantized(value: Any) -> bool:
    return isinstance(value, Tensor) and type(value) not in (Tensor, nn.Parameter, DTensor)


def _floats(value: Tensor) -> Tensor:
    return value.dequantize() if _is_quantized(value) else value.float()


def restore(optimizer: torch.optim.Optimizer, saved: OptimizerState) -> None:
    """Loads a state of whole tensors, written by any number of processes."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    is_split = any(isinstance(p, DTensor) for p in parameters)
    state = {
        number: {
            name: placed(_floats(value), parameters[number])
            if is_split and isinstance(value, Tensor) and value.ndim
            else value
            for name, value in values.items()
        }
        for number, values in saved["state"].items()
    }
    load_gathered(optimizer, {**saved, "state": state})
    if hasattr(optimizer, "_new_buffer"):
        _quantize(optimizer)


def _quantize(optimizer: Any) -> None:
    """Puts numbers that were saved as floats back into 8 bits."""
    for parameter, values in optimizer.state.items():
        for name, signed in (("exp_avg", True), ("exp_avg_sq", False)):
            value = values[name]
            if _is_quantized(value):
                continue
            held = optimizer._new_buffer(parameter, signed)
            if isinstance(held, DTensor):
                held.to_local().copy_(value.to_local())
            else:
                held.copy_(value)
            values[name] = held


def compile_each_process() -> None:
    """Keeps compiled updates from being shared on disk between processes.

    torch's cache does not tell parts of unlike size apart (three rows split in two and one), so
    that a process would load what another one compiled for its own.
    """
    import torch._functorch.config as compiler

    compiler.enable_autograd_cache = False


class ShardedMuon(Muon):
    """Muon on split matrices: each update is made of the whole matrix, in every process."""

    def _step_alike(self, parameters: list[nn.Parameter], group: dict) -> None:
        rows, columns = parameters[0].shape
        scale = max(1.0, rows / columns) ** 0.5
        for parameter in parameters:
            whole_update = whole(self._momentum(parameter, group["momentum"]))
            update = placed(orthogonalize(whole_update[None])[0], parameter)
            parameter.mul_(1 - group["lr"] * group["weight_decay"])
            parameter.add_(update, alpha=-group["lr"] * scale)
