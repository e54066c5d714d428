// Progress of long work: one line on stderr that is written over; nothing where that is no terminal, or a dumb one.

import { setImmediate } from 'node:timers/promises';
import { oneLine } from './style.ts';

const INTERVAL_MS = 100;
/** Work that is over sooner shows nothing. */
const QUIET_MS = 500;

export class Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #began = Date.now();
  #last = 0;
  #shown = false;

  constructor(stream: NodeJS.WriteStream) {
    this.#stream = stream;
  }

  /** Says how much of the work is done, 0 to 1, and what is being done. */
  show(done: number, what: string): void {
    const now = Date.now();
    if (!this.#stream.isTTY || process.env.TERM === 'dumb') return;
    if (now - this.#began < QUIET_MS || now - this.#last < INTERVAL_MS) return;
    this.#last = now;
    this.#shown = true;
    const percent = String(Math.floor(done * 100)).padStart(3);
    // One column stays free: a line that fills the terminal would wrap and could not be written over.
    const line = oneLine(`${percent} %  ${what}`).slice(0, (this.#stream.columns || 80) - 1);
    this.#stream.write(`\r\x1b[K${line}`);
  }

  /** Lets signals and timers be served. */
  async pause(): Promise<void> {
    await setImmediate();
  }

  /** Takes the line away. */
  end(): void {
    if (this.#shown) this.#stream.write('\r\x1b[K');
    this.#shown = false;
  }
}
