// What a request may leave behind: in the process's memory, on the disk, and beside both.

import type { Failure, Model } from './compare-model.ts';
import type { Side } from './compare-side.ts';
import { READABLE, type TransferOperation, WRITABLE } from './workload.ts';

/** Bytes beside a request's memory and beside its sectors that must not change. */
const MARGIN = 512;

/** A request as it went through a kernel. */
export interface Outcome {
  readonly side: Side;
  readonly operation: TransferOperation;
  /** Why it had to fail; null for a request that had to succeed, and that the model has done. */
  readonly failure: Failure | null;
  /** What the kernel returned. */
  readonly result: number;
}

/** What is wrong with the memory that the request has used, null if nothing is. */
export function checkMemory(outcome: Outcome, model: Model): string | null {
  const { side, operation, failure } = outcome;
  const { op, buffer, ranges } = operation;
  const from = Math.max(0, Math.min(...ranges.map(({ at }) => at)) - MARGIN);
  const to = Math.min(READABLE, Math.max(...ranges.map(({ at, bytes }) => at + bytes)) + MARGIN);
  const got = side.load(buffer, { at: from, bytes: to - from });
  const wanted = model.bytesOf(buffer).slice(from, to);
  if (failure !== null && op === 'read') tolerateMemory(outcome, failure, model, got, wanted, from);
  return findDifference(got, wanted, `buffer ${buffer}`, from);
}

/** Takes into `wanted`, the bytes of memory from `from` on, what a failed read is allowed to have put into `got`. */
function tolerateMemory(
  { side, operation, result }: Outcome,
  failure: Failure,
  model: Model,
  got: Uint8Array,
  wanted: Uint8Array,
  from: number,
): void {
  const { progress } = side.kernel;
  const disk = model.bytesAt(operation);
  // A kernel that copies a refused request back does so whatever its pages hold.
  const before =
    result === 0 ? disk.length : failure.reason === 'end' && progress === 'whole' ? 0 : failure.before;
  let done = 0;
  let arrived = false;
  for (const { at, bytes } of operation.ranges) {
    for (let i = 0; i < bytes && at + i < WRITABLE; i++, done++) {
      const k = at + i - from;
      const here = got[k] === disk[done];
      if (done >= before)
        wanted[k] = got[k] as number; // both are as long as the memory that is compared
      else if (result === 0 || here) wanted[k] = disk[done] as number; // `before` is not more than the disk has
      arrived ||= here && done < before;
    }
  }
  if (arrived && failure.reason !== 'medium') side.partial++;
}

/** What is wrong with the sectors of the request and around them, null if nothing is. After a failure they are put back. */
export function checkDisk(outcome: Outcome, model: Model): string | null {
  const { side, operation, failure } = outcome;
  const { op, sector, sectors } = operation;
  const { sectorBytes } = side.disk;
  const from = Math.max(0, sector * sectorBytes - MARGIN);
  const to = Math.min(model.disk.length, (sector + sectors) * sectorBytes + MARGIN);
  if (from >= to) return null;
  const got = side.disk.read(from, to - from);
  const wanted = model.disk.slice(from, to);
  if (failure !== null && op === 'write') {
    tolerateSectors(outcome, failure, model, got, wanted, sector * sectorBytes - from);
    side.disk.write(from, model.disk.subarray(from, to));
  }
  return findDifference(got, wanted, 'the disk', from);
}

/** Takes into `wanted` what a failed write is allowed to have put into `got`; its first sector is at byte `at`. */
function tolerateSectors(
  { side, operation, result }: Outcome,
  { reason, before }: Failure,
  model: Model,
  got: Uint8Array,
  wanted: Uint8Array,
  at: number,
): void {
  const sent = model.sent(operation);
  const apart = side.kernel.progress === 'piecewise';
  const whole = [{ bytes: sent.length }];
  let offset = 0;
  let moved = false;
  for (const { bytes } of apart && isWhole(side, operation) ? operation.ranges : whole) {
    const reach = result === 0 ? bytes : model.reach(operation, offset, bytes);
    const part = sent.subarray(offset, offset + reach);
    const begins = offset <= before;
    const must = result === 0 || (reason === 'medium' && begins);
    const may = apart && (reason === 'memory' ? offset < before : true);
    const arrived =
      part.length > 0 && findDifference(got.subarray(at + offset, at + offset + reach), part, '', 0) === null;
    if (must || (may && arrived)) wanted.set(part, at + offset);
    moved ||= arrived && may;
    offset += bytes;
  }
  if (moved && reason !== 'medium') side.partial++;
}

/** Whether every range is of whole sectors. A kernel that makes a request of each copies others, all at once. */
function isWhole({ disk }: Side, { ranges }: TransferOperation): boolean {
  return ranges.every(({ bytes }) => bytes % disk.sectorBytes === 0);
}

/** How many bytes differ and where the first of them is, in words; null if none does. */
export function findDifference(
  got: Uint8Array,
  wanted: Uint8Array,
  where: string,
  from: number,
): string | null {
  let first = -1;
  let count = 0;
  for (let i = sameWords(got, wanted); i < got.length; i++) {
    if (got[i] === wanted[i]) continue;
    if (first < 0) first = i;
    count++;
  }
  if (first < 0) return null;
  const bytes = `${count} byte${count === 1 ? '' : 's'} of ${where} differ${count === 1 ? 's' : ''}`;
  return `${bytes}, first byte ${from + first}: ${got[first]} instead of ${wanted[first]}`;
}

/** How many bytes at the start are the same, as far as whole words say so. */
function sameWords(a: Uint8Array, b: Uint8Array): number {
  if (a.byteOffset % 4 !== 0 || b.byteOffset % 4 !== 0) return 0;
  const count = Math.min(a.length, b.length) >>> 2;
  const left = new Uint32Array(a.buffer, a.byteOffset, count);
  const right = new Uint32Array(b.buffer, b.byteOffset, count);
  let i = 0;
  while (i < count && left[i] === right[i]) i++;
  return 4 * i;
}

/** `a write of 3 sectors at sector 17 from 2 ranges of buffer 0`. */
export function describe({ op, sector, sectors, ranges, buffer }: TransferOperation): string {
  const memory = `${ranges.length} range${ranges.length === 1 ? '' : 's'} of buffer ${buffer}`;
  const size = `${sectors} sector${sectors === 1 ? '' : 's'}`;
  return `a ${op} of ${size} at sector ${sector} ${op === 'read' ? 'into' : 'from'} ${memory}`;
}

/** What a request returned, in words. */
export function describeResult(result: number): string {
  return result === 0 ? 'success' : `errno ${-result}`;
}
