"""The folder in which a conversation takes place: names of such folders, how prompts tell which one it
is, and how tools and rules demand paths that begin at the root."""
import string
import toolsets

# Letters of the random names that mkdtemp, mktemp and others give to folders.
RANDOM = [string.ascii_lowercase + string.digits + "_", string.ascii_letters + string.digits, string.digits + "abcdef", string.ascii_lowercase + string.digits]
HOMES = ["/home/user/", "/work/", "/Users/me/", "/tmp/", "/root/", "/srv/", "/", "/opt/", "/mnt/", "/workspaces/", "/var/lib/", "/data/"]
# {}: the folder. In a system prompt, alone or in a block with other facts.
TOLD = [
    "# Environment\n - Working directory: {}\n - Platform: linux", "Working directory: {}", "Current working directory: {}", "<env>\n  Main folder: {}\n  Root of the workspace: {}\n  Under git: yes\n</env>", "<env>\n  Working directory: {}\n  Platform: linux\n</env>",
    "# Environment\nThis is where you are:\n - Main working directory: {}\n - Git repository: true\n - Shell: bash\n - System: Linux", "cwd: {}", "You work in `{}`.", "The project lies in {}",
    "<environment>\n<cwd>{}</cwd>\n<os>linux</os>\n</environment>", "Your working directory is {} and the shell is bash.", "Project root: {}", "## Workspace\n\nroot: `{}`\ngit: yes",
    "Session:\n  directory: {}\n  platform: linux", "You were started in the folder {}", "# Environment\n- Git repository: yes\n- Main folder: {}\n- Platform: linux\n- Shell: sh\n- Put what was downloaded into a folder of its own.", "Facts about this session:\n * main directory: {}\n * version control: git\n * system: linux", "The user's project is in the directory {}", '{"cwd": "{}", "platform": "linux", "shell": "bash"}', "PWD={}",
]
SAID = ["I'm currently working in the directory: {}", "The current directory is {}", "I work in the folder {}", "We are in the directory: {}", "My working directory: {}", "I am now working in this directory: {}",
        "The directory I'm working in: {}", "Working directory: {}", "My project is in {}", "This session runs in {}"]
TREES = ["These files are in it:", "This is the tree of the current directory:", "What lies in the working directories:", "The folder holds (at most 20 entries are shown):", "Structure of the folder:"]
# A parameter that demands an absolute path, in three parts.
ABSOLUTE = [["The absolute path to the file", "Absolute path of the file", "A full, absolute path", "The absolute path", "Path of it (absolute)", "Where it lies: the absolute path", "Absolute path"],
            ["", "", " that is meant", " (e.g. '/home/user/project/file.txt')", ", for example '/srv/project/a.txt'", " on this machine", " (such as /path/to/project/notes.md)"],
            ["", ". Relative paths are refused.", ". Relative paths do not work.", "; it must not be relative", ". You have to give an absolute path.", " (never a relative one)", ". A relative path is an error.", ", as relative ones are not taken",
             ", not relative", ". It has to start with '/'."]]
# The same in the description of the whole tool; {p}: the parameter.
DEMAND = ["The {p} has to be an absolute path.", "{p} must be absolute: join the folder of the project and the name (folder '/path/to/project' and 'src/a.txt' give '/path/to/project/src/a.txt').",
          "Give `{p}` as an absolute path; if the user names a relative one, put the working directory in front of it.", "Relative values of `{p}` are an error. Use the working directory and the name.",
          "`{p}`: always absolute, never relative to the current directory.", "IMPORTANT: {p} takes absolute paths only."]
# The same for all tools, in the system prompt.
RULE = ["- **Paths:** give absolute paths to all tools that take files; relative ones are not supported.", "All file tools want absolute paths. Put the working directory in front of relative names.",
        "- Tools take absolute paths only: working directory + \"/\" + name.", "- Never pass a relative path to a tool; build the absolute one from the project's folder.",
        "- **Absolute paths:** a tool that gets a relative path fails, so complete every path with the working directory.", "Paths in tool calls must be absolute."]


def mixed(r, low=6, high=10):
    letters = r.choice(RANDOM)
    return "".join(r.choice(letters) for _ in range(r.randint(low, high)))


def place(r, n):
    """A folder to work in: in somebody's home, a temporary one, or a deep one."""
    x = r.random()
    if x < .4:
        return r.choice([*HOMES, "/home/" + n.word() + "/"]) + "/".join(n.ident() for _ in range(r.choice((1, 1, 2, 3))))
    if x < .8:
        base = r.choice(["/tmp/", "/tmp/", "/tmp/", "/var/tmp/", "/dev/shm/", "/run/user/1000/", f"/private/var/folders/{mixed(r, 2, 2)}/{mixed(r, 20, 30)}/T/", "/home/" + n.word() + "/"])
        x = mixed(r)
        name = r.choice([f"tmp.{x}", f"tmp{x}", x, f"{n.word()}-{x}", f"{n.word()}-{n.word()}-{x}", f"{n.ident()}-{x}", f"{n.letters()}_{x}", f"{n.ident()}.{x}"])
        tail = r.choice([[], [], ["repo"], [n.word()], [n.word()], [n.ident()], [n.ident(), n.ident()], ["work", n.word()]])
        return base + "/".join([name, *tail])
    return r.choice(HOMES) + "/".join(n.ident() if r.random() < .8 else mixed(r, 3, 12) for _ in range(r.randint(3, 6)))


def told(r, cwd):
    return r.choice(TOLD).replace("{}", cwd)


def demand(r, tool):
    """Make a tool demand absolute paths: at the parameter, in its description, or at both."""
    where = [i for i, p in enumerate(tool.params) if p[4] in toolsets.PATHS]
    if not where:
        return
    tool.take_whole_paths()
    x = r.random()
    for i in where:
        name, kind, text, required, slot = tool.params[i]
        if x < .75:
            tool.params[i] = (name, kind, "".join(map(r.choice, ABSOLUTE)), required, slot)
        if x > .45:
            tool.description = (tool.description + r.choice([" ", "\n", "\n\n"]) if tool.description else "") + r.choice(DEMAND).replace("{p}", name)


def neighbours(r, n, cwd):
    """Other folders near `cwd`, which prompts name as well: where notes and settings lie."""
    base = cwd.rpartition("/")[0] or "/home/" + n.word()
    home = base + r.choice(["/home", "/" + n.word(), ""]) + "/." + n.word()
    dashed = cwd.replace("/", "-").replace("_", "-").replace(".", "-")
    lines = [f"- notes about the user: `{home}/{n.word()}`", f"- notes about this project: `{home}/projects/{dashed}/{n.word()}`", f"## {home}/{n.word()}/{n.word().upper()}.md\n\nThis file is empty so far.",
             f"Settings are kept in {home}/settings.json.", f"Logs go to {home}/logs/{n.word()}.log"]
    return "\n".join(r.sample(lines, r.randint(1, 4)))


def history(r, n):
    """What version control says about the folder, without its name."""
    changed = [r.choice([" M ", "?? ", "A  ", " D "]) + n.path() for _ in range(r.choice((0, 0, 1, 3)))]
    commits = [f"{r.randrange(16 ** 7):07x} {n.sentence()}" for _ in range(r.choice((0, 0, 1, 5)))]
    return "\n\n".join([r.choice(["# Git", "# Version control", "State of the repository when the session began; it is not updated."]), f"{r.choice(['Branch', 'On branch', 'Current branch'])}: {r.choice(['main', 'master', n.word()])}",
                        f"{r.choice(['Status', 'Changes'])}:\n" + ("\n".join(changed) or r.choice(["clean", "(nothing)"])), f"{r.choice(['Last commits', 'Commits', 'History'])}:\n" + "\n".join(commits)])


def surroundings(r, n, cwd):
    """A text of the user's that tells about the folder and the day and asks for nothing."""
    date = f"2026-{r.randint(1, 12):02d}-{r.randint(1, 28):02d}"
    if r.random() < .4:
        tags = [f"  <cwd>{cwd}</cwd>", f"  <shell>{r.choice(['bash', 'zsh'])}</shell>"]
        more = [f"  <current_date>{date}</current_date>", "  <timezone>Etc/UTC</timezone>", f"  <filesystem><workspace_roots><root>{cwd}</root></workspace_roots></filesystem>",
                "  <approval_policy>never</approval_policy>", "  <sandbox_mode>workspace-write</sandbox_mode>", "  <network_access>restricted</network_access>"]
        tags += [t for t in more if r.random() < .5]
        return "<environment_context>\n" + "\n".join(tags) + "\n</environment_context>"
    names = [r.choice([n.file_name(), n.ident() + "/", ".git/..."]) for _ in range(r.randint(1, 13))]
    tree = "\n".join(("└───" if i + 1 == len(names) else "├───") + x for i, x in enumerate(names))
    lines = [r.choice(["This is the setup of our session.", "Here is the context of this session.", "Some context before we begin."]), f"Today's date is {date}.", "My operating system is: linux", r.choice(SAID).replace("{}", cwd)]
    if r.random() < .7:
        lines.append(f"{r.choice(TREES)}\n\n{cwd}/\n{tree}")
    return "\n".join(lines)
