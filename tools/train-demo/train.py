#!/usr/bin/env python3
"""Train the demo model on one GPU.

usage: train.py FOLDER OUT [--minutes M] [--init MODEL.gguf] [--seed S] [--lr LR]
                [--longer 16k|64k|agents] [--longer-from F] [--every M] [--workers N]

FOLDER holds corpus.txt, words.txt, tokenizer.json. The run stops after M minutes: the learning
rate falls with the time that has passed, so the schedule fits any GPU. OUT gets the weights as
half-precision numbers (weights.pt) and as GGUF (demo.gguf), at the end and every so many minutes,
and a log.
"""
import argparse, json, math, os, time
import torch
import torch.nn.functional as F
import export, gguf
from data import Batches
from model import Config, Model

TOKENS = 65536             # of one step
SHORT = 4096               # usual length of a row
# after a share of the time: every so many steps, from which one on, rows of such a length
LONGER = {"16k": [(4, 0, 16384)], "64k": [(4, 0, 16384), (10, 0, 32768), (20, 0, 65536)],
          "agents": [(5, 1, 8192), (5, 2, 20480), (5, 4, 32768), (40, 5, 49152)]}
BALANCE = 0.01
WARMUP_STEPS = 200


def loss_of(hidden, embedding, targets, weights):
    logits = F.linear(hidden, embedding.to(hidden.dtype)).float()
    each = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    w = weights.flatten()
    mine = (w == 1).float()
    return (each * w).sum() / w.sum(), (each * mine).sum() / mine.sum().clamp(min=1)


def optimizer(model, lr):
    matrices = [p for p in model.parameters() if p.dim() > 1]
    rest = [p for p in model.parameters() if p.dim() == 1]
    return torch.optim.AdamW([{"params": matrices, "weight_decay": .05}, {"params": rest, "weight_decay": 0}],
                             lr=lr, betas=(.9, .95), fused=matrices[0].is_cuda)


def rate(progress, step):
    """Warm up, stay, then fall along a cosine over the last 60 % of the time."""
    if progress < .4:
        return min(1, (step + 1) / WARMUP_STEPS)
    return .02 + .98 * .5 * (1 + math.cos(math.pi * min(1, (progress - .4) / .6)))


def plan(steps, start, longer):
    """Row shapes for each step: short rows first, long ones mixed in after a share `start`."""
    out = []
    for i in range(steps):
        length = SHORT
        for every, first, longs in longer:
            if i >= steps * start and i % every == first:
                length = longs
        out.append((TOKENS // length, length))
    return out


def keep(model, a):
    """Write the weights as they are; what is there already is replaced as a whole."""
    state, path = {k: v.detach().cpu().half() for k, v in model.state_dict().items()}, os.path.join(a.out, "weights.pt")
    torch.save(state, path + ".new")
    os.replace(path + ".new", path)
    export.write(a.folder, os.path.join(a.out, "demo.gguf"), {k: v.float().numpy() for k, v in state.items()})


def options():
    a = argparse.ArgumentParser()
    a.add_argument("folder"), a.add_argument("out")
    a.add_argument("--minutes", type=float, default=9)
    a.add_argument("--init")
    a.add_argument("--seed", default="tawny")
    a.add_argument("--lr", type=float, default=2e-3)
    a.add_argument("--longer", choices=LONGER, default="16k")
    a.add_argument("--longer-from", type=float, default=.5)
    a.add_argument("--rate", type=float, default=13.0, help="expected steps per second, for the plan")
    a.add_argument("--every", type=float, default=3.0, help="minutes between written weights")
    a.add_argument("--workers", type=int, default=max(2, (os.cpu_count() or 4) - 2))
    a.add_argument("--device", default="cuda", help="cpu only tries whether everything runs")
    a.add_argument("--steps", type=int, help="so many steps at most")
    return a.parse_args()


def main():
    a = options()
    torch.manual_seed(1)
    torch.set_float32_matmul_precision("high")
    os.makedirs(a.out, exist_ok=True)
    cfg = Config()
    model = Model(cfg)
    if a.init:
        model.load_state_dict(gguf.weights(a.init))
    model.to(a.device)
    print("parameters", sum(p.numel() for p in model.parameters()), flush=True)
    opt = optimizer(model, a.lr)
    gpu, loss_fn = a.device != "cpu", loss_of
    if gpu:
        from torch import _dynamo
        limit = "recompile_limit" if hasattr(_dynamo.config, "recompile_limit") else "cache_size_limit"
        setattr(_dynamo.config, limit, 32)  # each length of rows is compiled
        for block in model.blocks:
            block.compile(dynamic=False)
        loss_fn = torch.compile(loss_of, dynamic=False)
    steps = plan(int(a.minutes * 60 * a.rate), a.longer_from, LONGER[a.longer])[:a.steps]
    loader = iter(torch.utils.data.DataLoader(Batches(a.folder, a.seed, steps), batch_size=None,
                                              num_workers=a.workers, prefetch_factor=4, pin_memory=gpu))
    begin, log, seen, kept = None, open(os.path.join(a.out, "log.jsonl"), "w"), 0, 1
    for step, (ids, weights) in enumerate(loader):
        if step == 3:
            begin = time.time()  # after the compilation
        # progress by time or by data, whichever is further
        progress = max((time.time() - begin) / (60 * a.minutes) if begin else 0, step / len(steps))
        if progress >= 1:
            break
        for g in opt.param_groups:
            g["lr"] = a.lr * rate(progress, step)
        ids, weights = ids.to(a.device, non_blocking=True), weights.to(a.device, non_blocking=True)
        hidden, balance = model.hidden_states(ids[:, :-1])
        loss, mine = loss_fn(hidden, model.token_embd, ids[:, 1:], weights[:, 1:])
        (loss + BALANCE * balance).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        opt.step()
        opt.zero_grad(set_to_none=True)
        seen += ids.numel()
        if step % 100 == 0 or step < 5:
            row = {"step": step, "progress": round(progress, 4), "loss": round(loss.item(), 4), "assistant": round(mine.item(), 4),
                   "balance": round(balance.item(), 3), "tokens": seen, "seconds": round(time.time() - begin, 1) if begin else 0}
            print(json.dumps(row), file=log, flush=True)
            if step % 500 == 0 or step < 5:
                print(row, flush=True)
        if begin and time.time() - begin > kept * 60 * a.every:
            kept += 1
            keep(model, a)
    keep(model, a)
    print("steps", step, "tokens", seen, "seconds", round(time.time() - begin, 1) if begin else 0,
          "peak GiB", torch.cuda.max_memory_allocated() >> 30 if gpu else 0, flush=True)
    os._exit(0)  # do not wait for the workers


if __name__ == "__main__":
    main()
