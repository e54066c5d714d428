// Numbers that C's integer types cannot hold, and numbers that no machine has room for. Callers in JavaScript have no
// compiler that would cut them: what comes back is a result or a KernelBug that says where, at once.

import { KernelBug } from '../../src/kernel/index.ts';
import { assert, suite } from '../run/suite.ts';
import { COUNT_CALLS, type CountRig, countRig } from './count-calls.ts';

const test = suite('linux counts');

/** What is no count in any type of C. */
const SENSELESS: readonly unknown[] = [Number.NaN, 1.5, Number.POSITIVE_INFINITY, 1e300, undefined, '7', {}];
/** Negative, or more than there can be: an errno, NULL, or a bug, and whatever it is, soon. */
const EXTREME = [-1, -(2 ** 40), 2 ** 20, 2 ** 31 - 1, 2 ** 32, 2 ** 40, Number.MAX_SAFE_INTEGER];

type Outcome = { readonly value: unknown } | { readonly bug: KernelBug };

/** Makes a call in a process of its own. Anything that is thrown but a KernelBug fails the test. */
function outcome(rig: CountRig, name: string, n: number): Outcome {
  const { scheduler, spawnProcess } = rig.linux.kernel;
  const process = spawnProcess('caller', function* (_task, mm) {
    yield* mm.mmap({ address: 0x100000, length: 0x10000, prot: 3 });
    const result = COUNT_CALLS[name]?.(rig, n) as { next?: unknown } | null | undefined;
    return typeof result?.next === 'function' ? yield* result as Generator<never, unknown> : result;
  });
  try {
    scheduler.run({ until: process });
    return { value: process.exitValue };
  } catch (error) {
    if (error instanceof KernelBug) return { bug: error };
    throw new Error(`${name}(${String(n)})`, { cause: error });
  }
}

const names = Object.keys(COUNT_CALLS);
/** Functions that share a kernel: what one spoils with a number that is taken does not reach many. */
const SHARE = 8;

for (let first = 0; first < names.length; first += SHARE) {
  const some = names.slice(first, first + SHARE);
  test(`no whole number: a KernelBug; too much: an end (${some.join(', ')})`, async () => {
    const rig = await countRig();
    for (const name of some) {
      for (const n of SENSELESS as number[]) {
        const result = outcome(rig, name, n);
        assert.ok('bug' in result, `${name}(${String(n)}) is taken`);
        assert.not.equal(`${result.bug.what}${result.bug.where}`, '');
      }
    }
    for (const name of some) for (const n of EXTREME) outcome(rig, name, n);
  });
}
