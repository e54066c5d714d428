// A guest that knows NVMe, on RAM that is an array: the least that makes an embedded controller work.

import {
  NVME_ACQ,
  NVME_AQA,
  NVME_ASQ,
  NVME_CC,
  NVME_CSTS,
  NVME_DOORBELLS,
} from '../../assembly/nvme/regs.ts';
import type { EmbeddedController } from '../../src/embed/index.ts';
import { assert } from '../run/suite.ts';

const ENTRIES = 16;
const RINGS = 0x10000;
const MSIX_CAPABILITY = 0x11;

interface Queue {
  readonly id: number;
  readonly sq: number;
  readonly cq: number;
  tail: number;
  head: number;
  phase: number;
}

export class NvmeGuest {
  readonly IDENTIFY = 0x06;
  readonly WRITE = 0x01;
  readonly READ = 0x02;
  /** Where its RAM begins. */
  readonly #base: number;
  readonly #nvme: EmbeddedController;
  readonly #words: () => DataView;
  readonly #queues: readonly Queue[];

  /** `memory`: the array, or who gives it; RAM begins at `base`. */
  constructor(nvme: EmbeddedController, memory: Uint8Array | (() => Uint8Array), base = 0) {
    this.#nvme = nvme;
    this.#base = base;
    this.#words = () => {
      const { buffer, byteOffset, length } = memory instanceof Uint8Array ? memory : memory();
      return new DataView(buffer, byteOffset, length);
    };
    this.#queues = [0, 1].map((id) => {
      const sq = base + RINGS + id * 0x2000;
      return { id, sq, cq: sq + 0x1000, tail: 0, head: 0, phase: 1 };
    });
  }

  /** Enables the controller and makes queue 1, as after a BIOS. */
  setup(): void {
    const nvme = this.#nvme;
    if (nvme.barAddress(0) === null) nvme.enable(0xfe000000);
    nvme.write(0, NVME_CC, 4, 0);
    nvme.write(0, NVME_AQA, 4, (ENTRIES - 1) * 0x10001);
    const [admin, io] = this.#queues;
    if (admin === undefined || io === undefined) return;
    for (const [at, address] of [
      [NVME_ASQ, admin.sq],
      [NVME_ACQ, admin.cq],
    ] as const) {
      nvme.write(0, at, 4, address % 2 ** 32);
      nvme.write(0, at + 4, 4, Math.floor(address / 2 ** 32));
    }
    nvme.write(0, NVME_CC, 4, (4 << 20) | (6 << 16) | 1);
    while ((nvme.read(0, NVME_CSTS, 4) & 1) === 0) nvme.advance(1000);
    assert.is(this.command(0, [5, 0, io.cq, ((ENTRIES - 1) << 16) | 1, 3]), 0);
    assert.is(this.command(0, [1, 0, io.sq, ((ENTRIES - 1) << 16) | 1, 0x10001]), 0);
  }

  /** Sends interrupts as messages: every vector is a write of `data` to `address`. */
  enableMsix(address: number, data: number): void {
    const nvme = this.#nvme;
    let at = nvme.configRead(0x34, 1);
    while (nvme.configRead(at, 1) !== MSIX_CAPABILITY) at = nvme.configRead(at + 1, 1);
    const table = nvme.configRead(at + 4, 4);
    for (let vector = 0; vector < 2; vector++) {
      for (const [i, word] of [address, 0, data, 0].entries())
        nvme.write(table & 7, (table & ~7) + vector * 16 + i * 4, 4, word);
    }
    nvme.configWrite(at + 2, 2, 0x8000);
  }

  /**
   * Puts a command into a queue and rings: opcode, namespace, PRP 1, dwords 10 and on. Data lies in two pages at most, of which
   * the second is at `second`; default: behind the first.
   */
  submit([opcode = 0, nsid = 0, prp = 0, ...rest]: readonly number[], number = 0, second?: number): void {
    const queue = this.#queues[number] as Queue;
    const words = this.#words();
    const page = second ?? prp - (prp % 4096) + 4096;
    const dwords = [opcode, nsid, 0, 0, 0, 0, ...wide(prp), ...wide(page), ...rest];
    const entry = queue.sq - this.#base + queue.tail * 64;
    for (let i = 0; i < 16; i++) words.setUint32(entry + i * 4, dwords[i] ?? 0, true);
    queue.tail = (queue.tail + 1) % ENTRIES;
    this.#nvme.write(0, NVME_DOORBELLS + queue.id * 8, 4, queue.tail);
  }

  /** Submits, waits for the end, and says so: the status. */
  command(number: number, dwords: readonly number[], second?: number): number {
    this.submit(dwords, number, second);
    for (let i = 0; this.ended(number) === 0; i++) {
      assert.ok(i < 1000, 'the command never ends');
      this.#nvme.advance(1000);
    }
    return this.acknowledge(number);
  }

  /** Ends in the completion queue that nobody has acknowledged. */
  ended(number: number): number {
    const { cq, head, phase } = this.#queues[number] as Queue;
    const words = this.#words();
    let count = 0;
    for (; count < ENTRIES; count++) {
      const place = head + count;
      const expected = place < ENTRIES ? phase : phase ^ 1;
      const dword = words.getUint32(cq - this.#base + (place % ENTRIES) * 16 + 12, true);
      if (((dword >>> 16) & 1) !== expected) break;
    }
    return count;
  }

  /** Takes one end; its status. */
  acknowledge(number = 0): number {
    const queue = this.#queues[number] as Queue;
    const status = this.#words().getUint32(queue.cq - this.#base + queue.head * 16 + 12, true) >>> 17;
    queue.head = (queue.head + 1) % ENTRIES;
    if (queue.head === 0) queue.phase ^= 1;
    this.#nvme.write(0, NVME_DOORBELLS + 4 + queue.id * 8, 4, queue.head);
    return status;
  }
}

function wide(address: number): [number, number] {
  return [address % 2 ** 32, Math.floor(address / 2 ** 32)];
}
