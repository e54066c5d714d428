// Opens a disk image of any format, and what it stands on. Only for Node.

import { MediumError } from './error.ts';
import { openFile } from './file.ts';
import { openFileBackend } from './file-backend.ts';
import type { SyncMedium } from './medium.ts';
import { fileError, nodeModule } from './node.ts';
import { formatQcow2, type Qcow2Shape } from './qcow2/create.ts';
import { imageError, MAGIC, readHeader } from './qcow2/header.ts';
import { type Inflate, qcow2Medium } from './qcow2/image.ts';
import { isVhd, vhdMedium } from './vhd.ts';

export const IMAGE_FORMATS = ['raw', 'qcow2', 'vhd'] as const;

export type ImageFormat = (typeof IMAGE_FORMATS)[number];

export interface ImageOptions {
  /** Default false: a file that may only be read is then refused. A VHD image is read-only anyway. */
  readonly readOnly?: boolean;
  /**
   * Default: what the file's first bytes say. They are the guest's own in a raw image: name the format wherever
   * the guest is not trusted. It is fixed once the image is open.
   */
  readonly format?: ImageFormat;
  /** The size must be a multiple of this; default 512. */
  readonly sectorBytes?: 512 | 4096;
  /** Takes a raw image whose last sector is not whole (FileOptions.roundUp). */
  readonly roundUp?: boolean;
}

/** Images that stand on each other. */
const CHAIN_MAX = 32;

/** First bytes of formats that are known, and not read. */
const FOREIGN: readonly (readonly [magic: string, name: string])[] = [
  ['QED\0', 'QED'],
  ['KDMV', 'VMDK'],
  ['COWD', 'VMDK'],
  ['<<< ', 'VDI'],
  ['vhdxfile', 'VHDX'],
];

/**
 * Opens an image and the files that it stands on. Throws MediumError, whose message names the file, and where
 * an image contradicts itself the byte and the field. Nothing keeps two machines from opening one image for
 * writing: don't, put an overlay over it.
 */
export async function openImage(path: string, options: ImageOptions = {}): Promise<SyncMedium> {
  return openChained(path, options, []);
}

/** Makes an empty qcow2 image, which must not be there yet. Throws MediumError, or RangeError for a bad shape. */
export async function createQcow2(path: string, shape: Qcow2Shape): Promise<void> {
  formatQcow2({ ...NOWHERE, name: path }, shape); // before there is a file to leave behind
  const backend = await openFileBackend(path, { create: true });
  try {
    formatQcow2(backend, shape);
  } finally {
    backend.close();
  }
}

const NOWHERE = {
  readOnly: false,
  size: () => 0,
  readv: () => 0,
  writev: () => {},
  flush: () => {},
  close: () => {},
};

async function openChained(
  path: string,
  options: ImageOptions,
  chain: readonly string[],
): Promise<SyncMedium> {
  const { readOnly = false, sectorBytes = 512, roundUp = false } = options;
  const format = options.format ?? (await probe(path));
  if (format !== 'raw') {
    const medium = format === 'vhd' ? await openVhd(path) : await openQcow2(path, readOnly, chain);
    if (medium.bytes % sectorBytes === 0) return medium;
    medium.close();
    const what = `the disk has ${medium.bytes} bytes, which is no multiple of the sector, ${sectorBytes} bytes`;
    throw new MediumError(`${path}: ${what}`, 'size');
  }
  const medium = await openFile(path, { readOnly, sectorBytes, roundUp });
  return options.format === undefined && !readOnly ? withoutMagic(medium) : medium;
}

async function probe(path: string): Promise<ImageFormat> {
  const backend = await openFileBackend(path, { readOnly: true });
  const start = new Uint8Array(8);
  try {
    backend.readv(0, [start]);
    if (isVhd(backend)) return 'vhd';
  } finally {
    backend.close();
  }
  if (new DataView(start.buffer).getUint32(0) === MAGIC) return 'qcow2';
  const text = String.fromCharCode(...start);
  const foreign = FOREIGN.find(([magic]) => text.startsWith(magic));
  if (foreign === undefined) return 'raw';
  throw new MediumError(
    `${path}: it looks like a ${foreign[1]} image, which is not supported; if it is a raw image all the same, name its format, raw`,
    'unsupported',
  );
}

/**
 * A raw image that was taken for one by its first bytes must not get others: opened once more it would be what
 * the guest made of it, with a backing file of the guest's choice.
 */
function withoutMagic(medium: SyncMedium): SyncMedium {
  return {
    sync: true,
    name: medium.name,
    bytes: medium.bytes,
    readOnly: medium.readOnly,
    readv: (offset, buffers) => medium.readv(offset, buffers),
    writev(offset, buffers) {
      if (offset < 4 && isMagic(medium, offset, buffers)) {
        throw new MediumError(
          `${medium.name}: a qcow2 header is written to byte 0 of a raw image, which would be taken for a qcow2 image next time; name its format, raw`,
          'failed',
        );
      }
      return medium.writev(offset, buffers);
    },
    flush: () => medium.flush(),
    discard: (offset, bytes) => medium.discard(offset, bytes),
    close: () => medium.close(),
  };
}

function isMagic(medium: SyncMedium, offset: number, buffers: readonly Uint8Array[]): boolean {
  const start = new Uint8Array(4);
  if (offset > 0) medium.readv(0, [start]);
  let at = offset;
  for (const buffer of buffers) {
    if (at >= 4) break;
    start.set(buffer.subarray(0, 4 - at), at);
    at += buffer.length;
  }
  return new DataView(start.buffer).getUint32(0) === MAGIC;
}

async function openQcow2(path: string, readOnly: boolean, chain: readonly string[]): Promise<SyncMedium> {
  const backend = await openFileBackend(path, { readOnly });
  let backing: SyncMedium | undefined;
  try {
    const { backingName, backingFormat } = readHeader(backend);
    if (backingName !== null) {
      const link = [...chain, await identityOf(path)];
      backing = await openBacking(path, backingName, backingFormat, link);
    }
    return qcow2Medium(backend, {
      inflate: await loadInflate(),
      ...(backing === undefined ? {} : { backing }),
    });
  } catch (error) {
    backend.close();
    backing?.close();
    throw error;
  }
}

async function openVhd(path: string): Promise<SyncMedium> {
  const backend = await openFileBackend(path, { readOnly: true });
  try {
    return vhdMedium(backend);
  } catch (error) {
    backend.close();
    throw error;
  }
}

/** Formats of backing files, as headers call them. */
const BACKING_FORMATS: Readonly<Record<string, ImageFormat>> = { raw: 'raw', qcow2: 'qcow2', vpc: 'vhd' };

async function openBacking(
  path: string,
  name: string,
  format: string | null,
  chain: readonly string[],
): Promise<SyncMedium> {
  const refuse = (what: string): MediumError => imageError(path, 8, 'backing file', what, 'unsupported');
  const known = format === null ? undefined : BACKING_FORMATS[format];
  if (format !== null && known === undefined) {
    const names = Object.keys(BACKING_FORMATS).join(', ');
    throw refuse(`${name} has the format "${format}", which is not supported; ${names} are`);
  }
  const plain = name.replace(/^file:/, '');
  if (/^[a-z][a-z0-9+.-]+:/i.test(plain)) {
    throw refuse(`"${name}" is no path of a file, and nothing else is supported`);
  }
  if (chain.length >= CHAIN_MAX) throw refuse(`${name}: more than ${CHAIN_MAX} images stand on each other`);
  const { dirname, resolve } = await nodeModule('node:path');
  const target = resolve(dirname(path), plain);
  try {
    if (chain.includes(await identityOf(target))) {
      throw refuse(`${name}: the chain of backing files comes back to where it was`);
    }
    return await openChained(
      target,
      { readOnly: true, ...(known === undefined ? {} : { format: known }) },
      chain,
    );
  } catch (error) {
    if (!(error instanceof MediumError) || error.message.startsWith(`${path}: byte 8 `)) throw error;
    throw new MediumError(`${path}: its backing file: ${error.message}`, error.reason, { cause: error });
  }
}

/** A file under whatever name. */
async function identityOf(path: string): Promise<string> {
  const fs = await nodeModule('node:fs');
  try {
    const { dev, ino } = fs.statSync(path);
    return `${dev}:${ino}`;
  } catch (error) {
    throw fileError(path, 'cannot be opened', error);
  }
}

async function loadInflate(): Promise<Inflate> {
  const { constants, inflateRawSync } = await nodeModule('node:zlib');
  return (data, clusterBytes) =>
    inflateRawSync(data, { maxOutputLength: clusterBytes, finishFlush: constants.Z_SYNC_FLUSH });
}
