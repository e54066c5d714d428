// The other side of the register tests: queues in RAM, written by hand.

import * as regs from '../../assembly/nvme/regs.ts';
import type { Profile } from '../../src/controllers/index.ts';
import { type Controller, createMachine, type Disk, type Machine } from '../../src/machine/index.ts';

export { regs };

const MIB = 2 ** 20;
const TWO_32 = 2 ** 32;
export const ADMIN_ENTRIES = 32;
/** Where the queues are: a pair every 128 KiB, submissions first. */
const QUEUES = 0x100000;
const QUEUE_BYTES = 0x20000;
const COMPLETIONS_AT = 0x10000;
export const DATA = 0x800000;
export const RAM_END = 16 * MIB;
/** Behind the RAM, below the registers. */
export const HOLE = 0x4000_0000;

export interface BoardOptions {
  readonly profile?: string | Profile;
  readonly disks?: number;
  readonly diskBytes?: number;
  readonly sectorBytes?: 512 | 4096;
  readonly readOnly?: boolean;
  readonly flavour?: 'release' | 'debug';
  /** Pairs of I/O queues that are made, and their entries; the weights' class of each. */
  readonly queues?: number;
  readonly entries?: number;
  /** Bits of CC besides EN and the sizes of entries. */
  readonly cc?: number;
  readonly cold?: boolean;
}

/** What a command says; dwords by number. */
export interface Entry {
  readonly opcode: number;
  readonly nsid?: number;
  readonly prp1?: number;
  readonly prp2?: number;
  readonly flags?: number;
  readonly cid?: number;
  readonly dwords?: Readonly<Record<number, number>>;
}

export interface Completion {
  readonly cid: number;
  readonly sq: number;
  readonly head: number;
  readonly result: number;
  /** Type and code. */
  readonly status: number;
  readonly flags: number;
}

export class Board {
  readonly #heads: number[] = [];
  readonly #tails: number[] = [];
  readonly #phases: number[] = [];
  readonly #sizes: number[] = [];
  #cid = 0;

  private constructor(
    readonly machine: Machine,
    readonly controller: Controller,
    readonly disks: readonly Disk[],
    readonly options: BoardOptions,
  ) {}

  static async create(options: BoardOptions = {}): Promise<Board> {
    const diskBytes = options.diskBytes ?? MIB;
    const machine = await createMachine({
      ram: [
        { base: 0, bytes: RAM_END },
        { base: TWO_32, bytes: 2 * MIB },
      ],
      guard: false,
      diskBytes: diskBytes * (options.disks ?? 1) + 2 * MIB,
      ...(options.flavour === undefined ? {} : { flavour: options.flavour }),
    });
    const controller = machine.addController({ kind: 'nvme', profile: options.profile ?? 'nvme' });
    const disks = Array.from({ length: options.disks ?? 1 }, (_, place) => {
      const { sectorBytes = 512, readOnly = false } = options;
      const disk = machine.addDisk({ bytes: diskBytes, sectorBytes, readOnly });
      controller.attach(disk, place);
      return disk;
    });
    const board = new Board(machine, controller, disks, options);
    if (options.cold !== true) board.start();
    return board;
  }

  get disk(): Disk {
    return this.disks[0] as Disk;
  }
  read(at: number): number {
    return this.controller.read32(0, at);
  }
  write(at: number, value: number): void {
    this.controller.write32(0, at, value);
  }
  get line(): boolean {
    return (this.machine.irqLines & (1 << this.controller.line)) !== 0;
  }

  submissions(id: number): number {
    return QUEUES + id * QUEUE_BYTES;
  }
  completions(id: number): number {
    return QUEUES + id * QUEUE_BYTES + COMPLETIONS_AT;
  }

  /** Enables the controller and makes its queues. */
  start(): void {
    this.enable();
    const entries = this.options.entries ?? 64;
    for (let id = 1; id <= (this.options.queues ?? 1); id++) this.makeQueue(id, entries);
  }

  /** Admin queues and CC.EN, until the controller is ready. */
  enable(cc = this.options.cc ?? 0): void {
    this.write(regs.NVME_CC, 0);
    this.machine.settle();
    this.forget(0, ADMIN_ENTRIES);
    this.write(regs.NVME_AQA, (ADMIN_ENTRIES - 1) * 0x10001);
    this.write(regs.NVME_ASQ, this.submissions(0));
    this.write(regs.NVME_ASQ_HIGH, 0);
    this.write(regs.NVME_ACQ, this.completions(0));
    this.write(regs.NVME_ACQ_HIGH, 0);
    this.write(regs.NVME_CC, 0x460000 | regs.NVME_CC_EN | cc);
    this.machine.settle();
  }

  makeQueue(id: number, entries: number, priority = 0, vector = 0): void {
    this.forget(id, entries);
    const size = (id | ((entries - 1) << 16)) >>> 0;
    const cq = { 10: size, 11: (vector << 16) | 3 };
    this.admin({ opcode: regs.NVME_ADMIN_CREATE_CQ, prp1: this.completions(id), dwords: cq });
    const sq = { 10: size, 11: (id << 16) | (priority << 1) | 1 };
    this.admin({ opcode: regs.NVME_ADMIN_CREATE_SQ, prp1: this.submissions(id), dwords: sq });
  }

  /** A pair of queues as it is when it is made. */
  forget(id: number, entries: number): void {
    this.#heads[id] = 0;
    this.#tails[id] = 0;
    this.#phases[id] = regs.NVME_CQE_PHASE;
    this.#sizes[id] = entries;
    this.machine.memory.fill(this.completions(id), 0, entries * regs.NVME_CQE_BYTES);
  }

  /** Writes an entry; the doorbell is the caller's. Returns its command identifier. */
  push(id: number, entry: Entry): number {
    const { memory } = this.machine;
    const tail = this.#tails[id] as number;
    const at = this.submissions(id) + tail * regs.NVME_SQE_BYTES;
    const cid = entry.cid ?? this.#cid++ & 0x7fff;
    memory.fill(at, 0, regs.NVME_SQE_BYTES);
    memory.write32(at, entry.opcode | ((entry.flags ?? 0) << 8) | (cid << 16));
    memory.write32(at + 4, entry.nsid ?? 0);
    for (const [place, address] of [
      [24, entry.prp1 ?? 0],
      [32, entry.prp2 ?? 0],
    ] as const) {
      memory.write32(at + place, address % TWO_32);
      memory.write32(at + place + 4, Math.floor(address / TWO_32));
    }
    for (const [dword, value] of Object.entries(entry.dwords ?? {}))
      memory.write32(at + 4 * Number(dword), value);
    this.#tails[id] = (tail + 1) % (this.#sizes[id] as number);
    return cid;
  }

  ring(id: number): void {
    this.write(regs.NVME_DOORBELLS + 8 * id, this.#tails[id] as number);
  }

  /** Takes what was completed; the head doorbell goes with it. */
  take(id: number, most = Number.POSITIVE_INFINITY): Completion[] {
    const { memory } = this.machine;
    const found: Completion[] = [];
    while (found.length < most) {
      const at = this.completions(id) + (this.#heads[id] as number) * regs.NVME_CQE_BYTES;
      const last = memory.read32(at + 12);
      if ((last & regs.NVME_CQE_PHASE) !== this.#phases[id]) break;
      const third = memory.read32(at + 8);
      const status = last >>> 17;
      found.push({
        cid: last & 0xffff,
        sq: third >>> 16,
        head: third & 0xffff,
        result: memory.read32(at),
        status: status & regs.NVME_STATUS_MASK,
        flags: status & ~regs.NVME_STATUS_MASK,
      });
      this.#heads[id] = ((this.#heads[id] as number) + 1) % (this.#sizes[id] as number);
      if (this.#heads[id] === 0) this.#phases[id] = (this.#phases[id] as number) ^ regs.NVME_CQE_PHASE;
    }
    if (found.length > 0) this.write(regs.NVME_DOORBELLS + 8 * id + 4, this.#heads[id] as number);
    return found;
  }

  /** One command to its end. Throws where it does not come. */
  run(id: number, entry: Entry): Completion {
    const cid = this.push(id, entry);
    this.ring(id);
    this.machine.settle();
    const found = this.take(id).find((completion) => completion.cid === cid);
    if (found === undefined) throw new Error(`command 0x${entry.opcode.toString(16)} did not end`);
    return found;
  }
  admin(entry: Entry): Completion {
    return this.run(0, entry);
  }
  io(entry: Entry): Completion {
    return this.run(1, { nsid: 1, ...entry });
  }

  identify(cns: number, nsid = 0): Uint8Array {
    this.admin({ opcode: regs.NVME_ADMIN_IDENTIFY, nsid, prp1: DATA, dwords: { 10: cns } });
    return this.machine.memory.readBytes(DATA, 4096);
  }
}

/** A read or write of blocks. */
export function blocks(opcode: number, lba: number, count: number, prp1: number, prp2 = 0): Entry {
  return { opcode, nsid: 1, prp1, prp2, dwords: { 10: lba, 12: count - 1 } };
}

/** Bytes that tell where they come from. */
export function pattern(bytes: number, seed: number): Uint8Array {
  let x = (seed * 2654435761 + 1) >>> 0;
  return Uint8Array.from({ length: bytes }, () => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return x >>> 24;
  });
}
