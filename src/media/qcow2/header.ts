// The header of a qcow2 image and its extensions, checked.
//
// [1] QEMU, docs/interop/qcow2: "Header", "Feature name table", "L1/L2 tables", "Host cluster management".

import type { Backend } from '../backend.ts';
import { read64 } from '../endian.ts';
import { MediumError, type MediumReason } from '../error.ts';

export const MAGIC = 0x514649fb;

// Offsets of header fields [1].
export const AT_CLUSTER_BITS = 20;
export const AT_SIZE = 24;
export const AT_L1_SIZE = 36;
export const AT_L1_OFFSET = 40;
export const AT_TABLE_OFFSET = 48;
export const AT_TABLE_CLUSTERS = 56;
const AT_INCOMPATIBLE = 72;
export const AT_AUTOCLEAR = 88;
export const AT_REFCOUNT_ORDER = 96;
export const AT_HEADER_LENGTH = 100;
const AT_BACKING_OFFSET = 8;
const AT_BACKING_SIZE = 16;
const AT_CRYPT = 32;
const AT_SNAPSHOTS = 60;
const AT_SNAPSHOTS_OFFSET = 64;
const AT_COMPRESSION = 104;

export const V2_LENGTH = 72;
export const V3_LENGTH = 104;

const EXTENSION_END = 0;
export const EXTENSION_BACKING_FORMAT = 0xe2792aca;
const EXTENSION_FEATURES = 0x6803f857;

const DIRTY = 1 << 0;
const CORRUPT = 1 << 1;
const EXTERNAL_DATA = 1 << 2;
const COMPRESSION_TYPE = 1 << 3;
const EXTENDED_L2 = 1 << 4;
const KNOWN = DIRTY | CORRUPT | EXTERNAL_DATA | COMPRESSION_TYPE | EXTENDED_L2;

// Bounds that QEMU has as well, so that what we write it can open.
export const L1_MAX = 32 * 2 ** 20;
export const TABLE_MAX = 8 * 2 ** 20;
export const BACKING_NAME_MAX = 1023;
const EXTENSIONS_MAX = 64;
const SNAPSHOTS_MAX = 65536;

export interface Header {
  readonly version: 2 | 3;
  readonly clusterBits: number;
  /** Bytes of the disk that the guest sees. */
  readonly bytes: number;
  readonly l1Size: number;
  readonly l1Offset: number;
  readonly tableOffset: number;
  readonly tableClusters: number;
  readonly refcountBits: number;
  readonly snapshots: number;
  readonly snapshotsOffset: number;
  readonly backingName: string | null;
  readonly backingFormat: string | null;
  readonly compression: 'zlib' | 'zstd';
  /** Refcounts may be wrong: the last writer did not close the image. */
  readonly dirty: boolean;
  /** Some feature's data become stale with our first write. */
  readonly autoclear: boolean;
}

/** `disk.qcow2: byte 36 (l1_size): what is wrong`. */
export function imageError(
  name: string,
  at: number,
  field: string,
  what: string,
  reason: MediumReason = 'format',
): MediumError {
  return new MediumError(`${name}: byte ${at} (${field}): ${what}`, reason);
}

interface Extensions {
  readonly backingFormat: string | null;
  /** Names of features: by type (0 incompatible) and bit. */
  readonly names: ReadonlyMap<string, string>;
}

/** Reads and checks the header. Throws MediumError with file, byte and field. */
export function readHeader(backend: Backend): Header {
  const { name } = backend;
  const start = new Uint8Array(112);
  const got = backend.readv(0, [start]);
  const view = new DataView(start.buffer);
  if (got < V2_LENGTH) throw imageError(name, got, 'header', `the file ends within it, ${V2_LENGTH} bytes`);
  if (view.getUint32(0) !== MAGIC) throw imageError(name, 0, 'magic', 'this is no qcow2 image');
  const version = view.getUint32(4);
  if (version !== 2 && version !== 3) {
    const what = `version ${version}; 2 and 3 are supported`;
    throw imageError(name, 4, 'version', what, 'unsupported');
  }
  const clusterBits = view.getUint32(AT_CLUSTER_BITS);
  if (clusterBits < 9 || clusterBits > 21) {
    throw imageError(name, AT_CLUSTER_BITS, 'cluster_bits', `${clusterBits}; it must be from 9 to 21`);
  }
  const headerLength = version === 2 ? V2_LENGTH : view.getUint32(AT_HEADER_LENGTH);
  if (version === 3) checkHeaderLength(name, headerLength, got, 2 ** clusterBits);
  const cluster = new Uint8Array(2 ** clusterBits);
  const head = new DataView(cluster.buffer);
  backend.readv(0, [cluster]);
  const extensions = readExtensions(name, head, headerLength);
  const compression = version === 3 && headerLength > AT_COMPRESSION ? head.getUint8(AT_COMPRESSION) : 0;
  if (version === 3) checkFeatures(name, head, extensions, compression);
  const crypt = head.getUint32(AT_CRYPT);
  if (crypt !== 0) {
    const kind = ['', 'AES', 'LUKS'][crypt] ?? `method ${crypt}`;
    const what = `the image is encrypted (${kind}), which is not supported`;
    throw imageError(name, AT_CRYPT, 'crypt_method', what, 'unsupported');
  }
  return {
    version,
    clusterBits,
    ...readGeometry(name, head, clusterBits, backend.size()),
    ...readRefcountFields(name, head, version, clusterBits, backend.size()),
    ...readSnapshotFields(name, head),
    backingName: readBackingName(name, head),
    backingFormat: extensions.backingFormat,
    compression: compression === 1 ? 'zstd' : 'zlib',
    dirty: version === 3 && (head.getUint32(AT_INCOMPATIBLE + 4) & DIRTY) !== 0,
    autoclear: version === 3 && read64(head, AT_AUTOCLEAR) !== 0,
  };
}

function checkHeaderLength(name: string, length: number, got: number, clusterBytes: number): void {
  if (got < V3_LENGTH) throw imageError(name, got, 'header', `the file ends within it, ${V3_LENGTH} bytes`);
  if (length >= V3_LENGTH && length % 8 === 0 && length <= clusterBytes) return;
  const what = `${length}; it must be a multiple of 8 from ${V3_LENGTH} to the cluster, ${clusterBytes}`;
  throw imageError(name, AT_HEADER_LENGTH, 'header_length', what);
}

function readExtensions(name: string, head: DataView, from: number): Extensions {
  const backing = read64(head, AT_BACKING_OFFSET);
  const end = backing > 0 && backing < head.byteLength ? backing : head.byteLength;
  let backingFormat: string | null = null;
  const names = new Map<string, string>();
  let at = from;
  for (let i = 0; i < EXTENSIONS_MAX && at + 8 <= end; i++) {
    const type = head.getUint32(at);
    const length = head.getUint32(at + 4);
    if (type === EXTENSION_END) break;
    if (length > end - at - 8) {
      const what = `${length} bytes, which end behind the header's cluster or in the backing file's name`;
      throw imageError(name, at + 4, 'header extension length', what);
    }
    const data = new Uint8Array(head.buffer, at + 8, length);
    if (type === EXTENSION_BACKING_FORMAT) backingFormat = textOf(data);
    if (type === EXTENSION_FEATURES) readFeatureNames(data, names);
    at += 8 + Math.ceil(length / 8) * 8;
  }
  return { backingFormat, names };
}

/** Entries of 48 bytes: type, bit, name [1]. */
function readFeatureNames(data: Uint8Array, names: Map<string, string>): void {
  for (let at = 0; at + 48 <= data.length; at += 48) {
    const text = textOf(data.subarray(at + 2, at + 48)).replace(/\0.*$/s, '');
    names.set(`${data[at]}.${data[at + 1]}`, text);
  }
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes);
}

function checkFeatures(name: string, head: DataView, extensions: Extensions, compression: number): void {
  const at = AT_INCOMPATIBLE;
  const low = head.getUint32(at + 4);
  const refuse = (what: string, reason: MediumReason = 'unsupported'): never => {
    throw imageError(name, at, 'incompatible_features', what, reason);
  };
  for (let bit = 0; bit < 64; bit++) {
    const word = bit < 32 ? low & ~KNOWN : head.getUint32(at);
    if ((word & (1 << (bit & 31))) === 0) continue;
    const called = extensions.names.get(`0.${bit}`);
    refuse(`bit ${bit} is set: ${called ?? 'a feature without a name'}, which is not supported`);
  }
  if ((low & CORRUPT) !== 0) {
    refuse('the image is marked corrupt; `qemu-img check -r all` may put it right', 'format');
  }
  if ((low & EXTERNAL_DATA) !== 0) refuse('its data are in an external data file, which is not supported');
  if ((low & EXTENDED_L2) !== 0) refuse('it has subclusters (extended L2 entries), which are not supported');
  const known = (low & COMPRESSION_TYPE) !== 0 ? [1] : [0];
  if (!known.includes(compression)) {
    const what = `compression type ${compression}; 0 (zlib), or 1 (zstd) with incompatible bit 3, are known`;
    throw imageError(name, AT_COMPRESSION, 'compression_type', what, 'unsupported');
  }
}

function readGeometry(
  name: string,
  head: DataView,
  clusterBits: number,
  fileBytes: number,
): Pick<Header, 'bytes' | 'l1Size' | 'l1Offset'> {
  const bytes = read64(head, AT_SIZE);
  if (!(Number.isSafeInteger(bytes) && bytes > 0 && bytes % 512 === 0)) {
    throw imageError(name, AT_SIZE, 'size', `${bytes}; it must be a multiple of 512 from 512 to 2^53`);
  }
  const l1Size = head.getUint32(AT_L1_SIZE);
  // A table of the second level is one cluster of entries of 8 bytes.
  const needed = Math.ceil(bytes / 2 ** (2 * clusterBits - 3));
  if (l1Size < needed || l1Size * 8 > L1_MAX) {
    const what = `${l1Size} entries; a disk of ${bytes} bytes needs ${needed}, and at most ${L1_MAX / 8} are supported`;
    throw imageError(name, AT_L1_SIZE, 'l1_size', what);
  }
  const l1Offset = read64(head, AT_L1_OFFSET);
  checkRange(name, AT_L1_OFFSET, 'l1_table_offset', l1Offset, l1Size * 8, clusterBits, fileBytes);
  return { bytes, l1Size, l1Offset };
}

function readRefcountFields(
  name: string,
  head: DataView,
  version: number,
  clusterBits: number,
  fileBytes: number,
): Pick<Header, 'tableOffset' | 'tableClusters' | 'refcountBits'> {
  const order = version === 2 ? 4 : head.getUint32(AT_REFCOUNT_ORDER);
  if (order > 6)
    throw imageError(name, AT_REFCOUNT_ORDER, 'refcount_order', `${order}; it must be from 0 to 6`);
  const tableOffset = read64(head, AT_TABLE_OFFSET);
  const tableClusters = head.getUint32(AT_TABLE_CLUSTERS);
  const length = tableClusters * 2 ** clusterBits;
  if (tableClusters === 0 || length > TABLE_MAX) {
    const what = `${tableClusters}; it must be from 1 to ${TABLE_MAX / 2 ** clusterBits}`;
    throw imageError(name, AT_TABLE_CLUSTERS, 'refcount_table_clusters', what);
  }
  checkRange(name, AT_TABLE_OFFSET, 'refcount_table_offset', tableOffset, length, clusterBits, fileBytes);
  return { tableOffset, tableClusters, refcountBits: 2 ** order };
}

function readSnapshotFields(name: string, head: DataView): Pick<Header, 'snapshots' | 'snapshotsOffset'> {
  const snapshots = head.getUint32(AT_SNAPSHOTS);
  if (snapshots > SNAPSHOTS_MAX) {
    throw imageError(
      name,
      AT_SNAPSHOTS,
      'nb_snapshots',
      `${snapshots}; at most ${SNAPSHOTS_MAX} are supported`,
    );
  }
  return { snapshots, snapshotsOffset: read64(head, AT_SNAPSHOTS_OFFSET) };
}

function readBackingName(name: string, head: DataView): string | null {
  const offset = read64(head, AT_BACKING_OFFSET);
  if (offset === 0) return null;
  const length = head.getUint32(AT_BACKING_SIZE);
  if (length === 0 || length > BACKING_NAME_MAX) {
    const what = `${length} bytes; a name has from 1 to ${BACKING_NAME_MAX}`;
    throw imageError(name, AT_BACKING_SIZE, 'backing_file_size', what);
  }
  if (offset < V2_LENGTH || offset + length > head.byteLength) {
    const what = `${offset}; the name must lie in the first cluster, behind the header`;
    throw imageError(name, AT_BACKING_OFFSET, 'backing_file_offset', what);
  }
  return textOf(new Uint8Array(head.buffer, offset, length));
}

/** A table must be aligned, behind the header and within the file. */
export function checkRange(
  name: string,
  at: number,
  field: string,
  offset: number,
  length: number,
  clusterBits: number,
  fileBytes: number,
): void {
  const cluster = 2 ** clusterBits;
  if (offset % cluster !== 0 || offset < cluster) {
    const what = `${offset}; it must be a multiple of the cluster, ${cluster} bytes, above 0`;
    throw imageError(name, at, field, what);
  }
  if (offset + length > Math.ceil(fileBytes / cluster) * cluster) {
    throw imageError(name, at, field, `${offset} and ${length} bytes: the file ends at ${fileBytes}`);
  }
}
