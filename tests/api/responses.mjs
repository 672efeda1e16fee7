// The Responses API with the openai client's own accumulator, parser and errors.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import OpenAI from 'openai';
import { Server } from './server.mjs';

let server, client;
before(async () => {
  server = await Server.start('-c', '4096');
  client = server.client();
});

const path = { type: 'string', description: 'Path of the file' };
const tool = (name, description, properties) => ({
  type: 'function', name, description, strict: false,
  parameters: { type: 'object', properties, required: Object.keys(properties) },
});
const tools = [
  tool('write_file', 'Create a file or replace its content.', { path, content: { type: 'string', description: 'Text to write' } }),
  tool('read_file', 'Return the content of a file.', { path }),
];
const request = { model: 'demo', temperature: 0, input: 'Create notes.txt containing: the owl flies', tools };
const about = { model: 'demo', temperature: 0, input: 'What is tawny?' };
const written = { path: 'notes.txt', content: 'the owl flies' };

test('a response at once and its streamed twin have the same text', async () => {
  const whole = await client.responses.create(about);
  assert.equal(whole.status, 'completed');
  assert.match(whole.output_text, /tawny/);
  assert.equal(whole.usage.total_tokens, whole.usage.input_tokens + whole.usage.output_tokens);
  const types = [];
  const stream = client.responses.stream(about).on('event', (event) => types.push(event.type));
  const final = await stream.finalResponse();
  assert.equal(final.output_text, whole.output_text);
  assert.deepEqual(types.slice(0, 4),
    ['response.created', 'response.in_progress', 'response.output_item.added', 'response.content_part.added']);
  assert.deepEqual(types.slice(-4),
    ['response.output_text.done', 'response.content_part.done', 'response.output_item.done', 'response.completed']);
});

test('events are numbered, and a snapshot of them is the final response', async () => {
  let n = 0, text = '';
  for await (const event of await client.responses.create({ ...about, stream: true })) {
    assert.equal(event.sequence_number, n++);
    if (event.type === 'response.output_text.delta') text += event.delta;
    if (event.type === 'response.completed') assert.equal(event.response.output[0].content[0].text, text);
  }
});

test('a function call comes as an item, streamed and at once', async () => {
  const whole = await client.responses.create(request);
  const [call] = whole.output;
  assert.equal(call.type, 'function_call');
  assert.match(call.call_id, /^call_/);
  assert.deepEqual(JSON.parse(call.arguments), written);
  let pieces = 0, joined = '';
  const stream = client.responses.stream(request).on('response.function_call_arguments.delta', (event) => {
    pieces++;
    joined += event.delta;
    assert.equal(event.snapshot, joined);
  });
  const final = await stream.finalResponse();
  assert.equal(final.output[0].arguments, joined);
  assert.ok(pieces > 3, 'the arguments came in one piece');
});

test('the output goes back as it came and is answered, without reading it again', async () => {
  const first = await client.responses.create({ ...request, input: 'What is in notes.txt?', store: false });
  const [call] = first.output;
  assert.equal(call.name, 'read_file');
  const input = [{ role: 'user', content: 'What is in notes.txt?' }, ...first.output,
    { type: 'function_call_output', call_id: call.call_id, output: 'seven owls' }];
  const second = await client.responses.create({ ...request, input, store: false });
  assert.match(second.output_text, /seven owls/);
  const { input_tokens: read, output_tokens: wrote } = first.usage;
  assert.ok(second.usage.input_tokens_details.cached_tokens >= read + wrote - 2, 'the reply was read again');
});

test('previous_response_id goes on, and a deleted one is told', async () => {
  const first = await client.responses.create({ ...request, input: 'What is in notes.txt?' });
  const output = [{ type: 'function_call_output', call_id: first.output[0].call_id, output: 'seven owls' }];
  const next = { ...request, input: output, previous_response_id: first.id };
  const second = await client.responses.create(next);
  assert.match(second.output_text, /seven owls/);
  assert.equal((await client.responses.retrieve(first.id)).output[0].call_id, first.output[0].call_id);
  await client.responses.delete(first.id);
  await assert.rejects(client.responses.retrieve(first.id), OpenAI.NotFoundError);
  await assert.rejects(client.responses.create(next), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.equal(error.code, 'previous_response_not_found');
    return true;
  });
  await assert.rejects(client.responses.create({ ...request, input: [], previous_response_id: second.id }), OpenAI.NotFoundError);
});

test('an item reference stands for the item', async () => {
  const first = await client.responses.create({ ...request, input: 'What is in notes.txt?' });
  const [call] = first.output;
  const second = await client.responses.create({ ...request, input: [{ role: 'user', content: 'What is in notes.txt?' },
    { type: 'item_reference', id: call.id }, { type: 'function_call_output', call_id: call.call_id, output: 'seven owls' }] });
  assert.match(second.output_text, /seven owls/);
});

test('a custom tool gets raw text, in pieces and whole', async () => {
  const custom = { ...request, tools: [{ type: 'custom', name: 'note', description: 'Keeps a note.' }], tool_choice: 'required', max_output_tokens: 200 };
  let joined = '', done;
  for await (const event of await client.responses.create({ ...custom, stream: true })) {
    if (event.type === 'response.custom_tool_call_input.delta') joined += event.delta;
    if (event.type === 'response.output_item.done' && event.item.type === 'custom_tool_call') done ??= event.item;
  }
  assert.equal(done.name, 'note');
  assert.ok(done.input.length > 0 && joined.startsWith(done.input));
  const final = await client.responses.stream({ ...custom, parallel_tool_calls: false }).finalResponse();
  assert.equal(final.output.filter((item) => item.type === 'custom_tool_call').length, 1);
});

test('the text of a custom tool keeps to its Lark grammar; one that cannot be held is named', async () => {
  const patch = (definition) => ({ type: 'custom', name: 'apply_patch', description: 'Edits files.', format: { type: 'grammar', syntax: 'lark', definition } });
  const ask = (definition, more) => client.responses.create({ ...request, max_output_tokens: 300, parallel_tool_calls: false,
    tool_choice: { type: 'custom', name: 'apply_patch' }, tools: [patch(definition)], ...more });
  const lines = 'start: head ("+" /[a-z ]{1,12}/ LF)~1..3 tail\nhead: "*** Begin Patch" LF\ntail: "*** End Patch"\n%import common.LF\n';
  for (const more of [{}, { temperature: 1.5, seed: 1 }, { temperature: 1.5, seed: 2 }]) {
    const { output: [call] } = await ask(lines, more);
    assert.match(call.input, /^\*\*\* Begin Patch\n(\+[a-z ]{1,12}\n){1,3}\*\*\* End Patch$/);
  }
  const from = server.lines.length;
  assert.equal((await ask('start: "a"i')).output[0].type, 'custom_tool_call');
  await server.log(/not held while the model writes: apply_patch: its Lark grammar \(line 1: a string in any case\)/, from);
});

test('a tool in a namespace comes back with both names', async () => {
  const { output: [call] } = await client.responses.create({ ...request, tool_choice: 'required', tools: [{ type: 'namespace', name: 'files', description: 'Files.', tools }] });
  assert.equal(call.type, 'function_call');
  assert.equal(call.name, 'write_file');
  assert.equal(call.namespace, 'files');
  assert.deepEqual(JSON.parse(call.arguments), written);
});

test('tools that are not known are left out and logged', async () => {
  const from = server.lines.length;
  const reply = await client.responses.create({ ...request, tools: [...tools, { type: 'web_search' }, { type: 'local_shell' }] });
  assert.equal(reply.output[0].name, 'write_file');
  await server.log(/not offered to the model, tools of type web_search, local_shell/, from);
});

test('tool_choice is kept to', async () => {
  const none = await client.responses.create({ ...request, tool_choice: 'none' });
  assert.equal(none.output[0].type, 'message');
  const named = await client.responses.create({ ...request, tool_choice: { type: 'function', name: 'read_file' } });
  assert.equal(named.output[0].name, 'read_file');
  const allowed = await client.responses.create({ ...request, max_output_tokens: 200,
    tool_choice: { type: 'allowed_tools', mode: 'required', tools: [{ type: 'function', name: 'read_file' }] } });
  assert.equal(allowed.output[0].name, 'read_file');
});

test('text.format holds the reply to a schema', async () => {
  const schema = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'], additionalProperties: false };
  const reply = await client.responses.parse({ ...about, text: { format: { type: 'json_schema', name: 'n', strict: true, schema } }, max_output_tokens: 100 });
  assert.ok(Number.isInteger(JSON.parse(reply.output_text).n), reply.output_text);
});

test('the tokens of a prompt can be counted', async () => {
  const { object, input_tokens } = await client.responses.inputTokens.count({ model: 'demo', input: request.input, tools });
  assert.equal(object, 'response.input_tokens');
  assert.equal(input_tokens, (await client.responses.create({ ...request, max_output_tokens: 1 })).usage.input_tokens);
});

test('a limit makes it incomplete', async () => {
  const whole = await client.responses.create({ ...about, max_output_tokens: 3 });
  assert.equal(whole.status, 'incomplete');
  assert.equal(whole.incomplete_details.reason, 'max_output_tokens');
  assert.equal(whole.usage.output_tokens, 3);
  let last;
  for await (const event of await client.responses.create({ ...about, max_output_tokens: 3, stream: true })) last = event;
  assert.equal(last.type, 'response.incomplete');
});

test('errors have their classes, and a stream that cannot be says so in itself', async () => {
  await assert.rejects(client.responses.create({ model: 'demo', input: 'x', temperature: 'hot' }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, 'temperature');
    return true;
  });
  const long = { model: 'demo', input: 'owl '.repeat(5000) };
  await assert.rejects(client.responses.create(long), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.code, 'context_length_exceeded');
    return true;
  });
  const events = [];
  for await (const event of await client.responses.create({ ...long, stream: true })) events.push(event);
  assert.equal(events.at(-1).type, 'response.failed');
  assert.equal(events.at(-1).response.error.code, 'context_length_exceeded');
});

test('a client that goes away is noticed', async () => {
  const from = server.lines.length;
  const stream = await client.responses.create({ ...about, input: 'hi', ignore_eos: true, stream: true });
  for await (const event of stream) if (event.type === 'response.output_text.delta') break;
  stream.controller.abort();
  await server.log(/resp_\w+: the client went away/, from);
});

test('a body may be compressed', async () => {
  const reply = await fetch(`${server.url}/v1/responses`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' },
    body: gzipSync(JSON.stringify(about)),
  });
  assert.equal(reply.status, 200);
  assert.match((await reply.json()).output[0].content[0].text, /tawny/);
});

test('the server of the responses tests ends cleanly', () => server.stop());
