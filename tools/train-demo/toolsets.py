"""Tool lists in many styles: those of well-known coding agents and invented ones.

A Tool knows which *ability* it has (write, read, list, run, search, find, edit, delete,
mkdir, move or none) and which slot of a request each of its parameters takes.
"""
import json

PATHS = ("path", "dir", "dest")  # the slots that name a file or folder


class Tool:
    def __init__(self, ability, name, description, params):
        """params: list of (name, type, description, required, slot)"""
        self.ability, self.name, self.description, self.params = ability, name, description, params
        self.extra, self.dialect = {}, None
        self.absolute = False  # its descriptions demand absolute paths

    def take_whole_paths(self):
        """From now on its calls have absolute paths, if it takes paths at all."""
        self.absolute = self.absolute or any(slot in PATHS for _, _, _, _, slot in self.params)

    def spec(self):
        props = {}
        for name, kind, text, _, _ in self.params:
            field = dict(kind) if isinstance(kind, dict) else {"type": kind}
            if kind == "strings":
                field = {"type": "array", "items": {"type": "string"}}
            if text:
                field["description"] = text
            props[name] = field
        schema = {"$schema": self.dialect} if self.dialect else {}
        schema |= {"type": "object", "properties": props,
                   "required": [p[0] for p in self.params if p[3]], **self.extra}
        fn = {"name": self.name, "description": self.description, "parameters": schema}
        if not self.description:
            del fn["description"]
        return {"type": "function", "function": fn}

    def arguments(self, slots):
        """Arguments for a request: required parameters, and optional ones that were asked for.
        slots["cwd"], if there, is the folder that a turn of the conversation has told."""
        out, slots = {}, whole_paths(slots) if self.absolute else slots
        for name, kind, _, required, slot in self.params:
            if slot == "argv":
                out[name] = ["bash", "-lc", slots["command"]]
            elif slot == "patch":
                out[name] = patch(slots)
            elif slot == "edits":
                out[name] = [{"oldText": slots["old"], "newText": slots["new"]}]
            elif slot in slots:
                out[name] = slots[slot]
            elif required:
                out[name] = DEFAULTS[slot]
        return out


# What a required parameter gets when the request does not say.
DEFAULTS = {"dir": ".", "flag": False, "timeout": 60, "offset": 0, "limit": 100, "desc": "Work on the task"}


def whole_paths(slots):
    """The slots with absolute paths, where the conversation tells the folder."""
    cwd = slots.get("cwd")
    if not cwd:
        return slots
    whole = {k: v if v.startswith("/") else f"{cwd}/{v.removeprefix('./')}" for k, v in slots.items() if k in PATHS}
    return {"dir": cwd, **slots, **whole}


def patch(slots):
    """A new file or one replacement in the patch format of Codex."""
    def lines(sign, text):
        return "".join(f"{sign}{line}\n" for line in text.split("\n"))
    if "content" in slots:
        body = f"*** Add File: {slots['path']}\n" + lines("+", slots["content"])
    else:
        body = f"*** Update File: {slots['path']}\n@@\n" + lines("-", slots["old"]) + lines("+", slots["new"])
    return f"*** Begin Patch\n{body}*** End Patch"


S, N, I, B = "string", "number", "integer", "boolean"


def T(ability, name, description, *params):
    return (ability, name, description, params)


# The tool lists of real agents, in outline; descriptions are ours.
OPENCODE = [
    T("run", "bash", "Runs a bash command in a shell that stays open.",
      ("command", S, "The command to execute", True, "command"),
      ("timeout", N, "Optional timeout in milliseconds", False, "timeout"),
      ("description", S, "Clear description of this command in 5-10 words", True, "desc")),
    T("read", "read", "Shows the text of one file.",
      ("filePath", S, "The path to the file to read", True, "path"),
      ("offset", N, "First line wanted, counted from 0", False, "offset"),
      ("limit", N, "How many lines at most, 2000 if left out", False, "limit")),
    T("find", "glob", "Finds files by name pattern.",
      ("pattern", S, "The glob pattern to match files against", True, "glob"),
      ("path", S, "The directory to search in.", False, "dir")),
    T("search", "grep", "Looks for text inside files.",
      ("pattern", S, "Regular expression to look for", True, "pattern"),
      ("path", S, "The directory to search in.", False, "dir"),
      ("include", S, "Only files with such names, like \"*.js\"", False, None)),
    T("edit", "edit", "Changes a piece of text in a file.",
      ("filePath", S, "Full path of the file that is changed", True, "path"),
      ("oldString", S, "The text to replace", True, "old"),
      ("newString", S, "What stands there afterwards", True, "new"),
      ("replaceAll", B, "Change every place, not only the first", False, "all")),
    T("write", "write", "Puts text into a file.",
      ("content", S, "The content to write to the file", True, "content"),
      ("filePath", S, "Full path of the file that is written", True, "path")),
    T("list", "list", "Shows what lies in a folder.",
      ("path", S, "The path to the directory to list", False, "dir"),
      ("ignore", "strings", "List of glob patterns to ignore", False, None)),
    T(None, "webfetch", "Gets a web page.",
      ("url", S, "The URL to fetch content from", True, None),
      ("format", {"type": "string", "enum": ["text", "markdown", "html"]}, "The format to return", True, None)),
    T(None, "todowrite", "Keeps the list of open tasks.",
      ("todos", {"type": "array", "items": {"type": "object", "properties": {"content": {"type": "string"},
       "status": {"type": "string"}}}}, "The updated todo list", True, None)),
    T(None, "todoread", "Shows the list of open tasks"),
    T(None, "task", "Hands a longer task to another agent.",
      ("description", S, "The task in a few words", True, None),
      ("prompt", S, "The task for the agent to perform", True, None),
      ("subagent_type", S, "Which kind of agent is wanted", True, None)),
]
CLAUDE = [
    T(None, "Task", "Hands a longer task to another agent.",
      ("description", S, "The task in a few words", True, None),
      ("prompt", S, "The task for the agent to perform", True, None),
      ("subagent_type", S, "Which kind of agent is wanted", True, None)),
    T("run", "Bash", "Runs a bash command in a shell that stays open, with a time limit if wanted.",
      ("command", S, "The command to execute", True, "command"),
      ("timeout", N, "Milliseconds after which it is stopped", False, "timeout"),
      ("description", S, "Clear description of this command in 5-10 words", False, "desc"),
      ("run_in_background", B, "Do not wait for the command to end.", False, None)),
    T("find", "Glob", "Finds files by a pattern such as \"**/*.js\".",
      ("pattern", S, "The glob pattern to match files against", True, "glob"),
      ("path", S, "The directory to search in.", False, "dir")),
    T("search", "Grep", "Looks for a pattern inside files.",
      ("pattern", S, "Regular expression to look for", True, "pattern"),
      ("path", S, "File or directory to search in.", False, "dir"),
      ("glob", S, "Only files with such names, like \"*.js\"", False, None),
      ("output_mode", {"type": "string", "enum": ["content", "files_with_matches", "count"]}, "Output mode", False, None),
      ("-n", B, "Show line numbers in output", False, None),
      ("-i", B, "Case insensitive search", False, None)),
    T("read", "Read", "Shows the text of one file.",
      ("file_path", S, "Full path of the file that is shown", True, "path"),
      ("offset", N, "The line number to start reading from", False, "offset"),
      ("limit", N, "The number of lines to read", False, "limit")),
    T("edit", "Edit", "Changes a piece of text in a file.",
      ("file_path", S, "Full path of the file that is changed", True, "path"),
      ("old_string", S, "The text to replace", True, "old"),
      ("new_string", S, "What stands there afterwards", True, "new"),
      ("replace_all", B, "Change every place, not only the first", False, "all")),
    T("write", "Write", "Puts text into a file.",
      ("file_path", S, "Full path of the file that is written", True, "path"),
      ("content", S, "The content to write to the file", True, "content")),
    T("list", "LS", "Shows what lies in a folder.",
      ("path", S, "Full path of the folder", True, "dir"),
      ("ignore", "strings", "List of glob patterns to ignore", False, None)),
    T(None, "NotebookEdit", "Puts new source into one cell of a notebook.",
      ("notebook_path", S, "Full path of the notebook", True, None),
      ("cell_id", S, "The ID of the cell to edit", False, None),
      ("new_source", S, "The new source for the cell", True, None)),
    T(None, "WebFetch", "Gets a web page and answers a question about it.",
      ("url", S, "The URL to fetch content from", True, None), ("prompt", S, "The prompt to run on the content", True, None)),
    T(None, "WebSearch", "Asks a search engine.",
      ("query", S, "The search query to use", True, None)),
    T(None, "TodoWrite", "Keeps the list of what is to be done in this session.",
      ("todos", {"type": "array", "items": {"type": "object", "properties": {"content": {"type": "string"},
       "status": {"type": "string", "enum": ["pending", "in_progress", "completed"]}}}}, "The updated todo list", True, None)),
    T(None, "BashOutput", "Shows what a shell in the background has printed",
      ("bash_id", S, "Which background shell is meant", True, None)),
    T(None, "KillShell", "Ends a shell that runs in the background",
      ("shell_id", S, "Which background shell is to end", True, None)),
    T(None, "ExitPlanMode", "Ends planning when the plan has been shown.",
      ("plan", S, "The plan you came up with", True, None)),
]
CODEX_SHELL = [
    T("run", "shell", "Runs a command in the shell and shows its output.",
      ("command", "strings", "The command to execute", True, "argv"),
      ("workdir", S, "Folder in which the command runs", False, None),
      ("timeout_ms", N, "Milliseconds after which the command is stopped", False, None)),
    T(None, "update_plan", "Updates the task plan.",
      ("explanation", S, "", False, None),
      ("plan", {"type": "array", "items": {"type": "object", "properties": {"step": {"type": "string"},
       "status": {"type": "string"}}}}, "The list of steps", True, None)),
    T("patch", "apply_patch", "Use this to edit files with the `apply_patch` format.",
      ("input", S, "The entire patch", True, "patch")),
    T(None, "view_image", "Attach an image from the disk to the conversation.",
      ("path", S, "Path of the picture", True, None)),
]
CODEX_EXEC = [
    T("run", "exec_command", "Runs a command in a terminal, returning output or an id if it is still running.",
      ("cmd", S, "Shell command to execute.", True, "command"),
      ("workdir", S, "Folder to run it in, if not the current one.", False, None),
      ("yield_time_ms", N, "Milliseconds to wait for output.", False, None),
      ("max_output_tokens", N, "Longest answer, in tokens.", False, None)),
    T(None, "write_stdin", "Types into a command that is still running and shows what it printed since.",
      ("session_id", N, "Which running command is meant.", True, None),
      ("chars", S, "Text to type; empty only looks.", False, None)),
    CODEX_SHELL[1], CODEX_SHELL[2], CODEX_SHELL[3],
]
CODEX_STRING = [
    T("run", "shell_command", "Runs a command in the shell and shows its output.",
      ("command", S, "What the user's shell is to run", True, "command"),
      ("workdir", S, "Folder in which the command runs", False, None),
      ("timeout_ms", N, "Milliseconds after which the command is stopped", False, None)),
    CODEX_SHELL[1], CODEX_SHELL[2], CODEX_SHELL[3],
]
QWEN = [
    T("list", "list_directory", "Names the files and folders that lie in a folder.",
      ("path", S, "Full path of the folder", True, "dir"),
      ("ignore", "strings", "List of glob patterns to ignore", False, None)),
    T("read", "read_file", "Shows the text of a file.",
      ("absolute_path", S, "Full path of the file that is shown", True, "path"),
      ("offset", N, "First line wanted, counted from 0", False, "offset"),
      ("limit", N, "How many lines at most", False, "limit")),
    T("search", "grep_search", "Looks for patterns in files.",
      ("pattern", S, "Regular expression to look for", True, "pattern"),
      ("path", S, "File or directory to search in", False, "dir"),
      ("glob", S, "Glob pattern to filter files", False, None)),
    T("find", "glob", "Finds files by name pattern",
      ("pattern", S, "The glob pattern to match files against", True, "glob"),
      ("path", S, "The directory to search in", False, "dir")),
    T("edit", "edit", "Replaces text within a file.",
      ("file_path", S, "Full path of the file that is changed", True, "path"),
      ("old_string", S, "The exact literal text to replace", True, "old"),
      ("new_string", S, "What stands there afterwards, letter by letter", True, "new"),
      ("replace_all", B, "Replace all occurrences", False, "all")),
    T("write", "write_file", "Puts text into a file.",
      ("file_path", S, "Full path of the file that is written", True, "path"),
      ("content", S, "The content to write to the file.", True, "content")),
    T("run", "run_shell_command", "Executes a given shell command.",
      ("command", S, "Exact bash command to execute", True, "command"),
      ("is_background", B, "Whether to run the command in background", True, "flag"),
      ("description", S, "What the user is told about the command", False, "desc"),
      ("directory", S, "The directory to run the command in", False, None)),
    T(None, "save_memory", "Remembers a fact for later sessions.",
      ("fact", S, "What is to be remembered", True, None)),
    T(None, "todo_write", "Keeps the list of open tasks of this session.",
      ("todos", {"type": "array", "items": {"type": "object"}}, "The updated todo list", True, None)),
    T(None, "web_fetch", "Gets a web page and answers a question about it",
      ("url", S, "The URL to fetch content from", True, None), ("prompt", S, "The prompt", True, None)),
    T(None, "exit_plan_mode", "Ends planning.", ("plan", S, "The plan", True, None)),
    T(None, "task", "Hands a longer task to another agent.",
      ("description", S, "A short description", True, None), ("prompt", S, "The task", True, None)),
]
PI = [
    T("read", "read", "Shows a file, text or picture.",
      ("path", S, "File to be shown", True, "path"),
      ("offset", N, "First line wanted, counted from 1", False, "offset"),
      ("limit", N, "Maximum number of lines to read", False, "limit")),
    T("run", "bash", "Runs a bash command here and gives back what it prints.",
      ("command", S, "Bash command to execute", True, "command"),
      ("timeout", N, "Seconds after which it is stopped; none if left out", False, "timeout")),
    T("edit", "edit", "Changes a file: the old text, letter by letter, gives way to the new one.",
      ("path", S, "File to be changed", True, "path"),
      ("oldText", S, "Exact text to find and replace (must match exactly)", True, "old"),
      ("newText", S, "New text to replace the old text with", True, "new")),
    T("write", "write", "Write content to a file. Creates the file if it doesn't exist, overwrites if it does.",
      ("path", S, "Path to the file to write (relative or absolute)", True, "path"),
      ("content", S, "Content to write to the file", True, "content")),
]
CRUSH = [
    T("run", "bash", "Run a shell command", ("command", S, "The command to execute", True, "command"),
      ("timeout", N, "Optional timeout in milliseconds", False, None)),
    T("read", "view", "Show a file's contents", ("file_path", S, "The path to the file to read", True, "path"),
      ("offset", I, "The line number to start reading from", False, "offset"), ("limit", I, "The number of lines", False, "limit")),
    T("list", "ls", "List a directory as a tree", ("path", S, "The path to the directory to list", False, "dir")),
    T("write", "write", "Write a file", ("file_path", S, "The path to the file to write", True, "path"),
      ("content", S, "The content to write to the file", True, "content")),
    T("edit", "edit", "Replace text in a file", ("file_path", S, "The path to the file", True, "path"),
      ("old_string", S, "The text to replace", True, "old"), ("new_string", S, "The new text", True, "new"),
      ("replace_all", B, "Replace all occurrences", False, "all")),
    T("search", "grep", "Search file contents", ("pattern", S, "The regex pattern", True, "pattern"),
      ("path", S, "The directory to search in", False, "dir"), ("literal_text", B, "Take the pattern literally", False, None)),
    T("find", "glob", "Find files by name", ("pattern", S, "The glob pattern", True, "glob"), ("path", S, "Where", False, "dir")),
    T(None, "fetch", "Fetch a URL", ("url", S, "The URL", True, None), ("format", S, "text, markdown or html", True, None)),
]
CLINE = [
    T("read", "read_file", "Request to read the contents of a file at the specified path.", ("path", S, "The path of the file to read", True, "path")),
    T("write", "write_to_file", "Request to write content to a file at the specified path.",
      ("path", S, "The path of the file to write to", True, "path"), ("content", S, "The content to write to the file", True, "content")),
    T("run", "execute_command", "Request to execute a CLI command on the system.", ("command", S, "The CLI command to execute", True, "command"),
      ("requires_approval", B, "Whether this command requires explicit user approval", True, "flag")),
    T("list", "list_files", "Request to list files and directories within the specified directory.",
      ("path", S, "The path of the directory to list contents for", True, "dir"), ("recursive", B, "Whether to list recursively", False, "recursive")),
    T("search", "search_files", "Request to perform a regex search across files in a specified directory.",
      ("path", S, "The path of the directory to search in", True, "dir"), ("regex", S, "The regular expression pattern", True, "pattern")),
    T(None, "ask_followup_question", "Ask the user a question.", ("question", S, "The question to ask the user", True, None)),
]
REAL = [OPENCODE, CLAUDE, CODEX_SHELL, CODEX_EXEC, CODEX_STRING, QWEN, PI, CRUSH, CLINE]

# Material for invented tools: ability -> verbs, nouns, descriptions, parameters by slot.
FILE_PARAMS = ["path", "file_path", "filePath", "filename", "file", "file_name", "target", "target_file",
               "name", "absolute_path", "uri", "location", "dest", "filepath", "relative_path"]
DIR_PARAMS = ["path", "dir", "directory", "folder", "dir_path", "directory_path", "root", "where", "dirPath",
              "target_directory", "base"]
INVENTED = {
    "write": (["write", "create", "save", "put", "make", "store", "add", "new"], ["file", "text", "document", "contents", ""],
              ["Write text to a file.", "Create a file with the given content.", "Save content to disk.",
               "Creates or overwrites a file.", "Stores text in a new file.", "Put text into a file at a path.",
               "Create a new file or replace an existing one."],
              [("path", FILE_PARAMS, "Path of the file to write|Where to save it|The file to create|Target file"),
               ("content", ["content", "text", "contents", "data", "body", "file_text", "code", "value", "new_content", "string"],
                "Text to write|The content of the file|What to put in the file|Full file content")]),
    "read": (["read", "show", "open", "get", "view", "load", "cat", "fetch", "display"], ["file", "text", "contents", "document", ""],
             ["Read a file.", "Show the content of a file.", "Returns the text of one file.", "Open a file and return what is in it.",
              "Loads a file from disk.", "Get file contents.", "View a file."],
             [("path", FILE_PARAMS, "Path of the file to read|The file|Which file to show|File to open")]),
    "list": (["list", "ls", "show", "get", "enumerate", "browse", "scan"], ["dir", "directory", "files", "folder", "entries"],
             ["List the entries of a directory.", "Show which files are in a folder.", "Returns the names in a directory.",
              "Lists files.", "Get the content of a folder.", "List a directory on disk."],
             [("dir", DIR_PARAMS, "Directory to list|The folder|Which directory|Path of the folder")]),
    "run": (["run", "exec", "execute", "shell", "bash", "terminal", "call"], ["command", "shell", "cmd", "script", "bash", ""],
            ["Run a shell command.", "Execute a command and return its output.", "Runs a program in the terminal.",
             "Execute a command line in the project folder.", "Shell access.", "Run a command in bash."],
            [("command", ["command", "cmd", "command_line", "script", "commandLine", "line", "input", "shell_command", "code"],
              "The command to run|Command line|What to execute|Shell command")]),
    "search": (["search", "grep", "find", "rg", "query", "scan"], ["text", "code", "in_files", "content", "pattern", "project"],
               ["Search for text in files.", "Find lines that match a pattern.", "Search file contents with a regular expression.",
                "Look for a string in the project.", "Grep through the source."],
               [("pattern", ["pattern", "query", "regex", "text", "needle", "search_term", "q", "expression", "term"],
                 "Text to search for|The pattern|What to look for"),
                ("dir?", DIR_PARAMS, "Where to search|Directory to search in")]),
    "find": (["find", "glob", "locate", "match"], ["files", "paths", "names", "by_name", "file"],
             ["Find files by name.", "Find files that match a glob pattern.", "Locate files.", "Match file names against a pattern."],
             [("glob", ["pattern", "glob", "name_pattern", "filename_pattern", "mask", "glob_pattern"], "Glob pattern|File name pattern")]),
    "edit": (["edit", "replace", "change", "modify", "update", "patch", "substitute"], ["file", "text", "in_file", "string", ""],
             ["Replace text in a file.", "Edit a file by replacing a string.", "Change one text to another in a file.",
              "Modify an existing file."],
             [("path", FILE_PARAMS, "File to edit|The file to change"),
              ("old", ["old", "old_string", "oldText", "search", "find", "old_text", "from", "before", "old_str"], "Text to replace|What to find"),
              ("new", ["new", "new_string", "newText", "replace", "replacement", "new_text", "to", "after", "new_str"], "New text|What to put instead")]),
    "delete": (["delete", "remove", "rm", "unlink", "erase"], ["file", "path", "document", ""],
               ["Delete a file.", "Remove a file from disk.", "Erases one file."], [("path", FILE_PARAMS, "File to delete|The file")]),
    "mkdir": (["make", "create", "mk", "add", "new"], ["dir", "directory", "folder"],
              ["Create a directory.", "Make a new folder.", "Creates a folder."], [("dir", DIR_PARAMS, "Directory to create|The folder")]),
    "move": (["move", "rename", "mv"], ["file", "path", ""], ["Move or rename a file.", "Rename a file."],
             [("path", ["source", "src", "from", "old_path", "path"], "Source|Old path"),
              ("dest", ["destination", "dst", "to", "new_path", "target"], "Destination|New path")]),
}
OTHER_NOUNS = ["issue", "email", "calendar", "weather", "image", "database", "page", "ticket", "user", "branch", "memory",
               "window", "song", "order", "invoice", "graph", "map", "timer", "container", "queue", "note", "contact"]
OTHER_VERBS = ["get", "create", "update", "send", "list", "search", "query", "open", "close", "fetch", "render", "resolve"]


def style(r, words):
    """Join words the way some naming convention does."""
    words = [w for part in words if part for w in part.split("_")]
    k = r.random()
    if k < .5:
        return "_".join(words)
    if k < .65:
        return words[0] + "".join(w.capitalize() for w in words[1:])
    if k < .78:
        return "".join(w.capitalize() for w in words)
    if k < .9:
        return "-".join(words)
    return "".join(words)


def invented(r, names, ability):
    verbs, nouns, texts, params = INVENTED[ability]
    odd = r.random() < .15  # a name that says nothing: the description must be read
    name = names.ident().replace(".", "_") if odd else style(r, [r.choice(verbs), r.choice(nouns)])
    if not odd and r.random() < .15:
        name = r.choice(["fs", "mcp__files", "functions", "workspace", "dev", "local", names.atom()]) + r.choice(["_", "__", "."]) + name
    text = r.choice(texts)
    if r.random() < .25:
        text += " " + r.choice(["Use this when the user asks for it.", "Paths are relative to the project root.",
                                "Returns an error text when it fails.", "Prefer this over other tools.",
                                "Only use it inside the workspace.", "The result is plain text."])
    out, used = [], set()
    for slot, pnames, ptexts in params:
        optional = slot.endswith("?")
        if optional and r.random() < .4:
            continue
        slot = slot.rstrip("?")
        choices = [p for p in pnames if p not in used]
        pname = names.letters(3, 7) if r.random() < .05 else r.choice(choices)
        used.add(pname)
        if slot == "command" and r.random() < .12:
            out.append((pname, "strings", "Program and arguments, for example [\"bash\", \"-lc\", \"ls\"]", True, "argv"))
            continue
        ptext = "" if r.random() < .12 else r.choice(ptexts.split("|"))
        out.append((pname, S, ptext, not optional, slot))
    if ability in ("write", "edit", "move") and r.random() < .3:
        out.reverse()
    for extra in EXTRA.get(ability, []):
        if r.random() < .15 and extra[0] not in used:
            out.append(extra)
    tool = Tool(ability, name, text, out)
    if r.random() < .12:
        tool.description = ""
        if odd:
            tool.description = text
    return tool


EXTRA = {
    "read": [("offset", I, "First line", False, "offset"), ("limit", I, "Number of lines", False, "limit"),
             ("encoding", S, "Text encoding", False, None)],
    "run": [("timeout", I, "Seconds to wait", False, "timeout"), ("cwd", S, "Working directory", False, None),
            ("background", B, "Run in the background", True, "flag"),
            ("description", S, "What the command does", True, "desc")],
    "list": [("recursive", B, "List subfolders too", False, "recursive"), ("hidden", B, "Show hidden files", False, None)],
    "write": [("append", B, "Append instead of replacing", False, None), ("overwrite", B, "Replace an existing file", False, None),
              ("mode", S, "File mode, such as 0644", False, None)],
    "search": [("case_sensitive", B, "Match case", False, None), ("max_results", I, "Limit", False, None)],
    "edit": [("replace_all", B, "Replace every occurrence", False, "all")],
}


def distractor(r, names):
    """A tool that none of our requests needs."""
    verb, noun = r.choice(OTHER_VERBS), r.choice(OTHER_NOUNS) if r.random() < .6 else names.word()
    params = []
    for _ in range(r.choices((0, 1, 2, 3, 4), (8, 35, 30, 18, 9))[0]):
        pname = r.choice(["id", "query", "name", "title", "count", "url", "text", "message", "limit", "kind", names.word()])
        kind = r.choices((S, I, B, "strings"), (70, 15, 10, 5))[0]
        params.append((pname, kind, f"The {pname} of the {noun}" if r.random() < .8 else "", r.random() < .6, None))
    params = list({p[0]: p for p in params}.values())
    text = r.choice([f"{verb.capitalize()} a {noun}.", f"{verb.capitalize()} the {noun} of the {names.word()}.",
                     f"Use this tool to {verb} a {noun} by its id.", f"{verb.capitalize()} {noun}s from the {names.word()} service."])
    return Tool(None, style(r, [verb, noun]), text, params)


def build(entry):
    ability, name, text, params = entry
    return Tool(ability, name, text, list(params))


def lengthen(r, tool, filler, size):
    """Real agents explain their tools at length: append paragraphs of filler text."""
    tool.description += "\n\n" + filler(r.randint(40, size))


def toolset(r, names, filler, need=None, long=0):
    """A list of tools; with `need`, a set of abilities that it should have if it can."""
    kind = r.random()
    if kind < .45:
        tools = [build(e) for e in r.choice(REAL)]
        if r.random() < .5:  # drop some of them, but not what is needed
            tools = [t for t in tools if r.random() < .8 or t.ability in (need or ())]
        if r.random() < .3:
            tools += [distractor(r, names) for _ in range(r.randint(1, 6))]
    else:
        abilities = set(need or ())
        for a, p in (("write", .6), ("read", .7), ("list", .5), ("run", .7), ("search", .4), ("find", .3),
                     ("edit", .4), ("delete", .2), ("mkdir", .15), ("move", .15)):
            if r.random() < p:
                abilities.add(a)
        tools = [invented(r, names, a) for a in sorted(abilities)]
        tools += [distractor(r, names) for _ in range(r.choices((0, 1, 2, 4, 8), (30, 25, 20, 15, 10))[0])]
    if r.random() < .6:
        r.shuffle(tools)
    if r.random() < (.5 if long else .15):
        for t in tools:
            if r.random() < .6 and t.description:
                lengthen(r, t, filler, long // 20 if long else 400)
    if r.random() < .3:
        for t in tools:
            t.extra = {"additionalProperties": False}
    seen, out = set(), []
    for t in tools:
        if t.name not in seen:
            seen.add(t.name)
            out.append(t)
    return out
