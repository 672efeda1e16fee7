"""Whole conversations: system prompt, tools, requests, calls, results, answers."""
import about, agents, names, phrases, slips, systems, tasks, toolsets


class Maker:
    """Makes training conversations from one random stream."""

    def __init__(self, rng, words, corpus, test=False):
        self.r = rng
        self.text = systems.filler(corpus, rng)
        self.n = names.Names(rng, words, self.text, test)

    def tool_call(self, tool, arguments):
        return {"type": "function", "function": {"name": tool.name, "arguments": arguments}}

    def do(self, messages, task, tools, look, remembered=None, slip=None):
        """Append the turns of one task after the user's message; return the answer. slip: a call fails first, in this folder."""
        found = tasks.call(task, tools)
        if not found:
            answer = tasks.refusal(task)
            messages.append({"role": "assistant", "content": answer})
            return answer
        tool, arguments = found
        if slip:
            answer = slips.before(self, messages, task, tools, tool, arguments, look, slip)
            if answer:
                messages.append({"role": "assistant", "content": answer})
                return answer
            arguments = tasks.call(task, tools)[1]  # it may know more now
        said = ""
        if self.r.random() < .03:
            said = self.r.choice(["I will do that.", "Let me do that.", "One moment."])
        messages.append({"role": "assistant", "content": said, "tool_calls": [self.tool_call(tool, arguments)]})
        text, answer = tasks.result(self.r, self.n, task, tool, look, remembered)
        messages.append({"role": "tool", "content": text})
        messages.append({"role": "assistant", "content": answer})
        return answer

    def chain(self, messages, tools, look, hint):
        """Two tasks in one request: both calls, one after the other, then one answer."""
        r = self.r
        a, b = (tasks.make(r, self.n, r.choice(["read", "list", "test", "build", "delete", "mkdir", "move"])) for _ in range(2))
        if r.random() < .35:
            a = tasks.make(r, self.n, "write")
            while "\n" in a.text or not a.text.endswith(a.slots["path"]):
                a = tasks.make(r, self.n, "write")
            if r.random() < .5:
                b = tasks.Task("read", "read", r.choice(["show it to me", "show me the file", "read it back", "print it"]),
                               {"path": a.slots["path"], "desc": f"Show {a.slots['path']}"})
        for t in (a, b):
            t.obey(hint)
        found = [tasks.call(t, tools) for t in (a, b)]
        if not all(found):
            return False
        joiner = r.choice([" and then ", ", then ", " and ", ". Then ", "; then ", ". After that, "])
        messages.append({"role": "user", "content": a.text.rstrip(".?!") + joiner + b.text})
        answers = []
        for task, (tool, arguments) in zip((a, b), found):
            messages.append({"role": "assistant", "content": "", "tool_calls": [self.tool_call(tool, arguments)]})
            text, answer = tasks.result(r, self.n, task, tool, look)
            messages.append({"role": "tool", "content": text})
            answers.append(answer)
        messages.append({"role": "assistant", "content": "\n\n".join(answers)})
        return True

    def parallel(self, messages, tools, look):
        """Two or three files in one request: several calls in one turn."""
        r, n = self.r, self.n
        paths = [n.path() for _ in range(r.choice((2, 2, 3)))]
        parts = [tasks.Task("read", "read", "", {"path": p, "desc": f"Show {p}"}) for p in paths]
        found = [tasks.call(t, tools) for t in parts]
        if not all(found):
            return False
        listed = ", ".join(paths[:-1]) + " and " + paths[-1]
        text = r.choice(["show me {}", "read {}", "what is in {}?", "print {}", "open {}", "cat {}", "give me the contents of {}", "show me both {}"]).format(listed)
        messages.append({"role": "user", "content": tasks.dress(r, text.replace("{", "(").replace("}", ")"), False)})
        messages.append({"role": "assistant", "content": "", "tool_calls": [self.tool_call(*f) for f in found]})
        answers = []
        for task, (tool, _) in zip(parts, found):
            text, answer = tasks.result(r, n, task, tool, look)
            messages.append({"role": "tool", "content": text})
            answers.append(answer)
        messages.append({"role": "assistant", "content": "\n\n".join(answers)})
        return True

    def again(self, messages, task, tools, look):
        """A second request about the file that was just written or read."""
        r, path = self.r, task.slots.get("path")
        if not path or task.kind not in ("write", "read", "edit"):
            return
        kind = r.choice(["read", "delete"]) if task.kind == "write" else "delete"
        words = {"read": ["show it to me", "show it", "read it back", "what does it say?", "print it", "now show me the file", "let me see it", "what is in it?", "cat it", "open it"],
                 "delete": ["delete it", "now delete it", "remove it again", "delete that file", "get rid of it", "remove that file"]}[kind]
        follow = tasks.Task(kind, kind, tasks.finish(r, r.choice(words)), {"path": path, "desc": ("Show " if kind == "read" else "Delete ") + path})
        messages.append({"role": "user", "content": follow.text})
        self.do(messages, follow, tools, look, task.slots.get("content"))

    def conversation(self, long=0):
        """(messages, tools) of a conversation with tools; `long`: up to so many characters of
        system prompt."""
        r, n = self.r, self.n
        look = tasks.looks(r, n)
        turns = r.choices((1, 2, 3, 5, 8), (28, 24, 20, 18, 10))[0]
        plan = [tasks.make(r, n, tasks.any_kind(r)) for _ in range(turns)]
        need = {t.ability for t in plan} if r.random() < .85 else None
        tools = [] if r.random() < .04 else toolsets.toolset(r, n, self.text, need, long)
        hints = [(t.kind, t.hint) for t in plan if t.hint]
        hint = hints[0] if hints else None
        for t in plan:
            t.obey(hint)
        size = r.randint(2000, long) if long else None
        messages, system = [], systems.system(r, n, self.text, hint, size)
        if system is not None:
            messages.append({"role": "system", "content": system})
        noisy = r.random() < .15
        for i, task in enumerate(plan):
            if r.random() < .10:
                q, a = about.question(r, n)
                messages += [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
            x = r.random()
            if x < .05 and self.chain(messages, tools, look, hint) or .05 <= x < .07 and self.parallel(messages, tools, look):
                continue
            before, after = systems.reminder(r, n, self.text, long) if noisy and r.random() < .6 else ("", "")
            messages.append({"role": "user", "content": before + task.text + after})
            remembered = None
            self.do(messages, task, tools, look, remembered)
            if r.random() < .12:
                self.again(messages, task, tools, look)
            if r.random() < .06:
                messages += [{"role": "user", "content": tasks.finish(r, r.choice(phrases.THANKS))}, {"role": "assistant", "content": phrases.THANKS_REPLY}]
        return messages, [t.spec() for t in tools]

    def talk(self):
        """A conversation without tools, or one that needs none of them."""
        r, n = self.r, self.n
        tools = [t.spec() for t in toolsets.toolset(r, n, self.text)] if r.random() < .25 else []
        messages, system = [], systems.system(r, n, self.text) if r.random() < .6 else None
        if system is not None:
            messages.append({"role": "system", "content": system})
        for _ in range(r.choices((1, 2, 3, 5, 8), (35, 25, 20, 12, 8))[0]):
            x = r.random()
            if x < .08:
                q, a = tasks.finish(r, r.choice(phrases.THANKS)), phrases.THANKS_REPLY
            elif x < .16 and not tools:
                task = tasks.make(r, n, tasks.any_kind(r))
                q, a = task.text, tasks.refusal(task)
            else:
                q, a = about.question(r, n)
            messages += [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
        return messages, tools

    def title(self):
        """Agents ask for a title of the conversation in a request of its own."""
        r, n = self.r, self.n
        task = tasks.make(r, n, tasks.any_kind(r))
        system = r.choice(["You are a title generator. You output ONLY a thread title. Nothing else.", "Generate a short title for the conversation. Answer with the title only.",
                           "Summarize this coding conversation in under 50 characters.", "Write a title of at most 7 words for this message."])
        if r.random() < .4:
            system += "\n\n" + self.text(r.randint(50, 1500))
        user = r.choice(["{}", "Generate a title for this conversation:\n\n{}", "<message>\n{}\n</message>", "Please write a title for:\n{}"]).replace("{}", task.text)
        return [{"role": "system", "content": system}, {"role": "user", "content": user}, {"role": "assistant", "content": task.slots["desc"].split("\n")[0]}], []

    def any(self, long=0, shape=0):
        """A conversation; `shape`: in the shape that agents give it, of so many characters."""
        x = self.r.random()
        if shape:
            return agents.conversation(self, shape)
        if x < .54 or long:
            return self.conversation(long)
        return self.talk() if x < .98 else self.title()
