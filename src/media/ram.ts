// A medium in the host's memory, for tests and browsers, and as the base of an overlay.

import { lengthOf, lengthOn, sliceOf } from './buffers.ts';
import { Chunks } from './chunks.ts';
import type { MediumContent } from './content.ts';
import type { SyncMedium } from './medium.ts';

export interface RamMedium extends SyncMedium {
  /** Memory that it takes: what was written and not discarded, in whole chunks. */
  readonly usedBytes: number;
  /** The content as one run of bytes, for snapshots. */
  save(): Uint8Array;
  /** Puts back what save() returned. Throws MediumError if it is of a medium of another size. */
  restore(saved: Uint8Array): void;
}

const CHUNK_BYTES = 65536;

/**
 * A medium of `bytes` bytes in memory, zeroes at first. It takes memory only for the chunks of 64 KiB that are
 * written, so that terabytes cost nothing; discarded chunks are given back.
 */
export function ramMedium(bytes: number, options: { readonly name?: string } = {}): RamMedium {
  if (!(Number.isSafeInteger(bytes) && bytes > 0)) {
    throw new RangeError(`a medium of ${bytes} bytes: the size must be a whole number above 0`);
  }
  return new SparseRam(bytes, options.name ?? 'ram');
}

class SparseRam implements RamMedium {
  readonly sync = true;
  readonly readOnly = false;
  readonly name: string;
  readonly #chunks: Chunks;

  constructor(bytes: number, name: string) {
    this.name = name;
    this.#chunks = new Chunks(bytes, CHUNK_BYTES, true);
  }

  get bytes(): number {
    return this.#chunks.bytes;
  }

  grow(bytes: number): void {
    this.#chunks.grow(bytes);
  }

  get usedBytes(): number {
    return this.#chunks.heldBytes;
  }

  readv(offset: number, buffers: readonly Uint8Array[]): number {
    return this.#each(offset, buffers, (index, at, piece) => {
      const chunk = this.#chunks.get(index);
      if (chunk instanceof Uint8Array) piece.set(chunk.subarray(at, at + piece.length));
      else piece.fill(0);
    });
  }

  writev(offset: number, buffers: readonly Uint8Array[]): number {
    return this.#each(offset, buffers, (index, at, piece) => {
      this.#chunks.put(index, at, piece, () => new Uint8Array(CHUNK_BYTES));
    });
  }

  flush(): void {}

  discard(offset: number, bytes: number): void {
    const end = offset + lengthOn(this.bytes, offset, bytes);
    const first = Math.ceil(offset / CHUNK_BYTES);
    const last = end === this.bytes ? Math.ceil(end / CHUNK_BYTES) : Math.floor(end / CHUNK_BYTES);
    if (last > first) this.#chunks.drop(first, last - first);
    this.#fillZero(offset, Math.min(end, first * CHUNK_BYTES));
    this.#fillZero(Math.max(offset, last * CHUNK_BYTES), end);
  }

  close(): void {
    this.#chunks.clear();
  }

  get content(): MediumContent {
    return this.#chunks;
  }

  save(): Uint8Array {
    return this.#chunks.save();
  }

  restore(saved: Uint8Array): void {
    this.#chunks.restore(saved);
  }

  #fillZero(from: number, to: number): void {
    if (from >= to) return;
    this.#chunks.clean(Math.floor(from / CHUNK_BYTES), from % CHUNK_BYTES, to - from);
  }

  /** Calls `visit` for each piece of the buffers that lies in one chunk; returns the bytes in all. */
  #each(
    offset: number,
    buffers: readonly Uint8Array[],
    visit: (index: number, at: number, piece: Uint8Array) => void,
  ): number {
    const length = lengthOn(this.bytes, offset, lengthOf(buffers));
    for (const buffer of sliceOf(buffers, 0, length)) {
      for (let done = 0; done < buffer.length; ) {
        const at = offset % CHUNK_BYTES;
        const piece = buffer.subarray(done, done + CHUNK_BYTES - at);
        visit(Math.floor(offset / CHUNK_BYTES), at, piece);
        offset += piece.length;
        done += piece.length;
      }
    }
    return length;
  }
}
