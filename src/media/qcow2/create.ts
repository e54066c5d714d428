// Makes an empty qcow2 image.
//
// [1] QEMU, docs/interop/qcow2: "Header", "Host cluster management".

import type { Backend } from '../backend.ts';
import { write64 } from '../endian.ts';
import {
  AT_CLUSTER_BITS,
  AT_HEADER_LENGTH,
  AT_L1_OFFSET,
  AT_L1_SIZE,
  AT_REFCOUNT_ORDER,
  AT_SIZE,
  AT_TABLE_CLUSTERS,
  AT_TABLE_OFFSET,
  BACKING_NAME_MAX,
  EXTENSION_BACKING_FORMAT,
  L1_MAX,
  MAGIC,
  V2_LENGTH,
  V3_LENGTH,
} from './header.ts';

export interface Qcow2Shape {
  /** Size of the disk, a multiple of 512. */
  readonly bytes: number;
  /** 3 (default), or 2 for old programs: without zero clusters, refcounts of 16 bits. */
  readonly version?: 2 | 3;
  /** A power of two from 512 to 2 MiB; default 64 KiB. */
  readonly clusterBytes?: number;
  /** 1, 2, 4, … 64; default 16. */
  readonly refcountBits?: number;
  /** What shows where nothing is written, by its path from the image's folder. */
  readonly backing?: { readonly path: string; readonly format: 'raw' | 'qcow2' };
}

/** Writes an empty image to a backend, which takes a few clusters whatever the size. Throws RangeError. */
export function formatQcow2(backend: Backend, shape: Qcow2Shape): void {
  const { bytes, version = 3, clusterBytes = 65536, refcountBits = 16 } = shape;
  checkShape(bytes, version, clusterBytes, refcountBits);
  const l1Size = Math.ceil(bytes / (clusterBytes * (clusterBytes / 8)));
  if (l1Size * 8 > L1_MAX) {
    const most = (L1_MAX / 8) * clusterBytes * (clusterBytes / 8);
    throw new RangeError(`a disk of ${bytes} bytes: with clusters of ${clusterBytes} it has at most ${most}`);
  }
  const l1Clusters = Math.ceil((l1Size * 8) / clusterBytes);
  // The header, the refcount table, its blocks, the L1 table: as many blocks as count all of that.
  const perBlock = (clusterBytes * 8) / refcountBits;
  let blocks = 1;
  let tableClusters = 1;
  const used = (): number => 1 + tableClusters + blocks + l1Clusters;
  while (blocks * perBlock < used() || tableClusters * clusterBytes < blocks * 8) {
    if (blocks * perBlock < used()) blocks++;
    else tableClusters++;
  }
  const l1Offset = (1 + tableClusters + blocks) * clusterBytes;
  const head = headerOf(shape, version, clusterBytes, refcountBits);
  head.setUint32(AT_L1_SIZE, l1Size);
  write64(head, AT_L1_OFFSET, l1Offset);
  write64(head, AT_TABLE_OFFSET, clusterBytes);
  head.setUint32(AT_TABLE_CLUSTERS, tableClusters);
  const table = new DataView(new ArrayBuffer(tableClusters * clusterBytes));
  for (let i = 0; i < blocks; i++) write64(table, i * 8, (1 + tableClusters + i) * clusterBytes);
  backend.writev(0, [new Uint8Array(head.buffer)]);
  backend.writev(clusterBytes, [
    new Uint8Array(table.buffer),
    onesOf(blocks * clusterBytes, used(), refcountBits),
    new Uint8Array(l1Clusters * clusterBytes),
  ]);
  backend.flush();
}

function checkShape(bytes: number, version: number, clusterBytes: number, refcountBits: number): void {
  const isPower = (n: number, from: number, to: number): boolean =>
    Number.isInteger(Math.log2(n)) && n >= from && n <= to;
  if (!(Number.isSafeInteger(bytes) && bytes > 0 && bytes % 512 === 0)) {
    throw new RangeError(`a disk of ${bytes} bytes: the size must be a multiple of 512 above 0`);
  }
  if (!isPower(clusterBytes, 512, 2 ** 21)) {
    throw new RangeError(`clusterBytes is ${clusterBytes}; it must be a power of two from 512 to 2097152`);
  }
  if (!isPower(refcountBits, 1, 64)) {
    throw new RangeError(`refcountBits is ${refcountBits}; it must be a power of two from 1 to 64`);
  }
  if (version === 2 && refcountBits !== 16) {
    throw new RangeError(`refcountBits is ${refcountBits}; version 2 has 16`);
  }
}

function headerOf(shape: Qcow2Shape, version: number, clusterBytes: number, refcountBits: number): DataView {
  const head = new DataView(new ArrayBuffer(clusterBytes));
  head.setUint32(0, MAGIC);
  head.setUint32(4, version);
  head.setUint32(AT_CLUSTER_BITS, Math.log2(clusterBytes));
  write64(head, AT_SIZE, shape.bytes);
  if (version === 3) {
    head.setUint32(AT_REFCOUNT_ORDER, Math.log2(refcountBits));
    head.setUint32(AT_HEADER_LENGTH, V3_LENGTH);
  }
  if (shape.backing === undefined) return head;
  const format = new TextEncoder().encode(shape.backing.format);
  const name = new TextEncoder().encode(shape.backing.path);
  let at = version === 3 ? V3_LENGTH : V2_LENGTH;
  const nameAt = at + 8 + 8 + 8;
  if (name.length === 0 || name.length > Math.min(BACKING_NAME_MAX, clusterBytes - nameAt)) {
    throw new RangeError(`the backing file's name has ${name.length} bytes, which the header does not take`);
  }
  head.setUint32(at, EXTENSION_BACKING_FORMAT);
  head.setUint32(at + 4, format.length);
  new Uint8Array(head.buffer).set(format, at + 8);
  at = nameAt; // the format's name takes one word of 8 bytes, the end of the extensions another
  new Uint8Array(head.buffer).set(name, at);
  write64(head, 8, at);
  head.setUint32(16, name.length);
  return head;
}

/** Refcount blocks that count `clusters` clusters once. */
function onesOf(bytes: number, clusters: number, bits: number): Uint8Array {
  const blocks = new Uint8Array(bytes);
  for (let i = 0; i < clusters; i++) {
    if (bits >= 8) blocks[((i + 1) * bits) / 8 - 1] = 1;
    else {
      const at = (i * bits) >>> 3;
      blocks[at] = (blocks[at] as number) | (1 << ((i * bits) & 7));
    }
  }
  return blocks;
}
