// The disk image of `backplane run --image`, a file or an NBD server's: kept as it is under an overlay, or written in place, with an
// account of what was written for when the run is interrupted, and of what the file refused.

import { accessSync, constants, statSync } from 'node:fs';
import {
  type AsyncMedium,
  createQcow2,
  IMAGE_FORMATS,
  type ImageFormat,
  isNbdUri,
  type Medium,
  MediumError,
  type MediumShape,
  openFile,
  openImage as openMedium,
  openNbd,
  overlay,
  type SyncMedium,
} from '../media/index.ts';
import { parseSize, suggest, UsageError } from './errors.ts';
import { formatPath } from './style.ts';

export interface Image {
  readonly path: string;
  /** The disk for a part of the scenario; only a part that makes no mistake on purpose writes in place. */
  medium(bounce: boolean): Medium;
  readonly bytes: number;
  /** Bytes that were written to the image. */
  readonly written: number;
  /** What went wrong first with the image itself, such as a full file system; null if nothing did. */
  readonly trouble: string | null;
  close(): Promise<void>;
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
  const inPlace = flags.inPlace || flags.create !== undefined;
  const base = isNbdUri(path) ? await openServed(path, flags) : await openStored(path, flags, inPlace);
  if (inPlace && base.readOnly) {
    await base.close();
    throw new UsageError(`${formatPath(path)} is of a format that is only read; leave out --in-place`);
  }
  const watch = new Watch();
  const counted = watch.over(base, `${base.name}, written in place`);
  const source = watch.over(base, base.name);
  return {
    path,
    bytes: base.bytes,
    medium(bounce) {
      if (inPlace && bounce) return counted;
      return source.sync ? overlay(source) : overlay(source);
    },
    get written() {
      return watch.written;
    },
    get trouble() {
      return watch.trouble;
    },
    async close() {
      await base.close();
    },
  };
}

async function openServed(path: string, flags: ImageFlags): Promise<AsyncMedium> {
  if (flags.create !== undefined) throw new UsageError('--create makes files; an NBD server has its own');
  if (flags.format !== undefined && flags.format !== 'raw') {
    throw new UsageError('--image-format is for files; what an NBD server exports is raw');
  }
  return openNbd(path, { readOnly: !flags.inPlace });
}

async function openStored(path: string, flags: ImageFlags, inPlace: boolean): Promise<SyncMedium> {
  const format = flags.format === undefined ? undefined : parseFormat(flags.format);
  if (flags.create !== undefined) await createImage(path, flags.create, format);
  if (inPlace) checkWritable(path);
  return openMedium(path, { readOnly: !inPlace, ...(format === undefined ? {} : { format }) });
}

/** Counts what is written to an image, and keeps what the image said first when it failed. */
class Watch {
  written = 0;
  trouble: string | null = null;

  over(medium: Medium, name: string): Medium {
    const { bytes, readOnly } = medium;
    const shape = { name, bytes, readOnly };
    return medium.sync ? { ...shape, ...this.#sync(medium) } : { ...shape, ...this.#async(medium) };
  }

  #sync(medium: SyncMedium): Omit<SyncMedium, keyof MediumShape> {
    const watched = <T>(work: () => T): T => {
      try {
        return work();
      } catch (error) {
        throw this.#note(error);
      }
    };
    return {
      sync: true,
      readv: (offset, buffers) => watched(() => medium.readv(offset, buffers)),
      writev: (offset, buffers) => this.#count(watched(() => medium.writev(offset, buffers))),
      flush: () => watched(() => medium.flush()),
      discard: (offset, bytes) => watched(() => medium.discard(offset, bytes)),
      close: () => medium.close(),
    };
  }

  #async(medium: AsyncMedium): Omit<AsyncMedium, keyof MediumShape> {
    const watched = async <T>(work: Promise<T>): Promise<T> => {
      try {
        return await work;
      } catch (error) {
        throw this.#note(error);
      }
    };
    return {
      sync: false,
      read: (offset, buffer) => watched(medium.read(offset, buffer)),
      write: async (offset, buffer) => this.#count(await watched(medium.write(offset, buffer))),
      flush: () => watched(medium.flush()),
      discard: (offset, bytes) => watched(medium.discard(offset, bytes)),
      close: () => medium.close(),
    };
  }

  #count(bytes: number): number {
    this.written += bytes;
    return bytes;
  }

  #note(error: unknown): unknown {
    if (error instanceof MediumError) this.trouble ??= error.message;
    return error;
  }
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
  if (format === 'vhd' || (format === undefined && /\.vhdx?$/i.test(path)))
    throw new UsageError('--create makes raw and qcow2 images, not vhd');
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
