"""Read a GGUF file of ours (F32 and Q8_0 tensors) and turn it back into the model's weights."""
import math, struct
import numpy as np
import torch


class Gguf:
    def __init__(self, path):
        with open(path, "rb") as f:
            self.data = f.read()
        self.at = 4
        _, n_tensors, n_pairs = self.take("<IQQ")
        self.kv = {}
        for _ in range(n_pairs):
            key = self.string()
            self.kv[key] = self.value(self.take("<I")[0])
        infos = []
        for _ in range(n_tensors):
            name, dims = self.string(), self.take("<I")[0]
            infos.append((name, self.take(f"<{dims}Q"), *self.take("<IQ")))
        base = -(-self.at // 32) * 32
        self.tensors = {name: self.tensor(ne, kind, base + offset) for name, ne, kind, offset in infos}

    def take(self, form):
        out = struct.unpack_from(form, self.data, self.at)
        self.at += struct.calcsize(form)
        return out

    def string(self):
        n = self.take("<Q")[0]
        self.at += n
        return self.data[self.at - n:self.at].decode()

    def value(self, kind):
        if kind == 8:
            return self.string()
        if kind == 9:
            sub, n = self.take("<IQ")
            return [self.value(sub) for _ in range(n)]
        return self.take({4: "<I", 5: "<i", 6: "<f", 7: "<?"}[kind])[0]

    def tensor(self, ne, kind, at):
        n = math.prod(ne)
        if kind == 0:
            x = np.frombuffer(self.data, "<f4", n, at)
        else:  # Q8_0
            raw = np.frombuffer(self.data, np.uint8, n // 32 * 34, at).reshape(-1, 34)
            x = raw[:, :2].copy().view("<f2").astype(np.float32) * raw[:, 2:].view(np.int8)
        return torch.from_numpy(np.array(x, np.float32).reshape(ne[::-1]))


def weights(path):
    """The state of model.Model, from the tensors that export.py wrote."""
    g = Gguf(path)
    t = g.tensors
    out = {"token_embd": t["token_embd.weight"], "output_norm": t["output_norm.weight"]}
    for i in range(g.kv["qwen3moe.block_count"]):
        b, p = f"blocks.{i}.", f"blk.{i}."
        for n in ("attn_norm", "ffn_norm", "attn_q_norm", "attn_k_norm", "attn_output"):
            out[b + n] = t[p + n + ".weight"]
        out[b + "attn_qkv"] = torch.cat([t[p + f"attn_{s}.weight"] for s in "qkv"])
        out[b + "gate_inp"] = t[p + "ffn_gate_inp.weight"]
        out[b + "gate_up"] = torch.cat([t[p + f"ffn_{s}_exps.weight"].flatten(0, 1) for s in ("gate", "up")])
        out[b + "down"] = t[p + "ffn_down_exps.weight"].transpose(0, 1).flatten(1)
    return out
