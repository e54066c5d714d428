// A qcow2 image as a medium: guest clusters through two levels of tables to clusters of the file, of the
// backing file, or zeroes.
//
// [1] QEMU, docs/interop/qcow2: "Cluster mapping", "Snapshots".
//
// Data are written at once, into clusters that nothing refers to yet or into the guest's own. Tables are kept
// in memory until commit(), which writes them from the leaves up with a flush between: refcounts and data, the
// refcount table, L2 tables, the L1 table; then what was replaced is given up. So the file is sound after every
// write, in whatever order the host's disk has taken those between two flushes.

import type { Backend } from '../backend.ts';
import { lengthOf, lengthOn, sliceOf } from '../buffers.ts';
import { laterError, MediumError } from '../error.ts';
import type { SyncMedium } from '../medium.ts';
import {
  AT_AUTOCLEAR,
  AT_L1_OFFSET,
  AT_TABLE_OFFSET,
  type Header,
  imageError,
  readHeader,
} from './header.ts';
import { Refcounts } from './refcounts.ts';
import { claimSnapshots } from './snapshots.ts';
import { Space, Table, TableCache } from './space.ts';

/** Inflates a cluster: raw deflate [1], maybe with bytes behind its end. Throws what it likes. */
export type Inflate = (data: Uint8Array, clusterBytes: number) => Uint8Array;

export interface Qcow2Options {
  /** What shows where the image has nothing; it must be there if the header names a backing file. */
  readonly backing?: SyncMedium;
  /** Without it compressed clusters cannot be read. */
  readonly inflate?: Inflate;
}

// The upper half of an entry of either level [1]; the lower half has the rest of the offset.
const COPIED = 0x80000000;
const COMPRESSED = 0x40000000;
const OFFSET_HIGH = 0x00ffffff;
const RESERVED_HIGH = 0x3f000000;
/** In the lower half: offsets begin at bit 9; bit 0 of an L2 entry says zeroes (version 3). */
const OFFSET_LOW = 0xfffffe00;
const ZERO = 1;

/** What a guest cluster is. `host` is 0 where it has no cluster of the file. */
interface Place {
  readonly kind: 'data' | 'zero' | 'backing' | 'compressed';
  readonly host: number;
  /** The entry's halves, and where it stands in the file; 0 where there is no L2 table. */
  readonly high: number;
  readonly low: number;
  readonly at: number;
}

/** Opens an image over a backend. Throws MediumError with file, byte and field. Closing it closes both. */
export function qcow2Medium(backend: Backend, options: Qcow2Options = {}): SyncMedium {
  const header = readHeader(backend);
  if (header.backingName !== null && options.backing === undefined) {
    throw new MediumError(
      `${backend.name}: it is an overlay of ${header.backingName}, which was not given`,
      'missing',
    );
  }
  return new Qcow2(backend, header, options);
}

class Qcow2 implements SyncMedium {
  readonly sync = true;
  readonly name: string;
  readonly bytes: number;
  readonly readOnly: boolean;
  readonly #header: Header;
  readonly #space: Space;
  readonly #backing: SyncMedium | null;
  readonly #inflate: Inflate | null;
  readonly #l1: Table;
  readonly #tables: TableCache;
  /** Null where the image is read-only. */
  readonly #counts: Refcounts | null;
  readonly #clusterBytes: number;
  /** Entries of an L2 table. */
  readonly #perTable: number;
  /** The compressed cluster that was read last, by its entry's place. */
  #inflated: { at: number; high: number; low: number; bytes: Uint8Array } | null = null;
  #touched = false;
  #closed = false;

  constructor(backend: Backend, header: Header, options: Qcow2Options) {
    this.name = backend.name;
    this.bytes = header.bytes;
    this.readOnly = backend.readOnly;
    this.#header = header;
    this.#backing = options.backing ?? null;
    this.#inflate = options.inflate ?? null;
    this.#space = new Space(backend, header.clusterBits);
    this.#clusterBytes = this.#space.clusterBytes;
    this.#perTable = this.#clusterBytes / 8;
    if (!this.readOnly && header.dirty) {
      throw new MediumError(
        `${this.name}: byte 72 (incompatible_features): the image was not closed and its refcounts may be wrong; run \`qemu-img check -r all\`, or open it read-only`,
        'format',
      );
    }
    const l1 = new Uint8Array(header.l1Size * 8);
    this.#space.readv(header.l1Offset, [l1]);
    this.#l1 = new Table(header.l1Offset, l1);
    this.#tables = new TableCache(this.#space);
    this.#claim();
    this.#counts = this.readOnly ? null : new Refcounts(this.#space, header);
  }

  /** Learns where the metadata lie; they must not lie on each other. */
  #claim(): void {
    const { l1Offset, tableOffset, tableClusters } = this.#header;
    this.#space.metadata.set(0, 'the header');
    this.#space.claim(l1Offset, this.#l1.bytes.length, 'the L1 table', AT_L1_OFFSET, 'l1_table_offset');
    const length = tableClusters * this.#clusterBytes;
    this.#space.claim(tableOffset, length, 'the refcount table', AT_TABLE_OFFSET, 'refcount_table_offset');
    claimSnapshots(this.#space, this.#header);
    for (let index = 0; index < this.#header.l1Size; index++) {
      const offset = this.#l1Entry(index);
      if (offset === 0) continue;
      const at = l1Offset + index * 8;
      this.#space.checkCluster(offset, at, 'L1 entry');
      this.#space.claim(offset, this.#clusterBytes, 'an L2 table', at, 'L1 entry');
    }
  }

  readv(offset: number, buffers: readonly Uint8Array[]): number {
    this.#checkOpen();
    const length = lengthOn(this.bytes, offset, lengthOf(buffers));
    for (let done = 0; done < length; ) {
      try {
        done += this.#readRun(offset + done, sliceOf(buffers, done, length - done));
      } catch (error) {
        throw laterError(error, done);
      }
    }
    return length;
  }

  writev(offset: number, buffers: readonly Uint8Array[]): number {
    const counts = this.#begin();
    const length = lengthOn(this.bytes, offset, lengthOf(buffers));
    for (let done = 0; done < length; ) {
      try {
        this.#makeRoom(counts);
        done += this.#writeRun(counts, offset + done, sliceOf(buffers, done, length - done));
      } catch (error) {
        throw laterError(error, done);
      }
    }
    return length;
  }

  flush(): void {
    this.#checkOpen();
    if (this.#counts !== null) this.#commit(this.#counts);
    this.#space.backend.flush();
  }

  discard(offset: number, bytes: number): void {
    const counts = this.#begin();
    const end = offset + lengthOn(this.bytes, offset, bytes);
    for (let at = offset; at < end; ) {
      try {
        this.#makeRoom(counts);
        at = this.#discardSome(counts, at, end);
      } catch (error) {
        throw laterError(error, at - offset);
      }
    }
  }

  close(): void {
    if (this.#closed) return;
    try {
      if (this.#counts !== null) this.#commit(this.#counts);
    } finally {
      this.#closed = true;
      this.#space.backend.close();
      this.#backing?.close();
    }
  }

  // Looking up.

  /** Host offset of an L2 table, 0 without one. */
  #l1Entry(index: number): number {
    const high = this.#l1.view.getUint32(index * 8);
    const low = this.#l1.view.getUint32(index * 8 + 4);
    if ((high & (RESERVED_HIGH | COMPRESSED)) !== 0 || (low & ~OFFSET_LOW) !== 0) {
      const at = this.#header.l1Offset + index * 8;
      throw this.#space.error(at, 'L1 entry', 'reserved bits are set');
    }
    return (high & OFFSET_HIGH) * 2 ** 32 + low;
  }

  #place(cluster: number): Place {
    const index = Math.floor(cluster / this.#perTable);
    const offset = this.#l1Entry(index);
    if (offset === 0) return this.#unallocated(cluster, 0);
    const table = this.#tables.get(offset);
    const entry = (cluster % this.#perTable) * 8;
    const high = table.view.getUint32(entry);
    const low = table.view.getUint32(entry + 4);
    const at = offset + entry;
    if ((high & COMPRESSED) !== 0) return { kind: 'compressed', host: 0, high, low, at };
    const flags = this.#header.version === 3 ? ZERO : 0;
    if ((high & RESERVED_HIGH) !== 0 || (low & ~OFFSET_LOW & ~flags) !== 0) {
      throw this.#space.error(at, 'L2 entry', 'reserved bits are set');
    }
    const host = (high & OFFSET_HIGH) * 2 ** 32 + ((low & OFFSET_LOW) >>> 0);
    const zero = (low & ZERO) !== 0;
    if (host === 0 && !zero) return this.#unallocated(cluster, at);
    this.#space.checkCluster(host, at, 'L2 entry', zero);
    if (host !== 0 || !zero) this.#checkNoMetadata(host, at);
    return { kind: zero ? 'zero' : 'data', host, high, low, at };
  }

  #checkNoMetadata(host: number, at: number): void {
    const other = this.#space.metadata.get(this.#space.clusterOf(host));
    if (other !== undefined) throw this.#space.error(at, 'L2 entry', `${host}, where ${other} lies`);
  }

  #unallocated(cluster: number, at: number): Place {
    return { kind: this.#isBacked(cluster) ? 'backing' : 'zero', host: 0, high: 0, low: 0, at };
  }

  /** Whether the backing file reaches into a guest cluster. */
  #isBacked(cluster: number): boolean {
    return this.#backing !== null && cluster * this.#clusterBytes < this.#backing.bytes;
  }

  // Reading.

  /** Reads from `offset` on as far as one call to somebody reaches; returns the bytes. */
  #readRun(offset: number, buffers: readonly Uint8Array[]): number {
    if (this.#counts === null) this.#tables.trim();
    const size = this.#clusterBytes;
    const wanted = lengthOf(buffers);
    const first = Math.floor(offset / size);
    const place = this.#place(first);
    let length = Math.min(wanted, (first + 1) * size - offset);
    if (place.kind === 'compressed') {
      const cluster = this.#inflateCluster(place);
      scatter(cluster.subarray(offset % size, (offset % size) + length), sliceOf(buffers, 0, length));
      return length;
    }
    for (let n = 1; length < wanted; n++) {
      const next = this.#place(first + n);
      const goes = next.kind === place.kind && (next.kind !== 'data' || next.host === place.host + n * size);
      if (!goes) break;
      length = Math.min(wanted, length + size);
    }
    const into = sliceOf(buffers, 0, length);
    if (place.kind === 'data') this.#space.readv(place.host + (offset % size), into);
    else if (place.kind === 'backing') this.#readBacking(offset, into);
    else for (const buffer of into) buffer.fill(0);
    return length;
  }

  /** What lies behind the backing file's end is zeroes. */
  #readBacking(offset: number, buffers: readonly Uint8Array[]): void {
    const backing = this.#backing as SyncMedium;
    const length = lengthOf(buffers);
    const there = Math.max(0, Math.min(length, backing.bytes - offset));
    const n = there === 0 ? 0 : backing.readv(offset, sliceOf(buffers, 0, there));
    if (n < there) {
      throw new MediumError(`${backing.name}: nothing can be read at byte ${offset + n}`, 'failed');
    }
    for (const buffer of sliceOf(buffers, there, length - there)) buffer.fill(0);
  }

  /** The bytes of a compressed cluster in the file: where, and how many up to the last sector's end [1]. */
  #packed(place: Place): { host: number; bytes: number } {
    const { clusterBits } = this.#header;
    const sectorBits = clusterBits - 8;
    // Bits 0 to 61 − sectorBits are the offset, those above the number of further sectors of 512 bytes.
    const split = 2 ** (62 - sectorBits - 32);
    const high = place.high & 0x3fffffff;
    const host = (high % split) * 2 ** 32 + place.low;
    const sectors = Math.floor(high / split) + 1;
    if (host >= this.#space.bytes) {
      throw this.#space.error(
        place.at,
        'L2 entry',
        `${host} is behind the end of the file, ${this.#space.bytes} bytes`,
      );
    }
    const bytes = sectors * 512 - (host % 512);
    for (let at = host; at < host + bytes; at += this.#clusterBytes) this.#checkNoMetadata(at, place.at);
    this.#checkNoMetadata(host + bytes - 1, place.at);
    return { host, bytes };
  }

  #inflateCluster(place: Place): Uint8Array {
    const last = this.#inflated;
    if (last !== null && last.at === place.at && last.high === place.high && last.low === place.low) {
      return last.bytes;
    }
    const { host, bytes } = this.#packed(place);
    if (this.#header.compression !== 'zlib' || this.#inflate === null) {
      const isZstd = this.#header.compression === 'zstd';
      const what = isZstd
        ? 'it is compressed with zstd, which is not supported'
        : 'compressed clusters need Node';
      throw imageError(this.name, place.at, 'L2 entry', what, 'unsupported');
    }
    const data = new Uint8Array(Math.min(bytes, this.#space.bytes - host));
    this.#space.readv(host, [data]);
    let inflated: Uint8Array;
    try {
      inflated = this.#inflate(data, this.#clusterBytes);
      if (inflated.length !== this.#clusterBytes) throw new Error(`it has ${inflated.length} bytes`);
    } catch (error) {
      const what = error instanceof Error ? error.message : String(error);
      throw this.#space.error(host, 'compressed cluster', `it cannot be inflated: ${what}`);
    }
    this.#inflated = { at: place.at, high: place.high, low: place.low, bytes: inflated };
    return inflated;
  }

  // Writing.

  #checkOpen(): void {
    if (this.#closed) throw new MediumError(`${this.name}: it is closed`, 'closed');
  }

  /** Before the first change: what other programs keep beside the data is not true any more [1]. */
  #begin(): Refcounts {
    this.#checkOpen();
    if (this.#counts === null) throw new MediumError(`${this.name}: it was opened read-only`, 'read-only');
    if (!this.#touched && this.#header.autoclear) this.#space.writev(AT_AUTOCLEAR, [new Uint8Array(8)]);
    this.#touched = true;
    return this.#counts;
  }

  #makeRoom(counts: Refcounts): void {
    if (counts.crowded || this.#tables.crowded) this.#commit(counts);
    counts.trim();
    this.#tables.trim();
  }

  /** The guest's own cluster of the file, to be written where it is; 0 if it has none that it shares with nobody. */
  #ownCluster(counts: Refcounts, place: Place): number {
    if (place.kind !== 'data') return 0;
    if ((place.high & COPIED) === 0) return 0;
    const count = counts.get(this.#space.clusterOf(place.host));
    if (count !== 1) {
      const what = `${place.host} is marked as its own, but its refcount is ${count}`;
      throw this.#space.error(place.at, 'L2 entry', `${what}; run \`qemu-img check -r all\``);
    }
    return place.host;
  }

  /** Writes from `offset` on as far as clusters of the file follow each other; returns the bytes. */
  #writeRun(counts: Refcounts, offset: number, buffers: readonly Uint8Array[]): number {
    const size = this.#clusterBytes;
    const wanted = lengthOf(buffers);
    const first = Math.floor(offset / size);
    const host = this.#ownCluster(counts, this.#place(first));
    if (host === 0) return this.#writeFresh(counts, offset, buffers);
    let length = Math.min(wanted, (first + 1) * size - offset);
    for (let n = 1; length < wanted; n++) {
      if (this.#ownCluster(counts, this.#place(first + n)) !== host + n * size) break;
      length = Math.min(wanted, length + size);
    }
    this.#space.writev(host + (offset % size), sliceOf(buffers, 0, length));
    return length;
  }

  /** Writes to new clusters, with what stood before around the bytes, and has the tables refer to them. */
  #writeFresh(counts: Refcounts, offset: number, buffers: readonly Uint8Array[]): number {
    const size = this.#clusterBytes;
    const first = Math.floor(offset / size);
    const last = Math.floor((offset + lengthOf(buffers) - 1) / size);
    const clusters: number[] = [];
    let length = 0;
    try {
      this.#allocateRun(counts, first, last, clusters);
      const end = (first + clusters.length) * size;
      length = Math.min(lengthOf(buffers), end - offset);
      const head = this.#before(first * size, offset - first * size);
      const tail = this.#before(offset + length, end - offset - length);
      const host = (clusters[0] as number) * size;
      this.#space.writev(host, [head, ...sliceOf(buffers, 0, length), tail]);
    } catch (error) {
      for (const cluster of clusters) counts.cancel(cluster);
      throw error;
    }
    for (const [i, cluster] of clusters.entries()) this.#replace(counts, first + i, cluster * size, 0);
    return length;
  }

  /** New clusters that follow each other, for guest clusters that have none of their own; at least one. */
  #allocateRun(counts: Refcounts, first: number, last: number, clusters: number[]): void {
    for (let guest = first; guest <= last; guest++) {
      const place = this.#place(guest);
      if (guest > first && this.#ownCluster(counts, place) !== 0) return;
      this.#checkOld(counts, place);
      this.#tableFor(counts, guest);
      const cluster = counts.allocate();
      if (guest > first && cluster !== (clusters[0] as number) + guest - first) {
        counts.cancel(cluster);
        return;
      }
      clusters.push(cluster);
    }
  }

  /** What the guest sees in a part of a cluster; zeroes behind the disk's end. */
  #before(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    const there = Math.max(0, Math.min(length, this.bytes - offset));
    for (let done = 0; done < there; ) {
      done += this.#readRun(offset + done, [bytes.subarray(done, there)]);
    }
    return bytes;
  }

  /** The L2 table of a guest cluster, made or copied where the image has none of its own. */
  #tableFor(counts: Refcounts, guest: number): Table {
    const index = Math.floor(guest / this.#perTable);
    const offset = this.#l1Entry(index);
    const isOwn = (this.#l1.view.getUint32(index * 8) & COPIED) !== 0;
    if (offset !== 0 && isOwn) return this.#tables.get(offset);
    const at = this.#header.l1Offset + index * 8;
    if (offset !== 0) counts.checkCounted(this.#space.clusterOf(offset), at, 'L1 entry');
    const bytes = offset === 0 ? new Uint8Array(this.#clusterBytes) : this.#tables.get(offset).bytes.slice();
    const cluster = counts.allocate();
    const table = new Table(cluster * this.#clusterBytes, bytes);
    this.#space.metadata.set(cluster, 'an L2 table');
    this.#tables.add(table);
    this.#l1.view.setUint32(index * 8, (COPIED | Math.floor(table.offset / 2 ** 32)) >>> 0);
    this.#l1.view.setUint32(index * 8 + 4, table.offset % 2 ** 32);
    this.#l1.touch(index * 8, index * 8 + 8);
    if (offset !== 0) {
      counts.release(this.#space.clusterOf(offset), at, 'L1 entry');
      this.#tables.drop(offset);
    }
    return table;
  }

  /** Checks that what an entry refers to can be given up. */
  #checkOld(counts: Refcounts, place: Place): void {
    for (const cluster of this.#clustersOf(place)) counts.checkCounted(cluster, place.at, 'L2 entry');
  }

  /** The clusters of the file that an entry refers to. */
  #clustersOf(place: Place): number[] {
    if (place.kind === 'compressed') {
      const { host, bytes } = this.#packed(place);
      const first = this.#space.clusterOf(host);
      const last = this.#space.clusterOf(host + bytes - 1);
      return Array.from({ length: last - first + 1 }, (_, i) => first + i);
    }
    return place.host === 0 ? [] : [this.#space.clusterOf(place.host)];
  }

  /** Has a guest cluster refer to `host` (0: nothing), and gives up what it referred to. */
  #replace(counts: Refcounts, guest: number, host: number, flags: number): void {
    const place = this.#place(guest);
    const table = this.#tableFor(counts, guest);
    const entry = (guest % this.#perTable) * 8;
    const copied = host === 0 ? 0 : COPIED;
    table.view.setUint32(entry, (copied | Math.floor(host / 2 ** 32)) >>> 0);
    table.view.setUint32(entry + 4, (host % 2 ** 32) + flags);
    this.#tables.touch(table, entry, entry + 8);
    for (const cluster of this.#clustersOf(place)) counts.release(cluster, place.at, 'L2 entry');
  }

  // Discarding.

  /** Discards from `at` on: a part of a cluster, a cluster, or what a whole L2 table would cover. */
  #discardSome(counts: Refcounts, at: number, end: number): number {
    const size = this.#clusterBytes;
    const guest = Math.floor(at / size);
    const stop = Math.min(end, (guest + 1) * size);
    const whole = at % size === 0 && (stop === (guest + 1) * size || stop === this.bytes);
    const index = Math.floor(guest / this.#perTable);
    if (this.#l1Entry(index) === 0 && !this.#isBacked(guest)) {
      return Math.min(end, (index + 1) * this.#perTable * size);
    }
    const place = this.#place(guest);
    if (place.kind === 'zero' && (whole ? place.host === 0 : true)) return stop;
    const hides = this.#isBacked(guest);
    if (!whole || (hides && this.#header.version === 2)) {
      const zeroes = new Uint8Array(stop - at);
      for (let done = 0; done < zeroes.length; ) {
        done += this.#writeRun(counts, at + done, [zeroes.subarray(done)]);
      }
      return stop;
    }
    this.#checkOld(counts, place);
    this.#replace(counts, guest, 0, hides ? ZERO : 0);
    return stop;
  }

  // Committing.

  #commit(counts: Refcounts): void {
    const { backend } = this.#space;
    if (!counts.dirty && this.#tables.dirtyCount === 0 && !this.#l1.dirty) return;
    counts.writeOut();
    if (this.#tables.dirtyCount > 0 || this.#l1.dirty) backend.flush();
    const changed = this.#tables.dirtyCount > 0;
    this.#tables.writeOut();
    if (this.#l1.dirty) {
      if (changed) backend.flush();
      this.#space.writeTable(this.#l1);
    }
    if (!counts.hasFreed) return;
    backend.flush();
    counts.giveUp();
  }
}

function scatter(bytes: Uint8Array, buffers: readonly Uint8Array[]): void {
  let from = 0;
  for (const buffer of buffers) {
    buffer.set(bytes.subarray(from, from + buffer.length));
    from += buffer.length;
  }
}
