// What a driver stands on when no kernel is there: memory from a bump allocator, time from the machine.

import type { DmaMemory, DriverCommand, DriverHost, SegmentList } from '../src/drivers/driver.ts';
import type { Controller, Machine } from '../src/machine/index.ts';

export class BareHost implements DriverHost {
  readonly controller: Controller;
  readonly memory;
  readonly dma: DmaMemory;
  readonly #machine: Machine;
  #next = 0x1000;

  constructor(machine: Machine, controller: Controller) {
    this.#machine = machine;
    this.controller = controller;
    this.memory = machine.memory;
    this.dma = {
      alloc: (bytes, align) => {
        const address = Math.ceil(this.#next / align) * align;
        this.#next = address + bytes;
        this.memory.fill(address, 0, bytes);
        return address;
      },
      free: () => undefined,
    };
  }

  waitUntil(ready: () => boolean, timeoutNs: number): boolean {
    const end = this.#machine.now() + timeoutNs;
    while (!ready()) {
      if (this.#machine.now() >= end) return false;
      this.#machine.advance(Math.min(end, this.#machine.nextDeadline()));
    }
    return true;
  }
}

/** A read of `segments` segments, of which each is `segmentBytes` long; done() counts. */
export class ReadCommand implements DriverCommand {
  op = 'read' as const;
  disk = 0;
  lba = 0;
  sectors = 0;
  readonly cdb = new Uint8Array(16);
  cdbLength = 0;
  direction = 'read' as const;
  readonly segments: SegmentList;
  fua = false;
  status: DriverCommand['status'] = 'ok';
  residual = 0;
  readonly sense = new Uint8Array(32);
  senseLength = 0;
  ended = 0;

  constructor(segments: number, segmentBytes: number) {
    this.segments = {
      count: segments,
      addresses: new Float64Array(segments),
      lengths: new Uint32Array(segments).fill(segmentBytes),
    };
    this.sectors = (segments * segmentBytes) / 512;
  }

  /** Where the next read comes from, and where its first byte goes. */
  aim(lba: number, address: number): void {
    this.lba = lba;
    const { count, addresses, lengths } = this.segments;
    for (let i = 0; i < count; i++) {
      addresses[i] = address;
      address += lengths[i] as number;
    }
  }

  done(): void {
    if (this.status !== 'ok' || this.residual !== 0) throw new Error(`a read ended as ${this.status}`);
    this.ended++;
  }
}
