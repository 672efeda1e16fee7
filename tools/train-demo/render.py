"""Chat messages -> prompt text, exactly as template.jinja (and so the engine) renders them."""
import json

HEAD = "\n\n# Tools\n\nYou have access to the following tools:\n\n<tools>"
RULES = """
</tools>

If you choose to call a tool ONLY reply in the following format with NO suffix:

<tool_call>
<function=example_function_name>
<parameter=example_parameter_1>
value_1
</parameter>
<parameter=example_parameter_2>
value_2
</parameter>
</function>
</tool_call>

<IMPORTANT>
Reminder:
- Function calls MUST follow the specified format: the tool calling block MUST begin with an opening <tool_call> tag and end with a closing </tool_call> tag.
- Required parameters MUST be specified
- You may provide optional reasoning for your function call in natural language BEFORE the function call, but NOT after
- If there is no function call available, answer the question like normal with your current knowledge and do not tell the user about function calls
</IMPORTANT>"""
DEFAULT = "You are Qwen, a helpful AI assistant that can interact with a computer to solve tasks."


def text(value):
    """A value as Jinja prints it: JSON for lists and mappings, Python's str otherwise."""
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value)


def _extra(mapping, handled):
    return "".join(f"\n<{k}>{text(v)}</{k}>" for k, v in mapping.items() if k not in handled)


def tool_text(tool):
    fn = tool.get("function", tool)
    out = f"\n<function>\n<name>{fn['name']}</name>"
    if "description" in fn:
        out += f"\n<description>{fn['description'].strip()}</description>"
    out += "\n<parameters>"
    params = fn.get("parameters", {})
    for name, field in params.get("properties", {}).items():
        out += f"\n<parameter>\n<name>{name}</name>"
        if "type" in field:
            out += f"\n<type>{field['type']}</type>"
        if "description" in field:
            out += f"\n<description>{field['description'].strip()}</description>"
        out += _extra(field, ("name", "type", "description")) + "\n</parameter>"
    out += _extra(params, ("type", "properties")) + "\n</parameters>"
    return out + _extra(fn, ("type", "name", "description", "parameters")) + "\n</function>"


def system_text(system, tools):
    """The system turn; `system` may be None."""
    if system is None and not tools:
        return ""
    out = "<|im_start|>system\n" + (DEFAULT if system is None else system)
    if tools:
        out += HEAD + "".join(map(tool_text, tools)) + RULES
    return out + "<|im_end|>\n"


def call_text(name, arguments):
    out = f"\n<tool_call>\n<function={name}>\n"
    for key, value in arguments.items():
        out += f"<parameter={key}>\n{text(value)}\n</parameter>\n"
    return out + "</function>\n</tool_call>"


def reply_text(message):
    """What follows "<|im_start|>assistant": this is what the model learns to write."""
    calls = message.get("tool_calls") or []
    content = message.get("content") or ""
    if not calls:
        return "\n" + content + "<|im_end|>\n"
    out = f"\n{content.strip()}\n" if content.strip() else ""
    for call in calls:
        fn = call.get("function", call)
        out += call_text(fn["name"], fn["arguments"])
    return out + "<|im_end|>\n"


def segments(messages, tools):
    """[(text, written by the assistant?)] for a conversation; None: written by it, but a slip, which is not to be learnt."""
    out, system = [], None
    if messages and messages[0]["role"] == "system":
        system, messages = messages[0]["content"], messages[1:]
    out.append((system_text(system, tools), False))
    for i, m in enumerate(messages):
        after = messages[i + 1]["role"] if i + 1 < len(messages) else None
        if m["role"] == "assistant":
            out += [("<|im_start|>assistant", False), (reply_text(m), None if m.get("slip") else True)]
        elif m["role"] == "tool":
            start = "<|im_start|>user\n" if i and messages[i - 1]["role"] != "tool" else ""
            end = "<|im_end|>\n" if after != "tool" else ""
            out.append((f"{start}<tool_response>\n{m['content']}\n</tool_response>\n{end}", False))
        else:
            out.append((f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n", False))
    return out


def prompt(messages, tools):
    """The text the model continues."""
    return "".join(t for t, _ in segments(messages, tools)) + "<|im_start|>assistant\n"
