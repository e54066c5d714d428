// A disk behind an NBD server, as an asynchronous medium. Only for Node.
//
// Where the server goes away, what was under way fails as a medium does; what comes later asks for the server again,
// first, and goes on when it is back with the same disk.

import { MediumError } from '../error.ts';
import type { AsyncMedium } from '../medium.ts';
import { connectNbd, type NbdConnection } from './client.ts';

export interface NbdOptions {
  /** Default false: an export that may only be read is then refused. */
  readonly readOnly?: boolean;
  /** Real milliseconds that connecting and negotiating may take, each; default 10,000. */
  readonly timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 10_000;

/**
 * Connects to `nbd://host:port/export` or `nbd+unix:///export?socket=path`. Throws MediumError, whose message
 * names the address and what would be right. What is discarded is written with zeroes, as holes where the server
 * has them (NBD_CMD_WRITE_ZEROES): NBD_CMD_TRIM leaves open what is read afterwards.
 */
export async function openNbd(uri: string, options: NbdOptions = {}): Promise<AsyncMedium> {
  const { readOnly = false, timeoutMs = DEFAULT_TIMEOUT_MS } = options;
  const reconnect = () => connectNbd(uri, timeoutMs, readOnly);
  return new NbdMedium(await reconnect(), reconnect);
}

class NbdMedium implements AsyncMedium {
  readonly sync = false;
  readonly name: string;
  readonly bytes: number;
  readonly readOnly: boolean;
  readonly #reconnect: () => Promise<NbdConnection>;
  #connection: NbdConnection;
  /** The attempt that is under way, for all who wait for it. */
  #attempt: Promise<NbdConnection> | null = null;
  /** Whether something was written that no flush has made safe. */
  #unflushed = false;
  /** Whether the server went away with it. */
  #forgotten = false;
  #isClosed = false;

  constructor(connection: NbdConnection, reconnect: () => Promise<NbdConnection>) {
    this.#connection = connection;
    this.#reconnect = reconnect;
    this.name = connection.name;
    this.bytes = connection.bytes;
    this.readOnly = connection.readOnly;
  }

  async read(offset: number, buffer: Uint8Array): Promise<number> {
    return (await this.#alive()).read(offset, buffer);
  }

  async write(offset: number, buffer: Uint8Array): Promise<number> {
    const connection = await this.#alive();
    this.#unflushed = connection.hasCache;
    return connection.write(offset, buffer);
  }

  async discard(offset: number, bytes: number): Promise<void> {
    const connection = await this.#alive();
    this.#unflushed = connection.hasCache;
    return connection.discard(offset, bytes);
  }

  /** Fails once after the server went away with writes that were done and not flushed: they may be lost. */
  async flush(): Promise<void> {
    const connection = await this.#alive();
    if (this.#forgotten) {
      this.#forgotten = false;
      throw new MediumError(
        `${this.name}: the server went away with writes that were not flushed; they may be lost`,
        'failed',
      );
    }
    this.#unflushed = false;
    try {
      await connection.flush();
    } catch (error) {
      this.#unflushed = true;
      throw error;
    }
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#attempt?.catch(() => {});
    await this.#connection.close();
  }

  /** The connection, or a new one where the server went away. */
  async #alive(): Promise<NbdConnection> {
    if (this.#isClosed || !this.#connection.isLost) return this.#connection;
    this.#attempt ??= this.#again().finally(() => {
      this.#attempt = null;
    });
    return this.#attempt;
  }

  async #again(): Promise<NbdConnection> {
    this.#forgotten ||= this.#unflushed;
    this.#unflushed = false;
    const connection = await this.#reconnect();
    const { bytes } = connection;
    if (bytes !== this.bytes) {
      await connection.close();
      throw new MediumError(
        `${this.name}: the server is back with another disk, of ${bytes} bytes instead of ${this.bytes}`,
        'failed',
      );
    }
    this.#connection = connection;
    return connection;
  }
}
