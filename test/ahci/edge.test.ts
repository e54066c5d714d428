// What no sane driver does: odd headers and frames, odd register accesses, ports without a disk, timers of 0.

import { assert, suite } from '../run/suite.ts';
import { ata, DATA, Hba, pattern, regs } from './hba.ts';

const test = suite('ahci: edge cases');

const BAR = regs.AHCI_BAR;
const GOOD = ata.ATA_STATUS_GOOD;
const block = (bytes: number, address = DATA) => [{ address, bytes }];
const read = { command: ata.ATA_READ_DMA_EXT, count: 1 };

test('bits of the header that mean nothing to a disk are ignored: A, P, B, W and the multiplier port', async () => {
  const hba = await Hba.create();
  hba.disk.write(0, pattern(512, 1));
  const atapi = 0x20;
  const bist = 0x200;
  for (const header of [atapi, regs.AHCI_HEADER_PREFETCH, bist, regs.AHCI_HEADER_WRITE, 7 << 12]) {
    hba.machine.memory.fill(DATA, 0, 512);
    assert.is(hba.execute({ ...read, header, flags: regs.FIS_COMMAND | 7 }, block(512)), GOOD);
    assert.ok(hba.machine.memory.equals(DATA, pattern(512, 1)), `header ${header}`);
  }
});

test('PRDTL 0: commands without data end, reads overflow, queued reads too', async () => {
  const hba = await Hba.create();
  assert.is(hba.execute({ command: ata.ATA_READ_VERIFY, count: 8 }), GOOD);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_DHRS);
  hba.clear();
  assert.is(hba.execute({ command: ata.ATA_IDENTIFY }), GOOD);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_OFS | regs.AHCI_IS_PSS);
  hba.clear();
  hba.prepare(0, { command: ata.ATA_READ_FPDMA_QUEUED, feature: 1, count: 0 });
  hba.issue(1, true);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_OFS | regs.AHCI_IS_SDBS);
  assert.equal([hba.px(regs.AHCI_PX_SACT), hba.moved()], [0, 0]);
});

test('PIO blocks cross descriptors, and descriptors cross blocks', async () => {
  const hba = await Hba.create();
  const bytes = pattern(3 * 512, 2);
  const lengths = [2, 700, 2, 832];
  const prds = lengths.map((length, i) => ({ address: DATA + 0x1000 * i, bytes: length }));
  let from = 0;
  for (const prd of prds) {
    hba.machine.memory.writeBytes(prd.address, bytes.subarray(from, from + prd.bytes));
    from += prd.bytes;
  }
  assert.is(hba.execute({ command: ata.ATA_WRITE_SECTORS, count: 3, lba: 7 }, prds), GOOD);
  assert.equal(hba.disk.read(7 * 512, bytes.length), bytes);
  assert.is(hba.execute({ command: ata.ATA_READ_SECTORS, count: 3, lba: 7 }, block(1536, 0x90000)), GOOD);
  assert.ok(hba.machine.memory.equals(0x90000, bytes));
});

test('errors come back with the address that the command was sent with, 28 and 48 bits, HOB bytes too', async () => {
  const hba = await Hba.create();
  const lba = 0x123456789abc;
  assert.is(hba.execute({ ...read, lba, count: 0x1234 }, block(512)), 0x1051);
  const wide = hba.frame(regs.AHCI_RFIS_REGISTER, 14);
  assert.equal([...wide.slice(4)], [0xbc, 0x9a, 0x78, 0x40, 0x56, 0x34, 0x12, 0, 0x34, 0x12]);
  hba.restart();
  const narrow = { command: ata.ATA_READ_DMA, lba: 0x345678, device: 0x4f, count: 1 };
  assert.is(hba.execute(narrow, block(512)), 0x1051);
  const fis = hba.frame(regs.AHCI_RFIS_REGISTER, 14);
  assert.equal([...fis.slice(4, 8)], [0x78, 0x56, 0x34, 0x4f]);
  hba.restart();
  hba.machine.addFault({ disk: hba.disk, kind: 'error', first: 6, last: 6 });
  assert.is(hba.execute({ command: ata.ATA_READ_DMA, lba: 4, count: 8 }, block(4096)), 0x4051);
  assert.equal([...hba.frame(regs.AHCI_RFIS_REGISTER, 8).slice(4)], [6, 0, 0, 0x40]);
  assert.is(hba.moved(), 1024);
});

test('the last sector is reached and the one behind it is not, in every size of address', async () => {
  const hba = await Hba.create({ diskBytes: 2 ** 20 });
  for (const command of [ata.ATA_READ_SECTORS, ata.ATA_READ_DMA, ata.ATA_READ_DMA_EXT, ata.ATA_READ_VERIFY]) {
    assert.is(hba.execute({ command, lba: 2047, count: 1 }, block(512)), GOOD);
    assert.is(hba.execute({ command, lba: 2047, count: 2 }, block(1024)), 0x1051, `command ${command}`);
    hba.restart();
  }
  assert.is(hba.execute({ ...read, lba: 2 ** 48 - 1, count: 0 }, block(512)), 0x1051);
});

test('a block of the MULTIPLE commands never exceeds a Data FIS', async () => {
  for (const [sectorBytes, most] of [
    [512, 16],
    [4096, 2],
  ] as const) {
    const hba = await Hba.create({ sectorBytes });
    hba.execute({ command: ata.ATA_IDENTIFY }, block(512));
    assert.is(hba.machine.memory.read16(DATA + 2 * 47), 0x8000 | most);
    assert.is(hba.execute({ command: ata.ATA_SET_MULTIPLE, count: most * 2 }), 0x0451);
    hba.restart();
    assert.is(hba.execute({ command: ata.ATA_SET_MULTIPLE, count: most }), GOOD);
    const bytes = 2 * most * sectorBytes;
    assert.is(hba.execute({ command: ata.ATA_READ_MULTIPLE, count: 2 * most }, block(bytes)), GOOD);
    const fis = hba.frame(regs.AHCI_RFIS_PIO_SETUP, 20);
    assert.is((fis[16] ?? 0) | ((fis[17] ?? 0) << 8), 8192);
  }
});

test('a port without a disk keeps what is issued, and an HBA reset takes it back', async () => {
  const hba = await Hba.create({ disks: 1 });
  hba.startPort(3);
  assert.equal([hba.px(regs.AHCI_PX_SSTS, 3), hba.px(regs.AHCI_PX_TFD, 3)], [0, regs.AHCI_TFD_RESET]);
  hba.prepare(0, read, block(512), 3);
  hba.issue(1, false, 3);
  assert.equal([hba.px(regs.AHCI_PX_CI, 3), hba.px(regs.AHCI_PX_IS, 3)], [1, 0]);
  hba.write(regs.AHCI_GHC, regs.AHCI_GHC_AE | regs.AHCI_GHC_HR);
  assert.is(hba.px(regs.AHCI_PX_CI, 3), 0);
});

test('DET left at 1 with ST set: nothing is fetched, and DET 0 brings the disk back', async () => {
  const hba = await Hba.create();
  hba.setPx(regs.AHCI_PX_SCTL, regs.AHCI_DET_RESET);
  hba.prepare(0, read, block(512));
  const before = hba.controller.counters.dmaReads;
  hba.issue(1);
  assert.equal([hba.px(regs.AHCI_PX_CI), hba.controller.counters.dmaReads], [1, before]);
  hba.comreset();
  assert.is(hba.execute(read, block(512)), GOOD);
});

test('base addresses that move while the list runs count from the next command on', async () => {
  const hba = await Hba.create();
  const { memory } = hba.machine;
  hba.disk.write(0, pattern(512, 3));
  hba.prepare(0, read, block(512));
  memory.copy(0x40000, hba.list(), 32);
  hba.setPx(regs.AHCI_PX_CLB, 0x400ff);
  hba.setPx(regs.AHCI_PX_FB, 0x410ff);
  assert.equal([hba.px(regs.AHCI_PX_CLB), hba.px(regs.AHCI_PX_FB)], [0x40000, 0x41000]);
  hba.issue(1);
  assert.is(memory.read32(0x40000 + regs.AHCI_HEADER_PRDBC), 512);
  assert.is(memory.read8(0x41000 + regs.AHCI_RFIS_REGISTER), regs.FIS_REGISTER_D2H);
  assert.is(hba.moved(), 0);
});

test('a list at the very top of 64 bits: a bus error, and no way round to address 0', async () => {
  const hba = await Hba.create();
  hba.setPx(regs.AHCI_PX_CLBU, 0xffffffff);
  hba.setPx(regs.AHCI_PX_CLB, 0xfffffc00);
  hba.issue(0x80000000);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_HBFS);
  assert.is(hba.px(regs.AHCI_PX_CI) >>> 0, 0x80000000);
  hba.startPort();
  hba.restart();
  assert.is(hba.execute(read, block(512)), GOOD);
});

test('reserved registers and everything behind the ports read 0 and keep nothing', async () => {
  const hba = await Hba.create({ profile: 'ahci-q35', cold: true });
  const zero: number[] = [];
  for (let at = 0x2c; at < regs.AHCI_PORTS; at += 4) zero.push(at);
  for (const at of [0x1c, 0x3c, 0x40, 0x44, 0x48, 0x6c, 0x70, 0x7c]) zero.push(regs.AHCI_PORTS + at);
  for (let at = regs.AHCI_PORTS + 6 * regs.AHCI_PORT_STRIDE; at < 0x1000; at += 4) zero.push(at);
  for (const at of zero) {
    hba.write(at, 0xffffffff);
    assert.is(hba.read(at), 0, `register ${at}`);
  }
  // Read-only: CAP, PI, VS, PxTFD, PxSIG, PxSSTS.
  const fixed = [0, 0xc, 0x10, 0x120, 0x124, 0x128];
  const values = fixed.map((at) => hba.read(at));
  for (const at of fixed) hba.write(at, ~hba.read(at) >>> 0);
  assert.equal(
    fixed.map((at) => hba.read(at)),
    values,
  );
});

test('bytes and words of registers, across two of them and across a port, are those of the dwords', async () => {
  const { controller, ...rest } = await Hba.create();
  assert.ok(rest);
  const at = regs.AHCI_PORTS + regs.AHCI_PX_SSTS;
  assert.equal([controller.read8(BAR, at), controller.read8(BAR, at + 1)], [0x23, 0x01]);
  assert.is(controller.read16(BAR, regs.AHCI_CAP + 3), 0x02c1);
  const end = regs.AHCI_PORTS + regs.AHCI_PORT_STRIDE - 2;
  controller.write32(BAR, end, 0x0400ffff);
  assert.is(controller.read32(BAR, end), 0x04000000);
  assert.equal([controller.read8(BAR, 0xfff), controller.read16(BAR, 0xffe)], [0, 0]);
  controller.write8(BAR, regs.AHCI_PORTS + regs.AHCI_PX_IE + 3, 0xff);
  assert.is(controller.read32(BAR, regs.AHCI_PORTS + regs.AHCI_PX_IE) >>> 24, 0xfd);
});

test('coalescing over a command that never ends does not keep the clock busy, whatever the time', async () => {
  for (const milliseconds of [0, 1]) {
    const hba = await Hba.create();
    hba.write(regs.AHCI_CCC_PORTS, 1);
    hba.write(regs.AHCI_CCC_CTL, (milliseconds << 16) | (9 << 8) | regs.AHCI_CCC_EN);
    // A write whose table is empty: the device waits for data that never comes.
    hba.prepare(0, { command: ata.ATA_WRITE_DMA, count: 1 });
    hba.setPx(regs.AHCI_PX_CI, 1);
    hba.machine.settle();
    assert.equal([hba.px(regs.AHCI_PX_CI), hba.read(regs.AHCI_IS) & (1 << 6)], [1, 0]);
    hba.comreset();
    hba.prepare(0, read, block(512));
    hba.setPx(regs.AHCI_PX_CI, 1);
    hba.machine.settle();
    assert.is(hba.read(regs.AHCI_IS) & (1 << 6), 1 << 6);
  }
});

test('power states that the function does not have change nothing (PM 1.2, 3.2.4)', async () => {
  const hba = await Hba.create();
  for (const state of [1, 2]) {
    hba.controller.configWrite(regs.AHCI_CAP_AT_PM + 4, 2, state);
    assert.is(hba.controller.configRead(regs.AHCI_CAP_AT_PM + 4, 2), 0);
  }
  assert.is(hba.execute(read, block(512)), GOOD);
});

test('a frame that finds no memory before the list runs is a bus error, and the list starts all the same', async () => {
  const hba = await Hba.create({ cold: true });
  hba.machine.settle();
  hba.write(regs.AHCI_GHC, regs.AHCI_GHC_AE | regs.AHCI_GHC_IE);
  hba.setPx(regs.AHCI_PX_FB, 0x30000000);
  hba.setPx(regs.AHCI_PX_CMD, hba.px(regs.AHCI_PX_CMD) | regs.AHCI_CMD_FRE);
  assert.is(hba.px(regs.AHCI_PX_IS) & regs.AHCI_IS_HBFS, regs.AHCI_IS_HBFS);
  hba.startPort();
  assert.is(hba.execute(read, block(512)), GOOD);
});

test('a disk pulled among queued commands: nothing moves any more, and its return starts afresh', async () => {
  const hba = await Hba.create();
  hba.machine.memory.fill(DATA, 0x66, 1024);
  for (const slot of [0, 1]) {
    const task = { command: ata.ATA_READ_FPDMA_QUEUED, feature: 1, count: slot << 3 };
    hba.prepare(slot, task, block(512, DATA + 512 * slot));
  }
  hba.setPx(regs.AHCI_PX_SACT, 3);
  hba.setPx(regs.AHCI_PX_CI, 3);
  hba.controller.detachDisk(0);
  hba.machine.settle();
  assert.equal([hba.px(regs.AHCI_PX_SACT), hba.machine.memory.read8(DATA)], [3, 0x66]);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_PRCS);
  hba.controller.attach(hba.disk, 0);
  hba.machine.settle();
  assert.is(hba.px(regs.AHCI_PX_TFD), 0x150);
  hba.restart();
  assert.equal([hba.px(regs.AHCI_PX_SACT), hba.machine.memory.read8(DATA)], [0, 0x66]);
  hba.prepare(0, { command: ata.ATA_READ_FPDMA_QUEUED, feature: 1, count: 0 }, block(512));
  hba.issue(1, true);
  assert.equal([hba.px(regs.AHCI_PX_SACT), hba.px(regs.AHCI_PX_IS)], [0, regs.AHCI_IS_SDBS]);
});
