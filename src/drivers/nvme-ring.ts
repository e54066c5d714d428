// A pair of queues: where their entries are, and the doorbells. References are those of nvme.ts.

import {
  NVME_BAR,
  NVME_CQE_BYTES,
  NVME_CQE_PHASE,
  NVME_DOORBELLS,
  NVME_SQE_BYTES,
} from '../../assembly/nvme/regs.ts';
import type { DriverHost } from './driver.ts';

const PAGE_BYTES = 4096;

export class NvmeRing {
  readonly id: number;
  readonly entries: number;
  readonly submissions: number;
  readonly completions: number;
  /** What the entry that next() found says: its command and status. */
  cid = 0;
  status = 0;
  readonly #host: DriverHost;
  readonly #tailDoorbell: number;
  readonly #headDoorbell: number;
  readonly #allocated: boolean;
  #tail = 0;
  #rung = 0;
  #head = 0;
  #phase = NVME_CQE_PHASE;
  #taken = 0;
  #entry = 0;
  /** Commands between push() and their completion. */
  #open = 0;

  /** `submissions`: where that queue is, on the board; 0: in memory. */
  constructor(
    host: DriverHost,
    id: number,
    entries: number,
    stride: number,
    addressBits: number,
    submissions = 0,
  ) {
    this.#host = host;
    this.id = id;
    this.entries = entries;
    this.#allocated = submissions === 0;
    this.submissions = this.#allocated
      ? host.dma.alloc(entries * NVME_SQE_BYTES, PAGE_BYTES, addressBits)
      : submissions;
    this.completions = host.dma.alloc(entries * NVME_CQE_BYTES, PAGE_BYTES, addressBits);
    this.#tailDoorbell = NVME_DOORBELLS + 2 * id * stride;
    this.#headDoorbell = this.#tailDoorbell + stride;
  }

  /** Address of the next free entry, −1: the queue is full. */
  get room(): number {
    return this.#open === this.entries - 1 ? -1 : this.submissions + this.#tail * NVME_SQE_BYTES;
  }

  /** The entry at `room` is written. */
  push(): void {
    this.#tail = this.#tail + 1 === this.entries ? 0 : this.#tail + 1;
    this.#open++;
  }

  /** Tells the controller of what was pushed. */
  ring(): boolean {
    if (this.#tail === this.#rung) return false;
    this.#rung = this.#tail;
    this.#host.controller.write32(NVME_BAR, this.#tailDoorbell, this.#tail);
    return true;
  }

  /** Takes one completion; false when there is none. */
  next(): boolean {
    if (this.#open === 0) return false;
    const { memory } = this.#host;
    const at = this.completions + this.#head * NVME_CQE_BYTES;
    const last = memory.read32(at + 12);
    if ((last & NVME_CQE_PHASE) !== this.#phase) return false;
    this.cid = last & 0xffff;
    this.status = last >>> 17;
    this.#entry = at;
    this.#head++;
    if (this.#head === this.entries) {
      this.#head = 0;
      this.#phase ^= NVME_CQE_PHASE;
    }
    this.#taken++;
    this.#open--;
    return true;
  }

  /** What that entry has as its result, until release(). */
  get result(): number {
    return this.#host.memory.read32(this.#entry);
  }

  /** Gives the entries that next() took back to the controller, in one write. True: there were some. */
  release(): boolean {
    if (this.#taken === 0) return false;
    this.#taken = 0;
    this.#host.controller.write32(NVME_BAR, this.#headDoorbell, this.#head);
    return true;
  }

  /** After a reset: empty, as the controller has it. */
  clear(): void {
    this.#tail = 0;
    this.#rung = 0;
    this.#head = 0;
    this.#phase = NVME_CQE_PHASE;
    this.#taken = 0;
    this.#open = 0;
    this.#host.memory.fill(this.completions, 0, this.entries * NVME_CQE_BYTES);
  }

  free(): void {
    if (this.#allocated) this.#host.dma.free(this.submissions, this.entries * NVME_SQE_BYTES);
    this.#host.dma.free(this.completions, this.entries * NVME_CQE_BYTES);
  }
}
