"""Calls that fail for a reason that can be put right, and the calls that put it right. A wrong call that
the model should not have made is marked as a slip: it is read, not learnt."""
import tasks, toolsets

RELATIVE = ["The path must be absolute: {p}", "{a} must be an absolute path, but it is: {p}", "Error: path must be absolute, got '{p}'", "'{p}' is not an absolute path", "{p}: relative paths are not supported",
            "Invalid {a}: {p} is relative. Use an absolute path.", "Error: relative path {p} refused; give the whole path from /", "<tool_use_error>{a} must be absolute, not relative: {p}</tool_use_error>",
            "Path must be absolute: {p}", "Error: the path has to be absolute (it was {p})", "File paths must be absolute: {p}", "not absolute: {p}", '{"error": "absolute path needed", "path": "{p}"}', "Directory or file path must be absolute: {p}",
            "Error: expected an absolute path (beginning with /), found {p}"]
UNREAD = ["Error: {p} was not read yet. Read it first, then write to it.", "The file {p} must be read before it can be changed.", "<tool_use_error>Read {p} first</tool_use_error>", "{p} exists: read it before you write it.",
          "File has not been read in this session: {p}. Use the tool for reading first."]
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


def before(maker, messages, task, tools, tool, arguments, look, cwd):
    """What may go wrong before the right call: appended to the messages. The answer, where nothing can be done about it, else
    None. cwd: the folder, which the task need not know."""
    r, x = maker.r, maker.r.random()
    first = relative(tool, task.slots) if tool.ability == task.ability else None
    if first and x < .6:
        known = "cwd" in task.slots
        plain = {k: v for k, v in task.slots.items() if k != "cwd"}
        text = error(r, RELATIVE, *first)
        fail(maker, messages, tool, tool.arguments(plain), text, slip=tool.absolute and known)
        if not known and not ask_folder(maker, messages, task, tools, look, cwd):
            return f"I could not use `{first[1]}`: {text}".replace("<tool_use_error>", "").replace("</tool_use_error>", "")
        for t in tools:  # what one of them refuses, the others refuse too
            t.take_whole_paths()
        return None
    reader = next((t for t in tools if t.ability == "read"), None)
    if x < .8 and task.kind in ("write", "edit") and reader and tool.ability in ("write", "edit"):
        path = next(arguments[p[0]] for p in tool.params if p[4] == "path")
        fail(maker, messages, tool, arguments, error(r, UNREAD, "", path), slip=False)
        fail(maker, messages, reader, reader.arguments(task.slots), r.choice([maker.n.plain(1, 6), maker.n.code_block()]), slip=False)
        return None
    needed = [p[0] for p in tool.params if p[3] and p[0] in arguments]
    if needed:
        gone = r.choice(needed)
        fail(maker, messages, tool, {k: v for k, v in arguments.items() if k != gone}, error(r, MISSING, gone), slip=True)
    return None
