"""Conversations in the shape that coding agents give them: a long system prompt, many tools with
long descriptions, turns with context before or after the first request, then requests about files."""
import about, families, manual, phrases, systems, tasks, toolsets

# Which part of the conversation says in which folder one is. A tool that takes absolute paths only
# gets them when a turn says the folder ("context", "turns"), as the model looks for it there.
SHAPES = ["plain", "late", "context", "turns"]
ABSOLUTE = [["The absolute path to the file", "Absolute path of the file", "A full, absolute path", "The absolute path", "Path of it (absolute)", "Where it lies: the absolute path"],
            ["", "", " that is meant", " (e.g. '/home/user/project/file.txt')", ", for example '/srv/project/a.txt'", " on this machine"],
            [". Relative paths are refused.", ". Relative paths do not work.", "; it must not be relative", ". You have to give an absolute path.", " (never a relative one)", ". A relative path is an error.", ", as relative ones are not taken"]]
READY = ["Got it. Thanks for the context!", "Understood.", "Thanks, I am ready.", "Got it.", "OK, what shall I do?"]
REQUESTS = {**tasks.KINDS, "write": 60, "read": 60}


def place(r, n):
    return r.choice(["/home/user/", "/work/", "/Users/me/", "/tmp/", "/root/", "/srv/", "/home/" + n.word() + "/", "/"]) + "/".join(n.ident() for _ in range(r.choice((1, 1, 2, 3))))


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
    alike = r.random() < .5
    for t in tools:
        demand = r.random() < .5
        for i, (name, kind, told, required, slot) in enumerate(t.params):
            if slot in ("path", "dir", "dest") and demand:
                t.params[i] = (name, kind, "".join(map(r.choice, ABSOLUTE)), required, slot)
                t.absolute = True
            elif told and room > 12000 and r.random() < .2:
                t.params[i] = (name, kind, told + ". " + manual.manual(r, n, text, r.randint(20, 250), t.name, known).replace("\n\n", "\n"), required, slot)
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


def system(r, n, text, size, cwd):
    """The first system turn."""
    parts, have = [r.choice(systems.SHORT)], 0
    while have < size:
        x = r.random()
        part = manual.manual(r, n, text, min(size, 1500), r.choice(manual.OFTEN), [n.ident(), *r.sample(manual.OFTEN, 4)]) if x < .5 else systems.system(r, n, text, None, min(size, 2500)) if x < .8 else text(r.randint(100, 2500))
        parts.append(part)
        have += len(part)
    if r.random() < .7:
        parts.insert(r.choice([1, len(parts)]), r.choice([
            "# Environment\n - Working directory: {}\n - Platform: linux", "Working directory: {}", "Current working directory: {}", "<env>\n  Working directory: {}\n  Platform: linux\n</env>",
            "# Environment\nThis is where you are:\n - Main working directory: {}\n - Git repository: true\n - Shell: bash\n - System: Linux"]).replace("{}", cwd))
    return "\n\n".join(parts)


def surroundings(r, n, cwd):
    """A user's turn that tells about the folder and the day and asks for nothing."""
    date = f"2026-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}"
    if r.random() < .5:
        tags = [f"  <cwd>{cwd}</cwd>", f"  <shell>{r.choice(['bash', 'zsh'])}</shell>"]
        more = [f"  <current_date>{date}</current_date>", "  <timezone>Etc/UTC</timezone>", f"  <filesystem><workspace_roots><root>{cwd}</root></workspace_roots></filesystem>",
                "  <approval_policy>never</approval_policy>", "  <sandbox_mode>workspace-write</sandbox_mode>", "  <network_access>restricted</network_access>"]
        tags += [t for t in more if r.random() < .5]
        return "<environment_context>\n" + "\n".join(tags) + "\n</environment_context>"
    tree = "\n".join(("├───" if i else "└───") + n.file_name() for i in range(r.randint(0, 12), -1, -1))
    said = r.choice(["I'm currently working in the directory: {}", "The current directory is {}", "I work in the folder {}", "We are in the directory: {}", "My working directory: {}"]).replace("{}", cwd)
    return "\n".join([r.choice(["This is the setup of our session.", "Here is the context of this session.", "Some context before we begin."]), f"Today's date is {date}.", "My operating system is: linux", said]
                     + ([f"These files are in it:\n\n{cwd}/\n{tree}"] if r.random() < .7 else []))


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
    size = r.randint(200, max(400, min(9000, room // 6)))
    if shape == "late":
        reminder = r.choice([n.sentence(), "\n".join(r.sample(systems.RULES, 2)), f"# currentDate\nToday's date is 2026-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}.\n\n{n.sentence()} {n.sentence()}", text(r.randint(50, 800))])
        before = f"<system-reminder>\n{reminder}\n</system-reminder>\n\n" + r.choice(["", "\n"]) if r.random() < .8 else ""
        return [], before, {"role": "system", "content": manual.roster(r, n, text, size)} if r.random() < .8 else None
    if shape == "context":
        return [{"role": "user", "content": surroundings(r, n, cwd)}, {"role": "assistant", "content": r.choices(READY, (6, 1, 1, 1, 1))[0]}], "", None
    if shape == "turns":
        second = [{"role": "system", "content": instructions(r, n, text, size)}] if r.random() < .85 else []
        return second + [{"role": "user", "content": surroundings(r, n, cwd)}], "", None
    return [], "", None


def conversation(maker, room):
    """(messages, tools) of about `room` characters, most of them before the first request."""
    r, n, text = maker.r, maker.n, maker.text
    shape, cwd = r.choice(SHAPES), place(r, n)
    prompt = int(room * r.choice([r.uniform(.3, .75), r.uniform(.7, .96)]))
    share = r.choice([r.uniform(.05, .3), r.uniform(.3, .6)])
    tools = many_tools(r, n, text, int(prompt * (1 - share)))
    before, start, after = opening(r, n, text, shape, prompt, cwd)
    messages = [{"role": "system", "content": system(r, n, text, int(prompt * share), cwd)}] + before
    specs = [t.spec() for t in tools]
    size = sum(len(str(s)) for s in specs) + sum(len(m["content"]) for m in messages)
    if after:
        size += len(after["content"])
    look, quoted, last = tasks.looks(r, n), shape == "plain" and r.random() < .25, None
    for i in range(r.choice((2, 4, 8, 16, 30))):
        task = reread(r, n, last) if last and last.kind == "write" and r.random() < .4 else request(r, n)
        remembered = last.slots["content"] if last and last.kind == "write" and task.slots.get("path") == last.slots["path"] else None
        if shape in ("context", "turns"):
            task.slots["cwd"] = cwd
        said = f'"{task.text}"' if quoted and '"' not in task.text else task.text
        first = len(messages)
        if i and r.random() < .08:
            q, a = about.question(r, n)
            messages += [{"role": "user", "content": q}, {"role": "assistant", "content": a}]
        task.obey(None)
        messages.append({"role": "user", "content": (start if not i else "") + said})
        if after and not i:
            messages.append(after)
        maker.do(messages, task, tools, look, remembered)
        last = task
        size += sum(len(m["content"]) + 150 for m in messages[first:])
        if size > room:
            break
    return messages, specs
