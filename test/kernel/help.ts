// What tests of the kernel base share.

import {
  createKernelBase,
  DeadlockError,
  type DeadlockReport,
  type KernelBase,
  type KernelBaseOptions,
  KernelBug,
} from '../../src/kernel/index.ts';
import { createMachine, type RamRegion } from '../../src/machine/index.ts';
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

/** A kernel base on a real machine of less than 1 MiB, without disks and without the guard. */
export async function makeKernel(
  options: Partial<KernelBaseOptions> & { readonly ram?: readonly RamRegion[] } = {},
): Promise<KernelBase> {
  const { ram = SMALL_RAM, ...rest } = options;
  const machine = await createMachine({ ram, guard: false, diskBytes: 65536 });
  return createKernelBase({ machine, hugeOrder: 2, ...rest });
}

/** 512 KiB at 0, 128 KiB at 16 MiB, 256 KiB at 4 GiB. */
export const SMALL_RAM: readonly RamRegion[] = [
  { base: 0, bytes: 0x80000 },
  { base: 0x1000000, bytes: 0x20000 },
  { base: 2 ** 32, bytes: 0x40000 },
];
