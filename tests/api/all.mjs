// All tests of the HTTP interface, with the real openai and Anthropic clients. tests/api/run starts this.
import './chat.mjs';
import './tools.mjs';
import './shapes.mjs';
import './responses.mjs';
import './ollama.mjs';
import './messages.mjs';
import './errors.mjs';
import './abort.mjs';
import './retry.mjs';
import './restart.mjs';
import './loading.mjs';
