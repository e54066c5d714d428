// Disk images for servers: raw and qcow2 ones, discs and files of rules, in a folder that is removed.

import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createQcow2 } from '../../src/media/index.ts';

export class Images {
  readonly folder = mkdtempSync(join(tmpdir(), 'backplane-images-'));
  #count = 0;

  #path(ending: string): string {
    return join(this.folder, `${this.#count++}.${ending}`);
  }

  /** A raw image, sparse behind what `content` has. */
  raw(bytes: number, content: Uint8Array = new Uint8Array(0)): string {
    const path = this.#path('img');
    writeFileSync(path, content);
    truncateSync(path, bytes);
    return path;
  }

  async qcow2(bytes: number): Promise<string> {
    const path = this.#path('qcow2');
    await createQcow2(path, { bytes });
    return path;
  }

  /** Rules that fail one request of a kind, once. */
  rules(event: string): string {
    const path = this.#path('rules');
    const once = ['[inject-error]', `event = "${event}"`, 'errno = "5"', 'state = "1"', 'once = "on"'];
    writeFileSync(path, [...once, '[set-state]', `event = "${event}"`, 'new_state = "2"', ''].join('\n'));
    return path;
  }

  /** A path where nothing is. */
  socket(): string {
    return this.#path('sock');
  }

  remove(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** Bytes that differ from sector to sector. */
export function pattern(bytes: number): Buffer {
  return Buffer.from(Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + (i >> 9) * 13) & 0xff));
}
