// A disk without bytes: it reads as zeroes, and what is written is lost.

import type { SyncMedium } from '../../media/index.ts';

export function nullMedium(name: string, bytes: number): SyncMedium {
  let size = bytes;
  const total = (buffers: readonly Uint8Array[]): number =>
    buffers.reduce((sum, buffer) => sum + buffer.length, 0);
  return {
    sync: true,
    name,
    readOnly: false,
    get bytes() {
      return size;
    },
    grow: (longer) => {
      size = longer;
    },
    readv: (_offset, buffers) => {
      for (const buffer of buffers) buffer.fill(0);
      return total(buffers);
    },
    writev: (_offset, buffers) => total(buffers),
    flush: () => {},
    discard: () => {},
    close: () => {},
  };
}
