// A server before it has its model. The model is a FIFO that nobody writes to: opening it lasts until the test says so.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import Anthropic from '@anthropic-ai/sdk';
import OpenAI from 'openai';
import { Server, user } from './server.mjs';

const folder = mkdtempSync(join(tmpdir(), 'tawny-loading-'));
const fifo = join(folder, 'owl.gguf');
execFileSync('mkfifo', [fifo]);
after(() => rmSync(folder, { recursive: true }));

/** One that answers and loads; `where` is "127.0.0.1:PORT". */
async function loading(...options) {
  const server = Server.spawn(fifo, ...options);
  const { line } = await server.log(/answers; the model is loading|^exit status/);
  server.url = `http://127.0.0.1:${line.match(/port (\d+) answers/)?.[1]}`;
  return server;
}
/** Lets the opening of the FIFO end, which then is no model. */
const letGo = async () => (await open(fifo, 'w')).close();
const refusal = (promise) => promise.then(() => assert.fail('it was answered'), (error) => error);

test('the official clients see a server that is to be asked again', async () => {
  const server = await loading();
  const health = await fetch(`${server.url}/health`);
  assert.equal(health.status, 503);
  assert.deepEqual(await health.json(), { error: { code: 503, message: 'Loading model', type: 'unavailable_error' } });
  assert.ok(Number(health.headers.get('retry-after')) >= 1);
  const openai = await refusal(server.client().chat.completions.create({ model: 'owl', messages: user('hi') }));
  assert.ok(openai instanceof OpenAI.InternalServerError, `${openai}`);
  assert.equal(openai.code, 'loading_model');
  const claude = new Anthropic({ baseURL: server.url, apiKey: 'none', maxRetries: 0 });
  const anthropic = await refusal(claude.messages.create({ model: 'owl', max_tokens: 1, messages: user('hi') }));
  assert.equal(anthropic.status, 503);
  assert.equal(anthropic.error.error.type, 'overloaded_error');
  await letGo();
  await server.ended;
});

test('a load that fails is one line and status 1', async () => {
  const server = await loading();
  await letGo();
  assert.equal(await server.ended, 1);
  assert.ok(server.lines.at(-2).line.startsWith(`tawny: ${fifo}: `), JSON.stringify(server.lines));
  assert.ok(!server.lines.some(({ line }) => line.includes('http://')), 'nothing says that it was ready');
});

test('signals end a load at once, and no socket is left', async () => {
  for (const signal of ['SIGINT', 'SIGTERM']) {
    const socket = join(folder, 'socket'), state = join(folder, 'state');
    const server = await loading('--socket', socket, '--state', state);
    const status = await new Promise((resolve, reject) => request({ socketPath: socket, path: '/health' }, (answer) => resolve(answer.resume().statusCode)).on('error', reject).end());
    assert.equal(status, 503);
    assert.match(readFileSync(state, 'utf8'), /^loading /);
    server.process.kill(signal);
    assert.equal(await server.ended, 130);
    assert.ok(!existsSync(socket));
  }
});

test('a port that is taken is told before the model is looked at', async () => {
  const first = await loading();
  const broken = join(folder, 'broken.gguf');
  writeFileSync(broken, 'no model');
  const second = Server.spawn(broken, '--port', new URL(first.url).port);
  assert.equal(await second.ended, 1);
  assert.match(second.lines.at(-2).line, /cannot listen on 127\.0\.0\.1 port \d+ .*Address already in use/);
  first.process.kill('SIGTERM');
  await first.ended;
});
