// The image file as clusters: what lies where, and tables that are kept in memory until they are committed.

import type { Backend } from '../backend.ts';
import type { MediumError } from '../error.ts';
import { imageError } from './header.ts';

/** A cluster of entries in memory: an L2 table or a refcount block. */
export class Table {
  readonly offset: number;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  /** The bytes that differ from the file: from, up to. */
  from = 0;
  to = 0;

  constructor(offset: number, bytes: Uint8Array) {
    this.offset = offset;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get dirty(): boolean {
    return this.to > this.from;
  }

  touch(from: number, to: number): void {
    if (this.dirty) {
      this.from = Math.min(this.from, from);
      this.to = Math.max(this.to, to);
    } else {
      this.from = from;
      this.to = to;
    }
  }

  clean(): void {
    this.from = 0;
    this.to = 0;
  }
}

/** The file, its clusters, and which of them hold what describes the image. */
export class Space {
  readonly backend: Backend;
  readonly name: string;
  readonly clusterBits: number;
  readonly clusterBytes: number;
  /** Clusters of metadata by number, and what they hold: no data may be written there. */
  readonly metadata = new Map<number, string>();
  #bytes: number;

  constructor(backend: Backend, clusterBits: number) {
    this.backend = backend;
    this.name = backend.name;
    this.clusterBits = clusterBits;
    this.clusterBytes = 2 ** clusterBits;
    this.#bytes = backend.size();
  }

  error(at: number, field: string, what: string): MediumError {
    return imageError(this.name, at, field, what);
  }

  /** Bytes of the file. */
  get bytes(): number {
    return this.#bytes;
  }

  clusterOf(offset: number): number {
    return Math.floor(offset / this.clusterBytes);
  }

  /** Reads; what lies behind the end of the file is zeroes. */
  readv(offset: number, buffers: readonly Uint8Array[]): void {
    let skip = this.backend.readv(offset, buffers);
    for (const buffer of buffers) {
      buffer.fill(0, Math.min(skip, buffer.length));
      skip = Math.max(0, skip - buffer.length);
    }
  }

  writev(offset: number, buffers: readonly Uint8Array[]): void {
    let end = offset;
    for (const buffer of buffers) end += buffer.length;
    this.backend.writev(offset, buffers);
    this.#bytes = Math.max(this.#bytes, end);
  }

  readTable(offset: number): Table {
    const bytes = new Uint8Array(this.clusterBytes);
    this.readv(offset, [bytes]);
    return new Table(offset, bytes);
  }

  writeTable(table: Table): void {
    if (!table.dirty) return;
    this.writev(table.offset + table.from, [table.bytes.subarray(table.from, table.to)]);
    table.clean();
  }

  /** Names the clusters of a range; two things in one cluster contradict each other. */
  claim(offset: number, length: number, what: string, at: number, field: string): void {
    const end = this.clusterOf(offset + length - 1);
    for (let cluster = this.clusterOf(offset); cluster <= end; cluster++) {
      const other = this.metadata.get(cluster);
      if (other !== undefined) {
        throw this.error(at, field, `${offset}, where ${other} lies; \`qemu-img check\` tells more`);
      }
      this.metadata.set(cluster, what);
    }
  }

  release(cluster: number): void {
    this.metadata.delete(cluster);
  }

  /** Where an entry at byte `at` points: aligned, and within the file unless `anywhere`. */
  checkCluster(offset: number, at: number, field: string, anywhere = false): void {
    if (offset % this.clusterBytes !== 0) {
      throw this.error(at, field, `${offset} is no multiple of the cluster, ${this.clusterBytes} bytes`);
    }
    if (offset >= this.#bytes && !anywhere) {
      throw this.error(at, field, `${offset} is behind the end of the file, ${this.#bytes} bytes`);
    }
  }
}

const CACHE_BYTES = 32 * 2 ** 20;
const LEAST_TABLES = 8;
const MOST_TABLES = 4096;

/** Tables by their offset in the file, the least lately used first. */
export class TableCache {
  readonly #space: Space;
  readonly #tables = new Map<number, Table>();
  readonly #capacity: number;
  readonly #dirty = new Set<Table>();
  #last: Table | null = null;

  constructor(space: Space) {
    this.#space = space;
    this.#capacity = Math.max(LEAST_TABLES, Math.min(MOST_TABLES, CACHE_BYTES / space.clusterBytes));
  }

  get dirtyCount(): number {
    return this.#dirty.size;
  }

  /** Whether changed tables take up half of the room: time to commit them. */
  get crowded(): boolean {
    return this.#dirty.size * 2 > this.#capacity;
  }

  get(offset: number): Table {
    if (this.#last?.offset === offset) return this.#last;
    const found = this.#tables.get(offset);
    const table = found ?? this.#space.readTable(offset);
    if (found !== undefined) this.#tables.delete(offset);
    this.#tables.set(offset, table);
    this.#last = table;
    return table;
  }

  /** Takes a new table, all of which is to be written. */
  add(table: Table): void {
    this.#tables.set(table.offset, table);
    this.touch(table, 0, table.bytes.length);
  }

  touch(table: Table, from: number, to: number): void {
    table.touch(from, to);
    this.#dirty.add(table);
  }

  drop(offset: number): void {
    const table = this.#tables.get(offset);
    if (table === undefined) return;
    this.#tables.delete(offset);
    this.#dirty.delete(table);
    if (this.#last === table) this.#last = null;
  }

  /** Writes what changed, in ascending order. */
  writeOut(): void {
    for (const table of [...this.#dirty].sort((a, b) => a.offset - b.offset)) {
      this.#space.writeTable(table);
      this.#dirty.delete(table);
    }
  }

  /** Forgets what is in the file as well, until there is room. */
  trim(): void {
    for (const table of this.#tables.values()) {
      if (this.#tables.size <= this.#capacity) return;
      if (!table.dirty && table !== this.#last) this.#tables.delete(table.offset);
    }
  }
}
