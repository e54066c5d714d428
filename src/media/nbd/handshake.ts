// The negotiation: fixed newstyle, structured replies if the server has them, NBD_OPT_GO or its predecessor.
//
// [1] NetworkBlockDevice, doc/proto: "Fixed newstyle negotiation", "Option types", "Block size constraints".

import { read64 } from '../endian.ts';
import { MediumError } from '../error.ts';
import * as p from './protocol.ts';
import type { ByteStream } from './stream.ts';

/** What the server says of its export. */
export interface ExportInfo {
  readonly bytes: number;
  readonly flags: number;
  readonly structured: boolean;
  /** Offsets and lengths are multiples of this, and lengths at most that. */
  readonly blockBytes: number;
  readonly mostBytes: number;
}

interface OptionReply {
  readonly type: number;
  readonly data: Uint8Array;
}

/** Replies to one option, and names in one list. */
const REPLIES_MAX = 1024;
const REPLY_BYTES_MAX = 65536;
const NAMES_SHOWN = 8;
const BLOCK_MAX = 65536;

export class Handshake {
  readonly #stream: ByteStream;
  readonly #name: string;
  readonly #export: string;

  constructor(stream: ByteStream, name: string, exportName: string) {
    this.#stream = stream;
    this.#name = name;
    this.#export = exportName;
  }

  async run(): Promise<ExportInfo> {
    const flags = await this.#greet();
    const fixed = (flags & p.FIXED_NEWSTYLE) !== 0;
    const noZeroes = (flags & p.NO_ZEROES) !== 0;
    this.#stream.send(words((fixed ? p.FIXED_NEWSTYLE : 0) | (noZeroes ? p.NO_ZEROES : 0)));
    if (!fixed) return this.#exportName(noZeroes, false);
    const structured = await this.#wantStructured();
    return (await this.#go(structured)) ?? this.#exportName(noZeroes, structured);
  }

  #error(what: string, reason: 'failed' | 'missing' | 'unsupported' | 'format' = 'failed'): MediumError {
    return new MediumError(`${this.#name}: ${what}`, reason);
  }

  async #greet(): Promise<number> {
    const head = await this.#stream.take(16);
    if (head.getUint32(0) !== p.INIT_HIGH || head.getUint32(4) !== p.INIT_LOW) {
      throw this.#error('what listens there is no NBD server', 'format');
    }
    if (head.getUint32(12) === p.OLDSTYLE_LOW && head.getUint32(8) === 0x00000042) {
      throw this.#error(
        'the server speaks the old style of the protocol, which is not supported',
        'unsupported',
      );
    }
    if (head.getUint32(8) !== p.OPTION_HIGH || head.getUint32(12) !== p.OPTION_LOW) {
      throw this.#error('what listens there is no NBD server', 'format');
    }
    return (await this.#stream.take(2)).getUint16(0);
  }

  #ask(option: number, data: Uint8Array = new Uint8Array(0)): void {
    this.#stream.send(words(p.OPTION_HIGH, p.OPTION_LOW, option, data.length), data);
  }

  async #reply(option: number): Promise<OptionReply> {
    const head = await this.#stream.take(20);
    if (head.getUint32(0) !== p.OPTION_REPLY_HIGH || head.getUint32(4) !== p.OPTION_REPLY_LOW) {
      throw this.#error('the server answered an option with something else', 'format');
    }
    if (head.getUint32(8) !== option) {
      throw this.#error(`the server answered option ${head.getUint32(8)}, not ${option}`, 'format');
    }
    const length = head.getUint32(16);
    if (length > REPLY_BYTES_MAX) {
      throw this.#error(`the server's answer to option ${option} has ${length} bytes, too many`, 'format');
    }
    const data = new Uint8Array(length);
    await this.#stream.fill(data);
    return { type: head.getUint32(12), data };
  }

  async #wantStructured(): Promise<boolean> {
    this.#ask(p.OPT_STRUCTURED_REPLY);
    const { type, data } = await this.#reply(p.OPT_STRUCTURED_REPLY);
    if (type === p.REP_ACK) return true;
    if (type < p.REP_ERROR) throw this.#error(`the server answered with a reply of type ${type}`, 'format');
    // A server that wants TLS says so to whatever is asked first.
    if (type === p.REP_ERR_TLS_REQD) throw this.#refused(type, data);
    return false;
  }

  /** Null where the server does not know the option. */
  async #go(structured: boolean): Promise<ExportInfo | null> {
    const name = new TextEncoder().encode(this.#export);
    this.#ask(p.OPT_GO, join(words(name.length), name, shorts(1, p.INFO_BLOCK_SIZE)));
    let exported: { bytes: number; flags: number } | null = null;
    let [blockBytes, mostBytes] = [1, p.DEFAULT_MOST];
    for (let i = 0; i < REPLIES_MAX; i++) {
      const { type, data } = await this.#reply(p.OPT_GO);
      if (type === p.REP_ERR_UNSUP) return null;
      if (type === p.REP_ERR_UNKNOWN) throw await this.#unknown();
      if (type >= p.REP_ERROR) throw this.#refused(type, data);
      if (type === p.REP_ACK) {
        if (exported === null) throw this.#error('the server did not say how large the export is', 'format');
        return this.#checked({ ...exported, structured, blockBytes, mostBytes });
      }
      if (type !== p.REP_INFO || data.length < 2) {
        throw this.#error(
          `the server answered with a reply of type ${type} of ${data.length} bytes`,
          'format',
        );
      }
      const view = new DataView(data.buffer);
      const info = view.getUint16(0);
      if (info === p.INFO_EXPORT && data.length === 12) {
        exported = { bytes: read64(view, 2), flags: view.getUint16(10) };
      } else if (info === p.INFO_BLOCK_SIZE && data.length === 14) {
        blockBytes = view.getUint32(2);
        mostBytes = Math.min(view.getUint32(10), p.DEFAULT_MOST);
      } else if (info === p.INFO_EXPORT || info === p.INFO_BLOCK_SIZE) {
        throw this.#error(`the server's information ${info} has ${data.length} bytes`, 'format');
      }
    }
    throw this.#error(`more than ${REPLIES_MAX} answers to one question`, 'format');
  }

  async #exportName(noZeroes: boolean, structured: boolean): Promise<ExportInfo> {
    this.#ask(p.OPT_EXPORT_NAME, new TextEncoder().encode(this.#export));
    let answer: DataView;
    try {
      answer = await this.#stream.take(noZeroes ? 10 : 134);
    } catch (error) {
      // All that a server can do here about a name that it does not know [1].
      const what = `the server closed the connection; maybe no export is called "${this.#export}"`;
      throw error instanceof MediumError && error.reason === 'failed' ? this.#error(what, 'missing') : error;
    }
    return this.#checked({
      bytes: read64(answer, 0),
      flags: answer.getUint16(8),
      structured,
      blockBytes: 1,
      mostBytes: p.DEFAULT_MOST,
    });
  }

  #checked(info: ExportInfo): ExportInfo {
    const { blockBytes: block } = info;
    if (!(block > 0 && block <= BLOCK_MAX && Number.isInteger(Math.log2(block)))) {
      throw this.#error(
        `the server's blocks have ${block} bytes; a power of two up to ${BLOCK_MAX} would be right`,
        'format',
      );
    }
    if (info.mostBytes < Math.max(block, 512)) {
      throw this.#error(`the server takes at most ${info.mostBytes} bytes, less than a block`, 'format');
    }
    // What is left behind the last whole block cannot be reached [1].
    const bytes = info.bytes - (info.bytes % block);
    if (!(Number.isSafeInteger(info.bytes) && bytes > 0 && bytes % 512 === 0)) {
      throw this.#error(
        `the export has ${info.bytes} bytes; a multiple of 512, above 0, would be right`,
        'format',
      );
    }
    return { ...info, bytes, mostBytes: info.mostBytes - (info.mostBytes % block) };
  }

  #refused(type: number, data: Uint8Array): MediumError {
    if (type === p.REP_ERR_TLS_REQD)
      return this.#error('the server requires TLS, which is not supported', 'unsupported');
    const known = p.REPLY_ERRORS[type] ?? `the server refuses with error 0x${type.toString(16)}`;
    const text = plainText(data);
    return this.#error(text === '' ? known : `${known}: ${text}`);
  }

  /** An export that is not there: with the names of those that are, if the server tells. */
  async #unknown(): Promise<MediumError> {
    const names: string[] = [];
    this.#ask(p.OPT_LIST);
    for (let i = 0; i < REPLIES_MAX; i++) {
      const { type, data } = await this.#reply(p.OPT_LIST);
      if (type !== p.REP_SERVER) break;
      const length = data.length < 4 ? 0 : new DataView(data.buffer).getUint32(0);
      if (names.length < NAMES_SHOWN) names.push(`"${plainText(data.subarray(4, 4 + length))}"`);
    }
    const there = names.length === 0 ? '' : `; there are ${names.join(', ')}`;
    return this.#error(`no export is called "${this.#export}"${there}`, 'missing');
  }
}

/** A server's text, on one line and of bounded length. */
export function plainText(bytes: Uint8Array): string {
  const text = new TextDecoder().decode(bytes.subarray(0, p.TEXT_MAX));
  return text.replace(/[\p{Cc}\s]+/gu, ' ').trim();
}

function words(...values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 4));
  for (const [i, value] of values.entries()) view.setUint32(i * 4, value);
  return new Uint8Array(view.buffer);
}

function shorts(...values: readonly number[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(values.length * 2));
  for (const [i, value] of values.entries()) view.setUint16(i * 2, value);
  return new Uint8Array(view.buffer);
}

function join(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
