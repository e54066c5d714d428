// Snapshots: putting back what one command has changed, as a fuzzer does after each of its runs.

import { attachDriver } from '../src/drivers/index.ts';
import { createMachine, type Machine } from '../src/machine/index.ts';
import { contents, finish } from './driver.ts';
import { BareHost, ReadCommand } from './host.ts';
import type { Pair } from './measure.ts';
import type { RawCopy } from './raw.ts';

const MIB = 2 ** 20;
const PAGE = 4096;
/** Where the command reads to. */
const TARGET = 32 * MIB;

/** Restores after a read of 4 KiB through the AHCI driver, against memory.copy of the pages that it changes. */
export async function restoreRow(name: string, raw: RawCopy, times: number): Promise<Pair> {
  const machine = await createMachine({
    ram: [{ base: 0, bytes: 64 * MIB }],
    diskBytes: 33 * MIB,
    guard: false,
  });
  const controller = machine.addController({ kind: 'ahci' });
  const disk = machine.addDisk({ bytes: 32 * MIB, latencyNs: 0, picosecondsPerByte: 0 });
  disk.write(0, contents(disk.bytes));
  controller.attach(disk, 0);
  const driver = attachDriver(new BareHost(machine, controller));
  const command = new ReadCommand(1, PAGE);
  command.aim(0, TARGET);
  // An idle AHCI driver has no state of its own that a command changes: it need not be put back.
  const work = (): void => {
    if (!driver.submit(command)) throw new Error('no slot is free');
    driver.kick();
    finish(machine, driver);
  };
  const snapshot = machine.save();
  const before = new Uint8Array(machine.buffer).slice();
  work();
  const bytes = PAGE * differing(before, machine);
  return {
    name,
    bytes,
    times,
    // The same bytes each time, as a restore has them: both are hot.
    raw: (count) => raw.copy(bytes, bytes, count, bytes),
    path: (count) => {
      let spent = 0;
      for (let i = 0; i < count; i++) {
        work();
        const began = performance.now();
        machine.restore(snapshot);
        spent += performance.now() - began;
      }
      return spent;
    },
    check: () => {
      if (machine.memory.read32(TARGET) !== 0) throw new Error('the page was not put back');
    },
  };
}

/** Pages of the machine's memory that are not as they were. */
function differing(before: Uint8Array, machine: Machine): number {
  const now = new Uint32Array(machine.buffer);
  const then = new Uint32Array(before.buffer);
  let count = 0;
  for (let page = 0; page < now.length; page += PAGE / 4) {
    let i = page;
    while (i < page + PAGE / 4 && now[i] === then[i]) i++;
    if (i < page + PAGE / 4) count++;
  }
  return count;
}
