// The other side of the register tests: rings in RAM, written by hand.

import * as regs from '../../assembly/virtio-blk/regs.ts';
import { findProfile, type Profile } from '../../src/controllers/index.ts';
import {
  type Controller,
  createMachine,
  type Disk,
  type DiskOptions,
  type Machine,
} from '../../src/machine/index.ts';

export { regs };

const MODERN = regs.VIRTIO_BAR_MODERN;
/** Where things are: rings of queue i, requests (header, status), indirect tables, data. */
const RINGS = 0x10000;
const RING_BYTES = 0x8000;
export const REQUESTS = 0x100000;
export const TABLES = 0x140000;
export const DATA = 0x200000;
/** First byte behind the low RAM. */
export const RAM_END = 0x800000;
const RUNNING =
  regs.VIRTIO_ACKNOWLEDGE | regs.VIRTIO_DRIVER | regs.VIRTIO_FEATURES_OK | regs.VIRTIO_DRIVER_OK;

export interface RigOptions {
  readonly profile?: string;
  readonly parameters?: Profile['parameters'];
  readonly addressBits?: number;
  readonly disk?: DiskOptions | null;
  readonly flavour?: 'release' | 'debug';
  /** Features to accept of those that are offered, word 0 and 1; default: none but VERSION_1. */
  readonly features?: readonly [number, number];
  /** Leave the device as it comes out of reset. */
  readonly cold?: boolean;
}

export interface Segment {
  readonly address: number;
  readonly bytes: number;
  readonly write?: boolean;
  /** Flags and next number where a test wants odd ones. */
  readonly flags?: number;
  readonly next?: number;
}

export class Rig {
  readonly machine: Machine;
  readonly controller: Controller;
  readonly disk: Disk;
  #size = 0;
  #packed = false;
  #next: number[] = [];
  #wrap: boolean[] = [];
  #used: number[] = [];
  #usedWrap: boolean[] = [];
  #free = 0;
  #requests = 0;
  #legacy = false;

  private constructor(machine: Machine, controller: Controller, disk: Disk) {
    this.machine = machine;
    this.controller = controller;
    this.disk = disk;
  }

  static async create(options: RigOptions = {}): Promise<Rig> {
    const machine = await createMachine({
      ram: [
        { base: 0, bytes: RAM_END },
        { base: 2 ** 32, bytes: 0x200000 },
      ],
      guard: { mappings: false },
      diskBytes: 4 * 2 ** 20,
      ...(options.flavour === undefined ? {} : { flavour: options.flavour }),
    });
    const base = findProfile(options.profile ?? 'virtio-blk')?.profile as Profile;
    const { addressBits = base.addressBits } = options;
    const profile = { ...base, addressBits, parameters: { ...base.parameters, ...options.parameters } };
    const controller = machine.addController({ kind: 'virtio-blk', profile });
    const disk = machine.addDisk({ bytes: 2 ** 20, ...options.disk });
    if (options.disk !== null) controller.attach(disk, 0);
    const rig = new Rig(machine, controller, disk);
    if (options.cold !== true) rig.start(...(options.features ?? [0, 0]));
    return rig;
  }

  // Registers.

  read(field: number, size: 1 | 2 | 4): number {
    if (size === 1) return this.controller.read8(MODERN, field);
    return size === 2 ? this.controller.read16(MODERN, field) : this.controller.read32(MODERN, field);
  }

  write(field: number, size: 1 | 2 | 4, value: number): void {
    if (size === 1) this.controller.write8(MODERN, field, value);
    else if (size === 2) this.controller.write16(MODERN, field, value);
    else this.controller.write32(MODERN, field, value);
  }

  get status(): number {
    return this.read(regs.VIRTIO_STATUS, 1);
  }

  set status(value: number) {
    this.write(regs.VIRTIO_STATUS, 1, value);
  }

  get line(): boolean {
    return (this.machine.irqLines & (1 << this.controller.line)) !== 0;
  }

  isr(): number {
    return this.read(regs.VIRTIO_AT_ISR, 1);
  }

  config(field: number, size: 1 | 2 | 4 = 4): number {
    return this.read(regs.VIRTIO_AT_CONFIG + field, size);
  }

  offered(word: number): number {
    this.write(regs.VIRTIO_DEVICE_FEATURE_SELECT, 4, word);
    return this.read(regs.VIRTIO_DEVICE_FEATURE, 4);
  }

  /** Accepts features as they are; true if the device takes them. */
  negotiate(low: number, high: number): boolean {
    this.status = 0;
    this.status = regs.VIRTIO_ACKNOWLEDGE;
    this.status = regs.VIRTIO_DRIVER;
    for (const [word, value] of [low, high].entries()) {
      this.write(regs.VIRTIO_DRIVER_FEATURE_SELECT, 4, word);
      this.write(regs.VIRTIO_DRIVER_FEATURE, 4, value);
    }
    this.status = regs.VIRTIO_FEATURES_OK;
    return (this.status & regs.VIRTIO_FEATURES_OK) !== 0;
  }

  /** Brings the device up by the modern interface. */
  start(low = 0, high = 0): void {
    const accepted = (high | regs.VIRTIO_F_VERSION_1) & this.offered(1);
    this.negotiate(low & this.offered(0), accepted);
    this.#packed = (accepted & regs.VIRTIO_F_RING_PACKED) !== 0;
    this.#legacy = false;
    const queues = this.read(regs.VIRTIO_NUM_QUEUES, 2);
    this.#rewind(queues);
    for (let i = 0; i < queues; i++) {
      this.write(regs.VIRTIO_QUEUE_SELECT, 2, i);
      this.#size = this.read(regs.VIRTIO_QUEUE_SIZE, 2);
      this.write(regs.VIRTIO_QUEUE_DESC, 4, this.desc(i));
      this.write(regs.VIRTIO_QUEUE_DRIVER, 4, this.driver(i));
      this.write(regs.VIRTIO_QUEUE_DEVICE, 4, this.device(i));
      this.write(regs.VIRTIO_QUEUE_ENABLE, 2, 1);
    }
    this.status = RUNNING;
  }

  /** Brings the device up by the legacy interface, queue 0 at the first ring. */
  startLegacy(features = 0): void {
    const c = this.controller;
    c.write8(0, regs.LEGACY_STATUS, 0);
    c.write8(0, regs.LEGACY_STATUS, regs.VIRTIO_ACKNOWLEDGE | regs.VIRTIO_DRIVER);
    c.write32(0, regs.LEGACY_DRIVER_FEATURES, features);
    c.write16(0, regs.LEGACY_QUEUE_SELECT, 0);
    this.#size = c.read16(0, regs.LEGACY_QUEUE_SIZE);
    this.#packed = false;
    this.#legacy = true;
    this.#rewind(1);
    c.write32(0, regs.LEGACY_QUEUE_ADDRESS, RINGS / 4096);
    c.write8(0, regs.LEGACY_STATUS, regs.VIRTIO_ACKNOWLEDGE | regs.VIRTIO_DRIVER | regs.VIRTIO_DRIVER_OK);
  }

  #rewind(queues: number): void {
    this.machine.memory.fill(RINGS, 0, queues * RING_BYTES);
    this.#next = new Array(queues).fill(0);
    this.#wrap = new Array(queues).fill(true);
    this.#used = new Array(queues).fill(0);
    this.#usedWrap = new Array(queues).fill(true);
    this.#free = 0;
    this.#requests = 0;
  }

  desc(queue = 0): number {
    return RINGS + queue * RING_BYTES;
  }
  driver(queue = 0): number {
    return this.desc(queue) + 16 * this.#size;
  }
  device(queue = 0): number {
    const end = this.driver(queue) + 6 + 2 * this.#size;
    const align = this.#legacy ? 4096 : 4;
    return Math.ceil(end / align) * align;
  }

  // Rings.

  /** Makes a chain available; `table`: through an indirect table there. */
  add(chain: readonly Segment[], queue = 0, table = 0): void {
    if (this.#packed) this.#addPacked(chain, queue, table);
    else this.#addSplit(chain, queue, table);
  }

  #addSplit(chain: readonly Segment[], queue: number, table: number): void {
    const { memory } = this.machine;
    const base = table === 0 ? this.desc(queue) : table;
    const first = table === 0 ? this.#free : 0;
    for (const [i, segment] of chain.entries()) {
      const last = i === chain.length - 1;
      const at = (first + i) % (table === 0 ? this.#size : 65536);
      const next = segment.next ?? (last ? 0 : (at + 1) % (table === 0 ? this.#size : 65536));
      const flags = segment.flags ?? (last ? 0 : 1) | (segment.write === true ? 2 : 0);
      const { address, bytes } = segment;
      memory.write4x32(
        base + 16 * at,
        address >>> 0,
        Math.floor(address / 2 ** 32),
        bytes,
        flags | (next << 16),
      );
    }
    if (table === 0) this.makeAvailable(first, queue, chain.length);
    else {
      memory.write4x32(this.desc(queue) + 16 * this.#free, table, 0, 16 * chain.length, regs.DESC_F_INDIRECT);
      this.makeAvailable(this.#free, queue, 1);
    }
  }

  /** Puts a head into the available ring of a split queue. */
  makeAvailable(head: number, queue = 0, taken = 0): void {
    const { memory } = this.machine;
    const next = this.#next[queue] as number;
    this.#free = (this.#free + taken) % this.#size;
    memory.write16(this.driver(queue) + 4 + 2 * (next % this.#size), head);
    this.#next[queue] = (next + 1) & 0xffff;
    memory.write16(this.driver(queue) + 2, (next + 1) & 0xffff);
  }

  #addPacked(chain: readonly Segment[], queue: number, table: number): void {
    const { memory } = this.machine;
    const id = this.#requests & 0xff;
    if (table !== 0) {
      for (const [i, { address, bytes, write, flags }] of chain.entries()) {
        const word = (flags ?? (write === true ? 2 : 0)) << 16;
        memory.write4x32(table + 16 * i, address >>> 0, Math.floor(address / 2 ** 32), bytes, word);
      }
      chain = [{ address: table, bytes: 16 * chain.length, flags: regs.DESC_F_INDIRECT }];
    }
    for (const [i, { address, bytes, write, flags }] of chain.entries()) {
      const at = this.desc(queue) + 16 * (this.#next[queue] as number);
      const own = flags ?? (i < chain.length - 1 ? 1 : 0) | (write === true ? 2 : 0);
      const bits = own | (this.#wrap[queue] === true ? regs.DESC_F_AVAIL : regs.DESC_F_USED);
      memory.write4x32(at, address >>> 0, Math.floor(address / 2 ** 32), bytes, (id | (bits << 16)) >>> 0);
      this.#next[queue] = (this.#next[queue] as number) + 1;
      if (this.#next[queue] === this.#size) {
        this.#next[queue] = 0;
        this.#wrap[queue] = this.#wrap[queue] !== true;
      }
    }
  }

  notify(queue = 0): void {
    if (this.#legacy) this.controller.write16(0, regs.LEGACY_QUEUE_NOTIFY, queue);
    else this.write(regs.VIRTIO_AT_NOTIFY + 4 * queue, 2, queue);
  }

  /** Used buffers since the last call, as lengths. `taken`: descriptors of each in a packed ring. */
  used(queue = 0, taken = 1): number[] {
    const { memory } = this.machine;
    const lengths: number[] = [];
    for (;;) {
      const used = this.#used[queue] as number;
      if (this.#packed) {
        const at = this.desc(queue) + 16 * used;
        const flags = memory.read16(at + 14);
        const bit = (flags & regs.DESC_F_USED) !== 0;
        if (bit !== this.#usedWrap[queue] || bit !== ((flags & regs.DESC_F_AVAIL) !== 0)) return lengths;
        lengths.push(memory.read32(at + 8));
        this.#used[queue] = (used + taken) % this.#size;
        if (used + taken >= this.#size) this.#usedWrap[queue] = this.#usedWrap[queue] !== true;
      } else {
        if (memory.read16(this.device(queue) + 2) === used) return lengths;
        lengths.push(memory.read32(this.device(queue) + 8 + 8 * (used % this.#size)));
        this.#used[queue] = (used + 1) & 0xffff;
      }
    }
  }

  // Requests.

  /** Header and status of a request, with data between; returns where the status will be. */
  request(type: number, sector: number, data: readonly Segment[] = [], queue = 0, table = 0): number {
    const { memory } = this.machine;
    const at = REQUESTS + 64 * this.#requests++;
    memory.write4x32(at, type, 0, sector >>> 0, Math.floor(sector / 2 ** 32));
    memory.write8(at + 32, 0xff);
    const status = { address: at + 32, bytes: 1, write: true };
    this.add([{ address: at, bytes: 16 }, ...data, status], queue, table);
    return at + 32;
  }

  /** One request from its doorbell to its end; the status. */
  run(type: number, sector: number, data: readonly Segment[] = [], table = 0): number {
    const status = this.request(type, sector, data, 0, table);
    this.notify();
    this.machine.settle();
    return this.machine.memory.read8(status);
  }
}

export function pattern(bytes: number, seed: number): Uint8Array {
  return Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + (i >> 8) * 13 + seed) & 0xff);
}
