// Refcounts: how often each cluster of the file is referred to; and with them, which clusters are free.
//
// [1] QEMU, docs/interop/qcow2: "Host cluster management".
//
// A cluster is counted before anything refers to it, and given up after nothing does: whatever a stop of the
// machine leaves, no cluster in use counts as free. What can remain is a cluster counted for nothing, a leak.

import { read64, write64 } from '../endian.ts';
import { MediumError } from '../error.ts';
import { AT_TABLE_OFFSET, type Header, TABLE_MAX } from './header.ts';
import { type Space, Table, TableCache } from './space.ts';

/** Host offsets have 56 bits [1]; numbers that are exact have 53. */
const OFFSET_END = 2 ** 53;

export class Refcounts {
  readonly #space: Space;
  readonly #cache: TableCache;
  readonly #bits: number;
  /** Refcounts of one block. */
  readonly #perBlock: number;
  #table: Table;
  /** The table is at a new place, which the header in the file does not know yet. */
  #moved = false;
  /** No cluster below is free. */
  #hint = 1;
  /** What is given up when nothing in the file refers to it any more: clusters, how often. */
  readonly #freed = new Map<number, number>();

  constructor(space: Space, header: Header) {
    this.#space = space;
    this.#cache = new TableCache(space);
    this.#bits = header.refcountBits;
    this.#perBlock = (space.clusterBytes * 8) / this.#bits;
    const bytes = new Uint8Array(header.tableClusters * space.clusterBytes);
    space.readv(header.tableOffset, [bytes]);
    this.#table = new Table(header.tableOffset, bytes);
    this.#claimBlocks();
  }

  #claimBlocks(): void {
    const field = 'refcount table entry';
    for (let at = 0; at < this.#table.bytes.length; at += 8) {
      const offset = read64(this.#table.view, at);
      if (offset === 0) continue;
      const place = this.#table.offset + at;
      this.#space.checkCluster(offset, place, field);
      this.#space.claim(offset, this.#space.clusterBytes, 'a refcount block', place, field);
    }
  }

  /** Whether there is something that commit() would write. */
  get dirty(): boolean {
    return this.#cache.dirtyCount > 0 || this.#table.dirty || this.#moved || this.#freed.size > 0;
  }

  /** Whether giveUp() has something to give up. */
  get hasFreed(): boolean {
    return this.#freed.size > 0;
  }

  /** Time to commit: much is changed, or waits to be given up. */
  get crowded(): boolean {
    return this.#cache.crowded || this.#freed.size > 65536;
  }

  trim(): void {
    this.#cache.trim();
  }

  get(cluster: number): number {
    const block = this.#blockOf(cluster);
    return block === null ? 0 : this.#load(block, cluster % this.#perBlock);
  }

  /** A free cluster, counted once from now on. Throws MediumError where there is none. */
  allocate(): number {
    for (let cluster = this.#hint; ; cluster++) {
      if ((cluster + 1) * this.#space.clusterBytes > OFFSET_END) throw this.#full();
      if (!this.#hasBlock(cluster)) this.#addBlock(cluster);
      if (this.get(cluster) !== 0) continue;
      this.#checkFree(cluster);
      this.#set(cluster, 1);
      this.#hint = cluster + 1;
      return cluster;
    }
  }

  /** Gives a cluster back that allocate() returned and nothing refers to yet. */
  cancel(cluster: number): void {
    this.#set(cluster, 0);
    this.#hint = Math.min(this.#hint, cluster);
  }

  /** One reference less, from the next commit on. `at` is where the reference stood. */
  release(cluster: number, at: number, field: string): void {
    const waiting = this.#freed.get(cluster) ?? 0;
    this.checkCounted(cluster, at, field);
    this.#freed.set(cluster, waiting + 1);
  }

  /** A cluster that an entry at `at` refers to must be counted. */
  checkCounted(cluster: number, at: number, field: string): void {
    if (this.get(cluster) > (this.#freed.get(cluster) ?? 0)) return;
    const offset = cluster * this.#space.clusterBytes;
    throw this.#space.error(
      at,
      field,
      `${offset}, a cluster whose refcount is 0; \`qemu-img check\` tells more`,
    );
  }

  /** Writes counts that grew, and where they are. Ends with a flush where the order matters. */
  writeOut(): void {
    const { backend } = this.#space;
    this.#cache.writeOut();
    if (!this.#table.dirty) return;
    backend.flush();
    this.#space.writeTable(this.#table);
    if (!this.#moved) return;
    backend.flush();
    const head = new DataView(new ArrayBuffer(12));
    write64(head, 0, this.#table.offset);
    head.setUint32(8, this.#table.bytes.length / this.#space.clusterBytes);
    this.#space.writev(AT_TABLE_OFFSET, [new Uint8Array(head.buffer)]);
    this.#moved = false;
  }

  /** Gives up what was released: nothing in the file refers to it now. */
  giveUp(): void {
    if (this.#freed.size === 0) return;
    for (const [cluster, count] of this.#freed) {
      const left = this.get(cluster) - count;
      this.#set(cluster, left);
      if (left > 0) continue;
      this.#space.release(cluster);
      this.#hint = Math.min(this.#hint, cluster);
    }
    this.#freed.clear();
    this.#cache.writeOut();
  }

  #hasBlock(cluster: number): boolean {
    const entry = Math.floor(cluster / this.#perBlock) * 8;
    return entry < this.#table.bytes.length && read64(this.#table.view, entry) !== 0;
  }

  #blockOf(cluster: number): Table | null {
    if (!this.#hasBlock(cluster)) return null;
    return this.#cache.get(read64(this.#table.view, Math.floor(cluster / this.#perBlock) * 8));
  }

  /** Entries below a byte stand from its low bits up [1]. */
  #load(block: Table, index: number): number {
    switch (this.#bits) {
      case 16:
        return block.view.getUint16(index * 2);
      case 32:
        return block.view.getUint32(index * 4);
      case 64:
        return read64(block.view, index * 8);
      default: {
        const bit = index * this.#bits;
        return (block.view.getUint8(bit >>> 3) >>> (bit & 7)) & (2 ** this.#bits - 1);
      }
    }
  }

  #store(block: Table, index: number, value: number): void {
    const bit = index * this.#bits;
    const at = Math.floor(bit / 8);
    if (this.#bits === 16) block.view.setUint16(at, value);
    else if (this.#bits === 32) block.view.setUint32(at, value);
    else if (this.#bits === 64) write64(block.view, at, value);
    else {
      const mask = (2 ** this.#bits - 1) << (bit & 7);
      block.view.setUint8(at, (block.view.getUint8(at) & ~mask) | (value << (bit & 7)));
    }
    this.#cache.touch(block, at, at + Math.max(1, this.#bits / 8));
  }

  #set(cluster: number, value: number): void {
    const block = this.#blockOf(cluster);
    if (block !== null) this.#store(block, cluster % this.#perBlock, value);
  }

  /** A cluster that counts as free must not be one that something refers to. */
  #checkFree(cluster: number): void {
    const what = this.#space.metadata.get(cluster);
    if (what === undefined) return;
    const offset = cluster * this.#space.clusterBytes;
    const block = this.#blockOf(cluster)?.offset ?? this.#table.offset;
    throw this.#space.error(
      block,
      'refcount',
      `0 for byte ${offset}, where ${what} lies; run \`qemu-img check -r all\``,
    );
  }

  /** A block for the refcounts around `cluster`, in that cluster itself: nothing there was counted so far. */
  #addBlock(cluster: number): void {
    const entry = Math.floor(cluster / this.#perBlock) * 8;
    if (entry >= this.#table.bytes.length) this.#grow();
    if (this.#hasBlock(cluster)) return;
    this.#checkFree(cluster);
    this.#placeBlock(cluster, entry);
  }

  #placeBlock(cluster: number, entry: number): void {
    const block = new Table(cluster * this.#space.clusterBytes, new Uint8Array(this.#space.clusterBytes));
    this.#space.metadata.set(cluster, 'a refcount block');
    this.#cache.add(block);
    this.#store(block, cluster % this.#perBlock, 1);
    write64(this.#table.view, entry, block.offset);
    this.#table.touch(entry, entry + 8);
  }

  /**
   * A larger table, behind everything that the present one counts: first the table, then the blocks that count
   * the clusters of both.
   */
  #grow(): void {
    const { clusterBytes, metadata } = this.#space;
    const old = this.#table;
    const entries = old.bytes.length / 8;
    const first = entries * this.#perBlock;
    const tableClusters = Math.ceil((entries * 3) / 2 / (clusterBytes / 8)) + 1;
    if (tableClusters * clusterBytes > TABLE_MAX) throw this.#full();
    let blocks = 1;
    while (blocks * this.#perBlock < tableClusters + blocks) blocks++;
    for (let i = 0; i < tableClusters + blocks; i++) this.#checkFree(first + i);
    const table = new Table(first * clusterBytes, new Uint8Array(tableClusters * clusterBytes));
    table.bytes.set(old.bytes);
    table.touch(0, table.bytes.length);
    this.#table = table;
    this.#moved = true;
    for (let i = 0; i < blocks; i++) this.#placeBlock(first + tableClusters + i, (entries + i) * 8);
    for (let i = 0; i < tableClusters; i++) {
      metadata.set(first + i, 'the refcount table');
      this.#set(first + i, 1);
    }
    for (let i = 0; i < old.bytes.length; i += clusterBytes) {
      this.release(this.#space.clusterOf(old.offset + i), AT_TABLE_OFFSET, 'refcount_table_offset');
    }
  }

  #full(): MediumError {
    return new MediumError(
      `${this.#space.name}: the image takes no more: its refcount table would exceed ${TABLE_MAX} bytes`,
      'no-space',
    );
  }
}
