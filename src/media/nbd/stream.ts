// Bytes of a connection, taken in the portions that the protocol has. Only for Node.

import type { Socket } from 'node:net';
import { MediumError } from '../error.ts';
import { nodeModule } from '../node.ts';
import type { NbdAddress } from './uri.ts';

/** Bytes that wait to be taken before the other side is asked to slow down. */
const QUEUE_MAX = 2 ** 20;

export class ByteStream {
  readonly #name: string;
  readonly #socket: Socket;
  #queue: Uint8Array[] = [];
  #queued = 0;
  #waiting: { into: Uint8Array; filled: number; resolve: () => void; reject: (error: Error) => void } | null =
    null;
  /** Why nothing comes any more. */
  #ended: MediumError | null = null;

  constructor(name: string, socket: Socket) {
    this.#name = name;
    this.#socket = socket;
    socket.on('data', (chunk: Uint8Array) => this.#take(chunk));
    socket.on('error', (error) => this.fail(connectionError(name, error)));
    socket.on('close', () =>
      this.fail(new MediumError(`${name}: the server closed the connection`, 'failed')),
    );
  }

  /** The next bytes, all of the buffer. Rejects when the connection ends first. One at a time. */
  fill(into: Uint8Array): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#waiting = { into, filled: 0, resolve, reject };
      this.#serve();
    });
  }

  async take(length: number): Promise<DataView> {
    const bytes = new Uint8Array(length);
    await this.fill(bytes);
    return new DataView(bytes.buffer);
  }

  send(...parts: readonly Uint8Array[]): void {
    this.#socket.cork();
    for (const part of parts) this.#socket.write(part);
    this.#socket.uncork();
  }

  /** Ends the connection, for the reason that whoever waits is told. */
  fail(error: MediumError): void {
    if (this.#ended === null) {
      this.#ended = error;
      this.#socket.destroy();
    }
    this.#serve();
  }

  /** Sends what is to be sent and closes. */
  end(): Promise<void> {
    return new Promise((resolve) => {
      this.#ended ??= new MediumError(`${this.#name}: it is closed`, 'closed');
      if (this.#socket.closed) return resolve();
      this.#socket.once('close', () => resolve());
      this.#socket.end(() => void this.#socket.destroy());
    });
  }

  #take(chunk: Uint8Array): void {
    this.#queue.push(chunk);
    this.#queued += chunk.length;
    this.#serve();
    if (this.#queued > QUEUE_MAX) this.#socket.pause();
  }

  #serve(): void {
    const waiting = this.#waiting;
    if (waiting === null) return;
    while (waiting.filled < waiting.into.length) {
      const chunk = this.#queue[0];
      if (chunk === undefined) break;
      const piece = chunk.subarray(0, waiting.into.length - waiting.filled);
      waiting.into.set(piece, waiting.filled);
      waiting.filled += piece.length;
      this.#queued -= piece.length;
      if (piece.length === chunk.length) this.#queue.shift();
      else this.#queue[0] = chunk.subarray(piece.length);
    }
    if (this.#queued <= QUEUE_MAX) this.#socket.resume();
    if (waiting.filled === waiting.into.length) {
      this.#waiting = null;
      waiting.resolve();
    } else if (this.#ended !== null) {
      this.#waiting = null;
      waiting.reject(this.#ended);
    }
  }
}

/** Connects to a server. Throws MediumError. */
export async function connect(name: string, address: NbdAddress, timeoutMs: number): Promise<ByteStream> {
  const net = await nodeModule('node:net');
  const { socket: path, host, port } = address;
  return new Promise((resolve, reject) => {
    const socket = path === null ? net.connect({ host, port }) : net.connect({ path });
    socket.setNoDelay(true);
    const timer = setTimeout(() => void socket.destroy(new Error(`no answer in ${timeoutMs} ms`)), timeoutMs);
    const failed = (error: Error): void => {
      clearTimeout(timer);
      reject(connectionError(name, error));
    };
    socket.once('error', failed);
    socket.once('connect', () => {
      clearTimeout(timer);
      socket.off('error', failed);
      resolve(new ByteStream(name, socket));
    });
  });
}

const REASONS: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'no server listens there',
  ENOENT: 'there is no such socket',
  ENOTFOUND: 'no host is called so',
  EAI_AGAIN: 'no host is called so, or names cannot be looked up now',
  EACCES: 'no permission',
  ECONNRESET: 'the server closed the connection',
  EPIPE: 'the server closed the connection',
  EHOSTUNREACH: 'the host cannot be reached',
  ENETUNREACH: 'the network cannot be reached',
  ETIMEDOUT: 'no answer',
};

function connectionError(name: string, cause: Error): MediumError {
  const code = 'code' in cause ? String(cause.code) : '';
  const reason = code === 'ENOENT' || code === 'ECONNREFUSED' || code === 'ENOTFOUND' ? 'missing' : 'failed';
  return new MediumError(`${name}: ${REASONS[code] ?? cause.message}`, reason, { cause });
}
