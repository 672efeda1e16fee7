// Ollama's API with the official ollama client, and the endpoints of llama-server.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Ollama } from 'ollama';
import { Server, user } from './server.mjs';

let server, client;
before(async () => {
  server = await Server.start('-c', '4096');
  client = new Ollama({ host: server.url });
});

const path = { type: 'string', description: 'Path of the file' };
const tool = (name, description, properties) => ({
  type: 'function', function: { name, description, parameters: { type: 'object', properties, required: Object.keys(properties) } },
});
const tools = [
  tool('write_file', 'Create a file or replace its content.', { path, content: { type: 'string', description: 'Text to write' } }),
  tool('read_file', 'Return the content of a file.', { path }),
];
const greedy = { model: 'tawny-demo', options: { temperature: 0 } };

test('a chat at once and its streamed twin have the same text', async () => {
  const about = { ...greedy, messages: user('What is tawny?') };
  const whole = await client.chat(about);
  assert.match(whole.message.content, /tawny/);
  assert.equal(whole.done_reason, 'stop');
  assert.ok(whole.total_duration >= whole.eval_duration && whole.eval_count > 0 && whole.prompt_eval_count > 0);
  let text = '', last;
  for await (const part of await client.chat({ ...about, stream: true })) {
    text += part.message.content;
    last = part;
  }
  assert.equal(text, whole.message.content);
  assert.ok(last.done);
  assert.equal(last.eval_count, whole.eval_count);
});

test('a tool is called with an object, and its result is answered', async () => {
  const messages = user('What is in notes.txt?');
  const { message } = await client.chat({ ...greedy, messages, tools });
  assert.deepEqual(message.tool_calls[0].function.arguments, { path: 'notes.txt' });
  const calls = [];
  for await (const part of await client.chat({ ...greedy, messages, tools, stream: true })) calls.push(...part.message.tool_calls ?? []);
  assert.deepEqual(calls[0].function, message.tool_calls[0].function);
  messages.push({ role: 'assistant', content: '', tool_calls: [{ function: { name: 'read_file', arguments: { path: 'notes.txt' } } }] },
    { role: 'tool', tool_name: 'read_file', content: 'seven owls' });
  const answer = await client.chat({ ...greedy, messages, tools });
  assert.match(answer.message.content, /seven owls/);
});

test('format holds replies to JSON and to a schema', async () => {
  const format = { type: 'object', properties: { bird: { enum: ['owl', 'crow'] } }, required: ['bird'], additionalProperties: false };
  const shaped = await client.chat({ ...greedy, messages: user('Name a bird.'), format });
  assert.ok(['owl', 'crow'].includes(JSON.parse(shaped.message.content).bird));
  const generated = await client.generate({ ...greedy, prompt: 'Name a bird.', format: 'json', options: { temperature: 0, num_predict: 300 } });
  if (generated.done_reason === 'stop') assert.equal(typeof JSON.parse(generated.response), 'object');
});

test('options limit a reply', async () => {
  const cut = await client.generate({ model: 'tawny-demo', prompt: 'What is tawny?', options: { temperature: 0, num_predict: 3 } });
  assert.equal(cut.done_reason, 'length');
  assert.equal(cut.eval_count, 3);
  const stopped = await client.generate({ model: 'tawny-demo', prompt: 'What is tawny?', options: { temperature: 0, stop: ['one'] } });
  assert.ok(!stopped.response.includes('one'));
});

test('the model is listed, shown, running and loaded', async () => {
  const { models: [listed] } = await client.list();
  assert.equal(listed.name, 'tawny-demo');
  const shown = await client.show({ model: listed.name });
  assert.equal(shown.model_info[`${shown.model_info['general.architecture']}.context_length`], 4096);
  assert.ok(shown.capabilities.includes('tools'));
  const { models: [running] } = await client.ps();
  assert.equal(running.digest, listed.digest);
  assert.match((await client.version()).version, /^\d+\.\d+\.\d+$/);
  assert.equal((await client.generate({ model: listed.name, prompt: '' })).done_reason, 'load');
});

test('errors have a status and a message', async () => {
  await assert.rejects(client.show({ model: 'other' }), (error) => error.status_code === 404 && /other/.test(error.message));
  await assert.rejects(client.chat({ ...greedy, messages: user('owl '.repeat(9000)) }), (error) => error.status_code === 400 && /prompt is too long/.test(error.message));
});

test('abort ends a stream, and the server goes on', async () => {
  const stream = await client.chat({ ...greedy, messages: user('owl '.repeat(1200)), stream: true });
  const lines = server.lines.length;
  setTimeout(() => client.abort(), 50);
  await assert.rejects(async () => { for await (const part of stream) assert.equal(part.done, false); }, { name: 'AbortError' });
  await server.log(/the client went away/, lines);
  assert.ok((await client.chat({ ...greedy, messages: user('hi') })).done);
});

test('metrics are in the format of Prometheus', async () => {
  const text = await (await fetch(`${server.url}/metrics`)).text();
  for (const line of text.trimEnd().split('\n'))
    assert.match(line, /^(# (HELP|TYPE) [a-z_:]+ .+|[a-zA-Z_:]+(\{[a-z]+="[^"]+"\})? [0-9.e+-]+)$/);
  assert.match(text, /^llamacpp:prompt_tokens_total [1-9]/m);
});

test('the server of the ollama tests ends cleanly', () => server.stop());
