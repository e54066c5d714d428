import { type ChildProcess, spawn } from 'node:child_process';
import { join } from 'node:path';
import { Random } from '../../src/kernel/random.ts';
import {
  type AsyncMedium,
  createQcow2,
  MediumError,
  type MediumReason,
  openNbd,
} from '../../src/media/index.ts';
import { parseNbdUri } from '../../src/media/nbd/uri.ts';
import { assert, suite } from '../run/suite.ts';
import { contentOf, pattern, scratchFolder, turn } from './help.ts';
import {
  chunk,
  listening,
  optionReply,
  type Request,
  type Script,
  serve,
  simpleReply,
  u16,
  u32,
  u64,
} from './nbd-server.ts';
import { CLEAN, check, needing, rawOf, same } from './qemu.ts';

const test = suite('media: nbd');
const nbdkitTest = needing(test, ['nbdkit'], 'nbdkit');
const qemuTest = needing(test, ['qemu-nbd', 'qemu-img'], 'qemu-utils');
const folder = scratchFolder();
const MIB = 2 ** 20;

let sockets = 0;

/** Runs a server program on a socket while `work` does. */
async function withServer(
  program: string,
  args: (socket: string) => string[],
  work: (uri: string, server: ChildProcess) => Promise<void>,
  name = '',
): Promise<void> {
  const socket = join(folder, `server-${sockets++}.sock`);
  const server = spawn(program, args(socket), { stdio: 'ignore' });
  const ended = new Promise((resolve) => {
    server.once('exit', resolve);
  });
  try {
    await listening(socket, () => server.exitCode === null);
    await work(`nbd+unix:///${name}?socket=${socket}`, server);
  } finally {
    server.kill('SIGKILL');
    await ended;
  }
}

const nbdkit =
  (...args: string[]) =>
  (socket: string): string[] => ['-f', '-U', socket, ...args];

/** Random operations, some of them at the same time, against an array. */
async function exercise(
  medium: AsyncMedium,
  model: Uint8Array,
  seed: number,
  operations: number,
): Promise<void> {
  const random = new Random(seed);
  for (let i = 0; i < operations; i++) {
    const sectors = 1 + random.below(random.below(8) === 0 ? 600 : 24);
    const offset = random.below(model.length / 512 - sectors + 1) * 512;
    const length = sectors * 512;
    const kind = random.below(8);
    if (kind < 3) {
      const bytes = pattern(length, random.next());
      assert.is(await medium.write(offset, bytes), length);
      model.set(bytes, offset);
    } else if (kind < 4) {
      await medium.discard(offset, length);
      model.fill(0, offset, offset + length);
    } else if (kind < 5) await medium.flush();
    else {
      const reads = Array.from({ length: 1 + random.below(6) }, (_, n) => {
        const at = (offset + n * 8192) % (model.length - length);
        return { at, buffer: new Uint8Array(length).fill(0xa5) };
      });
      const done = await Promise.all(reads.map(({ at, buffer }) => medium.read(at, buffer)));
      for (const [n, { at, buffer }] of reads.entries()) {
        assert.is(done[n], length);
        same(buffer, model.subarray(at, at + length), `read ${n} at ${at}`);
      }
    }
  }
}

const SERVERS: [name: string, args: string[]][] = [
  ['as it is', ['memory', '4M']],
  ['without zeroing', ['--filter=nozero', 'memory', '4M']],
  ['that forces every write out', ['--filter=fua', 'memory', '4M', 'fuamode=force']],
  ['with FUA emulated', ['--filter=fua', 'memory', '4M', 'fuamode=emulate']],
  [
    'with blocks of 4 KiB, at most 64 KiB',
    [
      '--filter=blocksize-policy',
      'memory',
      '4M',
      'blocksize-minimum=4096',
      'blocksize-preferred=4096',
      'blocksize-maximum=65536',
      'blocksize-error-policy=error',
    ],
  ],
];

for (const [name, args] of SERVERS) {
  nbdkitTest(`nbdkit ${name} keeps what is written`, () =>
    withServer('nbdkit', nbdkit(...args), async (uri) => {
      const medium = await openNbd(uri);
      assert.is(medium.bytes, 4 * MIB);
      const model = new Uint8Array(4 * MIB);
      await exercise(medium, model, args.length, 150);
      same(await contentOf(medium), model, 'at the end');
      await medium.close();
      const again = await openNbd(uri, { readOnly: true });
      same(await contentOf(again), model, 'from another connection');
      await again.close();
    }),
  );
}

nbdkitTest('nbdkit over TCP, and an export of terabytes', async () => {
  const port = 20000 + (process.pid % 20000);
  const server = spawn('nbdkit', ['-f', '-i', '127.0.0.1', '-p', String(port), 'memory', '8T'], {
    stdio: 'ignore',
  });
  try {
    let medium: AsyncMedium | undefined;
    for (let i = 0; medium === undefined; i++) {
      try {
        medium = await openNbd(`nbd://127.0.0.1:${port}/anything`);
      } catch (error) {
        if (i > 200 || !(error instanceof MediumError) || error.reason !== 'missing') throw error;
        await new Promise((resolve) => {
          setTimeout(resolve, 20);
        });
      }
    }
    assert.is(medium.bytes, 8 * 2 ** 40);
    const at = medium.bytes - 4096;
    await medium.write(at, pattern(4096, 1));
    const back = new Uint8Array(8192);
    assert.is(await medium.read(at, back), 4096);
    same(back.subarray(0, 4096), pattern(4096, 1), 'the end');
    await medium.close();
  } finally {
    server.kill();
  }
});

nbdkitTest('what nbdkit fails fails with its words, and the next request does not', () =>
  withServer(
    'nbdkit',
    nbdkit('--filter=error', 'memory', '1M', 'error-pwrite=ENOSPC', 'error-pwrite-rate=100%'),
    async (uri) => {
      const medium = await openNbd(uri);
      await rejects(
        medium.write(0, pattern(512, 1)),
        'no-space',
        /write of 512 bytes at byte 0 failed: no space left/,
      );
      assert.is(await medium.read(0, new Uint8Array(512)), 512);
      await medium.close();
    },
  ),
);

nbdkitTest('a server that only lets read is refused for writing', () =>
  withServer('nbdkit', nbdkit('-r', 'memory', '1M'), async (uri) => {
    await rejects(openNbd(uri), 'read-only', /the server lets it only be read; open it read-only/);
    const medium = await openNbd(uri, { readOnly: true });
    assert.is(medium.readOnly, true);
    await rejects(medium.write(0, new Uint8Array(512)), 'read-only', /read-only/);
    await medium.flush();
    await medium.close();
  }),
);

nbdkitTest('a server that dies in the middle of requests fails them, and those that come later', () =>
  withServer('nbdkit', nbdkit('--filter=delay', 'memory', '1M', 'rdelay=30'), async (uri, server) => {
    const medium = await openNbd(uri);
    const reads = [medium.read(0, new Uint8Array(512)), medium.read(512, new Uint8Array(1024))];
    await turn();
    server.kill('SIGKILL');
    await rejects(
      reads[0],
      'failed',
      /the server closed the connection, in the middle of a read of 512 bytes/,
    );
    await rejects(reads[1], 'failed', /in the middle of a read of 1024 bytes at byte 512/);
    await rejects(medium.write(0, new Uint8Array(512)), 'missing', /no server listens there/);
    await rejects(medium.flush(), 'missing', /no server listens there/);
    await medium.close();
  }),
);

qemuTest('qemu-nbd over a qcow2 image: what is written is in the image', async () => {
  const image = join(folder, 'served.qcow2');
  await createQcow2(image, { bytes: 4 * MIB });
  const model = new Uint8Array(4 * MIB);
  const args = (socket: string): string[] => ['-k', socket, '-f', 'qcow2', '-x', 'disk one', '-t', image];
  await withServer(
    'qemu-nbd',
    args,
    async (uri) => {
      await rejects(
        openNbd(uri.replace('disk%20one', 'none')),
        'missing',
        /no export is called "none"; there are "disk one"/,
      );
      const medium = await openNbd(uri);
      await exercise(medium, model, 9, 200);
      await medium.flush();
      await medium.close();
    },
    'disk%20one',
  );
  assert.equal(check(image), CLEAN);
  same(rawOf(image), model, 'the image');
});

async function rejects(
  work: Promise<unknown> | undefined,
  reason: MediumReason,
  message: RegExp,
): Promise<MediumError> {
  try {
    await work;
  } catch (error) {
    assert.instance(error, MediumError);
    const known = error as MediumError;
    assert.match(known.message, message);
    assert.is(known.reason, reason);
    return known;
  }
  assert.unreachable(`not refused: ${message}`);
  throw new Error('unreachable');
}

/** A scripted server and a medium on it. */
async function scripted(
  script: Partial<Script>,
  work: (medium: AsyncMedium, requests: Request[]) => Promise<void>,
): Promise<void> {
  const server = await serve(folder, { request: () => {}, ...script });
  const medium = await openNbd(server.uri, { timeoutMs: 2000 });
  try {
    await work(medium, server.requests);
    await medium.close();
  } finally {
    server.close();
  }
}

async function refusesServer(script: Partial<Script>, reason: MediumReason, message: RegExp): Promise<void> {
  const server = await serve(folder, { request: () => {}, ...script });
  try {
    await rejects(openNbd(server.uri, { timeoutMs: 300 }), reason, message);
  } finally {
    server.close();
  }
}

test('replies come in any order, and each finds its request', () => {
  const held: Request[] = [];
  return scripted(
    {
      request(request, socket) {
        held.push(request);
        if (held.length < 3) return;
        for (const one of held.reverse())
          socket.write(simpleReply(one, 0, Buffer.alloc(one.length, one.offset / 512)));
      },
    },
    async (medium) => {
      const buffers = [0, 1, 2].map(() => new Uint8Array(512));
      await Promise.all(buffers.map((buffer, i) => medium.read(i * 512, buffer)));
      for (const [i, buffer] of buffers.entries()) assert.ok(buffer.every((byte) => byte === i));
    },
  );
});

test('a structured read comes in pieces, holes among them, in any order', () =>
  scripted(
    {
      structured: true,
      request(request, socket) {
        const data = (from: number, to: number): Buffer =>
          Buffer.concat([u64(request.offset + from), Buffer.alloc(to - from, 7)]);
        const parts = [
          chunk(request, 1, false, data(2048, 4096)),
          chunk(request, 2, false, Buffer.concat([u64(request.offset + 512), u32(1536)])),
          chunk(request, 1, false, data(0, 512)),
          chunk(request, 0, true),
        ];
        for (const byte of Buffer.concat(parts)) socket.write(Buffer.from([byte]));
      },
    },
    async (medium) => {
      const buffer = new Uint8Array(4096).fill(0xa5);
      assert.is(await medium.read(8192, buffer), 4096);
      const expected = new Uint8Array(4096).fill(7).fill(0, 512, 2048);
      same(buffer, expected, 'read');
    },
  ));

test('an error in a chunk says how far the read came, and the connection goes on', () =>
  scripted(
    {
      structured: true,
      request(request, socket) {
        if (request.offset === 0) {
          const text = Buffer.from('bad\nblock');
          socket.write(chunk(request, 1, false, Buffer.concat([u64(0), Buffer.alloc(1024, 1)])));
          socket.write(
            chunk(request, 0x8002, true, Buffer.concat([u32(5), u16(text.length), text, u64(1024)])),
          );
        } else
          socket.write(chunk(request, 1, true, Buffer.concat([u64(request.offset), Buffer.alloc(512, 2)])));
      },
    },
    async (medium) => {
      const error = await rejects(
        medium.read(0, new Uint8Array(4096)),
        'failed',
        /input\/output error \(bad block\)/,
      );
      assert.is(error.transferred, 1024);
      const buffer = new Uint8Array(512);
      assert.is(await medium.read(512, buffer), 512);
      assert.is(buffer[0], 2);
    },
  ));

test('a server that breaks the protocol is left, and nothing hangs', async () => {
  const data = (request: Request, offset: number, bytes: number): Buffer =>
    chunk(request, 1, true, Buffer.concat([u64(offset), Buffer.alloc(bytes)]));
  const cases: [structured: boolean, reply: (request: Request) => Buffer, message: RegExp][] = [
    [false, () => Buffer.from('HTTP/1.1 400'), /a reply begins with 0x48545450/],
    [false, (r) => chunk(r, 0, true), /a reply begins with 0x668e33ef/],
    [false, (r) => simpleReply({ ...r, cookie: u64(77) }), /a reply to request 77, which is not open/],
    [true, (r) => simpleReply(r, 0, Buffer.alloc(1024)), /a simple reply to a read/],
    [true, (r) => data(r, 0, 2048), /2056 bytes for a read of 1024/],
    [true, (r) => data(r, 1024, 1024), /1024 bytes at byte 1024 for a read/],
    [true, (r) => data(r, 2 ** 52, 512), /for a read of 1024/],
    [true, (r) => data(r, 0, 512), /512 bytes came of a read of 1024/],
    [
      true,
      (r) => Buffer.concat([chunk(r, 2, false, Buffer.concat([u64(0), u32(1024)])), data(r, 512, 512)]),
      /byte 512 came twice/,
    ],
    [true, (r) => chunk(r, 2, true, Buffer.concat([u64(0), u32(0xffffffff)])), /4294967295 bytes at byte 0/],
    [true, (r) => chunk(r, 2, true, u64(0)), /a hole's chunk has 8 bytes/],
    [true, (r) => chunk(r, 5, true, u64(0)), /a chunk of type 5/],
    [true, (r) => chunk(r, 0, false), /a chunk of type 0/],
    [true, (r) => chunk(r, 0, true), /0 bytes came/],
    [true, (r) => chunk(r, 0x8001, true, u16(0, 5, 999)), /a text beyond its end/],
    [true, (r) => chunk(r, 0x8001, true, u32(5)), /an error's chunk has 4 bytes/],
    [
      true,
      (r) => Buffer.concat([u32(0x668e33ef), u16(1, 0x8001), r.cookie, u32(0x7fffffff)]),
      /an error's chunk has 2147483647/,
    ],
    [
      true,
      (r) => Buffer.concat([u32(0x668e33ef), u16(1, 1), r.cookie, u32(0xffffffff)]),
      /a chunk with 4294967295 bytes/,
    ],
  ];
  for (const [structured, reply, message] of cases) {
    await scripted(
      { structured, request: (request, socket) => void socket.write(reply(request)) },
      async (medium) => {
        await rejects(medium.read(0, new Uint8Array(1024)), 'failed', message);
        await rejects(medium.read(0, new Uint8Array(512)), 'failed', /breaks the protocol/);
      },
    );
  }
});

test('random bytes from a server end in an error, never in a hang or anything else', async () => {
  const random = new Random(5);
  for (let round = 0; round < 150; round++) {
    const structured = random.below(2) === 0;
    const request = (one: Request, socket: import('node:net').Socket): void => {
      const good = structured
        ? chunk(one, random.below(4), random.below(2) === 0, Buffer.alloc(random.below(2000), 1))
        : simpleReply(one, random.below(3) * 5, Buffer.alloc(random.below(1500)));
      const bytes = Buffer.from(good);
      for (let i = 0; i < random.below(4); i++)
        bytes[random.below(Math.min(40, bytes.length))] = random.below(256);
      socket.write(bytes);
      socket.end();
    };
    await scripted({ structured, request }, async (medium) => {
      const results = await Promise.allSettled(
        [0, 1, 2].map((i) => medium.read(i * 512, new Uint8Array(1024))),
      );
      for (const result of results)
        if (result.status === 'rejected') assert.instance(result.reason, MediumError);
    });
  }
});

test('a handshake that cannot be is refused, with what is wrong', async () => {
  const go = (type: number, data?: Buffer): Partial<Script> => ({
    option(option, _data, socket) {
      if (option !== 7) return false;
      socket.write(optionReply(7, type, data));
      return true;
    },
  });
  await refusesServer(go(0x80000005), 'unsupported', /the server requires TLS, which is not supported/);
  await refusesServer(
    go(0x80000002, Buffer.from('not\u0007 you')),
    'failed',
    /the server forbids it: not you/,
  );
  await refusesServer(go(0x80000006), 'missing', /no export is called "disk"/);
  await refusesServer(go(1), 'format', /did not say how large/);
  await refusesServer(go(3, u16(0, 0)), 'format', /information 0 has 4 bytes/);
  await refusesServer(go(3, Buffer.alloc(1)), 'format', /a reply of type 3 of 1 bytes/);
  await refusesServer(go(77), 'format', /a reply of type 77/);
  await refusesServer({ bytes: 0 }, 'format', /the export has 0 bytes/);
  await refusesServer({ bytes: 1000 }, 'format', /the export has 1000 bytes; a multiple of 512/);
  await refusesServer(
    { option: (_option, _data, socket) => socket.write(Buffer.alloc(20)) },
    'format',
    /something else/,
  );
  const long = Buffer.concat([u32(0x0003e889, 0x045565a9, 8, 1, 0x7fffffff)]);
  await refusesServer(
    { option: (_o, _d, socket) => socket.write(long) },
    'format',
    /2147483647 bytes, too many/,
  );
  await refusesServer({ option: () => true }, 'failed', /did not finish negotiating in 300 ms/);
  const tls: Partial<Script> = {
    option: (option, _data, socket) => socket.write(optionReply(option, 0x80000005)),
  };
  await refusesServer(tls, 'unsupported', /requires TLS/);
  const sizes = (...values: number[]): Partial<Script> => ({
    option(option, _data, socket) {
      if (option !== 7) return false;
      socket.write(optionReply(7, 3, Buffer.concat([u16(0), u64(MIB), u16(1)])));
      socket.write(optionReply(7, 3, Buffer.concat([u16(3), u32(...values)])));
      socket.write(optionReply(7, 1));
      return true;
    },
  });
  await refusesServer(sizes(3, 4096, 65536), 'format', /blocks have 3 bytes/);
  await refusesServer(sizes(1, 4096, 100), 'format', /at most 100 bytes/);
});

test('servers without NBD_OPT_GO are asked by NBD_OPT_EXPORT_NAME', async () => {
  const answer: Partial<Script> = {
    request: (r, socket) => void socket.write(simpleReply(r, 0, Buffer.alloc(r.length, 9))),
  };
  const read = async (medium: AsyncMedium): Promise<void> => {
    const buffer = new Uint8Array(512);
    assert.is(await medium.read(0, buffer), 512);
    assert.is(buffer[511], 9);
  };
  const noGo: Partial<Script> = {
    option(option, _data, socket) {
      if (option === 7) socket.write(optionReply(7, 0x80000001));
      return option === 7;
    },
  };
  await scripted({ ...answer, ...noGo }, read);
  const zeroes: Partial<Script> = {
    handshake: 0,
    option(option, data, socket) {
      assert.is(option, 1);
      assert.is(data.toString(), 'disk');
      setImmediate(() => void socket.write(Buffer.alloc(124)));
      return false;
    },
  };
  await scripted({ ...answer, ...zeroes }, read);
  await refusesServer(
    { handshake: 2, option: (_o, _d, socket) => socket.end() === socket },
    'missing',
    /maybe no export is called "disk"/,
  );
});

test('without a flush command writes are forced out where the server can', () =>
  scripted(
    { flags: 1 | 8, request: (request, socket) => void socket.write(simpleReply(request)) },
    async (medium, requests) => {
      await medium.write(0, new Uint8Array(512));
      await medium.flush();
      assert.equal(
        requests.map(({ command, flags }) => [command, flags]),
        [[1, 1]],
      );
    },
  ));

test('addresses that are none get a suggestion', async () => {
  const cases: [uri: string, message: RegExp][] = [
    ['nbds://host/x', /TLS is not supported/],
    ['nbd+vsock://1/x', /"nbd\+vsock" is no scheme that is supported/],
    ['nbd:localhost:10809:exportname=a', /write nbd:\/\/localhost:10809\/a/],
    ['nbd:unix:/tmp/s:exportname=a', /write nbd\+unix:\/\/\/a\?socket=\/tmp\/s/],
    ['nbd:localhost', /write nbd:\/\/host:port\/export/],
    ['nbd+unix:///x', /the socket is missing; write nbd\+unix:\/\/\/x\?socket=path/],
    ['nbd:///x?socket=/tmp/s', /write nbd\+unix:\/\/\/x\?socket=\/tmp\/s/],
    ['nbd://host:99999/', /it is no address/],
  ];
  for (const [uri, message] of cases) await rejects(openNbd(uri), 'unsupported', message);
  const odd = parseNbdUri('nbd+unix:///a%20b%2Fc?socket=/tmp/x+y%20z');
  assert.equal([odd.export, odd.socket], ['a b/c', '/tmp/x+y z']);
  const plain = parseNbdUri('nbd://[::1]/');
  assert.equal([plain.export, plain.host, plain.port], ['', '::1', 10809]);
  assert.is(parseNbdUri('nbd://host:80/x').port, 80);
  const nowhere = join(folder, 'no.sock');
  await rejects(openNbd(`nbd+unix:///?socket=${nowhere}`), 'missing', /there is no such socket/);
  await rejects(openNbd('nbd://127.0.0.1:1/'), 'missing', /no server listens there/);
});
