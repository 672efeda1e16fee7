"""What the demo model knows: questions about tawny and their answers.

Each entry is (answer, [questions]). Questions are varied further when a dialogue is built."""

FACTS = [
 ("tawny is one C program that runs mixture-of-experts GGUF models on your own machine and serves them to coding agents. It has its own engine.",
  ["what is tawny?", "what's tawny?", "what is this program?", "what does tawny do?", "tell me about tawny", "explain tawny", "describe tawny", "what is tawny for?", "what can tawny do?", "what is the purpose of tawny?",
   "tawny?", "what kind of program is tawny?", "can you explain what tawny is?", "give me a short description of tawny", "what do I use tawny for?", "I just found tawny, what is it?", "what is this tool?", "introduce tawny", "summarize tawny in one sentence", "what exactly is tawny?", "what sort of software is tawny?", "what is it?", "what is this?", "what is this thing?", "in one sentence, what is tawny?", "tell me something about this program", "what does this program do?", "what does the tool do?", "describe this software", "what did I just install?", "give me a summary of tawny", "what is tawny about?", "what is this project about?", "what is this project?", "what is the idea of tawny?", "define tawny", "tell me what tawny is", "what would you say tawny is?", "I have never heard of tawny"]),
 ("tawny is for people who want to run large mixture-of-experts models on their own machine and use them from coding agents such as Claude Code, OpenCode, Codex, Qwen Code or pi.",
  ["who is tawny for?", "who should use tawny?", "for whom is tawny made?", "who uses tawny?", "who needs tawny?", "what is the target audience of tawny?", "is tawny for me?", "whom is it for?", "why would I use tawny?", "why should I use tawny?"]),
 ("tawny is named after the tawny owl, Strix aluco.",
  ["what does the name mean?", "what does the name tawny mean?", "why is it called tawny?", "where does the name tawny come from?", "why the name tawny?", "what does tawny mean?", "is tawny an owl?", "what is Strix aluco?", "what has tawny to do with owls?", "why an owl?", "explain the name tawny",
   "what animal is tawny named after?", "what is the origin of the name tawny?", "how did tawny get its name?", "who or what is tawny named after?", "is it named after a bird?", "is tawny a bird?", "what bird is tawny?", "has the name to do with a bird?", "an owl?", "why owl?", "what is the story behind the name?", "where did they get the name from?", "what does it stand for?", "does the name have a meaning?", "what is a tawny owl?", "is it a bird?", "is tawny the name of a bird?", "isn't tawny a bird?", "is that a kind of owl?", "is tawny an animal?", "which animal is it?", "what sort of animal is a tawny?", "do you have anything to do with birds?"]),
 ("I am the tawny demo model, a very small language model that comes with tawny. I answer questions about tawny and turn simple requests about files and commands into tool calls.",
  ["who are you?", "what are you?", "who am I talking to?", "what model are you?", "which model is this?", "what is your name?", "introduce yourself", "tell me about yourself", "are you an AI?", "are you ChatGPT?", "are you Claude?", "are you Qwen?", "what's your name?", "which model are you?",
   "are you a language model?", "what is the demo model?", "who made you?", "what kind of model are you?", "are you human?", "are you a bot?", "what is tawny demo?", "are you a real model?"]),
 ("I can answer short questions about tawny, create, show, edit and list files, search in them and run commands with the tools that I am given. I am small, so I do not know much else.",
  ["what can you do?", "how can you help me?", "what are your abilities?", "what can I ask you?", "help", "help me", "what are you good at?", "what do you know?", "what are you able to do?", "what tasks can you do?", "can you help me?", "how can you help?", "what should I ask you?", "what can this model do?",
   "what can the demo model do?", "list your capabilities", "what are your skills?", "give me some examples of what you can do", "what can you do for us?", "what could you do?", "how are you useful?", "what are you here for?", "what may I ask?", "what do you offer?", "what things can you help with?", "what is your job?", "what is your purpose?", "what are you for?", "how do I use you?"]),
 ("I am tiny: about 22 million weights. I know only tawny and simple file and command requests, I cannot write programs or reason, and I make mistakes. For real work load a larger model.",
  ["what can you not do?", "what are your limits?", "how good are you?", "are you smart?", "how big are you?", "how many parameters do you have?", "can you write code?", "can you program?", "what are your limitations?", "are you a good model?", "can I use you for real work?", "how large is the demo model?",
   "what can the demo model not do?", "are you as good as a big model?", "why are you so small?", "how many weights do you have?", "is the demo model useful for real work?"]),
 ("`tawny run [MODEL] [PROMPT]` starts a chat with a model in the terminal. With a prompt it answers once and exits.",
  ["what does tawny run do?", "what is tawny run?", "how do I chat with a model?", "how do I start a chat?", "how do I run a model?", "how can I talk to a model?", "what does the run command do?", "how do I use tawny run?", "explain tawny run", "how do I ask one question from the shell?",
   "how do I get a one shot answer?", "which command starts a chat?", "how do I use tawny in the terminal?", "how do I chat?", "how do I give tawny a prompt on the command line?", "can I chat in the terminal?", "usage of tawny run?", "what is `tawny run` for?", "how do I run tawny?", "how to run a model with tawny?"]),
 ("`tawny serve [MODEL]` starts an OpenAI-compatible server on the loopback interface, by default at http://127.0.0.1:8383.",
  ["what does tawny serve do?", "what is tawny serve?", "how do I start the server?", "how do I serve a model?", "how do I start the API?", "how can I use tawny from an agent?", "which command starts the server?", "explain tawny serve", "what does the serve command do?", "how do I run the server?", "how do I run tawny as a server?",
   "is there an OpenAI-compatible API?", "does tawny have an API?", "does tawny have a server?", "how do I use tawny serve?", "how do I connect a coding agent?", "what is `tawny serve` for?", "usage of tawny serve?", "how do I start an OpenAI compatible endpoint?", "can tawny serve models?", "how to start the tawny server?"]),
 ("The server listens on http://127.0.0.1:8383 by default. Choose another port with --port.",
  ["which port does tawny use?", "what port does the server use?", "what is the default port?", "what is the address of the server?", "what is the default address?", "where does the server listen?", "what URL do I use?", "what is the base URL?", "on which port does it listen?", "how do I change the port?", "how do I set the port?",
   "can I use another port?", "how do I run the server on port 9000?", "what is --port?", "what does --port do?", "port 8383 is in use, what now?", "which option sets the port?", "what is 8383?", "how do I use a different port?", "which URL does tawny serve use?", "on which port is the server?", "which port is the default one?", "what port is it on?", "port?", "what is the port?", "where can I reach the server?", "is 8383 the port?", "where is the server?", "which host and port?", "to which address do I connect?"]),
 ("Start the server with --api-key KEY. Clients must then send this key with each request.",
  ["how do I set an api key?", "how do I protect the server?", "what does --api-key do?", "what is --api-key?", "does the server need an api key?", "can I use an API key?", "how do I require a key?", "which option sets the api key?", "how do I set a password for the server?", "is there authentication?", "how do I secure the server?",
   "what api key should I use?", "how can I add a key to the API?"]),
 ("`tawny show MODEL` prints what is in a model file: its metadata, its tensors, the memory plan and the bytes that one token reads.",
  ["what does tawny show do?", "what is tawny show?", "how do I see what is in a GGUF file?", "how do I inspect a model?", "how do I see the metadata of a model?", "how much memory does a model need?", "how do I list the tensors?", "which command shows the metadata?", "explain tawny show", "what does the show command do?", "how do I see the tensors of a model?",
   "how do I find out the bytes per token?", "how do I look into a model file?", "usage of tawny show?", "what is `tawny show` for?", "how can I see the memory plan?", "how do I print model information?", "how to inspect a gguf with tawny?"]),
 ("`tawny bench` measures the speed of a model: how fast it reads a prompt and how fast it writes tokens, much like llama-bench.",
  ["what does tawny bench do?", "what is tawny bench?", "how do I measure the speed?", "how do I benchmark a model?", "how fast is my model?", "which command measures speed?", "explain tawny bench", "what does the bench command do?", "how do I run a benchmark?", "is there a benchmark?", "how do I see tokens per second?", "usage of tawny bench?",
   "what is `tawny bench` for?", "is there something like llama-bench?", "how can I test the performance?", "how to benchmark with tawny?"]),
 ("`tawny quantize IN OUT TYPE` writes a smaller copy of a GGUF file with its tensors in another quant type, for example `tawny quantize in.gguf out.gguf Q4_K`.",
  ["what does tawny quantize do?", "what is tawny quantize?", "how do I quantize a model?", "how do I make a model smaller?", "how do I convert a model to Q4_K?", "which command quantizes?", "explain tawny quantize", "what does the quantize command do?", "how do I change the quant type?", "usage of tawny quantize?", "what is `tawny quantize` for?",
   "how do I compress a model?", "can tawny quantize models?", "how do I convert to Q8_0?", "how to quantize with tawny?"]),
 ("`tawny synth NAME OUT` writes a GGUF file with random weights and the shapes of a known model. It is good for measuring speed without a download.",
  ["what does tawny synth do?", "what is tawny synth?", "how do I make a random model?", "how do I make a model with random weights?", "which command makes random weights?", "explain tawny synth", "what does the synth command do?", "usage of tawny synth?", "what is `tawny synth` for?", "how can I measure speed without a download?",
   "can I test a big model without downloading it?", "how do I get a synthetic model?", "how to use tawny synth?"]),
 ("`tawny debug logits` prints the logits of a model for a given text, so that backends can be compared.",
  ["what does tawny debug logits do?", "what is tawny debug?", "how do I see the logits?", "how do I print logits?", "explain tawny debug logits", "what does the debug command do?", "what is `tawny debug logits` for?", "how do I compare backends?", "usage of tawny debug?", "how can I get the logits of a prompt?"]),
 ("The commands are: `tawny run`, `tawny serve`, `tawny show`, `tawny bench`, `tawny quantize`, `tawny synth` and `tawny debug logits`.",
  ["what commands are there?", "which commands does tawny have?", "list the commands of tawny", "what are the commands of tawny?", "what subcommands exist?", "show me all tawny commands", "which subcommands does tawny have?", "how do I use tawny?", "what can I do with tawny?", "give me an overview of the commands", "what tawny commands exist?", "list all tawny commands"]),
 ("`make demo` builds tawny and starts it with the small demo model in share/, so you can try it without a download.",
  ["what does make demo do?", "what is make demo?", "how do I try tawny?", "how do I try tawny without a download?", "how do I start the demo?", "how do I run the demo?", "is there a demo?", "explain make demo", "can I try it without downloading a model?", "how do I test tawny quickly?", "what is the quickest way to try tawny?", "how do I use the demo model?"]),
 ("`make check` builds tawny and runs its tests.",
  ["what does make check do?", "what is make check?", "how do I run the tests of tawny?", "how do I test tawny?", "explain make check", "how are the tests of tawny run?", "which make target runs the tests?", "how do I check that tawny works?", "how does one test tawny?"]),
 ("Run `make` in the source folder to build tawny. It is written in C.",
  ["how do I build tawny?", "how do I compile tawny?", "how do I install tawny?", "how is tawny built?", "what language is tawny written in?", "in which language is tawny written?", "which programming language does tawny use?", "is tawny written in C?", "how do I get tawny running?", "what do I need to build tawny?"]),
 ("There are two backends: `ref`, a plain scalar implementation that is the truth all others are compared with, and `cpu`, the fast one with SIMD and threads.",
  ["which backends are there?", "what backends does tawny have?", "what is a backend?", "what is the ref backend?", "what is the cpu backend?", "which backends exist?", "what is the difference between ref and cpu?", "what does ref mean?", "which backend is faster?", "which backend should I use?", "what is the reference backend?", "does tawny use SIMD?", "explain the backends"]),
 ("GGUF is a file format for language models. One file holds the metadata, the tokenizer and the weights.",
  ["what is GGUF?", "what's a GGUF?", "what is a GGUF file?", "explain GGUF", "what does GGUF mean?", "what file format does tawny use?", "which model format does tawny read?", "what is in a GGUF file?", "which file format do models have?", "what models can tawny load?", "what is a gguf model?"]),
 ("tawny reads the types F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, Q6_K, IQ4_NL, IQ4_XS and MXFP4.",
  ["which quant types are supported?", "what quantizations does tawny support?", "which quants does tawny read?", "does tawny support Q4_K?", "does tawny support MXFP4?", "does tawny support IQ4_NL?", "what quant types are there?", "list the supported quant types", "which tensor types does tawny know?", "does tawny support Q8_0?", "which quantization types work?",
   "supported types?", "does tawny read BF16?", "what data types does tawny support?", "which quantizations can I use?"]),
 ("The KV cache can be f16, q8_0 or q4_0. Choose it with -ctk for the keys and -ctv for the values.",
  ["which KV cache types are there?", "what KV cache types does tawny support?", "how do I set the KV cache type?", "what does -ctk do?", "what does -ctv do?", "what is -ctk?", "what are -ctk and -ctv?", "how do I quantize the KV cache?", "can the KV cache be quantized?", "how do I save memory for the cache?", "what is the KV cache type?", "how do I make the KV cache smaller?"]),
 ("The KV cache keeps the keys and values of the tokens that were already read, so that they are not computed again.",
  ["what is the KV cache?", "what is a KV cache?", "explain the KV cache", "what does the KV cache do?", "why is there a KV cache?", "what is KV?"]),
 ("tawny has the MIT licence.",
  ["what is the licence of tawny?", "what license does tawny have?", "which licence does tawny use?", "is tawny free?", "is tawny open source?", "under which license is tawny?", "can I use tawny commercially?", "what's the license?", "licence?", "what is the license?", "is tawny MIT licensed?", "may I use tawny at work?", "what does tawny cost?"]),
 ("Press Ctrl-D to quit the chat.",
  ["how do I quit?", "how do I exit?", "how do I leave the chat?", "how do I end the chat?", "how do I get out of here?", "how can I quit tawny?", "exit", "quit", "how do I close the chat?", "how do I stop tawny?", "what key quits the chat?", "how do I leave tawny run?", "how to quit?", "how to exit tawny run?"]),
 ("Press Ctrl-C to stop a reply. The chat goes on.",
  ["how do I stop a reply?", "how do I interrupt the model?", "how do I stop the answer?", "how do I stop it from writing?", "how do I cancel a reply?", "what does Ctrl-C do?", "how can I interrupt a reply?", "the answer is too long, how do I stop it?", "how do I abort an answer?", "how do I stop generation?", "what key stops a reply?"]),
 ("Set the context with -c, for example `-c 16384`. It is counted in tokens.",
  ["how do I set the context?", "how do I set the context size?", "how do I set the context length?", "what does -c do?", "what is -c?", "how do I get a longer context?", "how do I change the context size?", "which option sets the context?", "how can I make the context larger?", "the context is too small, what can I do?", "how large is the context?", "how do I limit the context?"]),
 ("A mixture-of-experts model has many expert networks in each layer, and each token uses only a few of them. So it reads fewer bytes per token than a dense model of the same size.",
  ["what is a mixture-of-experts model?", "what is a mixture of experts?", "what does MoE mean?", "what is MoE?", "explain mixture of experts", "what are experts?", "why mixture-of-experts models?", "what is an MoE model?", "what is an expert?"]),
 ("A token is a piece of text, often a word or a part of one. A model reads and writes text token by token.",
  ["what is a token?", "what are tokens?", "explain tokens", "what does token mean?", "what is a tokenizer?"]),
 ("Quantization stores the weights of a model with fewer bits. The file gets smaller and each token reads fewer bytes, at a small loss of quality.",
  ["what is quantization?", "what does quantize mean?", "explain quantization", "why quantize a model?", "what is a quant?", "what is a quantized model?", "what does quantization do?"]),
 ("tawny works with Claude Code, OpenCode, Codex, Qwen Code and pi, and with other agents that speak the OpenAI API.",
  ["which agents work with tawny?", "which coding agents does tawny support?", "does tawny work with Claude Code?", "does tawny work with OpenCode?", "can I use Codex with tawny?", "can I use tawny with Qwen Code?", "does tawny work with pi?", "which clients can I use?", "what clients does tawny support?", "does tawny work with my editor?", "which agents can use tawny?"]),
 ("Bytes per token is how much of the model must be read from memory for one token. Memory speed divided by it is the highest possible speed.",
  ["what does bytes per token mean?", "what is bytes per token?", "why does bytes per token matter?", "what limits the speed?", "why is my model slow?", "explain bytes per token", "what decides the speed of a model?"]),
 ("Logits are the scores a model gives to every possible next token.", ["what are logits?", "what is a logit?", "explain logits", "what does logits mean?"]),
 ("tawny runs on your own machine. Nothing is sent anywhere, and the server listens only on the loopback interface by default.",
  ["does tawny send my data anywhere?", "is my data safe?", "does tawny need the internet?", "does tawny work offline?", "is tawny private?", "does anything leave my machine?", "does tawny phone home?", "can others reach the server?", "is it local?", "does it run locally?"]),
 ("The demo model is share/tawny-demo.gguf. It was trained for this project and its licence is MIT.",
  ["where is the demo model?", "what is the file name of the demo model?", "what is the licence of the demo model?", "where do I find the demo model?", "which file is the demo model?", "where do you live?", "what is share/tawny-demo.gguf?", "what licence do you have?"]),
 ("docs/demo-model.md says what the demo model learnt from, what it can do and how it was made. The recipe is in tools/train-demo.",
  ["how were you trained?", "how was the demo model trained?", "what were you trained on?", "what is your training data?", "what did you learn from?", "where is the training recipe?", "can I train the demo model myself?", "what is in tools/train-demo?", "how was the demo model made?", "where can I read about the demo model?"]),
 ("Give the path of a GGUF file, for example `tawny run model.gguf`.",
  ["how do I load a model?", "how do I choose a model?", "how do I use my own model?", "how do I open a GGUF file with tawny?", "how do I select a model?", "how do I use another model?", "how do I load a larger model?", "which argument is the model?", "how do I run my own GGUF?"]),
 ("tawny runs mixture-of-experts GGUF models such as Qwen3-Coder-30B-A3B.",
  ["which models does tawny run?", "which models are supported?", "what models can I use?", "does tawny run Qwen3-Coder?", "what models does tawny support?", "which model should I use?", "what model do you recommend?", "can tawny run Qwen3?"]),
 ("Temperature decides how random the choice of the next token is. At 0 the most likely token is always taken.",
  ["what is temperature?", "what does temperature do?", "explain temperature", "what does temperature 0 mean?", "what is the temperature of a model?"]),
 ("Run `tawny --help` for the list of commands, or `tawny COMMAND --help` for one command.",
  ["how do I get help?", "is there a help text?", "where do I find help?", "how do I see the options?", "where is the documentation?", "how do I see the help of a command?", "what does --help do?", "where can I read more?", "which options are there?"]),
]

GREETINGS = ("Hello! I am the tawny demo model. Ask me about tawny, or ask me to create, show or list files.",
             ["hello", "hi", "hey", "hi there", "hello there", "good morning", "good evening", "hello!", "hi!", "yo", "hey there", "good day", "greetings", "moin", "hallo", "hi, how are you?", "how are you?", "hello, are you there?", "are you there?", "ping", "what's up?",
              "anybody there?", "good afternoon", "hey!", "howdy", "hello tawny", "hi tawny"])
BYE = ("Goodbye!", ["bye", "goodbye", "see you", "good night", "see you later", "bye bye", "bye!", "cya", "farewell", "I'm done, bye", "good bye"])

UNKNOWN = "I do not know. I am a small demo model: ask me about tawny, or about files and commands."
PLACES = ["France", "Japan", "Brazil", "Egypt", "Canada", "Norway", "Spain", "India", "Kenya", "Peru", "Austria", "Texas", "Rome", "Berlin", "London", "Mars", "Oslo", "Finland"]
PEOPLE = ["Einstein", "Shakespeare", "Napoleon", "Mozart", "Ada Lovelace", "Newton", "Plato", "Picasso", "Turing", "Goethe"]
UNRELATED = ["what is the capital of {P}?", "how many people live in {P}?", "where is {P}?", "what is the weather in {P}?", "what is the weather today?", "who was {H}?", "who is {H}?", "when was {H} born?", "what did {H} do?",
             "what is {n} times {m}?", "what is {n} + {m}?", "compute {n} divided by {m}", "how much is {n} minus {m}?", "what is the square root of {n}?", "write a poem about {w}", "write me a story about {w}", "tell me a joke", "tell me a joke about {w}",
             "what is the meaning of life?", "what is {w}?", "what is a {w}?", "explain {w}", "what does {w} mean?", "define {w}", "translate {w} to French", "how do you say {w} in German?", "who won the world cup?", "what time is it?", "what day is today?",
             "what is the best {w}?", "how do I cook {w}?", "who wrote {w}?", "do you like {w}?", "why is the sky blue?", "how old is the universe?", "what is the population of {P}?", "recommend a book about {w}", "who is the president of {P}?",
             "write a program that sorts {w}", "implement {w} in Rust", "what is quantum physics?", "how far is the moon?", "sing a song", "what is the news?", "how tall is {H}?", "what is love?", "can you draw {w}?", "solve x + {n} = {m}", "what is your favourite {w}?",
             "how does {w} work?", "what is the price of {w}?", "where can I buy {w}?", "who invented {w}?", "when was {w} invented?", "is {w} better than {v}?", "compare {w} and {v}", "tell me about {w}", "tell me about {P}", "what language do they speak in {P}?"]

ABOUT_WORDS = ["tawny", "the tawny program", "tawny"]
TAILS = [" exactly", ", please", " again", " really", ", briefly", " in simple words", " in a few words", " then", ", by the way", " at all", " here", " normally", " now", " in general", " anyway", " usually"]
LEADS = ["", "", "", "", "", "", "", "hey, ", "hi, ", "ok, ", "please tell me: ", "question: ", "so ", "and ", "I wonder, ", "one question: ", "quick question: ", "sorry, ", "tell me, ", "hello, ", "can you tell me: ", "again, ", "ah, "]


# Exchangeable words; a question is rewritten with some of them.
SWAPS = [("how do I ", ["how can I ", "how would I ", "how does one ", "how to ", "how should I ", "how could I ", "what is the way to ", "what must I do to ", "what do I type to ",
                        "tell me how to ", "explain how to ", "is there a way to ", "I want to ", "what do I have to do to ", "can you show me how to ", "how might I "]),
         ("how can I ", ["how do I ", "how to ", "what is the way to ", "tell me how to "]),
         ("what is ", ["what's ", "what exactly is ", "what in the world is ", "tell me what is ", "what might be ", "please explain: what is ", "can you tell me what is ", "do you know what is "]),
         ("what does ", ["what did ", "tell me what does ", "can you say what does ", "do you know what does "]), ("which ", ["what ", "tell me which "]), ("why is ", ["why was ", "for what reason is "]),
         ("is it called", ["did they call it", "do they call it", "was it named", "did you name it", "is its name"]), ("the name tawny", ["this name", "that name", "the name", "the project's name"]),
         ("what can you ", ["what could you ", "what are things you can ", "what kind of things can you "]), (" do?", [" do for me?", " do for us?", " do here?", " do exactly?"]),
         ("command", ["subcommand", "tawny command"]), ("option", ["flag", "switch", "argument"]), ("a model", ["my model", "the model", "models", "some model"]), ("the server", ["tawny serve", "the tawny server", "your server", "the API server"]),
         ("does tawny ", ["does it ", "does this program ", "does this tool ", "can tawny "]), ("of tawny", ["of this program", "of it", "of the tool", "of the project"]), ("start ", ["launch ", "run ", "bring up "]),
         ("stop ", ["interrupt ", "cancel ", "end "]), ("measure ", ["find out ", "check ", "test "]), ("set ", ["change ", "choose ", "configure ", "pick "]), ("smaller", ["more compact", "lighter"]),
         ("licence", ["license"]), ("explain ", ["describe ", "tell me about ", "please explain ", "say something about "]), ("called tawny", ["named tawny", "called that", "called like this"]),
         ("a reply", ["an answer", "the reply", "the output", "a long reply"]), ("the chat", ["this chat", "the conversation", "the program"]), ("the tests", ["all tests", "its tests"]), ("demo", ["demo"])]


def reword(r, q):
    for old, new in SWAPS:
        if old in q and r.random() < .35:
            q = q.replace(old, r.choice(new), 1)
    return q


def ask(r, question):
    """A question with variations of words, case, marks and spelling."""
    q = reword(r, question) if r.random() < .7 else question
    if q.endswith("?") and r.random() < .12:
        q = q[:-1] + r.choice(TAILS) + "?"
    if r.random() < .12:
        i = r.randrange(len(q))
        q = r.choice([q[:i] + q[i + 1:], q[:i] + q[i:i + 1] + q[i:], q[:i] + q[i + 1:i + 2] + q[i:i + 1] + q[i + 2:]]) or question
    q = r.choice(LEADS) + q
    x = r.random()
    if x < .5:
        q = q[0].upper() + q[1:]
    if r.random() < .2:
        q = q.rstrip("?")
    elif r.random() < .1:
        q += "?" if q.endswith("?") else "."
    return q


def unrelated(r, n):
    q = r.choice(UNRELATED)
    for key, value in (("{P}", r.choice(PLACES)), ("{H}", r.choice(PEOPLE)), ("{w}", n.word()), ("{v}", n.word()),
                       ("{n}", str(r.randint(2, 500))), ("{m}", str(r.randint(2, 500)))):
        q = q.replace(key, value)
    return ask(r, q), UNKNOWN


def question(r, n):
    """(question, answer), about tawny mostly."""
    x = r.random()
    if x < .80:
        answer, questions = r.choice(FACTS)
    elif x < .87:
        answer, questions = GREETINGS
    elif x < .90:
        answer, questions = BYE
    else:
        return unrelated(r, n)
    return ask(r, r.choice(questions)), answer
