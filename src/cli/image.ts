// The disk image of `backplane run --image`: kept as it is under an overlay, or written in place, with an
// account of what was written for when the run is interrupted, and of what the file refused.

import { accessSync, constants, statSync } from 'node:fs';
import {
  createQcow2,
  IMAGE_FORMATS,
  type ImageFormat,
  MediumError,
  openFile,
  openImage as openMedium,
  overlay,
  type SyncMedium,
} from '../media/index.ts';
import { parseSize, suggest, UsageError } from './errors.ts';
import { formatPath } from './style.ts';

export interface Image {
  readonly path: string;
  /** The disk for a part of the scenario; only a part that makes no mistake on purpose writes in place. */
  medium(bounce: boolean): SyncMedium;
  readonly bytes: number;
  /** Bytes that were written to the file. */
  readonly written: number;
  /** What went wrong first with the file itself, such as a full file system; null if nothing did. */
  readonly trouble: string | null;
  close(): void;
}

export interface ImageFlags {
  readonly inPlace: boolean;
  /** What --image-format says. */
  readonly format: string | undefined;
  /** What --create says: the image is made, with this size, and written in place. */
  readonly create: string | undefined;
}

/** Opens an image. Throws MediumError or UsageError, which name the path and what would be right. */
export async function openImage(path: string, flags: ImageFlags): Promise<Image> {
  const format = flags.format === undefined ? undefined : parseFormat(flags.format);
  const inPlace = flags.inPlace || flags.create !== undefined;
  if (flags.create !== undefined) await createImage(path, flags.create, format);
  if (inPlace) checkWritable(path);
  const file = await openMedium(path, { readOnly: !inPlace, ...(format === undefined ? {} : { format }) });
  if (inPlace && file.readOnly) {
    file.close();
    throw new UsageError(`${formatPath(path)} is of a format that is only read; leave out --in-place`);
  }
  let written = 0;
  let trouble: string | null = null;
  const watched = <T>(work: () => T): T => {
    try {
      return work();
    } catch (error) {
      if (error instanceof MediumError) trouble ??= error.message;
      throw error;
    }
  };
  const counted: SyncMedium = {
    sync: true,
    name: `${file.name}, written in place`,
    bytes: file.bytes,
    readOnly: file.readOnly,
    readv: (offset, buffers) => watched(() => file.readv(offset, buffers)),
    writev(offset, buffers) {
      const bytes = watched(() => file.writev(offset, buffers));
      written += bytes;
      return bytes;
    },
    flush: () => watched(() => file.flush()),
    discard: (offset, bytes) => file.discard(offset, bytes),
    close: () => file.close(),
  };
  return {
    path,
    bytes: file.bytes,
    medium: (bounce) => (inPlace && bounce ? counted : overlay(file)),
    get written() {
      return written;
    },
    get trouble() {
      return trouble;
    },
    close: () => file.close(),
  };
}

function parseFormat(text: string): ImageFormat {
  const format = IMAGE_FORMATS.find((name) => name === text);
  if (format !== undefined) return format;
  throw new UsageError(`--image-format knows no "${text}"${suggest(text, IMAGE_FORMATS)}`);
}

/** A new image: qcow2, or raw where that is asked for or the name ends in .img or .raw. */
async function createImage(path: string, size: string, format: ImageFormat | undefined): Promise<void> {
  const bytes = parseSize(size, '--create');
  if (bytes % 512 !== 0) throw new UsageError(`--create "${size}" is no multiple of the sector, 512 bytes`);
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) {
    throw new UsageError(`${formatPath(path)} exists; leave out --create, or remove it`);
  }
  if (format === 'vhd') throw new UsageError('--create makes raw and qcow2 images, not vhd');
  if (format === 'raw' || (format === undefined && /\.(img|raw)$/i.test(path))) {
    (await openFile(path, { create: bytes })).close();
    return;
  }
  try {
    await createQcow2(path, { bytes });
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`--create: ${error.message}`);
    throw error;
  }
}

/** Whether two paths are the same file, under whatever names. */
export function isSameFile(one: string, other: string): boolean {
  const a = statSync(one, { throwIfNoEntry: false });
  const b = statSync(other, { throwIfNoEntry: false });
  return a !== undefined && b !== undefined && a.dev === b.dev && a.ino === b.ino;
}

function checkWritable(path: string): void {
  if (statSync(path, { throwIfNoEntry: false }) === undefined) return; // opening it says more
  try {
    accessSync(path, constants.W_OK);
  } catch {
    throw new UsageError(
      `${formatPath(path)} may not be written; leave out --in-place, and the run keeps what it writes to itself`,
    );
  }
}
