"""What is right of a soak's answers: every kind of answer to a request is kept in a file as it comes, and held to the truth (truth.py)
behind the soak, or later and elsewhere. Standard library only."""
import concurrent.futures
import json
import os
import random
import threading
import time

# Logits. Where rounding moves no expert the likeliest token is within 0.2 of the true one; where it does, up to 6.5 were seen, so
# what is beyond FAR is looked at again; errors put in on purpose gave 25 and 31.
FAR = 3
NEAR = 0.25
MOST_NOT_NEAR = 0.02  # of all tokens, and FEW more; 0.004 were seen
FEW = 3
MOST_TOLD = 40
MOST_WRONG = 10       # beyond these a far token is wrong without a second look, which takes six processes
LEAST_KINDS = 20      # of a verdict, where there are as many
FILE = "answers"


class Answer:
    """pieces: its text, token by token but where one is part of a character."""

    def __init__(self, prompt, pieces=(), finish=None, n_prompt=0, n_tokens=0):
        self.prompt, self.pieces, self.finish, self.n_prompt, self.n_tokens = prompt, list(pieces), finish, n_prompt, n_tokens

    def take(self, event):
        if "error" in event:
            raise RuntimeError(event["error"]["message"])
        for choice in event.get("choices", []):
            self.pieces += [choice["text"]] if choice.get("text") else []
            self.finish = choice.get("finish_reason") or self.finish
        if event.get("usage"):
            self.n_prompt, self.n_tokens = event["usage"]["prompt_tokens"], event["usage"]["completion_tokens"]

    def key(self):
        return "".join(self.pieces), self.finish


class Answers:
    """kinds: of each request every other answer that it got, the one alone first. FILE of a folder has the same: a line about the soak
    (its seed, the model's size), then one for each kind as soon as it is there, so that what was asked until a machine went away
    can be judged. One thread at a time."""

    def __init__(self, about):
        self.about, self.kinds, self.file = about, [], None

    def keep(self, folder):
        self.file = open(os.path.join(folder, FILE), "w", encoding="utf-8")
        self.write(self.about)

    def write(self, line):
        self.file.write(json.dumps(line) + "\n")
        self.file.flush()

    def add(self, i, answer):
        """Whether it is the one that request i got first; a new request has the next number."""
        if i == len(self.kinds):
            self.kinds.append({})
        kinds = self.kinds[i]
        if answer.key() not in kinds:
            kinds[answer.key()] = answer
            if self.file:
                prompt = {} if len(kinds) > 1 else {"prompt": answer.prompt}
                self.write({"request": i, **prompt, "pieces": answer.pieces, "finish": answer.finish, "n_prompt": answer.n_prompt,
                            "n_tokens": answer.n_tokens})
        return answer.key() == next(iter(kinds))

    @classmethod
    def read(cls, folder):
        with open(os.path.join(folder, FILE), encoding="utf-8") as f:
            lines = [line for line in f if line.endswith("\n")]  # the last one may be cut
        answers = cls(json.loads(lines[0]))
        for line in map(json.loads, lines[1:]):
            i = line.pop("request")
            if "prompt" not in line:
                line["prompt"] = next(iter(answers.kinds[i].values())).prompt
            answers.add(i, Answer(**line))
        return answers

    def in_order(self):
        """(name, answer, the first one where this is another): all first ones, then the others in the seed's order, so that what is
        judged of them until the time ends is a random sample."""
        firsts = [next(iter(kinds.values())) for kinds in self.kinds]
        others = [(i, answer) for i, kinds in enumerate(self.kinds) for answer in list(kinds.values())[1:]]
        random.Random(self.about["seed"]).shuffle(others)
        return ([(f"request {i}", answer, None) for i, answer in enumerate(firsts)] +
                [(f"request {i}", answer, firsts[i]) for i, answer in others])


class Judge:
    """Holds answers to the truth; several threads may, each with a truth of its own."""

    def __init__(self):
        self.lock = threading.Lock()
        self.n_kinds = self.n_tokens = self.n_judged = self.n_other = self.n_not_near = self.n_far = self.n_ties = self.n_parted = 0
        self.furthest = 0

    def look(self, truth, name, answer, first):
        """first: the answer that it parted from, if any."""
        found = truth.distances(answer)
        furthest = max(found, default=0)
        with self.lock:
            self.n_kinds += 1
            self.n_tokens += answer.n_tokens
            self.n_judged += len(found)
            self.n_other += sum(distance > 0 for distance in found)
            self.n_not_near += sum(distance > NEAR for distance in found)
            self.furthest = max(self.furthest, furthest)
            self.n_parted += first is not None
            tells = first is not None and self.n_parted <= MOST_TOLD
        if tells:
            at = len(os.path.commonprefix([first.pieces, answer.pieces]))
            there = f"{found[at]:.4f}" if at < len(found) else "?"
            print(f"    {name} parts at token {at}, {there} from the likeliest; its furthest is {furthest:.4f}, of {len(found)}")
        self.look_again(truth, name, answer, found)

    def look_again(self, truth, name, answer, found):
        """At the tokens that are far: those that are near with another rounding stand at a tie of experts."""
        for at in (at for at, distance in enumerate(found) if distance > FAR):
            least = truth.roundings(answer, at) if self.n_far < MOST_WRONG else found[at]
            with self.lock:
                self.n_ties += least <= NEAR
                self.n_far += least > NEAR
                tells = NEAR < least and self.n_far <= MOST_WRONG
            if tells:
                print(f"      {name}: {found[at]:.4f} from the likeliest at token {at} of {answer.pieces}, {least:.4f} with other "
                      f"roundings\n      prompt: {answer.prompt[:600]!r}")

    def tell(self, n_all, n_unseen, report):
        most = FEW + MOST_NOT_NEAR * self.n_judged
        enough = self.n_judged >= 0.9 * (self.n_tokens - n_unseen) and self.n_kinds >= min(n_all, LEAST_KINDS) > 0
        good = self.n_far == 0 and self.n_not_near <= most and enough
        report("answers", good,
               f"of {n_all} kinds {self.n_kinds} judged (at least {min(n_all, LEAST_KINDS)}), {self.n_judged} of their {self.n_tokens} tokens ({n_unseen} lie behind one "
               f"without a text): {self.n_other} are not the likeliest, "
               f"{self.n_not_near} more than {NEAR} from it (limit {most:.0f}), the furthest {self.furthest:.4f}; "
               f"{self.n_far} are beyond {FAR}, and {self.n_ties} that are near with another rounding")


def judge_for(answers, seconds, n_judges, make_truth, report):
    """The verdict of as many answers as can be judged in that time. make_truth(k): the truth of the k-th of the processes at once."""
    until = time.monotonic() + seconds
    todo = answers.in_order()
    judge, truths, left = Judge(), [make_truth(k) for k in range(n_judges)], iter(todo)

    def work(truth):
        while time.monotonic() < until:
            with judge.lock:
                wanted = next(left, None)
            if not wanted:
                break
            judge.look(truth, *wanted)

    with concurrent.futures.ThreadPoolExecutor(n_judges) as pool:
        list(pool.map(work, truths))
    judge.tell(len(todo), sum(truth.n_unseen for truth in truths), report)
