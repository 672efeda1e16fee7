// Tool calls in both directions, with the calls that the demo model knows (docs/demo-model.md).
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Server, user } from './server.mjs';

let server, client;
before(async () => {
  server = await Server.start();
  client = server.client();
});

const tool = (name, description, properties) => ({
  type: 'function',
  function: { name, description, parameters: { type: 'object', properties, required: Object.keys(properties) } },
});
const path = { type: 'string', description: 'Path of the file' };
const tools = [
  tool('write_file', 'Create a file or replace its content.', { path, content: { type: 'string', description: 'Text to write' } }),
  tool('read_file', 'Return the content of a file.', { path }),
];
const request = { model: 'demo', temperature: 0, max_tokens: 200, tools, messages: user('Create notes.txt containing: the owl flies') };

const isWrite = (call) => {
  assert.equal(call.type, 'function');
  assert.match(call.id, /^call_/);
  assert.equal(call.function.name, 'write_file');
  assert.deepEqual(JSON.parse(call.function.arguments), { path: 'notes.txt', content: 'the owl flies' });
};

test('a call comes as message.tool_calls', async () => {
  const { choices: [choice] } = await client.chat.completions.create(request);
  assert.equal(choice.finish_reason, 'tool_calls');
  assert.equal(choice.message.tool_calls.length, 1);
  isWrite(choice.message.tool_calls[0]);
});

test('a streamed call has its id and name once and its arguments in pieces', async () => {
  const deltas = [];
  let finish;
  for await (const chunk of await client.chat.completions.create({ ...request, stream: true })) {
    deltas.push(...(chunk.choices[0].delta.tool_calls ?? []));
    finish = chunk.choices[0].finish_reason ?? finish;
    assert.ok(!chunk.choices[0].delta.content?.includes('<'), 'markup of the call in the content');
  }
  assert.equal(finish, 'tool_calls');
  assert.ok(deltas.every((d) => d.index === 0));
  assert.equal(deltas.filter((d) => d.id).length, 1);
  assert.equal(deltas.filter((d) => d.function.name).length, 1);
  const joined = deltas.map((d) => d.function.arguments ?? '').join('');
  assert.deepEqual(JSON.parse(joined), { path: 'notes.txt', content: 'the owl flies' });
  assert.ok(deltas.length > 3, 'the arguments came in one piece');
});

test("the client's own tool loop gets from request to answer", async () => {
  const written = [];
  const runner = client.chat.completions.runTools({
    ...request,
    stream: true,
    tools: tools.map((t) => ({ ...t, function: { ...t.function, parse: JSON.parse, function: (args) => {
      written.push(args);
      return `wrote ${args.content.length} bytes to ${args.path}`;
    } } })),
  });
  const answer = await runner.finalContent();
  assert.deepEqual(written, [{ path: 'notes.txt', content: 'the owl flies' }]);
  assert.ok(answer.length > 0);
  assert.equal(runner.messages.at(-2).role, 'tool');
});

test('a result is read from the conversation', async () => {
  const first = (await client.chat.completions.create(
    { ...request, messages: user('What is in notes.txt?') })).choices[0].message;
  assert.equal(first.tool_calls[0].function.name, 'read_file');
  const messages = [...user('What is in notes.txt?'), first,
    { role: 'tool', tool_call_id: first.tool_calls[0].id, content: 'seven owls' }];
  const second = await client.chat.completions.create({ ...request, messages });
  assert.equal(second.choices[0].finish_reason, 'stop');
  assert.match(second.choices[0].message.content, /seven owls/);
  assert.ok(second.usage.prompt_tokens_details.cached_tokens > 0);
});

test('tool_choice none offers no tools', async () => {
  const reply = await client.chat.completions.create({ ...request, tool_choice: 'none' });
  assert.equal(reply.choices[0].message.tool_calls, undefined);
  assert.notEqual(reply.choices[0].finish_reason, 'tool_calls');
});

test('a required call comes whatever was asked', async () => {
  const reply = await client.chat.completions.create(
    { ...request, messages: user('What is tawny?'), tool_choice: 'required', parallel_tool_calls: false });
  assert.equal(reply.choices[0].finish_reason, 'tool_calls');
  assert.equal(reply.choices[0].message.tool_calls.length, 1);
});

test('a named function is called, and no other', async () => {
  const named = (name, text) => client.chat.completions.create(
    { ...request, messages: user(text), max_tokens: 100, tool_choice: { type: 'function', function: { name } } });
  const [read] = (await named('read_file', 'What is in notes.txt?')).choices[0].message.tool_calls;
  assert.equal(read.function.name, 'read_file');
  assert.deepEqual(Object.keys(JSON.parse(read.function.arguments)), ['path']);
  const [other] = (await named('write_file', 'What is in notes.txt?')).choices[0].message.tool_calls;
  assert.equal(other.function.name, 'write_file');
});

test('parallel_tool_calls false ends after one call', async () => {
  const reply = await client.chat.completions.create({ ...request, parallel_tool_calls: false });
  assert.equal(reply.choices[0].message.tool_calls.length, 1);
  isWrite(reply.choices[0].message.tool_calls[0]);
  assert.equal(reply.choices[0].finish_reason, 'tool_calls');
});

test('a call that max_tokens cuts off ends with length', async () => {
  for (const parallel_tool_calls of [true, false]) {
    const { choices: [choice] } = await client.chat.completions.create({ ...request, max_tokens: 24, parallel_tool_calls });
    assert.equal(choice.finish_reason, 'length');
    assert.throws(() => JSON.parse(choice.message.tool_calls[0].function.arguments));
  }
});

test('the server of the tools tests ends cleanly', () => server.stop());
