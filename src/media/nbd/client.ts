// A connection to an NBD server. Only for Node.
//
// [1] NetworkBlockDevice, doc/proto: "Transmission", "Structured reply chunk message", "Request types".
//
// Requests are told apart by cookies, so any number may be under way. A server that breaks the protocol, or goes
// away, ends the connection: every open request fails as the medium does, and every later one.

import { lengthOn } from '../buffers.ts';
import { read64, write64 } from '../endian.ts';
import { laterError, MediumError } from '../error.ts';
import type { AsyncMedium } from '../medium.ts';
import { type ExportInfo, Handshake, plainText } from './handshake.ts';
import * as p from './protocol.ts';
import { type ByteStream, connect } from './stream.ts';
import { parseNbdUri } from './uri.ts';

/** Stretches of one reply that do not touch each other. */
const STRETCHES_MAX = 4096;

/** Connects and negotiates, each in at most `timeoutMs` real milliseconds. Throws MediumError. */
export async function connectNbd(uri: string, timeoutMs: number, readOnly: boolean): Promise<NbdConnection> {
  const address = parseNbdUri(uri);
  const stream = await connect(uri, address, timeoutMs);
  const timer = setTimeout(() => {
    stream.fail(
      new MediumError(`${uri}: the server did not finish negotiating in ${timeoutMs} ms`, 'failed'),
    );
  }, timeoutMs);
  try {
    const info = await new Handshake(stream, uri, address.export).run();
    if (!readOnly && (info.flags & p.HAS_READ_ONLY) !== 0) {
      throw new MediumError(`${uri}: the server lets it only be read; open it read-only`, 'read-only');
    }
    return new NbdConnection(stream, uri, info, readOnly);
  } catch (error) {
    stream.fail(new MediumError(`${uri}: it is closed`, 'closed'));
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

interface Pending {
  readonly what: string;
  readonly offset: number;
  /** Where a read's bytes go; null for everything else. */
  readonly into: Uint8Array | null;
  readonly resolve: () => void;
  readonly reject: (error: MediumError) => void;
  /** What has come, as stretches in ascending order: from, to. */
  readonly stretches: [number, number][];
  error: MediumError | null;
}

export class NbdConnection implements AsyncMedium {
  readonly sync = false;
  readonly name: string;
  readonly bytes: number;
  readonly readOnly: boolean;
  readonly #info: ExportInfo;
  readonly #stream: ByteStream;
  /** Settles when no reply is waited for any more; it never rejects. */
  readonly #replies: Promise<void>;
  readonly #pending = new Map<number, Pending>();
  #cookie = 0;
  #dead: MediumError | null = null;
  #isBroken = false;

  constructor(stream: ByteStream, name: string, info: ExportInfo, readOnly: boolean) {
    this.#stream = stream;
    this.#info = info;
    this.name = name;
    this.bytes = info.bytes;
    this.readOnly = readOnly;
    this.#replies = this.#receive();
  }

  /** Whether the server went away, so that it may come back; one that broke the protocol is left for good. */
  get isLost(): boolean {
    return this.#dead !== null && this.#dead.reason !== 'closed' && !this.#isBroken;
  }

  /** Whether what is written may be lost until it is flushed. */
  get hasCache(): boolean {
    return (this.#info.flags & p.HAS_FLUSH) !== 0;
  }

  async read(offset: number, buffer: Uint8Array): Promise<number> {
    const length = lengthOn(this.bytes, offset, buffer.length);
    await this.#portions(offset, length, async (at, bytes, from) => {
      const into = buffer.subarray(from, from + bytes);
      const { blockBytes: block } = this.#info;
      if (at % block === 0 && bytes % block === 0) return this.#request(p.CMD_READ, at, bytes, { into });
      const whole = await this.#readBlocks(at, bytes);
      into.set(whole.subarray(at % block, (at % block) + bytes));
    });
    return length;
  }

  async write(offset: number, buffer: Uint8Array): Promise<number> {
    this.#checkWritable();
    const length = lengthOn(this.bytes, offset, buffer.length);
    await this.#portions(offset, length, async (at, bytes, from) => {
      const data = buffer.subarray(from, from + bytes);
      const { blockBytes: block } = this.#info;
      if (at % block === 0 && bytes % block === 0) return this.#request(p.CMD_WRITE, at, bytes, { data });
      // The server takes whole blocks: what stands around the bytes is written once more.
      const whole = await this.#readBlocks(at, bytes);
      whole.set(data, at % block);
      return this.#request(p.CMD_WRITE, at - (at % block), whole.length, { data: whole });
    });
    return length;
  }

  async flush(): Promise<void> {
    // Without the command writes are forced out one by one, or the server has no cache to flush [1].
    if ((this.#info.flags & p.HAS_FLUSH) === 0 || this.readOnly) return this.#checkAlive();
    await this.#request(p.CMD_FLUSH, 0, 0, {});
  }

  async discard(offset: number, bytes: number): Promise<void> {
    this.#checkWritable();
    const length = lengthOn(this.bytes, offset, bytes);
    const { blockBytes: block, flags } = this.#info;
    await this.#portions(offset, length, async (at, n) => {
      const whole = at % block === 0 && n % block === 0;
      if (whole && (flags & p.HAS_WRITE_ZEROES) !== 0) return this.#request(p.CMD_WRITE_ZEROES, at, n, {});
      await this.write(at, new Uint8Array(n));
    });
  }

  async close(): Promise<void> {
    if (this.#dead === null) {
      this.#stream.send(this.#header(p.CMD_DISC, 0, 0));
      this.#fail(new MediumError(`${this.name}: it is closed`, 'closed'), false);
    }
    await this.#stream.end();
    await this.#replies;
  }

  /** Does a part of an operation after the other, each within the server's bounds and, but for the ends, in blocks. */
  async #portions(
    offset: number,
    length: number,
    work: (at: number, bytes: number, from: number) => Promise<void>,
  ): Promise<void> {
    const { mostBytes, blockBytes } = this.#info;
    for (let done = 0; done < length; ) {
      const at = offset + done;
      const bytes = Math.min(length - done, mostBytes - (at % blockBytes));
      try {
        await work(at, bytes, done);
      } catch (error) {
        throw laterError(error, done);
      }
      done += bytes;
    }
  }

  /** The blocks that bytes lie in. */
  async #readBlocks(at: number, bytes: number): Promise<Uint8Array> {
    const { blockBytes: block } = this.#info;
    const first = at - (at % block);
    const into = new Uint8Array(Math.ceil((at + bytes) / block) * block - first);
    try {
      await this.#request(p.CMD_READ, first, into.length, { into });
    } catch (error) {
      throw error instanceof MediumError
        ? new MediumError(error.message, error.reason, { cause: error })
        : error;
    }
    return into;
  }

  #checkAlive(): void {
    if (this.#dead !== null) throw this.#dead;
  }

  #checkWritable(): void {
    if (this.readOnly) throw new MediumError(`${this.name}: it was opened read-only`, 'read-only');
  }

  #header(command: number, offset: number, bytes: number): Uint8Array {
    const { flags } = this.#info;
    const force = (flags & p.HAS_FLUSH) === 0 && (flags & p.HAS_FUA) !== 0;
    const isChange = command === p.CMD_WRITE || command === p.CMD_WRITE_ZEROES;
    const header = new DataView(new ArrayBuffer(28));
    header.setUint32(0, p.REQUEST_MAGIC);
    header.setUint16(4, force && isChange ? p.CMD_FLAG_FUA : 0);
    header.setUint16(6, command);
    write64(header, 8, this.#cookie);
    write64(header, 16, offset);
    header.setUint32(24, bytes);
    return new Uint8Array(header.buffer);
  }

  #request(
    command: number,
    offset: number,
    bytes: number,
    { data, into = null }: { readonly data?: Uint8Array; readonly into?: Uint8Array | null },
  ): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#dead !== null) return reject(this.#dead);
      const what =
        command === p.CMD_FLUSH ? 'flush' : `${VERBS[command]} of ${bytes} bytes at byte ${offset}`;
      const header = this.#header(command, offset, bytes);
      this.#pending.set(this.#cookie++, { what, offset, into, resolve, reject, stretches: [], error: null });
      if (data === undefined) this.#stream.send(header);
      // A copy: the socket may not have sent it when a request that was given up settles.
      else this.#stream.send(header, data.slice());
    });
  }

  // Replies.

  async #receive(): Promise<void> {
    try {
      while (this.#dead === null) await this.#reply();
    } catch (error) {
      const known = error instanceof MediumError ? error : this.#broken(String(error));
      this.#fail(known, true);
    }
  }

  /** Nothing works from now on. */
  #fail(error: MediumError, close: boolean): void {
    this.#dead ??= error;
    if (close) this.#stream.fail(this.#dead);
    for (const [cookie, { what, reject }] of this.#pending) {
      this.#pending.delete(cookie);
      reject(new MediumError(`${error.message}, in the middle of a ${what}`, error.reason, { cause: error }));
    }
  }

  #broken(what: string): MediumError {
    this.#isBroken = true;
    return new MediumError(`${this.name}: the server breaks the protocol: ${what}`, 'failed');
  }

  async #reply(): Promise<void> {
    const magic = (await this.#stream.take(4)).getUint32(0);
    if (magic === p.SIMPLE_MAGIC) return this.#simpleReply();
    if (magic === p.CHUNK_MAGIC && this.#info.structured) return this.#chunk();
    throw this.#broken(`a reply begins with 0x${magic.toString(16)}`);
  }

  #find(view: DataView, at: number): [cookie: number, pending: Pending] {
    const cookie = read64(view, at);
    const pending = this.#pending.get(cookie);
    if (pending === undefined) throw this.#broken(`a reply to request ${cookie}, which is not open`);
    return [cookie, pending];
  }

  async #simpleReply(): Promise<void> {
    const head = await this.#stream.take(12);
    const [cookie, pending] = this.#find(head, 4);
    const code = head.getUint32(0);
    if (pending.into !== null && this.#info.structured) {
      throw this.#broken('a simple reply to a read, though structured ones were agreed on');
    }
    if (code !== 0) pending.error = this.#serverError(pending, code, '', 0);
    else if (pending.into !== null) await this.#stream.fill(pending.into);
    this.#done(cookie, pending);
  }

  async #chunk(): Promise<void> {
    const head = await this.#stream.take(16);
    const [cookie, pending] = this.#find(head, 4);
    const isLast = (head.getUint16(0) & p.CHUNK_DONE) !== 0;
    const type = head.getUint16(2);
    const length = head.getUint32(12);
    if ((type & p.CHUNK_IS_ERROR) !== 0) await this.#errorChunk(pending, type, length);
    else if (type === p.CHUNK_DATA) await this.#dataChunk(pending, length);
    else if (type === p.CHUNK_HOLE) await this.#holeChunk(pending, length);
    else if (type !== p.CHUNK_NONE || length !== 0 || !isLast) {
      throw this.#broken(`a chunk of type ${type} and ${length} bytes`);
    }
    if (!isLast) return;
    const missing = pending.into !== null && goodOf(pending) < pending.into.length;
    if (missing && pending.error === null) {
      throw this.#broken(`${goodOf(pending)} bytes came of a ${pending.what}`);
    }
    this.#done(cookie, pending);
  }

  async #dataChunk(pending: Pending, length: number): Promise<void> {
    if (length <= 8 || length - 8 > (pending.into?.length ?? 0)) {
      throw this.#broken(`a chunk with ${length} bytes for a ${pending.what}`);
    }
    const offset = read64(await this.#stream.take(8), 0);
    await this.#stream.fill(this.#stretch(pending, offset, length - 8));
  }

  async #holeChunk(pending: Pending, length: number): Promise<void> {
    if (length !== 12) throw this.#broken(`a hole's chunk has ${length} bytes`);
    const hole = await this.#stream.take(12);
    this.#stretch(pending, read64(hole, 0), hole.getUint32(8)).fill(0);
  }

  /** Where bytes of a read go; each byte comes once. */
  #stretch(pending: Pending, offset: number, length: number): Uint8Array {
    const { into, stretches } = pending;
    const [from, to] = [offset - pending.offset, offset - pending.offset + length];
    if (into === null || from < 0 || length === 0 || to > into.length) {
      throw this.#broken(`${length} bytes at byte ${offset} for a ${pending.what}`);
    }
    let i = stretches.length;
    while (i > 0 && (stretches[i - 1] as [number, number])[0] >= to) i--;
    const before = stretches[i - 1];
    if (before !== undefined && before[1] > from) {
      throw this.#broken(`byte ${offset} came twice for a ${pending.what}`);
    }
    if (before !== undefined && before[1] === from) before[1] = to;
    else stretches.splice(i, 0, [from, to]);
    if (stretches.length > STRETCHES_MAX) throw this.#broken(`a ${pending.what} came in too many pieces`);
    return into.subarray(from, to);
  }

  async #errorChunk(pending: Pending, type: number, length: number): Promise<void> {
    const tail = type === p.CHUNK_ERROR_OFFSET ? 8 : 0;
    if (length < 6 + tail || length > 6 + tail + p.TEXT_MAX) {
      throw this.#broken(`an error's chunk has ${length} bytes`);
    }
    const payload = await this.#stream.take(length);
    const text = payload.getUint16(4);
    const code = payload.getUint32(0);
    if (code === 0 || text > length - 6 - tail)
      throw this.#broken('an error without a number, or with a text beyond its end');
    const message = plainText(new Uint8Array(payload.buffer, 6, text));
    pending.error ??= this.#serverError(pending, code, message, goodOf(pending));
  }

  #serverError(pending: Pending, code: number, text: string, transferred: number): MediumError {
    const known = p.ERRORS[code] ?? `error ${code}`;
    const what = text === '' ? known : `${known} (${text})`;
    const reason =
      code === p.ERROR_NO_SPACE ? 'no-space' : code === p.ERROR_PERMISSION ? 'read-only' : 'failed';
    return new MediumError(`${this.name}: ${pending.what} failed: ${what}`, reason, { transferred });
  }

  #done(cookie: number, pending: Pending): void {
    this.#pending.delete(cookie);
    if (pending.error === null) pending.resolve();
    else pending.reject(pending.error);
  }
}

const VERBS: Readonly<Record<number, string>> = {
  [p.CMD_READ]: 'read',
  [p.CMD_WRITE]: 'write',
  [p.CMD_WRITE_ZEROES]: 'write of zeroes',
};

/** Bytes of a read that came, from its beginning on. */
function goodOf(pending: Pending): number {
  let good = 0;
  for (const [from, to] of pending.stretches) {
    if (from !== good) break;
    good = to;
  }
  return good;
}
