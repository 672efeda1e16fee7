"""Tools that coding agents send beside those for files and commands: names and parameters as the
clients spell them, descriptions in our words. None of our requests needs the tools without an
ability; a model has to pass them by, whatever their descriptions talk about."""
from toolsets import B, CODEX_EXEC, I, N, S, T, OPENCODE, PI, QWEN

LIST = {"type": "array", "items": {"type": "string"}}
STATUS = {"type": "string", "enum": ["pending", "in_progress", "completed"]}
TODOS = {"type": "array", "items": {"type": "object", "required": ["content", "status"], "additionalProperties": False,
         "properties": {"id": {"type": "string"}, "content": {"type": "string", "minLength": 1}, "status": STATUS}}}
ANYTHING = {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {}}
FINDINGS = {"type": "array", "items": {"type": "object", "properties": {
    "file": {"type": "string"}, "line": {"type": "integer"}, "summary": {"type": "string"}}}}
QUESTIONS = {"type": "array", "items": {"type": "object", "properties": {
    "id": {"type": "string"}, "header": {"type": "string"}, "question": {"type": "string"},
    "options": {"type": "array", "items": {"type": "object", "properties": {"label": {"type": "string"}}}}}}}
EDITS = {"type": "array", "items": {"type": "object", "required": ["oldText", "newText"], "additionalProperties": False,
         "properties": {"oldText": {"type": "string", "description": "What stands in the file"},
                        "newText": {"type": "string", "description": "What shall stand there"}}}}

CLAUDE_NOW = [
    T(None, "Agent", "Gives a piece of work to another agent, which has a context of its own.",
      ("description", S, "The work in three to five words", True, None), ("prompt", S, "What the agent is told", True, None),
      ("subagent_type", S, "Which kind of agent", False, None), ("model", {"type": "string", "enum": ["small", "large"]}, "Which model it uses", False, None),
      ("run_in_background", B, "Do not wait for it", False, None), ("isolation", {"type": "string", "enum": ["worktree"]}, "Gives it a copy of the repository", False, None)),
    T("run", "Bash", "Runs a command in bash and gives back what it prints.",
      ("command", S, "The command line", True, "command"), ("timeout", N, "Longest time in milliseconds", False, None),
      ("description", S, "What the command is for, in a few words of plain language", False, "desc"),
      ("run_in_background", B, "Do not wait for the end of the command", False, None), ("dangerouslyDisableSandbox", B, "Run outside of the sandbox", False, None)),
    T(None, "CronCreate", "Plans a prompt for later, once or again and again.",
      ("cron", S, "Five fields: minute, hour, day, month, weekday", True, None), ("prompt", S, "What is to be asked then", True, None),
      ("recurring", {"type": "boolean", "default": True}, "Again and again", False, None), ("durable", {"type": "boolean", "default": False}, "Keep it after the session", False, None)),
    T(None, "CronDelete", "Takes a planned prompt away.", ("id", S, "Which one", True, None)),
    T(None, "CronList", "Shows the planned prompts."),
    T("edit", "Edit", "Changes a piece of text in a file.", ("file_path", S, "The file that is changed", True, "path"),
      ("old_string", S, "The text that goes", True, "old"), ("new_string", S, "The text that comes in its place, not the same", True, "new"),
      ("replace_all", {"type": "boolean", "default": False}, "Change every place", False, "all")),
    T(None, "EnterWorktree", "Goes on in a separate checkout of the repository.", ("name", S, "Its name", False, None), ("path", S, "An existing one", False, None)),
    T(None, "ExitWorktree", "Comes back from a separate checkout.", ("action", {"type": "string", "enum": ["keep", "remove"]}, "What becomes of it", True, None),
      ("discard_changes", B, "Throw away what was not committed", False, None)),
    T(None, "NotebookEdit", "Puts new source into a cell of a notebook.", ("notebook_path", S, "The notebook", True, None), ("cell_id", S, "Which cell", False, None),
      ("new_source", S, "The source", True, None), ("cell_type", {"type": "string", "enum": ["code", "markdown"]}, "Kind of the cell", False, None),
      ("edit_mode", {"type": "string", "enum": ["replace", "insert", "delete"]}, "What is done", False, None)),
    T("read", "Read", "Shows what a file contains.", ("file_path", S, "The file that is shown", True, "path"),
      ("offset", {"type": "integer", "minimum": 0, "maximum": 9007199254740991}, "First line that is wanted", False, None),
      ("limit", {"type": "integer", "exclusiveMinimum": 0, "maximum": 9007199254740991}, "How many lines", False, "limit"), ("pages", S, "Which pages of a PDF", False, None)),
    T(None, "ReportFindings", "Hands over what a review has found.", ("level", S, "How thorough it was", False, None), ("findings", FINDINGS, "What was found", True, None)),
    T(None, "ScheduleWakeup", "Sleeps and goes on later.", ("delaySeconds", N, "How long", True, None), ("reason", S, "Why", True, None), ("prompt", S, "With what", True, None)),
    T(None, "SendMessage", "Writes to another agent.", ("to", S, "Whom", True, None), ("summary", S, "A few words", False, None), ("message", S, "The text", True, None)),
    T(None, "Skill", "Loads a skill, which says how some kind of work is done.", ("skill", S, "Its name", True, None), ("args", S, "What it is given", False, None)),
    T(None, "TaskCreate", "Puts a task on the list.", ("subject", S, "Title", True, None), ("description", S, "What is to be done", True, None),
      ("activeForm", S, "How it is called while it is done", False, None), ("metadata", ANYTHING, "More", False, None)),
    T(None, "TaskGet", "Shows one task of the list.", ("taskId", S, "Which one", True, None)),
    T(None, "TaskList", "Shows all tasks of the list."),
    T(None, "TaskOutput", "Shows what a task in the background printed.", ("task_id", S, "Which one", True, None),
      ("block", {"type": "boolean", "default": True}, "Wait for its end", True, None), ("timeout", {"type": "number", "default": 30000}, "Longest wait", True, None)),
    T(None, "TaskStop", "Ends a task in the background.", ("task_id", S, "Which one", False, None), ("shell_id", S, "Its older name", False, None)),
    T(None, "TaskUpdate", "Changes a task of the list.", ("taskId", S, "Which one", True, None), ("subject", S, "New title", False, None), ("description", S, "New text", False, None),
      ("activeForm", S, "How it is called now", False, None), ("status", {"anyOf": [STATUS, {"type": "string", "const": "deleted"}]}, "New state", False, None),
      ("addBlocks", LIST, "Tasks that wait for it", False, None), ("addBlockedBy", LIST, "Tasks that it waits for", False, None), ("owner", S, "Who does it", False, None),
      ("metadata", ANYTHING, "More", False, None)),
    T(None, "WebFetch", "Gets a page and answers a question about it.", ("url", {"type": "string", "format": "uri"}, "The page", True, None), ("prompt", S, "The question", True, None)),
    T(None, "WebSearch", "Asks a search engine.", ("query", {"type": "string", "minLength": 2}, "The words", True, None),
      ("allowed_domains", LIST, "Only from these", False, None), ("blocked_domains", LIST, "Never from these", False, None)),
    T(None, "Workflow", "Runs a script that directs several agents.", ("script", {"type": "string", "maxLength": 524288}, "The script", False, None), ("name", S, "A stored one", False, None),
      ("description", S, "Ignored", False, None), ("title", S, "Ignored", False, None), ("args", {}, "What the script gets", False, None),
      ("scriptPath", S, "A script on disk", False, None), ("resumeFromRunId", {"type": "string", "pattern": "^wf_[a-z0-9-]{6,}$"}, "An earlier run", False, None)),
    T("write", "Write", "Puts text into a file, whether it was there or not.", ("file_path", S, "The file that is written", True, "path"), ("content", S, "What the file will hold", True, "content")),
]
QWEN_NOW = [
    T(None, "tool_search", "Looks for further tools.", ("query", S, "Words or names", True, None), ("max_results", N, "How many", False, None)),
    T(None, "agent", "Hands work to a helper with a context of its own.", ("description", S, "In a few words", True, None), ("prompt", S, "The work", True, None),
      ("subagent_type", S, "Which helper", False, None), ("run_in_background", B, "Do not wait", False, None)),
    T(None, "task_stop", "Stops work in the background.", ("task_id", S, "Which", True, None)),
    T(None, "send_message", "Tells a running helper something.", ("task_id", S, "Which", True, None), ("message", S, "What", True, None)),
    T(None, "skill", "Loads instructions for some kind of work.", ("skill", S, "Which", True, None)),
    T("list", "list_directory", "Names the files and folders that lie in a folder.", ("path", S, "The folder", True, "dir"), ("ignore", LIST, "Patterns that are left out", False, None),
      ("file_filtering_options", {"type": "object", "properties": {"respect_git_ignore": {"type": "boolean"}}}, "What is left out", False, None)),
    T("read", "read_file", "Shows what a file contains, a long one in parts.", ("file_path", S, "The file that is shown", True, "path"), ("offset", N, "First line wanted", False, None),
      ("limit", N, "How many lines", False, "limit"), ("pages", S, "Pages of a PDF", False, None)),
    T("search", "grep_search", "Looks for a pattern in the files.", ("pattern", S, "The expression", True, "pattern"), ("glob", S, "Only in such files", False, None),
      ("path", S, "Where", False, "dir"), ("limit", N, "How many lines", False, None)),
    T("find", "glob", "Finds files by their names.", ("pattern", S, "The pattern", True, "glob"), ("path", S, "Where", False, None)),
    T("edit", "edit", "Puts other text in the place of some text of a file.", ("file_path", S, "The file that is changed", True, "path"), ("old_string", S, "The text that goes, letter by letter", True, "old"),
      ("new_string", S, "The text that comes", True, "new"), ("replace_all", B, "Every place", False, "all")),
    T("write", "write_file", "Puts text into a file on this machine.", ("file_path", S, "The file that is written", True, "path"), ("content", S, "What the file will hold", True, "content")),
    T("run", "run_shell_command", "Runs a command line in bash.", ("command", S, "The line", True, "command"), ("is_background", B, "Whether nobody waits for it", False, None),
      ("timeout", N, "Milliseconds", False, None), ("description", S, "What it does, for the user", False, "desc"), ("directory", S, "Where", False, None)),
    T(None, "todo_write", "Keeps the list of open points.", ("todos", TODOS, "The whole list", True, None)),
    T(None, "web_fetch", "Gets a page and answers a question about it.", ("url", S, "The page", True, None), ("prompt", S, "The question", True, None), ("format", S, "As what", False, None)),
    T(None, "monitor", "Watches what a command prints while other work goes on.", ("command", S, "The command", True, None), ("description", S, "What it watches", False, None),
      ("max_events", N, "How many lines", False, None), ("idle_timeout_ms", N, "How long without any", False, None), ("directory", S, "Where", False, None)),
]
GOALS = [
    T(None, "get_goal", "Shows the goal of the session."), T(None, "create_goal", "Sets a goal for the session.", ("objective", S, "The goal", True, None), ("token_budget", I, "What it may cost", False, None)),
    T(None, "update_goal", "Says how far the goal is.", ("status", {"type": "string", "enum": ["complete", "blocked"]}, "How far", True, None)),
]
SUB_AGENTS = [
    T(None, "multi_agent_v1__close_agent", "Closes a helper that is no longer needed.", ("target", S, "Which", True, None)),
    T(None, "multi_agent_v1__resume_agent", "Opens a closed helper again.", ("id", S, "Which", True, None)),
    T(None, "multi_agent_v1__send_input", "Tells a helper something.", ("interrupt", B, "At once", False, None), ("items", {"type": "array", "items": {"type": "object", "properties": {
        "path": {"type": "string"}, "text": {"type": "string"}, "type": {"type": "string"}}}}, "Parts", False, None), ("message", S, "The text", False, None), ("target", S, "Whom", True, None)),
    T(None, "multi_agent_v1__spawn_agent", "Starts a helper for a piece of work.", ("agent_type", S, "Which kind", False, None), ("fork_context", B, "It knows what we know", False, None),
      ("message", S, "Its work", False, None), ("model", S, "Which model", False, None)),
    T(None, "multi_agent_v1__wait_agent", "Waits for helpers.", ("targets", LIST, "Which", True, None), ("timeout_ms", N, "How long", False, None)),
]
COMMAND = T("run", "exec_command", "Runs a command in a terminal.", ("cmd", S, "The command line.", True, "command"), ("justification", S, "Why it needs to be allowed", False, None),
            ("login", B, "Whether the shell reads its profile", False, None), ("max_output_tokens", N, "Longest answer", False, None), ("prefix_rule", LIST, "What may be allowed from now on", False, None),
            ("sandbox_permissions", {"type": "string", "enum": ["use_default", "require_escalated"]}, "Inside or outside", False, None), ("shell", S, "Which shell", False, None),
            ("tty", B, "With a terminal", False, None), ("workdir", S, "Where", False, None), ("yield_time_ms", N, "How long to wait for output", False, None))
ASK = T(None, "request_user_input", "Asks the user something.", ("questions", QUESTIONS, "One to three questions", True, None))
STDIN = T(None, "write_stdin", "Types into a running command.", ("chars", S, "What to type", False, None), ("max_output_tokens", N, "Longest answer", False, None),
          ("session_id", N, "Which command", True, None), ("yield_time_ms", N, "How long to wait", False, None))
PATCH = T("patch", "apply_patch", "Changes files by a patch in a form of its own, which is not JSON.\n\nThe input follows a grammar: a line *** Begin Patch, then for each file *** Add File: NAME with"
          " lines that begin with +, or *** Update File: NAME with lines that begin with @@, -, + or a space, and at the end *** End Patch.", ("input", S, "", True, "patch"))
CODEX_NOW = [COMMAND, STDIN, ASK, PATCH, *GOALS]
CODEX_AGENTS = [COMMAND, STDIN, ASK, PATCH, *SUB_AGENTS, *GOALS]
CODEX_SHELL_ONLY = [COMMAND, STDIN, ASK, *SUB_AGENTS, *GOALS]
OPENCODE_NOW = [t for t in OPENCODE if t[1] not in ("list", "todoread")] + [T(None, "skill", "Loads a skill.", ("name", S, "Which", True, None))]
PI_NOW = [t for t in PI if t[1] != "edit"] + [T("edit", "edit", "Puts other text in the place of some text of a file.", ("path", S, "The file that is changed", True, "path"),
                                               ("edits", EDITS, "What goes and what comes", True, "edits"))]
# how often each is drawn
CLIENTS = 3 * [CLAUDE_NOW] + 3 * [QWEN_NOW] + 2 * [CODEX_AGENTS] + 2 * [CODEX_SHELL_ONLY] + [CODEX_NOW, OPENCODE_NOW, PI_NOW, CODEX_EXEC, QWEN]

# Families of tools under any name: words of the name, description, parameters.
FAMILY = [t for client in (CLAUDE_NOW, QWEN_NOW, SUB_AGENTS, GOALS) for t in client if not t[0]] + [ASK, STDIN] + [
    T(None, "list_mcp_resources", "Shows what a connected server offers.", ("server", S, "Which server", False, None)),
    T(None, "read_mcp_resource", "Gets something that a connected server offers.", ("server", S, "Which server", True, None), ("uri", S, "What", True, None)),
    T(None, "save_memory", "Remembers a fact for later sessions.", ("fact", S, "The fact", True, None)),
    T(None, "exit_plan_mode", "Ends planning.", ("plan", S, "The plan", True, None)), T(None, "enter_plan_mode", "Begins planning."),
    T(None, "ask_user_question", "Asks the user something.", ("questions", QUESTIONS, "The questions", True, None)),
    T(None, "bash_output", "Shows what a command in the background printed.", ("bash_id", S, "Which", True, None), ("filter", S, "Only such lines", False, None)),
    T(None, "kill_shell", "Ends a command in the background.", ("shell_id", S, "Which", True, None)),
    T(None, "view_image", "Looks at a picture.", ("path", S, "The picture", True, None)),
    T(None, "lsp", "Asks a language server about a place in the code.", ("operation", {"type": "string", "enum": ["definition", "references", "hover"]}, "What to ask", True, None),
      ("filePath", S, "File", True, None), ("line", I, "Line", True, None), ("character", I, "Column", True, None)),
    T(None, "create_pull_request", "Proposes the branch for review.", ("title", S, "Title", True, None), ("body", S, "Text", False, None), ("draft", B, "Not ready yet", False, None)),
    T(None, "read_thread", "Shows an earlier conversation.", ("thread_id", S, "Which", True, None)),
    T(None, "write_note", "Puts a note on the board of the team.", ("title", S, "Title", True, None), ("text", S, "Text", True, None)),
    T(None, "open_browser", "Shows a page in the browser.", ("url", S, "The page", True, None)), T(None, "browser_click", "Clicks on a part of the page.", ("ref", S, "Which part", True, None)),
    T(None, "diagnostics", "Shows what the compiler complains about.", ("uri", S, "File", False, None)),
]
