"""Text and earlier codes in, the next frame's codes out: backbone and depth decoder (SPEC 5)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireredtts2.config import LLMConfig
from fireredtts2.llm.kv_cache import KVCache
from fireredtts2.llm.sampling import Sampler
from fireredtts2.llm.span import packed_span, whole_span
from fireredtts2.llm.transformer import RMSNorm, Transformer

EMBEDDING_STD = 0.02


class DualTransformer(nn.Module):
    """A backbone over rows in time, and a small decoder over the codes within one frame.

    Rows are (Q+1)-column: Q audio codes, then a text id (`fireredtts2.llm.prompt`).
    """

    def __init__(self, config: LLMConfig) -> None:
        super().__init__()
        self.config = config
        backbone, decoder = config.backbone, config.decoder
        num_codebooks, vocab = config.audio_num_codebooks, config.audio_vocab_size
        self.backbone = Transformer(backbone)
        self.decoder = Transformer(decoder)
        self.text_embeddings = nn.Embedding(config.text_vocab_size, backbone.embed_dim)
        self.audio_embeddings = nn.Embedding(num_codebooks * vocab, backbone.embed_dim)
        self.projection = nn.Linear(backbone.embed_dim, decoder.embed_dim, bias=False)
        self.text_head = nn.Linear(backbone.embed_dim, config.text_vocab_size, bias=False)
        self.codebook0_head = nn.Linear(backbone.embed_dim, vocab, bias=False)
        self.audio_head = nn.Parameter(torch.zeros(num_codebooks - 1, decoder.embed_dim, vocab))

    @torch.no_grad()
    def init_weights(self, generator: torch.Generator | None = None) -> None:
        """Draws weights to train from, as the published model did.

        Embeddings are normal with deviation 0.02, matrices Xavier-uniform (`audio_head` over all
        three of its dimensions, which starts it near zero), biases 0, norm scales 1.
        """
        for module in self.modules():
            if isinstance(module, nn.Embedding):
                nn.init.normal_(module.weight, std=EMBEDDING_STD, generator=generator)
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, RMSNorm):
                nn.init.ones_(module.scale)
        if self.audio_head.numel():
            nn.init.xavier_uniform_(self.audio_head, generator=generator)

    def embed(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Sums the live columns' embeddings.

        Args:
            tokens: Rows (B, T, Q+1) int64; dead columns hold any valid id.
            mask: Live columns (B, T, Q+1) bool.

        Returns:
            Row embeddings (B, T, backbone width).
        """
        live = mask.to(self.audio_embeddings.weight.dtype)
        ids = self._audio_ids(tokens[..., :-1]).flatten(0, 1)
        audio = F.embedding_bag(
            ids,
            self.audio_embeddings.weight,
            mode="sum",
            per_sample_weights=live[..., :-1].flatten(0, 1),
        )
        return self.text_embeddings(tokens[..., -1]) * live[..., -1:] + audio.view(
            *tokens.shape[:2], -1
        )

    def forward(
        self,
        tokens: Tensor,
        mask: Tensor,
        attention_mask: Tensor | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """Runs the backbone over whole sequences, as training does.

        Args:
            tokens: Rows (B, T, Q+1) int64.
            mask: Live columns (B, T, Q+1) bool.
            attention_mask: (B, T, T) bool, true where a row (first T) may attend; plain causal
                where not given. Packed batches: `fireredtts2.llm.prompt.packed_attention`.
            positions: (B, T) int64 rotary positions; 0, 1, 2, ... where not given. With packed
                samples under rotary positions only distances count, so they need not restart.

        Returns:
            Hidden states (B, T, backbone width).
        """
        batch, num_steps = tokens.shape[:2]
        config = self.backbone.config
        if attention_mask is None and positions is None:
            return self.backbone(
                self.embed(tokens, mask), whole_span(config, num_steps, tokens.device)
            )
        if positions is None:
            positions = torch.arange(num_steps, device=tokens.device).expand(batch, -1)
        if attention_mask is None:
            causal = torch.ones(num_steps, num_steps, dtype=torch.bool, device=tokens.device)
            attention_mask = causal.tril().expand(batch, -1, -1)
        return self.backbone(
            self.embed(tokens, mask), packed_span(config, positions, attention_mask)
        )

    def depth_logits(self, hidden: Tensor, codes: Tensor) -> Tensor:
        """Logits of codes 1 to Q-1 given the true codes before each, as training does.

        Args:
            hidden: Backbone states (N, backbone width) that predict the frames.
            codes: The frames (N, Q) int64.

        Returns:
            Logits (N, Q-1, audio_vocab_size).
        """
        embedded = self.audio_embeddings(self._audio_ids(codes)[:, :-1])
        x = self.projection(torch.cat((hidden[:, None].to(embedded.dtype), embedded), 1))
        decoded = self.decoder(x, whole_span(self.decoder.config, x.shape[1], x.device))
        return torch.einsum("nqd,qdv->nqv", decoded[:, 1:], self.audio_head)

    @property
    def device(self) -> torch.device:
        return self.projection.weight.device

    @property
    def dtype(self) -> torch.dtype:
        return self.projection.weight.dtype

    def new_cache(self, batch: int, capacity: int) -> KVCache:
        """An empty cache of the backbone, on the model's device and in its type."""
        return KVCache.empty(self.backbone.config, batch, capacity, self.device, self.dtype)

    def extend(
        self, tokens: Tensor, mask: Tensor, cache: KVCache, counts: Sequence[int] | None = None
    ) -> Tensor:
        """Runs the backbone over new rows (B, T, Q+1) after those in the cache.

        Args:
            tokens: New rows.
            mask: Live columns, same shape.
            cache: What came before; it is lengthened.
            counts: Real rows of the T per batch row, padding after them; all where not given.

        Returns:
            The state (B, backbone width) of the last real row of each batch row; it means
            nothing where a count is 0.
        """
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
        sampler: Sampler,
        counts: Sequence[int] | None = None,
    ) -> Tensor:
        """Takes in new rows and draws the frame that follows them.

        Args:
            tokens: New rows (B, T, Q+1): the prompt at first, then the frame drawn last.
            mask: Live columns, same shape.
            cache: What came before; it is lengthened by the new rows.
            sampler: How each batch row draws its codes.
            counts: Real rows of the T per batch row; all where not given.

        Returns:
            Codes (B, Q) int64. All zeros: the turn has ended.
        """
        return self.draw_frame(self.extend(tokens, mask, cache, counts), sampler)

    def draw_frame(self, hidden: Tensor, sampler: Sampler) -> Tensor:
        """Draws codes (B, Q) from backbone states (B, backbone width), coarse to fine."""
        num_codebooks = self.config.audio_num_codebooks
        noise = sampler.noise(num_codebooks, self.config.audio_vocab_size)
        codes = [sampler.draw(self.codebook0_head(hidden), noise, 0)]
        cache = KVCache.empty(
            self.decoder.config, len(hidden), num_codebooks, hidden.device, hidden.dtype
        )
        x = hidden[:, None]
        for codebook in range(1, num_codebooks):
            embedded = self._code_embedding(codes[-1], codebook - 1)[:, None]
            # Position 0 goes in together with position 1: code 0 needs no decoder.
            x = torch.cat((x, embedded), 1) if codebook == 1 else embedded
            decoded = self.decoder.extend(self.projection(x), cache)[:, -1]
            codes.append(sampler.draw(decoded @ self.audio_head[codebook - 1], noise, codebook))
        return torch.stack(codes, 1)

    def _code_embedding(self, codes: Tensor, codebook: int) -> Tensor:
        return self.audio_embeddings(codes + codebook * self.config.audio_vocab_size)

    def _audio_ids(self, codes: Tensor) -> Tensor:
        """Rows of the shared audio table: code c of codebook k is row k*vocab + c."""
        vocab = self.config.audio_vocab_size
        return codes + torch.arange(codes.shape[-1], device=codes.device) * vocab
