// The embedder's RAM in all its forms, and what lies around it.

import { NVME_CMB_BAR, NVME_CMBMSC, NVME_CMBMSC_CMSE, NVME_CMBMSC_CRE } from '../../assembly/nvme/regs.ts';
import { EmbedError } from '../../src/embed/index.ts';
import { fromPromises, ramMedium } from '../../src/media/index.ts';
import { pattern } from '../media/help.ts';
import { assert, suite } from '../run/suite.ts';
import { NvmeGuest } from './nvme-guest.ts';
import { embedded } from './rig.ts';

const test = suite('embed: memory');
const RAM_BYTES = 2 ** 20;
const DATA = 0x20000;
const CONTENT = pattern(65536, 5);
const COMPARE = 0x05;
const WASM_PAGE = 65536;

test('EMB-30 a WebAssembly.Memory may grow: its bytes are taken anew', async () => {
  const memory = new WebAssembly.Memory({ initial: RAM_BYTES / WASM_PAGE, maximum: 64 });
  const nvme = await embedded({ kind: 'nvme', media: CONTENT, dma: memory });
  const guest = new NvmeGuest(nvme, () => new Uint8Array(memory.buffer));
  guest.setup();
  assert.is(guest.command(1, [guest.READ, 1, DATA, 1]), 0);
  memory.grow(8);
  assert.is(guest.command(1, [guest.READ, 1, DATA + 512, 2]), 0);
  assert.equal(new Uint8Array(memory.buffer).slice(DATA, DATA + 1024), CONTENT.slice(512, 1536));
});

test('EMB-30 an array on a memory that grew is refused, with what to give instead', async () => {
  const memory = new WebAssembly.Memory({ initial: RAM_BYTES / WASM_PAGE, maximum: 64 });
  const nvme = await embedded({ kind: 'nvme', media: CONTENT, dma: new Uint8Array(memory.buffer) });
  const guest = new NvmeGuest(nvme, () => new Uint8Array(memory.buffer));
  guest.setup();
  memory.grow(8);
  assert.throws(
    () => guest.command(1, [guest.READ, 1, DATA, 1]),
    (error: unknown) =>
      error instanceof EmbedError &&
      /array was detached, .* give the WebAssembly.Memory, or a function/.test(error.message),
  );
});

test('EMB-31 a function is asked again when what it gave was detached', async () => {
  let bytes = new Uint8Array(RAM_BYTES);
  let asked = 0;
  const memory = (): Uint8Array => {
    asked++;
    return bytes;
  };
  const nvme = await embedded({ kind: 'nvme', media: CONTENT, dma: { memory } });
  const guest = new NvmeGuest(nvme, () => bytes);
  guest.setup();
  assert.is(asked, 1);
  bytes = new Uint8Array(structuredClone(bytes.buffer, { transfer: [bytes.buffer] }));
  assert.is(guest.command(1, [guest.READ, 1, DATA, 3]), 0);
  assert.is(asked, 2);
  assert.equal(bytes.slice(DATA, DATA + 512), CONTENT.slice(1536, 2048));
  const whole = bytes;
  bytes = new Uint8Array(4096);
  structuredClone(whole.buffer, { transfer: [whole.buffer] });
  assert.throws(
    () => nvme.write(0, 0x1000, 4, 9) ?? nvme.advance(1_000_000),
    (error: unknown) => error instanceof EmbedError && /has 4096 bytes; its regions need/.test(error.message),
  );
});

test('EMB-32 shared memory and a part of an array serve as well', async () => {
  const shared = new Uint8Array(new SharedArrayBuffer(RAM_BYTES + 4096), 4096);
  for (const media of [CONTENT, medium()]) {
    const nvme = await embedded({ kind: 'nvme', media, dma: shared });
    const guest = new NvmeGuest(nvme, shared);
    guest.setup();
    assert.is(guest.command(1, [guest.READ, 1, DATA, 4]), 0);
    assert.equal(shared.slice(DATA, DATA + 512), CONTENT.slice(2048, 2560));
  }
});

function medium(): ReturnType<typeof ramMedium> {
  const ram = ramMedium(CONTENT.length);
  ram.writev(0, [CONTENT]);
  return ram;
}

test('EMB-33 onWrite() comes before every byte that is written, and for no other', async () => {
  const later = fromPromises({
    name: 'later',
    bytes: CONTENT.length,
    read: async (offset, buffer) => medium().readv(offset, [buffer]),
  });
  for (const media of [CONTENT, medium(), later]) {
    const ram = new Uint8Array(RAM_BYTES);
    const copy = new Uint8Array(RAM_BYTES);
    let calls = 0;
    const onWrite = (address: number, bytes: number): void => {
      calls++;
      assert.equal(ram.subarray(address, address + bytes), copy.subarray(address, address + bytes));
      pending.push([address, bytes]);
    };
    const pending: [number, number][] = [];
    const nvme = await embedded({ kind: 'nvme', media, dma: { memory: ram, onWrite } });
    const guest = new NvmeGuest(nvme, ram);
    guest.setup();
    copy.set(ram);
    pending.length = 0;
    guest.submit([guest.READ, 1, DATA, 6], 1);
    copy.set(ram);
    nvme.advance(1_000_000);
    await nvme.waitMedia();
    nvme.run();
    assert.is(guest.ended(1), 1);
    for (const [address, bytes] of pending) copy.set(ram.subarray(address, address + bytes), address);
    assert.equal(copy, ram);
    assert.ok(calls > 0);
    assert.ok(pending.some(([address, bytes]) => address === DATA && bytes === 512));
  }
});

test('EMB-34 RAM of many GiB is one region to the embedder', async () => {
  const GIB = 2 ** 30;
  const base = 5 * GIB;
  const ram = new Uint8Array(RAM_BYTES);
  const inside = (address: number): number => (address - base) % RAM_BYTES;
  const nvme = await embedded({
    kind: 'nvme',
    media: CONTENT,
    guard: false,
    dma: {
      regions: [{ base: 0, bytes: 8 * GIB }],
      read: (runs, to) => {
        let at = 0;
        for (const { address, bytes } of runs) {
          to.set(ram.subarray(inside(address), inside(address) + bytes), at);
          at += bytes;
        }
      },
      write: (runs, from) => {
        let at = 0;
        for (const { address, bytes } of runs) {
          ram.set(from.subarray(at, at + bytes), inside(address));
          at += bytes;
        }
      },
    },
  });
  const guest = new NvmeGuest(nvme, ram, base);
  guest.setup();
  assert.is(guest.command(1, [guest.READ, 1, base + DATA, 7]), 0);
  assert.equal(ram.slice(DATA, DATA + 512), CONTENT.slice(3584, 4096));
});

test('EMB-35 memory is compared with the medium where the RAM is', async () => {
  for (const media of [CONTENT, medium()]) {
    const ram = new Uint8Array(RAM_BYTES);
    const nvme = await embedded({ kind: 'nvme', media, dma: ram });
    const guest = new NvmeGuest(nvme, ram);
    guest.setup();
    ram.set(CONTENT.subarray(4096, 4608), DATA);
    assert.is(guest.command(1, [COMPARE, 1, DATA, 8]), 0);
    ram[DATA + 511] = (ram[DATA + 511] ?? 0) ^ 1;
    const failure = 0x285; // NVMe 1.4, 4.6.1.2.4: compare failure
    assert.is(guest.command(1, [COMPARE, 1, DATA, 8]) & 0x7ff, failure);
  }
});

test('EMB-36 where no RAM is ones are read, and writes are lost', async () => {
  const ram = new Uint8Array(RAM_BYTES);
  const nvme = await embedded({
    kind: 'nvme',
    media: CONTENT,
    dma: {
      memory: ram,
      regions: [
        { base: 0, bytes: RAM_BYTES / 2 },
        { base: 2 * RAM_BYTES, bytes: RAM_BYTES / 2, at: RAM_BYTES / 2 },
      ],
    },
  });
  const guest = new NvmeGuest(nvme, ram);
  guest.setup();
  const before = ram.slice(RAM_BYTES / 2);
  guest.command(1, [guest.READ, 1, RAM_BYTES, 1]);
  assert.equal(ram.slice(RAM_BYTES / 2), before);
  assert.is(nvme.guard.findings()[0]?.rule, 'dev-hole');
  assert.is(guest.command(1, [guest.READ, 1, 2 * RAM_BYTES + DATA, 1]), 0);
  assert.equal(ram.slice(RAM_BYTES / 2 + DATA, RAM_BYTES / 2 + DATA + 512), CONTENT.slice(512, 1024));
  // Runs in two regions that lie side by side in memory are two, wherever they are in the array.
  const swapped = await embedded({
    kind: 'nvme',
    media: CONTENT,
    dma: {
      memory: ram.fill(0),
      regions: [
        { base: 0, bytes: DATA },
        { base: DATA, bytes: DATA, at: 4 * DATA },
      ],
    },
  });
  const other = new NvmeGuest(swapped, ram);
  other.setup();
  assert.is(other.command(1, [other.READ, 1, DATA - 512, 1, 0, 1]), 0);
  assert.equal(ram.slice(DATA - 512, DATA), CONTENT.slice(512, 1024));
  assert.equal(ram.slice(4 * DATA, 4 * DATA + 512), CONTENT.slice(1024, 1536));
  assert.ok(ram.subarray(DATA, 2 * DATA).every((byte) => byte === 0));
});

test('EMB-37 one list goes through the embedder’s RAM and the controller’s own', async () => {
  const CMB = 0x40000000;
  for (const media of [CONTENT, medium()]) {
    const ram = new Uint8Array(RAM_BYTES);
    const nvme = await embedded({ kind: 'nvme', profile: 'nvme-cmb', media, dma: ram });
    const guest = new NvmeGuest(nvme, ram);
    guest.setup();
    nvme.write(0, NVME_CMBMSC, 4, CMB | NVME_CMBMSC_CRE | NVME_CMBMSC_CMSE);
    // Sixteen blocks, whose second page is the controller memory buffer.
    guest.command(1, [guest.READ, 1, DATA, 8, 0, 15], CMB);
    assert.equal(ram.slice(DATA, DATA + 4096), CONTENT.slice(4096, 8192));
    assert.ok(ram.subarray(DATA + 4096, DATA + 8192).every((byte) => byte === 0));
    for (const at of [0, 100, 4092]) {
      const word = new DataView(CONTENT.buffer).getUint32(8192 + at, true);
      assert.is(nvme.read(NVME_CMB_BAR, at, 4), word);
    }
    assert.is(guest.command(1, [guest.WRITE, 1, DATA, 64, 0, 15], CMB), 0);
    assert.equal(nvme.disks[0]?.read(64 * 512, 8192), CONTENT.slice(4096, 12288));
  }
});
