// One driver on two computers: a machine with RAM of its own, and an embedded controller on the test's RAM. They have
// the same regions, so that whatever the driver does is the same on both.

import { PAGE_CHANGED } from '../../assembly/bus/layout.ts';
import type { ControllerKind } from '../../src/controllers/index.ts';
import { attachDriver } from '../../src/drivers/attach.ts';
import type { DmaMemory, Driver, DriverHost } from '../../src/drivers/driver.ts';
import {
  createController,
  type Dma,
  type DmaRun,
  type EmbeddedController,
  type EmbedOptions,
} from '../../src/embed/index.ts';
import { DirtyPages } from '../../src/machine/dirty-pages.ts';
import {
  type Controller,
  createMachine,
  type Disk,
  loadModule,
  type Machine,
  PhysMem,
} from '../../src/machine/index.ts';
import { TestCommand } from '../drivers/host.ts';
import { assert } from '../run/suite.ts';

export const KINDS: readonly ControllerKind[] = [
  'aha1542',
  'piix-ide',
  'ahci',
  'nvme',
  'virtio-blk',
  'lsi53c895a',
];

const MIB = 2 ** 20;
/** RAM at 0 and, for who reaches it, at 4 GiB; in the test's array the second lies behind the first. */
const REGIONS = [
  { base: 0, bytes: 4 * MIB, at: 0 },
  { base: 2 ** 32, bytes: 4 * MIB, at: 4 * MIB },
] as const;
const RAM_BYTES = 8 * MIB;

/** Where data of commands goes: the driver's own memory lies below. */
export const DATA = 2 * MIB;
export const HIGH_DATA = 2 ** 32 + MIB;

/** A computer with a driver on it. */
export interface Side {
  readonly driver: Driver;
  readonly memory: PhysMem;
  now(): number;
  /** Submits, and lets time pass until every command has ended. */
  run(...commands: TestCommand[]): void;
}

/** What a Side is made of. */
interface Parts {
  readonly controller: Controller;
  readonly memory: PhysMem;
  now(): number;
  /** Goes on to the next event; whether the interrupt is up. */
  step(untilNs: number): boolean;
  nextDeadline(): number;
}

function sideOf(parts: Parts): Side {
  const { controller, memory } = parts;
  let next = 0x1000;
  const dma: DmaMemory = {
    alloc: (bytes, align) => {
      const address = Math.ceil(next / align) * align;
      next = address + bytes;
      memory.fill(address, 0, bytes);
      return address;
    },
    free: () => undefined,
  };
  const host: DriverHost = {
    controller,
    memory,
    dma,
    waitUntil: (ready, timeoutNs) => {
      const end = parts.now() + timeoutNs;
      while (!ready()) {
        if (parts.now() >= end) return false;
        parts.step(Math.min(end, parts.nextDeadline()));
      }
      return true;
    },
  };
  const driver = attachDriver(host);
  const run = (...commands: TestCommand[]): void => {
    for (const command of commands) assert.ok(driver.submit(command));
    driver.kick();
    for (let i = 0; i < 10000 && commands.some(({ ended }) => ended === 0); i++) {
      if (parts.step(parts.nextDeadline())) driver.interrupt();
    }
    assert.ok(commands.every(({ ended }) => ended === 1));
  };
  return { driver, memory, now: () => parts.now(), run };
}

/** The machine with RAM of its own. `bytes`: of its disk, whose content is `content`. */
export async function machineSide(
  kind: ControllerKind,
  content: Uint8Array,
  prepare: (disk: Disk, machine: Machine) => void = () => undefined,
): Promise<Side & { readonly disk: Disk }> {
  const machine = await createMachine({
    flavour: 'debug',
    ram: REGIONS.map(({ base, bytes }) => ({ base, bytes })),
    diskBytes: content.length,
    guard: false,
  });
  const controller = machine.addController({ kind });
  const disk = machine.addDisk({ bytes: content.length });
  disk.write(0, content);
  controller.attach(disk, 0);
  prepare(disk, machine);
  const side = sideOf({
    controller,
    memory: machine.memory,
    now: () => machine.now(),
    nextDeadline: () => machine.nextDeadline(),
    step: (until) => {
      machine.advance(until);
      return controller.lines.some((line) => ((machine.irqLines >>> line) & 1) !== 0);
    },
  });
  return { ...side, disk };
}

/** RAM of the test's, as `memory` and as the ways in which an embedder may have it. */
export class TestRam {
  readonly bytes = new Uint8Array(RAM_BYTES);
  readonly memory: PhysMem;
  /** Runs that call-backs were asked for, call by call. */
  readonly calls: number[] = [];

  constructor() {
    // It is no module's memory: nobody takes snapshots of it.
    const dirty = new DirtyPages(new ArrayBuffer(RAM_BYTES));
    dirty.flags.fill(PAGE_CHANGED);
    const regions = REGIONS.map(({ at, ...region }) => ({ ...region, offset: at }));
    this.memory = new PhysMem(this.bytes.buffer as ArrayBuffer, regions, { run: null }, dirty);
  }

  array(): Dma {
    return { memory: this.bytes, regions: REGIONS };
  }

  callbacks(): Dma {
    const { memory, calls } = this;
    const each = (runs: readonly DmaRun[], bytes: number, move: (run: DmaRun, at: number) => void): void => {
      calls.push(runs.length);
      let at = 0;
      for (const run of runs) {
        move(run, at);
        at += run.bytes;
      }
      assert.is(at, bytes);
    };
    return {
      regions: REGIONS.map(({ base, bytes }) => ({ base, bytes })),
      read: (runs, to) =>
        each(runs, to.length, ({ address, bytes }, at) => memory.readInto(address, to, at, bytes)),
      write: (runs, from) =>
        each(runs, from.length, ({ address, bytes }, at) => memory.writeBytes(address, from, at, bytes)),
    };
  }
}

/** A controller of the debug flavour: our own mistakes throw. */
export async function embedded(options: EmbedOptions): Promise<EmbeddedController> {
  return createController({ wasm: await loadModule('debug'), ...options });
}

/** The embedded controller with the driver on it, as after a BIOS. */
export function embeddedSide(board: EmbeddedController, memory: PhysMem): Side {
  board.enable();
  return sideOf({
    controller: board.controller,
    memory,
    now: () => board.now(),
    nextDeadline: () => board.nextDeadline(),
    step: (until) => {
      if (until !== Number.POSITIVE_INFINITY) board.advance(Math.max(0, until - board.now()));
      return board.lines !== 0;
    },
  });
}

/** `bytes` bytes at `address`, in pieces that do not lie together. */
export function pieces(address: number, bytes: number, each: number): { address: number; bytes: number }[] {
  const list: { address: number; bytes: number }[] = [];
  for (let done = 0; done < bytes; done += each) {
    list.push({ address: address + 2 * done, bytes: Math.min(each, bytes - done) });
  }
  return list;
}

export function transfer(
  op: 'read' | 'write',
  lba: number,
  segments: readonly { address: number; bytes: number }[],
): TestCommand {
  const bytes = segments.reduce((sum, segment) => sum + segment.bytes, 0);
  return new TestCommand({ op, lba, sectors: bytes / 512, direction: op }).setSegments(segments);
}
