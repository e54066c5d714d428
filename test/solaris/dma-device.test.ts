// Bindings that real controllers work on: every byte arrives, through copy buffer and windows, and the guard has nothing
// to say unless the driver makes a mistake.

import { Random } from '../../src/kernel/index.ts';
import {
  DDI_DMA_MAPPED,
  DDI_DMA_PARTIAL_MAP,
  DDI_DMA_READ,
  DDI_DMA_WRITE,
  Pointer,
} from '../../src/solaris/index.ts';
import { assert, suite } from '../run/suite.ts';
import { boot, type Device, rules, transfer } from './dma-disk.ts';
import { apart, bindPartial, getwin, high } from './dma-rig.ts';

const test = suite('solaris dma devices');

/** The window loop of a driver (DRV-06), from sector 0 on; the number of windows. */
function moveAll(d: Device, op: 'read' | 'write'): number {
  const code = bindPartial(d, op === 'read' ? DDI_DMA_READ : DDI_DMA_WRITE);
  assert.ok(code === DDI_DMA_MAPPED || code === DDI_DMA_PARTIAL_MAP, `code ${code}`);
  const nwin = new Pointer<number>();
  d.solaris.ddi_dma_numwin(d.handle, nwin);
  const count = nwin.value ?? 1;
  let at = 0;
  for (let win = 0; win < count; win++) {
    if (win > 0) assert.ok(getwin(d, win) !== null);
    const cookies = d.handle.binding?.cookies ?? [];
    transfer(d, op, at, cookies);
    at += cookies.reduce((sum, { dmac_size }) => sum + dmac_size, 0);
  }
  d.solaris.ddi_dma_unbind_handle(d.handle);
  return count;
}

/** The bytes of the buf. */
function content(d: Device): Uint8Array {
  const { b_addr } = d.buf.b_un;
  const bytes = new Uint8Array(d.buf.b_bcount);
  for (let at = 0; at < bytes.length; ) {
    const place = b_addr + at;
    const length = Math.min(4096 - (place % 4096), bytes.length - at);
    const phys = (d.pages[Math.floor(place / 4096)]?.phys ?? 0) + (place % 4096);
    bytes.set(d.memory.readBytes(phys, length), at);
    at += length;
  }
  return bytes;
}

/** Pages near and far, in any order. */
function mixed(random: Random, count: number): number[] {
  const near = apart(0x400000, 12);
  const all = [...near, ...near.map((phys) => phys + 0x1000), ...high(12)];
  return Array.from({ length: count }, () => all.splice(random.below(all.length), 1)[0] ?? 0);
}

for (const kind of ['aha1542', 'piix4', 'ahci-32bit']) {
  test(`SYNC-08 WIN-23 ${kind} reads disk sectors into memory of all kinds, window by window`, async () => {
    const random = new Random(11);
    let windows = 0;
    for (let round = 0; round < 12; round++) {
      const pages = mixed(random, 8);
      const limits = { sgllen: 2 + random.below(4), maxxfer: 0x1000 + 512 * random.below(40) };
      const options = { dmaCopyBufferBytes: 0x2000 };
      const offset = 4 * random.below(1024);
      const d = await boot({ kind, pages, offset, length: 0x6000, limits, options, read: true });
      windows += moveAll(d, 'read');
      assert.equal(content(d), d.disk.slice(0, 0x6000));
      assert.equal(rules(d), []);
    }
    assert.ok(windows > 24);
  });

  test(`SYNC-07 WIN-23 ${kind} writes memory of all kinds to the disk, and reads it back`, async () => {
    const random = new Random(12);
    for (let round = 0; round < 6; round++) {
      const options = { dmaCopyBufferBytes: 0x2000 };
      const limits = { sgllen: 4, maxxfer: 0x3000 };
      const d = await boot({ kind, pages: mixed(random, 6), offset: 0x80, length: 0x4000, limits, options });
      for (const [i, { phys }] of d.pages.entries()) d.memory.fill(phys, 0x41 + i + round, 4096);
      const before = content(d);
      moveAll(d, 'write');
      for (const { phys } of d.pages) d.memory.fill(phys, 0, 4096);
      moveAll(d, 'read');
      assert.equal(content(d), before);
      assert.equal(rules(d), []);
    }
  });
}

test('WIN-27 a device that is still busy with the old window is reported', async () => {
  const d = await boot({ kind: 'ahci-32bit', pages: apart(0x400000, 2), limits: { sgllen: 1 }, read: true });
  bindPartial(d, DDI_DMA_READ);
  const old = d.handle.binding?.cookies ?? [];
  getwin(d, 1);
  transfer(d, 'read', 0, old);
  assert.equal(rules(d), ['dev-after-unmap']);
});

test('UNB-01 a device that is still busy after unbinding is reported', async () => {
  const d = await boot({ kind: 'ahci-32bit', pages: high(1), limits: {}, read: true });
  bindPartial(d, DDI_DMA_READ);
  const old = d.handle.binding?.cookies ?? [];
  d.solaris.ddi_dma_unbind_handle(d.handle);
  transfer(d, 'read', 0, old);
  assert.equal(rules(d), ['dev-after-unmap']);
});

test('BIND-03 a device that writes what was bound for reading is reported', async () => {
  const d = await boot({ kind: 'ahci-32bit', pages: apart(0x400000, 1), limits: {}, read: true });
  bindPartial(d, DDI_DMA_WRITE);
  transfer(d, 'read', 0, d.handle.binding?.cookies ?? []);
  assert.equal(rules(d), ['dev-direction']);
});

test('BNC-01 attributes that claim more lines than the board has are reported', async () => {
  const limits = { addr_hi: 2 ** 36 - 1 };
  const d = await boot({ kind: 'ahci-32bit', pages: high(1), limits, read: true });
  bindPartial(d, DDI_DMA_READ);
  assert.equal(rules(d), ['map-mask']);
});
