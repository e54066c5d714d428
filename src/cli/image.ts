// The disk image of `backplane run --image`: kept as it is under an overlay, or written in place, with an
// account of what was written for when the run is interrupted.

import { openFile, overlay, type SyncMedium } from '../media/index.ts';

export interface Image {
  readonly path: string;
  /** The disk for a part of the scenario; only a part that makes no mistake on purpose writes in place. */
  medium(bounce: boolean): SyncMedium;
  /** Bytes that were written to the file. */
  readonly written: number;
  close(): void;
}

/** Opens an image. Throws MediumError, which names the path and what would be right. */
export async function openImage(path: string, options: { readonly inPlace: boolean }): Promise<Image> {
  const file = await openFile(path, { readOnly: !options.inPlace });
  let written = 0;
  const counted: SyncMedium = {
    sync: true,
    name: file.name,
    bytes: file.bytes,
    readOnly: file.readOnly,
    readv: (offset, buffers) => file.readv(offset, buffers),
    writev(offset, buffers) {
      const bytes = file.writev(offset, buffers);
      written += bytes;
      return bytes;
    },
    flush: () => file.flush(),
    discard: (offset, bytes) => file.discard(offset, bytes),
    close: () => file.close(),
  };
  return {
    path,
    medium: (bounce) => (options.inPlace && bounce ? counted : overlay(file)),
    get written() {
      return written;
    },
    close: () => file.close(),
  };
}
