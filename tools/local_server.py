"""A tawny server on a free port, one request to it, and the devices: what the demo and the tests share. Standard library only."""
import http.client
import json
import subprocess
import threading


class LocalServer:
    """`with LocalServer("./tawny", "model.gguf") as server:` runs `tawny serve` and stops it at the end. `said` is what
    it wrote to stderr, a list of lines."""

    def __init__(self, tawny, model, *options, env=None):
        self.process = subprocess.Popen([tawny, "serve", model, "--port", "0", "--cache-disk", "0", *options],
                                        stderr=subprocess.PIPE, text=True, env=env)
        self.said = []
        for line in self.process.stderr:
            self.said.append(line)
            if "http://" in line:
                self.port = int(line.split("http://", 1)[1].split("/")[0].split()[0].rsplit(":", 1)[1])
                # A pipe that nobody empties would stop the server at its 64 KiB.
                threading.Thread(target=self.said.extend, args=(self.process.stderr,), daemon=True).start()
                return
        self.process.wait()
        raise SystemExit("tawny serve did not start:\n" + "".join(self.said))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=60)

    def chat(self, body, on_text=lambda text: None):
        """One streamed chat completion. Calls on_text with every piece of content and of calls as it comes; returns
        (content, tool calls, usage)."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=300)
        request = {"model": "demo", "temperature": 0, **body, "stream": True,
                   "stream_options": {"include_usage": True}}
        connection.request("POST", "/v1/chat/completions", json.dumps(request),
                           {"Content-Type": "application/json"})
        reply = connection.getresponse()
        if reply.status != 200:
            raise RuntimeError(f"the server answered {reply.status}: {reply.read().decode()}")
        content, calls, usage = "", [], {}
        for line in reply:
            line = line.decode().strip()
            if not line.startswith("data: ") or line == "data: [DONE]":
                continue
            event = json.loads(line[6:])
            usage = event.get("usage") or usage
            for choice in event.get("choices", []):
                delta = choice.get("delta", {})
                if delta.get("content"):
                    on_text(delta["content"])
                    content += delta["content"]
                for part in delta.get("tool_calls", []):
                    add_call_part(calls, part, on_text)
        connection.close()
        return content, calls, usage


def add_call_part(calls, part, on_text):
    """Joins one element of delta.tool_calls to the calls so far, in OpenAI's shape."""
    function = part.get("function", {})
    if part["index"] == len(calls):
        calls.append({"id": part["id"], "type": "function",
                      "function": {"name": function["name"], "arguments": ""}})
        on_text(f"  call    {function['name']} ")
    fragment = function.get("arguments") or ""
    calls[part["index"]]["function"]["arguments"] += fragment
    on_text(fragment)


def devices(tawny):
    """What `tawny devices` lists, as dictionaries; none without Vulkan."""
    listed = subprocess.run([tawny, "devices", "--json"], capture_output=True, text=True, check=False).stdout
    return json.loads(listed) if listed.strip() else []


def choose_device(tawny, part=""):
    """The first device whose name has this part, or whose number it is, no software where there is another; None: there is none."""
    found = [device for device in devices(tawny) if part.lower() in device["name"].lower() or part == str(device["index"])]
    return min(found, key=lambda device: device["software"], default=None)
