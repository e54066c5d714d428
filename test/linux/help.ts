// What tests of the Linux kernel share.

import { DeadlockError, type DeadlockReport, KernelBug, type Sleeps } from '../../src/kernel/index.ts';
import { bootLinux, type LinuxApi, type LinuxOptions } from '../../src/linux/index.ts';
import { createMachine } from '../../src/machine/index.ts';
import { assert } from '../run/suite.ts';

/** A kernel on a small machine of its own. */
export async function boot(options: LinuxOptions = {}): Promise<LinuxApi> {
  return bootLinux(await createMachine({ ram: 'small' }), options);
}

/** Runs a body in a task, to its end, and returns its value. */
export function inTask<T>(linux: LinuxApi, body: () => Sleeps<T>): T {
  return linux.kernel.scheduler.complete('test', body);
}

/** Runs something that cannot sleep in a task. */
export function inProcess<T>(linux: LinuxApi, body: () => T): T {
  // biome-ignore lint/correctness/useYield: process context is all that is wanted
  return linux.kernel.scheduler.complete('test', function* () {
    return body();
  });
}

/** Runs something that must throw a KernelBug under this rule; returns it. */
export function assertBug(rule: string, body: () => unknown): KernelBug {
  try {
    body();
  } catch (error) {
    if (!(error instanceof KernelBug)) throw error;
    assert.is(error.rule, rule);
    return error;
  }
  throw new Error(`no KernelBug ${rule}`);
}

/** Runs something that must end in a deadlock; returns the report. */
export function assertDeadlock(body: () => unknown): DeadlockReport {
  try {
    body();
  } catch (error) {
    if (!(error instanceof DeadlockError)) throw error;
    return error.report;
  }
  throw new Error('no deadlock');
}
