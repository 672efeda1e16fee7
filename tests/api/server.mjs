// `tawny serve` on a free port, and openai clients for it.
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import OpenAI from 'openai';

const root = fileURLToPath(new URL('../..', import.meta.url));
const tawny = process.env.TAWNY ?? `${root}/tawny`;
const model = process.env.TAWNY_MODEL ?? `${root}/share/tawny-demo.gguf`;

const running = new Set(); // a failed test leaves its server behind
process.on('exit', () => running.forEach((child) => child.kill('SIGKILL')));

export class Server {
  lines = []; // of its log, with the time they came
  #waiting = [];

  /** Starts it with any model and further options of `tawny serve`; waits for nothing. */
  static spawn(file, ...options) {
    const server = new Server();
    server.process = spawn(tawny, ['serve', file, '--port', '0', '-v', '--cache-disk', '0', '--backend', 'cpu', ...options], { stdio: ['ignore', 'ignore', 'pipe'] });
    running.add(server.process);
    server.ended = new Promise((resolve) => server.process.on('exit', (code) => {
      running.delete(server.process);
      server.#take(`exit status ${code}`);
      resolve(code);
    }));
    createInterface({ input: server.process.stderr }).on('line', (line) => server.#take(line));
    return server;
  }

  /** Starts it with further options of `tawny serve`; resolves when it serves the model. */
  static async start(...options) {
    const server = Server.spawn(model, ...options);
    const { line } = await server.log(/http:\/\/|^exit status/);
    const url = line.match(/http:\/\/[^\s/]+/);
    if (!url) throw new Error(`tawny serve did not start:\n${server.lines.map((l) => l.line).join('\n')}`);
    server.url = url[0];
    return server;
  }

  #take(line) {
    const entry = { line, at: performance.now() };
    this.lines.push(entry);
    const hit = this.#waiting.filter(({ pattern }) => pattern.test(line));
    this.#waiting = this.#waiting.filter((waiting) => !hit.includes(waiting));
    hit.forEach(({ resolve }) => resolve(entry));
  }

  /** The first log line that matches, from index `from` on, when it is there; within 60 s. */
  log(pattern, from = 0) {
    const there = this.lines.slice(from).find(({ line }) => pattern.test(line));
    if (there) return there;
    return new Promise((resolve, reject) => {
      const late = setTimeout(() => reject(new Error(`no log line matches ${pattern}`)), 60000);
      this.#waiting.push({ pattern, resolve: (entry) => { clearTimeout(late); resolve(entry); } });
    });
  }

  client(options = {}) {
    return new OpenAI({ baseURL: `${this.url}/v1`, apiKey: 'none', maxRetries: 0, ...options });
  }

  /** Ends it; an exit status that tells of a failure (a sanitizer's too) is an error. */
  async stop() {
    this.process.kill('SIGTERM');
    const code = await this.ended;
    if (code !== 0) throw new Error(`exit status ${code}:\n${this.lines.slice(-40).map((l) => l.line).join('\n')}`);
  }
}

export const user = (content) => [{ role: 'user', content }];
