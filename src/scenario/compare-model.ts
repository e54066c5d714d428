// The third witness: what disk and memory must hold, as plain bytes.

import type { Reason } from './compare-side.ts';
import {
  type BadSectors,
  BUFFER_PAGES,
  badSectors,
  noise,
  READABLE,
  type Stretch,
  type TransferOperation,
  type WorkloadShape,
  WRITABLE,
} from './workload.ts';

const PAGE = 4096;

/** Why a request must fail, and how many of its bytes come before the failure. */
export interface Failure {
  readonly reason: Reason;
  readonly before: number;
}

export class Model {
  readonly disk: Uint8Array;
  readonly memory: readonly Uint8Array[];
  readonly bad: readonly BadSectors[];
  readonly #unit: number;

  constructor(seed: number, shape: WorkloadShape) {
    this.#unit = shape.sectorBytes;
    this.disk = noise(seed ^ 0xd15c, shape.sectors * shape.sectorBytes);
    this.memory = Array.from({ length: shape.buffers }, (_, i) => noise(seed + i, BUFFER_PAGES * PAGE));
    this.bad = badSectors(seed, shape);
  }

  /** Null for a request that must succeed. */
  failure(operation: TransferOperation): Failure | null {
    const { op, sector, sectors, ranges } = operation;
    const edge = op === 'read' ? WRITABLE : READABLE;
    const wrong = ranges.findIndex(({ at, bytes }) => at + bytes > edge);
    if (wrong >= 0) return { reason: 'memory', before: sum(ranges.slice(0, wrong)) };
    const before = this.reach(operation, 0, sum(ranges));
    if (sector + sectors > this.disk.length / this.#unit) return { reason: 'end', before };
    return before === sum(ranges) ? null : { reason: 'medium', before };
  }

  /** How many of the bytes `from` to `from + bytes` of a request the disk moves until it meets an obstacle. */
  reach({ sector, fault }: TransferOperation, from: number, bytes: number): number {
    const at = sector * this.#unit + from;
    let end = Math.max(at, Math.min(at + bytes, this.disk.length));
    const faulty = fault === null ? [] : [{ first: fault, last: fault }];
    for (const { first, last } of [...this.bad, ...faulty]) {
      if ((last + 1) * this.#unit > at && first * this.#unit < end) end = Math.max(at, first * this.#unit);
    }
    return end - at;
  }

  /** Puts what the process stores before the request into its memory, and returns where: there it may write. */
  prepare(operation: TransferOperation): Stretch[] {
    const { op, ranges, buffer, fill } = operation;
    if (op === 'write' && fill === null) return [];
    const memory = this.bytesOf(buffer);
    const bytes = sum(ranges);
    // What is to be read is the opposite of what stands there: bytes that never arrive cannot look right.
    const wanted = this.bytesAt(operation);
    const stored =
      op === 'write' ? noise(fill ?? 0, bytes) : new Uint8Array(bytes).map((_, i) => ~(wanted[i] ?? 0));
    let from = 0;
    return ranges.map(({ at, bytes: length }) => {
      const part = stored.subarray(from, from + Math.max(0, Math.min(length, WRITABLE - at)));
      memory.set(part, at);
      from += length;
      return { at, bytes: part.length };
    });
  }

  /** Does a request. */
  apply({ op, ranges, buffer, sector }: TransferOperation): void {
    const memory = this.bytesOf(buffer);
    let at = sector * this.#unit;
    for (const range of ranges) {
      const end = at + range.bytes;
      if (op === 'read') memory.set(this.disk.subarray(at, end), range.at);
      else this.disk.set(memory.subarray(range.at, range.at + range.bytes), at);
      at = end;
    }
  }

  /** What a write sends, in order. */
  sent({ ranges, buffer }: TransferOperation): Uint8Array {
    const memory = this.bytesOf(buffer);
    const bytes = new Uint8Array(sum(ranges));
    let to = 0;
    for (const range of ranges) {
      bytes.set(memory.subarray(range.at, range.at + range.bytes), to);
      to += range.bytes;
    }
    return bytes;
  }

  /** The sectors of a request, as far as the disk has them. */
  bytesAt({ sector, sectors }: TransferOperation): Uint8Array {
    return this.disk.subarray(sector * this.#unit, (sector + sectors) * this.#unit);
  }

  bytesOf(buffer: number): Uint8Array {
    return this.memory[buffer] as Uint8Array; // the workload has as many buffers as the shape says
  }
}

function sum(ranges: readonly Stretch[]): number {
  return ranges.reduce((total, { bytes }) => total + bytes, 0);
}
