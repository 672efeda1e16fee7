"""One request and what follows from it: which call is right, what the tool may answer, and
what to tell the user then."""
import json
import phrases as P
from names import PROGRAMS

USUAL = {"test": "make test", "build": "make"}
FENCE = "\n\n```\n{}\n```"
MAX_LINES = 16  # longer results are quoted in part


class Task:
    """kind: the intent. slots: its values. text: the user's words."""

    def __init__(self, kind, ability, text, slots):
        self.kind, self.ability, self.text, self.slots = kind, ability, text, slots
        self.hint = None   # the command that a system prompt may give for "test" or "build"
        self.named = False  # the request itself names the command

    def obey(self, hint):
        """Use the command of the conversation's one hint (kind, command), if it is for us."""
        if self.kind in USUAL and not self.named:
            self.slots["command"] = hint[1] if hint and hint[0] == self.kind else USUAL[self.kind]


def fenced(text):
    lines = text.split("\n")
    if len(lines) > MAX_LINES:
        text = "\n".join(lines[:MAX_LINES - 4]) + "\n..."
    return FENCE.format(text)


# -- requests ---------------------------------------------------------------------------------

def quote(r, s):
    marks = ['"', '"', '"', "'", "'", "`", "`"]
    marks = [m for m in marks if m not in s] or ['"']
    m = r.choice(marks)
    return m + s + m


def shown(r, s):
    """A name in a sentence: mostly bare."""
    return s if r.random() < .78 else quote(r, s)


def typo(r, text):
    """Damage the wording a little (never used on text with names in it)."""
    i = r.randrange(len(text))
    return r.choice([text[:i] + text[i + 1:], text[:i] + text[i] + text[i:],
                     text[:i] + text[i + 1:i + 2] + text[i:i + 1] + text[i + 2:]])


def dress(r, template, closed):
    """Polite words around a template; `closed` means nothing may follow its end."""
    question = template.endswith("?")
    if r.random() < .04:
        words = template.split(" ")
        i = r.randrange(len(words))
        if "{" not in words[i] and len(words[i]) > 2:
            words[i] = typo(r, words[i])
        template = " ".join(words)
    start = template[:1]
    if not question and start.isalpha() and r.random() < .35:
        before = r.choice(P.POLITE)
        template = before + template
        if not closed and before.lower().startswith(("could", "can", "would")) and r.random() < .7:
            return finish(r, template + "?")
    if not closed and not question:
        if r.random() < .15:
            template += r.choice(P.AFTER)
        x = r.random()
        template += "." if x < .15 else "!" if x < .18 else ""
    elif question and r.random() < .2:
        template = template[:-1]
    return finish(r, template)


def finish(r, template):
    x = r.random()
    if x < .4 and template[0] != "{":
        return template[0].upper() + template[1:]
    return template


def fill(template, **values):
    for key, value in values.items():
        template = template.replace("{" + key + "}", value)
    return template


def ask_write(r, n):
    path, x = n.path(), r.random()
    if x < .40:  # content to the end of the message
        template, y = r.choice(P.WRITE_END), r.random()
        if y < .45:
            content = n.plain() if r.random() < .75 else n.number()
            return path, content, fill(dress(r, template, True), p=shown(r, path), c=content)
        content = n.sentence() if y < .7 else n.code_line() if y < .92 else n.plain(8, 25)
        if r.random() < .5 or content[0] in "\"'`":
            return path, content, fill(dress(r, template, True), p=shown(r, path), c=content)
        return path, content, fill(dress(r, template, False), p=shown(r, path), c=quote(r, content))
    if x < .70:
        template = r.choice(P.WRITE_MID)
        content = n.plain(1, 6) if r.random() < .7 else n.sentence() if r.random() < .5 else n.code_line()
        words = set(content.split())
        risky = words & {"to", "in", "into", "as", "and", "named", "called"} or not content.replace(" ", "").isalnum()
        c = content if r.random() < .5 and not risky else quote(r, content)
        return path, content, fill(dress(r, template, False), p=shown(r, path), w=c)
    if x < .78:  # quoted content in any template
        template = r.choice(P.WRITE_END)
        content = n.plain(1, 8) if r.random() < .6 else n.sentence()
        return path, content, fill(dress(r, template, False), p=shown(r, path), c=quote(r, content))
    content = n.code_block()
    y = r.random()
    block = f"\n\n```\n{content}\n```" if y < .3 else f"\n```{path.rsplit('.', 1)[-1]}\n{content}\n```" if y < .55 \
        else "\n\n" + content if y < .8 else "\n" + content
    return path, content, fill(dress(r, r.choice(P.WRITE_BLOCK), True), p=shown(r, path), b=block)


def make(r, n, kind):
    """A random task of one kind."""
    if kind == "write":
        path, content, text = ask_write(r, n)
        return Task(kind, "write", text, {"path": path, "content": content, "desc": f"Create {path}"})
    if kind == "read":
        path = n.path()
        return Task(kind, "read", fill(dress(r, r.choice(P.READ), False), p=shown(r, path)),
                    {"path": path, "desc": f"Show {path}"})
    if kind == "readpart":
        path, lines = n.path(), r.choice([r.randint(1, 30), 10 * r.randint(1, 20)])
        return Task(kind, "read", fill(dress(r, r.choice(P.READ_PART), False), p=shown(r, path), n=str(lines)),
                    {"path": path, "limit": lines, "desc": f"Show {path}"})
    if kind == "list":
        if r.random() < .15:
            return Task(kind, "list", dress(r, r.choice(P.LIST_HERE), False), {"desc": "List the files"})
        d = n.folder()
        return Task(kind, "list", fill(dress(r, r.choice(P.LIST), False), d=shown(r, d)), {"dir": d, "desc": f"List {d}"})
    if kind == "run":
        x = n.command()
        template = r.choice(P.RUN)
        while '"' in x + template and "'" in x + template or x.count('"') and '"' in template:
            template = r.choice(P.RUN)  # quoted commands must not have quotes of that kind inside
        if "`" in template or '"' in template or "'" in template:
            text = dress(r, template, False)
        else:
            text = dress(r, template, True)
        return Task(kind, "run", fill(text, x=x), {"command": x, "desc": f"Run {x.split(chr(10))[0]}"})
    if kind == "test":
        return test_or_build(r, n, kind, P.TEST, "Run the tests", ["make test", "npm test", "cargo test", "pytest", "go test ./...", "ctest",
                             "make check", "meson test", "python3 -m unittest", "yarn test", "tox", "bundle exec rspec", "mvn test"])
    if kind == "build":
        return test_or_build(r, n, kind, P.BUILD, "Build the project", ["make", "npm run build", "cargo build", "go build ./...", "ninja -C build",
                             "cmake --build build", "meson compile -C build", "mvn package", "make all", "gradle build"])
    if kind == "search":
        s = n.pattern()
        slots = {"pattern": s, "desc": f"Search for {s}"}
        if r.random() < .55:
            d = slots["dir"] = n.folder()
            template = r.choice(P.SEARCH)
        else:
            d, template = "", r.choice(P.SEARCH_HERE)
        if " " in s:
            template = template.replace("{s}", "{q}")
        return Task(kind, "search", fill(dress(r, template, False), s=shown(r, s), q=quote(r, s), d=shown(r, d)), slots)
    if kind == "find":
        g = n.glob()
        return Task(kind, "find", fill(dress(r, r.choice(P.FIND), False), g=shown(r, g)), {"glob": g, "desc": f"Find {g}"})
    if kind == "edit":
        path, old, new = n.path(), n.pattern(), n.pattern()
        if r.random() < .3:
            old, new = n.code_line(), n.code_line()
        everywhere = r.random() < .3
        slots = {"path": path, "old": old, "new": new, "desc": f"Change {path}"}
        if everywhere:
            slots["all"] = True
        simple = old.isalnum() and new.isalnum()
        o, w = (old, new) if simple and r.random() < .6 else (quote(r, old), quote(r, new))
        return Task(kind, "edit", fill(dress(r, r.choice(P.EDIT_ALL if everywhere else P.EDIT), False), p=shown(r, path), o=o, n=w), slots)
    if kind == "delete":
        path = n.path()
        return Task(kind, "delete", fill(dress(r, r.choice(P.DELETE), False), p=shown(r, path)), {"path": path, "desc": f"Delete {path}"})
    if kind == "mkdir":
        d = n.folder()
        return Task(kind, "mkdir", fill(dress(r, r.choice(P.MKDIR), False), d=shown(r, d)), {"dir": d, "desc": f"Create {d}"})
    path, dest = n.path(), n.path()
    return Task("move", "move", fill(dress(r, r.choice(P.MOVE), False), p=shown(r, path), t=shown(r, dest)),
                {"path": path, "dest": dest, "desc": f"Move {path} to {dest}"})


def test_or_build(r, n, kind, templates, desc, commands):
    """The command comes from the request, from the system prompt, or is make's default."""
    text, x = dress(r, r.choice(templates), False), r.random()
    task = Task(kind, "run", text, {"command": USUAL[kind], "desc": desc})
    if x < .3:
        task.hint = r.choice(commands) if r.random() < .5 else n.command()
    elif x < .45:
        command = r.choice(commands)
        task.slots["command"], task.named = command, True
        task.text = f"{text.rstrip('.?!')} with {quote(r, command) if r.random() < .5 else command}"
    return task


KINDS = {"write": 24, "read": 20, "list": 13, "run": 12, "test": 7, "build": 4, "search": 7, "find": 3, "edit": 6,
         "delete": 4, "mkdir": 3, "move": 3, "readpart": 3}


def any_kind(r):
    return r.choices(list(KINDS), list(KINDS.values()))[0]


# -- the right call ---------------------------------------------------------------------------

def sh(s):
    return "'" + s + "'"


def shell_command(task):
    """The shell line for a task that has no tool of its own, or None."""
    s = task.slots
    if task.kind == "write":
        return f"cat > {s['path']} <<'EOF'\n{s['content']}\nEOF"
    if task.kind == "read":
        return f"cat {s['path']}"
    if task.kind == "readpart":
        return f"head -n {s['limit']} {s['path']}"
    if task.kind == "list":
        return f"ls {s['dir']}" if "dir" in s else "ls"
    if task.kind == "search":
        return f"grep -rn {sh(s['pattern'])} {s.get('dir', '.')}"
    if task.kind == "find":
        folder, _, name = s["glob"].rpartition("/")
        return f"find {folder.removesuffix('**').rstrip('/') or '.'} -name {sh(name)}"
    if task.kind == "delete":
        return f"rm {s['path']}"
    if task.kind == "mkdir":
        return f"mkdir -p {s['dir']}"
    if task.kind == "move":
        return f"mv {s['path']} {s['dest']}"
    if task.kind == "edit" and s["old"].isalnum() and s["new"].isalnum():
        return f"sed -i 's/{s['old']}/{s['new']}/{'g' if s.get('all') else ''}' {s['path']}"
    return None


def call(task, tools):
    """The right (tool, arguments), or None when no tool fits."""
    by = {}
    for t in tools:
        by.setdefault(t.ability, t)
    if task.ability in by:
        tool = by[task.ability]
        if task.kind == "readpart" and "run" in by and not any(p[4] == "limit" for p in tool.params):
            return by["run"], by["run"].arguments({"command": shell_command(task), "desc": task.slots["desc"]})
        return tool, tool.arguments(task.slots)
    if task.kind in ("write", "edit") and "patch" in by:
        return by["patch"], by["patch"].arguments(task.slots)
    if "run" in by:
        line = shell_command(task)
        if line:
            return by["run"], by["run"].arguments({"command": line, "desc": task.slots["desc"]})
    if task.kind == "list" and "find" in by:
        d = task.slots.get("dir")
        return by["find"], by["find"].arguments({"glob": f"{d}/*" if d else "*"})
    return None


CANNOT = {"write": "write files", "read": "read files", "readpart": "read files", "list": "list folders", "run": "run commands", "test": "run commands",
          "build": "run commands", "search": "search files", "find": "find files", "edit": "edit files", "delete": "delete files",
          "mkdir": "create folders", "move": "move files"}


def refusal(task):
    return f"I have no tool here to {CANNOT[task.kind]}."


# -- results and answers ----------------------------------------------------------------------

def where(task):
    return f"`{task.slots['dir']}`" if "dir" in task.slots else "The current directory"


def result(r, n, task, tool, look, remembered=None):
    """(what the tool returns, what to say then). `look` fixes the formats of a conversation."""
    text, answer = outcome(r, n, task, tool, look, remembered)
    if look["reminder"] and r.random() < .5:
        text += "\n\n<system-reminder>\n" + look["reminder"] + "\n</system-reminder>"
    return text, answer


def outcome(r, n, task, tool, look, remembered):
    s = task.slots
    shell = tool.ability == "run"
    if r.random() < .12 and task.kind not in ("test", "build"):
        return failure(r, n, task, look, shell)
    if task.kind in ("write", "edit", "delete", "mkdir", "move"):
        return change(r, task, look, shell, tool.ability == "patch" and look["shell"] in ("codex", "chunk"))
    if task.kind in ("read", "readpart"):
        return reading(r, n, task, look, shell, remembered)
    if task.kind in ("list", "find"):
        return listing(r, n, task, look, shell)
    if task.kind == "search":
        return searching(r, n, task, look, shell)
    if task.kind == "test":
        return testing(r, n, look)
    if task.kind == "build":
        return building(r, n, look)
    return running(r, n, task, look)


def wrap(look, output, code=0):
    """Shell output the way different agents hand it over."""
    if look["shell"] == "codex":
        return f"Exit code: {code}\nWall time: 0.{look['n']} seconds\nOutput:\n{output}"
    if look["shell"] == "chunk":
        count = f"Original token count: {len(output) // 4}\n" if look["n"] % 2 else ""
        return f"Chunk ID: {look['n'] * 1234567 % 0xffffff:06x}\nWall time: 0.{look['n']} seconds\nProcess exited with code {code}\n{count}Output:\n{output}\n"
    if look["shell"] == "json":
        return json.dumps({"output": output, "metadata": {"exit_code": code, "duration_seconds": 0.1}}, ensure_ascii=False)
    if look["shell"] == "qwen":
        return f"Command: ...\nDirectory: (root)\nOutput: {output or '(empty)'}\nError: (none)\nExit Code: {code}\nSignal: (none)"
    if look["shell"] == "tags":
        return f"<stdout>\n{output}\n</stdout>\n<exit_code>{code}</exit_code>"
    if code:
        return f"{output}\n{look['failed'].format(code)}".strip()
    return output if output else look["silent"]


def failure(r, n, task, look, shell):
    s = task.slots
    name = s.get("path") or s.get("dir") or s.get("command", "").split(" ")[0] or "."
    program = {"read": "cat", "list": "ls", "delete": "rm", "move": "mv", "mkdir": "mkdir"}.get(task.kind, "bash")
    reasons = ["No such file or directory", "Permission denied", "Is a directory", "Read-only file system", "No space left on device",
               "Operation not permitted", "Input/output error"]
    if task.kind == "run":
        error = r.choice([f"bash: {name}: command not found", f"{name}: {n.plain(2, 4)}: {r.choice(reasons)}", f"error: {n.plain(2, 5)}",
                          f"{name}: invalid option -- '{r.choice('abcxyz')}'"])
    elif shell:
        error = f"{program}: {name}: {r.choice(reasons)}"
    else:
        error = r.choice([f"Error: {r.choice(reasons)}: {name}", f"ENOENT: no such file or directory, open '{name}'", f"Error: File not found: {name}",
                          f"File does not exist: {name}", f"Error: {name}: {r.choice(reasons)}", f"EACCES: permission denied, '{name}'",
                          f"<tool_use_error>{r.choice(reasons)}</tool_use_error>", f"error: {n.plain(2, 5)}", f"The user rejected this {n.word()}."])
    plain = error.replace("<tool_use_error>", "").replace("</tool_use_error>", "")
    text = wrap(look, error, r.choice([1, 1, 2, 127])) if shell else error
    if task.kind == "run":
        return text, f"`{first_line(s['command'])}` failed:" + fenced(plain)
    verb = {"write": "create", "read": "read", "readpart": "read", "list": "list", "search": "search", "find": "search", "edit": "change", "delete": "delete",
            "mkdir": "create", "move": "move"}[task.kind]
    target = {"find": s.get("glob"), "search": s.get("pattern")}.get(task.kind) or s.get("path") or s.get("dir") or "the directory"
    target = f"`{target}`" if target != "the directory" else target
    return text, f"I could not {verb} {target}: {plain}"


def first_line(s):
    return s.split("\n")[0]


def change(r, task, look, shell, patched):
    s = task.slots
    path = s.get("path") or s.get("dir")
    say = {"write": f"I created `{path}`.", "edit": f"I changed `{path}`.", "delete": f"I deleted `{path}`.",
           "mkdir": f"I created the folder `{path}`.", "move": f"I moved `{path}` to `{s.get('dest')}`."}[task.kind]
    if shell:
        return wrap(look, ""), say
    if patched:
        return f"Exit code: 0\nWall time: 0 seconds\nOutput:\nSuccess. Updated the following files:\n{'A' if task.kind == 'write' else 'M'} {path}\n", say
    if s.get("cwd") and not path.startswith("/"):
        path = f"{s['cwd']}/{path}"
    text = {"write": [f"File created successfully at: {path}", f"Wrote {len(s.get('content', ''))} bytes to {path}", "Wrote file successfully.", f"Successfully created and wrote to new file: {path}.",
                      f"Successfully wrote {len(s.get('content', ''))} bytes to {path}", "ok", f"created {path}", "Success. Updated the following files:\nA " + path, '{"ok": true}',
                      f"The file {path} has been created.", f"{path} was written; there is no need to read it again.", f"Wrote {path} (it need not be read back to check)"],
            "edit": [f"The file {path} has been updated.", "ok", "Edit applied successfully.", f"replaced 1 in {path}", "1 replacement", f"Successfully modified file: {path} (1 replacements).",
                     f"Successfully replaced text in {path}."],
            "delete": [f"Deleted {path}", "ok", "File deleted.", f"removed '{path}'"], "mkdir": [f"Created {path}", "ok", "Directory created."],
            "move": [f"Moved {path} to {s.get('dest')}", "ok", "renamed"]}[task.kind]
    return r.choice(text), say


def numbered(look, content):
    lines = content.split("\n")
    if look["read"] == "arrow":
        return "\n".join(f"{i:>6}→{x}" for i, x in enumerate(lines, 1))
    if look["read"] == "file":
        return "<file>\n" + "\n".join(f"{i:05d}| {x}" for i, x in enumerate(lines, 1)) + f"\n\n(End of file - total {len(lines)} lines)\n</file>"
    if look["read"] == "colon":
        return "\n".join(f"{i}: {x}" for i, x in enumerate(lines, 1))
    if look["read"] == "bare":
        return "\n".join(f"{i}\t{x}" for i, x in enumerate(lines, 1))
    if look["read"] == "parts":
        return "<type>file</type>\n<content>\n" + "\n".join(f"{i}: {x}" for i, x in enumerate(lines, 1)) + f"\n\n(End of file - total {len(lines)} lines)\n</content>"
    if look["read"] == "tab":
        return "\n".join(f"{i:>6}\t{x}" for i, x in enumerate(lines, 1))
    return content


def reading(r, n, task, look, shell, remembered):
    path, x = task.slots["path"], r.random()
    content = remembered if remembered is not None else n.sentence() if x < .25 else n.plain(1, 6) if x < .4 else n.code_line() if x < .5 else \
        "" if x < .54 else n.code_block() if x < .75 else n.excerpt() if x < .92 else "\n".join(n.code_block() for _ in range(r.randint(2, 6)))
    if task.kind == "readpart":
        content = "\n".join(content.split("\n")[:task.slots["limit"]])
    if not content:
        return wrap(look, "") if shell else r.choice(["", "(empty)", "<system-reminder>Warning: the file exists but the contents are empty.</system-reminder>"]), \
            f"`{path}` is empty."
    text = wrap(look, content) if shell else numbered(look, content)
    return text, f"`{path}` contains:" + fenced(content)


def listing(r, n, task, look, shell):
    if task.kind == "find":
        names = [n.path() for _ in range(r.choice((0, 1, 1, 2, 3, 4, 6)))]
    else:
        names = [n.file_name() if r.random() < .75 else n.folder(False) + "/" for _ in range(r.choice((0, 1, 2, 3, 3, 4, 5, 6, 8, 12, 24)))]
    names = sorted(set(names))
    title = f"Files matching `{task.slots['glob']}`:" if task.kind == "find" else f"{where(task)} contains:"
    if not names:
        say = f"No file matches `{task.slots['glob']}`." if task.kind == "find" else f"{where(task)} is empty."
        return (wrap(look, "") if shell else r.choice(["", "No files found", "(empty)", "[]"])), say
    shown_names = names if len(names) <= MAX_LINES else names[:MAX_LINES - 4]
    say = title + "\n\n" + "\n".join(f"- `{x}`" for x in shown_names) + ("\n- ..." if len(shown_names) < len(names) else "")
    k = look["list"]
    if shell and r.random() < .2:
        k = "long"
    elif shell:
        k = "lines"
    if k == "json":
        text = json.dumps(names, ensure_ascii=False)
    elif k == "dash":
        text = "\n".join("- " + x for x in names)
    elif k == "tree":
        text = f"{task.slots.get('dir', '.')}/\n" + "\n".join("  " + x for x in names)
    elif k == "tags":
        text = "\n".join(("[DIR] " + x[:-1] if x.endswith("/") else "[FILE] " + x) for x in names)
        say = say if not any(x.endswith("/") for x in names) else say.replace("/`", "`")
    elif k == "comma":
        text = ", ".join(names)
    elif k == "long":
        text = f"total {r.randint(4, 400)}\n" + "\n".join(
            f"{'d' if x.endswith('/') else '-'}rw-r--r-- 1 user user {r.randint(1, 90000):>6} {r.choice(['Jan', 'Mar', 'Jul', 'Nov'])} {r.randint(1, 28):>2} {r.randint(0, 23):02d}:{r.randint(0, 59):02d} {x}" for x in names)
    else:
        text = "\n".join(names)
    return (wrap(look, text) if shell else text), say


def searching(r, n, task, look, shell):
    s, hits = task.slots, r.choice((0, 1, 1, 2, 3, 5))
    d = s.get("dir")
    if not hits:
        return (wrap(look, "", 1) if shell else r.choice(["No matches found", "", "No files found", "0 matches"])), f"No match for `{s['pattern']}`."
    bare = not shell and r.random() < .25
    lines = []
    for _ in range(hits):
        path = (d + "/" if d else "") + n.file_name()
        lines.append(path if bare else f"{path}:{r.randint(1, 400)}:{r.choice(['', '    ', ' '])}{n.text_word()} {s['pattern']} {n.plain(1, 3)}")
    lines = list(dict.fromkeys(lines))
    text = "\n".join(lines)
    if not shell and r.random() < .25:
        text = f"Found {len(lines)} {'files' if bare else 'matches'}\n" + text
    return (wrap(look, text) if shell else text), f"`{s['pattern']}` was found in:" + fenced("\n".join(lines))


def testing(r, n, look):
    total = r.randint(1, 400)
    bad = 0 if r.random() < .6 else r.randint(1, min(4, total))
    failed = [f"{r.choice(['test_', 'Test', '', 'it '])}{n.ident()}" for _ in range(bad)]
    good = total - bad
    seconds = f"{r.randint(0, 40)}.{r.randint(0, 99):02d}"
    summary = r.choice([f"{good} passed, {bad} failed", f"{bad} failed, {good} passed in {seconds}s" if bad else f"{good} passed in {seconds}s",
                        f"test result: {'FAILED' if bad else 'ok'}. {good} passed; {bad} failed", f"Tests: {bad} failed, {good} passed, {total} total" if bad else f"Tests: {good} passed, {total} total",
                        f"{100 * good // total}% tests passed, {bad} tests failed out of {total}", f"Ran {total} tests in {seconds}s: {'FAILED' if bad else 'OK'}",
                        f"# {'FAIL' if bad else 'PASS'} {good}/{total}"])
    lines = [f"{r.choice(['ok', 'PASS', '✓', 'test'])} {n.ident()}" for _ in range(r.randint(0, 6))]
    mark = r.choice(["FAILED", "not ok", "FAIL:", "✗", "--- FAIL:"])
    lines += [f"{mark} {x}" for x in failed]
    r.shuffle(lines)
    text = wrap(look, "\n".join(lines + [summary]), 1 if bad else 0)
    if not bad:
        return text, f"The tests passed: {summary}"
    return text, f"The tests failed: {summary}\n\n" + "\n".join(f"- `{x}`" for x in [l[len(mark) + 1:] for l in lines if l.startswith(mark + " ")])


def building(r, n, look):
    lines = [r.choice([f"cc -O2 -c {n.file_name()}", f"[{i + 1}/9] {n.file_name()}", f"Compiling {n.word()} v0.{i}.1", f"  CC {n.path()}"]) for i in range(r.randint(0, 6))]
    if r.random() < .6:
        return wrap(look, "\n".join(lines + r.choice([[], ["Build finished."], ["done"], [f"Finished in {r.randint(1, 60)}s"]]))), "The build succeeded."
    errors = [f"{n.path()}:{r.randint(1, 500)}:{r.randint(1, 80)}: error: {n.plain(2, 6)}" for _ in range(r.choice((1, 1, 2)))]
    text = wrap(look, "\n".join(lines + errors + r.choice([[], ["make: *** [all] Error 1"]])), r.choice([1, 2]))
    return text, "The build failed:" + fenced("\n".join(errors))


def running(r, n, task, look):
    command, x = first_line(task.slots["command"]), r.random()
    if x < .12:
        return wrap(look, ""), f"`{command}` finished without output."
    out = n.plain(1, 6) if x < .4 else n.sentence() if x < .5 else n.number() if x < .6 else n.code_block() if x < .8 else n.excerpt() if x < .92 \
        else "\n".join(n.code_block() for _ in range(r.randint(2, 5)))
    return wrap(look, out), f"`{command}` printed:" + fenced(out)


def looks(r, n):
    """The formats that one conversation's tools use."""
    return {"shell": r.choices(("raw", "codex", "chunk", "json", "qwen", "tags"), (60, 10, 6, 5, 10, 6))[0], "n": r.randint(1, 9),
            "failed": r.choice(["Command exited with code {}", "Exit code {}", "[exit status {}]", "(exit code {})"]),
            "silent": r.choice(["", "", "(no output)", "ok", "Tool ran without output or errors"]),
            "read": r.choices(("raw", "arrow", "file", "colon", "tab", "bare", "parts"), (45, 12, 10, 8, 8, 9, 8))[0],
            "list": r.choice(("lines", "lines", "lines", "json", "dash", "tree", "tags", "comma")),
            "reminder": n.sentence() if r.random() < .1 else ""}
