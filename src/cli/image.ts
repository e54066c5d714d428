// The disk image of `backplane run --image`: kept as it is under an overlay, or written in place, with an
// account of what was written for when the run is interrupted, and of what the file refused.

import { accessSync, constants, statSync } from 'node:fs';
import { MediumError, openFile, overlay, type SyncMedium } from '../media/index.ts';
import { UsageError } from './errors.ts';
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

/** Opens an image. Throws MediumError or UsageError, which name the path and what would be right. */
export async function openImage(path: string, options: { readonly inPlace: boolean }): Promise<Image> {
  if (options.inPlace) checkWritable(path);
  const file = await openFile(path, { readOnly: !options.inPlace });
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
    medium: (bounce) => (options.inPlace && bounce ? counted : overlay(file)),
    get written() {
      return written;
    },
    get trouble() {
      return trouble;
    },
    close: () => file.close(),
  };
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
