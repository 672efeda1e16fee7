// The Messages API with Anthropic's own client: its accumulator, errors and abort.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import { Server, user } from './server.mjs';

let server, client;
before(async () => {
  server = await Server.start('-c', '4096');
  client = new Anthropic({ baseURL: server.url, apiKey: 'none', maxRetries: 0 });
});

const path = { type: 'string', description: 'Path of the file' };
const tool = (name, description, properties) => ({
  name, description, input_schema: { type: 'object', properties, required: Object.keys(properties) },
});
const tools = [
  tool('write_file', 'Create a file or replace its content.', { path, content: { type: 'string', description: 'Text to write' } }),
  tool('read_file', 'Return the content of a file.', { path }),
];
const base = { model: 'demo', max_tokens: 300, temperature: 0 };
const about = { ...base, messages: user('What is tawny?') };
const write = { ...base, tools, messages: user('Create notes.txt containing: the owl flies') };
const read = { ...base, tools, messages: user('What is in notes.txt?') };
const written = { path: 'notes.txt', content: 'the owl flies' };
const total = (usage) => usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens;
const text = (message) => message.content.filter(({ type }) => type === 'text').map((block) => block.text).join('');

test('a message at once and its streamed twin are the same', async () => {
  const whole = await client.messages.create(about);
  assert.match(whole.id, /^msg_/);
  assert.equal(whole.stop_reason, 'end_turn');
  assert.match(text(whole), /tawny/);
  const types = [];
  const stream = client.messages.stream(about).on('streamEvent', (event) => types.push(event.type));
  const final = await stream.finalMessage();
  assert.deepEqual(final.content, whole.content);
  assert.equal(final.stop_reason, 'end_turn');
  assert.equal(total(final.usage), total(whole.usage));
  assert.equal(final.usage.output_tokens, whole.usage.output_tokens);
  assert.deepEqual(types.slice(0, 3), ['message_start', 'content_block_start', 'content_block_delta']);
  assert.deepEqual(types.slice(-3), ['content_block_stop', 'message_delta', 'message_stop']);
});

test('tokens are counted as the prompt has them', async () => {
  const counted = await client.messages.countTokens({ model: 'demo', tools, system: 'You are brief.', messages: write.messages });
  const { usage } = await client.messages.create({ ...write, system: 'You are brief.' });
  assert.equal(total(usage), counted.input_tokens);
});

test('a call comes as a tool_use block, streamed and at once', async () => {
  const whole = await client.messages.create(write);
  const [call] = whole.content;
  assert.equal(whole.stop_reason, 'tool_use');
  assert.match(call.id, /^toolu_/);
  assert.deepEqual(call.input, written);
  let pieces = 0;
  const final = await client.messages.stream(write).on('inputJson', () => pieces++).finalMessage();
  assert.deepEqual(final.content.map(({ type, name, input }) => ({ type, name, input })), [{ type: 'tool_use', name: 'write_file', input: written }]);
  assert.ok(pieces > 3, 'the arguments came in one piece');
});

test('the result goes back in its turn and is answered, without reading the rest again', async () => {
  const first = await client.messages.create(read);
  const [call] = first.content;
  assert.equal(call.name, 'read_file');
  const messages = [...read.messages, { role: 'assistant', content: first.content },
    { role: 'user', content: [{ type: 'tool_result', tool_use_id: call.id, content: [{ type: 'text', text: 'seven owls' }] }] }];
  const second = await client.messages.create({ ...read, messages });
  assert.match(text(second), /seven owls/);
  const known = total(first.usage) + first.usage.output_tokens;
  assert.ok(second.usage.cache_read_input_tokens >= known - 2, 'the reply was read again');
});

test('a changing attribution block costs nothing', async () => {
  const system = (hash) => [{ type: 'text', text: `x-anthropic-billing-header: cc_version=2.1.40; cch=${hash};` },
    { type: 'text', text: `You are an owl. ${'You fly. '.repeat(100)}` }];
  const first = await client.messages.create({ ...about, system: system('00000') });
  const second = await client.messages.create({ ...about, system: system('fffff') });
  assert.equal(total(second.usage), total(first.usage));
  assert.equal(second.usage.input_tokens, 1);
});

test('tool_choice is kept to', async () => {
  const none = await client.messages.create({ ...write, tool_choice: { type: 'none' } });
  assert.ok(none.content.every(({ type }) => type === 'text'));
  const named = await client.messages.create({ ...write, tool_choice: { type: 'tool', name: 'read_file' } });
  assert.deepEqual(named.content.map(({ name }) => name), ['read_file']);
  const any = await client.messages.create({ ...about, tools, tool_choice: { type: 'any', disable_parallel_tool_use: true } });
  assert.deepEqual(any.content.map(({ type }) => type), ['tool_use']);
  assert.equal(any.stop_reason, 'tool_use');
});

test('a search that only Anthropic runs is said to be unavailable, streamed and at once', async () => {
  const from = server.lines.length;
  const search = { ...about, tools: [{ type: 'web_search_20250305', name: 'web_search', max_uses: 8 }], tool_choice: { type: 'tool', name: 'web_search' } };
  for (const reply of [await client.messages.create(search), await client.messages.stream(search).finalMessage()]) {
    const [call, result] = reply.content;
    assert.deepEqual([call.type, call.input], ['server_tool_use', { query: search.messages.at(-1).content }]);
    assert.equal(result.tool_use_id, call.id);
    assert.equal(result.content.error_code, 'unavailable');
  }
  await server.log(/tool of type 'web_search_20250305' is not offered/, from);
});

test('stop sequences and limits end a reply and say so', async () => {
  const stopped = await client.messages.create({ ...about, stop_sequences: ['never', 'program'] });
  assert.equal(stopped.stop_reason, 'stop_sequence');
  assert.equal(stopped.stop_sequence, 'program');
  assert.ok(!text(stopped).includes('program'));
  const cut = await client.messages.stream({ ...about, max_tokens: 3 }).finalMessage();
  assert.equal(cut.stop_reason, 'max_tokens');
  assert.equal(cut.usage.output_tokens, 3);
});

test('output_config.format holds the reply to a schema', async () => {
  const schema = { type: 'object', properties: { n: { type: 'integer' } }, required: ['n'], additionalProperties: false };
  const reply = await client.messages.create({ ...about, max_tokens: 100, output_config: { format: { type: 'json_schema', schema } } });
  assert.ok(Number.isInteger(JSON.parse(text(reply)).n), text(reply));
});

test('what Claude Code sends beside all that is taken', async () => {
  const reply = await client.beta.messages.create({
    ...about,
    betas: ['claude-code-20250219', 'context-management-2025-06-27', 'mid-conversation-system-2026-04-07'],
    thinking: { type: 'adaptive' }, output_config: { effort: 'high' }, metadata: { user_id: '{"session_id":"1"}' },
    context_management: { edits: [{ type: 'clear_thinking_20251015', keep: 'all' }] },
    messages: [{ role: 'user', content: [{ type: 'text', text: '<system-reminder>\nThe date is 2026-11-25.\n</system-reminder>' },
      { type: 'text', text: 'What is tawny?', cache_control: { type: 'ephemeral' } }] },
    { role: 'system', content: 'Agents: none.' }],
  });
  assert.match(text(reply), /\w/);
});

test('errors have their classes', async () => {
  await assert.rejects(client.messages.create({ ...about, temperature: 'hot' }), (error) => {
    assert.ok(error instanceof Anthropic.BadRequestError);
    assert.equal(error.error.error.type, 'invalid_request_error');
    assert.match(error.message, /'temperature' must be a number/);
    return true;
  });
  for (const stream of [false, true])
    await assert.rejects(client.messages.create({ ...about, stream, messages: user('owl '.repeat(5000)) }), (error) => {
      assert.ok(error instanceof Anthropic.BadRequestError);
      assert.match(error.error.error.message, /^prompt is too long: \d+ tokens > 4096 maximum$/);
      return true;
    });
  await assert.rejects(client.messages.create({ ...about, messages: [...about.messages, { role: 'assistant', content: '{' }] }), /prefill/);
});

test('a client that goes away is noticed', async () => {
  const from = server.lines.length;
  // More tokens than it can write before the client is gone.
  const stream = await client.messages.create({ ...about, max_tokens: 4000, messages: user('hi'), ignore_eos: true, stream: true });
  for await (const event of stream) if (event.type === 'content_block_delta') break;
  stream.controller.abort();
  await server.log(/msg_\w+: the client went away/, from);
});

test('a wrong key is told in the shape of the protocol', async () => {
  const other = await Server.start('--api-key', 'secret');
  const keyed = (apiKey) => new Anthropic({ baseURL: other.url, apiKey, maxRetries: 0 });
  try {
    await assert.rejects(keyed('wrong').messages.create(about), (error) => {
      assert.ok(error instanceof Anthropic.AuthenticationError);
      assert.equal(error.error.error.type, 'authentication_error');
      return true;
    });
    assert.match(text(await keyed('secret').messages.create(about)), /tawny/);
  } finally {
    await other.stop();
  }
});

test('the server of the messages tests ends cleanly', () => server.stop());
