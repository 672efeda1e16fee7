#!/usr/bin/env python3
"""Run the exported GGUF with a plain PyTorch forward pass, independent of tawny's engine, and
measure it on tests/demo. Greedy decoding.

usage: eval.py MODEL.gguf TESTDIR [--first N] [--only heldout|followup|qa|paths|long|agents|real] [--show]
                       [--part I/N] [--device cuda]
       eval.py MODEL.gguf --perplexity FOLDER
       eval.py MODEL.gguf --ask "a question"

A row has "messages" and "tools", or a whole "prompt" (one that a client sent, for example), and
"expect" (the call), "must_contain" (parts of the answer) or "matches" (a regular expression).
"""
import argparse, json, math, os, random, re
import torch
import torch.nn.functional as F
import bpe, render
from gguf import Gguf

torch.set_grad_enabled(False)


class Runner:
    """The qwen3moe forward pass with a key/value cache, one sequence at a time."""

    def __init__(self, path, device):
        g = Gguf(path)
        self.device, kv = device, g.kv
        self.w = {name: t.to(device) for name, t in g.tensors.items()}
        k = lambda name: kv["qwen3moe." + name]
        self.layers, self.eps, self.used = k("block_count"), k("attention.layer_norm_rms_epsilon"), k("expert_used_count")
        self.heads, self.groups, self.dim, self.base = k("attention.head_count"), k("attention.head_count_kv"), k("attention.key_length"), k("rope.freq_base")
        self.tok = bpe.Tokenizer.spelled(kv["tokenizer.ggml.merges"])
        special = [t for t, kind in zip(kv["tokenizer.ggml.tokens"], kv["tokenizer.ggml.token_type"]) if kind != 1]
        assert special == list(self.tok.special) and self.tok.size == len(kv["tokenizer.ggml.tokens"])
        self.stop = {self.tok.special["<|im_end|>"], self.tok.special["<|endoftext|>"]}
        self.forget()

    def forget(self):
        self.ids, self.cache = [], [None] * self.layers

    def norm(self, x, name):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.w[name + ".weight"]

    def rope(self, x, start):
        angle = torch.arange(start, start + x.shape[1], dtype=torch.float64)[:, None] \
            * self.base ** (-torch.arange(0, self.dim, 2, dtype=torch.float64) / self.dim)
        cos, sin = angle.cos().float().to(x.device), angle.sin().float().to(x.device)
        a, b = x.chunk(2, -1)
        return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)

    def attention(self, i, x, start):
        p, n = f"blk.{i}.", x.shape[0]
        h = self.norm(x, p + "attn_norm")
        q, k, v = ((h @ self.w[p + f"attn_{s}.weight"].T).view(n, -1, self.dim).transpose(0, 1) for s in "qkv")
        q, k = self.rope(self.norm(q, p + "attn_q_norm"), start), self.rope(self.norm(k, p + "attn_k_norm"), start)
        if self.cache[i] is not None:
            k, v = torch.cat((self.cache[i][0], k), 1), torch.cat((self.cache[i][1], v), 1)
        self.cache[i] = k, v
        each = self.heads // self.groups
        scores = torch.einsum("gend,gmd->genm", q.view(self.groups, each, n, -1), k) * self.dim ** -.5
        if n > 1:
            mask = torch.arange(k.shape[1], device=x.device)[None, :] > torch.arange(start, start + n, device=x.device)[:, None]
            scores.masked_fill_(mask, -math.inf)
        out = torch.einsum("genm,gmd->gend", scores.softmax(-1), v).reshape(self.heads, n, -1)
        return out.transpose(0, 1).reshape(n, -1) @ self.w[p + "attn_output.weight"].T

    def experts(self, i, x):
        p = f"blk.{i}."
        h = self.norm(x, p + "ffn_norm")
        top, index = (h @ self.w[p + "ffn_gate_inp.weight"].T).softmax(-1).topk(self.used, -1)
        top = top / top.sum(-1, keepdim=True)
        gate, up, down = (self.w[p + f"ffn_{s}_exps.weight"] for s in ("gate", "up", "down"))
        if len(x) == 1:
            e = index[0]
            y = F.silu(gate[e] @ h[0]) * (up[e] @ h[0])
            return (top @ (down[e] @ y[:, :, None])[:, :, 0])
        out = torch.zeros_like(x)
        for e in index.unique().tolist():
            rows, slot = (index == e).nonzero(as_tuple=True)
            y = (F.silu(h[rows] @ gate[e].T) * (h[rows] @ up[e].T)) @ down[e].T
            out.index_add_(0, rows, y * top[rows, slot][:, None])
        return out

    def feed(self, ids, all_logits=False):
        """Continue the sequence by ids (in pieces); return the logits of the last token."""
        rows = []
        for a in range(0, len(ids), 512):
            part = ids[a:a + 512]
            x = self.w["token_embd.weight"][part]
            for i in range(self.layers):
                x = x + self.attention(i, x, len(self.ids))
                x = x + self.experts(i, x)
            self.ids += part
            if not all_logits:
                x = x[-1:]
            rows.append(self.norm(x, "output_norm") @ self.w["token_embd.weight"].T)
        return torch.cat(rows) if all_logits else rows[-1][-1]

    def complete(self, text, limit=700):
        ids = self.tok.encode(text)
        common = 0
        while common < min(len(ids) - 1, len(self.ids)) and ids[common] == self.ids[common]:
            common += 1
        if common:
            self.ids, self.cache = ids[:common], [tuple(x[:, :common] for x in c) for c in self.cache]
        else:
            self.forget()
        logits = self.feed(ids[common:])
        out = []
        while len(out) < limit:
            t = int(logits.argmax())
            if t in self.stop:
                break
            out.append(t)
            logits = self.feed([t])
        return self.tok.decode(out)


def native(messages):
    """Arguments in messages from JSON text to objects."""
    out = []
    for m in messages:
        m = dict(m)
        if m.get("tool_calls"):
            m["tool_calls"] = [{"function": {"name": c["function"]["name"], "arguments": json.loads(c["function"]["arguments"])}} for c in m["tool_calls"]]
        out.append(m)
    return out


def parse_call(text, tools):
    """The first call in a reply, its values typed by the tool's schema."""
    m = re.search(r"<function=([^>\n]*)>\n(.*?)</function>", text, re.S)
    if not m:
        return None
    schema = {}
    for t in tools:
        if t["function"]["name"] == m[1]:
            schema = t["function"]["parameters"].get("properties", {})
    arguments = {}
    for name, value in re.findall(r"<parameter=([^>\n]*)>\n(.*?)\n</parameter>\n", m[2], re.S):
        if schema.get(name, {}).get("type") != "string":
            try:
                value = json.loads({"True": "true", "False": "false"}.get(value, value))
            except ValueError:
                pass
        arguments[name] = value
    return {"name": m[1], "arguments": arguments}


def judge(row, reply):
    if "matches" in row:
        return re.search(row["matches"], reply) is not None, row["matches"]
    if "expect" in row:
        got = parse_call(reply, row["tools"])
        return got in [row["expect"], *row.get("accept", [])], row["expect"]
    return all(x in reply for x in row["must_contain"]) and "<tool_call>" not in reply, row["must_contain"]


def measure(runner, path, a):
    good, kinds = 0, {}
    with open(path, encoding="utf-8") as f:
        rows = [json.loads(line) for line in f][:a.first]
    part, parts = map(int, a.part.split("/"))
    rows = rows[part::parts]
    for row in rows:
        prompt = row["prompt"] if "prompt" in row else render.prompt(native(row["messages"]), row.get("tools"))
        reply = runner.complete(prompt)
        ok, want = judge(row, reply)
        good += ok
        k = kinds.setdefault(row.get("kind", "all"), [0, 0])
        k[0] += ok
        k[1] += 1
        if a.show and not ok:
            print("--", row["id"], prompt[-300:], "\n   want", json.dumps(want, ensure_ascii=False), "\n   got ", reply, flush=True)
    print(f"{os.path.basename(path)}: {good} of {len(rows)} right ({100 * good / len(rows):.1f} %)", {k: f"{a}/{b}" for k, (a, b) in sorted(kinds.items())}, flush=True)


def perplexity(runner, folder):
    """Bits per byte of 20 stretches of the free text (which it has read)."""
    with open(f"{folder}/corpus.txt", encoding="utf-8") as f:
        corpus = f.read()
    rng, bits, size = random.Random(3), 0.0, 0
    for _ in range(20):
        at = rng.randrange(len(corpus) - 4000)
        text = corpus[at:at + 4000].replace("\0", "\n")
        runner.forget()
        ids = runner.tok.encode(text)
        logp = runner.feed(ids, True)[:-1].log_softmax(-1)
        bits -= float(logp.gather(1, torch.tensor(ids[1:], device=logp.device)[:, None]).sum()) / math.log(2)
        size += len(text.encode())
    print(f"free text: {bits / size:.3f} bits per byte")


def main():
    a = argparse.ArgumentParser()
    a.add_argument("model"), a.add_argument("tests", nargs="?")
    a.add_argument("--first", type=int), a.add_argument("--only"), a.add_argument("--show", action="store_true")
    a.add_argument("--perplexity"), a.add_argument("--ask")
    a.add_argument("--device", default="cpu"), a.add_argument("--part", default="0/1", help="i/n: every n-th request")
    a = a.parse_args()
    runner = Runner(a.model, a.device)
    if a.ask:
        print(runner.complete(render.prompt([{"role": "user", "content": a.ask}], None)))
    if a.perplexity:
        perplexity(runner, a.perplexity)
    for name in ("heldout", "followup", "qa", "paths", "long", "agents", "real") if a.tests else ():
        if a.only in (None, name) and os.path.exists(f"{a.tests}/{name}.jsonl"):
            measure(runner, f"{a.tests}/{name}.jsonl", a)


if __name__ == "__main__":
    main()
