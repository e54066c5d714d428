// Runs one bundled test file in a worker thread and posts what happens to scripts/test-file.mjs.
//
// uvu puts the tests in order and runs them. It never learns of a failure: every test and hook is wrapped
// here, because uvu swallows what a hook throws and counts neither that nor a test that never settles.

import { parentPort, workerData } from 'node:worker_threads';
import { compare } from 'uvu/diff';

const { bundle, root, only } = workerData;
const suites = [];
const post = (message) => parentPort.postMessage(message);

process.setSourceMapsEnabled(true);
globalThis.UVU_DEFER = 1;
globalThis.UVU_QUEUE = [[]];

// uvu draws its own progress; only what tests and hooks print comes through while it runs.
const write = process.stdout.write.bind(process.stdout);
let muted = false;
process.stdout.write = (...args) => (muted ? true : write(...args));

function describe(error) {
  if (!(error instanceof Error)) return `threw ${String(error)}`;
  let text = error.message;
  const { operator = '', actual, expects, details } = error;
  if (error.name === 'Assertion') text += ` (${operator})`;
  else if (!text.startsWith(error.name)) text = `${error.name}: ${text}`;
  if (error.name === 'AssertionError' && !operator.includes('not'))
    text += `\n${compare(actual, error.expected)}`;
  else if (details && expects !== undefined) text += `\n${details}`;
  return `${text.trimEnd()}\n${frames(error)}${error.cause === undefined ? '' : `\ncaused by ${describe(error.cause)}`}`;
}

/** The stack's frames that lie in the project, as paths relative to it. */
function frames(error) {
  const lines = String(error.stack)
    .split('\n')
    .filter((line) => /^\s+at /.test(line));
  const own = lines.filter((line) => !/node:|node_modules|test-worker\.mjs/.test(line));
  return own.map((line) => line.trim().replaceAll(`file://${root}`, '').replaceAll(root, '')).join('\n');
}

/** Runs a body, and fails on what it returns when that is something that nobody would wait for. */
async function attempt(body) {
  muted = false;
  try {
    const result = body();
    if (result !== undefined && typeof result?.then !== 'function') {
      throw new Error(
        `the body returned ${Object.prototype.toString.call(result)}; a generator is never run that way`,
      );
    }
    await result;
  } finally {
    muted = true;
  }
}

globalThis.backplaneHarness = {
  root,
  add(title, run) {
    const suite = { run, blocked: undefined };
    suites.push(suite);
    return {
      test(name, body) {
        const label = `${title}: ${name}`;
        if (!label.includes(only)) return undefined;
        post({ type: 'test', label });
        return async () => {
          post({ type: 'start', label });
          try {
            if (suite.blocked !== undefined) throw suite.blocked;
            await attempt(body);
            post({ type: 'pass', label });
          } catch (error) {
            post({ type: 'fail', label, text: describe(error) });
          }
        };
      },
      skip(name, reason) {
        const label = `${title}: ${name}`;
        if (label.includes(only)) post({ type: 'skip', label, text: reason });
      },
      hook(kind, body) {
        const label = `${title}: ${kind} hook`;
        return async () => {
          if (kind === 'before.each' && suite.blocked?.kind === kind) suite.blocked = undefined;
          post({ type: 'start', label });
          try {
            await attempt(body);
          } catch (error) {
            if (kind.startsWith('before')) {
              const cause = kind === 'before.each' ? { cause: error } : {};
              suite.blocked ??= Object.assign(new Error(`the ${kind} hook threw`, cause), { kind });
            }
            if (kind !== 'before.each') post({ type: 'fail', label, text: describe(error) });
          }
        };
      },
    };
  },
};

await import(bundle);
for (const suite of suites) suite.run();
post({ type: 'running' });
muted = true;
for (const runner of globalThis.UVU_QUEUE[0]) await runner();
muted = false;
post({ type: 'done' });
