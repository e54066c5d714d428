// What stock software does, step by step: the public device tests on the pc machine's board, SeaBIOS's detection and
// transfers, and Linux's ata_piix with the soft reset and the error handling of libata.

import { PCI_COMMAND } from '../../assembly/bus/pci-regs.ts';
import { assert, suite } from '../run/suite.ts';
import { ata, DATA, Ide, pattern, regs } from './ide.ts';

const test = suite('piix-ide: stock software');

const GOOD = ata.ATA_STATUS_GOOD;
const { ATA_STATUS_BSY: BSY, ATA_STATUS_DRQ: DRQ, ATA_STATUS_ERR: ERR, ATA_STATUS_DF: DF } = ata;
const { MASTER_ACTIVE: ACTIVE, MASTER_INTERRUPT: INTERRUPT, MASTER_START: START } = regs;
const TABLE = 0x30000;
const DRDY = 0x40;

async function pc(): Promise<Ide> {
  const ide = await Ide.create({ profile: 'piix3-pc' });
  enable(ide);
  return ide;
}

/** What the device tests do before each request: every kind of decoding must read back as switched on. */
function enable(ide: Ide): void {
  const { controller } = ide;
  controller.configWrite(PCI_COMMAND, 2, controller.configRead(PCI_COMMAND, 2) | 7);
  assert.is(controller.configRead(PCI_COMMAND, 2) & 7, 7);
}

interface Shot {
  readonly command: number;
  readonly sector?: number;
  readonly count: number;
  /** Table entries: address, and count with its flags. */
  readonly prds: readonly (readonly [number, number])[];
  readonly abort?: boolean;
  readonly deaf?: boolean;
}

/** A request of the device tests, each access at once followed by what it causes; the master's status. */
function shoot(ide: Ide, { command, sector = 0, count, prds, abort = false, deaf = false }: Shot): number {
  const { controller, machine } = ide;
  const toMemory = command === ata.ATA_READ_DMA;
  enable(ide);
  if (deaf) controller.configWrite(PCI_COMMAND, 2, 3);
  ide.write(regs.IDE_DEVICE, ata.ATA_DEVICE_LBA);
  ide.setMaster(regs.MASTER_COMMAND, 0);
  ide.setMaster(regs.MASTER_STATUS, INTERRUPT);
  for (const [i, [address, bytes]] of prds.entries()) {
    machine.memory.write32(TABLE + 8 * i, address);
    machine.memory.write32(TABLE + 8 * i + 4, bytes >>> 0);
  }
  controller.write32(regs.PIIX_BAR_MASTER, regs.MASTER_TABLE, TABLE);
  if (command === ata.ATA_DATA_SET_MANAGEMENT) ide.write(regs.IDE_FEATURE, 1);
  ide.write(regs.IDE_COUNT, count & 0xff);
  ide.write(regs.IDE_LBA_LOW, sector & 0xff);
  ide.write(regs.IDE_LBA_MID, (sector >> 8) & 0xff);
  ide.write(regs.IDE_LBA_HIGH, (sector >> 16) & 0xff);
  ide.write(regs.IDE_COMMAND, command);
  machine.settle();
  ide.setMaster(regs.MASTER_COMMAND, START | (toMemory ? regs.MASTER_TO_MEMORY : 0));
  machine.settle();
  if (abort) ide.setMaster(regs.MASTER_COMMAND, 0);
  const status = ide.master(regs.MASTER_STATUS);
  assert.is.not(status & (ACTIVE | INTERRUPT), ACTIVE, 'would be waited for');
  assert.is(ide.irq(), (status & INTERRUPT) !== 0);
  const own = ide.read(regs.IDE_STATUS);
  assert.equal([own & DRDY, own & (BSY | DRQ)], [DRDY, 0]);
  assert.not.ok(ide.irq());
  if ((status & ACTIVE) !== 0) ide.setMaster(regs.MASTER_COMMAND, 0);
  return status;
}

const END = regs.PRD_END;

test('device tests: two sectors are written and read back', async () => {
  const ide = await pc();
  const { memory } = ide.machine;
  const prds = [[DATA, 512 | END]] as const;
  for (const [sector, byte] of [0x55, 0xaa].entries()) {
    memory.fill(DATA, byte, 512);
    assert.is(shoot(ide, { command: ata.ATA_WRITE_DMA, sector, count: 1, prds }), INTERRUPT);
    assert.is(ide.read(regs.IDE_STATUS) & (DF | ERR), 0);
  }
  for (const [sector, byte] of [0x55, 0xaa].entries()) {
    assert.is(shoot(ide, { command: ata.ATA_READ_DMA, sector, count: 1, prds }), INTERRUPT);
    assert.ok(memory.equals(DATA, new Uint8Array(512).fill(byte)));
  }
});

test('device tests: ranges to trim; one beyond the disk aborts the command, with an interrupt', async () => {
  const ide = await pc();
  const { memory } = ide.machine;
  const shot = { command: ata.ATA_DATA_SET_MANAGEMENT, count: 1, prds: [[DATA, 512 | END]] } as const;
  memory.fill(DATA, 0, 512);
  memory.write4x32(DATA, 0, 2 << 16, 6, 8 << 16);
  assert.is(shoot(ide, shot), INTERRUPT);
  assert.is(ide.read(regs.IDE_STATUS) & (DF | ERR), 0);
  memory.write4x32(DATA, 10, 1 << 16, 2 ** 20 / 512 - 1, 2 << 16);
  assert.is(shoot(ide, shot), INTERRUPT);
  assert.is(ide.read(regs.IDE_STATUS) & ERR, ERR);
  assert.is(ide.read(regs.IDE_ERROR) & ata.ATA_ERROR_ABRT, ata.ATA_ERROR_ABRT);
});

test('device tests: tables too short, right and too long, each also aborted; the drive takes the next command', async () => {
  const ide = await pc();
  for (let count = 1; count <= 256; count *= 2) {
    for (let size = 0; size < 0x10000; size += 512) {
      const bytes = size === 0 ? 0x10000 : size;
      const whole = bytes >= count * 512;
      const longer = bytes > count * 512;
      const shot = { command: ata.ATA_READ_DMA, count, prds: [[0, size | END]] } as const;
      const status = shoot(ide, shot);
      if (status !== (whole ? INTERRUPT | (longer ? ACTIVE : 0) : 0))
        assert.unreachable(`${count}, ${size}: ${status}`);
      assert.is(ide.read(regs.IDE_STATUS) & (DF | ERR), 0);
      assert.is(shoot(ide, { ...shot, abort: true }), whole ? INTERRUPT : 0);
      assert.is(ide.read(regs.IDE_STATUS) & (DF | ERR), 0);
    }
  }
});

test('device tests: without bus mastering, a table without an end: nothing moves, all seems well', async () => {
  const ide = await pc();
  ide.disk.write(0, pattern(512, 1));
  ide.machine.memory.fill(0, 0x77, 512);
  const prds = Array.from({ length: 4096 }, () => [0, 0] as const);
  const status = shoot(ide, { command: ata.ATA_READ_DMA, count: 512, prds, deaf: true });
  assert.is(status, ACTIVE | INTERRUPT);
  assert.is(ide.read(regs.IDE_STATUS) & (DF | ERR), 0);
  assert.ok(ide.machine.memory.equals(0, new Uint8Array(512).fill(0x77)));
  const lost = shoot(ide, { command: ata.ATA_WRITE_DMA, count: 512, prds, deaf: true });
  assert.is(lost, ACTIVE | INTERRUPT);
});

test('device tests: IDENTIFY word by word with the status before each; the diagnostic of both drives', async () => {
  const ide = await Ide.create({
    profile: 'piix3-pc',
    places: [
      [0, 0],
      [0, 1],
    ],
  });
  enable(ide);
  ide.write(regs.IDE_DEVICE, 0);
  ide.write(regs.IDE_COMMAND, ata.ATA_IDENTIFY);
  assert.is(ide.read(regs.IDE_DEVICE) & regs.IDE_DEVICE_SECOND, 0);
  const words: number[] = [];
  for (let i = 0; i < 256; i++) {
    const status = ide.read(regs.IDE_STATUS);
    assert.equal([status & (DRDY | DRQ), status & (BSY | DF | ERR)], [DRDY | DRQ, 0]);
    words.push(ide.controller.read16(regs.PIIX_BAR_PRIMARY, regs.IDE_DATA));
  }
  assert.is(ide.read(regs.IDE_STATUS) & (DRDY | DRQ | BSY | DF | ERR), DRDY);
  assert.is((words[85] ?? 0) & 0x20, 0x20);
  ide.write(regs.IDE_DEVICE, regs.IDE_DEVICE_SECOND);
  assert.is(ide.read(regs.IDE_DEVICE) & regs.IDE_DEVICE_SECOND, regs.IDE_DEVICE_SECOND);
  ide.write(regs.IDE_COMMAND, ata.ATA_EXECUTE_DIAGNOSTIC);
  assert.is(ide.read(regs.IDE_DEVICE) & regs.IDE_DEVICE_SECOND, 0);
});

test('device tests: a flush is busy and ready until it ends; without a drive nothing happens', async () => {
  const ide = await pc();
  ide.write(regs.IDE_DEVICE, 0);
  ide.write(regs.IDE_COMMAND, ata.ATA_FLUSH_CACHE);
  const status = ide.read(regs.IDE_STATUS);
  assert.equal([status & (BSY | DRDY), status & (DF | ERR | DRQ)], [BSY | DRDY, 0]);
  ide.machine.settle();
  assert.is(ide.read(regs.IDE_STATUS) & (BSY | DRDY | DF | ERR | DRQ), DRDY);
  const empty = await Ide.create({ profile: 'piix3-pc', places: [] });
  enable(empty);
  empty.write(regs.IDE_DEVICE, 0);
  empty.write(regs.IDE_COMMAND, ata.ATA_FLUSH_CACHE);
  empty.machine.settle();
  assert.not.ok(empty.irq());
});

// SeaBIOS.

function wait(ide: Ide): number {
  ide.alternate();
  ide.machine.settle();
  const status = ide.read(regs.IDE_STATUS);
  assert.is(status & BSY, 0);
  return status;
}

/** Whether somebody answers for the drive: registers hold what is written. */
function probe(ide: Ide, drive: number, channel: number): boolean {
  const head = drive === 0 ? 0xa0 : 0xb0;
  assert.is(ide.read(regs.IDE_STATUS, channel) & BSY, 0);
  ide.write(regs.IDE_DEVICE, head, channel);
  assert.is(ide.read(regs.IDE_STATUS, channel) & BSY, 0);
  ide.write(regs.IDE_DEVICE, head, channel);
  const device = ide.read(regs.IDE_DEVICE, channel);
  ide.write(regs.IDE_COUNT, 0x55, channel);
  ide.write(regs.IDE_LBA_LOW, 0xaa, channel);
  return (
    ide.read(regs.IDE_COUNT, channel) === 0x55 &&
    ide.read(regs.IDE_LBA_LOW, channel) === 0xaa &&
    device === head
  );
}

/** A command without interrupts, up to its first block; the status. */
function polled(ide: Ide, drive: number, command: number, lba = 0, count = 0): number {
  ide.control(0x0a);
  ide.read(regs.IDE_STATUS);
  ide.read(regs.IDE_DEVICE);
  ide.write(regs.IDE_DEVICE, 0x40 | (drive << 4));
  for (const [i, value] of [0, count, lba & 0xff, (lba >> 8) & 0xff, lba >> 16].entries())
    ide.write(1 + i, value);
  ide.write(regs.IDE_COMMAND, command);
  return wait(ide);
}

test('SeaBIOS: detects one drive of four, by packet identification, signature and IDENTIFY', async () => {
  const ide = await Ide.create();
  assert.not.ok(probe(ide, 0, 1), 'a floating channel');
  assert.not.ok(probe(ide, 1, 1));
  assert.ok(probe(ide, 0, 0));
  ide.control(0x0e);
  ide.machine.advance(ide.machine.now() + 5000);
  ide.control(0x0a);
  ide.machine.advance(ide.machine.now() + 2_000_000);
  assert.is(ide.read(regs.IDE_STATUS) & BSY, 0);
  ide.write(regs.IDE_DEVICE, 0xa0);
  ide.control(8);
  assert.is(polled(ide, 0, ata.ATA_IDENTIFY_PACKET) & ERR, ERR);
  assert.is(ide.read(regs.IDE_STATUS) & DRDY, DRDY);
  assert.is(polled(ide, 0, ata.ATA_IDENTIFY) & (DRQ | ERR), DRQ);
  const words = new Uint16Array(ide.take(512).buffer);
  assert.is(wait(ide) & (BSY | DF | DRQ | ERR), 0);
  assert.equal([words[0], (words[83] ?? 0) & 0x400], [0x40, 0x400]);
  // The first drive answers for the second, with a status of 0.
  ide.control(8);
  assert.ok(probe(ide, 1, 0));
  assert.is(polled(ide, 1, ata.ATA_IDENTIFY_PACKET), 0);
  assert.not.ok(ide.irq());
});

test('SeaBIOS: sectors by PIO, block by block, and by a master that starts behind the command', async () => {
  const ide = await Ide.create();
  const bytes = pattern(4 * 512, 1);
  ide.disk.write(512, bytes);
  let status = polled(ide, 0, ata.ATA_READ_SECTORS, 1, 4);
  for (let block = 0; block < 4; block++) {
    assert.is(status & (BSY | DRQ | ERR), DRQ);
    assert.equal(ide.take(512), bytes.subarray(512 * block, 512 * block + 512));
    status = wait(ide);
  }
  assert.is(status & (BSY | DF | DRQ | ERR), 0);
  status = polled(ide, 0, ata.ATA_WRITE_SECTORS, 9, 4);
  for (let block = 0; block < 4; block++) {
    assert.is(status & (BSY | DRQ | ERR), DRQ);
    ide.put(bytes.subarray(512 * block, 512 * block + 512));
    status = wait(ide);
  }
  assert.is(status & (BSY | DF | DRQ | ERR), 0);
  assert.equal(ide.disk.read(9 * 512, 2048), bytes);
  ide.control(8);
  for (const [toMemory, command] of [
    [true, ata.ATA_READ_DMA],
    [false, ata.ATA_WRITE_DMA],
  ] as const) {
    // 64 KiB in one entry: the seventeenth bit of the count is not there.
    const { controller, machine } = ide;
    machine.memory.write4x32(TABLE, 0x100000, 0x10000, 0x110000, 0x10000 | END);
    controller.write32(regs.PIIX_BAR_MASTER, regs.MASTER_TABLE, TABLE);
    const direction = toMemory ? regs.MASTER_TO_MEMORY : 0;
    ide.setMaster(regs.MASTER_COMMAND, (ide.master(regs.MASTER_COMMAND) & ~9) | direction);
    ide.setMaster(regs.MASTER_STATUS, 6);
    ide.read(regs.IDE_STATUS);
    ide.write(regs.IDE_DEVICE, 0x40);
    for (const [i, value] of [0, 0, toMemory ? 0 : 0x00, toMemory ? 0 : 1, 0].entries())
      ide.write(1 + i, value);
    ide.write(regs.IDE_COMMAND, command);
    ide.setMaster(regs.MASTER_COMMAND, ide.master(regs.MASTER_COMMAND) | START);
    machine.settle();
    const own = ide.master(regs.MASTER_STATUS);
    ide.setMaster(regs.MASTER_COMMAND, direction);
    assert.is(own & (ACTIVE | INTERRUPT), INTERRUPT);
    assert.is(wait(ide) & (BSY | DF | DRQ | ERR), 0);
  }
  assert.equal(ide.disk.read(256 * 512, 131072), ide.disk.read(0, 131072));
});

// Linux.

/** ata_devchk: patterns in two registers. */
function answers(ide: Ide, drive: number): boolean {
  ide.write(regs.IDE_DEVICE, 0xa0 | (drive << 4));
  ide.alternate();
  for (const [count, low] of [
    [0x55, 0xaa],
    [0xaa, 0x55],
    [0x55, 0xaa],
  ] as const) {
    ide.write(regs.IDE_COUNT, count);
    ide.write(regs.IDE_LBA_LOW, low);
  }
  return ide.read(regs.IDE_COUNT) === 0x55 && ide.read(regs.IDE_LBA_LOW) === 0xaa;
}

/** Soft reset of libata; what the two drives say that they are: error, count, LBA, status. */
function softReset(ide: Ide): number[][] {
  const drives = [0, 1].filter((drive) => answers(ide, drive));
  ide.write(regs.IDE_DEVICE, 0xa0);
  for (const [control, ns] of [
    [8, 20_000],
    [12, 20_000],
    [8, 150_000_000],
  ] as const) {
    ide.control(control);
    ide.machine.advance(ide.machine.now() + ns);
  }
  return drives.map((drive) => {
    ide.write(regs.IDE_DEVICE, 0xa0 | (drive << 4));
    return [...ide.registers().slice(0, 5), ide.read(regs.IDE_STATUS)];
  });
}

for (const profile of ['piix4', 'piix3', 'piix3-pc']) {
  test(`Linux on ${profile}: channels, soft reset, classification, modes, transfers by DMA`, async () => {
    const ide = await Ide.create({ profile });
    const { controller, machine } = ide;
    assert.equal(
      [controller.configRead(0x41, 1) & 0x80, controller.configRead(0x43, 1) & 0x80],
      [0x80, 0x80],
    );
    const [first, second] = softReset(ide);
    assert.equal(first, [1, 1, 1, 0, 0, GOOD]);
    // The second drive has the first one's signature and a status of 0: libata takes it for nobody.
    assert.is(second?.[5], 0);
    ide.write(regs.IDE_DEVICE, 0xa0);
    // IDENTIFY with interrupts.
    ide.write(regs.IDE_COMMAND, ata.ATA_IDENTIFY);
    assert.ok(ide.irq());
    assert.is(ide.alternate() & (BSY | DRQ), DRQ);
    assert.is(ide.read(regs.IDE_STATUS) & (BSY | DRQ), DRQ);
    ide.setMaster(regs.MASTER_STATUS, ide.master(regs.MASTER_STATUS));
    ide.take(512);
    assert.is(ide.alternate() & (BSY | DRQ), 0);
    // Timings, then PIO 4 and the fastest DMA that the board has.
    controller.configWrite(0x40, 2, 0xa307);
    controller.configWrite(0x44, 1, 0);
    if (profile === 'piix4') controller.configWrite(0x48, 1, 1);
    for (const mode of [0x0c, profile === 'piix4' ? 0x42 : 0x22]) {
      const task = { command: ata.ATA_SET_FEATURES, feature: ata.ATA_FEATURE_TRANSFER_MODE, count: mode };
      assert.is(ide.execute(task), GOOD);
      ide.setMaster(regs.MASTER_STATUS, ide.master(regs.MASTER_STATUS));
    }
    // A request of two segments, 48 bit, as bmdma_setup, exec_command and bmdma_start do it.
    ide.disk.write(0, pattern(4096, 4));
    ide.setMaster(regs.MASTER_STATUS, 0x20);
    for (let round = 0; round < 3; round++) {
      machine.memory.fill(DATA, 0, 0x2000);
      machine.memory.write4x32(TABLE, DATA, 0x600, DATA + 0x1000, 0xa00 | END);
      controller.write32(regs.PIIX_BAR_MASTER, regs.MASTER_TABLE, TABLE);
      ide.setMaster(regs.MASTER_COMMAND, (ide.master(regs.MASTER_COMMAND) & ~9) | regs.MASTER_TO_MEMORY);
      ide.send({ command: ata.ATA_READ_DMA_EXT, count: 8, wide: true, device: 0xe0 });
      ide.setMaster(regs.MASTER_COMMAND, ide.master(regs.MASTER_COMMAND) | START);
      machine.settle();
      assert.ok(ide.irq());
      assert.is(ide.master(regs.MASTER_STATUS) & 0x27, 0x20 | INTERRUPT);
      ide.setMaster(regs.MASTER_COMMAND, ide.master(regs.MASTER_COMMAND) & ~START);
      ide.alternate();
      assert.is(ide.read(regs.IDE_STATUS), GOOD);
      ide.setMaster(regs.MASTER_STATUS, ide.master(regs.MASTER_STATUS));
      assert.is(ide.master(regs.MASTER_STATUS) & 0x27, 0x20);
      assert.ok(machine.memory.equals(DATA, pattern(4096, 4), 0, 0x600));
      assert.ok(machine.memory.equals(DATA + 0x1000, pattern(4096, 4), 0x600, 0xa00));
    }
  });
}

test('Linux: a bad sector, by DMA: its address is in the registers; then a soft reset and the next request', async () => {
  const ide = await Ide.create();
  ide.machine.addFault({ disk: ide.disk, kind: 'error', first: 5, last: 5, times: 1 });
  const prds = [{ address: DATA, bytes: 4096 }];
  const task = { command: ata.ATA_READ_DMA_EXT, count: 8, wide: true };
  assert.is(ide.dma(task, true, prds) & INTERRUPT, INTERRUPT);
  assert.is(ide.read(regs.IDE_STATUS) & (ERR | DRQ | BSY), ERR);
  assert.equal([ide.read(regs.IDE_ERROR), ide.read(regs.IDE_LBA_LOW)], [ata.ATA_ERROR_UNC, 5]);
  ide.control(0x88);
  assert.is(ide.read(regs.IDE_LBA_LOW), 0);
  ide.control(8);
  assert.equal(softReset(ide)[0], [1, 1, 1, 0, 0, GOOD]);
  assert.is(ide.dma(task, true, prds), INTERRUPT);
});
