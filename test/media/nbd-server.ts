// A small NBD server that does what the test tells it, right or wrong.

import { connect, createServer, type Socket } from 'node:net';
import { join } from 'node:path';

export interface Request {
  readonly flags: number;
  readonly command: number;
  readonly cookie: Buffer;
  readonly offset: number;
  readonly length: number;
  readonly data: Buffer;
}

export interface Script {
  readonly bytes?: number;
  /** Transmission flags; default HAS_FLAGS, SEND_FLUSH. */
  readonly flags?: number;
  /** Handshake flags; default fixed newstyle, no zeroes. */
  readonly handshake?: number;
  readonly structured?: boolean;
  /** Answers options instead of the server: whether it did. */
  readonly option?: (option: number, data: Buffer, socket: Socket) => boolean;
  readonly request: (request: Request, socket: Socket) => void;
}

export interface ScriptedServer {
  readonly uri: string;
  readonly requests: Request[];
  close(): void;
}

export function u16(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2);
  for (const [i, value] of values.entries()) bytes.writeUInt16BE(value, i * 2);
  return bytes;
}

export function u32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value >>> 0, i * 4);
  return bytes;
}

export function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64BE(BigInt(value));
  return bytes;
}

export function optionReply(option: number, type: number, data: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([u32(0x0003e889, 0x045565a9, option, type, data.length), data]);
}

export function simpleReply(request: Request, error = 0, data: Buffer = Buffer.alloc(0)): Buffer {
  return Buffer.concat([u32(0x67446698, error), request.cookie, data]);
}

export function chunk(
  request: Request,
  type: number,
  done: boolean,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  return Buffer.concat([
    u32(0x668e33ef),
    u16(done ? 1 : 0, type),
    request.cookie,
    u32(payload.length),
    payload,
  ]);
}

/** Waits until a server of another process listens: its socket is there a moment before that. */
export async function listening(path: string, isAlive: () => boolean): Promise<void> {
  const answers = (): Promise<boolean> =>
    new Promise((resolve) => {
      const socket = connect(path);
      socket.once('error', () => resolve(false));
      socket.once('connect', () => {
        socket.destroy();
        resolve(true);
      });
    });
  for (let i = 0; !(await answers()); i++) {
    if (!isAlive() || i > 2000) throw new Error(`nobody listens at ${path}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 10);
    });
  }
}

let count = 0;

/** Listens on a socket in `folder`; every connection is served by the script. */
export function serve(folder: string, script: Script): Promise<ScriptedServer> {
  return serveAt(join(folder, `scripted-${count++}.sock`), script);
}

/** Listens on the socket `path`, where nobody listens any more. */
export async function serveAt(path: string, script: Script): Promise<ScriptedServer> {
  const requests: Request[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    new Session(socket, script, requests).start();
  });
  await new Promise<void>((resolve) => {
    server.listen(path, resolve);
  });
  return {
    uri: `nbd+unix:///disk?socket=${path}`,
    requests,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

class Session {
  readonly #socket: Socket;
  readonly #script: Script;
  readonly #requests: Request[];
  #buffer = Buffer.alloc(0);
  #stage: 'flags' | 'options' | 'requests' = 'flags';

  constructor(socket: Socket, script: Script, requests: Request[]) {
    this.#socket = socket;
    this.#script = script;
    this.#requests = requests;
  }

  start(): void {
    const { handshake = 3 } = this.#script;
    this.#socket.write(Buffer.concat([Buffer.from('NBDMAGICIHAVEOPT'), u16(handshake)]));
    this.#socket.on('data', (data: Buffer) => {
      this.#buffer = Buffer.concat([this.#buffer, data]);
      while (this.#step());
    });
  }

  #take(length: number): Buffer {
    const bytes = this.#buffer.subarray(0, length);
    this.#buffer = this.#buffer.subarray(length);
    return bytes;
  }

  #step(): boolean {
    const have = this.#buffer.length;
    if (this.#stage === 'flags') {
      if (have < 4) return false;
      this.#take(4);
      this.#stage = 'options';
      return true;
    }
    return this.#stage === 'options' ? this.#option(have) : this.#request(have);
  }

  #option(have: number): boolean {
    if (have < 16) return false;
    const option = this.#buffer.readUInt32BE(8);
    const length = this.#buffer.readUInt32BE(12);
    if (have < 16 + length) return false;
    const data = this.#take(16 + length).subarray(16);
    const { bytes = 1 << 20, flags = 1 | 4, structured = false } = this.#script;
    if (this.#script.option?.(option, data, this.#socket) === true) return true;
    const reply = (type: number, payload?: Buffer) => this.#socket.write(optionReply(option, type, payload));
    if (option === 8) reply(structured ? 1 : 0x80000001);
    else if (option === 7) {
      reply(3, Buffer.concat([u16(0), u64(bytes), u16(flags)]));
      reply(1);
      this.#stage = 'requests';
    } else if (option === 1) {
      this.#socket.write(Buffer.concat([u64(bytes), u16(flags)]));
      this.#stage = 'requests';
    } else reply(0x80000001);
    return true;
  }

  #request(have: number): boolean {
    if (have < 28) return false;
    const command = this.#buffer.readUInt16BE(6);
    const length = this.#buffer.readUInt32BE(24);
    const data = command === 1 ? length : 0;
    if (have < 28 + data) return false;
    const head = Buffer.from(this.#take(28));
    const request: Request = {
      flags: head.readUInt16BE(4),
      command,
      cookie: head.subarray(8, 16),
      offset: Number(head.readBigUInt64BE(16)),
      length,
      data: Buffer.from(this.#take(data)),
    };
    this.#requests.push(request);
    if (command === 2) this.#socket.end();
    else this.#script.request(request, this.#socket);
    return true;
  }
}
