// The interface as an emulator uses it: interrupts, time, configuration space, ports, and what it gets wrong.

import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { NVME_CC, NVME_CSTS, NVME_DOORBELLS } from '../../assembly/nvme/regs.ts';
import {
  createController,
  type EmbeddedController,
  EmbedError,
  type EmbedOptions,
} from '../../src/embed/index.ts';
import { Drive, MachineError } from '../../src/machine/index.ts';
import { fromPromises, ramMedium } from '../../src/media/index.ts';
import { assert, root, suite } from '../run/suite.ts';
import { NvmeGuest } from './nvme-guest.ts';
import { embedded, embeddedSide, KINDS, TestRam } from './rig.ts';

const test = suite('embed: interface');
const RAM_BYTES = 2 ** 20;

function failsWith(pattern: RegExp, type: new (...args: never[]) => Error = EmbedError) {
  return (error: unknown): boolean => {
    assert.instance(error, type);
    assert.match((error as Error).message, pattern);
    return true;
  };
}

async function refuses(options: Partial<EmbedOptions>, pattern: RegExp): Promise<void> {
  const whole = { kind: 'nvme', media: { bytes: 65536 }, dma: new Uint8Array(RAM_BYTES), ...options };
  let message = 'it was accepted';
  try {
    await embedded(whole as EmbedOptions);
  } catch (error) {
    assert.ok(error instanceof EmbedError || error instanceof MachineError);
    message = (error as Error).message;
  }
  assert.match(message, pattern);
}

test('EMB-10 what makes no sense is refused by name', async () => {
  await refuses({ kind: 'nvmee' as 'nvme' }, /no controller is called "nvmee"; there are aha1542, .*nvme/);
  await refuses({ kind: 'piix4' as 'nvme' }, /no controller is called "piix4"; it is a profile of piix-ide/);
  await refuses({ profile: 'fast' }, /nvme has no profile "fast"; it has nvme, nvme-48lines/);
  await refuses({ media: undefined as unknown as [] }, /media is missing/);
  await refuses({ media: [{ place: 1 }] }, /media\[0\] has neither medium, bytes nor content/);
  await refuses({ media: { bytes: 100 } }, /100 bytes: the size must be a multiple of the sector/);
  await refuses({ media: { bytes: 512, place: 999 } }, /nvme.0 has no place 999/);
  const twice = [
    { bytes: 512, place: 0 },
    { bytes: 512, place: 0 },
  ];
  await refuses({ media: twice }, /media\[1\]: place 0, unit 0 is taken/);
  await refuses(
    { kind: 'ahci', profile: 'ahci-1slot', media: many(33) },
    /media\[\d+\]: ahci has no place left/,
  );
  await refuses({ dma: 7 as unknown as Uint8Array }, /dma must be a Uint8Array/);
  await refuses({ dma: new Uint8Array(100) }, /the memory has 100 bytes; a controller needs a page, 4096/);
  await refuses({ dma: { memory: new Uint8Array(8192), regions: [] } }, /there is no RAM/);
  await refuses(
    { dma: { memory: new Uint8Array(8192), regions: [{ base: 0, bytes: 12288 }] } },
    /the memory has 8192 bytes; its regions need 12288/,
  );
  const overlapping = [
    { base: 4096, bytes: 4096 },
    { base: 0, bytes: 4096 },
  ];
  await refuses({ dma: { memory: new Uint8Array(8192), regions: overlapping } }, /ascending order/);
  await refuses(
    { dma: { memory: new Uint8Array(8192), regions: [{ base: 0, bytes: 4096, at: -1 }] } },
    /at is -1/,
  );
  await refuses({ dma: { memory: (() => 3) as unknown as () => Uint8Array } }, /dma.memory must be/);
  await refuses({ wasm: 'backplane.wasm' }, /wasm is "backplane.wasm", which is no URL/);
  await refuses({ wasm: 3 as unknown as URL }, /wasm must be/);
  await refuses({ number: '3' as unknown as number }, /number is "3";/);
  await refuses({ number: 4096 }, /number is 4096; it must be a whole number from 0 to 4095/);
});

for (const kind of KINDS) {
  test(`EMB-05 ${kind}: controllers of different numbers are called differently, from 0 to 4095`, async () => {
    const serials: (string | undefined)[] = [];
    for (const number of [undefined, 0, 1, 4095]) {
      const ram = new TestRam();
      const options = number === undefined ? {} : { number };
      const board = await embedded({ kind, media: { bytes: 65536 }, dma: ram.array(), ...options });
      serials.push(embeddedSide(board, ram.memory).driver.disks[0]?.serial?.trim());
    }
    const [none, zero, one, last] = serials;
    assert.ok(zero !== undefined && zero.length > 0);
    assert.is(none, zero);
    assert.is(new Set([zero, one, last]).size, 3, serials.join());
  });
}

function many(count: number): { bytes: number }[] {
  return Array.from({ length: count }, () => ({ bytes: 512 }));
}

test('EMB-11 a wrong BAR, size, port or time is refused by name; what a guest can do is not', async () => {
  const nvme = await embedded({ kind: 'nvme', media: [], dma: new Uint8Array(RAM_BYTES) });
  assert.throws(() => nvme.read(3, 0, 4), failsWith(/nvme has no BAR 3; it has 0/));
  assert.throws(() => nvme.write(-1, 0, 4, 0), failsWith(/no BAR -1/));
  assert.throws(() => nvme.barAddress(5), failsWith(/no BAR 5/));
  assert.throws(() => nvme.read(0, 0, 8 as 4), failsWith(/an access of 8 bytes; it must be of 1, 2 or 4/));
  assert.throws(() => nvme.configWrite(0, 3 as 4, 0), failsWith(/3 bytes/));
  assert.throws(() => nvme.portRead(0x1f0, 1), failsWith(/nvme has no port 1f0h; it has none/));
  assert.throws(() => nvme.run(0), failsWith(/budget is 0/));
  assert.throws(() => nvme.advance(-1), failsWith(/advance\(-1\)/));
  assert.throws(() => nvme.advance(Number.POSITIVE_INFINITY), failsWith(/advance\(Infinity\)/));
  nvme.enable();
  for (const size of [1, 2, 4] as const) {
    for (const at of [0x3fff, 0x4000, 0x7fffffff, 1.5e9, 3]) {
      nvme.write(0, at, size, 0xffffffff);
      const value = nvme.read(0, at, size);
      if (at >= 0x4000) assert.is(value, 2 ** (8 * size) - 1);
    }
    assert.is(nvme.configRead(0xff, size) >= 0, true);
  }
  const isa = await embedded({ kind: 'aha1542', media: [], dma: new Uint8Array(RAM_BYTES) });
  assert.throws(() => isa.portRead(0x340, 1), failsWith(/aha1542 has no port 340h; it has 330h–333h/));
  assert.is(isa.configRead(0, 4), 0xffffffff);
});

test('EMB-12 a controller begins as after power-on: BARs unplaced, nothing decoded', async () => {
  const nvme = await embedded({ kind: 'nvme', media: [], dma: new Uint8Array(RAM_BYTES) });
  assert.equal(nvme.bars, [{ index: 0, kind: 'memory', wide: true, bytes: 0x4000 }]);
  assert.is(nvme.barAddress(0), null);
  assert.is(nvme.configRead(4, 2), 0);
  assert.is(nvme.read(0, 8, 4), 0xffffffff);
  // A BIOS sizes the BAR, places it and switches decoding on; the address follows.
  nvme.configWrite(0x10, 4, 0xffffffff);
  assert.is(nvme.configRead(0x10, 4), 0xffffc004);
  nvme.configWrite(0x10, 4, 0xfebf0000);
  assert.is(nvme.barAddress(0), null);
  nvme.configWrite(4, 2, 6);
  assert.is(nvme.barAddress(0), 0xfebf0000);
  assert.is(nvme.read(0, 8, 4), 0x00010400);
  nvme.configWrite(0x14, 4, 1);
  assert.is(nvme.barAddress(0), 0x1_febf_0000);
  nvme.reset();
  assert.is(nvme.barAddress(0), null);
});

test('EMB-13 ports at fixed numbers are reached by number, and as the BARs that stand for them', async () => {
  const isa = await embedded({ kind: 'aha1542', media: [], dma: new Uint8Array(RAM_BYTES) });
  assert.equal(isa.bars, []);
  assert.equal(isa.ports, [{ bar: 0, first: 0x330, count: 4 }]);
  assert.is(isa.portRead(0x330, 1), isa.read(0, 0, 1));
  const ide = await embedded({
    kind: 'piix-ide',
    profile: 'piix3-pc',
    media: [],
    dma: new Uint8Array(RAM_BYTES),
  });
  assert.equal(
    ide.ports.map(({ bar, first }) => [bar, first]),
    [
      [0, 0x1f0],
      [1, 0x3f6],
      [2, 0x170],
      [3, 0x376],
    ],
  );
  ide.enable();
  ide.portWrite(0x1f2, 1, 0x5a);
  assert.is(ide.read(0, 2, 1), ide.portRead(0x1f2, 1));
});

test('EMB-14 an interrupt is never told inside a register access, unless asked for', async () => {
  for (const irqInside of [false, true]) {
    const heard: string[] = [];
    let inside = false;
    const dma = new Uint8Array(RAM_BYTES);
    const nvme = await embedded({
      kind: 'nvme',
      media: { bytes: 65536 },
      dma,
      irqInside,
      irq: (level, line) =>
        void heard.push(`${level ? 'up' : 'down'} ${line} ${inside ? 'inside' : 'outside'}`),
    });
    const guest = new NvmeGuest(nvme, dma);
    guest.setup();
    nvme.poll();
    heard.length = 0;
    guest.submit([guest.IDENTIFY, 0, 0x20000, 1]);
    nvme.advance(1_000_000);
    assert.equal(heard, ['up 0 outside']);
    assert.is(nvme.lines, 1);
    inside = true;
    guest.acknowledge();
    inside = false;
    assert.is(nvme.lines, 0);
    assert.equal(heard.slice(1), irqInside ? ['down 0 inside'] : []);
    assert.is(nvme.poll(), 0);
    assert.equal(heard.slice(1), irqInside ? ['down 0 inside'] : ['down 0 outside']);
  }
});

test('EMB-15 a line that goes down and up between two polls is told of as an edge', async () => {
  const heard: boolean[] = [];
  const dma = new Uint8Array(RAM_BYTES);
  const nvme = await embedded({
    kind: 'nvme',
    media: { bytes: 65536 },
    dma,
    irq: (level) => void heard.push(level),
  });
  const guest = new NvmeGuest(nvme, dma);
  guest.setup();
  guest.submit([guest.IDENTIFY, 0, 0x20000, 1]);
  nvme.advance(1_000_000);
  heard.length = 0;
  nvme.write(0, 0x0c, 4, 1); // INTMS: masked
  nvme.write(0, 0x10, 4, 1); // INTMC: and not any more
  assert.is(nvme.lines, 1);
  nvme.poll();
  assert.equal(heard, [false, true]);
});

test('EMB-16 both channels of IDE have a line of their own', async () => {
  const heard: [boolean, number][] = [];
  const ide = await embedded({
    kind: 'piix-ide',
    profile: 'piix3-pc',
    media: [
      { bytes: 65536, place: 0 },
      { bytes: 65536, place: 1 },
    ],
    dma: new Uint8Array(RAM_BYTES),
    irq: (level, line) => void heard.push([level, line]),
  });
  ide.enable();
  ide.portWrite(0x176, 1, 0xe0);
  ide.portWrite(0x177, 1, 0xec); // IDENTIFY DEVICE
  ide.advance(1_000_000_000);
  assert.equal(heard, [[true, 1]]);
  assert.is(ide.lines, 2);
  ide.portRead(0x177, 1);
  assert.is(ide.run(), 0);
  assert.equal(heard[1], [false, 1]);
});

test('EMB-17 messages reach `msi` with address and data; what is RAM is written', async () => {
  for (const [address, toRam] of [
    [0xfee01000, false],
    [0x12340000, false],
    [0x80000, true],
  ] as const) {
    const messages: [number, number][] = [];
    const dma = new Uint8Array(RAM_BYTES);
    const nvme = await embedded({
      kind: 'nvme',
      media: { bytes: 65536 },
      dma,
      msi: (...message) => void messages.push(message),
      irq: () => assert.unreachable(),
    });
    const guest = new NvmeGuest(nvme, dma);
    nvme.enable(0xfe000000);
    guest.enableMsix(address, 0x4123);
    guest.setup();
    guest.command(0, [guest.IDENTIFY, 0, 0x20000, 1]);
    assert.is(nvme.lines, 0);
    const inRam = new DataView(dma.buffer).getUint32(0x80000, true);
    assert.is(inRam, toRam ? 0x4123 : 0);
    if (!toRam) assert.equal(messages.at(-1), [address, 0x4123]);
    else assert.equal(messages, []);
  }
});

test('EMB-18 time is the embedder’s: run() does what is due, advance() lets it pass', async () => {
  const dma = new Uint8Array(RAM_BYTES);
  const nvme = await embedded({ kind: 'nvme', media: { bytes: 65536, latencyNs: 50_000 }, dma });
  const guest = new NvmeGuest(nvme, dma);
  guest.setup();
  const before = nvme.now();
  guest.submit([guest.READ, 1, 0x20000, 0], 1);
  for (let i = 0; i < 10; i++) nvme.run();
  assert.is(nvme.now(), before);
  assert.ok(nvme.nextDeadline() > before);
  nvme.advance(10);
  assert.is(nvme.now(), before + 10);
  assert.is(nvme.lines, 0);
  assert.is(nvme.advance(60_000), 1);
  assert.is(nvme.now(), before + 60_010);
  assert.is(nvme.nextDeadline(), Number.POSITIVE_INFINITY);
});

test('EMB-19 a budget bounds the events of one call; the next goes on', async () => {
  const dma = new Uint8Array(RAM_BYTES);
  const nvme = await embedded({
    kind: 'nvme',
    media: { bytes: 65536, latencyNs: 0, picosecondsPerByte: 0 },
    dma,
  });
  const guest = new NvmeGuest(nvme, dma);
  guest.setup();
  for (let i = 0; i < 8; i++) guest.submit([guest.READ, 1, 0x20000 + i * 4096, i], 1);
  let calls = 0;
  while (nvme.nextDeadline() <= nvme.now()) {
    nvme.run(1);
    calls++;
  }
  assert.ok(calls >= 8, `${calls} calls`);
  assert.is(guest.ended(1), 8);
});

test('EMB-20 an asynchronous medium stops time and says when it goes on', async () => {
  const inner = ramMedium(65536);
  inner.writev(0, [new Uint8Array(512).fill(0x42)]);
  let answer = (): void => undefined;
  const medium = fromPromises({
    name: 'slow',
    bytes: 65536,
    read: (offset, buffer) =>
      new Promise<number>((resolve) => {
        answer = () => resolve(inner.readv(offset, [buffer]));
      }),
  });
  const dma = new Uint8Array(RAM_BYTES);
  let told = 0;
  const nvme = await embedded({ kind: 'nvme', media: medium, dma, onMedia: () => void told++ });
  const guest = new NvmeGuest(nvme, dma);
  guest.setup();
  const start = nvme.now();
  guest.submit([guest.READ, 1, 0x20000, 0], 1);
  nvme.advance(1_000_000_000);
  nvme.advance(1_000_000_000);
  const stopped = nvme.now();
  assert.ok(stopped < start + 1_000_000_000);
  assert.is(nvme.pendingMedia, 1);
  assert.is(guest.ended(1), 0);
  await Promise.resolve();
  assert.is(told, 0);
  answer();
  await nvme.waitMedia();
  await Promise.resolve();
  assert.is(told, 1);
  nvme.run();
  assert.is(guest.ended(1), 1);
  assert.is(dma[0x20000], 0x42);
  assert.is(nvme.now(), start + 2_000_000_000);
  await nvme.close();
});

test('EMB-21 the module comes compiled, as bytes or from a URL', async () => {
  const path = `${root}dist/backplane.wasm`;
  const bytes = readFileSync(path);
  const url = pathToFileURL(path);
  const ways = [bytes, bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length), url, url.href];
  for (const wasm of [...ways, await WebAssembly.compile(bytes)]) {
    const options = { kind: 'ahci', media: [], dma: new Uint8Array(RAM_BYTES), wasm: wasm as URL } as const;
    const ahci = await createController(options);
    assert.is(ahci.configRead(0, 4), 0x29228086);
  }
});

test('EMB-22 a reset is what the bus does: afterwards the controller is as at first', async () => {
  for (const kind of KINDS) {
    const board = await embedded({ kind, media: { bytes: 65536 }, dma: new Uint8Array(RAM_BYTES) });
    const first = Array.from({ length: 64 }, (_, i) => board.configRead(i * 4, 4));
    board.enable();
    board.reset();
    assert.equal(
      Array.from({ length: 64 }, (_, i) => board.configRead(i * 4, 4)),
      first,
    );
    assert.is(board.lines, 0);
  }
});

test('EMB-23 a medium’s failure is the guest’s error', async () => {
  const dma = new Uint8Array(RAM_BYTES);
  const nvme = await embedded({ kind: 'nvme', media: { bytes: 65536 }, dma });
  const guest = new NvmeGuest(nvme, dma);
  guest.setup();
  const [disk] = nvme.disks;
  assert.ok(disk);
  nvme.addFault({ kind: 'error', disk, first: 3, last: 3, times: 1 });
  const unrecovered = 0x281; // NVMe 1.4, 4.6.1.2.4: media and data integrity errors
  assert.is(guest.command(1, [guest.READ, 1, 0x20000, 3]) & 0x7ff, unrecovered);
  assert.is(guest.command(1, [guest.READ, 1, 0x20000, 3]), 0);
});

test('EMB-26 a request that the medium failed may wait for the embedder', async () => {
  const dma = new Uint8Array(RAM_BYTES);
  const notices: string[] = [];
  const nvme = await embedded({
    kind: 'nvme',
    media: { bytes: 65536, readErrors: 'stop' },
    dma,
    onNotice: (notice) => void notices.push(notice.kind),
  });
  const guest = new NvmeGuest(nvme, dma);
  guest.setup();
  const [disk] = nvme.disks;
  assert.ok(disk);
  disk.write(1536, new Uint8Array(512).fill(0x33));
  nvme.addFault({ kind: 'error', disk, first: 3, last: 3, times: 1 });
  guest.submit([guest.READ, 1, 0x20000, 3], 1);
  nvme.advance(1_000_000);
  assert.is(guest.ended(1), 0);
  assert.is(nvme.parkedRequests, 1);
  assert.equal(notices, ['parked']);
  nvme.retry();
  nvme.advance(1_000_000);
  assert.is(guest.ended(1), 1);
  assert.is(guest.acknowledge(1), 0);
  assert.is(dma[0x20000], 0x33);
});

test('EMB-27 a drive is empty until the embedder lays something in', async () => {
  const notices: string[] = [];
  const ide = await embedded({
    kind: 'piix-ide',
    profile: 'piix3-pc',
    media: { drive: true, place: 1 },
    dma: new Uint8Array(RAM_BYTES),
    diskBytes: 65536,
    onNotice: (notice) => void notices.push(notice.kind),
  });
  ide.enable();
  const [drive] = ide.disks;
  assert.instance(drive, Drive);
  if (!(drive instanceof Drive)) return;
  assert.is(drive.tray.loaded, false);
  drive.insert({ bytes: 20480 });
  assert.is(drive.tray.loaded, true);
  drive.eject();
  ide.poll();
  assert.equal(notices, ['tray']);
  // The signature of a packet device (ATA/ATAPI-7, 9.12).
  assert.equal([ide.portRead(0x174, 1), ide.portRead(0x175, 1)], [0x14, 0xeb]);
});

test('EMB-24 random accesses never throw, whatever they hit', async () => {
  for (const kind of KINDS) {
    const dma = new Uint8Array(RAM_BYTES);
    const board = await embedded({ kind, media: [{ bytes: 65536 }], dma });
    exercise(board, dma);
  }
});

function exercise(board: EmbeddedController, dma: Uint8Array): void {
  let x = 12345;
  const random = (below: number): number => {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    return (x >>> 8) % below;
  };
  board.enable();
  const spaces = [
    ...board.bars.map(({ index, bytes }) => [index, bytes] as const),
    ...board.ports.map(({ bar, count }) => [bar, count] as const),
  ];
  const sizes = [1, 2, 4] as const;
  for (let i = 0; i < 3000; i++) {
    const [bar, bytes] = spaces[random(spaces.length)] ?? [0, 4];
    const at = random(2) === 0 ? random(bytes + 8) : random(Math.min(bytes, 64));
    const size = sizes[random(3)] ?? 4;
    if (random(2) === 0) board.read(bar, at, size);
    else board.write(bar, at, size, random(4) === 0 ? random(2 ** 24) : random(256));
    if (random(50) === 0) board.configWrite(random(256), size, random(2 ** 24));
    if (random(50) === 0) board.configWrite(4, 2, 7);
    if (random(20) === 0) dma.fill(random(256), random(RAM_BYTES));
    if (random(10) === 0) board.advance(random(100_000));
  }
  assert.ok(board.now() > 0);
}

test('EMB-25 registers are the controller’s: enable, ready, doorbells', async () => {
  const dma = new Uint8Array(RAM_BYTES);
  const nvme = await embedded({ kind: 'nvme', media: [], dma });
  new NvmeGuest(nvme, dma).setup();
  assert.is(nvme.read(0, NVME_CC, 4) & 1, 1);
  assert.is(nvme.read(0, NVME_CSTS, 1), 1);
  assert.is(nvme.read(0, NVME_CSTS, 2), 1);
  assert.is(nvme.read(0, NVME_DOORBELLS, 4), 0);
});
