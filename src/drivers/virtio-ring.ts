// Virtqueues from the driver's side: a split and a packed one behind the same methods. Every request slot has a table of
// descriptors of its own, which goes into the ring as one indirect descriptor; without indirect descriptors each slot
// owns a share of the ring. The device's bell is the caller's.
//
// [1] Virtual I/O Device (VIRTIO) 1.2: 2.7 split virtqueues, 2.8 packed virtqueues

import {
  DESC_BYTES,
  DESC_F_AVAIL,
  DESC_F_INDIRECT,
  DESC_F_NEXT,
  DESC_F_USED,
  DESC_F_WRITE,
  EVENT_DESC,
  EVENT_DISABLE,
  EVENT_FLAGS,
  EVENT_WRAP,
  PACKED_FLAGS,
  PACKED_ID,
  RING_ENTRIES,
  RING_INDEX,
} from '../../assembly/virtio-blk/regs.ts';
import type { PhysMem } from '../machine/phys-mem.ts';
import type { DriverHost } from './driver.ts';

export interface RingShape {
  readonly size: number;
  readonly indirect: boolean;
  readonly events: boolean;
  /** Descriptors of the longest request. */
  readonly descriptors: number;
  readonly addressBits: number;
}

export interface Ring {
  /** Slots: requests that fit at once. */
  readonly depth: number;
  readonly desc: number;
  readonly driver: number;
  readonly device: number;
  /** Empties the ring, for a device that was reset. */
  clear(): void;
  /** Writes descriptor `i` of the `count` of a slot's table. */
  describe(slot: number, i: number, count: number, address: number, bytes: number, write: boolean): void;
  /** Makes the table of a slot available. */
  add(slot: number, count: number): void;
  /** Shows the device what was added since the last call; whether it wants the bell. */
  publish(): boolean;
  /** The next slot that the device has used, −1: none. */
  take(): number;
  /** Asks for an interrupt at the next used buffer. */
  arm(): void;
  free(): void;
}

export function createRing(host: DriverHost, shape: RingShape, packed: boolean): Ring {
  return packed ? new PackedRing(host, shape) : new SplitRing(host, shape);
}

const TABLE_ALIGN = 16;

/** The memory of a ring and of its slots' tables. */
class RingMemory {
  readonly address: number;
  readonly tables: number;
  readonly stride: number;
  readonly depth: number;
  readonly #host: DriverHost;
  readonly #bytes: number;
  readonly #tableBytes: number;

  /** `own`: without indirect descriptors slots have tables of their own all the same. */
  constructor(host: DriverHost, shape: RingShape, bytes: number, own: boolean) {
    this.#host = host;
    this.#bytes = bytes;
    this.depth = shape.indirect ? shape.size : Math.max(1, Math.floor(shape.size / shape.descriptors));
    this.stride = shape.descriptors * DESC_BYTES;
    this.#tableBytes = shape.indirect || own ? this.depth * this.stride : 0;
    this.address = host.dma.alloc(bytes, 4096, shape.addressBits);
    this.tables =
      this.#tableBytes === 0
        ? this.address
        : host.dma.alloc(this.#tableBytes, TABLE_ALIGN, shape.addressBits);
  }

  free(): void {
    this.#host.dma.free(this.address, this.#bytes);
    if (this.#tableBytes !== 0) this.#host.dma.free(this.tables, this.#tableBytes);
  }
}

/** [1] 2.7.10: an index moved from `before` to `now`; did it pass `event`? */
function isPassed(event: number, now: number, before: number): boolean {
  return ((now - event - 1) & 0xffff) < ((now - before) & 0xffff);
}

class SplitRing implements Ring {
  readonly depth: number;
  readonly desc: number;
  readonly driver: number;
  readonly device: number;
  readonly #memory: PhysMem;
  readonly #own: RingMemory;
  readonly #shape: RingShape;
  readonly #bytes: number;
  /** Index of the available ring, and as far as the device was shown it; of the used ring. */
  #next = 0;
  #shown = 0;
  #used = 0;

  constructor(host: DriverHost, shape: RingShape) {
    const { size } = shape;
    const used = Math.ceil((size * DESC_BYTES + RING_ENTRIES + 2 * size + 2) / 4) * 4;
    this.#bytes = used + RING_ENTRIES + 8 * size + 2;
    this.#own = new RingMemory(host, shape, this.#bytes, false);
    this.#memory = host.memory;
    this.#shape = shape;
    this.depth = this.#own.depth;
    this.desc = this.#own.address;
    this.driver = this.desc + size * DESC_BYTES;
    this.device = this.desc + used;
  }

  clear(): void {
    this.#memory.fill(this.desc, 0, this.#bytes);
    this.#next = 0;
    this.#shown = 0;
    this.#used = 0;
  }

  describe(slot: number, i: number, count: number, address: number, bytes: number, write: boolean): void {
    const { indirect, descriptors } = this.#shape;
    const last = i === count - 1;
    const next = last ? 0 : (indirect ? 0 : slot * descriptors) + i + 1;
    const flags = (last ? 0 : DESC_F_NEXT) | (write ? DESC_F_WRITE : 0);
    const at = this.#own.tables + slot * this.#own.stride + i * DESC_BYTES;
    this.#memory.write4x32(at, address >>> 0, (address / 2 ** 32) >>> 0, bytes, flags | (next << 16));
  }

  add(slot: number, count: number): void {
    const { size, indirect, descriptors } = this.#shape;
    const table = this.#own.tables + slot * this.#own.stride;
    if (indirect) {
      const at = this.desc + slot * DESC_BYTES;
      const high = (table / 2 ** 32) >>> 0;
      this.#memory.write4x32(at, table >>> 0, high, count * DESC_BYTES, DESC_F_INDIRECT);
    }
    const head = indirect ? slot : slot * descriptors;
    this.#memory.write16(this.driver + RING_ENTRIES + 2 * (this.#next & (size - 1)), head);
    this.#next = (this.#next + 1) & 0xffff;
  }

  publish(): boolean {
    const before = this.#shown;
    const now = this.#next;
    if (before === now) return false;
    this.#shown = now;
    this.#memory.write16(this.driver + RING_INDEX, now);
    if (!this.#shape.events) return (this.#memory.read16(this.device) & 1) === 0;
    const event = this.#memory.read16(this.device + RING_ENTRIES + 8 * this.#shape.size);
    return isPassed(event, now, before);
  }

  take(): number {
    if (this.#memory.read16(this.device + RING_INDEX) === this.#used) return -1;
    const { size, indirect, descriptors } = this.#shape;
    const head = this.#memory.read32(this.device + RING_ENTRIES + 8 * (this.#used & (size - 1)));
    this.#used = (this.#used + 1) & 0xffff;
    return indirect ? head : Math.floor(head / descriptors);
  }

  arm(): void {
    const { events, size } = this.#shape;
    if (events) this.#memory.write16(this.driver + RING_ENTRIES + 2 * size, this.#used);
  }

  free(): void {
    this.#own.free();
  }
}

class PackedRing implements Ring {
  readonly depth: number;
  readonly desc: number;
  readonly driver: number;
  readonly device: number;
  readonly #memory: PhysMem;
  readonly #own: RingMemory;
  readonly #shape: RingShape;
  readonly #bytes: number;
  /** Descriptors of the ring that each slot took. */
  readonly #taken: Uint16Array;
  #next = 0;
  #wrap = true;
  #added = 0;
  #used = 0;
  #usedWrap = true;

  constructor(host: DriverHost, shape: RingShape) {
    this.#bytes = shape.size * DESC_BYTES + 8;
    this.#own = new RingMemory(host, shape, this.#bytes, true);
    this.#memory = host.memory;
    this.#shape = shape;
    this.depth = this.#own.depth;
    this.#taken = new Uint16Array(this.depth);
    this.desc = this.#own.address;
    this.driver = this.desc + shape.size * DESC_BYTES;
    this.device = this.driver + 4;
  }

  clear(): void {
    this.#memory.fill(this.desc, 0, this.#bytes);
    this.#next = 0;
    this.#wrap = true;
    this.#added = 0;
    this.#used = 0;
    this.#usedWrap = true;
  }

  describe(slot: number, i: number, _count: number, address: number, bytes: number, write: boolean): void {
    const at = this.#own.tables + slot * this.#own.stride + i * DESC_BYTES;
    const flags = write ? DESC_F_WRITE : 0;
    this.#memory.write4x32(at, address >>> 0, (address / 2 ** 32) >>> 0, bytes, flags << 16);
  }

  add(slot: number, count: number): void {
    const table = this.#own.tables + slot * this.#own.stride;
    const memory = this.#memory;
    if (this.#shape.indirect) {
      this.#taken[slot] = 1;
      this.#added++;
      const word = slot | ((DESC_F_INDIRECT | this.#availability()) << 16);
      const at = this.desc + this.#next * DESC_BYTES;
      memory.write4x32(at, table >>> 0, (table / 2 ** 32) >>> 0, count * DESC_BYTES, word);
      this.#advance();
      return;
    }
    const first = this.desc + this.#next * DESC_BYTES;
    const firstFlags = this.#availability() | (count > 1 ? DESC_F_NEXT : 0) | this.#direction(table);
    for (let i = 0; i < count; i++) {
      const from = table + i * DESC_BYTES;
      const at = this.desc + this.#next * DESC_BYTES;
      const flags = this.#availability() | (i < count - 1 ? DESC_F_NEXT : 0) | this.#direction(from);
      // The first one's flags come last: they give the device all of them.
      const shown = i === 0 ? memory.read16(at + PACKED_FLAGS) : flags;
      memory.write4x32(
        at,
        memory.read32(from),
        memory.read32(from + 4),
        memory.read32(from + 8),
        slot | (shown << 16),
      );
      this.#advance();
    }
    memory.write16(first + PACKED_FLAGS, firstFlags);
    this.#taken[slot] = count;
    this.#added += count;
  }

  publish(): boolean {
    const added = this.#added;
    if (added === 0) return false;
    this.#added = 0;
    const flags = this.#memory.read16(this.device + EVENT_FLAGS);
    if (flags !== EVENT_DESC || !this.#shape.events) return flags !== EVENT_DISABLE;
    const word = this.#memory.read16(this.device);
    const other = ((word & EVENT_WRAP) !== 0) !== this.#wrap;
    const event = (word & ~EVENT_WRAP) - (other ? this.#shape.size : 0);
    return isPassed(event, this.#next, this.#next - added);
  }

  take(): number {
    const at = this.desc + this.#used * DESC_BYTES;
    const flags = this.#memory.read16(at + PACKED_FLAGS);
    const used = (flags & DESC_F_USED) !== 0;
    if (used !== this.#usedWrap || used !== ((flags & DESC_F_AVAIL) !== 0)) return -1;
    const slot = this.#memory.read16(at + PACKED_ID);
    this.#used += this.#taken[slot] ?? 1;
    if (this.#used >= this.#shape.size) {
      this.#used -= this.#shape.size;
      this.#usedWrap = !this.#usedWrap;
    }
    return slot;
  }

  arm(): void {
    if (!this.#shape.events) return;
    const word = this.#used | (this.#usedWrap ? EVENT_WRAP : 0);
    this.#memory.write32(this.driver, (word | (EVENT_DESC << 16)) >>> 0);
  }

  free(): void {
    this.#own.free();
  }

  #availability(): number {
    return this.#wrap ? DESC_F_AVAIL : DESC_F_USED;
  }

  #direction(descriptor: number): number {
    return this.#memory.read16(descriptor + PACKED_FLAGS) & DESC_F_WRITE;
  }

  #advance(): void {
    this.#next++;
    if (this.#next < this.#shape.size) return;
    this.#next = 0;
    this.#wrap = !this.#wrap;
  }
}
