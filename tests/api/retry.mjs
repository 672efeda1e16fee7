// The official clients' own retries: after a time-out they ask again by themselves.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { Server, user } from './server.mjs';

let server;
before(async () => { server = await Server.start('--backend', 'ref', '-ub', '16'); }); // slow enough to time out

const metric = async (name) => Number((await (await fetch(`${server.url}/metrics`)).text())
  .match(new RegExp(`^${name} (\\S+)$`, 'm'))[1]);

/** A fetch like one behind a proxy that holds the first connection: its answer never comes, and it is open when the client has given up. */
function holding() {
  const held = (url, { signal, ...options }) => new Promise((resolve, reject) => {
    signal?.addEventListener('abort', () => reject(new DOMException('given up', 'AbortError')));
    const isFirst = held.answers.length === 0;
    const answer = fetch(url, options);
    held.answers.push(answer.then((a) => a.clone().json()).then(({ id }) => id));
    if (!isFirst) answer.then(resolve, reject);
  });
  held.answers = [];
  return held;
}

const patience = { timeout: 400, maxRetries: 30 };
const slow = { model: 'demo', temperature: 1, ignore_eos: true, messages: user(`Go on. ${'the owl '.repeat(60)}`) };

async function runsOnce(held, ask) {
  const before = await metric('llamacpp:tokens_predicted_total');
  const id = await ask();
  assert.ok(held.answers.length > 1);
  assert.deepEqual([...new Set(await Promise.all(held.answers))], [id]);
  assert.equal(await metric('llamacpp:tokens_predicted_total') - before, 40);
}

test("openai's retry gets the reply that its first request has begun", async () => {
  const held = holding();
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', fetch: held, ...patience });
  await runsOnce(held, async () => {
    const reply = await client.chat.completions.create({ ...slow, max_tokens: 40 });
    assert.equal(reply.usage.completion_tokens, 40);
    return reply.id;
  });
});

test("Anthropic's retry gets the reply that its first request has begun", async () => {
  const held = holding();
  const client = new Anthropic({ baseURL: server.url, apiKey: 'none', fetch: held, ...patience });
  await runsOnce(held, async () => {
    const reply = await client.messages.create({ ...slow, max_tokens: 40 });
    assert.equal(reply.usage.output_tokens, 40);
    return reply.id;
  });
});

/** A fetch whose first connection breaks as soon as the server is at work on it. */
function breaking() {
  let isFirst = true;
  return async (url, options) => {
    if (!isFirst) return fetch(url, options);
    isFirst = false;
    const broken = new AbortController();
    let hasEnded = false;
    const end = () => { hasEnded = true; };
    const answer = fetch(url, { ...options, signal: broken.signal });
    answer.then(end, end);
    while (!hasEnded && !(await (await fetch(`${server.url}/slots`)).json()).some((slot) => slot.is_processing));
    broken.abort();
    return answer;
  };
}

test('a retry on a new connection reads no part of its prompt twice', async () => {
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: 'none', maxRetries: 3, fetch: breaking() });
  const read = await metric('llamacpp:prompt_tokens_total');
  const from = server.lines.length;
  const reply = await client.chat.completions.create({ model: 'demo', max_tokens: 1, messages: user(`Listen. ${'the cat '.repeat(60)}`) });
  const n = reply.usage.prompt_tokens;
  assert.ok(server.lines.slice(from).some(({ line }) => /the client went away after/.test(line)), 'it was not cut off');
  assert.ok(await metric('llamacpp:prompt_tokens_total') - read <= n + 40, `${await metric('llamacpp:prompt_tokens_total') - read} of ${n}`);
});

test('two clients that ask for the same at once get two replies', async () => {
  const client = server.client();
  const ask = () => client.chat.completions.create({ ...slow, max_tokens: 5 });
  const [a, b] = await Promise.all([ask(), ask()]);
  assert.notEqual(a.id, b.id);
});

test('the server of the retry tests ends cleanly', () => server.stop());
