"""How far the tokens of an answer are from the likeliest ones. Prompt and answer are read once more as one prompt, in large pieces, by
a process of its own (`tawny debug logits`): no cache, no neighbours, no steps ahead, and not the kernels of single rows, which round
activations to 8 bits. Standard library only."""
import array
import http.client
import json
import os
import subprocess

PIECE = 512
PADDING = 16  # tokens behind the last one, which no earlier row sees: a batch of 8 rows would take the kernels of single rows
TIMEOUT = 300  # seconds of one process
ENDS = ("<|im_end|>", "<|endoftext|>", "<|eot_id|>", "<|return|>")
BEGINS = ("<|im_start|>", "<|start|>")


def call(port, path, body=None):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=600)
    connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body),
                       {"Content-Type": "application/json"})
    reply = connection.getresponse()
    text = reply.read().decode()
    connection.close()
    if reply.status != 200:
        raise RuntimeError(f"{path}: {reply.status} {text}")
    return text


class Truth:
    """port: a server of the model, for its tokens; device: the index of the one that reads, with caches as the answers had."""

    def __init__(self, port, tawny, model, device, cache, folder):
        self.port, self.known, self.n_unseen = port, {}, 0  # n_unseen: tokens behind one without a text
        self.ids_file, self.logits_file = (os.path.join(folder, name) for name in ("ids", "logits"))
        self.command = [tawny, "debug", "logits", model, "--tokens", self.ids_file, "--out", self.logits_file]
        self.cache = ["-ctk", cache, "-ctv", cache]
        self.reader = ["--backend", "vulkan", "--device", str(device), *self.cache]
        ends = (json.loads(call(port, "/props"))["eos_token"], *ENDS)
        self.ends = self.ids_of(ends)
        self.silent = {*self.ends, *self.ids_of(BEGINS)}  # have no text

    def ids_of(self, texts):
        return [ids[0] for ids in (self.tokens(text) for text in texts if text) if len(ids) == 1]

    def tokens(self, text, special=False):
        """The ids of a text; special: with what begins every prompt."""
        if (text, special) not in self.known:
            body = {"content": text, "add_special": special, "parse_special": True}
            self.known[text, special] = json.loads(call(self.port, "/tokenize", body))["tokens"]
        return self.known[text, special]

    def ids(self, answer):
        """Prompt and reply, as far as the pieces are tokens."""
        prompt, reply = self.tokens(answer.prompt, True), []
        if len(prompt) != answer.n_prompt:
            raise RuntimeError(f"a prompt of {answer.n_prompt} tokens is cut into {len(prompt)}: {answer.prompt[:200]!r}")
        for piece in answer.pieces:
            ids = self.tokens(piece)
            if len(ids) != 1 or "\ufffd" in piece:
                break
            reply.append(ids[0])
        return prompt, reply

    def distances(self, answer):
        """Of each token of the answer, and of its end where that is the model's own: the largest logit less its own. Shorter where
        the tokens behind cannot be told from the text: those of parts of a character, and those behind one without a text."""
        prompt, reply = self.ids(answer)
        rows = self.read(prompt + reply, len(prompt) - 1)
        if answer.n_tokens > len(answer.pieces) + (answer.finish == "stop"):
            n = self.first_silent(rows, reply)
            self.n_unseen += len(reply) - n
            reply = reply[:n]
        found = [max(row) - row[i] for row, i in zip(rows, reply)]
        if answer.finish == "stop" and len(reply) + 1 == answer.n_tokens and self.ends:
            found.append(max(rows[-1]) - max(rows[-1][i] for i in self.ends))
        return found

    def first_silent(self, rows, reply):
        """Where a reply with tokens that have no text (an end that was ignored, a turn's beginning) has the first of them."""
        wanted = (i for i, row in enumerate(rows[: len(reply)]) if row.index(max(row)) in self.silent)
        return next(wanted, len(reply))

    def roundings(self, answer, at):
        """The least distance of token `at` where other things are rounded: activations, cached keys, cached values, experts. A router at
        a tie takes another expert then, and the logits of such a step are others; what is wrong stays wrong. Each of these moves
        other ties: of a token that one device wrote, 9.0 behind everywhere else, two of six found it the likeliest."""
        prompt, reply = self.ids(answer)
        wanted = reply[at : at + 1] or self.ends
        cpu = ["--backend", "cpu", *self.cache]
        others = (cpu, [*self.reader, "-ctk", "q4_0"], [*self.reader, "-ctv", "q4_0"], [*cpu, "-ctk", "q4_0"],
                  [*cpu, "--requant", "experts=q5_k"], ["--backend", "ref", *self.cache, "-ctk", "q4_0"])
        rows = [self.read(prompt + reply[:at], len(prompt) + at - 1, options)[0] for options in others]
        return min(max(row) - max(row[i] for i in wanted) for row in rows)

    def read(self, ids, first, options=None):
        """Rows of logits from `first` on."""
        n = len(ids) + PADDING
        n_pieces = -(-n // PIECE)
        with open(self.ids_file, "wb") as f:
            array.array("i", ids + [ids[-1]] * PADDING).tofile(f)
        ran = subprocess.run([*self.command, *(options or self.reader), "--batch", str(-(-n // n_pieces))], stderr=subprocess.PIPE,
                             text=True, timeout=TIMEOUT, check=False)
        if ran.returncode:
            raise RuntimeError(f"debug logits: {ran.stderr.strip()[-300:]}")
        n_bytes = os.path.getsize(self.logits_file) // n
        rows = []
        with open(self.logits_file, "rb") as f:
            f.seek(first * n_bytes)
            for _ in range(first, len(ids)):
                rows.append(array.array("f", f.read(n_bytes)))
        return rows
