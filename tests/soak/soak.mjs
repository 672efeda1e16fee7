// Many clients with random requests of all protocols, many of whom go away in the middle, against one `tawny serve` with the demo model.
// Each answer must be what the same request got alone; /health must answer at once; memory and file descriptors must not grow.
// usage: node soak.mjs [--minutes N] [--clients N] [--seed N] [--requests N] [-- options of tawny serve]
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import http from 'node:http';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Worker } from 'node:worker_threads';
import { essence, post } from './answer.mjs';
import { makeRequests, random } from './requests.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { values: options, positionals } = parseArgs({ allowPositionals: true, options: {
  minutes: { type: 'string', default: '10' }, clients: { type: 'string', default: '50' },
  seed: { type: 'string', default: `${Math.floor(Math.random() * 1e6)}` }, requests: { type: 'string', default: '100' },
} });
const seconds = Number(options.minutes) * 60, seed = Number(options.seed);
const HEALTH_MS = 50, GROWTH_MIB = 24, FDS = 8;

let passed = 0, failed = 0;
function check(name, ok, detail) {
  ok ? passed++ : failed++;
  console.log(`${ok ? 'ok  ' : 'FAIL'} ${name}: ${detail}`);
}

async function startServer() {
  const server = spawn(process.env.TAWNY ?? `${root}/tawny`, ['serve', process.env.TAWNY_MODEL ?? `${root}/share/tawny-demo.gguf`, '--port', '0',
    '-c', '8192', '-np', '6', '--cache-disk', '0', '--backend', 'cpu', ...positionals], { stdio: ['ignore', 'ignore', 'pipe'] });
  process.on('exit', () => server.kill('SIGKILL'));
  const ended = new Promise((resolve) => { server.on('exit', (code, signal) => resolve(code ?? signal)); });
  const lines = createInterface({ input: server.stderr });
  const url = await new Promise((resolve, reject) => {
    lines.on('line', (line) => {
      const found = line.match(/http:\/\/[^\s/]+/);
      if (found) resolve(found[0]);
      else console.log(`    ${line}`);
    });
    ended.then((code) => reject(new Error(`the server ended with ${code}`)));
  });
  return { pid: server.pid, url, ended, stop: () => server.kill('SIGTERM') };
}

const wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); });

/** MiB in memory beyond what the server keeps on purpose, and open files. */
async function measure({ pid, url }) {
  const metrics = await (await fetch(`${url}/metrics`, { headers: { connection: 'close' } })).text();
  const kept = [...metrics.matchAll(/^tawny_(?:kept_\w+|host_cache)_bytes (\d+)/gm)].reduce((sum, [, n]) => sum + Number(n), 0);
  const rss = Number(fs.readFileSync(`/proc/${pid}/status`, 'utf8').match(/VmRSS:\s+(\d+)/)[1]) * 1024;
  return { rss: rss / 2 ** 20, kept: kept / 2 ** 20, fds: fs.readdirSync(`/proc/${pid}/fd`).length,
    running: Number(metrics.match(/^llamacpp:requests_processing (\d+)/m)[1]) + Number(metrics.match(/^llamacpp:requests_deferred (\d+)/m)[1]) };
}

/** Until nothing runs any more; the last measurement. */
async function settle(server) {
  let now;
  for (let i = 0; i < 200; i++) {
    now = await measure(server);
    if (now.running === 0) break;
    await wait(50);
  }
  return now;
}

async function alone(server, requests, agent) {
  const answers = [];
  for (const request of requests) answers.push(essence(request.path, await post(server.url, request, { agent })));
  return answers;
}

/** When a client goes away: never, with half of its body sent, before the answer begins, or after some pieces of it. */
function leaves(below) {
  if (below(10) >= 3) return undefined;
  const at = ['half', 0, 1, 2 + below(60)][below(4)];
  return (n) => n === at;
}

const report = { checked: 0, left: 0, wrong: [] };
async function client(server, requests, answers, below, until) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  while (performance.now() < until) {
    const i = below(requests.length);
    let answer;
    try {
      const got = await post(server.url, requests[i], { agent, until: leaves(below) });
      if (!got) { report.left++; continue; }
      answer = essence(requests[i].path, got);
    } catch (error) {
      answer = `${error}`;
    }
    report.checked++;
    if (answer !== answers[i]) report.wrong.push({ i, answer });
  }
  agent.destroy();
}

function percentile(sorted, share) {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

console.log(`seed ${seed}`);
const server = await startServer();
const single = new http.Agent({ keepAlive: true, maxSockets: 1 });
const requests = makeRequests(seed, Number(options.requests));
let start = performance.now();
const answers = await alone(server, requests, single);
console.log(`    ${requests.length} requests alone: ${((performance.now() - start) / 1000).toFixed(1)} s`);
const before = await settle(server);

start = performance.now();
const until = start + seconds * 1000;
const health = new Worker(new URL('health.mjs', import.meta.url), { workerData: { url: server.url, everyMs: 20 } });
const times = new Promise((resolve, reject) => { health.on('message', resolve); health.on('error', reject); });
const work = (end) => Promise.all(Array.from({ length: Number(options.clients) }, (_, k) => client(server, requests, answers, random(seed + k + 1), end)));
const clients = work(until);
await wait(seconds * 1000 / 4);
let early = await measure(server);
await clients;
health.postMessage('end');
const sorted = (await times).sort((a, b) => a - b);
let after = await settle(server);
const growth = () => (after.rss - after.kept) - (early.rss - early.kept);
let rounds = 1;
if (growth() >= GROWTH_MIB) { // what is only made late is not made twice; a leak goes on
  early = after;
  await work(performance.now() + seconds * 1000);
  after = await settle(server);
  rounds++;
}
const again = await alone(server, requests, single);
single.destroy();

for (const { i, answer } of report.wrong.slice(0, 5)) {
  console.log(`    request ${i}: POST ${requests[i].path} ${requests[i].body.slice(0, 1500)}\n      alone: ${answers[i].slice(0, 800)}\n      now:   ${answer.slice(0, 800)}`);
}
check('answers', report.wrong.length === 0 && report.checked > 0, `${report.checked} are what they were alone, ${report.wrong.length} are not; ${report.left} clients left in the middle`);
check('alone again', again.every((answer, i) => answer === answers[i]), 'each request gets the same answer afterwards');
check('health', percentile(sorted, 0.99) < HEALTH_MS, `of ${sorted.length}: p50 ${percentile(sorted, 0.5).toFixed(1)} ms, p99 ${percentile(sorted, 0.99).toFixed(1)} ms, most ${sorted.at(-1).toFixed(1)} ms; limit ${HEALTH_MS} ms for p99`);
check('memory', growth() < GROWTH_MIB, `${before.rss.toFixed(0)} MiB before, ${early.rss.toFixed(0)} MiB after ${rounds > 1 ? 'a round' : 'a quarter'}, ${after.rss.toFixed(0)} MiB after, of which ${after.kept.toFixed(1)} MiB are replies and conversations kept; limit ${GROWTH_MIB} MiB more since then`);
check('files', after.fds <= before.fds + FDS, `${before.fds} before, ${early.fds} during, ${after.fds} after`);
check('work', after.running === 0, `${after.running} requests are still there when all clients are gone`);
server.stop();
const code = await server.ended;
check('end', code === 0, `exit status ${code}`);
console.log(`seed ${seed}: ${options.clients} clients, ${seconds.toFixed(0)} s, ${report.checked} answers checked, ${report.left} left, ${report.wrong.length} wrong, /health p99 ${percentile(sorted, 0.99).toFixed(1)} ms, ${after.rss.toFixed(0)} MiB`);
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed ? 1 : 0);
