// Errors, as the openai client understands them.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import OpenAI from 'openai';
import { Server, user } from './server.mjs';

let server, client;
before(async () => {
  server = await Server.start('--api-key', 'secret', '-c', '512');
  client = server.client({ apiKey: 'secret' });
});

const chat = (fields) => client.chat.completions.create({ model: 'demo', messages: user('hi'), ...fields });
const refusal = async (promise) => {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new assert.AssertionError({ message: 'the request was taken' });
};

test('a wrong or missing key is an AuthenticationError', async () => {
  const error = await refusal(server.client({ apiKey: 'wrong' }).models.list());
  assert.ok(error instanceof OpenAI.AuthenticationError, `${error}`);
  assert.equal(error.code, 'invalid_api_key');
  assert.equal((await fetch(`${server.url}/v1/models`)).status, 401);
  assert.equal((await fetch(`${server.url}/health`)).status, 200);
  assert.equal((await fetch(`${server.url}/v1/models`, { headers: { 'x-api-key': 'secret' } })).status, 200);
});

test('a field of the wrong type is named', async () => {
  for (const [param, fields] of [
    ['temperature', { temperature: 'hot' }],
    ['stream', { stream: 'yes' }],
    ['messages', { messages: 'hi' }],
    ['messages[0].content', { messages: [{ role: 'user', content: 5 }] }],
    ['tools[0].function.name', { tools: [{ type: 'function', function: {} }] }],
    ['stream_options.include_usage', { stream_options: { include_usage: 'x' } }],
    ['n', { n: 2 }],
  ]) {
    const error = await refusal(chat(fields));
    assert.ok(error instanceof OpenAI.BadRequestError, `${error}`);
    assert.equal(error.param, param);
    assert.equal(error.type, 'invalid_request_error');
    assert.ok(error.message.includes(param), error.message);
  }
});

test('images, unknown formats and broken grammars are refused, not ignored', async () => {
  const image = await refusal(chat({ messages: user([{ type: 'image_url', image_url: { url: 'data:image/png;base64,' } }]) }));
  assert.equal(image.param, 'messages[0].content[0]');
  const format = await refusal(chat({ response_format: { type: 'xml' } }));
  assert.equal(format.param, 'response_format.type');
  const grammar = await refusal(chat({ grammar: 'root ::= "a\nx' }));
  assert.equal(grammar.param, 'grammar');
  assert.match(grammar.message, /line 2/);
  const nothing = { name: 'n', schema: { type: 'integer', minimum: 2, maximum: 1 } };
  const schema = await refusal(chat({ response_format: { type: 'json_schema', json_schema: nothing } }));
  assert.equal(schema.param, 'response_format.json_schema.schema');
});

test('a prompt over the context has the text and code that clients match', async () => {
  for (const stream of [false, true]) {
    const error = await refusal(chat({ stream, messages: user('owl '.repeat(2000)) }));
    assert.equal(error.status, 400);
    assert.equal(error.code, 'context_length_exceeded');
    assert.match(error.message,
      /prompt is too long: \d+ tokens > 512 maximum\. This model's maximum context length is 512 tokens\./);
    assert.equal(error.error.n_ctx, 512);
    assert.ok(error.error.n_prompt_tokens > 512);
  }
});

test('unknown paths and models are NotFoundErrors', async () => {
  assert.ok(await refusal(client.models.retrieve('nothing')) instanceof OpenAI.NotFoundError);
  assert.ok(await refusal(client.embeddings.create({ model: 'demo', input: 'x' })) instanceof OpenAI.NotFoundError);
});

test('other methods and broken JSON are told', async () => {
  const headers = { authorization: 'Bearer secret', 'content-type': 'application/json' };
  const get = await fetch(`${server.url}/v1/chat/completions`, { headers });
  assert.equal(get.status, 405);
  assert.equal(get.headers.get('allow'), 'POST, OPTIONS');
  const broken = await fetch(`${server.url}/v1/chat/completions`, { method: 'POST', headers, body: '{"messages": [' });
  assert.equal(broken.status, 400);
  assert.match((await broken.json()).error.message, /not JSON/);
});

test('the server of the errors tests ends cleanly', () => server.stop());
