import { assert, suite } from '../run/suite.ts';
import { ata, DATA, Hba, pattern, regs } from './hba.ts';

const test = suite('ahci: native command queuing');

const block = (bytes: number, at = DATA) => [{ address: at, bytes }];

function read(hba: Hba, slot: number, lba: number, sectors = 8): void {
  const task = { command: ata.ATA_READ_FPDMA_QUEUED, feature: sectors, count: slot << 3, lba };
  hba.prepare(slot, task, block(sectors * 512, DATA + slot * 0x2000));
}

test('a queued command leaves PxCI at once and PxSACT when it is done (5.6.4)', async () => {
  const hba = await Hba.create();
  hba.disk.write(0, pattern(4096, 1));
  read(hba, 3, 0);
  hba.setPx(regs.AHCI_PX_SACT, 8);
  hba.setPx(regs.AHCI_PX_CI, 8);
  assert.equal([hba.px(regs.AHCI_PX_CI), hba.px(regs.AHCI_PX_SACT)], [0, 8]);
  assert.is(hba.px(regs.AHCI_PX_TFD) & ata.ATA_STATUS_BSY, 0);
  // The Register FIS that takes the command has no interrupt.
  assert.equal([...hba.frame(regs.AHCI_RFIS_REGISTER, 3)], [regs.FIS_REGISTER_D2H, 0, ata.ATA_STATUS_GOOD]);
  assert.is(hba.px(regs.AHCI_PX_IS), 0);
  hba.machine.settle();
  assert.is(hba.px(regs.AHCI_PX_SACT), 0);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_SDBS);
  const setup = hba.frame(regs.AHCI_RFIS_DMA_SETUP, 28);
  assert.equal([setup[0], setup[1], setup[4], setup[21]], [regs.FIS_DMA_SETUP, regs.FIS_TO_HOST, 3, 0x10]);
  assert.equal([...hba.frame(regs.AHCI_RFIS_SET_BITS, 8)], [0xa1, 0x40, 0x50, 0, 8, 0, 0, 0]);
  assert.ok(hba.machine.memory.equals(DATA + 3 * 0x2000, pattern(4096, 1)));
});

test('32 queued commands from one doorbell end in the order of the medium', async () => {
  const hba = await Hba.create();
  hba.machine.addFault({ disk: hba.disk, kind: 'delay', first: 0, last: 7, argument: 50_000 });
  for (let slot = 0; slot < 32; slot++) read(hba, slot, slot * 8);
  hba.setPx(regs.AHCI_PX_SACT, 0xffffffff);
  hba.setPx(regs.AHCI_PX_CI, 0xffffffff);
  assert.is(hba.controller.counters.commands, 32);
  hba.machine.advance(hba.machine.now() + 30_000);
  assert.is(hba.px(regs.AHCI_PX_SACT), 1);
  hba.machine.settle();
  assert.is(hba.px(regs.AHCI_PX_SACT), 0);
});

test('data goes through the slot that the tag names', async () => {
  const hba = await Hba.create();
  hba.disk.write(0, pattern(512, 6));
  const task = { command: ata.ATA_READ_FPDMA_QUEUED, feature: 1, count: 9 << 3 };
  hba.prepare(2, task, block(512));
  hba.setPx(regs.AHCI_PX_SACT, 1 << 9);
  hba.setPx(regs.AHCI_PX_CI, 4);
  hba.machine.settle();
  assert.equal([hba.px(regs.AHCI_PX_CI), hba.px(regs.AHCI_PX_SACT)], [0, 0]);
  assert.ok(hba.machine.memory.equals(DATA, pattern(512, 6)));
});

test('an error ends the queue; the device refuses all but log 10h, which names the tag', async () => {
  const hba = await Hba.create();
  hba.machine.addFault({ disk: hba.disk, kind: 'error', first: 20, last: 20 });
  for (const slot of [0, 1, 2, 3]) read(hba, slot, slot * 8);
  hba.issue(15, true);
  // 0 and 1 were done, 2 failed, 3 was given up.
  assert.is(hba.px(regs.AHCI_PX_SACT), 0b1100);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_SDBS | regs.AHCI_IS_TFES);
  assert.is(hba.px(regs.AHCI_PX_TFD) & ata.ATA_STATUS_ERR, ata.ATA_STATUS_ERR);
  assert.equal([...hba.frame(regs.AHCI_RFIS_SET_BITS, 8)].slice(3), [ata.ATA_ERROR_UNC, 0, 0, 0, 0]);
  hba.restart();
  assert.is(hba.execute({ command: ata.ATA_FLUSH_CACHE }) >>> 8, ata.ATA_ERROR_ABRT);
  hba.restart();
  const log = { command: ata.ATA_READ_LOG_EXT, lba: ata.ATA_LOG_QUEUE_ERROR, count: 1 };
  assert.is(hba.execute(log, block(512)), ata.ATA_STATUS_GOOD);
  const page = hba.machine.memory.readBytes(DATA, 512);
  assert.equal([page[0], page[3], page[4], page[5]], [2, ata.ATA_ERROR_UNC, 20, 0]);
  assert.is(page.reduce((sum, byte) => sum + byte, 0) & 0xff, 0);
  assert.is(hba.execute({ command: ata.ATA_FLUSH_CACHE }), ata.ATA_STATUS_GOOD);
});

test('a command that is not queued ends those that are, and the log says that it was not', async () => {
  const hba = await Hba.create();
  read(hba, 0, 0);
  hba.prepare(1, { command: ata.ATA_READ_DMA_EXT, count: 1 }, block(512));
  hba.setPx(regs.AHCI_PX_SACT, 1);
  hba.setPx(regs.AHCI_PX_CI, 3);
  assert.is(hba.px(regs.AHCI_PX_TFD) >>> 8, ata.ATA_ERROR_ABRT);
  assert.equal([hba.px(regs.AHCI_PX_CI), hba.px(regs.AHCI_PX_SACT)], [2, 1]);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_DHRS | regs.AHCI_IS_TFES);
  hba.machine.settle();
  assert.is(hba.px(regs.AHCI_PX_SACT), 1);
  hba.restart();
  hba.execute({ command: ata.ATA_READ_LOG_EXT, lba: 0x10, count: 1 }, block(512));
  assert.is(hba.machine.memory.read8(DATA), 0x80);
});

test('a tag that is in use ends the queue', async () => {
  const hba = await Hba.create();
  read(hba, 5, 0);
  hba.setPx(regs.AHCI_PX_SACT, 32);
  hba.setPx(regs.AHCI_PX_CI, 32);
  hba.setPx(regs.AHCI_PX_CI, 32);
  assert.is(hba.px(regs.AHCI_PX_IS), regs.AHCI_IS_DHRS | regs.AHCI_IS_TFES);
  assert.is(hba.px(regs.AHCI_PX_TFD) >>> 8, ata.ATA_ERROR_ABRT);
});

test('commands that find no media request wait for one', async () => {
  const hba = await Hba.create();
  const header = new Uint32Array(hba.machine.buffer, 0x10078, 1);
  const free = header[0] as number;
  header[0] = 0;
  hba.disk.write(0, pattern(4096, 3));
  for (const slot of [0, 1]) read(hba, slot, 0);
  hba.setPx(regs.AHCI_PX_SACT, 3);
  hba.setPx(regs.AHCI_PX_CI, 3);
  hba.machine.advance(hba.machine.now() + 1_000_000);
  assert.is(hba.px(regs.AHCI_PX_SACT), 3);
  header[0] = free;
  hba.machine.settle();
  assert.is(hba.px(regs.AHCI_PX_SACT), 0);
  assert.ok(hba.machine.memory.equals(DATA + 0x2000, pattern(4096, 3)));
});

test('a slot whose queued command the device has is as a tag in use, and ends all of them ([2] 13.6.2)', async () => {
  for (const again of [
    { command: ata.ATA_READ_FPDMA_QUEUED, feature: 1, count: 9 << 3 },
    { command: ata.ATA_READ_FPDMA_QUEUED, feature: 1, count: 2 << 3 },
    { command: ata.ATA_READ_DMA_EXT, count: 1 },
  ]) {
    const hba = await Hba.create({ flavour: 'debug' });
    hba.disk.write(0, pattern(2 ** 16, 3));
    read(hba, 2, 0);
    read(hba, 5, 8);
    hba.setPx(regs.AHCI_PX_SACT, 0x24);
    hba.setPx(regs.AHCI_PX_CI, 0x24);
    hba.prepare(2, { ...again, lba: 64 }, block(512, DATA + 0x20000));
    hba.setPx(regs.AHCI_PX_CI, 4);
    assert.is(hba.px(regs.AHCI_PX_TFD) & 0xffff, (ata.ATA_ERROR_ABRT << 8) | 0x51);
    assert.ok((hba.px(regs.AHCI_PX_IS) & regs.AHCI_IS_TFES) !== 0);
    // The medium works for neither of them any more.
    assert.is(hba.machine.nextDeadline(), Number.POSITIVE_INFINITY);
    assert.equal(hba.machine.memory.readBytes(DATA, 0x21000), new Uint8Array(0x21000));
    hba.restart();
    const log = { command: ata.ATA_READ_LOG_EXT, lba: ata.ATA_LOG_QUEUE_ERROR, count: 1 };
    assert.is(hba.execute(log, block(512)), ata.ATA_STATUS_GOOD);
    hba.prepare(0, { command: ata.ATA_READ_DMA_EXT, lba: 2, count: 2 }, block(1024));
    hba.issue(1);
    assert.ok(hba.machine.memory.equals(DATA, pattern(2 ** 16, 3).subarray(1024, 2048)));
  }
});
