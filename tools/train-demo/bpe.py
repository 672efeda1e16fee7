"""Byte-level BPE: the `qwen2` pre-splitter, a trainer and an encoder.

Unlike an ordinary BPE, the trainer never joins characters of different classes (letters,
digits, punctuation, white space), so that "hello" gets the same tokens after a space, a
quote or a line end. A small model copies unseen names token by token; this makes the copy
literally the same tokens. Two exceptions keep prompts short: ">\n" (the prompt layout is
full of it) and a space in front of the most frequent words, joined last.
"""
import json, re, unicodedata
from collections import Counter, defaultdict

SPECIALS = [  # (text, GGUF token type): 3 control, 4 user-defined, as in the Qwen3 files
    ("<|endoftext|>", 3), ("<|im_start|>", 3), ("<|im_end|>", 3),
    ("<|object_ref_start|>", 3), ("<|object_ref_end|>", 3), ("<|box_start|>", 3),
    ("<|box_end|>", 3), ("<|quad_start|>", 3), ("<|quad_end|>", 3), ("<|vision_start|>", 3),
    ("<|vision_end|>", 3), ("<|vision_pad|>", 3), ("<|image_pad|>", 3), ("<|video_pad|>", 3),
    ("<tool_call>", 4), ("</tool_call>", 4), ("<|fim_prefix|>", 3), ("<|fim_middle|>", 3),
    ("<|fim_suffix|>", 3), ("<|fim_pad|>", 3), ("<|repo_name|>", 3), ("<|file_sep|>", 3),
    ("<tool_response>", 4), ("</tool_response>", 4), ("<think>", 4), ("</think>", 4)]

# Punctuation runs that may become one token; none can end a quoted or plain text value.
PUNCT = {"</", "/>", "->", "=>", "==", "!=", "<=", ">=", "+=", "::", "&&", "||", "/*", "*/",
         "//", "--", "---", "----", "--------", "##", "###", "**", "===", "====", "========",
         "__", "<!"}
JOINED_WORDS = 700


def _ranges(major):
    """A regex class body with every character of one major Unicode category."""
    out, start, last = [], None, None
    for c in range(0x110000):
        if unicodedata.category(chr(c))[0] == major:
            if last != c - 1:
                if start is not None:
                    out.append((start, last))
                start = c
            last = c
    out.append((start, last))
    return "".join(f"\\U{a:08x}-\\U{b:08x}" for a, b in out)


_L, _N = _ranges("L"), _ranges("N")
_S = "\\t-\\r \\x85\\xa0\\u1680\\u2000-\\u200a\\u2028\\u2029\\u202f\\u205f\\u3000"
SPLIT = re.compile(
    "'(?:[rR][eE]|[vV][eE]|[lL][lL]|[sStTmMdD\u017f])"
    f"|[^\\r\\n{_L}{_N}]?[{_L}]+|[{_N}]| ?[^{_S}{_L}{_N}]+[\\r\\n]*"
    f"|[{_S}]*[\\r\\n]+|[{_S}]+(?![^{_S}])|[{_S}]+")
SPECIAL = re.compile("(" + "|".join(
    re.escape(s) for s, _ in sorted(SPECIALS, key=lambda x: -len(x[0]))) + ")")


def byte_alphabet():
    """byte -> the character that stands for it in the vocabulary (GPT-2's table)."""
    keep = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    table, n = {b: chr(b) for b in keep}, 0
    for b in range(256):
        if b not in table:
            table[b] = chr(256 + n)
            n += 1
    return table


def _kind(b):
    if b >= 0x80:
        return "high"
    c = chr(b)
    return "letter" if c.isalpha() else "digit" if c.isdigit() else "space" if c.isspace() else "punct"


def may_join(a, b):
    joined = a + b
    if joined in (b">\n", b">\n\n"):
        return True
    kinds = {_kind(x) for x in joined}
    if len(kinds) > 1 or kinds == {"digit"}:
        return False
    if kinds == {"punct"}:
        return joined.decode() in PUNCT
    if kinds == {"letter"}:
        return len(joined) <= 16
    return len(joined) <= 32


def train(words, size):
    """words: Counter of pre-split words. Returns merges (left, right) that make `size` pieces."""
    units = [[bytes([b]) for b in w.encode()] for w in words]
    counts = list(words.values())
    pairs, where = Counter(), defaultdict(set)
    for i, u in enumerate(units):
        for p in zip(u, u[1:]):
            pairs[p] += counts[i]
            where[p].add(i)
    merges, known = [], set()
    for p in [p for p in pairs if not may_join(*p)]:
        del pairs[p]
    while len(known) < size:  # two merges may give the same piece: count pieces
        best = max(pairs, key=lambda p: (pairs[p], p))
        merges.append(best)
        joined = best[0] + best[1]
        known.add(joined)
        for i in where.pop(best):
            old, new, k = units[i], [], 0
            while k < len(old):
                if k + 1 < len(old) and (old[k], old[k + 1]) == best:
                    new.append(joined)
                    k += 2
                else:
                    new.append(old[k])
                    k += 1
            for p in zip(old, old[1:]):
                if p in pairs:
                    pairs[p] -= counts[i]
            for p in zip(new, new[1:]):
                if p in pairs or may_join(*p):
                    pairs[p] += counts[i]
                    where[p].add(i)
            units[i] = new
        pairs.pop(best, None)
    return merges


def joined_words(merges, words):
    """The merges (space, word) for the most frequent words that are one token."""
    known = {a + b for a, b in merges}
    found = Counter({w: n for w, n in words.items()
                     if w[0] == " " and w[1:].isalpha() and w[1:].encode() in known})
    return [(b" ", w[1:].encode()) for w, _ in sorted(found.items(), key=lambda x: (-x[1], x[0]))
            [:JOINED_WORDS]]


class Tokenizer:
    def __init__(self, merges):
        """Ids: the 256 bytes, then the merged pieces, then the special tokens."""
        self.merges = [tuple(m) for m in merges]
        self.pieces = list(dict.fromkeys([bytes([b]) for b in range(256)]
                                         + [a + b for a, b in self.merges]))
        self.rank = {m: i for i, m in enumerate(self.merges)}
        self.ids = {p: i for i, p in enumerate(self.pieces)}
        self.special = {s: len(self.pieces) + i for i, (s, _) in enumerate(SPECIALS)}
        self.size = len(self.pieces) + len(SPECIALS)
        self.cache = {}

    @staticmethod
    def load(path):
        with open(path) as f:
            return Tokenizer([(bytes.fromhex(a), bytes.fromhex(b)) for a, b in json.load(f)])

    @staticmethod
    def spelled(merges):
        """From merges as a GGUF file spells them: two pieces in GPT-2's alphabet, a space between."""
        back = {c: b for b, c in byte_alphabet().items()}
        return Tokenizer([tuple(bytes(back[c] for c in side) for side in m.split(" ")) for m in merges])

    def save(self, path):
        with open(path, "w") as f:
            json.dump([[a.hex(), b.hex()] for a, b in self.merges], f)

    def word(self, text):
        parts = [bytes([b]) for b in text.encode()]
        while len(parts) > 1:
            rank, i = min((self.rank.get(p, 1 << 30), i) for i, p in enumerate(zip(parts, parts[1:])))
            if rank == 1 << 30:
                break
            parts[i:i + 2] = [parts[i] + parts[i + 1]]
        return [self.ids[p] for p in parts]

    def encode(self, text):
        out, cache = [], self.cache
        for k, part in enumerate(SPECIAL.split(text)):
            if k % 2:
                out.append(self.special[part])
                continue
            for w in SPLIT.findall(part):
                ids = cache.get(w)
                if ids is None:
                    ids = self.word(w)
                    if len(cache) < 500_000:
                        cache[w] = ids
                out += ids
        return out

    def decode(self, ids):
        table = self.pieces + [s.encode() for s, _ in SPECIALS]
        return b"".join(table[i] for i in ids).decode("utf-8", "replace")
