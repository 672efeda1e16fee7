// A node:test reporter: one line per test, and "N passed, N failed, N skipped" at the end, as all of tawny's tests have.
import { inspect } from 'node:util';

export default async function* report(events) {
  const n = { ok: 0, FAIL: 0, skip: 0 };
  for await (const { type, data } of events) {
    if (type === 'test:diagnostic' || (type !== 'test:pass' && type !== 'test:fail')) continue;
    const skipped = data.skip !== undefined && data.skip !== false;
    const verdict = type === 'test:fail' ? 'FAIL' : skipped ? 'skip' : 'ok';
    n[verdict]++;
    yield `${verdict.padEnd(4)} ${data.name} (${(data.details.duration_ms / 1000).toFixed(2)} s)\n`;
    if (verdict === 'FAIL') yield `${inspect(data.details.error?.cause ?? data.details.error, { depth: 4 })}\n`;
  }
  yield `${n.ok} passed, ${n.FAIL} failed, ${n.skip} skipped\n`;
}
