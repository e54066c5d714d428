// What a caller without types may give createController(), and what it is told.

import { createController, type EmbeddedController, EmbedError } from '../../src/embed/index.ts';
import { MachineError } from '../../src/machine/index.ts';
import { assert, suite } from '../run/suite.ts';
import { embedded } from './rig.ts';

const test = suite('embed: options');

async function refusal(work: Promise<unknown>): Promise<string> {
  try {
    await work;
  } catch (error) {
    assert.ok(error instanceof EmbedError || error instanceof MachineError);
    return (error as Error).message;
  }
  return 'it was accepted';
}

const cdrom = { drive: true };
/** One option that is wrong, and the message. */
const WRONG: readonly (readonly [option: object, message: RegExp])[] = [
  [{ kind: undefined }, /no controller is called "undefined"; there are aha1542, piix-ide/],
  [{ kind: 'constructor' }, /no controller is called "constructor"/],
  [{ profile: null }, /profile must be one of ahci, .* or have addressBits and parameters/],
  [{ profile: {} }, /profile must be one of ahci/],
  [{ profile: 5 }, /ahci has no profile "5"; it has ahci/],
  [{ media: 'disk.img' }, /media\[0\] is "disk.img": a path is opened first, with await openImage\(path\)/],
  [{ media: [cdrom, Promise.resolve({})] }, /media\[1\] is a promise: await it/],
  [{ media: [null] }, /media\[0\] is null; it must be a medium, bytes, or options of a disk/],
  [{ media: 5 }, /media\[0\] is 5; it must be/],
  [{ media: { content: 'hello' } }, /media\[0\]: content must be a Uint8Array/],
  [
    { media: { bytes: 512, content: new Uint8Array(1024) } },
    /media\[0\]: the content has 1024 bytes, the disk only 512/,
  ],
  [{ media: new Uint8Array(0) }, /a disk of 0 bytes: the size must be a multiple of the sector, 512 bytes/],
  [{ dma: undefined }, /dma must be a Uint8Array, a WebAssembly.Memory, \{ memory, … \} or \{ regions/],
  [{ dma: new ArrayBuffer(4096) }, /dma must be a Uint8Array/],
  [{ dma: { regions: [{ base: 0, bytes: 4096 }], read: 1, write: 2 } }, /dma must be a Uint8Array/],
  [{ dma: { regions: 5, read() {}, write() {} } }, /dma.regions must be a list of \{ base, bytes \}/],
  [{ diskBytes: -1 }, /diskBytes is -1; it must be a whole number of bytes, 0 or more/],
  [{ diskBytes: 'x' }, /diskBytes is x/],
  [
    { dma: { regions: [{ address: 0, bytes: 4096 }], read() {}, write() {} } },
    /RAM of 4096 bytes at undefined: a region, \{ base, bytes \}, is whole pages/,
  ],
  [{ interrupt() {} }, /no option is called "interrupt"; there are kind, profile, media, dma, irq, /],
  [{ irq: 11 }, /irq is no function, but number/],
  [{ onMedia: {} }, /onMedia is no function, but object/],
  [{ wasm: new Uint8Array(10) }, /wasm is not the hardware's module: .*magic/],
  [{ wasm: new URL('file:///no/such/backplane.wasm') }, /wasm is not the hardware's module: .*no such file/],
];

test('EMB-64 options of the wrong type are named, and what they must be', async () => {
  const right = { kind: 'ahci', media: { bytes: 512 }, dma: new Uint8Array(8192) } as const;
  for (const [option, message] of WRONG) {
    assert.match(await refusal(embedded({ ...right, ...option })), message, JSON.stringify(option));
  }
  assert.match(await refusal(createController(undefined as never)), /at least \{ kind, media, dma \}/);
});

test('EMB-65 so are arguments of its functions', async () => {
  const board = await embedded({ kind: 'ahci', media: [], dma: new Uint8Array(8192) });
  const refuses = (work: (board: EmbeddedController) => unknown, message: RegExp): void => {
    assert.throws(
      () => void work(board),
      (error: unknown) =>
        error instanceof MachineError || error instanceof EmbedError ? message.test(error.message) : false,
    );
  };
  refuses((it) => it.reset('warm' as 'bus'), /no reset is called "warm"; there are power-on, bus, function/);
  refuses((it) => it.addFault({} as never), /fault.disk is missing/);
  refuses((it) => it.guard.map(0, 4096, 'rw' as 'both'), /access is "rw"; it must be read or write or both/);
  refuses((it) => it.guard.map(-1, 4096, 'both'), /4096 bytes at -1 are no addresses/);
  refuses(
    (it) => it.enable(2 ** 32),
    /ahci.0: BAR 5 cannot be at 4294967296; its \d+ bytes must end below 2\^32/,
  );
  refuses((it) => it.enable(Number.NaN), /BAR 5 cannot be at NaN/);
  refuses((it) => it.enable(0xfe000000, -64), /BAR 4 cannot be at -64/);
  refuses((it) => it.restore(undefined as never), /restore\(\) wants the bytes that save\(\) gave/);
});
