// AHCI alone: reads through the driver's hardware half, no kernel above it.

import { attachAhci } from '../src/drivers/index.ts';
import { createMachine, type Machine } from '../src/machine/index.ts';
import { BareHost, ReadCommand } from './host.ts';
import type { Pair } from './measure.ts';
import type { RawCopy } from './raw.ts';

const MIB = 2 ** 20;
/** Bytes of RAM and of disk that the reads are spread over. */
export const SPAN = 32 * MIB;
const DEPTH = 32;

/** A machine with an AHCI controller, a disk of SPAN bytes that answers at once, and the driver on it. */
async function ahciMachine() {
  const machine = await createMachine({
    ram: [
      { base: 0, bytes: 2 * SPAN },
      { base: 2 ** 32, bytes: 2 * SPAN },
    ],
    diskBytes: SPAN + MIB,
    guard: false,
  });
  const controller = machine.addController({ kind: 'ahci' });
  const disk = machine.addDisk({ bytes: SPAN, latencyNs: 0, picosecondsPerByte: 0 });
  disk.write(0, contents());
  controller.attach(disk, 0);
  return { machine, controller, disk };
}

/** No two sectors of the disk are the same. */
export function contents(): Uint8Array {
  const words = new Uint32Array(SPAN / 4);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i, 0x9e3779b1);
  return new Uint8Array(words.buffer);
}

/** Reads of `bytes` bytes, 32 at a time, in segments of `segmentBytes`. */
export async function driverRow(
  name: string,
  raw: RawCopy,
  bytes: number,
  segmentBytes: number,
  times: number,
): Promise<Pair> {
  const { machine, controller, disk } = await ahciMachine();
  const driver = attachAhci(new BareHost(machine, controller));
  const depth = Math.min(DEPTH, SPAN / bytes);
  const commands = Array.from({ length: SPAN / bytes }, (_, i) => {
    const base = 2 ** 32 + i * bytes;
    const addresses = Array.from({ length: bytes / segmentBytes }, (_unused, s) => base + s * segmentBytes);
    const command = new ReadCommand(addresses, segmentBytes);
    command.lba = (i * bytes) / 512;
    return command;
  });
  let next = 0;
  const path = (count: number): void => {
    for (let done = 0; done < count; done += depth) {
      for (let i = 0; i < depth; i++) {
        const command = commands[next] as ReadCommand;
        next = (next + 1) % commands.length;
        if (!driver.submit(command)) throw new Error('no slot is free');
      }
      driver.kick();
      finish(machine, () => driver.interrupt());
    }
  };
  return {
    name,
    bytes,
    times,
    raw: (count) => raw.copy(bytes, bytes, count),
    path,
    check: () => {
      if (!machine.memory.equals(2 ** 32, disk.read(0, SPAN))) throw new Error('the bytes did not arrive');
    },
  };
}

/** Lets the hardware do all it has to do, and serves its interrupts. */
function finish(machine: Machine, interrupt: () => boolean): void {
  do {
    machine.advance(Number.POSITIVE_INFINITY);
    interrupt();
  } while (machine.nextDeadline() !== Number.POSITIVE_INFINITY || machine.irqLines !== 0);
}
