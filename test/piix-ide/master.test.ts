// The bus master: tables of every kind, faults, stops and restarts.

import { PCI_COMMAND, PCI_STATUS, PCI_STATUS_RECEIVED_MASTER_ABORT } from '../../assembly/bus/pci-regs.ts';
import { assert, suite } from '../run/suite.ts';
import { ata, DATA, Ide, pattern, RAM_END, regs } from './ide.ts';

const test = suite('piix-ide: bus master');

const GOOD = ata.ATA_STATUS_GOOD;
const STALLED = GOOD | ata.ATA_STATUS_DRQ;
const { MASTER_ACTIVE: ACTIVE, MASTER_ERROR: ERROR, MASTER_INTERRUPT: INTERRUPT } = regs;

const read = (count: number, lba = 0) => ({ command: ata.ATA_READ_DMA_EXT, count, lba, wide: true });
const write = (count: number, lba = 0) => ({ command: ata.ATA_WRITE_DMA_EXT, count, lba, wide: true });

test('a table of exactly the data: the master ends, interrupts, and the bytes are there', async () => {
  const ide = await Ide.create();
  const bytes = pattern(4096, 1);
  ide.disk.write(0, bytes);
  const prds = [
    { address: DATA, bytes: 2 },
    { address: DATA + 0x1002, bytes: 510 },
    { address: DATA + 0x2000, bytes: 3584 },
  ];
  assert.is(ide.dma(read(8), true, prds), INTERRUPT);
  assert.ok(ide.irq());
  assert.is(ide.read(regs.IDE_STATUS), GOOD);
  const { memory } = ide.machine;
  let at = 0;
  for (const prd of prds) {
    assert.ok(memory.equals(prd.address, bytes, at, prd.bytes));
    memory.writeBytes(prd.address, pattern(prd.bytes, at + 2));
    at += prd.bytes;
  }
  assert.is(ide.dma(write(8, 16), false, prds), INTERRUPT);
  assert.equal(ide.disk.read(16 * 512, 2), pattern(2, 2));
  assert.equal(ide.disk.read(16 * 512 + 512, 3584), pattern(3584, 514));
});

test('the master may start before the command or long after it', async () => {
  const ide = await Ide.create();
  const bytes = pattern(512, 3);
  ide.disk.write(0, bytes);
  ide.setTable([{ address: DATA, bytes: 512 }]);
  ide.start(true);
  ide.send(read(1));
  ide.machine.settle();
  assert.is(ide.master(regs.MASTER_STATUS), INTERRUPT);
  ide.stop();
  ide.machine.memory.fill(DATA, 0, 512);
  ide.send(read(1));
  ide.machine.settle();
  assert.is(ide.alternate(), GOOD | ata.ATA_STATUS_BSY);
  ide.start(true);
  assert.ok(ide.irq());
  assert.ok(ide.machine.memory.equals(DATA, bytes));
});

test('a table longer than the data stays active; the interrupt says that the drive is through', async () => {
  const ide = await Ide.create();
  assert.is(ide.dma(read(1), true, [{ address: DATA, bytes: 1024 }]), ACTIVE | INTERRUPT);
  const two = [
    { address: DATA, bytes: 512 },
    { address: DATA, bytes: 512 },
  ];
  assert.is(ide.dma(read(1), true, two), ACTIVE | INTERRUPT);
  assert.is(ide.master(regs.MASTER_STATUS) & ACTIVE, 0);
  assert.is(ide.read(regs.IDE_STATUS), GOOD);
});

test('a table shorter than the data: no interrupt, not active, and the drive waits for a reset', async () => {
  const ide = await Ide.create();
  const bytes = pattern(1024, 4);
  ide.disk.write(0, bytes);
  assert.is(ide.dma(read(2), true, [{ address: DATA, bytes: 700 }]), 0);
  assert.not.ok(ide.irq());
  assert.is(ide.alternate(), STALLED);
  assert.ok(ide.machine.memory.equals(DATA, bytes, 0, 700));
  assert.is(ide.machine.memory.read8(DATA + 700), 0);
  ide.softReset();
  assert.is(ide.alternate(), GOOD);
  // What a write could not get whole is not written.
  const before = ide.disk.read(0, 1024);
  assert.is(ide.dma(write(2), false, [{ address: DATA + 0x4000, bytes: 700 }]), 0);
  assert.equal(ide.disk.read(0, 1024), before);
});

test('a count of 0 is 64 KiB; bit 0 of address and count is not there', async () => {
  const ide = await Ide.create();
  const bytes = pattern(0x10000, 5);
  ide.disk.write(0, bytes);
  assert.is(ide.dma(read(128), true, [{ address: 0x100000, bytes: 0x10000 }]), INTERRUPT);
  assert.ok(ide.machine.memory.equals(0x100000, bytes));
  assert.is(ide.dma(read(1), true, [{ address: 0x200001, bytes: 0x201 }]), INTERRUPT);
  assert.ok(ide.machine.memory.equals(0x200000, bytes, 0, 512));
  assert.is(ide.dma(read(128), true, [{ address: 0x100000, bytes: 1 }]), INTERRUPT);
});

test('a region that leaves its 64 KiB goes on at their beginning', async () => {
  const ide = await Ide.create();
  const bytes = pattern(1024, 6);
  ide.disk.write(0, bytes);
  assert.is(ide.dma(read(2), true, [{ address: 0x11ff00, bytes: 1024 }]), INTERRUPT);
  const { memory } = ide.machine;
  assert.ok(memory.equals(0x11ff00, bytes, 0, 256));
  assert.ok(memory.equals(0x110000, bytes, 256, 768));
  assert.is(memory.read32(0x120000), 0);
});

test('a table that leaves its 64 KiB goes on at their beginning, in the middle of an entry too', async () => {
  const ide = await Ide.create();
  const { memory } = ide.machine;
  const bytes = pattern(1024, 7);
  ide.disk.write(0, bytes);
  for (const at of [0x2fff8, 0x2fffc]) {
    memory.fill(DATA, 0, 1024);
    const words = [DATA, 512, DATA + 512, 512 + regs.PRD_END];
    for (const [i, word] of words.entries()) memory.write32(0x20000 + ((at + 4 * i) & 0xffff), word);
    ide.controller.write32(regs.PIIX_BAR_MASTER, regs.MASTER_TABLE, at);
    ide.send(read(2));
    ide.start(true);
    ide.machine.settle();
    assert.is(ide.master(regs.MASTER_STATUS), INTERRUPT);
    assert.ok(memory.equals(DATA, bytes));
    ide.stop();
  }
});

test('memory that is not there: error bit, received master abort, no interrupt', async () => {
  const prd = (address: number) => [{ address, bytes: 512 }];
  for (const run of [
    (ide: Ide) => ide.dma(read(1), true, prd(RAM_END)),
    (ide: Ide) => ide.dma(write(1), false, prd(0xf000_0000)),
    (ide: Ide) => {
      ide.controller.write32(regs.PIIX_BAR_MASTER, regs.MASTER_TABLE, RAM_END + 0x1000);
      ide.send(read(1));
      ide.start(true);
      ide.machine.settle();
      return ide.master(regs.MASTER_STATUS);
    },
  ]) {
    const ide = await Ide.create({ guard: true });
    const before = ide.disk.read(0, 512);
    assert.is(run(ide), ERROR);
    assert.not.ok(ide.irq());
    assert.is(ide.alternate(), STALLED);
    assert.ok((ide.controller.configRead(PCI_STATUS, 2) & PCI_STATUS_RECEIVED_MASTER_ABORT) !== 0);
    assert.ok(ide.machine.guard.findings().some(({ rule }) => rule === 'dev-hole'));
    assert.equal(ide.disk.read(0, 512), before);
    ide.setMaster(regs.MASTER_STATUS, ERROR);
    assert.is(ide.master(regs.MASTER_STATUS), 0);
    ide.softReset();
    assert.is(ide.dma(read(1), true, prd(DATA)), INTERRUPT);
  }
});

test('without bus mastering nothing is fetched, and the guard says so', async () => {
  const ide = await Ide.create({ guard: true });
  ide.controller.configWrite(PCI_COMMAND, 2, 1);
  assert.is(ide.dma(read(1), true, [{ address: DATA, bytes: 512 }]), ERROR);
  assert.equal(
    ide.machine.guard.findings().map(({ rule }) => rule),
    ['dev-nomaster'],
  );
});

test('32 address lines: a table entry cannot name memory above 4 GiB', async () => {
  const ide = await Ide.create();
  ide.disk.write(0, pattern(512, 8));
  ide.machine.memory.fill(2 ** 32 + 0x1000, 0xee, 512);
  assert.is(ide.dma(read(1), true, [{ address: (2 ** 32 + 0x1000) >>> 0, bytes: 512 }]), INTERRUPT);
  assert.ok(ide.machine.memory.equals(0x1000, pattern(512, 8)));
  assert.is(ide.machine.memory.read8(2 ** 32 + 0x1000), 0xee);
});

test('a table without end is given up after as many entries as fit its 64 KiB', async () => {
  const ide = await Ide.create({ guard: true, diskBytes: 32 * 2 ** 20 });
  const at = 0x30000;
  ide.setTable(
    Array.from({ length: 8192 }, () => ({ address: DATA, bytes: 512 })),
    0,
    at,
    false,
  );
  ide.send(read(8193));
  ide.start(true);
  ide.machine.settle();
  assert.is(ide.master(regs.MASTER_STATUS), ERROR);
  const loops = ide.machine.guard.findings().filter(({ rule }) => rule === 'desc-loop');
  assert.equal(
    loops.map(({ address }) => address),
    [at],
  );
  // Without end, but no longer than the data: that is no loop.
  ide.softReset();
  ide.stop();
  ide.machine.guard.clear();
  ide.send(read(8192));
  ide.start(true);
  ide.machine.settle();
  assert.is(ide.master(regs.MASTER_STATUS), ACTIVE | INTERRUPT);
  assert.not.ok(ide.machine.guard.findings().some(({ rule }) => rule === 'desc-loop'));
});

test('a board with tables of 128 entries gives up behind them', async () => {
  const ide = await Ide.create({ profile: 'piix-128prd' });
  const prds = (n: number) => Array.from({ length: n }, (_, i) => ({ address: DATA + 1024 * i, bytes: 512 }));
  assert.is(ide.dma(read(128), true, prds(128)), INTERRUPT);
  assert.is(ide.dma(read(129), true, prds(129)), ERROR);
});

test('stopping in the middle of a transfer ends it; a start begins with the first entry', async () => {
  const ide = await Ide.create();
  const bytes = pattern(512, 9);
  ide.disk.write(0, bytes);
  ide.setTable([{ address: DATA, bytes: 512 }]);
  ide.send(read(1));
  ide.start(true);
  assert.is(ide.master(regs.MASTER_STATUS), ACTIVE);
  ide.stop();
  assert.is(ide.master(regs.MASTER_STATUS), 0);
  ide.machine.settle();
  assert.not.ok(ide.irq());
  assert.is(ide.machine.memory.read8(DATA + 5), 0);
  ide.start(true);
  assert.ok(ide.irq());
  assert.ok(ide.machine.memory.equals(DATA, bytes));
});

test('a master in the wrong direction moves nothing, and keeps its direction while active', async () => {
  const ide = await Ide.create();
  const before = ide.disk.read(0, 512);
  assert.is(ide.dma(write(1), true, [{ address: DATA, bytes: 512 }]), ACTIVE);
  assert.equal(ide.disk.read(0, 512), before);
  ide.start(true);
  ide.setMaster(regs.MASTER_COMMAND, regs.MASTER_START);
  assert.is(ide.master(regs.MASTER_COMMAND), regs.MASTER_START | regs.MASTER_TO_MEMORY);
});

test('a medium error ends the command with the sector, the good ones are in memory', async () => {
  const ide = await Ide.create();
  const bytes = pattern(4096, 10);
  ide.disk.write(0, bytes);
  ide.machine.addFault({ disk: ide.disk, kind: 'error', first: 5, last: 5, operations: ['read'] });
  assert.is(ide.dma(read(8), true, [{ address: DATA, bytes: 4096 }]) & INTERRUPT, INTERRUPT);
  assert.is(ide.read(regs.IDE_STATUS), GOOD | ata.ATA_STATUS_ERR);
  assert.equal(ide.registers().slice(0, 5), [ata.ATA_ERROR_UNC, 8, 5, 0, 0]);
  assert.ok(ide.machine.memory.equals(DATA, bytes, 0, 5 * 512));
  assert.is(ide.machine.memory.read8(DATA + 5 * 512), 0);
});

test('both channels transfer at once and interrupt on lines of their own', async () => {
  const ide = await Ide.create({
    places: [
      [0, 0],
      [1, 1],
    ],
  });
  for (const [channel, disk] of ide.disks.entries()) {
    disk.write(0, pattern(1024, channel + 20));
    ide.setTable([{ address: DATA + 0x10000 * channel, bytes: 1024 }], channel);
    ide.send({ ...read(2), drive: channel }, channel);
    ide.start(true, channel);
  }
  ide.machine.settle();
  assert.is(ide.machine.irqLines, 3 << 14);
  for (const channel of [0, 1]) {
    assert.is(ide.master(regs.MASTER_STATUS, channel), INTERRUPT);
    assert.ok(ide.machine.memory.equals(DATA + 0x10000 * channel, pattern(1024, channel + 20)));
  }
});

test('the disk takes ranges and gives logs by DMA', async () => {
  const ide = await Ide.create();
  ide.disk.write(0, pattern(4096, 11));
  ide.machine.memory.fill(DATA, 0, 512);
  ide.machine.memory.write32(DATA, 2);
  ide.machine.memory.write32(DATA + 4, 3 << 16);
  const trim = { command: ata.ATA_DATA_SET_MANAGEMENT, feature: ata.ATA_DSM_TRIM, count: 1, wide: true };
  assert.is(ide.dma(trim, false, [{ address: DATA, bytes: 512 }]), INTERRUPT);
  assert.is(ide.read(regs.IDE_STATUS), GOOD);
  assert.equal(ide.disk.read(1024, 1536), new Uint8Array(1536));
  assert.equal(ide.disk.read(0, 1024), pattern(4096, 11).subarray(0, 1024));
  const log = { command: ata.ATA_READ_LOG_DMA_EXT, count: 1, wide: true };
  assert.is(ide.dma(log, true, [{ address: DATA, bytes: 512 }]), INTERRUPT);
  assert.is(ide.machine.memory.read16(DATA), 1);
  // A disk that queues nothing has no log of queued commands (ATA8-ACS A.7), and its directory has none.
  assert.is(ide.machine.memory.read16(DATA + 2 * ata.ATA_LOG_QUEUE_ERROR), 0);
  ide.send({ ...log, command: ata.ATA_READ_LOG_EXT, lba: ata.ATA_LOG_QUEUE_ERROR });
  assert.is(ide.read(regs.IDE_STATUS) & ata.ATA_STATUS_ERR, ata.ATA_STATUS_ERR);
  assert.is(ide.read(regs.IDE_ERROR), ata.ATA_ERROR_ABRT);
});

test('SRST in the middle of a transfer: the drive forgets, the master stays active until stopped', async () => {
  const ide = await Ide.create();
  ide.setTable([{ address: DATA, bytes: 512 }]);
  ide.send(read(1));
  ide.start(true);
  ide.softReset();
  assert.is(ide.master(regs.MASTER_STATUS), ACTIVE);
  assert.not.ok(ide.irq());
  ide.stop();
  assert.is(ide.dma(read(1), true, [{ address: DATA, bytes: 512 }]), INTERRUPT);
});
