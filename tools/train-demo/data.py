"""Batches for training, made on the fly by worker processes: conversations and free text,
packed into rows of equal length. Batch number i depends only on the seed and i."""
import random
import numpy as np
import torch
import bpe, dialogs, names, render

# How much the loss of a token counts; PROMPT is that of a long prompt in the shape of agents'.
ASSISTANT, OTHER, PROMPT, TEXT = 1.0, 0.04, 0.01, 0.2
FREE_TEXT = 0.08   # share of documents that are plain corpus text
SHORT = 4096       # rows up to this length have no long document at their start
CHARS = 2.6        # characters of a token, a little less than usual so that most documents fit


class Source:
    """Endless documents as (ids, weights) from one random stream."""

    def __init__(self, folder, seed):
        self.words = names.load_words(folder)
        with open(f"{folder}/corpus.txt", encoding="utf-8") as f:
            self.corpus = f.read()
        self.tok = bpe.Tokenizer.load(f"{folder}/tokenizer.json")
        self.end = self.tok.special["<|endoftext|>"]
        self.reseed(seed)

    def reseed(self, seed):
        self.rng = random.Random(seed)
        self.maker = dialogs.Maker(self.rng, self.words, self.corpus)

    def dialog(self, long=0, shape=0):
        messages, tools = self.maker.any(long, shape)
        other = PROMPT if shape > SHORT * CHARS else OTHER
        ids, weights = [], []
        for text, mine in render.segments(messages, tools):
            part = self.tok.encode(text)
            ids += part
            weights += [0.0 if mine is None else ASSISTANT if mine else other] * len(part)
        return ids + [self.end], weights + [0.0]

    def free_text(self, chars):
        ids = self.tok.encode(self.maker.text(self.rng.randint(500, chars))) + [self.end]
        return ids, [TEXT] * len(ids)

    def opening(self, length):
        """The document that a long row starts with: seven of eight in the shape of agents'."""
        if self.rng.random() < .125:
            return self.dialog(long=int(length * 2.2))
        return self.dialog(shape=int(length * CHARS * self.rng.uniform(.65, 1)))

    def document(self, length):
        """Any shorter document."""
        x = self.rng.random()
        if x < FREE_TEXT:
            return self.free_text(4000)
        if x < .28:
            return self.dialog(shape=self.rng.randint(3000, int(CHARS * min(length, 2 * SHORT))))
        return self.dialog()


def pack(source, rows, length):
    """Rows that start with the start of a document; the last document of a row may be cut."""
    ids = np.zeros((rows, length + 1), np.int64)
    weights = np.zeros((rows, length + 1), np.float32)
    pool = [source.document(length) for _ in range(24 if length <= 4096 else 6)]
    for row in range(rows):
        at = 0
        while at <= length:
            room = length + 1 - at
            fits = [i for i, d in enumerate(pool) if len(d[0]) <= room]
            i = fits[0] if fits else 0
            if at == 0 and length > SHORT:
                doc, weight = source.opening(length)
            else:
                doc, weight = pool[i]
                pool[i] = source.document(length)
            ids[row, at:at + room] = (doc[:room] + [0] * room)[:room]
            weights[row, at:at + room] = (weight[:room] + [0.0] * room)[:room]
            at += min(len(doc), room)
    weights[:, 0] = 0
    return ids, weights


class Batches(torch.utils.data.IterableDataset):
    """plan: list of (rows, length) for each step."""

    def __init__(self, folder, seed, plan):
        self.folder, self.seed, self.plan = folder, seed, plan

    def __iter__(self):
        info = torch.utils.data.get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        source = Source(self.folder, 0)
        for i in range(first, len(self.plan), step):
            source.reseed(f"{self.seed}/{i}")
            ids, weights = pack(source, *self.plan[i])
            yield torch.from_numpy(ids), torch.from_numpy(weights)
