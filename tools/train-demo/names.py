"""Random names and texts: file names, folders, contents, commands, patterns.

Every word and every random string belongs to one of two halves by its hash. Training uses
only one half, the held-out requests only the other, so that no name or content word of a
held-out request was ever seen in a training dialogue.
"""
import hashlib, os

CODE_EXT = ["c", "h", "py", "js", "ts", "rs", "go", "java", "cpp", "sh", "rb", "lua", "tsx", "hpp",
            "css", "html", "sql", "pl", "swift", "kt", "zig", "php"]
TEXT_EXT = ["txt", "md", "json", "yaml", "yml", "toml", "ini", "cfg", "conf", "csv", "log", "xml",
            "rst", "env", "dat", "tex", "lock", "bak", "out", "in", "mk", "cmake", "diff", "tsv"]
COMMON = ["main", "notes", "README", "test", "index", "app", "config", "utils", "hello", "todo",
          "data", "server", "client", "setup", "build", "util", "types", "parser", "lexer", "api"]
COMMON_DIRS = ["src", "lib", "docs", "tests", "include", "tools", "bin", "scripts", "assets", "app",
               "test", "examples", "config", "build", "pkg", "internal", "cmd", "data", "public"]
WHOLE = ["Makefile", "Dockerfile", "LICENSE", ".gitignore", ".env", "CMakeLists.txt", "README",
         "package.json", "Cargo.toml", "go.mod", "README.md", "AGENTS.md", ".clang-format",
         "requirements.txt", "main.c", "notes.txt", "hello.txt", "todo.md"]
PROGRAMS = ["make", "npm", "cargo", "python3", "git", "ls", "gcc", "go", "node", "echo", "cat", "grep",
            "find", "pytest", "docker", "curl", "tar", "sed", "awk", "wc", "head", "tail", "sort",
            "ninja", "cmake", "meson", "ctest", "bash", "sh", "./run.sh", "date", "df", "du", "ps",
            "uname", "whoami", "pwd", "env", "which", "pip", "mvn", "gradle", "ruby", "perl", "tawny"]
LINKING = ["the", "a", "is", "and", "of", "to", "in", "for", "with", "on", "my", "your", "this",
           "that", "are", "was", "not", "it", "we", "be", "at", "from", "new", "one", "two"]
EVERYDAY = ["hello", "hello world", "Hello, world", "Hello World", "hi", "hi there", "test", "this is a test", "foo", "bar",
            "foo bar", "buy milk", "milk, eggs and bread", "hello there", "abc", "1 2 3", "ok", "done", "one two three",
            "some text", "my notes", "meeting at 10", "the quick brown fox", "lorem ipsum", "hello tawny", "good morning"]
OTHERS = ["日本語", "你好", "привет", "мир", "αβγ", "🚀", "🙂", "→", "—", "…", "€", "✓", "😀", "한국", "ñandú",
          "naïve", "café", "Grüße", "élan", "Ω", "½", "°C"]


def held_out(text):
    return hashlib.md5(text.lower().encode()).digest()[0] % 8 == 0


class Names:
    """text(size) gives a stretch of the corpus."""

    def __init__(self, rng, words, text, test=False):
        self.r, self.text, self.test = rng, text, test
        self.words = [w for w in words if held_out(w) == test]

    # -- pieces ---------------------------------------------------------------------------
    def word(self):
        return self.r.choice(self.words)

    def letters(self, low=3, high=9):
        """A random letter string, pronounceable or not."""
        r = self.r
        while True:
            n = r.randint(low, high)
            if r.random() < .5:
                s = "".join(r.choice("bcdfghjklmnpqrstvwxz" if (i + n) % 2 else "aeiouy")
                            for i in range(n))
            else:
                s = "".join(r.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(n))
            if r.random() < .08:  # runs of one letter are hard to copy
                i = r.randrange(n)
                s = s[:i] + s[i] * r.randint(1, 4) + s[i:]
            if held_out(s) == self.test:
                return s

    def atom(self):
        r, x = self.r, self.r.random()
        if x < .62:
            return self.word()
        if x < .92 or self.test:
            return self.letters()
        return r.choice(COMMON)

    def ident(self):
        """One to three atoms in some naming style, sometimes with digits."""
        r = self.r
        parts = [self.atom() for _ in range(r.choices((1, 2, 3), (58, 34, 8))[0])]
        style = r.random()
        if len(parts) > 1 or style > .9:
            if style < .3:
                s = "_".join(parts)
            elif style < .6:
                s = "-".join(parts)
            elif style < .75:
                s = parts[0] + "".join(p.capitalize() for p in parts[1:])
            elif style < .85:
                s = ".".join(parts)
            else:
                s = "".join(p.capitalize() for p in parts)
        else:
            s = parts[0]
            if style < .05:
                s = s.upper()
        if r.random() < .16:
            s += r.choice(["", "", "_", "-"]) + str(r.choice([r.randint(0, 9), r.randint(10, 99),
                                                          r.randint(100, 9999)]))
        return s

    # -- paths ----------------------------------------------------------------------------
    def file_name(self):
        r = self.r
        if not self.test and r.random() < .08:
            return r.choice(WHOLE)
        ext = r.choice(CODE_EXT if r.random() < .45 else TEXT_EXT)
        x = r.random()
        if x < .04:
            return self.ident()
        if x < .07:
            return "." + self.atom() + r.choice(["rc", "", ".json", ".yml"])
        if x < .10:
            return self.ident() + r.choice([".test.", ".min.", ".d.", ".spec."]) + ext
        if x < .13:
            ext = self.letters(2, 4)
        return self.ident() + "." + ext

    def folder(self, deep=True):
        r = self.r
        n = r.choices((1, 2, 3), (60, 28, 12))[0] if deep else 1
        parts = [r.choice(COMMON_DIRS) if not self.test and r.random() < .3 else self.ident()
                 for _ in range(n)]
        if self.test and r.random() < .3:
            parts.insert(0, r.choice(COMMON_DIRS))
        x, path = r.random(), "/".join(parts)
        if x < .06:
            return "/" + r.choice(["home/user/", "tmp/", "var/", "opt/", "srv/", "work/", "etc/"]) + path
        if x < .10:
            return "./" + path
        if x < .12:
            return "../" + path
        return path

    def path(self):
        x = self.r.random()
        if x < .62:
            return self.file_name()
        return self.folder() + "/" + self.file_name()

    # -- contents -------------------------------------------------------------------------
    def text_word(self):
        """A word of a text: mostly from our half, sometimes a linking word."""
        r, x = self.r, self.r.random()
        if x < .30:
            return r.choice(LINKING)
        if x < .84:
            return self.word()
        if x < .92:
            return self.letters()
        if x < .96:
            return str(r.randint(0, 10 ** r.randint(1, 5)))
        if x < .975:
            return self.word().capitalize()
        if x < .985 and not self.test:
            return r.choice(OTHERS)
        return self.ident()

    def plain(self, low=1, high=7):
        """Words and single spaces, no quotes: safe without any marks around it."""
        r = self.r
        if not self.test and r.random() < .06:
            return r.choice(EVERYDAY)
        n = r.randint(low, high)
        words = [self.text_word() for _ in range(n)]
        if not any(w not in LINKING for w in words):
            words[-1] = self.word()
        if r.random() < .25:
            words[0] = words[0].capitalize()
        s = words[0]
        for w in words[1:]:
            s += (", " if r.random() < .06 else ": " if r.random() < .02 else " ") + w
        return s

    def sentence(self):
        s = self.plain(2, 9)
        if self.r.random() < .8:
            s = s[0].upper() + s[1:]
        return s + self.r.choices((".", "!", "?", "", "..."), (55, 15, 8, 18, 4))[0]

    def code_line(self):
        r, a, b = self.r, self.ident().replace("-", "_").replace(".", "_"), self.atom()
        n = r.randint(0, 999)
        return r.choice([
            f"print('{self.plain(1, 3)}')", f'print("{self.plain(1, 3)}")', f"int {a} = {n};",
            f"#define {a.upper()} {n}", f"let {a} = {n};", f"const {a} = '{b}';", f"import {b}",
            f"{a}={n}", f"{a}: {b}", f"{a} = {b}({n})", f"echo {b}", f'console.log("{b}");',
            f"return {a};", f"#include <{b}.h>", f'#include "{b}.h"', f"{a}({b}, {n});",
            f"x = {a} + {n}", f"def {a}({b}): return {n}", f"int main(void) {{ return {n}; }}",
            f"# {self.plain(1, 4)}", f"// {self.plain(1, 4)}", f'{{"{a}": {n}}}', f'{{"{a}": "{b}"}}',
            f"<p>{self.plain(1, 3)}</p>", f"- {self.plain(1, 4)}", f"export {a.upper()}={b}",
            f"SELECT {b} FROM {a};", f"if ({a} > {n}) {{ {b}(); }}", f"{a}[{n % 10}] = '{b}'",
            f"[{b}]", f"{n},{b},{n // 2}", f"fn {a}() -> i32 {{ {n} }}", f"@{b} {a}", f"{a} && {b}",
            f"{b}@{a}.com", f"https://{b}.org/{a}", f"${b} + ${a}", f"{a}|{b}|{n}", f"* {b} *",
        ])

    def code_block(self):
        """Two to eight lines with indentation, of no particular language."""
        r = self.r
        a, b, c = (self.letters() if r.random() < .3 else self.word() for _ in range(3))
        n = r.randint(0, 500)
        shape = r.random()
        if shape < .15:
            lines = [f"def {a}({b}):", f"    return {b} {r.choice('+-*')} {n}", "", f"print({a}({n % 7}))"]
        elif shape < .3:
            lines = [f"#include <{r.choice(['stdio', 'stdlib', 'string', b])}.h>", "",
                     f"int {a}(int {c})", "{", f"    return {c} * {n};", "}"]
        elif shape < .42:
            lines = ["{", f'  "{a}": "{b}",', f'  "{c}": {n}', "}"]
        elif shape < .52:
            lines = [f"[{a}]", f"{b} = {n}", f"{c} = {self.plain(1, 2)}"]
        elif shape < .62:
            lines = ["#!/bin/sh", f"echo {self.plain(1, 3)}", f"{r.choice(PROGRAMS[:12])} {a}"]
        else:
            lines = [("    " * r.choice((0, 0, 0, 1, 1, 2))) + (self.code_line() if r.random() < .5
                     else self.sentence()) for _ in range(r.randint(2, 7))]
            lines[0] = lines[0].strip()
            if r.random() < .25:
                lines.insert(r.randint(1, len(lines) - 1), "")
        return "\n".join(lines)

    def excerpt(self):
        """Some whole lines of real text or code, as a tool may return them."""
        lines = self.text(self.r.randint(200, 1500)).split("\n")[1:-1][:self.r.randint(1, 30)]
        return "\n".join(lines).strip("\n") or self.sentence()

    def number(self):
        r = self.r
        return r.choice([str(r.randint(0, 99999)), f"{r.randint(0, 99)}.{r.randint(0, 99)}",
                         f"{r.randint(1, 20)} {self.word()}", f"-{r.randint(1, 50)}"])

    # -- commands and patterns ------------------------------------------------------------
    def command(self):
        r = self.r
        p, x = r.choice(PROGRAMS), r.random()
        if x < .12:
            return p
        if x < .3:
            return f"{p} {self.atom()}"
        if x < .42:
            return f"{p} -{r.choice('abcdefhlnrstvx')} {self.path()}"
        if x < .52:
            return f"{p} --{self.word()}={r.choice([self.atom(), str(r.randint(0, 99))])}"
        if x < .62:
            return f"{p} {self.word()} --{self.word()} {self.path()}"
        if x < .70:
            return f"./{self.ident()}.sh {self.atom()}"
        if x < .76:
            return f"{p} {self.path()} | {r.choice(['wc -l', 'sort', 'head -n 5', 'uniq', 'tail -3'])}"
        if x < .82:
            return f"{p} {self.atom()} && {r.choice(PROGRAMS)} {self.atom()}"
        if x < .88:
            return f"python3 {self.path()}"
        if x < .94:
            return f"echo {r.choice([self.plain(1, 3), chr(34) + self.plain(1, 3) + chr(34)])}"
        return f"{p} {self.path()} {self.path()}"

    def pattern(self):
        r, x = self.r, self.r.random()
        if x < .6:
            return self.ident()
        if x < .75:
            return self.plain(2, 3)
        if x < .85:
            return self.ident().replace("-", "_") + "("
        return r.choice(["TODO", "FIXME", "int main", "return", "malloc"]) if not self.test \
            else self.ident().upper()

    def glob(self):
        r = self.r
        ext = r.choice(CODE_EXT + TEXT_EXT)
        return r.choice([f"*.{ext}", f"**/*.{ext}", f"{self.atom()}*", f"*{self.atom()}*.{ext}",
                         f"{self.atom()}/**/*.{ext}", self.file_name()])


def load_words(folder):
    with open(os.path.join(folder, "words.txt")) as f:
        return f.read().split()
