"""Calls that fail for a reason that can be put right, and the calls that put it right. A wrong call that
the model should not have made is marked as a slip: it is read, not learnt. Reading before writing is one: that
tools ask for it must not make a model look for a file that it shall create, and a look that finds nothing must not end its work."""
import tasks, toolsets

RELATIVE = ["The path must be absolute: {p}", "{a} must be an absolute path, but it is: {p}", "Error: path must be absolute, got '{p}'", "'{p}' is not an absolute path", "{p}: relative paths are not supported",
            "Invalid {a}: {p} is relative. Use an absolute path.", "Error: relative path {p} refused; give the whole path from /", "<tool_use_error>{a} must be absolute, not relative: {p}</tool_use_error>",
            "Path must be absolute: {p}", "Error: the path has to be absolute (it was {p})", "File paths must be absolute: {p}", "not absolute: {p}", '{"error": "absolute path needed", "path": "{p}"}', "Directory or file path must be absolute: {p}",
            "Error: expected an absolute path (beginning with /), found {p}"]
ABSENT = ["File does not exist.", "File does not exist. Note: your current working directory is {d}.", "Error: File not found: {p}", "ENOENT: no such file or directory, open '{p}'", "File not found: {p}",
          "<tool_use_error>File does not exist.</tool_use_error>", "<tool_use_error>File does not exist. The current directory is {d}.</tool_use_error>", "Error: no such file: {p}", "cat: {p}: No such file or directory",
          "{p}: No such file or directory", "Error: cannot read {p}: there is no such file", '{"error": "not found", "path": "{p}"}', "There is no file {p} in {d}", "failed to read {p}: No such file or directory (os error 2)",
          "Could not read file: {p} is not there. Files in {d} have other names.", "File {p} does not exist", "not found"]
# What the description of a tool that writes may say about reading first. What is asked for is written at once all the same.
CAUTION = ["If the file exists already, read it with {o} first.", "A file that is there must have been read with {o} in this session before it is written.", "Fails when the file exists and was not read before.",
           "Use {o} before you change a file that you have not seen.", "That somebody asks for a file does not say that it is new: look with {o} first; if it is missing, create it.",
           "Writing over a file that was not read is refused.", "You must call {o} at least once before you change an existing file.", "Overwrites what is there, so read it first."]
MISSING = ["params must have required property '{a}'", "Error: missing parameter {a}", "Invalid arguments: '{a}' is required", "<tool_use_error>{a} is missing</tool_use_error>", "The parameter `{a}` was not given.", "{a}: field required"]


def relative(tool, slots):
    """(parameter, value) of the first path that does not begin at the root."""
    for name, _, _, _, slot in tool.params:
        if slot in toolsets.PATHS and slot in slots and not slots[slot].startswith("/"):
            return name, slots[slot]
    return None


def error(r, wordings, name, path=""):
    return r.choice(wordings).replace("{a}", name).replace("{p}", path)


def fail(maker, messages, tool, arguments, text, slip):
    messages.append({"role": "assistant", "content": "", "tool_calls": [maker.tool_call(tool, arguments)]})
    if slip:
        messages[-1]["slip"] = True
    messages.append({"role": "tool", "content": text})


def ask_folder(maker, messages, task, tools, look, cwd):
    """`pwd`, as nothing has told the folder. Says whether there is a shell for that."""
    shell = next((t for t in tools if t.ability == "run"), None)
    if not shell:
        return False
    messages.append({"role": "assistant", "content": "", "tool_calls": [maker.tool_call(shell, shell.arguments({"command": "pwd", "desc": "Show the working directory"}))]})
    messages.append({"role": "tool", "content": tasks.wrap(look, cwd)})
    task.slots["cwd"] = cwd
    return True


def look_first(maker, messages, task, reader, look, cwd):
    """A file that is to be written was read first, mostly in vain: what the file held, or that it was missing, ends nothing."""
    r, path, shell = maker.r, task.slots["path"], reader.ability == "run"
    if reader.absolute and not shell:
        path = toolsets.whole_paths(task.slots)["path"]
    missing = r.random() < .8
    if missing:
        text = f"cat: {path}: No such file or directory" if shell else error(r, ABSENT, "", path).replace("{d}", cwd)
    else:
        text = maker.n.plain(1, 6) if r.random() < .5 else maker.n.code_block()
    arguments = reader.arguments({"command": f"cat {path}", "desc": f"Show {path}"} if shell else task.slots)
    fail(maker, messages, reader, arguments, tasks.wrap(look, text, int(missing)) if shell else text, slip=True)
    if cwd in text:
        task.slots["cwd"] = cwd  # now it is told


def caution(r, tools):
    """Let tools that write ask for reading first, as those of many agents do."""
    names = [t.name for t in tools if t.ability == "read"] or ["the tool for reading"]
    for t in tools:
        if t.ability in ("write", "edit", "patch"):
            said = r.choice(CAUTION).replace("{o}", r.choice(names))
            t.description = (t.description + r.choice([" ", "\n", "\n\n"]) if t.description else "") + said


def before(maker, messages, task, tools, tool, arguments, look, cwd):
    """What may go wrong before the right call: appended to the messages. The answer, where nothing can be done about it, else
    None. cwd: the folder, which the task need not know."""
    r, x = maker.r, maker.r.random()
    first = relative(tool, task.slots) if tool.ability == task.ability else None
    if first and x < .45:
        known = "cwd" in task.slots
        plain = {k: v for k, v in task.slots.items() if k != "cwd"}
        text = error(r, RELATIVE, *first)
        fail(maker, messages, tool, tool.arguments(plain), text, slip=tool.absolute and known)
        if not known and not ask_folder(maker, messages, task, tools, look, cwd):
            return f"I could not use `{first[1]}`: {text}".replace("<tool_use_error>", "").replace("</tool_use_error>", "")
        for t in tools:  # what one of them refuses, the others refuse too
            t.take_whole_paths()
        return None
    reader = next((t for ability in ("read", "run") for t in tools if t.ability == ability), None)
    if x < .85 and task.kind == "write" and reader:
        look_first(maker, messages, task, reader, look, cwd)
        return None
    needed = [p[0] for p in tool.params if p[3] and p[0] in arguments]
    if needed:
        gone = r.choice(needed)
        fail(maker, messages, tool, {k: v for k, v in arguments.items() if k != gone}, error(r, MISSING, gone), slip=True)
    return None
