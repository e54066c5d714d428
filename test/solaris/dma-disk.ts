// What tests of bindings share in which a real controller moves the bytes.

import { attachDriver, type Driver } from '../../src/drivers/index.ts';
import type { Rule } from '../../src/guard/index.ts';
import type { DdiDmaCookie } from '../../src/solaris/index.ts';
import { makeRunner, type Runner, TestCommand, TestHost } from '../drivers/host.ts';
import { assert } from '../run/suite.ts';
import { alloc, attr, type Rig, type RigOptions, rig } from './dma-rig.ts';

/** Where drivers have their tables: memory that the kernel leaves alone. */
const TABLES = 0x100000;
const DISK = 64 * 1024;

export interface Device extends Rig {
  readonly driver: Driver;
  readonly runner: Runner;
  readonly disk: Uint8Array;
}

/** A controller with a disk full of bytes that differ, and a handle with the limits of its driver, or less. */
export async function boot(
  of: RigOptions & { readonly limits: { readonly [name: string]: number } },
): Promise<Device> {
  const r = await rig({ guard: true, ...of });
  const { machine, frames, allocator } = r.solaris.kernel;
  for (let phys = TABLES; phys < 0x180000; phys += 4096) {
    const page = frames.physToPage(phys);
    if (page !== null) allocator.withdraw(page);
  }
  const { controller } = r.dip;
  const medium = machine.addDisk({ bytes: DISK });
  const disk = Uint8Array.from({ length: DISK }, (_, i) => (i * 7 + (i >> 9) * 13) & 0xff);
  medium.write(0, disk);
  controller.attach(medium, 0);
  const driver = attachDriver(new TestHost(machine, controller, TABLES));
  const runner = makeRunner(machine, controller, driver, false);
  machine.guard.clear();
  const { addressBits, boundaryMask, maxSegmentBytes } = driver.limits;
  const limits = {
    addr_hi: 2 ** Math.min(addressBits, 53) - 1,
    seg: boundaryMask,
    count_max: maxSegmentBytes - 1,
  };
  const handle = alloc(r.solaris, r.dip, attr({ granular: 512, ...limits, ...of.limits }));
  return { ...r, handle, driver, runner, disk };
}

/** Moves the current window: what a driver does with its cookies. */
export function transfer(
  d: Device,
  op: 'read' | 'write',
  at: number,
  cookies: readonly DdiDmaCookie[],
): void {
  const bytes = cookies.reduce((sum, { dmac_size }) => sum + dmac_size, 0);
  const command = new TestCommand({ op, lba: at / 512, sectors: bytes / 512, direction: op });
  command.setSegments(
    cookies.map(({ dmac_laddress, dmac_size }) => ({ address: dmac_laddress, bytes: dmac_size })),
  );
  d.runner.run(command);
  assert.is(command.status, 'ok');
}

/** What the guard has found. */
export const rules = (d: Device): Rule[] => d.solaris.kernel.machine.guard.findings().map(({ rule }) => rule);
