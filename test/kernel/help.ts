// What tests of the kernel base share.

import { DeadlockError, type DeadlockReport, KernelBug } from '../../src/kernel/index.ts';
import { assert } from '../run/suite.ts';

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
