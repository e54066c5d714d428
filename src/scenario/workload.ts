// A workload for any kernel: seeded operations on a small disk from a process's memory, and bytes to go with them.
// Pure: the same seed and shape give the same operations, and the first of them do not depend on how many follow.

import { PAGE_SIZE, Random } from '../kernel/index.ts';
import type { Way } from './kernel.ts';

/** The process's memory, in pages: most of it may be read and written, then comes what may not. */
const WRITABLE_PAGES = 112;
export const READ_ONLY_PAGES = 8;
const UNMAPPED_PAGES = 8;
export const BUFFER_PAGES = WRITABLE_PAGES + READ_ONLY_PAGES + UNMAPPED_PAGES;
export const WRITABLE = WRITABLE_PAGES * PAGE_SIZE;
/** What may be read; behind it nothing is mapped. */
export const READABLE = WRITABLE + READ_ONLY_PAGES * PAGE_SIZE;

const MOST_RANGES = 12;
/** Requests that fail for once; the machine's plan of faults holds 256. */
const MOST_PASSING_FAULTS = 200;
const BAD_STRETCHES = 6;

/** What the machine and the kernels under comparison can take. */
export interface WorkloadShape {
  readonly sectorBytes: number;
  /** Of the disk. */
  readonly sectors: number;
  /** Most bytes of one request, and most pages that its memory may touch. */
  readonly maxRequestBytes: number;
  readonly maxPages: number;
  /** Most bytes of what a kernel that takes fewer gets in pieces; it never has to fail. */
  readonly longestBytes: number;
  /** How many buffers the process has. */
  readonly buffers: number;
}

/** A stretch of a buffer. */
export interface Stretch {
  /** First byte, in the buffer. */
  readonly at: number;
  readonly bytes: number;
}

/** Sectors that cannot be read or written. */
export interface BadSectors {
  readonly first: number;
  readonly last: number;
}

export interface TransferOperation {
  readonly op: 'read' | 'write';
  readonly sector: number;
  readonly sectors: number;
  readonly buffer: number;
  /** Of whole sectors together; those of a read have no byte in common. */
  readonly ranges: readonly Stretch[];
  /** Seed of the bytes that the process stores there before it writes; null: it writes what it has. */
  readonly fill: number | null;
  /** A sector of the request that fails this once. */
  readonly fault: number | null;
  /** For kernels that have several ways. */
  readonly through: Way;
}

export type Operation = TransferOperation | { readonly op: 'flush' };

/** The sectors of the disk that always fail. */
export function badSectors(seed: number, { sectors }: WorkloadShape): BadSectors[] {
  const random = new Random(seed).fork('bad sectors');
  return Array.from({ length: BAD_STRETCHES }, () => {
    const first = random.below(sectors * 0.7); // what reaches beyond the end has one reason to fail
    return { first, last: first + random.below(4) };
  });
}

/** The operations, without end. */
export function* workload(seed: number, shape: WorkloadShape): Generator<Operation, never> {
  const generator = new Workload(seed, shape);
  for (;;) yield generator.next();
}

/** `bytes` bytes that only this seed gives. */
export function noise(seed: number, bytes: number): Uint8Array {
  const random = new Random(seed);
  const words = new Uint32Array(Math.ceil(bytes / 4));
  for (let i = 0; i < words.length; i++) words[i] = random.next();
  return new Uint8Array(words.buffer, 0, bytes);
}

class Workload {
  readonly #random: Random;
  readonly #shape: WorkloadShape;
  readonly #bad: readonly BadSectors[];
  #faults = 0;

  constructor(seed: number, shape: WorkloadShape) {
    this.#random = new Random(seed).fork('operations');
    this.#shape = shape;
    this.#bad = badSectors(seed, shape);
  }

  next(): Operation {
    const random = this.#random;
    if (random.chance(0.02)) return { op: 'flush' };
    const op = random.chance(0.5) ? 'read' : 'write';
    const { longestBytes, maxRequestBytes, maxPages } = this.#shape;
    const long = random.chance(0.12) && longestBytes > maxRequestBytes && maxPages > 1;
    const ranges = this.#ranges(op, long);
    const sectors = ranges.reduce((sum, { bytes }) => sum + bytes, 0) / this.#shape.sectorBytes;
    const forbidden = !long && random.chance(0.06) ? this.#forbid(ranges) : false;
    const sector = this.#sector(sectors, long || forbidden);
    const sound = sector + sectors <= this.#shape.sectors && this.#isClear(sector, sectors);
    const passing = !long && !forbidden && sound && random.chance(0.03);
    return {
      op,
      sector,
      sectors,
      buffer: random.below(this.#shape.buffers),
      ranges,
      fill: random.chance(0.6) ? random.next() : null,
      through: random.chance(0.5) ? 'physio' : 'ddi_umem_iosetup',
      fault: passing && this.#faults++ < MOST_PASSING_FAULTS ? sector + random.below(sectors) : null,
    };
  }

  /** Memory for a request: a few stretches, at offsets that hardware likes more or less. */
  #ranges(op: 'read' | 'write', long: boolean): Stretch[] {
    const random = this.#random;
    const { sectorBytes, maxRequestBytes, longestBytes } = this.#shape;
    const maxPages = long ? Number.POSITIVE_INFINITY : this.#shape.maxPages;
    const most = Math.floor((long ? longestBytes : maxRequestBytes) / sectorBytes);
    const longest = long ? most : random.chance(0.4) ? 8 : random.chance(0.7) ? 128 : most;
    let sectors = random.chance(0.03) ? most : Math.min(most, 1 + random.below(longest));
    let count = random.chance(0.5) ? 1 : 2 + random.below(random.chance(0.7) ? 3 : MOST_RANGES - 1);
    for (;;) {
      const lengths = this.#cut(sectors, Math.min(count, sectors), !long && random.chance(0.15));
      const ranges = op === 'write' && random.chance(0.4) ? this.#strew(lengths) : this.#row(lengths);
      if (ranges !== null && touched(ranges) <= maxPages) return ranges;
      if (sectors === 1) return [{ at: PAGE_SIZE * random.below(WRITABLE_PAGES), bytes: sectorBytes }];
      sectors = Math.ceil(sectors / 2);
      count = Math.ceil(count / 2);
    }
  }

  /** Cuts so many sectors into pieces of at least one, or with `odd` somewhere near that. */
  #cut(sectors: number, count: number, odd: boolean): number[] {
    const lengths: number[] = [];
    for (let left = sectors, i = count; i > 0; i--) {
      const most = left - (i - 1);
      const length = i === 1 ? left : 1 + this.#random.below(Math.min(most, Math.ceil((2 * left) / i)));
      lengths.push(length * this.#shape.sectorBytes);
      left -= length;
    }
    for (let i = 1; i < count && odd; i++) {
      const bytes = this.#random.below(this.#shape.sectorBytes);
      lengths[i - 1] = (lengths[i - 1] as number) - bytes; // a sector at least
      lengths[i] = (lengths[i] as number) + bytes;
    }
    return lengths;
  }

  /** Anywhere, also over each other. */
  #strew(lengths: readonly number[]): Stretch[] {
    return lengths.map((bytes) => {
      const pages = Math.floor((WRITABLE - bytes) / PAGE_SIZE);
      return { at: Math.max(0, this.#random.below(pages + 1) * PAGE_SIZE - this.#offset()), bytes };
    });
  }

  /** One behind the other, with gaps, then in any order; null when they do not fit. */
  #row(lengths: readonly number[]): Stretch[] | null {
    const random = this.#random;
    const ranges: Stretch[] = [];
    let end = random.below(WRITABLE_PAGES / 2) * PAGE_SIZE;
    for (const bytes of lengths) {
      const gap = random.chance(0.3) ? 0 : this.#offset() + (random.chance(0.5) ? PAGE_SIZE : 0);
      ranges.push({ at: end + gap, bytes });
      end += gap + bytes;
    }
    return end > WRITABLE ? null : random.shuffle(ranges);
  }

  /** Bytes from a page's start: none, of a sector's, a word's or any alignment. */
  #offset(): number {
    const random = this.#random;
    const unit = [PAGE_SIZE, PAGE_SIZE, 512, 512, 64, 4, 2, 1][random.below(8)] as number; // below(8) is an index
    return random.below(PAGE_SIZE / unit) * unit;
  }

  /** Moves one of the ranges to where the process may not write, or where it has nothing. */
  #forbid(ranges: Stretch[]): boolean {
    const random = this.#random;
    const i = random.below(ranges.length);
    const { bytes } = ranges[i] as Stretch; // there is at least one
    const edge = random.chance(0.5) ? WRITABLE : READABLE;
    const before = random.chance(0.5) ? 0 : random.below(Math.min(bytes, PAGE_SIZE));
    if (edge - before + bytes > BUFFER_PAGES * PAGE_SIZE) return false;
    const moved = { at: edge - before, bytes };
    const others = ranges.filter((_, k) => k !== i);
    if (others.some((range) => range.at + range.bytes > moved.at)) return false;
    if (touched([...others, moved]) > this.#shape.maxPages) return false;
    ranges[i] = moved;
    return true;
  }

  /** Where the request begins: anywhere, at an end of the disk, now and then beyond it; `sound`: where nothing fails. */
  #sector(sectors: number, sound: boolean): number {
    const random = this.#random;
    const last = this.#shape.sectors - sectors;
    if (sound) {
      const sector = random.below(last + 1);
      return this.#isClear(sector, sectors) ? sector : this.#clear(sectors);
    }
    if (random.chance(0.01)) return this.#shape.sectors + random.below(16);
    if (random.chance(0.01)) return last + 1 + random.below(sectors);
    if (random.chance(0.05)) return 0;
    return random.chance(0.06) ? last : random.below(last + 1);
  }

  #isClear(sector: number, sectors: number): boolean {
    return this.#bad.every(({ first, last }) => last < sector || first >= sector + sectors);
  }

  /** The first place without bad sectors: a request that fails has one reason. */
  #clear(sectors: number): number {
    let sector = 0;
    for (const { first, last } of [...this.#bad].sort((a, b) => a.first - b.first)) {
      if (first >= sector + sectors) break;
      sector = Math.max(sector, last + 1);
    }
    return sector;
  }
}

/** Pages that stretches touch; one that two of them touch counts twice. */
export function touched(ranges: readonly Stretch[]): number {
  return ranges.reduce((sum, { at, bytes }) => sum + Math.ceil(((at % PAGE_SIZE) + bytes) / PAGE_SIZE), 0);
}
