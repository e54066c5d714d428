// What the media tests share: a folder for images, media that fail or wait on demand.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AsyncMedium, AsyncOperation, Medium, SyncMedium } from '../../src/media/index.ts';
import { asyncMedium } from '../../src/media/index.ts';

/** A folder of the test's own, removed at the end of the process. */
export function scratchFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'backplane-media-'));
  process.on('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

/** Bytes that tell where they come from. */
export function pattern(bytes: number, seed: number): Uint8Array {
  let x = (Math.imul(seed, 2654435761) + 1) >>> 0;
  const filled = new Uint8Array(bytes);
  for (let i = 0; i < bytes; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    filled[i] = x >>> 24;
  }
  return filled;
}

/** The whole content of a medium. */
export async function contentOf(medium: Medium): Promise<Uint8Array> {
  const bytes = new Uint8Array(medium.bytes);
  if (medium.sync) medium.readv(0, [bytes]);
  else await medium.read(0, bytes);
  return bytes;
}

/** A synchronous medium with some of its functions replaced. */
export function altered(medium: SyncMedium, changes: Partial<SyncMedium>): SyncMedium {
  return {
    sync: true,
    name: medium.name,
    bytes: medium.bytes,
    readOnly: medium.readOnly,
    readv: (offset, buffers) => medium.readv(offset, buffers),
    writev: (offset, buffers) => medium.writev(offset, buffers),
    flush: () => medium.flush(),
    discard: (offset, bytes) => medium.discard(offset, bytes),
    close: () => medium.close(),
    ...changes,
  };
}

/** An asynchronous medium that answers when the test says so. */
export class Held {
  readonly medium: AsyncMedium;
  readonly waiting: { operation: AsyncOperation; offset: number; release: () => void }[] = [];

  constructor(medium: SyncMedium) {
    this.medium = asyncMedium(medium, {
      delay: (operation, offset) =>
        new Promise<void>((resolve) => {
          this.waiting.push({ operation, offset, release: resolve });
        }),
    });
  }

  /** Lets everything go that waits for the operation, now; true if something did. */
  release(operation?: AsyncOperation): boolean {
    const chosen = this.waiting.filter((one) => operation === undefined || one.operation === operation);
    for (const one of chosen) {
      this.waiting.splice(this.waiting.indexOf(one), 1);
      one.release();
    }
    return chosen.length > 0;
  }

  /** Lets everything go until nobody asks any more. */
  async drain(): Promise<void> {
    for (let idle = 0; idle < 5; idle++) {
      if (this.release()) idle = 0;
      await turn();
    }
  }
}

/** Lets promises and timers of the host run. */
export function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
