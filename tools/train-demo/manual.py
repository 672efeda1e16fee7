"""Long descriptions: what agents' prompts and tools say at length, with no meaning for our requests.
A part is text of the corpus, a part is made here and talks about files, tools and requests."""
import json
import systems

HEADS = ["## When to use", "## When not to use", "# Usage", "## Notes", "## Examples", "### Parameters", "## Result", "Usage:", "Notes:", "IMPORTANT:", "## Rules", "## How it works",
         "**When it helps:**", "### Common mistakes", "## States", "## Limits", "## Safety", "# Steps", "## Output", "### Good and bad", "When in doubt:", "## Fields"]
LINES = [
    "Use {t} only when the user asks for it.", "Do not use {t} for {act}; {o} is there for that.", "{o} is better for {act}.", "For {act}, call {o} first.", "Call {t} once, then wait for the result.",
    "When the work has fewer than three steps, do it at once and leave {t} alone.", "Never call {t} twice with the same `{p}`.", "The `{p}` is required; leave the other fields out unless they are asked for.",
    "If `{p}` is missing, the call fails with an error.", "After {t}, tell the user in one sentence what was done.", "{t} cannot see what {o} has printed.", "It is fine to call {t} and {o} in the same turn.",
    "A result of {t} can be long; only the first {n} lines are shown.", "Requests such as \"create {f}\" or \"what is in {f}?\" do not need {t}.", "Someone who asks to see {f} wants its text, not a summary by {t}.",
    "Before {act}, make sure that the folder exists.", "{t} works in the folder `{d}` unless it is told otherwise.", "The default of `{p}` is {n}.", "Values above {n} are cut.", "The user does not see what {t} returns.",
    "Paths such as `{f}` are taken as they are.", "Do not run `{c}` through {t}.", "In the background, `{c}` goes on after the call has returned.", "`{c}` is an example of a command that takes long.",
    "Use {o} to change files (never `{c}`).", "Files are created with {o}.", "Files are read with {o}, not with {t}.", "Use the {o} tool to edit files: {o} takes the whole change.", "Prefer {o} to {t} for speed.",
    "Write {f} only when it was asked for; do not make notes about what you did.", "{act} is not a reason to start {t}.", "Trust the result, but check what matters with {o}.", "Give up after {n} tries and say why.",
    "{T} has its own context and knows nothing of this conversation.", "Say in `{p}` exactly what is wanted: which files, which limits, what to report.", "Each name may stand in the list only once.",
]
# Names that prompts speak of whether or not such a tool is offered: only the list of tools counts.
OFTEN = ["apply_patch", "Write", "Read", "Edit", "Bash", "write_file", "read_file", "shell", "update_plan", "Task", "TodoWrite", "Grep", "Glob", "LS", "run_shell_command", "todo_write", "rg", "cat", "exec_command",
         "write", "read", "edit", "bash", "list_directory", "grep_search", "web_fetch", "view_image", "spawn_agent", "memory", "Agent", "Skill"]
ACTS = ["reading a known file", "creating a file", "listing a folder", "searching for text", "running the tests", "changing one line", "answering a question", "a single small step", "looking into two or three files",
        "deleting a file", "moving a file", "writing a short text", "building the project", "planning", "a review"]
JSON_WORDS = ["status", "content", "id", "name", "path", "query", "prompt", "limit", "items", "kind", "message", "title", "done"]


def line(r, n, own, others):
    """One sentence about a tool `own`, with others named in it."""
    s = r.choice(LINES)
    for key, value in (("{t}", f"`{own}`" if r.random() < .5 else own), ("{T}", own), ("{o}", r.choice(others or [own])), ("{act}", r.choice(ACTS)), ("{p}", r.choice(JSON_WORDS)),
                       ("{n}", str(r.choice([1, 3, 5, 10, 100, 600, 2000, 30000]))), ("{f}", n.path()), ("{d}", n.folder()), ("{c}", n.command())):
        s = s.replace(key, value)
    return s[0].upper() + s[1:]


def example(r, n, own, others):
    """A worked example, a value as JSON, or a few shell lines."""
    x = r.random()
    if x < .3:
        value = {r.choice(JSON_WORDS): r.choice([n.plain(1, 4), r.randint(0, 99), True, [n.word()]]) for _ in range(r.randint(1, 4))}
        return "```json\n" + json.dumps(value, indent=r.choice([None, 2])) + "\n```"
    if x < .55:
        return f"<example>\nuser: {n.sentence()}\nassistant: {r.choice(['I will', 'Let me'])} use {r.choice([own, *others])} for that.\n{n.sentence()}\n</example>"
    if x < .7:
        ask = r.choice([f"create {n.path()} containing {n.plain(1, 3)}", f"what is in {n.path()}?", f"list the files in {n.folder()}", "run the tests"])
        return f"<example>\nuser: {ask}\nassistant: [calls {r.choice(others or [own])}]\n</example>"
    if x < .85:
        return "```\n" + "\n".join(n.command() for _ in range(r.randint(1, 4))) + "\n```"
    return "```\n" + n.code_block() + "\n```"


def manual(r, n, text, size, own="this tool", others=()):
    """About `size` characters of explanation of the tool `own`."""
    parts, have, others = [], 0, list(others)
    while have < size:
        x = r.random()
        if x < .14:
            part = r.choice(HEADS)
        elif x < .5:
            mark = r.choice(["- ", "- ", "* ", "", "1. "])
            part = "\n".join(mark + (line(r, n, own, others) if r.random() < .8 else r.choice(systems.RULES)) for _ in range(r.randint(1, 6)))
        elif x < .66:
            part = " ".join(line(r, n, own, others) for _ in range(r.randint(1, 4)))
        elif x < .8:
            part = example(r, n, own, others)
        else:
            part = text(r.randint(80, max(120, min(2500, size // 2))))
        parts.append(part)
        have += len(part) + 2
    return "\n\n".join(parts)


# Words that a skill may be called by, and what may be said about it: it speaks of requests as if they were made.
SKILLS = ["run", "test", "build", "verify", "debug", "review", "simplify", "init", "loop", "read", "list", "release", "clean-up", "commit", "batch", "config", "plan", "search", "docs", "setup"]
TRIGGERS = [
    "Use it when asked to run, start or build this project.", "Load it before you {act}.", "Triggers on: \"run the tests\", \"{f}\", \"show {f}\".", "Examples: \"{ask}\", \"{ask}\".", "Do NOT use it for {act}.",
    "READ IT FIRST, before you run a command or open a file, when the user speaks of {f}.", "Skip it when `{c}` finds nothing (run that FIRST).", "Runs `{c}` and says what came out.", "Looks at {f} and changes what is wrong in it.",
    "For {act} and {act}. Never on your own judgment.", "When the user says \"{ask}\", load this instead.", "Read-only: it finds code, it does not change it.", "Start the program to see a change at work, not only its tests.", "/{w} {f} does the same.",
]
ASKED = ["create {f} containing {w}", "what is in {f}?", "run the tests", "build it", "list the files in {d}", "run {c}", "delete {f}", "show me {f}"]


def trigger(r, n):
    """When a skill or an agent is meant to be used."""
    s = " ".join(r.choice(TRIGGERS) for _ in range(r.randint(1, 3)))
    while "{ask}" in s:
        s = s.replace("{ask}", r.choice(ASKED), 1)
    for key, make in (("{act}", lambda: r.choice(ACTS)), ("{f}", n.path), ("{d}", n.folder), ("{c}", n.command), ("{w}", n.word)):
        while key in s:
            s = s.replace(key, make().replace("{", "("), 1)
    return s


def roster(r, n, text, size):
    """Lists of agents and skills, as clients put them into a turn of their own."""
    out = r.choice(["Agents that can be started:", "Kinds of agent for the tool {}:", "The following skills are there for the tool {}:", "Skills:", "Helpers of this session:", "Servers that are connected:"]).format(n.ident())
    while len(out) < size:
        x = r.random()
        if x < .08:
            out += "\n\n" + r.choice(["Skills that can be loaded:", "More agents:", "# How to choose", "Use them when their description fits:", "Notes:"])
        elif x < .2:
            out += "\n\n" + line(r, n, n.ident(), [n.ident()])
        else:
            name = r.choice(SKILLS) if r.random() < .3 else n.ident() + (r.choice([":", "/", "-"]) + n.word() if r.random() < .2 else "")
            told = trigger(r, n) if r.random() < .4 else r.choice([n.sentence(), line(r, n, name, [n.ident(), n.ident()]), text(r.randint(40, 500)).replace("\n", " "), ""])
            out += f"\n- {name}" + (f": {told}" if told else "") + (f" (Tools: {r.choice(['*', 'all', n.ident() + ', ' + n.ident()])})" if r.random() < .15 else "")
    return out
