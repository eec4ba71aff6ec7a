"""The dual transformer rearranged for inference: the same numbers, fewer and smaller reads.

`FusedDualTransformer` is made from a loaded `DualTransformer`, its plain twin, and answers the same
calls. Projections that read one row are one matrix, norm scales are part of the weights after them,
the depth decoder's input table is projected in advance, and weights may have 16 or 8 bits. The
residual stream and the norms stay float32 whatever the weights are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireredtts2.config import TransformerConfig
from fireredtts2.llm.adapted_linear import AdaptedLinear, AdapterChoice, LowRank, adapted
from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.kv_cache import KVCache
from fireredtts2.llm.packed_linear import Packed, pack, pack_weight
from fireredtts2.llm.sampling import CodeSource
from fireredtts2.llm.span import Span, cached_span
from fireredtts2.llm.transformer import Block, Transformer

#: Of a batch, where rows may have adapters.
MAX_ROWS = 4_096

WeightKind = Literal["float32", "bfloat16", "int8", "fp8"]


class FusedBlock:
    """A `Block` with two packed layers before and two after its mixing and gating.

    No `nn.Module`, like all parts here: calling one costs as much as a small operation.
    """

    def __init__(
        self,
        block: Block,
        config: TransformerConfig,
        kind: WeightKind,
        name: str = "",
        adapters: Sequence[LowRank] = (),
        choice: AdapterChoice | None = None,
    ) -> None:
        attention, mlp = block.attn, block.mlp
        self.layer = attention.layer
        self.dtype = weight_dtype(kind)
        self.eps = config.norm_eps
        self.head_dim = config.head_dim
        self.groups = (config.num_heads, config.num_kv_heads)
        self.turned = sum(self.groups) * config.head_dim  # queries and keys, before values
        packed = partial(_packed, kind=kind, adapters=adapters, choice=choice)
        before = ("q_proj", "k_proj", "v_proj")
        self.qkv = packed(attention, f"{name}.attn", before, norm_scale=block.sa_norm.scale)
        self.out = packed(attention, f"{name}.attn", ("output_proj",))
        self.gate_up = packed(mlp, f"{name}.mlp", ("w1", "w3"), norm_scale=block.mlp_norm.scale)
        self.down = packed(mlp, f"{name}.mlp", ("w2",))

    def __call__(self, x: Tensor, span: Span, cache: KVCache) -> Tensor:
        x = x + self._mixed(normalized(x, self.eps, self.dtype), span, cache)
        gate, up = self.gate_up(normalized(x, self.eps, self.dtype)).chunk(2, -1)
        return x + self.down(F.silu(gate).mul_(up))

    def _mixed(self, x: Tensor, span: Span, cache: KVCache) -> Tensor:
        batch, num_steps, _ = x.shape
        heads, kv_heads = self.groups
        joined = self.qkv(x)
        turned, values = joined.split((self.turned, joined.shape[-1] - self.turned), -1)
        turned = turned.view(batch, num_steps, heads + kv_heads, self.head_dim)
        kept = cache.dtype
        queries, keys = span.rotate_wide(turned).to(kept).transpose(1, 2).split(self.groups, 1)
        values = values.view(batch, num_steps, kv_heads, self.head_dim).to(kept).transpose(1, 2)
        keys, values = cache.extend(self.layer, keys, values, span.place)
        mixed = F.scaled_dot_product_attention(
            queries, keys, values, span.mask, is_causal=span.causal, enable_gqa=heads != kv_heads
        )
        return self.out(mixed.transpose(1, 2).flatten(2).to(self.dtype))


def _packed(
    part: nn.Module,
    name: str,
    modules: Sequence[str],
    kind: WeightKind,
    adapters: Sequence[LowRank],
    choice: AdapterChoice | None,
    norm_scale: Tensor | None = None,
) -> Packed | AdaptedLinear:
    """Modules of a part as one layer, with the adapters that change any of them."""
    layers = [cast(nn.Linear, getattr(part, module)) for module in modules]
    sizes = [(f"{name}.{m}", one.out_features) for m, one in zip(modules, layers, strict=True)]
    layer = pack(layers, kind, norm_scale)
    return adapted(layer, sizes, adapters, choice, weight_dtype(kind), norm_scale)


class FusedTransformer:
    """The layers without the final norm's scale, which belongs to the heads after them."""

    def __init__(
        self,
        transformer: Transformer,
        kind: WeightKind,
        frees: bool,
        name: str = "",
        adapters: Sequence[LowRank] = (),
        choice: AdapterChoice | None = None,
    ) -> None:
        self.config = transformer.config
        self.dtype = weight_dtype(kind)
        self.layers = []
        for number, block in enumerate(transformer.layers):
            path = f"{name}.layers.{number}"
            layer = FusedBlock(cast(Block, block), self.config, kind, path, adapters, choice)
            self.layers.append(layer)
            if frees:
                empty(block)

    def __call__(self, x: Tensor, span: Span, cache: KVCache) -> Tensor:
        """Rows (B, T, width) float32 to normalized states."""
        for layer in self.layers:
            x = layer(x, span, cache)
        return normalized(x, self.config.norm_eps, self.dtype)

    def extend(self, x: Tensor, cache: KVCache, counts: Sequence[int] | None = None) -> Tensor:
        """As `Transformer.extend`."""
        hidden = self(x, cached_span(self.config, cache, x.shape[1], counts), cache)
        cache.lengths += x.shape[1] if counts is None else torch.tensor(counts)
        return hidden


class FusedDualTransformer:
    """Answers `extend`, `draw_frame` and `next_frame` as a `DualTransformer` does.

    Args:
        model: its plain twin, on its device.
        kind: of the weights. int8 and fp8 have one scale for each output.
        frees: empty the plain twin on the way, so that no two of a large model are held.
        adapters: by name, checked against the model; each row of a batch may have another one, or
            none (`choice`).

    Attributes:
        choice: which adapter each row has; None without adapters.
        adapter_numbers: by name; "" is none.
    """

    @torch.no_grad()
    def __init__(
        self,
        model: DualTransformer,
        kind: WeightKind,
        frees: bool = False,
        adapters: Mapping[str, LowRank] | None = None,
    ) -> None:
        self.config = model.config
        self.dtype = weight_dtype(kind)
        device = model.audio_embeddings.weight.device
        named = dict(adapters or {})
        self.adapter_numbers = {"": 0, **{name: n for n, name in enumerate(named, 1)}}
        self.choice = AdapterChoice(MAX_ROWS, device) if named else None
        with_them = (list(named.values()), self.choice)
        self.backbone = FusedTransformer(model.backbone, kind, frees, "backbone", *with_them)
        self.decoder = FusedTransformer(model.decoder, kind, frees, "decoder", *with_them)
        after = model.backbone.norm.scale
        self.codebook0_head = pack([model.codebook0_head], kind, after)
        depth_after = model.decoder.norm.scale.float()
        self.audio_heads = [
            pack_weight(head.t().float() * depth_after, None, kind) for head in model.audio_head
        ]
        # A state is projected from before its norm's scale; codes are projected here, for good.
        self.project_state = pack([model.projection], kind, after)
        table = model.audio_embeddings.weight
        projected = F.linear(table.float(), model.projection.weight.float())
        self.depth_table = projected.to(self.dtype)
        self.embeddings = table.detach().to(self.dtype)
        self.text_embeddings = model.text_embeddings.weight.detach().to(self.dtype)
        offsets = torch.arange(self.config.audio_num_codebooks, device=table.device)
        self.offsets = offsets * self.config.audio_vocab_size
        self._depth: dict[int, _DepthSteps] = {}
        if frees:
            empty(model)

    @property
    def device(self) -> torch.device:
        return self.embeddings.device

    def new_cache(self, batch: int, capacity: int) -> KVCache:
        """An empty cache of the backbone."""
        return KVCache.empty(self.backbone.config, batch, capacity, self.device, self.cache_dtype)

    @property
    def cache_dtype(self) -> torch.dtype:
        """On a CPU float32: attention in bfloat16 is two to five times slower there."""
        return torch.float32 if self.device.type == "cpu" else self.dtype

    def embed(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """As `DualTransformer.embed`, summed in float32."""
        live = mask.to(self.dtype)
        ids = (tokens[..., :-1] + self.offsets).flatten(0, 1)
        audio = F.embedding_bag(
            ids, self.embeddings, mode="sum", per_sample_weights=live[..., :-1].flatten(0, 1)
        )
        text = F.embedding(tokens[..., -1], self.text_embeddings) * live[..., -1:]
        return text.float() + audio.view(*tokens.shape[:2], -1)

    def extend(
        self, tokens: Tensor, mask: Tensor, cache: KVCache, counts: Sequence[int] | None = None
    ) -> Tensor:
        """As `DualTransformer.extend`; the states lack the final norm's scale."""
        hidden = self.backbone.extend(self.embed(tokens, mask), cache, counts)
        if counts is None:
            return hidden[:, -1]
        last = torch.tensor(counts, device=hidden.device).clamp(min=1) - 1
        return hidden[torch.arange(len(counts), device=hidden.device), last]

    @torch.inference_mode()
    def next_frame(
        self,
        tokens: Tensor,
        mask: Tensor,
        cache: KVCache,
        sampler: CodeSource,
        counts: Sequence[int] | None = None,
    ) -> Tensor:
        """As `DualTransformer.next_frame`."""
        return self.draw_frame(self.extend(tokens, mask, cache, counts), sampler)

    def draw_frame(self, hidden: Tensor, sampler: CodeSource) -> Tensor:
        """Draws codes (B, Q) from the states (B, width) of `extend`."""
        config = self.config
        noise = sampler.noise(config.audio_num_codebooks, config.audio_vocab_size)
        codes = [sampler.draw(self.codebook0_head(hidden), noise, 0)]
        if config.audio_num_codebooks == 1:
            return codes[0][:, None]
        self.prepare(len(hidden))
        depth = self._depth[len(hidden)]
        x = self.project_state(hidden)[:, None]
        for step, head in enumerate(self.audio_heads):
            code = F.embedding(codes[-1] + step * config.audio_vocab_size, self.depth_table)
            x = torch.cat((x, code[:, None]), 1) if step == 0 else code[:, None]
            states = self.decoder(x.float(), depth.spans[step], depth.cache)
            codes.append(sampler.draw(head(states[:, -1]), noise, step + 1))
        return torch.stack(codes, 1)

    def prepare(self, batch: int) -> None:
        """Makes what every frame of this batch size needs; otherwise the first one does."""
        if batch not in self._depth:
            self._depth[batch] = _DepthSteps(self, batch)


class _DepthSteps:
    """What the depth decoder's steps need in every frame alike, made once a batch size."""

    def __init__(self, model: FusedDualTransformer, batch: int) -> None:
        config = model.decoder.config
        num_codebooks = model.config.audio_num_codebooks
        self.cache = KVCache.empty(config, batch, num_codebooks, model.device, model.cache_dtype)
        self.spans: list[Span] = []
        for num_steps in [2, *[1] * (num_codebooks - 2)]:
            self.spans.append(cached_span(config, self.cache, num_steps))
            self.cache.lengths += num_steps


def normalized(x: Tensor, eps: float, dtype: torch.dtype) -> Tensor:
    """x float32 over its root mean square; `RMSNorm` without its scale."""
    dim = x.shape[-1]
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    inverse = length.square_().mul_(1 / dim).add_(eps).rsqrt_()
    return (x * inverse).to(dtype)


def empty(module: nn.Module) -> None:
    """Frees the memory of a module's weights; it is of no use afterwards."""
    for parameter in module.parameters():
        parameter.data = parameter.data.new_empty(0)


def weight_dtype(kind: WeightKind) -> torch.dtype:
    """What a packed layer of this kind reads and gives."""
    return torch.float32 if kind == "float32" else torch.bfloat16
