"""System prompts and reminders, from one line to many thousand characters."""

SHORT = ["You are a helpful assistant.", "You are a coding agent.", "You are a helpful coding assistant.", "You are an interactive CLI tool that helps users with software engineering tasks.",
         "You are an expert software engineer.", "Be concise.", "You help the user with files and commands. Be brief.", "You are a coding agent running in a terminal.", "You are an AI programming assistant.",
         "Answer in one sentence.", "You are a careful assistant. Use the tools you are given.", "You are a terminal assistant.", "Use tools when the user asks for something to be done.", "You are tawny.",
         "You are opencode, an interactive CLI tool that helps users with software engineering tasks.", "You are Claude Code, a CLI for coding.", "You are a coding agent running in the Codex CLI, a terminal-based coding assistant.",
         "You are Qwen Code, an interactive CLI agent, specializing in software engineering tasks.", "You are an expert coding assistant. You help users with coding tasks by reading files, executing commands, editing code, and writing new files."]
RULES = ["Keep answers short.", "Never guess file names.", "Use the tools instead of describing what you would do.", "Do not add comments unless asked.", "Follow the conventions of the project.", "Always use paths relative to the working directory.",
         "Prefer editing existing files over creating new ones.", "Never commit changes unless the user asks you to.", "Do not explain code unless the user asks.", "When the user asks for a file, read it with the right tool.",
         "Run the tests after a change when a test command is known.", "Never invent URLs.", "If a tool fails, report the error.", "You must answer in plain text or GitHub-flavoured markdown.", "Use only the tools in the list.", "Do not run destructive commands without being asked.",
         "Minimize output while keeping it helpful and correct.", "Assist with defensive security tasks only.", "Do not use emojis unless asked.", "Fewer than four lines of text, unless detail is requested.", "Check that a library is available before you use it.",
         "Reference code as path:line.", "Batch independent tool calls.", "Refuse to work on malicious code.", "Stop when the task is done.", "Write files with the write tool, not with shell redirection.", "Think about the request before you act."]
TITLES = ["# Tone and style", "# Rules", "# Doing tasks", "# Guidelines", "## Tool use", "# Code style", "## Workflow", "# Security", "# Environment", "## Final answer", "# Notes", "# Personality", "# Task management", "## Sandbox"]


def environment(r, n, cwd=None):
    cwd = cwd or r.choice(["/home/user/", "/work/", "/Users/me/", "/tmp/", "/root/"]) + n.ident()
    date = f"2026-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}"
    return r.choice([
        f"<env>\nWorking directory: {cwd}\nIs directory a git repo: {r.choice(['Yes', 'No', 'yes', 'no'])}\nPlatform: linux\nToday's date: {date}\n</env>",
        f"Current working directory: {cwd}\nCurrent date: {date}",
        f"<environment_context>\n  <cwd>{cwd}</cwd>\n  <approval_policy>on-request</approval_policy>\n  <sandbox_mode>workspace-write</sandbox_mode>\n  <shell>bash</shell>\n</environment_context>",
        f"You are working in {cwd} on linux.",
        f"<project>\n" + "\n".join(f"  {n.path()}" for _ in range(r.randint(2, 12))) + "\n</project>"])


def example(r, n):
    """A worked example as agents' prompts have them; its names must not leak into answers."""
    return r.choice([
        f"<example>\nuser: what is in {n.path()}?\nassistant: [reads the file] It contains {n.plain(1, 4)}.\n</example>",
        f"<example>\nuser: {n.number()} + {n.number()}\nassistant: {n.number()}\n</example>",
        f"For example, to create {n.path()} write the text to it; to run the tests use the shell.",
        f"<example>\nuser: run the build and fix any errors\nassistant: I will use the shell to run the build.\n</example>",
        f"Example: the user says \"list the files in {n.folder()}\" and you list them."])


def filler(corpus, r):
    """A function that gives some text of about the wanted length from the corpus."""
    def text(size):
        start = r.randrange(max(1, len(corpus) - size))
        return corpus[start:start + size].replace("\0", "\n").strip() or "..."
    return text


def system(r, n, text, hint=None, size=None, cwd=None):
    """A system prompt of about `size` characters (drawn if None), or None for no prompt. cwd: the folder it may tell, "" for none."""
    if size is None:
        x = r.random()
        size = 0 if x < .18 else 1 if x < .45 else r.randint(100, 1200) if x < .85 else r.randint(1200, 5000)
    if not size and not hint:
        return None
    parts = [r.choice(SHORT)] if r.random() < .9 else [n.sentence()]
    while sum(map(len, parts)) < size:
        x = r.random()
        if x < .35:
            parts.append("\n".join(f"- {s}" for s in r.sample(RULES, r.randint(2, 6))))
        elif x < .5:
            parts.append(" ".join(r.sample(RULES, r.randint(1, 4))))
        elif x < .6:
            parts.append(r.choice(TITLES))
        elif x < .72:
            parts.append(r.choice(TITLES) if cwd == "" else environment(r, n, cwd))
        elif x < .82:
            parts.append(example(r, n))
        else:
            parts.append(text(r.randint(100, max(200, min(3000, size // 2)))))
    if hint:
        kind, command = hint
        parts.insert(r.randint(1, len(parts)), r.choice([
            "To {k}: {c}", "{K} command: {c}", "- {K}: `{c}`", "Use `{c}` to {k}.", "The project is {p} with `{c}`.", "{k}: {c}", "# Commands\n\n- {K}: `{c}`"]).format(
                k={"test": "run the tests", "build": "build"}[kind], K=kind.capitalize(), c=command, p={"test": "tested", "build": "built"}[kind]))
    if r.random() < .2 and cwd != "":
        parts.append(environment(r, n, cwd))
    return "\n\n".join(parts)


def reminder(r, n, text, long=0):
    """Extra text that some clients put around the user's words."""
    x = r.random()
    if x < .5:
        inner = r.choice([n.sentence(), text(r.randint(50, long // 4 if long else 600)), "\n".join(r.sample(RULES, 3))])
        return f"<system-reminder>\n{inner}\n</system-reminder>\n\n", ""
    if x < .7:
        return "", f"\n\n<system-reminder>\n{r.choice([n.sentence(), r.choice(RULES)])}\n</system-reminder>"
    return environment(r, n) + "\n\n", ""
