// Chat and text completions, streamed and not.
import assert from 'node:assert/strict';
import http from 'node:http';
import { before, test } from 'node:test';
import { Server, user } from './server.mjs';

let server, client;
before(async () => {
  server = await Server.start();
  client = server.client();
});

const greedy = { model: 'demo', temperature: 0, max_tokens: 24 };
const ask = { ...greedy, messages: user('What is tawny?') };

async function collect(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}
const text = (chunks) => chunks.map((c) => c.choices[0]?.delta.content ?? '').join('');

test('models are listed with their context', async () => {
  const [model] = (await client.models.list()).data;
  assert.equal(model.object, 'model');
  assert.ok(model.context_length > 0);
  assert.equal(model.meta.n_ctx, model.context_length);
  assert.equal((await client.models.retrieve(model.id)).id, model.id);
});

test('a reply is the same at once and in chunks', async () => {
  const whole = await client.chat.completions.create(ask);
  assert.equal(whole.object, 'chat.completion');
  assert.match(whole.id, /^chatcmpl-/);
  assert.equal(whole.choices[0].message.role, 'assistant');
  assert.equal(whole.usage.total_tokens, whole.usage.prompt_tokens + whole.usage.completion_tokens);
  const chunks = await collect(await client.chat.completions.create({ ...ask, stream: true }));
  assert.deepEqual(chunks[0].choices[0].delta, { role: 'assistant', content: '' });
  assert.equal(new Set(chunks.map((c) => c.id)).size, 1);
  assert.equal(text(chunks), whole.choices[0].message.content);
  assert.equal(chunks.at(-1).choices[0].finish_reason, whole.choices[0].finish_reason);
});

test('usage comes last and only when asked for', async () => {
  const without = await collect(await client.chat.completions.create({ ...ask, stream: true }));
  assert.ok(without.every((c) => !c.usage));
  const chunks = await collect(await client.chat.completions.create(
    { ...ask, stream: true, stream_options: { include_usage: true } }));
  const last = chunks.at(-1);
  assert.deepEqual(last.choices, []);
  assert.ok(last.usage.prompt_tokens > 0 && last.usage.completion_tokens > 0);
  assert.ok(chunks.slice(0, -1).every((c) => c.usage === null));
});

test("the client's stream helper puts the message together", async () => {
  const stream = client.chat.completions.stream(ask);
  const message = await stream.finalMessage();
  assert.equal(message.content, (await client.chat.completions.create(ask)).choices[0].message.content);
});

test('max_tokens and max_completion_tokens end with length', async () => {
  for (const limit of [{ max_tokens: 3 }, { max_tokens: undefined, max_completion_tokens: 3 }]) {
    const reply = await client.chat.completions.create({ ...ask, ignore_eos: true, ...limit });
    assert.equal(reply.choices[0].finish_reason, 'length');
    assert.equal(reply.usage.completion_tokens, 3);
  }
});

test('stop cuts before the stop string', async () => {
  const full = (await client.chat.completions.create(ask)).choices[0].message.content;
  assert.ok(full.length > 8, `too short to cut: '${full}'`);
  const stop = full.slice(4, 7);
  const expected = full.slice(0, full.indexOf(stop));
  for (const value of [stop, ['\u0000never', stop]]) {
    const reply = await client.chat.completions.create({ ...ask, stop: value });
    assert.equal(reply.choices[0].message.content, expected);
    assert.equal(reply.choices[0].finish_reason, 'stop');
    assert.equal(text(await collect(await client.chat.completions.create({ ...ask, stop: value, stream: true }))), expected);
  }
});

test('logprobs are given for every token of the text', async () => {
  const options = { ...ask, logprobs: true, top_logprobs: 3 };
  const whole = (await client.chat.completions.create(options)).choices[0];
  const check = (tokens) => {
    assert.equal(Buffer.from(tokens.flatMap((t) => t.bytes)).toString(), whole.message.content);
    for (const t of tokens) {
      assert.equal(t.top_logprobs.length, 3);
      assert.ok(t.logprob <= 0 && t.top_logprobs[0].logprob >= t.top_logprobs[1].logprob);
      assert.equal(t.token, t.top_logprobs[0].token, 'greedy takes the most likely one');
    }
  };
  check(whole.logprobs.content);
  const chunks = await collect(await client.chat.completions.create({ ...options, stream: true }));
  check(chunks.flatMap((c) => c.choices[0]?.logprobs?.content ?? []));
});

test('the second turn finds the first in the cache', async () => {
  const messages = user(`Remember this: ${'the owl sits in the oak. '.repeat(10)}`);
  const first = await client.chat.completions.create({ ...greedy, messages });
  messages.push(first.choices[0].message, { role: 'user', content: 'What is tawny?' });
  const second = await client.chat.completions.create({ ...greedy, messages });
  assert.ok(second.usage.prompt_tokens > first.usage.prompt_tokens);
  assert.ok(second.usage.prompt_tokens_details.cached_tokens >= first.usage.prompt_tokens - 1,
    `${second.usage.prompt_tokens_details.cached_tokens} of ${first.usage.prompt_tokens} tokens cached`);
});

test('content parts, developer role and unknown fields are taken', async () => {
  const plain = await client.chat.completions.create({
    ...greedy, messages: [{ role: 'system', content: 'Be brief.' }, { role: 'user', content: 'What is\ntawny?' }] });
  const parts = await client.chat.completions.create({
    ...greedy, whatever: { a: 1 }, user: 'me', messages: [
      { role: 'developer', content: [{ type: 'text', text: 'Be brief.' }] },
      { role: 'user', content: [{ type: 'text', text: 'What is' }, { type: 'text', text: 'tawny?' }] }] });
  assert.equal(parts.choices[0].message.content, plain.choices[0].message.content);
  assert.equal(parts.usage.prompt_tokens, plain.usage.prompt_tokens);
});

test('a seed makes sampling repeatable', async () => {
  const sample = async (seed) => (await client.chat.completions.create(
    { ...ask, temperature: 1.5, top_p: 1, seed })).choices[0].message.content;
  assert.equal(await sample(7), await sample(7));
});

test('text completions, streamed and not, with logprobs', async () => {
  const options = { model: 'demo', prompt: 'The tawny owl', temperature: 0, max_tokens: 8, logprobs: 2 };
  const whole = await client.completions.create(options);
  assert.equal(whole.object, 'text_completion');
  const { tokens, token_logprobs, top_logprobs, text_offset } = whole.choices[0].logprobs;
  assert.equal(tokens.length, token_logprobs.length);
  assert.equal(tokens.length, top_logprobs.length);
  assert.equal(text_offset[0], 0);
  const chunks = await collect(await client.completions.create({ ...options, logprobs: undefined, stream: true }));
  assert.equal(chunks.map((c) => c.choices[0].text).join(''), whole.choices[0].text);
  assert.equal(chunks.at(-1).choices[0].finish_reason, whole.choices[0].finish_reason);
});

test('clients at the same time get what each gets alone', async () => {
  const questions = ['What is tawny?', 'Who are you?', 'How do I start the server?', 'What is a GGUF file?'];
  const answer = async (q) => (await client.chat.completions.create({ ...greedy, messages: user(q) })).choices[0].message.content;
  const alone = [];
  for (const q of questions) alone.push(await answer(q));
  assert.deepEqual(await Promise.all(questions.map(answer)), alone);
});

test('a connection is used again', async () => {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  const get = () => new Promise((resolve, reject) => {
    const request = http.get(`${server.url}/health`, { agent }, (reply) => {
      let body = '';
      reply.on('data', (d) => { body += d; }).on('end', () => resolve([request.reusedSocket, body]));
    }).on('error', reject);
  });
  const seen = [await get(), await get(), await get()];
  agent.destroy();
  assert.deepEqual(seen.map(([reused]) => reused), [false, true, true]);
  assert.deepEqual(JSON.parse(seen[2][1]), { status: 'ok' });
});

test('progress of the prompt and timings come to who asks', async () => {
  const chunks = [];
  const messages = user('the owl '.repeat(300));
  const stream = await client.chat.completions.create({ model: 'demo', messages, max_tokens: 2, stream: true, return_progress: true });
  for await (const chunk of stream) chunks.push(chunk);
  const progress = chunks.flatMap((chunk) => chunk.prompt_progress ?? []);
  assert.ok(progress.length > 0);
  assert.ok(progress.every(({ total, cache, processed }) => cache <= processed && processed <= total));
  assert.ok(progress.every(({ processed }, i) => i === 0 || processed >= progress[i - 1].processed));
  const { timings } = chunks.find((chunk) => chunk.choices[0]?.finish_reason);
  assert.equal(timings.prompt_n + timings.cache_n, progress[0].total);
  assert.ok(timings.prompt_ms > 0 && timings.predicted_n === 2);
});

test('the server of the chat tests ends cleanly', () => server.stop());
