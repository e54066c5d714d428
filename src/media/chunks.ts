// Sparse content: a map of chunks that were written, and a bit for each chunk that was discarded. What is in
// neither is somebody else's: the overlay's base, or zeroes.

import { MediumError } from './error.ts';

export const MIN_CHUNK_BYTES = 4096;
export const MAX_CHUNK_BYTES = 65536;

/** A stretch of whole chunks: their bytes one after the other, or null for zeroes. */
export interface Span {
  readonly offset: number;
  readonly bytes: number;
  readonly buffers: readonly Uint8Array[] | null;
}

/** "BKCH" in a file. */
const MAGIC = 0x48434b42;
const VERSION = 1;
const HEADER_BYTES = 40;
/** Chunks of one span of data. */
const SPAN_CHUNKS = 256;

export class Chunks {
  readonly bytes: number;
  readonly chunkBytes: number;
  #data = new Map<number, Uint8Array>();
  #zeroed: Uint8Array | null = null;
  #zeroedCount = 0;

  /** Throws RangeError unless `chunkBytes` is a power of two from 4 KiB to 64 KiB. */
  constructor(bytes: number, chunkBytes: number) {
    const isPower = Number.isInteger(chunkBytes) && (chunkBytes & (chunkBytes - 1)) === 0;
    if (!(isPower && chunkBytes >= MIN_CHUNK_BYTES && chunkBytes <= MAX_CHUNK_BYTES)) {
      throw new RangeError(`chunkBytes is ${chunkBytes}; it must be a power of two from 4096 to 65536`);
    }
    this.bytes = bytes;
    this.chunkBytes = chunkBytes;
  }

  /** Bytes of chunks that were written or discarded. */
  get heldBytes(): number {
    return (this.#data.size + this.#zeroedCount) * this.chunkBytes;
  }

  /** The content of a chunk; null: zeroes; undefined: it is not here. */
  get(index: number): Uint8Array | null | undefined {
    return this.#data.get(index) ?? (this.#isZeroed(index) ? null : undefined);
  }

  /** Puts `bytes` into a chunk from its byte `at` on. `before` makes the content of a chunk that is not here. */
  put(index: number, at: number, bytes: Uint8Array, before: () => Uint8Array): void {
    let chunk = this.#data.get(index);
    if (chunk === undefined) {
      const whole = bytes.length === this.chunkBytes;
      chunk = whole || this.#isZeroed(index) ? new Uint8Array(this.chunkBytes) : before();
      this.#data.set(index, chunk);
      this.#unmark(index);
    }
    chunk.set(bytes, at);
  }

  /** Makes `count` chunks from `first` on zeroes. */
  zero(first: number, count: number): void {
    this.drop(first, count);
    this.#zeroed ??= new Uint8Array(Math.ceil(this.bytes / this.chunkBytes / 8));
    const end = first + count;
    let index = first;
    while (index < end) {
      // Eight at a time once a byte of the bit map begins: a terabyte is discarded in a moment.
      const bits = (index & 7) === 0 && index + 8 <= end ? 0xff : 1 << (index & 7);
      const was = this.#zeroed[index >>> 3] as number;
      this.#zeroed[index >>> 3] = was | bits;
      this.#zeroedCount += ones(bits & ~was);
      index += bits === 0xff ? 8 : 1;
    }
  }

  /** Forgets what was written to `count` chunks from `first` on. */
  drop(first: number, count: number): void {
    if (count < this.#data.size) {
      for (let index = first; index < first + count; index++) this.#data.delete(index);
    } else {
      for (const index of this.#data.keys()) {
        if (index >= first && index < first + count) this.#data.delete(index);
      }
    }
  }

  clear(): void {
    this.#data = new Map();
    this.#zeroed = null;
    this.#zeroedCount = 0;
  }

  /** What is held, zeroes first, then data in ascending order. */
  *spans(): Generator<Span> {
    for (const [first, count] of this.#zeroedRanges()) {
      const offset = first * this.chunkBytes;
      yield { offset, bytes: Math.min(count * this.chunkBytes, this.bytes - offset), buffers: null };
    }
    const indexes = [...this.#data.keys()].sort((a, b) => a - b);
    for (let i = 0, n = 1; i < indexes.length; i += n) {
      const first = indexes[i] as number;
      n = 1;
      while (n < SPAN_CHUNKS && indexes[i + n] === first + n) n++;
      yield this.#dataSpan(first, n);
    }
  }

  #dataSpan(first: number, count: number): Span {
    const offset = first * this.chunkBytes;
    const bytes = Math.min(count * this.chunkBytes, this.bytes - offset);
    const buffers = Array.from({ length: count }, (_, i) => {
      const chunk = this.#data.get(first + i) as Uint8Array;
      return chunk.subarray(0, bytes - i * this.chunkBytes);
    });
    return { offset, bytes, buffers };
  }

  /** What is held as one run of bytes, for a snapshot. */
  save(): Uint8Array {
    const ranges = [...this.#zeroedRanges()];
    const indexes = [...this.#data.keys()].sort((a, b) => a - b);
    const head = HEADER_BYTES + ranges.length * 16 + indexes.length * 8;
    const saved = new Uint8Array(head + indexes.length * this.chunkBytes);
    const view = new DataView(saved.buffer);
    view.setUint32(0, MAGIC, true);
    view.setUint32(4, VERSION, true);
    const numbers = [
      this.bytes,
      this.chunkBytes,
      ranges.length,
      indexes.length,
      ...ranges.flat(),
      ...indexes,
    ];
    let at = 8;
    for (const number of numbers) {
      view.setFloat64(at, number, true);
      at += 8;
    }
    let to = head;
    for (const index of indexes) {
      saved.set(this.#data.get(index) as Uint8Array, to);
      to += this.chunkBytes;
    }
    return saved;
  }

  /** Replaces what is held by what save() returned. Throws MediumError if it belongs to another medium. */
  restore(saved: Uint8Array): void {
    const view = new DataView(saved.buffer, saved.byteOffset, saved.byteLength);
    const number = (i: number): number => view.getFloat64(8 + 8 * i, true);
    const isOurs =
      saved.length >= HEADER_BYTES &&
      view.getUint32(0, true) === MAGIC &&
      view.getUint32(4, true) === VERSION &&
      saved.length === HEADER_BYTES + number(2) * 16 + number(3) * (8 + number(1));
    if (!isOurs) throw new MediumError('the saved content is not of this format, or cut off', 'mismatch');
    if (number(0) !== this.bytes || number(1) !== this.chunkBytes) {
      throw new MediumError(
        `the saved content is of ${number(0)} bytes in chunks of ${number(1)}; this has ${this.bytes} in chunks of ${this.chunkBytes}`,
        'mismatch',
      );
    }
    this.clear();
    const ranges = number(2);
    const count = number(3);
    for (let i = 0; i < ranges; i++) {
      const length = number(5 + 2 * i);
      this.zero(this.#checked(number(4 + 2 * i), length), length);
    }
    const data = HEADER_BYTES + ranges * 16 + count * 8;
    for (let i = 0; i < count; i++) {
      const at = data + i * this.chunkBytes;
      const index = this.#checked(number(4 + 2 * ranges + i), 1);
      this.#data.set(index, saved.slice(at, at + this.chunkBytes));
    }
  }

  /** The number of a chunk that was saved, if it and `count` − 1 more can be. */
  #checked(index: number, count: number): number {
    const chunks = Math.ceil(this.bytes / this.chunkBytes);
    if (
      Number.isInteger(index) &&
      Number.isInteger(count) &&
      index >= 0 &&
      count > 0 &&
      index + count <= chunks
    )
      return index;
    throw new MediumError(`the saved content has ${count} chunks at ${index} of ${chunks}`, 'mismatch');
  }

  #isZeroed(index: number): boolean {
    return this.#zeroed !== null && ((this.#zeroed[index >>> 3] as number) & (1 << (index & 7))) !== 0;
  }

  #unmark(index: number): void {
    if (this.#zeroed === null || !this.#isZeroed(index)) return;
    this.#zeroed[index >>> 3] = (this.#zeroed[index >>> 3] as number) & ~(1 << (index & 7));
    this.#zeroedCount--;
  }

  *#zeroedRanges(): Generator<[first: number, count: number]> {
    if (this.#zeroed === null) return;
    const end = this.#zeroed.length * 8;
    for (let index = 0; index < end; index++) {
      if ((index & 7) === 0 && this.#zeroed[index >>> 3] === 0) {
        index += 7;
        continue;
      }
      if (!this.#isZeroed(index)) continue;
      const first = index;
      while (index < end && this.#isZeroed(index)) index++;
      yield [first, index - first];
    }
  }
}

function ones(byte: number): number {
  let count = 0;
  for (; byte !== 0; byte &= byte - 1) count++;
  return count;
}
