// What a driver under test stands on: a machine, and coherent memory from a bump allocator that has the guard
// told of every allocation.

import type { DmaMemory, Driver, DriverCommand, DriverHost, SegmentList } from '../../src/drivers/driver.ts';
import type { Random } from '../../src/kernel/random.ts';
import type { Controller, Machine } from '../../src/machine/index.ts';
import { assert } from '../run/suite.ts';

export class TestHost implements DriverHost {
  readonly memory;
  readonly dma: DmaMemory;
  /** Bytes that are allocated and not freed. */
  allocated = 0;
  #next: number;

  constructor(
    readonly machine: Machine,
    readonly controller: Controller,
    /** First address of the memory that alloc() gives away. */
    base = 0x1000,
  ) {
    this.memory = machine.memory;
    this.#next = base;
    this.dma = {
      alloc: (bytes, align, addressBits) => this.#alloc(bytes, align, addressBits),
      free: (_address, bytes) => {
        this.allocated -= bytes;
      },
    };
  }

  waitUntil(ready: () => boolean, timeoutNs: number): boolean {
    const end = this.machine.now() + timeoutNs;
    while (!ready()) {
      if (this.machine.now() >= end) return false;
      this.machine.advance(Math.min(end, this.machine.nextDeadline()));
    }
    return true;
  }

  #alloc(bytes: number, align: number, addressBits: number): number {
    const address = Math.ceil(this.#next / align) * align;
    if (address + bytes > 2 ** addressBits) throw new Error('no memory');
    this.#next = address + bytes;
    this.allocated += bytes;
    this.machine.memory.fill(address, 0, bytes);
    this.machine.guard.map(this.controller, address, bytes, 'both');
    return address;
  }
}

/** A command whose end the test waits for. */
export class TestCommand implements DriverCommand {
  op: DriverCommand['op'] = 'read';
  disk = 0;
  lba = 0;
  sectors = 0;
  readonly cdb = new Uint8Array(16);
  cdbLength = 0;
  direction: DriverCommand['direction'] = 'none';
  readonly segments: SegmentList = {
    count: 0,
    addresses: new Float64Array(256),
    lengths: new Uint32Array(256),
  };
  fua = false;
  status: DriverCommand['status'] = 'ok';
  residual = -1;
  readonly sense = new Uint8Array(32);
  senseLength = 0;
  /** Times that done() was called. */
  ended = 0;

  constructor(fields: Partial<DriverCommand> = {}) {
    Object.assign(this, fields);
  }

  setSegments(segments: readonly { address: number; bytes: number }[]): this {
    for (const [i, { address, bytes }] of segments.entries()) {
      this.segments.addresses[i] = address;
      this.segments.lengths[i] = bytes;
    }
    this.segments.count = segments.length;
    return this;
  }

  done(): void {
    this.ended++;
  }
}

/** What drives commands to their ends, with the machine's interrupts. */
export interface Runner {
  /** Lets the hardware go on to its next event, and the driver see its interrupt. */
  pump(): void;
  /** Submits, kicks, and handles interrupts until every command has ended. */
  run(...commands: TestCommand[]): void;
}

/** `messages`: the driver uses message-signalled interrupts. */
export function makeRunner(
  machine: Machine,
  controller: Controller,
  driver: Driver,
  messages: boolean,
): Runner {
  const pump = (): void => {
    machine.advance(machine.nextDeadline());
    const line = (machine.irqLines & (1 << controller.line)) !== 0;
    if (messages ? machine.takeMsi() >= 0 : line) driver.interrupt();
  };
  const run = (...commands: TestCommand[]): void => {
    for (const command of commands) assert.ok(driver.submit(command));
    driver.kick();
    for (let i = 0; i < 10000 && commands.some((command) => command.ended === 0); i++) pump();
    assert.ok(commands.every((command) => command.ended === 1));
  };
  return { pump, run };
}

/** Random bytes. */
export function fill(random: Random, bytes: number): Uint8Array {
  const words = new Uint32Array(Math.ceil(bytes / 4));
  for (let i = 0; i < words.length; i++) words[i] = random.next();
  return new Uint8Array(words.buffer, 0, bytes);
}
