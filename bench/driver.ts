// A controller alone: reads through the driver's hardware half, no kernel above it.

import { attachDriver, type Driver } from '../src/drivers/index.ts';
import { createMachine, type Disk, type Machine } from '../src/machine/index.ts';
import { BareHost, ReadCommand } from './host.ts';
import type { Pair } from './measure.ts';
import type { RawCopy } from './raw.ts';

const MIB = 2 ** 20;
/** Bytes of RAM and of disk that the reads are spread over; less where an ISA board cannot reach them. */
export const SPAN = 32 * MIB;
const ISA_SPAN = 8 * MIB;
const DEPTH = 32;

export interface DriverOptions {
  /** A controller or a profile. */
  readonly controller: string;
  /** Bytes of one read. What the controller cannot do in one command is done in several. */
  readonly bytes: number;
  /** Reads of one round. */
  readonly times: number;
}

/** A machine with the controller, a disk that answers at once, and the driver on it. */
async function boot(kind: string) {
  const probe = await createMachine({ ram: 'small', diskBytes: 0, guard: false });
  const isa = probe.addController({ kind }).profile.addressBits === 24;
  const span = isa ? ISA_SPAN : SPAN;
  const ram = isa
    ? [{ base: 0, bytes: 2 * ISA_SPAN }]
    : [
        { base: 0, bytes: 2 * SPAN },
        { base: 2 ** 32, bytes: SPAN },
      ];
  const machine = await createMachine({ ram, diskBytes: span + MIB, guard: false });
  const controller = machine.addController({ kind });
  const disk = machine.addDisk({ bytes: span, latencyNs: 0, picosecondsPerByte: 0 });
  disk.write(0, contents(span));
  controller.attach(disk, 0);
  const driver = attachDriver(new BareHost(machine, controller));
  const base = driver.limits.addressBits > 32 ? 2 ** 32 : span;
  return { machine, disk, driver, span, base };
}

/** No two sectors of the disk are the same. */
export function contents(span: number): Uint8Array {
  const words = new Uint32Array(span / 4);
  for (let i = 0; i < words.length; i++) words[i] = Math.imul(i, 0x9e3779b1);
  return new Uint8Array(words.buffer);
}

/** Reads one behind the other, as many at a time as the controller's queue takes, at most 32. */
export async function driverRow(name: string, raw: RawCopy, options: DriverOptions): Promise<Pair> {
  const { machine, disk, driver, span, base } = await boot(options.controller);
  const { bytes } = options;
  const { one, segment } = shapeOf(driver, bytes);
  const depth = Math.min(DEPTH, driver.limits.queueDepth, span / one);
  // Used again and again, as a kernel's are.
  const commands = Array.from({ length: depth }, () => new ReadCommand(one / segment, segment));
  let at = 0;
  const path = (count: number): void => {
    for (let left = (count * bytes) / one; left > 0; left -= depth) {
      for (let i = 0; i < Math.min(depth, left); i++) {
        const command = commands[i] as ReadCommand;
        command.aim(at / 512, base + at);
        at = at + one === span ? 0 : at + one;
        if (!driver.submit(command)) throw new Error('no slot is free');
      }
      driver.kick();
      finish(machine, driver);
    }
  };
  return {
    name,
    bytes,
    times: options.times,
    raw: (count) => raw.copy(bytes, bytes, count, span),
    path,
    check: () => check(machine, disk, base, span),
  };
}

/** How many bytes one command moves, in segments of how many: the memory is contiguous, a boundary cuts it. */
function shapeOf(driver: Driver, bytes: number): { one: number; segment: number } {
  const { maxSectors, maxSegments, maxSegmentBytes, boundaryMask } = driver.limits;
  const segment = Math.min(bytes, 2 ** Math.floor(Math.log2(maxSegmentBytes)), boundaryMask + 1);
  const most = Math.min(bytes, maxSectors * 512, maxSegments * segment);
  return { one: 2 ** Math.floor(Math.log2(most)), segment };
}

function check(machine: Machine, disk: Disk, base: number, span: number): void {
  if (!machine.memory.equals(base, disk.read(0, span))) throw new Error('the bytes did not arrive');
}

/** Lets the hardware do all it has to do, and serves its interrupts. */
export function finish(machine: Machine, driver: Driver): void {
  do {
    machine.advance(Number.POSITIVE_INFINITY);
    driver.interrupt();
  } while (machine.nextDeadline() !== Number.POSITIVE_INFINITY || machine.irqLines !== 0);
}
