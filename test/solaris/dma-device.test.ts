// Bindings that real controllers work on: every byte arrives, through copy buffer and windows, and the guard has nothing
// to say unless the driver makes a mistake.

import { attachDriver, type Driver } from '../../src/drivers/index.ts';
import type { Rule } from '../../src/guard/index.ts';
import { Random } from '../../src/kernel/index.ts';
import {
  DDI_DMA_MAPPED,
  DDI_DMA_PARTIAL_MAP,
  DDI_DMA_READ,
  DDI_DMA_WRITE,
  type DdiDmaCookie,
  Pointer,
} from '../../src/solaris/index.ts';
import { makeRunner, type Runner, TestCommand, TestHost } from '../drivers/host.ts';
import { assert, suite } from '../run/suite.ts';
import { alloc, apart, attr, bindPartial, getwin, high, type Rig, type RigOptions, rig } from './dma-rig.ts';

const test = suite('solaris dma devices');

/** Where drivers have their tables: memory that the kernel leaves alone. */
const TABLES = 0x100000;
const DISK = 64 * 1024;

interface Device extends Rig {
  readonly driver: Driver;
  readonly runner: Runner;
  readonly disk: Uint8Array;
}

/** A controller with a disk full of bytes that differ, and a handle with the limits of its driver, or less. */
async function boot(
  of: RigOptions & { readonly limits: { readonly [name: string]: number } },
): Promise<Device> {
  const r = await rig({ guard: true, ...of });
  const { machine, frames, allocator } = r.solaris.kernel;
  for (let phys = TABLES; phys < 0x180000; phys += 4096) {
    const page = frames.physToPage(phys);
    if (page !== null) allocator.withdraw(page);
  }
  const { controller } = r.dip;
  const medium = machine.addDisk({ bytes: DISK });
  const disk = Uint8Array.from({ length: DISK }, (_, i) => (i * 7 + (i >> 9) * 13) & 0xff);
  medium.write(0, disk);
  controller.attach(medium, 0);
  const driver = attachDriver(new TestHost(machine, controller, TABLES));
  const runner = makeRunner(machine, controller, driver, false);
  machine.guard.clear();
  const { addressBits, boundaryMask, maxSegmentBytes } = driver.limits;
  const limits = {
    addr_hi: 2 ** Math.min(addressBits, 53) - 1,
    seg: boundaryMask,
    count_max: maxSegmentBytes - 1,
  };
  const handle = alloc(r.solaris, r.dip, attr({ granular: 512, ...limits, ...of.limits }));
  return { ...r, handle, driver, runner, disk };
}

/** Moves the current window: what a driver does with its cookies. */
function transfer(d: Device, op: 'read' | 'write', at: number, cookies: readonly DdiDmaCookie[]): void {
  const bytes = cookies.reduce((sum, { dmac_size }) => sum + dmac_size, 0);
  const command = new TestCommand({ op, lba: at / 512, sectors: bytes / 512, direction: op });
  command.setSegments(
    cookies.map(({ dmac_laddress, dmac_size }) => ({ address: dmac_laddress, bytes: dmac_size })),
  );
  d.runner.run(command);
  assert.is(command.status, 'ok');
}

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

const rules = (d: Device): Rule[] => d.solaris.kernel.machine.guard.findings().map(({ rule }) => rule);

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

test('UMEM-07 a device that goes on after the pages were unlocked is reported', async () => {
  const d = await boot({ kind: 'ahci-32bit', pages: apart(0x400000, 1), limits: {}, read: true });
  bindPartial(d, DDI_DMA_READ);
  d.solaris.kernel.onPagesUnlocked?.(d.pages);
  transfer(d, 'read', 0, d.handle.binding?.cookies ?? []);
  assert.equal(rules(d), ['free-mapped', 'dev-after-unmap']);
});

test('BNC-01 attributes that claim more lines than the board has are reported', async () => {
  const limits = { addr_hi: 2 ** 36 - 1 };
  const d = await boot({ kind: 'ahci-32bit', pages: high(1), limits, read: true });
  bindPartial(d, DDI_DMA_READ);
  assert.equal(rules(d), ['map-mask']);
});
