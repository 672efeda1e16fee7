// A conversation outlives its server: the next one with the same model finds it in files (--cache-disk).
import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { Server, user } from './server.mjs';

const folder = mkdtempSync(join(tmpdir(), 'tawny-restart-'));
const cache = join(folder, 'cache');
after(() => rmSync(folder, { recursive: true }));

const question = { model: 'demo', temperature: 0, max_tokens: 8, messages: user(`What is this? ${'the owl sat by the mill '.repeat(60)}`) };
const metric = async (server, name) => Number((await (await fetch(`${server.url}/metrics`)).text())
  .match(new RegExp(`^${name} (\\S+)$`, 'm'))[1]);

/** A server's life with one question: its reply and what was known of the prompt. */
async function live(...options) {
  const server = await Server.start('--cache-dir', cache, ...options);
  const { choices, usage } = await server.client().chat.completions.create(question);
  const tokens = await metric(server, 'tawny_disk_cache_tokens_total');
  const bytes = await metric(server, 'tawny_disk_cache_bytes');
  await server.stop();
  return { server, text: choices[0].message.content, known: usage.prompt_tokens_details.cached_tokens, prompt: usage.prompt_tokens, tokens, bytes };
}

test('a conversation is known after a restart, and answered alike', async () => {
  const first = await live('--cache-disk', '256');
  assert.equal(first.known, 0);
  const second = await live('--cache-disk', '256');
  assert.equal(second.text, first.text);
  assert.equal(second.known, first.prompt - 1);
  assert.equal(second.tokens, first.prompt - 1);
  assert.ok(second.bytes > 0);
  assert.ok(second.server.lines.some(({ line }) => line.includes(cache)), 'the log names the folder');
});

test('files and folders are for this user alone', () => {
  assert.equal(statSync(cache).mode & 0o777, 0o700);
  for (const name of readdirSync(cache, { recursive: true })) {
    const at = statSync(join(cache, name));
    assert.equal(at.mode & 0o777, at.isDirectory() ? 0o700 : 0o600, name);
  }
});

test('--cache-disk 0 reads and writes no file', async () => {
  const { known, bytes } = await live('--cache-disk', '0');
  assert.equal(known, 0);
  assert.equal(bytes, 0);
  const other = join(folder, 'other');
  const server = await Server.start('--cache-dir', other, '--cache-disk', '0');
  await server.client().chat.completions.create(question);
  await server.stop();
  assert.throws(() => statSync(other), { code: 'ENOENT' });
});
