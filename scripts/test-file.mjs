// Runs one bundled test file in a worker thread and says how it went, however the worker ends.

import { pathToFileURL } from 'node:url';
import { Worker } from 'node:worker_threads';
import { at, root } from './util.mjs';

/**
 * Resolves to { passed, failures: [{ label, text }], skips: [{ label, reason }], printed, milliseconds }.
 * A file that posts nothing for `timeout` seconds is killed: an endless loop cannot be left otherwise.
 */
export function runTestFile(bundle, { only, timeout }) {
  const outcome = { passed: 0, failures: [], skips: [], printed: '', milliseconds: 0 };
  const started = performance.now();
  const seen = { known: new Set(), waiting: new Set(), current: '', phase: 'loading', error: undefined };
  const workerData = { bundle: pathToFileURL(bundle).href, root, only };
  const worker = new Worker(at('scripts/test-worker.mjs'), { workerData, stdout: true, stderr: true });
  const watchdog = setTimeout(() => {
    if (seen.phase !== 'done') seen.error = `no progress for ${timeout} s; the file was killed`;
    void worker.terminate();
  }, timeout * 1000);

  worker.on('message', (message) => {
    watchdog.refresh();
    takeMessage(message, outcome, seen);
    // What a test left open must not hold up the rest.
    if (message.type === 'done') setTimeout(() => worker.terminate(), 1000).unref();
  });
  worker.on('error', (error) => {
    seen.error ??= error instanceof Error ? error.stack : String(error);
  });
  for (const stream of [worker.stdout, worker.stderr]) {
    stream.on('data', (chunk) => {
      outcome.printed += chunk;
    });
  }
  return new Promise((resolve) => {
    worker.on('exit', () => {
      clearTimeout(watchdog);
      judgeEnd(outcome, seen, only);
      outcome.milliseconds = Math.round(performance.now() - started);
      resolve(outcome);
    });
  });
}

function takeMessage({ type, label, text }, outcome, seen) {
  switch (type) {
    case 'test':
      if (seen.known.has(label)) outcome.failures.push({ label, text: 'two tests have this name' });
      seen.known.add(label);
      seen.waiting.add(label);
      break;
    case 'skip':
      seen.known.add(label);
      outcome.skips.push({ label, reason: text });
      break;
    case 'start':
      seen.current = label;
      break;
    case 'pass':
      outcome.passed++;
      seen.waiting.delete(label);
      break;
    case 'fail':
      outcome.failures.push({ label, text });
      seen.waiting.delete(label);
      break;
    case 'running':
    case 'done':
      seen.phase = type;
  }
}

/** Fails what the file left undone. */
function judgeEnd(outcome, seen, only) {
  const { phase, waiting, current, error } = seen;
  if (phase === 'done') {
    if (error !== undefined) outcome.failures.push({ label: 'after the last test', text: error });
    else if (seen.known.size === 0 && only === '')
      outcome.failures.push({ label: '', text: 'the file runs no test' });
  } else {
    const unsettled =
      phase === 'loading'
        ? 'the file ended while it was loading'
        : 'never settled: nothing was left that could resume it';
    outcome.failures.push({ label: current, text: error ?? unsettled });
    waiting.delete(current);
  }
  for (const label of waiting) outcome.failures.push({ label, text: 'did not run' });
}
