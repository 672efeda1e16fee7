// A client that gives up stops the engine's work.
import assert from 'node:assert/strict';
import { before, test } from 'node:test';
import { Server, user } from './server.mjs';

let server, client;
before(async () => {
  server = await Server.start('--backend', 'ref'); // slow enough to be caught in the middle
  client = server.client();
});

const LIMIT_MS = 300;
const options = { model: 'demo', stream: true, ignore_eos: true, temperature: 0 };

/** Milliseconds from abort() to the log line that says that the work has ended; the best of three, for busy machines. */
async function abort(request, moment) {
  let best = Infinity;
  for (let i = 0; i < 3 && best > LIMIT_MS; i++) {
    const from = server.lines.length;
    const controller = new AbortController();
    const stream = await client.chat.completions.create({ ...options, ...request(i) }, { signal: controller.signal });
    for await (const chunk of stream) if (moment(chunk)) break;
    const start = performance.now();
    controller.abort();
    const { line, at } = await server.log(/the client went away/, from);
    best = Math.min(best, at - start);
    assert.match(line, /stopped in \d+ ms/);
  }
  return best;
}

test('an abort during prefill stops the work', async () => {
  const ms = await abort((i) => ({ messages: user(`${i} ${'the owl '.repeat(200)}`) }),
    (chunk) => chunk.choices[0].delta.role === 'assistant');
  assert.ok(ms <= LIMIT_MS, `${ms.toFixed(0)} ms`);
  assert.ok(server.lines.some(({ line }) => /went away after .* and 0 generated/.test(line)), 'it was not in prefill');
});

test('an abort in the middle of a reply stops the work', async () => {
  const ms = await abort(() => ({ messages: user('hi') }), (chunk) => chunk.choices[0].delta.content);
  assert.ok(ms <= LIMIT_MS, `${ms.toFixed(0)} ms`);
});

test('the next client is served at once', async () => {
  const controller = new AbortController();
  const blocked = client.chat.completions.create({ ...options, messages: user('the owl '.repeat(200)) },
    { signal: controller.signal });
  await blocked;
  controller.abort();
  const start = performance.now();
  await client.chat.completions.create({ model: 'demo', messages: user('hi'), max_tokens: 1 });
  const ms = performance.now() - start;
  assert.ok(ms < 5000, `${ms.toFixed(0)} ms`);
});

test('the server ends cleanly with a request running', async () => {
  const other = await Server.start('--backend', 'ref');
  try {
    await other.client().chat.completions.create({ ...options, messages: user('the owl '.repeat(200)) });
  } finally {
    await other.stop();
  }
});

test('the server of the abort tests ends cleanly', () => server.stop());
