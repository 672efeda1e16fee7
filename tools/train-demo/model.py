"""The network: qwen3moe (RMS norms, rotary attention with normed heads and shared key/value
heads, softmax-routed experts), with the embedding also used as output matrix."""
from dataclasses import dataclass
import torch
import torch.nn as nn
import torch.nn.functional as F


@dataclass
class Config:
    vocab: int = 4096
    width: int = 256
    layers: int = 11
    heads: int = 8
    kv_heads: int = 2
    head_dim: int = 64
    experts: int = 8
    used: int = 2
    hidden: int = 256          # of one expert
    context: int = 65536
    rope_base: float = 1e6
    eps: float = 1e-6


def norm(x, weight, eps):
    f = x.float()
    return (f * torch.rsqrt(f.square().mean(-1, keepdim=True) + eps) * weight).to(x.dtype)


def rope_table(cfg, length, device):
    inverse = cfg.rope_base ** (-torch.arange(0, cfg.head_dim, 2, device=device, dtype=torch.float64) / cfg.head_dim)
    angle = torch.arange(length, device=device, dtype=torch.float64)[:, None] * inverse
    return angle.cos().float(), angle.sin().float()


def rotate(x, cos, sin):
    """x: [batch, heads, length, head_dim], halves are the pairs."""
    a, b = x.float().chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(x.dtype)


class Block(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg, d = cfg, cfg.width
        q, kv = cfg.heads * cfg.head_dim, cfg.kv_heads * cfg.head_dim
        self.attn_norm = nn.Parameter(torch.ones(d))
        self.ffn_norm = nn.Parameter(torch.ones(d))
        self.attn_q_norm = nn.Parameter(torch.ones(cfg.head_dim))
        self.attn_k_norm = nn.Parameter(torch.ones(cfg.head_dim))
        self.attn_qkv = nn.Parameter(torch.randn(q + 2 * kv, d) * d ** -.5)
        self.attn_output = nn.Parameter(torch.randn(d, q) * (q * 2 * cfg.layers) ** -.5)
        self.gate_inp = nn.Parameter(torch.randn(cfg.experts, d) * .02)
        # all experts side by side, expert by expert
        self.gate_up = nn.Parameter(torch.randn(2 * cfg.experts * cfg.hidden, d) * d ** -.5)
        self.down = nn.Parameter(torch.randn(d, cfg.experts * cfg.hidden) * (cfg.hidden * 2 * cfg.layers) ** -.5)

    def attention(self, x, cos, sin):
        c, (batch, length, _) = self.cfg, x.shape
        h = norm(x, self.attn_norm, c.eps)
        q, k, v = F.linear(h, self.attn_qkv.to(x.dtype)).split(
            [c.heads * c.head_dim, c.kv_heads * c.head_dim, c.kv_heads * c.head_dim], -1)
        q, k, v = (t.view(batch, length, -1, c.head_dim).transpose(1, 2) for t in (q, k, v))
        q = rotate(norm(q, self.attn_q_norm, c.eps), cos, sin)
        k = rotate(norm(k, self.attn_k_norm, c.eps), cos, sin)
        k, v = (t.repeat_interleave(c.heads // c.kv_heads, 1) for t in (k, v))
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return F.linear(out.transpose(1, 2).reshape(batch, length, -1), self.attn_output.to(x.dtype))

    def experts(self, x):
        """Every expert is computed for every token and most are weighed with zero: for a
        network this small two large products are faster on a GPU than sorting tokens."""
        c = self.cfg
        h = norm(x, self.ffn_norm, c.eps)
        p = F.linear(h.float(), self.gate_inp).softmax(-1)
        top, index = p.topk(c.used, -1)
        weight = torch.zeros_like(p).scatter(-1, index, top / top.sum(-1, keepdim=True))
        gate, up = F.linear(h, self.gate_up.to(x.dtype)).chunk(2, -1)
        act = (F.silu(gate) * up).unflatten(-1, (c.experts, c.hidden)) * weight[..., None].to(x.dtype)
        # load balance: share of tokens times mean probability of each expert, 1 at best
        share = (weight > 0).float().mean((0, 1)) / c.used
        balance = c.experts * (share * p.mean((0, 1))).sum()
        return F.linear(act.flatten(-2), self.down.to(x.dtype)), balance

    def forward(self, x, cos, sin):
        x = x + self.attention(x, cos, sin)
        y, balance = self.experts(x)
        return x + y, balance


class Model(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.cfg = cfg
        self.token_embd = nn.Parameter(torch.randn(cfg.vocab, cfg.width) * .05)
        self.output_norm = nn.Parameter(torch.ones(cfg.width))
        self.blocks = nn.ModuleList(Block(cfg) for _ in range(cfg.layers))

    def hidden_states(self, ids, dtype=torch.bfloat16):
        cos, sin = rope_table(self.cfg, ids.shape[1], ids.device)
        x = F.embedding(ids, self.token_embd).to(dtype)
        balance = 0.0
        for block in self.blocks:
            x, b = block(x, cos, sin)
            balance = balance + b
        return norm(x, self.output_norm, self.cfg.eps), balance / self.cfg.layers

    def forward(self, ids):
        x, _ = self.hidden_states(ids, torch.float32)
        return F.linear(x, self.token_embd)
