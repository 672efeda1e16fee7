// A thread that asks for /health again and again, a connection each, and keeps how long each answer took (ms).
import http from 'node:http';
import { parentPort, workerData } from 'node:worker_threads';

const { url, everyMs } = workerData;
const times = [];
let ended = false;

function ask() {
  return new Promise((resolve, reject) => {
    const start = performance.now();
    http.get(`${url}/health`, { agent: false }, (response) => {
      response.resume();
      response.on('end', () => {
        if (response.statusCode !== 200) reject(new Error(`/health: ${response.statusCode}`));
        times.push(performance.now() - start);
        resolve();
      });
    }).on('error', reject);
  });
}

parentPort.once('message', () => { ended = true; });
while (!ended) {
  await ask();
  await new Promise((resolve) => { setTimeout(resolve, everyMs); });
}
parentPort.postMessage(times);
