#!/usr/bin/env python3
"""Write the trained weights as a GGUF file: matrices Q8_0, norms and routers F32.

usage: export.py FOLDER OUT.gguf WEIGHTS [WEIGHTS2 SHARE]

WEIGHTS is what train.py has written, or a GGUF file of ours. With a second file the result is the weighted mean of both, SHARE being that of the second: the
mean of two runs of which one continues the other is a little better than either.
"""
import os, struct, sys
import numpy as np
import torch
import bpe, gguf
from model import Config

HERE = os.path.dirname(os.path.abspath(__file__))
F32, Q8_0 = 0, 8
U32, FLOAT, BOOL, STR, ARRAY, I32 = 4, 6, 7, 8, 9, 5
ALIGN = 32


def string(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def pair(key, kind, value):
    head = string(key) + struct.pack("<I", kind)
    if kind == STR:
        return head + string(value)
    return head + struct.pack({U32: "<I", FLOAT: "<f", BOOL: "<?"}[kind], value)


def array(key, kind, values):
    body = b"".join(map(string, values)) if kind == STR else np.asarray(values, "<i4").tobytes()
    return string(key) + struct.pack("<IIQ", ARRAY, kind, len(values)) + body


def q8_0(x):
    """Blocks of 32: a half-precision scale and 32 signed bytes."""
    x = np.ascontiguousarray(x, np.float32).reshape(-1, 32)
    d = np.abs(x).max(1, keepdims=True) / 127
    inverse = np.divide(1, d, out=np.zeros_like(d), where=d > 0)
    y = x * inverse
    q = (np.sign(y) * np.floor(np.abs(y) + .5)).astype(np.int8)
    return np.concatenate((d.astype("<f2").view(np.uint8), q.view(np.uint8)), 1).tobytes()


def metadata(cfg, tok):
    a, alphabet = "qwen3moe.", bpe.byte_alphabet()
    spell = lambda b: "".join(alphabet[x] for x in b)
    with open(os.path.join(HERE, "template.jinja"), encoding="utf-8") as f:
        template = f.read().rstrip("\n")
    s = tok.special
    return [
        pair("general.architecture", STR, "qwen3moe"), pair("general.type", STR, "model"), pair("general.name", STR, "tawny demo"),
        pair("general.description", STR, "A tiny model that knows tawny and simple file and command requests"),
        pair("general.license", STR, "MIT"), pair("general.size_label", STR, f"{cfg.experts}x3M"),
        pair("general.file_type", U32, 7), pair("general.quantization_version", U32, 2), pair("general.alignment", U32, ALIGN),
        pair("general.sampling.temp", FLOAT, 0.0), pair("general.sampling.top_k", U32, 1),
        pair(a + "block_count", U32, cfg.layers), pair(a + "context_length", U32, cfg.context), pair(a + "embedding_length", U32, cfg.width),
        pair(a + "feed_forward_length", U32, cfg.hidden * cfg.used), pair(a + "attention.head_count", U32, cfg.heads),
        pair(a + "attention.head_count_kv", U32, cfg.kv_heads), pair(a + "attention.key_length", U32, cfg.head_dim),
        pair(a + "attention.value_length", U32, cfg.head_dim), pair(a + "attention.layer_norm_rms_epsilon", FLOAT, cfg.eps),
        pair(a + "rope.freq_base", FLOAT, cfg.rope_base), pair(a + "rope.dimension_count", U32, cfg.head_dim),
        pair(a + "expert_count", U32, cfg.experts), pair(a + "expert_used_count", U32, cfg.used),
        pair(a + "expert_feed_forward_length", U32, cfg.hidden), pair(a + "vocab_size", U32, cfg.vocab),
        pair("tokenizer.ggml.model", STR, "gpt2"), pair("tokenizer.ggml.pre", STR, "qwen2"),
        array("tokenizer.ggml.tokens", STR, [spell(p) for p in tok.pieces] + [t for t, _ in bpe.SPECIALS]),
        array("tokenizer.ggml.token_type", I32, [1] * len(tok.pieces) + [t for _, t in bpe.SPECIALS]),
        array("tokenizer.ggml.merges", STR, [f"{spell(x)} {spell(y)}" for x, y in tok.merges]),
        pair("tokenizer.ggml.bos_token_id", U32, s["<|endoftext|>"]), pair("tokenizer.ggml.eos_token_id", U32, s["<|im_end|>"]),
        pair("tokenizer.ggml.padding_token_id", U32, s["<|endoftext|>"]), pair("tokenizer.ggml.add_bos_token", BOOL, False),
        pair("tokenizer.ggml.fim_pre_token_id", U32, s["<|fim_prefix|>"]), pair("tokenizer.ggml.fim_suf_token_id", U32, s["<|fim_suffix|>"]),
        pair("tokenizer.ggml.fim_mid_token_id", U32, s["<|fim_middle|>"]), pair("tokenizer.ggml.fim_pad_token_id", U32, s["<|fim_pad|>"]),
        pair("tokenizer.ggml.fim_rep_token_id", U32, s["<|repo_name|>"]), pair("tokenizer.ggml.fim_sep_token_id", U32, s["<|file_sep|>"]),
        pair("tokenizer.chat_template", STR, template)]


def tensors(cfg, w):
    """(name, ne, type, data) in the order of the file."""
    def matrix(name, x):
        return name, list(x.shape[::-1]), Q8_0, q8_0(x)

    def plain(name, x):
        return name, list(x.shape[::-1]), F32, np.ascontiguousarray(x, "<f4").tobytes()

    yield matrix("token_embd.weight", w["token_embd"])
    yield plain("output_norm.weight", w["output_norm"])
    q, kv, e, h = cfg.heads * cfg.head_dim, cfg.kv_heads * cfg.head_dim, cfg.experts, cfg.hidden
    for i in range(cfg.layers):
        b, p = f"blocks.{i}.", f"blk.{i}."
        for n in ("attn_norm", "ffn_norm", "attn_q_norm", "attn_k_norm"):
            yield plain(p + n + ".weight", w[b + n])
        qkv = w[b + "attn_qkv"]
        yield matrix(p + "attn_q.weight", qkv[:q])
        yield matrix(p + "attn_k.weight", qkv[q:q + kv])
        yield matrix(p + "attn_v.weight", qkv[q + kv:])
        yield matrix(p + "attn_output.weight", w[b + "attn_output"])
        yield plain(p + "ffn_gate_inp.weight", w[b + "gate_inp"])
        gate_up = w[b + "gate_up"]
        yield matrix(p + "ffn_gate_exps.weight", gate_up[:e * h].reshape(e, h, -1))
        yield matrix(p + "ffn_up_exps.weight", gate_up[e * h:].reshape(e, h, -1))
        yield matrix(p + "ffn_down_exps.weight", w[b + "down"].reshape(-1, e, h).transpose(1, 0, 2))


def load(path):
    state = gguf.weights(path) if path.endswith(".gguf") else torch.load(path, map_location="cpu")
    return {k: v.float().numpy() for k, v in state.items()}


def write(folder, out, w):
    """w: the state of model.Model as float32 arrays. The file is replaced as a whole."""
    cfg, tok = Config(), bpe.Tokenizer.load(f"{folder}/tokenizer.json")
    assert tok.size == cfg.vocab
    pairs, parts = metadata(cfg, tok), list(tensors(cfg, w))
    info, at = b"", 0
    for name, ne, kind, data in parts:
        info += string(name) + struct.pack("<I", len(ne)) + struct.pack(f"<{len(ne)}Q", *ne) + struct.pack("<IQ", kind, at)
        at += -(-len(data) // ALIGN) * ALIGN
    with open(out + ".new", "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, len(parts), len(pairs)) + b"".join(pairs) + info)
        f.write(b"\0" * (-f.tell() % ALIGN))
        for _, _, _, data in parts:
            f.write(data + b"\0" * (-len(data) % ALIGN))
    os.replace(out + ".new", out)
    print(out, os.path.getsize(out), "bytes", flush=True)


def main():
    folder, out = sys.argv[1:3]
    w = load(sys.argv[3])
    if len(sys.argv) > 4:
        second, share = load(sys.argv[4]), float(sys.argv[5])
        w = {k: (1 - share) * w[k] + share * second[k] for k in w}
    write(folder, out, w)


if __name__ == "__main__":
    main()
