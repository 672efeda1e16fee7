"""How people ask. {p} path, {d} folder, {q} quoted content, {w} plain words inside the
sentence, {c} content up to the end of the message, {b} a block after the sentence."""

POLITE = ["please ", "Please ", "could you ", "can you ", "would you ", "hey, ", "ok, ", "now ", "ok now ",
          "I need you to ", "I want you to ", "go ahead and ", "kindly ", "next, ", "then ", "also ", "Could you please ",
          "can you please ", "I'd like you to ", "let's ", "hi! ", "hello, ", "your task: ", "quick one: ", "just "]
AFTER = [" please", " for me", ", please", ", thanks", " now", " thanks", ", will you", " right away", " if you can", " pls"]

WRITE_END = [  # the content comes last
    "create {p} containing {c}", "create a file {p} containing {c}", "create {p} with {c}", "create {p} with the text {c}",
    "create {p} with the content {c}", "create a file called {p} with the text {c}", "create a file named {p} with the content {c}",
    "create a new file {p} that says {c}", "create {p} which contains {c}", "make {p} containing {c}", "make a file {p} with {c}",
    "make a file called {p} with the text {c}", "make a new file {p} with content {c}", "make {p} say {c}", "make a file named {p} that contains {c}",
    "write {p} with {c}", "write a file {p} containing {c}", "write a file called {p} with the text {c}", "write {p} with content {c}",
    "write to {p}: {c}", "write into {p}: {c}", "write this to {p}: {c}", "write the following to {p}: {c}", "write this text to {p}: {c}",
    "save this to {p}: {c}", "save this as {p}: {c}", "save the following as {p}: {c}", "save to {p}: {c}", "save in {p}: {c}",
    "put this into {p}: {c}", "put this in {p}: {c}", "put the following in {p}: {c}", "put in {p}: {c}", "store this in {p}: {c}",
    "new file {p}: {c}", "new file {p} with {c}", "file {p} with content {c}", "add a file {p} containing {c}", "add a file {p} with the text {c}",
    "add {p} with content {c}", "generate {p} with the content {c}", "create {p}, content: {c}", "create {p}: {c}", "{p}: write {c}",
    "set the content of {p} to {c}", "create file {p} and write {c}", "create file {p} with text {c}", "I need a file {p} containing {c}",
    "I need a file called {p} that contains {c}", "there should be a file {p} containing {c}", "start a file {p} with the line {c}",
    "create {p} with one line: {c}", "create a text file {p} containing {c}", "create an executable file {p} containing {c}",
    "overwrite {p} with {c}", "replace the content of {p} with {c}", "fill {p} with {c}", "touch {p} and put in {c}", "echo into {p}: {c}",
    "create {p} holding {c}", "create {p} that reads {c}", "produce a file {p} with {c}", "set up {p} with {c}", "jot down in {p}: {c}",
]
WRITE_MID = [  # the content comes before the path
    "write {w} to {p}", "write {w} into {p}", "write {w} in {p}", "write {w} to a file called {p}", "write {w} to the file {p}", "write {w} to a new file {p}",
    "put {w} in {p}", "put {w} into {p}", "put {w} in a new file {p}", "put {w} in a file called {p}", "put {w} into the file {p}", "put the text {w} in {p}",
    "save {w} as {p}", "save {w} to {p}", "save {w} in {p}", "save {w} in a file named {p}", "save the text {w} as {p}", "save the text {w} to {p}",
    "store {w} in {p}", "store {w} in a file called {p}", "write the text {w} to {p}", "write the line {w} into {p}", "write the words {w} to {p}",
    "create a file with {w} named {p}", "create a file containing {w} called {p}", "make a file with the content {w} and call it {p}",
    "create a file with the text {w} and name it {p}", "echo {w} into {p}", "dump {w} into {p}", "note {w} in {p}", "record {w} in {p}",
    "place {w} in {p}", "put {w} into a file and call it {p}", "write {w} and save it as {p}", "add {w} to a new file {p}", "print {w} to {p}",
    "write down {w} in {p}", "export {w} to {p}", "I want {w} in {p}", "I want {w} saved as {p}", "have {w} written to {p}",
]
WRITE_BLOCK = [
    "create {p} with this content:{b}", "create {p} with the following content:{b}", "create {p}:{b}", "write this to {p}:{b}", "save this as {p}:{b}",
    "write {p} with these lines:{b}", "create a file {p} containing:{b}", "make a file called {p} with:{b}", "put this in {p}:{b}", "new file {p}:{b}",
    "create the file {p} with this code:{b}", "please write the following code to {p}:{b}", "here is the content for {p}, please create it:{b}",
    "store the following in {p}:{b}", "create {p} containing{b}", "I need {p} with exactly this:{b}", "write the file {p}:{b}", "create a new file called {p} with the content{b}",
]
READ = [
    "show me {p}", "show {p}", "show me the file {p}", "show me the contents of {p}", "show me the content of {p}", "show the contents of {p}", "show me what is in {p}",
    "show me what's in {p}", "read {p}", "read the file {p}", "read me {p}", "read {p} to me", "read {p} and tell me what it says", "open {p}", "open the file {p}", "open up {p}",
    "cat {p}", "print {p}", "print the file {p}", "print the contents of {p}", "display {p}", "display the content of {p}", "view {p}", "view the file {p}",
    "what is in {p}?", "what's in {p}?", "what is in the file {p}?", "what does {p} say?", "what does {p} contain?", "what does the file {p} contain?", "what's inside {p}?",
    "what is inside {p}?", "what is written in {p}?", "what are the contents of {p}?", "what's the content of {p}?", "what do we have in {p}?", "what stands in {p}?",
    "tell me what is in {p}", "tell me what {p} says", "tell me what {p} contains", "tell me the content of {p}", "give me the contents of {p}", "give me {p}", "get {p}",
    "get me the content of {p}", "let me see {p}", "let me see what's in {p}", "let me look at {p}", "look at {p}", "look into {p}", "take a look at {p}", "have a look at {p}",
    "check {p}", "check what's in {p}", "check the content of {p}", "see what is in {p}", "I want to see {p}", "I want to read {p}", "I'd like to see what {p} contains", "I need to see {p}",
    "load {p}", "dump {p}", "output {p}", "fetch the file {p}", "examine {p}", "inspect {p}", "review {p}", "{p}?", "contents of {p}", "content of {p}?", "show file {p}", "type out {p}",
    "quote {p}", "list the contents of the file {p}", "how does {p} look?", "what text is in {p}?", "more {p}", "less {p}", "read out {p}", "bring up {p}", "pull up {p}",
    "@{p}", "what does @{p} say?", "show me @{p}",
]
READ_PART = ["show me the first {n} lines of {p}", "show the first {n} lines of {p}", "read the first {n} lines of {p}", "print the first {n} lines of {p}", "head -n {n} {p}",
             "give me the first {n} lines of {p}", "what are the first {n} lines of {p}?", "let me see the first {n} lines of {p}", "the first {n} lines of {p}", "top {n} lines of {p}",
             "only the first {n} lines of {p}", "read {n} lines of {p}", "display the first {n} lines of {p}"]
LIST = [
    "list the files in {d}", "list files in {d}", "list {d}", "list the directory {d}", "list the folder {d}", "list the contents of {d}/", "list all files in {d}", "list everything in {d}",
    "list what is in the folder {d}", "list the entries of {d}", "ls {d}", "ls {d}/", "show the files in {d}", "show me the files in {d}", "show me the folder {d}", "show me what is in the directory {d}",
    "show me the directory {d}", "show me all files in {d}", "show the directory listing of {d}", "what files are in {d}?", "what files are there in {d}?", "which files are in {d}?", "which files does {d} have?",
    "which files are in the folder {d}?", "what is in the directory {d}?", "what is in the folder {d}?", "what's in the {d} folder?", "what's in the {d} directory?", "what's in {d}/?", "what is in {d}/?",
    "what does the folder {d} contain?", "what does the directory {d} contain?", "what do we have in the {d} folder?", "what is there in {d}/?", "tell me which files are in {d}", "tell me what files {d} has",
    "tell me what's in the directory {d}", "give me a list of the files in {d}", "give me the files in {d}", "give me a listing of {d}", "get the list of files in {d}", "let me see the files in {d}", "let me see what's in the folder {d}",
    "dir {d}", "display the files in {d}", "enumerate the files in {d}", "see which files are in {d}", "check which files are in {d}", "look into the directory {d}", "look what is in the folder {d}",
    "files in {d}", "files in {d}?", "browse {d}/", "name the files in {d}", "print the names of the files in {d}", "directory listing of {d}", "I want to see the files in {d}", "I need the list of files in {d}",
]
LIST_HERE = ["list the files", "list files", "ls", "show me the files", "what files are here?", "what files are there?", "list the current directory", "what is in this folder?", "what's in the current directory?",
             "show the files in the current directory", "list the files in this directory", "which files are in this project?", "what is in this directory?", "list everything here", "show me what is here",
             "list the files here", "which files do we have?", "dir", "list all files in this folder", "show me the directory"]
RUN = [
    "run `{x}`", "run {x}", "run the command {x}", "run the command `{x}`", "run this: {x}", "run this command: {x}", "run this command: `{x}`", "execute {x}", "execute `{x}`", "execute the command {x}", "execute the command `{x}`",
    "execute this: {x}", "run {x} in the shell", "run `{x}` in the terminal", "run `{x}` in bash", "what does `{x}` print?", "what is the output of `{x}`?", "what does `{x}` output?", "what does the command `{x}` say?",
    "show me the output of `{x}`", "show me what `{x}` prints", "give me the output of `{x}`", "call `{x}`", "start `{x}`", "launch `{x}`", "do `{x}`", "try `{x}`", "try running `{x}`", "invoke `{x}`", "`{x}`", "$ {x}", "!{x}",
    "run `{x}` and tell me what it prints", "run `{x}` and show me the result", "run `{x}` and report the output", "use the shell to run {x}", "use bash to run {x}", "in the terminal, run {x}", "shell: {x}", "bash: {x}",
    "I want to run {x}", "I want you to execute `{x}`", "let me see the output of `{x}`", "tell me what `{x}` prints", "tell me what happens when you run `{x}`", "what happens if you run `{x}`?", "issue the command `{x}`",
    "type `{x}` in the terminal", "perform `{x}`", "fire off `{x}`", "run: {x}", "execute: {x}", "command: {x}", "please run\n\n```\n{x}\n```", "run this for me:\n```sh\n{x}\n```", "run \"{x}\"", "execute '{x}'",
]
TEST = ["run the tests", "run tests", "run all tests", "run the test suite", "run the unit tests", "run our tests", "run the tests and tell me if they pass", "test it", "test the project", "test this project", "test everything",
        "execute the tests", "execute the test suite", "start the tests", "do the tests pass?", "do all tests pass?", "are the tests green?", "are the tests passing?", "check whether the tests pass", "check that the tests pass",
        "check if the tests still pass", "see if the tests pass", "make sure the tests pass", "verify that all tests pass", "is the test suite passing?", "let me know if the tests pass", "tell me whether the tests pass", "run the checks",
        "run a test", "run the whole test suite", "please test", "rerun the tests", "run the tests again", "run the tests once more", "try the tests", "kick off the tests", "launch the tests", "how do the tests look?", "what do the tests say?",
        "does everything pass?", "run the project's tests", "run the full test suite", "can we run the tests?", "what is the result of the tests?", "tests?", "test"]
BUILD = ["build it", "build the project", "build this", "build this project", "compile it", "compile the project", "compile the code", "compile this", "make the project", "build everything", "rebuild it", "rebuild the project", "do a build",
         "start a build", "does it build?", "does it compile?", "does the project compile?", "check that it compiles", "check if it builds", "see if it compiles", "try to build it", "try to compile it", "run the build", "run a build", "run make",
         "please compile", "can you build the code?", "make sure it builds", "verify that it builds", "kick off a build", "is the build ok?", "build the code", "build the program", "compile everything", "compile the program", "let's build", "build"]
SEARCH = ["search for {q} in {d}", "search for {s} in {d}", "search {d} for {s}", "search {d} for {q}", "find {q} in {d}", "find the text {q} in {d}", "find where {s} is used in {d}", "find all uses of {s} in {d}", "find every occurrence of {s} in {d}",
          "grep for {s} in {d}", "grep {s} {d}", "grep for {q} in {d}", "look for {s} in {d}", "look for {q} in the folder {d}", "look for the word {s} in {d}", "look for the string {q} in {d}", "where is {s} used in {d}?", "where does {s} appear in {d}?",
          "where is {q} in {d}?", "which files in {d} contain {s}?", "which files in {d} contain {q}?", "which files in {d} mention {s}?", "which lines in {d} contain {q}?", "show me all lines with {q} in {d}", "show me where {s} is in {d}", "does {s} appear anywhere in {d}?",
          "is {q} anywhere in {d}?", "search the directory {d} for {s}", "search the folder {d} for the text {q}", "scan {d} for {s}", "check {d} for {q}", "locate {s} in {d}"]
SEARCH_HERE = ["search for {q}", "search for {s}", "find {q} in the code", "find {q} in the project", "where is {s} used?", "where is {s} defined?", "where does {s} appear?", "grep for {s}", "grep for {q}", "grep {s}", "look for {s} in the code", "look for {q} in all files",
               "which files contain {s}?", "which files contain {q}?", "which files mention {s}?", "search the code for {s}", "search the project for {q}", "search all files for {s}", "find all uses of {s}", "find every occurrence of {q}", "find the text {q}",
               "show me where {s} is used", "is {s} used anywhere?", "search the codebase for {s}", "locate the string {q}", "does the code mention {s}?", "find references to {s}", "find usages of {s}"]
FIND = ["find files matching {g}", "find all files matching {g}", "find files named {g}", "find all {g} files", "find {g}", "find the files {g}", "which files match {g}?", "what files match {g}?", "locate files named {g}", "locate {g}", "glob {g}", "glob for {g}",
        "list all files that match {g}", "list the files matching {g}", "search for files named {g}", "search for files matching {g}", "look for files called {g}", "look for files matching {g}", "show me all files matching {g}", "give me all {g} files",
        "where are the {g} files?", "are there any {g} files?", "find files with the pattern {g}", "use the pattern {g} to find files", "match files against {g}", "get me all files like {g}"]
EDIT = ["replace {o} with {n} in {p}", "replace {o} by {n} in {p}", "in {p}, replace {o} with {n}", "in {p} replace {o} by {n}", "change {o} to {n} in {p}", "in {p}, change {o} to {n}", "change {o} into {n} in the file {p}", "edit {p}: replace {o} with {n}",
        "edit {p} and change {o} to {n}", "edit {p} so that {o} becomes {n}", "modify {p}: {o} should be {n}", "substitute {n} for {o} in {p}", "rename {o} to {n} in {p}", "in the file {p}, substitute {o} with {n}", "update {p}: change {o} to {n}",
        "swap {o} for {n} in {p}", "fix {p}: {o} should read {n}", "{p} says {o}, make it say {n}", "turn {o} into {n} in {p}", "correct {o} to {n} in {p}", "open {p} and replace {o} with {n}", "use {n} instead of {o} in {p}", "in {p}: {o} -> {n}"]
EDIT_ALL = ["replace all {o} with {n} in {p}", "replace every {o} by {n} in {p}", "change every {o} to {n} in {p}", "change all occurrences of {o} to {n} in {p}", "in {p}, replace all occurrences of {o} with {n}", "rename {o} to {n} everywhere in {p}", "replace {o} with {n} everywhere in {p}"]
DELETE = ["delete {p}", "delete the file {p}", "remove {p}", "remove the file {p}", "rm {p}", "erase {p}", "get rid of {p}", "get rid of the file {p}", "throw away {p}", "unlink {p}", "delete the file called {p}", "please drop {p}", "I don't need {p} any more, delete it", "we no longer need {p}, remove it",
          "trash {p}", "wipe {p}", "can {p} be deleted? do it", "clean up {p}", "destroy {p}", "delete {p} from disk", "remove {p} from the project", "{p} can go, delete it"]
MKDIR = ["create the folder {d}", "create a folder {d}", "create a directory {d}", "create the directory {d}", "create a new folder called {d}", "create a directory named {d}", "make a folder {d}", "make a directory {d}", "make a new directory called {d}", "make the directory {d}", "mkdir {d}", "mkdir -p {d}",
         "add a folder {d}", "add a directory named {d}", "new folder {d}", "new directory {d}", "I need a folder called {d}", "I need a directory {d}", "set up a folder {d}", "there should be a folder {d}, create it"]
MOVE = ["rename {p} to {t}", "rename the file {p} to {t}", "move {p} to {t}", "move the file {p} to {t}", "mv {p} {t}", "change the name of {p} to {t}", "{p} should be called {t}, rename it", "move {p} into {t}", "rename {p} as {t}", "give {p} the new name {t}", "{p} should be at {t}, move it", "relocate {p} to {t}"]

THANKS = ["thanks", "thank you", "thanks!", "great, thanks", "perfect", "nice", "cool", "good job", "well done", "great", "ok thanks", "thx", "awesome", "that's all", "that is all, thank you", "ok", "good", "thank you very much", "excellent"]
THANKS_REPLY = "You're welcome."
