"""Conversations in the shape that coding agents give them: a long system prompt, many tools with
long descriptions, turns with context before or after the first request, then requests about files."""
import about, families, folders, manual, phrases, slips, systems, tasks, toolsets

# Where context stands beside the system prompt: nowhere, behind the first request (and some of the later ones), in a turn of the
# user's that is answered, in turns before the first request, in the turn of the first request.
SHAPES = ["plain", "late", "late", "late", "context", "turns", "within", "within", "within"]
LONG = 40000  # prompts of such a room, in characters, are mostly as long as it
LATER = .3  # share of the later requests with a turn of context behind them, where there is one behind the first
SLIPS = .15  # share of the requests whose first call fails for a reason that can be put right
READY = ["Got it. Thanks for the context!", "Understood.", "Thanks, I am ready.", "Got it.", "OK, what shall I do?"]
NULLABLE = (toolsets.S, toolsets.N, toolsets.I, toolsets.B)
REQUESTS = {**tasks.KINDS, "write": 60, "read": 60}


def nullable(r, tool):
    """Types of optional parameters as some clients spell them."""
    tool.params = [(name, {"type": [kind, "null"]} if not required and kind in NULLABLE else kind, told, required, slot) for name, kind, told, required, slot in tool.params]


def schema(r, tool):
    """What clients add to the schemas of their tools."""
    if r.random() < .5:
        tool.extra["additionalProperties"] = False
    if r.random() < .5:
        tool.dialect = "https://json-schema.org/draft/" + r.choice(["2020-12/schema", "2019-09/schema"])


def choose_tools(r, n, text, room):
    """Tools of one client, or invented ones among many others, that fit into `room` characters."""
    if r.random() < .72:
        tools = [toolsets.build(t) for t in r.choice(families.CLIENTS)]
        if r.random() < .35:
            tools = [t for t in tools if t.ability or r.random() < .7]
    else:
        tools = toolsets.toolset(r, n, text, {"write", "read"} if r.random() < .8 else {"run"})
    known = {t.name for t in tools}
    if r.random() < .45:
        for t in r.sample(families.FAMILY, r.randint(2, min(20, max(3, room // 1500)))):
            t = toolsets.build(t)
            if r.random() < .5:
                t.name = toolsets.style(r, t.name.replace("__", "_").split("_") if "_" in t.name else [t.name])
            if t.name not in known:
                tools.insert(r.randint(0, len(tools)), t)
                known.add(t.name)
    if r.random() < .35:
        r.shuffle(tools)
    others = [t for t in tools if not t.ability]
    r.shuffle(others)
    while others and sum(len(str(t.spec())) for t in tools) > room:
        tools.remove(others.pop())
    return tools


def many_tools(r, n, text, room):
    """Tools with their explanations, `room` characters in all."""
    tools = choose_tools(r, n, text, int(room * .7))
    known = [t.name for t in tools]
    alike, demanding, nulls = r.random() < .5, r.choice([0, .5, 1, 1]), r.random() < .2
    for t in tools:
        if nulls:
            nullable(r, t)
        if r.random() < demanding:
            folders.demand(r, t)
        for i, (name, kind, told, required, slot) in enumerate(t.params):
            if told and slot not in toolsets.PATHS and room > 12000 and r.random() < .2:
                t.params[i] = (name, kind, told + ". " + manual.manual(r, n, text, r.randint(20, 250), t.name, known).replace("\n\n", "\n"), required, slot)
    if r.random() < .45:
        slips.caution(r, tools)
    lengthen(r, n, text, tools, room - sum(len(str(t.spec())) for t in tools))
    if alike:
        for t in tools:
            t.extra, t.dialect = {"additionalProperties": False}, "https://json-schema.org/draft/2020-12/schema"
    else:
        for t in tools:
            schema(r, t)
    return tools


def lengthen(r, n, text, tools, room):
    """Share `room` characters of explanations among the tools, most of it to a few."""
    shares = [r.random() ** 4 * (.4 if t.ability and r.random() < .6 else 1) + .01 for t in tools]
    names = [t.name for t in tools]
    for t, share in zip(tools, shares):
        size = int(room * share / sum(shares))
        if size > 40:
            t.description = (t.description + "\n\n" if t.description else "") + manual.manual(r, n, text, size, t.name, names)


def system(r, n, text, size, cwd, tells, rule=""):
    """The first system turn; tells: whether it may name the folder `cwd`; `rule`: a sentence that must be in it."""
    parts, have = [r.choice(systems.SHORT)], 0
    while have < size:
        x = r.random()
        part = manual.manual(r, n, text, min(size, 1500), r.choice(manual.OFTEN), [n.ident(), *r.sample(manual.OFTEN, 4)]) if x < .5 else systems.system(r, n, text, None, min(size, 2500), cwd if tells else "") if x < .8 else text(r.randint(100, 2500))
        parts.append(part)
        have += len(part)
    if r.random() < .4:
        parts.insert(r.choice([1, len(parts)]), folders.neighbours(r, n, cwd))
    if tells and r.random() < .6:
        parts.insert(r.choice([1, len(parts)]), folders.told(r, cwd))
    if rule:
        parts.insert(r.randint(1, len(parts)), rule)
    return "\n\n".join(parts)


def instructions(r, n, text, size):
    """A second system turn, of parts in tags."""
    out = []
    while sum(map(len, out)) < size:
        tag = r.choice(["skills_instructions", "permissions instructions", "collaboration_mode", "user_instructions", "apps", n.word() + "_" + r.choice(["rules", "notes"])])
        inner = manual.roster(r, n, text, size // 2) if r.random() < .5 else manual.manual(r, n, text, size // 2, r.choice(["the sandbox", *manual.OFTEN]), [n.ident(), *r.sample(manual.OFTEN, 2)])
        out.append(f"<{tag}>\n{inner}\n</{tag}>")
    return "\n".join(out)


def small(r, n):
    """The plainest requests there are: a file with a few words, or what is in one."""
    path = n.path()
    if r.random() < .5:
        content = n.plain(1, 5) if r.random() < .8 else n.sentence()
        return tasks.Task("write", "write", tasks.finish(r, f"create {path} containing {content}"), {"path": path, "content": content, "desc": f"Create {path}"})
    return tasks.Task("read", "read", tasks.finish(r, r.choice(["what is in {}?", "what is in {}?", "what's in {}?", "show me {}"]).format(path)), {"path": path, "desc": f"Show {path}"})


def request(r, n):
    if r.random() < .3:
        return small(r, n)
    return tasks.make(r, n, r.choices(list(REQUESTS), list(REQUESTS.values()))[0])


def reread(r, n, task):
    """What was just written, asked for by its name."""
    path = task.slots["path"]
    return tasks.Task("read", "read", tasks.finish(r, r.choice(phrases.READ[:52] if r.random() < .5 else ["what is in {p}?"]).replace("{p}", path)), {"path": path, "desc": f"Show {path}"})


def opening(r, n, text, shape, room, cwd):
    """(turns before the first request, text before it, turn after it)"""
    size = r.randint(200, max(400, min(12000, room // 4)))
    if shape == "late":
        return [], reminders(r, n, text), {"role": "system", "content": update(r, n, text, size, cwd)} if r.random() < .9 else None
    if shape == "context":
        return [{"role": "user", "content": folders.surroundings(r, n, cwd)}, {"role": "assistant", "content": r.choices(READY, (6, 1, 1, 1, 1))[0]}], "", None
    if shape == "turns":
        second = [{"role": "system", "content": instructions(r, n, text, size)}] if r.random() < .85 else []
        return second + [{"role": "user", "content": folders.surroundings(r, n, cwd)}], "", None
    if shape == "within":
        return [], within(r, n, text, size, cwd), None
    return [], "", None


def reminders(r, n, text):
    """Blocks of context in front of a request that say nothing about the folder."""
    date = f"2026-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}"
    blocks = [n.sentence(), "\n".join(r.sample(systems.RULES, 2)), f"# currentDate\nToday's date is {date}.\n\n{n.sentence()} {n.sentence()}", text(r.randint(50, 800)), folders.history(r, n),
              folders.history(r, n), manual.manual(r, n, text, r.randint(100, 600), r.choice(manual.OFTEN), manual.OFTEN)]
    gap = r.choice(["", "", "\n", "\n\n"])
    return "".join(f"<system-reminder>\n{b}\n</system-reminder>{gap}" for b in r.sample(blocks, r.randint(0, 3)))


def update(r, n, text, size, cwd):
    """A system turn behind a request, about `size` characters: the folder, tools that could be loaded, agents, skills, the day. The request is
    what counts, however much is said after it."""
    parts = [folders.told(r, cwd)] if r.random() < .7 else []
    if r.random() < .4:
        parts.append(r.choice(["Further tools, which have to be loaded before they can be called:", "Not loaded yet:", "Tools behind the search:"]) + "\n" + "\n".join(n.ident() for _ in range(r.randint(2, 14))))
    while sum(map(len, parts)) < size:
        x, rest = r.random(), max(200, size - sum(map(len, parts)))
        parts.append(manual.roster(r, n, text, r.randint(rest // 3, rest)) if x < .65 else manual.manual(r, n, text, min(rest, 1500), r.choice(manual.OFTEN), manual.OFTEN) if x < .8 else n.sentence())
    if r.random() < .3:
        parts.append(f"Today's date is 2026-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}.")
    return "\n\n".join(parts)


def within(r, n, text, size, cwd):
    """Blocks of context in front of the first request, in its own turn."""
    blocks = [folders.surroundings(r, n, cwd)]
    if r.random() < .7:
        blocks.insert(0, manual.roster(r, n, text, size))
    if r.random() < .5:
        blocks.append(manual.roster(r, n, text, size // 2))
    if r.random() < .5:
        blocks.append(r.choice([f"Today is 2026-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}.", n.sentence(), "\n".join(r.sample(systems.RULES, 2))]))
    if r.random() < .2:
        r.shuffle(blocks)
    tag, gap = r.choice(["system-reminder", "system-reminder", "system-reminder", "context", "info", n.word()]), r.choice(["", "", "\n", "\n\n"])
    return "".join(f"<{tag}>\n{b}\n</{tag}>{gap}" for b in blocks)


def conversation(maker, room):
    """(messages, tools) of about `room` characters, most of them before the first request."""
    r, n, text = maker.r, maker.n, maker.text
    shape, cwd = r.choice(SHAPES), folders.place(r, n)
    prompt = int(room * r.choice([r.uniform(.3, .75)] + (1 if room < LONG else 3) * [r.uniform(.7, .96)]))
    share = r.choice([r.uniform(.05, .3), r.uniform(.3, .6)])
    tools = many_tools(r, n, text, int(prompt * (1 - share)))
    before, start, after = opening(r, n, text, shape, prompt, cwd)
    rule = r.choice(folders.RULE) if r.random() < .25 else ""
    for t in tools if rule else ():
        t.take_whole_paths()
    messages = [{"role": "system", "content": system(r, n, text, int(prompt * share), cwd, shape == "plain" or r.random() < .35, rule)}] + before
    told = any(cwd in m["content"] for m in messages) or cwd in start
    specs = [t.spec() for t in tools]
    size = sum(len(str(s)) for s in specs) + sum(len(m["content"]) for m in messages)
    if after:
        size += len(after["content"])
    look, quoted, last = tasks.looks(r, n), shape == "plain" and r.random() < .25, None
    for i in range(r.choice((2, 4, 8, 16, 30))):
        task = reread(r, n, last) if last and last.kind == "write" and r.random() < .4 else request(r, n)
        remembered = last.slots["content"] if last and last.kind == "write" and task.slots.get("path") == last.slots["path"] else None
        if told:
            task.slots["cwd"] = cwd
        said = f'"{task.text}"' if quoted and '"' not in task.text else task.text
        first = len(messages)
        if i and r.random() < .08:
            q, a = about.question(r, n)
            messages += [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
        task.obey(None)
        messages.append({"role": "user", "content": (start if not i else "") + said})
        if after and i:
            after = {"role": "system", "content": update(r, n, text, r.randint(100, 1500), cwd)}
        if after and (not i or r.random() < LATER):
            messages.append(after)
            if cwd in after["content"]:
                task.slots["cwd"] = cwd
        maker.do(messages, task, tools, look, remembered, cwd if r.random() < SLIPS else None)
        told, last = told or "cwd" in task.slots, task
        size += sum(len(m["content"]) + 150 for m in messages[first:])
        if size > room:
            break
    return messages, specs
