import { BusError, createMachine, MachineError } from '../../src/machine/index.ts';
import { instantiate, loadModule } from '../../src/machine/module.ts';
import { assert, suite } from '../run/suite.ts';

const test = suite('machine');

for (const flavour of ['release', 'debug'] as const) {
  test(`RAM is where the layout says, nothing is between (${flavour})`, async () => {
    const { memory } = await createMachine({ flavour, guard: false });
    memory.write32(0x1000, 0x89abcdef);
    memory.write32(0x1_0000_0000, 0x01234567);
    assert.is(memory.read32(0x1000), 0x89abcdef);
    assert.is(memory.read8(0x1003), 0x89);
    assert.is(memory.read32(0x1_0000_0000), 0x01234567);
    assert.throws(
      () => memory.read8(64 * 2 ** 20),
      (error: unknown) => error instanceof BusError,
    );
    assert.throws(
      () => memory.write32(0x1_0000_0000 - 2, 0),
      (error: unknown) => error instanceof BusError,
    );
  });
}

test('unaligned values are little endian', async () => {
  const { memory } = await createMachine({ ram: 'small', guard: false });
  memory.write32(0x1001, 0x44332211);
  assert.equal([...memory.readBytes(0x1000, 6)], [0, 0x11, 0x22, 0x33, 0x44, 0]);
  memory.write16(0x1003, 0xbbaa);
  assert.is(memory.read32(0x1001), 0xbbaa2211);
  assert.is(memory.read16(0x1003), 0xbbaa);
});

test('copy moves overlapping ranges and goes from region to region', async () => {
  const { memory } = await createMachine({ ram: 'small', guard: false });
  memory.writeBytes(0x2000, Uint8Array.of(1, 2, 3, 4, 5));
  memory.copy(0x2001, 0x2000, 5);
  assert.equal([...memory.readBytes(0x2000, 6)], [1, 1, 2, 3, 4, 5]);
  memory.copy(0x1_0000_0010, 0x2000, 6);
  assert.equal([...memory.readBytes(0x1_0000_0010, 6)], [1, 1, 2, 3, 4, 5]);
});

test('regions that touch are one to a long access', async () => {
  const { memory } = await createMachine({
    ram: [
      { base: 0, bytes: 0x10000 },
      { base: 0x10000, bytes: 0x10000 },
    ],
    guard: false,
  });
  const bytes = Uint8Array.from({ length: 0x2000 }, (_, i) => i % 251);
  memory.writeBytes(0xf000, bytes);
  assert.ok(memory.equals(0xf000, bytes));
  memory.copy(0xf800, 0xf000, 0x1000);
  assert.ok(memory.equals(0xf800, bytes, 0, 0x1000));
});

test('words go anywhere in a row: unaligned, from region to region, or not at all into a hole', async () => {
  const machine = await createMachine({
    ram: [
      { base: 0, bytes: 0x10000 },
      { base: 0x10000, bytes: 0x10000 },
    ],
    guard: false,
  });
  const { memory } = machine;
  const words = Uint32Array.from({ length: 16 }, (_, i) => 0x89abcdef + i * 0x01010101);
  const bytes = new Uint8Array(words.buffer);
  for (const at of [0x1000, 0x1fe0, 0x2345, 0xffe0, 0x1fbc0, 0x1ffc0]) {
    memory.writeWords(at, words);
    assert.ok(memory.equals(at, bytes), `at ${at}`);
    assert.is(memory.read8(at - 1), 0, `before ${at}`);
  }
  for (const at of [0x1ffc4, 0x1ffc3, 0x20000]) {
    const before = memory.readBytes(0x1ff00, 0x100);
    assert.throws(
      () => memory.writeWords(at, words),
      (error: unknown) => error instanceof BusError,
    );
    assert.ok(memory.equals(0x1ff00, before), `nothing changes at ${at}`);
  }
  let accesses = 0;
  machine.onAccess(() => {
    accesses++;
  });
  memory.writeWords(0x3000, words);
  memory.writeWords(0xffe0, words);
  assert.is(accesses, 2, 'one access, wherever the last one was');
  const touches: unknown[] = [];
  memory.watchTouches((...touch) => {
    touches.push(touch);
  });
  let others = 0;
  memory.watchTouches(() => {
    others++;
  });
  memory.watchPages(0x4000, 0x1000, 1);
  memory.writeWords(0x3fc0, words);
  memory.writeWords(0x3fe0, words);
  assert.equal(touches, [[0x3fe0, 64, true]]);
  assert.is(others, 1, 'who came later hears of it, too');
});

test('a layout that cannot be is refused with the rule', async () => {
  for (const ram of [[], [{ base: 1, bytes: 4096 }], [{ base: 0, bytes: 100 }]]) {
    await createMachine({ ram }).then(
      () => assert.unreachable(),
      (error: unknown) => assert.instance(error, MachineError),
    );
  }
});

test('a disk whose size is no multiple of the sector is refused', async () => {
  const machine = await createMachine({ ram: 'small' });
  assert.throws(() => machine.addDisk({ bytes: 1000 }), /multiple of the sector/);
});

test('a memory that has held a machine is laid out anew, all zeroes', async () => {
  const memory = new WebAssembly.Memory({ initial: 64, maximum: 64 });
  const none = (): number => 0;
  const media = { mediaStart: none, mediaTransfer: none, mediaFinish: none, mediaDrop: none };
  const ours = { memoryRead: none, memoryWrite: none, memoryMove: none };
  const hw = instantiate(await loadModule('debug'), memory, { ...media, ...ours });
  const bytes = new Uint8Array(memory.buffer);
  hw.init(bytes.length);
  const ram = hw.addRam(0, 0, 0x10000);
  bytes.fill(0xa5, ram, ram + 0x10000);
  hw.init(bytes.length);
  assert.is(hw.addRam(0, 0, 0x8000), ram);
  assert.ok(bytes.subarray(ram, ram + 0x10000).every((byte) => byte === 0));
});
